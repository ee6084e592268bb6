//! The application: api and worker in this process, spoken to over HTTP.

use crate::{TestDatabase, eventually};
use reqwest::{Method, RequestBuilder, StatusCode, multipart};
use serde_json::Value;
use shared::{
    auth::Role,
    cache::Cache,
    clock::SystemClock,
    config::{
        ApiConfig, CompatConfig, EtlConfig, FeedConfig, FilesConfig, NotificationsConfig, RedisConfig,
        RetentionConfig, TrustedProxies, WorkerConfig,
    },
    db,
    ids::UploadId,
    notifications::NotificationDesk,
    runs::{Doorbells, Environment, Queue, registry::Kind},
    settings::Settings,
    storage::Storage,
    summaries::Calendar,
    trades::TradeDesk,
    transactions::live::LiveDesk,
    uploads::{NewUpload, UploadKind, UploadOptions, accept_upload, service::storage_key, undo},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The password of every user that tests make.
pub const PASSWORD: &str = "correct horse battery";

/// How long tests keep what has ended.
pub const RETENTION: RetentionConfig = RetentionConfig { completed_days: 7, failed_days: 30 };

/// What differs between tests.
pub struct AppOptions {
    /// What a day is.
    pub zone: chrono_tz::Tz,
    /// Records of a chunk.
    pub chunk_records: u64,
    /// The kinds that the worker runs.
    pub kinds: &'static [Kind],
    /// Whether a worker runs in this process.
    pub worker: bool,
    /// Largest accepted file.
    pub max_upload_bytes: u64,
    /// What files may hold.
    pub files: FilesConfig,
    /// Whose weeks and months summaries have by default.
    pub calendar: Option<Calendar>,
    /// Whether administrators may delete all transactions.
    pub allow_destructive: bool,
    /// The routes of the replaced services.
    pub compat: CompatConfig,
    /// Where files are kept, if not below the data directory.
    pub files_dir: Option<PathBuf>,
    /// A Redis of the test's own.
    pub redis_url: Option<String>,
    /// How messages leave.
    pub notifications: NotificationsConfig,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            zone: chrono_tz::UTC,
            chunk_records: 1000,
            kinds: shared::runs::registry::KINDS,
            worker: true,
            max_upload_bytes: 64 << 20,
            files: FilesConfig::default(),
            calendar: None,
            allow_destructive: false,
            compat: CompatConfig::default(),
            files_dir: None,
            redis_url: None,
            notifications: NotificationsConfig::usual(true),
        }
    }
}

/// A running application with a database of its own.
pub struct App {
    /// The record.
    pub db: TestDatabase,
    /// Where it answers, without a slash at the end.
    pub url: String,
    /// Its means, for tests that speak to the domains directly.
    pub env: Arc<Environment>,
    /// Doorbells' Redis.
    pub redis: RedisConfig,
    /// Files.
    pub directory: tempfile::TempDir,
    admin_token: String,
    http: reqwest::Client,
    shutdown: CancellationToken,
    api_config: ApiConfig,
    worker_config: WorkerConfig,
    notifications: NotificationsConfig,
    kinds: &'static [Kind],
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// A worker's configuration with short leases.
pub fn quick_worker(chunk_records: u64) -> WorkerConfig {
    WorkerConfig {
        ingest_slots: 2,
        default_slots: 2,
        control_slots: 1,
        light_slots: 50,
        delivery_slots: 32,
        heartbeat: Duration::from_millis(500),
        lease: Duration::from_millis(3000),
        shutdown_grace: Duration::from_secs(1),
        chunk_records,
    }
}

impl App {
    /// The application as it is by default.
    pub async fn start() -> Self {
        Self::start_with(AppOptions::default()).await
    }

    /// The application with differences.
    pub async fn start_with(options: AppOptions) -> Self {
        shared::metrics::install().expect("metrics");
        shared::storage::prepare_tls();
        let db = TestDatabase::create_in(options.zone).await;
        let directory = tempfile::tempdir().expect("a directory");
        let files_dir = options.files_dir.unwrap_or_else(|| directory.path().join("files"));
        let redis = RedisConfig {
            url: options.redis_url.unwrap_or_else(|| {
                std::env::var("REDIS_URL").expect("REDIS_URL is not set: run the tests by ./run test")
            }),
            prefix: format!("test-{}", uuid::Uuid::new_v4().simple()),
        };
        let pool = db::pool(&db.config(), "test-api").expect("a pool");
        let settings = Settings::load(&mut pool.get().await.expect("a connection")).await.expect("settings");
        let env = Arc::new(Environment {
            pool,
            load_connections: db::LoadConnections::new(db.url.clone()),
            storage: Storage::directory(&files_dir).expect("storage"),
            clock: Arc::new(SystemClock),
            settings,
            doorbells: Doorbells::new(Some(redis.clone())),
            chunk_records: options.chunk_records,
            kinds: options.kinds,
            retention: RETENTION,
            files: options.files,
            etl: EtlConfig {
                clients: directory.path().join("clients.csv").display().to_string(),
                transactions: directory.path().join("transactions.csv").display().to_string(),
            },
            cache: Cache::new(Some(redis.clone())),
            trades: TradeDesk::default(),
            live: LiveDesk::default(),
            notifications: NotificationDesk::open(&options.notifications).expect("providers"),
        });
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let config = ApiConfig {
            listen: listener.local_addr().expect("an address"),
            max_upload_bytes: options.max_upload_bytes,
            secure_cookies: false,
            token_life: Duration::from_secs(3600),
            calendar: options.calendar,
            allowed_origins: Vec::new(),
            allow_destructive: options.allow_destructive,
            trusted_proxies: TrustedProxies::default(),
            drain: Duration::ZERO,
            compat: options.compat,
        };
        let state =
            api::AppState::new(env.clone(), config.clone(), Some(redis.clone()), shutdown.child_token());
        let mut app = Self {
            db,
            url,
            env,
            redis,
            directory,
            admin_token: String::new(),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            shutdown,
            api_config: config,
            worker_config: quick_worker(options.chunk_records),
            notifications: options.notifications,
            kinds: options.kinds,
            tasks: vec![tokio::spawn(api::serve(state, listener))],
        };
        if options.worker {
            app.start_worker();
        }
        app.admin_token = app.token(Role::Admin).await;
        app
    }

    /// Starts one more api beside this one; where it answers.
    pub async fn start_api(&mut self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let redis = Some(self.redis.clone());
        let stop = self.shutdown.child_token();
        let state = api::AppState::new(self.env.clone(), self.api_config.clone(), redis, stop);
        self.tasks.push(tokio::spawn(api::serve(state, listener)));
        url
    }

    /// Starts a scheduler, which also publishes the feed, in this process.
    pub fn start_scheduler(&mut self) -> CancellationToken {
        let stop = self.shutdown.child_token();
        let setup = scheduler::SchedulerSetup {
            database: self.db.config(),
            redis: Some(self.redis.clone()),
            feed: FeedConfig { kept: Duration::from_secs(3600) },
            doorbells: self.env.doorbells.clone(),
            kinds: self.kinds,
            nightly: false,
            begun: Arc::default(),
        };
        self.tasks.push(tokio::spawn(scheduler::run(setup, stop.clone())));
        stop
    }

    /// Starts a worker (one more) in this process.
    pub fn start_worker(&mut self) -> CancellationToken {
        let stop = self.shutdown.child_token();
        let setup = worker::WorkerSetup {
            database: self.db.config(),
            redis: Some(self.redis.clone()),
            storage: self.env.storage.clone(),
            clock: Arc::new(SystemClock),
            config: self.worker_config.clone(),
            retention: RETENTION,
            files: self.env.files,
            etl: self.env.etl.clone(),
            notifications: self.notifications.clone(),
            kinds: self.kinds,
            logs: None,
            begun: Arc::default(),
        };
        self.tasks.push(tokio::spawn(worker::run(setup, stop.clone())));
        stop
    }

    /// Makes a user of a role and logs in.
    pub async fn token(&self, role: Role) -> String {
        let name = format!("{role}-{}", uuid::Uuid::new_v4().simple());
        let mut conn = self.env.pool.get().await.expect("a connection");
        shared::auth::create_user(&mut conn, &name, None, PASSWORD, role).await.expect("a user");
        let body = serde_json::json!({ "username": name, "password": PASSWORD });
        let (status, answer) = self.send(self.anonymous(Method::POST, "/api/v1/token").json(&body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// The administrator's access token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A request without credentials.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A request of the administrator.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.admin_token)
    }

    /// Sends a request; the answer's status and JSON (its text, if it is none).
    pub async fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// GETs JSON as the administrator.
    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send(self.request(Method::GET, path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// POSTs nothing as the administrator; the answer's status and JSON.
    pub async fn post(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.request(Method::POST, path)).await
    }

    /// Uploads a file; `query` is what follows the path.
    pub async fn upload(&self, name: &str, content: impl Into<Vec<u8>>, query: &str) -> (StatusCode, Value) {
        let part = multipart::Part::bytes(content.into()).file_name(name.to_owned());
        let form = multipart::Form::new().part("file", part);
        let path = format!("/api/v1/uploads{query}");
        self.send(self.request(Method::POST, &path).multipart(form)).await
    }

    /// Waits until an upload's flow has ended; the upload.
    pub async fn ended(&self, id: &str) -> Value {
        let path = format!("/api/v1/uploads/{id}");
        let path = &path;
        eventually(&format!("the end of upload {id}"), move || async move {
            let upload = self.get(path).await;
            let state = upload["state"].as_str().expect("a state");
            ["finished", "failed", "cancelled"].contains(&state).then_some(upload)
        })
        .await
    }

    /// Uploads a file and waits for the end of its flow.
    pub async fn load(&self, name: &str, content: impl Into<Vec<u8>>, query: &str) -> Value {
        let (status, upload) = self.upload(name, content, query).await;
        assert!(status.is_success(), "{status}: {upload}");
        self.ended(upload["id"].as_str().expect("an id")).await
    }

    /// Takes a file in with options of any kind, as a client in this process would, and waits for the end
    /// of its flow.
    pub async fn load_with(&self, name: &str, content: &[u8], options: UploadOptions) -> Value {
        let id = self.accept(name, content, options).await;
        self.ended(&id.to_string()).await
    }

    /// Takes a file of transactions in; its upload.
    pub async fn accept(&self, name: &str, content: &[u8], options: UploadOptions) -> UploadId {
        self.accept_kind(UploadKind::Transactions, name, content, options).await
    }

    /// Takes a file in; its upload.
    pub async fn accept_kind(
        &self,
        kind: UploadKind,
        name: &str,
        content: &[u8],
        options: UploadOptions,
    ) -> UploadId {
        let mut writer = self.env.storage.create(&storage_key()).await.expect("storage");
        writer.write(content).await.expect("storage");
        let new = NewUpload {
            kind,
            filename: name.to_owned(),
            file: writer.finish().await.expect("storage"),
            options,
            corrects: None,
            forced: false,
            created_by: "test".to_owned(),
            idempotency_key: None,
        };
        let mut conn = self.env.pool.get().await.expect("a connection");
        let accepted = accept_upload(&mut conn, &new).await.expect("an upload");
        self.env.doorbells.ring(Queue::Ingest, 1);
        accepted.upload.id
    }

    /// Undoes an upload and waits for the end of that; the upload.
    pub async fn undo(&self, upload: &Value) -> Value {
        let id: UploadId = upload["id"].as_str().and_then(|id| id.parse().ok()).expect("an upload");
        let mut conn = self.env.pool.get().await.expect("a connection");
        undo::request_undo(&mut conn, id, false, "test").await.expect("it can be undone");
        self.env.doorbells.ring(Queue::Ingest, 1);
        self.undone(&id.to_string()).await
    }

    /// Waits for the end of an undo; the upload.
    pub async fn undone(&self, id: &str) -> Value {
        let path = format!("/api/v1/uploads/{id}");
        let path = &path;
        eventually("the undo", move || async move {
            let upload = self.get(path).await;
            (upload["state"] == "undone").then_some(upload)
        })
        .await
    }

    /// The data directory; the stored files are below it.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
