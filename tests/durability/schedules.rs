//! Ticks while schedulers die and clocks differ: each has one run.

use crate::Place;
use tests::{eventually, processes::Process};

/// Schedules that fire each second.
const SCHEDULES: i64 = 25;
/// Ticks in all.
const TICKS: i64 = 1_000;

/// Puts `SCHEDULES` jobs on the clock of each second. A tick that comes late fires, too: where leaders die faster than
/// they catch up, it may come very late.
async fn make(place: &Place) {
    place
        .db
        .client
        .batch_execute(&format!(
            "INSERT INTO schedules (id, name, cron, zone, kind, args, missing, repeated, catch_up, catch_up_limit,
                                    overlap, next_at, created_by)
             SELECT gen_random_uuid(), 'each-second-' || n, '* * * * * *', 'UTC', 'noop', '{{}}', 'skip', 'both',
                    'all', {TICKS}, 'allow', date_trunc('second', now()) + interval '1 second', 'test'
             FROM generate_series(1, {SCHEDULES}) n"
        ))
        .await
        .expect("the schedules");
    // The built-in schedules have ticks of their own.
    let ticks =
        "CREATE VIEW ticks AS SELECT t.* FROM schedule_ticks t JOIN schedules s ON s.id = t.schedule_id
                 WHERE s.created_by = 'test'";
    place.db.client.batch_execute(ticks).await.expect("the view");
}

/// A scheduler whose clock goes ahead or behind by so many seconds.
fn skewed(place: &Place, seconds: i32) -> Process {
    let library = faketime();
    let offset = format!("{seconds:+}");
    place.fleet.scheduler_with(&[
        ("LD_PRELOAD", library),
        ("FAKETIME", &offset),
        // Waiting is by the clock that nobody sets.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
}

fn faketime() -> &'static str {
    let places = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"));
    let found = places.into_iter().find(|place| std::path::Path::new(place).exists());
    found.expect("libfaketime is there: run the tests by ./run test").leak()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_thousand_ticks_has_one_run_while_leaders_die_and_clocks_differ() {
    let place = Place::new().await;
    make(&place).await;
    let mut schedulers = [skewed(&place, 0), skewed(&place, 30)];
    let fired = "SELECT count(*) AS value FROM ticks";
    let mut turn = 0;
    let mut seen = 0;
    while seen < TICKS {
        // Whoever it is that leads, both die in turn, in the middle of a second's ticks.
        let wanted = (seen + 4 * SCHEDULES).min(TICKS);
        eventually("more ticks", async || (place.fleet.number(fired).await >= wanted).then_some(())).await;
        schedulers[turn].kill();
        schedulers[turn] = skewed(&place, [0, 30, -30][usize::try_from(seen / 100).unwrap() % 3]);
        turn = 1 - turn;
        seen = place.fleet.number(fired).await;
    }
    // The rest of the last second comes, too.
    drop(schedulers);
    place.fleet.execute("UPDATE schedules SET next_at = NULL").await;
    place.db.expect_nothing("SELECT * FROM ticks WHERE outcome <> 'fired'").await;
    let once =
        "SELECT t.schedule_id, t.nominal_at, count(r.id) FROM ticks t LEFT JOIN runs r ON r.id = t.run_id
                GROUP BY 1, 2 HAVING count(r.id) <> 1";
    place.db.expect_nothing(once).await;
    place.db.expect_nothing("SELECT run_id FROM ticks GROUP BY 1 HAVING count(*) > 1").await;
    place
        .db
        .expect_nothing(
            "SELECT id FROM runs r WHERE NOT EXISTS (SELECT 1 FROM schedule_ticks t WHERE t.run_id = r.id)",
        )
        .await;
    // No second of any schedule is left out, and none came before its time.
    place
        .db
        .expect_nothing(
            "SELECT schedule_id FROM ticks GROUP BY 1
             HAVING count(*) <> 1 + extract(epoch FROM max(nominal_at) - min(nominal_at))",
        )
        .await;
    place.db.expect_nothing("SELECT * FROM ticks WHERE fired_at < nominal_at").await;
    assert_eq!(place.fleet.number("SELECT count(DISTINCT schedule_id) AS value FROM ticks").await, SCHEDULES);
}
