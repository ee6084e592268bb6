//! Live transactions and the feed, whatever dies: what was acknowledged is there once, and every listener that
//! comes back hears each event once, in order.

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::{auth::Role, feed::EventId};
use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tests::{
    Listener, app, eventually,
    processes::{Postgres, Process, Redis},
};

/// Transactions that are acknowledged between two faults.
const BETWEEN: usize = 150;
const POSTERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// Servers and roles as processes of their own.
struct Place {
    postgres: Postgres,
    redis: Redis,
    environment: Vec<(&'static str, String)>,
    url: String,
    _data: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        shared::storage::prepare_tls();
        let (postgres, redis) = (Postgres::start().await, Redis::start());
        let data = tempfile::tempdir().unwrap();
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let environment = vec![
            ("DATABASE_URL", postgres.url.clone()),
            ("REDIS_URL", redis.url()),
            ("MILLRACE_REDIS_PREFIX", "live".to_owned()),
            ("MILLRACE_DATA_DIR", data.path().display().to_string()),
            ("MILLRACE_LISTEN", listen.clone()),
            ("MILLRACE_HEARTBEAT_MS", "300".to_owned()),
            ("MILLRACE_LEASE_MS", "1500".to_owned()),
        ];
        let pool = shared::db::pool(&postgres.config(), "test").unwrap();
        let mut conn = pool.get().await.unwrap();
        shared::auth::create_user(&mut conn, "admin", None, app::PASSWORD, Role::Admin).await.unwrap();
        Self { postgres, redis, environment, url: format!("http://{listen}"), _data: data }
    }

    fn role(&self, role: &str) -> Process {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Process::millrace(&[role], &environment)
    }

    async fn token(&self) -> String {
        let body = json!({ "username": "admin", "password": app::PASSWORD });
        let url = format!("{}/api/v1/token", self.url);
        eventually("the api", || async {
            let response = reqwest::Client::new().post(&url).json(&body).send().await.ok()?;
            response.json::<Value>().await.ok()?["access_token"].as_str().map(str::to_owned)
        })
        .await
    }
}

/// What a program and a listener have seen.
#[derive(Default)]
struct Seen {
    acknowledged: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    events: Mutex<Vec<(EventId, String)>>,
    resets: AtomicUsize,
    enough: AtomicBool,
}

/// Sends each transaction until it is acknowledged.
async fn post(url: String, token: String, poster: usize, seen: Arc<Seen>) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    for n in 0.. {
        if seen.enough.load(Ordering::SeqCst) {
            return;
        }
        let id = format!("p{poster}-{n}");
        let body = json!({ "transaction_id": id, "client_id": format!("c{poster}"), "amount": "1.25",
            "occurred_at": "2026-11-20T10:00:00Z", "merchant_id": "m" });
        loop {
            let sent =
                http.post(format!("{url}/api/v1/transactions")).bearer_auth(&token).json(&body).send().await;
            match sent.map(|response| response.status()) {
                Ok(StatusCode::CREATED | StatusCode::OK) => break,
                Ok(status) => assert!(status.is_server_error(), "{status}"),
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        seen.acknowledged.lock().unwrap().insert(id);
        seen.count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Places orders, each until it is accepted.
async fn order(url: String, token: String, seen: Arc<Seen>) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let order = json!({ "client_id": "ann", "ticker": "AAA", "side": "buy", "volume": 1 });
    for n in 0.. {
        if seen.enough.load(Ordering::SeqCst) {
            return;
        }
        let request = http.post(format!("{url}/api/v1/trades")).bearer_auth(&token).json(&order);
        let sent = request.header("Idempotency-Key", format!("order-{n}")).send().await;
        if sent.is_ok_and(|response| response.status() == StatusCode::ACCEPTED) {
            tokio::time::sleep(PAUSE * 5).await;
        }
    }
}

/// Listens, and comes back after each loss with the last id.
async fn listen(url: String, token: String, seen: Arc<Seen>, started: Arc<AtomicBool>) {
    let bearer = format!("Bearer {token}");
    let mut last: Option<EventId> = None;
    loop {
        let since = last.map(|id| format!("?since={id}")).unwrap_or_default();
        let address = format!("{url}/ws/transactions{since}");
        let Ok(mut listener) = Listener::open(&address, &[("authorization", &bearer)]).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while let Some(said) = listener.try_next().await {
            match said["type"].as_str() {
                Some("hello") => {
                    last.get_or_insert(said["after"].as_str().unwrap().parse().unwrap());
                    started.store(true, Ordering::SeqCst);
                }
                Some("reset" | "gap") => {
                    seen.resets.fetch_add(1, Ordering::SeqCst);
                }
                _ => {
                    let id: EventId = said["id"].as_str().unwrap().parse().unwrap();
                    let about = if said["trade"].is_null() {
                        &said["transaction"]["transaction_id"]
                    } else {
                        &said["trade"]["id"]
                    };
                    seen.events.lock().unwrap().push((id, about.as_str().unwrap().to_owned()));
                    last = Some(id);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_what_was_acknowledged_is_there_once_and_heard_once() {
    let mut place = Place::new().await;
    let (mut api, mut worker, mut scheduler) =
        (place.role("api"), place.role("worker"), place.role("scheduler"));
    let token = place.token().await;
    let market = "INSERT INTO clients (client_id, username, currency, opening_balance, position)
                      VALUES ('ann', 'ann', 'USD', 1e9, 1e9);
                  INSERT INTO stocks (ticker, currency, open_price, close_price, high, low, volume, listed_volume, created_by)
                      VALUES ('AAA', 'USD', 1, 1, 1, 1, 1000000, 1000000, 'test')";
    place.postgres.client().await.batch_execute(market).await.unwrap();
    let (seen, started) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let listening = tokio::spawn(listen(place.url.clone(), token.clone(), seen.clone(), started.clone()));
    eventually("the listener", || async { started.load(Ordering::SeqCst).then_some(()) }).await;
    let mut posting: Vec<_> = (0..POSTERS)
        .map(|poster| tokio::spawn(post(place.url.clone(), token.clone(), poster, seen.clone())))
        .collect();
    posting.push(tokio::spawn(order(place.url.clone(), token.clone(), seen.clone())));
    for fault in 0..10 {
        let before = seen.count.load(Ordering::SeqCst);
        eventually("acknowledgements", || async {
            (seen.count.load(Ordering::SeqCst) >= before + BETWEEN).then_some(())
        })
        .await;
        match fault % 5 {
            0 => {
                api.kill();
                api = place.role("api");
            }
            1 => {
                worker.kill();
                worker = place.role("worker");
            }
            2 => {
                scheduler.kill();
                scheduler = place.role("scheduler");
            }
            3 => {
                place.redis.stop();
                place.redis.start_again();
            }
            _ => place.postgres.restart_immediate().await,
        }
    }
    let before = seen.count.load(Ordering::SeqCst);
    eventually("acknowledgements at the end", || async {
        (seen.count.load(Ordering::SeqCst) >= before + BETWEEN).then_some(())
    })
    .await;
    seen.enough.store(true, Ordering::SeqCst);
    for poster in posting {
        poster.await.unwrap();
    }
    let client = place.postgres.client().await;
    eventually("the last settlement", || async {
        let pending: i64 = client
            .query_one("SELECT count(*) FROM trades WHERE state = 'pending'", &[])
            .await
            .unwrap()
            .get(0);
        (pending == 0).then_some(())
    })
    .await;
    let rows =
        client.query("SELECT transaction_id FROM transactions WHERE source = 'live'", &[]).await.unwrap();
    let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let once: BTreeSet<String> = there.iter().cloned().collect();
    assert_eq!(once.len(), there.len(), "no transaction is there twice");
    let acknowledged = seen.acknowledged.lock().unwrap().clone();
    assert_eq!(acknowledged.difference(&once).next(), None, "none that was acknowledged is missing");
    let rows = client.query("SELECT id::text FROM trades WHERE state <> 'pending'", &[]).await.unwrap();
    let trades: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(trades.len() > 10, "orders were settled meanwhile");
    let committed: BTreeSet<String> = once.union(&trades).cloned().collect();
    eventually("the feed to have told all", || async {
        (seen.events.lock().unwrap().len() >= committed.len()).then_some(())
    })
    .await;
    listening.abort();
    let events = seen.events.lock().unwrap().clone();
    assert_eq!(seen.resets.load(Ordering::SeqCst), 0, "nothing had to be read anew");
    assert!(events.is_sorted_by(|one, next| one.0.epoch == next.0.epoch && one.0.place() < next.0.place()));
    let heard: BTreeSet<String> = events.iter().map(|event| event.1.clone()).collect();
    assert_eq!((heard.len(), &heard), (events.len(), &committed), "each was told once");
}
