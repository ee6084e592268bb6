//! Service E: figures of one user. It knew no currency, kinds or statuses: the figures are of the installation's
//! currency, in which rows without one are; what was gained is negative again, as in E's files; what failed is
//! left out. Figures are JSON numbers, as E wrote them.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    params::{PathText, start_of_day},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};
use shared::analytics::{ClientDays, Spend, SpendTrend, queries::StatisticsQuery, service};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Decimals of a risk profile's figures.
const SCALE: u32 = 2;

pub(super) fn router() -> OpenApiRouter<AppState> {
    super::clients_etl::with_variants(
        OpenApiRouter::new()
            .routes(routes!(show_summary))
            .routes(routes!(show_risk_profile))
            .routes(routes!(show_spend_trend)),
        &[
            ("/summary/{id}", "/summary/{id}/"),
            ("/analytics/risk-profile/{id}", "/analytics/risk-profile/{id}/"),
            ("/analytics/spend-trend/{id}", "/analytics/spend-trend/{id}/"),
        ],
        OpenApiRouter::new()
            .route("/summary/{id}/", get(show_summary))
            .route("/analytics/risk-profile/{id}/", get(show_risk_profile))
            .route("/analytics/spend-trend/{id}/", get(show_spend_trend)),
    )
}

/// What cannot be read of a request, in the form of E's framework.
#[derive(Default)]
pub(super) struct Unreadable(Vec<Value>);

impl Unreadable {
    /// A user's number; `Err` holds what cannot be its id here, so that nobody has it.
    pub(super) fn user_id(&mut self, text: &str) -> i64 {
        let digits = text.trim();
        match digits.parse::<i64>() {
            Ok(id) => id,
            Err(error) if is_overflow(&error) => i64::MAX,
            Err(_) => {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                self.0.push(json!({
                    "type": "int_parsing", "loc": ["path", "user_id"], "msg": message, "input": text
                }));
                0
            }
        }
    }

    /// A day that must be given.
    fn day(&mut self, uri: &Uri, name: &str) -> NaiveDate {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let given = pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned());
        let Some(text) = given else {
            let missing =
                json!({ "type": "missing", "loc": ["query", name], "msg": "Field required", "input": null });
            self.0.push(missing);
            return NaiveDate::default();
        };
        read_day(&text).unwrap_or_else(|| {
            let why = if text.len() < "2026-01-31".len() {
                "input is too short"
            } else {
                "write it like 2026-01-31"
            };
            self.0.push(json!({
                "type": "date_from_datetime_parsing", "loc": ["query", name],
                "msg": format!("Input should be a valid date or datetime, {why}"),
                "input": text, "ctx": { "error": why }
            }));
            NaiveDate::default()
        })
    }

    /// The answer, if there is something that cannot be read.
    pub(super) fn refuse(self) -> Option<Response> {
        let body = json!({ "detail": self.0 });
        (!self.0.is_empty()).then(|| (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response())
    }
}

fn is_overflow(error: &std::num::ParseIntError) -> bool {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    matches!(error.kind(), PosOverflow | NegOverflow)
}

/// A day, or a midnight: E's framework took both.
fn read_day(text: &str) -> Option<NaiveDate> {
    let midnight = || {
        let time = text.strip_suffix('Z').unwrap_or(text).replace(' ', "T").parse::<NaiveDateTime>().ok()?;
        (time.time() == NaiveTime::MIN).then(|| time.date())
    };
    let day = text.parse().ok().or_else(midnight);
    day.filter(|day: &NaiveDate| (1..=9998).contains(&day.year()))
}

/// A decimal as the number nearest to it.
fn number(decimal: Decimal) -> f64 {
    decimal.to_string().parse().unwrap_or(f64::NAN)
}

/// An error: a text, or what is wrong with each parameter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Detail {
    /// What is wrong.
    detail: Value,
}

/// A user's transactions in a range.
#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    user_id: i64,
    max_transaction: f64,
    min_transaction: f64,
    mean_transaction: f64,
}

/// Largest, smallest and mean amount of a user in a range of days, as clients of service E ask for it.
///
/// In the installation's currency; sells and refunds are negative; what failed is left out.
#[utoipa::path(get, path = "/summary/{id}", tag = "compat",
    params(("id" = i64, Path, description = "The user"),
        ("start_date" = NaiveDate, Query, description = "First day, in the reporting zone"),
        ("end_date" = NaiveDate, Query, description = "Last day")),
    responses(
    (status = 200, description = "The figures", body = Summary),
    (status = 400, description = "The range ends before it begins", body = Detail),
    (status = 404, description = "There are no transactions in the range", body = Detail),
    (status = 422, description = "A parameter is missing or cannot be read", body = Detail),
))]
async fn show_summary(
    State(state): State<AppState>,
    PathText(id): PathText,
    uri: Uri,
) -> ApiResult<Response> {
    let mut unreadable = Unreadable::default();
    let user_id = unreadable.user_id(&id);
    let (start, end) = (unreadable.day(&uri, "start_date"), unreadable.day(&uri, "end_date"));
    if let Some(refusal) = unreadable.refuse() {
        return Ok(refusal);
    }
    if start > end {
        return Err(ApiError::bad_request("start_date cannot be after end_date"));
    }
    let zone = state.env.settings.zone;
    let query = StatisticsQuery {
        from: start_of_day(zone, start),
        until: end.checked_add_days(Days::new(1)).and_then(|day| start_of_day(zone, day)),
        ..all_signed(&state, &user_id.to_string())
    };
    let found = state.reads.statistics(query).await?;
    let amounts = found.and_then(|amounts| amounts.into_iter().next());
    let amounts = amounts
        .ok_or_else(|| ApiError::not_found("No transactions found for user in the given date range."))?;
    let summary = Summary {
        user_id,
        max_transaction: number(amounts.max),
        min_transaction: number(amounts.min),
        mean_transaction: number(amounts.sum / Decimal::from(amounts.count)),
    };
    Ok(Json(summary).into_response())
}

/// All of a user's amounts as E's files had them.
fn all_signed(state: &AppState, client: &str) -> StatisticsQuery {
    StatisticsQuery {
        client_id: client.to_owned(),
        from: None,
        until: None,
        currency: Some(state.env.settings.currency.clone()),
        kind: None,
        signed: true,
    }
}

/// A user's risk profile.
#[derive(Debug, Serialize, ToSchema)]
struct RiskProfile {
    user_id: i64,
    risk_metrics: RiskMetrics,
    analysis: &'static str,
}

/// Figures since the user's first transaction; two decimals where there are more.
#[derive(Debug, Serialize, ToSchema)]
struct RiskMetrics {
    /// Dense rank of the lifetime spend among all users.
    global_whale_rank: i64,
    /// Standard deviation over the mean.
    spending_volatility_index: f64,
    total_lifetime_spend: f64,
    max_single_transaction_spike: f64,
    /// null with one transaction, and if the gap is 0.00.
    shortest_time_between_transactions_mins: Option<f64>,
}

const ANALYSIS: &str = "High volatility implies erratic spending. Short transaction gaps may indicate automated or fraudulent activity.";

/// A user's rank, volatility, spend, largest amount and shortest gap, as clients of service E ask for it.
///
/// In the installation's currency (the gap in all); sells and refunds are negative; what failed is left out.
#[utoipa::path(get, path = "/analytics/risk-profile/{id}", tag = "compat",
    params(("id" = i64, Path, description = "The user")), responses(
    (status = 200, description = "The profile", body = RiskProfile),
    (status = 404, description = "There is no such user, or it has no transactions", body = Detail),
    (status = 422, description = "The id is no number", body = Detail),
))]
async fn show_risk_profile(State(state): State<AppState>, PathText(id): PathText) -> ApiResult<Response> {
    let mut unreadable = Unreadable::default();
    let user_id = unreadable.user_id(&id);
    if let Some(refusal) = unreadable.refuse() {
        return Ok(refusal);
    }
    let (client, currency) = (user_id.to_string(), &state.env.settings.currency);
    let profile = service::risk_profile(&state.reads, &state.kept, &client, Spend::Net, SCALE).await?;
    let amounts = state.reads.statistics(all_signed(&state, &client)).await?;
    let largest = amounts.and_then(|amounts| amounts.first().map(|amounts| amounts.max));
    let gap = profile.as_ref().and_then(|profile| profile.shortest_gap_minutes(SCALE));
    let risks = profile.map(|profile| profile.currencies).unwrap_or_default();
    let Some((risk, largest)) = risks.into_iter().find(|risk| risk.currency == *currency).zip(largest) else {
        return Err(ApiError::not_found("User not found or no transactions exist."));
    };
    // E divided by the mean, so a negative one made a negative index.
    let volatility = if risk.spend.is_sign_negative() { -risk.volatility } else { risk.volatility };
    let risk_metrics = RiskMetrics {
        global_whale_rank: risk.rank,
        spending_volatility_index: number(volatility),
        total_lifetime_spend: number(risk.spend),
        max_single_transaction_spike: number(largest),
        shortest_time_between_transactions_mins: gap.filter(|gap| !gap.is_zero()).map(number),
    };
    Ok(Json(RiskProfile { user_id, risk_metrics, analysis: ANALYSIS }).into_response())
}

/// One day of a trend.
#[derive(Debug, Serialize, ToSchema)]
struct Day {
    spend_date: NaiveDate,
    daily_total: f64,
    rolling_7d_avg: f64,
}

/// What a user spent by day, from the first to the last transaction; `None`: there are none.
pub(super) async fn user_trend(state: &AppState, user_id: i64) -> ApiResult<Option<SpendTrend>> {
    let settings = &state.env.settings;
    let days = ClientDays { from: None, to: None, currency: Some(settings.currency.clone()) };
    let client = user_id.to_string();
    let trends = service::spend_trend(&state.reads, &client, settings.zone, &days, Spend::Net).await?;
    Ok(trends.and_then(|trends| trends.into_iter().next()))
}

/// What a user spent every day, with the mean of this and the up to six days before, as clients of service E ask
/// for it.
///
/// In the installation's currency; sells and refunds are negative; what failed is left out.
#[utoipa::path(get, path = "/analytics/spend-trend/{id}", tag = "compat",
    params(("id" = i64, Path, description = "The user")), responses(
    (status = 200, description = "Every day from the first to the last transaction", body = [Day]),
    (status = 404, description = "There are no transactions", body = Detail),
    (status = 422, description = "The id is no number", body = Detail),
))]
async fn show_spend_trend(State(state): State<AppState>, PathText(id): PathText) -> ApiResult<Response> {
    let mut unreadable = Unreadable::default();
    let user_id = unreadable.user_id(&id);
    if let Some(refusal) = unreadable.refuse() {
        return Ok(refusal);
    }
    let trend = user_trend(&state, user_id).await?;
    let trend = trend.ok_or_else(|| ApiError::not_found("No transactions found for this user."))?;
    let day = |day: &shared::analytics::SpendDay| Day {
        spend_date: day.day,
        daily_total: number(day.spend),
        rolling_7d_avg: number(day.week_spend / Decimal::from(day.week_days)),
    };
    Ok(Json(trend.days.iter().map(day).collect::<Vec<_>>()).into_response())
}
