//! The private PostgreSQL: made once, started and stopped with Millrace. It listens on a socket in a
//! directory that only its own account enters, and on no port.

use super::{binaries, leftovers, memory, place::Place};
use crate::{
    child::{self, EndSignal},
    output::remark,
};
use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::Child;

/// How careful and how large the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Keeps data; tuned for loading.
    Durable,
    /// Throws data away: fast settings for tests, nothing is synced.
    Throwaway,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    log: PathBuf,
}

/// Pages in the log are compressed by LZ4 where the server was built with it: 10^7 rows loaded in 168 s
/// instead of 181, once each. As a role's setting, a server without it only warns.
const FASTER_COMPRESSION: &str = "DO $$ BEGIN
    IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'wal_compression') THEN
        ALTER ROLE millrace SET wal_compression = lz4;
    END IF;
END $$";

/// The database's URL on a socket directory.
pub fn url(socket_dir: &Path, database: &str) -> String {
    let host: String =
        url::form_urlencoded::byte_serialize(socket_dir.as_os_str().as_encoded_bytes()).collect();
    format!("postgres://millrace@/{database}?host={host}")
}

impl Postgres {
    /// Starts the server on `place`, after making its files if there are none. `slot` holds the child
    /// as soon as it exists, so that a caller who gives up waiting can still stop it.
    pub async fn start(place: &Place, profile: Profile, slot: &mut Option<Self>) -> anyhow::Result<()> {
        let data = place.servers_dir.join("postgres");
        let wanted = match std::fs::read_to_string(data.join("PG_VERSION")) {
            Ok(version) => Some(version.trim().parse().context("PG_VERSION of the database is unreadable")?),
            Err(_) => None,
        };
        let binaries = binaries::find_postgres(wanted)?;
        if wanted.is_none() {
            initialise(place, &binaries.bin, &data, profile).await?;
        }
        leftovers::wait_for_end("postgres", &data).await?;
        if cfg!(target_os = "linux") {
            // No server works in the directory, so the file is stale; its process id may be another
            // program's by now, for which PostgreSQL would refuse to start.
            let _ = std::fs::remove_file(data.join("postmaster.pid"));
        }

        let (log, output) = place.log_file("postgres.log")?;
        let mut command =
            child::command(&binaries.bin.join("postgres"), place.account.as_ref(), EndSignal::Int);
        command.arg("-D").arg(&data);
        for (name, value) in settings(place, profile) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start PostgreSQL")?;
        child::watch(&child, EndSignal::Int)?;
        let server = slot.insert(Self { child, log });
        server.wait_until_ready(place).await
    }

    async fn wait_until_ready(&mut self, place: &Place) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut told = false;
        loop {
            let client = match shared::db::connect(&url(&place.socket_dir, "postgres")).await {
                Ok(client) => client,
                Err(error) => {
                    if let Some(status) = self.child.try_wait()? {
                        bail!("PostgreSQL did not start ({status}): {}", last_lines(&self.log));
                    }
                    if started.elapsed() > Duration::from_secs(900) {
                        bail!("PostgreSQL does not become ready ({error}); see {}", self.log.display());
                    }
                    if started.elapsed() > Duration::from_secs(3) && !told {
                        remark("PostgreSQL is recovering from an earlier end …");
                        told = true;
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                    continue;
                }
            };
            let exists = client
                .query_opt("SELECT FROM pg_database WHERE datname = 'millrace'", &[])
                .await
                .context("cannot look for the database")?;
            if exists.is_none() {
                client.batch_execute("CREATE DATABASE millrace").await.context("cannot make the database")?;
            }
            client.batch_execute(FASTER_COMPRESSION).await.context("cannot set up the database")?;
            return Ok(());
        }
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns when the server has ended by itself, with what it said last.
    pub async fn ended(&mut self) -> String {
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("PostgreSQL ended ({status}): {}", last_lines(&self.log))
    }

    /// Fast shutdown: sessions end, a checkpoint is written. After 30 s at once; the next start recovers.
    pub async fn stop(&mut self, profile: Profile) {
        let kindly = if profile == Profile::Durable { EndSignal::Int } else { EndSignal::Quit };
        child::signal(&self.child, kindly);
        if tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.is_err() {
            child::signal(&self.child, EndSignal::Quit);
            // Nothing more can be done than to wait.
            let _ = self.child.wait().await;
        }
    }
}

/// Makes the server's files under another name first: a half-made directory is never taken for a
/// database.
async fn initialise(place: &Place, bin: &Path, data: &Path, profile: Profile) -> anyhow::Result<()> {
    let fresh = data.with_file_name("postgres.new");
    leftovers::wait_for_end("postgres", &fresh).await?;
    for locale in ["C.UTF-8", "C"] {
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh)
                .with_context(|| format!("cannot remove the unfinished {}", fresh.display()))?;
        }
        super::account::private_directory(&fresh, place.account.as_ref())?;
        let mut command = child::command(&bin.join("initdb"), place.account.as_ref(), EndSignal::Kill);
        command.arg("-D").arg(&fresh).args(["-U", "millrace", "--encoding=UTF8"]);
        command.args(["--auth-local=trust", "--auth-host=reject"]).arg(format!("--locale={locale}"));
        if profile == Profile::Throwaway {
            command.arg("--no-sync");
        }
        let output = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start initdb")?
            .wait_with_output()
            .await?;
        if output.status.success() {
            return std::fs::rename(&fresh, data)
                .with_context(|| format!("cannot put the database at {}", data.display()));
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        if !said.contains("locale") || locale == "C" {
            bail!("the database in {} could not be made: {said}", place.servers_dir.display());
        }
    }
    Ok(())
}

fn settings(place: &Place, profile: Profile) -> Vec<(&'static str, String)> {
    let memory = memory::total_mib();
    let mut settings: Vec<(&str, String)> = vec![
        ("listen_addresses", String::new()),
        ("port", "5432".to_owned()),
        ("unix_socket_directories", place.socket_dir.display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        // A client's query without bounds touches every month's partition and its index.
        ("max_locks_per_transaction", "1024".to_owned()),
        ("shared_buffers", format!("{}MB", (memory / 6).clamp(32, 4096))),
        ("effective_cache_size", format!("{}MB", (memory / 2).max(64))),
        ("maintenance_work_mem", format!("{}MB", (memory / 32).clamp(16, 256))),
        ("work_mem", "16MB".to_owned()),
        ("jit", "off".to_owned()),
        ("random_page_cost", "1.1".to_owned()),
        ("autovacuum", "on".to_owned()),
        ("max_wal_size", "8GB".to_owned()),
        ("min_wal_size", "256MB".to_owned()),
        ("wal_buffers", "16MB".to_owned()),
        ("wal_compression", "on".to_owned()),
        ("checkpoint_timeout", "15min".to_owned()),
        ("log_line_prefix", "%m [%p] %a ".to_owned()),
        ("log_checkpoints", "off".to_owned()),
    ];
    let durable = profile == Profile::Durable;
    settings.push(("max_connections", if durable { "100" } else { "300" }.to_owned()));
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        settings.push((name, if durable { "on" } else { "off" }.to_owned()));
    }
    settings
}

/// The end of a log, as one line.
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(4).collect();
    if lines.is_empty() {
        return format!("it wrote nothing to {}", log.display());
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
