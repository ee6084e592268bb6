//! `runs`: no-op runs through the whole engine, a worker in a process of its own, against bare SQL and
//! a bare apalis-redis queue; how soon runs start and stop; ten thousand children.

mod engine;
mod flows;
mod latency;
mod memory;
mod sql;
mod transport;

use crate::report::Report;
use engine::Engine;

const BENCH: &str = "runs";
/// Of the enqueuers, and of the reference.
const CONNECTIONS: usize = 16;

/// How much is measured.
struct Size {
    rounds: usize,
    runs: usize,
    messages: usize,
    /// Runs whose latency is measured.
    starts: usize,
    cancels: usize,
    /// Runs of the memory's measurement.
    remembered: usize,
    children: usize,
}

const FULL: Size = Size {
    rounds: 3,
    runs: 40_000,
    messages: 20_000,
    starts: 500,
    cancels: 20,
    remembered: 100_000,
    children: 10_000,
};
const QUICK: Size = Size {
    rounds: 1,
    runs: 4_000,
    messages: 2_000,
    starts: 100,
    cancels: 6,
    remembered: 4_000,
    children: 10_000,
};

/// Runs it all; `quick` proves in under a minute that it works.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let size = if quick { QUICK } else { FULL };
    for _ in 0..size.rounds {
        rates(report, &size).await?;
    }
    let mut engine = Engine::start().await?;
    engine.start_worker().await;
    for _ in 0..size.rounds {
        latency::starts(report, &engine, size.starts).await?;
        latency::cancels(report, &engine, size.cancels).await?;
        flows::fan(report, &engine, size.children).await?;
    }
    memory::grown(report, &engine, size.remembered).await
}

/// The engine and its references, interleaved.
async fn rates(report: &mut Report, size: &Size) -> anyhow::Result<()> {
    let runs = size.runs;
    let of = format!("{runs} runs, {CONNECTIONS} connections, fsync and synchronous_commit on");
    let engine = Engine::start().await?;
    let enqueued = engine.enqueue(runs).await?;
    report.add(BENCH, "enqueue_per_s", "runs/s", "–", &format!("{of}, no worker"), runs as f64 / enqueued);
    drop(engine);

    let indexed = sql::lives_per_s(runs, sql::Table::Indexed).await?;
    let mut engine = Engine::start().await?;
    engine.start_worker().await;
    let completed = engine.complete(runs).await?;
    drop(engine);
    let plain = sql::lives_per_s(runs, sql::Table::Plain).await?;
    let messages = transport::messages_per_s(size.messages).await?;

    let context = format!("{of}, enqueued one by one while one worker process works");
    report.add(BENCH, "complete_per_s", "runs/s", "≥ 5,000", &context, completed);
    let context = "the table of the reference has the columns, checks and indexes of runs; no triggers, attempts or slots";
    report.add(BENCH, "ratio_to_sql", "ratio", "≥ 0.8", context, completed / indexed);
    let context = "the same with no index but the primary key";
    report.add(BENCH, "ratio_to_sql_plain", "ratio", "–", context, completed / plain);
    let context = "push by 16 tasks and consume in one process, safe configuration";
    report.add(BENCH, "ratio_to_bare_redis", "ratio", "–", context, completed / messages);
    report.add(BENCH, "sql_lives_per_s", "lives/s", "–", &of, indexed);
    report.add(BENCH, "bare_redis_per_s", "messages/s", "–", context, messages);
    Ok(())
}
