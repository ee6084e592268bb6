//! Makes runs of what is due. Any number of schedulers may run: one leads (`leader`) and ticks
//! (`tick`); what is on a clock stands in `built_in`. A tick is a unique row, so that even two leaders
//! fire once.

mod built_in;
mod leader;
mod tick;

pub use tick::fire;

use shared::{config::DatabaseConfig, db, runs::Doorbells};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Wait before the leadership is tried for again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// Ticks while it leads, until `shutdown` ends. A database that is away is waited for.
pub async fn run(
    database: DatabaseConfig,
    doorbells: Doorbells,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // One tick at a time needs one connection; the lock has its own.
    let pool = db::pool(&DatabaseConfig { pool_size: 2, ..database.clone() }, "millrace-scheduler")?;
    while !shutdown.is_cancelled() {
        match leader::try_lead(&database).await {
            Ok(Some(leadership)) => {
                tracing::info!("this scheduler leads");
                let term = shutdown.child_token();
                let ticking = tick::tick_all(&pool, &doorbells, term.clone());
                tokio::select! {
                    () = ticking => {}
                    error = leadership.lost() => {
                        // A tick in progress is dropped, which rolls it back; the next leader fires it.
                        term.cancel();
                        tracing::warn!(%error, "this scheduler no longer leads");
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot try for the scheduler's leadership"),
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}
