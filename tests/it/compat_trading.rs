//! Service D's contract, row by row: users, stocks, orders and the trades that became of them.

use reqwest::{Method, RequestBuilder, StatusCode, header, multipart};
use serde_json::{Value, json};
use shared::{auth::Role, config::CompatConfig};
use tests::{App, AppOptions, eventually};

/// An application that lets D's clients in as they are: without credentials.
async fn open() -> App {
    open_with(CompatConfig::default(), chrono_tz::UTC).await
}

async fn open_with(compat: CompatConfig, zone: chrono_tz::Tz) -> App {
    let compat = CompatConfig { anonymous: true, ..compat };
    App::start_with(AppOptions { compat, zone, ..AppOptions::default() }).await
}

async fn get(app: &App, path: &str) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::GET, path)).await
}

async fn post(app: &App, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::POST, path).json(&body)).await
}

/// Registers a user; its id.
async fn user(app: &App, username: &str, balance: &str) -> String {
    let (status, body) = post(app, "/users/", json!({ "username": username, "balance": balance })).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body["user_id"].as_str().unwrap().to_owned()
}

fn apple() -> Value {
    json!({ "ticker": "AAPL", "open_price": "150.00", "close_price": "155.00", "high": 156, "low": 149.0,
            "volume": 1_000_000 })
}

async fn list_apple(app: &App) {
    let (status, body) = post(app, "/stocks/", apple()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

fn order(user: &str, kind: &str, volume: i64) -> Value {
    json!({ "user": user, "ticker": "AAPL", "transaction_type": kind, "transaction_volume": volume })
}

/// Places an order and waits for what becomes of it; the trade as Millrace shows it.
async fn traded(app: &App, order: Value) -> Value {
    let (status, body) = post(app, "/transactions/", order).await;
    assert_eq!((status, &body["message"]), (StatusCode::OK, &json!("Transaction is in progress.")), "{body}");
    let path = format!("/api/v1/trades/{}", body["transaction_id"].as_str().unwrap());
    eventually("the outcome of a trade", || async {
        let trade = app.get(&path).await;
        (trade["state"] != "pending").then_some(trade)
    })
    .await
}

/// Requests of one kind, each with what it is refused with: the keys of the body and their first messages.
async fn expect_refusals(app: &App, path: &str, refusals: &[(Value, Value)]) {
    for (body, expected) in refusals {
        let (status, answer) = post(app, path, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert_eq!(&answer, expected, "{body}");
    }
}

/// What every route says of a body that it cannot read.
async fn expect_unreadable(app: &App, path: &str) {
    let list = json!({ "non_field_errors": ["Invalid data. Expected a dictionary, but got list."] });
    expect_refusals(app, path, &[(json!([]), list)]).await;
    for (kind, status) in
        [("application/json", StatusCode::BAD_REQUEST), ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE)]
    {
        let request = app.anonymous(Method::POST, path).header(header::CONTENT_TYPE, kind).body("{");
        let (got, body) = app.send(request).await;
        assert_eq!((got, body["detail"].is_string()), (status, true), "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_registered_and_shown_in_service_ds_shape() {
    let app = open().await;
    let (status, body) = post(&app, "/users/", json!({ "username": "sohail", "balance": 1000 })).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let id = body["user_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(body, json!({ "message": "User created", "user_id": id }));
    for path in ["/users/sohail/", "/users/sohail", "/users/sohail/"] {
        let expected = json!({ "username": "sohail", "balance": "1000.00", "user_id": id });
        assert_eq!(get(&app, path).await, (StatusCode::OK, expected), "{path}");
    }
    let form = app.anonymous(Method::POST, "/users").form(&[("username", "form"), ("balance", "12.5")]);
    assert_eq!(app.send(form).await.0, StatusCode::CREATED);
    assert_eq!(get(&app, "/users/form/").await.1["balance"], "12.50");
    let parts = multipart::Form::new().text("username", " parts ").text("balance", "0");
    let (status, body) = app.send(app.anonymous(Method::POST, "/users/").multipart(parts)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(get(&app, "/users/parts/").await.1["balance"], "0.00");
    // Under D's username it is Millrace's client.
    let client = app.get("/api/v1/clients/by-username/sohail").await;
    assert_eq!((&client["client_id"], &client["currency"]), (&json!(id), &json!("USD")), "{client}");

    let missing = json!({ "detail": "No User matches the given query." });
    assert_eq!(get(&app, "/users/nobody/").await, (StatusCode::NOT_FOUND, missing));
    let (status, body) = get(&app, "/users/").await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::METHOD_NOT_ALLOWED, true), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_cannot_be_registered_is_refused_by_field() {
    let app = open().await;
    user(&app, "taken", "1").await;
    let required = "This field is required.";
    let taken = "user with this username already exists.";
    let named = |name: &str| json!({ "username": name, "balance": "1.00" });
    let worth = |balance: Value| json!({ "username": "fresh", "balance": balance });
    expect_refusals(
        &app,
        "/users/",
        &[
            (json!({}), json!({ "username": [required], "balance": [required] })),
            (named(&"x".repeat(51)), json!({ "username": ["Ensure this field has no more than 50 characters."] })),
            (named("ab"), json!({ "username": ["has 3 to 50 characters."] })),
            (named(" "), json!({ "username": ["This field may not be blank."] })),
            (named("123456"), json!({ "username": ["is not made of digits alone."] })),
            (
                json!({ "username": 123_456, "balance": null }),
                json!({ "username": ["is not made of digits alone."], "balance": ["This field may not be null."] }),
            ),
            (json!({ "username": "taken" }), json!({ "username": [taken], "balance": [required] })),
            (worth(json!(-1)), json!({ "balance": ["Ensure this value is greater than or equal to 0.0."] })),
            (worth(json!("ten")), json!({ "balance": ["A valid number is required."] })),
            (
                worth(json!("1.001")),
                json!({ "balance": ["Ensure that there are no more than 2 decimal places."] }),
            ),
            (
                worth(json!("12345678901")),
                json!({ "balance": ["Ensure that there are no more than 10 digits before the decimal point."] }),
            ),
        ],
    )
    .await;
    let (status, body) = post(&app, "/users/", named("taken")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["username"][0].is_string() && body.as_object().unwrap().len() == 1, "{body}");
    let file = multipart::Part::bytes(b"file".to_vec()).file_name("name.txt");
    let parts = multipart::Form::new().part("username", file).text("balance", "1");
    let (status, body) = app.send(app.anonymous(Method::POST, "/users/").multipart(parts)).await;
    assert_eq!((status, body), (StatusCode::BAD_REQUEST, json!({ "username": ["Not a valid string."] })));
    expect_unreadable(&app, "/users/").await;
    app.db.expect_nothing("SELECT * FROM clients WHERE username <> 'taken'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stocks_are_listed_and_shown_in_service_ds_shape() {
    let app = open_with(CompatConfig { rows: 2, ..CompatConfig::default() }, chrono_tz::Asia::Karachi).await;
    assert_eq!(get(&app, "/stocks/").await, (StatusCode::OK, json!([])));
    let (status, body) = post(&app, "/stocks/", apple()).await;
    assert_eq!((status, &body["message"]), (StatusCode::CREATED, &json!("stock created")), "{body}");
    let local =
        "SELECT to_char(created_at AT TIME ZONE 'Asia/Karachi', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM stocks";
    let timestamp: String = app.db.one(local, &[]).await;
    let expected = json!({
        "id": 1, "ticker": "AAPL", "open_price": "150.00", "close_price": "155.00", "high": "156.00",
        "low": "149.00", "volume": 1_000_000, "timestamp": timestamp
    });
    assert_eq!(body["stock"], expected);
    for path in ["/stocks/AAPL/", "/stocks/AAPL"] {
        assert_eq!(get(&app, path).await, (StatusCode::OK, expected.clone()), "{path}");
    }
    assert_eq!(get(&app, "/stocks/").await, (StatusCode::OK, json!([expected])));

    // Millrace's own routes take four decimals: they are shown as they are.
    let exact = json!({ "ticker": "FINE", "open_price": "1.2345", "close_price": "1.5", "high": "2", "low": "1",
                        "volume": 10 });
    let (status, body) = app.send(app.request(Method::POST, "/api/v1/stocks").json(&exact)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let fine = get(&app, "/stocks/FINE/").await.1;
    assert_eq!((&fine["open_price"], &fine["close_price"]), (&json!("1.2345"), &json!("1.50")), "{fine}");
    let mut third = apple();
    third["ticker"] = json!("MSFT");
    let fields = third.as_object().unwrap().iter();
    let fields: Vec<_> = fields.map(|(name, value)| (name, value.to_string().replace('"', ""))).collect();
    let (status, body) = app.send(app.anonymous(Method::POST, "/stocks").form(&fields)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");

    let response = app.anonymous(Method::GET, "/stocks").send().await.unwrap();
    let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    let tickers = |rows: &Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["ticker"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tickers(&response.json().await.unwrap()), ["MSFT", "FINE"]);
    for _ in 0..2 {
        let response = app.anonymous(Method::GET, &next).send().await.unwrap();
        assert!(!response.headers().contains_key(header::LINK));
        assert_eq!(tickers(&response.json().await.unwrap()), ["AAPL"]);
    }
    let (status, body) = get(&app, "/stocks/?cursor=zz").await;
    assert_eq!((status, body["cursor"].is_array()), (StatusCode::BAD_REQUEST, true), "{body}");

    let missing = json!({ "detail": "No StockData matches the given query." });
    assert_eq!(get(&app, "/stocks/NONE/").await, (StatusCode::NOT_FOUND, missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_that_cannot_be_listed_is_refused_by_field() {
    let app = open().await;
    list_apple(&app).await;
    let required = json!(["This field is required."]);
    let with = |field: &str, value: Value| {
        let mut stock = apple();
        stock["ticker"] = json!("MSFT");
        stock[field] = value;
        stock
    };
    let invalid = "A valid integer is required.";
    expect_refusals(
        &app,
        "/stocks/",
        &[
            (
                json!({}),
                json!({ "ticker": required, "open_price": required, "close_price": required, "high": required,
                        "low": required, "volume": required }),
            ),
            (
                with("ticker", json!("A".repeat(16))),
                json!({ "ticker": ["Ensure this field has no more than 15 characters."] }),
            ),
            (with("volume", json!(1.5)), json!({ "volume": [invalid] })),
            (with("volume", json!(-1)), json!({ "volume": ["Ensure this value is greater than or equal to 0."] })),
            (
                with("volume", json!(2_147_483_648u32)),
                json!({ "volume": ["Ensure this value is less than or equal to 2147483647."] }),
            ),
            (
                with("low", json!("157")),
                json!({ "low": ["The low value must be less than or equal to the high value."] }),
            ),
            (
                with("open_price", json!("157")),
                json!({ "open_price": ["The open price value must be less than or equal to the high value."] }),
            ),
            (
                with("close_price", json!("157")),
                json!({ "close_price": ["The close price value must be less than or equal to the high value."] }),
            ),
            (
                with("close_price", json!("1")),
                json!({ "close_price": ["The close price value must be greater than or equal to the low value."] }),
            ),
            (
                with("open_price", json!("1")),
                json!({ "open_price": ["The open price value must be greater than or equal to the low value."] }),
            ),
            // What is missing stands in no relation to the rest.
            (
                json!({ "ticker": "AAPL", "open_price": 2, "close_price": 2, "low": 1, "volume": "many" }),
                json!({ "ticker": ["stock data with this ticker already exists."], "high": required,
                        "volume": [invalid] }),
            ),
        ],
    )
    .await;
    let (status, body) = post(&app, "/stocks/", apple()).await;
    assert_eq!((status, body["ticker"][0].is_string()), (StatusCode::BAD_REQUEST, true), "{body}");
    expect_unreadable(&app, "/stocks").await;
    app.db.expect_nothing("SELECT * FROM stocks WHERE ticker <> 'AAPL'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_settled_and_then_seen_everywhere() {
    let app = open_with(CompatConfig::default(), chrono_tz::Asia::Karachi).await;
    let ann = user(&app, "ann", "1000.00").await;
    list_apple(&app).await;
    let path = format!("/transactions/{ann}/");
    // All of it is in the cache before it changes.
    for _ in 0..2 {
        assert_eq!(get(&app, &path).await, (StatusCode::OK, json!([])));
        assert_eq!(get(&app, "/users/ann/").await.1["balance"], "1000.00");
        assert_eq!(get(&app, "/stocks/AAPL/").await.1["volume"], 1_000_000);
        assert_eq!(get(&app, "/stocks/").await.1[0]["volume"], 1_000_000);
    }
    let bought = traded(&app, order(&ann, "BUY", 5)).await;
    assert_eq!(bought["state"], "settled", "{bought}");
    let local =
        "SELECT to_char(created_at AT TIME ZONE 'Asia/Karachi', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') FROM trades";
    let timestamp: String = app.db.one(local, &[]).await;
    let buy = json!({
        "transaction_id": bought["id"], "ticker": "AAPL", "transaction_type": "buy", "transaction_volume": 5,
        "transaction_price": "155.00", "timestamp": timestamp, "user": ann
    });
    for path in [&path, path.trim_end_matches('/')] {
        assert_eq!(get(&app, path).await, (StatusCode::OK, json!([buy])), "{path}");
    }
    assert_eq!(get(&app, "/users/ann/").await.1["balance"], "225.00");
    assert_eq!(get(&app, "/stocks/AAPL/").await.1["volume"], 999_995);
    assert_eq!(get(&app, "/stocks/").await.1[0]["volume"], 999_995);

    let sold = traded(&app, order(&ann, "sell", 2)).await;
    assert_eq!(sold["state"], "settled", "{sold}");
    let rows = get(&app, &path).await.1;
    assert_eq!(
        (&rows[0]["transaction_id"], &rows[0]["transaction_type"]),
        (&sold["id"], &json!("sell")),
        "{rows}"
    );
    assert_eq!(rows[1], buy);
    assert_eq!(get(&app, "/users/ann/").await.1["balance"], "535.00");
    // At service D anybody sold what he did not have.
    let oversold = traded(&app, order(&ann, "sell", 4)).await;
    assert_eq!(
        (&oversold["state"], &oversold["reason"]),
        (&json!("rejected"), &json!("insufficient_holdings"))
    );
    assert_eq!(get(&app, &path).await.1, rows);
    assert_eq!(get(&app, "/users/ann/").await.1["balance"], "535.00");
    let by: String = app.db.one("SELECT DISTINCT created_by FROM trades", &[]).await;
    assert_eq!(by, "compat:anonymous");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_stays_in_the_list_beside_what_took_it_back() {
    let app = open().await;
    let ann = user(&app, "ann", "1000.00").await;
    list_apple(&app).await;
    let bought = traded(&app, order(&ann, "buy", 5)).await;
    let (status, reversal) =
        app.post(&format!("/api/v1/trades/{}/reverse", bought["id"].as_str().unwrap())).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{reversal}");
    let path = format!("/transactions/{ann}/");
    let rows = eventually("the reversal", || async {
        let rows = get(&app, &path).await.1;
        (rows.as_array().unwrap().len() == 2).then_some(rows)
    })
    .await;
    let kinds: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["transaction_type"].clone()).collect();
    assert_eq!(kinds, ["sell", "buy"]);
    assert_eq!(rows[1]["transaction_id"], bought["id"]);
    assert_eq!(get(&app, "/users/ann/").await.1["balance"], "1000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_placed_is_refused_as_service_d_did() {
    let app = open().await;
    let ann = user(&app, "ann", "1000.00").await;
    list_apple(&app).await;
    app.load("clients.csv", "client_id,name\n008bd126,Gary\n", "?kind=clients").await;
    let required = json!(["This field is required."]);
    let with = |field: &str, value: Value| {
        let mut order = order(&ann, "buy", 1);
        order[field] = value;
        order
    };
    let pk = |id: &str| json!({ "user": [format!("Invalid pk \"{id}\" - object does not exist.")] });
    let least = "Ensure this value is greater than or equal to 1.";
    expect_refusals(
        &app,
        "/transactions/",
        &[
            (
                json!({}),
                json!({ "user": required, "ticker": required, "transaction_type": required,
                        "transaction_volume": required }),
            ),
            (with("user", json!("no-such")), pk("no-such")),
            // Who has no username is none of D's.
            (with("user", json!("008bd126")), pk("008bd126")),
            (with("transaction_type", json!("hold")), json!({ "transaction_type": ["\"hold\" is not a valid choice."] })),
            // 500 at service D.
            (with("transaction_type", json!(["buy"])), json!({ "transaction_type": ["Not a valid string."] })),
            (with("transaction_volume", json!(0)), json!({ "transaction_volume": [least] })),
            (
                with("ticker", json!("A".repeat(16))),
                json!({ "ticker": ["Ensure this field has no more than 15 characters."] }),
            ),
            (
                with("transaction_volume", json!(1_000_001)),
                json!({ "transaction_volume": ["transaction_volume must be less than or equal to the stock volume"] }),
            ),
            (
                with("transaction_volume", json!(7)),
                json!({ "message": "Insufficient balance for this transaction." }),
            ),
        ],
    )
    .await;
    let (status, body) = post(&app, "/transactions/", with("ticker", json!("NONE"))).await;
    let missing = json!({ "detail": "No StockData matches the given query." });
    assert_eq!((status, body), (StatusCode::NOT_FOUND, missing));
    expect_unreadable(&app, "/transactions").await;
    app.db.expect_nothing("SELECT * FROM trades").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_one_key_an_order_is_placed_once_and_answered_alike() {
    let app = open().await;
    let ann = user(&app, "ann", "1000.00").await;
    list_apple(&app).await;
    let keyed = |path: &str, body: &Value| -> RequestBuilder {
        app.anonymous(Method::POST, path).header("Idempotency-Key", "order-1").json(body)
    };
    // All that the balance allows: the second would be refused, were it another.
    let all = order(&ann, "buy", 6);
    let response = keyed("/transactions/", &all).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let first: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/api/v1/trades/{}", first["transaction_id"].as_str().unwrap()));
    let settled = || async { (app.get(&location).await["state"] == "settled").then_some(()) };
    eventually("the settlement", settled).await;
    let response = keyed("/transactions", &all).send().await.unwrap();
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert_eq!((response.status(), response.json::<Value>().await.unwrap()), (StatusCode::OK, first));
    let (status, body) = app.send(keyed("/transactions/", &order(&ann, "buy", 5))).await;
    assert_eq!(
        (status, body["Idempotency-Key"].is_array()),
        (StatusCode::UNPROCESSABLE_ENTITY, true),
        "{body}"
    );
    let (status, _) = post(&app, "/transactions/", all).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "without the key it is another order");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM trades", &[]).await, 1);

    // Users and stocks too.
    let mut stock = apple();
    stock["ticker"] = json!("MSFT");
    for (path, body) in [("/users/", json!({ "username": "bob", "balance": "5" })), ("/stocks/", stock)] {
        let send = || app.send(app.anonymous(Method::POST, path).header("Idempotency-Key", path).json(&body));
        let (status, first) = send().await;
        assert_eq!(status, StatusCode::CREATED, "{first}");
        assert_eq!(send().await, (StatusCode::CREATED, first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_has_both_of_its_ends() {
    let compat = CompatConfig { rows: 2, ..CompatConfig::default() };
    let app = open_with(compat, chrono_tz::Asia::Karachi).await;
    let ann = user(&app, "ann", "1000.00").await;
    let bob = user(&app, "bob", "1000.00").await;
    list_apple(&app).await;
    for volume in 1..=3 {
        let trade = traded(&app, order(&ann, "buy", volume)).await;
        assert_eq!(trade["state"], "settled", "{trade}");
    }
    let volumes = |rows: &Value| -> Vec<i64> {
        rows.as_array().unwrap().iter().map(|row| row["transaction_volume"].as_i64().unwrap()).collect()
    };
    let response = app.anonymous(Method::GET, &format!("/transactions/{ann}/")).send().await.unwrap();
    let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
    let newest: Value = response.json().await.unwrap();
    assert_eq!(volumes(&newest), [3, 2]);
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let rest = get(&app, next).await.1;
    assert_eq!(volumes(&rest), [1]);

    let time = |row: &Value| row["timestamp"].as_str().unwrap().to_owned();
    let (first, second, third) = (time(&rest[0]), time(&newest[1]), time(&newest[0]));
    let range = async |from: &str, to: &str| {
        let (status, rows) = get(&app, &format!("/transactions/{ann}/{from}/{to}/")).await;
        assert_eq!(status, StatusCode::OK, "{from} {to}: {rows}");
        volumes(&rows)
    };
    assert_eq!(range(&second, &second).await, [2]);
    assert_eq!(range(&second, &third).await, [3, 2]);
    assert_eq!(range(&first, &second).await, [2, 1]);
    assert_eq!(range(&first, &third).await, [3, 2], "the rest is behind the link");
    assert_eq!(range(&third, &first).await, [0; 0]);
    assert_eq!(range("2026-01-01", "2026-01-02%2000:00").await, [0; 0]);
    let day = &first[.."2026-01-01".len()];
    assert_eq!(range(&second.replace('T', "%20"), "2999-01-01T00:00").await, [3, 2]);
    assert_eq!(range("2000-1-1", day).await, [0; 0], "a day is its beginning");
    // What was in the cache is not stale after the next trade.
    let path = format!("/transactions/{ann}/{third}/2999-01-01");
    assert_eq!(volumes(&get(&app, &path).await.1), [3]);
    assert_eq!(traded(&app, order(&ann, "sell", 1)).await["state"], "settled");
    assert_eq!(volumes(&get(&app, &path).await.1), [1, 3]);
    assert_eq!(get(&app, &format!("/transactions/{bob}/2000-01-01/2999-01-01/")).await.1, json!([]));

    for (from, to) in
        [("no-date", "2026-01-01"), ("2026-01-01", "2026-02-30"), ("2026-01-01", "2026-01-01T25:00")]
    {
        let (status, body) = get(&app, &format!("/transactions/{ann}/{from}/{to}/")).await;
        assert_eq!((status, body["detail"].is_string()), (StatusCode::BAD_REQUEST, true), "{body}");
    }
    let nobody = json!({ "detail": "No User matches the given query." });
    for id in ["nobody", "3af0ed0f-f353-4534-98d3-8d58836f2fd7", "a%00b"] {
        let (status, body) = get(&app, &format!("/transactions/{id}/2026-01-01/2026-01-02/")).await;
        assert_eq!((status, &body), (StatusCode::NOT_FOUND, &nobody), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_that_services_a_and_d_share_is_in_the_form_of_the_clients_own() {
    let app = open().await;
    let ann = user(&app, "ann", "1000.00").await;
    list_apple(&app).await;
    assert_eq!(traded(&app, order(&ann, "buy", 1)).await["state"], "settled");
    let file = "transaction_id,client_id,date,amount,currency,type\n1,008bd126,2025-01-01,5,USD,buy\n";
    app.load("trades.csv", file, "").await;
    let (ann_path, gary_path) = (format!("/transactions/{ann}/"), "/transactions/008bd126/");
    // With credentials each has its own form …
    assert_eq!(app.get(&ann_path).await[0]["user"], json!(ann));
    assert_eq!(app.get(gary_path).await[0]["client"], "008bd126");
    // … below /api only A's …
    assert_eq!(app.get(&format!("/api{ann_path}")).await[0]["client"], json!(ann));
    // … and without them there are D's users alone.
    assert_eq!(get(&app, &ann_path).await.0, StatusCode::OK);
    let refusal = json!({ "detail": "Authentication credentials were not provided." });
    for path in
        [gary_path, "/transactions/nobody/", "/api/transactions/008bd126/", &format!("/api{ann_path}")]
    {
        assert_eq!(get(&app, path).await, (StatusCode::UNAUTHORIZED, refusal.clone()), "{path}");
    }
    let range = get(&app, "/transactions/008bd126/2020-01-01/2030-01-01/").await;
    let nobody = json!({ "detail": "No User matches the given query." });
    assert_eq!(range, (StatusCode::NOT_FOUND, nobody.clone()));
    // An id of nobody is answered by its form.
    let unknown = "/transactions/3af0ed0f-f353-4534-98d3-8d58836f2fd7/";
    assert_eq!(get(&app, unknown).await, (StatusCode::NOT_FOUND, nobody.clone()));
    let known = |path| app.send(app.request(Method::GET, path));
    assert_eq!(known(unknown).await, (StatusCode::NOT_FOUND, nobody));
    let error = json!({ "error": "Client not found" });
    assert_eq!(known("/transactions/nobody/").await, (StatusCode::NOT_FOUND, error));
}

#[tokio::test(flavor = "multi_thread")]
async fn service_ds_routes_need_credentials_unless_the_operator_opens_them() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let routes = [
        (Method::POST, "/users/"),
        (Method::GET, "/users/ann/"),
        (Method::POST, "/stocks/"),
        (Method::GET, "/stocks/"),
        (Method::GET, "/stocks/AAPL/"),
        (Method::POST, "/transactions/"),
        (Method::GET, "/transactions/3af0ed0f-f353-4534-98d3-8d58836f2fd7/"),
        (Method::GET, "/transactions/3af0ed0f-f353-4534-98d3-8d58836f2fd7/2026-01-01/2026-01-02/"),
    ];
    for (method, path) in &routes {
        let (status, body) = app.send(app.anonymous(method.clone(), path)).await;
        assert_eq!((status, body["detail"].is_string()), (StatusCode::UNAUTHORIZED, true), "{path}: {body}");
    }
    // Who may only read may not register, list or order.
    let viewer = app.token(Role::Viewer).await;
    for (method, path) in &routes {
        let request = app.anonymous(method.clone(), path).bearer_auth(&viewer).json(&json!({}));
        let (status, body) = app.send(request).await;
        let refused = *method == Method::POST;
        assert_eq!(status == StatusCode::FORBIDDEN, refused, "{path}: {body}");
        assert_eq!(body["detail"].is_string(), *path != "/stocks/" || refused, "{path}: {body}");
    }
    let body = json!({ "username": "ann", "balance": "1" });
    let integration = app.token(Role::Integration).await;
    let request = app.anonymous(Method::POST, "/users/").bearer_auth(&integration).json(&body);
    assert_eq!(app.send(request).await.0, StatusCode::CREATED);

    let open = open().await;
    let foreign = open.anonymous(Method::POST, "/users/").header("Sec-Fetch-Site", "cross-site").json(&body);
    assert_eq!(open.send(foreign).await.0, StatusCode::FORBIDDEN);
    let wrong = open.anonymous(Method::GET, "/stocks/").bearer_auth("a.b.c");
    assert_eq!(open.send(wrong).await.0, StatusCode::UNAUTHORIZED);
}
