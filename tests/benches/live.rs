//! `live`: transactions posted one by one, committed before they are answered; beside them, in the same run, the
//! least an answer costs (`/livez`), and an upload of a file; then the way from a POST to the listeners.

use crate::{
    report::Report,
    server::{Server, peak_mib},
    wrk::{self, Measured},
};
use anyhow::{Context, ensure};
use futures::future::{join_all, try_join_all};
use serde_json::{Value, json};
use shared::synthetic::{TransactionForm, write_transactions};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tests::Listener;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const BENCH: &str = "live";
const CONNECTIONS: &str = "50";
/// Payments of a thousand clients to a hundred merchants, under ids that nobody has used.
const PAYMENT: &str = r#"
local run, n = os.getenv("BENCH_RUN"), 0
math.randomseed(7)
request = function()
  n = n + 1
  local body = string.format('{"transaction_id":"%s-%d","client_id":"c%d","occurred_at":"2026-11-%02dT%02d:%02d:%02dZ",'
    .. '"amount":"%d.%02d","merchant_id":"m%d"}', run, n, math.random(1000), math.random(28), math.random(0, 23),
    math.random(0, 59), math.random(0, 59), math.random(500), math.random(0, 99), math.random(100))
  return wrk.format("POST", "/api/v1/transactions",
    {["Content-Type"] = "application/json", ["Authorization"] = wrk.headers["Authorization"]}, body)
end
"#;
const GET: &str = r#"request = function() return wrk.format("GET", "/livez") end"#;
/// Time between two transactions whose way to the listeners is measured.
const PACE: Duration = Duration::from_millis(10);

/// Posts and listeners, several times.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (rounds, seconds, rows) = if quick { (1, 2, 50_000) } else { (3, 10, 1_000_000) };
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("beside.csv");
    write_transactions(&mut std::fs::File::create(&file)?, rows, 5, TransactionForm::E)?;
    for round in 0..rounds {
        // An upload that is there already would be found.
        let server = Server::start(2).await?;
        posts(report, &server, seconds, round).await?;
        beside_upload(report, &server, &file, rows).await?;
        bursts(report, &server).await?;
        listeners(report, &server, quick).await?;
        expect_exact(&server).await?;
        report.add(BENCH, "api_peak_mib", "MiB", "–", "all of it", server.api_peak_mib()?);
    }
    Ok(())
}

async fn posts(report: &mut Report, server: &Server, seconds: u32, round: u32) -> anyhow::Result<()> {
    let context = format!("{CONNECTIONS} connections, 1,000 clients, 100 merchants, synchronous commits");
    let hello = wrk::ask(server, GET, &[], CONNECTIONS, seconds).await?;
    let (commits, rows) = counted(server).await?;
    let before = server.spent()?;
    let posted = payments(server, &format!("post{round}"), seconds).await?;
    let after = server.spent()?;
    let (commits_after, rows_after) = counted(server).await?;
    let mut add = |figure: &str, unit, goal, value| report.add(BENCH, figure, unit, goal, &context, value);
    add("hello_per_s", "requests/s", "–", hello.rate());
    add("post_per_s", "requests/s", "≥ 7,500", posted.rate());
    add("post_p50_ms", "ms", "–", posted.p50 / 1e3);
    add("post_p99_ms", "ms", "≤ 50", posted.p99 / 1e3);
    add("post_ratio_to_hello", "ratio", "–", posted.rate() / hello.rate());
    let each = |of: usize| (after[of] - before[of]) / posted.requests;
    add("post_api_cpu_ms", "ms", "–", each(0));
    add("post_postgres_cpu_ms", "ms", "–", each(2));
    add("rows_per_commit", "rows", "–", (rows_after - rows) / (commits_after - commits).max(1.0));
    Ok(())
}

async fn payments(server: &Server, run: &str, seconds: u32) -> anyhow::Result<Measured> {
    wrk::ask(server, PAYMENT, &[("BENCH_RUN", run.as_ref())], CONNECTIONS, seconds).await
}

/// Commits that told the feed, and rows.
async fn counted(server: &Server) -> anyhow::Result<(f64, f64)> {
    let commits: i64 = server.db.one("SELECT last_value FROM feed_outbox_id_seq", &[]).await;
    let rows: i64 = server.db.one("SELECT count(*) FROM transaction_keys", &[]).await;
    Ok((commits as f64, rows as f64))
}

/// Posts while a file is loaded, from its first byte to its end.
async fn beside_upload(
    report: &mut Report,
    server: &Server,
    file: &std::path::Path,
    rows: u64,
) -> anyhow::Result<()> {
    let context = format!("{CONNECTIONS} connections, beside an upload of {rows} rows on 2 chunk workers");
    let measured = async {
        let (mut rates, mut p99) = (Vec::new(), Vec::<f64>::new());
        for part in 0.. {
            let loading: i64 =
                server.db.one("SELECT count(*) FROM uploads WHERE finished_at IS NULL", &[]).await;
            if part > 0 && loading == 0 {
                break;
            }
            let posted = payments(server, &format!("beside{part}"), 2).await?;
            rates.push(posted.rate());
            p99.push(posted.p99 / 1e3);
        }
        anyhow::Ok((rates, p99))
    };
    let (loaded, measured) = tokio::join!(server.load(file, rows), measured);
    let (seconds, (rates, p99)) = (loaded?, measured?);
    let worst = p99.iter().copied().fold(0.0, f64::max);
    report.add(BENCH, "post_p99_ms_while_loading", "ms", "≤ 250", &context, worst);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    report.add(BENCH, "post_per_s_while_loading", "requests/s", "–", &context, mean);
    report.add(BENCH, "load_rows_per_s_beside_posts", "rows/s", "–", &context, rows as f64 / seconds);
    Ok(())
}

/// 2,500 connections that each post once, at the same time; and 50 clients with 50 posts under way each.
async fn bursts(report: &mut Report, server: &Server) -> anyhow::Result<()> {
    let address = server.url().trim_start_matches("http://").to_owned();
    let started = Instant::now();
    let mut posts = JoinSet::new();
    for n in 0..2500 {
        let (address, token) = (address.clone(), server.token().to_owned());
        posts.spawn(
            async move { post_raw(&address, &token, &format!("burst-{}-{n}", std::process::id())).await },
        );
    }
    let answers = posts.join_all().await;
    let errors = answers.iter().filter(|status| !matches!(status, Ok(201))).count();
    report.add(
        BENCH,
        "burst_2500_errors",
        "errors",
        "0",
        "2,500 connections post once, at once",
        errors as f64,
    );
    let took = started.elapsed().as_secs_f64();
    report.add(BENCH, "burst_2500_s", "s", "–", "2,500 connections post once, at once", took);
    let rows: i64 =
        server.db.one("SELECT count(*) FROM transactions WHERE transaction_id LIKE 'burst-%'", &[]).await;
    ensure!(rows == 2500 - errors as i64, "{rows} rows, {errors} errors");
    let clients: Vec<reqwest::Client> = (0..50).map(|_| reqwest::Client::new()).collect();
    let asked = clients
        .iter()
        .enumerate()
        .flat_map(|(of, client)| (0..50).map(move |n| post(client, server, format!("many-{of}-{n}"), "c1")));
    let errors = join_all(asked).await.iter().filter(|status| !matches!(status, Ok(201))).count();
    report.add(
        BENCH,
        "burst_50x50_errors",
        "errors",
        "0",
        "50 clients with 50 posts under way each",
        errors as f64,
    );
    let rows: i64 =
        server.db.one("SELECT count(*) FROM transactions WHERE transaction_id LIKE 'many-%'", &[]).await;
    ensure!(rows == 2500 - errors as i64, "{rows} rows, {errors} errors");
    Ok(())
}

fn body(id: &str, client: &str) -> Value {
    json!({ "transaction_id": id, "client_id": client, "occurred_at": "2026-11-20T10:00:00Z", "amount": "1.5" })
}

/// POSTs on a connection of its own; the status.
async fn post_raw(address: &str, token: &str, id: &str) -> anyhow::Result<u16> {
    let body = body(id, "burst").to_string();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST /api/v1/transactions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")
}

async fn post(client: &reqwest::Client, server: &Server, id: String, of: &str) -> anyhow::Result<u16> {
    let url = format!("{}/api/v1/transactions", server.url());
    let answer = client.post(url).bearer_auth(server.token()).json(&body(&id, of)).send().await?;
    Ok(answer.status().as_u16())
}

/// When transactions were posted, by id.
type Posted = Arc<Mutex<HashMap<String, Instant>>>;

/// The way from a POST to 1, 100 and 1,000 listeners; and to 100 of which one more reads nothing.
async fn listeners(report: &mut Report, server: &Server, quick: bool) -> anyhow::Result<()> {
    let posts = if quick { 50 } else { 500 };
    for count in [1, 100, 1000] {
        let latencies = latencies(server, count, posts, &format!("ws{count}")).await?;
        let context = format!("a POST each {} ms, {posts} of them, {count} listeners", PACE.as_millis());
        let (figure, goal) =
            (format!("ws_p99_ms_{count}"), ["≤ 25", "≤ 60", "–"][count.ilog10() as usize / 2]);
        report.add(
            BENCH,
            &figure,
            "ms",
            if count == 1000 { "–" } else { goal },
            &context,
            percentile(&latencies, 99),
        );
        report.add(BENCH, &format!("ws_p50_ms_{count}"), "ms", "–", &context, percentile(&latencies, 50));
    }
    let context = "100 listeners, and one more that reads nothing of some 40 MB";
    let stuck = connect(server).await?;
    let before = peak_mib(server.api_id())?;
    let http = reqwest::Client::new();
    for batch in 0..if quick { 20 } else { 120 } {
        let transactions: Vec<Value> =
            (0..1000).map(|n| body(&format!("fill-{batch}-{n}"), "fill")).collect();
        let url = format!("{}/api/v1/transactions:batch", server.url());
        let body = json!({ "transactions": transactions });
        let answer = http.post(url).bearer_auth(server.token()).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
    }
    let latencies = latencies(server, 100, posts, "stuck").await?;
    report.add(BENCH, "ws_p99_ms_100_beside_stuck", "ms", "–", context, percentile(&latencies, 99));
    report.add(BENCH, "stuck_growth_mib", "MiB", "–", context, peak_mib(server.api_id())? - before);
    drop(stuck);
    Ok(())
}

async fn connect(server: &Server) -> anyhow::Result<Listener> {
    let url = format!("{}/ws/transactions", server.url());
    let bearer = format!("Bearer {}", server.token());
    let mut listener = Listener::open(&url, &[("authorization", &bearer)]).await?;
    let hello = listener.next().await;
    ensure!(hello["type"] == "hello", "{hello}");
    Ok(listener)
}

/// Milliseconds from just before each POST to each listener.
async fn latencies(server: &Server, count: usize, posts: usize, run: &str) -> anyhow::Result<Vec<f64>> {
    let posted = Posted::default();
    let opened = try_join_all((0..count).map(|_| connect(server))).await?;
    let mut listening = JoinSet::new();
    for mut listener in opened {
        let (posted, run) = (posted.clone(), run.to_owned());
        listening.spawn(async move {
            let mut latencies = Vec::with_capacity(posts);
            while latencies.len() < posts {
                let event = listener.next().await;
                let heard = Instant::now();
                let id = event["transaction"]["transaction_id"].as_str().unwrap_or_default();
                if !id.starts_with(&run) {
                    continue;
                }
                let posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(at) = posted.get(id) {
                    latencies.push((heard - *at).as_secs_f64() * 1e3);
                }
            }
            latencies
        });
    }
    let (http, mut pace) = (reqwest::Client::new(), tokio::time::interval(PACE));
    for n in 0..posts {
        pace.tick().await;
        let id = format!("{run}-{n}");
        posted.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Instant::now());
        ensure!(post(&http, server, id, "ears").await? == 201, "a POST was not accepted");
    }
    Ok(listening.join_all().await.into_iter().flatten().collect())
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

async fn expect_exact(server: &Server) -> anyhow::Result<()> {
    server.idle().await;
    tests::files::expect_everything_exact(&server.db).await;
    Ok(())
}
