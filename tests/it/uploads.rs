//! Transactions files that are well formed: every record is accounted for, every summary exact.

use reqwest::StatusCode;
use tests::{App, AppOptions, eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_service_es_form_loads_whole_and_every_summary_is_exact() {
    let app = App::start().await;
    let upload = app.load("e.csv", files::transactions(12_345, 1), "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(upload["counts"]["read"], 12_345);
    assert_eq!(upload["counts"]["inserted"], 12_345);
    assert_eq!(upload["counts"]["chunks"], 13);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 12_345);
    files::expect_everything_exact(&app.db).await;
    let refreshed = || async {
        let rows: i64 = app.db.one("SELECT count(*) FROM client_transaction_summary", &[]).await;
        (rows > 0).then_some(())
    };
    eventually("the refreshed view", refreshed).await;
    app.db
        .expect_nothing(
            "SELECT client_id FROM client_transaction_summary s
             FULL JOIN (SELECT client_id, count(*) AS n FROM transactions GROUP BY 1) t USING (client_id)
             WHERE s.total_transactions IS DISTINCT FROM t.n",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_file_keeps_its_summaries_exact_in_a_zone_with_summer_time() {
    let app =
        App::start_with(AppOptions { zone: chrono_tz::America::New_York, ..AppOptions::default() }).await;
    let upload = app.load("wide.csv", files::wide_transactions(8_000, 7), "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(upload["counts"]["read"], 8_000);
    // The only rows that cannot be loaded name an hour that New York's clocks skipped.
    app.db.expect_nothing("SELECT * FROM upload_rejects WHERE code <> 'nonexistent_time'").await;
    assert!(upload["counts"]["rejected"].as_i64().unwrap() < 10, "{upload}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_is_the_same_upload() {
    let app = App::start().await;
    let file = files::transactions(500, 2);
    let (status, first) = app.upload("one.csv", file.clone(), "").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    app.ended(first["id"].as_str().unwrap()).await;
    let (status, second) = app.upload("two.csv", file.clone(), "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(second["id"], first["id"]);
    assert_eq!(second["already_uploaded"], true, "{second}");
    let forced = app.load("three.csv", file, "?force=true").await;
    assert_ne!(forced["id"], first["id"]);
    assert_eq!(forced["counts"]["duplicates"], 500, "{forced}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 500);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_in_another_file_are_all_duplicates() {
    let app = App::start().await;
    let file = String::from_utf8(files::transactions(3_000, 3)).unwrap();
    app.load("one.csv", file.clone(), "").await;
    let mut lines: Vec<&str> = file.lines().skip(1).collect();
    lines.reverse();
    let upload = app.load("reversed.csv", files::rows(&lines), "").await;
    assert_eq!(upload["counts"]["duplicates"], 3_000, "{upload}");
    assert_eq!(upload["counts"]["inserted"], 0);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_with_another_amount_is_a_conflict_that_names_both_versions() {
    let app = App::start().await;
    let first = files::rows(&["t1,7,1,2025-01-15 10:00:00,100.50", "t2,7,1,2025-01-15 11:00:00,1.00"]);
    app.load("first.csv", first, "").await;
    let second = files::rows(&[
        "t1,7,1,2025-01-15 10:00:00,100.51",
        "t3,7,1,2025-01-16 10:00:00,5",
        "t3,7,1,2025-02-16 10:00:00,5",
    ]);
    let upload = app.load("second.csv", second, "").await;
    assert_eq!(upload["counts"]["conflicts"], 2, "{upload}");
    assert_eq!(upload["counts"]["inserted"], 1);
    let rejects = rejects(&app, &upload).await;
    let recorded = &rejects[0];
    assert!(recorded.contains("100.5000 USD") && recorded.contains("100.5100 USD"), "{recorded}");
    assert!(recorded.contains("\"first.csv\", line 2"), "{recorded}");
    assert!(rejects[1].contains("line 3 of this file"), "{}", rejects[1]);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_and_known_ids_in_one_chunk_are_told_apart() {
    let app = App::start().await;
    app.load("one.csv", files::rows(&["b,1,1,2025-01-01,1", "c,1,1,2025-01-01,1"]), "").await;
    let mixed = files::rows(&[
        "a,1,1,2025-01-01,1",
        "b,1,1,2025-01-01,1",
        "c,1,2,2025-01-01,1",
        "c,1,1,2025-01-01,1",
        "c,2,1,2025-01-01,1",
        "d,1,1,2025-01-01,1",
    ]);
    let upload = app.load("mixed.csv", mixed, "").await;
    let counts = &upload["counts"];
    assert_eq!(
        (&counts["inserted"], &counts["duplicates"], &counts["conflicts"]),
        (&2.into(), &2.into(), &2.into()),
        "{upload}"
    );
    let said = rejects(&app, &upload).await;
    assert!(said[0].contains("product 1 (from") && said[0].contains("product 2"), "{said:?}");
    assert!(said[1].contains("by client 2"), "{said:?}");
    files::expect_everything_exact(&app.db).await;
}

/// The messages of an upload's rejects, by line.
pub async fn rejects(app: &App, upload: &serde_json::Value) -> Vec<String> {
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let rows = app
        .db
        .client
        .query("SELECT message FROM upload_rejects WHERE upload_id = $1 ORDER BY line", &[&id])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_overlapping_uploads_at_once_load_every_row_once() {
    let app = App::start_with(AppOptions { chunk_records: 300, ..AppOptions::default() }).await;
    let all = String::from_utf8(files::transactions(4_000, 4)).unwrap();
    let lines: Vec<&str> = all.lines().skip(1).collect();
    // Four files of 2,500 rows, each sharing most of its rows with the others, in differing orders.
    let mut ids = Vec::new();
    for file in 0..4usize {
        let mut part: Vec<&str> = lines.iter().cycle().skip(file * 1000).take(2_500).copied().collect();
        part.rotate_left(file * 311);
        let (_, upload) = app.upload(&format!("{file}.csv"), files::rows(&part), "").await;
        ids.push(upload["id"].as_str().unwrap().to_owned());
    }
    let (mut inserted, mut duplicates) = (0, 0);
    for id in ids {
        let upload = app.ended(&id).await;
        assert_eq!(upload["state"], "finished", "{upload}");
        inserted += upload["counts"]["inserted"].as_i64().unwrap();
        duplicates += upload["counts"]["duplicates"].as_i64().unwrap();
    }
    assert_eq!((inserted, duplicates), (4_000, 6_000));
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_clients_become_stubs_or_rejects_as_asked() {
    let app = App::start().await;
    app.load("one.csv", files::rows(&["t1,known,1,2025-01-15,1"]), "").await;
    assert!(app.db.one::<bool>("SELECT stub FROM clients WHERE client_id = 'known'", &[]).await);
    let rows = files::rows(&["t2,known,1,2025-01-15,1", "t3,stranger,1,2025-01-15,1"]);
    let upload = app.load("two.csv", rows, "?unknown_clients=reject").await;
    assert_eq!(upload["counts"]["inserted"], 1, "{upload}");
    assert_eq!(upload["counts"]["rejected"], 1);
    assert!(rejects(&app, &upload).await[0].contains("stranger"));
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_new_months_want_to_be_confirmed() {
    let app = App::start().await;
    let rows: Vec<String> = (0..40)
        .map(|month| format!("t{month},1,1,{}-{:02}-10,1", 1990 + month / 12, month % 12 + 1))
        .collect();
    let file = files::rows(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = app.load("old.csv", file.clone(), "").await;
    assert_eq!(refused["state"], "failed");
    assert!(
        refused.to_string().contains("40 months that hold no data yet (1990-01 to 1993-04)"),
        "{refused}"
    );
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
    let confirmed = app.load("old.csv", file, "?allow_many_months=true").await;
    assert_eq!(confirmed["counts"]["inserted"], 40, "{confirmed}");
}
