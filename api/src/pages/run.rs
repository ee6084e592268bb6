//! One run: why it is where it is, each attempt with its error, its log, its steps, and what can be
//! done with it.

use super::{
    address::{Address, segment},
    clone, fmt,
    pieces::{Action, Badge, Chip, Chips, Confirm, Id, Progress, Time, icon},
    run_parts::{
        ActionForm, Deed, RunLine, cancel_refusal, find, lines, perform, ran, retry_refusal, waited, way_on,
        why, worker_link,
    },
    shell::{Shell, done, page},
    upload::ConfirmPage,
};
use crate::{app::AppState, auth::PageSession, error::ApiResult};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    response::Response,
};
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    runs::{
        Run, RunAttempt, RunLog, RunState,
        counts::{StateCount, count_by_state},
        queries::{self, DroppedLines, RunFilter},
        registry::Kind,
        waiting,
    },
    uploads::queries as upload_queries,
};

/// Steps that the page shows; the list of runs has the rest.
const STEPS: i64 = 25;
/// Log lines of a page.
const LINES: i64 = 500;

#[derive(Template)]
#[template(path = "pages/runs/run.html")]
struct RunPage {
    shell: Shell,
    run: Run,
    kind: String,
    id: Id,
    badge: Badge,
    why: Option<String>,
    way_on: Option<(&'static str, &'static str)>,
    waited: String,
    ran: String,
    worker: Option<Id>,
    crashes: Option<String>,
    error: Option<String>,
    progress: Option<Progress>,
    stages: Vec<Stage>,
    attempts: Vec<Attempt>,
    planned: Option<String>,
    logs: Vec<Line>,
    dropped: Vec<String>,
    levels: Vec<(&'static str, bool, String)>,
    more_logs: Option<String>,
    steps: Vec<RunLine>,
    step_states: Chips,
    steps_left: Option<String>,
    all_steps: String,
    upload: Option<(String, String)>,
    parent: Option<Id>,
    flow: Option<String>,
    failure: Option<String>,
    args: String,
    result: Option<String>,
    retry: Action,
    cancel: Action,
    clone: CloneLink,
}

/// The way to the form that clones a run, or why there is none.
struct CloneLink {
    href: String,
    refusal: Option<String>,
}

/// One point of the way through the states.
struct Stage {
    class: &'static str,
    word: String,
    at: Option<Time>,
    note: String,
}

struct Attempt {
    number: i32,
    badge: Badge,
    started: Time,
    took: String,
    worker: Id,
    error: Option<String>,
    backtrace: Option<String>,
}

struct Line {
    at: Time,
    level: String,
    class: &'static str,
    message: String,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    level: Option<String>,
    after: Option<i64>,
}

/// `GET /ui/runs/{id}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let run = find(&mut conn, &id).await?;
    shell.moving = !run.state.is_terminal();
    let attempts = queries::attempts(&mut conn, run.id).await?;
    let logs = queries::logs(&mut conn, run.id, wanted.after.unwrap_or(0), LINES).await?;
    let dropped = queries::dropped_lines(&mut conn, run.id).await?;
    let waiting = waiting::reasons(&mut conn, &[run.id]).await?.remove(&run.id);
    let children = RunFilter { parent: Some(run.id), ..RunFilter::default() };
    let counts = count_by_state(&mut conn, &children).await?;
    let steps = queries::notable_children(&mut conn, run.id, STEPS).await?;
    let steps = lines(&mut conn, &steps, &shell).await?;
    let upload = upload_link(&mut conn, &run).await?;
    let here = Address::new(format!("/ui/runs/{}", run.id));
    let level = wanted.level.as_deref().filter(|level| LEVELS.contains(level));
    let full = i64::try_from(logs.len()).unwrap_or(0) == LINES;
    let next = logs.last().filter(|_| full).map(|line| line.id.to_string());
    let (retry, cancel) = actions(&shell, &run);
    page(&RunPage {
        kind: fmt::words(&run.kind),
        id: Id::new(run.id),
        badge: run.state.into(),
        why: why(&run, waiting.as_ref(), &shell),
        way_on: waiting.as_ref().and_then(way_on),
        waited: waited(&run, shell.now),
        ran: ran(&run, shell.now),
        worker: run.worker_id.map(worker_link),
        crashes: (run.crashes > 0)
            .then(|| format!("its worker died {}", fmt::counted(i64::from(run.crashes), "time"))),
        error: run
            .error
            .as_deref()
            .filter(|_| run.state != RunState::Completed)
            .map(|error| fmt::cut(error, 4_000)),
        progress: progress(&run, &shell),
        stages: stages(&run, &shell),
        planned: planned(&run, state.env.kinds),
        attempts: attempts.iter().rev().map(|attempt| Attempt::new(attempt, &shell)).collect(),
        levels: levels(level, &here),
        more_logs: next.map(|after| here.maybe("level", level).with("after", &after).to_string()),
        logs: logs.iter().filter(|line| at_least(line, level)).map(|line| Line::new(line, &shell)).collect(),
        dropped: dropped.iter().map(dropped_words).collect(),
        steps_left: steps_left(&counts, steps.len()),
        step_states: Chips { label: "States of the steps", chips: step_chips(&run, &counts) },
        all_steps: Address::new("/ui/runs").with("q", &format!("parent:{}", run.id)).to_string(),
        steps,
        upload,
        parent: run.parent_id.map(|parent| Id::new(parent).to(format!("/ui/runs/{parent}"))),
        flow: (run.flow_id != run.id)
            .then(|| Address::new("/ui/runs").with("q", &format!("flow:{}", run.flow_id)).to_string()),
        failure: run.fingerprint.as_ref().map(|print| format!("/ui/failures/{}", segment(print))),
        args: pretty(&run.args),
        result: run.result.as_ref().map(pretty),
        clone: CloneLink {
            href: format!("/ui/runs/{}/clone", run.id),
            refusal: clone::refusal(&shell, &run, state.env.kinds),
        },
        retry,
        cancel,
        run,
        shell,
    })
}

/// How many steps are not listed.
fn steps_left(counts: &[StateCount], listed: usize) -> Option<String> {
    let all: i64 = counts.iter().map(|count| count.count).sum();
    let left = all - i64::try_from(listed).unwrap_or(0);
    let more = if counts.iter().any(|count| count.more) { "more than " } else { "" };
    (left > 0)
        .then(|| format!("{more}{} further {}", fmt::count(left), if left == 1 { "step" } else { "steps" }))
}

fn step_chips(run: &Run, counts: &[StateCount]) -> Vec<Chip> {
    let steps = Address::new("/ui/runs").with("q", &format!("parent:{}", run.id));
    counts
        .iter()
        .map(|count| Chip {
            href: steps.with("state", count.state.as_str()).to_string(),
            word: count.state.to_string(),
            class: count.state.as_str(),
            icon: Some(icon(count.state.as_str())),
            count: Some(count.count),
            more: count.more,
            on: false,
        })
        .collect()
}

fn dropped_words(dropped: &DroppedLines) -> String {
    let lines = match dropped.lines {
        1 => "The oldest line".to_owned(),
        lines => format!("The oldest {} lines", fmt::count(lines)),
    };
    let were = if dropped.lines == 1 { "was" } else { "were" };
    format!("{lines} of attempt {} {were} dropped; the newest 1,000 of an attempt are kept.", dropped.attempt)
}

fn pretty(value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    fmt::cut(&text, 20_000)
}

async fn upload_link(conn: &mut AsyncPgConnection, run: &Run) -> ApiResult<Option<(String, String)>> {
    let upload = upload_queries::find_upload_of_run(conn, run.id).await?;
    Ok(upload.map(|upload| {
        (format!("/ui/uploads/{}", upload.id), fmt::shortened(&super::upload_parts::filename(&upload)))
    }))
}

fn progress(run: &Run, shell: &Shell) -> Option<Progress> {
    if run.state != RunState::Running || (run.progress_total.is_none() && run.phase.is_none()) {
        return None;
    }
    let unit = run.progress_unit.as_deref().unwrap_or("units");
    let amount = |number| if unit == "bytes" { fmt::bytes(number) } else { fmt::count(number) };
    let noun = if unit == "bytes" { String::new() } else { format!(" {unit}") };
    let text = match run.progress_total {
        Some(total) => format!("{} of {}{noun}", amount(run.progress_done), amount(total)),
        None => format!("{}{noun}", amount(run.progress_done)),
    };
    let mut more: Vec<String> = run.phase.as_deref().map(fmt::words).into_iter().collect();
    if let Some(started) = run.started_at {
        let ms = (shell.now - started).num_milliseconds().max(1);
        let rate = i64::try_from(i128::from(run.progress_done) * 1000 / i128::from(ms)).unwrap_or(0);
        if rate > 0 && run.attempt == 1 {
            more.push(format!("{}{noun}/s", amount(rate)));
            let left =
                run.progress_total.map(|total| TimeDelta::seconds((total - run.progress_done).max(0) / rate));
            more.extend(left.map(|left| format!("about {} left", fmt::duration(left))));
        }
    }
    Some(Progress {
        label: format!("{} runs", fmt::words(&run.kind)),
        class: "running",
        done: run.progress_done,
        total: run.progress_total,
        text,
        more,
        small: false,
    })
}

/// The way from the request to where the run stands, and what comes next.
fn stages(run: &Run, shell: &Shell) -> Vec<Stage> {
    let at = |time| Some(shell.date(time));
    let mut stages = vec![Stage {
        class: "available",
        word: "asked for".to_owned(),
        at: at(run.created_at),
        note: format!("by {}", run.created_by),
    }];
    if let Some(started) = run.started_at {
        let note = format!("after {}", fmt::duration(started - run.created_at));
        stages.push(Stage { class: "running", word: "first attempt".to_owned(), at: at(started), note });
    }
    let now = |class, note: String| Stage { class, word: run.state.to_string(), at: None, note };
    let ahead = |word: &str, at| Stage { class: "", word: word.to_owned(), at, note: String::new() };
    match run.state {
        RunState::Scheduled | RunState::Retryable => {
            stages.push(now(run.state.as_str(), String::new()));
            stages.push(ahead("next attempt", at(run.run_at)));
        }
        RunState::Available => {
            stages.push(now("available", String::new()));
            stages.push(ahead("running", None));
        }
        RunState::Blocked => {
            let note = format!("{} to go", fmt::counted(i64::from(run.blocked_by), "step"));
            stages.push(now("blocked", note));
            stages.push(ahead("running", None));
        }
        RunState::Running => {
            stages.push(now("running", format!("attempt {}", run.attempt)));
            stages.push(ahead("completed", None));
        }
        RunState::Completed | RunState::Failed | RunState::Cancelled | RunState::Discarded => {
            let finished = run.finished_at.unwrap_or(run.created_at);
            let note = run
                .started_at
                .map_or_else(String::new, |at| format!("after {}", fmt::duration(finished - at)));
            stages.push(Stage {
                class: run.state.as_str(),
                word: run.state.to_string(),
                at: at(finished),
                note,
            });
        }
    }
    stages
}

/// When further attempts would follow, should the next one fail.
fn planned(run: &Run, kinds: &[Kind]) -> Option<String> {
    if run.state.is_terminal() || run.attempt >= run.max_attempts {
        return None;
    }
    let retry = kinds.iter().find(|kind| kind.name == run.kind)?.retry;
    let from = run.attempt.max(1);
    let waits: Vec<String> = (from..run.max_attempts)
        .map(|attempt| retry.counted(attempt, run.max_attempts))
        .take(4)
        .filter_map(|attempt| TimeDelta::from_std(retry.delay(attempt, 1.0)).ok())
        .map(|wait| fmt::duration(wait).replace(".0 s", " s"))
        .collect();
    let more = if i64::from(run.max_attempts - from) > 4 { " …" } else { "" };
    (!waits.is_empty()).then(|| {
        format!(
            "If an attempt fails, the next follows within {}{more}; after attempt {} the run is discarded.",
            waits.join(", then "),
            run.max_attempts
        )
    })
}

impl Attempt {
    fn new(attempt: &RunAttempt, shell: &Shell) -> Self {
        let ended = attempt.finished_at.unwrap_or(shell.now);
        Self {
            number: attempt.attempt,
            badge: Badge::outcome(attempt.outcome.as_deref()),
            started: shell.date(attempt.started_at),
            took: fmt::duration(ended - attempt.started_at),
            worker: worker_link(attempt.worker_id),
            error: attempt.error.as_deref().map(|error| fmt::cut(error, 4_000)),
            backtrace: attempt.backtrace.as_deref().map(|trace| fmt::cut(trace, 20_000)),
        }
    }
}

/// Levels a log can be narrowed to, from the gravest.
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

fn rank(level: &str) -> usize {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level)).unwrap_or(LEVELS.len())
}

fn at_least(line: &RunLog, level: Option<&str>) -> bool {
    level.is_none_or(|level| rank(&line.level) <= rank(level))
}

fn levels(chosen: Option<&str>, here: &Address) -> Vec<(&'static str, bool, String)> {
    LEVELS
        .iter()
        .map(|level| {
            let on = chosen == Some(*level);
            (*level, on, format!("{}#log", here.with("level", if on { "" } else { level })))
        })
        .collect()
}

impl Line {
    fn new(line: &RunLog, shell: &Shell) -> Self {
        Self {
            at: shell.clock(line.at),
            class: match rank(&line.level) {
                0 => "error",
                1 => "warn",
                _ => "info",
            },
            level: line.level.to_ascii_lowercase(),
            message: fmt::cut(&line.message, 4_000),
        }
    }
}

fn actions(shell: &Shell, run: &Run) -> (Action, Action) {
    let path = format!("/ui/runs/{}", run.id);
    let retry = shell.action("Retry", format!("{path}/retry"), retry_refusal(run));
    let cancel = shell.action("Cancel", format!("{path}/cancel"), cancel_refusal(run));
    (retry, shell.dangerous(cancel, cancel_question(shell, run)))
}

fn cancel_question(shell: &Shell, run: &Run) -> Confirm {
    let path = format!("/ui/runs/{}", run.id);
    let consequence = match run.state {
        RunState::Running => "It is asked to stop; what it has not committed is rolled back.",
        RunState::Blocked => {
            "It and all its steps that have not ended are stopped. What they committed stays."
        }
        _ => "It will not run. A retry later brings it back.",
    };
    Confirm {
        id: "cancel-run",
        title: format!("Cancel this {} run?", fmt::words(&run.kind)),
        consequence: match run.parent_id {
            Some(_) => format!("{consequence} The run that waits for it ends too, as failed."),
            None => consequence.to_owned(),
        },
        label: "Cancel the run".to_owned(),
        href: format!("{path}/cancel"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: true,
    }
}

/// `POST /ui/runs/{id}/retry`.
pub(super) async fn retry(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let run = find(&mut *state.env.pool.get().await?, &id).await?;
    let (stands, notice) = perform(&state, &session, &run, Deed::Retry).await?;
    Ok(done(&format!("/ui/runs/{stands}"), notice))
}

/// `POST /ui/runs/{id}/cancel`; asks first.
pub(super) async fn cancel(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let run = find(&mut *state.env.pool.get().await?, &id).await?;
    if !form.is_confirmed() {
        let confirm = cancel_question(&shell, &run);
        return page(&ConfirmPage { shell, title: "Cancel the run", confirm });
    }
    let (_, notice) = perform(&state, &session, &run, Deed::Cancel).await?;
    Ok(done(&format!("/ui/runs/{}", run.id), notice))
}
