//! Receiving a file, from the API and from the upload form alike: a multipart body is streamed to
//! storage chunk by chunk, hashed on the way, never held in memory. A file is stored whole before its
//! upload row is committed; on any error, or if the sender goes away, what was written is removed.

use crate::{
    app::AppState,
    auth::{PageSession, Principal, verify_csrf},
    error::{ApiError, ApiResult},
    middleware::file_too_large,
    params::{FromParams, Params},
    upload_params::{FIELDS, UploadParams},
};
use axum::{
    extract::{
        Multipart,
        multipart::{Field, MultipartRejection},
    },
    http::{HeaderMap, StatusCode, header},
};
use diesel_async::AsyncPgConnection;
use shared::{
    runs::Queue,
    storage::{StorageError, StoredFile},
    uploads::{
        Accepted, NewUpload, accept_upload,
        previews::{self, Preview},
        queries,
        service::storage_key,
    },
};
use std::time::Duration;

/// A sender that is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an upload has left when the shutdown begins.
const STOPPING: Duration = Duration::from_secs(5);
/// Longest text field of the form; a mapping of a wide file is long.
const MAX_FIELD_BYTES: usize = 16 << 10;
/// Longest kept filename, in characters.
const MAX_FILENAME: usize = 200;

/// What came with the file besides the form.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The query's parameters, as sent.
    pub query: Vec<(String, String)>,
    /// The caller's Idempotency-Key.
    pub idempotency_key: Option<String>,
    /// Set by the pages: the form must then carry this session's `csrf_token`.
    pub session: Option<PageSession>,
}

/// The multipart body, or 415 if it is something else.
pub fn multipart(headers: &HeaderMap, body: Result<Multipart, MultipartRejection>) -> ApiResult<Multipart> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            "Send the file as the field `file` of a form: `Content-Type: multipart/form-data`.",
        )
        .with(header::ACCEPT, "multipart/form-data"));
    }
    body.map_err(|error| ApiError::bad_request(format!("The form cannot be read: {}.", error.body_text())))
}

/// Receives the form and takes its file in.
pub async fn receive(
    state: &AppState,
    principal: &Principal,
    form: Multipart,
    envelope: Envelope,
) -> ApiResult<Accepted> {
    let idempotency_key = envelope.idempotency_key.clone();
    let mut received = received(state, form, envelope).await?;
    settle_corrects(state, &mut received.0).await?;
    accept(state, principal, received, idempotency_key).await
}

/// Receives the form and keeps its file to be looked at; the parameters come back unused.
pub async fn receive_preview(
    state: &AppState,
    principal: &Principal,
    form: Multipart,
    envelope: Envelope,
) -> ApiResult<(Preview, UploadParams)> {
    let (params, file) = received(state, form, envelope).await?;
    let Some(stored) = file.stored.clone() else {
        return Err(ApiError::internal("a file without its bytes"));
    };
    let (state, by) = (state.clone(), principal.name.clone());
    let task = tokio::spawn(async move {
        let mut conn = state.env.pool.get().await?;
        let preview = previews::keep(&mut conn, &file.filename, &stored, &by).await?;
        file.keep();
        Ok((preview, params))
    });
    task.await.map_err(ApiError::internal)?
}

/// A sender that is not done five seconds after the shutdown began is told to come back: the process
/// would end without removing what was written.
async fn received(
    state: &AppState,
    form: Multipart,
    envelope: Envelope,
) -> ApiResult<(UploadParams, ReceivedFile)> {
    let stopping = async {
        state.shutdown.cancelled().await;
        tokio::time::sleep(STOPPING).await;
    };
    tokio::select! {
        received = read_form(state, form, envelope) => received,
        () = stopping => Err(ApiError::unavailable("server", "an upload was still arriving at the shutdown")),
    }
}

async fn read_form(
    state: &AppState,
    mut form: Multipart,
    envelope: Envelope,
) -> ApiResult<(UploadParams, ReceivedFile)> {
    let mut pairs = envelope.query;
    let mut file: Option<ReceivedFile> = None;
    let mut trusted = envelope.session.is_none();
    while let Some(field) = patient(form.next_field()).await?? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if file.is_some() => {
                return Err(ApiError::invalid(
                    "file",
                    "The form holds the field `file` twice; send one file.",
                ));
            }
            "file" => file = Some(store_file(state, field).await?),
            "csrf_token" if !trusted => {
                let sent = read_text(&name, field).await?;
                if let Some(session) = &envelope.session {
                    verify_csrf(session, &sent)?;
                }
                trusted = true;
            }
            known if FIELDS.contains(&known) => {
                let value = read_text(&name, field).await?;
                pairs.push((name, value));
            }
            _ => return Err(unknown_field(&name)),
        }
    }
    if let (false, Some(session)) = (trusted, &envelope.session) {
        verify_csrf(session, "")?;
    }
    let params = UploadParams::from_params(&Params::of(pairs, state.env.settings.zone))?;
    let file = file.ok_or_else(|| {
        ApiError::invalid("file", "The form has no field `file`; send the file under that name.")
    })?;
    Ok((params, file))
}

/// For a file that mends the rejects of an upload: what was said of that one holds for it too. Refused if
/// there is no such upload, or it is of another kind.
pub async fn settle_corrects(state: &AppState, params: &mut UploadParams) -> ApiResult<()> {
    let Some(id) = params.corrects else { return Ok(()) };
    match queries::find_upload(&mut *state.env.pool.get().await?, id).await? {
        None => Err(ApiError::invalid(
            "corrects",
            format!("There is no upload {id} whose rejects could be mended."),
        )),
        Some(upload) if params.kind.is_some_and(|kind| kind != upload.kind) => {
            let detail = format!("The upload {id} is of {}: what mends its rejects is too.", upload.kind);
            Err(ApiError::invalid("corrects", detail))
        }
        Some(upload) => {
            let mut conn = state.env.pool.get().await?;
            let counts = queries::counts(&mut conn, &[id]).await?.remove(&id).unwrap_or_default();
            if counts.only_checked() {
                let detail = format!(
                    "Nothing of the upload {id} was loaded, as it was to be loaded whole or not at all: mend its \
                     rejects in the file itself, and hand in all of it without `corrects`."
                );
                return Err(ApiError::invalid("corrects", detail));
            }
            let options = upload.read_options().map_err(ApiError::internal)?;
            params.inherit(upload.kind, options);
            Ok(())
        }
    }
}

fn unknown_field(name: &str) -> ApiError {
    let name: String = name.chars().take(80).collect();
    let known = FIELDS.join(", ");
    ApiError::invalid(&name, format!("The form has no field {name:?}; known are file, {known}."))
}

/// A step of receiving, which the sender may not delay for ever.
pub(crate) async fn patient<F: Future>(step: F) -> ApiResult<F::Output> {
    tokio::time::timeout(PATIENCE, step).await.map_err(|_| {
        let detail = format!("Nothing arrived for {} seconds.", PATIENCE.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request timeout", detail)
    })
}

async fn read_text(name: &str, mut field: Field<'_>) -> ApiResult<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = patient(field.chunk()).await?? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(ApiError::invalid(
                name,
                format!("The field {name} has at most {MAX_FIELD_BYTES} bytes."),
            ));
        }
    }
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| ApiError::invalid(name, format!("The field {name} is not text (UTF-8, no NUL).")))
}

/// A file that is stored but not taken in yet. Dropped before that, it is removed: a later error, or a
/// sender that went away, leaves nothing behind.
pub(crate) struct ReceivedFile {
    state: AppState,
    filename: String,
    stored: Option<StoredFile>,
}

impl ReceivedFile {
    /// The file is needed.
    fn keep(mut self) {
        self.stored = None;
    }
}

impl Drop for ReceivedFile {
    fn drop(&mut self) {
        if let Some(stored) = self.stored.take() {
            tokio::spawn(remove(self.state.clone(), stored.key));
        }
    }
}

/// Removes a stored file that nobody needs; if that fails, it is an orphan that nobody reads.
pub async fn remove(state: AppState, key: String) {
    if let Err(error) = state.env.storage.delete(&key).await {
        tracing::warn!(%error, key, "a file that nobody needs could not be removed");
    }
}

/// Streams a field of the form to storage.
pub(crate) async fn store_file(state: &AppState, mut field: Field<'_>) -> ApiResult<ReceivedFile> {
    let filename = clean_filename(field.file_name().unwrap_or_default());
    let limit = state.config.max_upload_bytes;
    let storage = &state.env.storage;
    let failed = |error: StorageError| ApiError::storage(storage.location(), &error);
    let mut writer = storage.create(&storage_key()).await.map_err(failed)?;
    loop {
        // If this future is dropped here, because the sender went away, the store removes the partial
        // file with the writer.
        match patient(field.chunk()).await.and_then(|chunk| chunk.map_err(ApiError::from)) {
            Ok(None) => break,
            Ok(Some(chunk)) if writer.size_bytes() + chunk.len() as u64 > limit => {
                writer.abort().await;
                return Err(ApiError::too_large(file_too_large(limit)).at("file"));
            }
            Ok(Some(chunk)) => {
                if let Err(error) = writer.write(&chunk).await {
                    writer.abort().await;
                    return Err(failed(error));
                }
            }
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        }
    }
    let stored = writer.finish().await.map_err(failed)?;
    Ok(ReceivedFile { state: state.clone(), filename, stored: Some(stored) })
}

/// The last part of the name, without what no name holds.
fn clean_filename(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(MAX_FILENAME).collect();
    if clean.trim().is_empty() { "upload.csv".to_owned() } else { clean.trim().to_owned() }
}

/// Commits the upload. Runs on its own task: once the file is there, the sender's going away must not
/// stop half-way between the commit and the removal of a file that is not needed.
pub(crate) async fn accept(
    state: &AppState,
    principal: &Principal,
    (params, file): (UploadParams, ReceivedFile),
    idempotency_key: Option<String>,
) -> ApiResult<Accepted> {
    let Some(stored) = file.stored.clone() else {
        return Err(ApiError::internal("a file without its bytes"));
    };
    let new = NewUpload {
        kind: params.kind(),
        filename: file.filename.clone(),
        file: stored,
        options: params.options(),
        forced: params.force,
        corrects: params.corrects,
        created_by: principal.name.clone(),
        idempotency_key,
    };
    let state = state.clone();
    let task = tokio::spawn(async move {
        let mut pooled = state.env.pool.get().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        let accepted = accept_upload(conn, &new).await?;
        if accepted.created {
            file.keep();
            // A process that dies here costs the second until the next poll.
            state.env.doorbells.ring(Queue::Ingest, 1);
        }
        Ok(accepted)
    });
    task.await.map_err(ApiError::internal)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filenames_are_the_last_part_and_never_empty() {
        assert_eq!(clean_filename("march.csv"), "march.csv");
        assert_eq!(clean_filename("C:\\data\\march.csv"), "march.csv");
        assert_eq!(clean_filename("../../etc/passwd"), "passwd");
        assert_eq!(clean_filename("a\0b\n.csv"), "ab.csv");
        for empty in ["", "/", "  ", "\0"] {
            assert_eq!(clean_filename(empty), "upload.csv");
        }
        assert_eq!(clean_filename(&"x".repeat(999)).len(), MAX_FILENAME);
    }
}
