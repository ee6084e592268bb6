//! Jobs on a clock: what a schedule is (`model`), when it fires (`cron`, `timetable`), what its runs are
//! given (`arguments`), what may be done with it (`service`), what the leading scheduler does (`firing`),
//! times that have passed (`backfill`), and what is noticed when a schedule does not run (`alerts`). What
//! every installation has stands in `built_in`. The loop that calls `firing` is the crate `scheduler`.

pub mod alerts;
pub mod arguments;
pub mod backfill;
pub mod built_in;
pub mod cron;
pub mod error;
pub mod firing;
pub mod jobs;
mod making;
pub mod model;
pub mod queries;
pub mod service;
pub mod timetable;

pub use cron::Expression;
pub use error::{Fault, ScheduleError};
pub use model::{CatchUp, MissingTime, Overlap, RepeatedTime, Schedule, Tick, TickCause, TickOutcome};
pub use service::{Definition, Pause};
pub use timetable::{ClockChange, Occurrence, Timetable};
