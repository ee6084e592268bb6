//! How soon a run starts at low load, and how soon a running one stops when it is cancelled.

use super::{BENCH, engine::Engine};
use crate::report::Report;
use anyhow::{Context, ensure};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    clock::{Clock, SystemClock},
    ids::RunId,
    runs::{EnqueueOptions, Queue, RunState, enqueue, service},
};
use std::time::{Duration, Instant};
use tests::{
    eventually,
    kinds::{Obey, Stamp},
};

/// One run every 20 ms: from the answer to its commit to its handler's first line.
pub async fn starts(report: &mut Report, engine: &Engine, runs: usize) -> anyhow::Result<()> {
    let mut conn = engine.fleet.pool.get().await?;
    let by = EnqueueOptions::by("bench");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut committed: Vec<(RunId, i64)> = Vec::with_capacity(runs);
    for _ in 0..runs {
        ticks.tick().await;
        let id = enqueue(&mut conn, &Stamp {}, &by).await?.id;
        committed.push((id, SystemClock.now().timestamp_micros()));
        engine.fleet.doorbells.ring(Queue::Light, 1);
    }
    let mut waits = Vec::with_capacity(runs);
    for (id, committed) in committed {
        let run = engine.fleet.until(id, RunState::Completed).await;
        let began = run.result.and_then(|result| result.as_i64()).context("a time")?;
        waits.push((began - committed).max(0) as f64 / 1000.0);
    }
    let context = "one run every 20 ms; from its commit to the first line of its handler, in another process";
    report.add(BENCH, "start_latency_ms_p50", "ms", "≤ 20", context, percentile(&mut waits, 0.5));
    report.add(BENCH, "start_latency_ms_p99", "ms", "≤ 60", context, percentile(&mut waits, 0.99));
    Ok(())
}

/// From the request to the run's end, one after the other.
pub async fn cancels(report: &mut Report, engine: &Engine, runs: usize) -> anyhow::Result<()> {
    let mut waits = Vec::with_capacity(runs);
    for _ in 0..runs {
        let id = engine.fleet.enqueue(&Obey::new(&["wait"])).await;
        engine.fleet.until(id, RunState::Running).await;
        let asked = Instant::now();
        let mut pooled = engine.fleet.pool.get().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        conn.transaction(async |conn| service::cancel_run(conn, id).await).await?;
        let ended = eventually("the end of a cancelled run", || async {
            let run = engine.fleet.run(id).await;
            run.finished_at.is_some().then_some(run)
        })
        .await;
        ensure!(ended.state == RunState::Cancelled, "a cancelled run is {}", ended.state);
        waits.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    // What is left of it must not disturb the other figures.
    engine.fleet.execute("DELETE FROM runs WHERE state = 'cancelled'").await;
    let context = format!("{runs} running runs in another process, one after the other");
    report.add(BENCH, "cancel_ms_p95", "ms", "≤ 2,000", &context, percentile(&mut waits, 0.95));
    Ok(())
}

/// The value that this part of the values does not exceed.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}
