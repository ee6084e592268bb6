//! A status that moves from pending, across files and within one.

use tests::{App, files};

fn file(rows: &[&str]) -> String {
    let mut file = "transaction_id,client_id,occurred_at,amount,status,merchant_id,kind\n".to_owned();
    rows.iter().for_each(|row| file.extend([row, "\n"]));
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_row_moves_once_and_every_summary_follows() {
    let app = App::start().await;
    let first = file(&[
        "p1,c1,2025-03-01,10,pending,m1,payment",
        "p2,c1,2025-03-01,90,pending,m1,payment",
        "p3,c1,2025-03-02,5,pending,m2,payment",
        "p4,c2,2025-03-02,7,success,m2,payment",
        "p5,c3,2025-03-02,8,failed,m2,payment",
    ]);
    app.load("pending.csv", first, "").await;
    files::expect_everything_exact(&app.db).await;
    let second = file(&[
        "p1,c1,2025-03-01,10,success,m1,payment",
        "p2,c1,2025-03-01,90,failed,m1,payment",
        "p3,c1,2025-03-02,5,failed,m2,payment",
        "p4,c2,2025-03-02,7,pending,m2,payment",
    ]);
    let upload = app.load("settled.csv", second.clone(), "").await;
    assert_eq!(upload["counts"]["updated"], 3, "{upload}");
    assert_eq!(upload["counts"]["duplicates"], 1, "{upload}");
    files::expect_everything_exact(&app.db).await;
    let again = app.load("settled.csv", second, "?force=true").await;
    assert_eq!(again["counts"]["duplicates"], 4, "{again}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_file_the_first_line_wins_and_a_later_status_moves_it() {
    let app = App::start().await;
    let rows = file(&[
        "p1,c1,2025-03-01,10,pending,m1,payment",
        "p1,c1,2025-03-01,10,success,m1,payment",
        "p1,c1,2025-03-01,10,success,m1,payment",
        "p1,c1,2025-03-01,11,success,m1,payment",
    ]);
    let upload = app.load("one.csv", rows, "").await;
    let counts = &upload["counts"];
    assert_eq!(
        (&counts["inserted"], &counts["updated"], &counts["duplicates"], &counts["conflicts"]),
        (&1.into(), &1.into(), &1.into(), &1.into()),
        "{upload}"
    );
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_and_kinds_are_understood() {
    let app = App::start().await;
    let rows = file(&[
        "k1,c1,2025-03-01,-2369.16,,,sell",
        "k2,c1,2025-03-01,-5,,,payment",
        "k3,c1,2025-03-01,-6,,,",
        "k4,c1,2025-03-01,-7,,,refund",
        "k5,c1,2025-03-01,-8,,,BUY",
        "k6,c1,2025-03-01,8,,,Buy",
        "k7,c1,2025-03-01,8,,,gift",
        "k8,c1,2025-03-01,8,done,,buy",
    ]);
    let upload = app.load("kinds.csv", rows, "").await;
    assert_eq!(upload["counts"]["inserted"], 5, "{upload}");
    assert_eq!(upload["counts"]["rejected"], 3, "{upload}");
    let kinds: String = app
        .db
        .one("SELECT string_agg(transaction_id || ' ' || kind || ' ' || amount, ', ' ORDER BY transaction_id) FROM transactions", &[])
        .await;
    assert_eq!(
        kinds,
        "k1 sell 2369.1600, k2 refund 5.0000, k3 refund 6.0000, k4 refund 7.0000, k6 buy 8.0000"
    );
    files::expect_everything_exact(&app.db).await;
}
