//! Summaries: totals that are exact at every commit, and what is read from them.

pub mod answers;
pub mod calendar;
pub mod jobs;
pub mod model;
pub mod queries;

pub use calendar::Calendar;
pub use model::{PeriodTotal, SummaryMode};
pub use queries::SummaryQuery;
