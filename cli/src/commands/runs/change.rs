//! `millrace runs retry` and `cancel`. One run is changed at once; several, or all that match a filter,
//! are changed by a run of its own, which can be followed.

use super::{
    Filter, find,
    wait::{self, Bulk},
};
use crate::{
    access::Remote,
    client::{Answer, ApiClient},
    output::{remark, say, thousands},
    usage::Usage,
    words,
};
use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use shared::runs::{RunEvent, RunState};
use std::io::{IsTerminal, Write};

/// Which runs.
#[derive(Debug, Args)]
pub struct Change {
    /// Ids, or the ends of ids.
    #[arg(required_unless_present = "matching", conflicts_with = "matching")]
    ids: Vec<String>,
    /// All runs that the options below let through; asks first.
    #[arg(long)]
    matching: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Follow it to its end: the run itself, or the run that changes the others.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    filter: Filter,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Retry,
    Cancel,
}

impl Deed {
    fn verb(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }

    fn applies_to(self, state: RunState) -> bool {
        let event = match self {
            Self::Retry => RunEvent::Retry,
            Self::Cancel => RunEvent::Cancel,
        };
        state.next(event).is_ok()
    }

    /// The state of a run of which this became true.
    fn aim(self) -> RunState {
        match self {
            Self::Retry => RunState::Completed,
            Self::Cancel => RunState::Cancelled,
        }
    }
}

#[derive(Deserialize)]
struct StateCount {
    state: RunState,
    count: i64,
    #[serde(default)]
    more: bool,
}

/// Retries or cancels.
pub async fn change(remote: &Remote, deed: Deed, args: &Change) -> anyhow::Result<()> {
    if args.matching && args.filter.is_empty() {
        let what = format!("--matching would {} every run; say which, for example with --state", deed.verb());
        return Err(Usage::new(what));
    }
    if !args.matching && !args.filter.is_empty() {
        return Err(Usage::new("--state, --kind and the like go with --matching, not with ids"));
    }
    let client = remote.connect().await?;
    let body = if args.matching {
        if !args.yes {
            confirm(&client, deed, &args.filter).await?;
        }
        json!({ "filter": args.filter.body() })
    } else {
        let ids = find::whole_ids(&client, &args.ids).await?;
        if let [id] = ids.as_slice() {
            return change_one(&client, deed, id, args.wait, remote.json).await;
        }
        json!({ "ids": ids })
    };
    let answer = client.post(&[&format!("runs:{}", deed.verb())], Some(&body)).await?;
    report_bulk(&client, answer, args.wait, remote.json).await
}

/// Says what a bulk action was answered, and follows its run to the end if that is wanted.
pub async fn report_bulk(client: &ApiClient, answer: Answer, wait: bool, json: bool) -> anyhow::Result<()> {
    let bulk = Bulk::read(&answer)?;
    if !json {
        let runs = bulk.matched.map_or_else(String::new, |count| format!(" for {} runs", thousands(count)));
        let follow = if wait {
            String::new()
        } else {
            format!("; `millrace runs show {}` tells how far it is", bulk.id)
        };
        say(format!("Run {} does it{runs}{follow}.", bulk.id));
    }
    if !wait {
        if json {
            say(answer.text());
        }
        return Ok(());
    }
    let ended = wait::until_ended(client, &bulk.id).await?;
    if json {
        say(ended.answer.text());
    } else if let Some(result) = &ended.result {
        let count = |name: &str| thousands(result[name].as_i64().unwrap_or_default());
        say(format!("{} runs were changed, {} were skipped.", count("changed"), count("skipped")));
        for (reason, runs) in result["reasons"].as_object().into_iter().flatten() {
            say(format!("  {}: {reason}", thousands(runs.as_i64().unwrap_or_default())));
        }
    }
    ended.expect(RunState::Completed)
}

async fn change_one(client: &ApiClient, deed: Deed, id: &str, wait: bool, json: bool) -> anyhow::Result<()> {
    let answer = client.post(&["runs", id, deed.verb()], None).await?;
    let run = wait::read_run(&answer)?;
    if deed == Deed::Retry && run.id != id {
        remark(format!("Run {id} was not retried: run {} holds its unique key and stands for it.", run.id));
    }
    if !json {
        let what = if run.cancel_requested && !run.state.is_terminal() { "was asked to stop" } else { "is" };
        let state = if what == "is" { format!(" {}", run.state) } else { String::new() };
        say(format!("Run {} ({}) {what}{state}.", run.id, run.kind));
    }
    if !wait {
        if json {
            say(answer.text());
        }
        return Ok(());
    }
    let ended = wait::until_ended(client, &run.id).await?;
    if json {
        say(ended.answer.text());
    } else {
        say(format!("Run {} is {}.", words::short(&run.id), ended.state));
    }
    ended.expect(deed.aim())
}

/// Asks whether so many runs are meant; an error unless they are.
async fn confirm(client: &ApiClient, deed: Deed, filter: &Filter) -> anyhow::Result<()> {
    let counts = client.get(&["run-states"], &filter.query()).await?;
    let counts: crate::client::Listing = counts.read()?;
    let (mut total, mut more) = (0, false);
    for item in counts.items {
        let each: StateCount = serde_json::from_value(item)?;
        if deed.applies_to(each.state) {
            total += each.count;
            more |= each.more;
        }
    }
    if total == 0 {
        bail!(
            "no run that the filter lets through can be {}",
            match deed {
                Deed::Retry => "retried: that takes failed, discarded or cancelled ones",
                Deed::Cancel => "cancelled: all have ended",
            }
        );
    }
    let verb = if deed == Deed::Retry { "Retry" } else { "Cancel" };
    // A terminal that went away shows in the reading.
    let _ = write!(
        std::io::stderr(),
        "{verb} {}{} runs? [y/N] ",
        if more { "more than " } else { "" },
        thousands(total)
    );
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the answer")?;
    if !std::io::stdin().is_terminal() {
        remark("");
    }
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        "" if line.is_empty() => bail!("nothing was done: nobody answered; --yes does it without asking"),
        _ => bail!("nothing was done"),
    }
}
