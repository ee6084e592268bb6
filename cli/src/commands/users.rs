//! `millrace create-user`, `create-admin`.

use crate::{accounts, output::say, services::Services};
use anyhow::{Context, bail};
use clap::Args;
use shared::auth::Role;

/// A new user of any role.
#[derive(Debug, Args)]
pub struct CreateUser {
    /// The name to log in with.
    #[arg(long)]
    username: String,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// viewer (reads), operator (reads, uploads, retries), admin (everything) or integration (a program).
    #[arg(long)]
    role: Role,
    #[command(flatten)]
    password: Password,
}

/// A new administrator.
#[derive(Debug, Args)]
pub struct CreateAdmin {
    /// The name to log in with.
    #[arg(long, env = "MILLRACE_ADMIN_USERNAME")]
    username: String,
    /// E-mail address.
    #[arg(long, env = "MILLRACE_ADMIN_EMAIL")]
    email: Option<String>,
    #[command(flatten)]
    password: Password,
}

/// Where the password comes from; without the option one is generated and shown once.
#[derive(Debug, Args)]
struct Password {
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

/// Makes a user.
pub async fn create_user(args: CreateUser) -> anyhow::Result<()> {
    let given = args.password.read()?;
    create(&args.username, args.email.as_deref(), args.role, given).await
}

/// Makes an administrator; the password may come from `MILLRACE_ADMIN_PASSWORD`.
pub async fn create_admin(args: CreateAdmin) -> anyhow::Result<()> {
    let given = args.password.read()?.or_else(|| accounts::env("MILLRACE_ADMIN_PASSWORD"));
    create(&args.username, args.email.as_deref(), Role::Admin, given).await
}

impl Password {
    fn read(&self) -> anyhow::Result<Option<String>> {
        if !self.password_stdin {
            return Ok(None);
        }
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("cannot read the password from standard input")?;
        let password = line.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            bail!("standard input holds no password");
        }
        Ok(Some(password.to_owned()))
    }
}

async fn create(
    username: &str,
    email: Option<&str>,
    role: Role,
    given: Option<String>,
) -> anyhow::Result<()> {
    let services = Services::find()?;
    let pool = services.pool("millrace-create-user")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let generated = given.is_none();
    let password = given.unwrap_or_else(accounts::random_password);
    accounts::make(&mut conn, username, email, &password, role).await?;
    say(format!("Made {username} ({role})."));
    if generated {
        say(format!("Password: {password}   (shown this once)"));
    }
    Ok(())
}
