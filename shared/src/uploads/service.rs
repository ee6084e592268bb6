//! Taking a file in: it is stored first, then its row and its flow are committed together. If the
//! process dies before that commit nothing was accepted; after it, the flow will run.

use super::{
    error::UploadError,
    jobs::{FinishUpload, PlanUpload},
    model::{Upload, UploadKind, UploadOptions, UploadState},
    queries,
};
use crate::{
    idempotency::{self, Claim},
    ids::{RunId, UploadId},
    runs::{EnqueueOptions, enqueue_flow, enqueue_subflow},
    schema::uploads,
    storage::StoredFile,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// A file that is stored and wants to be taken in.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// What its rows are.
    pub kind: UploadKind,
    /// The name it was sent under.
    pub filename: String,
    /// Where its bytes are.
    pub file: StoredFile,
    /// How it is to be read.
    pub options: UploadOptions,
    /// Take it in although the same file is there.
    pub forced: bool,
    /// The upload whose rejects it brings, mended.
    pub corrects: Option<UploadId>,
    /// Who sent it.
    pub created_by: String,
    /// The caller's Idempotency-Key.
    pub idempotency_key: Option<String>,
}

/// The upload that stands for the request.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The upload.
    pub upload: Upload,
    /// False if the same file, or the same request, had been accepted before; the stored file is then
    /// not needed.
    pub created: bool,
}

/// Where a new upload's file is to be stored.
pub fn storage_key() -> String {
    format!("uploads/{}", uuid::Uuid::now_v7())
}

/// Takes a stored file in: an upload row and its flow, in one transaction. The same bytes, kind and
/// options as a live or finished upload answer with that one, unless forced. Ring the `ingest`
/// doorbell after it, and delete the stored file if nothing was created.
pub async fn accept_upload(conn: &mut AsyncPgConnection, new: &NewUpload) -> Result<Accepted, UploadError> {
    accept_step(conn, new, None).await
}

/// [`accept_upload`] as a part of a larger flow, if `waiting` is given: that run, which waits, waits for
/// the upload too. What had been accepted before is not waited for.
pub async fn accept_step(
    conn: &mut AsyncPgConnection,
    new: &NewUpload,
    waiting: Option<RunId>,
) -> Result<Accepted, UploadError> {
    conn.transaction(async move |conn| {
        if let Some(earlier) = claim_key(conn, new).await? {
            return Ok(Accepted { upload: earlier, created: false });
        }
        let options = serde_json::to_value(&new.options).map_err(crate::runs::RunError::from)?;
        let id = UploadId::generate();
        let run_id = RunId::generate();
        let upload = loop {
            let inserted: Option<Upload> = diesel::insert_into(uploads::table)
                .values((
                    uploads::id.eq(id),
                    uploads::kind.eq(new.kind),
                    uploads::filename.eq(&new.filename),
                    uploads::size_bytes.eq(i64::try_from(new.file.size_bytes).unwrap_or(i64::MAX)),
                    uploads::sha256.eq(new.file.sha256.as_slice()),
                    uploads::storage_key.eq(&new.file.key),
                    uploads::options.eq(&options),
                    uploads::forced.eq(new.forced),
                    uploads::state.eq(UploadState::Received),
                    uploads::run_id.eq(run_id),
                    uploads::corrects.eq(new.corrects),
                    uploads::created_by.eq(&new.created_by),
                ))
                .on_conflict_do_nothing()
                .returning(Upload::as_returning())
                .get_result(conn)
                .await
                .optional()?;
            if let Some(upload) = inserted {
                break upload;
            }
            let same: Option<Upload> = uploads::table
                .filter(uploads::sha256.eq(new.file.sha256.as_slice()))
                .filter(uploads::kind.eq(new.kind).and(uploads::options.eq(&options)))
                .filter(uploads::forced.eq(false))
                .filter(uploads::state.eq_any([
                    UploadState::Received,
                    UploadState::Planning,
                    UploadState::Loading,
                    UploadState::Finished,
                ]))
                .select(Upload::as_select())
                .first(conn)
                .await
                .optional()?;
            if let Some(upload) = same {
                if upload.is_undoing() {
                    return Err(UploadError::BeingUndone(upload.id));
                }
                point_key(conn, new, upload.id).await?;
                return Ok(Accepted { upload, created: false });
            }
            // The other upload ended between the two statements: try again.
        };
        let (finish, plan) = (FinishUpload { upload_id: id }, PlanUpload { upload_id: id });
        let options = EnqueueOptions::by(&new.created_by);
        match waiting {
            None => enqueue_flow(conn, run_id, &finish, &plan, &options).await?,
            Some(outer) => enqueue_subflow(conn, outer, run_id, &finish, &plan, &options).await?,
        }
        point_key(conn, new, id).await?;
        Ok(Accepted { upload, created: true })
    })
    .await
}

/// What makes two requests under one key the same.
fn fingerprint(new: &NewUpload) -> String {
    let options = serde_json::to_string(&new.options).expect("options serialise");
    format!("upload {} {} {} {options}", new.kind, new.forced, hex::encode(new.file.sha256))
}

/// Takes the caller's key for this request; the upload that it already stands for, if it does.
async fn claim_key(conn: &mut AsyncPgConnection, new: &NewUpload) -> Result<Option<Upload>, UploadError> {
    let Some(key) = &new.idempotency_key else { return Ok(None) };
    match idempotency::claim(conn, &new.created_by, key, &fingerprint(new)).await? {
        Claim::Fresh => Ok(None),
        Claim::Reused => Err(UploadError::KeyReused),
        Claim::Repeated(location) => {
            let id = location.parse().map_err(|_| UploadError::KeyReused)?;
            queries::find_upload(conn, id).await?.ok_or(UploadError::NotFound(id)).map(Some)
        }
    }
}

async fn point_key(conn: &mut AsyncPgConnection, new: &NewUpload, id: UploadId) -> QueryResult<()> {
    let Some(key) = &new.idempotency_key else { return Ok(()) };
    idempotency::point(conn, &new.created_by, key, &id.to_string()).await
}

/// The two columns that a download of rejects adds.
pub const REJECT_COLUMNS: [&str; 2] = ["reject_code", "reject_reason"];

/// A header without the two columns that a download of rejects added, if it has them.
pub fn without_reject_columns(header: &[String]) -> Option<&[String]> {
    match header {
        [own @ .., code, reason] if [code.as_str(), reason.as_str()] == REJECT_COLUMNS => Some(own),
        _ => None,
    }
}

/// Names without the nameless ones at their end: a download of rejects has such columns for the surplus
/// fields of its records.
pub fn without_nameless(names: &[String]) -> &[String] {
    &names[..names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)]
}

/// Links an upload whose header is that of a download of rejects to the upload whose rejects they were:
/// the newest before it of its kind with the header without those two columns, and with rejects. Columns
/// without a name do not count: the download has some for surplus fields. One that was linked by hand
/// stays so. Returns the upload that it is linked to now, if it was not before.
pub async fn link_corrected(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    header: &[String],
) -> QueryResult<Option<Upload>> {
    let Some(own) = without_reject_columns(header) else { return Ok(None) };
    let linked: Option<Linked> = diesel::sql_query(
        "UPDATE uploads u SET corrects = (
             SELECT e.id FROM uploads e
             WHERE e.kind = u.kind AND e.id < u.id
               AND array_remove(e.header, '') IN (array_remove($2, ''), array_remove($3, ''))
               AND EXISTS (SELECT FROM upload_rejects r WHERE r.upload_id = e.id)
               -- Of one that was only checked, the rejects are not all that is missing.
               AND EXISTS (SELECT FROM upload_chunks c WHERE c.upload_id = e.id AND c.loaded_at IS NOT NULL)
             ORDER BY e.id DESC LIMIT 1)
         WHERE u.id = $1 AND u.corrects IS NULL RETURNING corrects",
    )
    .bind::<diesel::sql_types::Uuid, _>(id)
    .bind::<diesel::sql_types::Array<diesel::sql_types::Text>, _>(own)
    .bind::<diesel::sql_types::Array<diesel::sql_types::Text>, _>(header)
    .get_result(conn)
    .await
    .optional()?;
    match linked.and_then(|linked| linked.corrects) {
        Some(corrects) => queries::find_upload(conn, corrects).await,
        None => Ok(None),
    }
}

#[derive(QueryableByName)]
struct Linked {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Uuid>)]
    corrects: Option<UploadId>,
}

/// Warns of a file that was linked by its header to an upload that was read in another way: had that been
/// named, its settings would have been taken over.
pub fn warn_of_other_settings(
    options: &UploadOptions,
    mapping: &serde_json::Value,
    linked: &Upload,
) -> Option<String> {
    let theirs = linked.read_options().ok()?;
    let differences: Vec<&str> = [
        ("unknown_clients", options.unknown_clients != theirs.unknown_clients),
        ("existing_clients", options.existing_clients != theirs.existing_clients),
        ("zone", options.zone != theirs.zone),
        ("mapping", linked.mapping.as_ref() != Some(mapping)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    (!differences.is_empty()).then(|| {
        format!(
            "By its header this file mends the rejects of {} ({}), which was read with another {}. This one was \
             read with its own: to take those over, name that upload as `corrects`.",
            linked.filename,
            linked.id,
            differences.join(", ")
        )
    })
}
