//! Trades under contention: workers are killed at random while thousands of orders for few stocks are settled.
//! Nothing is lost, nothing is settled twice, and everything adds up.
//!
//! `MILLRACE_TEST_TRADES` (20000) sets how many.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use shared::trades::{NewTrade, Side, place_trade, reverse_trade};
use std::sync::Arc;
use tests::{
    App, AppOptions, eventually,
    processes::{Process, Redis},
};

const CLIENTS: u32 = 1000;
const STOCKS: u32 = 10;

fn trades() -> u64 {
    std::env::var("MILLRACE_TEST_TRADES")
        .map_or(20_000, |trades| trades.parse().expect("MILLRACE_TEST_TRADES is a number"))
}

fn worker(app: &App, redis: &Redis) -> Process {
    Process::millrace(
        &["worker"],
        &[
            ("DATABASE_URL", &app.db.url),
            ("REDIS_URL", &redis.url()),
            ("MILLRACE_REDIS_PREFIX", "contention"),
            ("MILLRACE_DATA_DIR", app.data_dir().to_str().expect("a path")),
            ("MILLRACE_HEARTBEAT_MS", "300"),
            ("MILLRACE_LEASE_MS", "1500"),
        ],
    )
}

async fn decided(app: &App) -> i64 {
    app.db.one("SELECT count(*) FROM trades WHERE state <> 'pending'", &[]).await
}

/// Accounts that cannot pay for everything, and stocks that run out.
async fn market(app: &App) {
    app.db
        .client
        .batch_execute(&format!(
            "INSERT INTO clients (client_id, username, currency, opening_balance, position)
                 SELECT 'c' || n, 'user' || n, 'USD', 500, 500 FROM generate_series(1, {CLIENTS}) AS n;
             INSERT INTO stocks (ticker, currency, open_price, close_price, high, low, volume, listed_volume, created_by)
                 SELECT 'T' || n, 'USD', n, n, n, n, 5000, 5000, 'test' FROM generate_series(1, {STOCKS}) AS n;"
        ))
        .await
        .expect("a market");
}

fn order(random: &mut ChaCha8Rng, n: u64) -> NewTrade {
    NewTrade {
        client_id: format!("c{}", random.random_range(1..=CLIENTS)),
        ticker: format!("T{}", random.random_range(1..=STOCKS)),
        side: if random.random_range(0..5) < 3 { Side::Buy } else { Side::Sell },
        volume: random.random_range(1..=40),
        by: "test".to_owned(),
        key: Some(format!("order {n}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_trades_among_killed_workers_conserve_everything() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let redis = Redis::start();
    market(&app).await;
    let app = Arc::new(app);
    let placing = tokio::spawn({
        let app = app.clone();
        async move {
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let orders: Vec<NewTrade> = (0..trades()).map(|n| order(&mut random, n)).collect();
            for part in orders.chunks(200) {
                // Each twice, as callers do that hear nothing.
                let placed = part.iter().chain(part).map(|order| place_trade(&app.env, order.clone()));
                let placed = futures::future::join_all(placed).await;
                assert!(placed.iter().all(Result::is_ok), "no fault of others reaches a caller: {placed:?}");
            }
        }
    });
    let mut workers = [worker(&app, &redis), worker(&app, &redis), worker(&app, &redis)];
    let mut random = ChaCha8Rng::seed_from_u64(11);
    // While there is work, one falls at a moment of chance.
    for kill in 0..12usize {
        let seen = decided(&app).await;
        let wanted = (seen + random.random_range(1..=trades() as i64 / 20)).min(trades() as i64 * 9 / 10);
        eventually("settlements", || async { (decided(&app).await >= wanted).then_some(()) }).await;
        workers[kill % 3].kill();
        workers[kill % 3] = worker(&app, &redis);
    }
    placing.await.unwrap();
    app.until_decided().await;
    let settled: Vec<uuid::Uuid> = app
        .db
        .client
        .query("SELECT id FROM trades WHERE state = 'settled' ORDER BY md5(id::text) LIMIT 300", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let reversing = settled.iter().map(|id| reverse_trade(&app.env, shared::ids::TradeId(*id), "test"));
    assert!(futures::future::join_all(reversing).await.iter().all(Result::is_ok));
    workers[0].kill();
    app.until_decided().await;
    let count = async |condition: &str| -> i64 {
        app.db.one(&format!("SELECT count(*) FROM trades WHERE {condition}"), &[]).await
    };
    assert_eq!(count("reversal_of IS NULL").await, trades() as i64, "each order once");
    assert!(count("state = 'settled'").await > trades() as i64 / 10, "enough of them could be settled");
    for reason in ["insufficient_funds", "insufficient_volume", "insufficient_holdings"] {
        assert!(count(&format!("reason = '{reason}'")).await > 0, "{reason} was met");
    }
    eventually("the runs", || async {
        let open: i64 = app
            .db
            .one("SELECT count(*) FROM runs WHERE kind = 'settle_trade' AND state <> 'completed'", &[])
            .await;
        (open == 0).then_some(())
    })
    .await;
    // What lost a deadlock or a lock tried again by itself.
    app.db
        .expect_nothing(
            "SELECT run_id, outcome, error FROM run_attempts WHERE outcome IN ('error', 'timed_out')",
        )
        .await;
    let crashed: i64 = app.db.one("SELECT count(*) FROM run_attempts WHERE outcome = 'crashed'", &[]).await;
    assert!(crashed > 0, "the kills met no settlement: the test shows nothing");
    app.db.expect_ledger_exact().await;
    tests::files::expect_everything_exact(&app.db).await;
    let held: String = app.db.one("SELECT sum(position)::text FROM clients", &[]).await;
    let cost: String = app
        .db
        .one(
            "SELECT (500 * 1000 - sum(CASE side WHEN 'buy' THEN amount ELSE -amount END))::text
             FROM trades WHERE state IN ('settled', 'reversed')",
            &[],
        )
        .await;
    assert_eq!(held, cost, "cash is conserved");
}
