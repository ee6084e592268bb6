//! Summaries: totals that are exact at every commit (`kept`), mended by `rebuild` and proved by `verify`,
//! and what is read from them.

pub mod answers;
pub mod by_client;
pub mod calendar;
pub mod jobs;
pub(crate) mod kept;
pub mod model;
mod parts;
pub mod queries;
mod rebuild;
mod verify;

pub use calendar::Calendar;
pub use model::{PeriodTotal, SummaryMode};
pub use queries::SummaryQuery;
