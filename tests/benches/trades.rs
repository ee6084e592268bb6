//! `trades`: orders over HTTP at 50 connections, each with an idempotency key, on disk before it is answered; their
//! settlement; both at once; and a stock that is kept. Beside them, in the same run, the least an answer costs
//! (`/livez`) and the settlement as bare SQL, one trade a transaction; and what a trade costs the processors, where.

use crate::{
    report::Report,
    server::Server,
    wrk::{self, Measured},
};
use anyhow::ensure;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

const BENCH: &str = "trades";
const CONNECTIONS: &str = "50";
const CLIENTS: i32 = 1000;
const STOCKS: i32 = 10;
/// Orders of random clients to buy and sell, under keys that nobody has used.
const ORDER: &str = r#"
local run, n = os.getenv("BENCH_RUN"), 0
math.randomseed(7)
request = function()
  n = n + 1
  local body = string.format('{"client_id":"c%d","ticker":"T%d","side":"%s","volume":%d}', math.random(1000),
    math.random(10), math.random(3) < 3 and "buy" or "sell", math.random(20))
  return wrk.format("POST", "/api/v1/trades",
    {["Content-Type"] = "application/json", ["Authorization"] = wrk.headers["Authorization"],
     ["Idempotency-Key"] = run .. "-" .. n}, body)
end
"#;
const GET: &str = r#"request = function() return wrk.format("GET", os.getenv("BENCH_PATH")) end"#;

/// Orders, settlements and reads, several times.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (rounds, seconds) = if quick { (1, 2) } else { (3, 10) };
    let server = Server::start(1).await?;
    market(&server).await?;
    let context =
        format!("{CLIENTS} clients, {STOCKS} stocks, {CONNECTIONS} connections, synchronous commits");
    for round in 0..rounds {
        let mut add =
            |figure: &str, unit, goal, value| report.add(BENCH, figure, unit, goal, &context, value);
        let sql = bare_sql(&server, Duration::from_secs(seconds.into())).await?;
        add("sql_per_s", "trades/s", "–", sql);
        // Accepted alone.
        let before = server.spent()?;
        let paused = orders(&server, &format!("paused{round}"), seconds, true).await?;
        add("post_per_s", "requests/s", "≥ 3,000", paused.rate());
        add("post_p50_ms", "ms", "–", paused.p50 / 1e3);
        add("post_p99_ms", "ms", "≤ 100", paused.p99 / 1e3);
        // Settled alone.
        let waiting = pending(&server).await;
        let accepted = server.spent()?;
        let each = |after: &[f64; 3], before: &[f64; 3], of: usize| (after[of] - before[of]) / waiting as f64;
        add("post_api_cpu_ms", "ms", "–", each(&accepted, &before, 0));
        add("post_postgres_cpu_ms", "ms", "–", each(&accepted, &before, 2));
        let (commits, batches, started) =
            (commits(&server).await?, settlements(&server).await, Instant::now());
        server.db.client.execute("DELETE FROM pauses WHERE name = 'light'", &[]).await?;
        decided(&server).await;
        let settled = waiting as f64 / started.elapsed().as_secs_f64();
        let ended = server.spent()?;
        add("settle_worker_cpu_ms", "ms", "–", each(&ended, &accepted, 1));
        add("settle_postgres_cpu_ms", "ms", "–", each(&ended, &accepted, 2));
        add("settled_per_s", "trades/s", "≥ 2,000", settled);
        add("settled_ratio_to_sql", "ratio", "–", settled / sql);
        tokio::time::sleep(Duration::from_millis(1100)).await; // PostgreSQL's counters lag by a second
        add(
            "commits_per_trade",
            "commits",
            "–",
            (self::commits(&server).await? - commits) as f64 / waiting as f64,
        );
        add(
            "trades_per_settlement",
            "trades",
            "–",
            waiting as f64 / (settlements(&server).await - batches) as f64,
        );
        // Both at once.
        let started = Instant::now();
        let both = orders(&server, &format!("both{round}"), seconds, false).await?;
        decided(&server).await;
        add("end_to_end_per_s", "trades/s", "–", both.requests / started.elapsed().as_secs_f64());
        add("end_to_end_post_p99_ms", "ms", "–", both.p99 / 1e3);
        let hello = get(&server, "/livez", seconds).await?;
        let stock = get(&server, "/api/v1/stocks/T1", seconds).await?;
        add("hello_per_s", "requests/s", "–", hello.rate());
        add("cached_stock_per_s", "requests/s", "–", stock.rate());
        add("cached_stock_ratio_to_hello", "ratio", "≥ 0.5", stock.rate() / hello.rate());
    }
    server.db.expect_ledger_exact().await;
    Ok(())
}

/// Accounts that can pay, stocks that last.
async fn market(server: &Server) -> anyhow::Result<()> {
    server
        .db
        .client
        .batch_execute(&format!(
            "INSERT INTO clients (client_id, username, currency, opening_balance, position)
                 SELECT 'c' || n, 'user' || n, 'USD', 1e9, 1e9 FROM generate_series(1, {CLIENTS}) AS n;
             INSERT INTO stocks (ticker, currency, open_price, close_price, high, low, volume, listed_volume, created_by)
                 SELECT 'T' || n, 'USD', n, n, n, n, 2000000000, 2000000000, 'bench' FROM generate_series(1, {STOCKS}) AS n;
             CREATE TABLE bare_clients AS SELECT 'c' || n AS id, 1e9::numeric(20,4) AS position FROM generate_series(1, {CLIENTS}) AS n;
             CREATE TABLE bare_stocks AS SELECT 'T' || n AS ticker, 2000000000::bigint AS volume FROM generate_series(1, {STOCKS}) AS n;
             ALTER TABLE bare_clients ADD PRIMARY KEY (id);
             ALTER TABLE bare_stocks ADD PRIMARY KEY (ticker);
             CREATE TABLE bare_trades (id uuid PRIMARY KEY, client text, ticker text, volume bigint, amount numeric(20,4), at timestamptz)",
        ))
        .await?;
    Ok(())
}

/// Trades a second that eight connections settle by bare SQL: an account, a stock, a row, a commit each.
async fn bare_sql(server: &Server, time: Duration) -> anyhow::Result<f64> {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let work = async |seed: u64| {
        let client = shared::db::connect(&server.db.url).await?;
        let statement = client
            .prepare(
                "WITH payer AS (UPDATE bare_clients SET position = position - 10 WHERE id = $1 AND position >= 10 RETURNING id),
                      stock AS (UPDATE bare_stocks SET volume = volume - 1 WHERE ticker = $2 AND volume >= 1 RETURNING ticker)
                 INSERT INTO bare_trades SELECT gen_random_uuid(), payer.id, stock.ticker, 1, 10, now() FROM payer, stock",
            )
            .await?;
        let mut n = seed;
        while !stop.load(Ordering::Relaxed) {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (id, ticker) = (format!("c{}", (n >> 33) % 1000 + 1), format!("T{}", (n >> 45) % 10 + 1));
            client.execute(&statement, &[&id, &ticker]).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let started = Instant::now();
    let timer = async {
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (results, ()) = tokio::join!(futures::future::join_all((1..=8).map(work)), timer);
    results.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// Orders for some seconds; `paused` holds their settlement back.
async fn orders(server: &Server, run: &str, seconds: u32, paused: bool) -> anyhow::Result<Measured> {
    if paused {
        let pause = "INSERT INTO pauses (target, name, reason, paused_by) VALUES ('queue', 'light', 'bench', 'bench')";
        server.db.client.execute(pause, &[]).await?;
    }
    let before: i64 = server.db.one("SELECT count(*) FROM trades", &[]).await;
    let measured = wrk::ask(server, ORDER, &[("BENCH_RUN", run.as_ref())], CONNECTIONS, seconds).await?;
    let after: i64 = server.db.one("SELECT count(*) FROM trades", &[]).await;
    // What wrk had asked and not heard when it stopped is accepted too.
    let extra = after - before - measured.requests as i64;
    ensure!((0..=50).contains(&extra), "{extra} trades more than were answered");
    Ok(measured)
}

async fn get(server: &Server, path: &str, seconds: u32) -> anyhow::Result<Measured> {
    wrk::ask(server, GET, &[("BENCH_PATH", path.as_ref())], CONNECTIONS, seconds).await
}

async fn pending(server: &Server) -> i64 {
    server.db.one("SELECT count(*) FROM trades WHERE state = 'pending'", &[]).await
}

async fn decided(server: &Server) {
    tests::eventually("the last settlement", || async { (pending(server).await == 0).then_some(()) }).await;
}

/// Transactions that settled trades: each tells the feed once.
async fn settlements(server: &Server) -> i64 {
    server.db.one("SELECT count(*) FROM feed_outbox", &[]).await
}

async fn commits(server: &Server) -> anyhow::Result<i64> {
    let statement = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    Ok(server.db.one(statement, &[]).await)
}
