//! Metrics: what a scrape says, who may ask, what it costs the database, and what a dashboard builds on.

use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    auth::{NewApiKey, Role, create_api_key},
    clock::{Clock, SystemClock},
    metrics::{Type, names},
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, enqueue, queues,
        queues::{Pause, PauseTarget},
    },
};
use std::{collections::BTreeSet, time::Duration};
use tests::{App, AppOptions, eventually, exposition::Scrape, processes::Process};

/// Ends at once, well or badly.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Measured {
    fails: bool,
}

/// Waits in a queue of its own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Queued {}

shared::job_registry! {
    /// The kinds of these tests.
    static KINDS = [Measured, Queued];
}

impl Job for Measured {
    const KIND: &'static str = "measured";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Fixed(&[Duration::from_secs(3600)]);
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        match self.fails {
            true => Err(JobError::retry(anyhow::anyhow!("not yet"))),
            false => Ok(Finished::Result(serde_json::json!("measured"))),
        }
    }
}

impl Job for Queued {
    const KIND: &'static str = "queued";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::json!("queued")))
    }
}

async fn app(worker: bool) -> App {
    App::start_with(AppOptions { kinds: KINDS, worker, ..AppOptions::default() }).await
}

async fn put(app: &App, job: &impl shared::runs::registry::Registered) {
    let mut conn = app.env.pool.get().await.unwrap();
    enqueue(&mut conn, job, &EnqueueOptions::by("test")).await.unwrap();
    Queue::ALL.iter().for_each(|&queue| app.env.doorbells.ring(queue, 1));
}

async fn scrape(app: &App) -> Scrape {
    let response = app.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let scrape = Scrape::read(&response.text().await.unwrap());
    expect_as_declared(&scrape);
    scrape
}

/// Types, helps and labels are those of the table.
fn expect_as_declared(scrape: &Scrape) {
    for (name, kind) in &scrape.types {
        let metric = names::METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not declared"));
        let declared = match metric.kind {
            Type::Counter => "counter",
            Type::Histogram => "histogram",
            Type::Gauge => "gauge",
        };
        assert_eq!((kind.as_str(), scrape.help[name].as_str()), (declared, metric.help), "{name}");
    }
    for (name, labels) in scrape.samples.keys() {
        let family = scrape.family(name).unwrap();
        let metric = names::METRICS.iter().find(|metric| metric.name == family).unwrap();
        let mut declared: BTreeSet<&str> = metric.labels.iter().map(|label| label.as_str()).collect();
        declared.extend(name.ends_with("_bucket").then_some("le"));
        assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), declared, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_who_is_logged_in() {
    let app = app(false).await;
    let (status, problem) = app.send(app.anonymous(Method::GET, "/metrics")).await;
    assert_eq!((status, &problem["status"]), (StatusCode::UNAUTHORIZED, &401.into()));
    let viewer = app.token(Role::Viewer).await;
    let (status, _) = app.send(app.anonymous(Method::GET, "/metrics").bearer_auth(viewer)).await;
    assert_eq!(status, StatusCode::OK);

    let now = SystemClock.now();
    let new = NewApiKey {
        name: "prometheus".to_owned(),
        role: Role::Viewer,
        expires_at: None,
        created_by: "test".to_owned(),
    };
    let (_, key) = create_api_key(&mut app.env.pool.get().await.unwrap(), &new, now).await.unwrap();
    let (status, _) = app.send(app.anonymous(Method::GET, "/metrics").bearer_auth(key)).await;
    assert_eq!(status, StatusCode::OK, "a scraper sends its key as bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_how_the_record_stands() {
    let app = app(true).await;
    let pause = Pause {
        target: PauseTarget::Queue,
        name: "light".to_owned(),
        until: None,
        reason: Some("test".to_owned()),
        paused_by: "test".to_owned(),
        paused_at: SystemClock.now(),
    };
    {
        let mut conn = app.env.pool.get().await.unwrap();
        queues::pause(&mut conn, &pause).await.unwrap();
        queues::set_limit(&mut conn, "default", Some(7)).await.unwrap();
    }
    put(&app, &Queued {}).await;
    put(&app, &Queued {}).await;
    put(&app, &Measured { fails: true }).await;
    put(&app, &Measured { fails: false }).await;

    let found = eventually("a run to be retryable and one to be done", || async {
        // First the record: the gauges are read one after the other.
        let ended = "SELECT count(*) FROM runs WHERE state IN ('completed', 'retryable')";
        let ended: i64 = app.db.one(ended, &[]).await;
        let scrape = scrape(&app).await;
        let retryable = scrape.value("millrace_runs", &[("kind", "measured"), ("state", "retryable")]);
        (ended == 2 && retryable == Some(1.0)).then_some(scrape)
    })
    .await;
    let of = |name: &str, queue: &str| found.value(name, &[("queue", queue)]);
    assert_eq!(of("millrace_queue_depth", "light"), Some(2.0));
    assert_eq!(of("millrace_queue_depth", "ingest"), Some(0.0));
    assert_eq!(of("millrace_queue_paused", "light"), Some(1.0));
    assert_eq!(of("millrace_queue_paused", "default"), Some(0.0));
    assert_eq!(of("millrace_queue_limit", "default"), Some(7.0));
    assert_eq!(of("millrace_queue_limit", "light"), None, "without a limit there is none");
    assert_eq!(of("millrace_queue_running", "default"), Some(0.0));
    assert!(of("millrace_queue_slots", "light").is_some());
    assert!(of("millrace_queue_oldest_age_seconds", "light").is_some_and(|age| age > 0.0));
    assert_eq!(of("millrace_queue_oldest_age_seconds", "ingest"), Some(0.0));
    assert_eq!(found.value("millrace_runs", &[("kind", "queued"), ("state", "available")]), Some(2.0));
    assert_eq!(found.value("millrace_runs", &[("kind", "measured"), ("state", "completed")]), None);
    assert_eq!(found.value("millrace_workers", &[("state", "alive")]), Some(1.0));
    assert_eq!(found.value("millrace_workers", &[("state", "dead")]), Some(0.0));
    assert_eq!(found.value("millrace_database_up", &[]), Some(1.0));
    assert_eq!(found.value("millrace_database_pool", &[("state", "max")]), Some(8.0));
    assert!(found.value("millrace_runs_rescued_total", &[]).is_some(), "a counter begins at zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route_and_class_of_status() {
    let app = app(false).await;
    let id = "01a1f828-3a35-74a3-8cf5-57ada783babe";
    for _ in 0..2 {
        app.send(app.request(Method::GET, &format!("/api/v1/runs/{id}"))).await;
    }
    app.send(app.request(Method::GET, "/no/such/path")).await;
    let scrape = scrape(&app).await;
    let route = ("route", "/api/v1/runs/{id}");
    let labels = [("method", "GET"), route, ("status", "4xx")];
    // The process may serve other tests too.
    assert!(scrape.value("millrace_http_requests_total", &labels) >= Some(2.0));
    let labels = [("method", "GET"), ("route", "none"), ("status", "4xx")];
    assert!(scrape.value("millrace_http_requests_total", &labels) >= Some(1.0));
    let labels = [("method", "GET"), route];
    assert!(scrape.value("millrace_http_request_duration_seconds_count", &labels) >= Some(2.0));
    let paths: Vec<_> =
        scrape.samples.keys().filter(|(_, labels)| labels.values().any(|v| v.contains(id))).collect();
    assert!(paths.is_empty(), "a path is no route: {paths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_does_is_counted() {
    let app = app(true).await;
    put(&app, &Measured { fails: true }).await;
    put(&app, &Measured { fails: false }).await;
    put(&app, &Queued {}).await;
    let kind = |kind: &'static str| ("kind", kind);
    // The process may serve other tests too: at least so many.
    let found = eventually("three attempts to be counted", || async {
        let scrape = scrape(&app).await;
        let done = |kind: &'static str| {
            scrape.value("millrace_runs_finished_total", &[("kind", kind), ("state", "completed")])
        };
        let failed = scrape.value("millrace_attempts_total", &[kind("measured"), ("outcome", "error")]);
        let all = [done("measured"), done("queued"), failed].into_iter().all(|count| count >= Some(1.0));
        all.then_some(scrape)
    })
    .await;
    let at_least = |least: f64, name: &str, labels: &[(&str, &str)]| {
        assert!(
            found.value(name, labels) >= Some(least),
            "{name} {labels:?}: {:?}",
            found.value(name, labels)
        );
    };
    at_least(1.0, "millrace_runs_retried_total", &[kind("measured")]);
    at_least(2.0, "millrace_run_wait_seconds_count", &[kind("measured")]);
    at_least(1.0, "millrace_run_duration_seconds_count", &[kind("measured"), ("outcome", "error")]);
    at_least(1.0, "millrace_claimed_runs_total", &[("queue", "light")]);
    at_least(1.0, "millrace_claims_total", &[("queue", "default")]);
}

/// Sequential scans and index scans of `runs` so far, as far as the sessions have reported them.
async fn scans(app: &App) -> (i64, i64) {
    let sql = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'runs'";
    let row = app.db.client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_reads_no_table_of_runs_from_end_to_end() {
    let app = app(false).await;
    // In a session of its own: what it scanned is reported when it ends.
    let filler = shared::db::connect(&app.db.url).await.unwrap();
    filler
        .batch_execute(
            "INSERT INTO runs (id, kind, queue, state, max_attempts, flow_id, created_by, finished_at)
                 SELECT id, 'measured', 'default', 'completed', 1, id, 'test', now()
                 FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 20000)) AS ids;
             INSERT INTO runs (id, kind, queue, state, max_attempts, flow_id, created_by, finished_at)
                 SELECT id, 'measured', 'default', 'failed', 1, id, 'test', now()
                 FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 100)) AS ids;
             ANALYZE runs",
        )
        .await
        .unwrap();
    put(&app, &Measured { fails: false }).await;
    let pid: i32 = filler.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    drop(filler);
    eventually("the session to end", || async {
        let sessions =
            app.db.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", &[&pid]).await;
        (sessions == 0).then_some(())
    })
    .await;

    let (sequential, by_index) = scans(&app).await;
    // Often enough for statements to be planned once and for all.
    for _ in 0..10 {
        let scrape = scrape(&app).await;
        let failed = [("kind", "measured"), ("state", "failed")];
        assert_eq!(scrape.value("millrace_runs", &failed), Some(100.0));
        assert_eq!(scrape.value("millrace_queue_depth", &[("queue", "default")]), Some(1.0));
    }
    let (sequential_after, _) = eventually("the scans to be reported", || async {
        scrape(&app).await;
        let now = scans(&app).await;
        (now.1 >= by_index + 20).then_some(now)
    })
    .await;
    assert_eq!(sequential_after, sequential, "a statement read all runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_its_metrics_where_the_operator_says() {
    let app = app(false).await;
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let data_dir = app.data_dir().to_str().unwrap();
    let worker = Process::millrace(
        &["worker"],
        &[
            ("DATABASE_URL", &app.db.url),
            ("REDIS_URL", &app.redis.url),
            ("MILLRACE_REDIS_PREFIX", &app.redis.prefix),
            ("MILLRACE_DATA_DIR", data_dir),
            ("MILLRACE_METRICS_LISTEN", &address.to_string()),
        ],
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str| client.get(format!("http://{address}{path}")).send();
    let text = eventually("the worker's metrics", || async {
        let response = get("/metrics").await.ok()?;
        Some(response.text().await.unwrap())
    })
    .await;
    let scrape = Scrape::read(&text);
    expect_as_declared(&scrape);
    assert_eq!(scrape.value("millrace_workers_declared_dead_total", &[]), Some(0.0));
    assert!(!scrape.types.contains_key("millrace_queue_depth"), "the record is read by the api only");
    assert!(get("/livez").await.unwrap().status().is_success());
    eventually("the worker's readiness", || async {
        get("/readyz").await.unwrap().status().is_success().then_some(())
    })
    .await;
    assert_eq!(get("/api/v1/runs").await.unwrap().status(), StatusCode::NOT_FOUND);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_begun_is_alive_and_not_ready() {
    let app = app(false).await;
    let version = "(SELECT max(version) FROM __diesel_schema_migrations)";
    let forget =
        format!("DELETE FROM __diesel_schema_migrations WHERE version = {version} RETURNING version");
    let last: String = app.db.one(&forget, &[]).await;
    let data_dir = app.data_dir().to_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut waiting = Vec::new();
    for (role, database) in [
        ("worker", app.db.url.as_str()),
        ("scheduler", app.db.url.as_str()),
        ("worker", "postgres://nobody@127.0.0.1:1/none"),
    ] {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let environment = [
            ("DATABASE_URL", database),
            ("REDIS_URL", &app.redis.url),
            ("MILLRACE_REDIS_PREFIX", &app.redis.prefix),
            ("MILLRACE_DATA_DIR", data_dir),
            ("MILLRACE_METRICS_LISTEN", &address.to_string()),
        ];
        let process = Process::millrace(&[role], &environment);
        eventually("an answer", || async { client.get(format!("http://{address}/livez")).send().await.ok() })
            .await;
        waiting.push((process, address));
    }
    let ready = async |address| client.get(format!("http://{address}/readyz")).send().await.unwrap().status();
    for (_, address) in &waiting {
        assert_eq!(ready(address).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    let remember = "INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ($1, now())";
    app.db.client.execute(remember, &[&last]).await.unwrap();
    for (_, address) in &waiting[..2] {
        eventually("readiness", || async { ready(address).await.is_success().then_some(()) }).await;
    }
    assert_eq!(ready(&waiting[2].1).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn the_metrics_of_the_dashboard_exist() {
    let dashboard = include_str!("../../infra/grafana/millrace.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 5));
    let words = dashboard.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let mut used = BTreeSet::new();
    for word in words.filter(|word| word.starts_with("millrace_")) {
        let is = |name: &str| names::METRICS.iter().find(|metric| metric.name == name);
        let of_histogram =
            |suffix| is(word.strip_suffix(suffix)?).filter(|found| found.kind == Type::Histogram);
        let direct = is(word).filter(|found| found.kind != Type::Histogram);
        let metric = direct.or_else(|| ["_bucket", "_sum", "_count"].into_iter().find_map(of_histogram));
        used.insert(metric.unwrap_or_else(|| panic!("there is no metric {word}")).name);
    }
    let unused: Vec<_> = names::METRICS.iter().filter(|metric| !used.contains(metric.name)).collect();
    assert!(unused.is_empty(), "the dashboard leaves out {unused:#?}");
}

#[test]
fn operators_are_told_of_every_metric() {
    let page = include_str!("../../docs/operations.md");
    for metric in names::METRICS {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", metric.name)));
        assert!(row.is_some_and(|row| row.contains(metric.help)), "docs/operations.md: {metric:#?}");
    }
}
