//! What several pages show of a run, and what they do with one.

use super::{
    fmt,
    pieces::{Badge, Id, Time},
    shell::Shell,
};
use crate::{
    actions,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    ids::{RunId, WorkerId},
    runs::{
        Run, RunEvent, RunState, queries as run_queries,
        waiting::{self, Waiting, WaitingReason},
    },
};

/// A run in a list.
pub struct RunLine {
    /// Its id.
    pub id: RunId,
    /// Its page.
    pub href: String,
    /// The kind, in words.
    pub kind: String,
    /// Its arguments, ids cut to their ends.
    pub short_args: String,
    /// Where it stands.
    pub badge: Badge,
    /// Why it waits or failed.
    pub why: Option<String>,
    /// `2 of 8`.
    pub attempt: String,
    /// Where it waits.
    pub queue: String,
    /// How long it waited for its first attempt.
    pub waited: String,
    /// How long it ran, from its first attempt on.
    pub ran: String,
    /// When it was asked for.
    pub created: Time,
    /// When it ended.
    pub finished: Option<Time>,
    /// Its last error, cut.
    pub error: Option<String>,
    /// Who holds it.
    pub worker: Option<Id>,
}

impl RunLine {
    /// The line of a run that waits for this reason.
    fn new(run: &Run, waiting: Option<&Waiting>, shell: &Shell) -> Self {
        Self {
            id: run.id,
            href: format!("/ui/runs/{}", run.id),
            kind: fmt::words(&run.kind),
            short_args: short_args(&run.args),
            badge: run.state.into(),
            why: why(run, waiting, shell),
            attempt: format!("{} of {}", run.attempt, run.max_attempts),
            queue: run.queue.clone(),
            waited: waited(run, shell.now),
            ran: ran(run, shell.now),
            created: shell.ago(run.created_at),
            finished: run.finished_at.map(|at| shell.ago(at)),
            error: run.error.as_deref().map(|error| fmt::cut(first_line(error), 160)),
            worker: run.worker_id.map(worker_link),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// Arguments as people recognise them: `upload 8f3a21bc, chunk 3`.
fn short_args(args: &serde_json::Value) -> String {
    let Some(object) = args.as_object() else { return String::new() };
    let words: Vec<String> = object
        .iter()
        .take(4)
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = match uuid::Uuid::parse_str(&text) {
                Ok(_) => text[text.len() - 8..].to_owned(),
                Err(_) => fmt::cut(&text, 40),
            };
            format!("{} {text}", fmt::words(name.strip_suffix("_id").unwrap_or(name)))
        })
        .collect();
    words.join(", ")
}

/// How long a run waited before its first attempt; until now, if that has not begun.
pub fn waited(run: &Run, now: DateTime<Utc>) -> String {
    match (run.started_at, run.state) {
        // A run that was put off, or asked for again, waits from then.
        (Some(started), _) if started >= run.run_at => fmt::duration(started - run.run_at),
        (Some(started), _) => fmt::duration(started - run.created_at),
        (None, state) if state.is_terminal() => "–".to_owned(),
        (None, _) => fmt::duration((now - run.run_at).max(TimeDelta::zero())),
    }
}

/// How long a run ran, from its first attempt to its end, or until now while it runs.
pub fn ran(run: &Run, now: DateTime<Utc>) -> String {
    match (run.started_at, run.finished_at) {
        (Some(started), Some(finished)) => fmt::duration(finished - started),
        (Some(started), None) if run.state == RunState::Running => fmt::duration(now - started),
        _ => "–".to_owned(),
    }
}

/// The lines of runs; one query says why those wait that do.
pub async fn lines(conn: &mut AsyncPgConnection, runs: &[Run], shell: &Shell) -> QueryResult<Vec<RunLine>> {
    let moving: Vec<RunId> = runs.iter().filter(|run| !run.state.is_terminal()).map(|run| run.id).collect();
    let waiting = waiting::reasons(conn, &moving).await?;
    Ok(runs.iter().map(|run| RunLine::new(run, waiting.get(&run.id), shell)).collect())
}

/// A worker's id as the way to its page.
pub fn worker_link(worker: WorkerId) -> Id {
    Id::new(worker).to(format!("/ui/workers/{worker}"))
}

/// Why a run waits, or how it ended, in words. That it runs its badge says.
pub fn why(run: &Run, waiting: Option<&Waiting>, shell: &Shell) -> Option<String> {
    if !run.state.is_terminal() {
        let waiting = waiting.filter(|waiting| waiting.reason != WaitingReason::Running)?;
        return Some(waiting.words_with(|time| shell.when(time)));
    }
    match (run.state, run.reason.as_deref()) {
        (_, Some("crashed")) => Some("its worker died, again and again".to_owned()),
        (_, Some("timed_out")) => Some("took too long".to_owned()),
        (_, Some("expired")) => Some("waited too long to begin".to_owned()),
        (_, Some("child_failed")) => Some("a step of it failed".to_owned()),
        (RunState::Discarded, _) => {
            Some(format!("gave up after {}", fmt::counted(i64::from(run.attempt), "attempt")))
        }
        _ => None,
    }
}

/// Where to look when a run waits for this reason.
pub fn way_on(waiting: &Waiting) -> Option<(&'static str, &'static str)> {
    use WaitingReason as R;
    match waiting.reason {
        R::QueuePaused | R::KindPaused | R::LimitReached | R::SlotsFull | R::Behind => {
            Some(("Queues", "/ui/queues"))
        }
        R::NoWorker | R::WorkerSilent => Some(("Workers", "/ui/workers")),
        _ => None,
    }
}

/// Why a run cannot be retried now.
pub fn retry_refusal(run: &Run) -> Option<String> {
    match run.state.next(RunEvent::Retry) {
        Ok(_) => None,
        Err(refused) if refused.from == RunState::Completed => Some("already completed".to_owned()),
        Err(refused) if refused.from == RunState::Retryable => Some("tries again by itself".to_owned()),
        Err(refused) => Some(format!("still {}", refused.from)),
    }
}

/// Why a run cannot be cancelled now.
pub fn cancel_refusal(run: &Run) -> Option<String> {
    match run.state.next(RunEvent::Cancel) {
        Ok(_) if run.cancel_requested => Some("already asked to stop".to_owned()),
        Ok(_) => None,
        Err(refused) => Some(format!("already {}", refused.from)),
    }
}

/// What an action's form sends.
#[derive(Debug, Deserialize)]
pub struct ActionForm {
    csrf_token: String,
    confirmed: Option<String>,
}

impl ActionForm {
    /// Refuses a form that is not of this session.
    pub fn verify(&self, session: &PageSession) -> ApiResult<()> {
        verify_csrf(session, &self.csrf_token)
    }

    /// Whether the question was answered.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.as_deref() == Some("yes")
    }
}

/// What can be done with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Run it again.
    Retry,
    /// Stop it.
    Cancel,
}

/// Does it on behalf of the visitor ([`actions`] audits it and rings the doorbell); returns the run that
/// stands for it and the notice to show.
pub async fn perform(
    state: &AppState,
    session: &PageSession,
    run: &Run,
    deed: Deed,
) -> ApiResult<(RunId, &'static str)> {
    let principal = &session.principal;
    Ok(match deed {
        Deed::Retry => {
            let again = actions::retry_run(state, principal, run.id).await?.id;
            (again, if again == run.id { "retried" } else { "stands" })
        }
        Deed::Cancel => match actions::cancel_run(state, principal, run.id).await?.state {
            RunState::Cancelled => (run.id, "cancelled"),
            _ => (run.id, "cancelling"),
        },
    })
}

/// The run of this id, or the page that says there is none.
pub async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Run> {
    let found = match id.parse::<RunId>() {
        Ok(id) => run_queries::find_run(conn, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| {
        ApiError::not_found(
            "There is no run with this id. It may be mistyped, or pruned because it ended long ago.",
        )
    })
}
