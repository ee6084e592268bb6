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
    let browser = Browser::log_in(&app, Role::Operator).await;
    let said = "Nothing was loaded: 1 of 2,501 records has a fault";
    let page = browser.page(&format!("/ui/uploads/{}", refused["id"].as_str().unwrap())).await;
    assert!(page.contains(&format!("<p>{said}, and the file was to be loaded whole")), "{page}");
    assert!(!page.contains("1 of 2,501 records</"), "{page}");
    assert!(browser.page("/ui/uploads").await.contains(said));
    // What a retry would do has been done, and the rejects are not all that is missing.
    let (id, run) = (refused["id"].as_str().unwrap(), refused["run_id"].as_str().unwrap());
    let (status, answer) = app.post(&format!("/api/v1/runs/{run}/retry")).await;
    assert_eq!((status.as_u16(), &answer["type"]), (409, &"urn:millrace:problem:file-refused".into()));
    assert!(page.contains("its file has faults") && !page.contains("Upload the mended file"), "{page}");
    let mended = "transaction_id,user_id,product_id,timestamp,transaction_amount,reject_code,reject_reason\n\
                  y,1,1,2025-01-01,1,bad_date,never\n";
    let (status, answer) = app.upload("mended.csv", mended, &format!("?corrects={id}")).await;
    assert!(status.as_u16() == 422 && answer["detail"].as_str().unwrap().contains("all of it"), "{answer}");
    let mended = app.load("mended.csv", mended, "").await;
    assert_eq!(
        (&mended["corrects"], &mended["state"]),
        (&serde_json::Value::Null, &"finished".into()),
        "{mended}"
    );
    file.extend_from_slice(b"x,1,1,2025-01-01,1\n");
    let loaded = app.load_with("file.csv", &file, whole()).await;
    assert_eq!(loaded["counts"]["inserted"], 2_501, "{loaded}");
    assert_eq!((&loaded["counts"]["checked"], &loaded["progress"]["done"]), (&0.into(), &2_501.into()));
    assert_eq!(loaded["state"], "finished");
    files::expect_everything_exact(&app.db).await;
}

/// An upload that is to be loaded whole, with its check passed and a conflict brought by another before it
/// begins to load; its id.
async fn checked_before_a_conflict(app: &App) -> String {
    let file = files::transactions(2_500, 3);
    let text = String::from_utf8(file.clone()).unwrap();
    let first = text.lines().nth(1).unwrap().to_owned();
    app.db.pause("begin_loading").await;
    let upload = app.accept("file.csv", &file, whole()).await;
    tests::eventually("the check", || async {
        let checked: i64 = app.db.one("SELECT count(*) FROM upload_chunks WHERE faults = 0", &[]).await;
        (checked == 3).then_some(())
    })
    .await;
    app.load("other.csv", files::rows(&[&first.replacen(",", ",other", 1)]), "").await;
    upload.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_meets_a_contradiction_names_both_lines() {
    let app = App::start().await;
    // Chunks of 1,000 records: the two stand in different ones.
    let mut file = files::transactions(1_500, 1);
    let first = String::from_utf8(file.clone()).unwrap().lines().nth(1).unwrap().to_owned();
    file.extend_from_slice(format!("{}\n", first.replacen(',', ",other", 1)).as_bytes());
    let refused = app.load_with("file.csv", &file, whole()).await;
    assert_eq!(refused["counts"]["conflicts"], 1, "{refused}");
    let said = crate::uploads::rejects(&app, &refused).await;
    let conflict = said.iter().find(|said| said.contains("another content")).unwrap();
    // Whichever chunk was checked first has the id.
    let lines = ["on line 2 of this file", "on line 1502 of this file"].map(|line| conflict.contains(line));
    assert!(lines[0] != lines[1], "{conflict}");
    assert!(
        conflict.contains(if lines[0] { "here, on line 1502," } else { "here, on line 2," }),
        "{conflict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_met_only_while_loading_takes_the_whole_file_back() {
    let app = App::start().await;
    let upload = checked_before_a_conflict(&app).await;
    app.db.resume().await;
    let undone = app.undone(&upload).await;
    assert_eq!(undone["counts"]["conflicts"], 1, "{undone}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 1);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_upload_relies_on_are_not_taken_back_with_a_failed_file() {
    let app = App::start().await;
    let upload = checked_before_a_conflict(&app).await;
    app.db.pause("finish_upload").await;
    app.db.client.execute("DELETE FROM pauses WHERE name = 'begin_loading'", &[]).await.unwrap();
    let loaded = async |chunks: i64| {
        tests::eventually("the chunks", || async {
            let loaded = "SELECT count(*) FROM upload_chunks WHERE loaded_at IS NOT NULL";
            (app.db.one::<i64>(loaded, &[]).await == chunks).then_some(())
        })
        .await;
    };
    loaded(4).await;
    let relying = app.accept("part.csv", &files::transactions(700, 3), UploadOptions::default()).await;
    loaded(5).await;
    app.db.resume().await;
    let (failed, relying) = (app.ended(&upload).await, app.ended(&relying.to_string()).await);
    let failure = failed["failure"].as_str().unwrap();
    assert!(failure.contains("could not be taken back") && failure.contains("part.csv"), "{failure}");
    assert_eq!(
        (relying["state"].as_str(), relying["counts"]["duplicates"].as_i64()),
        (Some("finished"), Some(699))
    );
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 2_500);
    files::expect_everything_exact(&app.db).await;

    app.undo(&relying).await;
    app.undo(&failed).await;
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 1);
    files::expect_everything_exact(&app.db).await;
}
