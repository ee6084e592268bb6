//! The nightly flow, started by hand.

use super::summaries::answer;
use crate::{
    actions::synthetic,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    params::{IdempotencyKey, JsonOrNothing, NoQuery},
    views::{runs::RunView, words},
};
use axum::{extract::State, response::Response};
use chrono::NaiveDate;
use serde::Deserialize;
use shared::synthetic::{
    TransactionForm,
    nightly::{self, NightlyRequest},
};
use utoipa::ToSchema;

/// The day, and how many transactions it has.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NightlyBody {
    /// The day, in the reporting zone; yesterday if absent.
    #[schema(example = "2026-11-26")]
    day: Option<NaiveDate>,
    /// How many transactions; 1,000 if absent.
    #[schema(minimum = 1, maximum = 100_000_000, default = 1000)]
    num_rows: Option<u64>,
    /// The same seed gives the same bytes; made from the day if absent.
    seed: Option<u64>,
    /// Columns: wide (the default), e or a.
    #[schema(schema_with = words::transaction_form)]
    form: Option<TransactionForm>,
}

/// Generate a day's transactions and load them.
///
/// One flow: generated, loaded, shown in the clients' summary. A day has its transactions once: their ids are the
/// day and the row's number, so that another flow for the day adds only what is beyond the rows that are there.
/// The root's result names the upload with its counts, and as of when the summary is.
#[utoipa::path(post, path = "/api/v1/nightly", tag = "synthetic", request_body = Option<NightlyBody>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The root of the flow", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The flow of this day that runs already, or that the same request started before",
     body = RunView, headers(("Location" = String, description = "The run"))),
    (status = 422, description = "A field cannot be used, or the Idempotency-Key was used for another request"),
))]
pub async fn run_nightly(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<NightlyBody>,
) -> ApiResult<Response> {
    let env = &state.env;
    let asked = NightlyRequest {
        day: body.day.unwrap_or_else(|| nightly::yesterday(env.clock.as_ref(), env.settings.zone)),
        num_rows: body.num_rows,
        seed: body.seed,
        form: body.form,
    };
    let (run, created) = synthetic::run_nightly(&state, &principal, &asked, key.as_deref()).await?;
    answer(&state, run, created).await
}
