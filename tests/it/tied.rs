//! Uploads that found rows of each other: none can be undone before the other, so they are undone together.

use crate::{command_line::admin, undo::trades};
use reqwest::StatusCode;
use serde_json::Value;
use shared::auth::Role;
use tests::{App, browser::Browser, files, record};

/// The first so many trades, or those after some.
fn part(skipped: usize, rows: u32, statuses: &[&str]) -> String {
    let all = trades(rows, statuses);
    let mut lines = all.split_inclusive('\n');
    let header = lines.next().unwrap().to_owned();
    lines.skip(skipped).fold(header, |file, line| file + line)
}

/// The first loaded half and failed; the second brings what it does not find; the first is retried, and finds
/// that. Each moves statuses of what was pending before.
async fn tie(app: &App) -> (Value, Value) {
    let first = app.load_without_second_chunk("first.csv", part(0, 1_800, &["pending", "success"])).await;
    let second = app.load("second.csv", part(0, 1_500, &["success"]), "").await;
    let first = app.retry(&first).await;
    for upload in [&first, &second] {
        assert_eq!(upload["state"], "finished", "{upload}");
        let counts = &upload["counts"];
        assert!(["inserted", "duplicates"].iter().all(|&name| counts[name] != 0), "{upload}");
    }
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_found_rows_of_each_other_are_undone_together_exactly() {
    let (seen, never) = (App::start().await, App::start().await);
    for app in [&seen, &never] {
        app.load("clients.csv", "client_id,account_currency,account_balance\nC1,EUR,100\n", "?kind=clients")
            .await;
        app.load("pending.csv", part(0, 300, &["pending"]), "").await;
        app.load("wide.csv", files::wide_transactions(2_000, 1), "").await;
    }
    let (first, second) = tie(&seen).await;
    for upload in [&first, &second] {
        assert!(upload["counts"]["updated"].as_i64() > Some(100), "{upload}");
    }
    files::expect_everything_exact(&seen.db).await;
    let third = seen.load("third.csv", part(1_700, 1_900, &["success"]), "").await;
    assert_eq!(third["counts"]["inserted"], 100, "{third}");
    let path = |upload: &Value| format!("/api/v1/uploads/{}/undo", upload["id"].as_str().unwrap());

    // Neither alone, and not while another relies on one of them.
    for (upload, other) in [(&first, "second.csv"), (&second, "first.csv")] {
        let (status, refused) = seen.post(&path(upload)).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(other) && detail.contains("third.csv"), "{detail}");
        let (status, refused) = seen.post(&format!("{}?together=true", path(upload))).await;
        assert_eq!(
            (status, &refused["type"]),
            (StatusCode::CONFLICT, &"urn:millrace:problem:not-undoable".into())
        );
    }
    seen.undo(&third).await;
    for (upload, other) in [(&first, "second.csv"), (&second, "first.csv")] {
        let (status, refused) = seen.post(&path(upload)).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(other) && detail.contains("together=true"), "{detail}");
    }
    let (first, second) = [&first, &second].map(|upload| upload["id"].as_str().unwrap()).into();
    let said = admin(&seen, &["uploads", "undo", first]).await;
    let refused = said.refused(1);
    assert!(refused.contains("--together"), "{refused}");

    let said = admin(&seen, &["uploads", "undo", first, "--together"]).await;
    let answer = said.text();
    assert!(answer.contains("first.csv is being undone"), "{answer}");
    assert!(answer.contains(&format!("together with second.csv ({second})")), "{answer}");
    let undone = [seen.undone(first).await, seen.undone(second).await];
    assert_eq!(undone[0]["undo_run_id"], undone[1]["undo_run_id"]);
    for app in [&seen, &never] {
        files::expect_everything_exact(&app.db).await;
    }
    record::expect_alike(&seen.db, &never.db).await;
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'upload.undo'";
    assert_eq!(seen.db.one::<i64>(audited, &[]).await, 2);
    seen.db.expect_nothing("SELECT * FROM upload_overlaps").await;
    // What is to stay comes again.
    for app in [&seen, &never] {
        app.load("second.csv", part(0, 1_500, &["success"]), "").await;
    }
    record::expect_alike(&seen.db, &never.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_for_an_undo_of_both_and_goes_on_with_both() {
    let app = App::start().await;
    let (first, second) = tie(&app).await;
    let path = |upload: &Value| format!("/ui/uploads/{}", upload["id"].as_str().unwrap());
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page(&path(&second)).await;
    assert!(page.contains("Undo together"), "{page}");
    let undo = format!("{}/undo", path(&second));
    let asked = browser.post(&undo, &[("csrf_token", &browser.csrf)]).await.text().await.unwrap();
    assert!(asked.contains("first.csv") && asked.contains("Undo all 2"), "{asked}");
    // A question that named nobody else is no consent to both.
    let confirmed = [("csrf_token", browser.csrf.as_str()), ("confirmed", "yes")];
    assert_eq!(browser.post(&undo, &confirmed).await.status(), StatusCode::CONFLICT);

    // Cancelled before it begins, it goes on with both, whichever is asked for.
    app.db.pause("undo_upload").await;
    let together = [confirmed.as_slice(), &[("together", "yes")]].concat();
    assert_eq!(browser.post(&undo, &together).await.status(), StatusCode::SEE_OTHER);
    let api = |upload: &Value| format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap());
    let run = app.get(&api(&first)).await["undo_run_id"].as_str().unwrap().to_owned();
    assert!(app.post(&format!("/api/v1/runs/{run}/cancel")).await.0.is_success());
    let stopped = app.get(&api(&second)).await;
    let why = stopped["undo_standstill"].as_str().unwrap();
    assert!(why.contains("Nothing of it") && why.contains("cancelled") && why.contains("again"), "{why}");
    app.db.resume().await;
    let (status, answer) = app.post(&format!("{}/undo", api(&first))).await;
    assert!(status.is_success(), "{answer}");
    for upload in [&first, &second] {
        let undone = app.undone(upload["id"].as_str().unwrap()).await;
        assert_eq!(undone["undo_standstill"], Value::Null, "{undone}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
    files::expect_everything_exact(&app.db).await;
}
