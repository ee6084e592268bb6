//! What is on a clock in every installation: a line each.

use diesel_async::AsyncPgConnection;
use futures::{FutureExt, future::BoxFuture};
use shared::{
    runs::{EnqueueOptions, Enqueued, Queue, RunError, enqueue, jobs::PruneRuns},
    summaries::jobs::{VerifySummaries, ask_for_refresh},
    uploads::prune::PruneFiles,
};

/// Enqueues a schedule's job in the caller's transaction.
type EnqueueJob =
    for<'a> fn(&'a mut AsyncPgConnection, &'a EnqueueOptions) -> BoxFuture<'a, Result<Enqueued, RunError>>;

/// A job on a clock.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// Stable name: part of a tick's key.
    pub name: &'static str,
    /// Second, minute, hour, day, month, weekday; UTC.
    pub cron: &'static str,
    /// Whose doorbell is rung.
    pub queue: Queue,
    /// What it enqueues.
    pub enqueue: EnqueueJob,
}

/// Every one of them.
pub static SCHEDULES: &[Schedule] = &[
    Schedule {
        name: "refresh_client_summary",
        cron: "0 7 * * * *",
        queue: Queue::Default,
        enqueue: |conn, options| async move { ask_for_refresh(conn, options).await }.boxed(),
    },
    Schedule {
        name: "verify_summaries",
        cron: "0 41 2 * * *",
        queue: Queue::Default,
        enqueue: |conn, options| async move { enqueue(conn, &VerifySummaries {}, options).await }.boxed(),
    },
    Schedule {
        name: "prune_runs",
        cron: "0 23 * * * *",
        queue: Queue::Default,
        enqueue: |conn, options| async move { enqueue(conn, &PruneRuns {}, options).await }.boxed(),
    },
    Schedule {
        name: "prune_files",
        cron: "0 37 * * * *",
        queue: Queue::Default,
        enqueue: |conn, options| async move { enqueue(conn, &PruneFiles {}, options).await }.boxed(),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_can_be_read_and_every_name_is_unique() {
        let mut names = std::collections::HashSet::new();
        for schedule in SCHEDULES {
            assert!(schedule.cron.parse::<cron::Schedule>().is_ok(), "{}", schedule.name);
            assert!(names.insert(schedule.name));
        }
    }
}
