//! `millrace run-etl`: starts the recipe that loads clients and then transactions from configured places.

use super::flows::{Flow, Start, environment, has_server, say_loaded};
use crate::access::Access;
use clap::Args;

/// Clients, then transactions: with --server through the API, without it straight in the database.
#[derive(Debug, Args)]
pub struct RunEtl {
    /// Wait until both files are loaded; fails unless they are.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    access: Access,
}

/// Starts the recipe, or joins the one that runs.
pub async fn run_etl(args: RunEtl) -> anyhow::Result<()> {
    let flow = Flow { name: "the recipe", action: "etl.run", path: "etl", body: None };
    let result = if has_server(&args.access)? {
        flow.through_api(&args.access, args.wait).await?
    } else {
        let env = environment("millrace-run-etl").await?;
        flow.straight(&env, &Start::Etl, args.wait).await?
    };
    if let Some(result) = result {
        ["clients", "transactions"].iter().for_each(|name| say_loaded(name, &result[name]));
    }
    Ok(())
}
