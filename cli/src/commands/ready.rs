//! `millrace ready`: what a health check of a container runs, where there is no other HTTP client.

use crate::{access::DEFAULT_SERVER, output::say};
use anyhow::{Context, bail};
use clap::Args;
use std::time::Duration;

/// Shorter than the patience of whoever asks for a health check.
const PATIENCE: Duration = Duration::from_secs(4);

/// Which server is asked.
#[derive(Debug, Args)]
pub struct Ready {
    /// The route that is asked; of a worker or scheduler `/livez` where MILLRACE_METRICS_LISTEN opens it.
    #[arg(default_value_t = format!("{DEFAULT_SERVER}/readyz"))]
    url: String,
}

/// Prints the answer; fails unless it is 200.
pub async fn ready(args: &Ready) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let answer =
        client.get(&args.url).send().await.with_context(|| format!("{} does not answer", args.url))?;
    let status = answer.status();
    say(answer.text().await.unwrap_or_default().trim_end());
    if status != reqwest::StatusCode::OK {
        bail!("{} answers {status}", args.url);
    }
    Ok(())
}
