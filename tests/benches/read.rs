//! `read`: what the api answers at 50 connections, beside the least it can answer (`/livez`), on records of
//! several sizes. wrk asks, for random clients; the plans of the statements are printed with the figures.

use crate::{
    report::Report,
    server::Server,
    wrk::{self, Measured},
};
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::{
    analytics::queries::{RISK, STATISTICS, TREND},
    synthetic::{TransactionForm, write_transactions},
    transactions::queries::LATEST_OF_CLIENTS,
};
use std::{fs::File, path::Path};
use tokio_postgres::types::ToSql;

const BENCH: &str = "read";
const CHUNK_WORKERS: u32 = 2;
const CONNECTIONS: &str = "50";
/// Seconds that each route is asked before it is measured.
const WARM_UP: u32 = 1;
/// Figure, path, goals for requests a second and p99. `ID` stands for a client.
const ROUTES: [(&str, &str, &str, &str); 6] = [
    ("hello", "/livez", "–", "–"),
    ("summary", "/api/v1/summaries?mode=monthly&currency=USD", "≥ 3,000", "≤ 25"),
    ("range_stats", "/api/v1/clients/ID/statistics?from=2025-03-01&to=2025-05-31", "≥ 3,000", "≤ 25"),
    ("risk_profile", "/api/v1/clients/ID/risk-profile", "≥ 1,000", "≤ 25"),
    ("spend_trend", "/api/v1/clients/ID/spend-trend", "≥ 1,000", "≤ 25"),
    ("client_page", "/ui/clients/ID", "–", "≤ 25"),
];
/// Asks for random clients.
const REQUEST: &str = r#"
local ids, path = {}, os.getenv("BENCH_PATH")
for id in io.lines(os.getenv("BENCH_IDS")) do ids[#ids + 1] = id end
math.randomseed(7)
request = function() return wrk.format("GET", (path:gsub("ID", ids[math.random(#ids)]))) end
"#;

/// The latencies on records of each size.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let sizes: &[(u64, &str)] =
        if quick { &[(50_000, "")] } else { &[(500_000, "_5e5"), (5_000_000, ""), (20_000_000, "_2e7")] };
    let (rounds, seconds) = if quick { (1, 1) } else { (3, 5) };
    let directory = tempfile::tempdir()?;
    for &(rows, size) in sizes {
        let file = directory.path().join("transactions.csv");
        write_transactions(&mut File::create(&file)?, rows, 11, TransactionForm::Wide)?;
        let server = Server::start(CHUNK_WORKERS).await?;
        server.load(&file, rows).await?;
        server.idle().await;
        std::fs::remove_file(&file)?;
        // As autovacuum leaves it a minute after a load.
        server.db.client.batch_execute("VACUUM (ANALYZE)").await?;
        let ids = directory.path().join("ids");
        expect_right(&server, &ids).await?;
        // The first requests of a process open its connections and have its statements prepared.
        for (name, path, ..) in ROUTES {
            ask(&server, directory.path(), path, WARM_UP).await.with_context(|| name.to_owned())?;
        }
        let context = format!("{rows} rows, 50,000 clients, {CONNECTIONS} connections");
        for _ in 0..rounds {
            round(report, &server, directory.path(), size, seconds, &context).await?;
        }
        plans(&server, &ids).await?;
    }
    Ok(())
}

/// Each route once, the hello first.
async fn round(
    report: &mut Report,
    server: &Server,
    directory: &Path,
    size: &str,
    seconds: u32,
    context: &str,
) -> anyhow::Result<()> {
    let mut hello = 0.0;
    for (name, path, rate_goal, latency_goal) in ROUTES {
        let measured = ask(server, directory, path, seconds).await.with_context(|| name.to_owned())?;
        let rate = measured.requests / (measured.microseconds / 1e6);
        let mut add = |figure: &str, unit, goal, value| {
            report.add(BENCH, &format!("{name}_{figure}{size}"), unit, goal, context, value);
        };
        add("per_s", "requests/s", rate_goal, rate);
        add("p50_ms", "ms", "–", measured.p50 / 1e3);
        add("p99_ms", "ms", latency_goal, measured.p99 / 1e3);
        if name == "hello" {
            hello = rate;
        } else {
            add("ratio_to_hello", "ratio", "–", rate / hello);
        }
    }
    Ok(())
}

async fn ask(server: &Server, directory: &Path, path: &str, seconds: u32) -> anyhow::Result<Measured> {
    let ids = directory.join("ids");
    let environment = [("BENCH_PATH", path.as_ref()), ("BENCH_IDS", ids.as_os_str())];
    wrk::ask(server, REQUEST, &environment, CONNECTIONS, seconds).await
}

/// Writes the ids of the clients and compares what some of them are answered with their rows.
async fn expect_right(server: &Server, ids: &Path) -> anyhow::Result<()> {
    let clients = server.db.client.query("SELECT client_id FROM clients ORDER BY random()", &[]).await?;
    let clients: Vec<&str> = clients.iter().map(|row| row.get(0)).collect();
    std::fs::write(ids, clients.join("\n"))?;
    for id in clients.iter().take(20) {
        let answer = server.get(&format!("/api/v1/clients/{id}/statistics?currency=USD")).await?;
        let found: Vec<(&Value, &Value)> = answer["currencies"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|currency| (&currency["count"], &currency["sum"]))
            .collect();
        let expected: Value = server
            .db
            .one(
                "SELECT jsonb_build_object('count', count(*), 'sum', sum(amount)::numeric(28,4)::text)
                 FROM transactions WHERE client_id = $1 AND currency = 'USD' AND status <> 'failed'",
                &[id],
            )
            .await;
        let expected = (&expected["count"], &expected["sum"]);
        let right = if expected.0 == 0 { found.is_empty() } else { found == [expected] };
        ensure!(right, "client {id}: {answer} is not {expected:?}");
    }
    Ok(())
}

/// Prints how PostgreSQL answers for one client.
#[expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
async fn plans(server: &Server, ids: &Path) -> anyhow::Result<()> {
    let id = std::fs::read_to_string(ids)?.lines().next().context("a client")?.to_owned();
    let [from, until] = ["2025-03-01T00:00:00Z", "2025-06-01T00:00:00Z"].map(str::parse::<DateTime<Utc>>);
    let (from, until) = (vec![from?], vec![until?]);
    let [first, last] = [&from, &until].map(|at| vec![at[0].date_naive()]);
    let (id, no, any, zone) = (vec![id], vec![false], vec![None::<&str>], vec!["UTC"]);
    let statistics: [&(dyn ToSql + Sync); 7] = [&id, &from, &until, &any, &any, &no, &i64::MAX];
    let risks: [&(dyn ToSql + Sync); 7] = [&id, &no, &zone, &first, &last, &any, &i64::MAX];
    let trends: [&(dyn ToSql + Sync); 7] = [&id, &zone, &first, &last, &any, &no, &i64::MAX];
    let latest: [&(dyn ToSql + Sync); 3] = [&id, &from, &until];
    for (name, sql, params) in [
        ("range_stats", STATISTICS, &statistics[..]),
        ("risk_profile", &RISK, &risks[..]),
        ("spend_trend", &TREND, &trends[..]),
        ("client_page, its transactions", LATEST_OF_CLIENTS, &latest[..]),
    ] {
        println!("Plan of {name}:");
        for line in server.db.client.query(&format!("EXPLAIN (ANALYZE, BUFFERS) {sql}"), params).await? {
            println!("  {}", line.get::<_, &str>(0));
        }
    }
    Ok(())
}
