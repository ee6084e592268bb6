//! `millrace runs show`.

use super::{find, list::RunRow};
use crate::{client::ApiClient, output::say, table::Table, words};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// The rest of a run, beside what lists show.
#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(flatten)]
    row: RunRow,
    args: Value,
    priority: i16,
    run_at: DateTime<Utc>,
    worker_id: Option<String>,
    cancel_requested: bool,
    parent_id: Option<String>,
    flow_id: String,
    progress: Progress,
    result: Option<Value>,
    fingerprint: Option<String>,
    created_by: String,
    #[serde(default)]
    children: Vec<Children>,
}

/// How far a run is.
#[derive(Debug, Deserialize)]
pub struct Progress {
    pub done: i64,
    pub total: Option<i64>,
    pub unit: Option<String>,
    pub phase: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Children {
    state: String,
    count: i64,
}

#[derive(Debug, Deserialize)]
struct Attempt {
    attempt: i32,
    worker_id: String,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    error: Option<String>,
}

impl Progress {
    /// `120 of 500 runs, copying`; empty if there is none.
    pub fn words(&self) -> String {
        let unit = self.unit.as_deref().unwrap_or_default();
        let phase = self.phase.as_deref().filter(|phase| !phase.is_empty());
        let mut words = match self.total {
            Some(total) => format!("{} of {total} {unit}", self.done),
            None if self.done > 0 => format!("{} {unit}", self.done),
            None => String::new(),
        };
        if let Some(phase) = phase {
            words.push_str(if words.is_empty() { "" } else { ", " });
            words.push_str(phase);
        }
        words
    }
}

/// Shows a run.
pub async fn show(client: &ApiClient, id: &str, json: bool) -> anyhow::Result<()> {
    let ids = find::whole_ids(client, &[id.to_owned()]).await?;
    let id = ids[0].as_str();
    let answer = client.get(&["runs", id], &[]).await?;
    if json {
        say(answer.text());
        return Ok(());
    }
    print(&answer.read()?);
    let attempts = client.get(&["runs", id, "attempts"], &[]).await?;
    let attempts: crate::client::Listing = attempts.read()?;
    print_attempts(attempts.items)
}

fn print(run: &Detail) {
    let row = &run.row;
    let fact = |name: &str, value: &str| {
        if !value.is_empty() {
            say(format!("{name:<12} {value}"));
        }
    };
    let optional = |name: &str, value: &Option<String>| fact(name, value.as_deref().unwrap_or_default());
    fact("run", &row.id);
    fact("kind", &row.kind);
    let asked = if run.cancel_requested { " (asked to stop)" } else { "" };
    fact("state", &format!("{}{asked}", row.state));
    fact("why", row.waiting.as_ref().map_or("", |waiting| &waiting.text));
    fact("attempt", &format!("{} of {}", row.attempt, row.max_attempts));
    fact("queue", &format!("{}, priority {}", row.queue, run.priority));
    fact("arguments", &run.args.to_string());
    fact("progress", &run.progress.words());
    let time = |time: DateTime<Utc>| format!("{} ({})", words::whole(time), words::relative(time));
    fact("created", &format!("{} by {}", time(row.created_at), run.created_by));
    fact("due", &time(run.run_at));
    fact("started", &row.started_at.map(time).unwrap_or_default());
    fact("finished", &row.finished_at.map(time).unwrap_or_default());
    fact("took", &row.took().unwrap_or_default());
    optional("worker", &run.worker_id);
    optional("parent", &run.parent_id);
    fact("flow", if run.flow_id == row.id { "" } else { &run.flow_id });
    let children: Vec<String> =
        run.children.iter().map(|each| format!("{} {}", each.count, each.state)).collect();
    fact("children", &children.join(", "));
    fact(
        "result",
        &run.result.as_ref().filter(|result| !result.is_null()).map(Value::to_string).unwrap_or_default(),
    );
    optional("error", &row.error);
    optional("fingerprint", &run.fingerprint);
}

fn print_attempts(items: Vec<Value>) -> anyhow::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    say("");
    let mut table = Table::new(&["ATTEMPT", "OUTCOME", "BEGAN", "TOOK", "WORKER", "ERROR"]);
    for item in items {
        let attempt: Attempt = serde_json::from_value(item)?;
        table.row([
            attempt.attempt.to_string(),
            attempt.outcome.unwrap_or_else(|| "runs".to_owned()),
            words::whole(attempt.started_at),
            words::between(attempt.started_at, attempt.finished_at.unwrap_or_else(words::now)),
            words::short(&attempt.worker_id).to_owned(),
            words::cut(attempt.error.as_deref().unwrap_or_default(), 80),
        ]);
    }
    table.print();
    Ok(())
}
