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
use serde_json::{Map, Value};

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
    slots: Map<String, Value>,
    #[serde(default)]
    slots_in_use: Map<String, Value>,
    #[serde(default)]
    running: i64,
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
        Table::new(&["WORKER", "HOST", "PID", "VERSION", "STATE", "STARTED", "SEEN", "RUNS", "SLOTS"]);
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
            worker.running.to_string(),
            slots(&worker.slots, &worker.slots_in_use),
        ]);
    }
    table.print();
    Ok(())
}

/// Slots in use and slots, by queue: `default 1/4, ingest 0/2`.
fn slots(slots: &Map<String, Value>, in_use: &Map<String, Value>) -> String {
    let used = |queue: &String| in_use.get(queue).and_then(Value::as_i64).unwrap_or_default();
    let words: Vec<String> =
        slots.iter().map(|(queue, slots)| format!("{queue} {}/{slots}", used(queue))).collect();
    words.join(", ")
}
