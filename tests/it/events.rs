//! Events: what happens is told, once, to those who want to know.

use serde_json::{Value, json};
use shared::{
    notifications::{daily::SendDailySummaries, jobs::AnnounceEvents},
    runs::{EnqueueOptions, Queue, enqueue, queries, registry::Registered},
    schedules::built_in,
};
use tests::{App, AppOptions, eventually, files, kinds::Obey};

async fn app() -> App {
    App::start_with(AppOptions { kinds: tests::kinds::all(), ..AppOptions::default() }).await
}

async fn subscribe(app: &App, event: &str, channel: &str, address: &str) {
    let sql =
        "INSERT INTO event_subscriptions (event, channel, address, created_by) VALUES ($1, $2, $3, 'test')";
    app.db.client.execute(sql, &[&event, &channel, &address]).await.unwrap();
}

async fn tell_clients(app: &App, event: &str, channels: &[&str]) {
    let sql = "INSERT INTO client_events (event, channels, updated_by) VALUES ($1, $2, 'test')
               ON CONFLICT (event) DO UPDATE SET channels = excluded.channels";
    app.db.client.execute(sql, &[&event, &channels]).await.unwrap();
}

async fn endpoint(app: &App, url: &str, client: Option<&str>, events: &[&str]) {
    let sql = "INSERT INTO webhook_endpoints (id, url, client_id, events, secret, created_by)
               VALUES (gen_random_uuid(), $1, $2, $3, 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3', 'test')";
    app.db.client.execute(sql, &[&url, &client, &events]).await.unwrap();
}

/// Until all that was announced is told, and delivered.
async fn all_told(app: &App) {
    eventually("all that was announced to be told", || async {
        let sql = "SELECT (SELECT count(*) FROM announcements WHERE due_at <= now())
                        + (SELECT count(*) FROM runs WHERE finished_at IS NULL)";
        (app.db.one::<i64>(sql, &[]).await == 0).then_some(())
    })
    .await;
}

/// Who was told of an event, a line each: the client's own notifications, then those of others.
async fn told(app: &App, event: &str) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', n.client_id, d.channel, d.address, d.state) FROM notifications n
               JOIN deliveries d ON d.notification_id = n.id WHERE n.event = $1
               ORDER BY n.client_id NULLS LAST, d.channel COLLATE \"C\", d.address COLLATE \"C\"";
    app.db.client.query(sql, &[&event]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn run<J: Registered>(app: &App, job: &J) -> Value {
    let id = {
        let mut conn = app.env.pool.get().await.unwrap();
        enqueue(&mut conn, job, &EnqueueOptions::by("test")).await.unwrap().id
    };
    app.env.doorbells.ring(Queue::Default, 1);
    let ended = eventually("the end of a run", || async {
        let run = queries::find_run(&mut app.env.pool.get().await.unwrap(), id).await.unwrap()?;
        run.state.is_terminal().then_some(run)
    })
    .await;
    assert_eq!(ended.state.as_str(), "completed", "{:?}", ended.error);
    ended.result.unwrap_or_default()
}

/// Runs that were given up: they waited too long.
async fn discard(app: &App, runs: i32) {
    // One transaction: a worker must not claim them in between.
    let sql = format!(
        "BEGIN;
         INSERT INTO runs (id, flow_id, kind, queue, args, state, priority, max_attempts, created_by)
         SELECT id, id, 'noop', 'light', '{{}}', 'available', 100, 1, 'test'
         FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, {runs})) AS g;
         UPDATE runs SET state = 'discarded', reason = 'expired', finished_at = now()
         WHERE kind = 'noop' AND state = 'available';
         COMMIT"
    );
    app.db.client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_once() {
    let app = app().await;
    subscribe(&app, "upload_finished", "email", "desk@example.com").await;
    let upload =
        app.load("may.csv", files::rows(&["t1,C1,1,2025-01-15,7", "t2,C1,1,2025-01-15,x"]), "").await;
    all_told(&app).await;
    assert_eq!(told(&app, "upload_finished").await, ["email desk@example.com delivered"]);
    let title: String = app.db.one("SELECT title FROM notifications", &[]).await;
    assert_eq!(title, "may.csv is loaded: 1 new, 1 refused");
    let payload: Value = app.db.one("SELECT payload FROM notifications", &[]).await;
    assert_eq!(payload["type"], "upload_finished");
    assert_eq!((&payload["data"]["upload_id"], &payload["data"]["read"]), (&upload["id"], &json!(2)));

    // Once more, by whatever mishap; beside it something that nobody can put into words.
    let again = json!({
        "upload_id": upload["id"], "filename": "may.csv", "kind": "transactions", "read": 2, "inserted": 1, "updated": 0,
        "duplicates": 0, "conflicts": 0, "rejected": 1,
    });
    let announce = "INSERT INTO announcements (event, subject, data) VALUES
        ('upload_finished', 'broken', '{}'), ('no such event', 'x', '{}'), ('upload_finished', $1, $2)";
    app.db.client.execute(announce, &[&upload["id"].as_str(), &again]).await.unwrap();
    all_told(&app).await;
    assert_eq!(told(&app, "upload_finished").await.len(), 1);
    // What was only tried is not told of, nor what was loaded before.
    app.load("may2.csv", files::rows(&["t3,C1,1,2025-01-15,7"]), "?dry_run=true").await;
    all_told(&app).await;
    assert_eq!(told(&app, "upload_finished").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_reaches_subscribers_clients_and_endpoints() {
    let app = app().await;
    let events = [
        "daily_summary",
        "run_discarded",
        "schedule_missed",
        "trade_rejected",
        "trade_settled",
        "upload_finished",
    ];
    for event in events {
        subscribe(&app, event, "email", "desk@example.com").await;
    }
    endpoint(&app, "https://example.com/all", None, &events).await;
    app.account("holder", "100").await;
    app.stock("AAPL", "10", 20).await;
    let contact = "UPDATE clients SET email = 'holder@example.com', phone_number = '+4915112345678'";
    app.db.client.batch_execute(contact).await.unwrap();
    for event in ["daily_summary", "trade_rejected", "trade_settled"] {
        tell_clients(&app, event, &["email", "telegram"]).await;
    }
    endpoint(&app, "https://holder.example.com/", Some("holder"), &["trade_settled"]).await;
    // One that names no event is told of every one of its client.
    endpoint(&app, "https://holder.example.com/all", Some("holder"), &[]).await;

    app.load("one.csv", files::rows(&["t1,C1,1,2025-01-15,7"]), "").await;
    let trade = app.trade("holder", "buy", 3, "AAPL").await;
    assert_eq!(trade["state"], "settled", "{trade}");
    let rejected = app.trade("holder", "buy", 500, "AAPL").await;
    assert_eq!(rejected["state"], "rejected", "{rejected}");
    {
        let mut conn = app.env.pool.get().await.unwrap();
        let job = Obey::new(&["retry", "retry", "retry"]);
        enqueue(&mut conn, &job, &EnqueueOptions::by("test")).await.unwrap();
        app.env.doorbells.ring(Queue::Default, 1);
    }
    let alert = "INSERT INTO alerts (kind, key, subject, message)
                 VALUES ('schedule_overdue', 'k', 'nightly_data', 'It was due at midnight.')";
    app.db.client.batch_execute(alert).await.unwrap();
    let day = app.env.clock.now().date_naive();
    let summed = run(&app, &SendDailySummaries { day }).await;
    assert_eq!((&summed["clients"], &summed["notifications"]), (&json!(1), &json!(2)), "{summed}");
    all_told(&app).await;

    let others = ["email desk@example.com delivered", "webhook https://example.com/all delivered"];
    for event in ["run_discarded", "schedule_missed", "upload_finished"] {
        assert_eq!(told(&app, event).await, others, "{event}");
    }
    for event in ["daily_summary", "trade_rejected", "trade_settled"] {
        let mut expected = vec!["holder email holder@example.com delivered"];
        if event == "trade_settled" {
            expected.push("holder webhook https://holder.example.com/ delivered");
        }
        expected.push("holder webhook https://holder.example.com/all delivered");
        expected.extend(others);
        assert_eq!(told(&app, event).await, expected, "{event}");
    }
    let body = |event: &'static str| {
        let app = &app;
        async move {
            let sql = "SELECT body FROM notifications WHERE event = $1 ORDER BY client_id NULLS LAST LIMIT 1";
            app.db.one::<String>(sql, &[&event]).await
        }
    };
    let id = trade["id"].as_str().unwrap();
    let settled =
        format!("Bought: 3 AAPL.\n\nClient: holder\nPrice: 10.00 USD\nAmount: 30.00 USD\nTrade: {id}");
    assert_eq!(body("trade_settled").await, settled);
    assert!(
        body("trade_rejected").await.contains("Reason: insufficient_"),
        "{}",
        body("trade_rejected").await
    );
    assert!(body("run_discarded").await.starts_with("obey "), "{}", body("run_discarded").await);
    assert_eq!(body("schedule_missed").await, "nightly_data (schedule_overdue): It was due at midnight.");
    let payload: Value = app
        .db
        .one("SELECT payload FROM notifications WHERE event = 'trade_settled' AND client_id IS NULL", &[])
        .await;
    assert_eq!(
        (&payload["data"]["client_id"], &payload["data"]["amount"]),
        (&json!("holder"), &json!("30.0000"))
    );
    // A day is told of once, whoever asks again.
    let summed = run(&app, &SendDailySummaries { day }).await;
    assert_eq!(summed["notifications"], 0, "{summed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_not_told_over_channels_that_they_do_not_want() {
    let app = app().await;
    app.account("holder", "100").await;
    app.stock("AAPL", "10", 20).await;
    app.db
        .client
        .batch_execute(
            "UPDATE clients SET email = 'holder@example.com', phone_number = '+4915112345678';
             INSERT INTO notification_optouts (client_id, channel, created_by) VALUES ('holder', 'email', 'test')",
        )
        .await
        .unwrap();
    tell_clients(&app, "trade_settled", &["email", "sms"]).await;
    app.trade("holder", "buy", 1, "AAPL").await;
    all_told(&app).await;
    let expected = ["holder email holder@example.com suppressed", "holder sms +4915112345678 delivered"];
    assert_eq!(told(&app, "trade_settled").await, expected);
    // Where nothing is left that the client wants, nothing is made.
    tell_clients(&app, "trade_settled", &["email"]).await;
    app.trade("holder", "buy", 1, "AAPL").await;
    all_told(&app).await;
    assert_eq!(told(&app, "trade_settled").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_for_good_is_told_of_unless_its_upload_tells() {
    let app = app().await;
    subscribe(&app, "run_discarded", "email", "desk@example.com").await;
    let failed = app.load("none.csv", "a,b\n1,2\n", "").await;
    assert_eq!(failed["state"], "failed", "{failed}");
    all_told(&app).await;
    assert!(told(&app, "run_discarded").await.is_empty());
    let id = {
        let mut conn = app.env.pool.get().await.unwrap();
        enqueue(&mut conn, &Obey::new(&["fail"]), &EnqueueOptions::by("test")).await.unwrap().id
    };
    app.env.doorbells.ring(Queue::Default, 1);
    eventually("the message", || async { (told(&app, "run_discarded").await.len() == 1).then_some(()) })
        .await;
    let payload: Value = app.db.one("SELECT payload FROM notifications", &[]).await;
    assert_eq!(payload["data"]["runs"][0]["run_id"], id.to_string(), "{payload}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_runs_are_told_of_together() {
    let mut app =
        App::start_with(AppOptions { worker: false, kinds: tests::kinds::all(), ..AppOptions::default() })
            .await;
    subscribe(&app, "run_discarded", "email", "desk@example.com").await;
    discard(&app, 25).await;
    app.start_worker();
    all_told(&app).await;
    let payload: Value = app.db.one("SELECT payload FROM notifications", &[]).await;
    let (runs, more) = (payload["data"]["runs"].as_array().unwrap().len(), &payload["data"]["more"]);
    assert_eq!((runs, more), (20, &json!(5)), "{payload}");
    assert_eq!(payload["data"]["title"], "25 runs were given up");

    // Others wait for five minutes, also those that were due before the last message was made.
    discard(&app, 1).await;
    let waits: bool =
        app.db.one("SELECT min(due_at) > now() + interval '4 minutes' FROM announcements", &[]).await;
    assert!(waits);
    app.db.client.execute("UPDATE announcements SET due_at = now()", &[]).await.unwrap();
    run(&app, &AnnounceEvents {}).await;
    let waits: bool =
        app.db.one("SELECT min(due_at) > now() + interval '4 minutes' FROM announcements", &[]).await;
    assert!(waits);
    assert_eq!(told(&app, "run_discarded").await.len(), 1);
    app.db
        .client
        .batch_execute(
            "UPDATE notifications SET created_at = created_at - interval '6 minutes';
             UPDATE announcements SET due_at = now()",
        )
        .await
        .unwrap();
    all_told(&app).await;
    assert_eq!(told(&app, "run_discarded").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_of_what_nobody_wants_to_know() {
    let app = app().await;
    app.account("holder", "100").await;
    app.stock("AAPL", "10", 20).await;
    app.load("one.csv", files::rows(&["t1,C1,1,2025-01-15,7"]), "").await;
    app.trade("holder", "buy", 1, "AAPL").await;
    app.trade("holder", "buy", 500, "AAPL").await;
    discard(&app, 1).await;
    let day = app.env.clock.now().date_naive();
    assert_eq!(run(&app, &SendDailySummaries { day }).await["wanted"], false);
    assert!(!app.db.one::<bool>("SELECT is_called FROM announcements_id_seq", &[]).await);
    app.db.expect_nothing("SELECT id FROM notifications").await;
    app.db.expect_nothing("SELECT id FROM runs WHERE kind = 'announce_events'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_that_of_the_zone_and_counts_what_took_place() {
    let zone = chrono_tz::Europe::Berlin;
    let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
    let clients =
        "client_id,name,email\nC1,<b>Ann & Bob</b>,c1@example.com\nC2,Two,c2@example.com\nC3,Three,\n";
    app.load("clients.csv", clients, "?kind=clients").await;
    let rows = [
        // Half past midnight in Berlin, and half past eleven at night.
        "t1,C1,2026-03-09T23:30:00Z,payment,10.25,EUR,success",
        "t2,C1,2026-03-10T22:30:00Z,refund,4,EUR,success",
        "t3,C1,2026-03-10T12:00:00Z,payment,1000,USD,success",
        "t4,C1,2026-03-10T12:00:00Z,payment,99,EUR,failed",
        "t5,C1,2026-03-10T12:00:00Z,payment,99,EUR,pending",
        "t6,C1,2026-03-10T23:30:00Z,payment,99,EUR,success",
        "t7,C2,2026-03-09T12:00:00Z,payment,99,EUR,success",
        "t8,C3,2026-03-10T12:00:00Z,payment,5,EUR,success",
    ];
    let file =
        format!("transaction_id,client_id,occurred_at,kind,amount,currency,status\n{}\n", rows.join("\n"));
    let upload = app.load("days.csv", file, "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    tell_clients(&app, "daily_summary", &["email"]).await;
    let day = "2026-03-10".parse().unwrap();
    let summed = run(&app, &SendDailySummaries { day }).await;
    // One of the two who did something can be reached.
    assert_eq!((&summed["clients"], &summed["notifications"]), (&json!(2), &json!(1)), "{summed}");
    all_told(&app).await;
    assert_eq!(told(&app, "daily_summary").await, ["C1 email c1@example.com delivered"]);
    let body: String = app.db.one("SELECT body FROM notifications", &[]).await;
    let expected = "<b>Ann & Bob</b> (C1), 2026-03-10\n\nEUR: 2 transactions, spent 10.25, gained 4.00\n\
                    USD: 1 transaction, spent 1,000.00, gained 0.00";
    assert_eq!(body, expected);
    let html: String = app.db.one("SELECT html FROM notifications", &[]).await;
    assert!(html.contains("&#60;b&#62;Ann &#38; Bob") && !html.contains("<b>"), "{html}");
    assert_eq!(run(&app, &SendDailySummaries { day }).await["notifications"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nights_are_generated_clients_are_told_of_them_until_an_operator_decides() {
    let app = App::start().await;
    let made = async |nightly| {
        let mut conn = app.env.pool.get().await.unwrap();
        built_in::ensure(&mut conn, app.env.kinds, app.env.settings.zone, nightly).await.unwrap();
    };
    made(true).await;
    let chosen = "SELECT channels FROM client_events WHERE event = 'daily_summary'";
    assert_eq!(app.db.one::<Vec<String>>(chosen, &[]).await, ["email"]);
    let night = json!({ "day": "2026-02-27", "num_rows": 50 });
    let (status, _) = app.send(app.posting("/api/v1/nightly", &night)).await;
    assert!(status.is_success());
    let sent = "SELECT count(*) FROM runs WHERE kind = 'send_daily_summaries' AND args->>'day' = '2026-02-27'
                AND state = 'completed'";
    eventually("the summaries of the night", || async {
        (app.db.one::<i64>(sent, &[]).await == 1).then_some(())
    })
    .await;
    // Files that were generated are told to nobody.
    subscribe(&app, "upload_finished", "email", "desk@example.com").await;
    let night = json!({ "day": "2026-02-28", "num_rows": 50 });
    app.send(app.posting("/api/v1/nightly", &night)).await;
    all_told(&app).await;
    assert_eq!(told(&app, "upload_finished").await.len(), 0);

    app.db.client.execute("DELETE FROM client_events", &[]).await.unwrap();
    made(true).await;
    app.db.expect_nothing("SELECT event FROM client_events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_files_are_somebodys_own_clients_are_told_nothing_by_themselves() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let mut conn = app.env.pool.get().await.unwrap();
    built_in::ensure(&mut conn, app.env.kinds, app.env.settings.zone, false).await.unwrap();
    built_in::ensure(&mut conn, app.env.kinds, app.env.settings.zone, true).await.unwrap();
    app.db.expect_nothing("SELECT event FROM client_events").await;
}
