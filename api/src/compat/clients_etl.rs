//! Service A: tokens, and a client's transactions. Its documents say `/token/`, its code served
//! `/api/token/`: both are here, with and without the slash at the end.
//!
//! Its access tokens name the same users as Millrace's own, after the same login, and so open the same
//! routes; Millrace's own tokens and API keys open its list.

use super::{live_monitoring, rate::RateLimiter, stock_orders, stock_trading};
use crate::{
    app::AppState,
    auth::{ClientAddress, Principal},
    compat::fields::Fields,
    error::{ApiError, ApiResult, Problem},
    params::{PathText, start_of_day},
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    auth::{
        self, AuthError,
        refresh::{self, TokenRules},
    },
    clients,
    pagination::{Cursor, InvalidCursor, PageRequest},
    transactions::{
        Transaction, TransactionKind, TransactionStatus,
        queries::{TransactionFilter, list_transactions},
    },
};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// A path as it is documented, and another under which it is served.
type Variant = (&'static str, &'static str);

const VARIANTS: &[Variant] = &[
    ("/token/", "/token"),
    ("/token/", "/api/token"),
    ("/token/", "/api/token/"),
    ("/token/refresh/", "/token/refresh"),
    ("/token/refresh/", "/api/token/refresh"),
    ("/token/refresh/", "/api/token/refresh/"),
    ("/token/verify/", "/token/verify"),
    ("/token/verify/", "/api/token/verify"),
    ("/token/verify/", "/api/token/verify/"),
    ("/token/logout/", "/token/logout"),
    ("/token/logout/", "/api/token/logout"),
    ("/token/logout/", "/api/token/logout/"),
    ("/transactions/{id}/", "/transactions/{id}"),
    ("/transactions/{id}/", "/api/transactions/{id}"),
    ("/transactions/{id}/", "/api/transactions/{id}/"),
];

pub(super) fn router() -> OpenApiRouter<AppState> {
    let documented = OpenApiRouter::new()
        .routes(routes!(obtain_tokens))
        .routes(routes!(refresh_tokens))
        .routes(routes!(verify_token))
        .routes(routes!(log_out))
        .routes(routes!(list_client_rows));
    let mut others = OpenApiRouter::new();
    for &(like, path) in VARIANTS {
        let handler = match like {
            "/token/" => post(obtain_tokens),
            "/token/refresh/" => post(refresh_tokens),
            "/token/verify/" => post(verify_token),
            "/token/logout/" => post(log_out),
            _ => get(list_client_rows),
        };
        others = others.route(path, handler);
    }
    with_variants(documented, VARIANTS, others).layer(Extension(Arc::new(RateLimiter::default())))
}

/// Joins routes with those that serve the same under other paths, and documents these like the first.
pub(super) fn with_variants(
    documented: OpenApiRouter<AppState>,
    variants: &[Variant],
    others: OpenApiRouter<AppState>,
) -> OpenApiRouter<AppState> {
    let mut joined = documented.merge(others);
    let paths = &mut joined.get_openapi_mut().paths.paths;
    for (number, &(like, path)) in variants.iter().enumerate() {
        let Some(mut item) = paths.get(like).cloned() else { continue };
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_{}", number + 2));
        }
        paths.insert(path.to_owned(), item);
    }
    joined
}

/// Name and password.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct Credentials {
    username: String,
    #[schema(format = Password)]
    password: String,
}

/// A refresh token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct Refresh {
    refresh: String,
}

/// A token of either type.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct Token {
    token: String,
}

/// An access token and a refresh token.
#[derive(Debug, Serialize, ToSchema)]
struct Pair {
    /// Good for one more pair.
    refresh: String,
    /// `Authorization: Bearer <access>`.
    access: String,
}

/// An error: `detail`, with `code` where a token is at fault; `error` on the list; or, where fields are
/// missing, the fields.
#[derive(Debug, Serialize, ToSchema)]
struct Refusal {
    detail: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

fn rules(state: &AppState) -> TokenRules<'_> {
    let compat = &state.config.compat;
    TokenRules {
        key: &state.env.settings.signing_key,
        access_life: compat.access_life,
        refresh_life: compat.refresh_life,
    }
}

/// A token that cannot be used, in A's words.
fn refused(error: AuthError) -> ApiError {
    let detail = match error {
        AuthError::TokenUsed => "Token is blacklisted",
        AuthError::InvalidToken => "Token is invalid",
        other => return other.into(),
    };
    ApiError::new(StatusCode::UNAUTHORIZED, TOKEN_NOT_VALID, "Token not valid", detail)
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"api\"")
}

const TOKEN_NOT_VALID: &str = "token-not-valid";

/// Log in, as clients of service A do. JSON or a form.
#[utoipa::path(post, path = "/token/", tag = "compat", request_body = Credentials, responses(
    (status = 200, description = "A pair of tokens", body = Pair),
    (status = 400, description = "A field is missing", body = Refusal),
    (status = 401, description = "The name or the password is wrong", body = Refusal),
    (status = 429, description = "Too many failures; `Retry-After` says how long to wait", body = Refusal),
))]
async fn obtain_tokens(
    State(state): State<AppState>,
    address: ClientAddress,
    fields: ApiResult<Fields>,
) -> ApiResult<Json<Pair>> {
    let mut conn = state.env.pool.get().await?;
    let [username, password] = match fields.and_then(|fields| fields.texts(["username", "password"])) {
        Ok(texts) => texts,
        Err(unread) => {
            auth::service::count_attempt(&mut conn, address.0).await.map_err(login_refused)?;
            return Err(unread);
        }
    };
    let user = auth::login(&mut conn, &username, &password, address.0).await.map_err(login_refused)?;
    let pair = refresh::issue_pair(&mut conn, rules(&state), &user, state.env.clock.now()).await?;
    Ok(Json(Pair { refresh: pair.refresh, access: pair.access }))
}

/// A login's refusal in the words of service A.
fn login_refused(error: AuthError) -> ApiError {
    match error {
        AuthError::WrongCredentials => ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong-credentials",
            "Wrong credentials",
            "No active account found with the given credentials",
        )
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"api\""),
        AuthError::Throttled { retry_after_seconds } => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            "Too many attempts",
            format!("Request was throttled. Expected available in {retry_after_seconds} seconds."),
        )
        .with(header::RETRY_AFTER, &retry_after_seconds.to_string()),
        other => other.into(),
    }
}

/// Get the next pair of tokens. The old refresh token is of no use any more; using it again ends its
/// successors too.
#[utoipa::path(post, path = "/token/refresh/", tag = "compat", request_body = Refresh, responses(
    (status = 200, description = "A pair of tokens", body = Pair),
    (status = 400, description = "A field is missing", body = Refusal),
    (status = 401, description = "The token cannot be used (again)", body = Refusal),
))]
async fn refresh_tokens(State(state): State<AppState>, fields: Fields) -> ApiResult<Json<Pair>> {
    let [token] = fields.texts(["refresh"])?;
    let mut conn = state.env.pool.get().await?;
    let pair = refresh::rotate(&mut conn, rules(&state), &token, state.env.clock.now()).await;
    let pair = pair.map_err(refused)?;
    Ok(Json(Pair { refresh: pair.refresh, access: pair.access }))
}

/// Ask whether a token is good.
#[utoipa::path(post, path = "/token/verify/", tag = "compat", request_body = Token, responses(
    (status = 200, description = "It is: `{}`"),
    (status = 400, description = "A field is missing", body = Refusal),
    (status = 401, description = "It is not", body = Refusal),
))]
async fn verify_token(State(state): State<AppState>, fields: Fields) -> ApiResult<Json<Value>> {
    let [token] = fields.texts(["token"])?;
    let mut conn = state.env.pool.get().await?;
    let key = &state.env.settings.signing_key;
    refresh::check(&mut conn, key, &token, state.env.clock.now()).await.map_err(refused)?;
    Ok(Json(json!({})))
}

/// Log out: the refresh token and its successors are of no use any more. The access token lives to its
/// end.
#[utoipa::path(post, path = "/token/logout/", tag = "compat", request_body = Refresh, responses(
    (status = 200, description = "Done: `{}`"),
    (status = 400, description = "A field is missing", body = Refusal),
    (status = 401, description = "The token was used before", body = Refusal),
))]
async fn log_out(State(state): State<AppState>, fields: Fields) -> ApiResult<Json<Value>> {
    let [token] = fields.texts(["refresh"])?;
    let mut conn = state.env.pool.get().await?;
    let key = &state.env.settings.signing_key;
    refresh::log_out(&mut conn, key, &token, state.env.clock.now()).await.map_err(refused)?;
    Ok(Json(json!({})))
}

/// One transaction as A wrote it. Prices and amounts have two decimals, more where there are more; sells
/// and refunds are negative; what was never said (a payment has no stock) is null.
#[derive(Debug, Serialize, ToSchema)]
struct Row {
    transaction_id: String,
    /// buy or sell; also payment or refund, which A did not have.
    transaction_type: &'static str,
    /// Day in the reporting zone.
    transaction_date: NaiveDate,
    stock_ticker: Option<String>,
    stock_name: Option<String>,
    /// A number, as text where it is no whole one.
    #[schema(value_type = Option<i64>)]
    shares: Option<Value>,
    price: Option<String>,
    amount: String,
    /// Of the amount, as in the file; A wrote converted amounts.
    currency: String,
    /// Empty for what took place, as A always wrote; `pending` or `failed` otherwise.
    transaction_status: &'static str,
    transaction_channel: Option<String>,
    client: String,
}

impl Row {
    fn new(row: Transaction, zone: chrono_tz::Tz) -> Self {
        let negative = matches!(row.kind, TransactionKind::Sell | TransactionKind::Refund);
        let shares = |shares: Decimal| match i64::try_from(shares) {
            Ok(whole) if shares.fract().is_zero() => Value::from(whole),
            _ => Value::from(shares.normalize().to_string()),
        };
        Self {
            transaction_id: row.transaction_id,
            transaction_type: row.kind.as_str(),
            transaction_date: row.occurred_at.with_timezone(&zone).date_naive(),
            stock_ticker: row.ticker,
            stock_name: row.stock_name,
            shares: row.shares.map(shares),
            price: row.price.map(money),
            amount: money(if negative { -row.amount } else { row.amount }),
            currency: row.currency,
            transaction_status: match row.status {
                TransactionStatus::Success => "",
                other => other.as_str(),
            },
            transaction_channel: row.channel,
            client: row.client_id,
        }
    }
}

/// At least two decimals.
pub(super) fn money(amount: Decimal) -> String {
    let mut short = amount.normalize();
    if short.scale() < 2 {
        short.rescale(2);
    }
    short.to_string()
}

/// List a client's transactions, newest first, as clients of service A do.
///
/// Of a client that was registered with a username, `/transactions/{id}` lists the settled trades, as clients of
/// service D ask for them: the rows are those of `/transactions/{id}/{start}/{end}/`, and the dates do not apply.
/// Where no client has the id, `/api/transactions/{id}` shows the transaction that has it, as clients of service B ask
/// for one.
/// An array of at most MILLRACE_COMPAT_ROWS rows (10,000); `Link: <…>; rel="next"` leads to the rest.
#[utoipa::path(get, path = "/transactions/{id}/", tag = "compat",
    params(("id" = String, Path, description = "The client"),
        ("start_date" = Option<NaiveDate>, Query, description = "Not before this day"),
        ("end_date" = Option<NaiveDate>, Query, description = "Not after this day"),
        ("cursor" = Option<String>, Query, description = "As in `Link`")),
    responses(
    (status = 200, description = "The transactions", body = [Row], headers(
        ("Link" = String, description = "The next rows, if there are more"),
        ("RateLimit" = String, description = "Calls that are left in this minute"))),
    (status = 400, description = "A date cannot be read, or they are the wrong way round", body = Refusal),
    (status = 401, description = "No token, or one that is not valid", body = Refusal),
    (status = 404, description = "There is no such client", body = Refusal),
    (status = 429, description = "Too many calls", body = Refusal),
))]
async fn list_client_rows(
    State(state): State<AppState>,
    Extension(limiter): Extension<Arc<RateLimiter>>,
    principal: Principal,
    PathText(id): PathText,
    uri: Uri,
) -> ApiResult<Response> {
    let shared_with_d = !uri.path().starts_with("/api/");
    let others = match shared_with_d {
        true => stock_orders::list_user(&state, &principal, &id, &uri).await?,
        false => live_monitoring::show_row(&state, &principal, &id).await?,
    };
    if let Some(others) = others {
        return Ok(others);
    }
    let (compat, zone) = (&state.config.compat, state.env.settings.zone);
    let now = state.env.clock.now().timestamp();
    let rate = limiter.count(&principal.name, compat.calls_per_minute, now)?;
    let query = |name: &str| last_value(&uri, name);
    let mut filter = within_days(query("start_date"), query("end_date"), zone)?;
    let cursor = query("cursor").map(|text| read_cursor(&text)).transpose()?;
    let mut conn = state.env.pool.get().await?;
    let client = clients::queries::find_client(&mut conn, id.trim()).await?;
    let client = client.ok_or_else(|| {
        // An id of nobody is D's if it looks like D's.
        if shared_with_d && stock_orders::is_user_id(&id) {
            return stock_trading::no_user();
        }
        ApiError::not_found("Client not found")
    })?;
    filter.client_id = Some(client.client_id);
    let request = PageRequest { limit: compat.rows.into(), cursor };
    let page = list_transactions(&mut conn, &filter, &request).await?;
    let next = page.older.as_deref().map(|cursor| next_link(&uri, cursor));
    let rows: Vec<Row> = page.items.into_iter().map(|row| Row::new(row, zone)).collect();
    let mut response = Json(rows).into_response();
    if let Some(link) = next.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    for (name, value) in rate.into_iter().flatten() {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// A parameter's last value, as A took it; unknown parameters were passed over.
pub(super) fn last_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.filter(|(key, value)| key == name && !value.is_empty()).last().map(|(_, value)| value.into_owned())
}

/// A cursor of this list: a time and an id.
fn read_cursor(text: &str) -> ApiResult<Cursor> {
    let cursor = Cursor::decode(text)?;
    let ours = matches!(cursor.key.as_slice(), [at, id]
        if at.parse::<DateTime<Utc>>().is_ok() && !id.contains('\0'));
    if ours { Ok(cursor) } else { Err(InvalidCursor.into()) }
}

/// What occurred on the days of a range; both ends belong to it.
fn within_days(
    start: Option<String>,
    end: Option<String>,
    zone: chrono_tz::Tz,
) -> ApiResult<TransactionFilter> {
    let read = |text: String| {
        let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
        day.filter(|day| (1..=9999).contains(&day.year()))
            .ok_or_else(|| ApiError::bad_request("Invalid date format. Use YYYY-MM-DD"))
    };
    let (start, end) = (start.map(read).transpose()?, end.map(read).transpose()?);
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        return Err(ApiError::bad_request("start_date cannot be after end_date"));
    }
    let from = start.and_then(|day| start_of_day(zone, day));
    let until = end.and_then(|day| start_of_day(zone, day.checked_add_days(Days::new(1))?));
    Ok(TransactionFilter { from, until, ..TransactionFilter::default() })
}

pub(super) fn next_link(uri: &Uri, cursor: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let given = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    for (name, value) in given.filter(|(name, _)| name != "cursor") {
        query.append_pair(&name, &value);
    }
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.append_pair("cursor", cursor).finish())
}

/// An error as A's token routes wrote it.
pub(super) fn token_error(problem: &Problem) -> Value {
    if problem.kind.ends_with("invalid-fields") {
        let fields = problem.errors.iter().map(|error| (error.field.clone(), json!([error.detail])));
        return Value::Object(fields.collect::<Map<_, _>>());
    }
    if problem.kind.ends_with(TOKEN_NOT_VALID) {
        return json!({ "detail": problem.detail, "code": "token_not_valid" });
    }
    json!({ "detail": problem.detail })
}

/// An error as A's list wrote it.
pub(super) fn list_error(problem: &Problem, sent_credentials: bool) -> Value {
    match problem.status {
        StatusCode::UNAUTHORIZED if sent_credentials => json!({
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{ "token_class": "AccessToken", "token_type": "access", "message": "Token is invalid" }],
        }),
        StatusCode::UNAUTHORIZED => json!({ "detail": "Authentication credentials were not provided." }),
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => json!({ "detail": problem.detail }),
        _ if stock_trading::is_no_user(problem) => json!({ "detail": problem.detail }),
        // Nobody knows whether A's client was meant or B's row: each finds its own.
        _ if live_monitoring::is_no_transaction(problem) => {
            json!({ "error": "Client not found", "detail": problem.detail })
        }
        _ => json!({ "error": problem.detail }),
    }
}
