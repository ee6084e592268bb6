//! Flows that take files in, started by a command: with `--server` through the API; otherwise straight in the
//! database, for the workers there are.

use crate::{
    access::Access,
    client::ApiClient,
    commands::runs::wait::{Bulk, until_ended},
    output::{Progress, say, thousands},
    services::Services,
    usage::Usage,
};
use anyhow::{Context, bail};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::Value;
use shared::{
    audit,
    runs::{EnqueueOptions, Enqueued, Environment, Queue, RunError, RunState, queries},
    synthetic::nightly::{self, NightlyData},
    uploads::{etl, queries::failure},
};
use std::{sync::Arc, time::Duration};

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Who starts a flow without a server.
const ACTOR: &str = "command line";

/// A flow, in words and as the API knows it.
pub struct Flow {
    /// `the recipe`.
    pub name: &'static str,
    /// What the audit log calls starting it.
    pub action: &'static str,
    /// Where it is started, below `/api/v1`.
    pub path: &'static str,
    /// What it is started with.
    pub body: Option<Value>,
}

/// How a flow is started in the database.
pub enum Start {
    /// The recipe.
    Etl,
    /// A day's generated transactions.
    Nightly(NightlyData),
}

impl Start {
    async fn start(
        &self,
        conn: &mut AsyncPgConnection,
        options: &EnqueueOptions,
    ) -> Result<Enqueued, RunError> {
        match self {
            Self::Etl => etl::start(conn, options).await,
            Self::Nightly(data) => nightly::start(conn, data, options).await,
        }
    }
}

/// Whether a flow is started through a server.
pub fn has_server(access: &Access) -> anyhow::Result<bool> {
    match (&access.server, &access.username) {
        (Some(_), _) => Ok(true),
        (None, Some(_)) => Err(Usage::new("--username goes with --server (MILLRACE_SERVER)")),
        (None, None) => Ok(false),
    }
}

impl Flow {
    /// Starts it through the API, or joins the one that runs; its result, if it is waited for.
    pub async fn through_api(&self, access: &Access, wait: bool) -> anyhow::Result<Option<Value>> {
        let client = access.connect().await?;
        let id = Bulk::read(&client.post(&[self.path], self.body.as_ref()).await?)?.id;
        say(format!("run {id}"));
        if !wait {
            return Ok(None);
        }
        let ended = until_ended(&client, &id).await?;
        if ended.state != RunState::Completed
            && let Some(why) = first_failure(&client, &id).await?
        {
            bail!("{} is {}: {why}", self.name, ended.state);
        }
        ended.expect(RunState::Completed)?;
        Ok(Some(ended.result.unwrap_or_default()))
    }

    /// Starts it in the database, or joins the one that runs; its result, if it is waited for.
    pub async fn straight(
        &self,
        env: &Environment,
        start: &Start,
        wait: bool,
    ) -> anyhow::Result<Option<Value>> {
        let mut pooled = env.pool.get().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        let started = conn
            .transaction::<_, RunError, _>(async |conn| {
                let started = start.start(conn, &EnqueueOptions::by(ACTOR)).await?;
                let details = serde_json::json!({ "started": started.created });
                audit::record(conn, ACTOR, self.action, &started.id.to_string(), &details).await?;
                Ok(started)
            })
            .await?;
        drop(pooled);
        env.doorbells.ring(Queue::Default, 1);
        say(format!("run {}", started.id));
        if wait { self.wait(env, started).await.map(Some) } else { Ok(None) }
    }

    async fn wait(&self, env: &Environment, started: Enqueued) -> anyhow::Result<Value> {
        let mut progress = Progress::new();
        loop {
            let mut conn = env.pool.get().await?;
            let run = queries::find_run(&mut conn, started.id).await?.context("the run is gone")?;
            let line = format!("{}  {}", run.kind, run.state);
            if !run.state.is_terminal() {
                drop(conn);
                progress.show(&line);
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            progress.finish(&line);
            if run.state == RunState::Completed {
                return Ok(run.result.unwrap_or_default());
            }
            let why = failure(&mut conn, started.id).await?.or(run.error).unwrap_or_default();
            bail!("{} is {}: {why}", self.name, run.state);
        }
    }
}

/// The means of a command that works straight in the database.
pub async fn environment(name: &str) -> anyhow::Result<Arc<Environment>> {
    Services::find()?.environment(name).await
}

/// The error of a step that did not merely wait for one that failed.
async fn first_failure(client: &ApiClient, flow: &str) -> anyhow::Result<Option<String>> {
    let query = [("flow", flow.to_owned()), ("state", "failed,discarded".to_owned())];
    let (_, steps) = client.list(&["runs"], &query, 100).await?;
    let failed = steps.items.iter().find(|step| step["reason"] != "child_failed");
    Ok(failed.and_then(|step| step["error"].as_str()).map(str::to_owned))
}

/// The line of a file that was taken in.
pub fn say_loaded(name: &str, part: &Value) {
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
