//! Dry runs, and uploads that are loaded whole or not at all.

use shared::{
    auth::Role,
    uploads::{UploadOptions, model::OnError},
};
use tests::{App, browser::Browser, files};

fn dry_run() -> UploadOptions {
    UploadOptions { dry_run: true, ..UploadOptions::default() }
}

fn whole() -> UploadOptions {
    UploadOptions { on_error: OnError::Abort, ..UploadOptions::default() }
}

/// Everything that a load could have left.
const TRACES: &str = "SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM transaction_keys)
    + (SELECT count(*) FROM clients) + (SELECT count(*) FROM day_totals) + (SELECT count(*) FROM upload_postings)
    + (SELECT count(*) FROM journals) + (SELECT count(*) FROM upload_trial_keys)";

/// A file of two chunks with rows that repeat and contradict each other across them.
fn mixed() -> Vec<u8> {
    let mut file = files::transactions(1_500, 1);
    let text = String::from_utf8(file.clone()).unwrap();
    let first = text.lines().nth(1).unwrap();
    file.extend_from_slice(
        format!("{first}\n{}\nbroken\nx,1,1,never,1\n", first.replacen(",", ",other", 1)).as_bytes(),
    );
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_as_the_load_will_and_leaves_nothing() {
    let app = App::start().await;
    let trial = app.load_with("file.csv", &mixed(), dry_run()).await;
    assert_eq!(trial["state"], "finished", "{trial}");
    assert_eq!(app.db.one::<i64>(TRACES, &[]).await, 0);
    app.db.expect_nothing("SELECT 1 FROM pg_inherits WHERE inhparent = 'transactions'::regclass").await;
    let again = app.load_with("file.csv", &mixed(), dry_run()).await;
    assert_ne!(again["id"], trial["id"], "a trial may be repeated");
    let real = app.load("file.csv", mixed(), "").await;
    assert_eq!(real["counts"], trial["counts"]);
    assert_eq!(trial["counts"]["rejected"], 2);
    assert_eq!(trial["counts"]["conflicts"], 1);
    assert_eq!(trial["counts"]["duplicates"], 1);
    let after = app.load_with("file.csv", &mixed(), dry_run()).await;
    assert_eq!(after["counts"]["inserted"], 0, "{after}");
    assert_eq!(after["counts"]["duplicates"], 1_501, "{after}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_one_bad_record_is_not_loaded_at_all_if_asked_so() {
    let app = App::start().await;
    let mut file = files::transactions(2_500, 2);
    let refused = app.load_with("file.csv", &[file.as_slice(), b"x,1,1,never,1\n"].concat(), whole()).await;
    assert_eq!(refused["state"], "failed", "{refused}");
    let failure = refused["failure"].as_str().unwrap();
    assert!(
        failure.contains("1 of the file's 2501 records") && failure.contains("nothing was loaded"),
        "{failure}"
    );
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM upload_rejects", &[]).await, 1);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
    let counts = &refused["counts"];
    assert_eq!([&counts["read"], &counts["rejected"], &counts["inserted"]], [1, 1, 0], "{counts}");
    assert_eq!((&counts["checked"], &counts["chunks_loaded"]), (&2_501.into(), &0.into()), "{counts}");
    assert_eq!((&refused["progress"]["done"], &refused["progress"]["total"]), (&2_501.into(), &2_501.into()));
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let said = "Nothing was loaded: 1 of 2,501 records has a fault";
    let page = browser.page(&format!("/ui/uploads/{}", refused["id"].as_str().unwrap())).await;
    assert!(page.contains(&format!("<p>{said}, and the file was to be loaded whole")), "{page}");
    assert!(!page.contains("1 of 2,501 records</"), "{page}");
    assert!(browser.page("/ui/uploads").await.contains(said));
    file.extend_from_slice(b"x,1,1,2025-01-01,1\n");
    let loaded = app.load_with("file.csv", &file, whole()).await;
    assert_eq!(loaded["counts"]["inserted"], 2_501, "{loaded}");
    assert_eq!((&loaded["counts"]["checked"], &loaded["progress"]["done"]), (&0.into(), &2_501.into()));
    assert_eq!(loaded["state"], "finished");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_met_only_while_loading_takes_the_whole_file_back() {
    let app = App::start().await;
    let file = files::transactions(2_500, 3);
    let text = String::from_utf8(file.clone()).unwrap();
    let first = text.lines().nth(1).unwrap().to_owned();
    // The check passes; before the load begins, somebody else brings one of the ids.
    let pause = "INSERT INTO pauses (target, name, paused_by) VALUES ('kind', 'begin_loading', 'test')";
    app.db.client.execute(pause, &[]).await.unwrap();
    let upload = app.accept("file.csv", &file, whole()).await;
    tests::eventually("the check", || async {
        let checked: i64 = app.db.one("SELECT count(*) FROM upload_chunks WHERE faults = 0", &[]).await;
        (checked == 3).then_some(())
    })
    .await;
    let other = first.replacen(",", ",other", 1);
    app.load("other.csv", files::rows(&[&other]), "").await;
    app.db.client.execute("DELETE FROM pauses", &[]).await.unwrap();
    let path = format!("/api/v1/uploads/{upload}");
    let undone = tests::eventually("the undo", || async {
        let upload = app.get(&path).await;
        (upload["state"] == "undone").then_some(upload)
    })
    .await;
    assert_eq!(undone["counts"]["conflicts"], 1, "{undone}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 1);
    files::expect_everything_exact(&app.db).await;
}
