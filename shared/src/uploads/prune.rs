//! Removing stored files that nobody needs any more: those of uploads whose flow ended long ago, those of
//! previews that nobody loaded, and those that no row names.
//!
//! The row goes first (or says that the file is gone), the file after it. Whoever wants to read the file
//! looks at the row: a retry either moves the upload on before the row is marked, and then keeps its
//! file, or finds the mark. A process that dies between the two leaves an orphan, which a later run
//! removes.

use crate::{
    ids::PreviewId,
    runs::{Finished, Job, JobError, Queue, Retry, RunContext, Unique},
    schema::previews,
    storage::Storage,
};
use chrono::{DateTime, Days, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rows or files at once.
const BATCH: i64 = 500;
/// A file that no row names is younger while somebody may still be writing its row.
const ORPHAN_AFTER_DAYS: u64 = 1;
/// A preview that nobody has loaded by then is forgotten.
const PREVIEW_DAYS: u64 = 1;
/// Where files of uploads and previews are.
const FOLDERS: [&str; 2] = ["uploads", "previews"];

/// Removes stored files that nobody needs any more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PruneFiles {}

impl Job for PruneFiles {
    const KIND: &'static str = "prune_files";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 5, first: Duration::from_secs(1), cap: Duration::from_secs(60) };
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const PRIORITY: i16 = 200;
    const EXTERNAL: bool = true;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let now = context.env.clock.now();
        let uploads = match context.env.files.keep_days {
            0 => 0,
            days => prune_uploads(&context, now - Days::new(days.into())).await?,
        };
        let previews = prune_previews(&context, now - Days::new(PREVIEW_DAYS)).await?;
        let before = now - Days::new(ORPHAN_AFTER_DAYS);
        let (mut orphans, mut unfinished) = (0, 0);
        for folder in FOLDERS {
            orphans += prune_orphans(&context, folder, before).await?;
            let removed = context.env.storage.remove_unfinished(folder, before).await;
            unfinished += removed.map_err(JobError::retry)?;
        }
        let result = serde_json::json!({
            "uploads": uploads, "previews": previews, "orphans": orphans, "unfinished": unfinished,
        });
        Ok(Finished::Result(result))
    }
}

#[derive(QueryableByName)]
struct Keys {
    #[diesel(sql_type = Text)]
    storage_key: String,
    #[diesel(sql_type = Nullable<Text>)]
    text_key: Option<String>,
}

/// Marks the uploads of a batch as without files. One whose flow or undo moves is passed over: its row is
/// locked, or its state says so.
const MARK: &str = "
    UPDATE uploads SET files_removed_at = now() WHERE id IN (
        SELECT u.id FROM uploads u
        WHERE u.files_removed_at IS NULL AND u.finished_at < $1
          AND u.state IN ('finished', 'failed', 'cancelled', 'undone')
          AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = u.undo_run_id AND r.finished_at IS NULL)
        ORDER BY u.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING storage_key, text_key";

async fn prune_uploads(context: &RunContext, before: DateTime<Utc>) -> Result<usize, JobError> {
    let mut pooled = context.connection().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let mut removed = 0;
    loop {
        stop_if_asked(context)?;
        let marked: Vec<Keys> = diesel::sql_query(MARK)
            .bind::<Timestamptz, _>(before)
            .bind::<BigInt, _>(BATCH)
            .load(conn)
            .await
            .map_err(JobError::retry)?;
        if marked.is_empty() {
            return Ok(removed);
        }
        removed += marked.len();
        let keys = marked.into_iter().flat_map(|keys| [Some(keys.storage_key), keys.text_key]).flatten();
        delete_unnamed(context, conn, keys.collect()).await?;
        context.progress(removed as i64, None, "uploads", "removing old files").await;
    }
}

/// Previews that were not loaded, or only by a dry run, which works on a copy.
fn not_loaded() -> diesel::expression::SqlLiteral<Bool> {
    diesel::dsl::sql(
        "NOT EXISTS (SELECT 1 FROM uploads u WHERE u.id = upload_id AND u.options->'dry_run' IS NULL)",
    )
}

async fn prune_previews(context: &RunContext, before: DateTime<Utc>) -> Result<usize, JobError> {
    let mut pooled = context.connection().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let mut removed = 0;
    loop {
        stop_if_asked(context)?;
        let old: Vec<PreviewId> = previews::table
            .filter(not_loaded().and(previews::created_at.lt(before)))
            .order(previews::created_at)
            .limit(BATCH)
            .select(previews::id)
            .load(conn)
            .await
            .map_err(JobError::retry)?;
        if old.is_empty() {
            return Ok(removed);
        }
        // Whoever loads one at the same time has its row locked: it is looked at again when he is done.
        let keys: Vec<String> =
            diesel::delete(previews::table.filter(previews::id.eq_any(old).and(not_loaded())))
                .returning(previews::storage_key)
                .get_results(conn)
                .await
                .map_err(JobError::retry)?;
        removed += keys.len();
        delete_unnamed(context, conn, keys).await?;
    }
}

/// Files under `folder` that were written before and that no row names.
async fn prune_orphans(context: &RunContext, folder: &str, before: DateTime<Utc>) -> Result<usize, JobError> {
    let mut pooled = context.connection().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (mut after, mut removed) = (folder.to_owned(), 0);
    loop {
        stop_if_asked(context)?;
        let listed = context.env.storage.list(folder, &after, BATCH as usize).await;
        let listed = listed.map_err(JobError::retry)?;
        let Some(last) = listed.last() else { return Ok(removed) };
        after = last.key.clone();
        let old = listed.into_iter().filter(|file| file.written_at < before).map(|file| file.key);
        removed += delete_unnamed(context, conn, old.collect()).await?;
    }
}

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = Text)]
    key: String,
}

/// Deletes those of the files that no row needs; how many.
async fn delete_unnamed(
    context: &RunContext,
    conn: &mut AsyncPgConnection,
    keys: Vec<String>,
) -> Result<usize, JobError> {
    if keys.is_empty() {
        return Ok(0);
    }
    let unnamed: Vec<Key> = diesel::sql_query(
        "SELECT key FROM unnest($1) AS key
         WHERE NOT EXISTS (SELECT 1 FROM uploads u WHERE u.storage_key = key AND u.files_removed_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.text_key = key AND u.files_removed_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM previews p WHERE p.storage_key = key AND p.upload_id IS NULL)",
    )
    .bind::<Array<Text>, _>(&keys)
    .load(conn)
    .await
    .map_err(JobError::retry)?;
    for file in &unnamed {
        stop_if_asked(context)?;
        delete(&context.env.storage, &file.key).await?;
    }
    Ok(unnamed.len())
}

async fn delete(storage: &Storage, key: &str) -> Result<(), JobError> {
    storage.delete(key).await.map_err(JobError::retry)?;
    tracing::debug!(key, "a stored file is removed");
    Ok(())
}

fn stop_if_asked(context: &RunContext) -> Result<(), JobError> {
    if context.cancel.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
}
