//! Service C's notifications, row by row: made, shown, refused by field.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    config::{CompatConfig, NotificationsConfig},
    notifications::model::Channel,
};
use tests::{App, AppOptions, eventually};

/// An application that lets C's clients in as they are: without credentials; with a user who has a phone.
async fn open(notifications: NotificationsConfig) -> App {
    let compat = CompatConfig { anonymous: true, ..CompatConfig::default() };
    let app = App::start_with(AppOptions { compat, notifications, ..AppOptions::default() }).await;
    let statement = "INSERT INTO clients (client_id, name, email, phone_number, currency)
                     VALUES ('12345', 'Ann', 'ann@example.org', '+98 912 345 6789', 'USD')";
    app.db.client.execute(statement, &[]).await.unwrap();
    app
}

async fn post(app: &App, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.anonymous(Method::POST, path).json(&body)).await
}

fn summary() -> Value {
    json!({ "user_id": "12345", "title": "Daily Transaction Summary",
            "body": "Your total settled amount for today is 490000 Rials.", "channels": ["sms", "email"] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_has_a_log_a_medium_and_is_sent_when_all_succeeded() {
    let app = open(NotificationsConfig::usual(true)).await;
    let (status, made) = post(&app, "/api/notifications/", summary()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&made), ["body", "created_at", "id", "logs", "status", "title", "user_id"], "{made}");
    let log = &made["logs"][0];
    assert_eq!(keys(log), ["attempts", "channel", "error_message", "id", "last_attempt_at", "status"]);
    assert_eq!(
        (&made["status"], &made["user_id"], &log["status"]),
        (&json!("pending"), &json!("12345"), &json!("pending"))
    );
    let path = &format!("/api/notifications/{}", made["id"].as_str().unwrap());
    let app = &app;
    let sent = eventually("both logs", || async move {
        let (status, shown) = app.send(app.anonymous(Method::GET, &format!("{path}/"))).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        (shown["status"] == "sent").then_some(shown)
    })
    .await;
    for log in sent["logs"].as_array().unwrap() {
        assert_eq!(
            (&log["status"], &log["attempts"], &log["error_message"]),
            (&json!("success"), &json!(1), &Value::Null),
            "{sent}"
        );
    }
    assert_eq!(app.send(app.anonymous(Method::GET, path)).await, (StatusCode::OK, sent));
    let form = [("user_id", "12345"), ("title", "t"), ("body", "b"), ("channels", "sms, email")];
    let (status, made) = app.send(app.anonymous(Method::POST, "/api/notifications").form(&form)).await;
    assert_eq!((status, made["logs"].as_array().unwrap().len()), (StatusCode::CREATED, 2), "{made}");
    for missing in ["/api/notifications/x/", "/api/notifications/01a1f828-3a35-74a3-8cf5-57ada783babe/"] {
        let (status, body) = app.send(app.anonymous(Method::GET, missing)).await;
        assert_eq!(
            (status, body),
            (StatusCode::NOT_FOUND, json!({ "detail": "No Notification matches the given query." }))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_by_field() {
    let mut notifications = NotificationsConfig::usual(true);
    notifications.providers.remove(&Channel::Sms);
    let app = open(notifications).await;
    let with = |name: &str, value: Value| {
        let mut body = summary();
        body["channels"] = json!(["email"]);
        body[name] = value;
        body
    };
    let required = json!(["This field is required."]);
    for (body, refusal) in [
        (
            json!({}),
            json!({ "user_id": required, "title": required, "body": required, "channels": required }),
        ),
        (
            json!({ "user_id": "nobody", "title": "t", "body": "b", "channels": ["pigeon"] }),
            json!({ "channels": ["\"pigeon\" is not a valid choice."],
                    "user_id": ["Invalid pk \"nobody\" - object does not exist."] }),
        ),
        (with("channels", json!([])), json!({ "channels": ["This list may not be empty."] })),
        (with("channels", json!(["webhook"])), json!({ "channels": ["\"webhook\" is not a valid choice."] })),
        (
            with("channels", json!(7)),
            json!({ "channels": ["Expected a list of items but got type \"scalar\"."] }),
        ),
        (with("title", json!(" ")), json!({ "title": ["This field may not be blank."] })),
    ] {
        let (status, answer) = post(&app, "/api/notifications/", body.clone()).await;
        assert_eq!((status, answer), (StatusCode::BAD_REQUEST, refusal), "{body}");
    }
    for (channel, part) in [("telegram", "telegram_chat_id"), ("sms", "not configured")] {
        let (status, answer) = post(&app, "/api/notifications/", with("channels", json!([channel]))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["channels"][0].as_str().unwrap().contains(part), "{answer}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM notifications", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_partly_sent_or_not_wanted_has_failed() {
    let app = open(NotificationsConfig::usual(true)).await;
    let unwanted =
        "INSERT INTO notification_optouts (client_id, channel, created_by) VALUES ('12345', 'sms', 'test')";
    app.db.client.execute(unwanted, &[]).await.unwrap();
    let (_, made) = post(&app, "/api/notifications/", summary()).await;
    let (app, path) = (&app, &format!("/api/notifications/{}/", made["id"].as_str().unwrap()));
    let ended = eventually("the e-mail", || async move {
        let (_, shown) = app.send(app.anonymous(Method::GET, path)).await;
        (shown["status"] != "pending").then_some(shown)
    })
    .await;
    let states = |name: &str| {
        let logs = ended["logs"].as_array().unwrap();
        logs.iter().find(|log| log["channel"] == name).map(|log| log["status"].clone()).unwrap()
    };
    assert_eq!(
        (&ended["status"], states("email"), states("sms")),
        (&json!("failed"), json!("success"), json!("failed")),
        "{ended}"
    );
}
