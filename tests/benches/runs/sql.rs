//! The reference: a run's life as three bare statements, each committed by itself.

use super::CONNECTIONS;
use anyhow::ensure;
use shared::db;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tests::TestDatabase;

/// What the table carries besides the columns of `runs`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The checks and indexes of `runs`.
    Indexed,
    /// A primary key.
    Plain,
}

/// Lives per second.
pub async fn lives_per_s(lives: usize, table: Table) -> anyhow::Result<f64> {
    let database = TestDatabase::create().await;
    let made = match table {
        Table::Indexed => {
            "CREATE TABLE lives (LIKE runs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
        }
        Table::Plain => "CREATE TABLE lives (LIKE runs INCLUDING DEFAULTS, PRIMARY KEY (id))",
    };
    database.client.batch_execute(made).await?;
    let left = Arc::new(AtomicUsize::new(lives));
    let clients = futures::future::try_join_all((0..CONNECTIONS).map(|_| db::connect(&database.url))).await?;
    let started = Instant::now();
    let tasks: Vec<_> = clients.into_iter().map(|client| tokio::spawn(live(client, left.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let done: i64 = database.one("SELECT count(*) FROM lives WHERE state = 'completed'", &[]).await;
    ensure!(done == lives as i64, "of {lives} lives {done} ended");
    Ok(lives as f64 / seconds)
}

async fn live(client: tokio_postgres::Client, left: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let insert = client
        .prepare(
            "INSERT INTO lives (id, kind, queue, args, state, priority, max_attempts, flow_id, created_by)
             VALUES ($1, 'noop', 'light', '{}', 'available', 100, 5, $1, 'bench')",
        )
        .await?;
    let begin = client
        .prepare(
            "UPDATE lives SET state = 'running', claim_token = gen_random_uuid(), worker_id = $2, attempt = 1,
                started_at = now() WHERE id = $1",
        )
        .await?;
    let end = client
        .prepare(
            "UPDATE lives SET state = 'completed', claim_token = NULL, worker_id = NULL, result = 'null',
                finished_at = now() WHERE id = $1",
        )
        .await?;
    let worker = uuid::Uuid::new_v4();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let id = uuid::Uuid::now_v7();
        client.execute(&insert, &[&id]).await?;
        client.execute(&begin, &[&id, &worker]).await?;
        client.execute(&end, &[&id]).await?;
    }
    Ok(())
}
