//! Generated data: the same bytes whoever makes them, loaded as they were counted, once a night.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{
    auth::Role,
    synthetic::{DataFormat, DataKind, DataRequest, Tally, TransactionForm},
};
use std::process::Stdio;
use tests::{
    App, AppOptions,
    browser::{Browser, between, location},
    eventually, files,
    processes::{Process, millrace},
};

/// Its standard output, after `millrace generate` with these options ended well.
async fn command(options: &[&str]) -> Vec<u8> {
    let output = generate(options).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

async fn generate(options: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(millrace());
    command.arg("generate").args(options).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap()
}

async fn post(app: &App, path: &str, body: &Value) -> (StatusCode, Value) {
    app.send(app.request(Method::POST, path).json(body)).await
}

/// Starts a flow and waits for its end; its root.
async fn run(app: &App, path: &str, body: &Value) -> Value {
    let (status, run) = post(app, path, body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    ended(app, run["id"].as_str().unwrap()).await
}

async fn ended(app: &App, id: &str) -> Value {
    let path = &format!("/api/v1/runs/{id}");
    eventually("the end of the flow", move || async move {
        let run = app.get(path).await;
        (!run["finished_at"].is_null()).then_some(run)
    })
    .await
}

/// The result of a flow that ended well.
async fn result(app: &App, path: &str, body: &Value) -> Value {
    let run = run(app, path, body).await;
    assert_eq!(run["state"], "completed", "{run}");
    run["result"].clone()
}

async fn night(app: &App, body: Value) -> Value {
    result(app, "/api/v1/nightly", &body).await
}

async fn sha256(app: &App, upload: &Value) -> String {
    let id: uuid::Uuid = upload["upload_id"].as_str().unwrap().parse().unwrap();
    app.db.one("SELECT encode(sha256, 'hex') FROM uploads WHERE id = $1", &[&id]).await
}

fn counts(upload: &Value) -> [i64; 5] {
    ["read", "inserted", "duplicates", "conflicts", "rejected"]
        .map(|name| upload["counts"][name].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_gives_the_same_bytes_by_command_by_download_and_in_the_store() {
    let app = App::start().await;
    let of = |options: &'static str| options.split(' ').collect::<Vec<_>>();
    for (query, body, options) in [
        (
            "transactions?num_rows=3000&seed=9",
            json!({ "num_rows": 3000, "seed": 9 }),
            of("transactions --rows 3000 --seed 9"),
        ),
        (
            "transactions?num_rows=1500&form=wide&end=2024-03-01&days=40&dirty=1",
            json!({ "num_rows": 1500, "form": "wide", "end": "2024-03-01", "days": 40, "dirty": 1 }),
            of("transactions --rows 1500 --form wide --end 2024-03-01 --days 40 --dirty"),
        ),
        (
            "transactions?num_rows=500&form=a&format=xlsx",
            json!({ "num_rows": 500, "form": "a", "format": "xlsx" }),
            of("transactions --rows 500 --form a --format xlsx"),
        ),
        ("clients?num_rows=700", json!({ "what": "clients", "num_rows": 700 }), of("clients --rows 700")),
        (
            "stocks?num_rows=300&format=xlsx",
            json!({ "what": "stocks", "num_rows": 300, "format": "xlsx" }),
            of("stocks --rows 300 --format xlsx"),
        ),
    ] {
        let download = app.request(Method::GET, &format!("/api/v1/synthetic/{query}"));
        let answer = download.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{query}");
        let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        let file = answer.bytes().await.unwrap();
        assert_eq!(file, command(&options).await, "{query}");
        assert_eq!(file, command(&options).await, "twice: {query}");
        let upload = result(&app, "/api/v1/synthetic", &body).await;
        assert_eq!(sha256(&app, &upload).await, hex::encode(Sha256::digest(&file)), "{query}");
        let name = upload["filename"].as_str().unwrap();
        assert_eq!(disposition, format!("attachment; filename=\"{name}\""));
        assert_eq!(upload["location"], format!("/api/v1/uploads/{}", upload["upload_id"].as_str().unwrap()));
        // What was handed in before is not loaded again, whoever generates it.
        let kind = query.split_once('?').unwrap().0;
        let again = app.load(name, file.to_vec(), &format!("?kind={kind}")).await;
        assert_eq!(again["id"], upload["upload_id"], "{query}");
        assert_eq!(result(&app, "/api/v1/synthetic", &body).await["already_uploaded"], true, "{query}");
    }
    files::expect_everything_exact(&app.db).await;
    let stored = std::fs::read_dir(app.data_dir().join("files/uploads")).unwrap().count();
    let kept: i64 = app.db.one("SELECT count(*) + count(text_key) FROM uploads", &[]).await;
    assert_eq!(stored as i64, kept, "files that nobody needs are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dirty_is_counted_as_the_generator_says() {
    let app = App::start_with(AppOptions { chunk_records: 700, ..AppOptions::default() }).await;
    // Clients first: those whom transactions bring are stubs, which a file of clients updates.
    let forms = TransactionForm::ALL.iter().map(|&form| (DataKind::Transactions, form));
    let others = [DataKind::Clients, DataKind::Stocks].map(|what| (what, TransactionForm::E));
    for (seed, (what, form)) in (1..).zip(others.into_iter().chain(forms)) {
        for format in DataFormat::ALL {
            // Of the same seed all would be duplicates.
            let seed = seed * 10 + *format as u64;
            let request = DataRequest {
                what: Some(what),
                num_rows: 2_500,
                seed: Some(seed),
                form: Some(form),
                dirty: Some(4),
                format: Some(*format),
                ..DataRequest::default()
            };
            let (_, said) = files::generated(&request);
            assert!(said.repeated > 20 && said.malformed > 20, "{said:?}");
            let upload = result(&app, "/api/v1/synthetic", &serde_json::to_value(&request).unwrap()).await;
            let generated: Tally = serde_json::from_value(upload["generated"].clone()).unwrap();
            assert_eq!(generated, said);
            let [read, inserted, duplicates, conflicts, rejected] = counts(&upload);
            let updated = upload["counts"]["updated"].as_i64().unwrap();
            let good = 2_500 - said.repeated as i64 - said.malformed as i64;
            let case = format!("{what} {form} {format}: {upload}");
            assert_eq!((read, rejected), (2_500, said.malformed as i64), "{case}");
            // Clients of another seed have the same ids, stocks the same tickers.
            if what != DataKind::Transactions && *format == DataFormat::Xlsx {
                continue;
            }
            assert_eq!((inserted, duplicates), (good, said.repeated as i64), "{case}");
            assert_eq!((conflicts, updated), (0, 0), "{case}");
        }
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_one_tree_and_the_summary_shows_it() {
    let app = App::start().await;
    let started = post(&app, "/api/v1/nightly", &json!({ "day": "2026-02-27", "num_rows": 1500 })).await.1;
    let id = started["id"].as_str().unwrap();
    let root = ended(&app, id).await;
    assert_eq!(root["state"], "completed", "{root}");
    let loaded = &root["result"];
    assert_eq!(counts(loaded), [1500, 1500, 0, 0, 0], "{root}");
    assert_eq!(
        (&loaded["day"], &loaded["filename"]),
        (&"2026-02-27".into(), &"nightly-2026-02-27.csv".into())
    );
    // The steps in their order: what waits for what.
    let sql = "WITH RECURSIVE tree AS (
                   SELECT id, kind, kind AS path FROM runs WHERE id = $1
                   UNION ALL SELECT r.id, r.kind, path || ' ' || r.kind FROM runs r JOIN tree t ON r.parent_id = t.id)
               SELECT string_agg(DISTINCT path, E'\\n' ORDER BY path) FROM tree";
    let id: uuid::Uuid = id.parse().unwrap();
    let tree: String = app.db.one(sql, &[&id]).await;
    assert_eq!(
        tree,
        "nightly_data\nnightly_data nightly_refresh\nnightly_data nightly_refresh finish_upload\n\
         nightly_data nightly_refresh finish_upload ingest_chunk\n\
         nightly_data nightly_refresh finish_upload plan_upload\nnightly_data nightly_refresh nightly_generate"
    );
    app.db.expect_nothing("SELECT * FROM runs WHERE kind LIKE 'nightly%' AND state <> 'completed'").await;
    // The view, as of after the load, holds what the trades of the night add up to.
    let refreshed = loaded["summary_refreshed_at"].as_str().unwrap();
    let later: bool =
        app.db.one("SELECT $1::text::timestamptz > max(loaded_at) FROM upload_chunks", &[&refreshed]).await;
    assert!(later, "{root}");
    app.db
        .expect_nothing(
            "WITH counted AS (
                 SELECT client_id, currency, count(*), count(*) FILTER (WHERE kind = 'buy') FROM transactions
                 WHERE status <> 'failed' GROUP BY 1, 2),
             shown AS (SELECT client_id, currency, total_transactions, buys FROM client_transaction_summary)
             (TABLE counted EXCEPT TABLE shown) UNION ALL (TABLE shown EXCEPT TABLE counted)",
        )
        .await;
    let elsewhere = "SELECT count(*) FROM transactions WHERE transaction_id NOT LIKE 'syn-20260227-______'
                     OR occurred_at::date <> '2026-02-27'";
    assert_eq!(app.db.one::<i64>(elsewhere, &[]).await, 0);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_is_run_again_doubles_nothing() {
    let app = App::start().await;
    let rows = || app.db.one::<i64>("SELECT count(*) FROM transactions", &[]);
    let day = "2026-03-01";
    let first = night(&app, json!({ "day": day, "num_rows": 800 })).await;
    assert_eq!(counts(&first), [800, 800, 0, 0, 0]);
    let same = night(&app, json!({ "day": day, "num_rows": 800 })).await;
    assert_eq!((&same["already_uploaded"], &same["upload_id"]), (&true.into(), &first["upload_id"]));
    // Fewer are all there; of more only the new ones come; another seed contradicts.
    let fewer = night(&app, json!({ "day": day, "num_rows": 300 })).await;
    assert_eq!(counts(&fewer), [300, 0, 300, 0, 0]);
    let more = night(&app, json!({ "day": day, "num_rows": 1000 })).await;
    assert_eq!(counts(&more), [1000, 200, 800, 0, 0]);
    let other = night(&app, json!({ "day": day, "num_rows": 900, "seed": 5 })).await;
    assert_eq!(counts(&other), [900, 0, 0, 900, 0]);
    let form = night(&app, json!({ "day": day, "num_rows": 50, "form": "e" })).await;
    assert_eq!(counts(&form), [50, 0, 0, 50, 0]);
    assert_eq!(rows().await, 1000);
    let next = night(&app, json!({ "day": "2026-03-02", "form": "a" })).await;
    assert_eq!(counts(&next), [1000, 1000, 0, 0, 0]);
    assert_eq!(rows().await, 2000);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_has_the_hours_that_its_zone_had() {
    for (zone, days) in [
        (chrono_tz::Europe::Berlin, [("2026-03-29", 23), ("2025-10-26", 25), ("2026-01-15", 24)]),
        (chrono_tz::America::New_York, [("2026-03-08", 23), ("2025-11-02", 25), ("2026-01-15", 24)]),
    ] {
        let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
        for (day, hours) in days {
            for form in ["wide", "a"] {
                if form == "a" && hours != 23 {
                    continue;
                }
                let rows = if form == "a" { 4_100 } else { 4_000 };
                let loaded = night(&app, json!({ "day": day, "num_rows": rows, "form": form })).await;
                let [_, inserted, _, conflicts, rejected] = counts(&loaded);
                assert_eq!(rejected, 0, "{zone} {day} {form}: {loaded}");
                assert_eq!(inserted + conflicts, rows, "{loaded}");
            }
            let spread: i64 = app
                .db
                .one(
                    "SELECT count(DISTINCT date_trunc('hour', occurred_at)) FROM transactions, settings
                     WHERE (occurred_at AT TIME ZONE reporting_zone)::date = $1::text::date",
                    &[&day],
                )
                .await;
            assert_eq!(spread, hours, "{zone} {day}");
        }
        let strays = "SELECT transaction_id FROM transactions, settings WHERE substr(transaction_id, 5, 8)
                      <> to_char(occurred_at AT TIME ZONE reporting_zone, 'YYYYMMDD')";
        app.db.expect_nothing(strays).await;
        files::expect_everything_exact(&app.db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_night_of_a_day_runs_at_a_time() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let (status, one) = post(&app, "/api/v1/nightly", &json!({ "day": "2026-03-01" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (status, same) = post(&app, "/api/v1/nightly", &json!({ "day": "2026-03-01", "num_rows": 5 })).await;
    assert_eq!((status, &same["id"]), (StatusCode::OK, &one["id"]));
    let (status, other) = post(&app, "/api/v1/nightly", &json!({ "day": "2026-03-02" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_ne!(other["id"], one["id"]);
    // Without a day it is yesterday's.
    let (status, yesterday) = app.post("/api/v1/nightly").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let day = app.env.clock.now().date_naive().pred_opt().unwrap().to_string();
    assert_eq!(yesterday["args"]["day"], day.as_str(), "{yesterday}");
    let (status, _) = app.post(&format!("/api/v1/runs/{}/cancel", one["id"].as_str().unwrap())).await;
    assert!(status.is_success());
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'nightly.run'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_it_generates_leaves_one_upload() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let environment = [
        ("DATABASE_URL", app.db.url.as_str()),
        ("REDIS_URL", app.redis.url.as_str()),
        ("MILLRACE_REDIS_PREFIX", app.redis.prefix.as_str()),
        ("MILLRACE_DATA_DIR", app.data_dir().to_str().unwrap()),
        ("MILLRACE_HEARTBEAT_MS", "300"),
        ("MILLRACE_LEASE_MS", "1500"),
    ];
    let mut worker = Process::millrace(&["worker"], &environment);
    let body = json!({ "num_rows": 300_000, "seed": 3 });
    let (_, started) = post(&app, "/api/v1/synthetic", &body).await;
    let half_way = "SELECT count(*) FROM runs WHERE kind = 'generate_file' AND state = 'running'
                    AND progress_done BETWEEN 1 AND 299999";
    eventually("the middle of the file", || async {
        (app.db.one::<i64>(half_way, &[]).await == 1).then_some(())
    })
    .await;
    worker.kill();
    let _next = Process::millrace(&["worker"], &environment);
    let root = ended(&app, started["id"].as_str().unwrap()).await;
    assert_eq!(root["state"], "completed", "{root}");
    assert_eq!(root["result"]["counts"]["inserted"], 300_000, "{root}");
    let crashed = "SELECT count(*) FROM run_attempts a JOIN runs r ON r.id = a.run_id
                   WHERE r.kind = 'generate_file' AND a.outcome = 'crashed'";
    assert_eq!(app.db.one::<i64>(crashed, &[]).await, 1);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn generation_that_is_cancelled_ends_and_can_be_retried() {
    let mut app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let (_, started) = post(&app, "/api/v1/synthetic", &json!({ "num_rows": 1_000 })).await;
    let id = started["id"].as_str().unwrap();
    let (status, _) = app.post(&format!("/api/v1/runs/{id}/cancel")).await;
    assert!(status.is_success());
    assert_eq!(app.get(&format!("/api/v1/runs/{id}")).await["state"], "cancelled");
    let (status, _) = app.post(&format!("/api/v1/runs/{id}/retry")).await;
    assert!(status.is_success());
    app.start_worker();
    assert_eq!(ended(&app, id).await["result"]["counts"]["inserted"], 1_000);

    // In the middle: nothing of it stays.
    let (_, started) = post(&app, "/api/v1/synthetic", &json!({ "num_rows": 100_000_000, "seed": 2 })).await;
    let id = started["id"].as_str().unwrap();
    eventually("the middle of the file", || async {
        let done = "SELECT count(*) FROM runs WHERE progress_done > 1000 AND state = 'running'";
        (app.db.one::<i64>(done, &[]).await == 1).then_some(())
    })
    .await;
    app.post(&format!("/api/v1/runs/{id}/cancel")).await;
    assert_eq!(ended(&app, id).await["state"], "cancelled");
    eventually("the end of the file", || async {
        let stored = std::fs::read_dir(app.data_dir().join("files/uploads")).unwrap().count();
        (stored == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_generated_is_refused_at_its_field() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    for (body, field, said) in [
        (json!({}), "num_rows", "missing field"),
        (json!({ "num_rows": 0 }), "num_rows", "1 to 100,000,000"),
        (json!({ "num_rows": 100_000_001 }), "num_rows", "1 to 100,000,000"),
        (json!({ "num_rows": -5 }), "num_rows", "invalid value"),
        (json!({ "num_rows": 1_048_576, "format": "xlsx" }), "num_rows", "1,048,575"),
        (json!({ "num_rows": 5, "what": "cows" }), "what", "none of clients, transactions, stocks"),
        (json!({ "num_rows": 5, "form": "b" }), "form", "none of e, wide, a"),
        (json!({ "num_rows": 5, "days": 0 }), "days", "1 to 3,650"),
        (json!({ "num_rows": 5, "dirty": 101 }), "dirty", "0 to 100"),
        (json!({ "num_rows": 5, "end": "2400-01-01" }), "end", "loaded up to"),
        (json!({ "num_rows": 5, "colour": "red" }), "colour", "unknown field"),
    ] {
        let (status, refused) = post(&app, "/api/v1/synthetic", &body).await;
        assert_eq!((status.as_u16(), &refused["field"]), (422, &field.into()), "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(said), "{body}: {refused}");
    }
    for (path, status, field) in [
        ("transactions", 422, "num_rows"),
        ("transactions?num_rows=0", 422, "num_rows"),
        ("transactions?num_rows=1048576&format=xlsx", 422, "num_rows"),
        ("transactions?num_rows=many", 400, "num_rows"),
        ("transactions?num_rows=5&colour=red", 400, "colour"),
        ("stocks?num_rows=5&profile=uniform", 422, "profile"),
        ("cows?num_rows=5", 404, ""),
    ] {
        let request = app.request(Method::GET, &format!("/api/v1/synthetic/{path}"));
        let (got, refused) = app.send(request).await;
        assert_eq!(got.as_u16(), status, "{path}: {refused}");
        assert_eq!(refused["field"].as_str().unwrap_or_default(), field, "{path}: {refused}");
    }
    for (body, field) in [
        (json!({ "day": "2999-01-01" }), "day"),
        (json!({ "day": "1969-01-01" }), "day"),
        (json!({ "day": "2026-02-30" }), "day"),
        (json!({ "num_rows": 0 }), "num_rows"),
    ] {
        let (status, refused) = post(&app, "/api/v1/nightly", &body).await;
        assert_eq!((status.as_u16(), &refused["field"]), (422, &field.into()), "{body}: {refused}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM runs", &[]).await, 0);

    let stocks = app.request(Method::GET, "/api/v1/synthetic/stocks?num_rows=10").send().await.unwrap();
    let stocks = stocks.text().await.unwrap();
    assert!(stocks.starts_with("ticker,name,currency,") && stocks.lines().count() == 11, "{stocks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_started_once_and_only_by_operators() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let keyed = |path: &str, body: Value| {
        let request = app.request(Method::POST, path).header("Idempotency-Key", "one");
        app.send(request.json(&body))
    };
    let (status, first) = keyed("/api/v1/synthetic", json!({ "num_rows": 5 })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let (status, again) = keyed("/api/v1/synthetic", json!({ "num_rows": 5 })).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]));
    let (status, _) = keyed("/api/v1/synthetic", json!({ "num_rows": 6 })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = keyed("/api/v1/nightly", json!({ "day": "2026-03-01" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        app.db.one::<i64>("SELECT count(*) FROM audit_log WHERE action = 'synthetic.generate'", &[]).await,
        1
    );

    for role in [Role::Viewer, Role::Integration] {
        let token = app.token(role).await;
        for (method, path) in [
            (Method::GET, "/api/v1/synthetic/clients?num_rows=5"),
            (Method::POST, "/api/v1/synthetic"),
            (Method::POST, "/api/v1/nightly"),
        ] {
            let request = app.anonymous(method, path).bearer_auth(&token).json(&json!({ "num_rows": 5 }));
            assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN, "{role} {path}");
        }
    }
    // What is started by its steps is not cloned without them.
    for kind in ["generate_data", "generate_file"] {
        let id: String = app.db.one(&format!("SELECT id::text FROM runs WHERE kind = '{kind}'"), &[]).await;
        let (status, refused) = app.post(&format!("/api/v1/runs/{id}/clone")).await;
        assert!(status.is_client_error(), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("/api/v1/synthetic"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_generates_downloads_and_keeps_what_was_typed() {
    let app = App::start().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    for page in ["/ui/admin", "/ui/uploads"] {
        assert!(browser.page(page).await.contains("href=\"/ui/generate\""), "{page} leads there");
    }
    let form = browser.page("/ui/generate").await;
    for shown in
        ["name=\"num_rows\" value=\"1000\"", "name=\"end\" value=\"2026-01-01\"", "Generate and load"]
    {
        assert!(form.contains(shown), "{shown}: {form}");
    }
    let send = |num_rows: &'static str, what: &'static str, dirty: &'static str, then: &'static str| {
        let csrf = browser.csrf.clone();
        let browser = &browser;
        async move {
            let fields = [
                ("csrf_token", csrf.as_str()),
                ("what", what),
                ("num_rows", num_rows),
                ("seed", "4"),
                ("form", "wide"),
                ("days", "30"),
                ("end", ""),
                ("dirty", dirty),
                ("format", "csv"),
                ("then", then),
            ];
            browser.post("/ui/generate", &fields).await
        }
    };
    let file = send("1,200", "transactions", "0", "download").await;
    assert_eq!(file.status(), StatusCode::OK);
    assert_eq!(
        file.headers()["content-disposition"],
        "attachment; filename=\"transactions-wide-1200-seed-4.csv\""
    );
    let file = file.text().await.unwrap();
    let options = ["transactions", "--rows", "1200", "--seed", "4", "--form", "wide", "--days", "30"];
    assert_eq!(file.as_bytes(), command(&options).await);

    let path = location(&send("30", "stocks", "0", "load").await);
    let run = between(&path, "/ui/runs/", "?").to_owned();
    assert_eq!(ended(&app, &run).await["result"]["counts"]["inserted"], 30);
    let path = location(&send("1200", "transactions", "0", "load").await);
    let run = between(&path, "/ui/runs/", "?").to_owned();
    assert_eq!(ended(&app, &run).await["result"]["counts"]["inserted"], 1_200);
    assert!(browser.page(&path).await.contains("generates the rows and loads them"));

    for (num_rows, what, dirty, then, said) in [
        ("none", "transactions", "0", "load", "whole number from 1 to 100,000,000"),
        ("", "transactions", "0", "load", "A file has 1 to 100,000,000 rows"),
        ("7", "transactions", "much", "download", "whole number from 0 to 100"),
    ] {
        let refused = send(num_rows, what, dirty, then).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{said}");
        let page = refused.text().await.unwrap();
        assert!(page.contains(said), "{said}: {page}");
        for kept in [
            format!("name=\"num_rows\" value=\"{num_rows}\""),
            format!("name=\"dirty\" value=\"{dirty}\""),
            format!("value=\"{what}\" checked"),
            "value=\"wide\" checked".to_owned(),
        ] {
            assert!(page.contains(&kept), "{kept}: {page}");
        }
    }
    let stocks = send("3", "stocks", "0", "download").await.text().await.unwrap();
    assert!(stocks.starts_with("ticker,"), "{stocks}");
    let guessed = browser.post("/ui/generate", &[("csrf_token", "guessed"), ("num_rows", "5")]).await;
    assert_eq!(guessed.status(), StatusCode::FORBIDDEN);
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert_eq!(viewer.get("/ui/generate").await.status(), StatusCode::FORBIDDEN);
    assert!(!viewer.page("/ui/admin").await.contains("href=\"/ui/generate\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_refuses_and_what_is_wrong_with_the_file() {
    for (options, said) in [
        ("transactions --rows 0", "--rows: A file has 1 to 100,000,000 rows"),
        ("clients --rows 1048576 --format xlsx", "1,048,575 rows below its header"),
        ("transactions --rows 5 --days 4000", "--days: A file is of 1 to 3,650 days"),
        ("clients --rows 5 --profile uniform", "--profile: Only transactions"),
    ] {
        let output = generate(&options.split(' ').collect::<Vec<_>>()).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said), "{error}");
    }
    let dirty = DataRequest { num_rows: 10_000, dirty: Some(1), ..DataRequest::default() };
    let (file, Tally { repeated, malformed, .. }) = files::generated(&dirty);
    let output = generate(&["transactions", "--rows", "10000", "--dirty"]).await;
    assert_eq!(output.stdout, file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, format!("10,000 rows: {repeated} of them repeated, {malformed} malformed\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_command_works_with_and_without_a_server() {
    let app = App::start().await;
    let command = async |server: bool, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(millrace());
        command.arg("nightly").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.envs([
            ("DATABASE_URL", app.db.url.as_str()),
            ("REDIS_URL", app.redis.url.as_str()),
            ("MILLRACE_REDIS_PREFIX", app.redis.prefix.as_str()),
            ("MILLRACE_DATA_DIR", app.data_dir().to_str().unwrap()),
        ]);
        if server {
            command.env("MILLRACE_SERVER", &app.url).env("MILLRACE_TOKEN", app.admin_token());
        }
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, error) = command(true, &["--day", "2026-02-01", "--rows", "120", "--wait"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("2026-02-01: 120 read = 120 inserted + 0 updated"), "{said}");
    let (code, said, error) = command(false, &["--day", "2026-02-01", "--rows", "130", "--wait"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("2026-02-01: 130 read = 10 inserted + 0 updated + 120 duplicates"), "{said}");
    let (code, said, error) = command(false, &["--wait"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains(": 1,000 read = 1,000 inserted"), "{said}");
    let (code, _, error) = command(false, &["--day", "2999-01-01"]).await;
    assert_eq!(code, Some(2), "{error}");
    let (code, _, error) = command(true, &["--day", "2999-01-01"]).await;
    assert_eq!(code, Some(1), "{error}");
}
