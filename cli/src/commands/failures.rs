//! `millrace failures`: what fails, like by like, and trying it again.

use super::runs::report_bulk;
use crate::{
    access::Remote,
    client::ApiClient,
    output::{remark, say, thousands},
    table::Table,
    words,
};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Deserialize;

/// Failures, like by like.
#[derive(Debug, Args)]
pub struct Failures {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, last seen first (also without a word).
    List,
    /// Run again all runs that failed so.
    Retry {
        /// The fingerprint, whole.
        fingerprint: String,
        /// Follow it to its end.
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Deserialize)]
struct FailureRow {
    fingerprint: String,
    kind: String,
    message: String,
    occurrences: i64,
    #[serde(default)]
    failed_runs: i64,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
}

/// Carries out `millrace failures …`.
pub async fn failures(args: Failures) -> anyhow::Result<()> {
    let client = args.remote.connect().await?;
    let json = args.remote.json;
    match args.command.unwrap_or(Command::List) {
        Command::List => list(&client, json).await,
        Command::Retry { fingerprint, wait } => {
            let answer = client.post(&["failures", &fingerprint, "retry"], None).await?;
            report_bulk(&client, answer, wait, json).await
        }
    }
}

async fn list(client: &ApiClient, json: bool) -> anyhow::Result<()> {
    let (answer, listing) = client.list(&["failures"], &[], ApiClient::LARGEST_PAGE).await?;
    if json {
        say(answer.text());
        return Ok(());
    }
    if listing.items.is_empty() {
        remark("Nothing has failed.");
        return Ok(());
    }
    let mut table =
        Table::new(&["KIND", "TIMES", "FAILED RUNS", "FIRST SEEN", "LAST SEEN", "FINGERPRINT", "MESSAGE"]);
    for item in listing.items {
        let failure: FailureRow = serde_json::from_value(item)?;
        table.row([
            failure.kind,
            thousands(failure.occurrences),
            thousands(failure.failed_runs),
            words::relative(failure.first_seen),
            words::relative(failure.last_seen),
            failure.fingerprint,
            failure.message,
        ]);
    }
    table.print();
    Ok(())
}
