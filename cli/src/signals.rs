//! Being asked to stop: Ctrl-C, SIGTERM or the end of the terminal once for an orderly end, twice for
//! an immediate one.

use crate::output::remark;
use anyhow::Context;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals closer together than this are one request.
const REPEATED: Duration = Duration::from_millis(400);

/// Listens from now on; the token ends at the first request.
pub fn listen() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let asked = token.clone();
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            match first {
                None => {
                    remark("Stopping (once more to stop at once) …");
                    asked.cancel();
                    first = Some(Instant::now());
                }
                // One request can come twice, to the process and to its group.
                Some(at) if at.elapsed() < REPEATED => {}
                Some(_) => {
                    remark("Stopping at once.");
                    // The kernel ends the servers; the next start rescues the runs.
                    std::process::exit(130);
                }
            }
        }
    });
    Ok(token)
}
