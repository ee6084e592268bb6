//! Service D: orders, and the trades that became of them. Its users are the clients that were registered with a
//! username; nobody trades for another client here, and nobody reads another's trades.
//!
//! An order is checked as D checked it, at once, and settled later: what holds in the end is what holds then. The
//! lists show what was settled, under the time at which it was ordered, which is also what a range compares.

use super::{
    anonymous,
    clients_etl::{last_value, money, with_variants},
    fields::Fields,
    moment::{End, read_moment, write_moment},
    stock_trading::{KEPT, Rows, TradingRefusal, kept_rows, made, no_stock, no_user, page, refused},
};
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult, FieldError, Problem},
    params::IdempotencyKey,
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::{
    cache::Topic,
    clients::{self, Client},
    idempotency,
    ids::TradeId,
    stocks::{
        self, Stock,
        model::{MAX_VOLUME, TICKER_CHARACTERS},
    },
    trades::{
        self, NewTrade, Side, Trade, TradeState,
        queries::{TradeFilter, list_trades},
    },
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new().routes(routes!(place_order)).routes(routes!(list_range)),
        &[
            ("/transactions/", "/transactions"),
            ("/transactions/{id}/{start}/{end}/", "/transactions/{id}/{start}/{end}"),
        ],
        OpenApiRouter::new()
            .route("/transactions", post(place_order))
            .route("/transactions/{id}/{start}/{end}", get(list_range)),
    )
}

/// An order. JSON, a form or a multipart form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct TradingOrder {
    /// The user's `user_id`.
    user: String,
    /// Of which stock.
    ticker: String,
    /// `buy` or `sell`, in letters of either case.
    transaction_type: String,
    /// Shares.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    transaction_volume: i64,
}

/// An order was accepted.
#[derive(Debug, Serialize, ToSchema)]
struct TradingInProgress {
    message: &'static str,
    /// The trade, which the service did not name: `/api/v1/trades/{transaction_id}` tells its outcome.
    #[schema(value_type = uuid::Uuid)]
    transaction_id: TradeId,
}

/// Order shares, as clients of service D do.
///
/// 200: it is on disk, and will be settled or rejected. Millrace also rejects who sells what he does not hold.
#[utoipa::path(post, path = "/transactions/", tag = "compat", request_body = TradingOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 200, description = "The order was accepted", body = TradingInProgress,
     headers(("Location" = String, description = "The trade"))),
    (status = 400, description = "Fields are missing or cannot be used, or the balance is too low", body = TradingRefusal),
    (status = 404, description = "There is no such stock", body = TradingRefusal),
    (status = 422, description = "The Idempotency-Key was used for another request", body = TradingRefusal),
    (status = 503, description = "Too many orders are waiting to be written down", body = TradingRefusal),
))]
async fn place_order(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    fields: Fields,
) -> ApiResult<Response> {
    let mut reading = fields.reading();
    let client_id = reading.text("user", usize::MAX);
    let ticker = reading.text("ticker", TICKER_CHARACTERS);
    let word = reading.text("transaction_type", usize::MAX);
    let side = word.to_lowercase().parse::<Side>().ok();
    if side.is_none() {
        let word: String = word.chars().take(80).collect();
        reading.wrong("transaction_type", format!("\"{word}\" is not a valid choice."));
    }
    let volume = reading.whole("transaction_volume", 1..=MAX_VOLUME);
    let mut conn = state.env.pool.get().await?;
    let client = clients::queries::find_client(&mut conn, &client_id).await?.filter(is_user);
    if client.is_none() {
        let id: String = client_id.chars().take(80).collect();
        reading.wrong("user", format!("Invalid pk \"{id}\" - object does not exist."));
    }
    reading.done()?;
    let (Some(client), Some(side)) = (client, side) else { return Err(no_user()) };
    let stock = stocks::queries::find_stock(&mut conn, &ticker).await?.ok_or_else(no_stock)?;
    if let Some(refusal) = hopeless(&client, &stock, side, volume) {
        // What the same order has moved before is no reason to refuse its repetition.
        let repeated = match &key {
            Some(key) => idempotency::is_taken(&mut conn, &principal.name, key).await?,
            None => false,
        };
        if !repeated {
            return Err(refusal);
        }
    }
    drop(conn);
    let order = NewTrade { client_id, ticker, side, volume, by: principal.name, key };
    let accepted = trades::place_trade(&state.env, order).await;
    let accepted = accepted.map_err(|error| refused(error.into(), name_of))?;
    let id = accepted.trade.id;
    let answer = TradingInProgress { message: "Transaction is in progress.", transaction_id: id };
    let headers = made(&format!("/api/v1/trades/{id}"), accepted.replayed);
    Ok((StatusCode::OK, headers, Json(answer)).into_response())
}

/// D's users are the clients with a username.
fn is_user(client: &Client) -> bool {
    client.username.is_some()
}

/// D's name of a field of a trade.
fn name_of(field: &str) -> &str {
    match field {
        "client_id" => "user",
        "volume" => "transaction_volume",
        other => other,
    }
}

/// Why an order would be rejected as things are now, as far as D looked.
fn hopeless(client: &Client, stock: &Stock, side: Side, volume: i64) -> Option<ApiError> {
    if side == Side::Sell {
        return None;
    }
    if volume > stock.volume {
        let (field, detail) =
            ("transaction_volume", "transaction_volume must be less than or equal to the stock volume");
        return Some(ApiError::bad_fields(vec![FieldError {
            field: field.to_owned(),
            detail: detail.to_owned(),
        }]));
    }
    // What is in another currency is converted when it is settled, at the rate of then.
    let cost = stock.close_price.checked_mul(Decimal::from(volume));
    let short = stock.currency == client.currency && cost.is_none_or(|cost| client.position < cost);
    short.then(|| {
        let detail = "Insufficient balance for this transaction.";
        ApiError::new(StatusCode::BAD_REQUEST, INSUFFICIENT, "Insufficient balance", detail)
    })
}

const INSUFFICIENT: &str = "insufficient-balance";

/// Whether a problem is a balance that is too low.
pub(super) fn is_insufficient(problem: &Problem) -> bool {
    problem.kind.ends_with(INSUFFICIENT)
}

/// A settled trade.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TradingTransaction {
    #[schema(value_type = uuid::Uuid)]
    transaction_id: TradeId,
    ticker: String,
    /// `buy` or `sell`; what takes a trade back is one of the other type.
    transaction_type: &'static str,
    transaction_volume: i64,
    /// Of one share.
    transaction_price: Option<String>,
    /// When it was ordered: local time in the reporting zone.
    #[schema(example = "2026-11-20T11:28:22.069000")]
    timestamp: String,
    user: String,
}

impl TradingTransaction {
    fn new(trade: Trade, zone: chrono_tz::Tz) -> Self {
        Self {
            transaction_id: trade.id,
            ticker: trade.ticker,
            transaction_type: trade.side.as_str(),
            transaction_volume: trade.volume,
            transaction_price: trade.price.map(money),
            timestamp: write_moment(trade.created_at, zone),
            user: trade.client_id,
        }
    }
}

/// List a user's settled trades of a range, newest first, as clients of service D do.
///
/// A day, or a day and a time, local in the reporting zone unless an offset is given; both ends belong to the range,
/// and a day is its beginning. An array of at most MILLRACE_COMPAT_ROWS rows (10,000); `Link: <…>; rel="next"` leads
/// to the rest.
#[utoipa::path(get, path = "/transactions/{id}/{start}/{end}/", tag = "compat",
    params(("id" = String, Path, description = "The user's `user_id`"),
        ("start" = String, Path, description = "Not before this time", example = "2026-01-01"),
        ("end" = String, Path, description = "Not after this time", example = "2026-01-31T23:59:59"),
        ("cursor" = Option<String>, Query, description = "As in `Link`")),
    responses(
    (status = 200, description = "The trades", body = [TradingTransaction],
     headers(("Link" = String, description = "The next rows, if there are more"))),
    (status = 400, description = "A time cannot be read", body = TradingRefusal),
    (status = 404, description = "There is no such user", body = TradingRefusal),
))]
async fn list_range(
    State(state): State<AppState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    uri: Uri,
) -> ApiResult<Response> {
    let Path((id, start, end)) = path.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let zone = state.env.settings.zone;
    let read = |text: &str, end| {
        read_moment(zone, text, end).ok_or_else(|| {
            let text: String = text.chars().take(80).collect();
            ApiError::bad_request(format!(
                "{text:?} is no time; write it like 2026-01-31 or 2026-01-31T10:00:00."
            ))
        })
    };
    let range = (read(&start, End::First)?, read(&end, End::Last)?);
    list(&state, &id, Some(range), &uri).await?.ok_or_else(no_user)
}

/// D's list of a user's settled trades, on the path that it shares with service A's list of a client's
/// transactions; none if that is what is asked for. Without credentials there are only D's users, whose ids are
/// UUIDs; who else is known is not said.
pub(super) async fn list_user(
    state: &AppState,
    principal: &Principal,
    id: &str,
    uri: &Uri,
) -> ApiResult<Option<Response>> {
    let found = list(state, id, None, uri).await?;
    if found.is_none() && *principal == anonymous() {
        return Err(if is_user_id(id) { no_user() } else { ApiError::unauthorized("Send an access token.") });
    }
    Ok(found)
}

/// Whether an id is of D's form.
pub(super) fn is_user_id(id: &str) -> bool {
    id.len() == 36 && uuid::Uuid::try_parse(id).is_ok()
}

/// None if there is no such user.
async fn list(
    state: &AppState,
    id: &str,
    range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    uri: &Uri,
) -> ApiResult<Option<Response>> {
    // PostgreSQL has no text with it.
    if id.contains('\0') {
        return Ok(None);
    }
    let cursor = last_value(uri, "cursor").unwrap_or_default();
    let ends = range.map(|(start, end)| (start.timestamp_micros(), end.timestamp_micros()));
    let entry = format!("{KEPT} {ends:?} {cursor}");
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        if !clients::queries::find_client(&mut conn, id).await?.as_ref().is_some_and(is_user) {
            return Ok(None);
        }
        let request = page(state, &cursor, |cursor| cursor.single::<TradeId>().is_ok())?;
        let filter = TradeFilter {
            client_id: Some(id.to_owned()),
            ticker: None,
            states: vec![TradeState::Settled, TradeState::Reversed],
            from: range.map(|(start, _)| start),
            // The end belongs to it.
            to: range.and_then(|(_, end)| end.checked_add_signed(TimeDelta::microseconds(1))),
        };
        let page = list_trades(&mut conn, &filter, &request).await?;
        let rows =
            page.items.into_iter().map(|trade| TradingTransaction::new(trade, state.env.settings.zone));
        Ok(Some(Rows { next: page.older, rows: rows.collect() }))
    };
    kept_rows(state, &Topic::Trades(id.to_owned()), &entry, uri, read).await
}
