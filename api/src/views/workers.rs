//! Workers as JSON.

use super::runs::RunView;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::runs::workers::WorkerStanding;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where to go from a worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerLinks {
    /// The worker, with what it runs.
    #[serde(rename = "self")]
    pub itself: String,
    /// What it runs, as a list of runs.
    pub runs: String,
}

/// One start of a worker process.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// Fresh at each start.
    pub id: Uuid,
    /// Machine.
    pub host: String,
    /// Process id there.
    pub pid: i32,
    /// Version of Millrace.
    pub version: String,
    /// alive, stopping, stopped or dead.
    pub state: String,
    /// It is thought alive, but has said nothing for its whole lease.
    pub silent: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub last_seen: DateTime<Utc>,
    /// Silent for so long, it is taken for dead.
    pub lease_ms: i32,
    /// Slots by queue.
    #[schema(value_type = Object)]
    pub slots: serde_json::Value,
    /// Slots in use, by queue; queues without are left out.
    pub slots_in_use: BTreeMap<String, i64>,
    /// Runs that it runs now.
    pub running: i64,
    /// The kinds it knows.
    pub kinds: Vec<String>,
    /// Where to go from here.
    pub links: WorkerLinks,
}

impl From<WorkerStanding> for WorkerView {
    fn from(standing: WorkerStanding) -> Self {
        let WorkerStanding { worker, silent, running } = standing;
        Self {
            state: worker.standing().to_owned(),
            id: worker.id.0,
            host: worker.host,
            pid: worker.pid,
            version: worker.version,
            silent,
            started_at: worker.started_at,
            last_seen: worker.last_seen,
            lease_ms: worker.lease_ms,
            slots: worker.slots,
            running: running.iter().map(|(_, count)| count).sum(),
            slots_in_use: running.into_iter().collect(),
            kinds: worker.kinds,
            links: WorkerLinks {
                itself: format!("/api/v1/workers/{}", worker.id),
                runs: format!("/api/v1/runs?worker={}", worker.id),
            },
        }
    }
}

/// A worker and what it runs now.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerDetail {
    /// The worker.
    #[serde(flatten)]
    pub worker: WorkerView,
    /// What it runs, oldest first, at most 500.
    pub runs: Vec<RunView>,
}
