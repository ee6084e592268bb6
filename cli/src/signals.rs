//! Being asked to stop: Ctrl-C, SIGTERM or the end of the terminal once for an orderly end, twice for
//! an immediate one.

use crate::output::remark;
use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens from now on; the token ends at the first request.
pub fn listen() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if asked.is_cancelled() {
                remark("Stopping at once.");
                // The servers are ended by the kernel, runs in progress are rescued at the next start.
                std::process::exit(130);
            }
            remark("Stopping (once more to stop at once) …");
            asked.cancel();
        }
    });
    Ok(token)
}
