//! Why a run that has not ended is where it is: one reason, in words. The database decides (function
//! `waiting_reasons`); this only reads and words it.

use crate::ids::RunId;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, Jsonb, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

text_enum! {
    /// Why a run waits, or what it does.
    WaitingReason {
        /// For its time.
        Scheduled = "scheduled",
        /// Its handler said: not now.
        Snoozed = "snoozed",
        /// For its next attempt.
        Backoff = "backoff",
        /// For its children.
        Dependency = "dependency",
        /// Its queue is paused.
        QueuePaused = "queue_paused",
        /// Its kind is paused.
        KindPaused = "kind_paused",
        /// No worker that is alive serves its queue and knows its kind.
        NoWorker = "no_worker",
        /// As many of its queue run as may run on all workers together.
        LimitReached = "limit_reached",
        /// Every slot of its queue is taken.
        SlotsFull = "slots_full",
        /// Others go first.
        Behind = "behind",
        /// For nothing: it begins within a second.
        Starting = "starting",
        /// It runs.
        Running = "running",
        /// It was asked to stop and has not stopped yet.
        Stopping = "stopping",
        /// It runs on a worker that says nothing; it will be taken from it.
        WorkerSilent = "worker_silent",
    }
}

/// What the reason is about; which fields are there depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingDetail {
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
    /// What who paused it said.
    pub why: Option<String>,
    /// Who paused it.
    pub by: Option<String>,
    /// Children that have not ended.
    pub children: Option<i64>,
    /// Runs that go first (counted up to 1,000).
    pub ahead: Option<i64>,
    /// Runs of its queue that run.
    pub running: Option<i64>,
    /// Slots of its queue on all workers that are alive.
    pub slots: Option<i64>,
    /// How many of its queue may run at once.
    pub limit: Option<i64>,
    /// When its worker was last heard of.
    pub last_seen: Option<DateTime<Utc>>,
}

/// Why a run is where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The reason.
    pub reason: WaitingReason,
    /// What it is about.
    pub detail: WaitingDetail,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Uuid)]
    run_id: RunId,
    #[diesel(sql_type = Text)]
    reason: WaitingReason,
    #[diesel(sql_type = Jsonb)]
    detail: serde_json::Value,
}

/// The reasons of those of the runs that have not ended.
pub async fn reasons(conn: &mut AsyncPgConnection, runs: &[RunId]) -> QueryResult<HashMap<RunId, Waiting>> {
    if runs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = diesel::sql_query("SELECT run_id, reason, detail FROM waiting_reasons($1)")
        .bind::<Array<Uuid>, _>(runs)
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let detail = serde_json::from_value(row.detail).unwrap_or_default();
            (row.run_id, Waiting { reason: row.reason, detail })
        })
        .collect())
}

impl Waiting {
    /// A sentence for people, with absolute times.
    pub fn words(&self) -> String {
        self.words_with(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
    }

    /// A sentence for people; `say` tells a time.
    pub fn words_with(&self, say: impl Fn(DateTime<Utc>) -> String) -> String {
        use WaitingReason as R;
        let WaitingDetail { until, why, by, children, ahead, running, slots, limit, last_seen } =
            &self.detail;
        let number = |number: &Option<i64>| number.unwrap_or_default();
        let until = until.map(|time| format!(" until {}", say(time))).unwrap_or_default();
        let paused = |what: &str| {
            let by = by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why = why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("its {what} is paused{by}{until}{why}")
        };
        match self.reason {
            R::Scheduled => format!("waits{until}, as it was asked to"),
            R::Snoozed => format!("its handler asked to be called again later; waits{until}"),
            R::Backoff => format!("an attempt failed; waits{until} for the next"),
            R::Dependency => match number(children) {
                1 => "waits for 1 step that has not ended".to_owned(),
                n => format!("waits for {} steps that have not ended", grouped(n)),
            },
            R::QueuePaused => paused("queue"),
            R::KindPaused => paused("kind"),
            R::NoWorker => "no worker that is alive serves its queue and knows its kind; start one with `millrace worker`".to_owned(),
            R::LimitReached => format!("its queue's limit is reached: {} may run at once on all workers", grouped(number(limit))),
            R::SlotsFull => format!(
                "every slot of its queue is taken: {} of {} run, {}",
                grouped(number(running)),
                grouped(number(slots)),
                first(number(ahead))
            ),
            R::Behind => first(number(ahead)),
            R::Starting => "begins within a second".to_owned(),
            R::Running => "it runs".to_owned(),
            R::Stopping => "it was asked to stop; what runs ends within ten seconds".to_owned(),
            R::WorkerSilent => match last_seen {
                Some(time) => format!(
                    "its worker has said nothing since {}; its runs will be given to others",
                    say(*time)
                ),
                None => "its worker is dead; it will be given to another".to_owned(),
            },
        }
    }
}

/// `9,990`.
fn grouped(number: i64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

fn first(ahead: i64) -> String {
    match ahead {
        0 => "it is next".to_owned(),
        1 => "1 run goes first".to_owned(),
        2..1000 => format!("{ahead} runs go first"),
        _ => "1,000 runs or more go first".to_owned(),
    }
}
