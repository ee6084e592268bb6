//! Putting the application together and serving it.

use crate::{proven::Proven, realtime::feed::Feed, router};
use axum::{Router, ServiceExt, extract::Request};
use shared::{
    analytics::{ClientReads, KeptAnswers},
    config::{ApiConfig, RedisConfig},
    look::Look,
    runs::{
        Environment,
        pulse::{self, Attention},
    },
};
use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long connections may go on after the shutdown began: a client that does not read, or that
/// sends slowly, must not keep the process.
pub const GRACE: Duration = Duration::from_secs(10);

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Database, files, settings, doorbells.
    pub env: Arc<Environment>,
    /// The topic `ApiConfig`.
    pub config: Arc<ApiConfig>,
    /// Answers that are kept while no summary changes.
    pub kept: Arc<KeptAnswers>,
    /// Where questions about clients are asked.
    pub reads: Arc<ClientReads>,
    /// Callers that were proven a moment ago.
    pub proven: Arc<Proven>,
    /// What asks for attention.
    pub attention: Arc<Look<Attention>>,
    /// What happens, for those who listen.
    pub feed: Feed,
    /// Ends when the process has been asked to stop: it is not ready any more, and still serves.
    pub leaving: CancellationToken,
    /// Ends when it stops: long-lived streams watch it.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// The state of a process that is asked to stop by the end of `leaving`. Without Redis its feed is a second late.
    pub fn new(
        env: Arc<Environment>,
        config: ApiConfig,
        redis: Option<RedisConfig>,
        leaving: CancellationToken,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let feed = Feed::new(env.clone(), redis, shutdown.clone());
        let config = Arc::new(config);
        let reads = Arc::new(ClientReads::new(env.pool.clone()));
        let kept = Arc::new(KeptAnswers::new(env.pool.clone()));
        let attention = Arc::new(Look::new(env.pool.clone(), |conn| Box::pin(pulse::attention(conn))));
        Self { env, config, kept, reads, proven: Arc::default(), attention, feed, leaving, shutdown }
    }
}

/// The application, for serving and for tests that call it without a socket.
pub fn app(state: AppState) -> Router {
    router::build(state)
}

/// Serves until `state.leaving` ends, and then for `ApiConfig::drain` more, so that a load balancer has time to see that
/// it is not ready; requests in flight are finished, for ten seconds at most.
pub async fn serve(state: AppState, listener: TcpListener) -> anyhow::Result<()> {
    let shutdown = state.shutdown.clone();
    // Whatever ends this ends the streams.
    let _stops = shutdown.clone().drop_guard();
    tokio::spawn({
        let (leaving, shutdown, drain) = (state.leaving.clone(), shutdown.clone(), state.config.drain);
        async move {
            leaving.cancelled().await;
            tokio::select! {
                () = tokio::time::sleep(drain) => shutdown.cancel(),
                () = shutdown.cancelled() => {}
            }
        }
    });
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
