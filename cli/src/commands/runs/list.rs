//! `millrace runs list`.

use super::Filter;
use crate::{
    client::ApiClient,
    output::{remark, say},
    table::Table,
    words,
};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use shared::runs::RunState;

/// Which runs, and how many.
#[derive(Debug, Args)]
pub struct List {
    /// So many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

/// A run as the API shows it, as far as it is shown here.
#[derive(Debug, Deserialize)]
pub struct RunRow {
    pub id: String,
    pub kind: String,
    pub queue: String,
    pub state: RunState,
    pub attempt: i32,
    pub max_attempts: i32,
    #[serde(default)]
    pub waiting: Option<Waiting>,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Why a run is where it is.
#[derive(Debug, Deserialize)]
pub struct Waiting {
    pub text: String,
}

impl RunRow {
    /// What there is to say beside the state: why it waits, or what went wrong.
    fn why(&self) -> String {
        match (&self.waiting, &self.error) {
            (Some(waiting), _) if self.state != RunState::Running => words::cut(&waiting.text, 80),
            (_, Some(error)) => words::cut(error, 80),
            _ => String::new(),
        }
    }

    /// How long it took, or has taken so far.
    pub fn took(&self) -> Option<String> {
        Some(words::between(self.started_at?, self.finished_at.unwrap_or_else(words::now)))
    }
}

/// Lists runs.
pub async fn list(client: &ApiClient, args: &List, json: bool) -> anyhow::Result<()> {
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let (answer, listing) = client.list(&["runs"], &args.filter.query(), wanted).await?;
    if json {
        say(answer.text());
        return Ok(());
    }
    let more = listing.next.is_some();
    print(listing.items)?;
    if more {
        remark("There are more: --all lists them, --limit says how many.");
    }
    Ok(())
}

fn print(items: Vec<Value>) -> anyhow::Result<()> {
    if items.is_empty() {
        remark("No run is like that.");
        return Ok(());
    }
    let mut table = Table::new(&["RUN", "KIND", "STATE", "ATTEMPT", "QUEUE", "CREATED", "TOOK", "WHY"]);
    for item in items {
        let run: RunRow = serde_json::from_value(item)?;
        table.row([
            words::short(&run.id).to_owned(),
            run.kind.clone(),
            run.state.to_string(),
            format!("{}/{}", run.attempt, run.max_attempts),
            run.queue.clone(),
            words::relative(run.created_at),
            run.took().unwrap_or_default(),
            run.why(),
        ]);
    }
    table.print();
    Ok(())
}
