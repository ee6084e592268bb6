//! Undo: an upload between two others is taken back while a fourth loads; what is left is compared with
//! a server that never saw it.

use crate::{report::Report, server::Server};
use anyhow::Context;
use shared::synthetic::{TransactionForm, write_transactions};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Instant,
};
use tests::{files::expect_everything_exact, record};

const CHUNK_WORKERS: u32 = 2;

/// One round with an upload of so many rows in the wide form.
pub async fn round(report: &mut Report, rows: u64) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let make = |name: &str, rows: u64, seed: u64| -> anyhow::Result<PathBuf> {
        let path = directory.path().join(name);
        write_transactions(&mut File::create(&path)?, rows, seed, TransactionForm::Wide)?;
        Ok(path)
    };
    let others = rows / 5;
    let (before, after, during) =
        (make("before.csv", others, 21)?, make("after.csv", others, 22)?, make("during.csv", others, 23)?);
    let unwanted = make("unwanted.csv", rows, 24)?;
    let (seen, never) = (Server::start(CHUNK_WORKERS).await?, Server::start(CHUNK_WORKERS).await?);
    for (server, files) in [(&seen, vec![&before, &unwanted, &after]), (&never, vec![&before, &after])] {
        for file in files {
            server.load(file, if file == &unwanted { rows } else { others }).await?;
        }
        server.idle().await;
    }
    let seconds = undo(&seen, &during).await?;
    never.load(&during, others).await?;
    seen.idle().await;
    expect_everything_exact(&seen.db).await;
    record::expect_alike(&seen.db, &never.db).await;
    let context = format!("{rows} of {} rows, 13 columns, while {others} others load", rows + 2 * others);
    report.add("ingest", "undo_rows_per_s", "rows/s", "–", &context, rows as f64 / seconds);
    Ok(())
}

/// Seconds from asking for the undo to its end, while another file loads.
async fn undo(server: &Server, during: &Path) -> anyhow::Result<f64> {
    let id: String = server.db.one("SELECT id::text FROM uploads WHERE filename = 'unwanted.csv'", &[]).await;
    server.post(during).await?;
    let started = Instant::now();
    server.post_to(&format!("/api/v1/uploads/{id}/undo")).await.context("the undo was refused")?;
    tests::eventually("the undo", || async {
        let state: String =
            server.db.one("SELECT state FROM uploads WHERE filename = 'unwanted.csv'", &[]).await;
        (state == "undone").then_some(())
    })
    .await;
    Ok(started.elapsed().as_secs_f64())
}
