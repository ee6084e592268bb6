//! Generated data: as a file to download, or loaded as an upload.

use super::summaries::answer;
use crate::{
    actions::synthetic,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    params::{FromParams, IdempotencyKey, Json, NoQuery, Params, PathText, QueryOf},
    views::{runs::RunView, words},
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use futures::Stream;
use serde::Deserialize;
use shared::synthetic::{DataFormat, DataKind, DataRequest, Dataset, Outgoing, Profile, TransactionForm};
use std::io;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::{IntoParams, ToSchema};

/// Workbooks that are generated at once: each holds a thread until its reader has it.
static WORKBOOKS: Semaphore = Semaphore::const_new(4);

/// What the file is made of.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SyntheticParams {
    /// How many rows, the header not counted; a workbook holds 1,048,575.
    #[param(value_type = u64, minimum = 1, maximum = 100_000_000, example = 1000)]
    num_rows: Option<u64>,
    /// The same seed gives the same bytes, here, by `millrace generate` and in what is loaded; 1 if absent.
    seed: Option<u64>,
    /// Columns of transactions: e (five, the default), wide (thirteen) or a (eleven).
    #[param(schema_with = words::transaction_form)]
    form: Option<TransactionForm>,
    /// Transactions are of the days before this one; 2026-01-01 if absent.
    #[param(example = "2026-01-01")]
    end: Option<NaiveDate>,
    /// How many days; 365 if absent.
    #[param(minimum = 1, maximum = 3650)]
    days: Option<u32>,
    /// Rows of a hundred that are damaged or repeated; 0 if absent.
    #[param(minimum = 0, maximum = 100)]
    dirty: Option<u8>,
    /// csv (the default) or xlsx.
    #[param(schema_with = words::data_format)]
    format: Option<DataFormat>,
    /// How values are spread: realistic (the default), or uniform (transactions of the forms e and wide).
    #[param(schema_with = words::profile)]
    profile: Option<Profile>,
}

impl FromParams for SyntheticParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            num_rows: params.parsed("num_rows")?,
            seed: params.parsed("seed")?,
            form: params.parsed("form")?,
            end: params.date("end")?,
            days: params.parsed("days")?,
            dirty: params.parsed("dirty")?,
            format: params.parsed("format")?,
            profile: params.parsed("profile")?,
        })
    }
}

/// Download generated data.
///
/// The file is generated while it is sent; the same parameters give the same bytes, which are those of
/// `millrace generate` with the same options.
#[utoipa::path(get, path = "/api/v1/synthetic/{what}", tag = "synthetic",
    params(("what" = String, Path, description = "clients, transactions or stocks"), SyntheticParams),
    responses(
    (status = 200, description = "The file", content_type = "text/csv", body = String),
    (status = 404, description = "Nothing of this name is generated"),
    (status = 422, description = "A parameter can be read but not used: too many rows, for one"),
    (status = 503, description = "Too many workbooks are being generated"),
))]
pub async fn download(
    PathText(what): PathText,
    QueryOf(params): QueryOf<SyntheticParams>,
) -> ApiResult<Response> {
    let kinds = DataKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let what = what
        .parse()
        .map_err(|_| ApiError::not_found(format!("{what:?} is not generated; there are {kinds}.")))?;
    let missing = || ApiError::invalid("num_rows", "Say how many rows: num_rows=1000.");
    let SyntheticParams { num_rows, seed, form, end, days, dirty, format, profile } = params;
    let num_rows = num_rows.ok_or_else(missing)?;
    file(&DataRequest { what: Some(what), num_rows, seed, form, end, days, dirty, format, profile })
}

/// The file that is asked for, as an answer that is generated while it is sent.
pub fn file(asked: &DataRequest) -> ApiResult<Response> {
    let data = Dataset::try_from(asked)?;
    let about = [
        (header::CONTENT_TYPE, data.format().media_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", data.filename())),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let thread = match data.format() {
        DataFormat::Csv => None,
        DataFormat::Xlsx => Some(WORKBOOKS.try_acquire().map_err(|_| {
            let detail = "As many workbooks are being generated as may be at once. Try again in a few seconds, or take \
                          the format csv.";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            ApiError::new(status, "busy", "Temporarily unavailable", detail).with(header::RETRY_AFTER, "5")
        })?),
    };
    Ok((about, Body::from_stream(parts(Outgoing::of(&data), thread))).into_response())
}

fn parts(
    mut out: Outgoing,
    thread: Option<SemaphorePermit<'static>>,
) -> impl Stream<Item = io::Result<Bytes>> {
    async_stream::try_stream! {
        let _until_the_end = thread;
        while let Some(part) = out.next().await? {
            yield part;
        }
    }
}

/// What is generated and loaded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticBody {
    /// transactions (the default) or clients.
    #[schema(schema_with = words::data_kind)]
    what: Option<DataKind>,
    /// How many rows; as a workbook at most 1,048,575.
    #[schema(minimum = 1, maximum = 100_000_000, example = 1000)]
    num_rows: u64,
    /// The same seed gives the same bytes; 1 if absent.
    seed: Option<u64>,
    /// Columns of transactions: e (five, the default), wide (thirteen) or a (eleven).
    #[schema(schema_with = words::transaction_form)]
    form: Option<TransactionForm>,
    /// Transactions are of the days before this one; 2026-01-01 if absent.
    #[schema(example = "2026-01-01")]
    end: Option<NaiveDate>,
    /// How many days; 365 if absent.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u32>,
    /// Rows of a hundred that are damaged or repeated; 0 if absent.
    #[schema(minimum = 0, maximum = 100)]
    dirty: Option<u8>,
    /// csv (the default) or xlsx.
    #[schema(schema_with = words::data_format)]
    format: Option<DataFormat>,
    /// How values are spread: realistic (the default), or uniform (transactions of the forms e and wide).
    #[schema(schema_with = words::profile)]
    profile: Option<Profile>,
}

impl From<SyntheticBody> for DataRequest {
    fn from(body: SyntheticBody) -> Self {
        let SyntheticBody { what, num_rows, seed, form, end, days, dirty, format, profile } = body;
        Self { what, num_rows, seed, form, end, days, dirty, format, profile }
    }
}

/// Generate data and load it.
///
/// The file is generated straight into storage and taken in as an upload, as one flow; its bytes are those of the
/// download with the same parameters. The root's result names the upload with its counts, and what was generated.
#[utoipa::path(post, path = "/api/v1/synthetic", tag = "synthetic", request_body = SyntheticBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The root of the flow", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The flow that the same request started before", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 422, description = "A field cannot be used, or the Idempotency-Key was used for another request"),
))]
pub async fn generate(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<SyntheticBody>,
) -> ApiResult<Response> {
    let (run, created) = synthetic::generate(&state, &principal, &body.into(), key.as_deref()).await?;
    answer(&state, run, created).await
}
