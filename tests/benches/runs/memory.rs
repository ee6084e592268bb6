//! What finished runs leave in Redis.

use super::{BENCH, engine, engine::Engine};
use crate::report::Report;
use anyhow::Context;
use std::time::{Duration, Instant};

/// Longer than the time between two sweeps of what the transport leaves behind.
const SETTLES: Duration = Duration::from_secs(11);

/// Bytes by which Redis has grown, per run.
pub async fn grown(report: &mut Report, engine: &Engine, runs: usize) -> anyhow::Result<()> {
    engine.enqueue(1_000).await?;
    engine.until_idle().await;
    let before = settled_bytes().await?;
    for _ in 0..runs.div_ceil(20_000) {
        engine.enqueue(runs.min(20_000)).await?;
        engine.until_idle().await;
    }
    let after = settled_bytes().await?;
    let context = format!("{runs} runs after a warm-up, {before} bytes before and {after} after");
    let grown = (after as f64 - before as f64) / runs as f64;
    report.add(BENCH, "redis_bytes_per_finished_run", "bytes", "0", &context, grown.max(0.0));
    Ok(())
}

/// The least that Redis uses while nothing happens.
async fn settled_bytes() -> anyhow::Result<u64> {
    let client = redis::Client::open(engine::redis()?.url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let (since, mut least) = (Instant::now(), u64::MAX);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while since.elapsed() < SETTLES {
        ticks.tick().await;
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("used_memory")?;
        least = least.min(line.trim().parse()?);
    }
    Ok(least)
}
