//! Summaries that were damaged are mended and found out, whatever goes on beside it; and refreshes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    auth::Role, db, summaries::queries::refreshed_at, transactions::take_back, uploads::UploadOptions,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tests::{App, AppOptions, TestDatabase, browser::Browser, eventually, files};

/// Of every table a third of the totals becomes wrong, a third goes, and some come that have no rows.
const DAMAGE: &str = "
    UPDATE day_totals SET sum = sum + 1000, count = count + 7, max = max + 5 WHERE hashtext(day::text || kind) % 3 = 0;
    DELETE FROM day_totals WHERE abs(hashtext(day::text || kind) % 3) = 1;
    INSERT INTO day_totals (day, currency, kind, status, count, sum, min, max)
        VALUES ('1999-01-31', 'USD', 'buy', 'success', 3, 30, 1, 20), ('2019-03-03', 'XXX', 'buy', 'failed', 1, 1, 1, 1);
    UPDATE merchant_days SET sum = sum - 1, min = min - 1 WHERE hashtext(day::text || merchant_id) % 3 = 0;
    DELETE FROM merchant_days WHERE abs(hashtext(day::text || merchant_id) % 3) = 1;
    INSERT INTO merchant_days (merchant_id, day, currency, kind, count, sum, min, max)
        VALUES ('nobody', '2019-03-01', 'USD', 'buy', 3, 30, 1, 20);
    UPDATE client_totals SET count = count + 1, sum_squares = 0, first_at = first_at + interval '1 day'
        WHERE hashtext(client_id) % 3 = 0;
    DELETE FROM client_totals WHERE abs(hashtext(client_id) % 3) = 1;
    INSERT INTO client_totals (client_id, currency, count, sum, spent, gained, sum_squares, min, max, first_at, last_at)
        VALUES ('Qx', 'USD', 1, 1, 1, 0, 1, 1, 1, now(), now()), ('~', 'USD', 1, 1, 1, 0, 1, 1, 1, now(), now());
    UPDATE client_failures SET count = count + 2 WHERE hashtext(client_id) % 3 = 0;
    DELETE FROM client_failures WHERE abs(hashtext(client_id) % 3) = 1;
    INSERT INTO client_failures (client_id, count, first_at, last_at) VALUES ('Qx', 1, now(), now());";

/// The totals that no load of these tests touches.
const QUIET: &str = "
    SELECT concat_ws(' ', 'day', day, currency, kind, status), to_jsonb(t)::text FROM day_totals t WHERE day < '2020-01-01'
    UNION ALL SELECT concat_ws(' ', 'merchant', merchant_id, day, currency, kind), to_jsonb(t)::text
    FROM merchant_days t WHERE day < '2020-01-01'
    UNION ALL SELECT concat_ws(' ', 'client', client_id, currency),
                     (to_jsonb(t) || jsonb_build_object('sum_squares', trim_scale(sum_squares)))::text
    FROM client_totals t WHERE client_id LIKE 'Q%' OR client_id = '~'
    UNION ALL SELECT concat_ws(' ', 'failed', client_id), to_jsonb(t)::text FROM client_failures t WHERE client_id LIKE 'Q%'";

/// Buys, sells and payments of a month, whose statuses go turn by turn; `of` begins ids, clients and merchants.
fn trades(of: &str, month: &str, rows: u32, statuses: &[&str]) -> Vec<u8> {
    let mut file = "transaction_id,client_id,date,amount,currency,type,merchant_id,status\n".to_owned();
    for row in 0..rows {
        let (day, kind) = (row % 28 + 1, ["buy", "sell", "payment"][row as usize % 3]);
        let currency = ["USD", "EUR", "GBP"][row as usize / 3 % 3];
        let status = statuses[row as usize % statuses.len()];
        let (client, merchant) = (row % 17, row % 5);
        file.push_str(&format!(
            "{of}{row},{of}{client},{month}-{day:02},{row}.25,{currency},{kind},{of}M{merchant},{status}\n"
        ));
    }
    file.into_bytes()
}

async fn quiet(db: &tokio_postgres::Client) -> HashMap<String, String> {
    let rows = db.query(QUIET, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Asks for a run and waits for its end; the run.
async fn ask(app: &App, path: &str, body: &Value) -> Value {
    let (status, run) = app.send(app.request(Method::POST, path).json(body)).await;
    assert!(status.is_success(), "{status}: {run}");
    end_of(app, &run).await
}

async fn end_of(app: &App, run: &Value) -> Value {
    let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    let path = &path;
    eventually("the end of the run", move || async move {
        let run = app.get(path).await;
        (!run["finished_at"].is_null()).then_some(run)
    })
    .await
}

async fn rebuild(app: &App) -> Value {
    let run = ask(app, "/api/v1/summaries/rebuild", &json!({})).await;
    assert_eq!(run["state"], "completed", "{run}");
    run["result"].clone()
}

async fn verify(app: &App) -> Value {
    ask(app, "/api/v1/summaries/verify", &json!({})).await
}

/// Looks at the quiet totals again and again, until told to stop; what was neither damaged nor right, and how often
/// it looked.
async fn watch(
    url: String,
    allowed: [HashMap<String, String>; 2],
    stop: Arc<AtomicBool>,
) -> (Vec<String>, usize) {
    let client = db::connect(&url).await.unwrap();
    let (mut wrong, mut looks) = (Vec::new(), 0);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let seen = quiet(&client).await;
        looks += 1;
        for key in allowed.iter().chain([&seen]).flat_map(HashMap::keys) {
            if allowed.iter().all(|allowed| allowed.get(key) != seen.get(key)) {
                wrong.push(format!("{key}: {:?}", seen.get(key)));
            }
        }
    }
    (wrong, looks)
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_summaries_are_mended_while_three_load_and_one_undoes() {
    let zone = chrono_tz::America::New_York;
    let mut app = App::start_with(AppOptions { zone, chunk_records: 2_000, ..AppOptions::default() }).await;
    app.start_worker();
    let statuses = ["success", "pending", "failed", "success"];
    for (name, file) in [
        ("quiet.csv", trades("Q", "2019-03", 900, &statuses)),
        ("pending.csv", trades("p", "2025-03", 1_500, &["pending", "success"])),
        ("base.csv", files::wide_transactions(2_000, 1)),
    ] {
        assert_eq!(app.load(name, file, "").await["state"], "finished");
    }
    let unwanted = app.load("unwanted.csv", files::wide_transactions(2_000, 2), "").await;
    let right = quiet(&app.db.client).await;
    app.db.client.batch_execute(DAMAGE).await.unwrap();
    let damaged = quiet(&app.db.client).await;
    assert_ne!(right, damaged);
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(app.db.url.clone(), [right.clone(), damaged], stop.clone()));

    let undo = format!("/api/v1/uploads/{}/undo", unwanted["id"].as_str().unwrap());
    assert!(app.post(&undo).await.0.is_success());
    let loaded = AtomicBool::new(false);
    let moving = trades("p", "2025-03", 3_000, &["failed", "success", "success", "failed"]);
    let (first, one, two, three) = tokio::join!(
        rebuild_often(&app, &loaded),
        keep_loading(&app, files::wide_transactions(2_000, 100), 100, &loaded),
        keep_loading(&app, files::wide_transactions(2_000, 200), 200, &loaded),
        keep_loading(&app, moving, 300, &loaded),
    );
    assert!(one + two + three > 3, "{one}, {two} and {three} loads: the test shows nothing");
    eventually("the undo", || async {
        let undone = "SELECT count(*) FROM uploads WHERE state = 'undone'";
        (app.db.one::<i64>(undone, &[]).await == 1).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let (wrong, looks) = watching.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(looks > 10, "{looks} looks: the test shows nothing");
    for table in ["day_totals", "merchant_days", "client_totals", "client_failures"] {
        for what in ["created", "written", "removed"] {
            assert!(first[table][what].as_i64().unwrap() > 0, "{table}: {first}");
        }
    }
    assert_eq!(quiet(&app.db.client).await, right);
    files::expect_everything_exact(&app.db).await;
    assert_eq!(verify(&app).await["state"], "completed");
}

/// Mends what was damaged, and then looks again and again: what the first rebuild has mended stays right, whatever is
/// loaded meanwhile. Returns what the first has done.
async fn rebuild_often(app: &App, done: &AtomicBool) -> Value {
    let first = rebuild(app).await;
    for _ in 0..2 {
        for (table, mended) in rebuild(app).await.as_object().unwrap() {
            assert_eq!(mended["written"], 0, "{table} was wrong after a rebuild: {mended}");
            // Made to be held, as somebody else had just removed it.
            assert_eq!(mended["created"], mended["removed"], "{table}: {mended}");
        }
    }
    done.store(true, Ordering::Relaxed);
    first
}

/// Loads a file, and then others until the rebuilds are done; how many.
async fn keep_loading(app: &App, mut file: Vec<u8>, seed: u64, done: &AtomicBool) -> u64 {
    let mut loads = 0;
    loop {
        loads += 1;
        let upload = app.load(&format!("{seed}-{loads}.csv"), file, "").await;
        assert_eq!(upload["state"], "finished", "{upload}");
        if done.load(Ordering::Relaxed) {
            return loads;
        }
        file = files::wide_transactions(2_000, seed + loads);
    }
}

/// Waits until somebody in the database waits for a lock.
async fn until_blocked(db: &TestDatabase) {
    eventually("somebody who waits", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (db.one::<i64>(waiting, &[]).await > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_waits_for_an_undo_that_found_no_totals() {
    let app = App::start().await;
    let upload = app.load("undone.csv", files::transactions(400, 1), "").await;
    app.load("kept.csv", files::transactions(400, 2), "").await;
    app.db.client.batch_execute("DELETE FROM day_totals; DELETE FROM client_totals").await.unwrap();
    let mut client = db::connect(&app.db.url).await.unwrap();
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let day = |text: &str| text.parse().unwrap();
    let groups = take_back::pieces(&client, day("2023-01-01"), day("2026-12-31"), 50_000).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let mut removed = 0;
    for group in &groups {
        removed += take_back::remove_rows(&transaction, id, group, chrono_tz::UTC).await.unwrap();
    }
    assert_eq!((groups.len(), removed), (1, 400));
    let (_, run) = app.post("/api/v1/summaries/rebuild").await;
    until_blocked(&app.db).await;
    transaction.commit().await.unwrap();
    assert_eq!(end_of(&app, &run).await["state"], "completed");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_waits_for_a_rebuild_adds_to_what_it_has_written() {
    let app = App::start().await;
    app.load("first.csv", files::transactions(300, 1), "").await;
    app.db.client.batch_execute("UPDATE day_totals SET sum = sum + 1").await.unwrap();
    // Somebody holds the last total, so the rebuild waits with those before it in its hands, and the load behind it.
    let mut client = db::connect(&app.db.url).await.unwrap();
    let holding = client.transaction().await.unwrap();
    let hold = "SELECT 1 FROM day_totals ORDER BY day DESC, currency DESC, kind DESC, status DESC LIMIT 1 FOR UPDATE";
    holding.execute(hold, &[]).await.unwrap();
    let (_, run) = app.post("/api/v1/summaries/rebuild").await;
    until_blocked(&app.db).await;
    let load = app.accept("second.csv", &files::transactions(300, 2), UploadOptions::default()).await;
    eventually("a load that waits too", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (app.db.one::<i64>(waiting, &[]).await > 1).then_some(())
    })
    .await;
    holding.commit().await.unwrap();
    assert_eq!(app.ended(&load.to_string()).await["state"], "finished");
    let run = end_of(&app, &run).await;
    assert!(run["result"]["day_totals"]["written"].as_i64().unwrap() > 0, "{run}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_writes_every_total_and_a_plain_rebuild_only_what_is_wrong() {
    let app = App::start().await;
    app.load("file.csv", files::wide_transactions(500, 1), "").await;
    let all = ask(&app, "/api/v1/summaries/rebuild", &json!({ "truncate": true })).await;
    for (table, mended) in all["result"].as_object().unwrap() {
        let totals: i64 = app.db.one(&format!("SELECT count(*) FROM {table}"), &[]).await;
        assert!(totals > 0);
        assert_eq!(
            mended,
            &json!({ "totals": totals, "created": 0, "written": totals, "removed": 0 }),
            "{table}"
        );
    }
    app.db
        .client
        .batch_execute(
            "UPDATE client_totals SET gained = gained + 0.0001 WHERE client_id IN
        (SELECT client_id FROM client_totals ORDER BY 1 LIMIT 1)",
        )
        .await
        .unwrap();
    let some = rebuild(&app).await;
    let written = some.as_object().unwrap().iter().map(|(_, mended)| mended["written"].as_i64().unwrap());
    assert_eq!(written.sum::<i64>(), app.db.one::<i64>(
        "SELECT count(*) FROM client_totals WHERE client_id = (SELECT min(client_id) FROM client_totals)", &[]).await);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_fails_once_and_names_what_differs() {
    let zone = chrono_tz::Asia::Tokyo;
    let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
    let file =
        files::rows(&["a,C1,P,2025-01-31 20:00:00,10", "b,C1,P,2025-02-03,5.5", "c,C2,P,2025-03-01,7"]);
    app.load("file.csv", file, "").await;
    let right = verify(&app).await;
    assert_eq!(right["state"], "completed", "{right}");
    let compared = json!({ "client_failures": 0, "client_totals": 2, "day_totals": 3, "merchant_days": 0 });
    assert_eq!((&right["result"]["compared"], &right["result"]["transactions"]), (&compared, &json!(3)));

    app.db
        .client
        .batch_execute(
            "UPDATE day_totals SET sum = sum + 0.0001 WHERE day = '2025-02-03';
             DELETE FROM client_totals WHERE client_id = 'C2';
             INSERT INTO client_failures (client_id, count, first_at, last_at) VALUES ('C9', 1, now(), now());
             UPDATE transaction_keys SET client_id = 'C2' WHERE transaction_id = 'b'",
        )
        .await
        .unwrap();
    let wrong = verify(&app).await;
    assert_eq!((&wrong["state"], &wrong["attempt"]), (&json!("failed"), &json!(1)), "{wrong}");
    let error = wrong["error"].as_str().unwrap();
    for said in [
        "3 of 6 totals are not what their rows add up to",
        "`day_totals USD 2025-02-03 payment success`: sum `5.5001` instead of `5.5000`",
        "`client_totals C2 USD`: is missing; it has `1` rows",
        "`client_failures C9`: has no rows",
        "1 clients of transactions are not known, the first: `C9`",
        "3 transactions have 3 keys; the first that do not agree: `b`",
    ] {
        assert!(error.contains(said), "{said:?} is not in {error}");
    }
    let result = &wrong["result"];
    assert_eq!(result["differences"], 3, "{result}");
    let first = result["first"].as_array().unwrap();
    assert_eq!(first.len(), 3, "{result}");
    assert!(first.contains(&json!({
        "table": "day_totals",
        "key": { "day": "2025-02-03", "currency": "USD", "kind": "payment", "status": "success" },
        "kept": { "count": 1, "sum": "5.5001", "min": "5.5000", "max": "5.5000" },
        "right": { "count": 1, "sum": "5.5000", "min": "5.5000", "max": "5.5000" },
    })));

    rebuild(&app).await;
    app.db
        .client
        .batch_execute("UPDATE transaction_keys SET client_id = 'C1' WHERE transaction_id = 'b'")
        .await
        .unwrap();
    assert_eq!(verify(&app).await["state"], "completed");
    // Many differences: twenty are named, all are counted.
    app.load("many.csv", files::transactions(500, 1), "").await;
    app.db.client.batch_execute("UPDATE client_totals SET spent = spent + 1").await.unwrap();
    let wrong = verify(&app).await;
    let all: i64 = app.db.one("SELECT count(*) FROM client_totals", &[]).await;
    assert_eq!(wrong["result"]["differences"], all);
    assert_eq!(wrong["result"]["first"].as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_runs_and_ten_asked_for_make_one_more() {
    let app = App::start().await;
    app.load("file.csv", files::transactions(50, 1), "").await;
    let refreshes = "SELECT count(*) FROM runs WHERE kind = 'refresh_client_summary' AND state";
    eventually("the refresh of the load", || async {
        (app.db.one::<i64>(&format!("{refreshes} = 'completed'"), &[]).await == 1).then_some(())
    })
    .await;
    let before = refreshed_at(&mut app.env.pool.get().await.unwrap()).await.unwrap().unwrap();
    // Somebody else's refresh, not yet committed, keeps it from ending.
    let mut client = db::connect(&app.db.url).await.unwrap();
    let holding = client.transaction().await.unwrap();
    holding.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY client_transaction_summary", &[]).await.unwrap();
    let (status, running) = app.post("/api/v1/summaries/refresh").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    until_blocked(&app.db).await;
    for answer in futures::future::join_all((0..10).map(|_| app.post("/api/v1/summaries/refresh"))).await {
        assert_eq!((answer.0, &answer.1["id"]), (StatusCode::ACCEPTED, &running["id"]));
    }
    holding.rollback().await.unwrap();
    assert_eq!(end_of(&app, &running).await["state"], "completed");
    assert_eq!(app.db.one::<i64>(&format!("{refreshes} IS NOT NULL"), &[]).await, 2);
    let attempts =
        "SELECT string_agg(outcome, ' ' ORDER BY attempt) FROM run_attempts WHERE run_id = $1::text::uuid";
    let attempts: String = app.db.one(attempts, &[&running["id"].as_str().unwrap()]).await;
    assert_eq!(attempts, "snoozed completed", "one more for all who asked");
    let after = refreshed_at(&mut app.env.pool.get().await.unwrap()).await.unwrap().unwrap();
    assert!(after > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_ask_for_rebuilds_and_their_names_are_kept() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page("/ui/admin").await;
    for (deed, fields) in [("rebuild", vec![("truncate", "yes")]), ("verify", vec![]), ("refresh", vec![])] {
        let path = format!("/ui/admin/{deed}");
        assert!(page.contains(&format!("action=\"{path}\"")), "{deed}");
        let fields = [fields, vec![("csrf_token", browser.csrf.as_str())]].concat();
        let shown = browser.post(&path, &fields).await;
        let shown = shown.headers()["location"].to_str().unwrap();
        assert!(shown.starts_with("/ui/runs/") && shown.ends_with("ing"), "{shown}");
    }
    let all: bool = app
        .db
        .one("SELECT (args->>'truncate')::boolean FROM runs WHERE kind = 'rebuild_summaries'", &[])
        .await;
    assert!(all);
    app.db.client.execute("UPDATE runs SET state = 'cancelled', finished_at = now()", &[]).await.unwrap();
    let viewer = app.token(Role::Viewer).await;
    for path in ["rebuild", "verify", "refresh"].map(|what| format!("/api/v1/summaries/{what}")) {
        let (status, _) = app.send(app.anonymous(Method::POST, &path).bearer_auth(&viewer)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        let (status, run) = app.post(&path).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{path}: {run}");
        // One that has not ended stands for the next.
        let (status, same) = app.post(&path).await;
        assert_eq!(same["id"], run["id"], "{path}");
        assert_eq!(status, if path.ends_with("refresh") { StatusCode::ACCEPTED } else { StatusCode::OK });
        let audited: i64 = app
            .db
            .one(
                "SELECT count(*) FROM audit_log WHERE subject = $1 AND actor LIKE 'admin-%'",
                &[&run["id"].as_str().unwrap()],
            )
            .await;
        assert_eq!(audited, 2, "{path}");
    }
    let path = "/api/v1/summaries/rebuild";
    let (status, refused) =
        app.send(app.request(Method::POST, path).json(&json!({ "trunkate": true }))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
}
