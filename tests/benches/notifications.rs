//! `notifications`: messages to a provider that answers at once, from their runs being free to begin until all are
//! on record as delivered; and the same while another channel's provider takes connections and says nothing, with
//! half as many messages for it at the head of the queue.

use crate::report::Report;
use anyhow::ensure;
use shared::notifications::{model::Channel, request::request_notification};
use std::time::Instant;
use tests::{
    App, AppOptions, eventually,
    postbox::{message, providers},
    processes::Process,
    receivers::Receiver,
};

const BENCH: &str = "notifications";
/// Addresses of one notification.
const TOGETHER: usize = 500;

struct Place {
    app: App,
    receiver: Receiver,
    telegram: String,
    sms: String,
}

/// Messages alone, and beside a dead provider, several times.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (rounds, messages) = if quick { (1, 1000) } else { (7, 10_000) };
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let place = Place::start(silent.local_addr()?.port()).await?;
    let context = format!("{messages} messages, one worker with 128 slots, the receiver on the same machine");
    for _ in 0..rounds {
        // Another worker each time: what the last one knows of the silent provider, and still asks it, ends with it.
        let worker = place.worker().await;
        let alone = place.deliver(messages, 0).await?;
        let beside = place.deliver(messages, messages / 2).await?;
        drop(worker);
        let mut add = |figure, unit, goal, value| report.add(BENCH, figure, unit, goal, &context, value);
        add("deliveries_per_s", "deliveries/s", "≥ 500", messages as f64 / alone);
        add("deliveries_per_s_beside_dead", "deliveries/s", "–", messages as f64 / beside);
        add("others_slowdown_with_dead_provider", "ratio", "≤ 1.1", beside / alone);
    }
    Ok(())
}

impl Place {
    async fn start(dead: u16) -> anyhow::Result<Self> {
        let receiver = Receiver::start().await;
        let telegram = format!("telegram+http://123456:BOT-TOKEN_1@127.0.0.1:{}", receiver.port);
        let sms = format!("kavenegar+http://SMS-KEY-1234@127.0.0.1:{dead}?sender=10004346");
        let given = [(Channel::Telegram, telegram.as_str()), (Channel::Sms, sms.as_str())];
        let app = App::start_with(AppOptions {
            notifications: providers(&given),
            worker: false,
            ..AppOptions::default()
        })
        .await;
        Ok(Self { app, receiver, telegram, sms })
    }

    async fn worker(&self) -> Process {
        let (app, data_dir) = (&self.app, self.app.data_dir().display().to_string());
        let workers = || async { app.db.one::<i64>("SELECT count(*) FROM workers", &[]).await };
        let before = workers().await;
        let worker = Process::millrace(
            &["worker"],
            &[
                ("DATABASE_URL", &app.db.url),
                ("REDIS_URL", &app.redis.url),
                ("MILLRACE_REDIS_PREFIX", &app.redis.prefix),
                ("MILLRACE_DATA_DIR", &data_dir),
                ("MILLRACE_LOG", "error"),
                ("MILLRACE_TELEGRAM", &self.telegram),
                ("MILLRACE_SMS", &self.sms),
            ],
        );
        eventually("the worker", || async { (workers().await > before).then_some(()) }).await;
        worker
    }

    /// Seconds that it takes to deliver so many messages, with `dead` others before them that nobody takes.
    async fn deliver(&self, messages: usize, dead: usize) -> anyhow::Result<f64> {
        let db = &self.app.db;
        db.client
            .batch_execute(
                "DELETE FROM runs WHERE kind = 'deliver_sms'; DELETE FROM notifications; DELETE FROM circuits;
                 INSERT INTO pauses (target, name, paused_by) VALUES ('queue', 'deliveries', 'bench')",
            )
            .await?;
        let before = self.receiver.count();
        self.ask(Channel::Sms, dead).await?;
        self.ask(Channel::Telegram, messages).await?;
        let since = Instant::now();
        db.client.execute("DELETE FROM pauses", &[]).await?;
        self.app.env.doorbells.ring(shared::runs::Queue::Deliveries, 64);
        // Until they were all asked for, nobody asks the database how far it is.
        eventually("the requests", || async { (self.receiver.count() - before >= messages).then_some(()) })
            .await;
        let delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered'";
        eventually("the deliveries", || async {
            (db.one::<i64>(delivered, &[]).await == messages as i64).then_some(())
        })
        .await;
        let took = since.elapsed().as_secs_f64();
        let asked = self.receiver.count() - before;
        ensure!(asked == messages, "{asked} of {messages} messages reached the provider");
        Ok(took)
    }

    async fn ask(&self, channel: Channel, messages: usize) -> anyhow::Result<()> {
        let address = |n: usize| match channel {
            Channel::Sms => format!("+98913{n:07}"),
            _ => (1000 + n).to_string(),
        };
        let addresses: Vec<String> = (0..messages).map(address).collect();
        for part in addresses.chunks(TOGETHER) {
            let to: Vec<(Channel, &str)> = part.iter().map(|to| (channel, to.as_str())).collect();
            request_notification(&self.app.env, message(&to)).await?;
        }
        Ok(())
    }
}
