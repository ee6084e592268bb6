//! A Redis server of a test's own, which keeps nothing.

use super::Process;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A server that can be emptied, frozen, stopped and started.
pub struct Redis {
    directory: tempfile::TempDir,
    process: Option<Process>,
}

impl Redis {
    /// Starts one that keeps nothing.
    pub fn start() -> Self {
        let mut redis = Self { directory: tempfile::tempdir().expect("a directory"), process: None };
        redis.start_again();
        redis
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        url_of(&self.socket())
    }

    /// Starts it, or starts it again without what it held; returns when it answers.
    pub fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        command.arg(self.socket()).arg("--dir").arg(self.directory.path());
        self.process = Some(Process::start(&mut command, &[]));
        while self.ask(&["PING"]) != "PONG" {
            std::thread::yield_now();
        }
    }

    /// Stops it at once.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// SIGSTOP: it takes connections and answers nothing.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.as_ref().expect("it runs").thaw();
    }

    /// FLUSHALL.
    pub fn flush(&self) {
        assert_eq!(self.ask(&["FLUSHALL"]), "OK");
    }

    /// Bytes that its data and connections take.
    pub fn used_memory(&self) -> u64 {
        let info = self.ask(&["INFO", "memory"]);
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|bytes| bytes.trim().parse().ok()).expect("used_memory")
    }

    /// A command's answer, as redis-cli shows it.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.arg("-s").arg(self.socket()).args(command).stderr(Stdio::null());
        String::from_utf8_lossy(&cli.output().expect("redis-cli runs").stdout).trim().to_owned()
    }
}

/// The URL of a socket.
pub(super) fn url_of(socket: &Path) -> String {
    format!("redis+unix://{}", socket.display())
}
