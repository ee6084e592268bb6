//! The recipe: clients, then transactions, from configured places, as one flow.

use futures::SinkExt;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::{
    auth::Role,
    synthetic::{DataFormat, DataKind, DataRequest, TRADING_CLIENTS, TransactionForm},
};
use tests::{App, AppOptions, eventually, files};

const CLIENTS: &str = "client_id,name,email\nC1,One,one@example.org\nC2,Two,two@example.org\n";
const TRANSACTIONS: &[&str] = &["t1,C1,1,2025-01-15,7", "t2,C2,1,2025-01-16,8", "t3,C2,1,never,9"];

async fn start(app: &App) -> String {
    let (status, run) = app.post("/api/v1/etl").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

/// Waits for the end of the recipe; its root.
async fn ended(app: &App, id: &str) -> Value {
    let path = &format!("/api/v1/runs/{id}");
    eventually("the end of the recipe", move || async move {
        let run = app.get(path).await;
        (!run["finished_at"].is_null()).then_some(run)
    })
    .await
}

fn write(app: &App, clients: &str, transactions: &str) {
    std::fs::write(&app.env.etl.clients, clients).unwrap();
    std::fs::write(&app.env.etl.transactions, transactions).unwrap();
}

/// The runs of a flow by kind, with state and error.
async fn steps(app: &App, flow: &str) -> Vec<(String, String, String)> {
    let listing = app.get(&format!("/api/v1/runs?flow={flow}&limit=500")).await;
    let text = |run: &Value, name: &str| run[name].as_str().unwrap_or_default().to_owned();
    let runs = listing["items"].as_array().unwrap().iter();
    runs.map(|run| (text(run, "kind"), text(run, "state"), text(run, "error"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_loads_clients_and_then_transactions_as_one_flow() {
    let app = App::start().await;
    write(&app, CLIENTS, &files::rows(TRANSACTIONS));
    let id = start(&app).await;
    let run = ended(&app, &id).await;
    assert_eq!(run["state"], "completed", "{run}");
    let (clients, transactions) = (&run["result"]["clients"], &run["result"]["transactions"]);
    assert_eq!(clients["counts"]["inserted"], 2, "{run}");
    assert_eq!(transactions["counts"]["inserted"], 2, "{run}");
    assert_eq!(transactions["counts"]["rejected"], 1, "{run}");
    assert_eq!(clients["already_uploaded"], false);
    // One tree, in which the clients came first: none of them was made up.
    app.db.expect_nothing("SELECT * FROM clients WHERE stub").await;
    let kinds: Vec<String> = steps(&app, &id).await.into_iter().map(|step| step.0).collect();
    for (kind, count) in [("run_etl", 1), ("etl_clients", 1), ("etl_transactions", 1), ("finish_upload", 2)] {
        assert_eq!(kinds.iter().filter(|known| *known == kind).count(), count, "{kinds:?}");
    }
    let upload = app.get(&format!("/api/v1/uploads/{}", transactions["upload_id"].as_str().unwrap())).await;
    assert_eq!(upload["filename"], "transactions.csv", "{upload}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM audit_log WHERE action = 'etl.run'", &[]).await, 1);
    files::expect_everything_exact(&app.db).await;

    // The same bytes again: reported, not doubled.
    let again = ended(&app, &start(&app).await).await;
    assert_eq!(again["state"], "completed", "{again}");
    assert_eq!(again["result"]["transactions"]["already_uploaded"], true, "{again}");
    assert_eq!(again["result"]["transactions"]["upload_id"], transactions["upload_id"]);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 2);
    let stored = std::fs::read_dir(app.data_dir().join("files/uploads")).unwrap().count();
    assert_eq!(stored, 2, "the copies that nobody needs are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named_and_a_retry_goes_on_from_there() {
    let app = App::start().await;
    std::fs::write(&app.env.etl.clients, CLIENTS).unwrap();
    let id = start(&app).await;
    let run = ended(&app, &id).await;
    assert_eq!(run["state"], "failed", "{run}");
    let failed = steps(&app, &id).await;
    let (_, state, error) = failed.iter().find(|step| step.0 == "etl_transactions").unwrap();
    assert_eq!(state, "failed");
    assert!(error.contains(&app.env.etl.transactions), "{error}");
    assert!(error.contains("there is no file") && error.contains("MILLRACE_ETL_TRANSACTIONS"), "{error}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM clients WHERE NOT stub", &[]).await, 2);

    write(&app, CLIENTS, &files::rows(TRANSACTIONS));
    let (status, _) = app.post(&format!("/api/v1/runs/{id}/retry")).await;
    assert!(status.is_success());
    let run = ended(&app, &id).await;
    assert_eq!(run["state"], "completed", "{run}");
    assert_eq!(run["result"]["transactions"]["counts"]["inserted"], 2);
    let clients = "SELECT max(attempt) FROM runs WHERE kind = 'etl_clients'";
    assert_eq!(app.db.one::<i32>(clients, &[]).await, 1, "what had succeeded is not done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_loaded_fails_the_recipe_and_its_upload_says_why() {
    let app = App::start().await;
    write(&app, "surname,colour\nOne,red\n", &files::rows(TRANSACTIONS));
    let id = start(&app).await;
    assert_eq!(ended(&app, &id).await["state"], "failed");
    let uploads = app.get("/api/v1/uploads").await;
    let upload = uploads["items"][0]["id"].as_str().unwrap().to_owned();
    let upload = app.get(&format!("/api/v1/uploads/{upload}")).await;
    assert_eq!(upload["state"], "failed", "{upload}");
    assert!(upload["failure"].as_str().unwrap().contains("client_id"), "{upload}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipe_runs_at_a_time_and_can_be_cancelled() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    write(&app, CLIENTS, &files::rows(TRANSACTIONS));
    let id = start(&app).await;
    let (status, same) = app.post("/api/v1/etl").await;
    assert_eq!((status, same["id"].as_str().unwrap()), (StatusCode::OK, id.as_str()));
    let (status, _) = app.post(&format!("/api/v1/runs/{id}/cancel")).await;
    assert!(status.is_success());
    assert_eq!(app.get(&format!("/api/v1/runs/{id}")).await["state"], "cancelled");
    assert!(steps(&app, &id).await.iter().all(|step| step.1 == "cancelled"));
    assert_ne!(start(&app).await, id);

    let viewer = app.token(Role::Viewer).await;
    let request = app.anonymous(Method::POST, "/api/v1/etl").bearer_auth(viewer);
    assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN);
}

/// What the trades of a file would do to their clients, computed from the file alone with the rates that
/// service A had; against what became of them.
const UNLIKE_THE_FILE: &str = "
    WITH rates (base, quote, rate) AS (VALUES ('EUR', 'USD', 1.10), ('GBP', 'USD', 1.25), ('USD', 'EUR', 0.91),
             ('USD', 'GBP', 0.80), ('EUR', 'GBP', 1.10 * 0.80), ('GBP', 'EUR', 1.25 * 0.91)),
         expected AS (
             SELECT f.client_id, count(*) AS trades,
                    sum(CASE f.kind WHEN 'buy' THEN -1 ELSE 1 END * round(abs(f.amount) * coalesce(r.rate, 1), 4)) AS moved
             FROM file f JOIN clients c USING (client_id)
             LEFT JOIN rates r ON r.base = f.currency AND r.quote = c.currency GROUP BY 1),
         loaded AS (
             SELECT c.client_id, count(*) AS trades, c.position - c.opening_balance AS moved
             FROM clients c JOIN transactions t USING (client_id) GROUP BY c.client_id)
    SELECT * FROM expected FULL JOIN loaded USING (client_id)
    WHERE (expected.trades, expected.moved) IS DISTINCT FROM (loaded.trades, loaded.moved)";

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_in_service_as_form_moves_every_account_as_its_rows_say() {
    let app = App::start().await;
    let clients = DataRequest {
        what: Some(DataKind::Clients),
        num_rows: TRADING_CLIENTS.into(),
        ..DataRequest::default()
    };
    let trades = DataRequest { form: Some(TransactionForm::A), num_rows: 2_000, ..DataRequest::default() };
    let workbook = DataRequest { format: Some(DataFormat::Xlsx), ..trades.clone() };
    std::fs::write(&app.env.etl.clients, files::generated(&clients).0).unwrap();
    std::fs::write(&app.env.etl.transactions, files::generated(&workbook).0).unwrap();
    let trades = files::generated(&trades).0;
    let run = ended(&app, &start(&app).await).await;
    assert_eq!(run["state"], "completed", "{run}");
    assert_eq!(run["result"]["clients"]["counts"]["inserted"], 500, "{run}");
    assert_eq!(run["result"]["transactions"]["counts"]["inserted"], 2_000, "{run}");
    // The same trades as text.
    let client = &app.db.client;
    let table =
        "CREATE TEMP TABLE file (transaction_id text, client_id text, kind text, at date, ticker text,
        stock text, shares numeric, price numeric, amount numeric, currency text, channel text)";
    client.batch_execute(table).await.unwrap();
    let mut copy = Box::pin(client.copy_in("COPY file FROM STDIN (FORMAT csv, HEADER)").await.unwrap());
    copy.send(bytes::Bytes::from(trades)).await.unwrap();
    assert_eq!(copy.as_mut().finish().await.unwrap(), 2_000);
    app.db.expect_nothing(UNLIKE_THE_FILE).await;
    files::expect_everything_exact(&app.db).await;
}
