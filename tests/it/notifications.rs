//! What becomes of deliveries: by what their providers answer, by their circuits, and by what operators decide.

use chrono::{TimeDelta, Utc};
use shared::notifications::{
    NotificationError, circuits, endpoints,
    model::{AttemptOutcome, Channel, CircuitState, DeliveryState, Forced, NotificationState},
    request::request_notification,
    service::{self, Replay},
};
use tests::{
    App, AppOptions, eventually,
    postbox::{message, providers},
    processes::Smtp,
    receivers::Receiver,
};

const SMS: &str = "kavenegar+http://SMS-KEY-1234@127.0.0.1:PORT?sender=10004346";
const TELEGRAM: &str = "telegram+http://123456:BOT-TOKEN_1@127.0.0.1:PORT";

async fn app_with(given: &[(Channel, &str)]) -> App {
    App::start_with(AppOptions { notifications: providers(given), ..AppOptions::default() }).await
}

/// An application whose webhooks go to a receiver here, and that receiver.
async fn with_receiver() -> (App, Receiver) {
    let receiver = Receiver::start().await;
    (app_with(&[(Channel::Webhook, "webhook:?allow=127.0.0.1&timeout_ms=500")]).await, receiver)
}

fn at(url: &str, port: u16) -> String {
    url.replace("PORT", &port.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_answers_decides_what_follows() {
    let (app, receiver) = with_receiver().await;
    // The case, the attempt's outcome and status, and how long the next attempt is away.
    let transient = AttemptOutcome::Transient;
    for (case, outcome, status, wait) in [
        ("later", transient, Some(500), 4.0..6.0),
        ("throttled", AttemptOutcome::Throttled, Some(429), 4.0..8.0),
        ("unavailable", AttemptOutcome::Throttled, Some(503), 3000.0..3601.0),
        ("lost", transient, None, 4.0..6.0),
        ("hangs", transient, None, 4.0..6.0),
        ("large_error", transient, Some(500), 4.0..6.0),
        ("moved", transient, Some(302), 4.0..6.0),
    ] {
        let url = format!("http://127.0.0.1:{}/hooks/{case}", receiver.port);
        let endpoint = app.endpoint(&url).await;
        let id = app.notify(Channel::Webhook, &endpoint.to_string()).await;
        let delivery = app.until_attempts(id, 1).await;
        assert_eq!(delivery.state, DeliveryState::Pending, "{case}");
        assert!(delivery.error_message.is_some() && delivery.last_attempt_at.is_some(), "{case}");
        let attempts = app.delivery_attempts(id).await;
        let [attempt] = attempts.as_slice() else { panic!("{case}: {attempts:?}") };
        assert_eq!((attempt.outcome, attempt.status_code), (outcome, status), "{case}: {attempt:?}");
        assert!(attempt.response.as_ref().is_none_or(|kept| kept.len() <= 4096), "{case}");
        let waits = eventually("the run's next time", || async {
            let (state, waits) = app.delivery_run(id).await;
            (state == "retryable").then_some(waits)
        })
        .await;
        assert!(waits < wait.end && waits > wait.start - 4.0, "{case} waits for {waits} s");
    }
    // What is accepted is, however much is said of it; a little is kept.
    for case in ["large", "slow"] {
        let endpoint = app.endpoint(&format!("http://127.0.0.1:{}/hooks/{case}", receiver.port)).await;
        let id = app.notify(Channel::Webhook, &endpoint.to_string()).await;
        app.until_delivery(id, DeliveryState::Delivered).await;
        let kept = app.delivery_attempts(id).await[0].response.clone().unwrap_or_default();
        assert!(kept.len() <= 4096, "{case}");
    }
    // Each was asked; some again, as time went by.
    assert!(receiver.asked().len() >= 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_until_somebody_enables_it() {
    let (app, receiver) = with_receiver().await;
    let url = format!("http://127.0.0.1:{}/hooks/refused", receiver.port);
    let endpoint = app.endpoint(&url).await;
    let (notification, ids) = app.notify_all(&message(&[(Channel::Webhook, &url)])).await;
    let delivery = app.until_delivery(ids[0], DeliveryState::Failed).await;
    assert_eq!((delivery.attempts, delivery.endpoint_id), (1, Some(endpoint)));
    app.until_notification(notification, NotificationState::Failed).await;
    eventually("its run's end", || async { (app.delivery_run(ids[0]).await.0 == "failed").then_some(()) })
        .await;
    let reason: String =
        app.db.one("SELECT disabled_reason FROM webhook_endpoints WHERE id = $1", &[&endpoint.0]).await;
    assert!(reason.contains("410"), "{reason}");
    let refused = request_notification(&app.env, message(&[(Channel::Webhook, &url)])).await;
    assert!(matches!(refused, Err(NotificationError::Invalid { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_arrives_over_starttls_with_a_login() {
    let server = Smtp::start("starttls").await;
    let app = app_with(&[(Channel::Email, &server.url())]).await;
    let to = [(Channel::Email, "ann@example.org"), (Channel::Email, "refused@example.org")];
    let (notification, ids) = app.notify_all(&message(&to)).await;
    let delivered = app.until_delivery(ids[0], DeliveryState::Delivered).await;
    assert_eq!((delivered.attempts, delivered.provider.as_deref()), (1, Some("smtp")));
    let failed = app.until_delivery(ids[1], DeliveryState::Failed).await;
    assert!(failed.error_message.is_some_and(|error| error.contains("550")));
    app.until_notification(notification, NotificationState::Partial).await;
    let mails = server.messages();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0]["subject"], "Settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_is_stood_in_for_by_the_next() {
    let receiver = Receiver::start().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let both = format!("{}&name=first {}&name=second", at(SMS, dead), at(SMS, receiver.port));
    let app = app_with(&[(Channel::Sms, &both)]).await;
    let id = app.notify(Channel::Sms, "+98 912 555 0000").await;
    let delivery = app.until_delivery(id, DeliveryState::Delivered).await;
    assert_eq!((delivery.attempts, delivery.provider.as_deref()), (2, Some("second")));
    let attempts = app.delivery_attempts(id).await;
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.provider.as_str(), attempt.outcome, attempt.run_attempt))
        .collect();
    assert_eq!(
        told,
        [("first", AttemptOutcome::Transient, 1), ("second", AttemptOutcome::Accepted, 1)],
        "both in one attempt of the run"
    );
    // Once the first one's circuit is open, the second is asked at once.
    for _ in 0..4 {
        let id = app.notify(Channel::Sms, "+989125550000").await;
        app.until_delivery(id, DeliveryState::Delivered).await;
    }
    let circuit = circuit(&app, "sms/first").await;
    assert_eq!((circuit.state, circuit.failures), (CircuitState::Open, 5));
    let id = app.notify(Channel::Sms, "+989125550000").await;
    assert_eq!(app.until_delivery(id, DeliveryState::Delivered).await.attempts, 1);
}

async fn circuit(app: &App, name: &str) -> shared::notifications::model::Circuit {
    let mut conn = app.env.pool.get().await.unwrap();
    circuits::find(&mut conn, name).await.unwrap().expect("a circuit")
}

/// Whether a run was put off: by itself, or with others.
fn is_put_off((state, waits): &(String, f64)) -> bool {
    (state == "scheduled" || state == "available") && *waits > 1.0
}

/// A message that an open circuit holds back. Each process looks once a second: until then some pass.
async fn held_back(app: &App) -> shared::ids::DeliveryId {
    eventually("a message that is held back", || async {
        let id = app.notify(Channel::Telegram, "7").await;
        eventually("its fate", || async {
            let put_off = is_put_off(&app.delivery_run(id).await);
            let sent = app.delivery(id).await.state == DeliveryState::Delivered;
            (put_off || sent).then_some(put_off.then_some(id))
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_burns_no_attempts_and_one_message_tries_it() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &at(TELEGRAM, receiver.port))]).await;
    for _ in 0..5 {
        let id = app.notify(Channel::Telegram, "102").await;
        app.until_attempts(id, 1).await;
    }
    assert_eq!(circuit(&app, "telegram/telegram").await.state, CircuitState::Open);
    // Those that failed are out of the way.
    app.db.client.execute("DELETE FROM runs WHERE kind = 'deliver_telegram'", &[]).await.unwrap();
    let asked = receiver.asked().len();
    let waiting = [app.notify(Channel::Telegram, "7").await, app.notify(Channel::Telegram, "8").await];
    for id in waiting {
        eventually("the run to be put off", || async {
            is_put_off(&app.delivery_run(id).await).then_some(())
        })
        .await;
        let delivery = app.delivery(id).await;
        assert_eq!((delivery.attempts, delivery.state), (0, DeliveryState::Pending));
    }
    assert_eq!(receiver.asked().len(), asked, "nobody was asked");
    let burnt = "SELECT count(*) FROM runs WHERE kind = 'deliver_telegram' AND attempt >= max_attempts - 2";
    assert_eq!(app.db.one::<i64>(burnt, &[]).await, 0, "no attempt of the runs was burnt");
    // Its time comes: one tries it, and as that is accepted, the other follows.
    app.db.client.execute("UPDATE circuits SET probe_at = now()", &[]).await.unwrap();
    let hurry = || async {
        app.hurry().await;
        let (first, second) = (app.delivery(waiting[0]).await, app.delivery(waiting[1]).await);
        [first, second].iter().all(|one| one.state == DeliveryState::Delivered).then_some(())
    };
    eventually("both to be delivered", hurry).await;
    let closed = circuit(&app, "telegram/telegram").await;
    assert_eq!((closed.state, closed.failures, closed.openings), (CircuitState::Closed, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_back_waits_no_longer_after_its_first_failure() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &at(TELEGRAM, receiver.port))]).await;
    let mut conn = app.env.pool.get().await.unwrap();
    let mut force = async |forced| {
        circuits::force(&mut conn, "telegram/telegram", forced, "ann", app.env.clock.now()).await.unwrap();
    };
    let put_off = async |id| {
        eventually("a message that is held back", || async {
            is_put_off(&app.delivery_run(id).await).then_some(())
        })
        .await;
    };
    force(Some(Forced::Open)).await;
    held_back(&app).await;
    // The receiver will answer it with 500.
    let id = app.notify(Channel::Telegram, "102").await;
    for _ in 0..3 {
        put_off(id).await;
        let now = "UPDATE runs SET run_at = now() FROM deliveries d WHERE d.run_id = runs.id AND d.id = $1";
        app.db.client.execute(now, &[&id.0]).await.unwrap();
    }
    put_off(id).await;
    force(None).await;
    let waits = eventually("the first failure", || async {
        let (state, waits) = app.delivery_run(id).await;
        (state == "retryable").then_some(waits)
    })
    .await;
    assert_eq!(app.delivery(id).await.attempts, 1);
    assert!(waits <= 11.0, "the first wait is ten seconds, give or take a tenth, not {waits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_holds_a_circuit_open_and_closed() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &at(TELEGRAM, receiver.port))]).await;
    let force = async |forced| {
        let mut conn = app.env.pool.get().await.unwrap();
        circuits::force(&mut conn, "telegram/telegram", forced, "ann", app.env.clock.now()).await.unwrap()
    };
    force(Some(Forced::Open)).await;
    let id = held_back(&app).await;
    assert_eq!(app.delivery(id).await.attempts, 0);
    assert_eq!(force(None).await.changed_by.as_deref(), Some("ann"));
    // What waited goes on by itself, long before its time.
    let waits = app.delivery_run(id).await.1;
    assert!(waits < 5.0, "{waits} s");
    app.until_delivery(id, DeliveryState::Delivered).await;
    let audited =
        "SELECT count(*) FROM audit_log WHERE action = 'circuit.force' AND subject = 'telegram/telegram'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 2);
}

#[tokio::test]
async fn turns_are_a_second_s_worth_at_once_and_then_one_after_the_other() {
    let db = tests::TestDatabase::create().await;
    let pool = shared::db::pool(&db.config(), "test").unwrap();
    let conn = &mut *pool.get().await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..20 {
        turns.push(circuits::take_turn(conn, "sms/x", 2.0).await.unwrap());
    }
    let now: chrono::DateTime<Utc> = db.one("SELECT clock_timestamp()", &[]).await;
    let due = turns.iter().filter(|turn| **turn <= now).count();
    assert!((2..=3).contains(&due), "{due} may go at once");
    let apart: Vec<TimeDelta> = turns[due..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.iter().all(|apart| *apart == TimeDelta::milliseconds(500)), "{apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_takes_so_many_a_second_gets_no_more() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &format!("{}?rate=10", at(TELEGRAM, receiver.port)))]).await;
    let chats: Vec<String> = (200..240).map(|chat| chat.to_string()).collect();
    let to: Vec<(Channel, &str)> = chats.iter().map(|chat| (Channel::Telegram, chat.as_str())).collect();
    let (id, _) = app.notify_all(&message(&to)).await;
    app.until_notification(id, NotificationState::Sent).await;
    assert_eq!(receiver.asked().len(), 40);
    // Ten at once, and then ten a second: thirty more take three. Slower is no fault.
    let took: f64 = app
        .db
        .one(
            "SELECT extract(epoch FROM max(started_at) - min(started_at))::float8 FROM delivery_attempts",
            &[],
        )
        .await;
    assert!(took > 2.4, "40 in {took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_accepted_waits_for_somebody_to_decide() {
    let server = Smtp::start("plain").await;
    let app = app_with(&[(Channel::Email, &server.url())]).await;
    let first = app.notify(Channel::Email, "drop@example.org").await;
    let second = app.notify(Channel::Email, "drop@example.org").await;
    let (third, ids) = app.notify_all(&message(&[(Channel::Email, "drop@example.org")])).await;
    for id in [first, second, ids[0]] {
        let delivery = app.until_delivery(id, DeliveryState::Unknown).await;
        assert_eq!(app.delivery_attempts(id).await[0].outcome, AttemptOutcome::Unknown);
        assert_eq!(delivery.attempts, 1);
        eventually("its run's end", || async { (app.delivery_run(id).await.0 == "failed").then_some(()) })
            .await;
    }
    assert_eq!(app.notification(third).await.state, NotificationState::Pending);
    // Retrying the run sends nothing: that is not how one decides.
    let run = app.delivery(first).await.run_id.unwrap();
    let (status, _) = app.post(&format!("/api/v1/runs/{run}/retry")).await;
    assert!(status.is_success());
    eventually("the retried run's end", || async {
        let attempts: i64 = app
            .db
            .one("SELECT count(*) FROM run_attempts WHERE run_id = $1 AND outcome = 'failed'", &[&run.0])
            .await;
        (attempts == 2).then_some(())
    })
    .await;
    let delivery = app.delivery(first).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Unknown, 1));
    let conn = &mut *app.env.pool.get().await.unwrap();
    // Nor is it among all that failed.
    let since = app.env.clock.now() - TimeDelta::hours(1);
    assert!(
        service::replay(conn, &Replay::FailedSince(since, app.env.clock.now(), None), "ann")
            .await
            .unwrap()
            .is_empty()
    );
    let marked = service::mark_one_delivered(conn, ids[0], "ann").await.unwrap();
    assert_eq!(marked.state, DeliveryState::Delivered);
    app.until_notification(third, NotificationState::Sent).await;
    let again = service::mark_one_delivered(conn, ids[0], "ann").await;
    assert!(matches!(again, Err(NotificationError::NotUnknown(..))), "{again:?}");
    service::replay_one(conn, second, "ann").await.unwrap();
    app.env.doorbells.ring(shared::runs::Queue::Deliveries, 1);
    app.until_attempts(second, 2).await;
    let told: Vec<i32> = app.delivery_attempts(second).await.iter().map(|attempt| attempt.number).collect();
    assert_eq!(told, [1, 2], "it was sent again because somebody said so");
}

/// Another provider does not know the key under which the first may have accepted the message.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_have_accepted_a_message_is_asked_again_and_nobody_else() {
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let both = format!("{}&name=first {}&name=second", at(SMS, first.port), at(SMS, second.port));
    let app = app_with(&[(Channel::Sms, &both)]).await;
    let id = app.notify(Channel::Sms, "+989120000004").await;
    app.until_attempts(id, 1).await;
    assert_eq!(app.delivery(id).await.state, DeliveryState::Pending);
    // The next time it cannot: that does not say that it had not done it before.
    let address = async |address: &str, attempts: i32| {
        let change = "UPDATE deliveries SET address = $1 WHERE id = $2";
        app.db.client.execute(change, &[&address, &id.0]).await.unwrap();
        let asked = || async {
            app.hurry().await;
            (app.delivery(id).await.attempts >= attempts).then_some(())
        };
        eventually("the next attempt", asked).await;
    };
    let attempts = app.delivery(id).await.attempts;
    address("+989120000002", attempts + 1).await;
    let attempts = app.delivery(id).await.attempts;
    address("+989125550000", attempts + 1).await;
    let delivered = app.until_delivery(id, DeliveryState::Delivered).await;
    assert_eq!(delivered.provider.as_deref(), Some("first"));
    let outcomes: Vec<_> = app.delivery_attempts(id).await.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes[0], AttemptOutcome::Unknown);
    assert!(outcomes.contains(&AttemptOutcome::Transient), "{outcomes:?}");
    let asked = first.asked();
    assert!(asked.iter().all(|one| one.key == asked[0].key), "one key: {asked:?}");
    assert!(second.asked().is_empty(), "nobody else was asked");
}

/// The claim is taken from a worker while its provider has the message: what the provider answers counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_counts_although_the_claim_was_lost() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &at(TELEGRAM, receiver.port))]).await;
    let id = app.notify(Channel::Telegram, "106").await;
    eventually("the provider to be asked", || async { (!receiver.asked().is_empty()).then_some(()) }).await;
    let taken = "SELECT count(*) FROM close_runs((SELECT jsonb_agg(jsonb_build_object(
                     'id', r.id, 'token', r.claim_token, 'outcome', 'crashed'))
                 FROM runs r WHERE r.kind = 'deliver_telegram'))";
    assert_eq!(app.db.one::<i64>(taken, &[]).await, 1);
    receiver.gate.notify_one();
    app.until_delivery(id, DeliveryState::Delivered).await;
    assert_eq!(receiver.asked().len(), 1, "it is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_endpoint_that_is_disabled_fails_soon_and_is_replayed_by_that_time() {
    let (app, receiver) = with_receiver().await;
    let endpoint = app.endpoint(&format!("http://127.0.0.1:{}/hooks/unavailable", receiver.port)).await;
    let id = app.notify(Channel::Webhook, &endpoint.to_string()).await;
    app.until_attempts(id, 1).await;
    eventually("the run to wait", || async { (app.delivery_run(id).await.0 == "retryable").then_some(()) })
        .await;
    let conn = &mut *app.env.pool.get().await.unwrap();
    let disabled: chrono::DateTime<Utc> = app.db.one("SELECT clock_timestamp()", &[]).await;
    let enable = |enabled| endpoints::EndpointPatch { enabled: Some(enabled), ..Default::default() };
    let desk = &app.env.notifications;
    endpoints::change(conn, desk, endpoint, &enable(false), "ann").await.unwrap();
    let failed = app.until_delivery(id, DeliveryState::Failed).await;
    assert!(failed.error_message.is_some_and(|error| error.contains("disabled by ann")));
    endpoints::change(conn, desk, endpoint, &enable(true), "ann").await.unwrap();
    // By the time at which it failed, whenever it was made.
    let hour = TimeDelta::hours(1);
    let before = Replay::FailedSince(disabled - hour, disabled, None);
    assert!(service::replay(conn, &before, "ann").await.unwrap().is_empty());
    let after = Replay::FailedSince(disabled, disabled + hour, None);
    assert_eq!(service::replay(conn, &after, "ann").await.unwrap(), [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_end_together_are_counted_together() {
    let app = App::start().await;
    let addresses: Vec<String> = (0..300).map(|n| format!("c{n}@example.org")).collect();
    let to: Vec<(Channel, &str)> = addresses.iter().map(|to| (Channel::Email, to.as_str())).collect();
    let mut all = Vec::new();
    for part in to.chunks(30) {
        all.push(app.notify_all(&message(part)).await.0);
    }
    for id in all {
        app.until_notification(id, NotificationState::Sent).await;
    }
    app.db.expect_nothing("SELECT * FROM deliveries WHERE attempts <> 1 OR provider <> 'sandbox'").await;
    app.db
        .expect_nothing(
            "SELECT * FROM runs r JOIN deliveries d ON d.run_id = r.id WHERE r.state <> 'completed'",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_makes_one_notification() {
    let app = App::start().await;
    let asked = shared::notifications::request::NotificationRequest {
        key: Some("k1".to_owned()),
        ..message(&[(Channel::Email, "ann@example.org")])
    };
    let first = request_notification(&app.env, asked.clone()).await.unwrap();
    let second = request_notification(&app.env, asked.clone()).await.unwrap();
    assert_eq!((first.notification.id, first.replayed), (second.notification.id, false));
    assert!(second.replayed);
    let other = shared::notifications::request::NotificationRequest {
        to: vec![(Channel::Email, "bob@example.org".to_owned())],
        ..asked
    };
    let refused = request_notification(&app.env, other).await;
    assert!(matches!(refused, Err(NotificationError::KeyReused)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_before_its_time_is_never_sent() {
    let receiver = Receiver::start().await;
    let app = app_with(&[(Channel::Telegram, &at(TELEGRAM, receiver.port))]).await;
    let later = shared::notifications::request::NotificationRequest {
        send_at: Some(app.env.clock.now() + TimeDelta::hours(1)),
        ..message(&[(Channel::Telegram, "7")])
    };
    let (notification, ids) = app.notify_all(&later).await;
    assert_eq!(app.delivery_run(ids[0]).await.0, "scheduled");
    let conn = &mut *app.env.pool.get().await.unwrap();
    assert_eq!(service::cancel(conn, notification, "ann").await.unwrap(), 1);
    app.until_delivery(ids[0], DeliveryState::Cancelled).await;
    app.until_notification(notification, NotificationState::Failed).await;
    // Somebody thinks better of it: it waits for its time again.
    service::replay_one(conn, ids[0], "ann").await.unwrap();
    let (state, waits) = app.delivery_run(ids[0]).await;
    assert!(state == "scheduled" && waits > 3000.0, "{state} {waits}");
    let come = "UPDATE runs SET run_at = now() FROM deliveries d WHERE d.run_id = runs.id AND d.id = $1";
    app.db.client.execute(come, &[&ids[0].0]).await.unwrap();
    app.until_delivery(ids[0], DeliveryState::Delivered).await;
    assert_eq!(receiver.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_want_is_not_sent() {
    let app = App::start().await;
    app.db
        .client
        .batch_execute(
            "INSERT INTO clients (client_id, currency, email, phone_number)
             VALUES ('c1', 'USD', 'ann@example.org', '+989125550000'), ('c2', 'USD', NULL, NULL)",
        )
        .await
        .unwrap();
    let to_client =
        |client: &str, channels: &[Channel]| shared::notifications::request::NotificationRequest {
            client_id: Some(client.to_owned()),
            channels: channels.to_vec(),
            ..message(&[])
        };
    let conn = &mut *app.env.pool.get().await.unwrap();
    service::set_wanted(conn, "c1", Channel::Sms, false, "ann").await.unwrap();
    let (id, deliveries) = app.notify_all(&to_client("c1", &[])).await;
    assert_eq!(deliveries.len(), 2);
    app.until_notification(id, NotificationState::Sent).await;
    let (id, deliveries) = app.notify_all(&to_client("c1", &[Channel::Sms])).await;
    assert_eq!(app.notification(id).await.state, NotificationState::Suppressed);
    assert_eq!(app.delivery(deliveries[0]).await.attempts, 0);
    // What was accepted before it was said heeds it too.
    let later = shared::notifications::request::NotificationRequest {
        send_at: Some(app.env.clock.now() + TimeDelta::hours(1)),
        ..to_client("c1", &[Channel::Email])
    };
    let (id, deliveries) = app.notify_all(&later).await;
    service::set_wanted(conn, "c1", Channel::Email, false, "ann").await.unwrap();
    app.hurry().await;
    app.until_delivery(deliveries[0], DeliveryState::Suppressed).await;
    app.until_notification(id, NotificationState::Suppressed).await;
    for (client, channels, part) in [
        ("c2", vec![Channel::Email], "no email"),
        ("c2", vec![], "no address"),
        ("nobody", vec![], "no client"),
    ] {
        let refused = request_notification(&app.env, to_client(client, &channels)).await.unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_reached_where_a_file_or_somebody_says() {
    let app = App::start().await;
    let file = "client_id,name,telegram_chat_id\nann,Ann,123456789\nbob,Bob,\ncid,Cid,not a chat\n";
    let upload = app.load("clients.csv", file, "?kind=clients").await;
    let counts = &upload["counts"];
    assert_eq!((&counts["inserted"], &counts["rejected"]), (&2.into(), &1.into()), "{upload}");
    let reach = async |client: &str| {
        let asked = shared::notifications::request::NotificationRequest {
            client_id: Some(client.to_owned()),
            channels: vec![Channel::Telegram],
            ..message(&[])
        };
        request_notification(&app.env, asked).await.map(|accepted| accepted.deliveries[0].address.clone())
    };
    assert_eq!(reach("ann").await.unwrap(), "123456789");
    let error = reach("bob").await.unwrap_err().to_string();
    assert!(error.contains("telegram_chat_id"), "{error}");
    let version = app.get("/api/v1/clients/bob").await["contact_version"].clone();
    let patch = serde_json::json!({ "contact_version": version, "telegram_chat_id": "@bobs_chat" });
    let (status, client) =
        app.send(app.request(reqwest::Method::PATCH, "/api/v1/clients/bob").json(&patch)).await;
    assert!(status.is_success() && client["telegram_chat_id"] == "@bobs_chat", "{client}");
    assert_eq!(reach("bob").await.unwrap(), "@bobs_chat");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_a_provider_is_refused() {
    let app = app_with(&[]).await;
    let refused = request_notification(&app.env, message(&[(Channel::Sms, "+989125550000")])).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("MILLRACE_SMS"), "{error}");
}
