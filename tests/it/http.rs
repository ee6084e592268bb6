//! What is refused, and how: a problem document each, with the right status, and never a 500.

use reqwest::{Method, RequestBuilder};
use shared::auth::Role;
use tests::{App, AppOptions, files};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a request that is to be refused; its problem document.
async fn refused(app: &App, request: RequestBuilder, status: u16) -> serde_json::Value {
    let response = request.send().await.unwrap();
    let shown = format!("{} {}", response.status(), response.url());
    assert_eq!(response.status().as_u16(), status, "{shown}");
    let kind = response.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json", "{shown}");
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
    assert!(!problem.to_string().contains(&app.db.url), "{problem}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_document() {
    let app = App::start_with(AppOptions { max_upload_bytes: 10_000, ..AppOptions::default() }).await;
    let login = |password: &str| {
        let body = serde_json::json!({ "username": "nobody", "password": password });
        app.anonymous(Method::POST, "/api/v1/token").json(&body)
    };
    refused(&app, login("wrong"), 401).await;
    refused(&app, login("nul \0"), 422).await;
    refused(&app, app.anonymous(Method::POST, "/api/v1/token").body("{"), 415).await;
    refused(&app, app.anonymous(Method::GET, "/api/v1/uploads"), 401).await;
    refused(&app, app.anonymous(Method::GET, "/api/v1/uploads").bearer_auth("a.b.c"), 401).await;
    refused(&app, app.request(Method::GET, "/api/v1/nothing/here"), 404).await;
    refused(&app, app.request(Method::GET, "/wp-login.php"), 404).await;
    refused(&app, app.request(Method::GET, "/api/v1/token"), 405).await;
    refused(&app, app.request(Method::DELETE, "/api/v1/uploads"), 405).await;
    refused(&app, app.request(Method::GET, "/api/v1/uploads/not-an-id"), 400).await;
    refused(&app, app.request(Method::GET, &format!("/api/v1/uploads/{}", uuid::Uuid::new_v4())), 404).await;
    let unknown = refused(&app, app.request(Method::GET, "/api/v1/runs?colour=red"), 400).await;
    assert!(unknown.to_string().contains("colour"), "{unknown}");
    refused(&app, app.request(Method::GET, "/api/v1/clients?search=%00"), 400).await;
    refused(&app, app.request(Method::GET, "/api/v1/runs?cursor=zz"), 400).await;
    refused(&app, app.request(Method::GET, "/api/v1/runs?limit=501"), 400).await;
    let form = reqwest::multipart::Form::new().text("kind", "transactions");
    let nameless = app.request(Method::POST, "/api/v1/uploads").multipart(form);
    refused(&app, nameless, 422).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_upload_is_refused_and_leaves_nothing_behind() {
    let app = App::start_with(AppOptions { max_upload_bytes: 10_000, ..AppOptions::default() }).await;
    // Seen while it streams, and announced by its length.
    for rows in [400, 40_000] {
        let file = files::transactions(rows, 1);
        assert!(file.len() > 10_000);
        let (status, problem) = app.upload("big.csv", file, "").await;
        assert_eq!(status.as_u16(), 413, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("10000 bytes") && detail.contains("MILLRACE_MAX_UPLOAD_BYTES"), "{detail}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 0);
    let stored = std::fs::read_dir(app.data_dir().join("files/uploads")).map_or(0, Iterator::count);
    assert_eq!(stored, 0, "no part of it stays");
}

/// The head of an answer.
async fn head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.expect("an answer"));
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_whose_body_is_refused_can_send_it_to_the_end_and_hears_why() {
    const BODY: usize = 4_000_000;
    let app = App::start_with(AppOptions { max_upload_bytes: 10_000, ..AppOptions::default() }).await;
    let host = app.url.strip_prefix("http://").unwrap();
    let post = |length: usize, more: &str| {
        let bearer = app.admin_token();
        format!(
            "POST /api/v1/uploads HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {bearer}\r\n\
             content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n{more}\r\n"
        )
    };
    let mut connection = TcpStream::connect(host).await.unwrap();
    connection.write_all(post(BODY, "").as_bytes()).await.unwrap();
    let refused = head(&mut connection).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    let length = refused.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    connection.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    // A closed connection would be reset by this.
    connection.write_all(&vec![b'x'; BODY]).await.unwrap();
    connection.write_all(post(0, "").as_bytes()).await.unwrap();
    let next = head(&mut connection).await;
    assert!(next.starts_with("HTTP/1.1 4"), "{next}");

    let mut asking = TcpStream::connect(host).await.unwrap();
    asking.write_all(post(BODY, "expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let refused = head(&mut asking).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "it is not told to continue: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide_who_may_do_what() {
    let app = App::start().await;
    for (role, may_upload, may_retry, may_manage) in [
        (Role::Viewer, false, false, false),
        (Role::Integration, true, false, false),
        (Role::Operator, true, true, false),
        (Role::Admin, true, true, true),
    ] {
        let token = app.token(role).await;
        let status = async |method: Method, path: &str, form: bool| {
            let mut request = app.anonymous(method, path).bearer_auth(&token);
            if form {
                request = request.multipart(reqwest::multipart::Form::new());
            }
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(status(Method::GET, "/api/v1/uploads", false).await, 200, "{role}");
        assert_eq!(status(Method::POST, "/api/v1/uploads", true).await != 403, may_upload, "{role}");
        let retry = format!("/api/v1/runs/{}/retry", uuid::Uuid::new_v4());
        assert_eq!(status(Method::POST, &retry, false).await != 403, may_retry, "{role}");
        assert_eq!(status(Method::GET, "/api/v1/users", false).await != 403, may_manage, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_stands_for_one_upload() {
    let app = App::start().await;
    let send = async |seed: u64| {
        let part = reqwest::multipart::Part::bytes(files::transactions(10, seed)).file_name("f.csv");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = app.request(Method::POST, "/api/v1/uploads?force=true").header("Idempotency-Key", "k1");
        app.send(request.multipart(form)).await
    };
    let (first, second, other) = (send(1).await, send(1).await, send(2).await);
    assert_eq!(first.0.as_u16(), 202, "{}", first.1);
    assert_eq!(first.1["id"], second.1["id"]);
    assert_eq!(other.0.as_u16(), 422, "{}", other.1);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 1);
}
