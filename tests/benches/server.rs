//! Millrace as real processes, an api, a worker and a scheduler, on a database of its own.

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use shared::{auth::Role, db};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tests::{TestDatabase, processes::Process};

/// What the bench speaks to.
pub struct Server {
    /// The record.
    pub db: TestDatabase,
    api: Process,
    worker: Process,
    _scheduler: Process,
    url: String,
    token: String,
    /// What a browser that has logged in sends.
    cookie: String,
    http: reqwest::Client,
    // Removed last: the processes write there.
    _data: tempfile::TempDir,
}

impl Server {
    /// Starts both processes and waits until they are ready. `chunk_workers` chunks load at once.
    pub async fn start(chunk_workers: u32) -> anyhow::Result<Self> {
        let db = TestDatabase::create().await;
        let data = tempfile::tempdir()?;
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let slots = chunk_workers.to_string();
        let redis = std::env::var("REDIS_URL").context("REDIS_URL is not set: use ./run bench")?;
        let prefix = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let environment = [
            ("DATABASE_URL", db.url.as_str()),
            ("REDIS_URL", &redis),
            ("MILLRACE_REDIS_PREFIX", &prefix),
            ("MILLRACE_DATA_DIR", data.path().to_str().context("a path")?),
            ("MILLRACE_LISTEN", &listen),
            ("MILLRACE_INGEST_SLOTS", &slots),
            ("MILLRACE_LOG", "warn"),
        ];
        let pool = db::pool(&db.config(), "bench")?;
        let mut conn = pool.get().await?;
        shared::auth::create_user(&mut conn, "bench", None, tests::app::PASSWORD, Role::Admin).await?;
        let server = Self {
            api: Process::millrace(&["api"], &environment),
            worker: Process::millrace(&["worker"], &environment),
            _scheduler: Process::millrace(&["scheduler"], &environment),
            url: format!("http://{listen}"),
            token: String::new(),
            cookie: String::new(),
            http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?,
            db,
            _data: data,
        };
        server.ready().await
    }

    async fn ready(mut self) -> anyhow::Result<Self> {
        let body = serde_json::json!({ "username": "bench", "password": tests::app::PASSWORD });
        let (http, url) = (&self.http, &self.url);
        self.token = tests::eventually("the api", || async {
            let response = http.post(format!("{url}/api/v1/token")).json(&body).send().await.ok()?;
            response.json::<Value>().await.ok()?["access_token"].as_str().map(str::to_owned)
        })
        .await;
        let login = [("username", "bench"), ("password", tests::app::PASSWORD)];
        let answer = self.http.post(format!("{}/ui/login", self.url)).form(&login).send().await?;
        let set = answer.headers().get_all(reqwest::header::SET_COOKIE).iter();
        let cookies = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::to_owned));
        self.cookie = cookies.collect::<Vec<_>>().join("; ");
        tests::eventually("the worker", || async {
            let workers: i64 = self.db.one("SELECT count(*) FROM workers WHERE state = 'alive'", &[]).await;
            (workers > 0).then_some(())
        })
        .await;
        Ok(self)
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An access token of its administrator.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The cookies of its administrator's session.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status.is_success(), "{path}: {status}: {answer}");
        Ok(answer)
    }

    /// POSTs a file, streaming; the upload.
    pub async fn post(&self, file: &Path) -> anyhow::Result<Value> {
        let part = reqwest::multipart::Part::file(file).await?;
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/api/v1/uploads", self.url);
        let response = self.http.post(url).bearer_auth(&self.token).multipart(form).send().await?;
        let status = response.status();
        let upload: Value = response.json().await?;
        ensure!(status.as_u16() == 202, "{status}: {upload}");
        Ok(upload)
    }

    /// POSTs nothing to a path; the answer.
    pub async fn post_to(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status.is_success(), "{status}: {answer}");
        Ok(answer)
    }

    /// Seconds from the first byte of the POST to the end of the upload's flow, checked: every row is
    /// in, every summary exact.
    pub async fn load(&self, file: &Path, rows: u64) -> anyhow::Result<f64> {
        self.db.client.batch_execute("CHECKPOINT").await?;
        let started = Instant::now();
        let upload = self.post(file).await?;
        let id = upload["id"].as_str().context("an id")?;
        let url = format!("{}/api/v1/uploads/{id}", self.url);
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let upload = loop {
            looks.tick().await;
            let upload: Value = self.http.get(&url).bearer_auth(&self.token).send().await?.json().await?;
            match upload["state"].as_str() {
                Some("finished") => break upload,
                Some("failed" | "cancelled") => bail!("the upload failed: {upload}"),
                _ => {}
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        ensure!(upload["counts"]["inserted"] == rows, "not every row is in: {upload}");
        Ok(seconds)
    }

    /// Waits until nothing runs or waits any more.
    pub async fn idle(&self) {
        tests::eventually("idleness", || async {
            let busy: i64 = self.db.one("SELECT count(*) FROM runs WHERE finished_at IS NULL", &[]).await;
            (busy == 0).then_some(())
        })
        .await;
    }

    /// The api's process.
    pub fn api_id(&self) -> u32 {
        self.api.id()
    }

    /// Processor time since the start of the api, the worker, and PostgreSQL's processes; in milliseconds.
    pub fn spent(&self) -> anyhow::Result<[f64; 3]> {
        let mut postgres = 0.0;
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            // A process may end between the two.
            if std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "postgres") {
                postgres += processor_ms(&path).unwrap_or_default();
            }
        }
        let of = |pid: u32| processor_ms(&Path::new("/proc").join(pid.to_string()));
        Ok([of(self.api.id())?, of(self.worker.id())?, postgres])
    }

    /// Peak resident memory of the worker, in MiB.
    pub fn worker_peak_mib(&self) -> anyhow::Result<f64> {
        peak_mib(self.worker.id())
    }

    /// Peak resident memory of the api, in MiB.
    pub fn api_peak_mib(&self) -> anyhow::Result<f64> {
        peak_mib(self.api.id())
    }
}

/// Peak resident memory of a process, in MiB.
pub fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time, and that of children that have ended; Linux counts it in hundredths of a second.
fn processor_ms(process: &Path) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(process.join("stat"))?;
    let fields = stat.rsplit(')').next().context("a stat line")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() * 10.0)
}
