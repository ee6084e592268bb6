//! Taking an upload back, exactly: its rows and keys, what it added to every summary, the statuses it
//! moved, the cash it posted. What was there before it, or came after it, stays as if it had never been;
//! only the stubs of clients remain.
//!
//! Loads hold a shared advisory lock for each upload whose rows they rely on; whoever asks for an undo
//! takes it alone, marks the upload and commits. After that no load relies on it any more.

use super::{
    error::UploadError,
    model::{Upload, UploadKind, UploadState},
    queries,
};
use crate::{
    ids::{RunId, UploadId},
    runs::{self, EnqueueOptions, enqueue},
    schema::uploads,
    uploads::jobs::UndoUpload,
};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Text, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tokio_postgres::Transaction;

/// First half of the advisory locks' keys; the second is a hash of the upload's id.
const LOCKS: i32 = 7241;

/// Keeps these uploads from being undone until the transaction ends. Returns one that is being undone
/// already, if there is one.
pub(crate) async fn hold_off(
    transaction: &Transaction<'_>,
    uploads: &[uuid::Uuid],
) -> Result<Option<uuid::Uuid>, tokio_postgres::Error> {
    if uploads.is_empty() {
        return Ok(None);
    }
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock_shared($1, hashtext(id::text)) FROM unnest($2::uuid[]) AS id",
            &[&LOCKS, &uploads],
        )
        .await?;
    // A statement of its own: it sees what was committed while the locks were waited for.
    let undone = transaction
        .query_opt(
            "SELECT id FROM uploads WHERE id = ANY ($1) AND undo_run_id IS NOT NULL LIMIT 1",
            &[&uploads],
        )
        .await?;
    Ok(undone.map(|row| row.get(0)))
}

/// Why an upload cannot be undone now, for people; `None` if it can.
pub async fn refusal(conn: &mut AsyncPgConnection, upload: &Upload) -> QueryResult<Option<String>> {
    if let Some(reason) = refusal_of_itself(upload) {
        return Ok(Some(reason));
    }
    if let Some(run) = upload.undo_run_id {
        // One that failed or was cancelled, or is so long ago that its run is gone, goes on where it stopped.
        let run = runs::queries::find_run(conn, run).await?;
        let going_on = run.is_some_and(|run| !run.state.is_terminal());
        return Ok(going_on.then(|| "It is being undone.".to_owned()));
    }
    let counts = queries::counts(conn, &[upload.id]).await?.remove(&upload.id).unwrap_or_default();
    if counts.inserted + counts.updated == 0 && !relies_on_others(conn, upload.id).await? {
        return Ok(Some("It added nothing: there is nothing to take back.".to_owned()));
    }
    let later = later_uploads(conn, upload.id).await?;
    if later.is_empty() {
        return Ok(None);
    }
    let rows: i64 = later.iter().map(|later| later.rows).sum();
    let mut names: Vec<String> =
        later.iter().take(3).map(|later| format!("{} ({})", later.filename, later.id)).collect();
    if later.len() > 3 {
        names.push(format!("{} more", later.len() - 3));
    }
    Ok(Some(format!(
        "{rows} of its rows stand in later uploads too, which therefore did not bring them: {}. Undo those first.",
        names.join(", ")
    )))
}

fn refusal_of_itself(upload: &Upload) -> Option<String> {
    if upload.state == UploadState::Undone {
        return Some("It was undone already.".to_owned());
    }
    if upload.kind == UploadKind::Clients {
        return Some("Clients are never deleted; correct them with another file.".to_owned());
    }
    if upload.read_options().is_ok_and(|options| options.dry_run) {
        return Some("It was a dry run: it added nothing.".to_owned());
    }
    if upload.undo_run_id.is_some() {
        return None;
    }
    let ended = [UploadState::Finished, UploadState::Failed, UploadState::Cancelled].contains(&upload.state);
    (!ended).then(|| format!("It is still {}; wait for its end, or cancel it.", upload.state))
}

/// Whether rows of its file were found there: an upload that brought nothing else is undone to let go of
/// them, so that those which brought them can be undone.
async fn relies_on_others(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<bool> {
    let relies =
        diesel::dsl::sql::<diesel::sql_types::Bool>("EXISTS (SELECT FROM upload_overlaps WHERE later = ")
            .bind::<Uuid, _>(id)
            .sql(")");
    diesel::select(relies).get_result(conn).await
}

#[derive(QueryableByName)]
struct LaterUpload {
    #[diesel(sql_type = Uuid)]
    id: UploadId,
    #[diesel(sql_type = Text)]
    filename: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// The uploads that found rows of this one there already, newest first.
async fn later_uploads(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Vec<LaterUpload>> {
    diesel::sql_query(
        "SELECT u.id, u.filename, sum(o.rows)::bigint AS rows
         FROM upload_overlaps o JOIN uploads u ON u.id = o.later
         WHERE o.earlier = $1 GROUP BY u.id, u.filename ORDER BY u.id DESC",
    )
    .bind::<Uuid, _>(id)
    .load(conn)
    .await
}

/// Asks for an upload to be undone: marks it and adds the run, or says why not. Dying before the commit
/// changes nothing. Ring the `ingest` doorbell after it.
pub async fn request_undo(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    by: &str,
) -> Result<RunId, UploadError> {
    conn.transaction(async move |conn| {
        lock(conn, id).await?;
        let upload = queries::find_upload(conn, id).await?.ok_or(UploadError::NotFound(id))?;
        if let Some(reason) = refusal(conn, &upload).await? {
            return Err(UploadError::NotUndoable(reason));
        }
        mark(conn, id, by).await
    })
    .await
}

/// Waits for the loads that rely on the upload, and lets no other begin to before the commit.
async fn lock(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind::<diesel::sql_types::Integer, _>(LOCKS)
        .bind::<Text, _>(id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

async fn mark(conn: &mut AsyncPgConnection, id: UploadId, by: &str) -> Result<RunId, UploadError> {
    let run = enqueue(conn, &UndoUpload { upload_id: id }, &EnqueueOptions::by(by)).await?.id;
    diesel::update(uploads::table.find(id)).set(uploads::undo_run_id.eq(run)).execute(conn).await?;
    Ok(run)
}

/// Takes back an upload that was to be loaded whole or not at all, though its flow has not ended; `None`
/// if that was asked for before. The upload has failed from here on.
pub(super) async fn undo_failed(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    by: &str,
) -> Result<Option<RunId>, UploadError> {
    conn.transaction(async move |conn| {
        lock(conn, id).await?;
        let upload = queries::find_upload(conn, id).await?.ok_or(UploadError::NotFound(id))?;
        if upload.undo_run_id.is_some() {
            return Ok(None);
        }
        diesel::update(uploads::table.find(id))
            .set((uploads::state.eq(UploadState::Failed), uploads::finished_at.eq(diesel::dsl::now)))
            .execute(conn)
            .await?;
        mark(conn, id, by).await.map(Some)
    })
    .await
}
