//! Clients files: made, completed, brought up to date, and never two with one e-mail address.

use super::uploads::rejects;
use tests::{App, files};

const HEADER: &str = "client_id,name,email,date_of_birth,country,account_type,account_balance,account_open_date,phone_number,address,risk_tolerance,account_currency\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_file_with_line_ends_in_addresses_loads_whole() {
    let app = App::start().await;
    let file = format!(
        "{HEADER}c1,Ann,ann@example.org,1980-01-02,Chad,standard,28643.2,2024-10-28,1,\"53472 Knolls\nEast, WV\",low,GBP\n\
         c2,Bob,bob@example.org,,Peru,premium,-10,,2,\"1 Road\",HIGH,\n"
    );
    let upload = app.load("clients.csv", file, "?kind=clients").await;
    assert_eq!(upload["counts"]["inserted"], 2, "{upload}");
    let ann = app.get("/api/v1/clients/c1").await;
    assert_eq!(ann["balance"], "28643.2000", "{ann}");
    assert_eq!(ann["address"], "53472 Knolls\nEast, WV");
    assert_eq!(ann["status"], "active");
    let bob = app.get("/api/v1/clients/c2").await;
    assert_eq!((&bob["debt"], &bob["status"]), (&"10.0000".into(), &"suspended".into()), "{bob}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stubs_are_completed_known_clients_updated_and_doubled_addresses_refused() {
    let app = App::start().await;
    app.load("t.csv", files::rows(&["t1,c1,1,2025-01-15,1"]), "").await;
    let first =
        format!("{HEADER}c1,Ann,ann@example.org,,,,100,,,,,EUR\nc2,Bob,bob@example.org,,,,5,,,,,USD\n");
    let upload = app.load("one.csv", first, "?kind=clients").await;
    assert_eq!(
        (&upload["counts"]["inserted"], &upload["counts"]["updated"]),
        (&1.into(), &1.into()),
        "{upload}"
    );
    let second = format!(
        "{HEADER}c1,Ann,ann@example.org,,,,100,,,,,EUR\n\
         c2,Robert,,,,,7,,,,,USD\n\
         c3,Cid,ANN@example.org,,,,,,,,,\n\
         c4,Dee,dee@example.org,,,,,,,,,\n\
         c5,Eve,Dee@example.org,,,,,,,,,\n\
         c6,Fay,not an address,,,,,,,,,\n\
         c2,Rob,,,,,,,,,,\n"
    );
    let upload = app.load("two.csv", second, "?kind=clients").await;
    let counts = &upload["counts"];
    assert_eq!(
        (
            &counts["duplicates"],
            &counts["updated"],
            &counts["inserted"],
            &counts["conflicts"],
            &counts["rejected"]
        ),
        (&1.into(), &1.into(), &1.into(), &3.into(), &1.into()),
        "{upload}"
    );
    let said = rejects(&app, &upload).await;
    assert!(said[0].contains("client c1 (line 2 of this file)"), "{said:?}");
    assert!(said[1].contains("client c4 (line 5 of this file)"), "{said:?}");
    let bob = app.get("/api/v1/clients/c2").await;
    assert_eq!(
        (&bob["name"], &bob["email"], &bob["balance"]),
        (&"Robert".into(), &"bob@example.org".into(), &"7.0000".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_client_said_to_be_suspended_for_a_debt_is_judged_by_what_it_has() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\nrich,Ann\npoor,Bob\n", "?kind=clients").await;
    let trades = "transaction_id,client_id,occurred_at,amount,kind\nt1,rich,2025-01-15,100,sell\n";
    app.load("trades.csv", trades, "").await;
    // The debt is what the account began with; what was earned since pays it.
    let file = "client_id,balance,debt,status\nrich,0,10,suspended\npoor,0,10,suspended\n";
    let upload = app.load("debts.csv", file, "?kind=clients").await;
    assert_eq!(upload["counts"]["updated"], 2, "{upload}");
    for (client, status, balance, debt) in
        [("rich", "active", "90.0000", "0"), ("poor", "suspended", "0", "10.0000")]
    {
        let client = app.get(&format!("/api/v1/clients/{client}")).await;
        assert_eq!(client["status"], status, "{client}");
        assert_eq!((&client["balance"], &client["debt"]), (&balance.into(), &debt.into()), "{client}");
        assert_eq!(client["suspended_at"], serde_json::Value::Null, "nobody has suspended it: {client}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_values_are_no_ids_and_nobody_is_born_tomorrow() {
    let app = App::start().await;
    let file = "client_id,name,date_of_birth,currency\n\
                TRUE,Ann,,\nFALSE,Bob,,\nc1,Cid,2990-01-01,\nc2,true,1990-01-01,XYZ\n";
    let upload = app.load("clients.csv", file, "?kind=clients").await;
    assert_eq!((&upload["counts"]["rejected"], &upload["counts"]["inserted"]), (&3.into(), &1.into()));
    let codes: Vec<String> =
        app.db.one("SELECT array_agg(code ORDER BY line) FROM upload_rejects", &[]).await;
    assert_eq!(codes, ["error_cell", "error_cell", "future_date"]);
    let said = rejects(&app, &upload).await;
    assert!(said[0].contains("truth value") && said[2].contains("after today"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactions_file_is_no_clients_file() {
    let app = App::start().await;
    let upload = app.load("t.csv", files::rows(&["t1,c1,1,2025-01-15,1"]), "?kind=clients").await;
    assert_eq!(upload["state"], "failed", "{upload}");
    assert!(upload.to_string().contains("any field of a client but its id"), "{upload}");
}
