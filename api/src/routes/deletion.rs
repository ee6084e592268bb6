//! Deleting all transactions, for tests.

use super::summaries::answer;
use crate::{
    actions::deletion,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    params::{FromParams, Params, QueryOf},
    views::runs::RunView,
};
use axum::{extract::State, response::Response};
use utoipa::IntoParams;

/// What confirms it.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeletionParams {
    /// The token in `confirm` of the answer to the same request without it; good once, for five minutes, for
    /// who was given it.
    confirm: Option<String>,
}

impl FromParams for DeletionParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { confirm: params.long_text("confirm")? })
    }
}

/// Delete all transactions, for tests.
///
/// Only where `MILLRACE_ALLOW_DESTRUCTIVE` is `true`. The first call says what would go and gives a token; with it
/// the second begins a run, which does all of it or nothing. The transactions of settled trades stay; uploads
/// are undone, and what they and live transactions moved on accounts is reversed.
#[utoipa::path(delete, path = "/api/v1/transactions", tag = "transactions", params(DeletionParams), responses(
    (status = 202, description = "The run", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The deletion that has not ended", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 403, description = "The installation does not allow it, or the role does not"),
    (status = 409, description = "Uploads are being loaded or undone; the answer names them"),
    (status = 422, description = "The token confirms nothing"),
    (status = 428, description = "What would go and what stays, and a token in `confirm`"),
))]
pub async fn delete_transactions(
    State(state): State<AppState>,
    principal: Principal,
    QueryOf(params): QueryOf<DeletionParams>,
) -> ApiResult<Response> {
    deletion::check_allowed(&state)?;
    let Some(token) = params.confirm else {
        return Err(deletion::ask_to_confirm(&state, &principal).await?);
    };
    deletion::check_confirmed(&state, &principal, &token).await?;
    let (run, created) =
        deletion::delete_transactions(&state, &principal, "DELETE /api/v1/transactions").await?;
    answer(&state, run, created).await
}
