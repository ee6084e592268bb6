//! Forms of schedules: make one, change one, run one with other arguments, fill in times that have passed. What is
//! refused is said at its field, with what was typed.

use super::{
    address::segment,
    fmt,
    pieces::{Id, Time},
    schedule_words,
    shell::{Shell, done, page},
};
use crate::{
    actions::schedules::{self as actions, BackfillRequest, ScheduleRequest},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult, FieldError},
    routes::backfills::{AT_ONCE, read_wanted},
    views::schedules::{OccurrenceView, UPCOMING},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::{
    runs::registry::Kind,
    schedules::{
        CatchUp, Expression, MissingTime, Overlap, RepeatedTime, Schedule, Timetable,
        arguments::PLACEHOLDERS,
        backfill::{self, PastTime, Standing},
    },
};
use std::str::FromStr;

/// Times of a backfill that are listed.
const LISTED: usize = 400;

#[derive(Template)]
#[template(path = "pages/schedules/form.html")]
struct FormPage {
    shell: Shell,
    title: String,
    action: String,
    back: String,
    /// The schedule that is changed.
    known: Option<Known>,
    typed: Typed,
    errors: Vec<FieldError>,
    kinds: Vec<&'static str>,
    preview: Option<Preview>,
    missing: Vec<Choice>,
    repeated: Vec<Choice>,
    catch_up: Vec<Choice>,
    overlap: Vec<Choice>,
}

struct Known {
    built_in: bool,
}

struct Choice {
    value: &'static str,
    words: String,
    on: bool,
}

/// What the expression that was typed means.
struct Preview {
    words: String,
    times: Vec<(String, String, Option<String>)>,
}

/// What the form says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    csrf_token: String,
    name: String,
    description: String,
    cron: String,
    zone: String,
    kind: String,
    args: String,
    priority: String,
    missing: String,
    repeated: String,
    catch_up: String,
    catch_up_limit: String,
    overlap: String,
    version: String,
    /// The button that only shows the times.
    look: Option<String>,
}

impl Typed {
    fn of(schedule: &Schedule) -> Self {
        Self {
            name: schedule.name.clone(),
            description: schedule.description.clone().unwrap_or_default(),
            cron: schedule.cron.clone(),
            zone: schedule.zone.clone(),
            kind: schedule.kind.clone(),
            args: serde_json::to_string_pretty(&schedule.args).unwrap_or_default(),
            priority: schedule.priority.map(|priority| priority.to_string()).unwrap_or_default(),
            missing: schedule.missing.to_string(),
            repeated: schedule.repeated.to_string(),
            catch_up: schedule.catch_up.to_string(),
            catch_up_limit: schedule.catch_up_limit.to_string(),
            overlap: schedule.overlap.to_string(),
            version: schedule.version.to_string(),
            ..Self::default()
        }
    }

    /// The request, or what cannot be read of it.
    fn request(&self) -> Result<ScheduleRequest, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, detail: String| errors.push(FieldError { field: field.to_owned(), detail });
        let args = serde_json::from_str(if self.args.trim().is_empty() { "{}" } else { &self.args });
        let args = args.map_err(|error| wrong("args", format!("This is not JSON: {error}."))).ok();
        let priority = match self.priority.trim() {
            "" => Some(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| {
                    wrong(
                        "priority",
                        "A priority is a whole number from −32768 to 32767; lower goes first.".to_owned(),
                    );
                })
                .ok(),
        };
        let limit = self.catch_up_limit.trim();
        let limit = if limit.is_empty() { Ok(None) } else { limit.parse().map(Some) };
        let limit = limit
            .map_err(|_| wrong("catch_up_limit", "How many is a whole number from 1 to 1000.".to_owned()))
            .unwrap_or_default();
        let text = |text: &str| Some(text.trim().to_owned());
        let request = ScheduleRequest {
            name: text(&self.name),
            description: Some(text(&self.description)),
            cron: text(&self.cron),
            zone: text(&self.zone).filter(|zone| !zone.is_empty()),
            kind: text(&self.kind),
            args,
            priority,
            missing: word("missing", &self.missing, &mut wrong),
            repeated: word("repeated", &self.repeated, &mut wrong),
            catch_up: word("catch_up", &self.catch_up, &mut wrong),
            catch_up_limit: limit,
            overlap: word("overlap", &self.overlap, &mut wrong),
            enabled: None,
            version: self.version.trim().parse().ok(),
        };
        if errors.is_empty() { Ok(request) } else { Err(errors) }
    }
}

fn word<T: FromStr<Err = String>>(
    field: &str,
    text: &str,
    wrong: &mut impl FnMut(&str, String),
) -> Option<T> {
    match text.trim() {
        "" => None,
        text => text.parse().map_err(|why| wrong(field, format!("It cannot be {why}."))).ok(),
    }
}

impl FormPage {
    /// What is wrong with a field.
    fn at(&self, field: &str) -> Option<&str> {
        let fits = |error: &&FieldError| {
            error.field == field || error.field.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
        };
        self.errors.iter().find(fits).map(|error| error.detail.as_str())
    }

    /// What is wrong with none of them.
    fn elsewhere(&self) -> Option<&str> {
        const FIELDS: [&str; 9] =
            ["name", "description", "cron", "zone", "kind", "args", "priority", "catch_up_limit", "version"];
        let known =
            |error: &&FieldError| !FIELDS.iter().any(|field| error.field.split('.').next() == Some(field));
        self.errors.iter().find(known).map(|error| error.detail.as_str())
    }
}

fn choices<T: Copy + PartialEq>(
    all: &'static [T],
    typed: &str,
    name: fn(T) -> &'static str,
    words: impl Fn(T) -> String,
) -> Vec<Choice> {
    all.iter().map(|&one| Choice { value: name(one), words: words(one), on: name(one) == typed }).collect()
}

fn preview(shell: &Shell, typed: &Typed) -> Option<Preview> {
    let expression = Expression::read(&typed.cron).ok()?;
    let zone = if typed.zone.trim().is_empty() { shell.zone } else { typed.zone.trim().parse().ok()? };
    let suits = if expression.is_hourly() { RepeatedTime::Both } else { RepeatedTime::First };
    let words = expression.words();
    let timetable = Timetable {
        expression,
        zone,
        missing: typed.missing.parse().unwrap_or(MissingTime::Shift),
        repeated: typed.repeated.parse().unwrap_or(suits),
    };
    let times = timetable.upcoming(shell.now, UPCOMING);
    let times = times.iter().map(|time| {
        let local = time.at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string();
        (local, time.at.format("%Y-%m-%d %H:%M:%S UTC").to_string(), OccurrenceView::new(time, zone).note)
    });
    Some(Preview { words, times: times.collect() })
}

fn form_page(
    shell: Shell,
    kinds: &'static [Kind],
    schedule: Option<&Schedule>,
    typed: Typed,
    errors: Vec<FieldError>,
) -> FormPage {
    let mut names: Vec<&'static str> =
        kinds.iter().filter(|kind| kind.unschedulable().is_none()).map(|kind| kind.name).collect();
    names.sort_unstable();
    let catch_up = |policy| match policy {
        CatchUp::Skip => "what was missed is noted, and stays so",
        CatchUp::Once => "the last that was missed fires",
        CatchUp::All => "as many of the last as are said below fire, one after the other",
    };
    let place = schedule.map(|schedule| format!("/ui/schedules/{}", segment(&schedule.name)));
    FormPage {
        title: schedule
            .map_or_else(|| "New schedule".to_owned(), |schedule| format!("Edit {}", schedule.name)),
        action: place.as_ref().map_or_else(|| "/ui/schedules".to_owned(), |place| format!("{place}/edit")),
        back: place.unwrap_or_else(|| "/ui/schedules".to_owned()),
        known: schedule.map(|schedule| Known { built_in: schedule.built_in }),
        kinds: names,
        preview: preview(&shell, &typed),
        missing: choices(MissingTime::ALL, &typed.missing, MissingTime::as_str, |one| {
            schedule_words::missing(one).to_owned()
        }),
        repeated: choices(RepeatedTime::ALL, &typed.repeated, RepeatedTime::as_str, |one| {
            schedule_words::repeated(one).to_owned()
        }),
        catch_up: choices(CatchUp::ALL, &typed.catch_up, CatchUp::as_str, |one| catch_up(one).to_owned()),
        overlap: choices(Overlap::ALL, &typed.overlap, Overlap::as_str, |one| {
            schedule_words::overlap(one).to_owned()
        }),
        typed,
        errors,
        shell,
    }
}

/// `GET /ui/schedules/new`; what stands in the address is filled in.
pub(super) async fn new(
    shell: Shell,
    State(state): State<AppState>,
    Query(mut typed): Query<Typed>,
) -> ApiResult<Response> {
    fn usual(field: &mut String, value: &str) {
        if field.is_empty() {
            *field = value.to_owned();
        }
    }
    usual(&mut typed.args, "{}");
    usual(&mut typed.zone, state.env.settings.zone.name());
    usual(&mut typed.missing, "shift");
    usual(&mut typed.catch_up, "once");
    usual(&mut typed.catch_up_limit, "10");
    usual(&mut typed.overlap, "skip");
    page(&form_page(shell, state.env.kinds, None, typed, Vec::new()))
}

/// What a refused request said, field by field.
fn errors_of(error: &ApiError) -> Vec<FieldError> {
    let problem = error.problem();
    if problem.errors.is_empty() {
        return vec![FieldError { field: String::new(), detail: problem.detail.clone() }];
    }
    problem.errors.clone()
}

fn again(form: &FormPage, status: StatusCode) -> ApiResult<Response> {
    Ok((status, page(form)?).into_response())
}

/// `POST /ui/schedules`.
pub(super) async fn create(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let kinds = state.env.kinds;
    let request = match typed.request() {
        Ok(request) if typed.look.is_none() => request,
        Ok(_) => return page(&form_page(shell, kinds, None, typed, Vec::new())),
        Err(errors) => {
            return again(&form_page(shell, kinds, None, typed, errors), StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    match actions::create(&state, &session.principal, &request, None).await {
        Ok((schedule, _)) => Ok(done(&format!("/ui/schedules/{}", schedule.name), "schedule-made")),
        Err(error) if error.status().is_client_error() => {
            again(&form_page(shell, kinds, None, typed, errors_of(&error)), error.status())
        }
        Err(error) => Err(error),
    }
}

/// `GET /ui/schedules/{name}/edit`.
pub(super) async fn edit_form(
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> ApiResult<Response> {
    let schedule = actions::find(&mut *state.env.pool.get().await?, &name).await?;
    let typed = Typed::of(&schedule);
    page(&form_page(shell, state.env.kinds, Some(&schedule), typed, Vec::new()))
}

/// `POST /ui/schedules/{name}/edit`.
pub(super) async fn edit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let kinds = state.env.kinds;
    let schedule = actions::find(&mut *state.env.pool.get().await?, &name).await?;
    let request = match typed.request() {
        Ok(request) if typed.look.is_none() => request,
        Ok(_) => return page(&form_page(shell, kinds, Some(&schedule), typed, Vec::new())),
        Err(errors) => {
            let form = form_page(shell, kinds, Some(&schedule), typed, errors);
            return again(&form, StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    match actions::edit(&state, &session.principal, &name, &request).await {
        Ok(schedule) => Ok(done(&format!("/ui/schedules/{}", schedule.name), "schedule-saved")),
        Err(error) if error.status().is_client_error() => {
            again(&form_page(shell, kinds, Some(&schedule), typed, errors_of(&error)), error.status())
        }
        Err(error) => Err(error),
    }
}

#[derive(Template)]
#[template(path = "pages/schedules/run.html")]
struct RunPage {
    shell: Shell,
    name: String,
    href: String,
    kind: String,
    args: String,
    complaint: Option<String>,
}

/// `GET /ui/schedules/{name}/run`.
pub(super) async fn run_form(
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> ApiResult<Response> {
    let schedule = actions::find(&mut *state.env.pool.get().await?, &name).await?;
    let args = serde_json::to_string_pretty(&schedule.args).unwrap_or_default();
    page(&run_page(shell, &schedule, args, None))
}

fn run_page(shell: Shell, schedule: &Schedule, args: String, complaint: Option<String>) -> RunPage {
    RunPage {
        name: schedule.name.clone(),
        href: format!("/ui/schedules/{}", segment(&schedule.name)),
        kind: fmt::words(&schedule.kind),
        args,
        complaint,
        shell,
    }
}

/// Arguments, if the form has a field for them.
#[derive(Deserialize)]
pub(super) struct RunTyped {
    csrf_token: String,
    args: Option<String>,
}

/// `POST /ui/schedules/{name}/run`.
pub(super) async fn run(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<RunTyped>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let args = typed.args.as_deref().map(serde_json::from_str).transpose();
    let ran = match args {
        Ok(args) => actions::run_now(&state, &session.principal, &name, args, None).await,
        Err(error) => Err(ApiError::invalid("args", format!("This is not JSON: {error}."))),
    };
    match ran {
        Ok((run, created)) => {
            Ok(done(&format!("/ui/runs/{}", run.id), if created { "schedule-run" } else { "stands" }))
        }
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let schedule = actions::find(&mut *state.env.pool.get().await?, &name).await?;
            let args = typed
                .args
                .unwrap_or_else(|| serde_json::to_string_pretty(&schedule.args).unwrap_or_default());
            let form = run_page(shell, &schedule, args, Some(error.problem().detail.clone()));
            Ok((error.status(), page(&form)?).into_response())
        }
        Err(error) => Err(error),
    }
}

#[derive(Template)]
#[template(path = "pages/schedules/backfill.html")]
struct BackfillPage {
    shell: Shell,
    name: String,
    href: String,
    typed: BackfillTyped,
    complaint: Option<String>,
    field: String,
    shown: Option<Shown>,
}

/// What a backfill would do.
struct Shown {
    chosen: usize,
    times: usize,
    counts: Vec<(&'static str, usize)>,
    lines: Vec<PastLine>,
    left: usize,
}

struct PastLine {
    at: Time,
    local: String,
    standing: &'static str,
    run: Option<Id>,
    chosen: bool,
}

/// What the form says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct BackfillTyped {
    csrf_token: String,
    from: String,
    until: String,
    all: Option<String>,
    at_once: String,
}

impl BackfillTyped {
    fn request(&self) -> BackfillRequest {
        BackfillRequest {
            from: self.from.clone(),
            until: Some(self.until.clone()).filter(|until| !until.trim().is_empty()),
            all: self.all.is_some(),
            at_once: self.at_once.trim().parse().ok(),
        }
    }
}

fn standing_words(standing: Standing) -> &'static str {
    match standing {
        Standing::Missing => "without a run",
        Standing::Failed => "failed",
        Standing::Done => "done",
        Standing::Active => "on its way",
    }
}

fn shown(times: &[PastTime], schedule: &Schedule, shell: &Shell) -> Shown {
    let zone = schedule.zone.parse().unwrap_or(shell.zone);
    let line = |time: &PastTime| PastLine {
        at: shell.ago(time.nominal_at),
        local: time.nominal_at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
        standing: standing_words(time.standing),
        run: time.run_id.map(|run| Id::new(run).to(format!("/ui/runs/{run}"))),
        chosen: time.chosen,
    };
    let count = |standing: Standing| {
        (standing_words(standing), times.iter().filter(|time| time.standing == standing).count())
    };
    Shown {
        chosen: times.iter().filter(|time| time.chosen).count(),
        times: times.len(),
        counts: Standing::ALL
            .iter()
            .map(|&standing| count(standing))
            .filter(|(_, count)| *count > 0)
            .collect(),
        lines: times.iter().take(LISTED).map(line).collect(),
        left: times.len().saturating_sub(LISTED),
    }
}

async fn backfill_page(
    shell: Shell,
    state: &AppState,
    name: &str,
    mut typed: BackfillTyped,
    refused: Option<ApiError>,
) -> ApiResult<BackfillPage> {
    let conn = &mut *state.env.pool.get().await?;
    let schedule = actions::find(conn, name).await?;
    let (mut complaint, mut list) = (refused, None);
    if complaint.is_none() && !typed.from.trim().is_empty() {
        let looked = match read_wanted(shell.zone, shell.now, &typed.request()) {
            Ok(wanted) => backfill::times(conn, &schedule, wanted).await.map_err(ApiError::from),
            Err(error) => Err(error),
        };
        match looked {
            Ok(times) => list = Some(shown(&times, &schedule, &shell)),
            Err(error) if error.status().is_client_error() => complaint = Some(error),
            Err(error) => return Err(error),
        }
    }
    if typed.at_once.trim().is_empty() {
        typed.at_once = AT_ONCE.to_string();
    }
    Ok(BackfillPage {
        name: schedule.name.clone(),
        href: format!("/ui/schedules/{}", segment(&schedule.name)),
        typed,
        field: complaint.as_ref().and_then(|error| error.problem().field.clone()).unwrap_or_default(),
        complaint: complaint.map(|error| error.problem().detail.clone()),
        shown: list,
        shell,
    })
}

/// `GET /ui/schedules/{name}/backfill`: the form, and with a range what it would do.
pub(super) async fn backfill_form(
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(typed): Query<BackfillTyped>,
) -> ApiResult<Response> {
    page(&backfill_page(shell, &state, &name, typed, None).await?)
}

/// `POST /ui/schedules/{name}/backfill`.
pub(super) async fn backfill(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Form(typed): Form<BackfillTyped>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let at_once = typed.at_once.trim();
    let at_once = if at_once.is_empty() { Ok(AT_ONCE) } else { at_once.parse::<i32>() };
    let started = match (read_wanted(shell.zone, shell.now, &typed.request()), at_once) {
        (Ok(wanted), Ok(at_once)) => {
            actions::backfill(&state, &session.principal, &name, wanted, at_once, None).await
        }
        (Err(error), _) => Err(error),
        (_, Err(_)) => Err(ApiError::invalid("at_once", "Runs at once are a number from 1 to 50.")),
    };
    match started {
        Ok((run, _)) => Ok(done(&format!("/ui/runs/{}", run.id), "backfilling")),
        Err(error) if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let status = error.status();
            let form = backfill_page(shell, &state, &name, typed, Some(error)).await?;
            Ok((status, page(&form)?).into_response())
        }
        Err(error) => Err(error),
    }
}
