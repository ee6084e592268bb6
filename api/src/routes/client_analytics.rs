//! Figures of one client, exact at the commit that they are read at (but for `trades-summary`, which says when it
//! was true). A client without transactions has an empty list; one that is not known is 404.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    kept,
    params::{FromParams, NoQuery, Params, PathText, QueryOf},
    routes::{clients::no_client, transactions::currency},
    views::{
        analytics::{RiskProfileView, SpendTrendView, StatisticsView, TradesSummaryView, VOLATILITY_SCALE},
        quick, words,
    },
};
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, NaiveDate, Utc};
use shared::{
    analytics::{ClientDays, Spend, queries, queries::StatisticsQuery, service},
    clients::queries::find_client,
    summaries,
    transactions::TransactionKind,
};
use utoipa::IntoParams;

/// What statistics are of.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatisticsParams {
    /// Not before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
    /// Only this currency; each by itself if absent.
    #[param(example = "USD")]
    currency: Option<String>,
    /// Only this kind.
    #[param(schema_with = words::transaction_kind)]
    kind: Option<TransactionKind>,
}

impl FromParams for StatisticsParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = (params.from("from")?, params.until("to")?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
        }
        Ok(Self { from, to, currency: currency(params)?, kind: params.parsed("kind")? })
    }
}

/// Count, sum, minimum, maximum and mean of a client's amounts in a range.
///
/// Of the amounts of every kind unless `kind` says which, each currency by itself. What failed is left out.
#[utoipa::path(get, path = "/api/v1/clients/{id}/statistics", tag = "analytics",
    params(("id" = String, Path, description = "The client"), StatisticsParams), responses(
    (status = 200, description = "The figures, by currency", body = StatisticsView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_statistics(
    State(state): State<AppState>,
    PathText(id): PathText,
    QueryOf(params): QueryOf<StatisticsParams>,
) -> ApiResult<Json<StatisticsView>> {
    let StatisticsParams { from, to, currency, kind } = params;
    let query = StatisticsQuery { client_id: id.clone(), from, until: to, currency, kind, signed: false };
    let found = state.reads.statistics(query).await?;
    let currencies = found.ok_or_else(|| no_client(&id))?.into_iter().map(Into::into).collect();
    Ok(Json(StatisticsView { client_id: id, currencies }))
}

/// Which currency.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CurrencyParams {
    /// Only this currency; each by itself if absent.
    #[param(example = "USD")]
    currency: Option<String>,
}

impl FromParams for CurrencyParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { currency: currency(params)? })
    }
}

/// A client's lifetime spend and its rank, volatility, largest amount and shortest gap.
///
/// Spend is buys and payments; the other figures are of the amounts of every kind. What failed is left out.
#[utoipa::path(get, path = "/api/v1/clients/{id}/risk-profile", tag = "analytics",
    params(("id" = String, Path, description = "The client"), CurrencyParams), responses(
    (status = 200, description = "The profile, by currency", body = RiskProfileView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_risk_profile(
    State(state): State<AppState>,
    PathText(id): PathText,
    QueryOf(params): QueryOf<CurrencyParams>,
) -> ApiResult<Json<RiskProfileView>> {
    let (reads, kept) = (&state.reads, &state.kept);
    let profile = service::risk_profile(reads, kept, &id, Spend::Gross, VOLATILITY_SCALE).await?;
    let profile = profile.ok_or_else(|| no_client(&id))?;
    Ok(Json(RiskProfileView::new(id, profile, params.currency.as_deref())))
}

/// Days of a client, both of which belong to the range.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DaysParams {
    /// First day, in the reporting zone.
    from: Option<NaiveDate>,
    /// Last day, in the reporting zone.
    to: Option<NaiveDate>,
    /// Only this currency; each by itself if absent.
    #[param(example = "USD")]
    currency: Option<String>,
}

impl FromParams for DaysParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = days(params)?;
        Ok(Self { from, to, currency: currency(params)? })
    }
}

/// The parameters `from` and `to` as days.
pub fn days(params: &Params) -> ApiResult<(Option<NaiveDate>, Option<NaiveDate>)> {
    let (from, to) = (params.date("from")?, params.date("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
    }
    Ok((from, to))
}

/// What a client spent every day, with the moving average of seven days.
///
/// Every day of the reporting zone from the first to the last transaction in a currency, of them those in the
/// range. Spend is buys and payments; what failed is left out.
#[utoipa::path(get, path = "/api/v1/clients/{id}/spend-trend", tag = "analytics",
    params(("id" = String, Path, description = "The client"), DaysParams), responses(
    (status = 200, description = "The days, by currency", body = SpendTrendView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_spend_trend(
    State(state): State<AppState>,
    PathText(id): PathText,
    QueryOf(params): QueryOf<DaysParams>,
) -> ApiResult<Response> {
    let days = ClientDays { from: params.from, to: params.to, currency: params.currency };
    let zone = state.env.settings.zone;
    let trends = service::spend_trend(&state.reads, &id, zone, &days, Spend::Gross).await?;
    let json = quick::spend_trend(&id, &trends.ok_or_else(|| no_client(&id))?);
    Ok(kept::answer(json))
}

/// How much a client bought and sold, as of the last refresh of the clients' summary.
///
/// `POST /api/v1/summaries/refresh` brings it up to date; so does the end of each upload. What failed is left
/// out.
#[utoipa::path(get, path = "/api/v1/clients/{id}/trades-summary", tag = "analytics",
    params(("id" = String, Path, description = "The client")), responses(
    (status = 200, description = "The figures, by currency", body = TradesSummaryView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_trades_summary(
    State(state): State<AppState>,
    PathText(id): PathText,
    _: NoQuery,
) -> ApiResult<Json<TradesSummaryView>> {
    let mut conn = state.env.pool.get().await?;
    let client = find_client(&mut conn, &id).await?.ok_or_else(|| no_client(&id))?;
    let refreshed_at = summaries::queries::refreshed_at(&mut conn).await?;
    let trades = queries::trades_summary(&mut conn, &client.client_id).await?;
    let currencies = trades.into_iter().map(Into::into).collect();
    Ok(Json(TradesSummaryView { client_id: client.client_id, refreshed_at, currencies }))
}
