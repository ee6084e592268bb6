//! Following a run to its end.

use super::show::Progress;
use crate::{
    client::{Answer, ApiClient},
    output::Progress as ProgressLine,
};
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use shared::runs::RunState;
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// The run that does something with many others.
#[derive(Debug)]
pub struct Bulk {
    /// Its id.
    pub id: String,
    /// Runs that were meant, as far as the server says.
    pub matched: Option<i64>,
}

impl Bulk {
    /// From the answer to the request for it.
    pub fn read(answer: &Answer) -> anyhow::Result<Self> {
        let value: Value = answer.read()?;
        let run = value.get("run").unwrap_or(&value);
        let id = run["id"].as_str().context("the answer names no run")?.to_owned();
        let matched = ["matched", "count"].iter().find_map(|name| value[name].as_i64());
        Ok(Self { id, matched })
    }
}

/// A run, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct RemoteRun {
    pub id: String,
    pub kind: String,
    pub state: RunState,
    #[serde(default)]
    pub cancel_requested: bool,
    progress: Progress,
    result: Option<Value>,
    error: Option<String>,
}

/// Reads a run.
pub fn read_run(answer: &Answer) -> anyhow::Result<RemoteRun> {
    answer.read()
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// What the API said last.
    pub answer: Answer,
    /// Its state.
    pub state: RunState,
    /// What it answered.
    pub result: Option<Value>,
    error: Option<String>,
    kind: String,
}

impl Ended {
    /// An error unless the run ended so.
    pub fn expect(&self, state: RunState) -> anyhow::Result<()> {
        if self.state == state {
            return Ok(());
        }
        let why = self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        bail!("{} is {}{why}", self.kind, self.state)
    }
}

/// Shows how far a run is until it has ended.
pub async fn until_ended(client: &ApiClient, id: &str) -> anyhow::Result<Ended> {
    let mut line = ProgressLine::new();
    loop {
        let answer = client.get(&["runs", id], &[]).await?;
        let run = read_run(&answer)?;
        let said = [run.kind.as_str(), run.state.as_str(), &run.progress.words()].join("  ");
        if run.state.is_terminal() {
            line.finish(said.trim_end());
            let RemoteRun { kind, state, result, error, .. } = run;
            return Ok(Ended {
                answer,
                state,
                result: result.filter(|result| !result.is_null()),
                error,
                kind,
            });
        }
        line.show(said.trim_end());
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
