//! The restore drill: a backup of a running installation, brought into an empty PostgreSQL with an empty Redis by the
//! scripts that operators use.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};
use tests::{
    App, AppOptions, app, eventually, files,
    processes::{Postgres, Process, Redis, millrace},
};

const ROWS: u64 = 40_000;
const CHUNK: u64 = 1_000;

/// Runs one of the scripts; what it said.
fn script(
    name: &str,
    argument: &Path,
    programs: &Path,
    environment: &[(&str, &str)],
) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/backup").join(name);
    let search = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .arg(path)
        .arg(argument)
        .env("PATH", search)
        .env("MILLRACE", millrace())
        .env_remove("MILLRACE_STORAGE")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(said) } else { Err(said) }
}

/// Does `work` while files come and go, under the names that they have while they are written and afterwards.
fn beside_uploads<T>(data_dir: &Path, work: impl FnOnce() -> T) -> T {
    let files = data_dir.join("files");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number = (number + 1) % 50;
                let (part, whole) =
                    (files.join(format!("{number}.csv#1")), files.join(format!("{number}.csv")));
                std::fs::write(&part, vec![b'x'; 100_000]).unwrap();
                std::fs::rename(&part, &whole).unwrap();
                std::fs::remove_file(files.join(format!("{}.csv", (number + 25) % 50))).ok();
            }
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_backup_goes_on_when_it_is_restored() {
    let options = AppOptions { worker: false, chunk_records: CHUNK, ..AppOptions::default() };
    let mut old = App::start_with(options).await;
    old.start_scheduler();
    let redis = Redis::start();
    let data_dir = old.data_dir().display().to_string();
    let mut worker = Process::millrace(
        &["worker"],
        &[
            ("DATABASE_URL", &old.db.url),
            ("REDIS_URL", &redis.url()),
            ("MILLRACE_DATA_DIR", &data_dir),
            ("MILLRACE_CHUNK_RECORDS", &CHUNK.to_string()),
            ("MILLRACE_INGEST_SLOTS", "2"),
        ],
    );
    // A load of which some is done, some runs and some waits; a message that waits for its time; a file that nobody
    // has begun with.
    let (status, loading) = old.upload("loading.csv", files::transactions(ROWS, 5), "").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{loading}");
    eventually("some chunks", || async {
        let loaded: i64 =
            old.db.one("SELECT count(*) FROM upload_chunks WHERE loaded_at IS NOT NULL", &[]).await;
        (loaded >= 3).then_some(())
    })
    .await;
    worker.kill();
    let (_, waiting) = old.upload("waiting.csv", files::transactions(2_000, 6), "").await;
    let message = json!({ "to": [{ "channel": "email", "address": "ann@example.org" }], "title": "Later", "body": "x",
        "send_at": shared::clock::Clock::now(&shared::clock::SystemClock) + chrono::TimeDelta::seconds(5) });
    let (status, message) = old.send(old.request(Method::POST, "/api/v1/notifications").json(&message)).await;
    assert_eq!(status, StatusCode::CREATED, "{message}");

    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let postgres = Postgres::empty().await;
    let from = [("DATABASE_URL", old.db.url.as_str()), ("MILLRACE_DATA_DIR", data_dir.as_str())];
    // Cron knows no data directory.
    let elsewhere = [from[0], ("MILLRACE_DATA_DIR", "/nonexistent")];
    let said = script("backup.sh", &backup, postgres.programs(), &elsewhere).unwrap_err();
    assert!(said.contains("there are 2 uploads, and no directory /nonexistent/files"), "{said}");
    let said = beside_uploads(old.data_dir(), || script("backup.sh", &backup, postgres.programs(), &from));
    assert!(said.is_ok(), "{said:?}");
    assert!(
        script("backup.sh", &backup, postgres.programs(), &from).unwrap_err().contains("is there already")
    );
    // What comes later is not in it.
    let (_, later) = old.upload("later.csv", files::transactions(100, 7), "").await;

    let new_dir = place.path().join("data").display().to_string();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let redis = Redis::start();
    let to = [
        ("DATABASE_URL", postgres.url.as_str()),
        ("REDIS_URL", &redis.url()),
        ("MILLRACE_DATA_DIR", new_dir.as_str()),
        ("MILLRACE_LISTEN", listen.as_str()),
        ("MILLRACE_CHUNK_RECORDS", "1000"),
        ("MILLRACE_HEARTBEAT_MS", "300"),
        ("MILLRACE_LEASE_MS", "1500"),
        ("MILLRACE_EMAIL", "sandbox:"),
    ];
    let damaged = place.path().join("damaged");
    assert!(
        script("restore.sh", &damaged, postgres.programs(), &to).unwrap_err().contains("no whole backup")
    );
    // Somebody had a look; then a restore was cut off.
    std::fs::create_dir_all(format!("{new_dir}/files/checks")).unwrap();
    std::fs::write(format!("{new_dir}/files/half"), "x").unwrap();
    assert!(script("restore.sh", &backup, postgres.programs(), &to).unwrap_err().contains("is not empty"));
    std::fs::write(format!("{new_dir}/files/.restoring"), "").unwrap();
    let said = script("restore.sh", &backup, postgres.programs(), &to);
    assert!(!std::fs::exists(format!("{new_dir}/files/.restoring")).unwrap());
    assert!(said.as_ref().is_ok_and(|said| said.contains("still to be sent: 1")), "{said:?}");
    let twice = script("restore.sh", &backup, postgres.programs(), &to);
    assert!(twice.unwrap_err().contains("not empty"));

    let _roles = ["api", "worker", "scheduler"].map(|role| Process::millrace(&[role], &to));
    let user: String = old.db.one("SELECT min(username) FROM users WHERE role = 'admin'", &[]).await;
    let url = format!("http://{listen}");
    let http = reqwest::Client::new();
    let token = eventually("the api", || async {
        let body = json!({ "username": user, "password": app::PASSWORD });
        let answer = http.post(format!("{url}/api/v1/token")).json(&body).send().await.ok()?;
        answer.json::<Value>().await.ok()?["access_token"].as_str().map(str::to_owned)
    })
    .await;
    let ask = async |path: &str| {
        let answer = http.get(format!("{url}{path}")).bearer_auth(&token).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    for (upload, rows) in [(&loading, ROWS), (&waiting, 2_000)] {
        let path = format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap());
        let ended = eventually("the upload's end", || async {
            let (_, upload) = ask(&path).await;
            (upload["state"] == "finished").then_some(upload)
        })
        .await;
        assert_eq!(ended["counts"]["read"], rows, "{ended}");
    }
    let path = format!("/api/v1/uploads/{}", later["id"].as_str().unwrap());
    assert_eq!(ask(&path).await.0, StatusCode::NOT_FOUND);

    // Its time has come, and it waits until somebody says that it may go.
    let delivery = format!("/api/v1/deliveries/{}", message["deliveries"][0]["id"].as_str().unwrap());
    eventually("the message's time", || async {
        let due = "SELECT count(*) FROM runs WHERE kind = 'deliver_email' AND run_at < now()";
        (postgres.client().await.query_one(due, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
    })
    .await;
    assert_eq!(ask(&delivery).await.1["state"], "pending");
    let resumed =
        http.post(format!("{url}/api/v1/queues/deliveries/resume")).bearer_auth(&token).send().await;
    assert!(resumed.unwrap().status().is_success());
    eventually("the message", || async { (ask(&delivery).await.1["state"] == "delivered").then_some(()) })
        .await;

    for what in ["summaries", "ledger"] {
        let done = Command::new(millrace())
            .args(["verify", what, "--wait", "--server", &url, "--token", &token])
            .output()
            .unwrap();
        assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let client = postgres.client().await;
    eventually("every run's end", || async {
        let left = "SELECT count(*) FROM runs WHERE finished_at IS NULL";
        (client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    let lost = "SELECT count(*) FROM runs WHERE state <> 'completed'";
    assert_eq!(client.query_one(lost, &[]).await.unwrap().get::<_, i64>(0), 0);
    let epochs = async |client: &tokio_postgres::Client| -> i64 {
        client.query_one("SELECT epoch FROM feed_epoch", &[]).await.unwrap().get(0)
    };
    assert_ne!(epochs(&client).await, epochs(&old.db.client).await, "ids that come twice are told apart");
}
