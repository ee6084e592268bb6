//! What the engine does by policy: retrying, giving up, snoozing, expiring, leaving handlers behind,
//! actions on many runs, pruning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    ids::RunId,
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, Run, RunContext, RunState, enqueue,
        jobs::{CancelRuns, PruneRuns, RetryRuns, Selection},
        queries::{self, RunFilter},
        registry::Registered,
    },
};
use std::time::Duration;
use tests::{App, AppOptions, eventually};

const RETRY: Retry =
    Retry::Exponential { max_attempts: 50, first: Duration::from_millis(40), cap: Duration::from_millis(40) };

/// Fails until it is given up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Stubborn {}

/// Comes back later, and once more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Sleepy {
    naps: i32,
}

/// Asked to come back later by somebody else.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Polite {
    after_ms: u64,
}

/// Only worth doing at once.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Fresh {}

/// Blocks its thread.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Blocking {
    ms: u64,
}

/// Answers with something that a database may not take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Answer {
    bytes: usize,
}

/// Fails on its first attempt only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Once {}

shared::job_registry! {
    /// The kinds of these tests; the bulk kinds as Millrace has them.
    static OWN = [Stubborn, Sleepy, Polite, Fresh, Blocking, Answer, Once];
}

macro_rules! job {
    ($job:ident, $kind:literal, $timeout_ms:literal, $self:ident, $context:ident, $body:expr $(, $constant:ident: $type:ty = $value:expr)*) => {
        impl Job for $job {
            const KIND: &'static str = $kind;
            const QUEUE: Queue = Queue::Default;
            const RETRY: Retry = RETRY;
            const TIMEOUT: Duration = Duration::from_millis($timeout_ms);
            $(const $constant: $type = $value;)*

            async fn run($self, $context: RunContext) -> Result<Finished, JobError> {
                $body
            }
        }
    };
}

job!(Stubborn, "stubborn", 60_000, self, _context, Err(JobError::retry(anyhow::anyhow!("no"))),
     GIVE_UP_AFTER: Option<Duration> = Some(Duration::from_millis(500)));
job!(Sleepy, "sleepy", 60_000, self, context, {
    if context.attempt <= self.naps {
        return Ok(Finished::Snooze(Duration::from_millis(10)));
    }
    Ok(Finished::Result(context.attempt.into()))
});
job!(Polite, "polite", 60_000, self, context, {
    if context.attempt == 1 {
        return Err(JobError::RetryAfter(anyhow::anyhow!("busy"), Duration::from_millis(self.after_ms)));
    }
    Ok(Finished::Result(context.attempt.into()))
});
job!(Fresh, "fresh", 60_000, self, _context, Ok(Finished::Result("fresh".into())),
     START_WITHIN: Option<Duration> = Some(Duration::from_millis(200)));
job!(Blocking, "blocking", 300, self, context, {
    if context.attempt == 1 {
        std::thread::sleep(Duration::from_millis(self.ms));
    }
    Ok(Finished::Result(context.attempt.into()))
});
job!(
    Answer,
    "answer",
    60_000,
    self,
    _context,
    Ok(Finished::Result(format!("\0{}", "x".repeat(self.bytes)).into()))
);
job!(Once, "once", 60_000, self, context, {
    if context.attempt == 1 {
        return Err(JobError::fail(anyhow::anyhow!("number {}", context.run_id)));
    }
    Ok(Finished::Result(context.attempt.into()))
});

/// These kinds and Millrace's own.
fn kinds() -> &'static [shared::runs::registry::Kind] {
    static ALL: std::sync::OnceLock<Vec<shared::runs::registry::Kind>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| OWN.iter().chain(shared::runs::registry::KINDS).copied().collect())
}

async fn app(worker: bool) -> App {
    App::start_with(AppOptions { kinds: kinds(), worker, ..AppOptions::default() }).await
}

async fn put<J: Registered>(app: &App, job: &J) -> RunId {
    let mut conn = app.env.pool.get().await.unwrap();
    let run = enqueue(&mut conn, job, &EnqueueOptions::by("test")).await.unwrap();
    app.env.doorbells.ring(J::QUEUE, 1);
    run.id
}

async fn until(app: &App, id: RunId, state: RunState) -> Run {
    eventually(&format!("run {id} to be {state}"), || async {
        let run = queries::find_run(&mut app.env.pool.get().await.unwrap(), id).await.unwrap().unwrap();
        (run.state == state).then_some(run)
    })
    .await
}

async fn outcomes(app: &App, id: RunId) -> Vec<String> {
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), id).await.unwrap();
    attempts.into_iter().map(|attempt| attempt.outcome.unwrap_or_else(|| "open".to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_end_when_the_kind_gives_up() {
    let app = app(true).await;
    let run = until(&app, put(&app, &Stubborn {}).await, RunState::Discarded).await;
    assert!(run.attempt < 50, "{} attempts", run.attempt);
    assert!(run.error.as_deref().unwrap().contains("given up"), "{:?}", run.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn snoozing_burns_no_attempt() {
    let app = app(true).await;
    let id = put(&app, &Sleepy { naps: 2 }).await;
    let run = until(&app, id, RunState::Completed).await;
    assert_eq!(outcomes(&app, id).await, ["snoozed", "snoozed", "completed"]);
    assert_eq!((run.attempt, run.max_attempts), (3, 52));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured_and_capped() {
    let app = app(true).await;
    let id = put(&app, &Polite { after_ms: 700 }).await;
    until(&app, id, RunState::Completed).await;
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), id).await.unwrap();
    let gap = attempts[1].started_at - attempts[0].finished_at.unwrap();
    assert!(gap >= chrono::TimeDelta::milliseconds(700), "the policy's 40 ms would be too soon: {gap}");
    let id = put(&app, &Polite { after_ms: 1_000_000_000 }).await;
    let run = until(&app, id, RunState::Retryable).await;
    let wait = run.run_at - app.env.clock.now();
    assert!(wait <= chrono::TimeDelta::hours(1), "nobody may put a run off for eleven days: {wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_too_long_is_discarded_and_can_be_retried() {
    let mut app = app(false).await;
    let id = put(&app, &Fresh {}).await;
    let expired = async || {
        let late: i64 = app.db.one("SELECT count(*) FROM runs WHERE start_by < now()", &[]).await;
        (late == 1).then_some(())
    };
    eventually("the limit to pass", expired).await;
    app.start_worker();
    let run = until(&app, id, RunState::Discarded).await;
    assert_eq!((run.reason.as_deref(), run.attempt), (Some("expired"), 0));
    let (status, answer) = app.post(&format!("/api/v1/runs/{id}/retry")).await;
    assert!(status.is_success(), "{answer}");
    until(&app, id, RunState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_is_left_behind_and_the_others_go_on() {
    let app = app(true).await;
    // Every slot of the queue.
    let stuck = [put(&app, &Blocking { ms: 20_000 }).await, put(&app, &Blocking { ms: 20_000 }).await];
    for id in stuck {
        until(&app, id, RunState::Running).await;
    }
    for id in stuck {
        let run = until(&app, id, RunState::Completed).await;
        assert_eq!(outcomes(&app, id).await, ["timed_out", "completed"]);
        assert_eq!(run.result, Some(2.into()));
    }
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), stuck[0]).await.unwrap();
    assert!(attempts[0].error.as_deref().unwrap().contains("left behind"), "{:?}", attempts[0].error);
    let dead: i64 = app.db.one("SELECT count(*) FROM workers WHERE state <> 'alive'", &[]).await;
    assert_eq!(dead, 0, "its heartbeat went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_kept_fails_its_run_and_no_other() {
    let app = app(true).await;
    let (odd, large, well) = (
        put(&app, &Answer { bytes: 1 }).await,
        put(&app, &Answer { bytes: 2 << 20 }).await,
        put(&app, &Sleepy { naps: 0 }).await,
    );
    assert_eq!(until(&app, odd, RunState::Completed).await.result, Some("\u{fffd}x".into()));
    let run = until(&app, large, RunState::Failed).await;
    assert!(run.error.as_deref().unwrap().contains("result"), "{:?}", run.error);
    until(&app, well, RunState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_retried_once_and_failures_are_counted_alike() {
    let app = app(true).await;
    let mut failed = Vec::new();
    for _ in 0..7 {
        failed.push(put(&app, &Once {}).await);
    }
    for &id in &failed {
        until(&app, id, RunState::Failed).await;
    }
    let mut conn = app.env.pool.get().await.unwrap();
    let groups = shared::runs::failures::groups(&mut conn, &Default::default()).await.unwrap().items;
    assert_eq!(groups.len(), 1, "ids do not tell failures apart: {groups:?}");
    assert_eq!((groups[0].occurrences, groups[0].failed_runs), (7, 7));
    let filter = RunFilter { fingerprint: Some(groups[0].fingerprint.clone()), ..RunFilter::default() };
    let retry = RetryRuns { runs: Selection::Matching(filter), ended_before: app.env.clock.now() };
    let bulk = until(&app, put(&app, &retry).await, RunState::Completed).await;
    assert_eq!(bulk.result, Some(serde_json::json!({ "changed": 7, "skipped": 0 })));
    for &id in &failed {
        until(&app, id, RunState::Completed).await;
    }
    let again = until(&app, put(&app, &retry).await, RunState::Completed).await;
    assert_eq!(again.result, Some(serde_json::json!({ "changed": 0, "skipped": 0 })));
    let group = shared::runs::failures::find(&mut conn, &groups[0].fingerprint).await.unwrap().unwrap();
    assert_eq!((group.occurrences, group.failed_runs), (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_cancelled() {
    let mut app = app(false).await;
    let ids = [put(&app, &Sleepy { naps: 0 }).await, put(&app, &Sleepy { naps: 0 }).await];
    let kept = put(&app, &Sleepy { naps: 0 }).await;
    // Not to be claimed before they are cancelled.
    app.db
        .client
        .execute("INSERT INTO pauses (target, name, paused_by) VALUES ('kind', 'sleepy', 'test')", &[])
        .await
        .unwrap();
    app.start_worker();
    let bulk = put(&app, &CancelRuns { runs: Selection::Ids(ids.to_vec()) }).await;
    until(&app, bulk, RunState::Completed).await;
    for id in ids {
        until(&app, id, RunState::Cancelled).await;
    }
    until(&app, kept, RunState::Available).await;
    app.db.client.execute("DELETE FROM pauses", &[]).await.unwrap();
    until(&app, kept, RunState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_flows_are_pruned_whole_and_leave_no_orphan() {
    let app = app(true).await;
    let upload = app.load("old.csv", tests::files::transactions(2_500, 3), "").await;
    let failed = put(&app, &Once {}).await;
    until(&app, failed, RunState::Failed).await;
    let recent = until(&app, put(&app, &Sleepy { naps: 0 }).await, RunState::Completed).await;
    let unfinished = async || {
        let busy: i64 = app.db.one("SELECT count(*) FROM runs WHERE finished_at IS NULL", &[]).await;
        (busy == 0).then_some(())
    };
    eventually("idleness", unfinished).await;
    let age = |days: i32, which: &str| {
        format!("UPDATE runs SET finished_at = finished_at - {days} * interval '1 day' WHERE {which}")
    };
    app.db.client.batch_execute(&age(20, &format!("id <> '{}'", recent.id))).await.unwrap();
    let before: i64 = app.db.one("SELECT count(*) FROM runs", &[]).await;
    assert!(before >= 7, "an upload of three chunks, its refresh, and two more");
    until(&app, put(&app, &PruneRuns {}).await, RunState::Completed).await;
    // What is left: the root that the upload points to, what failed 20 days ago, what is recent, the pruning.
    let left: String = app.db.one("SELECT string_agg(kind, ' ' ORDER BY kind) FROM runs", &[]).await;
    assert_eq!(left, "finish_upload once prune_runs sleepy");
    app.db
        .expect_nothing(
            "SELECT 1 FROM run_attempts a WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = a.run_id)",
        )
        .await;
    let upload = app.get(&format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap())).await;
    assert_eq!(upload["state"], "finished");
    app.db.client.batch_execute(&age(20, "kind = 'once'")).await.unwrap();
    until(&app, put(&app, &PruneRuns {}).await, RunState::Completed).await;
    let once: i64 = app.db.one("SELECT count(*) FROM runs WHERE kind = 'once'", &[]).await;
    assert_eq!(once, 0, "40 days are more than failures are kept");
}
