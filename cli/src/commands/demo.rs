//! `millrace demo`.
use clap::Args;
use tokio_util::sync::CancellationToken;
#[derive(Debug, Args)]
pub struct Demo {}
pub async fn demo(_args: &Demo, _stop: CancellationToken) -> anyhow::Result<()> {
    Ok(())
}
