//! `millrace runs`: what there is to do, what became of it, and doing it again or not at all.

mod change;
mod filter;
mod find;
mod list;
mod show;
pub mod wait;

pub use change::report_bulk;

use crate::access::Remote;
use clap::{Args, Subcommand};
use filter::Filter;

/// Runs.
#[derive(Debug, Args)]
pub struct Runs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List runs, newest first.
    List(list::List),
    /// Show one run with its attempts.
    Show {
        /// Its id, or the end of it.
        id: String,
    },
    /// Run again what failed, was discarded or cancelled; of a flow, only what failed.
    Retry(change::Change),
    /// Cancel runs that have not ended, with what they wait for.
    Cancel(change::Change),
}

/// Carries out `millrace runs …`.
pub async fn runs(args: Runs) -> anyhow::Result<()> {
    let json = args.remote.json;
    match &args.command {
        Command::List(list) => list::list(&args.remote.connect().await?, list, json).await,
        Command::Show { id } => show::show(&args.remote.connect().await?, id, json).await,
        Command::Retry(change) => change::change(&args.remote, change::Deed::Retry, change).await,
        Command::Cancel(change) => change::change(&args.remote, change::Deed::Cancel, change).await,
    }
}
