//! Exchange rates: listed with those that are derived, added once, never changed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use tests::{
    App, AppOptions,
    browser::{Browser, location},
};

async fn still() -> App {
    App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await
}

async fn add(app: &App, body: Value) -> (StatusCode, Value) {
    app.send(app.request(Method::POST, "/api/v1/fx-rates").json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_are_listed_with_those_that_are_derived() {
    let app = still().await;
    let all = app.get("/api/v1/fx-rates").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 6, "{all}");
    let derived = app.get("/api/v1/fx-rates?base=EUR&quote=gbp").await;
    let derived = &derived["items"][0];
    assert_eq!(
        (&derived["rate"], &derived["derived"], &derived["via"]),
        (&"0.88".into(), &true.into(), &"USD".into())
    );
    assert_eq!(derived["created_by"], Value::Null);
    let own = app.get("/api/v1/fx-rates?base=EUR&quote=USD").await;
    assert_eq!((&own["items"][0]["rate"], &own["items"][0]["derived"]), (&"1.1".into(), &false.into()));

    let new =
        json!({ "base": "EUR", "quote": "GBP", "rate": "0.8512", "valid_from": "2026-02-01T00:00:00Z" });
    let (status, added) = add(&app, new.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    let pair = |at: &str| format!("/api/v1/fx-rates?base=EUR&quote=GBP&at={at}");
    assert_eq!(app.get(&pair("2026-01-31T23:59:59Z")).await["items"][0]["rate"], "0.88");
    assert_eq!(app.get(&pair("2026-02-01T00:00:00Z")).await["items"][0]["rate"], "0.8512");
    let (status, refused) = add(&app, new).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["detail"].as_str().unwrap().contains("never changed"), "{refused}");
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'fx_rate.add' AND subject = 'EUR/GBP'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_rate_is_refused_at_its_field() {
    let app = still().await;
    for (base, quote, rate, field) in [
        ("EURO", "USD", "1", "base"),
        ("EUR", "EUR", "1", "quote"),
        ("EUR", "CHF", "0", "rate"),
        ("EUR", "CHF", "0.12345678901", "rate"),
        ("EUR", "CHF", "much", "rate"),
    ] {
        let (status, answer) = add(&app, json!({ "base": base, "quote": quote, "rate": rate })).await;
        assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &field.into()), "{answer}");
    }
    for path in ["/api/v1/fx-rates?base=EURO", "/api/v1/fx-rates?at=soon", "/api/v1/fx-rates?colour=red"] {
        assert_eq!(app.send(app.request(Method::GET, path)).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    let viewer = app.token(Role::Viewer).await;
    let request = app.anonymous(Method::POST, "/api/v1/fx-rates").bearer_auth(viewer);
    let body = json!({ "base": "EUR", "quote": "CHF", "rate": "0.94" });
    assert_eq!(app.send(request.json(&body)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_is_derived_and_adds_a_rate() {
    let app = still().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    assert!(browser.page("/ui/admin").await.contains("href=\"/ui/fx-rates\""));
    assert!(browser.page("/ui/fx-rates").await.contains("derived via USD"));
    let typed = |rate: &'static str, csrf: &str| {
        [
            ("csrf_token", csrf.to_owned()),
            ("base", "chf".to_owned()),
            ("quote", "USD".to_owned()),
            ("rate", rate.to_owned()),
        ]
    };
    let send = async |rate: &'static str, csrf: &str| {
        let fields = typed(rate, csrf);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/ui/fx-rates", &fields).await
    };
    assert_eq!(send("1.13", "guessed").await.status(), StatusCode::FORBIDDEN);
    let refused = send("much", &browser.csrf).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(page.contains("A rate is a number") && page.contains("value=\"much\""), "{page}");
    assert_eq!(location(&send("1.1300", &browser.csrf).await), "/ui/fx-rates?notice=rate-added");
    let page = browser.page("/ui/fx-rates").await;
    assert!(page.contains("<b>CHF</b> into <b>USD</b>") && page.contains("1.13"), "{page}");
    assert!(page.contains("<b>CHF</b> into <b>GBP</b>"), "derived at once: {page}");

    let etl = location(&browser.post("/ui/admin/etl", &[("csrf_token", &browser.csrf)]).await);
    assert!(etl.starts_with("/ui/runs/") && etl.ends_with("?notice=etl"), "{etl}");
    let again = location(&browser.post("/ui/admin/etl", &[("csrf_token", &browser.csrf)]).await);
    assert_eq!(again, etl.replace("notice=etl", "notice=stands"), "one at a time");
    let run = location(&browser.post("/ui/admin/refresh", &[("csrf_token", &browser.csrf)]).await);
    assert!(run.starts_with("/ui/runs/"), "{run}");
    let (status, again) = app.post("/api/v1/summaries/refresh").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(run.contains(again["id"].as_str().unwrap()), "the one that waits serves both: {again}");
}
