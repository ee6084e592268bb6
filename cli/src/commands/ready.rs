//! `millrace ready`: what a health check of a container runs, where there is no other HTTP client.

use crate::{access::DEFAULT_SERVER, accounts::env, output::say};
use anyhow::{Context, bail};
use clap::Args;
use std::{net::SocketAddr, time::Duration};

/// Shorter than the patience of whoever asks for a health check.
const PATIENCE: Duration = Duration::from_secs(4);

/// Which server is asked.
#[derive(Debug, Args)]
pub struct Ready {
    /// The route that is asked; `/readyz` of the api at the port of MILLRACE_LISTEN if absent. A worker or scheduler
    /// has one where MILLRACE_METRICS_LISTEN opens it.
    #[arg(default_value_t = own_api())]
    url: String,
}

fn own_api() -> String {
    match env("MILLRACE_LISTEN").and_then(|listen| listen.trim().parse::<SocketAddr>().ok()) {
        Some(listen) if listen.ip().is_unspecified() => format!("http://127.0.0.1:{}/readyz", listen.port()),
        Some(listen) => format!("http://{listen}/readyz"),
        None => format!("{DEFAULT_SERVER}/readyz"),
    }
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
