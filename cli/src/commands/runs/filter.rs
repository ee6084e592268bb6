//! What runs must be like, as options, as the query of a list and as the filter of a bulk action.

use clap::Args;
use serde_json::{Map, Value, json};
use shared::{
    ids::{RunId, WorkerId},
    runs::{Queue, RunState},
};

/// What runs must be like; each option narrows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which runs")]
pub struct Filter {
    /// In this state; may be repeated: any of them.
    #[arg(long)]
    pub state: Vec<RunState>,
    /// Of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// In this queue: ingest, light or default.
    #[arg(long)]
    queue: Option<Queue>,
    /// With an error that holds this text, without regard to case.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Of this flow: the id of its root run.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    flow: Option<RunId>,
    /// That failed alike; see `millrace failures`.
    #[arg(long)]
    fingerprint: Option<String>,
    /// That this worker runs: its id.
    #[arg(long, value_name = "ID", value_parser = worker_id)]
    worker: Option<WorkerId>,
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse()
        .map(RunId)
        .map_err(|_| format!("{text:?} is no id such as 01a1f828-3a35-74a3-8cf5-57ada783babe"))
}

fn worker_id(text: &str) -> Result<WorkerId, String> {
    run_id(text).map(|id| WorkerId(id.0))
}

impl Filter {
    /// Everything but the states, by name.
    fn parts(&self) -> Vec<(&'static str, String)> {
        let parts = [
            ("kind", self.kind.clone()),
            ("queue", self.queue.map(|queue| queue.to_string())),
            ("error", self.error.clone()),
            ("flow", self.flow.map(|id| id.to_string())),
            ("fingerprint", self.fingerprint.clone()),
            ("worker", self.worker.map(|id| id.to_string())),
        ];
        parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Whether every run is meant.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.parts().is_empty()
    }

    /// As a list's query.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let states = self.state.iter().map(|state| ("state", state.to_string()));
        states.chain(self.parts()).collect()
    }

    /// As the filter of a bulk action.
    pub fn body(&self) -> Value {
        let mut body: Map<String, Value> =
            self.parts().into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        if !self.state.is_empty() {
            body.insert("states".to_owned(), json!(self.state));
        }
        Value::Object(body)
    }
}
