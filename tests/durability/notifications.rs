//! A worker is killed at each step of a delivery: before its attempt is on record, while the provider is asked,
//! and after the provider has accepted. Nothing is lost, and nothing is sent twice in silence.

use shared::{
    ids::DeliveryId,
    notifications::model::{AttemptOutcome, Channel, DeliveryState},
};
use tests::{
    App, AppOptions, eventually,
    postbox::providers,
    processes::{Process, Redis},
    receivers::Receiver,
};

struct Place {
    app: App,
    redis: Redis,
    receiver: Receiver,
}

/// A provider that makes no second message of the same key, and one that would.
const CHANNELS: [Channel; 2] = [Channel::Webhook, Channel::Telegram];

impl Place {
    async fn new() -> Self {
        let receiver = Receiver::start().await;
        let telegram = telegram(&receiver);
        let given = [(Channel::Webhook, WEBHOOK), (Channel::Telegram, telegram.as_str())];
        let options = AppOptions { notifications: providers(&given), worker: false, ..AppOptions::default() };
        Self { app: App::start_with(options).await, redis: Redis::start(), receiver }
    }

    fn worker(&self) -> Process {
        Process::millrace(
            &["worker"],
            &[
                ("DATABASE_URL", &self.app.db.url),
                ("REDIS_URL", &self.redis.url()),
                ("MILLRACE_REDIS_PREFIX", "notifications"),
                ("MILLRACE_DATA_DIR", self.app.data_dir().to_str().expect("a path")),
                ("MILLRACE_HEARTBEAT_MS", "300"),
                ("MILLRACE_LEASE_MS", "1500"),
                ("MILLRACE_WEBHOOK", WEBHOOK),
                ("MILLRACE_TELEGRAM", &telegram(&self.receiver)),
            ],
        )
    }

    /// A delivery over a channel that the receiver treats as one of its cases.
    async fn delivery(&self, channel: Channel, hangs: bool) -> DeliveryId {
        match channel {
            Channel::Webhook => {
                let case = if hangs { "hangs" } else { "accepted" };
                let url = format!("http://127.0.0.1:{}/hooks/{case}", self.receiver.port);
                let endpoint = self.app.endpoint(&url).await;
                self.app.notify(channel, &endpoint.to_string()).await
            }
            _ => self.app.notify(channel, if hangs { "105" } else { "7" }).await,
        }
    }

    async fn outcomes(&self, id: DeliveryId) -> Vec<AttemptOutcome> {
        self.app.delivery_attempts(id).await.iter().map(|attempt| attempt.outcome).collect()
    }

    /// Waits until a statement of a worker waits for a lock.
    async fn until_blocked(&self) {
        eventually("a statement that waits for a lock", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (self.app.db.one::<i64>(sql, &[]).await > 0).then_some(())
        })
        .await;
    }
}

const WEBHOOK: &str = "webhook:?allow=127.0.0.1&timeout_ms=60000";

fn telegram(receiver: &Receiver) -> String {
    format!("telegram+http://123456:BOT-TOKEN_1@127.0.0.1:{}?timeout_ms=60000", receiver.port)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_attempt_is_on_record_it_is_sent_once() {
    for channel in CHANNELS {
        let place = Place::new().await;
        let mut session = place.app.db.session().await;
        let lock = session.transaction().await.unwrap();
        lock.batch_execute("LOCK TABLE delivery_attempts IN SHARE MODE").await.unwrap();
        let id = place.delivery(channel, false).await;
        let mut worker = place.worker();
        place.until_blocked().await;
        worker.kill();
        lock.rollback().await.unwrap();
        let _second = place.worker();
        place.app.until_delivery(id, DeliveryState::Delivered).await;
        assert_eq!(place.receiver.asked().len(), 1, "{channel}");
        assert_eq!(place.outcomes(id).await, [AttemptOutcome::Accepted], "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_provider_is_asked_it_is_repeated_under_its_key_or_unknown() {
    for channel in CHANNELS {
        let place = Place::new().await;
        let id = place.delivery(channel, true).await;
        let mut worker = place.worker();
        let asked = || async { (!place.receiver.asked().is_empty()).then_some(()) };
        eventually("the receiver to be asked", asked).await;
        worker.kill();
        // From now on it answers.
        let accepted = format!("http://127.0.0.1:{}/hooks/accepted", place.receiver.port);
        place
            .app
            .db
            .client
            .execute("UPDATE deliveries SET address = $1 WHERE channel = 'webhook'", &[&accepted])
            .await
            .unwrap();
        let _second = place.worker();
        expect_no_silent_repetition(&place, channel, id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_provider_has_accepted_it_is_repeated_under_its_key_or_unknown() {
    for channel in CHANNELS {
        let place = Place::new().await;
        let id = place.delivery(channel, false).await;
        let mut session = place.app.db.session().await;
        let lock = session.transaction().await.unwrap();
        // Lets attempts begin, and holds up whoever records their end.
        lock.execute("SELECT 1 FROM deliveries WHERE id = $1 FOR NO KEY UPDATE", &[&id.0]).await.unwrap();
        let mut worker = place.worker();
        place.until_blocked().await;
        assert_eq!(place.receiver.asked().len(), 1, "{channel}: it was accepted");
        assert_eq!(place.outcomes(id).await, [AttemptOutcome::Sending], "{channel}");
        worker.kill();
        lock.rollback().await.unwrap();
        let _second = place.worker();
        expect_no_silent_repetition(&place, channel, id).await;
    }
}

async fn expect_no_silent_repetition(place: &Place, channel: Channel, id: DeliveryId) {
    if channel == Channel::Webhook {
        place.app.until_delivery(id, DeliveryState::Delivered).await;
        let asked = place.receiver.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[0].key.starts_with("msg_") && asked[0].key == asked[1].key, "one key: {asked:?}");
        assert_eq!(place.outcomes(id).await, [AttemptOutcome::Unknown, AttemptOutcome::Accepted]);
        return;
    }
    let delivery = place.app.until_delivery(id, DeliveryState::Unknown).await;
    let error = delivery.error_message.unwrap_or_default();
    assert!(error.contains("may have accepted it or not"), "{error}");
    assert_eq!(place.outcomes(id).await, [AttemptOutcome::Unknown]);
    eventually("the run's end", || async { (place.app.delivery_run(id).await.0 == "failed").then_some(()) })
        .await;
    assert_eq!(place.receiver.asked().len(), 1, "nobody was asked again");
}

/// While the database is away, only the worker knows that the message was accepted; it keeps on telling.
#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_outlives_an_outage_of_the_database() {
    let place = Place::new().await;
    let id = place.delivery(Channel::Telegram, false).await;
    let mut session = place.app.db.session().await;
    let lock = session.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM deliveries WHERE id = $1 FOR NO KEY UPDATE", &[&id.0]).await.unwrap();
    let _worker = place.worker();
    place.until_blocked().await;
    // All of the worker's connections are cut in the middle of the record.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    place.app.db.client.query(cut, &[]).await.unwrap();
    place.until_blocked().await;
    lock.rollback().await.unwrap();
    place.app.until_delivery(id, DeliveryState::Delivered).await;
    assert_eq!(place.receiver.asked().len(), 1);
    assert_eq!(place.outcomes(id).await, [AttemptOutcome::Accepted]);
}
