//! Trades: placing an order, and what became of it.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    kept,
    list::Listing,
    params::{
        FromParams, IdempotencyKey, Json, ListParams, ListQuery, NoQuery, PageParams, Params, PathId,
        PathText,
    },
    routes::clients,
    views::{trades::TradeView, words},
};
use axum::{
    Json as Answer,
    extract::{FromRequestParts, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    cache::Topic,
    ids::TradeId,
    pagination::{Cursor, InvalidCursor},
    trades::{
        self, NewTrade, Side, Trade, TradeError, TradeState,
        queries::{self, TradeFilter},
    },
};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The longest wait that `Prefer: wait` is granted, in seconds.
const LONGEST_WAIT: u64 = 30;

/// What a list of trades is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TradeParams {
    /// Only this client's.
    client_id: Option<String>,
    /// Only of this stock.
    ticker: Option<String>,
    /// Only in these states.
    #[param(schema_with = words::trade_states)]
    state: Vec<TradeState>,
    /// Not accepted before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
}

impl FromParams for TradeParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = range(params)?;
        Ok(Self {
            client_id: params.text("client_id")?,
            ticker: params.text("ticker")?,
            state: params.list("state")?,
            from,
            to,
        })
    }
}

/// From when on, and until when.
type Range = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

fn range(params: &Params) -> ApiResult<Range> {
    let (from, to) = (params.from("from")?, params.until("to")?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
    }
    Ok((from, to))
}

fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
    cursor.single::<TradeId>().map(drop)
}

impl ListParams for TradeParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        check_cursor(cursor)
    }
}

impl TradeParams {
    /// The filter that it says.
    pub fn into_filter(self) -> TradeFilter {
        TradeFilter {
            client_id: self.client_id,
            ticker: self.ticker,
            states: self.state,
            from: self.from,
            to: self.to,
        }
    }
}

/// List trades, the last accepted first.
#[utoipa::path(get, path = "/api/v1/trades", tag = "trades", params(TradeParams, PageParams), responses(
    (status = 200, description = "A page of trades", body = Listing<TradeView>),
))]
pub async fn list_trades(
    State(state): State<AppState>,
    query: ListQuery<TradeParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_trades(&mut conn, &query.params.into_filter(), &query.page).await?;
    Ok(Listing::of(page, TradeView::from).respond(&query.uri))
}

/// What the list of a client's trades is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClientTradeParams {
    /// Not accepted before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
}

impl FromParams for ClientTradeParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = range(params)?;
        Ok(Self { from, to })
    }
}

impl ListParams for ClientTradeParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        check_cursor(cursor)
    }
}

/// List a client's settled trades, the last accepted first.
///
/// Those that were taken back are among them, as are the trades that took them back. For what is pending or was
/// rejected ask `/api/v1/trades`.
#[utoipa::path(get, path = "/api/v1/clients/{id}/trades", tag = "trades",
    params(("id" = String, Path, description = "The client"), ClientTradeParams, PageParams), responses(
    (status = 200, description = "A page of trades", body = Listing<TradeView>),
    (status = 404, description = "There is no such client"),
))]
pub async fn list_client_trades(
    State(state): State<AppState>,
    PathText(id): PathText,
    query: ListQuery<ClientTradeParams>,
) -> ApiResult<Response> {
    let filter = TradeFilter {
        client_id: Some(id.clone()),
        states: vec![TradeState::Settled, TradeState::Reversed],
        from: query.params.from,
        to: query.params.to,
        ticker: None,
    };
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        if shared::clients::queries::find_client(&mut conn, &id).await?.is_none() {
            return Ok(None);
        }
        let page = queries::list_trades(&mut conn, &filter, &query.page).await?;
        Ok(Some(Listing::of(page, TradeView::from)))
    };
    let found = kept::page(&state, &Topic::Trades(id.clone()), &query.uri, read).await?;
    found.ok_or_else(|| clients::no_client(&id))
}

/// A trade, and the one that took it back.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneTradeView {
    /// The trade.
    #[serde(flatten)]
    pub trade: TradeView,
    /// The trade that takes it back, unless that was rejected.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub reversed_by: Option<TradeId>,
}

/// Show a trade.
#[utoipa::path(get, path = "/api/v1/trades/{id}", tag = "trades",
    params(("id" = uuid::Uuid, Path, description = "The trade")), responses(
    (status = 200, description = "The trade", body = OneTradeView),
    (status = 404, description = "There is no such trade"),
))]
pub async fn show_trade(
    State(state): State<AppState>,
    PathId(id): PathId<TradeId>,
    _: NoQuery,
) -> ApiResult<Answer<OneTradeView>> {
    let mut conn = state.env.pool.get().await?;
    let trade = queries::find_trade(&mut conn, id).await?.ok_or(TradeError::NotFound(id))?;
    let reversed_by = queries::find_reversal(&mut conn, id).await?;
    Ok(Answer(OneTradeView { trade: trade.into(), reversed_by }))
}

/// An order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeRequest {
    /// Whose.
    pub client_id: String,
    /// Of which stock.
    #[schema(example = "AAPL", max_length = 15)]
    pub ticker: String,
    /// `buy` or `sell`.
    #[schema(schema_with = words::side)]
    pub side: Side,
    /// Shares.
    #[schema(example = 10, minimum = 1, maximum = 2_147_483_647)]
    pub volume: i64,
}

/// How long the caller would wait for the outcome (`Prefer: wait=5`, RFC 7240).
pub struct PreferWait(pub Option<Duration>);

impl<S: Sync> FromRequestParts<S> for PreferWait {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let preferences = parts.headers.get_all("prefer");
        let texts = preferences
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split([',', ';']));
        // A preference that cannot be read is passed over, as the RFC wants it.
        let seconds = texts.filter_map(|text| {
            let (name, value) = text.trim().split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok())?
        });
        Ok(Self(seconds.min().map(|seconds| Duration::from_secs(seconds.min(LONGEST_WAIT)))))
    }
}

/// Place an order to buy or sell.
///
/// It is on disk when this answers: 202, the trade as it was accepted, and where to ask for its outcome. It is
/// settled at the stock's close price, once, or rejected with a reason; nobody sells what he does not hold. With
/// `Prefer: wait=5` the answer waits so long for the outcome, at most 30 s, and is then 200; an outcome that is
/// not there by then is 202 as without it. Under the same Idempotency-Key the same order is accepted once, and
/// answered alike.
#[utoipa::path(post, path = "/api/v1/trades", tag = "trades", request_body = TradeRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: wait for the outcome")),
    responses(
    (status = 202, description = "The order was accepted", body = TradeView, headers(
        ("Location" = String, description = "The trade"),
        ("Idempotency-Replayed" = String, description = "`true` if it was accepted before, under the same key"))),
    (status = 200, description = "The outcome, as it was waited for", body = TradeView, headers(
        ("Location" = String, description = "The trade"), ("Preference-Applied" = String))),
    (status = 422, description = "A field cannot be used, there is no such client, or the Idempotency-Key was used for another request"),
    (status = 503, description = "Too many orders are waiting to be written down"),
))]
pub async fn place_trade(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    PreferWait(wait): PreferWait,
    _: NoQuery,
    Json(body): Json<TradeRequest>,
) -> ApiResult<Response> {
    let TradeRequest { client_id, ticker, side, volume } = body;
    let order = NewTrade { client_id, ticker, side, volume, by: principal.name, key };
    let accepted = trades::place_trade(&state.env, order).await?;
    let trade = match wait {
        Some(wait) => trades::await_trade(&state.env, accepted.trade.id, wait).await?,
        None => accepted.trade,
    };
    Ok(respond(trade, accepted.replayed, wait))
}

fn respond(trade: Trade, replayed: bool, wait: Option<Duration>) -> Response {
    let decided = wait.is_some() && trade.state != TradeState::Pending;
    let status = if decided { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/api/v1/trades/{}", trade.id);
    let mut response =
        (status, [(header::LOCATION, location)], Answer(TradeView::from(trade))).into_response();
    let mut say = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    if replayed {
        say("idempotency-replayed", "true".to_owned());
    }
    if let Some(wait) = wait.filter(|_| decided) {
        say("preference-applied", format!("wait={}", wait.as_secs()));
    }
    response
}

/// Reverse a settled trade, once.
///
/// A new trade of the opposite side takes back exactly what this one moved: 202, and where to ask for its
/// outcome. It is rejected like any other where there is not enough to take back, and may then be tried again.
#[utoipa::path(post, path = "/api/v1/trades/{id}/reverse", tag = "trades",
    params(("id" = uuid::Uuid, Path, description = "The trade")), responses(
    (status = 202, description = "The trade that takes it back", body = TradeView,
     headers(("Location" = String, description = "That trade"))),
    (status = 404, description = "There is no such trade"),
    (status = 409, description = "It is not settled, is a reversal itself, or is being reversed already"),
))]
pub async fn reverse_trade(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<TradeId>,
    _: NoQuery,
) -> ApiResult<Response> {
    let trade = trades::reverse_trade(&state.env, id, &principal.name).await?;
    Ok(respond(trade, false, None))
}
