//! `schedules`: what a night is made of. A file a figure.

mod generated;
mod lateness;

use crate::report::Report;

const BENCH: &str = "schedules";

/// Runs it all; `quick` proves in under a minute that it works.
pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    lateness::run(report, quick).await?;
    generated::run(report, quick).await
}
