//! The overview: one sentence on how things are, then what moves, what failed, who works.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Empty, Id, Time},
    shell::{Shell, page},
    upload_parts::{UploadLine, lines},
    workers,
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    clients::queries as client_queries,
    feed::outbox::{self, Pace},
    pagination::PageRequest,
    runs::{
        pulse::{self, Pulse},
        queries as run_queries,
        queues::{self, Pause, QueueStanding},
    },
    schedules::{
        self,
        alerts::{self, Alert},
    },
    stocks::queries::find_stock,
    trades::queries as trade_queries,
    transactions::queries as transaction_queries,
    uploads::{model::UploadState, queries as upload_queries},
};

/// Schedules that are shown, those that fire next.
const SCHEDULES: usize = 4;
/// Alerts that have a line of their own.
const ALERTS: i64 = 5;
/// Rows of the feed's outbox that its rate is taken from.
const PACED_ROWS: i64 = 32;
/// Waiting longer than this is worth a word.
const LONG_WAIT_MS: i64 = 60_000;

#[derive(Template)]
#[template(path = "pages/overview/overview.html")]
struct OverviewPage {
    shell: Shell,
    verdicts: Vec<Verdict>,
    uploads: Vec<UploadLine>,
    latest: Vec<UploadLine>,
    failures: Vec<Failure>,
    schedules: Vec<NextSchedule>,
    workers: Vec<workers::WorkerLine>,
    pulse: Pulse,
    totals: Totals,
    pace: String,
    empty: Option<Empty>,
}

/// One sentence on how things are.
struct Verdict {
    class: &'static str,
    icon: &'static str,
    text: String,
    link: Option<(&'static str, String)>,
}

struct Failure {
    kind: String,
    error: String,
    count: i64,
    last: Time,
    run: Id,
    href: String,
}

struct Totals {
    transactions: i64,
    clients: i64,
    uploads: i64,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
}

/// `GET /ui`; with `q`, the way to what is meant.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    if let Some(meant) = wanted.q.as_deref().map(str::trim).filter(|meant| !meant.is_empty()) {
        return Ok(Redirect::to(&find_place(&mut conn, meant).await?).into_response());
    }
    let pulse = pulse::pulse(&mut conn).await?;
    let (uploads, latest) = uploads(&mut conn, &shell).await?;
    let totals = totals(&mut conn).await?;
    let pace = pace_words(outbox::pace(&mut conn, PACED_ROWS).await?);
    let failures = failures(&mut conn, &shell).await?;
    let workers = shared::runs::workers::recent(&mut conn).await?;
    let pauses = queues::paused(&mut conn).await?;
    let standings = queues::standings(&mut conn).await?;
    let alerts = alerts::list(&mut conn, false, ALERTS).await?;
    let schedules = NextSchedule::load(&mut conn, &shell).await?;
    shell.moving = pulse.running + pulse.waiting > 0;
    let empty = (totals.uploads == 0 && totals.transactions == 0).then(|| {
        Empty::nothing_yet(
            "Nothing is loaded yet",
            "Hand in a CSV file of transactions, clients or stocks. Millrace cuts it into chunks, loads them in \
             parallel, and says of every row what became of it.",
            "Upload a file",
            "/ui/uploads/new",
        )
        .or_by("millrace generate transactions --rows 100000 > sample.csv")
    });
    page(&OverviewPage {
        verdicts: verdicts(&pulse, needs_a_look(&alerts), held_back(&pauses, &standings, &shell)),
        workers: workers
            .iter()
            .filter(|standing| standing.worker.state == "alive")
            .take(12)
            .map(|standing| workers::WorkerLine::new(standing, &[], &shell))
            .collect(),
        shell,
        uploads,
        latest,
        failures,
        schedules,
        pulse,
        totals,
        pace,
        empty,
    })
}

/// Events a second: `340`, `12.4`, `0.02`, `0`.
fn pace_words(pace: Pace) -> String {
    let hundredths = i128::from(pace.events) * 100_000 / i128::from(pace.span_ms);
    let (whole, rest) = (i64::try_from(hundredths / 100).unwrap_or(i64::MAX), hundredths % 100);
    match whole {
        0 if hundredths == 0 && pace.events > 0 => "under 0.01".to_owned(),
        0 if hundredths == 0 => "0".to_owned(),
        0 => format!("0.{rest:02}"),
        1..=99 => format!("{whole}.{}", rest / 10),
        whole => fmt::count(whole),
    }
}

/// Schedules that should have run and did not.
fn needs_a_look(alerts: &[Alert]) -> Vec<Verdict> {
    let verdict = |alert: &Alert| Verdict {
        class: "failed",
        icon: "warn",
        text: format!("Schedule {}: {}", alert.subject, alert.message),
        link: Some(("Schedules", "/ui/schedules".to_owned())),
    };
    alerts.iter().map(verdict).collect()
}

/// A schedule that fires soon.
struct NextSchedule {
    name: String,
    href: String,
    words: String,
    next: Time,
}

impl NextSchedule {
    /// The next few.
    async fn load(conn: &mut AsyncPgConnection, shell: &Shell) -> ApiResult<Vec<Self>> {
        let schedules = schedules::queries::list(conn).await?;
        let next = schedules.iter().filter_map(|schedule| {
            Some(Self {
                name: schedule.name.clone(),
                href: format!("/ui/schedules/{}", segment(&schedule.name)),
                words: super::schedule_words::of(schedule),
                next: shell.ago(schedule.next_at?),
            })
        });
        Ok(next.take(SCHEDULES).collect())
    }
}

/// What somebody holds back: pauses, and limits that runs wait for.
fn held_back(pauses: &[Pause], standings: &[QueueStanding], shell: &Shell) -> Vec<Verdict> {
    let link = || Some(("Queues", "/ui/queues".to_owned()));
    let paused = pauses.iter().map(|pause| {
        let text = format!(
            "The {} {} is paused {}.",
            pause.target,
            fmt::words(&pause.name),
            super::queues::pause_words(pause, shell)
        );
        Verdict { class: "warn", icon: "paused", text, link: link() }
    });
    let reached = |standing: &&QueueStanding| {
        standing.available > 0
            && standing.max_running.is_some_and(|limit| standing.running >= i64::from(limit))
    };
    let limited = standings.iter().filter(reached).map(|standing| {
        let text = format!(
            "The queue {} is at its limit of {}; {}.",
            standing.queue,
            fmt::count(i64::from(standing.max_running.unwrap_or_default())),
            wait_words(standing.available)
        );
        Verdict { class: "warn", icon: "warn", text, link: link() }
    });
    paused.chain(limited).collect()
}

/// How things are, in sentences: what is wrong first, or that all is well.
fn verdicts(pulse: &Pulse, alerts: Vec<Verdict>, held_back: Vec<Verdict>) -> Vec<Verdict> {
    let runs = |query: &str| Some(("See them", format!("/ui/runs?{query}")));
    let mut wrong = Vec::new();
    let waited = fmt::duration(TimeDelta::milliseconds(pulse.longest_wait_ms));
    if pulse.workers == 0 {
        let text = match pulse.waiting {
            0 => "No worker is alive: nothing that is asked for would run.".to_owned(),
            waiting => format!("No worker is alive: {} for {waited}.", wait_words(waiting)),
        };
        let link = Some(("Workers", "/ui/workers".to_owned()));
        wrong.push(Verdict { class: "failed", icon: "failed", text, link });
    } else if pulse.longest_wait_ms > LONG_WAIT_MS {
        let text = format!("{}, the longest for {waited}.", wait_words(pulse.waiting));
        wrong.push(Verdict { class: "warn", icon: "warn", text, link: runs("state=available") });
    }
    if pulse.failed_lately > 0 {
        let text = format!("{} failed in the last hour.", fmt::counted(pulse.failed_lately, "run"));
        let link = Some(("Failures", "/ui/failures".to_owned()));
        wrong.push(Verdict { class: "failed", icon: "failed", text, link });
    }
    if pulse.silent_workers > 0 {
        let text = format!(
            "{} silent for longer than a lease; what it held goes to others.",
            is_are(pulse.silent_workers, "worker")
        );
        let link = Some(("Workers", "/ui/workers".to_owned()));
        wrong.push(Verdict { class: "warn", icon: "warn", text, link });
    }
    wrong.extend(alerts);
    wrong.extend(held_back);
    if pulse.retrying > 0 {
        let text = format!("{} for another attempt after an error.", wait_words(pulse.retrying));
        wrong.push(Verdict { class: "warn", icon: "retryable", text, link: runs("state=retryable") });
    }
    if wrong.is_empty() {
        let text = match (pulse.running, pulse.waiting) {
            (0, 0) => "All well: nothing is running and nothing waits.".to_owned(),
            (running, 0) => format!("All well: {} active, nothing waits.", fmt::counted(running, "run")),
            (running, _) => {
                format!(
                    "All well: {} active, nothing has waited longer than {waited}.",
                    fmt::counted(running, "run")
                )
            }
        };
        wrong.push(Verdict { class: "completed", icon: "completed", text, link: None });
    }
    wrong
}

fn wait_words(runs: i64) -> String {
    if runs == 1 { "1 run waits".to_owned() } else { format!("{} runs wait", fmt::count(runs)) }
}

fn is_are(number: i64, noun: &str) -> String {
    format!("{} {}", fmt::counted(number, noun), if number == 1 { "is" } else { "are" })
}

/// Uploads on their way, and the latest of those that are not.
async fn uploads(
    conn: &mut AsyncPgConnection,
    shell: &Shell,
) -> ApiResult<(Vec<UploadLine>, Vec<UploadLine>)> {
    let some = |limit, states: &[UploadState]| {
        let filter = upload_queries::UploadFilter { states: states.to_vec(), kind: None };
        (filter, PageRequest { limit, cursor: None })
    };
    let (filter, request) = some(20, &[UploadState::Received, UploadState::Planning, UploadState::Loading]);
    let moving = upload_queries::list_uploads(conn, &filter, &request).await?.items;
    let ended = [UploadState::Finished, UploadState::Failed, UploadState::Cancelled, UploadState::Undone];
    let (filter, request) = some(5, &ended);
    let latest = upload_queries::list_uploads(conn, &filter, &request).await?.items;
    Ok((lines(conn, &moving, shell).await?, lines(conn, &latest, shell).await?))
}

async fn failures(conn: &mut AsyncPgConnection, shell: &Shell) -> ApiResult<Vec<Failure>> {
    let groups = pulse::failures_lately(conn, 10).await?;
    Ok(groups
        .into_iter()
        .map(|group| Failure {
            kind: fmt::words(&group.kind),
            error: fmt::cut(group.error.as_deref().unwrap_or("no error was noted"), 300),
            count: group.count,
            last: shell.ago(group.last_at),
            run: Id::new(group.last_run).to(format!("/ui/runs/{}", group.last_run)),
            href: match &group.fingerprint {
                Some(fingerprint) => format!("/ui/failures/{}", segment(fingerprint)),
                // Without an error of its own, such as one that waited too long.
                None => Address::new("/ui/runs")
                    .with("state", "failed,discarded")
                    .with("kind", &group.kind)
                    .to_string(),
            },
        })
        .collect())
}

async fn totals(conn: &mut AsyncPgConnection) -> ApiResult<Totals> {
    let uploads = upload_queries::count_by_state(conn, None).await?;
    Ok(Totals {
        transactions: transaction_queries::count_all(conn).await?,
        clients: client_queries::count_all(conn).await?,
        uploads: uploads.iter().map(|(_, count)| count).sum(),
    })
}

/// The page of what somebody means: a run, an upload or a trade by its id or the id's end, a client, a stock,
/// a transaction; else the search among clients.
async fn find_place(conn: &mut AsyncPgConnection, meant: &str) -> ApiResult<String> {
    let id = meant.to_ascii_lowercase();
    if (8..=36).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        let ending = &id[id.len() - 8..];
        if let Some(upload) = upload_queries::find_by_ending(conn, ending).await? {
            return Ok(format!("/ui/uploads/{upload}"));
        }
        if let Some(run) = run_queries::find_by_ending(conn, ending).await? {
            return Ok(format!("/ui/runs/{run}"));
        }
        if let Some(trade) = trade_queries::find_by_ending(conn, ending).await? {
            return Ok(format!("/ui/trades/{trade}"));
        }
    }
    if client_queries::find_client(conn, meant).await?.is_some() {
        return Ok(format!("/ui/clients/{}", segment(meant)));
    }
    for ticker in [meant, &meant.to_uppercase()] {
        if find_stock(conn, ticker).await?.is_some() {
            return Ok(format!("/ui/stocks/{}", segment(ticker)));
        }
    }
    if transaction_queries::find_transaction(conn, meant).await?.is_some() {
        return Ok(Address::new("/ui/transactions").with("q", meant).to_string());
    }
    Ok(Address::new("/ui/clients").with("q", meant).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_as_exactly_as_it_is_of_use() {
        let words = |events, span_ms| pace_words(Pace { events, span_ms });
        assert_eq!(words(0, 60_000), "0");
        assert_eq!(words(1, 60_000), "0.01");
        assert_eq!(words(90, 60_000), "1.5");
        assert_eq!(words(5_000, 1_000), "5,000");
    }
}
