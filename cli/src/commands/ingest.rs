//! `millrace ingest FILE`: hands a file in and waits until it is loaded. With `--server` through the
//! API; otherwise straight into the database and the directory that the workers read from.

use super::ingest_options::IngestOptions;
use crate::{
    access::Access,
    client::{Counts, RemoteUpload},
    follow::follow,
    output::{remark, say},
    services::Services,
    usage::Usage,
};
use anyhow::{Context, bail};
use clap::Args;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared::{
    ids::UploadId,
    runs::{Environment, Queue},
    schema::workers,
    storage::StoredFile,
    uploads::{NewUpload, Upload, accept_upload, queries, service::storage_key, waiting},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// After this time without any worker somebody should be told.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// A file to load: with --server through the API, without it straight into the database.
#[derive(Debug, Args)]
pub struct Ingest {
    /// CSV or the like, plain or compressed, or XLSX.
    file: PathBuf,
    #[command(flatten)]
    options: IngestOptions,
    #[command(flatten)]
    access: Access,
}

/// Loads a file; an error if its flow does not finish.
pub async fn ingest(args: Ingest) -> anyhow::Result<()> {
    let name =
        args.file.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
    let file = tokio::fs::metadata(&args.file)
        .await
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    if !file.is_file() {
        bail!("{} is no file", args.file.display());
    }
    args.options.check().map_err(Usage::new)?;
    match (&args.access.server, &args.access.username) {
        (Some(_), _) => through_api(&args, &name).await,
        (None, Some(_)) => Err(Usage::new("--username goes with --server (MILLRACE_SERVER)")),
        (None, None) => straight(&args, &name).await,
    }
}

async fn through_api(args: &Ingest, name: &str) -> anyhow::Result<()> {
    let client = args.access.connect().await?;
    let accepted = client.upload(&args.file, &args.options.fields()?).await?;
    if accepted.already_uploaded {
        say(format!("{name} was handed in before, as upload {}.", accepted.id));
    }
    follow(name, async || client.find_upload(&accepted.id).await).await.map(|_| ())
}

async fn straight(args: &Ingest, name: &str) -> anyhow::Result<()> {
    let env = Services::find()?.environment("millrace-ingest").await?;
    let file = store(&env, &args.file).await?;
    let new = NewUpload {
        kind: args.options.kind,
        filename: name.to_owned(),
        file,
        options: args.options.options(),
        forced: args.options.force,
        corrects: args.options.corrects,
        created_by: "command line".to_owned(),
        idempotency_key: None,
    };
    let accepted = accept_upload(&mut *env.pool.get().await?, &new).await?;
    if accepted.created {
        env.doorbells.ring(Queue::Ingest, 1);
    } else {
        say(format!(
            "{name} was handed in before, as upload {}; --force loads it again.",
            accepted.upload.id
        ));
        // Nobody will read the second copy.
        let _ = env.storage.delete(&new.file.key).await;
    }
    let mut lonely = Lonely::new();
    follow(name, async || {
        let upload = look(&env, accepted.upload.id).await?;
        lonely.tell_if_nobody_works(&env).await;
        Ok(upload)
    })
    .await
    .map(|_| ())
}

/// Copies the file to where the workers read it. If the process dies before the upload is accepted,
/// the copy is an orphan that nobody reads.
async fn store(env: &Environment, path: &Path) -> anyhow::Result<StoredFile> {
    let mut file =
        tokio::fs::File::open(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    let mut writer = env.storage.create(&storage_key()).await?;
    let mut buffer = vec![0u8; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).await.with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            return Ok(writer.finish().await?);
        }
        writer.write(&buffer[..read]).await?;
    }
}

async fn look(env: &Environment, id: UploadId) -> anyhow::Result<RemoteUpload> {
    let mut conn = env.pool.get().await?;
    let upload: Upload = queries::find_upload(&mut conn, id).await?.context("the upload is gone")?;
    let counts = queries::counts(&mut conn, &[id]).await?.remove(&id).unwrap_or_default();
    let failure = queries::failure(&mut conn, upload.run_id).await?;
    let waiting = waiting::waiting(&mut conn, &upload).await?;
    Ok(RemoteUpload {
        id: id.to_string(),
        already_uploaded: false,
        state: upload.state,
        records: upload.records,
        counts: Counts {
            read: counts.read,
            inserted: counts.inserted,
            updated: counts.updated,
            duplicates: counts.duplicates,
            conflicts: counts.conflicts,
            rejected: counts.rejected,
            chunks_loaded: counts.chunks_loaded,
            checked: counts.checked,
        },
        failure,
        waiting,
        warnings: upload.warnings,
    })
}

/// Tells once if there is no worker to do the work.
struct Lonely {
    since: Instant,
    told: bool,
}

impl Lonely {
    fn new() -> Self {
        Self { since: Instant::now(), told: false }
    }

    async fn tell_if_nobody_works(&mut self, env: &Environment) {
        if self.told || self.since.elapsed() < TELL_AFTER {
            return;
        }
        self.told = true;
        let Ok(mut conn) = env.pool.get().await else { return };
        let alive: QueryResult<i64> =
            workers::table.filter(workers::state.eq("alive")).count().get_result(&mut conn).await;
        if alive == Ok(0) {
            remark("No worker runs, so nothing will be loaded before you start `millrace worker`.");
        }
    }
}
