//! An SMTP server that treats a message as its recipient's name says (`clients/smtp_server.py`).

use super::Process;
use crate::eventually;
use serde_json::Value;
use std::process::Command;

/// A server and what it has accepted.
pub struct Smtp {
    _process: Process,
    directory: tempfile::TempDir,
    mode: &'static str,
    port: u16,
}

impl Smtp {
    /// The password that it takes, and no part of which may be shown.
    pub const PASSWORD: &'static str = "p@ss:w/rd?#%";

    /// Starts one: `plain`, or with a login by `starttls` or `tls`.
    pub async fn start(mode: &'static str) -> Self {
        let python = std::env::var("MILLRACE_TEST_PYTHON")
            .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/smtp_server.py"))
            .arg(directory.path())
            .arg(mode);
        let process = Process::start(&mut command, &[]);
        let path = directory.path().join("port");
        let port = eventually("the SMTP server", || async { std::fs::read_to_string(&path).ok() }).await;
        Self { _process: process, directory, mode, port: port.parse().expect("a port") }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a provider that hands in there.
    pub fn url(&self) -> String {
        let path = self.directory.path().display();
        match self.mode {
            "plain" => format!("{}&tls=none", self.url_as("")),
            _ => format!("{}&ca={path}/ca.pem", self.url_as("mill%40example.com:p%40ss%3Aw%2Frd%3F%23%25@")),
        }
    }

    /// The URL with this login (`user:password@`, or nothing), and nothing said of TLS.
    pub fn url_as(&self, login: &str) -> String {
        let scheme = if self.mode == "tls" { "smtps" } else { "smtp" };
        let from = "from=Millrace%20%E2%9A%99%20<noreply+x@example.com>";
        format!("{scheme}://{login}127.0.0.1:{}?{from}", self.port)
    }

    /// What it has accepted, in order.
    pub fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("messages.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}
