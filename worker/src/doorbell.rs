//! Listening to doorbells through apalis. A doorbell only wakes the claims of its queue, so whatever
//! becomes of Redis or of the apalis worker, no run is torn and none is done twice.

use crate::life::Life;
use apalis::{layers::WorkerBuilderExt, prelude::*};
use apalis_redis::RedisStorage;
use shared::{
    config::RedisConfig,
    metrics,
    runs::doorbell::{self, Doorbell},
};
use std::{sync::Arc, time::Duration};

/// Between looks at Redis: immediate messages are only found by looking.
const LOOK: Duration = Duration::from_millis(10);
/// Before a lost Redis is tried again.
const RECONNECT: Duration = Duration::from_secs(1);
/// Between removals of what apalis leaves behind of each message.
const SWEEP: Duration = Duration::from_secs(10);

/// Listens for as long as the worker lives; without Redis, the poll does alone.
pub(crate) async fn listen(life: Arc<Life>, redis: Option<RedisConfig>) {
    let Some(redis) = redis else { return };
    let mut lost = false;
    loop {
        match attend(&life, &redis).await {
            Ok(()) => {}
            Err(error) if lost => tracing::debug!("still no doorbells: {error:#}"),
            Err(error) => {
                tracing::warn!("no doorbells, runs start by polling: {error:#}");
                lost = true;
            }
        }
        if life.stopping.is_cancelled() {
            return;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Runs the apalis workers, one per queue, until one of them fails.
async fn attend(life: &Arc<Life>, redis: &RedisConfig) -> anyhow::Result<()> {
    let mut workers = tokio::task::JoinSet::new();
    for slots in &life.slots {
        let connection = doorbell::connect(redis).await?;
        let storage = RedisStorage::<Doorbell>::new(connection)
            .with_config(doorbell::apalis_config(redis, slots.queue));
        // A name that was used before would be refused, or hide its orphans.
        let name = format!("{}-{}-{}", slots.queue, life.id, uuid::Uuid::new_v4());
        let slots = slots.clone();
        let worker = WorkerBuilder::new(name)
            .backend(storage.poll_with_interval(LOOK))
            .concurrency(1)
            .catch_panic()
            .build(move |bell: Doorbell| {
                metrics::doorbell_heard(slots.queue, bell.age());
                slots.wake();
                std::future::ready(Ok::<(), BoxDynError>(()))
            });
        workers.spawn(worker.run());
    }
    // The first that ends (Redis was emptied, or did not answer in time) ends them all; apalis' monitor
    // would wait for a signal.
    tokio::select! {
        () = life.stopping.cancelled() => Ok(()),
        Some(ended) = workers.join_next() => Ok(ended??),
        error = sweep(life, redis) => Err(error),
    }
}

/// Removes what apalis leaves behind of each message: nothing else would, and Redis would fill. Returns
/// when Redis does not answer.
async fn sweep(life: &Life, redis: &RedisConfig) -> anyhow::Error {
    let mut connection = match doorbell::connect(redis).await {
        Ok(connection) => connection,
        Err(error) => return error.into(),
    };
    loop {
        for slots in &life.slots {
            if let Err(error) = doorbell::sweep(&mut connection, redis, slots.queue).await {
                return error;
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}
