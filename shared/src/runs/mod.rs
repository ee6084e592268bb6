//! Durable runs: what a job is (`job`), which there are (`registry`), the record of each run
//! (`model`, `queries`), and what may be done with it (`service`). PostgreSQL is the record;
//! `doorbell` only tells workers sooner that there is something to claim. The machine that executes
//! runs is the crate `worker`.

pub mod doorbell;
pub mod error;
pub mod job;
pub mod model;
pub mod pulse;
pub mod queries;
pub mod registry;
pub mod service;

pub use doorbell::Doorbells;
pub use error::RunError;
pub use job::{Environment, Finished, Job, JobError, Queue, Retry, RunContext, Unique, UniqueUntil};
pub use model::{Run, RunAttempt, RunEvent, RunLog, RunState, Worker};
pub use service::{EnqueueOptions, Enqueued, cancel_run, enqueue, enqueue_children, enqueue_flow, retry_run};
