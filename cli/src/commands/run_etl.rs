//! `millrace run-etl`: starts the recipe that loads clients and then transactions from configured places.
//! With `--server` through the API; otherwise straight in the database, for the workers there are.

use crate::{
    access::Access,
    client::ApiClient,
    commands::runs::wait::{Bulk, until_ended},
    output::{Progress, say, thousands},
    services::Services,
    usage::Usage,
};
use anyhow::{Context, bail};
use clap::Args;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::Value;
use shared::{
    audit,
    ids::RunId,
    runs::{EnqueueOptions, Environment, Queue, RunError, RunState, queries},
    uploads::{etl, queries::failure},
};
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Who starts it without a server.
const ACTOR: &str = "command line";

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
    match (&args.access.server, &args.access.username) {
        (Some(_), _) => through_api(&args).await,
        (None, Some(_)) => Err(Usage::new("--username goes with --server (MILLRACE_SERVER)")),
        (None, None) => straight(&args).await,
    }
}

async fn through_api(args: &RunEtl) -> anyhow::Result<()> {
    let client = args.access.connect().await?;
    let id = Bulk::read(&client.post(&["etl"], None).await?)?.id;
    say(format!("run {id}"));
    if !args.wait {
        return Ok(());
    }
    let ended = until_ended(&client, &id).await?;
    if ended.state != RunState::Completed
        && let Some(why) = first_failure(&client, &id).await?
    {
        bail!("the recipe is {}: {why}", ended.state);
    }
    ended.expect(RunState::Completed)?;
    print_result(&ended.result.unwrap_or_default());
    Ok(())
}

/// The error of a step that did not merely wait for one that failed.
async fn first_failure(client: &ApiClient, flow: &str) -> anyhow::Result<Option<String>> {
    let query = [("flow", flow.to_owned()), ("state", "failed,discarded".to_owned())];
    let (_, steps) = client.list(&["runs"], &query, 100).await?;
    let failed = steps.items.iter().find(|step| step["reason"] != "child_failed");
    Ok(failed.and_then(|step| step["error"].as_str()).map(str::to_owned))
}

async fn straight(args: &RunEtl) -> anyhow::Result<()> {
    let env = Services::find()?.environment("millrace-run-etl").await?;
    let id = start(&env).await?;
    env.doorbells.ring(Queue::Default, 1);
    say(format!("run {id}"));
    if args.wait { wait(&env, id).await } else { Ok(()) }
}

async fn start(env: &Environment) -> anyhow::Result<RunId> {
    let mut pooled = env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let started = conn
        .transaction::<_, RunError, _>(async |conn| {
            let started = etl::start(conn, &EnqueueOptions::by(ACTOR)).await?;
            let details = serde_json::json!({ "started": started.created });
            audit::record(conn, ACTOR, "etl.run", &started.id.to_string(), &details).await?;
            Ok(started)
        })
        .await?;
    Ok(started.id)
}

async fn wait(env: &Environment, id: RunId) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    loop {
        let mut conn = env.pool.get().await?;
        let run = queries::find_run(&mut conn, id).await?.context("the run is gone")?;
        let line = format!("run_etl  {}", run.state);
        if !run.state.is_terminal() {
            drop(conn);
            progress.show(&line);
            tokio::time::sleep(BETWEEN_LOOKS).await;
            continue;
        }
        progress.finish(&line);
        if run.state == RunState::Completed {
            print_result(&run.result.unwrap_or_default());
            return Ok(());
        }
        let why = failure(&mut conn, id).await?.or(run.error).unwrap_or_default();
        bail!("the recipe is {}: {why}", run.state);
    }
}

/// A line for each file.
fn print_result(result: &Value) {
    for name in ["clients", "transactions"] {
        let part = &result[name];
        let count = |what: &str| thousands(part["counts"][what].as_i64().unwrap_or_default());
        let earlier = if part["already_uploaded"] == true { ", loaded before" } else { "" };
        say(format!(
            "{name}: {} read = {} inserted + {} updated + {} duplicates + {} conflicts + {} rejected (upload {}{earlier})",
            count("read"),
            count("inserted"),
            count("updated"),
            count("duplicates"),
            count("conflicts"),
            count("rejected"),
            part["upload_id"].as_str().unwrap_or("unknown"),
        ));
    }
}
