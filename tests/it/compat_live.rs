//! Service B's contract, row by row: transactions as they come, its figures, its socket; and its own clients.

use reqwest::{Method, StatusCode, header, multipart};
use serde_json::{Value, json};
use shared::{auth::Role, config::CompatConfig};
use std::collections::BTreeSet;
use tests::{App, AppOptions, Listener, files};
use tokio_tungstenite::tungstenite::Message;

const POST: &str = "/api/add-transaction/";

/// An application that lets B's clients in as they are, and knows the clients 1, 2 and c-3.
async fn open() -> App {
    open_with(CompatConfig::default(), chrono_tz::UTC).await
}

async fn open_with(compat: CompatConfig, zone: chrono_tz::Tz) -> App {
    let compat = CompatConfig { anonymous: true, ..compat };
    let options = AppOptions { compat, zone, allow_destructive: true, ..AppOptions::default() };
    let app = App::start_with(options).await;
    let clients = "client_id,name\n1,One\n2,Two\nc-3,Three\n";
    assert_eq!(app.load("clients.csv", clients, "?kind=clients").await["state"], "finished");
    app
}

async fn get(app: &App, path: &str) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::GET, path)).await
}

async fn post(app: &App, body: &Value) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::POST, POST).json(body)).await
}

fn obtained() -> (StatusCode, Value) {
    (StatusCode::OK, json!({ "message": "Transaction detail was obtained successfully." }))
}

/// Records a transaction.
async fn add(app: &App, body: Value) {
    assert_eq!(post(app, &body).await, obtained(), "{body}");
}

fn transaction(id: &str) -> Value {
    json!({ "transaction_id": id, "user": 1, "created_at": "2025-12-12T10:30:00Z", "amount": 1000, "status": "PENDING" })
}

fn with(id: &str, field: &str, value: Value) -> Value {
    let mut body = transaction(id);
    body[field] = value;
    body
}

fn without(id: &str, fields: &[&str]) -> Value {
    let mut body = transaction(id);
    fields.iter().for_each(|field| {
        body.as_object_mut().unwrap().remove(*field);
    });
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_recorded_at_once_and_shown_in_service_bs_shape() {
    let app = open().await;
    add(&app, transaction("TRX1")).await;
    let row = json!({ "id": "TRX1", "transaction_id": "TRX1", "status": "PENDING", "created_at": "2025-12-12T10:30:00Z",
                      "amount": 1000, "user": 1 });
    for path in [
        "/api/transactions/TRX1",
        "/api/transactions/TRX1/",
        "/api/get-transaction/TRX1",
        "/api/get-transaction/TRX1/",
    ] {
        assert_eq!(get(&app, path).await, (StatusCode::OK, row.clone()), "{path}");
    }
    let ours = app.get("/api/v1/transactions/TRX1").await;
    for (field, value) in [
        ("kind", "payment"),
        ("status", "pending"),
        ("currency", "USD"),
        ("amount", "1000.0000"),
        ("client_id", "1"),
        ("source", "live"),
    ] {
        assert_eq!(ours[field], value, "{field}: {ours}");
    }
    // Whatever can be left out, and every form in which a value may come.
    let shown =
        async |id: &str, field: &str| get(&app, &format!("/api/get-transaction/{id}")).await.1[field].clone();
    for (id, field, sent, expected) in [
        ("n1", "amount", json!("007"), json!(7)),
        ("n2", "amount", json!(2_147_483_647), json!(2_147_483_647)),
        ("n3", "amount", json!(0), json!(0)),
        ("u1", "user", json!("2"), json!(2)),
        ("u2", "user", json!("c-3"), json!("c-3")),
        ("s1", "status", json!("SUCCESS"), json!("SUCCESS")),
        ("s2", "status", json!("FAILED"), json!("FAILED")),
        ("t1", "created_at", json!("2025-12-12T10:30:00"), json!("2025-12-12T10:30:00Z")),
        ("t2", "created_at", json!("2025-12-12 10:30:00.123456+00:00"), json!("2025-12-12T10:30:00.123456Z")),
        ("t3", "created_at", json!("2025-12-12T10:30+05:00"), json!("2025-12-12T05:30:00Z")),
    ] {
        add(&app, with(id, field, sent)).await;
        assert_eq!(shown(id, field).await, expected, "{id} {field}");
    }
    add(&app, without("d1", &["amount", "status"])).await;
    assert_eq!((shown("d1", "amount").await, shown("d1", "status").await), (json!(0), json!("PENDING")));
    add(&app, without("d2", &["created_at"])).await;
    let now: bool = app
        .db
        .one("SELECT abs(extract(epoch FROM now() - occurred_at)) < 60 FROM transactions WHERE transaction_id = 'd2'", &[])
        .await;
    assert!(now, "the time of its arrival");

    let form = app.anonymous(Method::POST, "/api/add-transaction").form(&[
        ("transaction_id", " f1 "),
        ("user", "1"),
        ("created_at", "2025-12-12T10:30:00Z"),
    ]);
    assert_eq!(app.send(form).await, obtained());
    let parts = multipart::Form::new().text("transaction_id", "f2").text("user", "c-3").text("amount", "12");
    assert_eq!(app.send(app.anonymous(Method::POST, POST).multipart(parts)).await, obtained());
    assert_eq!((shown("f1", "id").await, shown("f2", "amount").await), (json!("f1"), json!(12)));
    // What Millrace's own routes brought is shown digit by digit, with the sign of its kind.
    let exact = r#"{"transaction_id":"e1","client_id":"c-3","occurred_at":"2025-12-12","amount":1234567890123456.7891,"kind":"refund"}"#;
    let exact = app
        .request(Method::POST, "/api/v1/transactions")
        .header("content-type", "application/json")
        .body(exact);
    assert_eq!(app.send(exact).await.0, StatusCode::CREATED);
    let text =
        app.anonymous(Method::GET, "/api/get-transaction/e1").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\"amount\":-1234567890123456.7891,"), "{text}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_refused_by_field() {
    let app = open().await;
    let required = json!(["This field is required."]);
    let no_null = json!(["This field may not be null."]);
    let integer = json!(["A valid integer is required."]);
    let form = json!(["Datetime has wrong format. Use one of these formats instead: \
                       YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."]);
    for (body, expected) in [
        (json!({}), json!({ "transaction_id": required, "user": required })),
        (
            with("x", "transaction_id", json!("x".repeat(101))),
            json!({ "transaction_id": ["Ensure this field has no more than 100 characters."] }),
        ),
        (
            with("x", "transaction_id", json!(" ")),
            json!({ "transaction_id": ["This field may not be blank."] }),
        ),
        (
            with("x", "user", json!(99_999)),
            json!({ "user": ["Invalid pk \"99999\" - object does not exist."] }),
        ),
        (
            with("x", "user", json!("z".repeat(40))),
            json!({ "user": [format!("Invalid pk \"{}\" - object does not exist.", "z".repeat(40))] }),
        ),
        (
            with("x", "user", json!([1])),
            json!({ "user": ["Incorrect type. Expected pk value, received list."] }),
        ),
        (
            with("x", "user", json!(true)),
            json!({ "user": ["Incorrect type. Expected pk value, received bool."] }),
        ),
        (with("x", "user", Value::Null), json!({ "user": no_null })),
        (with("x", "created_at", json!("yesterday")), json!({ "created_at": form })),
        (with("x", "created_at", json!("2025-99-99T00:00:00Z")), json!({ "created_at": form })),
        (with("x", "created_at", Value::Null), json!({ "created_at": no_null })),
        (with("x", "amount", json!(1.5)), json!({ "amount": integer })),
        (with("x", "amount", json!("many")), json!({ "amount": integer })),
        (with("x", "amount", Value::Null), json!({ "amount": no_null })),
        (
            with("x", "amount", json!(-1)),
            json!({ "amount": ["Ensure this value is greater than or equal to 0."] }),
        ),
        (
            with("x", "amount", json!(2_147_483_648u32)),
            json!({ "amount": ["Ensure this value is less than or equal to 2147483647."] }),
        ),
        (with("x", "status", json!("DONE")), json!({ "status": ["\"DONE\" is not a valid choice."] })),
        (with("x", "status", json!("success")), json!({ "status": ["\"success\" is not a valid choice."] })),
        // All that is wrong is said at once.
        (
            json!({ "user": 99_999, "amount": "x" }),
            json!({ "transaction_id": required, "amount": integer, "user": ["Invalid pk \"99999\" - object does not exist."] }),
        ),
    ] {
        assert_eq!(post(&app, &body).await, (StatusCode::BAD_REQUEST, expected), "{body}");
    }
    // Millrace's own bounds, under B's names.
    for (field, value) in [("created_at", "1969-12-31T23:59:59Z"), ("created_at", "2190-01-01T00:00:00Z")] {
        let (status, body) = post(&app, &with("x", field, json!(value))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body[field][0].as_str().unwrap().starts_with(field), "{body}");
    }
    let list = app.anonymous(Method::POST, POST).json(&json!([]));
    let expected = json!({ "non_field_errors": ["Invalid data. Expected a dictionary, but got list."] });
    assert_eq!(app.send(list).await, (StatusCode::BAD_REQUEST, expected));
    for (kind, status) in
        [("application/json", StatusCode::BAD_REQUEST), ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE)]
    {
        let request = app.anonymous(Method::POST, POST).header(header::CONTENT_TYPE, kind).body("{");
        let (got, body) = app.send(request).await;
        assert_eq!((got, body["detail"].is_string()), (status, true), "{body}");
    }
    for path in [POST, "/api/add-transaction"] {
        let (status, body) = get(&app, path).await;
        assert_eq!((status, body["detail"].is_string()), (StatusCode::METHOD_NOT_ALLOWED, true), "{body}");
    }
    let missing = json!({ "detail": "No Transaction matches the given query." });
    assert_eq!(get(&app, "/api/get-transaction/none").await, (StatusCode::NOT_FOUND, missing));
    app.db.expect_nothing("SELECT * FROM transactions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_counts_once_and_what_was_pending_is_decided() {
    let app = open().await;
    let exists = (
        StatusCode::BAD_REQUEST,
        json!({ "transaction_id": ["transaction with this transaction id already exists."] }),
    );
    let status = async |id: &str| get(&app, &format!("/api/get-transaction/{id}")).await.1["status"].clone();
    // With a time, and without one: then it is that of the first.
    for (id, absent) in [("dated", &["channel"][..]), ("undated", &["created_at"])] {
        let sent = |field: &str, value: Value| {
            let mut body = without(id, absent);
            body[field] = value;
            body
        };
        for _ in 0..2 {
            add(&app, sent("status", json!("PENDING"))).await;
        }
        assert_eq!(post(&app, &sent("amount", json!(1001))).await, exists);
        assert_eq!(post(&app, &sent("user", json!(2))).await, exists);
        add(&app, sent("status", json!("SUCCESS"))).await;
        assert_eq!(status(id).await, "SUCCESS");
        // It is decided: nothing moves it any more, and who says otherwise is told.
        assert_eq!(post(&app, &sent("status", json!("FAILED"))).await, exists);
        assert_eq!(status(id).await, "SUCCESS");
    }
    let other = with("dated", "created_at", json!("2025-12-12T10:30:01Z"));
    assert_eq!(post(&app, &other).await, exists);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 2);
    files::expect_everything_exact(&app.db).await;
}

/// B's figures, as they must be.
fn figures(average: Value, profit: Value, count: i64, frame: &str) -> (StatusCode, Value) {
    let data = json!({ "avgerage_of_transactions": average, "whole_profit": profit, "numer_of_sales": count,
                       "selected_time_frame": frame });
    (StatusCode::OK, json!({ "data": data }))
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_of_every_status_between_two_ends_that_belong_to_the_range() {
    let app = open().await;
    let none = figures(json!(0), json!(0), 0, "0 seconds");
    assert_eq!(get(&app, "/api/transactions").await, none);
    for (id, at, amount, status) in [
        ("1", "2025-12-01T00:00:00Z", 10, "SUCCESS"),
        ("2", "2025-12-05T12:00:00Z", 20, "FAILED"),
        ("3", "2025-12-11T00:00:00Z", 31, "PENDING"),
    ] {
        add(
            &app,
            json!({ "transaction_id": id, "user": 1, "created_at": at, "amount": amount, "status": status }),
        )
        .await;
    }
    let all = figures(json!(20.333_333_333_333_3), json!(61), 3, "10 days");
    for path in [
        "/api/transactions",
        "/api/transactions/",
        "/api/transactions?from=&to=",
        "/api/get-transactions",
        "/api/get-transactions/?from=2025-12-01&to=2025-12-11",
        "/api/get-transactions?from=2025-12-01+00:00:00&to=2025-12-11+00:00:00",
        "/api/transactions?to=2000-01-01&from=2030-01-01T00:00:00Z",
    ] {
        assert_eq!(get(&app, path).await, all, "{path}");
    }
    let one = |amount: i64, frame| figures(json!(amount), json!(amount), 1, frame);
    for (query, expected) in [
        ("from=2025-12-05+12:00:00&to=2025-12-05+12:00:00", one(20, "0 seconds")),
        (
            "from=2025-12-05T17:00:00%2B05:00&to=2025-12-10T23:59:59",
            one(20, "5 days, 11 hours, 59 minutes, 59 seconds"),
        ),
        ("from=2025-12-05T12:00:00.000001Z", one(31, "5 days, 11 hours, 59 minutes, 59 seconds")),
        ("to=2025-12-04", one(10, "4 days")),
        ("from=2025-12-05&to=2025-12-05", one(20, "1 days")),
        ("from=2026-01-01", figures(json!(0), json!(0), 0, "0 seconds")),
    ] {
        assert_eq!(get(&app, &format!("/api/transactions?{query}")).await, expected, "{query}");
    }
    for (query, fields) in [
        ("from=bad", &["from"][..]),
        ("from=bad&to=2025-99-99", &["from", "to"]),
        ("to=2025-12-01T25:00", &["to"]),
    ] {
        let (status, body) = get(&app, &format!("/api/transactions?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        let named: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert!(named == fields && body[fields[0]][0].is_string(), "{query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_agree_with_the_rows_whatever_the_range_and_the_zone() {
    for zone in [chrono_tz::UTC, chrono_tz::America::Sao_Paulo, chrono_tz::Pacific::Kiritimati] {
        let app = open_with(CompatConfig::default(), zone).await;
        app.load("wide.csv", files::wide_transactions(4_000, 1), "").await;
        let (first, last): (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>) = {
            let row = app
                .db
                .client
                .query_one("SELECT min(occurred_at), max(occurred_at) FROM transactions", &[])
                .await
                .unwrap();
            (row.get(0), row.get(1))
        };
        let span = (last - first).num_seconds();
        let mut counts = BTreeSet::new();
        for (from, length) in [
            (0, span),
            (span / 3, 3_600),
            (span / 3, 86_400),
            (span / 5, 400_000),
            (1, span - 2),
            (span / 2, 1),
        ] {
            let from = first + chrono::TimeDelta::seconds(from);
            let to = from + chrono::TimeDelta::seconds(length);
            let row = app
                .db
                .client
                .query_one(
                    "SELECT count(*), coalesce(trim_scale(sum(CASE WHEN kind IN ('sell', 'refund') THEN -amount ELSE amount END)), 0)::text
                     FROM transactions WHERE currency = 'USD' AND occurred_at BETWEEN $1 AND $2",
                    &[&from, &to],
                )
                .await
                .unwrap();
            let (count, sum): (i64, String) = (row.get(0), row.get(1));
            let form = "%Y-%m-%dT%H:%M:%S%.6fZ";
            let path = format!("/api/transactions?from={}&to={}", from.format(form), to.format(form));
            let text = app.anonymous(Method::GET, &path).send().await.unwrap().text().await.unwrap();
            assert!(
                text.contains(&format!("\"numer_of_sales\":{count},")),
                "{zone} {path}: {count} in {text}"
            );
            assert!(text.contains(&format!("\"whole_profit\":{sum},")), "{zone} {path}: {sum} in {text}");
            counts.insert(count);
        }
        assert!(counts.len() > 3, "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn averages_come_by_day_with_two_decimals() {
    let app = open_with(CompatConfig { rows: 2, ..CompatConfig::default() }, chrono_tz::UTC).await;
    assert_eq!(get(&app, "/api/transactions/average/").await, (StatusCode::OK, json!([])));
    for (id, at, amount, status) in [
        ("1", "2025-12-12T00:00:00Z", 10, "SUCCESS"),
        ("2", "2025-12-12T23:59:59Z", 11, "FAILED"),
        ("3", "2025-12-12T10:00:00Z", 11, "PENDING"),
        ("4", "2025-12-14T10:00:00Z", 1000, "PENDING"),
        ("5", "2025-12-20T10:00:00Z", 0, "PENDING"),
    ] {
        add(
            &app,
            json!({ "transaction_id": id, "user": 1, "created_at": at, "amount": amount, "status": status }),
        )
        .await;
    }
    let yen = json!({ "transaction_id": "yen", "client_id": "1", "occurred_at": "2025-12-12", "amount": "5", "currency": "JPY" });
    assert_eq!(app.send(app.posting("/api/v1/transactions", &yen)).await.0, StatusCode::CREATED);
    let day = |date: &str, average: &str, count: i64, total: &str| json!({ "date": date, "average": average, "count": count, "total": total });
    let (twelfth, fourteenth, twentieth) = (
        day("2025-12-12", "10.67", 3, "32.00"),
        day("2025-12-14", "1000.00", 1, "1000.00"),
        day("2025-12-20", "0.00", 1, "0.00"),
    );
    for (path, expected) in [
        ("/api/transactions/average/?to=2025-12-14", json!([twelfth, fourteenth])),
        ("/api/transactions/average?from=2025-12-13&to=", json!([fourteenth, twentieth])),
        ("/api/transactions/average/?from=2025-12-14&to=2025-12-13", json!([fourteenth])),
        ("/api/transactions/average/?from=2025-12-15&to=2025-12-19", json!([])),
    ] {
        assert_eq!(get(&app, path).await, (StatusCode::OK, expected), "{path}");
    }
    let response = app.anonymous(Method::GET, "/api/transactions/average/").send().await.unwrap();
    let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
    assert_eq!(response.json::<Value>().await.unwrap(), json!([twelfth, fourteenth]));
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(get(&app, next).await, (StatusCode::OK, json!([twentieth])));
    for day in ["bad", "2025-02-30", "2025-12-12T10:00:00"] {
        let (status, body) = get(&app, &format!("/api/transactions/average/?from={day}")).await;
        assert_eq!((status, body["from"][0].is_string()), (StatusCode::BAD_REQUEST, true), "{day}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_that_services_a_and_b_share_is_a_list_for_a_client_and_a_row_for_a_transaction() {
    let app = open().await;
    add(&app, transaction("TRX1")).await;
    // Its id is a client's: A's list goes first.
    add(&app, with("2", "user", json!("c-3"))).await;
    let row = app.get("/api/transactions/TRX1/").await;
    assert_eq!(row["transaction_id"], "TRX1", "{row}");
    assert_eq!(app.get("/api/transactions/1/").await[0]["transaction_id"], "TRX1");
    assert_eq!(app.get("/api/transactions/2/").await, json!([]));
    assert_eq!(app.get("/api/get-transaction/2").await["user"], "c-3");
    // Each finds its own in the refusal.
    let both = json!({ "error": "Client not found", "detail": "No Transaction matches the given query." });
    let unknown = "/api/transactions/none/";
    let asked = app.send(app.request(Method::GET, unknown)).await;
    assert_eq!(asked, (StatusCode::NOT_FOUND, both.clone()));
    // Without credentials there are rows, and A's lists stay closed.
    assert_eq!(get(&app, "/api/transactions/TRX1").await, (StatusCode::OK, row));
    assert_eq!(get(&app, unknown).await, (StatusCode::NOT_FOUND, both));
    let refusal = json!({ "detail": "Authentication credentials were not provided." });
    assert_eq!(get(&app, "/api/transactions/1/").await, (StatusCode::UNAUTHORIZED, refusal));
    // Below no /api it is A's, and D's, alone.
    assert_eq!(get(&app, "/transactions/TRX1/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_bs_routes_need_credentials_unless_the_operator_opens_them() {
    let app =
        App::start_with(AppOptions { worker: false, allow_destructive: true, ..AppOptions::default() }).await;
    let routes = [
        (Method::POST, POST),
        (Method::GET, "/api/transactions"),
        (Method::GET, "/api/get-transactions"),
        (Method::GET, "/api/transactions/average/"),
        (Method::GET, "/api/transactions/TRX1/"),
        (Method::GET, "/api/get-transaction/TRX1"),
        (Method::DELETE, "/api/delete-transactions/"),
    ];
    let (viewer, integration) = (app.token(Role::Viewer).await, app.token(Role::Integration).await);
    for (method, path) in &routes {
        let (status, body) = app.send(app.anonymous(method.clone(), path)).await;
        assert_eq!((status, body["detail"].is_string()), (StatusCode::UNAUTHORIZED, true), "{path}: {body}");
        // Who may only read may not record, and nobody but an administrator deletes.
        for (token, may) in [(&viewer, *method == Method::GET), (&integration, *method != Method::DELETE)] {
            let request = app.anonymous(method.clone(), path).bearer_auth(token).json(&json!({}));
            let (status, body) = app.send(request).await;
            assert_eq!(status != StatusCode::FORBIDDEN, may, "{path}: {status} {body}");
        }
    }
    let url = format!("{}/ws/admin/transactions/", app.url);
    let bearer = format!("Bearer {viewer}");
    assert!(Listener::open(&url, &[("authorization", &bearer)]).await.is_ok());
    let mut listener = Listener::open(&url, &[]).await.unwrap();
    listener.say(&json!({ "type": "auth", "token": "nonsense" })).await;
    assert_eq!(listener.close_code().await, Some(4401));
    let (status, body) = get(&app, "/ws/admin/transactions/").await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::UPGRADE_REQUIRED, true), "{body}");

    let open = open().await;
    let foreign =
        open.anonymous(Method::POST, POST).header("Sec-Fetch-Site", "cross-site").json(&transaction("x"));
    assert_eq!(open.send(foreign).await.0, StatusCode::FORBIDDEN);
    let wrong = open.anonymous(Method::GET, "/api/transactions").bearer_auth("a.b.c");
    assert_eq!(open.send(wrong).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_deletes_everything_where_that_is_allowed() {
    let closed = App::start_with(AppOptions {
        compat: CompatConfig { anonymous: true, ..CompatConfig::default() },
        ..AppOptions::default()
    })
    .await;
    let path = "/api/delete-transactions/";
    let (status, body) = closed.send(closed.request(Method::DELETE, path)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body["detail"].as_str().unwrap().contains("MILLRACE_ALLOW_DESTRUCTIVE"), "{body}");

    let app = open().await;
    add(&app, transaction("TRX1")).await;
    let (status, body) = app.send(app.anonymous(Method::DELETE, path)).await;
    assert_eq!(
        (status, body["detail"].is_string()),
        (StatusCode::UNAUTHORIZED, true),
        "whatever anonymous says"
    );
    let deleted =
        (StatusCode::OK, json!({ "message": "Deleted all rows from transactions_transaction table" }));
    for path in [path, "/api/delete-transactions"] {
        assert_eq!(app.send(app.request(Method::DELETE, path)).await, deleted);
    }
    assert_eq!(get(&app, "/api/transactions").await, figures(json!(0), json!(0), 0, "0 seconds"));
    let audited: i64 = app
        .db
        .one("SELECT count(*) FROM audit_log WHERE action = 'transactions.delete' AND details->>'route' = 'DELETE /api/delete-transactions/'", &[])
        .await;
    assert_eq!(audited, 2);
    // What was deleted may come again.
    add(&app, with("TRX1", "amount", json!(7))).await;
    app.db.pause("finish_upload").await;
    app.upload("slow.csv", files::transactions(10, 1), "").await;
    let (status, body) = app.send(app.request(Method::DELETE, path)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["detail"].as_str().unwrap().contains("slow.csv"), "{body}");
    assert_eq!(get(&app, "/api/get-transaction/TRX1").await.1["amount"], 7);
}

/// Records transactions until the listener hears of one: B's socket does not say from when on it listens.
async fn until_heard(app: &App, listener: &mut Listener, number: usize) {
    for probe in 0.. {
        add(app, transaction(&format!("probe-{number}-{probe}"))).await;
        let heard =
            tokio::time::timeout(std::time::Duration::from_millis(500), listener.next_message()).await;
        if heard.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_tells_of_each_commit_once_as_a_plain_object() {
    let app = open().await;
    let mut listeners = Vec::new();
    for path in ["/ws/admin/transactions/", "/ws/admin/transactions"] {
        listeners.push(Listener::open(&format!("{}{path}", app.url), &[]).await.unwrap());
    }
    for (number, listener) in listeners.iter_mut().enumerate() {
        until_heard(&app, listener, number).await;
    }
    add(&app, transaction("P1")).await;
    add(&app, transaction("P1")).await;
    add(&app, with("P1", "status", json!("SUCCESS"))).await;
    let exact = json!({ "transaction_id": "E1", "client_id": "c-3", "occurred_at": "2025-12-12T10:30:00.5Z",
                        "amount": "12.5000", "kind": "refund" });
    assert_eq!(app.send(app.posting("/api/v1/transactions", &exact)).await.0, StatusCode::CREATED);
    app.account("ann", "100").await;
    app.stock("AAA", "10", 5).await;
    app.trade("ann", "buy", 2, "AAA").await;
    add(&app, without("P2", &["amount"])).await;
    for listener in &mut listeners {
        // It listens to nothing that is said.
        listener.say(&json!({ "type": "filter", "client_id": "nobody" })).await;
        for expected in [
            r#"{"transaction_id":"P1","status":"PENDING","created_at":"2025-12-12 10:30:00+00:00","amount":1000,"user":1}"#,
            r#"{"transaction_id":"P1","status":"SUCCESS","created_at":"2025-12-12 10:30:00+00:00","amount":1000,"user":1}"#,
            r#"{"transaction_id":"E1","status":"SUCCESS","created_at":"2025-12-12 10:30:00.500000+00:00","amount":-12.5,"user":"c-3"}"#,
            r#"{"transaction_id":"P2","status":"PENDING","created_at":"2025-12-12 10:30:00+00:00","amount":0,"user":1}"#,
        ] {
            let heard = loop {
                match listener.next_message().await {
                    Some(Message::Text(text)) if text.contains("probe") => {}
                    Some(Message::Text(text)) => break text,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(heard.as_str(), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_bs_own_clients_post_listen_ask_and_delete() {
    let mut app = open().await;
    app.start_scheduler();
    let users: String = (3..=50).map(|user| format!("{user},User\n")).collect();
    app.load("users.csv", format!("client_id,name\nprobe,Probe\n{users}"), "?kind=clients").await;
    let python = std::env::var("MILLRACE_TEST_PYTHON")
        .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/live_monitoring.py");
    let output = tokio::process::Command::new(python)
        .args([script, &app.url, app.admin_token(), "50", "50"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "2500 transactions, each told once");
}
