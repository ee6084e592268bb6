//! What is stopped in its middle: the statement ends, the record is exact, and it can go on.

use reqwest::Method;
use serde_json::json;
use shared::auth::Role;
use tests::{App, browser::Browser, eventually, files};

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
async fn an_undo_cancelled_half_way_says_so_and_goes_on() {
    let app = App::start().await;
    app.load("kept.csv", files::transactions(2_000, 1), "").await;
    let upload = app.load("unwanted.csv", files::transactions(12_000, 2), "").await;
    let id = upload["id"].as_str().unwrap();
    // Its second part waits for a lock that is held here, when its rows are gone and nothing is committed.
    let trigger = "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       PERFORM pg_advisory_xact_lock(1); RETURN NEW;
                   END $$;
                   CREATE TRIGGER wait_here BEFORE UPDATE OF undo_report ON uploads FOR EACH ROW
                       WHEN (OLD.undo_report IS NOT NULL) EXECUTE FUNCTION wait_here();
                   SELECT pg_advisory_lock(1)";
    app.db.client.batch_execute(trigger).await.unwrap();
    let (status, asked) = app.post(&format!("/api/v1/uploads/{id}/undo")).await;
    assert!(status.is_success(), "{asked}");
    app.db.waiting_for_locks(1).await;
    let run = asked["undo_run_id"].as_str().unwrap();
    assert!(app.post(&format!("/api/v1/runs/{run}/cancel")).await.0.is_success());
    let api = format!("/api/v1/uploads/{id}");
    let stopped = eventually("the end of the run", || async {
        let upload = app.get(&api).await;
        upload["undo_standstill"].is_string().then_some(upload)
    })
    .await;
    let why = stopped["undo_standstill"].as_str().unwrap();
    assert!(
        why.contains("undone in part") && why.contains("cancelled") && why.contains("Undo it again"),
        "{why}"
    );
    assert_eq!(stopped["undoing"], true, "{stopped}");
    let taken = stopped["undo_report"]["transactions"].as_i64().unwrap();
    assert!(taken > 0 && taken < 12_000, "it was stopped half way: {taken}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 14_000 - taken);
    files::expect_everything_exact(&app.db).await;
    let listed = &app.get("/api/v1/uploads?limit=1").await["items"][0];
    assert_eq!((&listed["id"], &listed["undo_standstill"]), (&id.into(), &why.into()));
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page(&format!("/ui/uploads/{id}")).await;
    assert!(page.contains("The undo stands still.") && page.contains("It is undone in part"), "{page}");

    app.db
        .client
        .batch_execute("SELECT pg_advisory_unlock(1); DROP TRIGGER wait_here ON uploads")
        .await
        .unwrap();
    assert!(app.post(&format!("/api/v1/uploads/{id}/undo")).await.0.is_success());
    let undone = app.undone(id).await;
    assert_eq!(undone["undo_report"]["transactions"], 12_000, "{undone}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 2_000);
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
