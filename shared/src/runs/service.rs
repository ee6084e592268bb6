//! What may be done with a run: enqueue, cancel, retry, clone. Each works in the caller's transaction;
//! ring the doorbell after the commit (a lost ring costs a second, a lost commit loses the run).

use super::{
    error::RunError,
    model::{Run, RunEvent, RunState},
    queries,
    registry::{ArgumentError, Arguments, Kind, Registered},
};
use crate::{
    clock::{Clock, SystemClock},
    ids::RunId,
    schema::runs,
    uploads::queries::{faults, find_upload_of_run},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// Runs of this priority and more are behind live work, and so is whatever their flows add; a point is worth a
/// minute of waiting.
pub const BEHIND: i16 = 10_000;

/// How a run is enqueued.
#[derive(Debug, Clone)]
pub struct EnqueueOptions {
    /// Who asks.
    pub created_by: String,
    /// Not before; at once if absent.
    pub run_at: Option<DateTime<Utc>>,
    /// Overrides the kind's priority.
    pub priority: Option<i16>,
    /// Discarded if it has not begun by then; overrides the kind's limit.
    pub start_by: Option<DateTime<Utc>>,
    /// Makes the run a step of this flow.
    pub flow_id: Option<RunId>,
}

impl EnqueueOptions {
    /// At once, alone, on behalf of `created_by`.
    pub fn by(created_by: impl Into<String>) -> Self {
        Self { created_by: created_by.into(), run_at: None, priority: None, start_by: None, flow_id: None }
    }
}

/// The run that stands for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Its id.
    pub id: RunId,
    /// False if a unique run existed already.
    pub created: bool,
}

diesel::define_sql_function! {
    /// The first that is not null.
    fn coalesce(first: Nullable<Timestamptz>, second: Timestamptz) -> Timestamptz;
}

/// What is absent is NULL, not DEFAULT: a statement with DEFAULT would be parsed anew for each run.
#[derive(Insertable)]
#[diesel(table_name = runs, treat_none_as_default_value = false)]
struct NewRun<'a> {
    id: RunId,
    kind: &'static str,
    queue: &'static str,
    args: serde_json::Value,
    state: RunState,
    reason: Option<&'static str>,
    priority: i16,
    max_attempts: i32,
    #[diesel(skip_insertion)]
    run_at: Option<DateTime<Utc>>,
    start_by: Option<DateTime<Utc>>,
    parent_id: Option<RunId>,
    flow_id: RunId,
    blocked_by: i32,
    unique_key: Option<String>,
    unique_states: Option<Vec<&'static str>>,
    unique_held: bool,
    created_by: &'a str,
}

/// A run to insert, with its time: by the database's clock, unless another is given.
macro_rules! row {
    ($run:expr) => {
        ($run, runs::run_at.eq(coalesce($run.run_at, diesel::dsl::now)))
    };
}

impl<'a> NewRun<'a> {
    fn of<J: Registered>(job: &J, options: &'a EnqueueOptions) -> Result<Self, RunError> {
        let arguments = Arguments { args: serde_json::to_value(job)?, unique: job.unique() };
        Ok(Self::new(J::kind(), arguments, options))
    }

    fn new(kind: &Kind, arguments: Arguments, options: &'a EnqueueOptions) -> Self {
        let id = RunId::generate();
        let Arguments { args, unique } = arguments;
        // The clock of the process: a minute of difference between machines moves the limit by as much.
        let due = || options.run_at.unwrap_or_else(|| SystemClock.now());
        Self {
            id,
            kind: kind.name,
            queue: kind.queue.as_str(),
            args,
            state: if options.run_at.is_some() { RunState::Scheduled } else { RunState::Available },
            reason: None,
            priority: options.priority.unwrap_or(kind.priority),
            max_attempts: kind.retry.max_attempts(),
            run_at: options.run_at,
            start_by: options.start_by.or_else(|| kind.start_within.map(|within| due() + within)),
            parent_id: None,
            flow_id: options.flow_id.unwrap_or(id),
            blocked_by: 0,
            unique_held: unique.is_some(),
            unique_states: unique
                .as_ref()
                .map(|unique| unique.states.iter().map(|state| state.as_str()).collect()),
            unique_key: unique.map(|unique| format!("{}:{}", kind.name, unique.key)),
            created_by: &options.created_by,
        }
    }

    /// It is a step of the flow that `outer` is in, behind live work if that is.
    fn joins(&mut self, outer: &Outer) {
        self.flow_id = outer.flow_id;
        if outer.priority >= BEHIND && self.priority < BEHIND {
            self.priority = self.priority.saturating_add(BEHIND);
        }
    }

    /// It waits for one step.
    fn waits(&mut self) {
        self.state = RunState::Blocked;
        self.reason = Some("dependency");
        self.blocked_by = 1;
    }

    /// Inserts it, or finds the run that holds its key.
    async fn insert(&self, conn: &mut AsyncPgConnection) -> QueryResult<Enqueued> {
        if self.unique_key.is_none() {
            diesel::insert_into(runs::table).values(row!(self)).execute(conn).await?;
            return Ok(Enqueued { id: self.id, created: true });
        }
        loop {
            let insert = diesel::insert_into(runs::table).values(row!(self));
            let inserted = insert.on_conflict_do_nothing().execute(conn).await?;
            if inserted == 1 {
                return Ok(Enqueued { id: self.id, created: true });
            }
            let key = self.unique_key.as_deref().unwrap_or_default();
            if let Some(id) = queries::holder(conn, key).await? {
                return Ok(Enqueued { id, created: false });
            }
            // The winner let go of the key between the two statements: try again.
        }
    }
}

/// Adds a run in the caller's transaction. If an unfinished run holds its unique key, that one is
/// the answer.
pub async fn enqueue<J: Registered>(
    conn: &mut AsyncPgConnection,
    job: &J,
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    Ok(NewRun::of(job, options)?.insert(conn).await?)
}

/// A run of its own id, on behalf of somebody, not before its time if it has one.
pub type Ordered<'r, J> = (RunId, J, &'r str, Option<DateTime<Utc>>);

/// Adds runs without a unique key in the caller's transaction: one statement for all of them.
pub async fn enqueue_all<J: Registered>(
    conn: &mut AsyncPgConnection,
    runs: &[Ordered<'_, J>],
) -> Result<(), RunError> {
    let kind = J::kind();
    let args = runs.iter().map(|(_, job, ..)| serde_json::to_value(job)).collect::<Result<Vec<_>, _>>()?;
    diesel::sql_query(
        "INSERT INTO runs (id, flow_id, args, created_by, kind, queue, state, priority, max_attempts, run_at)
         SELECT r.id, r.id, r.args, r.created_by, $5, $6,
                CASE WHEN r.run_at IS NULL THEN 'available' ELSE 'scheduled' END, $7, $8, coalesce(r.run_at, now())
         FROM unnest($1, $2, $3, $4) AS r (id, args, created_by, run_at)",
    )
    .bind::<Array<Uuid>, _>(runs.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(args)
    .bind::<Array<Text>, _>(runs.iter().map(|(_, _, by, _)| *by).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(runs.iter().map(|(.., at)| *at).collect::<Vec<_>>())
    .bind::<Text, _>(kind.name)
    .bind::<Text, _>(kind.queue.as_str())
    .bind::<SmallInt, _>(kind.priority)
    .bind::<Integer, _>(kind.retry.max_attempts())
    .execute(conn)
    .await?;
    Ok(())
}

/// Starts a flow: `parent` waits for `first`, and for whatever steps are added while it waits.
/// The caller names the flow (`id`, the parent's), so that its own rows can point there.
pub async fn enqueue_flow<P: Registered, C: Registered>(
    conn: &mut AsyncPgConnection,
    id: RunId,
    parent: &P,
    first: &C,
    options: &EnqueueOptions,
) -> Result<(), RunError> {
    let mut root = NewRun::of(parent, options)?;
    root.id = id;
    root.flow_id = id;
    root.waits();
    let mut step = NewRun::of(first, options)?;
    step.parent_id = Some(root.id);
    step.flow_id = root.flow_id;
    diesel::insert_into(runs::table).values(row!(&root)).execute(conn).await?;
    diesel::insert_into(runs::table).values(row!(&step)).execute(conn).await?;
    Ok(())
}

/// Starts a flow of three: `root` waits for `second`, which waits for `first`; steps may be added below
/// both while they wait. If an unfinished run holds the root's unique key, that one is the answer.
pub async fn enqueue_chain<R: Registered, S: Registered, F: Registered>(
    conn: &mut AsyncPgConnection,
    root: &R,
    second: &S,
    first: &F,
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    let mut root = NewRun::of(root, options)?;
    root.waits();
    let enqueued = root.insert(conn).await?;
    if !enqueued.created {
        return Ok(enqueued);
    }
    let mut second = NewRun::of(second, options)?;
    second.waits();
    second.parent_id = Some(root.id);
    second.flow_id = root.flow_id;
    let mut first = NewRun::of(first, options)?;
    first.parent_id = Some(second.id);
    first.flow_id = root.flow_id;
    diesel::insert_into(runs::table).values(row!(&second)).execute(conn).await?;
    diesel::insert_into(runs::table).values(row!(&first)).execute(conn).await?;
    Ok(enqueued)
}

/// A flow within a flow: `outer`, which waits, waits for `parent` too.
pub async fn enqueue_subflow<P: Registered, C: Registered>(
    conn: &mut AsyncPgConnection,
    outer: RunId,
    id: RunId,
    parent: &P,
    first: &C,
    options: &EnqueueOptions,
) -> Result<(), RunError> {
    let flow = lock_waiting(conn, outer).await?;
    let mut inner = NewRun::of(parent, options)?;
    inner.id = id;
    inner.parent_id = Some(outer);
    inner.joins(&flow);
    inner.waits();
    let mut step = NewRun::of(first, options)?;
    step.parent_id = Some(id);
    step.joins(&flow);
    diesel::insert_into(runs::table).values(row!(&inner)).execute(conn).await?;
    diesel::insert_into(runs::table).values(row!(&step)).execute(conn).await?;
    diesel::update(runs::table.find(outer))
        .set(runs::blocked_by.eq(runs::blocked_by + 1))
        .execute(conn)
        .await?;
    Ok(())
}

/// What steps take over from the run that they are added to.
struct Outer {
    flow_id: RunId,
    priority: i16,
}

/// Locks a run that steps are to be added to. Refused while the flow is being cancelled: the
/// lock makes a cancellation see these children, or these see the cancellation.
async fn lock_waiting(conn: &mut AsyncPgConnection, parent: RunId) -> Result<Outer, RunError> {
    let (cancelled, flow_id, priority): (bool, RunId, i16) = runs::table
        .find(parent)
        .select((runs::cancel_requested, runs::flow_id, runs::priority))
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?
        .ok_or(RunError::NotFound(parent))?;
    if cancelled { Err(RunError::FlowCancelled) } else { Ok(Outer { flow_id, priority }) }
}

/// Adds steps to a flow whose root waits. Refused while the flow is being cancelled.
pub async fn enqueue_children<J: Registered>(
    conn: &mut AsyncPgConnection,
    parent: RunId,
    jobs: &[J],
    options: &EnqueueOptions,
) -> Result<Vec<RunId>, RunError> {
    let flow = lock_waiting(conn, parent).await?;
    let mut ids = Vec::with_capacity(jobs.len());
    // A statement binds at most 65,535 parameters.
    for part in jobs.chunks(1000) {
        let mut rows = Vec::with_capacity(part.len());
        for job in part {
            let mut run = NewRun::of(job, options)?;
            run.parent_id = Some(parent);
            run.joins(&flow);
            ids.push(run.id);
            rows.push(run);
        }
        let rows: Vec<_> = rows.iter().map(|run| row!(run)).collect();
        diesel::insert_into(runs::table).values(rows).execute(conn).await?;
    }
    diesel::update(runs::table.find(parent))
        .set(runs::blocked_by.eq(runs::blocked_by + i32::try_from(jobs.len()).unwrap_or(i32::MAX)))
        .execute(conn)
        .await?;
    Ok(ids)
}

/// What a cancellation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run is cancelled.
    Now,
    /// Running steps were asked to stop; the run is cancelled when they have.
    Requested,
}

/// Cancels a run and, if it waits for children, those. What has not begun ends at once; what runs is
/// asked to stop.
pub async fn cancel_run(conn: &mut AsyncPgConnection, id: RunId) -> Result<Cancelled, RunError> {
    let run = lock_tree(conn, id).await?;
    run.state.next(RunEvent::Cancel)?;
    let state: RunState = diesel::sql_query("SELECT cancel_run($1) AS state")
        .bind::<Uuid, _>(id)
        .get_result::<StateRow>(conn)
        .await?
        .state;
    Ok(if state == RunState::Cancelled { Cancelled::Now } else { Cancelled::Requested })
}

/// Runs an ended run again. Of a flow only what failed runs again; a step's ended ancestors wait for
/// it again. If an unfinished run holds its unique key, that one is the answer and nothing changes. Steps of an
/// upload that was undone, or is being, or whose check has found faults, are refused. `kinds` say how many attempts follow.
pub async fn retry_run(conn: &mut AsyncPgConnection, id: RunId, kinds: &[Kind]) -> Result<RunId, RunError> {
    // A savepoint: the key's refusal must not end the caller's transaction.
    let retried = conn
        .transaction(async |conn| {
            if let Some(upload) = find_upload_of_run(conn, id).await? {
                if upload.undo_run_id.is_some() {
                    return Err(RunError::UploadUndone);
                }
                if faults(conn, upload.id).await?.1 > 0 {
                    return Err(RunError::FileRefused);
                }
            }
            let run = lock_tree(conn, id).await?;
            run.state.next(RunEvent::Retry)?;
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
            let attempts: Vec<i32> = kinds.iter().map(|kind| kind.retry.max_attempts()).collect();
            diesel::sql_query("SELECT retry_run($1, $2, $3)")
                .bind::<Uuid, _>(id)
                .bind::<Array<Text>, _>(names)
                .bind::<Array<Integer>, _>(attempts)
                .execute(conn)
                .await?;
            Ok(id)
        })
        .await;
    match retried {
        Err(RunError::KeyHeld) => queries::holder_beside(conn, id).await?.ok_or(RunError::KeyHeld),
        other => other,
    }
}

/// Enqueues a run like another, with other arguments if `args` is given. The kind reads them strictly
/// and may refuse to be cloned. A clone stands alone: it belongs to no flow.
pub async fn clone_run(
    conn: &mut AsyncPgConnection,
    id: RunId,
    args: Option<serde_json::Value>,
    kinds: &[Kind],
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    let run = queries::find_run(conn, id).await?.ok_or(RunError::NotFound(id))?;
    let kind = kinds
        .iter()
        .find(|kind| kind.name == run.kind)
        .ok_or_else(|| RunError::Unclonable(format!("this version does not know the kind {}", run.kind)))?;
    if let Some(reason) = kind.unclonable {
        return Err(RunError::Unclonable(reason.to_owned()));
    }
    let args = args.unwrap_or(run.args);
    if !args.is_object() {
        let message = "arguments are a JSON object such as {\"name\": \"value\"}".to_owned();
        return Err(ArgumentError { path: ".".to_owned(), message }.into());
    }
    let arguments = (kind.read)(args)?;
    let options = EnqueueOptions { priority: options.priority.or(Some(run.priority)), ..options.clone() };
    Ok(NewRun::new(kind, arguments, &options).insert(conn).await?)
}

#[derive(QueryableByName)]
struct StateRow {
    #[diesel(sql_type = Text)]
    state: RunState,
}

/// Locks a run with its descendants, then its ancestors: children before parents, each in id order.
async fn lock_tree(conn: &mut AsyncPgConnection, id: RunId) -> Result<Run, RunError> {
    diesel::sql_query("SELECT lock_run_tree($1)").bind::<Uuid, _>(id).execute(conn).await?;
    queries::find_run(conn, id).await?.ok_or(RunError::NotFound(id))
}
