//! Stocks.

use crate::{
    actions::stocks::{list, no_stock},
    app::AppState,
    auth::Principal,
    error::ApiResult,
    kept,
    list::{Listing, path_of},
    params::{
        FromParams, IdempotencyKey, Json, ListParams, ListQuery, NoQuery, PageParams, Params, PathText,
    },
    views::stocks::StockView,
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use shared::{
    cache::Topic,
    pagination::{Cursor, InvalidCursor},
    stocks::{NewStock, queries},
};
use utoipa::{IntoParams, ToSchema};

/// What a list of stocks is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StockParams {
    /// Only stocks whose ticker or name begins so, without regard to case.
    search: Option<String>,
}

impl FromParams for StockParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { search: params.text("search")? })
    }
}

impl ListParams for StockParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<i32>().map(drop)
    }
}

/// List stocks, the last listed first.
#[utoipa::path(get, path = "/api/v1/stocks", tag = "trades", params(StockParams, PageParams), responses(
    (status = 200, description = "A page of stocks", body = Listing<StockView>),
))]
pub async fn list_stocks(
    State(state): State<AppState>,
    query: ListQuery<StockParams>,
) -> ApiResult<Response> {
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        let page = queries::list_stocks(&mut conn, query.params.search.as_deref(), &query.page).await?;
        Ok(Some(Listing::of(page, StockView::from)))
    };
    Ok(kept::page(&state, &Topic::Stocks, &query.uri, read).await?.unwrap_or_default())
}

/// Show a stock.
#[utoipa::path(get, path = "/api/v1/stocks/{ticker}", tag = "trades",
    params(("ticker" = String, Path, description = "The stock")), responses(
    (status = 200, description = "The stock", body = StockView),
    (status = 404, description = "There is no such stock"),
))]
pub async fn show_stock(
    State(state): State<AppState>,
    PathText(ticker): PathText,
    _: NoQuery,
) -> ApiResult<Response> {
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        Ok(queries::find_stock(&mut conn, &ticker).await?.map(StockView::from))
    };
    let found = kept::find(&state, &Topic::Stock(ticker.clone()), "", read).await?;
    found.ok_or_else(|| no_stock(&ticker))
}

/// A stock to list. Prices are decimals as strings, with at most four decimals.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockRequest {
    /// Its symbol, at most 15 characters; unique.
    #[schema(example = "AAPL", max_length = 15)]
    pub ticker: String,
    /// The company.
    #[schema(example = "Apple Inc.")]
    pub name: Option<String>,
    /// ISO 4217 code; the installation's currency if absent.
    #[schema(example = "USD")]
    pub currency: Option<String>,
    /// Price at the opening, between `low` and `high`.
    #[schema(value_type = String, example = "150.00")]
    pub open_price: Decimal,
    /// Price at the close, between `low` and `high`: what trades are settled at.
    #[schema(value_type = String, example = "155.00")]
    pub close_price: Decimal,
    /// Highest price.
    #[schema(value_type = String, example = "156.00")]
    pub high: Decimal,
    /// Lowest price.
    #[schema(value_type = String, example = "149.00")]
    pub low: Decimal,
    /// Shares that can be bought.
    #[schema(example = 1_000_000, minimum = 0, maximum = 2_147_483_647)]
    pub volume: i64,
}

impl StockRequest {
    /// As the domain knows it.
    pub fn stock(&self, default_currency: &str) -> NewStock {
        NewStock {
            ticker: self.ticker.clone(),
            name: self.name.clone(),
            currency: self.currency.clone().unwrap_or_else(|| default_currency.to_owned()),
            open_price: self.open_price,
            close_price: self.close_price,
            high: self.high,
            low: self.low,
            volume: self.volume,
        }
    }
}

/// List a stock for trading.
///
/// What it is listed at never changes; only its volume moves, by trades.
#[utoipa::path(post, path = "/api/v1/stocks", tag = "trades", request_body = StockRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The stock", body = StockView, headers(("Location" = String))),
    (status = 200, description = "The stock that the same request listed before", body = StockView),
    (status = 409, description = "The ticker is taken"),
    (status = 422, description = "Fields that cannot be used, each with the reason"),
))]
pub async fn create_stock(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<StockRequest>,
) -> ApiResult<Response> {
    let new = body.stock(&state.env.settings.currency);
    let (stock, is_new) = list(&state, &principal, &new, key.as_deref(), &body).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = path_of("/api/v1/stocks/", &stock.ticker);
    Ok((status, [(header::LOCATION, location)], Answer(StockView::from(stock))).into_response())
}
