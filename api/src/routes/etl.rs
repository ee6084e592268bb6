//! The ETL recipe.

use super::summaries::answer;
use crate::{
    actions,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    params::{IdempotencyKey, NoQuery},
    views::runs::RunView,
};
use axum::{extract::State, response::Response};

/// Run the ETL recipe.
///
/// The file of clients, then the file of transactions, from the places that `MILLRACE_ETL_CLIENTS` and
/// `MILLRACE_ETL_TRANSACTIONS` name, as one flow. The run's result names both uploads with their counts.
#[utoipa::path(post, path = "/api/v1/etl", tag = "runs",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The root of the flow", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The recipe that runs already, or that the same request started before",
     body = RunView, headers(("Location" = String, description = "The run"))),
))]
pub async fn run_etl(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
) -> ApiResult<Response> {
    let (run, created) = actions::etl::run_etl(&state, &principal, key.as_deref()).await?;
    answer(&state, run, created).await
}
