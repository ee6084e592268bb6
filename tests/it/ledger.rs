//! What uploads do to accounts: converted, posted at once, balanced, kept.

use reqwest::StatusCode;
use serde_json::Value;
use shared::uploads::{UploadKind, UploadOptions, model::ExistingClients};
use tests::{App, files};

const HEADER: &str = "transaction_id,client_id,date,amount,currency,type,status\n";

async fn position(app: &App, client: &str) -> String {
    app.db.one("SELECT trim_scale(position)::text FROM clients WHERE client_id = $1", &[&client]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn buys_and_sells_move_positions_at_once_in_the_currency_of_the_account() {
    let app = App::start().await;
    let clients = "client_id,account_balance,account_currency,status,debt\nA,1000,EUR,,\nB,10,USD,active,\nC,5,GBP,suspended,25\n";
    app.load("clients.csv", clients, "?kind=clients").await;
    assert_eq!(position(&app, "C").await, "-20", "the balance less the debt");
    let file = format!(
        "{HEADER}1,A,2025-01-01,110.55,USD,buy,\n2,A,2025-01-02,-100,GBP,sell,\n3,A,2025-01-03,7,EUR,payment,\n\
         4,B,2025-01-04,20.005,USD,buy,\n5,B,2025-01-05,1,JPY,buy,\n6,B,2025-01-06,50,USD,buy,failed\n\
         7,B,2025-01-07,60,USD,sell,pending\n8,C,2025-01-08,10,EUR,sell,\n9,D,2025-01-09,3.3333,EUR,buy,\n"
    );
    let upload = app.load("trades.csv", file, "").await;
    assert_eq!(
        (&upload["counts"]["inserted"], &upload["counts"]["rejected"]),
        (&8.into(), &1.into()),
        "{upload}"
    );
    // 110.55 USD are 100.6005 EUR; 100 GBP by way of dollars 113.75 EUR.
    assert_eq!(position(&app, "A").await, "1013.1495");
    // Neither what failed nor what is pending counts.
    assert_eq!(position(&app, "B").await, "-10.005");
    let debtor = app.get("/api/v1/clients/B").await;
    assert_eq!(debtor["status"], "suspended", "{debtor}");
    assert_eq!(debtor["debt"], "10.0050", "{debtor}");
    // 10 EUR are 8.80 GBP; a stub's account is in the default currency.
    assert_eq!(position(&app, "C").await, "-11.2");
    assert_eq!(position(&app, "D").await, "-3.6666");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM journals", &[]).await, 1);
    files::expect_everything_exact(&app.db).await;
    // What was pending settles later, by another upload and its own journal.
    let settling =
        format!("{HEADER}7,B,2025-01-07,60,USD,sell,success\n10,C,2025-01-10,20,GBP,sell,success\n");
    app.load("settled.csv", settling, "").await;
    assert_eq!((position(&app, "B").await, position(&app, "C").await), ("49.995".into(), "8.8".into()));
    // Also who came suspended with a debt: it is paid.
    for client in ["B", "C"] {
        assert_eq!(app.get(&format!("/api/v1/clients/{client}")).await["status"], "active", "{client}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buy_without_a_rate_is_rejected_and_loads_once_there_is_one() {
    let app = App::start().await;
    let file = format!("{HEADER}1,A,2025-01-01,1000,JPY,buy,\n2,A,2025-01-01,1000,JPY,payment,\n");
    let first = app.load("yen.csv", file.clone(), "").await;
    assert_eq!(
        (&first["counts"]["inserted"], &first["counts"]["rejected"]),
        (&1.into(), &1.into()),
        "{first}"
    );
    let message: String = app.db.one("SELECT code || ': ' || message FROM upload_rejects", &[]).await;
    assert!(message.starts_with("no_rate: there is no rate from JPY into USD"), "{message}");
    app.db
        .client
        .execute("INSERT INTO fx_rates VALUES ('JPY', 'USD', 0.0067, '2025-01-01', 'test')", &[])
        .await
        .unwrap();
    let second = app.load("yen.csv", file, "?force=true").await;
    assert_eq!(
        (&second["counts"]["inserted"], &second["counts"]["duplicates"]),
        (&1.into(), &1.into()),
        "{second}"
    );
    assert_eq!(position(&app, "A").await, "-6.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_refuses_what_does_not_balance_and_keeps_what_it_has() {
    let app = App::start().await;
    app.load("trades.csv", format!("{HEADER}1,A,2025-01-01,5,USD,buy,\n"), "").await;
    for (statement, refusal) in [
        (
            "INSERT INTO entries SELECT id, 7, 1, 'clearing', NULL, 'cash', 'USD' FROM journals",
            "does not balance",
        ),
        (
            "INSERT INTO entries
             SELECT '00000000-0000-4000-8000-000000000001', n, 3 - 2 * n, 'clearing', NULL, 'cash', 'USD'
             FROM generate_series(1, 2) AS n",
            "entries without a journal",
        ),
        ("UPDATE entries SET amount = 2 * amount", "append-only"),
        ("DELETE FROM entries", "append-only"),
        ("TRUNCATE entries", "append-only"),
        ("UPDATE journals SET posted_at = now()", "append-only"),
        ("DELETE FROM journals", "append-only"),
    ] {
        let error = app.db.client.execute(statement, &[]).await.unwrap_err();
        let said = error.as_db_error().unwrap().message().to_owned();
        assert!(said.contains(refusal), "{statement}: {said}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_keeps_the_currency_that_its_trades_were_converted_into() {
    let app = App::start().await;
    app.load("trades.csv", format!("{HEADER}1,A,2025-01-01,5,EUR,buy,\n2,B,2025-01-01,5,EUR,payment,\n"), "")
        .await;
    let upload = app
        .load("clients.csv", "client_id,name,account_currency\nA,Ann,EUR\nB,Bob,EUR\n", "?kind=clients")
        .await;
    assert_eq!(
        (&upload["counts"]["updated"], &upload["counts"]["conflicts"]),
        (&1.into(), &1.into()),
        "{upload}"
    );
    let message: String = app.db.one("SELECT message FROM upload_rejects", &[]).await;
    assert!(message.contains("kept in USD") && message.contains("undo their upload first"), "{message}");
    assert_eq!(app.get("/api/v1/clients/B").await["currency"], "EUR");
}

#[tokio::test(flavor = "multi_thread")]
async fn known_clients_are_updated_kept_or_rejected_as_asked() {
    let app = App::start().await;
    app.load("first.csv", "client_id,name,email\nA,Ann,ann@example.com\n", "?kind=clients").await;
    let again = b"client_id,name,email\nA,Anna,ann@example.com\nB,Bob,ANN@example.com\nC,Cid,\n";
    for (existing_clients, name, updated, duplicates, conflicts) in [
        (ExistingClients::Reject, "Ann", 0, 0, 2),
        (ExistingClients::Keep, "Ann", 0, 2, 1),
        (ExistingClients::Update, "Anna", 1, 1, 1),
    ] {
        let options = UploadOptions { existing_clients, ..UploadOptions::default() };
        let id = app.accept_kind(UploadKind::Clients, "again.csv", again, options).await;
        let upload = app.ended(&id.to_string()).await;
        assert_eq!(upload["state"], "finished", "{upload}");
        assert_eq!(app.get("/api/v1/clients/A").await["name"], name, "{existing_clients}");
        let counts = &upload["counts"];
        assert_eq!(
            (&counts["updated"], &counts["duplicates"], &counts["conflicts"]),
            (&updated.into(), &duplicates.into(), &conflicts.into()),
            "{existing_clients}: {upload}"
        );
    }
    let named: i64 = app
        .db
        .one("SELECT count(*) FROM upload_rejects WHERE message LIKE '%is the e-mail of client A%'", &[])
        .await;
    assert_eq!(named, 3);
    let (status, _) = app.send(app.request(reqwest::Method::GET, "/api/v1/clients/B")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_amounts_are_posted_or_rejected_and_stop_no_file() {
    let app = App::start().await;
    let most = "9999999999999999";
    let file = format!(
        "{HEADER}1,A,2025-01-01,{most},USD,sell,\n2,A,2025-01-01,{most},USD,sell,\n3,B,2025-01-01,{most},GBP,buy,\n\
         4,C,2025-01-01,7,USD,buy,\n"
    );
    let upload = app.load("large.csv", file, "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(position(&app, "A").await, "19999999999999998");
    assert_eq!(position(&app, "C").await, "-7");
    let rejected: String = app.db.one("SELECT code || ': ' || message FROM upload_rejects", &[]).await;
    assert_eq!(rejected, "number_too_large: converted into USD, the amount has more than 16 digits");
    let clients = app.load("clients.csv", format!("client_id,balance\nA,{most}\n"), "?kind=clients").await;
    assert_eq!(clients["state"], "finished", "{clients}");
    assert_eq!(position(&app, "A").await, "29999999999999997");
    files::expect_everything_exact(&app.db).await;
}

/// Sells of 1 USD each, to three clients in turn.
fn sells(range: std::ops::Range<u32>) -> String {
    let rows: String = range.map(|row| format!("s{row},C{},2025-01-01,1,USD,sell,\n", row % 3)).collect();
    format!("{HEADER}{rows}")
}

/// All positions together.
async fn positions(app: &App) -> String {
    app.db.one("SELECT trim_scale(sum(position))::text FROM clients", &[]).await
}

async fn journals(app: &App, upload: &Value) -> i64 {
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    app.db.one("SELECT count(*) FROM journals WHERE source_id = $1", &[&id]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_upload_owes_is_posted_by_the_one_that_finds_its_rows() {
    let app = App::start().await;
    let failed = app.load_without_second_chunk("failed.csv", sells(0..2_000)).await;
    let first = failed["counts"]["inserted"].as_u64().unwrap() as u32;
    assert!(first > 0 && first < 2_000, "{failed}");
    app.db.expect_nothing("SELECT * FROM journals").await;

    let again = app.load("again.csv", sells(0..1_900), "").await;
    assert_eq!(again["counts"]["duplicates"], first, "{again}");
    assert_eq!(positions(&app).await, "1900");
    files::expect_everything_exact(&app.db).await;
    // The first goes on where it stopped, with a second journal for the rest.
    app.retry(&failed).await;
    assert_eq!(positions(&app).await, "2000");
    assert_eq!(journals(&app, &failed).await, 2);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_reverses_each_part_that_was_posted() {
    let app = App::start().await;
    let kept = app.load("kept.csv", sells(5_000..5_030), "").await;
    let failed = app.load_without_second_chunk("failed.csv", sells(0..2_000)).await;
    let first = failed["counts"]["inserted"].as_u64().unwrap() as u32;
    // It brings nothing, and posts what it finds.
    let finder = app.load("finder.csv", sells(0..first), "").await;
    assert_eq!((&finder["counts"]["inserted"], journals(&app, &failed).await), (&0.into(), 1), "{finder}");
    app.retry(&failed).await;
    assert_eq!((positions(&app).await, journals(&app, &failed).await), ("2030".to_owned(), 2));
    app.undo(&finder).await;
    assert_eq!(positions(&app).await, "2030", "what the finder posted is not its own");
    app.undo(&failed).await;
    assert_eq!((positions(&app).await, journals(&app, &failed).await), ("30".to_owned(), 4));
    let unreversed: i64 = app
        .db
        .one(
            "SELECT count(*) FROM journals j WHERE kind = 'upload'
                 AND NOT EXISTS (SELECT FROM journals r WHERE r.reversal_of = j.id)",
            &[],
        )
        .await;
    assert_eq!((unreversed, journals(&app, &kept).await), (1, 1));
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_find_the_same_rows_at_once_post_them_once() {
    let app = App::start().await;
    let failed = app.load_without_second_chunk("failed.csv", sells(0..2_000)).await;
    let first = failed["counts"]["inserted"].as_u64().unwrap() as u32;
    // Both stand before their ends, and meet at the note, which is locked.
    app.db.pause("finish_upload").await;
    let mut finders = Vec::new();
    for own in [7_000, 8_000] {
        let file = sells(0..first) + sells(own..own + 10).strip_prefix(HEADER).unwrap();
        finders.push(app.accept(&format!("{own}.csv"), file.as_bytes(), UploadOptions::default()).await);
    }
    tests::eventually("the loads", || async {
        let open: i64 = app
            .db
            .one(
                "SELECT count(*) FROM runs WHERE kind = 'finish_upload' AND state = 'available'
                     AND id IN (SELECT run_id FROM uploads WHERE state = 'loading')",
                &[],
            )
            .await;
        (open == 2).then_some(())
    })
    .await;
    let other = app.db.session().await;
    other
        .batch_execute("BEGIN; SELECT 1 FROM upload_postings ORDER BY upload_id LIMIT 1 FOR UPDATE")
        .await
        .unwrap();
    app.db.resume().await;
    app.db.waiting_for_locks(2).await;
    assert_eq!(journals(&app, &failed).await, 0);
    other.batch_execute("ROLLBACK").await.unwrap();
    for finder in finders {
        let finder = app.ended(&finder.to_string()).await;
        assert_eq!((&finder["state"], journals(&app, &finder).await), (&"finished".into(), 1), "{finder}");
    }
    assert_eq!((positions(&app).await, journals(&app, &failed).await), ((first + 20).to_string(), 1));
    files::expect_everything_exact(&app.db).await;
}
