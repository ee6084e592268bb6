//! Ticking: apalis-cron says when, a row in `ticks` makes it once. A tick bears its nominal time, that
//! of the cron expression, however late it fires.

use crate::built_in::{SCHEDULES, Schedule};
use anyhow::Context;
use apalis_cron::CronScheduler;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures::StreamExt;
use shared::{
    db::DbPool,
    runs::{Doorbells, EnqueueOptions},
    schema::ticks,
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Wait before a tick that could not be written is tried again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// Ticks every schedule until `term` ends.
pub async fn tick_all(pool: &DbPool, doorbells: &Doorbells, term: CancellationToken) {
    let ticking =
        futures::future::join_all(SCHEDULES.iter().map(|schedule| tick_one(pool, doorbells, schedule)));
    tokio::select! {
        _ = ticking => {}
        () = term.cancelled() => {}
    }
}

async fn tick_one(pool: &DbPool, doorbells: &Doorbells, schedule: &Schedule) {
    let cron: cron::Schedule = match schedule.cron.parse() {
        Ok(cron) => cron,
        Err(error) => {
            tracing::error!(schedule = schedule.name, %error, "this schedule cannot be read and never fires");
            return;
        }
    };
    loop {
        // After a tick that came too late for it the ticker repeats its error for ever: start it anew.
        let mut due = CronScheduler::new(cron.clone()).into_stream();
        while let Some(tick) = due.next().await {
            let (seconds, late) = match tick {
                Ok(tick) => (tick.get_timestamp(), false),
                Err(apalis_cron::Error::OutOfRange { tick, .. }) => (tick, true),
            };
            let nominal =
                i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            if let Some(nominal) = nominal {
                fire_until_written(pool, doorbells, schedule, nominal).await;
            }
            if late {
                break;
            }
        }
    }
}

/// The database may be away for a while; the tick waits for it.
async fn fire_until_written(
    pool: &DbPool,
    doorbells: &Doorbells,
    schedule: &Schedule,
    nominal: DateTime<Utc>,
) {
    loop {
        match fire_schedule(pool, schedule, nominal).await {
            Ok(fired) => {
                if fired {
                    tracing::info!(schedule = schedule.name, %nominal, "tick");
                    doorbells.ring(schedule.queue, 1);
                }
                return;
            }
            Err(error) => {
                tracing::warn!(schedule = schedule.name, %nominal, error = format!("{error:#}"), "tick not written yet");
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
        }
    }
}

/// Fires a built-in schedule's tick, as its leader does; false if it had been fired.
pub async fn fire(pool: &DbPool, schedule: &str, nominal: DateTime<Utc>) -> anyhow::Result<bool> {
    let schedule = SCHEDULES.iter().find(|known| known.name == schedule).context("no such schedule")?;
    fire_schedule(pool, schedule, nominal).await
}

/// Writes the tick and its run in one transaction; false if it had been fired. A crash before the
/// commit leaves neither, after it both.
async fn fire_schedule(pool: &DbPool, schedule: &Schedule, nominal: DateTime<Utc>) -> anyhow::Result<bool> {
    let mut conn = pool.get().await.context("the database does not answer")?;
    let conn: &mut AsyncPgConnection = &mut conn;
    conn.transaction(async |conn| {
        let key = (ticks::schedule.eq(schedule.name), ticks::nominal_time.eq(nominal));
        let inserted =
            diesel::insert_into(ticks::table).values(key).on_conflict_do_nothing().execute(conn).await?;
        if inserted == 0 {
            return Ok(false);
        }
        let by = EnqueueOptions::by(format!("schedule {}", schedule.name));
        let run = (schedule.enqueue)(conn, &by).await?;
        diesel::update(ticks::table.find((schedule.name, nominal)))
            .set(ticks::run_id.eq(run.id.0))
            .execute(conn)
            .await?;
        Ok(true)
    })
    .await
}
