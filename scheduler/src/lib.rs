//! Makes runs of what is due. Of several schedulers one leads.

use shared::{config::DatabaseConfig, runs::Doorbells};
use tokio_util::sync::CancellationToken;

/// Ticks until `shutdown` ends.
pub async fn run(
    _database: DatabaseConfig,
    _doorbells: Doorbells,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    shutdown.cancelled().await;
    Ok(())
}
