//! wrk, the load that a benchmark puts on the api, as its administrator.

use crate::server::Server;
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::ffi::OsStr;
use tokio::process::Command;

/// Prints one line of JSON.
const REPORT: &str = r#"
done = function(summary, latency)
  local faults = summary.errors
  print(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"faults":%d}', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    faults.connect + faults.read + faults.write + faults.status + faults.timeout))
end
"#;

/// What wrk measured; times in microseconds.
#[derive(Deserialize)]
pub struct Measured {
    /// Requests that were answered.
    pub requests: f64,
    /// How long it asked.
    pub microseconds: f64,
    /// Half of the answers took no longer.
    pub p50: f64,
    /// 99 of 100 answers took no longer.
    pub p99: f64,
    faults: u64,
}

impl Measured {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests / (self.microseconds / 1e6)
    }
}

/// Asks over so many connections for some seconds; `request` is Lua. Fails if one request is not answered well.
pub async fn ask(
    server: &Server,
    request: &str,
    environment: &[(&str, &OsStr)],
    connections: &str,
    seconds: u32,
) -> anyhow::Result<Measured> {
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("ask.lua");
    std::fs::write(&script, format!("{request}{REPORT}"))?;
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", connections, "--latency", "--timeout", "10s"])
        .args(["--duration", &format!("{seconds}s"), "--script"])
        .arg(&script)
        .args(["--header", &format!("Authorization: Bearer {}", server.token())])
        .args(["--header", &format!("Cookie: {}", server.cookie())])
        .arg(server.url())
        .envs(environment.iter().copied())
        .output()
        .await
        .context("wrk does not start: use ./run bench")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{')).with_context(|| {
        format!("wrk said nothing to read: {text}{}", String::from_utf8_lossy(&output.stderr))
    })?;
    let measured: Measured = serde_json::from_str(line)?;
    ensure!(measured.faults == 0, "{} requests were not answered well: {text}", measured.faults);
    Ok(measured)
}
