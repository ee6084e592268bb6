//! `chaos`: everything breaks for minutes, and nothing may be lost. `MILLRACE_TEST_SEED` repeats the random
//! choices of an earlier one.

use crate::report::Report;
use anyhow::ensure;
use tests::chaos::{self, Plan};

const BENCH: &str = "chaos";

/// Runs it; `quick` with short leases, in under a minute.
#[expect(clippy::print_stderr, reason = "what happened goes beside the figures")]
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let seed = match std::env::var("MILLRACE_TEST_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::random(),
    };
    let plan = if quick { Plan::quick(seed) } else { Plan::full(seed) };
    let goals = if quick { ["–"; 3] } else { ["≥ 200", "≥ 5,000", "≤ 30"] };
    let context = format!("lease {} s, 3 workers, 2 schedulers, seed {seed}", plan.lease.as_secs_f64());
    let verdict = chaos::run(plan).await;
    eprintln!("{verdict}");
    report.add(BENCH, "faults", "faults", goals[0], &context, f64::from(verdict.faults()));
    report.add(BENCH, "runs", "runs", goals[1], &context, verdict.runs as f64);
    for (figure, value) in [("lost", verdict.lost), ("doubled", verdict.doubled), ("stuck", verdict.stuck)] {
        report.add(BENCH, figure, "runs", "0", &context, value as f64);
    }
    let rescue = verdict.rescue_max.as_secs_f64();
    report.add(BENCH, "rescue_s_max", "s", goals[2], &format!("{} rescues", verdict.rescues), rescue);
    report.add(BENCH, "buried_alive", "workers", "0", &context, verdict.buried_alive as f64);
    ensure!(verdict.is_clean(), "the chaos left traces:\n{verdict}");
    Ok(())
}
