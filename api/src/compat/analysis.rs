//! Service E: takes files. Its greeting at `/` is `routes/root.rs`.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult, Problem},
    intake::{accept, patient, store_file},
    upload_params::UploadParams,
};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What the word of a form without a file is.
const NO_FILE: &str = "file-missing";

pub(super) fn router() -> OpenApiRouter<AppState> {
    super::clients_etl::with_variants(
        OpenApiRouter::new().routes(routes!(upload)),
        &[("/upload", "/upload/")],
        OpenApiRouter::new().route("/upload/", post(upload)),
    )
}

/// The form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `upload` reads")]
struct Form {
    /// A file whose name ends in `.csv`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
struct Queued {
    /// `File 'small.csv' queued for processing.`
    message: String,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
struct Detail {
    /// What is wrong.
    detail: Value,
}

/// Hand a file in, as clients of service E do.
///
/// `Location` leads to the upload, which the service did not have. The same file again is the same upload.
#[utoipa::path(post, path = "/upload", tag = "compat",
    request_body(content = Form, content_type = "multipart/form-data"), responses(
    (status = 200, description = "The file is taken in and will be loaded", body = Queued,
     headers(("Location" = String, description = "The upload"))),
    (status = 400, description = "The name does not end in .csv", body = Detail),
    (status = 422, description = "The form has no file", body = Detail),
    (status = 413, description = "The file is larger than the server accepts", body = Detail),
    (status = 507, description = "The storage is full", body = Detail),
))]
async fn upload(
    State(state): State<AppState>,
    principal: Principal,
    body: Result<Multipart, MultipartRejection>,
) -> ApiResult<Response> {
    let mut form = body.map_err(|_| no_file())?;
    while let Some(field) = patient(form.next_field()).await?? {
        // Other fields are passed over, as the service did.
        if field.name() != Some("file") {
            continue;
        }
        let Some(name) = field.file_name().map(str::to_owned) else { return Err(no_file()) };
        if !name.ends_with(".csv") {
            return Err(ApiError::bad_request("Invalid file type. Please upload a CSV."));
        }
        let file = store_file(&state, field).await?;
        let accepted = accept(&state, &principal, (UploadParams::default(), file), None).await?;
        let location = [(header::LOCATION, format!("/api/v1/uploads/{}", accepted.upload.id))];
        let message = format!("File '{name}' queued for processing.");
        return Ok((StatusCode::OK, location, Json(Queued { message })).into_response());
    }
    Err(no_file())
}

fn no_file() -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, NO_FILE, "No file", "Field required")
}

/// An error as E wrote it.
pub(super) fn error(problem: &Problem) -> Value {
    if problem.kind.ends_with(NO_FILE) {
        let missing =
            json!({ "type": "missing", "loc": ["body", "file"], "msg": problem.detail, "input": null });
        return json!({ "detail": [missing] });
    }
    json!({ "detail": problem.detail })
}
