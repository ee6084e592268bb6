//! The contracts of the services that Millrace replaces, row by row.

use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use shared::{auth::Role, config::CompatConfig};
use tests::{App, AppOptions, app::PASSWORD, files};

/// A user's name and first pair of tokens.
async fn pair(app: &App, prefix: &str) -> (String, Value) {
    let name = format!("ada-{}", uuid::Uuid::new_v4().simple());
    let mut conn = app.env.pool.get().await.unwrap();
    shared::auth::create_user(&mut conn, &name, None, PASSWORD, Role::Viewer).await.unwrap();
    let (status, pair) = post(app, prefix, json!({ "username": name, "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::OK, "{pair}");
    (name, pair)
}

async fn post(app: &App, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::POST, path).json(&body)).await
}

/// The claims of a JWT, not verified.
fn claims(token: &Value) -> Value {
    // base64url, by hand: the tests have no other use for it.
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for letter in payload.chars() {
        bits = bits << 6 | u32::try_from(alphabet.find(letter).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_pair_of_tokens_under_every_path() {
    let app = App::start().await;
    for path in ["/token/", "/token", "/api/token/", "/api/token"] {
        let (_, pair) = pair(&app, path).await;
        let (access, refresh) = (claims(&pair["access"]), claims(&pair["refresh"]));
        assert_eq!(access["token_type"], "access");
        assert_eq!(refresh["token_type"], "refresh");
        let life = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!((life(&access), life(&refresh)), (300, 86_400));
        assert_eq!(access["jti"].as_str().unwrap().len(), 32);
        assert!(access["user_id"].is_string(), "{access}");
        assert_eq!(pair.as_object().unwrap().len(), 2);
    }
    // A form does as well as JSON.
    let (name, _) = pair(&app, "/token/").await;
    let form =
        app.anonymous(Method::POST, "/token/").form(&[("username", name.as_str()), ("password", PASSWORD)]);
    assert_eq!(app.send(form).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_says_so_in_service_as_words() {
    let app = App::start().await;
    let wrong = json!({ "username": "nobody", "password": "wrong" });
    let (status, body) = post(&app, "/api/token/", wrong.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(body, json!({ "detail": "No active account found with the given credentials" }));
    let (status, body) = post(&app, "/api/token/", json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let required = json!(["This field is required."]);
    assert_eq!(body, json!({ "username": required, "password": required }));
    let text =
        app.anonymous(Method::POST, "/api/token/").header(header::CONTENT_TYPE, "text/plain").body("x");
    let (status, body) = app.send(text).await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, true), "{body}");
    let broken =
        app.anonymous(Method::POST, "/token/").header(header::CONTENT_TYPE, "application/json").body("{");
    let (status, body) = app.send(broken).await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::BAD_REQUEST, true), "{body}");
    let (status, body) = app.send(app.anonymous(Method::GET, "/api/token/")).await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::METHOD_NOT_ALLOWED, true), "{body}");
    for _ in 0..9 {
        post(&app, "/token/", wrong.clone()).await;
    }
    let response = app.anonymous(Method::POST, "/token/").json(&wrong).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let body: Value = response.json().await.unwrap();
    assert!(
        body["detail"].as_str().unwrap().starts_with("Request was throttled. Expected available in"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_name_counts_against_its_address() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    for attempt in 0..30 {
        let request = app.anonymous(Method::POST, "/token/");
        let request = match attempt % 3 {
            0 => request,
            1 => request.json(&json!({})),
            _ => request.header(header::CONTENT_TYPE, "application/json").body("{"),
        };
        assert_eq!(app.send(request).await.0, StatusCode::BAD_REQUEST, "{attempt}");
    }
    let (status, body) = app.send(app.anonymous(Method::POST, "/token/")).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_refresh_token_revokes_its_family() {
    let app = App::start().await;
    let blacklisted = json!({ "detail": "Token is blacklisted", "code": "token_not_valid" });
    let (_, first) = pair(&app, "/token/").await;
    let (status, second) = post(&app, "/api/token/refresh/", json!({ "refresh": first["refresh"] })).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    assert_ne!(second["refresh"], first["refresh"]);
    assert!(second["access"].is_string());
    let (status, body) = post(&app, "/token/refresh", json!({ "refresh": first["refresh"] })).await;
    assert_eq!((status, &body), (StatusCode::UNAUTHORIZED, &blacklisted));
    // The thief's token, or the owner's, is of no use either.
    let (status, body) = post(&app, "/token/refresh/", json!({ "refresh": second["refresh"] })).await;
    assert_eq!((status, &body), (StatusCode::UNAUTHORIZED, &blacklisted));
    // Another login's family is not touched by that.
    let (_, other) = pair(&app, "/token/").await;
    assert_eq!(post(&app, "/token/refresh/", json!({ "refresh": other["refresh"] })).await.0, StatusCode::OK);

    let invalid = json!({ "detail": "Token is invalid", "code": "token_not_valid" });
    for wrong in [json!("x.y.z"), other["access"].clone()] {
        let (status, body) = post(&app, "/token/refresh/", json!({ "refresh": wrong })).await;
        assert_eq!((status, &body), (StatusCode::UNAUTHORIZED, &invalid));
    }
    let (status, body) = post(&app, "/token/refresh/", json!({})).await;
    assert_eq!((status, body), (StatusCode::BAD_REQUEST, json!({ "refresh": ["This field is required."] })));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_refresh_at_once_one_gets_a_pair() {
    let app = App::start().await;
    let (_, first) = pair(&app, "/token/").await;
    let refresh = || post(&app, "/token/refresh/", json!({ "refresh": first["refresh"] }));
    let (one, other) = tokio::join!(refresh(), refresh());
    let mut statuses = [one.0.as_u16(), other.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    app.db.expect_nothing("SELECT * FROM refresh_tokens WHERE revoked_at IS NULL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_verified_and_logged_out() {
    let app = App::start().await;
    let (_, pair) = pair(&app, "/token/").await;
    for token in [&pair["access"], &pair["refresh"], &json!(app.admin_token())] {
        let (status, body) = post(&app, "/api/token/verify/", json!({ "token": token })).await;
        assert_eq!((status, body), (StatusCode::OK, json!({})));
    }
    let (status, body) = post(&app, "/token/verify/", json!({ "token": "a.b.c" })).await;
    let invalid = json!({ "detail": "Token is invalid", "code": "token_not_valid" });
    assert_eq!((status, body), (StatusCode::UNAUTHORIZED, invalid));

    let (status, body) = post(&app, "/api/token/logout/", json!({ "refresh": pair["refresh"] })).await;
    assert_eq!((status, body), (StatusCode::OK, json!({})));
    let blacklisted = json!({ "detail": "Token is blacklisted", "code": "token_not_valid" });
    for (path, field) in
        [("/token/logout/", "refresh"), ("/token/refresh/", "refresh"), ("/token/verify/", "token")]
    {
        let (status, body) = post(&app, path, json!({ field: pair["refresh"] })).await;
        assert_eq!((status, &body), (StatusCode::UNAUTHORIZED, &blacklisted), "{path}");
    }
}

/// The list of a client's rows by an access token of service A's form.
fn list(app: &App, pair: &Value, path: &str) -> RequestBuilder {
    app.anonymous(Method::GET, path).bearer_auth(pair["access"].as_str().unwrap())
}

const TRADES: &str = "transaction_id,client_id,transaction_type,transaction_date,stock_ticker,stock_name,shares,price,amount,currency,transaction_channel
353d9b2e,008bd126,sell,2023-01-07,TSLA,Tesla Inc.,12,197.43,-2369.16,USD,online
453d9b2e,008bd126,buy,2023-01-09,AAPL,Apple Inc.,2,10.00,20.00,USD,branch
553d9b2e,008bd126,buy,2023-02-01,AAPL,Apple Inc.,1,10.50,10.50,USD,ATM
";

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_transactions_come_in_service_as_shape() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\n008bd126,Gary\nempty,Nobody\n", "?kind=clients").await;
    let upload = app.load("trades.csv", TRADES, "").await;
    assert_eq!(upload["counts"]["inserted"], 3, "{upload}");
    let (_, pair) = pair(&app, "/token/").await;
    for path in [
        "/transactions/008bd126/",
        "/transactions/008bd126",
        "/api/transactions/008bd126/",
        "/api/transactions/%20008bd126%20",
    ] {
        let (status, rows) = app.send(list(&app, &pair, path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {rows}");
        assert_eq!(rows.as_array().unwrap().len(), 3, "{path}");
    }
    let (_, rows) = app.send(list(&app, &pair, "/api/transactions/008bd126/?end_date=2023-01-07")).await;
    assert_eq!(
        rows,
        json!([{ "transaction_id": "353d9b2e", "transaction_type": "sell", "transaction_date": "2023-01-07",
                 "stock_ticker": "TSLA", "stock_name": "Tesla Inc.", "shares": 12, "price": "197.43",
                 "amount": "-2369.16", "currency": "USD", "transaction_status": "",
                 "transaction_channel": "online", "client": "008bd126" }])
    );
    let (_, rows) = app
        .send(list(&app, &pair, "/transactions/008bd126/?start_date=2023-01-09&end_date=2023-02-01&x=1"))
        .await;
    assert_eq!(rows.as_array().unwrap().len(), 2, "both ends belong to the range: {rows}");
    assert_eq!(rows[0]["price"], "10.50");
    let (status, rows) = app.send(list(&app, &pair, "/transactions/empty/")).await;
    assert_eq!((status, rows), (StatusCode::OK, json!([])));
    // Its tokens open Millrace's own routes, and Millrace's open its.
    assert_eq!(app.send(list(&app, &pair, "/api/v1/uploads")).await.0, StatusCode::OK);
    assert_eq!(app.get("/transactions/008bd126/").await.as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_refused_says_so_in_service_as_words() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\n008bd126,Gary\n", "?kind=clients").await;
    let (_, pair) = pair(&app, "/token/").await;
    let path = "/api/transactions/008bd126/";
    let (status, body) = app.send(app.anonymous(Method::GET, path)).await;
    let expected = json!({ "detail": "Authentication credentials were not provided." });
    assert_eq!((status, body), (StatusCode::UNAUTHORIZED, expected));
    for wrong in ["a.b.c", pair["refresh"].as_str().unwrap()] {
        let (status, body) = app.send(app.anonymous(Method::GET, path).bearer_auth(wrong)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let message =
            json!({ "token_class": "AccessToken", "token_type": "access", "message": "Token is invalid" });
        let detail = "Given token not valid for any token type";
        assert_eq!(body, json!({ "detail": detail, "code": "token_not_valid", "messages": [message] }));
    }
    let (status, body) = app.send(list(&app, &pair, "/transactions/nobody/")).await;
    assert_eq!((status, body), (StatusCode::NOT_FOUND, json!({ "error": "Client not found" })));
    for query in ["start_date=07.01.2023", "end_date=2023-13-01"] {
        let (status, body) = app.send(list(&app, &pair, &format!("{path}?{query}"))).await;
        let expected = json!({ "error": "Invalid date format. Use YYYY-MM-DD" });
        assert_eq!((status, body), (StatusCode::BAD_REQUEST, expected));
    }
    let turned = format!("{path}?start_date=2023-02-01&end_date=2023-01-01");
    let (status, body) = app.send(list(&app, &pair, &turned)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "service A answered 500");
    assert!(body["error"].as_str().unwrap().contains("start_date cannot be after end_date"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_ends_with_a_link_and_many_calls_with_a_limit() {
    let compat = CompatConfig { rows: 2, calls_per_minute: 3, ..CompatConfig::default() };
    let app = App::start_with(AppOptions { compat, ..AppOptions::default() }).await;
    app.load("trades.csv", TRADES, "").await;
    let (_, pair) = pair(&app, "/token/").await;
    let response = list(&app, &pair, "/transactions/008bd126/?start_date=2023-01-01").send().await.unwrap();
    assert!(response.headers()["ratelimit"].to_str().unwrap().contains("r=2"), "{:?}", response.headers());
    assert!(response.headers()["ratelimit-policy"].to_str().unwrap().contains("q=3"));
    let link = response.headers()[header::LINK].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    assert_eq!(response.json::<Value>().await.unwrap().as_array().unwrap().len(), 2);
    let response = list(&app, &pair, &next).send().await.unwrap();
    assert!(!response.headers().contains_key(header::LINK));
    let rest: Value = response.json().await.unwrap();
    assert_eq!(rest.as_array().unwrap().len(), 1);
    assert_eq!(rest[0]["transaction_id"], "353d9b2e");
    // The minute may turn between the calls: within six, one is refused.
    let mut refused = None;
    for _ in 0..6 {
        let response = list(&app, &pair, "/transactions/008bd126/").send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body, json!({ "error": "Rate limit exceeded. Please try again later." }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_door_greets_programs_and_shows_browsers_the_pages() {
    let app = App::start().await;
    let (status, body) = app.send(app.anonymous(Method::GET, "/")).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "message": "Hello from the automated cloud!" })));
    let browser = app.anonymous(Method::GET, "/").header(header::ACCEPT, "text/html,*/*");
    let response = browser.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/ui");
}

fn form(field: &str, name: &str, content: Vec<u8>) -> reqwest::multipart::Form {
    let part = reqwest::multipart::Part::bytes(content).file_name(name.to_owned());
    reqwest::multipart::Form::new().text("comment", "passed over").part(field.to_owned(), part)
}

#[tokio::test(flavor = "multi_thread")]
async fn service_es_upload_takes_a_csv_file() {
    let app = App::start().await;
    let upload = |form| app.request(Method::POST, "/upload").multipart(form);
    let response = upload(form("file", "small.csv", files::transactions(100, 1))).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({ "message": "File 'small.csv' queued for processing." }));
    let loaded = app.ended(location.rsplit('/').next().unwrap()).await;
    assert_eq!(loaded["counts"]["inserted"], 100, "{loaded}");
    let slash =
        app.request(Method::POST, "/upload/").multipart(form("file", "b.csv", files::transactions(5, 2)));
    assert_eq!(app.send(slash).await.0, StatusCode::OK);

    for name in ["small.CSV", "small.txt"] {
        let (status, body) = app.send(upload(form("file", name, files::transactions(1, 3)))).await;
        let expected = json!({ "detail": "Invalid file type. Please upload a CSV." });
        assert_eq!((status, body), (StatusCode::BAD_REQUEST, expected));
    }
    let missing =
        json!({ "type": "missing", "loc": ["body", "file"], "msg": "Field required", "input": null });
    for request in [upload(form("data", "small.csv", Vec::new())), app.request(Method::POST, "/upload")] {
        let (status, body) = app.send(request).await;
        assert_eq!((status, body), (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": [missing] })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_credentials_need_the_operators_leave() {
    let closed = App::start().await;
    let upload = |app: &App| {
        let file = form("file", "a.csv", files::transactions(10, 1));
        app.anonymous(Method::POST, "/upload").multipart(file)
    };
    let (status, body) = closed.send(upload(&closed)).await;
    assert_eq!((status, body["detail"].is_string()), (StatusCode::UNAUTHORIZED, true), "{body}");

    let compat = CompatConfig { anonymous: true, ..CompatConfig::default() };
    let open = App::start_with(AppOptions { compat, ..AppOptions::default() }).await;
    let (status, body) = open.send(upload(&open)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let by: String = open.db.one("SELECT created_by FROM uploads", &[]).await;
    assert_eq!(by, "compat:anonymous");
    // Another site's page may not make a browser do it, and a wrong credential is not passed over.
    let foreign = upload(&open).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(open.send(foreign).await.0, StatusCode::FORBIDDEN);
    assert_eq!(open.send(upload(&open).bearer_auth("a.b.c")).await.0, StatusCode::UNAUTHORIZED);
    // Service A asked for credentials, and so do Millrace's own routes.
    for path in ["/transactions/1/", "/api/v1/uploads", "/api/v1/clients/1/transactions"] {
        assert_eq!(open.send(open.anonymous(Method::GET, path)).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}
