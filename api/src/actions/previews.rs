//! Looking at a stored file before anything of it is loaded, and loading it, from the API and from the
//! pages alike.

use crate::{
    access::Who,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    intake,
    upload_params::UploadParams,
};
use axum::http::StatusCode;
use diesel_async::AsyncPgConnection;
use shared::{
    ids::PreviewId,
    runs::Queue,
    storage::StorageError,
    uploads::{
        Accepted, Upload, UploadKind, UploadOptions,
        plan::PlanError,
        preview::{Look, look},
        previews::{self, LoadPreview, Preview},
        queries::{UsedMapping, last_mapping},
        service::storage_key,
    },
};

/// What a look showed.
pub struct Looked {
    /// What the rows were taken for.
    pub kind: UploadKind,
    /// How the file was read; so it would be loaded.
    pub options: UploadOptions,
    /// What there is to see.
    pub look: Look,
    /// The field that each column would feed by its name alone.
    pub by_name: Vec<Option<&'static str>>,
    /// The upload whose mapping this one began with.
    pub begun_from: Option<UsedMapping>,
}

/// A preview that this caller may see: its creator, operators and admins. To others it is not there.
pub async fn find(state: &AppState, principal: &Principal, id: PreviewId) -> ApiResult<Preview> {
    let found = previews::find(&mut *state.env.pool.get().await?, id).await?;
    found
        .filter(|preview| preview.created_by == principal.name || Who::Operators.contains(principal.role))
        .ok_or_else(|| {
            ApiError::not_found(format!(
                "There is no preview {id}. A file that nobody loads is removed after {} hours.",
                previews::LIFE_HOURS
            ))
        })
}

/// Keeps a preview's caller from looking at a file that is an upload's by now.
pub async fn still_open(state: &AppState, preview: &Preview) -> ApiResult<()> {
    match loaded_as(state, preview).await? {
        None => Ok(()),
        Some(upload) => Err(ApiError::new(
            StatusCode::GONE,
            "preview-loaded",
            "Loaded by now",
            format!("The file was loaded as the upload {}.", upload.id),
        )),
    }
}

/// The upload that a preview was loaded as.
pub async fn loaded_as(state: &AppState, preview: &Preview) -> ApiResult<Option<Upload>> {
    Ok(previews::loaded_as(&mut *state.env.pool.get().await?, preview).await?)
}

/// The kinds that a file is taken for if its columns say so and not transactions. Stocks come first: with a column of
/// ids beside the names their files have all that a file of clients must have.
const OTHER_KINDS: [UploadKind; 2] = [UploadKind::Stocks, UploadKind::Clients];

/// Looks at a preview's file. Without a kind it is taken for the one whose required fields it has;
/// without a mapping it begins with the one that the last upload with the same header used.
pub async fn look_at(state: &AppState, preview: &Preview, params: &UploadParams) -> ApiResult<Looked> {
    let mut params = params.clone();
    intake::settle_corrects(state, &mut params).await?;
    let mut options = params.options();
    let explicit = std::mem::take(&mut options.form.mapping);
    let mut kind = params.kind();
    let mut by_name = look_once(state, preview, kind, &options).await?;
    if params.kind.is_none() && params.mapping.is_none() && !by_name.missing.is_empty() {
        for other in OTHER_KINDS {
            let look = look_once(state, preview, other, &options).await?;
            if look.missing.is_empty() {
                (kind, by_name) = (other, look);
                break;
            }
        }
    }
    let fields = by_name.columns.iter().map(|column| column.field).collect();
    let mut begun_from = None;
    options.form.mapping = match params.mapping {
        Some(_) => explicit,
        None => {
            let header: Vec<String> = by_name.columns.iter().map(|column| column.name.clone()).collect();
            begun_from = last_mapping(&mut *state.env.pool.get().await?, kind, &header).await?;
            begun_from.as_ref().map(|used| used.mapping.clone()).unwrap_or_default()
        }
    };
    let seen = match options.form.mapping.is_empty() {
        true => by_name,
        false => look_once(state, preview, kind, &options).await?,
    };
    Ok(Looked { kind, options, look: seen, by_name: fields, begun_from })
}

async fn look_once(
    state: &AppState,
    preview: &Preview,
    kind: UploadKind,
    options: &UploadOptions,
) -> ApiResult<Look> {
    let size = preview.size_bytes.unsigned_abs();
    look(&state.env, &preview.storage_key, size, kind, options)
        .await
        .map_err(|error| unreadable(state.env.storage.location(), error))
}

/// What a file that cannot be looked at says.
fn unreadable(location: &str, error: PlanError) -> ApiError {
    match error {
        PlanError::Storage(StorageError::NotFound { .. }) => {
            ApiError::not_found("The file is not there any more. Send it again.")
        }
        PlanError::Storage(error) => ApiError::storage(location, &error),
        refused => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unreadable-file",
            "The file cannot be read so",
            refused.to_string(),
        ),
    }
}

/// Loads a preview's file as it was looked at with the same parameters; again, it is the same upload. A
/// dry run works on a copy, so that the preview can be loaded after it.
pub async fn load(
    state: &AppState,
    principal: &Principal,
    preview: &Preview,
    params: &UploadParams,
) -> ApiResult<Accepted> {
    if let Some(upload) = loaded_as(state, preview).await? {
        return Ok(Accepted { upload, created: false });
    }
    let mut params = params.clone();
    intake::settle_corrects(state, &mut params).await?;
    let (kind, options) = match (params.kind, &params.mapping) {
        (Some(kind), Some(_)) => (kind, params.options()),
        _ => {
            let looked = look_at(state, preview, &params).await?;
            (looked.kind, looked.options)
        }
    };
    let copy_key = match options.dry_run {
        false => None,
        true => {
            let key = storage_key();
            let copied = state.env.storage.copy(&preview.storage_key, &key).await;
            copied.map_err(|error| unreadable(state.env.storage.location(), PlanError::Storage(error)))?;
            Some(key)
        }
    };
    let wanted = LoadPreview {
        id: preview.id,
        kind,
        options,
        forced: params.force,
        corrects: params.corrects,
        created_by: principal.name.clone(),
        copy_key,
    };
    let (state, preview) = (state.clone(), preview.clone());
    // On its own task: the caller's going away must not stop between the commit and what follows it.
    let task = tokio::spawn(async move { commit(state, preview, wanted).await });
    task.await.map_err(ApiError::internal)?
}

async fn commit(state: AppState, preview: Preview, wanted: LoadPreview) -> ApiResult<Accepted> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let loaded = previews::load(conn, &wanted).await;
    let used =
        loaded.as_ref().ok().and_then(Option::as_ref).map(|accepted| accepted.upload.storage_key.clone());
    if let Some(copy) = wanted.copy_key.filter(|copy| used.as_ref() != Some(copy)) {
        intake::remove(state.clone(), copy).await;
    }
    let accepted =
        loaded?.ok_or_else(|| ApiError::not_found(format!("There is no preview {}.", preview.id)))?;
    if accepted.created {
        // A process that dies here costs the second until the next poll.
        state.env.doorbells.ring(Queue::Ingest, 1);
    }
    let checked = accepted.upload.read_options().is_ok_and(|options| options.dry_run);
    if !checked && used.as_ref() != Some(&preview.storage_key) {
        // The same file had been handed in before: nobody will read this one.
        intake::remove(state, preview.storage_key).await;
    }
    Ok(accepted)
}
