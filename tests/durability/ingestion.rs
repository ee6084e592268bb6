//! What survives: real worker processes are killed, Redis is emptied and stopped, in the middle of an
//! ingestion. Whatever happens, the rows, the sums and the summaries are those of an undisturbed run.
//!
//! `MILLRACE_TEST_ROWS` (60000) sets the file's size; `./run test` keeps it small, 1000000 is the
//! size that the platform's promise speaks of.

use tests::{
    App, AppOptions, eventually, files,
    processes::{Process, Redis},
};

fn rows() -> u64 {
    std::env::var("MILLRACE_TEST_ROWS")
        .map_or(60_000, |rows| rows.parse().expect("MILLRACE_TEST_ROWS is a number"))
}

/// The api in this process, workers as processes of their own.
struct Place {
    app: App,
    redis: Redis,
}

impl Place {
    async fn new() -> Self {
        let options = AppOptions {
            worker: false,
            chunk_records: rows() / 40,
            max_upload_bytes: 1 << 30,
            ..AppOptions::default()
        };
        Self { app: App::start_with(options).await, redis: Redis::start() }
    }

    fn worker(&self) -> Process {
        let chunk_records = (rows() / 40).to_string();
        let data_dir = self.app.data_dir().to_str().expect("a path");
        Process::millrace(
            &["worker"],
            &[
                ("DATABASE_URL", &self.app.db.url),
                ("REDIS_URL", &self.redis.url()),
                ("MILLRACE_REDIS_PREFIX", "durability"),
                ("MILLRACE_DATA_DIR", data_dir),
                ("MILLRACE_HEARTBEAT_MS", "300"),
                ("MILLRACE_LEASE_MS", "1500"),
                ("MILLRACE_INGEST_SLOTS", "2"),
                ("MILLRACE_CHUNK_RECORDS", &chunk_records),
            ],
        )
    }

    async fn chunks_loaded(&self) -> i64 {
        self.app.db.one("SELECT count(*) FROM upload_chunks WHERE loaded_at IS NOT NULL", &[]).await
    }

    async fn upload(&self) -> String {
        let (status, upload) = self.app.upload("million.csv", files::transactions(rows(), 11), "").await;
        assert!(status.is_success(), "{upload}");
        upload["id"].as_str().expect("an id").to_owned()
    }

    /// The upload ended as if nothing had happened.
    async fn expect_undisturbed(&self, id: &str) {
        let upload = self.app.ended(id).await;
        assert_eq!(upload["state"], "finished", "{upload}");
        assert_eq!(upload["counts"]["inserted"], rows(), "{upload}");
        assert_eq!(upload["counts"]["read"], rows(), "{upload}");
        files::expect_everything_exact(&self.app.db).await;
        let sum: String =
            self.app.db.one("SELECT sum(amount)::numeric(28,2)::text FROM transactions", &[]).await;
        assert_eq!(sum, expected_sum());
        self.app
            .db
            .expect_nothing(
                "SELECT * FROM runs WHERE state NOT IN ('completed', 'available', 'running', 'scheduled')",
            )
            .await;
    }
}

/// The file's amounts, added up from its text.
fn expected_sum() -> String {
    let file = files::transactions(rows(), 11);
    let mut cents = 0i64;
    for line in file.split(|&byte| byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let amount = line.rsplit(|&byte| byte == b',').next().expect("a last field");
        let digits: String =
            amount.iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| byte as char).collect();
        cents += digits.parse::<i64>().expect("an amount with two decimals");
    }
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_ten_times_lose_and_double_nothing() {
    let place = Place::new().await;
    let mut workers = [place.worker(), place.worker()];
    let id = place.upload().await;
    for kill in 0..10usize {
        // At a moment that differs from kill to kill: after another chunk or two, at once within one.
        let seen = place.chunks_loaded().await;
        let wanted = (seen + (kill % 3) as i64).min(38);
        eventually("progress", || async { (place.chunks_loaded().await >= wanted).then_some(()) }).await;
        workers[kill % 2].kill();
        workers[kill % 2] = place.worker();
    }
    place.expect_undisturbed(&id).await;
    let crashed: i64 =
        place.app.db.one("SELECT count(*) FROM run_attempts WHERE outcome = 'crashed'", &[]).await;
    assert!(crashed > 0, "the kills met no running chunk: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_loses_its_runs_and_does_nothing_twice_when_it_thaws() {
    let place = Place::new().await;
    let mut frozen = place.worker();
    let id = place.upload().await;
    eventually("a running chunk", || async {
        let running: i64 = place
            .app
            .db
            .one("SELECT count(*) FROM runs WHERE kind = 'ingest_chunk' AND state = 'running'", &[])
            .await;
        (running > 0).then_some(())
    })
    .await;
    frozen.signal(rustix::process::Signal::STOP);
    let _other = place.worker();
    eventually("the frozen worker to be declared dead", || async {
        let dead: i64 = place.app.db.one("SELECT count(*) FROM workers WHERE state = 'dead'", &[]).await;
        (dead > 0).then_some(())
    })
    .await;
    frozen.signal(rustix::process::Signal::CONT);
    place.expect_undisturbed(&id).await;
    assert!(frozen.stop(), "it goes on under a new id, and stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_emptied_and_stopped_in_the_middle_costs_time_and_nothing_else() {
    let mut place = Place::new().await;
    let _worker = place.worker();
    let id = place.upload().await;
    let reached = async |chunks: i64| {
        eventually("progress", || async { (place.chunks_loaded().await >= chunks).then_some(()) }).await;
    };
    reached(3).await;
    place.redis.flush();
    reached(8).await;
    place.redis.stop();
    eventually("progress", || async { (place.chunks_loaded().await >= 16).then_some(()) }).await;
    place.redis.start_again();
    place.expect_undisturbed(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_hands_its_work_to_the_next() {
    let place = Place::new().await;
    let mut first = place.worker();
    let id = place.upload().await;
    eventually("progress", || async { (place.chunks_loaded().await >= 2).then_some(()) }).await;
    let _second = place.worker();
    assert!(first.stop(), "SIGTERM ends it well");
    place.expect_undisturbed(&id).await;
    place.app.db.expect_nothing("SELECT * FROM run_attempts WHERE outcome = 'crashed'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_killed_in_its_middle_goes_on_and_takes_all_back() {
    let place = Place::new().await;
    let mut worker = place.worker();
    let kept = place.app.load("kept.csv", files::wide_transactions(rows() / 6, 31), "").await;
    assert_eq!(kept["state"], "finished", "{kept}");
    let (status, upload) = place.app.upload("unwanted.csv", files::wide_transactions(rows(), 32), "").await;
    assert!(status.is_success(), "{upload}");
    let id = upload["id"].as_str().expect("an id");
    assert_eq!(place.app.ended(id).await["state"], "finished");
    let (status, asked) = place.app.post(&format!("/api/v1/uploads/{id}/undo")).await;
    assert!(status.is_success(), "{asked}");
    let taken = "SELECT coalesce((undo_report->>'transactions')::bigint, 0) FROM uploads WHERE filename = 'unwanted.csv'";
    let all = rows().cast_signed();
    for part in 0..3 {
        // After another part has gone; what is begun of the next is lost.
        let seen: i64 = place.app.db.one(taken, &[]).await;
        eventually("a part to be taken back", || async {
            let now: i64 = place.app.db.one(taken, &[]).await;
            (now > seen).then_some(())
        })
        .await;
        worker.kill();
        let left: i64 = place.app.db.one(taken, &[]).await;
        assert!(part > 0 || left < all, "the kill came after the end: the test shows nothing");
        worker = place.worker();
        if left == all {
            break;
        }
    }
    eventually("the end of the undo", || async {
        let upload = place.app.get(&format!("/api/v1/uploads/{id}")).await;
        (upload["state"] == "undone").then_some(())
    })
    .await;
    assert_eq!(place.app.db.one::<i64>(taken, &[]).await, all);
    let left: i64 = place.app.db.one("SELECT count(*) FROM transactions", &[]).await;
    assert_eq!(left, kept["counts"]["inserted"].as_i64().expect("a number"));
    let keys: i64 = place.app.db.one("SELECT count(*) FROM transaction_keys", &[]).await;
    assert_eq!(keys, left);
    files::expect_everything_exact(&place.app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_the_posting_of_an_ended_upload_and_the_end_of_its_finder() {
    let place = Place::new().await;
    let db = &place.app.db;
    let mut worker = place.worker();
    let file = files::wide_transactions(rows() / 12, 41);
    let ended = place.app.load_without_second_chunk("ended.csv", file.clone()).await;
    db.pause("finish_upload").await;
    let (status, finder) = place.app.upload("finder.csv", file, "?force=true").await;
    assert!(status.is_success(), "{finder}");
    let waits =
        "SELECT count(*) FROM runs WHERE kind = 'finish_upload' AND state = 'available' AND blocked_by = 0
                 AND id = (SELECT run_id FROM uploads WHERE filename = 'finder.csv')";
    eventually("the finder's rows", || async { (db.one::<i64>(waits, &[]).await == 1).then_some(()) }).await;
    // What the finder owes itself cannot be posted while its notes are locked.
    let other = db.session().await;
    let lock = "BEGIN; SELECT 1 FROM upload_postings p JOIN uploads u ON u.id = p.upload_id
                WHERE u.filename = 'finder.csv' FOR UPDATE OF p";
    other.batch_execute(lock).await.expect("a lock");
    db.resume().await;
    let posted = "SELECT count(*) FROM journals j JOIN uploads u ON u.id = j.source_id WHERE u.filename = $1";
    eventually("the posting", || async { (db.one::<i64>(posted, &[&"ended.csv"]).await == 1).then_some(()) })
        .await;
    worker.kill();
    other.batch_execute("ROLLBACK").await.expect("the lock goes");
    assert_eq!(
        db.one::<i64>(posted, &[&"finder.csv"]).await,
        0,
        "the kill came too late: the test shows nothing"
    );
    files::expect_everything_exact(db).await;

    worker = place.worker();
    let finder = place.app.ended(finder["id"].as_str().expect("an id")).await;
    assert_eq!(finder["state"], "finished", "{finder}");
    for name in ["ended.csv", "finder.csv"] {
        assert_eq!(db.one::<i64>(posted, &[&name]).await, 1, "{name}");
    }
    files::expect_everything_exact(db).await;
    // What is left of the first is there by now: it ends with nothing more to post.
    place.app.retry(&ended).await;
    files::expect_everything_exact(db).await;
    assert_eq!(db.one::<i64>(posted, &[&"ended.csv"]).await, 1);
    assert!(worker.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_killed_in_its_middle_goes_on_and_mends_all() {
    let place = Place::new().await;
    let mut worker = place.worker();
    let loaded = place.app.load("file.csv", files::wide_transactions(rows(), 41), "").await;
    assert_eq!(loaded["state"], "finished", "{loaded}");
    let damage =
        "UPDATE merchant_days SET sum = sum + 1; DELETE FROM client_totals; UPDATE day_totals SET min = 0";
    place.app.db.client.batch_execute(damage).await.expect("damage");
    let (status, asked) = place.app.post("/api/v1/summaries/rebuild").await;
    assert!(status.is_success(), "{asked}");
    let done = "SELECT progress_done FROM runs WHERE kind = 'rebuild_summaries'";
    eventually("some parts", || async { (place.app.db.one::<i64>(done, &[]).await > 2).then_some(()) }).await;
    worker.kill();
    let ended = "SELECT state FROM runs WHERE kind = 'rebuild_summaries'";
    let state: String = place.app.db.one(ended, &[]).await;
    assert_eq!(state, "running", "the kill came after the end: the test shows nothing");
    let _other = place.worker();
    eventually("the end of the rebuild", || async {
        (place.app.db.one::<String>(ended, &[]).await == "completed").then_some(())
    })
    .await;
    files::expect_everything_exact(&place.app.db).await;
}
