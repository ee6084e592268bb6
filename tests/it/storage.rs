//! Where files are kept, how long, and what happens when there is no room.

use chrono::Days;
use diesel_async::AsyncPgConnection;
use reqwest::{Method, StatusCode, multipart};
use serde_json::Value;
use shared::{
    auth::{
        Role,
        service::{NewApiKey, create_api_key},
    },
    clock::{Clock, SystemClock},
    db,
    runs::{EnqueueOptions, Queue, RunState, enqueue, queries::find_run},
    uploads::prune::PruneFiles,
};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{
    App, TestDatabase, eventually,
    faults::DISK_FULL,
    files,
    processes::{Process, S3, millrace},
    workbooks::noted,
};

/// `millrace up` on a test's database, spoken to over HTTP.
struct Instance {
    db: TestDatabase,
    process: Process,
    url: String,
    key: String,
    http: reqwest::Client,
    data: tempfile::TempDir,
}

impl Instance {
    /// Starts one; `begin` is given its arguments and its environment.
    async fn start(
        environment: &[(&str, &str)],
        begin: impl FnOnce(&Path, &[&str], &[(&str, &str)]) -> Process,
    ) -> Self {
        shared::storage::prepare_tls();
        let db = TestDatabase::create().await;
        let data = tempfile::tempdir().unwrap();
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let prefix = format!("test-{}", uuid::Uuid::new_v4().simple());
        let redis = std::env::var("REDIS_URL").unwrap();
        let mut all = vec![
            ("DATABASE_URL", db.url.as_str()),
            ("REDIS_URL", &redis),
            ("MILLRACE_REDIS_PREFIX", &prefix),
            ("MILLRACE_DATA_DIR", data.path().to_str().unwrap()),
            ("MILLRACE_LISTEN", &listen),
        ];
        all.extend(environment);
        let process = begin(data.path(), &["up"], &all);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{listen}");
        eventually("readiness", || async {
            let ready = http.get(format!("{url}/readyz")).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        let key = key(&db).await;
        Self { db, process, url, key, http, data }
    }

    async fn send(&self, method: Method, path: &str, form: Option<multipart::Form>) -> (StatusCode, String) {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("X-API-Key", &self.key);
        let request = match form {
            Some(form) => request.multipart(form),
            None => request,
        };
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn upload(&self, name: &str, content: Vec<u8>) -> (StatusCode, Value) {
        let part = multipart::Part::bytes(content).file_name(name.to_owned());
        let form = multipart::Form::new().part("file", part);
        let (status, text) = self.send(Method::POST, "/api/v1/uploads", Some(form)).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn ended(&self, id: &str) -> Value {
        eventually("the end of the upload", || async {
            let (_, text) = self.send(Method::GET, &format!("/api/v1/uploads/{id}"), None).await;
            let upload: Value = serde_json::from_str(&text).unwrap();
            ["finished", "failed"].contains(&upload["state"].as_str().unwrap()).then_some(upload)
        })
        .await
    }

    /// Its directory of files as the process sees it, where a file system of its own may be.
    fn files_as_seen(&self) -> PathBuf {
        let root = Path::new("/proc").join(self.process.id().to_string()).join("root");
        root.join(self.data.path().strip_prefix("/").unwrap()).join("files")
    }

    async fn prune(&self) {
        let pool = db::pool(&self.db.config(), "test").unwrap();
        let id = enqueue_pruning(&mut pool.get().await.unwrap()).await;
        eventually("the pruning", || async {
            let run = find_run(&mut pool.get().await.unwrap(), id).await.unwrap()?;
            assert!(run.error.is_none(), "{:?}", run.error);
            (run.state == RunState::Completed).then_some(())
        })
        .await;
    }
}

/// An administrator's key.
async fn key(db: &TestDatabase) -> String {
    let pool = db::pool(&db.config(), "test").unwrap();
    let new = NewApiKey {
        name: "test".to_owned(),
        role: Role::Admin,
        expires_at: None,
        created_by: "test".to_owned(),
    };
    create_api_key(&mut pool.get().await.unwrap(), &new, SystemClock.now()).await.unwrap().1
}

async fn enqueue_pruning(conn: &mut AsyncPgConnection) -> shared::ids::RunId {
    enqueue(conn, &PruneFiles {}, &EnqueueOptions::by("test")).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn files_can_live_in_a_bucket() {
    let s3 = S3::start().await;
    s3.put("etl/clients.csv", b"client_id,name\nC1,One\n".to_vec()).await;
    s3.put("etl/transactions.csv", files::rows(&["t1,C1,1,2025-01-15,7"]).into_bytes()).await;
    let mut environment = s3.environment().to_vec();
    environment.push(("MILLRACE_STORAGE", "s3://files/millrace"));
    environment.push(("MILLRACE_ETL_CLIENTS", "s3://files/etl/clients.csv"));
    environment.push(("MILLRACE_ETL_TRANSACTIONS", "s3://files/etl/transactions.csv"));
    let app =
        Instance::start(&environment, |_, arguments, environment| Process::millrace(arguments, environment))
            .await;

    // More than one part of 8 MiB, read by ranges, with something to reject.
    let mut file = files::transactions(110_000, 1);
    assert!(file.len() > 8 << 20, "{}", file.len());
    file.extend_from_slice(b"broken,line\n");
    let (status, upload) = app.upload("large.csv", file.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{upload}");
    let id = upload["id"].as_str().unwrap().to_owned();
    let upload = app.ended(&id).await;
    assert_eq!(upload["counts"]["inserted"], 110_000, "{upload}");
    let (status, rejects) = app.send(Method::GET, &format!("/api/v1/uploads/{id}/rejects"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(rejects.contains("broken,line"), "{rejects}");
    let (status, again) = app.upload("again.csv", file).await;
    assert_eq!((status, again["id"].as_str()), (StatusCode::OK, Some(id.as_str())));
    eventually("the copy to be removed", || async { (s3.objects().await == 3).then_some(()) }).await;

    let (status, run) = app.send(Method::POST, "/api/v1/etl", None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    eventually("the recipe", || async {
        let done = "SELECT count(*) FROM runs WHERE kind = 'run_etl' AND state = 'completed'";
        (app.db.one::<i64>(done, &[]).await == 1).then_some(())
    })
    .await;
    assert_eq!(s3.objects().await, 5);

    app.db.client.batch_execute("UPDATE uploads SET finished_at = now() - interval '31 days'").await.unwrap();
    app.prune().await;
    assert_eq!(s3.objects().await, 2, "only the recipe's files are left");
    assert_eq!(s3.unfinished().await, 0);
    assert_eq!(
        app.db.one::<i64>("SELECT count(*) FROM uploads WHERE files_removed_at IS NULL", &[]).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_cannot_be_used_is_named_at_the_start_without_its_secrets() {
    let s3 = S3::start().await;
    let db = TestDatabase::create().await;
    let data = tempfile::tempdir().unwrap();
    let said = |storage: &str| {
        let mut command = Command::new(millrace());
        command.args(["worker"]).envs(s3.environment()).env("DATABASE_URL", &db.url);
        command.env("MILLRACE_DATA_DIR", data.path()).env("MILLRACE_STORAGE", storage);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let absent = said("s3://nowhere/millrace");
    assert!(absent.contains("s3://nowhere/millrace") && absent.contains("NoSuchBucket"), "{absent}");
    assert!(!absent.contains("very-secret-key"), "{absent}");
    let secret = said("s3://me:hidden@files/millrace");
    assert!(secret.contains("AWS_SECRET_ACCESS_KEY") && !secret.contains("hidden"), "{secret}");
    let unknown = said("gs://files");
    assert!(unknown.contains("s3://bucket/prefix"), "{unknown}");
}

/// Writes a file that nothing names, so many days old.
fn leave(app: &App, name: &str, days: u64) {
    let path = app.data_dir().join("files/uploads").join(name);
    let file = std::fs::File::create(path).unwrap();
    let then = SystemClock.now() - Days::new(days);
    file.set_modified(then.into()).unwrap();
}

fn stored(app: &App) -> usize {
    std::fs::read_dir(app.data_dir().join("files/uploads")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_when_nobody_needs_them_any_more() {
    let app = App::start().await;
    app.load("old.csv", files::transactions(10, 1), "").await;
    let failed = app.load("failed.csv", "colour\nred\n", "").await;
    app.load("young.csv", files::transactions(10, 2), "").await;
    let age = "UPDATE uploads SET finished_at = now() - interval '31 days' WHERE filename <> 'young.csv'";
    app.db.client.batch_execute(age).await.unwrap();
    for (name, days) in [("orphan", 2), ("late", 0), ("half#1", 2), ("writing#2", 0)] {
        leave(&app, name, days);
    }
    for (name, days, loaded) in [("seen", 2, false), ("looking", 0, false), ("loaded", 2, true)] {
        leave(&app, name, 2);
        let sql = "INSERT INTO previews (id, filename, size_bytes, sha256, storage_key, upload_id, created_by, created_at)
                   SELECT gen_random_uuid(), $1, 0, '', 'uploads/' || $1,
                          CASE WHEN $3 THEN (SELECT id FROM uploads WHERE filename = 'young.csv') END,
                          'test', now() - $2 * interval '1 day'";
        app.db.client.execute(sql, &[&name, &f64::from(days), &loaded]).await.unwrap();
    }
    let name_it = "UPDATE uploads SET text_key = 'uploads/loaded' WHERE filename = 'young.csv'";
    app.db.client.batch_execute(name_it).await.unwrap();
    assert_eq!(stored(&app), 10);

    let id = enqueue_pruning(&mut app.env.pool.get().await.unwrap()).await;
    app.env.doorbells.ring(Queue::Default, 1);
    let run = eventually("the pruning", || async {
        let run = find_run(&mut app.env.pool.get().await.unwrap(), id).await.unwrap()?;
        run.state.is_terminal().then_some(run)
    })
    .await;
    assert_eq!(run.state, RunState::Completed, "{:?}", run.error);
    let expected = serde_json::json!({ "uploads": 2, "previews": 1, "orphans": 1, "unfinished": 1 });
    assert_eq!(run.result, Some(expected));
    // young.csv and its text, late, writing#2, looking.
    assert_eq!(stored(&app), 5);
    app.db.expect_nothing("SELECT * FROM previews WHERE filename = 'seen'").await;

    // What has failed says that its file is gone.
    let path = format!("/api/v1/runs/{}/retry", run_of(&app, &failed).await);
    assert!(app.post(&path).await.0.is_success());
    let upload = eventually("the second failure", || async {
        let upload = app.ended(failed["id"].as_str().unwrap()).await;
        upload["failure"].as_str().is_some_and(|why| why.contains("was removed on")).then_some(upload)
    })
    .await;
    assert!(upload["failure"].as_str().unwrap().contains("hand the file in again"), "{upload}");
}

async fn run_of(app: &App, upload: &Value) -> uuid::Uuid {
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    app.db.one("SELECT run_id FROM uploads WHERE id = $1", &[&id]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_an_upload_and_keeps_nothing_of_it() {
    let app = Instance::start(&[], |data, arguments, environment| {
        let files = data.join("files");
        std::fs::create_dir_all(&files).unwrap();
        Process::with_little_room(&files, 1 << 20, arguments, environment)
    })
    .await;
    let (status, problem) = app.upload("large.csv", files::transactions(20_000, 1)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert_eq!(problem["type"], "urn:millrace:problem:insufficient-storage", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("file storage is full"), "{problem}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 0);
    let seen = app.files_as_seen().join("uploads");
    assert_eq!(std::fs::read_dir(seen).map_or(0, Iterator::count), 0, "no part of it stays");
    // What fits is taken in.
    let (status, upload) = app.upload("small.csv", files::transactions(100, 2)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{upload}");
    assert_eq!(app.ended(upload["id"].as_str().unwrap()).await["state"], "finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_fails_the_load_clearly_and_a_retry_goes_on() {
    let app = App::start().await;
    // The second chunk meets a full disk, as PostgreSQL says it; two attempts instead of eight.
    app.db.refuse_chunks(1, 2, DISK_FULL).await;
    let failed = app.load("three chunks.csv", files::transactions(2_500, 1), "").await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let why = failed["failure"].as_str().unwrap();
    assert!(why.contains("database's disk is full") && why.contains("retry"), "{why}");
    assert_eq!(failed["counts"]["inserted"], 1_500, "what loaded stays: {failed}");
    files::expect_everything_exact(&app.db).await;

    app.db.allow_chunks().await;
    let upload = app.retry(&failed).await;
    assert_eq!(upload["counts"]["inserted"], 2_500, "{upload}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_a_conversion_clearly_and_a_retry_goes_on() {
    let app = Instance::start(&[], |data, arguments, environment| {
        let files = data.join("files");
        std::fs::create_dir_all(&files).unwrap();
        Process::with_little_room(&files, 16 << 20, arguments, environment)
    })
    .await;
    // Two attempts instead of eight.
    app.db
        .client
        .batch_execute(
            "CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.max_attempts := 2; RETURN NEW;
             END $$;
             CREATE TRIGGER twice BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.kind = 'plan_upload')
                 EXECUTE FUNCTION twice();",
        )
        .await
        .unwrap();
    let filler = app.files_as_seen().join("filler");
    let stored = || {
        // The directory is made for the first file.
        let names = std::fs::read_dir(app.files_as_seen().join("uploads")).into_iter().flatten();
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&files::transactions(60_000, 5)).unwrap();
    let mut loaded = 0;
    for (name, content, rows) in
        [("large.csv.gz", encoder.finish().unwrap(), 60_000), ("wide.xlsx", noted(12_000), 12_000)]
    {
        assert!(content.len() < 3 << 20, "{name} has {} bytes", content.len());
        let (kept, room) = (stored(), content.len() + (1 << 20));
        let used: u64 = kept.iter().map(|name| size(&app.files_as_seen().join("uploads").join(name))).sum();
        std::fs::write(&filler, vec![1; (16 << 20) - room - usize::try_from(used).unwrap()]).unwrap();
        let (status, upload) = app.upload(name, content).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{upload}");
        let failed = app.ended(upload["id"].as_str().unwrap()).await;
        assert_eq!(failed["state"], "failed", "{failed}");
        let why = failed["failure"].as_str().unwrap();
        assert!(why.contains("file storage is full") && why.contains("make room, then retry"), "{why}");
        assert_eq!((&failed["counts"]["read"], &failed["records"]), (&0.into(), &Value::Null), "{failed}");
        assert_eq!(
            stored().len(),
            kept.len() + 1,
            "the file itself, and nothing of its text: {:?}",
            stored()
        );
        assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, loaded);

        std::fs::remove_file(&filler).unwrap();
        let path = format!("/api/v1/runs/{}/retry", failed["run_id"].as_str().unwrap());
        let (status, said) = app.send(Method::POST, &path, None).await;
        assert!(status.is_success(), "{said}");
        let upload = eventually("the load", || async {
            let upload = app.ended(failed["id"].as_str().unwrap()).await;
            (upload["state"] == "finished").then_some(upload)
        })
        .await;
        assert_eq!(upload["counts"]["inserted"], rows, "{upload}");
        loaded += rows;
        files::expect_everything_exact(&app.db).await;
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
