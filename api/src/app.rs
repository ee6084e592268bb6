//! Putting the application together and serving it.

use crate::{proven::Proven, realtime::feed::Feed, router};
use axum::{Router, ServiceExt, extract::Request};
use shared::{
    analytics::KeptAnswers,
    config::{ApiConfig, RedisConfig},
    runs::Environment,
};
use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long connections may go on after the shutdown began: a client that does not read, or that
/// sends slowly, must not keep the process.
const GRACE: Duration = Duration::from_secs(10);

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Database, files, settings, doorbells.
    pub env: Arc<Environment>,
    /// The topic `ApiConfig`.
    pub config: Arc<ApiConfig>,
    /// Answers that are kept while no summary changes.
    pub kept: Arc<KeptAnswers>,
    /// Callers that were proven a moment ago.
    pub proven: Arc<Proven>,
    /// What happens, for those who listen.
    pub feed: Feed,
    /// Ends when the process is to stop: long-lived streams watch it.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// The state of a process that serves until `shutdown` ends. Without Redis its feed is a second late.
    pub fn new(
        env: Arc<Environment>,
        config: ApiConfig,
        redis: Option<RedisConfig>,
        shutdown: CancellationToken,
    ) -> Self {
        let feed = Feed::new(env.clone(), redis, shutdown.clone());
        Self { env, config: Arc::new(config), kept: Arc::default(), proven: Arc::default(), feed, shutdown }
    }
}

/// The application, for serving and for tests that call it without a socket.
pub fn app(state: AppState) -> Router {
    router::build(state)
}

/// Serves until `state.shutdown` ends; requests in flight are finished, for ten seconds at most.
pub async fn serve(state: AppState, listener: TcpListener) -> anyhow::Result<()> {
    let shutdown = state.shutdown.clone();
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app(state));
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        result = server.into_future() => result?,
        () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!("connections were still open ten seconds after the shutdown began; they are dropped");
        }
    }
    Ok(())
}
