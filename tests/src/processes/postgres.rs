//! A PostgreSQL cluster of a test's own, which may die.

use super::{Process, free_port, server_account, server_directory};
use crate::{eventually, kinds::effects};
use rustix::process::Signal;
use shared::{
    config::{DatabaseConfig, SettingsConfig},
    db,
    settings::Settings,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tokio_postgres::{Client, NoTls};

/// A running cluster with one database, migrated, with the table of the effects; everything is
/// synced to disk.
pub struct Postgres {
    /// URL of the database.
    pub url: String,
    directory: tempfile::TempDir,
    bin: PathBuf,
    /// Its own; others are the same for all.
    settings: Vec<String>,
    process: Option<Process>,
}

impl Postgres {
    /// Makes and starts one whose database holds nothing.
    pub async fn empty() -> Self {
        let mut cluster = Self::made();
        cluster.start_again().await;
        cluster
    }

    /// Makes and starts one whose database holds nothing, and that is also reached at a port of localhost, by TLS or
    /// in the clear, under the certificate in a directory of `clients/certificates.py`.
    pub async fn with_tls(certificates: &Path) -> (Self, u16) {
        let mut cluster = Self::made();
        for name in ["cert.pem", "key.pem"] {
            let copy = cluster.data().join(name);
            std::fs::copy(certificates.join(name), &copy).expect("a copy");
            std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("permissions");
            if let Some((uid, gid)) = server_account() {
                std::os::unix::fs::chown(&copy, Some(uid), Some(gid)).expect("root gives it away");
            }
        }
        let port = free_port();
        let settings =
            ["listen_addresses=localhost", "ssl=on", "ssl_cert_file=cert.pem", "ssl_key_file=key.pem"];
        cluster.settings = settings.map(str::to_owned).to_vec();
        cluster.settings.push(format!("port={port}"));
        cluster.url.push_str(&format!("&port={port}"));
        cluster.start_again().await;
        (cluster, port)
    }

    fn made() -> Self {
        let directory = server_directory();
        let host = directory.path().display().to_string().replace('/', "%2F");
        let cluster = Self {
            url: format!("postgres://millrace@/postgres?host={host}"),
            bin: newest_bin(),
            directory,
            settings: vec!["listen_addresses=".to_owned()],
            process: None,
        };
        cluster.initialise();
        cluster
    }

    /// Makes and starts one.
    pub async fn start() -> Self {
        let cluster = Self::empty().await;
        let config = cluster.config();
        db::migrate(&config).await.expect("the migrations run");
        let pool = db::pool(&config, "setup").expect("a pool");
        let settings = SettingsConfig { zone: chrono_tz::UTC, currency: "USD".to_owned() };
        Settings::fix(&mut pool.get().await.expect("a connection"), &settings).await.expect("settings");
        cluster.client().await.batch_execute(effects::TABLE).await.expect("the table of the effects");
        cluster
    }

    /// Where its programs are.
    pub fn programs(&self) -> &Path {
        &self.bin
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialise(&self) {
        let mut command = Command::new(self.bin.join("initdb"));
        if let Some((uid, gid)) = server_account() {
            use std::os::unix::process::CommandExt;
            command.uid(uid).gid(gid);
        }
        let arguments = ["-U", "millrace", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync"];
        let output = command.arg("-D").arg(self.data()).args(arguments).current_dir("/").output();
        let output = output.expect("initdb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The configuration that names it.
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig { url: self.url.clone(), pool_size: 8 }
    }

    /// A connection, if it answers.
    pub async fn try_client(&self) -> Option<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    /// A connection, as soon as it answers.
    pub async fn client(&self) -> Client {
        eventually("PostgreSQL", || self.try_client()).await
    }

    /// Starts the server, which recovers from however it ended; returns when it answers.
    pub async fn start_again(&mut self) {
        let socket = self.directory.path().display();
        let settings = [
            format!("unix_socket_directories={socket}"),
            "max_connections=300".to_owned(),
            "max_locks_per_transaction=256".to_owned(),
            "shared_buffers=128MB".to_owned(),
            "max_wal_size=1GB".to_owned(),
        ];
        let mut arguments = vec!["-D".to_owned(), self.data().display().to_string()];
        arguments.extend(
            settings.into_iter().chain(self.settings.clone()).flat_map(|setting| ["-c".to_owned(), setting]),
        );
        self.process = Some(Process::server(&self.bin.join("postgres"), &arguments));
        self.client().await;
    }

    /// What `pg_ctl stop -m immediate` does: no goodbye, no checkpoint.
    pub fn stop_immediate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::QUIT);
            process.wait();
        }
    }

    /// SIGSTOP or SIGCONT for the server and every one of its backends: the whole stands still.
    fn signal_all(&self, signal: Signal) {
        let server = self.process.as_ref().expect("it runs");
        let children =
            Command::new("pgrep").args(["-P", &server.id().to_string()]).output().expect("pgrep runs");
        server.signal(signal);
        for child in String::from_utf8_lossy(&children.stdout).lines() {
            let pid = child.parse().ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
            // It may just have ended.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The server answers nothing, refuses nothing and ends nothing.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// What `pg_ctl restart -m immediate` does.
    pub async fn restart_immediate(&mut self) {
        self.stop_immediate();
        self.start_again().await;
    }

    /// Ends the connections that carry this `application_name`, or all; how many. None if the server
    /// does not answer.
    pub async fn terminate_backends(&self, application_name: Option<&str>) -> Option<u64> {
        let client = self.try_client().await?;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
                     AND ($1::text IS NULL OR application_name = $1)";
        client.query(sql, &[&application_name]).await.ok().map(|rows| rows.len() as u64)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed alone, the postmaster would leave its children to find out by themselves.
        self.stop_immediate();
    }
}

/// Where the newest installed PostgreSQL keeps its programs.
fn newest_bin() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(bin) = std::env::split_paths(&path).find(|bin| bin.join("initdb").exists()) {
        return bin;
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed").flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.map(|entry| entry.path()).max_by_key(number).expect("a version").join("bin")
}
