//! What is stopped in its middle: the statement ends, the record is exact, and it can go on.

use reqwest::Method;
use serde_json::json;
use tests::{App, eventually, files};

/// Statements of this database that sleep because a trigger has them do so.
const ASLEEP: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_load_stops_its_statement() {
    let app = App::start().await;
    let before = app.load("before.csv", files::transactions(1_000, 1), "").await;
    // In the middle of the rows' COPY, for longer than anybody waits here.
    let trigger = "CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       PERFORM pg_sleep(3600); RETURN NEW;
                   END $$;
                   CREATE TRIGGER doze BEFORE INSERT ON transactions FOR EACH ROW WHEN (NEW.source_line = 500)
                       EXECUTE FUNCTION doze()";
    app.db.client.batch_execute(trigger).await.unwrap();
    let (_, upload) = app.upload("long.csv", files::transactions(900, 2), "").await;
    let dozing = |count: i64| {
        let db = &app.db;
        eventually("the statement", move || async move {
            (db.one::<i64>(ASLEEP, &[]).await == count).then_some(())
        })
    };
    dozing(1).await;
    let run = upload["run_id"].as_str().unwrap();
    assert!(app.post(&format!("/api/v1/runs/{run}/cancel")).await.0.is_success());
    dozing(0).await;
    let cancelled = app.ended(upload["id"].as_str().unwrap()).await;
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    // It stopped by itself; nobody had to drop it after its time to do so.
    let attempt: Option<String> = app
        .db
        .one(
            "SELECT a.error FROM run_attempts a JOIN runs r ON r.id = a.run_id
             WHERE r.kind = 'ingest_chunk' AND a.outcome = 'cancelled'",
            &[],
        )
        .await;
    assert!(!attempt.as_deref().unwrap_or_default().contains("dropped"), "{attempt:?}");
    let rows: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(before["counts"]["inserted"], rows);
    files::expect_everything_exact(&app.db).await;
    app.db.client.batch_execute("DROP TRIGGER doze ON transactions").await.unwrap();
    assert_eq!(app.retry(&cancelled).await["counts"]["inserted"], 900);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_many_skips_what_was_undone_and_says_why() {
    let app = App::start().await;
    let undone = app.load_without_second_chunk("undone.csv", files::transactions(2_000, 1)).await;
    app.undo(&undone).await;
    let failed = app.load_without_second_chunk("failed.csv", files::transactions(2_000, 2)).await;
    let body = json!({ "ids": [undone["run_id"], failed["run_id"]] });
    let (status, asked) = app.send(app.request(Method::POST, "/api/v1/runs:retry").json(&body)).await;
    assert_eq!(status.as_u16(), 202, "{asked}");
    let path = format!("/api/v1/runs/{}", asked["id"].as_str().unwrap());
    let done = eventually("the retry", || async {
        let run = app.get(&path).await;
        (run["state"] == "completed").then_some(run)
    })
    .await;
    let reasons = json!({ "the upload was undone, or is being": 1 });
    assert_eq!(done["result"], json!({ "changed": 1, "skipped": 1, "reasons": reasons }), "{done}");
    let finished = eventually("what is retried", || async {
        let upload = app.ended(failed["id"].as_str().unwrap()).await;
        (upload["state"] == "finished").then_some(upload)
    })
    .await;
    assert_eq!(finished["counts"]["inserted"], 2_000, "{finished}");
    files::expect_everything_exact(&app.db).await;
}
