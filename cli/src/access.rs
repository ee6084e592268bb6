//! Which server a command speaks to, and as whom.

use crate::{accounts, client::ApiClient, output::remark, usage::Usage};
use anyhow::Context;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Write};

/// Where `millrace up` and `millrace api` serve by default.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";

/// Server and credentials.
#[derive(Debug, Args)]
pub struct Access {
    /// The server's address; for the commands that need one, http://127.0.0.1:8000 if absent.
    #[arg(long, env = "MILLRACE_SERVER", global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Access token or API key.
    #[arg(long, env = "MILLRACE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Log in under this name instead; the password is MILLRACE_PASSWORD, asked for, or the first line
    /// of standard input.
    #[arg(long, global = true, value_name = "NAME")]
    pub username: Option<String>,
}

impl Access {
    /// A client that has proven who asks.
    pub async fn connect(&self) -> anyhow::Result<ApiClient> {
        let server = self.server.as_deref().unwrap_or(DEFAULT_SERVER);
        match (&self.username, &self.token) {
            (Some(username), _) => ApiClient::log_in(server, username, &password(username)?).await,
            (None, Some(token)) => ApiClient::with_token(server, token.clone()),
            (None, None) => Err(Usage::new(
                "who are you? Give --username NAME, or --token (MILLRACE_TOKEN) with an access token or API key",
            )),
        }
    }
}

/// What every command that speaks to a server takes.
#[derive(Debug, Args)]
pub struct Remote {
    #[command(flatten)]
    access: Access,
    /// Print what the API answers, unchanged, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Remote {
    /// See [`Access::connect`].
    pub async fn connect(&self) -> anyhow::Result<ApiClient> {
        self.access.connect().await
    }
}

fn password(username: &str) -> anyhow::Result<String> {
    if let Some(password) = accounts::env("MILLRACE_PASSWORD") {
        return Ok(password);
    }
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    // What is typed must not stay on the screen.
    let modes = terminal.then(|| tcgetattr(&stdin).ok()).flatten();
    if terminal {
        // A terminal that went away shows in the reading.
        let _ = write!(std::io::stderr(), "Password of {username}: ");
    }
    if let Some(modes) = &modes {
        let mut silent = modes.clone();
        silent.local_modes -= LocalModes::ECHO;
        // If it cannot be silenced, it is as if it were echoed by design.
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if let Some(modes) = &modes {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, modes);
        remark("");
    }
    read.context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Usage::new("there is no password: set MILLRACE_PASSWORD or write it to standard input"));
    }
    Ok(password.to_owned())
}
