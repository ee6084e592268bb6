//! The metrics' text: what this process counted, and how the record stands. Served to who is logged in
//! (`routes/metrics.rs`) and, where the operator opens one, by a plain listener ([`serve_metrics`]).

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use shared::{
    db::{DbError, DbPool},
    metrics::{self, exposition::Exposition, names, queries},
    runs::{queues, queues::PauseTarget},
    schedules,
};
use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A record that takes longer to answer is down, as far as monitoring is concerned.
const PATIENCE: Duration = Duration::from_secs(5);
/// The text's media type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text. Without a pool, only what this process counted.
pub(crate) async fn respond(pool: Option<&DbPool>) -> impl IntoResponse + use<> {
    let mut text = Exposition::after(metrics::render());
    if let Some(pool) = pool {
        add_pool(&mut text, pool);
        let up = match tokio::time::timeout(PATIENCE, add_record(&mut text, pool)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the gauges cannot be read: {error}");
                false
            }
            Err(_) => {
                tracing::warn!("the gauges cannot be read within {PATIENCE:?}");
                false
            }
        };
        text.gauge(&names::DATABASE_UP, [([], f64::from(u8::from(up)))]);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.finish())
}

fn add_pool(text: &mut Exposition, pool: &DbPool) {
    let status = pool.status();
    let counts = [
        ("max", status.max_size),
        ("open", status.size),
        ("idle", status.available),
        ("waiting", status.waiting),
    ];
    // A pool has at most some hundred connections.
    let samples = counts.map(|(state, count)| ([state.to_owned()], count as f64));
    text.gauge(&names::DATABASE_POOL, samples);
}

/// Adds how the record stands; all of it or, on an error, nothing.
async fn add_record(text: &mut Exposition, pool: &DbPool) -> Result<(), DbError> {
    let mut conn = pool.get().await?;
    let queues = queues::standings(&mut conn).await?;
    let paused = queues::paused(&mut conn).await?;
    let runs = queries::count_runs(&mut conn).await?;
    let workers = queries::count_workers(&mut conn).await?;
    let schedules = queries::count_schedules(&mut conn).await?;
    let notifications = queries::count_notifications(&mut conn).await?;
    let leads = schedules::queries::leader(&mut conn).await?.is_some();
    drop(conn);

    let is_paused =
        |name: &str| paused.iter().any(|pause| pause.target == PauseTarget::Queue && pause.name == name);
    let by_queue = |value: fn(&queues::QueueStanding) -> i64| {
        queues.iter().map(move |queue| ([queue.queue.clone()], value(queue) as f64))
    };
    text.gauge(&names::QUEUE_DEPTH, by_queue(|queue| queue.available));
    let age = |queue: &queues::QueueStanding| queue.oldest_ms.max(0) as f64 / 1000.0;
    text.gauge(&names::QUEUE_OLDEST_AGE, queues.iter().map(|queue| ([queue.queue.clone()], age(queue))));
    text.gauge(&names::QUEUE_RUNNING, by_queue(|queue| queue.running));
    text.gauge(&names::QUEUE_SLOTS, by_queue(|queue| queue.slots));
    let limits =
        queues.iter().filter_map(|queue| Some(([queue.queue.clone()], f64::from(queue.max_running?))));
    text.gauge(&names::QUEUE_LIMIT, limits);
    let pauses =
        queues.iter().map(|queue| ([queue.queue.clone()], f64::from(u8::from(is_paused(&queue.queue)))));
    text.gauge(&names::QUEUE_PAUSED, pauses);
    let runs = runs.into_iter().map(|row| ([row.kind, row.state.to_string()], row.count as f64));
    text.gauge(&names::RUNS, runs);
    let workers = [("alive", workers.alive), ("silent", workers.silent), ("dead", workers.dead)];
    text.gauge(&names::WORKERS, workers.map(|(state, count)| ([state.to_owned()], count as f64)));
    text.gauge(&names::SCHEDULER_LEADS, [([], f64::from(u8::from(leads)))]);
    text.gauge(&names::SCHEDULES_OVERDUE, [([], schedules.overdue as f64)]);
    text.gauge(&names::ALERTS_OPEN, [([], schedules.alerts as f64)]);
    text.gauge(&names::CIRCUITS_OPEN, [([], notifications.circuits as f64)]);
    text.gauge(&names::DELIVERIES_UNKNOWN, [([], notifications.unknown as f64)]);
    Ok(())
}

/// Serves `/metrics`, `/livez` and `/readyz` to everybody who reaches the listener, until `shutdown` ends. With a
/// pool the gauges are there too. It is ready when all of `begun` are true, and from then on: what happens to a
/// database later is no reason to end those who wait for it.
pub async fn serve_metrics(
    listener: TcpListener,
    pool: Option<DbPool>,
    begun: Vec<Arc<AtomicBool>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let readyz = async move || {
        if begun.iter().all(|begun| begun.load(Ordering::Acquire)) {
            (StatusCode::OK, "has begun to work\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "has not begun to work yet; its log says why\n")
        }
    };
    let app = Router::new()
        .route("/metrics", get(async |State(pool): State<Option<DbPool>>| respond(pool.as_ref()).await))
        .route("/livez", get(crate::routes::livez))
        .route("/readyz", get(readyz))
        .with_state(pool);
    tokio::select! {
        result = axum::serve(listener, app).into_future() => result?,
        // Who is in the middle of a scrape asks again.
        () = shutdown.cancelled() => {}
    }
    Ok(())
}
