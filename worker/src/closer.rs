//! Closing: attempts that end at about the same time are closed by one statement, in one commit. While
//! one batch is on its way, the next gathers; alone, an attempt is closed at once.

use crate::life::Life;
use serde_json::Value;
use shared::runs::{RunState, queries};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Most attempts that one statement closes.
const BATCH: usize = 500;
/// Before a closing that failed is tried again.
const CLOSE_RETRY: Duration = Duration::from_millis(500);

/// An attempt that is to be closed.
pub(crate) struct Closing {
    /// The element of `close_runs`' argument.
    pub element: Value,
    /// Told where the run stands now; `None` if the claim held no more.
    pub closed: oneshot::Sender<Option<RunState>>,
}

/// Closes what comes until the life ends. Tried until it succeeds: a run that its living worker forgets
/// would never be rescued. Whoever no longer waits for the answer (its claim is lost) is left out.
pub(crate) async fn close(life: Arc<Life>, mut closings: mpsc::UnboundedReceiver<Closing>) {
    let mut batch = Vec::new();
    // After an error each is tried alone, so that one that cannot be written holds up no other.
    let mut together = true;
    loop {
        batch.retain(|closing: &Closing| !closing.closed.is_closed());
        if batch.is_empty() {
            together = true;
            if closings.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else if together && batch.len() < BATCH {
            while let Ok(more) = closings.try_recv() {
                batch.push(more);
            }
        }
        let now = if together { batch.len() } else { 1 };
        match close_some(&life, &batch[..now]).await {
            Ok(closed) => {
                for closing in batch.drain(..now) {
                    let state = closing.element["id"].as_str().and_then(|id| closed.get(id).copied());
                    // Nobody waits if the claim is lost.
                    let _ = closing.closed.send(state);
                }
            }
            Err(error) => {
                tracing::warn!("{now} attempts cannot be closed yet: {error:#}");
                together = false;
                batch.rotate_left(now);
                tokio::time::sleep(CLOSE_RETRY).await;
            }
        }
    }
}

async fn close_some(life: &Life, closings: &[Closing]) -> anyhow::Result<HashMap<String, RunState>> {
    let elements: Vec<&Value> = closings.iter().map(|closing| &closing.element).collect();
    let mut conn = life.pool.get().await?;
    let closed = queries::close_runs(&mut conn, &serde_json::to_value(elements)?).await?;
    Ok(closed.into_iter().map(|run| (run.id.to_string(), run.state)).collect())
}
