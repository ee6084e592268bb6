//! Summaries: totals that are exact at every commit, and what is read from them.

pub mod jobs;
pub mod model;
pub mod queries;

pub use model::{PeriodTotal, SummaryMode};
pub use queries::SummaryQuery;
