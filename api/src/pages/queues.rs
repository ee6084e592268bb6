//! Queues and kinds: how they stand; pause, resume, limit.

use super::{
    fmt,
    pieces::{Action, Badge, pause_badge},
    run_parts::ActionForm,
    shell::{Shell, done, page},
};
use crate::{
    actions::engine::{self, PauseRequest},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    params::read_instant,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use serde::Deserialize;
use shared::runs::{
    Retry,
    queues::{self, Pause, PauseTarget, QueueStanding},
    registry::Kind,
};

/// Where the forms lead back to.
const HERE: &str = "/ui/queues";

#[derive(Template)]
#[template(path = "pages/queues/list.html")]
struct QueuesPage {
    shell: Shell,
    summary: String,
    queues: Vec<QueueLine>,
    kinds: Vec<KindLine>,
}

struct QueueLine {
    name: String,
    href: String,
    badge: Badge,
    paused: Option<String>,
    available: i64,
    oldest: String,
    running: i64,
    slots: i64,
    later: i64,
    limit: Option<i64>,
    full: Option<&'static str>,
    resume: Option<Action>,
    pause: PauseForm,
    limit_form: LimitForm,
}

struct KindLine {
    name: String,
    words: String,
    href: String,
    badge: Badge,
    paused: Option<String>,
    queue: String,
    priority: i16,
    timeout: String,
    retry: String,
    resume: Option<Action>,
    pause: PauseForm,
}

/// The form that pauses a queue or a kind.
#[derive(Default)]
struct PauseForm {
    id: String,
    title: String,
    href: String,
    csrf: String,
    zone: String,
    reason: String,
    until: String,
    complaint: Option<String>,
}

/// The form that limits a queue.
#[derive(Default)]
struct LimitForm {
    id: String,
    title: String,
    href: String,
    csrf: String,
    max_running: String,
    slots: Option<i64>,
    complaint: Option<String>,
}

/// A form that was refused, with what was typed.
#[derive(Template)]
#[template(path = "pages/queues/form.html")]
struct FormPage {
    shell: Shell,
    pause: Option<PauseForm>,
    limit: Option<LimitForm>,
}

fn words_of(target: PauseTarget, name: &str) -> String {
    match target {
        PauseTarget::Queue => format!("the queue {name}"),
        PauseTarget::Kind => format!("the kind {}", fmt::words(name)),
    }
}

fn place(target: PauseTarget, name: &str) -> String {
    match target {
        PauseTarget::Queue => format!("/ui/queues/{name}"),
        PauseTarget::Kind => format!("/ui/kinds/{name}"),
    }
}

impl PauseForm {
    /// The form that changes a pause, if there is one, or begins it.
    fn beside(pause: Option<&Pause>, shell: &Shell, target: PauseTarget, name: &str) -> Self {
        let until = pause.and_then(|pause| pause.until).map(|until| until.with_timezone(&shell.zone));
        Self {
            reason: pause.and_then(|pause| pause.reason.clone()).unwrap_or_default(),
            until: until.map(|until| until.format("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default(),
            ..Self::new(shell, target, name)
        }
    }

    fn new(shell: &Shell, target: PauseTarget, name: &str) -> Self {
        Self {
            id: format!("pause-{target}-{name}"),
            title: format!("Pause {}", words_of(target, name)),
            href: format!("{}/pause", place(target, name)),
            csrf: shell.csrf().to_owned(),
            zone: shell.zone.to_string(),
            ..Self::default()
        }
    }
}

impl LimitForm {
    fn new(shell: &Shell, queue: &str, limit: Option<i32>, slots: Option<i64>) -> Self {
        Self {
            id: format!("limit-{queue}"),
            title: format!("Limit the queue {queue}"),
            href: format!("/ui/queues/{queue}/limit"),
            csrf: shell.csrf().to_owned(),
            max_running: limit.map(|limit| limit.to_string()).unwrap_or_default(),
            slots,
            complaint: None,
        }
    }
}

/// `by ada until 14:00:00 (in 3 min): the disk is full`.
pub(super) fn pause_words(pause: &Pause, shell: &Shell) -> String {
    let until = pause.until.map(|until| format!(" until {}", shell.when(until))).unwrap_or_default();
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("by {}{until}{reason}", pause.paused_by)
}

fn find<'a>(pauses: &'a [Pause], target: PauseTarget, name: &str) -> Option<&'a Pause> {
    pauses.iter().find(|pause| pause.target == target && pause.name == name)
}

fn resume_action(shell: &Shell, target: PauseTarget, name: &str) -> Action {
    shell.action("Resume", format!("{}/resume", place(target, name)), None)
}

fn queue_line(standing: &QueueStanding, pauses: &[Pause], shell: &Shell) -> QueueLine {
    let name = &standing.queue;
    let pause = find(pauses, PauseTarget::Queue, name);
    let limited = standing.max_running.is_some_and(|limit| standing.running >= i64::from(limit));
    QueueLine {
        href: format!("/ui/runs?q=queue%3A{name}"),
        badge: pause_badge(pause.is_some()),
        paused: pause.map(|pause| pause_words(pause, shell)),
        available: standing.available,
        oldest: match standing.available {
            0 => "–".to_owned(),
            _ => fmt::duration(TimeDelta::milliseconds(standing.oldest_ms)),
        },
        running: standing.running,
        slots: standing.slots,
        later: standing.later,
        limit: standing.max_running.map(i64::from),
        full: match standing.available {
            0 => None,
            _ if limited => Some("limit reached"),
            _ if standing.slots == 0 => Some("no worker serves it"),
            _ if standing.running >= standing.slots => Some("all slots taken"),
            _ => None,
        },
        resume: pause.map(|_| resume_action(shell, PauseTarget::Queue, name)),
        pause: PauseForm::beside(pause, shell, PauseTarget::Queue, name),
        limit_form: LimitForm::new(shell, name, standing.max_running, Some(standing.slots)),
        name: name.clone(),
    }
}

fn retry_words(retry: &Retry) -> String {
    let time = |time: &std::time::Duration| {
        fmt::duration(TimeDelta::from_std(*time).unwrap_or_default()).replace(".0 s", " s")
    };
    match retry {
        Retry::Never => "one attempt".to_owned(),
        Retry::Fixed(waits) | Retry::Spread(waits) => {
            let about = if matches!(retry, Retry::Spread(_)) { "about " } else { "" };
            let waits: Vec<String> = waits.iter().take(5).map(time).collect();
            format!("{} attempts, after {about}{}", retry.max_attempts(), waits.join(", "))
        }
        Retry::Exponential { max_attempts, first, cap } => {
            format!("{max_attempts} attempts, after up to {}, doubling to {}", time(first), time(cap))
        }
    }
}

fn kind_line(kind: &Kind, pauses: &[Pause], shell: &Shell) -> KindLine {
    let pause = find(pauses, PauseTarget::Kind, kind.name);
    KindLine {
        name: kind.name.to_owned(),
        words: fmt::words(kind.name),
        href: format!("/ui/runs?kind={}", kind.name),
        badge: pause_badge(pause.is_some()),
        paused: pause.map(|pause| pause_words(pause, shell)),
        queue: kind.queue.to_string(),
        priority: kind.priority,
        timeout: fmt::duration(TimeDelta::from_std(kind.timeout).unwrap_or_default()).replace(".0 s", " s"),
        retry: retry_words(&kind.retry),
        resume: pause.map(|_| resume_action(shell, PauseTarget::Kind, kind.name)),
        pause: PauseForm::beside(pause, shell, PauseTarget::Kind, kind.name),
    }
}

/// `GET /ui/queues`.
pub(super) async fn list(mut shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let pauses = queues::paused(&mut conn).await?;
    let standings = queues::standings(&mut conn).await?;
    let waiting: i64 = standings.iter().map(|standing| standing.available).sum();
    let running: i64 = standings.iter().map(|standing| standing.running).sum();
    shell.moving = waiting + running > 0;
    let paused = match pauses.len() {
        0 => "Nothing is paused.".to_owned(),
        number => format!("{} paused.", fmt::count(i64::try_from(number).unwrap_or(i64::MAX))),
    };
    page(&QueuesPage {
        summary: format!(
            "{} waiting, {} running. {paused}",
            fmt::counted(waiting, "run"),
            fmt::count(running)
        ),
        queues: standings.iter().map(|standing| queue_line(standing, &pauses, &shell)).collect(),
        kinds: state.env.kinds.iter().map(|kind| kind_line(kind, &pauses, &shell)).collect(),
        shell,
    })
}

/// What the form that pauses says.
#[derive(Deserialize)]
pub(super) struct PauseTyped {
    csrf_token: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    until: String,
}

/// A refused form once more, with what was typed.
fn again(form: FormPage) -> ApiResult<Response> {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&form)?).into_response())
}

async fn pause(
    session: PageSession,
    shell: Shell,
    state: AppState,
    target: PauseTarget,
    name: &str,
    typed: PauseTyped,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let paused = match read_instant(state.env.settings.zone, "until", &typed.until) {
        Ok(until) => {
            let request = PauseRequest { reason: Some(typed.reason.clone()), until };
            engine::pause(&state, &session.principal, target, name, request).await
        }
        Err(error) => Err(error),
    };
    match paused {
        Ok(()) => Ok(done(HERE, "paused")),
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let form = PauseForm {
                reason: typed.reason,
                until: typed.until,
                complaint: Some(error.problem().detail.clone()),
                ..PauseForm::new(&shell, target, name)
            };
            again(FormPage { shell, pause: Some(form), limit: None })
        }
        Err(error) => Err(error),
    }
}

/// `POST /ui/queues/{name}/pause`.
pub(super) async fn pause_queue(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<PauseTyped>,
) -> ApiResult<Response> {
    let queue = engine::queue(&name)?;
    pause(session, shell, state, PauseTarget::Queue, queue.as_str(), typed).await
}

/// `POST /ui/kinds/{name}/pause`.
pub(super) async fn pause_kind(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<PauseTyped>,
) -> ApiResult<Response> {
    engine::kind(&state, &name)?;
    pause(session, shell, state, PauseTarget::Kind, &name, typed).await
}

/// `POST /ui/queues/{name}/resume`.
pub(super) async fn resume_queue(
    session: PageSession,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let queue = engine::queue(&name)?;
    engine::resume(&state, &session.principal, PauseTarget::Queue, queue.as_str()).await?;
    Ok(done(HERE, "resumed"))
}

/// `POST /ui/kinds/{name}/resume`.
pub(super) async fn resume_kind(
    session: PageSession,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    engine::resume(&state, &session.principal, PauseTarget::Kind, engine::kind(&state, &name)?).await?;
    Ok(done(HERE, "resumed"))
}

/// What the form that limits says; without a number it lifts the limit.
#[derive(Deserialize)]
pub(super) struct LimitTyped {
    csrf_token: String,
    #[serde(default)]
    max_running: String,
}

/// `POST /ui/queues/{name}/limit`.
pub(super) async fn limit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<LimitTyped>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let queue = engine::queue(&name)?;
    let number = match typed.max_running.trim() {
        "" => Ok(None),
        // What is no number at all is refused like one that is out of range.
        text => text.parse().map(Some).map_err(|_| {
            ApiError::invalid("max_running", "A limit is a number from 1 to 10000; an empty field lifts it.")
        }),
    };
    let limited = match number {
        Ok(limit) => engine::limit(&state, &session.principal, queue, limit).await.map(|()| limit),
        Err(error) => Err(error),
    };
    match limited {
        Ok(limit) => Ok(done(HERE, if limit.is_some() { "limited" } else { "unlimited" })),
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let form = LimitForm {
                max_running: typed.max_running,
                complaint: Some(error.problem().detail.clone()),
                ..LimitForm::new(&shell, queue.as_str(), None, None)
            };
            again(FormPage { shell, pause: None, limit: Some(form) })
        }
        Err(error) => Err(error),
    }
}
