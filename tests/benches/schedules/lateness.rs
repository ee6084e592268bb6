//! How late ticks are: a hundred schedules of each second, fired by a scheduler of its own process.

use super::BENCH;
use crate::report::Report;
use anyhow::ensure;
use tests::{TestDatabase, eventually, processes::Process};

const SCHEDULES: i64 = 100;

pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (seconds, rounds) = if quick { (5, 1) } else { (20, 3) };
    let context = format!(
        "{SCHEDULES} schedules of each second for {seconds} s: from the nominal time to the run's being made"
    );
    for _ in 0..rounds {
        let db = TestDatabase::create().await;
        db.client
            .batch_execute(&format!(
                "INSERT INTO schedules (id, name, cron, zone, kind, args, missing, repeated, catch_up, catch_up_limit,
                                        overlap, next_at, created_by)
                 SELECT gen_random_uuid(), 'each-second-' || n, '* * * * * *', 'UTC', 'prune_redis', '{{}}', 'skip',
                        'both', 'skip', 1, 'allow', date_trunc('second', now()) + interval '3 seconds', 'bench'
                 FROM generate_series(1, {SCHEDULES}) n"
            ))
            .await?;
        let scheduler =
            Process::millrace(&["scheduler"], &[("DATABASE_URL", &db.url), ("MILLRACE_LOG", "warn")]);
        let wanted = SCHEDULES * seconds;
        eventually("the ticks", async || {
            let ticks: i64 = db.one("SELECT count(*) FROM schedule_ticks", &[]).await;
            (ticks >= wanted).then_some(())
        })
        .await;
        drop(scheduler);
        let early: i64 = db.one("SELECT count(*) FROM schedule_ticks WHERE fired_at < nominal_at", &[]).await;
        ensure!(early == 0, "{early} ticks came before their time");
        let twice: i64 = db
            .one("SELECT count(*) - count(DISTINCT (schedule_id, nominal_at)) FROM schedule_ticks", &[])
            .await;
        ensure!(twice == 0, "{twice} ticks came twice");
        for (figure, goal, share) in
            [("tick_lateness_ms_p50", "–", 0.5), ("tick_lateness_ms_p99", "≤ 1,000", 0.99)]
        {
            let late: f64 = db
                .one(
                    "SELECT 1000 * extract(epoch FROM percentile_cont($1::float8) WITHIN GROUP (ORDER BY fired_at - nominal_at))::float8
                     FROM schedule_ticks",
                    &[&share],
                )
                .await;
            report.add(BENCH, figure, "ms", goal, &context, late);
        }
    }
    Ok(())
}
