//! Taking uploads back: what stays is what a database would hold that never saw them.

use serde_json::Value;
use shared::{
    auth::Role,
    uploads::{UploadOptions, undo},
};
use tests::{App, AppOptions, browser::Browser, eventually, files, record};

/// Buys, sells and payments that are pending, or have ended as `statuses` say, turn by turn.
pub fn trades(rows: u32, statuses: &[&str]) -> String {
    let mut file = "transaction_id,client_id,date,amount,currency,type,merchant_id,status\n".to_owned();
    for row in 0..rows {
        let (day, kind) = (row % 28 + 1, ["buy", "sell", "payment"][row as usize % 3]);
        let (currency, status) =
            (["USD", "EUR", "GBP"][row as usize / 3 % 3], statuses[row as usize % statuses.len()]);
        file.push_str(&format!(
            "p{row},C{},2025-03-{day:02},{}.25,{currency},{kind},M{},{status}\n",
            row % 17,
            row + 1,
            row % 5
        ));
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_the_middle_of_others_is_taken_back_exactly_while_they_load() {
    let zone = chrono_tz::America::New_York;
    let options = || AppOptions { zone, ..AppOptions::default() };
    let (seen, never) = (App::start_with(options()).await, App::start_with(options()).await);
    let before = [
        (
            "clients.csv",
            "?kind=clients",
            "client_id,account_currency,account_balance\nC1,EUR,100\nC2,GBP,-5.5\n".into(),
        ),
        ("pending.csv", "", trades(600, &["pending", "success"]).into_bytes()),
        ("wide.csv", "", files::wide_transactions(6_000, 1)),
    ];
    let after =
        [("after.csv", files::wide_transactions(5_000, 2)), ("last.csv", files::transactions(5_000, 3))];
    for app in [&seen, &never] {
        for (name, query, content) in &before {
            assert_eq!(app.load(name, content.clone(), query).await["state"], "finished");
        }
    }
    // It shares clients, merchants and days with all of them, and settles some that were pending.
    let unwanted = files::wide_transactions(9_000, 4);
    let settled = trades(300, &["failed", "success", "success", "pending"]);
    let moved = seen.load("moved.csv", settled, "").await;
    assert!(moved["counts"]["updated"].as_i64().unwrap() > 100, "{moved}");
    let unwanted = seen.load("unwanted.csv", unwanted, "").await;
    assert_eq!(unwanted["state"], "finished", "{unwanted}");
    // Others load meanwhile.
    let mut loading = Vec::new();
    for app in [&seen, &never] {
        for (name, content) in &after {
            loading.push((app, app.accept(name, content, UploadOptions::default()).await));
        }
    }
    let undone = seen.undo(&unwanted).await;
    seen.undo(&moved).await;
    for (app, id) in loading {
        assert_eq!(app.ended(&id.to_string()).await["state"], "finished");
    }
    for app in [&seen, &never] {
        files::expect_everything_exact(&app.db).await;
    }
    record::expect_alike(&seen.db, &never.db).await;
    let report: Value = seen
        .db
        .one("SELECT undo_report FROM uploads WHERE id = $1::text::uuid", &[&undone["id"].as_str().unwrap()])
        .await;
    assert_eq!(report["transactions"], unwanted["counts"]["inserted"], "{report}");
    assert!(report["reversed"]["accounts"].as_i64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_others_rely_on_cannot_be_undone_before_them() {
    let app = App::start().await;
    let first = app.load("first.csv", files::rows(&["a,1,1,2025-01-01,1", "b,1,1,2025-01-02,1"]), "").await;
    let second = app.load("second.csv", files::rows(&["b,1,1,2025-01-02,1", "c,1,1,2025-01-03,1"]), "").await;
    assert_eq!(second["counts"]["duplicates"], 1, "{second}");
    let refused = refusal(&app, &first).await.unwrap();
    assert!(refused.contains("1 of them in second.csv"), "{refused}");
    app.undo(&second).await;
    assert_eq!(refusal(&app, &first).await, None);
    app.undo(&first).await;
    assert_eq!(refusal(&app, &first).await.unwrap(), "It was undone already.");
    for table in ["transactions", "transaction_keys", "day_totals", "client_totals", "upload_overlaps"] {
        assert_eq!(app.db.one::<i64>(&format!("SELECT count(*) FROM {table}"), &[]).await, 0, "{table}");
    }
    // The same file may come again: nothing of it is there.
    let again = app.load("first.csv", files::rows(&["a,1,1,2025-01-01,1", "b,1,1,2025-01-02,1"]), "").await;
    assert_eq!(again["counts"]["inserted"], 2, "{again}");
    // One that brought nothing is undone to let go of what it relies on.
    let same = app.load("same.csv", files::rows(&["a,1,1,2025-01-01,1"]), "").await;
    assert_eq!(same["counts"]["duplicates"], 1, "{same}");
    assert!(refusal(&app, &again).await.unwrap().contains("same.csv"));
    app.undo(&same).await;
    assert_eq!(refusal(&app, &again).await, None);
    let clients = app.load("clients.csv", "client_id,name\nX,Y\n", "?kind=clients").await;
    let refused = refusal(&app, &clients).await.unwrap();
    assert!(
        refused.contains("never deleted") && refused.contains("upload another file with their ids"),
        "{refused}"
    );
}

async fn refusal(app: &App, upload: &Value) -> Option<String> {
    let id = upload["id"].as_str().unwrap().parse().unwrap();
    let mut conn = app.env.pool.get().await.unwrap();
    let upload = shared::uploads::queries::find_upload(&mut conn, id).await.unwrap().unwrap();
    undo::extent(&mut conn, &upload).await.unwrap().refusal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_meets_rows_being_taken_back_waits_and_brings_them_itself() {
    let app = App::start().await;
    let file = files::transactions(3_000, 5);
    let first = app.load("first.csv", file.clone(), "").await;
    let id: shared::ids::UploadId = first["id"].as_str().unwrap().parse().unwrap();
    let mut lines: Vec<u8> = file;
    lines.extend_from_slice(b"another,1,1,2025-01-01,1\n");
    // Marked, and the run that takes it back cannot begin yet.
    app.db.client.execute("SELECT set_queue_limit('ingest', 1)", &[]).await.unwrap();
    let mut conn = app.env.pool.get().await.unwrap();
    app.db.pause("undo_upload").await;
    undo::request_undo(&mut conn, id, false, "test").await.unwrap();
    let second = app.accept("second.csv", &lines, UploadOptions::default()).await;
    eventually("a chunk that waits", || async {
        let waiting: i64 = app
            .db
            .one("SELECT count(*) FROM runs r JOIN run_attempts a ON a.run_id = r.id WHERE r.kind = 'ingest_chunk' AND a.outcome = 'snoozed'", &[])
            .await;
        (waiting > 0).then_some(())
    })
    .await;
    let phase: String = app
        .db
        .one("SELECT phase FROM runs WHERE kind = 'ingest_chunk' AND phase LIKE 'waiting%' LIMIT 1", &[])
        .await;
    assert_eq!(phase, format!("waiting: rows of it stand in upload {id}, whose undo has not ended"));
    let path = format!("/api/v1/uploads/{second}");
    let why = app.get(&path).await["waiting"].as_str().unwrap().to_owned();
    assert!(why.contains(&format!("stand in first.csv ({id})")) && why.contains("by itself"), "{why}");
    assert_eq!(app.get("/api/v1/uploads?limit=1").await["items"][0]["waiting"], why);
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = format!("/ui/uploads/{second}");
    assert!(browser.page(&page).await.contains(&why), "the page says so");
    // Its undo is stopped: then it says that somebody has to do something.
    let run = app.get(&format!("/api/v1/uploads/{id}")).await["undo_run_id"].as_str().unwrap().to_owned();
    assert!(app.post(&format!("/api/v1/runs/{run}/cancel")).await.0.is_success());
    let why = app.get(&path).await["waiting"].as_str().unwrap().to_owned();
    assert!(why.contains("stands still") && why.contains("Undo it again"), "{why}");
    assert!(browser.page(&page).await.contains(&why), "the page says so");
    undo::request_undo(&mut conn, id, false, "test").await.unwrap();

    app.db.resume().await;
    let second = app.ended(&second.to_string()).await;
    assert_eq!(second["counts"]["inserted"], 3_001, "{second}");
    assert_eq!(second["waiting"], Value::Null, "{second}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_was_stopped_goes_on_where_it_stopped() {
    let app = App::start().await;
    let upload = app.load("file.csv", files::wide_transactions(3_000, 8), "").await;
    let id: shared::ids::UploadId = upload["id"].as_str().unwrap().parse().unwrap();
    app.db.pause("undo_upload").await;
    let mut conn = app.env.pool.get().await.unwrap();
    let run = undo::request_undo(&mut conn, id, false, "test").await.unwrap();
    assert_eq!(refusal(&app, &upload).await.unwrap(), "It is being undone.");
    let (status, refused) = app.upload("file.csv", files::wide_transactions(3_000, 8), "").await;
    assert_eq!((status.as_u16(), &refused["type"]), (409, &"urn:millrace:problem:upload-undone".into()));
    let (status, _) = app.post(&format!("/api/v1/runs/{run}/cancel")).await;
    assert!(status.is_success());
    app.db.resume().await;
    assert_eq!(refusal(&app, &upload).await, None);
    app.undo(&upload).await;
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
    files::expect_everything_exact(&app.db).await;
}
