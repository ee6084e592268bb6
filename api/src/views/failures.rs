//! Groups of like failures as JSON.

use crate::pages::segment;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::runs::failures::FailureGroup;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where to go from a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureLinks {
    /// The group.
    #[serde(rename = "self")]
    pub itself: String,
    /// The latest of its runs; may have been pruned.
    pub last_run: String,
    /// Its runs that ended so and were not retried.
    pub failed_runs: String,
    /// POST here to retry those.
    pub retry: String,
}

/// Failed attempts that are alike.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// Stands for kind and message.
    pub fingerprint: String,
    /// The kind that fails.
    pub kind: String,
    /// The error without what differs from run to run.
    pub message: String,
    /// The error of the latest run that ended so, whole; null if none is kept.
    pub error: Option<String>,
    /// Failed attempts, ever.
    pub occurrences: i64,
    /// Runs that ended so and were not retried.
    pub failed_runs: i64,
    /// Runs that will try again.
    pub retrying_runs: i64,
    /// First seen.
    pub first_seen: DateTime<Utc>,
    /// Last seen.
    pub last_seen: DateTime<Utc>,
    /// The latest run; may have been pruned.
    pub last_run_id: Uuid,
    /// Where to go from here.
    pub links: FailureLinks,
}

impl From<FailureGroup> for FailureView {
    fn from(group: FailureGroup) -> Self {
        let fingerprint = segment(&group.fingerprint);
        let itself = format!("/api/v1/failures/{fingerprint}");
        Self {
            links: FailureLinks {
                last_run: format!("/api/v1/runs/{}", group.last_run_id),
                failed_runs: format!("/api/v1/runs?state=failed,discarded&fingerprint={fingerprint}"),
                retry: format!("{itself}/retry"),
                itself,
            },
            fingerprint: group.fingerprint,
            kind: group.kind,
            message: group.message,
            error: group.error,
            occurrences: group.occurrences,
            failed_runs: group.failed_runs,
            retrying_runs: group.retrying_runs,
            first_seen: group.first_seen,
            last_seen: group.last_seen,
            last_run_id: group.last_run_id.0,
        }
    }
}
