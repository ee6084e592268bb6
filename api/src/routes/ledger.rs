//! What clients hold, what moved in their accounts, and the proof of the ledger.

use crate::{
    actions::summaries::{Chore, ask_for},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{
        FromParams, IdempotencyKey, ListParams, ListQuery, NoQuery, PageParams, Params, PathText, QueryOf,
    },
    routes::{clients::find, summaries},
    views::{
        runs::RunView,
        trades::{BalanceView, HoldingView, StatementLineView},
    },
};
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use rust_decimal::{Decimal, prelude::ToPrimitive};
use shared::{
    clients::Client,
    ledger::statement::{self, Asset},
    pagination::{Cursor, InvalidCursor},
    trades::queries::list_holdings,
};
use utoipa::IntoParams;

/// Show what a client holds, by ticker.
///
/// By trades alone: what files brought moves cash. A stock of which all shares were sold stands here with its
/// profit or loss.
#[utoipa::path(get, path = "/api/v1/clients/{id}/holdings", tag = "trades",
    params(("id" = String, Path, description = "The client")), responses(
    (status = 200, description = "All of them; there are no pages", body = Listing<HoldingView>),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_holdings(
    State(state): State<AppState>,
    PathText(id): PathText,
    _: NoQuery,
) -> ApiResult<Json<Listing<HoldingView>>> {
    let mut conn = state.env.pool.get().await?;
    let client = find(&mut conn, &id).await?;
    let holdings = list_holdings(&mut conn, &client.client_id).await?;
    Ok(Json(Listing::whole(holdings.into_iter().map(HoldingView::from).collect())))
}

/// What a statement is about.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementParams {
    /// The shares of this stock; if absent, the account's cash.
    ticker: Option<String>,
}

impl FromParams for StatementParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { ticker: params.text("ticker")? })
    }
}

impl ListParams for StatementParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        statement::check_cursor(cursor)
    }
}

/// Show what moved in a client's account, the last first, each with what there was after it.
#[utoipa::path(get, path = "/api/v1/clients/{id}/statement", tag = "trades",
    params(("id" = String, Path, description = "The client"), StatementParams, PageParams), responses(
    (status = 200, description = "A page of movements", body = Listing<StatementLineView>),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_statement(
    State(state): State<AppState>,
    PathText(id): PathText,
    query: ListQuery<StatementParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let client = find(&mut conn, &id).await?;
    let asset = match &query.params.ticker {
        Some(ticker) => Asset::Shares(ticker),
        None => Asset::Cash(&client.currency),
    };
    let page = statement::list_lines(&mut conn, &client.client_id, asset, &query.page).await?;
    Ok(Listing::of(page, StatementLineView::from).respond(&query.uri))
}

/// Of which moment.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BalanceParams {
    /// An instant, or the beginning of a day in the reporting zone; now if absent.
    #[param(value_type = Option<String>, example = "2026-01-31T10:00:00Z")]
    at: Option<DateTime<Utc>>,
}

impl FromParams for BalanceParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { at: params.from("at")? })
    }
}

/// Show what a client had at a moment.
///
/// Cash and shares, as the entries that were posted until then add up. Before its first entry an account has its
/// opening balance.
#[utoipa::path(get, path = "/api/v1/clients/{id}/balance", tag = "trades",
    params(("id" = String, Path, description = "The client"), BalanceParams), responses(
    (status = 200, description = "What it had", body = BalanceView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_balance(
    State(state): State<AppState>,
    PathText(id): PathText,
    QueryOf(params): QueryOf<BalanceParams>,
) -> ApiResult<Json<BalanceView>> {
    let mut conn = state.env.pool.get().await?;
    let client = find(&mut conn, &id).await?;
    let at = params.at.unwrap_or_else(|| state.env.clock.now());
    balance(&mut conn, client, at).await.map(Json)
}

async fn balance(conn: &mut AsyncPgConnection, client: Client, at: DateTime<Utc>) -> ApiResult<BalanceView> {
    let had = statement::moved_until(conn, &client.client_id, at).await?;
    let (cash, shares): (Vec<_>, Vec<_>) = had.into_iter().partition(|had| had.asset_kind == "cash");
    let mut moved = cash.iter().filter(|had| had.asset == client.currency).map(|had| had.amount);
    let position = moved.try_fold(client.opening_balance, |sum: Decimal, amount| sum.checked_add(amount));
    let position: Decimal =
        position.ok_or_else(|| ApiError::internal("a position beyond what a decimal holds"))?;
    let shares = shares
        .into_iter()
        .map(|had| had.amount.to_i64().map(|amount| (had.asset, amount)))
        .collect::<Option<_>>()
        .ok_or_else(|| ApiError::internal("more shares than there can be"))?;
    Ok(BalanceView { client_id: client.client_id, at, currency: client.currency, position, shares })
}

/// Compare every account with the ledger.
///
/// A run does it in one snapshot, while trades are settled, and fails if a position, a holding, a stock or a trade
/// is not what the entries add up to: its result and its error name the first. It runs every night by itself.
#[utoipa::path(post, path = "/api/v1/ledger/verify", tag = "trades",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The verification that has not ended, or that the same request started before",
     body = RunView, headers(("Location" = String, description = "The run"))),
    (status = 422, description = "The Idempotency-Key was used for another request"),
))]
pub async fn verify_ledger(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
) -> ApiResult<Response> {
    let (run, created) = ask_for(&state, &principal, Chore::VerifyLedger, key.as_deref()).await?;
    summaries::answer(&state, run, created).await
}
