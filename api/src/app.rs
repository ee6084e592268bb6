//! Putting the application together and serving it.

use axum::Router;
use shared::{config::ApiConfig, runs::Environment};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Database, files, settings, doorbells.
    pub env: Arc<Environment>,
    /// The topic `ApiConfig`.
    pub config: Arc<ApiConfig>,
    /// Ends when the process is to stop: long-lived streams watch it.
    pub shutdown: CancellationToken,
}

/// Serves until `state.shutdown` ends; requests in flight are finished.
pub async fn serve(state: AppState, listener: TcpListener) -> anyhow::Result<()> {
    let shutdown = state.shutdown.clone();
    let app = Router::new().with_state(state);
    axum::serve(listener, app).with_graceful_shutdown(async move { shutdown.cancelled().await }).await?;
    Ok(())
}
