//! `millrace ingest`.
use clap::Args;
#[derive(Debug, Args)]
pub struct Ingest {}
pub async fn ingest(_args: Ingest) -> anyhow::Result<()> {
    Ok(())
}
