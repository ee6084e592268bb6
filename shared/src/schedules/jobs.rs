//! The job that carries out a backfill.

use super::{
    making::{self, Made},
    model::Schedule,
    queries,
};
use crate::{
    ids::ScheduleId,
    runs::{Finished, Job, JobError, Queue, Retry, RunContext, service::BEHIND},
    schema::schedules,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Between looks at what has ended.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the ticks that wait for it, a few at a time, oldest first. What it does is in the ticks: after a crash it
/// goes on where it was.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BackfillSchedule {
    /// Whose ticks.
    pub schedule: ScheduleId,
    /// The schedule's name.
    pub name: String,
    /// Runs at once.
    pub at_once: i32,
}

impl Job for BackfillSchedule {
    const KIND: &'static str = "backfill_schedule";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 8, first: Duration::from_secs(2), cap: Duration::from_secs(300) };
    const TIMEOUT: Duration = Duration::from_secs(7 * 86_400);
    const UNCLONABLE: Option<&'static str> =
        Some("ask for the backfill anew, so that its times are looked at: `millrace schedules backfill`");

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        loop {
            let standing = {
                let mut pooled = context.connection().await?;
                let conn: &mut AsyncPgConnection = &mut pooled;
                let standing =
                    queries::backfill_standing(conn, context.run_id).await.map_err(JobError::retry)?;
                let free = i64::from(self.at_once) - standing.running;
                if free > 0 && standing.waiting > 0 {
                    self.let_go(conn, &context, free).await?;
                }
                standing
            };
            let ended = standing.completed + standing.failed;
            let total = ended + standing.running + standing.waiting;
            let phase = format!("{} at once", self.at_once);
            context.progress(ended, Some(total), "times", &phase).await;
            if ended == total && standing.failed > 0 {
                return Err(JobError::fail(anyhow::anyhow!(
                    "{} of {total} times failed. When the reason is mended, ask for the backfill again: it runs what is \
                     missing or failed.",
                    standing.failed
                )));
            }
            if ended == total {
                return Ok(Finished::Result(serde_json::json!({
                    "schedule": self.name,
                    "times": total,
                })));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = context.cancel.cancelled() => return Err(JobError::Cancelled),
            }
        }
    }
}

impl BackfillSchedule {
    /// Makes the runs of the next ticks, each in a transaction of its own under the schedule's row.
    async fn let_go(
        &self,
        conn: &mut AsyncPgConnection,
        context: &RunContext,
        free: i64,
    ) -> Result<(), JobError> {
        let by = format!("backfill of {}", self.name);
        for tick in queries::next_of_backfill(conn, context.run_id, free).await.map_err(JobError::retry)? {
            let made = conn
                .transaction(async |conn| {
                    let query = schedules::table.find(self.schedule).select(Schedule::as_select());
                    let schedule: Option<Schedule> = query.for_update().first(conn).await.optional()?;
                    // Deleted meanwhile, its ticks with it.
                    let Some(schedule) = schedule else { return Ok(None) };
                    let kind = context.env.kinds.iter().find(|kind| kind.name == schedule.kind);
                    let live = schedule.priority.or(kind.map(|kind| kind.priority)).unwrap_or_default();
                    let priority = Some(live.saturating_add(BEHIND));
                    let made =
                        making::make(conn, context.env.kinds, &schedule, tick.nominal_at, &by, priority)
                            .await?;
                    Ok::<_, super::ScheduleError>(Some((made, kind.map(|kind| kind.queue))))
                })
                .await
                .map_err(JobError::retry)?;
            if let Some((Made::Run(_), Some(queue))) = made {
                context.env.doorbells.ring(queue, 1);
            }
        }
        Ok(())
    }
}
