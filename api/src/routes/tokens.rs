//! Access tokens.

use crate::{
    app::AppState,
    auth::ClientAddress,
    error::ApiResult,
    params::{Json, NoQuery},
    views::accounts::TokenView,
};
use axum::extract::State;
use serde::Deserialize;
use shared::auth;
use utoipa::ToSchema;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name; case does not matter.
    username: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// Log in with a name and a password.
///
/// Ten failures of a name, or thirty of an address, within 15 minutes make it wait.
#[utoipa::path(post, path = "/api/v1/token", tag = "accounts", request_body = Login, responses(
    (status = 200, description = "An access token", body = TokenView),
    (status = 401, description = "The username or the password is wrong"),
    (status = 422, description = "A field is missing or has the wrong type"),
    (status = 429, description = "Too many failures; `Retry-After` says how many seconds to wait"),
))]
pub async fn create_token(
    State(state): State<AppState>,
    address: ClientAddress,
    _: NoQuery,
    Json(login): Json<Login>,
) -> ApiResult<axum::Json<TokenView>> {
    let mut conn = state.env.pool.get().await?;
    let user = auth::login(&mut conn, &login.username, &login.password, address.0).await?;
    let now = state.env.clock.now();
    let token = auth::issue_token(&state.env.settings.signing_key, &user, now, state.config.token_life)?;
    Ok(axum::Json(TokenView {
        access_token: token.token,
        token_type: "Bearer",
        expires_in: token.expires_in,
        role: user.role,
    }))
}
