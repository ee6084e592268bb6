//! Durable runs: what a job is (`job`), which there are (`registry`), the record of each run
//! (`model`, `queries`, `waiting`), what may be done with it (`service`, `queues`). PostgreSQL is the record;
//! `doorbell` only tells workers sooner that there is something to claim. The machine that executes
//! runs is the crate `worker`.

mod contention;
pub mod counts;
pub mod doorbell;
pub mod error;
pub mod failures;
pub mod job;
pub mod jobs;
pub mod model;
pub mod pulse;
pub mod queries;
pub mod queues;
pub mod registry;
pub mod service;
pub mod waiting;
pub mod workers;

pub(crate) use contention::{CONTENTION_RETRIES, is_contention, try_again};
pub use doorbell::Doorbells;
pub use error::RunError;
pub use job::{
    Closed, Environment, Finished, Job, JobError, Queue, Retry, RunContext, Unique, complete_runs, hold_runs,
};
pub use model::{Run, RunAttempt, RunEvent, RunLog, RunState, Worker};
pub use service::{
    EnqueueOptions, Enqueued, cancel_run, clone_run, enqueue, enqueue_all, enqueue_chain, enqueue_children,
    enqueue_flow, enqueue_subflow, retry_run,
};
