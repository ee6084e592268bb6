//! `millrace create-user`, `create-admin`.

use clap::Args;

/// Make a user.
#[derive(Debug, Args)]
pub struct CreateUser {
    /// The name to log in with.
    #[arg(long)]
    username: String,
}

/// Make an administrator.
#[derive(Debug, Args)]
pub struct CreateAdmin {
    /// The name to log in with.
    #[arg(long)]
    username: Option<String>,
}

pub async fn create_user(_args: CreateUser) -> anyhow::Result<()> {
    Ok(())
}

pub async fn create_admin(_args: CreateAdmin) -> anyhow::Result<()> {
    Ok(())
}
