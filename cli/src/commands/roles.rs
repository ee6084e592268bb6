//! `millrace api`, `worker`, `scheduler`: one role in a process.

use crate::{
    output::remark,
    roles::{self, Roles},
    services::Services,
};
use shared::config::ApiConfig;
use tokio_util::sync::CancellationToken;

/// Serves pages and API until asked to stop.
pub async fn api(stop: CancellationToken) -> anyhow::Result<()> {
    let config = ApiConfig::from_env()?;
    let listener = roles::listen(&config).await?;
    let mut roles = Roles::default();
    remark(format!("Serving at http://{}", listener.local_addr()?));
    let pool = roles.start_api(&Services::find()?, config, listener).await?;
    roles.start_metrics(Some(pool)).await?;
    until_stopped(roles, stop).await
}

/// Works on runs until asked to stop.
pub async fn worker(stop: CancellationToken) -> anyhow::Result<()> {
    let mut roles = Roles::default();
    roles.start_worker(&Services::find()?).await?;
    roles.start_metrics(None).await?;
    until_stopped(roles, stop).await
}

/// Makes runs of what is due until asked to stop.
pub async fn scheduler(stop: CancellationToken) -> anyhow::Result<()> {
    let mut roles = Roles::default();
    roles.start_scheduler(&Services::find()?, false)?;
    roles.start_metrics(None).await?;
    until_stopped(roles, stop).await
}

async fn until_stopped(mut roles: Roles, stop: CancellationToken) -> anyhow::Result<()> {
    let result = tokio::select! {
        error = roles.ended() => Err(error),
        () = stop.cancelled() => Ok(()),
    };
    roles.stop().await;
    result
}
