//! Files that are stored and that somebody looks at before deciding. Loading one hands its file over to
//! the upload; a file that is not loaded is removed after [`LIFE_HOURS`].

use super::{
    error::UploadError,
    model::{Upload, UploadKind, UploadOptions},
    queries,
    service::{Accepted, NewUpload, accept_upload},
};
use crate::{
    ids::{PreviewId, UploadId},
    schema::previews,
    storage::StoredFile,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// How long a file is kept that nobody loads.
pub const LIFE_HOURS: i64 = 24;

/// A file that somebody looks at.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = previews, check_for_backend(diesel::pg::Pg))]
pub struct Preview {
    /// Its id (UUID v7).
    pub id: PreviewId,
    /// The name it was sent under.
    pub filename: String,
    /// Its length.
    pub size_bytes: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// Where its bytes are.
    pub storage_key: String,
    /// What it was loaded, or checked, as last.
    pub upload_id: Option<UploadId>,
    /// Who sent it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Preview {
    /// When it is removed, unless it is loaded before.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.created_at + TimeDelta::hours(LIFE_HOURS)
    }
}

/// What is wanted of a previewed file.
#[derive(Debug, Clone)]
pub struct LoadPreview {
    /// The preview.
    pub id: PreviewId,
    /// What its rows are.
    pub kind: UploadKind,
    /// How it is to be read.
    pub options: UploadOptions,
    /// Take it in although the same file is there.
    pub forced: bool,
    /// The upload whose rejects it brings, mended.
    pub corrects: Option<UploadId>,
    /// Who asks.
    pub created_by: String,
    /// Where a copy of the file is, for a dry run: the preview keeps its own.
    pub copy_key: Option<String>,
}

/// Keeps a stored file to be looked at.
pub async fn keep(
    conn: &mut AsyncPgConnection,
    filename: &str,
    file: &StoredFile,
    created_by: &str,
) -> QueryResult<Preview> {
    diesel::insert_into(previews::table)
        .values((
            previews::id.eq(PreviewId::generate()),
            previews::filename.eq(filename),
            previews::size_bytes.eq(i64::try_from(file.size_bytes).unwrap_or(i64::MAX)),
            previews::sha256.eq(file.sha256.as_slice()),
            previews::storage_key.eq(&file.key),
            previews::created_by.eq(created_by),
        ))
        .returning(Preview::as_returning())
        .get_result(conn)
        .await
}

/// One preview.
pub async fn find(conn: &mut AsyncPgConnection, id: PreviewId) -> QueryResult<Option<Preview>> {
    previews::table.find(id).select(Preview::as_select()).first(conn).await.optional()
}

/// The preview that was loaded or checked as this upload.
pub async fn find_by_upload(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Option<Preview>> {
    previews::table
        .filter(previews::upload_id.eq(id))
        .select(Preview::as_select())
        .first(conn)
        .await
        .optional()
}

/// The upload that a preview was loaded as; not one that only checked it.
pub async fn loaded_as(conn: &mut AsyncPgConnection, preview: &Preview) -> QueryResult<Option<Upload>> {
    let Some(id) = preview.upload_id else { return Ok(None) };
    let upload = queries::find_upload(conn, id).await?;
    Ok(upload.filter(|upload| !is_dry_run(upload)))
}

fn is_dry_run(upload: &Upload) -> bool {
    upload.read_options().is_ok_and(|options| options.dry_run)
}

/// Loads a previewed file: its bytes become the upload's, none are copied. Again, it is the same upload.
/// A dry run takes the copy at `copy_key` instead, so that the preview can be loaded after it; the same
/// dry run again is the same upload. None if there is no such preview. Whoever asks at the same time
/// waits here for the first one's commit. After it, if nothing was created, `copy_key` is not needed; if
/// the same file had been handed in before, the preview's own file is not either
/// (`accepted.upload.storage_key` says which is in use).
pub async fn load(
    conn: &mut AsyncPgConnection,
    wanted: &LoadPreview,
) -> Result<Option<Accepted>, UploadError> {
    conn.transaction(async move |conn| {
        let locked: Option<Preview> = previews::table
            .find(wanted.id)
            .select(Preview::as_select())
            .for_update()
            .first(conn)
            .await
            .optional()?;
        let Some(preview) = locked else { return Ok(None) };
        let earlier = match preview.upload_id {
            Some(id) => queries::find_upload(conn, id).await?,
            None => None,
        };
        if let Some(upload) = earlier
            && (!is_dry_run(&upload)
                || (upload.kind == wanted.kind && same_options(&upload, &wanted.options)))
        {
            return Ok(Some(Accepted { upload, created: false }));
        }
        let new = NewUpload {
            kind: wanted.kind,
            filename: preview.filename.clone(),
            file: StoredFile {
                key: wanted.copy_key.clone().unwrap_or(preview.storage_key),
                size_bytes: preview.size_bytes.unsigned_abs(),
                sha256: preview.sha256.try_into().unwrap_or_default(),
            },
            options: wanted.options.clone(),
            forced: wanted.forced,
            corrects: wanted.corrects,
            created_by: wanted.created_by.clone(),
            idempotency_key: None,
        };
        let accepted = accept_upload(conn, &new).await?;
        diesel::update(previews::table.find(wanted.id))
            .set(previews::upload_id.eq(accepted.upload.id))
            .execute(conn)
            .await?;
        Ok(Some(accepted))
    })
    .await
}

fn same_options(upload: &Upload, options: &UploadOptions) -> bool {
    upload.read_options().is_ok_and(|stored| stored == *options)
}
