//! Live transactions: what is acknowledged is committed, with every summary, once.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use tests::{App, files};

fn payment(id: &str, amount: &str) -> Value {
    json!({ "transaction_id": id, "client_id": "c1", "occurred_at": "2026-11-20T10:00:00Z", "amount": amount })
}

async fn send(app: &App, body: &Value) -> (StatusCode, Value) {
    app.send(app.request(Method::POST, "/api/v1/transactions").json(body)).await
}

async fn batch(app: &App, body: &Value) -> (StatusCode, Value) {
    app.send(app.request(Method::POST, "/api/v1/transactions:batch").json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_with_what_became_of_it() {
    let app = App::start().await;
    let first = json!({ "transaction_id": "t 1", "client_id": "c1", "occurred_at": "2026-11-20T10:00:00Z",
        "amount": 12.5, "status": "pending", "merchant_id": "m1" });
    let (status, created) = send(&app, &first).await;
    assert_eq!((status, &created["outcome"]), (StatusCode::CREATED, &"created".into()), "{created}");
    assert_eq!(created["transaction"]["amount"], "12.5000");
    assert_eq!(created["transaction"]["kind"], "payment");
    // As it is read afterwards.
    let mut read = app.get("/api/v1/transactions/t%201").await;
    read.as_object_mut().unwrap().retain(|name, _| created["transaction"].get(name).is_some());
    assert_eq!(read, created["transaction"]);
    let (status, same) = send(&app, &first).await;
    assert_eq!((status, &same["outcome"]), (StatusCode::OK, &"duplicate".into()), "{same}");
    let mut decided = first.clone();
    decided["status"] = "success".into();
    let (status, updated) = send(&app, &decided).await;
    assert_eq!((status, &updated["outcome"]), (StatusCode::OK, &"updated".into()), "{updated}");
    assert_eq!(updated["transaction"]["status"], "success");
    let (status, again) = send(&app, &decided).await;
    assert_eq!((status, &again["outcome"]), (StatusCode::OK, &"duplicate".into()), "{again}");
    let mut other = first.clone();
    other["amount"] = "13".into();
    let (status, conflict) = send(&app, &other).await;
    assert_eq!((status, &conflict["field"]), (StatusCode::CONFLICT, &"transaction_id".into()), "{conflict}");
    let detail = conflict["detail"].as_str().unwrap();
    assert!(detail.contains("12.5") && detail.contains("13"), "both versions: {detail}");
    // What could be anybody's is read digit by digit.
    let exact = r#"{"transaction_id":"t2","client_id":"c1","occurred_at":"2026-11-20","amount":1234567890123456.7891}"#;
    let request =
        app.request(Method::POST, "/api/v1/transactions").header("content-type", "application/json");
    let (status, exact) = app.send(request.body(exact)).await;
    assert_eq!(
        (status, &exact["transaction"]["amount"]),
        (StatusCode::CREATED, &"1234567890123456.7891".into())
    );
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_named() {
    let app = App::start().await;
    for (change, field) in [
        (json!({ "transaction_id": "" }), "transaction_id"),
        (json!({ "client_id": "x".repeat(37) }), "client_id"),
        (json!({ "occurred_at": "yesterday" }), "occurred_at"),
        (json!({ "occurred_at": "1969-12-31T23:59:59Z" }), "occurred_at"),
        (json!({ "occurred_at": "2090-01-01" }), "occurred_at"),
        (json!({ "amount": "12,5" }), "amount"),
        (json!({ "amount": "1.23456" }), "amount"),
        (json!({ "amount": true }), "amount"),
        (json!({ "kind": "gift" }), "kind"),
        (json!({ "kind": "buy", "amount": "-1" }), "amount"),
        (json!({ "currency": "EURO" }), "currency"),
        (json!({ "currency": "XTS", "kind": "buy" }), "currency"),
        (json!({ "status": "done" }), "status"),
        (json!({ "merchant_id": "a\u{0}b" }), "merchant_id"),
        (json!({ "surprise": 1 }), "surprise"),
    ] {
        let mut body = payment("bad", "1");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, problem) = send(&app, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{change}: {problem}");
        assert_eq!(problem["field"], field, "{change}: {problem}");
    }
    // c1 is known by now: a client stays whose transaction is rejected for another reason.
    let stranger =
        json!({ "transaction_id": "t", "client_id": "stranger", "occurred_at": "2026-11-20", "amount": "1" });
    let request = app.request(Method::POST, "/api/v1/transactions?unknown_clients=reject").json(&stranger);
    let (status, problem) = app.send(request).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &"client_id".into()),
        "{problem}"
    );
    let (status, _) = send(&app, &json!([])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let viewer = app.token(Role::Viewer).await;
    let request = app.anonymous(Method::POST, "/api/v1/transactions").bearer_auth(viewer);
    assert_eq!(app.send(request.json(&payment("t", "1"))).await.0, StatusCode::FORBIDDEN);
    let count: i64 = app.db.one("SELECT count(*) FROM transaction_keys", &[]).await;
    assert_eq!(count, 0, "nothing of it was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_each_has_its_own_outcome_or_all_have_one() {
    let app = App::start().await;
    send(&app, &payment("there", "1")).await;
    let transactions = json!([
        payment("a", "1"),
        payment("there", "1"),
        payment("there", "2"),
        payment("b", "x"),
        json!({ "transaction_id": "p", "client_id": "c2", "occurred_at": "2026-11-21T00:00:00Z", "amount": "5", "status": "pending" }),
        json!({ "transaction_id": "p", "client_id": "c2", "occurred_at": "2026-11-21T00:00:00Z", "amount": "5", "status": "failed" }),
        payment("a", "1"),
    ]);
    let whole = json!({ "transactions": transactions, "all_or_nothing": true });
    let (status, answer) = batch(&app, &whole).await;
    assert_eq!((status, &answer["left_out"]), (StatusCode::UNPROCESSABLE_ENTITY, &6.into()), "{answer}");
    let without_fault: Vec<&Value> =
        transactions.as_array().unwrap().iter().filter(|t| t["transaction_id"] != "b").collect();
    let (status, answer) =
        batch(&app, &json!({ "transactions": without_fault, "all_or_nothing": true })).await;
    assert_eq!((status, &answer["conflicts"]), (StatusCode::CONFLICT, &1.into()), "{answer}");
    let count: i64 = app.db.one("SELECT count(*) FROM transaction_keys", &[]).await;
    assert_eq!(count, 1, "nothing of either was recorded");
    let (status, answer) = batch(&app, &json!({ "transactions": transactions })).await;
    let words: Vec<&str> =
        answer["outcomes"].as_array().unwrap().iter().map(|o| o["outcome"].as_str().unwrap()).collect();
    assert_eq!(words, ["created", "duplicate", "conflict", "rejected", "created", "updated", "duplicate"]);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["outcomes"][3]["field"], "amount", "{answer}");
    assert_eq!(app.get("/api/v1/transactions/p").await["status"], "failed");
    files::expect_everything_exact(&app.db).await;
    let many: Vec<Value> = (0..1001).map(|n| payment(&format!("n{n}"), "1")).collect();
    let (status, problem) = batch(&app, &json!({ "transactions": many })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"transactions".into()));
    let (status, answer) =
        batch(&app, &json!({ "transactions": many[..1000], "all_or_nothing": true })).await;
    assert_eq!((status, &answer["created"]), (StatusCode::OK, &1000.into()), "{answer}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_buys_and_sells_move_accounts_at_once_and_the_ledger_adds_up() {
    let app = App::start().await;
    app.account("ann", "1000").await;
    let trade = |id: &str, kind: &str, amount: &str, status: &str| {
        json!({ "transaction_id": id, "client_id": "ann", "occurred_at": "2026-11-20T10:00:00Z", "kind": kind,
                "amount": amount, "ticker": "AAA", "shares": "2", "price": "50", "status": status })
    };
    let position = async || app.get("/api/v1/clients/by-username/ann").await["balance"].clone();
    assert_eq!(position().await, "1000.0000");
    send(&app, &trade("b1", "buy", "100", "success")).await;
    assert_eq!(position().await, "900.0000", "what is kept in the cache is not what was before");
    send(&app, &trade("s1", "sell", "30", "pending")).await;
    assert_eq!(position().await, "900.0000");
    send(&app, &trade("s1", "sell", "30", "success")).await;
    send(&app, &trade("s1", "sell", "30", "success")).await;
    assert_eq!(position().await, "930.0000");
    let (status, run) = app.post("/api/v1/ledger/verify").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    app.db.expect_ledger_exact().await;
    let many: Vec<Value> = (0..50)
        .map(|n| trade(&format!("m{n}"), if n % 2 == 0 { "buy" } else { "sell" }, "10", "success"))
        .collect();
    let (status, answer) = batch(&app, &json!({ "transactions": many })).await;
    assert_eq!((status, &answer["created"]), (StatusCode::OK, &50.into()), "{answer}");
    assert_eq!(position().await, "930.0000");
    app.db.expect_ledger_exact().await;
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_sent_at_the_same_time_is_recorded_once() {
    let app = App::start().await;
    for round in 0..20 {
        let body = payment(&format!("once{round}"), "1");
        let answers = join_all((0..50).map(|_| send(&app, &body))).await;
        let created = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
        assert_eq!(created, 1, "{answers:?}");
        assert!(answers.iter().all(|(status, _)| status.is_success()), "{answers:?}");
    }
    // Two versions of one id: one is recorded, the other is told of it.
    let bodies: Vec<Value> =
        (0..40).map(|n| payment("versions", if n % 2 == 0 { "1" } else { "2" })).collect();
    let answers = join_all(bodies.iter().map(|body| send(&app, body))).await;
    let conflicts = answers.iter().filter(|(status, _)| *status == StatusCode::CONFLICT).count();
    assert_eq!(conflicts, 20, "{answers:?}");
    let rows: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(rows, 21);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_rows_were_sent_live_too_is_not_undone() {
    let app = App::start().await;
    let csv = "transaction_id,client_id,occurred_at,amount\nu1,c1,2026-11-20T10:00:00Z,5\nu2,c1,2026-11-20T10:00:00Z,6\n";
    let upload = app.load("rows.csv", csv, "").await;
    let (status, answer) = send(&app, &payment("u1", "5")).await;
    assert_eq!((status, &answer["outcome"]), (StatusCode::OK, &"duplicate".into()), "{answer}");
    assert_eq!(answer["transaction"]["source"], "upload");
    let path = format!("/api/v1/uploads/{}/undo", upload["id"].as_str().unwrap());
    let (status, problem) = app.post(&path).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("1 of its rows were sent live"), "{problem}");
    // The other way round a file finds live rows there, and goes again without them.
    send(&app, &payment("l1", "7")).await;
    let csv = "transaction_id,client_id,occurred_at,amount\nl1,c1,2026-11-20T10:00:00Z,7\nu3,c1,2026-11-20T10:00:00Z,8\n";
    let upload = app.load("more.csv", csv, "").await;
    assert_eq!(upload["counts"]["duplicates"], 1, "{upload}");
    app.undo(&upload).await;
    let left: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(left, 3);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn averages_by_day_include_live_rows_at_once() {
    let app = App::start().await;
    for (id, day, amount) in [("a", "2026-11-18", "10"), ("b", "2026-11-18", "20"), ("c", "2026-11-19", "7")]
    {
        let body = json!({ "transaction_id": id, "client_id": "c1", "occurred_at": format!("{day}T12:00:00Z"), "amount": amount });
        assert_eq!(send(&app, &body).await.0, StatusCode::CREATED);
        let averages = app.get("/api/v1/analytics/averages").await;
        let items = averages["items"].as_array().unwrap();
        let counted: i64 = items.iter().map(|item| item["count"].as_i64().unwrap()).sum();
        assert_eq!(counted, [1, 2, 3]["abc".find(id).unwrap()], "{averages}");
    }
    let averages = app.get("/api/v1/analytics/averages?from=2026-11-18&to=2026-11-18").await;
    assert_eq!(averages["items"][0]["average"], "15.0000", "{averages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_refuses_takes_no_other_down() {
    let app = App::start().await;
    app.db
        .client
        .batch_execute("ALTER TABLE transactions ADD CONSTRAINT poison CHECK (merchant_id <> 'poison')")
        .await
        .unwrap();
    let bodies: Vec<Value> = (0..60)
        .map(|n| {
            let mut body = payment(&format!("p{n}"), "1");
            body["merchant_id"] = if n % 20 == 7 { "poison" } else { "m" }.into();
            body
        })
        .collect();
    let answers = join_all(bodies.iter().map(|body| send(&app, body))).await;
    for (n, (status, answer)) in answers.iter().enumerate() {
        let expected = if n % 20 == 7 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED };
        assert_eq!(*status, expected, "{n}: {answer}");
        assert!(!answer.to_string().contains("violates"), "what went wrong inside stays there: {answer}");
    }
    let rows: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(rows, 57);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_wait_is_told_to_come_again() {
    let app = App::start().await;
    send(&app, &payment("first", "1")).await;
    let mut other = shared::db::connect(&app.db.url).await.unwrap();
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE transaction_keys IN SHARE MODE").await.unwrap();
    // One or two batches are stopped by the lock, twenty wait behind them, and the others come again
    // until they are in: what waits has no room for one more.
    let full =
        json!({ "transactions": (0..1000).map(|n| payment(&format!("n{n}"), "1")).collect::<Vec<_>>() });
    let waiting: Vec<_> = (0..30)
        .map(|_| {
            let request = app.request(Method::POST, "/api/v1/transactions:batch").json(&full);
            tokio::spawn(tests::eventually("room for a batch", move || {
                let request = request.try_clone().unwrap();
                async move {
                    let status = request.send().await.unwrap().status();
                    (status != StatusCode::SERVICE_UNAVAILABLE).then_some(status)
                }
            }))
        })
        .collect();
    let body = payment("late", "1");
    let refused = tests::eventually("a queue that is full", || async {
        let answer = app
            .request(Method::POST, "/api/v1/transactions:batch")
            .json(&full)
            .timeout(std::time::Duration::from_millis(500))
            .send()
            .await
            .ok()?;
        Some(answer)
    })
    .await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    lock.rollback().await.unwrap();
    for status in waiting {
        assert_eq!(status.await.unwrap(), StatusCode::OK);
    }
    // Those that were given up while they waited are there, whole, or not at all.
    assert!(send(&app, &body).await.0.is_success());
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_no_half_row() {
    let app = App::start().await;
    let leaving = (0..300).map(|n| {
        let request = app.request(Method::POST, "/api/v1/transactions").json(&payment(&format!("g{n}"), "1"));
        async move {
            let patience = std::time::Duration::from_micros(rand::random_range(0..20_000));
            drop(request.timeout(patience).send().await);
        }
    });
    join_all(leaving).await;
    // What is still on its way is behind this.
    assert_eq!(send(&app, &payment("last", "1")).await.0, StatusCode::CREATED);
    files::expect_everything_exact(&app.db).await;
    let keys: i64 = app.db.one("SELECT count(*) FROM transaction_keys", &[]).await;
    let rows: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(keys, rows);
    let bodies: Vec<Value> = (0..300).map(|n| payment(&format!("g{n}"), "1")).collect();
    let answers = join_all(bodies.iter().map(|body| send(&app, body))).await;
    assert!(answers.iter().all(|(status, _)| status.is_success()), "{answers:?}");
    let rows: i64 = app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(rows, 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn decided_payments_leave_exact_totals_also_where_extremes_leave() {
    let app = App::start().await;
    let of = |n: u32, status: &str| {
        // Amounts that repeat, so that an extreme may leave and stay.
        json!({ "transaction_id": format!("e{n}"), "client_id": format!("c{}", n % 3), "merchant_id": format!("m{}", n % 4),
                "occurred_at": format!("2026-11-{:02}T10:00:00Z", n % 2 + 1), "amount": (n * 7 % 5 + 1).to_string(),
                "status": status })
    };
    let pending: Vec<Value> = (0..120).map(|n| of(n, "pending")).collect();
    let (_, answer) = batch(&app, &json!({ "transactions": pending })).await;
    assert_eq!(answer["created"], 120, "{answer}");
    files::expect_everything_exact(&app.db).await;
    for (round, part) in (0..120u32).collect::<Vec<_>>().chunks(10).enumerate() {
        let decided: Vec<Value> = part
            .iter()
            .map(|&n| of(n, if (n + round as u32).is_multiple_of(3) { "failed" } else { "success" }))
            .collect();
        let (_, answer) = batch(&app, &json!({ "transactions": decided })).await;
        assert_eq!(answer["updated"], 10, "{answer}");
        files::expect_everything_exact(&app.db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_decided_is_not_decided_otherwise() {
    let app = App::start().await;
    let of = |id: &str, status: &str| {
        let mut body = payment(id, "1");
        body["status"] = status.into();
        body
    };
    for (first, then) in [("success", "failed"), ("failed", "success")] {
        let id = format!("d-{first}");
        send(&app, &of(&id, first)).await;
        let (status, problem) = send(&app, &of(&id, then)).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(first) && detail.contains(then), "both versions: {detail}");
        // The first message of all, which comes late.
        assert_eq!(send(&app, &of(&id, "pending")).await.1["outcome"], "duplicate");
    }
    let both = json!({ "transactions": [of("b", "success"), of("b", "failed")], "all_or_nothing": true });
    let (status, answer) = batch(&app, &both).await;
    assert_eq!((status, &answer["conflicts"]), (StatusCode::CONFLICT, &1.into()), "{answer}");
    for round in 0..20 {
        let id = format!("race{round}");
        send(&app, &of(&id, "pending")).await;
        let bodies: Vec<Value> = (0..30).map(|n| of(&id, ["pending", "success", "failed"][n % 3])).collect();
        let answers = join_all(bodies.iter().map(|body| send(&app, body))).await;
        let decided = app.get(&format!("/api/v1/transactions/{id}")).await["status"].clone();
        let mut updated = 0;
        for (body, (status, answer)) in bodies.iter().zip(&answers) {
            let outcome = &answer["outcome"];
            match body["status"].as_str().unwrap() {
                "pending" => assert_eq!(outcome, "duplicate", "{answer}"),
                sent if sent == decided => {
                    updated += usize::from(outcome == "updated");
                    assert!(status.is_success(), "{answer}");
                }
                _ => assert_eq!(*status, StatusCode::CONFLICT, "{answer}"),
            }
        }
        assert_eq!(updated, 1, "one has decided it: {answers:?}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_transaction_takes_no_other_of_its_batch_down() {
    let app = App::start().await;
    let transactions = json!([payment("a", "1"), { "transaction_id": "x" }, 5, null, payment("stream", "2")]);
    let (status, answer) = batch(&app, &json!({ "transactions": transactions })).await;
    assert_eq!(
        (status, &answer["created"], &answer["rejected"]),
        (StatusCode::OK, &2.into(), &3.into()),
        "{answer}"
    );
    assert_eq!(answer["outcomes"][1]["transaction_id"], "x", "{answer}");
    assert_eq!(answer["outcomes"][1]["field"], "client_id", "{answer}");
    // Its address is the feed's; another leads to it.
    let request = app.request(Method::POST, "/api/v1/transactions").json(&payment("stream", "2"));
    let response = request.send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(app.get(&location).await["transaction_id"], "stream");
}
