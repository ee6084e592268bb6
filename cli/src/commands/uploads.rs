//! `millrace uploads`: what is done with an upload that is in.

use crate::{access::Remote, output::say};
use clap::{Args, Subcommand};
use serde::Deserialize;

/// Uploads.
#[derive(Debug, Args)]
pub struct Uploads {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take an upload's rows back; a run does it.
    Undo {
        /// The upload's whole id.
        id: String,
        /// With the uploads that can only be undone together with it: they and it found rows of each other.
        #[arg(long)]
        together: bool,
    },
}

#[derive(Deserialize)]
struct Undoing {
    filename: String,
    undo_run_id: Option<String>,
    #[serde(default)]
    undone_with: Vec<Together>,
}

#[derive(Deserialize)]
struct Together {
    id: String,
    filename: String,
}

/// Carries out `millrace uploads …`.
pub async fn uploads(args: Uploads) -> anyhow::Result<()> {
    let client = args.remote.connect().await?;
    let Command::Undo { id, together } = &args.command;
    let query = together.then(|| ("together", "true".to_owned()));
    let answer = client.post_query(&["uploads", id, "undo"], query.as_slice()).await?;
    if args.remote.json {
        say(answer.text());
        return Ok(());
    }
    let upload: Undoing = answer.read()?;
    let run = upload.undo_run_id.unwrap_or_default();
    let others: Vec<String> =
        upload.undone_with.iter().map(|other| format!("{} ({})", other.filename, other.id)).collect();
    match others.as_slice() {
        [] => say(format!("{} is being undone by run {run}.", upload.filename)),
        _ => say(format!(
            "{} is being undone by run {run}, together with {}.",
            upload.filename,
            others.join(", ")
        )),
    }
    Ok(())
}
