//! A new version takes over under load: two apis behind a proxy, two workers, two schedulers, replaced one after the
//! other. No request fails, nothing is lost or doubled, listeners hear each event once.
//!
//! `MILLRACE_OLD_BIN` names the executable of the version before; without it the same version is restarted.

use reqwest::{Method, StatusCode, multipart};
use rustix::process::Signal;
use serde_json::{Value, json};
use shared::{auth::Role, feed::EventId};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tests::{
    Listener, app, eventually, files,
    processes::{Postgres, Process, Redis, millrace},
};

const POSTERS: usize = 4;
/// Transactions that are recorded between two replacements.
const BETWEEN: usize = 150;
const ROWS_OF_A_FILE: u64 = 500;

fn old_version() -> PathBuf {
    std::env::var_os("MILLRACE_OLD_BIN").map_or_else(millrace, PathBuf::from)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The servers, the proxy, and where the apis listen.
struct Place {
    postgres: Postgres,
    redis: Redis,
    data: tempfile::TempDir,
    apis: [SocketAddr; 2],
    url: String,
    _proxy: Process,
}

impl Place {
    async fn new() -> Self {
        shared::storage::prepare_tls();
        let (postgres, redis) = (Postgres::start().await, Redis::start());
        let data = tempfile::tempdir().unwrap();
        let pool = shared::db::pool(&postgres.config(), "test").unwrap();
        let mut conn = pool.get().await.unwrap();
        shared::auth::create_user(&mut conn, "admin", None, app::PASSWORD, Role::Admin).await.unwrap();
        let (front, apis) = (free_address(), [free_address(), free_address()]);
        // What docs/operations.md says that a proxy needs: who is not ready gets nothing, a connection that cannot be
        // made is made elsewhere, an open one may be silent.
        let mut config = format!(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n  \
             timeout tunnel 1h\n  timeout check 4s\n  option httpchk GET /readyz\n  option redispatch 1\n  retries 3\n  \
             retry-on conn-failure\nlisten millrace\n  bind {front}\n  default-server check inter 200ms fall 2 rise 1\n"
        );
        for (number, api) in apis.iter().enumerate() {
            writeln!(config, "  server api{number} {api}").unwrap();
        }
        let path = data.path().join("haproxy.cfg");
        std::fs::write(&path, config).unwrap();
        let proxy = Process::program("haproxy", &["-db", "-f", path.to_str().unwrap()]);
        Self { postgres, redis, data, apis, url: format!("http://{front}"), _proxy: proxy }
    }

    fn role(&self, program: &std::path::Path, role: &str, listen: Option<SocketAddr>) -> Process {
        let listen = listen.unwrap_or_else(free_address).to_string();
        let environment = [
            ("DATABASE_URL", self.postgres.url.as_str()),
            ("REDIS_URL", &self.redis.url()),
            ("MILLRACE_DATA_DIR", self.data.path().to_str().unwrap()),
            ("MILLRACE_LISTEN", &listen),
            ("MILLRACE_DRAIN_MS", "1500"),
            ("MILLRACE_HEARTBEAT_MS", "300"),
            ("MILLRACE_LEASE_MS", "3000"),
            ("MILLRACE_CHUNK_RECORDS", "100"),
        ];
        Process::millrace_of(program, &[role], &environment)
    }

    /// Starts an api and waits until it is ready.
    async fn api(&self, program: &std::path::Path, number: usize) -> Process {
        let api = self.role(program, "api", Some(self.apis[number]));
        let url = format!("http://{}/readyz", self.apis[number]);
        eventually("a ready api", || async {
            reqwest::get(&url).await.ok().filter(|answer| answer.status() == StatusCode::OK)
        })
        .await;
        api
    }
}

/// What programs and listeners have seen.
#[derive(Default)]
struct Seen {
    recorded: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    uploads: Mutex<Vec<String>>,
    events: Mutex<Vec<(EventId, String)>>,
    /// What failed, as one line each.
    failures: Mutex<Vec<String>>,
    connections: AtomicUsize,
    enough: AtomicBool,
}

impl Seen {
    fn is_enough(&self) -> bool {
        self.enough.load(Ordering::SeqCst)
    }

    fn fail(&self, what: &str, said: impl std::fmt::Display) {
        self.failures.lock().unwrap().push(format!("{what}: {said}"));
    }
}

struct Caller {
    http: reqwest::Client,
    url: String,
    token: String,
    seen: Arc<Seen>,
}

impl Caller {
    /// Sends a request once: whatever is no success is a failure.
    async fn send(&self, what: &str, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.judge(what, request.send().await).await
    }

    async fn judge(&self, what: &str, sent: reqwest::Result<reqwest::Response>) -> Option<Value> {
        match sent {
            Ok(answer) if answer.status().is_success() => Some(answer.json().await.unwrap_or(Value::Null)),
            Ok(answer) => {
                let status = answer.status();
                self.seen.fail(what, format!("{status} {}", answer.text().await.unwrap_or_default()));
                None
            }
            Err(error) => {
                self.seen.fail(what, format!("{error:?}"));
                None
            }
        }
    }

    async fn post(&self, poster: usize) {
        for n in 0.. {
            if self.seen.is_enough() {
                return;
            }
            let id = format!("p{poster}-{n}");
            let body = json!({ "transaction_id": id, "client_id": format!("c{poster}"), "amount": "1.25",
                "occurred_at": "2026-11-20T10:00:00Z" });
            if self.send("a transaction", Method::POST, "/api/v1/transactions", Some(body)).await.is_some() {
                self.seen.recorded.lock().unwrap().insert(id);
                self.seen.count.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn read(&self) {
        for path in
            ["/api/v1/transactions?limit=5", "/api/v1/uploads", "/ui/login", "/api/v1/runs"].iter().cycle()
        {
            if self.seen.is_enough() {
                return;
            }
            self.send("a page", Method::GET, path, None).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn upload(&self) {
        for n in 0.. {
            if self.seen.is_enough() {
                return;
            }
            let part =
                multipart::Part::bytes(files::transactions(ROWS_OF_A_FILE, n)).file_name(format!("{n}.csv"));
            let form = multipart::Form::new().part("file", part);
            let request = self.http.post(format!("{}/api/v1/uploads", self.url)).bearer_auth(&self.token);
            if let Some(upload) = self.judge("an upload", request.multipart(form).send().await).await {
                self.seen.uploads.lock().unwrap().push(upload["id"].as_str().unwrap().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Listens, and comes back with the last id whenever it is told to go.
    async fn listen(&self) {
        let bearer = format!("Bearer {}", self.token);
        let mut last: Option<EventId> = None;
        while !self.seen.is_enough() {
            let since = last.map(|id| format!("?since={id}")).unwrap_or_default();
            let address = format!("{}/ws/transactions{since}", self.url);
            let Ok(mut listener) = Listener::open(&address, &[("authorization", &bearer)]).await else {
                self.seen.fail("a socket", "refused");
                continue;
            };
            self.seen.connections.fetch_add(1, Ordering::SeqCst);
            while let Some(said) = listener.try_next().await {
                match said["type"].as_str() {
                    Some("hello") => {
                        last.get_or_insert(said["after"].as_str().unwrap().parse().unwrap());
                    }
                    Some("reset" | "gap") => self.seen.fail("the feed", &said),
                    _ => {
                        let id: EventId = said["id"].as_str().unwrap().parse().unwrap();
                        let about = said["transaction"]["transaction_id"].as_str().unwrap_or_default();
                        self.seen.events.lock().unwrap().push((id, about.to_owned()));
                        last = Some(id);
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_under_load() {
    let place = Place::new().await;
    let (old, new) = (old_version(), millrace());
    let migrated = Command::new(&new)
        .args(["migrate", "--check"])
        .env("DATABASE_URL", &place.postgres.url)
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let mut apis = [place.api(&old, 0).await, place.api(&old, 1).await];
    let mut workers = [place.role(&old, "worker", None), place.role(&old, "worker", None)];
    let mut schedulers = [place.role(&old, "scheduler", None), place.role(&old, "scheduler", None)];
    let token = eventually("the proxy", || async {
        let body = json!({ "username": "admin", "password": app::PASSWORD });
        let answer = reqwest::Client::new()
            .post(format!("{}/api/v1/token", place.url))
            .json(&body)
            .send()
            .await
            .ok()?;
        answer.json::<Value>().await.ok()?["access_token"].as_str().map(str::to_owned)
    })
    .await;

    let seen = Arc::new(Seen::default());
    let caller =
        Arc::new(Caller { http: reqwest::Client::new(), url: place.url.clone(), token, seen: seen.clone() });
    let listening = tokio::spawn({
        let caller = caller.clone();
        async move { caller.listen().await }
    });
    eventually("the listener", || async { (seen.connections.load(Ordering::SeqCst) > 0).then_some(()) })
        .await;
    let mut calling = Vec::new();
    for poster in 0..POSTERS {
        let caller = caller.clone();
        calling.push(tokio::spawn(async move { caller.post(poster).await }));
    }
    let (reader, uploader) = (caller.clone(), caller.clone());
    calling.push(tokio::spawn(async move { reader.read().await }));
    calling.push(tokio::spawn(async move { uploader.upload().await }));

    let some_more = async || {
        let before = seen.count.load(Ordering::SeqCst);
        eventually("transactions", || async {
            (seen.count.load(Ordering::SeqCst) >= before + BETWEEN).then_some(())
        })
        .await;
    };
    for number in 0..2 {
        some_more().await;
        // Not ready first, and gone when the proxy has noticed.
        apis[number].signal(Signal::TERM);
        let url = format!("http://{}/readyz", place.apis[number]);
        eventually("an api that is not ready and serves on", || async {
            (reqwest::get(&url).await.ok()?.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
        })
        .await;
        apis[number].wait();
        apis[number] = place.api(&new, number).await;
        some_more().await;
        let worker = place.role(&new, "worker", None);
        assert!(workers[number].stop(), "SIGTERM ends a worker well");
        workers[number] = worker;
        let scheduler = place.role(&new, "scheduler", None);
        assert!(schedulers[number].stop(), "SIGTERM ends a scheduler well");
        schedulers[number] = scheduler;
    }
    some_more().await;
    seen.enough.store(true, Ordering::SeqCst);
    for call in calling {
        call.await.unwrap();
    }

    let client = place.postgres.client().await;
    eventually("every upload's end", || async {
        let left =
            "SELECT count(*) FROM runs WHERE finished_at IS NULL AND kind IN ('plan_upload', 'ingest_chunk', 'finish_upload')";
        (client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    let recorded = seen.recorded.lock().unwrap().clone();
    eventually("every event", || async {
        let events = seen.events.lock().unwrap();
        (recorded.iter().all(|id| events.iter().any(|(_, about)| about == id))).then_some(())
    })
    .await;
    listening.abort();
    let failures = seen.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} requests failed, the first: {:?}", failures.len(), failures.first());
    assert!(seen.connections.load(Ordering::SeqCst) >= 2, "the listener came back");
    let events = seen.events.lock().unwrap().clone();
    assert!(
        events.is_sorted_by(|one, next| one.0.epoch == next.0.epoch && one.0.place() < next.0.place()),
        "each once, in order"
    );
    let rows =
        client.query("SELECT transaction_id FROM transactions WHERE source = 'live'", &[]).await.unwrap();
    let rows: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, recorded);
    let uploads = seen.uploads.lock().unwrap().clone();
    let finished = "SELECT count(*) FROM uploads WHERE state = 'finished'";
    assert_eq!(client.query_one(finished, &[]).await.unwrap().get::<_, i64>(0), uploads.len() as i64);
    let loaded = "SELECT count(*) FROM transactions WHERE source = 'upload'";
    let loaded: i64 = client.query_one(loaded, &[]).await.unwrap().get(0);
    assert_eq!(loaded, uploads.len() as i64 * ROWS_OF_A_FILE as i64);
    let crashed = "SELECT count(*) FROM run_attempts WHERE outcome = 'crashed'";
    assert_eq!(client.query_one(crashed, &[]).await.unwrap().get::<_, i64>(0), 0);
}
