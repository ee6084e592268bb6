//! `millrace rebuild-summaries`, `verify` and `refresh-materialized-view`: the upkeep of what is kept. A run
//! does each, on the server; whoever asks for one that waits or runs already is given that one.

use crate::{
    access::Remote,
    commands::runs::wait::{Bulk, until_ended},
    output::{say, thousands},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::runs::RunState;

/// Count the transactions anew and mend every total that is wrong, while reading and loading go on.
#[derive(Debug, Args)]
pub struct RebuildSummaries {
    /// Write every total anew, also those that are right. Readers see no empty table.
    #[arg(long)]
    truncate: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Prove that what is kept is what it should be.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Compare every total with the transactions; with --wait, fail if one differs.
    Summaries,
    /// Compare positions, holdings, stocks and trades with the ledger's entries; with --wait, fail and name the
    /// first wrong entry if one differs.
    Ledger,
}

/// Refresh the materialized view of the clients' totals.
#[derive(Debug, Args)]
pub struct RefreshMaterializedView {
    #[command(flatten)]
    asking: Asking,
}

/// Who asks, and whether for more than the run's id.
#[derive(Debug, Args)]
struct Asking {
    /// Wait until it is done; fails unless it is.
    #[arg(long, global = true)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Carries out `millrace rebuild-summaries`.
pub async fn rebuild(args: RebuildSummaries) -> anyhow::Result<()> {
    let body = json!({ "truncate": args.truncate });
    let Some(done) = args.asking.ask(&["summaries", "rebuild"], Some(&body)).await? else { return Ok(()) };
    for (table, mended) in done.as_object().into_iter().flatten() {
        let count = |what: &str| thousands(mended[what].as_i64().unwrap_or_default());
        say(format!(
            "{table}: {} totals, {} created, {} written, {} removed",
            count("totals"),
            count("created"),
            count("written"),
            count("removed")
        ));
    }
    Ok(())
}

/// Carries out `millrace verify …`.
pub async fn verify(args: Verify) -> anyhow::Result<()> {
    match args.what {
        What::Summaries => verify_summaries(&args.asking).await,
        What::Ledger => verify_ledger(&args.asking).await,
    }
}

async fn verify_ledger(asking: &Asking) -> anyhow::Result<()> {
    let Some(done) = asking.ask(&["ledger", "verify"], None).await? else { return Ok(()) };
    for (what, compared) in done["compared"].as_object().into_iter().flatten() {
        say(format!("{what}: {}, all right", thousands(compared.as_i64().unwrap_or_default())));
    }
    Ok(())
}

async fn verify_summaries(asking: &Asking) -> anyhow::Result<()> {
    let Some(done) = asking.ask(&["summaries", "verify"], None).await? else { return Ok(()) };
    for (table, compared) in done["compared"].as_object().into_iter().flatten() {
        say(format!("{table}: {} totals, all right", thousands(compared.as_i64().unwrap_or_default())));
    }
    let transactions = thousands(done["transactions"].as_i64().unwrap_or_default());
    say(format!("{transactions} transactions, each with its key and its client"));
    Ok(())
}

/// Carries out `millrace refresh-materialized-view`.
pub async fn refresh(args: RefreshMaterializedView) -> anyhow::Result<()> {
    if args.asking.ask(&["summaries", "refresh"], None).await?.is_some() {
        say("refreshed");
    }
    Ok(())
}

impl Asking {
    /// Asks for the run, prints its id and, if that is wanted, waits for its result; `None` if there is nothing
    /// more to say.
    async fn ask(&self, what: &[&str], body: Option<&Value>) -> anyhow::Result<Option<Value>> {
        let client = self.remote.connect().await?;
        let answer = client.post(what, body).await?;
        let id = Bulk::read(&answer)?.id;
        let json = self.remote.json;
        if !json {
            say(format!("run {id}"));
        }
        if !self.wait {
            if json {
                say(answer.text());
            }
            return Ok(None);
        }
        let ended = until_ended(&client, &id).await?;
        if json {
            say(ended.answer.text());
        }
        ended.expect(RunState::Completed)?;
        Ok((!json).then(|| ended.result.unwrap_or_default()))
    }
}
