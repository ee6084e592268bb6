//! Notifications over the API: asked for, shown, cancelled, sent again; endpoints, circuits, events, opt-outs.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{auth::Role, config::NotificationsConfig, notifications::model::Channel};
use tests::{App, AppOptions, eventually};

/// Without a worker nothing is sent.
async fn still() -> App {
    App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await
}

/// A client with an e-mail address.
async fn with_ann(app: &App) {
    let ann = json!({ "username": "ann", "client_id": "c1", "name": "Ann", "email": "ann@example.org", "balance": "0" });
    let (status, ann) = app.send(app.request(Method::POST, "/api/v1/clients").json(&ann)).await;
    assert_eq!(status, StatusCode::CREATED, "{ann}");
}

async fn send(app: &App, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.request(method, path).json(&body)).await
}

/// Asks for a notification; it.
async fn notify(app: &App, body: Value) -> Value {
    let (status, answer) = send(app, Method::POST, "/api/v1/notifications", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

fn to_ann() -> Value {
    json!({ "client_id": "c1", "title": "Hello", "body": "It works." })
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

/// Puts a delivery where a provider would have.
async fn set_state(app: &App, delivery: &str, state: &str) {
    let statement =
        format!("UPDATE deliveries SET state = '{state}', ended_at = now() WHERE id = '{delivery}'");
    assert_eq!(app.db.client.execute(&statement, &[]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_made_once_and_shown_with_its_attempts() {
    let app = App::start().await;
    with_ann(&app).await;
    let asked =
        || app.request(Method::POST, "/api/v1/notifications").header("Idempotency-Key", "k").json(&to_ann());
    let first = asked().send().await.unwrap();
    assert_eq!((first.status(), first.headers().get("idempotency-replayed")), (StatusCode::CREATED, None));
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let made: Value = first.json().await.unwrap();
    assert_eq!(location, format!("/api/v1/notifications/{}", id(&made)));
    let delivery = &made["deliveries"][0];
    assert_eq!(
        (&delivery["channel"], &delivery["address"]),
        (&json!("email"), &json!("ann@example.org")),
        "{made}"
    );
    let again = asked().send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap()["id"], made["id"]);
    let other = app.request(Method::POST, "/api/v1/notifications").header("Idempotency-Key", "k");
    let (status, problem) =
        app.send(other.json(&json!({ "client_id": "c1", "title": "x", "body": "y" }))).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("Idempotency-Key")));

    let path = &location;
    let sent = eventually("the delivery", || async {
        let shown = app_get(&app, path).await;
        (shown["state"] == "sent").then_some(shown)
    })
    .await;
    let delivery = &sent["deliveries"][0];
    assert_eq!(
        (&delivery["state"], &delivery["attempts"], &delivery["error_message"]),
        (&json!("delivered"), &json!(1), &Value::Null),
        "{sent}"
    );
    let attempt = &delivery["attempt_log"][0];
    assert_eq!(
        (&attempt["outcome"], &attempt["provider"], &attempt["number"]),
        (&json!("accepted"), &json!("sandbox"), &json!(1)),
        "{sent}"
    );
    let one = app.get(&format!("/api/v1/deliveries/{}", id(delivery))).await;
    assert_eq!(one["attempt_log"].as_array().unwrap().len(), 1, "{one}");

    notify(
        &app,
        json!({ "to": [{ "channel": "sms", "address": "+49 30 1234567" }], "title": "b", "body": "b" }),
    )
    .await;
    for (query, count) in [
        ("", 2),
        ("?client_id=c1", 1),
        ("?channel=sms", 1),
        ("?channel=sms,email", 2),
        ("?state=failed", 0),
        ("?event=trade_settled", 0),
        ("?from=2020-01-01&to=2020-01-02", 0),
        ("?limit=1", 1),
    ] {
        let list = app.get(&format!("/api/v1/notifications{query}")).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}: {list}");
    }
    let by_channel = app.get("/api/v1/deliveries?channel=email&client_id=c1&provider=sandbox").await;
    assert_eq!(by_channel["items"].as_array().unwrap().len(), 1, "{by_channel}");
    let page = app.get("/api/v1/notifications?limit=1").await;
    let older =
        app.get(&format!("/api/v1/notifications?limit=1&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!(older["items"][0]["id"], sent["id"]);
    let (status, problem) = app.send(app.request(Method::GET, "/api/v1/notifications?event=nothing")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("event")));
}

async fn app_get(app: &App, path: &str) -> Value {
    app.get(path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_names_its_field() {
    let mut notifications = NotificationsConfig::usual(true);
    notifications.providers.remove(&Channel::Telegram);
    let app = App::start_with(AppOptions { worker: false, notifications, ..AppOptions::default() }).await;
    with_ann(&app).await;
    let said = |extra: Value| {
        let mut body = json!({ "client_id": "c1" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let plain = |extra: Value| {
        let mut body = json!({ "title": "Hello", "body": "It works." });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (body, field, part) in [
        (said(json!({})), "title", "either"),
        (said(json!({ "title": "x" })), "body", "either"),
        (said(json!({ "title": "x", "body": "y", "template": "trade_settled" })), "template", "either"),
        (said(json!({ "template": "trade_settled" })), "values", "either"),
        (said(json!({ "title": " ", "body": "y" })), "title", "1 to 200"),
        (said(json!({ "title": "a\nb", "body": "y" })), "title", "one line"),
        (said(json!({ "title": "a\u{202e}b", "body": "y" })), "title", "direction of writing"),
        (said(json!({ "title": "a", "body": "y\0" })), "body", "NUL"),
        (plain(json!({ "client_id": "c\0" })), "client_id", "NUL"),
        (
            plain(
                json!({ "to": [{ "channel": "sms", "address": "+49301234567" }], "body": "é".repeat(900) }),
            ),
            "body",
            "sms carries at most 900",
        ),
        (plain(json!({})), "client_id", "who it is for"),
        (plain(json!({ "client_id": "nobody" })), "client_id", "nobody"),
        (plain(json!({ "client_id": "c1", "channels": ["sms"] })), "channels", "phone_number"),
        (plain(json!({ "client_id": "c1", "channels": ["telegram"] })), "channels", "MILLRACE_TELEGRAM"),
        (plain(json!({ "client_id": "c1", "channels": ["pigeon"] })), "channels[0]", "pigeon"),
        (plain(json!({ "to": [{ "channel": "email", "address": "nowhere" }] })), "to[0].address", "e-mail"),
        (
            plain(json!({ "to": [{ "channel": "webhook", "address": "https://example.org/" }] })),
            "to[0].address",
            "Register",
        ),
        (plain(json!({ "client_id": "c1", "send_at": "soon" })), "send_at", "instant"),
        (plain(json!({ "client_id": "c1", "send_at": "" })), "send_at", "leave it out"),
        (plain(json!({ "client_id": "c1", "channels": [] })), "channels", "leave"),
        (plain(json!({ "client_id": "c1", "send_at": "2126-01-01" })), "send_at", "366 days"),
        (plain(json!({ "client_id": "c1", "colour": "red" })), "colour", "unknown field"),
    ] {
        let (status, problem) = send(&app, Method::POST, "/api/v1/notifications", body.clone()).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{body}: {problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM notifications", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_sent_again_marked_and_cancelled() {
    let app = still().await;
    with_ann(&app).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(notify(&app, to_ann()).await);
    }
    let ids: Vec<&str> = made.iter().map(|one| id(&one["deliveries"][0])).collect();
    let replay = |of: &str| format!("/api/v1/deliveries/{of}/replay");
    let (status, problem) = app.post(&replay(ids[0])).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::CONFLICT, &json!("urn:millrace:problem:not-replayable")),
        "{problem}"
    );
    let marking = format!("/api/v1/deliveries/{}/mark-delivered", ids[0]);
    assert_eq!(app.post(&marking).await.0, StatusCode::CONFLICT);
    set_state(&app, ids[0], "unknown").await;
    let (status, marked) = app.post(&marking).await;
    assert_eq!((status, &marked["state"]), (StatusCode::OK, &json!("delivered")), "{marked}");
    assert_eq!(app.get(&format!("/api/v1/notifications/{}", id(&made[0]))).await["state"], "sent");

    for delivery in &ids[1..3] {
        set_state(&app, delivery, "failed").await;
    }
    set_state(&app, ids[3], "unknown").await;
    let (status, again) = app.post(&replay(ids[1])).await;
    assert_eq!((status, &again["state"]), (StatusCode::OK, &json!("pending")), "{again}");
    assert_ne!(again["run_id"], made[1]["deliveries"][0]["run_id"], "a new run sends it");
    assert!(again["next_attempt_at"].is_string(), "{again}");
    // What is sent again before its time waits for it.
    let mut later = to_ann();
    later["send_at"] = json!(app.env.clock.now() + chrono::TimeDelta::days(30));
    let later = notify(&app, later).await;
    assert_eq!(app.post(&format!("/api/v1/notifications/{}/cancel", id(&later))).await.1["cancelled"], 1);
    let (status, again) = app.post(&replay(id(&later["deliveries"][0]))).await;
    let at: chrono::DateTime<chrono::Utc> = again["next_attempt_at"].as_str().unwrap().parse().unwrap();
    assert!(status == StatusCode::OK && at - app.env.clock.now() > chrono::TimeDelta::days(29), "{again}");

    let bulk = async |body: Value| send(&app, Method::POST, "/api/v1/deliveries:replay", body).await;
    // What is unknown is not among those that failed.
    assert_eq!(
        bulk(json!({ "failed_since": "2020-01-01", "channel": "sms" })).await.1,
        json!({ "replayed": 0 })
    );
    assert_eq!(
        bulk(json!({ "failed_since": "2020-01-01" })).await,
        (StatusCode::OK, json!({ "replayed": 1 }))
    );
    assert_eq!(bulk(json!({ "ids": ids })).await, (StatusCode::OK, json!({ "replayed": 1 })));
    for (body, field) in [
        (json!({}), "ids"),
        (json!({ "ids": [], }), "ids"),
        (json!({ "ids": ids, "failed_since": "2020-01-01" }), "ids"),
        (json!({ "ids": ids, "channel": "sms" }), "channel"),
        (json!({ "failed_since": "lately" }), "failed_since"),
    ] {
        let (status, problem) = bulk(body.clone()).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{body}: {problem}"
        );
    }

    let cancel = format!("/api/v1/notifications/{}/cancel", id(&made[1]));
    let (status, cancelled) = app.post(&cancel).await;
    assert_eq!((status, &cancelled["cancelled"]), (StatusCode::OK, &json!(1)), "{cancelled}");
    assert_eq!(cancelled["deliveries"][0]["state"], "cancelled", "{cancelled}");
    assert_eq!(app.post(&cancel).await.1["cancelled"], 0);
    let actions: i64 = app
        .db
        .one(
            "SELECT count(*) FROM audit_log WHERE action LIKE 'delivery.%' OR action LIKE 'notification.%'",
            &[],
        )
        .await;
    assert_eq!(actions, 9);
    for path in ["/api/v1/notifications", "/api/v1/deliveries"] {
        let missing = format!("{path}/{}", uuid::Uuid::new_v4());
        assert_eq!(app.send(app.request(Method::GET, &missing)).await.0, StatusCode::NOT_FOUND);
    }
    let operator_only = app.token(Role::Integration).await;
    let request = app.anonymous(Method::POST, &cancel).bearer_auth(operator_only);
    assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_decided_about_at_once() {
    let app = still().await;
    with_ann(&app).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(id(&notify(&app, to_ann()).await["deliveries"][0]).to_owned());
    }
    for delivery in &ids[..2] {
        set_state(&app, delivery, "unknown").await;
    }
    let mark = async |ids: &[String]| {
        send(&app, Method::POST, "/api/v1/deliveries:mark-delivered", json!({ "ids": ids })).await
    };
    assert_eq!(mark(&ids).await, (StatusCode::OK, json!({ "marked": 2 })));
    assert_eq!(mark(&ids).await, (StatusCode::OK, json!({ "marked": 0 })));
    assert_eq!(mark(&[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let states: String =
        app.db.one("SELECT string_agg(state, ' ' ORDER BY state) FROM deliveries", &[]).await;
    assert_eq!(states, "delivered delivered pending");
    let noted = "SELECT count(*) FROM audit_log WHERE action = 'delivery.mark_delivered'";
    assert_eq!(app.db.one::<i64>(noted, &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoints_secret_is_shown_when_it_is_made_and_on_demand() {
    let app = still().await;
    let endpoints = "/api/v1/webhook-endpoints";
    let new =
        json!({ "url": "https://example.org/hook", "description": "ours", "events": ["upload_finished"] });
    let (status, made) = send(&app, Method::POST, endpoints, new.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{made}");
    let path = format!("{endpoints}/{}", id(&made));
    let (status, problem) = send(&app, Method::POST, endpoints, new).await;
    assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &json!("url")), "{problem}");
    let (status, problem) =
        send(&app, Method::POST, endpoints, json!({ "url": "http://127.0.0.1/hook" })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("url")), "{problem}");
    for shown in [app.get(endpoints).await, app.get(&path).await] {
        assert!(!shown.to_string().contains("whsec_"), "{shown}");
    }
    assert_eq!(app.get(&format!("{path}/secret")).await["secret"], json!(secret));
    let viewer = app.token(Role::Viewer).await;
    let peek = app.anonymous(Method::GET, &format!("{path}/secret")).bearer_auth(&viewer);
    assert_eq!(app.send(peek).await.0, StatusCode::FORBIDDEN);

    let (status, rotated) =
        send(&app, Method::POST, &format!("{path}/rotate-secret"), json!({ "overlap_hours": 2 })).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    assert!(rotated["secret"] != json!(secret) && rotated["previous_until"].is_string(), "{rotated}");
    let held = app.get(&format!("{path}/secret")).await;
    assert_eq!((&held["secret"], &held["previous_secret"]), (&rotated["secret"], &json!(secret)), "{held}");
    let (status, problem) =
        send(&app, Method::POST, &format!("{path}/rotate-secret"), json!({ "overlap_hours": 721 })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("overlap_hours")));

    // The first secret signs for an hour more, as was promised.
    let (status, problem) = send(&app, Method::POST, &format!("{path}/rotate-secret"), json!({})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &json!("overlap_hours")), "{problem}");
    let (status, rotated) =
        send(&app, Method::POST, &format!("{path}/rotate-secret"), json!({ "overlap_hours": 0 })).await;
    assert!(status == StatusCode::OK && rotated["previous_until"].is_null(), "{rotated}");

    let (status, test) = app.post(&format!("{path}/test")).await;
    assert_eq!((status, &test["title"]), (StatusCode::CREATED, &json!("Test event")), "{test}");
    assert_eq!(test["deliveries"][0]["endpoint_id"], made["id"]);
    let to_it = app.get(&format!("/api/v1/deliveries?endpoint_id={}", id(&made))).await;
    assert_eq!(to_it["items"].as_array().unwrap().len(), 1);

    // What waits goes where the endpoint is now.
    let moved = json!({ "url": "https://example.org/moved" });
    assert_eq!(send(&app, Method::PATCH, &path, moved.clone()).await.0, StatusCode::OK);
    let to_it = app.get(&format!("/api/v1/deliveries?endpoint_id={}", id(&made))).await;
    assert_eq!(to_it["items"][0]["address"], moved["url"], "{to_it}");

    let (status, changed) = send(&app, Method::PATCH, &path, json!({ "enabled": false, "events": [] })).await;
    assert_eq!(
        (status, &changed["enabled"], &changed["events"]),
        (StatusCode::OK, &json!(false), &json!([])),
        "{changed}"
    );
    assert_eq!(changed["description"], "ours", "what is absent stays");
    assert_eq!(app.post(&format!("{path}/test")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // What cannot arrive is not sent again.
    let delivery = id(&test["deliveries"][0]).to_owned();
    set_state(&app, &delivery, "failed").await;
    let replay = format!("/api/v1/deliveries/{delivery}/replay");
    let (status, problem) = app.post(&replay).await;
    assert!(
        status == StatusCode::CONFLICT && problem["detail"].as_str().unwrap().contains("enable"),
        "{problem}"
    );
    let all =
        send(&app, Method::POST, "/api/v1/deliveries:replay", json!({ "failed_since": "2020-01-01" })).await;
    assert_eq!(all.1, json!({ "replayed": 0 }));
    let (status, _) = app.send(app.request(Method::DELETE, &path)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, problem) = app.post(&replay).await;
    assert!(
        status == StatusCode::CONFLICT && problem["detail"].as_str().unwrap().contains("removed"),
        "{problem}"
    );
    assert_eq!(app.send(app.request(Method::GET, &path)).await.0, StatusCode::NOT_FOUND);
    let noted: i64 = app.db.one("SELECT count(*) FROM audit_log WHERE action LIKE 'endpoint.%'", &[]).await;
    assert_eq!(noted, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_endpoint_is_told_of_that_clients_events_alone() {
    let app = still().await;
    with_ann(&app).await;
    let endpoints = "/api/v1/webhook-endpoints";
    let of_ann =
        |events: Value| json!({ "url": "https://example.org/ann", "client_id": "c1", "events": events });
    let (status, problem) = send(&app, Method::POST, endpoints, of_ann(json!(["run_discarded"]))).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("events")),
        "{problem}"
    );
    let (status, made) = send(&app, Method::POST, endpoints, of_ann(json!(["trade_settled"]))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let path = format!("{endpoints}/{}", id(&made));
    let (status, problem) = send(&app, Method::PATCH, &path, json!({ "events": ["upload_finished"] })).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("events")),
        "{problem}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_say_how_they_stand_and_are_forced() {
    let mut notifications = NotificationsConfig::usual(true);
    notifications.providers.remove(&Channel::Telegram);
    notifications.providers.insert(
        Channel::Sms,
        vec![
            "kavenegar+http://SECRETKEY@127.0.0.1:9?sender=10004346&name=main&rate=5".to_owned(),
            "sandbox:".to_owned(),
        ],
    );
    let app = App::start_with(AppOptions { worker: false, notifications, ..AppOptions::default() }).await;
    let listed = app.get("/api/v1/providers").await;
    assert!(!listed.to_string().contains("SECRETKEY"), "{listed}");
    let of = |listed: &Value, channel: &str| {
        let channels = listed["items"].as_array().unwrap();
        channels.iter().find(|one| one["channel"] == channel).cloned().unwrap()
    };
    let (email, sms, telegram) = (of(&listed, "email"), of(&listed, "sms"), of(&listed, "telegram"));
    assert_eq!((&email["on"], &email["sandbox"]), (&json!(true), &json!(true)), "{email}");
    assert_eq!(
        (&telegram["on"], telegram["how"].as_str().unwrap().contains("MILLRACE_TELEGRAM")),
        (&json!(false), true)
    );
    assert_eq!(
        (&sms["sandbox"], &sms["providers"][0]["name"], &sms["providers"][0]["per_second"]),
        (&json!(false), &json!("main"), &json!(5.0)),
        "{sms}"
    );
    assert_eq!(
        (&sms["providers"][0]["circuit"]["state"], &sms["providers"][1]["sandbox"]),
        (&json!("closed"), &json!(true))
    );

    let force = async |path: &str, body: Value| send(&app, Method::PUT, path, body).await;
    let (status, held) = force("/api/v1/circuits/sms/main", json!({ "forced": "open" })).await;
    assert_eq!((status, &held["forced"]), (StatusCode::OK, &json!("open")), "{held}");
    let sms = of(&app.get("/api/v1/providers").await, "sms");
    assert_eq!(sms["providers"][0]["circuit"]["forced"], "open", "{sms}");
    let (_, freed) = force("/api/v1/circuits/sms/main", json!({ "forced": null })).await;
    assert_eq!((&freed["forced"], &freed["state"]), (&Value::Null, &json!("closed")), "{freed}");
    for (path, body, status) in [
        ("/api/v1/circuits/sms/other", json!({ "forced": "open" }), StatusCode::NOT_FOUND),
        ("/api/v1/circuits/pigeon/main", json!({ "forced": "open" }), StatusCode::NOT_FOUND),
        ("/api/v1/circuits/webhook/webhook", json!({ "forced": "open" }), StatusCode::NOT_FOUND),
        ("/api/v1/circuits/sms/main", json!({ "forced": "ajar" }), StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v1/circuits/sms/main", json!({}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(force(path, body).await.0, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_to_whom_an_operator_says() {
    let mut notifications = NotificationsConfig::usual(true);
    notifications.providers.remove(&Channel::Sms);
    let app = App::start_with(AppOptions { worker: false, notifications, ..AppOptions::default() }).await;
    let of = async |event: &str| {
        let listed = app.get("/api/v1/events").await;
        listed["items"].as_array().unwrap().iter().find(|one| one["event"] == event).cloned().unwrap()
    };
    assert_eq!(of("upload_finished").await["of_client"], false);
    let put = async |event: &str, channels: Value| {
        send(&app, Method::PUT, &format!("/api/v1/events/{event}"), json!({ "channels": channels })).await
    };
    let (status, settled) = put("trade_settled", json!(["webhook", "email", "email"])).await;
    assert_eq!((status, &settled["channels"]), (StatusCode::OK, &json!(["email", "webhook"])), "{settled}");
    let (status, problem) = put("run_discarded", json!(["email"])).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("event")), "{problem}");
    let (status, problem) = put("trade_settled", json!(["sms"])).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("channels")),
        "{problem}"
    );
    assert_eq!(put("birthday", json!([])).await.0, StatusCode::NOT_FOUND);

    let subscriptions = "/api/v1/events/run_discarded/subscriptions";
    let ops = json!({ "channel": "email", "address": "ops@example.org" });
    let (status, added) = send(&app, Method::POST, subscriptions, ops.clone()).await;
    assert_eq!((status, &added["address"]), (StatusCode::CREATED, &json!("ops@example.org")), "{added}");
    assert_eq!(send(&app, Method::POST, subscriptions, ops).await, (StatusCode::OK, added.clone()));
    for (body, field) in [
        (json!({ "channel": "webhook", "address": "https://example.org" }), "channel"),
        (json!({ "channel": "sms", "address": "+4930123456" }), "channel"),
        (json!({ "channel": "email", "address": "nowhere" }), "address"),
    ] {
        let (status, problem) = send(&app, Method::POST, subscriptions, body).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{problem}"
        );
    }
    assert_eq!(of("run_discarded").await["subscriptions"], json!([added]));
    let one = format!("{subscriptions}/{}", added["id"]);
    let elsewhere = format!("/api/v1/events/upload_finished/subscriptions/{}", added["id"]);
    assert_eq!(app.send(app.request(Method::DELETE, &elsewhere)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.send(app.request(Method::DELETE, &one)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(app.send(app.request(Method::DELETE, &one)).await.0, StatusCode::NOT_FOUND);
    let noted: i64 = app.db.one("SELECT count(*) FROM audit_log WHERE action LIKE 'event.%'", &[]).await;
    assert_eq!(noted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_want_is_suppressed() {
    let app = still().await;
    with_ann(&app).await;
    let channels = app.get("/api/v1/clients/c1/channels").await;
    let email = json!({ "channel": "email", "wanted": true, "address": "ann@example.org" });
    assert_eq!(
        (&channels["items"][0], &channels["items"][1]["address"]),
        (&email, &Value::Null),
        "{channels}"
    );
    let (status, off) =
        send(&app, Method::PUT, "/api/v1/clients/c1/channels/email", json!({ "wanted": false })).await;
    assert_eq!((status, &off["wanted"]), (StatusCode::OK, &json!(false)), "{off}");
    let made = notify(&app, to_ann()).await;
    assert_eq!(
        (&made["state"], &made["deliveries"][0]["state"]),
        (&json!("suppressed"), &json!("suppressed")),
        "{made}"
    );
    send(&app, Method::PUT, "/api/v1/clients/c1/channels/email", json!({ "wanted": true })).await;
    assert_eq!(notify(&app, to_ann()).await["state"], "pending");
    for path in ["/api/v1/clients/nobody/channels/email", "/api/v1/clients/c1/channels/pigeon"] {
        assert_eq!(
            send(&app, Method::PUT, path, json!({ "wanted": true })).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        app.send(app.request(Method::GET, "/api/v1/clients/nobody/channels")).await.0,
        StatusCode::NOT_FOUND
    );
}
