//! Summaries: totals that are exact at every commit (`kept`), and what is read from them.

pub mod jobs;
pub(crate) mod kept;
pub mod model;
pub mod queries;

pub use model::{PeriodTotal, SummaryMode};
pub use queries::SummaryQuery;
