//! Listening to doorbells through apalis. A doorbell wakes a slot; the slot's work is a task of its
//! own, so that whatever becomes of Redis or of the apalis worker, no run is torn.

use crate::{life::Life, slots};
use apalis::{layers::WorkerBuilderExt, prelude::*};
use apalis_redis::RedisStorage;
use shared::{
    config::RedisConfig,
    runs::{
        Queue,
        doorbell::{self, Doorbell},
    },
};
use std::{sync::Arc, time::Duration};

/// Between looks at Redis: immediate messages are only found by looking.
const LOOK: Duration = Duration::from_millis(10);
/// Before a lost Redis is tried again.
const RECONNECT: Duration = Duration::from_secs(1);

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
    let mut monitor = Monitor::new();
    for &queue in Queue::ALL {
        let connection = doorbell::connect(redis).await?;
        let storage =
            RedisStorage::<Doorbell>::new(connection).with_config(doorbell::apalis_config(redis, queue));
        let (life, slots) = (life.clone(), life.slots[&queue].available_permits().max(1));
        // A name that was used before would be refused, or hide its orphans.
        let name = format!("{queue}-{}-{}", life.id, uuid::Uuid::new_v4());
        monitor = monitor.register(move |_| {
            let life = life.clone();
            WorkerBuilder::new(name.clone())
                .backend(storage.clone().poll_with_interval(LOOK))
                .concurrency(slots)
                .catch_panic()
                .build(move |_: Doorbell| {
                    let life = life.clone();
                    async move {
                        // Not awaited if the apalis worker dies: the slot goes on.
                        let slot = life.tasks.spawn(slots::drain(life.clone(), queue));
                        slot.await.map_err(BoxDynError::from)
                    }
                })
        });
    }
    let stopping = life.stopping.clone();
    monitor
        .run_with_signal(async move {
            stopping.cancelled().await;
            Ok(())
        })
        .await?;
    Ok(())
}
