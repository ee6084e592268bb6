//! Service D: account holders and stocks; its transactions are `stock_orders`. It knew one currency: what is made
//! here is of the installation's. Decimals are texts of two places, more where there are more; times are local.

use super::{
    clients_etl::{last_value, money, next_link, with_variants},
    fields::Fields,
    moment::write_moment,
    stock_orders,
};
use crate::{
    actions::stocks,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult, FieldError, Problem},
    kept,
    list::path_of,
    params::{IdempotencyKey, PathText},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    cache::Topic,
    clients::{self, NewAccount, register::USERNAME_CHARACTERS},
    pagination::{Cursor, PageRequest},
    stocks::{
        NewStock, Stock,
        model::{MAX_VOLUME, TICKER_CHARACTERS},
        queries,
    },
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What tells D's answers in the cache from those of Millrace's own routes.
pub(super) const KEPT: &str = "trading";

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new()
            .routes(routes!(create_user))
            .routes(routes!(show_user))
            .routes(routes!(list_stocks, create_stock))
            .routes(routes!(show_stock)),
        &[
            ("/users/", "/users"),
            ("/users/{username}/", "/users/{username}"),
            ("/stocks/", "/stocks"),
            ("/stocks/{ticker}/", "/stocks/{ticker}"),
        ],
        OpenApiRouter::new()
            .route("/users", post(create_user))
            .route("/users/{username}", get(show_user))
            .route("/stocks", get(list_stocks).post(create_stock))
            .route("/stocks/{ticker}", get(show_stock)),
    )
    .merge(stock_orders::router())
}

/// An error: the fields at fault, each with an array of messages; else `detail`, or `message` of a balance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TradingRefusal {
    detail: Option<String>,
    message: Option<String>,
}

/// A user to register. JSON, a form or a multipart form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct TradingUserRequest {
    /// 3 to 50 characters, not digits alone; unique.
    username: String,
    /// A decimal, as a number or as text.
    #[schema(example = "1000.00")]
    balance: String,
}

/// A user was registered.
#[derive(Debug, Serialize, ToSchema)]
struct TradingUserCreated {
    message: &'static str,
    user_id: String,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
struct TradingUser {
    username: Option<String>,
    /// Negative is debt, into which files of transactions can bring an account.
    balance: String,
    user_id: String,
}

/// Register a user, as clients of service D do.
#[utoipa::path(post, path = "/users/", tag = "compat", request_body = TradingUserRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The user", body = TradingUserCreated, headers(("Location" = String))),
    (status = 400, description = "Fields are missing or cannot be used", body = TradingRefusal),
    (status = 422, description = "The Idempotency-Key was used for another request", body = TradingRefusal),
))]
async fn create_user(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    fields: Fields,
) -> ApiResult<Response> {
    let mut reading = fields.reading();
    let new = NewAccount {
        username: reading.text("username", *USERNAME_CHARACTERS.end()),
        client_id: None,
        name: None,
        email: None,
        currency: state.env.settings.currency.clone(),
        balance: reading.decimal("balance"),
    };
    for fault in new.faults() {
        reading.wrong(fault.field, format!("{}.", fault.message));
    }
    if reading.fails() {
        let mut conn = state.env.pool.get().await?;
        if clients::queries::find_by_username(&mut conn, &new.username).await?.is_some() {
            reading.wrong("username", "user with this username already exists.");
        }
    }
    reading.done()?;
    let asked = json!([new.username, new.balance.normalize()]);
    let (client, is_new) = stocks::register(&state, &principal, &new, key.as_deref(), &asked)
        .await
        .map_err(|error| refused(error, |field| field))?;
    let location = path_of("/users/", &new.username);
    let created = TradingUserCreated { message: "User created", user_id: client.client_id };
    Ok((StatusCode::CREATED, made(&format!("{location}/"), !is_new), Json(created)).into_response())
}

/// Show a user, as clients of service D ask for one.
#[utoipa::path(get, path = "/users/{username}/", tag = "compat",
    params(("username" = String, Path, description = "The user")), responses(
    (status = 200, description = "The user", body = TradingUser),
    (status = 404, description = "There is no such user", body = TradingRefusal),
))]
async fn show_user(State(state): State<AppState>, PathText(username): PathText) -> ApiResult<Response> {
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        let client = clients::queries::find_by_username(&mut conn, &username).await?;
        Ok(client.map(|client| TradingUser {
            balance: money(client.position),
            username: client.username,
            user_id: client.client_id,
        }))
    };
    let found = kept::find(&state, &Topic::User(username.clone()), KEPT, read).await?;
    found.ok_or_else(no_user)
}

/// What the word of a user that is not there is.
const NO_USER: &str = "no-such-user";

/// 404: there is no such user.
pub(super) fn no_user() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, NO_USER, "Not found", "No User matches the given query.")
}

/// Whether a problem is that one.
pub(super) fn is_no_user(problem: &Problem) -> bool {
    problem.kind.ends_with(NO_USER)
}

/// 404: there is no such stock.
pub(super) fn no_stock() -> ApiError {
    ApiError::not_found("No StockData matches the given query.")
}

/// A stock to list. JSON, a form or a multipart form; decimals are numbers or texts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct TradingStockRequest {
    /// At most 15 characters; unique.
    ticker: String,
    #[schema(example = "150.00")]
    open_price: String,
    #[schema(example = "155.00")]
    close_price: String,
    #[schema(example = "156.00")]
    high: String,
    #[schema(example = "149.00")]
    low: String,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    volume: i64,
}

/// A stock.
#[derive(Debug, Serialize, ToSchema)]
struct TradingStock {
    id: i32,
    ticker: String,
    open_price: String,
    /// What trades are settled at.
    close_price: String,
    high: String,
    low: String,
    /// Shares that can be bought.
    volume: i64,
    /// When it was listed: local time in the reporting zone.
    #[schema(example = "2026-11-20T11:27:46.022956")]
    timestamp: String,
}

impl TradingStock {
    fn new(stock: Stock, zone: chrono_tz::Tz) -> Self {
        Self {
            id: stock.id,
            ticker: stock.ticker,
            open_price: money(stock.open_price),
            close_price: money(stock.close_price),
            high: money(stock.high),
            low: money(stock.low),
            volume: stock.volume,
            timestamp: write_moment(stock.created_at, zone),
        }
    }
}

/// A stock was listed.
#[derive(Debug, Serialize, ToSchema)]
struct TradingStockCreated {
    message: &'static str,
    stock: TradingStock,
}

/// List a stock for trading, as clients of service D do.
#[utoipa::path(post, path = "/stocks/", tag = "compat", request_body = TradingStockRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The stock", body = TradingStockCreated, headers(("Location" = String))),
    (status = 400, description = "Fields are missing or cannot be used", body = TradingRefusal),
    (status = 422, description = "The Idempotency-Key was used for another request", body = TradingRefusal),
))]
async fn create_stock(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    fields: Fields,
) -> ApiResult<Response> {
    let mut reading = fields.reading();
    let new = NewStock {
        ticker: reading.text("ticker", TICKER_CHARACTERS),
        name: None,
        currency: state.env.settings.currency.clone(),
        open_price: reading.decimal("open_price"),
        close_price: reading.decimal("close_price"),
        high: reading.decimal("high"),
        low: reading.decimal("low"),
        volume: reading.whole("volume", 0..=MAX_VOLUME),
    };
    // What could not be read stands in no relation to the rest.
    let fails = reading.fails();
    for fault in new.faults().into_iter().filter(|fault| !fails || fault.field == "ticker") {
        reading.wrong(fault.field, fault.reason);
    }
    if reading.fails() {
        let mut conn = state.env.pool.get().await?;
        if queries::find_stock(&mut conn, &new.ticker).await?.is_some() {
            reading.wrong("ticker", "stock data with this ticker already exists.");
        }
    }
    reading.done()?;
    let prices = [new.open_price, new.close_price, new.high, new.low].map(|price| price.normalize());
    let asked = json!([new.ticker, prices, new.volume]);
    let (stock, is_new) = stocks::list(&state, &principal, &new, key.as_deref(), &asked)
        .await
        .map_err(|error| refused(error, |field| field))?;
    let location = path_of("/stocks/", &stock.ticker);
    let stock = TradingStock::new(stock, state.env.settings.zone);
    let created = TradingStockCreated { message: "stock created", stock };
    Ok((StatusCode::CREATED, made(&format!("{location}/"), !is_new), Json(created)).into_response())
}

/// List stocks, the last listed first, as clients of service D do.
///
/// An array of at most MILLRACE_COMPAT_ROWS rows (10,000); `Link: <…>; rel="next"` leads to the rest.
#[utoipa::path(get, path = "/stocks/", tag = "compat",
    params(("cursor" = Option<String>, Query, description = "As in `Link`")), responses(
    (status = 200, description = "The stocks", body = [TradingStock],
     headers(("Link" = String, description = "The next rows, if there are more"))),
))]
async fn list_stocks(State(state): State<AppState>, uri: Uri) -> ApiResult<Response> {
    let cursor = last_value(&uri, "cursor").unwrap_or_default();
    let entry = format!("{KEPT} {cursor}");
    let read = async || {
        let request = page(&state, &cursor, |cursor| cursor.single::<i32>().is_ok())?;
        let mut conn = state.env.pool.get().await?;
        let page = queries::list_stocks(&mut conn, None, &request).await?;
        let rows = page.items.into_iter().map(|stock| TradingStock::new(stock, state.env.settings.zone));
        Ok(Some(Rows { next: page.older, rows: rows.collect() }))
    };
    Ok(kept_rows(&state, &Topic::Stocks, &entry, &uri, read).await?.unwrap_or_default())
}

/// Show a stock, as clients of service D ask for one.
#[utoipa::path(get, path = "/stocks/{ticker}/", tag = "compat",
    params(("ticker" = String, Path, description = "The stock")), responses(
    (status = 200, description = "The stock", body = TradingStock),
    (status = 404, description = "There is no such stock", body = TradingRefusal),
))]
async fn show_stock(State(state): State<AppState>, PathText(ticker): PathText) -> ApiResult<Response> {
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        let stock = queries::find_stock(&mut conn, &ticker).await?;
        Ok(stock.map(|stock| TradingStock::new(stock, state.env.settings.zone)))
    };
    kept::find(&state, &Topic::Stock(ticker.clone()), KEPT, read).await?.ok_or_else(no_stock)
}

/// A part of a list, and the cursor of the next.
#[derive(Debug, Serialize)]
pub(super) struct Rows<T> {
    // `kept_rows` takes the fields apart in this order.
    pub next: Option<String>,
    pub rows: Vec<T>,
}

/// The array of rows that is kept, or what `read` returns now, with its link; `None` if that is nothing.
pub(super) async fn kept_rows<T, F>(
    state: &AppState,
    topic: &Topic,
    entry: &str,
    uri: &Uri,
    read: impl FnOnce() -> F,
) -> ApiResult<Option<Response>>
where
    T: Serialize,
    F: Future<Output = ApiResult<Option<Rows<T>>>>,
{
    let Some(json) = state.env.cache.json(&state.env.pool, topic, entry, read).await? else {
        return Ok(None);
    };
    // By hand: up to ten thousand rows are not parsed to be written again. A cursor is hexadecimal.
    let parts = json.strip_prefix("{\"next\":").and_then(|json| json.strip_suffix('}'));
    let (next, rows) = parts
        .and_then(|parts| parts.split_once(",\"rows\":"))
        .ok_or_else(|| ApiError::internal("rows are kept in another form"))?;
    let mut response =
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], rows.to_owned())
            .into_response();
    let next = Some(next.trim_matches('"')).filter(|next| *next != "null");
    if let Some(link) = next.and_then(|cursor| HeaderValue::try_from(next_link(uri, cursor)).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(Some(response))
}

/// The part of a list that a cursor names, the first if it is empty.
pub(super) fn page(state: &AppState, cursor: &str, ours: fn(&Cursor) -> bool) -> ApiResult<PageRequest> {
    let cursor = if cursor.is_empty() { None } else { Some(Cursor::decode(cursor)?) };
    if cursor.as_ref().is_some_and(|cursor| !ours(cursor)) {
        return Err(shared::pagination::InvalidCursor.into());
    }
    Ok(PageRequest { limit: state.config.compat.rows.into(), cursor })
}

/// The headers of an answer to who has made something, or `again` the same.
pub(super) fn made(location: &str, again: bool) -> HeaderMap {
    let mut headers: HeaderMap =
        HeaderValue::try_from(location).into_iter().map(|location| (header::LOCATION, location)).collect();
    if again {
        headers.insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    }
    headers
}

/// What the domains refuse (409 and 422) as D did: 400, by field, under D's names.
pub(super) fn refused(error: ApiError, named: fn(&str) -> &str) -> ApiError {
    let problem = error.problem();
    let by_domain = matches!(problem.status, StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
        && !problem.kind.ends_with("idempotency-key-reused");
    if !by_domain || problem.errors.is_empty() {
        return error;
    }
    let errors = problem.errors.iter();
    let errors = errors
        .map(|error| FieldError { field: named(&error.field).to_owned(), detail: error.detail.clone() });
    ApiError::bad_fields(errors.collect())
}

/// An error as D wrote it.
pub(super) fn error(problem: &Problem) -> Value {
    if stock_orders::is_insufficient(problem) {
        return json!({ "message": problem.detail });
    }
    if problem.errors.is_empty() {
        return json!({ "detail": problem.detail });
    }
    let fields = problem.errors.iter().map(|error| (error.field.clone(), json!([error.detail])));
    Value::Object(fields.collect::<Map<_, _>>())
}
