//! What survives: real processes are killed and frozen, servers emptied, stopped and cut off. Whatever
//! happens, what was accepted happens once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod chaos;
mod handlers;
mod ingestion;
mod live;
mod liveness;
mod notifications;
mod queues;
mod redis;
mod restarts;
mod restore;
mod rolling;
mod schedules;
mod trades;

use tests::{Fleet, TestDatabase, processes::Redis};

/// A database and a Redis of a test's own, and the processes that work there.
struct Place {
    fleet: Fleet,
    redis: Redis,
    db: TestDatabase,
}

impl Place {
    async fn new() -> Self {
        let (db, redis) = (TestDatabase::create().await, Redis::start());
        Self { fleet: Fleet::new(&db.url, &redis.url()), redis, db }
    }

    /// Every run completed, with one effect, none of them by way of a crash.
    async fn expect_each_once(&self) {
        self.db.expect_nothing("SELECT id, kind, state, error FROM runs WHERE state <> 'completed'").await;
        self.db
            .expect_nothing(
                "SELECT r.id, r.kind, count(e.run_id) FROM runs r LEFT JOIN chaos_effects e ON e.run_id = r.id
                 GROUP BY 1, 2 HAVING count(e.run_id) <> 1",
            )
            .await;
    }

    async fn expect_no_crash(&self) {
        self.db.expect_nothing("SELECT * FROM run_attempts WHERE outcome = 'crashed'").await;
        self.db.expect_nothing("SELECT * FROM workers WHERE state = 'dead'").await;
    }
}
