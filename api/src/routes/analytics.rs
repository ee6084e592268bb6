//! Averages, rankings and what the whole is made of, from the kept summaries (of one client, from its rows).

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    list::{Listing, links},
    params::{FromParams, ListParams, ListQuery, PageParams, Params, QueryOf},
    routes::{client_analytics::days, clients::no_client, transactions::currency},
    views::{
        analytics::{AverageView, AveragesView, BreakdownView, TopClientsView, TopMerchantsView},
        words,
    },
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{Datelike, NaiveDate};
use shared::{
    analytics::{
        ClientDays, service,
        tops::{self, RangeQuery, TopBy, TopQuery},
    },
    clients::queries::find_client,
    pagination::{Cursor, InvalidCursor},
    summaries::{SummaryMode, SummaryQuery, queries::cursor_key},
};
use utoipa::IntoParams;

/// Rows of a ranking if nobody says how many, and at most.
const USUAL_TOP: i64 = 10;
const LONGEST_TOP: i64 = 100;

/// Which averages.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AverageParams {
    /// First day, in the reporting zone; that of the earliest transaction if absent.
    from: Option<NaiveDate>,
    /// Last day, in the reporting zone; that of the latest transaction if absent.
    to: Option<NaiveDate>,
    /// Only this currency; a row for each if absent.
    #[param(example = "USD")]
    currency: Option<String>,
    /// Only this client.
    client_id: Option<String>,
}

impl FromParams for AverageParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = days(params)?;
        Ok(Self { from, to, currency: currency(params)?, client_id: params.text("client_id")? })
    }
}

impl ListParams for AverageParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        let (day, _) = cursor_key(cursor)?;
        if (1..=9999).contains(&day.year()) { Ok(()) } else { Err(InvalidCursor) }
    }
}

/// The average amount by day, the earliest first; of all, or of one client.
///
/// Each currency has rows of its own. Days without transactions are left out, and so is what failed.
#[utoipa::path(get, path = "/api/v1/analytics/averages", tag = "analytics",
    params(AverageParams, PageParams), responses(
    (status = 200, description = "A page of days", body = AveragesView),
    (status = 404, description = "There is no such client"),
))]
pub async fn list_averages(
    State(state): State<AppState>,
    query: ListQuery<AverageParams>,
) -> ApiResult<Response> {
    let AverageParams { from, to, currency, client_id } = query.params;
    let zone = state.env.settings.zone;
    let mut conn = state.env.pool.get().await?;
    let (covered, page) = if let Some(id) = client_id {
        find_client(&mut conn, &id).await?.ok_or_else(|| no_client(&id))?;
        let covered = tops::client_days_covered(&mut conn, &id, zone).await?;
        let days = ClientDays { from, to, currency };
        (covered, service::client_days(&mut conn, &id, zone, &days, &query.page).await?.into())
    } else {
        let covered = tops::days_covered(&mut conn).await?;
        drop(conn);
        let summary = SummaryQuery { from, to, currency, ..SummaryQuery::of(SummaryMode::Daily) };
        (covered, service::period_totals(&state.kept, &summary, &query.page).await?)
    };
    let answer = AveragesView {
        from: from.or(covered.map(|days| days.0)),
        to: to.or(covered.map(|days| days.1)),
        items: page.items.iter().map(AverageView::from).collect(),
        next: page.older.clone(),
        previous: page.newer.clone(),
    };
    let links = links(&query.uri, answer.next.as_deref(), answer.previous.as_deref());
    Ok((links, Json(answer)).into_response())
}

/// Which merchants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TopMerchantParams {
    /// First day, in the reporting zone.
    from: Option<NaiveDate>,
    /// Last day, in the reporting zone.
    to: Option<NaiveDate>,
    /// In which currency; the installation's if absent.
    #[param(example = "USD")]
    currency: Option<String>,
    /// By what; amount if absent.
    #[param(schema_with = words::top_by)]
    by: Option<TopBy>,
    /// How many, 1 to 100; 10 if absent.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<i64>,
}

impl FromParams for TopMerchantParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = days(params)?;
        let (currency, limit) = (currency(params)?, top_limit(params)?);
        Ok(Self { from, to, currency, by: params.parsed("by")?, limit })
    }
}

fn top_limit(params: &Params) -> ApiResult<Option<i64>> {
    let limit = params.parsed::<i64>("limit")?;
    if limit.is_some_and(|limit| !(1..=LONGEST_TOP).contains(&limit)) {
        let detail = format!("The parameter limit is a number from 1 to {LONGEST_TOP}.");
        return Err(ApiError::bad_parameter("limit", detail));
    }
    Ok(limit)
}

/// The merchants with the largest amount, or the most transactions, in a range.
///
/// Of the amounts of every kind, in one currency. What failed is left out.
#[utoipa::path(get, path = "/api/v1/analytics/top-merchants", tag = "analytics", params(TopMerchantParams), responses(
    (status = 200, description = "The merchants, the first first", body = TopMerchantsView),
))]
pub async fn list_top_merchants(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<TopMerchantParams>,
) -> ApiResult<Json<TopMerchantsView>> {
    let query = TopQuery {
        from: params.from,
        to: params.to,
        currency: params.currency.unwrap_or_else(|| state.env.settings.currency.clone()),
        by: params.by.unwrap_or(TopBy::Amount),
        limit: params.limit.unwrap_or(USUAL_TOP),
    };
    let mut conn = state.env.pool.get().await?;
    let tops = tops::top_merchants(&mut conn, &state.kept, &query).await?;
    Ok(Json(TopMerchantsView { currency: query.currency, items: tops.iter().map(Into::into).collect() }))
}

/// Which clients.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TopClientParams {
    /// In which currency; the installation's if absent.
    #[param(example = "USD")]
    currency: Option<String>,
    /// By what; amount (lifetime spend) if absent.
    #[param(schema_with = words::top_by)]
    by: Option<TopBy>,
    /// How many, 1 to 100; 10 if absent.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<i64>,
}

impl FromParams for TopClientParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { currency: currency(params)?, by: params.parsed("by")?, limit: top_limit(params)? })
    }
}

/// The clients with the largest lifetime spend, or the most transactions.
///
/// Spend is buys and payments, in one currency, since the client's first transaction. What failed is left out.
#[utoipa::path(get, path = "/api/v1/analytics/top-clients", tag = "analytics", params(TopClientParams), responses(
    (status = 200, description = "The clients, the first first", body = TopClientsView),
))]
pub async fn list_top_clients(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<TopClientParams>,
) -> ApiResult<Json<TopClientsView>> {
    let currency = params.currency.unwrap_or_else(|| state.env.settings.currency.clone());
    let (by, limit) = (params.by.unwrap_or(TopBy::Amount), params.limit.unwrap_or(USUAL_TOP));
    let mut conn = state.env.pool.get().await?;
    let tops = tops::top_clients(&mut conn, &state.kept, &currency, by, limit).await?;
    Ok(Json(TopClientsView { currency, items: tops.into_iter().map(Into::into).collect() }))
}

/// Of which days and currency.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BreakdownParams {
    /// First day, in the reporting zone.
    from: Option<NaiveDate>,
    /// Last day, in the reporting zone.
    to: Option<NaiveDate>,
    /// Only this currency; rows for each if absent.
    #[param(example = "USD")]
    currency: Option<String>,
}

impl FromParams for BreakdownParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = days(params)?;
        Ok(Self { from, to, currency: currency(params)? })
    }
}

/// Transactions in a range by currency and kind.
///
/// What failed is left out.
#[utoipa::path(get, path = "/api/v1/analytics/breakdown", tag = "analytics", params(BreakdownParams), responses(
    (status = 200, description = "All of it, at once", body = Listing<BreakdownView>),
))]
pub async fn list_breakdown(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<BreakdownParams>,
) -> ApiResult<Json<Listing<BreakdownView>>> {
    let BreakdownParams { from, to, currency } = params;
    let mut conn = state.env.pool.get().await?;
    let parts = tops::breakdown(&mut conn, &state.kept, &RangeQuery { from, to, currency }).await?;
    Ok(Json(Listing::whole(parts.iter().map(Into::into).collect())))
}
