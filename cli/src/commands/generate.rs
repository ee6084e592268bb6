//! `millrace generate`.
use clap::Args;
#[derive(Debug, Args)]
pub struct Generate {}
pub fn generate(_args: &Generate) -> anyhow::Result<()> {
    Ok(())
}
