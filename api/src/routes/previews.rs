//! Previews: store a file, look at what it is, and load it once that is right.

use crate::{
    actions::previews,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    intake::{self, Envelope},
    params::{FromParams, JsonOrNothing, NoQuery, Params, PathId, QueryOf},
    routes::uploads::{UploadForm, view_one},
    upload_params::{LoadRequest, UploadParams},
    views::{
        previews::{LookView, PreviewView},
        uploads::AcceptedUpload,
        words,
    },
};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;
use shared::{ids::PreviewId, uploads::UploadKind};
use utoipa::IntoParams;

/// Store a file to look at it.
///
/// Nothing of it is loaded. Unless it is loaded, it is removed after 24 hours. Other fields of the form
/// are those of an upload; they are checked, and say nothing yet.
#[utoipa::path(post, path = "/api/v1/previews", tag = "previews",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
    (status = 201, description = "The preview", body = PreviewView,
     headers(("Location" = String, description = "The preview"))),
    (status = 408, description = "Nothing arrived for a minute"),
    (status = 413, description = "The file is larger than the server accepts"),
    (status = 415, description = "The body is no multipart form"),
    (status = 422, description = "The form has no file, or a field that is not known"),
))]
pub async fn create_preview(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
    headers: HeaderMap,
    body: Result<Multipart, MultipartRejection>,
) -> ApiResult<Response> {
    let form = intake::multipart(&headers, body)?;
    let (preview, _) = intake::receive_preview(&state, &principal, form, Envelope::default()).await?;
    let view = PreviewView::from(&preview);
    let location = [(header::LOCATION, view.links.itself.clone())];
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}

/// How a file is to be looked at.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the parameters of an upload that matter to a look")]
pub struct LookParams {
    /// What the rows are; if absent, the kind whose required fields the file has.
    #[param(schema_with = words::upload_kind)]
    kind: Option<UploadKind>,
    /// Sheet of a workbook, by its name, or its number from 1; the first if absent.
    sheet: Option<String>,
    /// Line or row that names the columns, from 1; found out if absent.
    #[param(minimum = 1)]
    header_row: Option<u32>,
    /// Encoding of a text file, by a WHATWG label; found out if absent.
    #[param(example = "windows-1252")]
    encoding: Option<String>,
    /// Between the fields of a text file: comma, semicolon, tab, pipe, or the character itself.
    #[param(example = "semicolon")]
    delimiter: Option<String>,
    /// A JSON object from field to column name, column number (from 0) or null. If absent, the mapping of
    /// the last upload with this header; `{}` is what the columns' names say.
    #[param(example = r#"{"amount": "Betrag", "status": null}"#)]
    mapping: Option<String>,
    /// IANA zone of times that name none; the reporting zone if absent.
    #[param(value_type = Option<String>, example = "Europe/Berlin")]
    zone: Option<Tz>,
}

/// The parameters of a look, read like those of an upload.
pub struct LookAt(UploadParams);

impl IntoParams for LookAt {
    fn into_params(
        place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        LookParams::into_params(place)
    }
}

impl FromParams for LookAt {
    fn from_params(params: &Params) -> ApiResult<Self> {
        UploadParams::from_params(params).map(Self)
    }
}

/// Look at a stored file: what it is, which column feeds which field, how its first rows read.
///
/// Its creator, operators and admins may.
#[utoipa::path(get, path = "/api/v1/previews/{id}", tag = "previews",
    params(("id" = uuid::Uuid, Path, description = "The preview"), LookParams), responses(
    (status = 200, description = "What there is to see", body = LookView),
    (status = 404, description = "There is no such preview, or it is somebody else's"),
    (status = 410, description = "It was loaded; the answer names the upload"),
    (status = 422, description = "The file cannot be read so; the answer says why"),
))]
pub async fn show_preview(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<PreviewId>,
    QueryOf(LookAt(params)): QueryOf<LookAt>,
) -> ApiResult<Json<LookView>> {
    let preview = previews::find(&state, &principal, id).await?;
    previews::still_open(&state, &preview).await?;
    let looked = previews::look_at(&state, &preview, &params).await?;
    Ok(Json(LookView::new(&preview, looked, params.mapping.is_some())))
}

/// Load a stored file.
///
/// Its bytes become the upload's. Repeating the request is harmless: it answers with the same upload. A
/// dry run leaves the preview as it was, to be loaded after it.
#[utoipa::path(post, path = "/api/v1/previews/{id}/load", tag = "previews",
    params(("id" = uuid::Uuid, Path, description = "The preview")), request_body = Option<LoadRequest>, responses(
    (status = 202, description = "The upload; its flow will load it", body = AcceptedUpload,
     headers(("Location" = String, description = "The upload"))),
    (status = 200, description = "The upload that it, or the same file, was loaded as before",
     body = AcceptedUpload, headers(("Location" = String, description = "The upload"))),
    (status = 404, description = "There is no such preview, or it is somebody else's"),
    (status = 422, description = "A field cannot be used, or the file cannot be read so"),
))]
pub async fn load_preview(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<PreviewId>,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<LoadRequest>,
) -> ApiResult<Response> {
    let params = body.into_params()?;
    let preview = previews::find(&state, &principal, id).await?;
    let accepted = previews::load(&state, &principal, &preview, &params).await?;
    let view = view_one(&mut *state.env.pool.get().await?, accepted.upload).await?;
    let status = if accepted.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = [(header::LOCATION, view.links.itself.clone())];
    let body = AcceptedUpload { already_uploaded: !accepted.created, upload: view };
    Ok((status, location, Json(body)).into_response())
}
