//! The other reference: apalis-redis alone, in the configuration that survives stalls.

use super::{CONNECTIONS, engine};
use anyhow::anyhow;
use apalis::{layers::WorkerBuilderExt, prelude::*};
use apalis_core::backend::TaskSink;
use apalis_redis::RedisStorage;
use shared::runs::{
    Queue,
    doorbell::{apalis_config, connect},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// More due messages than about 8,000 jam it.
const OUTSTANDING: usize = 2_000;

/// Messages per second, pushed and consumed at once.
pub async fn messages_per_s(messages: usize) -> anyhow::Result<f64> {
    let redis = engine::redis()?;
    let config = apalis_config(&redis, Queue::Light);
    let storage = RedisStorage::<u64>::new(connect(&redis).await?).with_config(config);
    let (consumed, room) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(OUTSTANDING)));
    let (backend, heard, freed) = (storage.clone(), consumed.clone(), room.clone());
    let monitor = Monitor::new().register(move |_| {
        let (heard, freed) = (heard.clone(), freed.clone());
        WorkerBuilder::new(format!("bench-{}", uuid::Uuid::new_v4()))
            .backend(backend.clone().poll_with_interval(Duration::from_millis(10)))
            .concurrency(200)
            .catch_panic()
            .build(move |_: u64| {
                heard.add_permits(1);
                freed.add_permits(1);
                std::future::ready(Ok::<(), BoxDynError>(()))
            })
    });
    let working = tokio::spawn(monitor.run());
    let started = Instant::now();
    let pushing: Vec<_> = (0..CONNECTIONS)
        .map(|task| {
            let (mut storage, room) = (storage.clone(), room.clone());
            tokio::spawn(async move {
                for message in (task..messages).step_by(CONNECTIONS) {
                    room.acquire().await?.forget();
                    storage.push(message as u64).await.map_err(|error| anyhow!("{error:?}"))?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in pushing {
        task.await??;
    }
    let all = u32::try_from(messages)?;
    tokio::time::timeout(Duration::from_secs(300), consumed.acquire_many(all)).await??.forget();
    let seconds = started.elapsed().as_secs_f64();
    working.abort();
    Ok(messages as f64 / seconds)
}
