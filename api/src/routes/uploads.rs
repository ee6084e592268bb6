//! Uploads: hand a file in, see what became of it.

use crate::{
    actions,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    intake::{self, Envelope},
    list::Listing,
    params::{
        FromParams, IdempotencyKey, ListParams, ListQuery, NoQuery, PageParams, Params, PathId, QueryOf,
    },
    upload_params::UploadParams,
    views::{
        uploads::{AcceptedUpload, Standing, UploadView},
        words,
    },
};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use shared::{
    ids::UploadId,
    pagination::{Cursor, InvalidCursor},
    uploads::{Upload, UploadKind, UploadState, queries, queries::UploadFilter, undo, waiting},
};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// The form of an upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `intake::receive` reads")]
pub struct UploadForm {
    /// The file: CSV or the like, plain or compressed, or a workbook (XLSX).
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// As the query parameter.
    #[schema(schema_with = words::upload_kind)]
    kind: Option<String>,
    /// As the query parameter.
    #[schema(schema_with = words::unknown_clients)]
    unknown_clients: Option<String>,
    /// As the query parameter.
    #[schema(schema_with = words::existing_clients)]
    existing_clients: Option<String>,
    /// As the query parameter.
    #[schema(schema_with = words::on_error)]
    on_error: Option<String>,
    /// As the query parameter.
    dry_run: Option<bool>,
    /// As the query parameter.
    zone: Option<String>,
    /// As the query parameter.
    force: Option<bool>,
    /// As the query parameter.
    allow_many_months: Option<bool>,
    /// As the query parameter.
    encoding: Option<String>,
    /// As the query parameter.
    delimiter: Option<String>,
    /// As the query parameter.
    sheet: Option<String>,
    /// As the query parameter.
    header_row: Option<u32>,
    /// As the query parameter: JSON.
    mapping: Option<String>,
    /// As the query parameter.
    corrects: Option<uuid::Uuid>,
}

/// Hand a file in.
///
/// The fields may come in any order, or as query parameters, each once. The same bytes with the same
/// kind and options as a live or finished upload answer with that one, unless `force`.
#[utoipa::path(post, path = "/api/v1/uploads", tag = "uploads",
    params(UploadParams,
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
    (status = 202, description = "The upload; its flow will load it", body = AcceptedUpload,
     headers(("Location" = String, description = "The upload"))),
    (status = 200, description = "The upload that the same file, or the same request, made before",
     body = AcceptedUpload, headers(("Location" = String, description = "The upload"))),
    (status = 408, description = "Nothing arrived for a minute"),
    (status = 413, description = "The file is larger than the server accepts"),
    (status = 415, description = "The body is no multipart form"),
    (status = 422, description = "The form has no file, or a field that is not known, or the Idempotency-Key was used for another request"),
))]
pub async fn create_upload(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    _: QueryOf<UploadParams>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Multipart, MultipartRejection>,
) -> ApiResult<Response> {
    let form = intake::multipart(&headers, body)?;
    let query =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let envelope = Envelope { query, idempotency_key, session: None };
    let accepted = intake::receive(&state, &principal, form, envelope).await?;
    let mut conn = state.env.pool.get().await?;
    let view = view_one(&mut conn, accepted.upload).await?;
    let status = if accepted.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = [(header::LOCATION, view.links.itself.clone())];
    let body = AcceptedUpload { already_uploaded: !accepted.created, upload: view };
    Ok((status, location, Json(body)).into_response())
}

/// What a list of uploads is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadListParams {
    /// Any of these states, repeated or separated by commas.
    #[param(schema_with = words::upload_states)]
    state: Option<Vec<UploadState>>,
    /// Only this kind.
    #[param(schema_with = words::upload_kind)]
    kind: Option<UploadKind>,
}

impl FromParams for UploadListParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { state: Some(params.list("state")?), kind: params.parsed("kind")? })
    }
}

/// How an upload is undone.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UndoParams {
    /// Undo with it the uploads that it can only be undone together with, because they and it found rows of each
    /// other. Without it such an undo is refused, and the answer names them.
    #[param(default = false)]
    together: Option<bool>,
}

impl FromParams for UndoParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { together: Some(params.flag("together")?) })
    }
}

impl ListParams for UploadListParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<UploadId>().map(drop)
    }
}

/// List uploads, newest first. Why one failed is shown with it alone.
#[utoipa::path(get, path = "/api/v1/uploads", tag = "uploads", params(UploadListParams, PageParams), responses(
    (status = 200, description = "A page of uploads", body = Listing<UploadView>),
))]
pub async fn list_uploads(
    State(state): State<AppState>,
    query: ListQuery<UploadListParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let filter = UploadFilter { states: query.params.state.unwrap_or_default(), kind: query.params.kind };
    let page = queries::list_uploads(&mut conn, &filter, &query.page).await?;
    let ids: Vec<UploadId> = page.items.iter().map(|upload| upload.id).collect();
    let counts = queries::counts(&mut conn, &ids).await?;
    // Seldom any, and seldom more than one.
    let mut standings = HashMap::new();
    for upload in page.items.iter().filter(|upload| upload.is_undoing() || upload.finished_at.is_none()) {
        let undo_standstill = undo::standstill(&mut conn, upload).await?;
        let waiting = waiting::waiting(&mut conn, upload).await?;
        standings.insert(upload.id, Standing { undo_standstill, waiting, ..Standing::default() });
    }
    let view = |upload: Upload| {
        let counts = counts.get(&upload.id).copied().unwrap_or_default();
        let standing = standings.remove(&upload.id).unwrap_or_default();
        UploadView::new(upload, counts, standing)
    };
    Ok(Listing::of(page, view).respond(&query.uri))
}

/// Show an upload.
#[utoipa::path(get, path = "/api/v1/uploads/{id}", tag = "uploads",
    params(("id" = uuid::Uuid, Path, description = "The upload")), responses(
    (status = 200, description = "The upload", body = UploadView),
    (status = 404, description = "There is no such upload"),
))]
pub async fn show_upload(
    State(state): State<AppState>,
    PathId(id): PathId<UploadId>,
    _: NoQuery,
) -> ApiResult<Json<UploadView>> {
    let mut conn = state.env.pool.get().await?;
    let upload = find(&mut conn, id).await?;
    Ok(Json(view_one(&mut conn, upload).await?))
}

/// An upload, or 404.
pub async fn find(conn: &mut AsyncPgConnection, id: UploadId) -> ApiResult<Upload> {
    let upload = queries::find_upload(conn, id).await?;
    upload.ok_or_else(|| ApiError::not_found(format!("There is no upload {id}.")))
}

/// An upload with its counts and how it stands: why it failed, waits, or its undo stands still.
pub async fn view_one(conn: &mut AsyncPgConnection, upload: Upload) -> ApiResult<UploadView> {
    let counts = queries::counts(conn, &[upload.id]).await?.remove(&upload.id).unwrap_or_default();
    let failure = match upload.state {
        UploadState::Failed => queries::failure(conn, upload.run_id).await?,
        _ => None,
    };
    let undone_with = match upload.undo_run_id {
        Some(run) => queries::undone_together(conn, run, upload.id).await?,
        None => Vec::new(),
    };
    let standing = Standing {
        failure,
        undo_standstill: undo::standstill(conn, &upload).await?,
        undone_with,
        waiting: waiting::waiting(conn, &upload).await?,
    };
    Ok(UploadView::new(upload, counts, standing))
}

/// Take an upload's rows back.
///
/// A run of its own does it; what it did is the upload's `undo_report`. While later uploads rely on its rows,
/// those go first. Where it and others found rows of each other, none can go first: they are undone together.
/// An undo that was cancelled or failed goes on where it stopped when it is asked for again.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/undo", tag = "uploads",
    params(("id" = uuid::Uuid, Path, description = "The upload"), UndoParams), responses(
    (status = 202, description = "The upload; the run at Location takes its rows back", body = UploadView,
     headers(("Location" = String, description = "The run"))),
    (status = 404, description = "There is no such upload"),
    (status = 409, description = "It cannot be undone; the answer says why"),
))]
pub async fn undo_upload(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<UploadId>,
    QueryOf(params): QueryOf<UndoParams>,
) -> ApiResult<Response> {
    let upload = find(&mut *state.env.pool.get().await?, id).await?;
    let together = params.together.unwrap_or(false);
    let run = actions::undo::undo_upload(&state, &principal, &upload, together).await?;
    let mut conn = state.env.pool.get().await?;
    let upload = find(&mut conn, id).await?;
    let location = [(header::LOCATION, format!("/api/v1/runs/{run}"))];
    Ok((StatusCode::ACCEPTED, location, Json(view_one(&mut conn, upload).await?)).into_response())
}
