//! `millrace workers`.

use crate::{
    access::Remote,
    client::Listing,
    output::{remark, say},
    table::Table,
    words,
};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

/// The workers that live or were seen in the last day.
#[derive(Debug, Args)]
pub struct Workers {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Deserialize)]
struct WorkerRow {
    id: String,
    host: String,
    pid: i32,
    version: String,
    state: String,
    #[serde(default)]
    silent: bool,
    started_at: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    #[serde(default)]
    slots: Value,
    #[serde(default)]
    running: Value,
}

/// Lists the workers.
pub async fn workers(args: Workers) -> anyhow::Result<()> {
    let answer = args.remote.connect().await?.get(&["workers"], &[]).await?;
    if args.remote.json {
        say(answer.text());
        return Ok(());
    }
    let items = answer.read::<Listing>()?.items;
    if items.is_empty() {
        remark("No worker runs; `millrace worker` starts one.");
        return Ok(());
    }
    let mut table =
        Table::new(&["WORKER", "HOST", "PID", "VERSION", "STATE", "STARTED", "SEEN", "SLOTS", "RUNS"]);
    for item in items {
        let worker: WorkerRow = serde_json::from_value(item)?;
        table.row([
            words::short(&worker.id).to_owned(),
            worker.host,
            worker.pid.to_string(),
            worker.version,
            if worker.silent { "silent".to_owned() } else { worker.state },
            words::relative(worker.started_at),
            words::relative(worker.last_seen),
            by_queue(&worker.slots),
            by_queue(&worker.running),
        ]);
    }
    table.print();
    Ok(())
}

/// Numbers by queue, in words: `default 4, ingest 2`.
fn by_queue(numbers: &Value) -> String {
    let words: Vec<String> = match numbers {
        Value::Null => Vec::new(),
        Value::Object(numbers) => numbers.iter().map(|(queue, n)| format!("{queue} {n}")).collect(),
        Value::Array(rows) => vec![rows.len().to_string()],
        other => vec![other.to_string()],
    };
    words.join(", ")
}
