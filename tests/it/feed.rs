//! The feed: what listeners hear, over WebSockets and as server-sent events.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{auth::Role, feed::EventId};
use tests::{App, AppOptions, Listener, eventually};

fn payment(id: &str, client: &str, amount: &str) -> Value {
    json!({ "transaction_id": id, "client_id": client, "occurred_at": "2026-11-20T10:00:00Z", "amount": amount })
}

async fn send(app: &App, body: &Value) -> Value {
    let (status, answer) = app.send(app.request(Method::POST, "/api/v1/transactions").json(body)).await;
    assert!(status.is_success(), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_what_was_committed_in_order_and_resumes_without_loss_or_double() {
    let app = App::start().await;
    let (mut listener, after) = app.listen("").await;
    send(&app, &payment("t1", "c1", "1")).await;
    let mut pending = payment("t2", "c2", "2.5");
    pending["status"] = "pending".into();
    send(&app, &pending).await;
    pending["status"] = "success".into();
    send(&app, &pending).await;
    send(&app, &pending).await;
    app.account("ann", "100").await;
    app.stock("AAA", "10", 5).await;
    app.trade("ann", "buy", 2, "AAA").await;
    app.trade("ann", "sell", 7, "AAA").await;
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(listener.next().await);
    }
    let said: Vec<(&str, &str)> = heard
        .iter()
        .map(|event| {
            let about = if event["trade"].is_null() { &event["transaction"] } else { &event["trade"] };
            (event["type"].as_str().unwrap(), about["client_id"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("transaction.created", "c1"),
            ("transaction.created", "c2"),
            ("transaction.updated", "c2"),
            ("trade.settled", "ann"),
            ("trade.rejected", "ann"),
        ]
    );
    assert_eq!(heard[1]["transaction"]["status"], "pending");
    assert_eq!(heard[1]["transaction"]["amount"], "2.5000");
    assert_eq!(heard[2]["transaction"]["status"], "success");
    assert_eq!(heard[3]["trade"]["amount"], "20.0000");
    assert_eq!(heard[4]["trade"]["reason"], "insufficient_holdings");
    // From any place on, over both.
    let ids: Vec<&str> = heard.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let places: Vec<&str> = [after.as_str()].into_iter().chain(ids.iter().copied()).collect();
    for (at, place) in places.iter().enumerate() {
        let (mut resumed, hello) = app.listen(&format!("?since={place}")).await;
        assert_eq!(hello, *place);
        for expected in &heard[at..] {
            assert_eq!(&resumed.next().await, expected);
        }
        let mut stream =
            app.request(Method::GET, "/api/v1/transactions/stream").header("last-event-id", *place);
        stream = stream.header("accept", "text/event-stream");
        let mut response = stream.send().await.unwrap();
        let mut text = String::new();
        while text.matches("event: t").count() < heard.len() - at || !text.ends_with("\n\n") {
            text.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
        }
        let heard_ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(heard_ids[1..], ids[at..], "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_and_can_be_changed_on_the_open_socket() {
    let app = App::start().await;
    let (mut listener, _) = app.listen("?client_id=c1&min_amount=10").await;
    let mut merchant = payment("t4", "c9", "1");
    merchant["merchant_id"] = "m1".into();
    for body in
        [payment("t1", "c1", "9.9999"), payment("t2", "c2", "10"), payment("t3", "c1", "10"), merchant]
    {
        send(&app, &body).await;
    }
    assert_eq!(listener.next().await["transaction"]["transaction_id"], "t3");
    listener.say(&json!({ "type": "filter", "merchant_id": "m1", "kind": "refund" })).await;
    let answer = listener.next().await;
    assert_eq!(answer, json!({ "type": "filter", "filter": { "merchant_id": "m1", "kind": "refund" } }));
    let mut refund = payment("t5", "c9", "-4");
    refund["merchant_id"] = "m1".into();
    for body in [payment("t6", "c1", "100"), refund] {
        send(&app, &body).await;
    }
    assert_eq!(listener.next().await["transaction"]["transaction_id"], "t5");
    listener.say(&json!({ "type": "ping" })).await;
    assert_eq!(listener.next().await["type"], "pong");
    for nonsense in [json!({ "type": "filter", "colour": "red" }), json!({ "type": "dance" }), json!([])] {
        listener.say(&nonsense).await;
        assert_eq!(listener.next().await["type"], "error");
    }
    let (status, problem) = app.send(app.request(Method::GET, "/api/v1/transactions/stream?kind=gift")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"kind".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_who_may_not() {
    let app = App::start().await;
    let url = format!("{}/ws/transactions", app.url);
    let refused = |headers: Vec<(&'static str, String)>| {
        let url = url.clone();
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            match Listener::open(&url, &headers).await {
                Err(tokio_tungstenite::tungstenite::Error::Http(response)) => response.status().as_u16(),
                other => panic!("{:?}", other.map(|_| ())),
            }
        }
    };
    let bearer = format!("Bearer {}", app.admin_token());
    assert_eq!(refused(vec![("authorization", "Bearer nonsense".into())]).await, 401);
    let foreign = vec![("authorization", bearer.clone()), ("origin", "https://evil.example".into())];
    assert_eq!(refused(foreign).await, 403);
    // The token as the first message.
    let mut listener = Listener::open(&url, &[]).await.unwrap();
    listener.say(&json!({ "type": "auth", "token": app.token(Role::Viewer).await })).await;
    assert_eq!(listener.next().await["type"], "authenticated");
    assert_eq!(listener.next().await["type"], "hello");
    for first in [json!({ "type": "auth", "token": "nonsense" }), json!({ "type": "ping" })] {
        let mut listener = Listener::open(&url, &[]).await.unwrap();
        listener.say(&first).await;
        assert_eq!(listener.close_code().await, Some(4401));
    }
    // One that is not let in any more.
    let (status, key) = app
        .send(
            app.request(Method::POST, "/api/v1/api-keys").json(&json!({ "name": "ears", "role": "viewer" })),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    let own = format!("http://{}", app.url.trim_start_matches("http://"));
    let headers = [("x-api-key", key["key"].as_str().unwrap()), ("origin", own.as_str())];
    let mut listener = Listener::open(&url, &headers).await.unwrap();
    assert_eq!(listener.next().await["type"], "hello");
    let response = app.request(Method::GET, "/ws/transactions").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_epoch_or_too_old_is_told_so() {
    let mut app = App::start().await;
    let (mut listener, _) = app.listen("").await;
    for n in 0..3 {
        send(&app, &payment(&format!("t{n}"), "c1", "1")).await;
    }
    let first = listener.next().await["id"].as_str().unwrap().to_owned();
    let (mut foreign, after) = app.listen("?since=000000000001-5-0").await;
    assert_ne!(after, "000000000001-5-0");
    let told = foreign.next().await;
    assert_eq!((&told["type"], &told["reason"]), (&"reset".into(), &"epoch".into()));
    let (entry, rest) = (after.split('-').nth(1).unwrap(), after.split('-').next().unwrap());
    let ahead = format!("?since={rest}-{}-0", entry.parse::<i64>().unwrap() + 1000);
    let (mut early, _) = app.listen(&ahead).await;
    assert_eq!(early.next().await["reason"], "unknown");
    let (status, problem) = app.send(app.request(Method::GET, "/api/v1/transactions/stream?since=5")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"since".into()));
    // Two rows of three are pruned, and another process, which does not know them, is asked.
    app.db
        .client
        .execute("UPDATE feed_outbox SET created_at = created_at - interval '2 hours'", &[])
        .await
        .unwrap();
    let mut conn = app.env.pool.get().await.unwrap();
    let pruned = shared::feed::outbox::prune(&mut conn, std::time::Duration::from_secs(3600)).await.unwrap();
    assert_eq!(pruned, 2);
    let other = app.start_api().await;
    let (mut listener, _) = app.listen_at(&other, &format!("?since={first}")).await;
    assert_eq!(listener.next().await["reason"], "too_old");
    // A new epoch while somebody listens.
    let (mut listener, _) = app.listen("").await;
    app.db.client.execute("UPDATE feed_epoch SET epoch = 77", &[]).await.unwrap();
    let told = listener.next().await;
    assert_eq!((&told["type"], &told["reason"]), (&"reset".into(), &"epoch".into()));
    send(&app, &payment("t9", "c1", "1")).await;
    let event = listener.next().await;
    assert_eq!(event["transaction"]["transaction_id"], "t9");
    assert!(event["id"].as_str().unwrap().starts_with("00000000004d-"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_in_the_order_of_the_commits() {
    let app = App::start().await;
    let (mut listener, _) = app.listen("").await;
    // An older transaction that is still going on holds nothing up.
    let mut other = shared::db::connect(&app.db.url).await.unwrap();
    let older = other.transaction().await.unwrap();
    older.execute("SELECT pg_current_xact_id()", &[]).await.unwrap();
    send(&app, &payment("t1", "c1", "1")).await;
    assert_eq!(listener.next().await["transaction"]["transaction_id"], "t1");
    // One that has told, and has not committed, is not overtaken.
    let told =
        json!([{ "type": "transaction.created", "transaction": { "client_id": "first" } }]).to_string();
    older.execute("SELECT tell_feed($1::text::json)", &[&told]).await.unwrap();
    let body = payment("t2", "second", "1");
    let (_, ()) = tokio::join!(send(&app, &body), async {
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        eventually("the other to wait", || async {
            let waiting: i64 = app.db.one(waits, &[]).await;
            (waiting > 0).then_some(())
        })
        .await;
        older.commit().await.unwrap();
    });
    let clients: Vec<Value> = [listener.next().await, listener.next().await]
        .iter()
        .map(|event| event["transaction"]["client_id"].clone())
        .collect();
    assert_eq!(clients, ["first", "second"]);
}

/// A listener that is cut off at random, and comes back with its last id until it has heard `count` transactions.
async fn cut_and_resumed(
    app: &App,
    url: &str,
    after: &str,
    count: usize,
    disconnects: usize,
) -> Vec<(EventId, String)> {
    let bearer = format!("Bearer {}", app.admin_token());
    let (mut heard, mut last, mut cuts) = (Vec::new(), after.to_owned(), 0);
    while heard.len() < count {
        let address = format!("{url}/ws/transactions?since={last}");
        let mut listener = Listener::open(&address, &[("authorization", &bearer)]).await.unwrap();
        let mut patience =
            if cuts < disconnects { rand::random_range(0..count / disconnects) } else { count };
        while let Some(said) = listener.try_next().await {
            match said["type"].as_str() {
                Some("hello") => assert_eq!(said["after"], last),
                Some("gap" | "reset") => panic!("{said}"),
                _ => {
                    let id = said["id"].as_str().unwrap();
                    last = id.to_owned();
                    let about = said["transaction"]["transaction_id"].as_str().unwrap().to_owned();
                    heard.push((id.parse().unwrap(), about));
                }
            }
            if patience == 0 || heard.len() == count {
                break;
            }
            patience -= 1;
        }
        // Dropped without a word.
        cuts += 1;
    }
    assert!(cuts >= disconnects, "{cuts} disconnects only");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_disconnects_lose_and_double_nothing() {
    const LISTENERS: usize = 20;
    const DISCONNECTS: usize = 50;
    const COUNT: usize = 6000;
    let mut app = App::start().await;
    app.start_scheduler();
    let other = app.start_api().await;
    let (app, first) = (&app, app.url.clone());
    let (_, after) = app.listen("").await;
    let listening = (0..LISTENERS).map(|n| {
        let url = if n % 2 == 0 { first.clone() } else { other.clone() };
        let after = &after;
        async move { cut_and_resumed(app, &url, after, COUNT, DISCONNECTS).await }
    });
    let posting = async {
        for batch in 0..COUNT / 10 {
            let transactions: Vec<Value> =
                (0..10).map(|n| payment(&format!("d{batch}-{n}"), "c1", "1")).collect();
            let body = json!({ "transactions": transactions });
            let (status, answer) =
                app.send(app.request(Method::POST, "/api/v1/transactions:batch").json(&body)).await;
            assert_eq!((status, &answer["created"]), (StatusCode::OK, &10.into()), "{answer}");
        }
    };
    let (heard, ()) = tokio::join!(futures::future::join_all(listening), posting);
    for heard in heard {
        assert!(heard.is_sorted_by(|one, next| one.0.place() < next.0.place()), "in order, none twice");
        let ids: std::collections::BTreeSet<&str> = heard.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(ids.len(), COUNT, "every one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_or_restarted_redis_costs_the_feed_a_delay_and_nothing_else() {
    let mut redis = tests::processes::Redis::start();
    let options = AppOptions { redis_url: Some(redis.url()), ..AppOptions::default() };
    let mut app = App::start_with(options).await;
    let publisher = app.start_scheduler();
    let (mut listener, _) = app.listen("").await;
    let mut sent = 0;
    let mut heard: Vec<Value> = Vec::new();
    for trouble in 0..6 {
        for n in 0..40 {
            send(&app, &payment(&format!("r{sent}"), "c1", "1")).await;
            sent += 1;
            if n == 20 {
                match trouble {
                    0 => redis.flush(),
                    1 => {
                        redis.stop();
                        redis.start_again();
                    }
                    2 => redis.stop(),
                    3 => redis.start_again(),
                    4 => publisher.cancel(),
                    _ => drop(app.start_scheduler()),
                }
            }
        }
        while heard.len() < sent {
            heard.push(listener.next().await);
        }
    }
    let ids: Vec<EventId> =
        heard.iter().map(|event| event["id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one.place() < next.place()));
    let said: Vec<&str> =
        heard.iter().map(|event| event["transaction"]["transaction_id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..sent).map(|n| format!("r{n}")).collect();
    assert_eq!(said, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_too_slowly_is_told_what_it_missed_and_nobody_waits_for_it() {
    let app = App::start().await;
    let (mut quick, _) = app.listen("").await;
    let url = format!("{}/ws/transactions", app.url);
    let bearer = format!("Bearer {}", app.admin_token());
    let mut slow = Listener::open_narrow(&url, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(slow.next().await["type"], "hello");
    let long = "x".repeat(100);
    const BATCHES: usize = 32;
    for batch in 0..BATCHES {
        let transactions: Vec<Value> = (0..1000)
            .map(|n| {
                let mut body = payment(&format!("s{batch}-{n}"), "c1", "1");
                body["merchant_id"] = long.clone().into();
                body["product_id"] = long.clone().into();
                body
            })
            .collect();
        let body = json!({ "transactions": transactions });
        let (status, answer) =
            app.send(app.request(Method::POST, "/api/v1/transactions:batch").json(&body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        // Who reads has it while the other reads nothing.
        for _ in 0..1000 {
            assert_eq!(quick.next().await["type"], "transaction.created");
        }
    }
    let (mut heard, mut missed, mut last) = (0, 0, None::<EventId>);
    while heard + missed < BATCHES * 1000 {
        let said = slow.next().await;
        if said["type"] == "gap" {
            missed += usize::try_from(said["missed"].as_u64().unwrap()).unwrap();
            continue;
        }
        let id: EventId = said["id"].as_str().unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| last.place() < id.place()));
        (heard, last) = (heard + 1, Some(id));
    }
    assert!(missed > 0, "it was not slow enough: the test shows nothing");
    assert_eq!(heard + missed, BATCHES * 1000);
}
