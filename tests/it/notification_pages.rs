//! The pages about sending: what they show, what their forms do, what they never show.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::{auth::Role, config::NotificationsConfig, notifications::model::Channel};
use tests::{
    App, AppOptions,
    browser::{Browser, between, location},
    eventually,
};

const HOSTILE: &str = "Hello <b> & all";

async fn with_ann(options: AppOptions) -> App {
    let app = App::start_with(options).await;
    let ann = json!({ "username": "ann", "client_id": "c1", "name": "Ann", "email": "ann@example.org", "balance": "0" });
    let (status, ann) = app.send(app.request(Method::POST, "/api/v1/clients").json(&ann)).await;
    assert_eq!(status, StatusCode::CREATED, "{ann}");
    app
}

async fn still() -> App {
    with_ann(AppOptions { worker: false, ..AppOptions::default() }).await
}

async fn notify(app: &App, title: &str) -> (String, String) {
    let body = json!({ "client_id": "c1", "title": title, "body": "<i>text</i>" });
    let (status, made) = app.send(app.request(Method::POST, "/api/v1/notifications").json(&body)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
    (id(&made), id(&made["deliveries"][0]))
}

async fn send(browser: &Browser, path: &str, typed: &[(&str, &str)]) -> Response {
    let fields: Vec<(&str, &str)> =
        typed.iter().copied().chain([("csrf_token", browser.csrf.as_str())]).collect();
    browser.post(path, &fields).await
}

async fn execute(app: &App, statement: &str) {
    app.db.client.execute(statement, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_shows_what_there_is_and_escapes_it() {
    let app = with_ann(AppOptions::default()).await;
    let (id, _) = notify(&app, HOSTILE).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let path = format!("/ui/notifications/{id}");
    eventually("the delivery", || async { browser.page(&path).await.contains("1 delivered").then_some(()) })
        .await;
    let title = "Hello &#60;b&#62; &#38; all";
    for (path, texts) in [
        (
            "/ui/notifications".to_owned(),
            vec![title, "E-mail to ann@example.org", "The sandbox stands in for", "1 notification<"],
        ),
        (
            "/ui/notifications?state=failed&channel=sms&client=%3Cb%3E".to_owned(),
            vec!["No notifications match", "the client “&#60;b&#62;”", "the channel SMS"],
        ),
        (
            path.clone(),
            vec![
                title,
                "&#60;i&#62;text",
                "1 attempt",
                "accepted",
                "kept in the sandbox",
                "needs the role operator",
            ],
        ),
        (
            "/ui/providers".to_owned(),
            vec!["sandbox", "100.0 % of 1", "MILLRACE_EMAIL", "closed", "each endpoint has its own"],
        ),
        ("/ui/webhooks".to_owned(), vec!["No webhook endpoint yet"]),
        ("/ui/events".to_owned(), vec!["trade settled", "nobody is told", "no client’s event"]),
        (
            "/ui/sandbox".to_owned(),
            vec!["Nothing of this was sent.", title, "&#60;i&#62;text", "ann@example.org", "MILLRACE_SMS"],
        ),
        ("/ui/sandbox?channel=sms".to_owned(), vec!["No messages match"]),
        (
            "/ui/clients/c1".to_owned(),
            vec!["Messages to the client", "ann@example.org", "href=\"/ui/notifications?client=c1\""],
        ),
    ] {
        let page = browser.page(&path).await;
        for text in texts {
            assert!(page.contains(text), "{path} shows {text}: {page}");
        }
        assert!(!page.contains("<b> &") && !page.contains("<i>text"), "{path} escapes what was given");
        assert!(page.contains("href=\"/ui/notifications\""), "{path}");
    }
    for path in
        ["/ui/notifications/x", "/ui/webhooks/x", "/ui/notifications/01a1f828-3a35-74a3-8cf5-57ada783babe"]
    {
        assert_eq!(browser.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(browser.get("/ui/notifications/replay").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_sent_twice_is_one_notification_and_says_what_is_wrong() {
    let mut notifications = NotificationsConfig::usual(true);
    notifications.providers.remove(&Channel::Sms);
    let app = with_ann(AppOptions { worker: false, notifications, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page("/ui/notifications/new?client=c1").await;
    assert!(page.contains("value=\"c1\"") && page.contains("off: it has no provider"), "{page}");
    let key = between(&page, "name=\"key\" value=\"", "\"").to_owned();
    let typed = [
        ("key", key.as_str()),
        ("client", " c1 "),
        ("channels", "email"),
        ("title", HOSTILE),
        ("body", "a\r\nb"),
    ];
    let made = location(&send(&browser, "/ui/notifications", &typed).await);
    assert!(made.ends_with("?notice=notification-made"), "{made}");
    let again = location(&send(&browser, "/ui/notifications", &typed).await);
    assert_eq!(again, made.replace("made", "known"));
    let body: String = app.db.one("SELECT body FROM notifications", &[]).await;
    assert_eq!(body, "a\nb");
    let bad = [("key", key.as_str()), ("client", "<b>"), ("title", "t"), ("body", "b")];
    let told = send(&browser, "/ui/notifications", &bad).await;
    assert_eq!(told.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let told = told.text().await.unwrap();
    assert!(
        told.contains("value=\"&#60;b&#62;\"") && told.contains("Idempotency-Key")
            || told.contains("There is no client"),
        "{told}"
    );
    let nowhere = [
        ("key", "6ff0b4a0-51c7-4d1f-9a51-6b8d0a4dd0a1"),
        ("address_channel", "email"),
        ("address", "nowhere"),
        ("title", "t"),
        ("body", "b"),
    ];
    let told = send(&browser, "/ui/notifications", &nowhere).await.text().await.unwrap();
    assert!(told.contains("is no e-mail address") && told.contains("value=\"nowhere\""), "{told}");
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert_eq!(send(&viewer, "/ui/notifications", &typed).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_decided_with_its_consequence_in_words() {
    let app = still().await;
    let (id, delivery) = notify(&app, "One").await;
    let (other, second) = notify(&app, "Two").await;
    for delivery in [&delivery, &second] {
        execute(&app, &format!("UPDATE deliveries SET state = 'unknown', ended_at = now(), attempts = 1, provider = 'smtp', error_message = 'the answer was lost' WHERE id = '{delivery}'")).await;
        execute(&app, &format!("INSERT INTO delivery_attempts (delivery_id, number, run_attempt, provider, outcome, response, status_code, duration_ms) VALUES ('{delivery}', 1, 1, 'smtp', 'unknown', '<b>odd</b>', 451, 20)")).await;
    }
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page(&format!("/ui/notifications/{id}")).await;
    for text in [
        "Nobody knows whether it was accepted",
        "It was delivered",
        "Send again …",
        "a second copy",
        "&#60;b&#62;odd",
        "451",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(between(&page, "to decide about, or open circuits\">", "<").starts_with('2'), "{page}");
    let asked = send(&browser, &format!("/ui/deliveries/{delivery}/replay"), &[]).await;
    assert!(asked.text().await.unwrap().contains("gets it a second time"));
    let sent = send(&browser, &format!("/ui/deliveries/{delivery}/replay"), &[("confirmed", "yes")]).await;
    assert_eq!(location(&sent), format!("/ui/notifications/{id}?notice=replayed"));
    let marked = send(&browser, &format!("/ui/deliveries/{second}/delivered"), &[]).await;
    assert_eq!(location(&marked), format!("/ui/notifications/{other}?notice=marked-delivered"));
    assert_eq!(
        send(&browser, &format!("/ui/deliveries/{second}/delivered"), &[]).await.status(),
        StatusCode::CONFLICT
    );

    let cancel = format!("/ui/notifications/{id}/cancel");
    let asked = send(&browser, &cancel, &[]).await.text().await.unwrap();
    assert!(asked.contains("Cancel 1 delivery"), "{asked}");
    send(&browser, &cancel, &[("confirmed", "yes")]).await;
    assert!(browser.page(&format!("/ui/notifications/{id}")).await.contains("cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_decided_is_on_one_page() {
    let app = still().await;
    let page = "/ui/notifications/undecided";
    let browser = Browser::log_in(&app, Role::Operator).await;
    assert!(browser.page(page).await.contains("Nothing to decide"));
    let mut ids = Vec::new();
    for title in [HOSTILE, "Two", "Three"] {
        let (_, delivery) = notify(&app, title).await;
        execute(&app, &format!("UPDATE deliveries SET state = 'unknown', ended_at = now(), attempts = 1, provider = 'smtp', error_message = 'the answer was lost' WHERE id = '{delivery}'")).await;
        ids.push(delivery);
    }
    assert!(browser.page("/ui/notifications").await.contains(page), "the list leads there");
    let shown = browser.page(page).await;
    assert!(shown.contains("the answer was lost") && !shown.contains(HOSTILE), "{shown}");
    let sent = send(&browser, page, &[("deed", "delivered")]).await;
    assert_eq!(location(&sent), format!("{page}?notice=nothing-selected"));
    let sent = send(&browser, page, &[("deed", "delivered"), ("id", &ids[0]), ("id", &ids[1])]).await;
    assert_eq!(location(&sent), format!("{page}?notice=marked-delivered"));
    let again = [("deed", "again"), ("id", ids[2].as_str())];
    let asked = send(&browser, page, &again).await.text().await.unwrap();
    assert!(asked.contains("gets it a second time") && asked.contains(&ids[2]), "{asked}");
    let sent = send(&browser, page, &[&again[..], &[("confirmed", "yes")]].concat()).await;
    assert_eq!(location(&sent), format!("{page}?notice=replayed-all"));
    let states: String =
        app.db.one("SELECT string_agg(state, ' ' ORDER BY state) FROM deliveries", &[]).await;
    assert_eq!(states, "delivered delivered pending");
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert_eq!(send(&viewer, page, &again).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_replayed_after_its_count_was_shown() {
    let app = still().await;
    for title in ["One", "Two"] {
        let (_, delivery) = notify(&app, title).await;
        execute(
            &app,
            &format!("UPDATE deliveries SET state = 'failed', ended_at = now() WHERE id = '{delivery}'"),
        )
        .await;
    }
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page("/ui/notifications/replay?since=2020-01-01T00:00").await;
    assert!(page.contains("2 deliveries failed since") && page.contains("Replay 2 deliveries"), "{page}");
    let page = browser.page("/ui/notifications/replay?since=2020-01-01T00:00&channel=sms").await;
    assert!(page.contains("Nothing failed over SMS"), "{page}");
    assert_eq!(
        browser.get("/ui/notifications/replay?since=lately").await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let done = send(&browser, "/ui/notifications/replay", &[("since", "2020-01-01T00:00")]).await;
    assert_eq!(location(&done), "/ui/notifications?notice=replayed-all");
    let pending: i64 = app.db.one("SELECT count(*) FROM deliveries WHERE state = 'pending'", &[]).await;
    assert_eq!(pending, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_registered_tried_and_its_secret_shown_on_demand() {
    let app = still().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let refused = send(&browser, "/ui/webhooks", &[("url", "ftp://x")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("value=\"ftp://x\""));
    let typed = [
        ("url", "https://example.org/hook"),
        ("description", HOSTILE),
        ("events", "upload_finished"),
        ("events", "trade_settled"),
    ];
    let made = location(&send(&browser, "/ui/webhooks", &typed).await);
    let (path, notice) = made.split_once('?').unwrap();
    assert_eq!(notice, "notice=endpoint-made");
    let page = browser.page(path).await;
    assert!(page.contains("trade settled, upload finished") && !page.contains("whsec_"), "{page}");
    let shown = send(&browser, &format!("{path}/secret"), &[]).await.text().await.unwrap();
    let secret = between(&shown, "id=\"secret\">", "<").to_owned();
    assert!(secret.starts_with("whsec_"), "{shown}");
    let rotated =
        send(&browser, &format!("{path}/rotate"), &[("overlap_hours", "3")]).await.text().await.unwrap();
    assert!(rotated.contains(&secret) && between(&rotated, "id=\"secret\">", "<") != secret, "{rotated}");
    let refused = send(&browser, &format!("{path}/rotate"), &[("overlap_hours", "long")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let test = location(&send(&browser, &format!("{path}/test"), &[]).await);
    assert!(test.contains("/ui/notifications/") && test.ends_with("endpoint-test"), "{test}");
    assert!(browser.page(path).await.contains("Test event"));
    send(&browser, &format!("{path}/disable"), &[]).await;
    let page = browser.page(path).await;
    assert!(page.contains("disabled by browser-operator") && page.contains("it is disabled"), "{page}");
    send(&browser, &format!("{path}/enable"), &[]).await;
    let edited = [("url", "https://example.org/other"), ("description", "d")];
    assert!(location(&send(&browser, &format!("{path}/edit"), &edited).await).ends_with("endpoint-saved"));
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert_eq!(send(&viewer, &format!("{path}/secret"), &[]).await.status(), StatusCode::FORBIDDEN);
    let id = path.rsplit('/').next().unwrap();
    let held =
        send(&browser, &format!("/ui/circuits/webhook/{id}"), &[("forced", "open"), ("from", "endpoint")])
            .await;
    assert_eq!(location(&held), format!("{path}?notice=circuit-open"));
    for page in ["/ui/providers", "/ui/webhooks", path] {
        assert!(browser.page(page).await.contains("held open"), "{page}");
    }
    let asked = send(&browser, &format!("{path}/delete"), &[]).await.text().await.unwrap();
    assert!(asked.contains("1 message that waits"), "{asked}");
    assert_eq!(
        location(&send(&browser, &format!("{path}/delete"), &[("confirmed", "yes")]).await),
        "/ui/webhooks?notice=endpoint-deleted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_events_and_opt_outs_are_changed_by_forms() {
    let app = still().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let held = send(&browser, "/ui/circuits/email/sandbox", &[("forced", "open")]).await;
    assert_eq!(location(&held), "/ui/providers?notice=circuit-open");
    let page = browser.page("/ui/providers").await;
    assert!(
        page.contains("held open")
            && page.contains("by browser-operator")
            && page.contains("1 circuit is open"),
        "{page}"
    );
    send(&browser, "/ui/circuits/email/sandbox", &[("forced", "automatic")]).await;
    assert!(browser.page("/ui/providers").await.contains("Every circuit is closed"));
    execute(&app, "UPDATE circuits SET state = 'open', failures = 5, probe_at = now() + interval '1 minute', last_error = 'refused <b>'").await;
    let page = browser.page("/ui/providers").await;
    assert!(
        page.contains("after 5 failures in a row")
            && page.contains("tried again")
            && page.contains("refused &#60;b&#62;"),
        "{page}"
    );

    let saved =
        send(&browser, "/ui/events/trade_settled/channels", &[("channels", "email"), ("channels", "sms")])
            .await;
    assert_eq!(location(&saved), "/ui/events?notice=event-saved");
    let added = send(
        &browser,
        "/ui/events/run_discarded/subscriptions",
        &[("channel", "email"), ("address", "ops@example.org")],
    )
    .await;
    assert_eq!(location(&added), "/ui/events?notice=subscribed");
    let refused =
        send(&browser, "/ui/events/run_discarded/subscriptions", &[("channel", "email"), ("address", "<b>")])
            .await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("value=\"&#60;b&#62;\""));
    let page = browser.page("/ui/events").await;
    assert!(page.contains("ops@example.org") && page.contains("value=\"sms\" checked"), "{page}");
    let subscription: i64 = app.db.one("SELECT id FROM event_subscriptions", &[]).await;
    let removed =
        send(&browser, &format!("/ui/events/run_discarded/subscriptions/{subscription}/delete"), &[]).await;
    assert_eq!(location(&removed), "/ui/events?notice=unsubscribed");

    let off = send(&browser, "/ui/clients/c1/channels/email", &[("wanted", "no")]).await;
    assert_eq!(location(&off), "/ui/clients/c1?notice=channel-unwanted");
    assert!(browser.page("/ui/clients/c1").await.contains("Send there again"));
    let audited: i64 =
        app.db.one("SELECT count(*) FROM audit_log WHERE actor = 'browser-operator'", &[]).await;
    assert!(audited >= 6, "{audited}");
}
