//! Trades: what is accepted is settled or rejected once, whoever asks at the same time.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use std::collections::BTreeMap;
use tests::{App, AppOptions, eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_trade_moves_cash_shares_volume_ledger_rows_and_summaries() {
    let app = App::start().await;
    app.account("ann", "1000").await;
    app.stock("AAA", "12.5", 100).await;
    let bought = app.trade("ann", "buy", 10, "AAA").await;
    assert_eq!((&bought["state"], &bought["amount"]), (&"settled".into(), &"125.0000".into()), "{bought}");
    let sold = app.trade("ann", "sell", 4, "AAA").await;
    assert_eq!((&sold["cost"], &sold["realised"]), (&"50.0000".into(), &"0.0000".into()), "{sold}");
    let client = app.get("/api/v1/clients/ann").await;
    assert_eq!(client["balance"], "925.0000", "{client}");
    assert_eq!(app.get("/api/v1/stocks/AAA").await["volume"], 94);
    let holdings = app.get("/api/v1/clients/ann/holdings").await;
    let holding = json!({ "ticker": "AAA", "shares": 6, "cost": "75.0000", "average_cost": "12.5000", "realised": "0.0000" });
    assert_eq!(holdings["items"], json!([holding]));
    // The statement, newest first, and what there was between the two.
    let statement = app.get("/api/v1/clients/ann/statement").await;
    let lines: Vec<_> = statement["items"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&lines[0]["amount"], &lines[0]["balance"]),
        (&"50.0000".into(), &"925.0000".into()),
        "{statement}"
    );
    assert_eq!(
        (&lines[1]["description"], &lines[1]["balance"]),
        (&"Bought 10 AAA".into(), &"875.0000".into())
    );
    let between = lines[1]["at"].as_str().unwrap();
    let balance = app.get(&format!("/api/v1/clients/ann/balance?at={between}")).await;
    assert_eq!(
        (&balance["position"], &balance["shares"]),
        (&"875.0000".into(), &json!({ "AAA": 10 })),
        "{balance}"
    );
    let before = app.get("/api/v1/clients/ann/balance?at=2020-01-01T00:00:00Z").await;
    assert_eq!((&before["position"], &before["shares"]), (&"1000.0000".into(), &json!({})));
    let shares = app.get("/api/v1/clients/ann/statement?ticker=AAA&limit=1").await;
    assert_eq!(
        (&shares["items"][0]["amount"], &shares["items"][0]["balance"]),
        (&"-4.0000".into(), &"6.0000".into())
    );
    let older = app
        .get(&format!(
            "/api/v1/clients/ann/statement?ticker=AAA&limit=1&cursor={}",
            shares["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!((&older["items"][0]["balance"], &older["next"]), (&"10.0000".into(), &Value::Null));
    // It is a transaction like any other.
    let transaction = app.get(&format!("/api/v1/transactions/{}", bought["id"].as_str().unwrap())).await;
    assert_eq!(
        (&transaction["amount"], &transaction["kind"]),
        (&"125.0000".into(), &"buy".into()),
        "{transaction}"
    );
    files::expect_everything_exact(&app.db).await;
    app.db.expect_ledger_exact().await;
    expect_verified(&app).await;
}

/// `millrace verify ledger` finds nothing.
async fn expect_verified(app: &App) {
    let (run, error) = verified(app).await;
    assert_eq!(run, "completed", "{error}");
}

/// Has the ledger verified: the run's state and error.
async fn verified(app: &App) -> (String, String) {
    let (status, run) = app.post("/api/v1/ledger/verify").await;
    assert!(status.is_success(), "{run}");
    let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    let path = &path;
    eventually("the verification", || async move {
        let run = app.get(path).await;
        let text = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
        ["completed", "failed", "discarded"]
            .contains(&run["state"].as_str().unwrap())
            .then(|| (text("state"), text("error")))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_settled_is_rejected_with_its_reason_and_moves_nothing() {
    let app = App::start().await;
    app.account("ann", "100").await;
    app.account("bob", "100").await;
    app.stock("AAA", "10", 20).await;
    app.stock("DEAR", "9999999999999999", 20).await;
    app.db
        .client
        .execute("UPDATE clients SET suspended_at = now() WHERE client_id = 'bob'", &[])
        .await
        .unwrap();
    let yen = json!({ "ticker": "YEN", "currency": "JPY", "open_price": "1", "close_price": "1", "high": "1", "low": "1", "volume": 9 });
    app.send(app.posting("/api/v1/stocks", &yen)).await;
    for (client, side, volume, ticker, reason) in [
        ("ann", "buy", 11, "AAA", "insufficient_funds"),
        ("ann", "buy", 21, "AAA", "insufficient_volume"),
        ("ann", "sell", 1, "AAA", "insufficient_holdings"),
        ("bob", "buy", 1, "AAA", "client_suspended"),
        ("ann", "buy", 1, "NONE", "unknown_stock"),
        ("ann", "buy", 1, "YEN", "no_exchange_rate"),
        ("ann", "buy", 2, "DEAR", "amount_too_large"),
    ] {
        let trade = app.trade(client, side, volume, ticker).await;
        assert_eq!((&trade["state"], &trade["reason"]), (&"rejected".into(), &reason.into()), "{trade}");
        assert!(trade["explanation"].as_str().unwrap().len() > 20, "{trade}");
        assert_eq!(trade["amount"], Value::Null);
    }
    assert_eq!(app.get("/api/v1/clients/ann").await["balance"], "100.0000");
    let rejected = app.get("/api/v1/trades?state=rejected&client_id=ann").await;
    assert_eq!(rejected["items"].as_array().unwrap().len(), 6);
    assert_eq!(app.get("/api/v1/clients/ann/trades").await["items"], json!([]), "only what was settled");
    app.db.expect_ledger_exact().await;
    files::expect_everything_exact(&app.db).await;
    // No shares for nothing, where little is left of the amount.
    let hundredth = "INSERT INTO fx_rates VALUES ('JPY', 'USD', 0.00004, '2024-01-01', 'test')";
    app.db.client.execute(hundredth, &[]).await.unwrap();
    assert_eq!(app.trade("ann", "buy", 1, "YEN").await["reason"], "amount_too_small");
    // Converted once there is a rate.
    app.db
        .client
        .execute("INSERT INTO fx_rates VALUES ('JPY', 'USD', 0.0067, '2025-01-01', 'test')", &[])
        .await
        .unwrap();
    let trade = app.trade("ann", "buy", 3, "YEN").await;
    assert_eq!((&trade["amount"], &trade["account_amount"]), (&"3.0000".into(), &"0.0201".into()), "{trade}");
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_cannot_be_accepted_say_why_at_their_field() {
    let app = App::start().await;
    app.account("ann", "100").await;
    let order = |client: &str, ticker: &str, side: &str, volume: Value| json!({ "client_id": client, "ticker": ticker, "side": side, "volume": volume });
    for (body, field) in [
        (order("nobody", "AAA", "buy", 1.into()), "client_id"),
        (order("ann", "", "buy", 1.into()), "ticker"),
        (order("ann", "AAAAAAAAAAAAAAAA", "buy", 1.into()), "ticker"),
        (order("ann", "AAA", "hold", 1.into()), "side"),
        (order("ann", "AAA", "buy", 0.into()), "volume"),
        (order("ann", "AAA", "buy", (-3).into()), "volume"),
        (order("ann", "AAA", "buy", 1.5.into()), "volume"),
        (order("ann", "AAA", "buy", 3_000_000_000i64.into()), "volume"),
    ] {
        let (status, answer) = app.send(app.posting("/api/v1/trades", &body)).await;
        assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &field.into()), "{answer}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM trades", &[]).await, 0);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM runs", &[]).await, 0);
    for (body, field) in [
        (json!({ "username": "12345", "balance": "1" }), "username"),
        (json!({ "username": "ab", "balance": "1" }), "username"),
        (json!({ "username": "١٢٣", "balance": "1" }), "username"),
        (json!({ "username": "an\u{202e}na", "balance": "1" }), "username"),
        (json!({ "username": "anna", "client_id": " a ", "balance": "1" }), "client_id"),
        (json!({ "username": "abc", "balance": "-1" }), "balance"),
        (json!({ "username": "abc", "balance": "1.00001" }), "balance"),
    ] {
        let (status, answer) = app.send(app.posting("/api/v1/clients", &body)).await;
        assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &field.into()), "{answer}");
    }
    let again = json!({ "username": "ann", "balance": "1" });
    let (status, answer) = app.send(app.posting("/api/v1/clients", &again)).await;
    assert_eq!((status, &answer["field"]), (StatusCode::CONFLICT, &"username".into()), "{answer}");
    let viewer = app.token(Role::Viewer).await;
    let body = order("ann", "AAA", "buy", 1.into());
    let request = app.anonymous(Method::POST, "/api/v1/trades").bearer_auth(viewer).json(&body);
    assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_sent_again_under_its_key_is_one_trade_and_answered_alike() {
    let app = App::start().await;
    app.account("ann", "1000000").await;
    app.stock("AAA", "1", 1_000_000).await;
    for round in 0..100 {
        let key = format!("key-{round}");
        let sent = (0..100).map(|_| {
            let order = app.order("ann", "buy", 1, "AAA").header("Idempotency-Key", &key);
            async {
                let response = order.send().await.unwrap();
                let replayed = response.headers().contains_key("idempotency-replayed");
                let location = response.headers()["location"].to_str().unwrap().to_owned();
                (response.status(), location, replayed, response.text().await.unwrap())
            }
        });
        let answers = futures::future::join_all(sent).await;
        let (status, location, _, body) = &answers[0];
        assert_eq!(*status, StatusCode::ACCEPTED, "{body}");
        assert!(answers.iter().all(|answer| (&answer.0, &answer.1, &answer.3) == (status, location, body)));
        assert_eq!(answers.iter().filter(|(_, _, replayed, _)| !replayed).count(), 1);
    }
    app.until_decided().await;
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM trades", &[]).await, 100);
    assert_eq!(app.get("/api/v1/clients/ann").await["balance"], "999900.0000");
    let other = app.order("ann", "buy", 2, "AAA").header("Idempotency-Key", "key-0");
    let (status, answer) = app.send(other).await;
    assert_eq!(
        (status, &answer["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &"Idempotency-Key".into()),
        "{answer}"
    );
    // Settled long since, and still answered as it was accepted; unless the caller asks for the outcome.
    let again = app.order("ann", "buy", 1, "AAA").header("Idempotency-Key", "key-0");
    assert_eq!(app.send(again).await.1["state"], "pending");
    let again =
        app.order("ann", "buy", 1, "AAA").header("Idempotency-Key", "key-0").header("Prefer", "wait=5");
    assert_eq!(app.send(again).await.1["state"], "settled");
    app.db.expect_ledger_exact().await;
}

/// Fifty callers at once, a hundred times, before two workers: how often each outcome came, the same each time.
async fn race(
    app: &App,
    prepare: impl AsyncFn(&App, &str),
    order: (&'static str, i64),
    expected: &[(&str, usize)],
) {
    for round in 0..100 {
        let name = format!("round{round}");
        prepare(app, &name).await;
        let (side, volume) = order;
        let sent = (0..50).map(|_| app.trade(&name, side, volume, &name));
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for trade in futures::future::join_all(sent).await {
            let outcome = trade["reason"].as_str().or(trade["state"].as_str()).unwrap().to_owned();
            *outcomes.entry(outcome).or_default() += 1;
        }
        let outcomes: Vec<(&str, usize)> =
            outcomes.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
        assert_eq!(outcomes, expected, "round {round}");
    }
    app.db.expect_ledger_exact().await;
}

async fn market() -> App {
    let mut app = App::start().await;
    app.start_worker();
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_buys_of_half_the_balance_settle_twice() {
    let app = market().await;
    let prepare = async |app: &App, name: &str| {
        app.account(name, "1000").await;
        app.stock(name, "100", 1_000_000).await;
    };
    race(&app, prepare, ("buy", 5), &[("insufficient_funds", 48), ("settled", 2)]).await;
    app.db.expect_nothing("SELECT client_id, position FROM clients WHERE position <> 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_buys_of_half_the_volume_settle_twice() {
    let app = market().await;
    let prepare = async |app: &App, name: &str| {
        app.account(name, "1000").await;
        app.stock(name, "1", 10).await;
    };
    race(&app, prepare, ("buy", 5), &[("insufficient_volume", 48), ("settled", 2)]).await;
    app.db.expect_nothing("SELECT ticker, volume FROM stocks WHERE volume <> 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sells_of_half_of_what_is_held_settle_twice_and_of_nothing_never() {
    let app = market().await;
    let prepare = async |app: &App, name: &str| {
        app.account(name, "1000").await;
        app.stock(name, "1", 10).await;
        assert_eq!(app.trade(name, "sell", 1, name).await["reason"], "insufficient_holdings");
        assert_eq!(app.trade(name, "buy", 10, name).await["state"], "settled");
    };
    race(&app, prepare, ("sell", 5), &[("insufficient_holdings", 48), ("settled", 2)]).await;
    app.db.expect_nothing("SELECT client_id FROM holdings WHERE shares <> 0 OR cost <> 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_is_reversed_once_and_all_is_as_before() {
    let app = App::start().await;
    app.account("ann", "100").await;
    app.stock("AAA", "7", 10).await;
    let bought = app.trade("ann", "buy", 3, "AAA").await;
    let sold = app.trade("ann", "sell", 1, "AAA").await;
    let path = |trade: &Value| format!("/api/v1/trades/{}", trade["id"].as_str().unwrap());
    let reverse = |trade: &Value| app.request(Method::POST, &format!("{}/reverse", path(trade)));
    // Fifty operators at once: one reversal.
    let asked = futures::future::join_all((0..50).map(|_| app.send(reverse(&sold)))).await;
    let accepted: Vec<&Value> = asked
        .iter()
        .filter(|(status, _)| *status == StatusCode::ACCEPTED)
        .map(|(_, answer)| answer)
        .collect();
    assert_eq!(accepted.len(), 1);
    assert!(asked.iter().all(|(status, _)| [StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(status)));
    app.until_decided().await;
    let reversal = app.get(&path(accepted[0])).await;
    assert_eq!((&reversal["state"], &reversal["side"]), (&"settled".into(), &"buy".into()), "{reversal}");
    let original = app.get(&path(&sold)).await;
    assert_eq!(
        (&original["state"], &original["reversed_by"]),
        (&"reversed".into(), &reversal["id"]),
        "{original}"
    );
    let (status, answer) = app.send(reverse(&reversal)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    // What is not there any more cannot be taken back; later it can.
    app.trade("ann", "sell", 1, "AAA").await;
    let (status, failing) = app.send(reverse(&bought)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{failing}");
    app.until_decided().await;
    assert_eq!(app.get(&path(&failing)).await["reason"], "insufficient_holdings");
    assert_eq!(app.get(&path(&bought)).await["reversed_by"], Value::Null);
    app.trade("ann", "buy", 1, "AAA").await;
    let (status, answer) = app.send(reverse(&bought)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    app.until_decided().await;
    assert_eq!(app.get(&path(&bought)).await["state"], "reversed");
    assert_eq!(app.get("/api/v1/clients/ann").await["balance"], "100.0000");
    assert_eq!(app.get("/api/v1/stocks/AAA").await["volume"], 10);
    app.db.expect_ledger_exact().await;
    files::expect_everything_exact(&app.db).await;
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_not_change_what_an_account_that_trades_began_with() {
    let app = App::start().await;
    app.account("ann", "100").await;
    app.load("clients.csv", "client_id,name,balance\nbob,Bob,50\ncid,Cid,50\n", "?kind=clients").await;
    app.stock("AAA", "7", 10).await;
    app.trade("bob", "buy", 1, "AAA").await;
    let file = "client_id,name,balance\nann,Ann,5000\nbob,Robert,5000\ncid,Cid,70\n";
    let upload = app.load("again.csv", file, "?kind=clients").await;
    assert_eq!(
        (&upload["counts"]["updated"], &upload["counts"]["conflicts"]),
        (&1.into(), &2.into()),
        "{upload}"
    );
    let message: String = app.db.one("SELECT message FROM upload_rejects ORDER BY line LIMIT 1", &[]).await;
    assert!(message.contains("began with 100 USD") && message.contains("leave the balance out"), "{message}");
    assert_eq!(app.get("/api/v1/clients/bob").await["balance"], "43.0000");
    assert_eq!(app.get("/api/v1/clients/cid").await["balance"], "70.0000", "nothing was traded on it");
    let same = "client_id,name,balance\nann,Ann,100\nbob,Robert,\n";
    let upload = app.load("same.csv", same, "?kind=clients").await;
    assert_eq!(upload["counts"]["updated"], 2, "{upload}");
    assert_eq!(app.get("/api/v1/clients?search=an").await["items"][0]["username"], "ann");
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_the_settlement_rejects_the_trade() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    app.account("ann", "100").await;
    app.stock("AAA", "7", 10).await;
    let (status, trade) = app.send(app.order("ann", "buy", 1, "AAA").header("Prefer", "wait=0")).await;
    assert_eq!((status, &trade["state"]), (StatusCode::ACCEPTED, &"pending".into()), "nobody settles it");
    let path = format!("/api/v1/trades/{}", trade["id"].as_str().unwrap());
    let (status, answer) = app.post(&format!("{path}/reverse")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    let run = trade["run_id"].as_str().unwrap();
    assert!(app.post(&format!("/api/v1/runs/{run}/cancel")).await.0.is_success());
    let cancelled = app.get(&path).await;
    assert_eq!(
        (&cancelled["state"], &cancelled["reason"]),
        (&"rejected".into(), &"cancelled".into()),
        "{cancelled}"
    );
    // One that had failed and is left to be pruned is not left pending.
    let (_, failing) = app.send(app.order("ann", "buy", 1, "AAA")).await;
    let fail = "UPDATE runs SET state = 'failed', finished_at = now() WHERE id = $1::text::uuid";
    app.db.client.batch_execute("SET session_replication_role = replica").await.unwrap();
    app.db.client.execute(fail, &[&failing["run_id"].as_str().unwrap()]).await.unwrap();
    app.db.client.batch_execute("SET session_replication_role = DEFAULT").await.unwrap();
    let later = chrono::Days::new(400);
    let mut conn = app.env.pool.get().await.unwrap();
    let (nil, now) = (shared::ids::RunId(uuid::Uuid::nil()), app.env.clock.now() + later);
    shared::runs::queries::prune(&mut conn, nil, chrono::DateTime::UNIX_EPOCH, now).await.unwrap();
    let pruned = app.get(&format!("/api/v1/trades/{}", failing["id"].as_str().unwrap())).await;
    assert_eq!(pruned["reason"], "cancelled", "{pruned}");
    // Tried again, the run finds it decided.
    let mut app = app;
    app.start_worker();
    assert!(app.post(&format!("/api/v1/runs/{run}/retry")).await.0.is_success());
    let (app, path, run) = (&app, &path, &format!("/api/v1/runs/{run}"));
    eventually("the run", || async move { (app.get(run).await["state"] == "completed").then_some(()) }).await;
    assert_eq!(app.get(path).await["reason"], "cancelled");
    app.db.expect_ledger_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_the_ledger_names_the_first_entry_that_is_wrong() {
    let app = App::start().await;
    app.account("ann", "100").await;
    app.stock("AAA", "7", 10).await;
    for _ in 0..3 {
        app.trade("ann", "buy", 1, "AAA").await;
    }
    expect_verified(&app).await;
    // Whoever may do everything makes both sides of an entry agree; nothing but the trade says otherwise.
    let wrong: String =
        app.db.one("SELECT (SELECT id FROM journals ORDER BY id OFFSET 1 LIMIT 1)::text", &[]).await;
    let tamper = |change: &str| {
        format!("SET session_replication_role = replica; {change}; SET session_replication_role = DEFAULT")
    };
    let statement = tamper(&format!(
        "UPDATE entries SET amount = amount + 1 * sign(amount) WHERE journal_id = '{wrong}' AND asset_kind = 'cash'"
    ));
    app.db.client.batch_execute(&statement).await.unwrap();
    let (state, error) = verified(&app).await;
    assert_ne!(state, "completed");
    assert!(error.contains(&format!("The first: entry 1 of journal {wrong}")), "{error}");
    assert!(error.contains("should be client ann -7 USD, is client ann -8 USD"), "{error}");
    assert!(error.contains("client ann, USD: should be 78.0000, is 79.0000"), "{error}");
    for (change, named) in [
        ("UPDATE holdings SET cost = cost + 1", "client ann, AAA"),
        ("UPDATE stocks SET volume = volume + 1", "stock AAA: should be 7, is 8"),
        ("DELETE FROM transaction_keys", "have no transaction"),
    ] {
        app.db.client.batch_execute(&tamper(change)).await.unwrap();
        let (_, error) = verified(&app).await;
        assert!(error.contains(named), "{named}: {error}");
    }
}

/// Orders, reversals, uploads and undos in any order keep every invariant of the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn any_sequence_of_trades_reversals_and_uploads_keeps_the_ledger() {
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
    for seed in 0..3 {
        let mut app = App::start().await;
        app.start_worker();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for client in ["ann", "bob", "cid"] {
            app.account(client, "1000").await;
        }
        let euros = json!({ "username": "eve", "client_id": "eve", "balance": "1000", "currency": "EUR" });
        app.send(app.posting("/api/v1/clients", &euros)).await;
        for (ticker, price) in [("AAA", "7.77"), ("BBB", "0.0003"), ("CCC", "0")] {
            app.stock(ticker, price, 300).await;
        }
        let (mut uploads, mut file) = (Vec::new(), 0);
        for step in 0..60 {
            let client = ["ann", "bob", "cid", "eve"][random.random_range(0..4)];
            let ticker = ["AAA", "BBB", "CCC", "NONE"][random.random_range(0..4)];
            match random.random_range(0..10) {
                0..=5 => {
                    let side = if random.random_range(0..3) < 2 { "buy" } else { "sell" };
                    let orders = (0..4).map(|_| app.trade(client, side, random.random_range(1..60), ticker));
                    let orders: Vec<_> = orders.collect();
                    futures::future::join_all(orders).await;
                }
                6..=7 => {
                    let settled = app.get("/api/v1/trades?state=settled&limit=20").await;
                    let settled = settled["items"].as_array().unwrap();
                    if !settled.is_empty() {
                        let id =
                            settled[random.random_range(0..settled.len())]["id"].as_str().unwrap().to_owned();
                        app.post(&format!("/api/v1/trades/{id}/reverse")).await;
                    }
                }
                8 => {
                    file += 1;
                    let (amount, kind) =
                        (random.random_range(1..400), ["buy", "sell"][random.random_range(0..2)]);
                    let row = format!("u{seed}-{file},{client},2025-01-01,{amount},USD,{kind}\n");
                    let content = format!("transaction_id,client_id,date,amount,currency,type\n{row}");
                    uploads.push(app.load(&format!("{file}.csv"), content, "").await);
                }
                _ => {
                    if let Some(upload) = uploads.pop() {
                        app.undo(&upload).await;
                    }
                }
            }
            if step % 20 == 19 {
                app.until_decided().await;
                expect_verified(&app).await;
            }
        }
        files::expect_everything_exact(&app.db).await;
        let wrong = "SELECT client_id, ticker FROM holdings WHERE shares < 0 OR cost < 0 OR (shares = 0 AND cost <> 0)";
        app.db.expect_nothing(wrong).await;
        // Uploads may bring debt; trades never do.
        app.db
            .expect_nothing(
                "SELECT t.client_id FROM trades t JOIN journals j ON j.source_id = t.id AND j.kind = 'trade'
                 JOIN entries e ON e.journal_id = j.id AND e.asset_kind = 'cash' AND e.account = 'client' AND e.amount < 0
                 WHERE t.reversal_of IS NULL AND 0 > (SELECT c.opening_balance + sum(x.amount) FROM clients c, entries x
                   JOIN journals y ON y.id = x.journal_id
                   WHERE c.client_id = t.client_id AND x.client_id = t.client_id AND x.asset_kind = 'cash'
                     AND (y.posted_at, y.id) <= (j.posted_at, j.id) GROUP BY c.opening_balance)",
            )
            .await;
    }
}
