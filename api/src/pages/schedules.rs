//! Schedules: when each fires, what became of its ticks, who fires them, and what needs a look.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Action, Badge, Confirm, Empty, Id, Time},
    run_parts::ActionForm,
    schedule_words,
    shell::{Shell, done, page},
};
use crate::{
    actions::schedules as actions,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    params::read_instant,
    routes::backfills::acknowledge,
    views::schedules::{OccurrenceView, upcoming},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::schedules::{
    Schedule, ScheduleError, Tick, TickCause,
    alerts::{self, Alert},
    queries::{self, TickLine},
};
use std::collections::HashMap;

/// Ticks of a page.
const TICKS: i64 = 50;
/// Alerts that are shown.
const ALERTS: i64 = 20;

#[derive(Template)]
#[template(path = "pages/schedules/list.html")]
struct ListPage {
    shell: Shell,
    leader: Option<LeaderLine>,
    alerts: Vec<AlertLine>,
    schedules: Vec<ScheduleLine>,
    empty: Option<Empty>,
}

/// The scheduler that leads.
pub(super) struct LeaderLine {
    place: String,
    since: Option<Time>,
}

pub(super) struct AlertLine {
    href: String,
    subject: String,
    message: String,
    raised: Time,
    seen: Action,
}

struct ScheduleLine {
    href: String,
    name: String,
    about: String,
    badge: Badge,
    paused: Option<String>,
    words: String,
    cron: String,
    zone: String,
    next: Option<Next>,
    last: Option<LastTick>,
    run: Action,
    enable: Option<Action>,
}

/// The next time, in the schedule's zone and in UTC.
struct Next {
    ago: Time,
    local: String,
    utc: String,
    note: Option<String>,
}

struct LastTick {
    badge: Badge,
    at: Time,
    run: Option<Id>,
}

impl LeaderLine {
    pub(super) async fn load(conn: &mut AsyncPgConnection, shell: &Shell) -> ApiResult<Option<Self>> {
        let leader = queries::leader(conn).await?;
        Ok(leader.map(|leader| {
            let place = leader.name.trim_start_matches("millrace-leader:");
            let place = place
                .rsplit_once(':')
                .map_or_else(|| place.to_owned(), |(host, pid)| format!("{host}, process {pid}"));
            Self { place, since: leader.since.map(|since| shell.ago(since)) }
        }))
    }
}

impl AlertLine {
    pub(super) fn new(alert: &Alert, shell: &Shell) -> Self {
        Self {
            href: format!("/ui/schedules/{}", segment(&alert.subject)),
            subject: alert.subject.clone(),
            message: alert.message.clone(),
            raised: shell.ago(alert.raised_at),
            seen: shell.action("Seen", format!("/ui/alerts/{}/acknowledge", alert.id), None),
        }
    }
}

fn address(name: &str) -> String {
    format!("/ui/schedules/{}", segment(name))
}

/// `by ada until 14:00:00 (in 3 min): the disk is full`.
fn pause_words(schedule: &Schedule, shell: &Shell) -> Option<String> {
    if !schedule.is_paused(shell.now) {
        return None;
    }
    let by = schedule.paused_by.as_deref().unwrap_or("somebody");
    let until =
        schedule.paused_until.map(|until| format!(" until {}", shell.when(until))).unwrap_or_default();
    let reason = schedule.pause_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!("by {by}{until}{reason}"))
}

fn state_badge(schedule: &Schedule, now: DateTime<Utc>) -> Badge {
    let late = schedule.next_at.is_some_and(|next| now - next > shared::schedules::firing::GRACE);
    if schedule.is_paused(now) {
        Badge::schedule_paused()
    } else if late {
        Badge::late()
    } else if schedule.next_at.is_none() {
        Badge::never()
    } else {
        Badge::enabled()
    }
}

/// The run that a tick has, if it is still on record.
fn run_of(tick: &Tick, known: bool) -> Option<Id> {
    tick.run_id.map(|run| {
        let id = Id::new(run);
        if known { id.to(format!("/ui/runs/{run}")) } else { id }
    })
}

fn enable_action(schedule: &Schedule, shell: &Shell) -> Option<Action> {
    let href = format!("{}/enable", address(&schedule.name));
    schedule.is_paused(shell.now).then(|| shell.action("Enable", href, None))
}

fn schedule_line(schedule: &Schedule, last: Option<&TickLine>, shell: &Shell) -> ScheduleLine {
    let (zone, times) = upcoming(schedule, shell.now);
    let next = times.iter().find(|time| schedule.next_at == Some(time.at)).map(|time| {
        let view = OccurrenceView::new(time, zone);
        Next {
            ago: shell.ago(time.at),
            local: time.at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
            utc: time.at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            note: view.note,
        }
    });
    ScheduleLine {
        href: address(&schedule.name),
        name: schedule.name.clone(),
        about: schedule.description.clone().unwrap_or_else(|| fmt::words(&schedule.kind)),
        badge: state_badge(schedule, shell.now),
        paused: pause_words(schedule, shell),
        words: schedule_words::of(schedule),
        cron: schedule.cron.clone(),
        zone: schedule.zone.clone(),
        next,
        last: last.map(|(tick, state)| LastTick {
            badge: Badge::tick(tick.outcome, *state),
            at: shell.ago(tick.nominal_at),
            run: run_of(tick, state.is_some() && tick.run_ended.is_none()),
        }),
        run: shell.action("Run now", format!("{}/run", address(&schedule.name)), None),
        enable: enable_action(schedule, shell),
    }
}

/// `GET /ui/schedules`.
pub(super) async fn list(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let conn = &mut *state.env.pool.get().await?;
    let schedules = queries::list(conn).await?;
    let ticks = queries::last_ticks(conn).await?;
    let ticks: HashMap<_, _> = ticks.into_iter().map(|line| (line.0.schedule_id, line)).collect();
    let alerts = alerts::list(conn, false, ALERTS).await?;
    let empty = schedules.is_empty().then(|| {
        let text = "A schedule runs a job at the times of a cron expression. The built-in ones are made by the first \
                    scheduler that leads.";
        Empty::nothing_yet("No schedules yet", text, "New schedule", "/ui/schedules/new").or_by("millrace scheduler")
    });
    page(&ListPage {
        leader: LeaderLine::load(conn, &shell).await?,
        alerts: alerts.iter().map(|alert| AlertLine::new(alert, &shell)).collect(),
        schedules: schedules.iter().map(|one| schedule_line(one, ticks.get(&one.id), &shell)).collect(),
        empty,
        shell,
    })
}

#[derive(Template)]
#[template(path = "pages/schedules/schedule.html")]
struct SchedulePage {
    shell: Shell,
    href: String,
    schedule: Schedule,
    words: String,
    badge: Badge,
    paused: Option<String>,
    leads: bool,
    times: Vec<TimeLine>,
    policies: Vec<(&'static str, String)>,
    args: String,
    kind: String,
    actions: Vec<Action>,
    delete: Action,
    pause: PauseForm,
    ticks: Vec<TickRow>,
    older: Option<String>,
    created: Time,
}

struct TimeLine {
    ago: Time,
    local: String,
    utc: String,
    note: Option<String>,
    fires: bool,
}

struct TickRow {
    key: String,
    nominal: Time,
    badge: Badge,
    cause: &'static str,
    late: Option<String>,
    reason: Option<String>,
    run: Option<Id>,
}

/// The form that pauses a schedule.
struct PauseForm {
    reason: String,
    until: String,
    complaint: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    before: Option<String>,
}

fn tick_row((tick, state): &TickLine, shell: &Shell) -> TickRow {
    let late = (tick.fired_at - tick.nominal_at).max(chrono::TimeDelta::zero());
    TickRow {
        key: tick.nominal_at.timestamp_micros().to_string(),
        nominal: shell.date(tick.nominal_at),
        badge: Badge::tick(tick.outcome, *state),
        cause: schedule_words::cause(tick.cause),
        late: (tick.run_id.is_some() && matches!(tick.cause, TickCause::Clock | TickCause::CatchUp))
            .then(|| fmt::duration(late)),
        reason: tick.reason.clone(),
        run: run_of(tick, state.is_some() && tick.run_ended.is_none()),
    }
}

async fn build(
    shell: Shell,
    conn: &mut AsyncPgConnection,
    schedule: Schedule,
    before: Option<DateTime<Utc>>,
    pause: PauseForm,
) -> ApiResult<SchedulePage> {
    let mut ticks = queries::ticks(conn, schedule.id, before, TICKS + 1).await?;
    let more = ticks.len() as i64 > TICKS;
    ticks.truncate(TICKS as usize);
    let href = address(&schedule.name);
    let older = ticks.last().filter(|_| more).map(|(tick, _)| {
        let before = tick.nominal_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        Address::new(&href).with("before", &before).to_string()
    });
    let (zone, times) = upcoming(&schedule, shell.now);
    let times = times.iter().map(|time| {
        let view = OccurrenceView::new(time, zone);
        TimeLine {
            ago: shell.ago(time.at),
            local: time.at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
            utc: time.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            note: view.note,
            fires: view.fires,
        }
    });
    let refusal = schedule.built_in.then(|| "built in: pause it instead".to_owned());
    let delete = shell.action("Delete", format!("{href}/delete"), refusal);
    let confirm = Confirm {
        id: "delete",
        title: format!("Delete the schedule {}?", schedule.name),
        consequence: "It fires no more, and the record of its ticks is gone. Its runs stay.".to_owned(),
        label: "Delete the schedule".to_owned(),
        href: format!("{href}/delete"),
        back: href.clone(),
        csrf: shell.csrf().to_owned(),
        fields: vec![("confirmed", "yes".to_owned())],
        danger: true,
    };
    let mut actions = vec![shell.action("Run now", format!("{href}/run"), None)];
    actions.extend(enable_action(&schedule, &shell));
    Ok(SchedulePage {
        words: schedule_words::of(&schedule),
        badge: state_badge(&schedule, shell.now),
        paused: pause_words(&schedule, &shell),
        leads: queries::leader(conn).await?.is_some(),
        times: times.collect(),
        policies: schedule_words::policies(&schedule),
        args: serde_json::to_string_pretty(&schedule.args).unwrap_or_default(),
        kind: fmt::words(&schedule.kind),
        actions,
        delete: shell.dangerous(delete, confirm),
        pause,
        ticks: ticks.iter().map(|line| tick_row(line, &shell)).collect(),
        older,
        created: shell.date(schedule.created_at),
        href,
        schedule,
        shell,
    })
}

fn pause_form(schedule: &Schedule, shell: &Shell) -> PauseForm {
    let until = schedule.paused_until.map(|until| until.with_timezone(&shell.zone));
    PauseForm {
        reason: schedule.pause_reason.clone().unwrap_or_default(),
        until: until.map(|until| until.format("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default(),
        complaint: None,
    }
}

/// `GET /ui/schedules/{name}`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let conn = &mut *state.env.pool.get().await?;
    let schedule = actions::find(conn, &name).await?;
    let before = wanted.before.as_deref().and_then(|text| text.parse().ok());
    let pause = pause_form(&schedule, &shell);
    page(&build(shell, conn, schedule, before, pause).await?)
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

/// `POST /ui/schedules/{name}/pause`.
pub(super) async fn pause(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<PauseTyped>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let paused = match read_instant(state.env.settings.zone, "until", &typed.until) {
        Ok(until) => {
            actions::pause(&state, &session.principal, &name, until, Some(typed.reason.clone())).await
        }
        Err(error) => Err(error),
    };
    match paused {
        Ok(_) => Ok(done(&address(&name), "schedule-paused")),
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let conn = &mut *state.env.pool.get().await?;
            let schedule = actions::find(conn, &name).await?;
            let complaint = Some(error.problem().detail.clone());
            let form = PauseForm { reason: typed.reason, until: typed.until, complaint };
            let shown = page(&build(shell, conn, schedule, None, form).await?)?;
            Ok((error.status(), shown).into_response())
        }
        Err(error) => Err(error),
    }
}

/// `POST /ui/schedules/{name}/enable`.
pub(super) async fn enable(
    session: PageSession,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    actions::enable(&state, &session.principal, &name).await?;
    Ok(done(&address(&name), "schedule-enabled"))
}

#[derive(Template)]
#[template(path = "pages/errors/confirm.html")]
struct ConfirmPage {
    shell: Shell,
    title: String,
    confirm: Confirm,
}

#[derive(Deserialize)]
pub(super) struct DeleteForm {
    csrf_token: String,
    confirmed: Option<String>,
}

/// `POST /ui/schedules/{name}/delete`.
pub(super) async fn delete(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(form): Form<DeleteForm>,
) -> ApiResult<Response> {
    verify_csrf(&session, &form.csrf_token)?;
    if form.confirmed.is_none() {
        let conn = &mut *state.env.pool.get().await?;
        let schedule = actions::find(conn, &name).await?;
        if schedule.built_in {
            return Err(ScheduleError::BuiltIn(schedule.name).into());
        }
        let pause = pause_form(&schedule, &shell);
        let whole = build(shell, conn, schedule, None, pause).await?;
        let confirm = whole.delete.confirm.ok_or_else(|| ApiError::internal("the page has no question"))?;
        return page(&ConfirmPage { title: confirm.title.clone(), shell: whole.shell, confirm });
    }
    actions::delete(&state, &session.principal, &name).await?;
    Ok(done("/ui/schedules", "schedule-deleted"))
}

/// `POST /ui/alerts/{id}/acknowledge`.
pub(super) async fn seen(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<i64>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    acknowledge(&state, &session.principal, id).await?;
    Ok(done("/ui/schedules", "alert-seen"))
}
