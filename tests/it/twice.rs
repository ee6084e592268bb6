//! Every kind of Millrace is run twice, by one generic test, and leaves the same state. A kind that is
//! registered and that nothing here makes a run of fails the test: give it a run.

use shared::{
    ids::RunId,
    ledger::VerifyLedger,
    notifications::{daily::SendDailySummaries, jobs::PruneNotifications},
    runs::{
        EnqueueOptions, Queue, RunState, enqueue,
        jobs::{CancelRuns, PruneRuns, RetryRuns, Selection},
        queries::{self, RunFilter},
        registry::KINDS,
    },
    schedules::{
        CatchUp, Definition, MissingTime, Overlap,
        backfill::{self, Wanted},
        service,
    },
    summaries::jobs::{RebuildSummaries, VerifySummaries},
    synthetic::{DataRequest, jobs as bulk, nightly},
    transactions::deletion::request_deletion,
    uploads::{UploadOptions, etl, model::OnError, prune::PruneFiles},
};
use tests::{App, eventually, files};

/// What the platform knows, but for the runs themselves and for times of looking.
const STATE: &[&str] = &[
    "SELECT to_jsonb(t) FROM transactions t",
    "SELECT to_jsonb(t) FROM transaction_keys t",
    "SELECT to_jsonb(t) FROM clients t",
    "SELECT to_jsonb(t) FROM client_failures t",
    "SELECT to_jsonb(t) FROM stocks t",
    "SELECT to_jsonb(t) FROM trades t",
    "SELECT to_jsonb(t) FROM holdings t",
    "SELECT to_jsonb(t) FROM feed_outbox t",
    // 1.10 and 1.1000 are the same sum of squares.
    "SELECT to_jsonb(t) || jsonb_build_object('sum_squares', trim_scale(sum_squares)) FROM client_totals t",
    "SELECT to_jsonb(t) FROM merchant_days t",
    "SELECT to_jsonb(t) FROM day_totals t",
    "SELECT to_jsonb(t) FROM client_transaction_summary t",
    "SELECT to_jsonb(t) FROM uploads t",
    "SELECT to_jsonb(t) FROM upload_chunks t",
    "SELECT to_jsonb(t) - 'raw' FROM upload_rejects t",
    "SELECT to_jsonb(t) FROM upload_overlaps t",
    "SELECT to_jsonb(t) FROM upload_moves t",
    "SELECT to_jsonb(t) FROM upload_postings t",
    "SELECT to_jsonb(t) FROM upload_trial_keys t",
    "SELECT to_jsonb(t) FROM transaction_deletions t",
    "SELECT to_jsonb(t) FROM journals t",
    "SELECT to_jsonb(t) FROM entries t",
    "SELECT to_jsonb(t) FROM pauses t",
    "SELECT to_jsonb(t) FROM queue_limits t",
    "SELECT to_jsonb(t) FROM failures t",
    "SELECT to_jsonb(t) FROM schedules t",
    "SELECT to_jsonb(t) FROM schedule_ticks t",
    "SELECT to_jsonb(t) FROM alerts t",
    "SELECT to_jsonb(t) FROM notifications t",
    "SELECT to_jsonb(t) FROM deliveries t",
    "SELECT to_jsonb(t) FROM delivery_attempts t",
    "SELECT to_jsonb(t) FROM announcements t",
    // Of the runs: which there are of each kind, besides the copies and the refresh that an upload asks for.
    "SELECT jsonb_build_array(kind, state, count(*)) FROM runs
     WHERE created_by <> 'twice' AND kind <> 'refresh_client_summary' GROUP BY kind, state",
];

async fn state(app: &App) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for sql in STATE {
        let digest: Option<String> = app
            .db
            .one(
                &format!("SELECT string_agg(row::text, E'\\n' ORDER BY row::text) FROM ({sql}) AS s (row)"),
                &[],
            )
            .await;
        all.push(((*sql).to_owned(), digest.unwrap_or_default()));
    }
    all
}

async fn idle(app: &App) {
    eventually("idleness", || async {
        let busy: i64 = app.db.one("SELECT count(*) FROM runs WHERE finished_at IS NULL", &[]).await;
        (busy == 0).then_some(())
    })
    .await;
}

/// A schedule of two days ago, filled in.
async fn backfill(conn: &mut diesel_async::AsyncPgConnection) {
    let definition = Definition {
        name: "sweep".to_owned(),
        description: None,
        cron: "0 3 * * *".to_owned(),
        zone: "UTC".to_owned(),
        kind: "prune_redis".to_owned(),
        args: serde_json::json!({}),
        priority: None,
        missing: MissingTime::Skip,
        repeated: None,
        catch_up: CatchUp::Skip,
        catch_up_limit: 1,
        overlap: Overlap::Skip,
    };
    service::create(conn, KINDS, definition, None, "test").await.unwrap();
    let day = |text: &str| text.parse().unwrap();
    let wanted = Wanted { from: day("2026-01-01T00:00:00Z"), until: day("2026-01-03T00:00:00Z"), all: false };
    backfill::start(conn, "sweep", wanted, 1, "test").await.unwrap();
}

/// Transactions that were deleted before anything else came.
async fn deleted(app: &App) {
    app.load("deleted.csv", files::wide_transactions(1_500, 8), "").await;
    let mut conn = app.env.pool.get().await.unwrap();
    request_deletion(&mut conn, "test").await.unwrap();
    app.env.doorbells.ring(Queue::Control, 1);
    idle(app).await;
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
}

/// What was told over every channel: a file of which others are told, and a day of which its client is.
async fn told(app: &App) {
    let wanted = "INSERT INTO event_subscriptions (event, channel, address, created_by) VALUES
            ('upload_finished', 'email', 'all@example.com', 'test'), ('upload_finished', 'sms', '+4915112345678', 'test'),
            ('upload_finished', 'telegram', '4711', 'test');
        INSERT INTO webhook_endpoints (id, url, events, secret, created_by)
        VALUES (gen_random_uuid(), 'https://example.com/hook', '{upload_finished}',
                'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3', 'test');
        INSERT INTO client_events (event, channels, updated_by) VALUES ('daily_summary', '{email}', 'test')";
    app.db.client.batch_execute(wanted).await.unwrap();
    app.load("told.csv", files::rows(&["t1,C1,1,2025-01-16,7"]), "").await;
    let mut conn = app.env.pool.get().await.unwrap();
    let day = "2025-01-16".parse().unwrap();
    enqueue(&mut conn, &SendDailySummaries { day }, &EnqueueOptions::by("test")).await.unwrap();
    enqueue(&mut conn, &PruneNotifications {}, &EnqueueOptions::by("test")).await.unwrap();
    app.env.doorbells.ring(Queue::Default, 2);
    eventually("what is told", || async {
        let delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered'";
        (app.db.one::<i64>(delivered, &[]).await == 5).then_some(())
    })
    .await;
    idle(app).await;
}

/// A run of every kind, completed.
async fn fixture(app: &App) {
    deleted(app).await;
    let mut transactions = files::transactions(2_500, 3);
    transactions.extend_from_slice(b"broken,line\n");
    app.load("transactions.csv", transactions, "").await;
    let clients = "client_id,name,email\nC1,One,one@example.com\nC2,Two,\n,Nobody,\n";
    app.load("clients.csv", clients, "?kind=clients").await;
    let stocks =
        "ticker,open,close,high,low,volume\nAAPL,1,1,1,1,5\nMSFT,1,1,1,1,6\nAAPL,1,1,1,1,7\n,1,1,1,1,5\n";
    app.load("stocks.csv", stocks, "?kind=stocks").await;
    let options = |dry_run, on_error| UploadOptions { dry_run, on_error, ..UploadOptions::default() };
    app.load_with("tried.csv", &files::transactions(1_500, 4), options(true, OnError::Skip)).await;
    let trades =
        app.load_with("whole.csv", &files::wide_transactions(1_500, 5), options(false, OnError::Abort)).await;
    assert_eq!(trades["state"], "finished", "{trades}");
    let unwanted = app.load("unwanted.csv", files::wide_transactions(1_500, 6), "").await;
    app.undo(&unwanted).await;
    app.account("holder", "100").await;
    for volume in [1, 2, 500] {
        app.trade("holder", "buy", volume, "AAPL").await;
    }
    let mut conn = app.env.pool.get().await.unwrap();
    let by = EnqueueOptions::by("test");
    let filter = RunFilter { kind: Some("no such kind".to_owned()), ..RunFilter::default() };
    let runs = Selection::Matching(filter);
    let retry = RetryRuns { runs: runs.clone(), ended_before: app.env.clock.now() };
    enqueue(&mut conn, &retry, &by).await.unwrap();
    enqueue(&mut conn, &CancelRuns { runs }, &by).await.unwrap();
    enqueue(&mut conn, &PruneRuns {}, &by).await.unwrap();
    enqueue(&mut conn, &PruneFiles {}, &by).await.unwrap();
    enqueue(&mut conn, &RebuildSummaries { truncate: true }, &by).await.unwrap();
    enqueue(&mut conn, &VerifySummaries {}, &by).await.unwrap();
    enqueue(&mut conn, &VerifyLedger {}, &by).await.unwrap();
    std::fs::write(&app.env.etl.clients, "client_id,name\nE1,One\n").unwrap();
    std::fs::write(&app.env.etl.transactions, files::rows(&["e1,E1,1,2025-01-15,7"])).unwrap();
    etl::start(&mut conn, &by).await.unwrap();
    backfill(&mut conn).await;
    let data = DataRequest { num_rows: 300, seed: Some(7), ..DataRequest::default() };
    bulk::start(&mut conn, &data.try_into().unwrap(), &by).await.unwrap();
    let night = serde_json::json!({ "day": "2026-02-28", "num_rows": 300 });
    nightly::start(&mut conn, &serde_json::from_value(night).unwrap(), &by).await.unwrap();
    Queue::ALL.iter().for_each(|&queue| app.env.doorbells.ring(queue, 3));
    idle(app).await;
    told(app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_run_twice_leaves_the_same_state() {
    let app = App::start().await;
    fixture(&app).await;
    let before = state(&app).await;
    for kind in KINDS {
        let runs = app
            .db
            .client
            .query("SELECT id FROM runs WHERE kind = $1 AND state = 'completed' ORDER BY id", &[&kind.name])
            .await
            .unwrap();
        assert!(!runs.is_empty(), "no run of kind {}: the fixture must make one", kind.name);
        for row in runs {
            let original: uuid::Uuid = row.get(0);
            let copy = RunId::generate();
            app.db
                .client
                .execute(
                    "INSERT INTO runs (id, kind, queue, args, state, priority, max_attempts, flow_id, created_by)
                     SELECT $1, kind, queue, args, 'available', priority, 1, flow_id, 'twice' FROM runs WHERE id = $2",
                    &[&copy.0, &original],
                )
                .await
                .unwrap();
            app.env.doorbells.ring(kind.queue, 1);
            let run = eventually(&format!("{} to be run again", kind.name), || async {
                let run = queries::find_run(&mut app.env.pool.get().await.unwrap(), copy).await.unwrap()?;
                run.state.is_terminal().then_some(run)
            })
            .await;
            assert_eq!(run.state, RunState::Completed, "{}: {:?}", kind.name, run.error);
            idle(&app).await;
            for ((what, before), (_, after)) in before.iter().zip(state(&app).await) {
                assert_eq!(*before, after, "{} changed what this reads: {what}", kind.name);
            }
        }
    }
}
