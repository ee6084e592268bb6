//! Exchange rates: those in force, and new ones.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, Json, NoQuery, Params, QueryOf, read_instant},
    routes::transactions::code,
    views::fx_rates::FxRateView,
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use shared::{
    audit,
    fx::{self, FxRate, NewRate},
};
use utoipa::{IntoParams, ToSchema};

/// What the list of rates is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FxRateParams {
    /// Only from this currency (ISO 4217).
    #[param(example = "EUR")]
    base: Option<String>,
    /// Only into this currency (ISO 4217).
    #[param(example = "USD")]
    quote: Option<String>,
    /// The rates in force at this moment: a day's beginning in the reporting zone, or an instant; now if
    /// absent.
    #[param(value_type = Option<String>, example = "2026-01-31T10:00:00Z")]
    at: Option<DateTime<Utc>>,
}

impl FromParams for FxRateParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { base: code(params, "base")?, quote: code(params, "quote")?, at: params.from("at")? })
    }
}

/// List the exchange rates in force.
///
/// One a pair, sorted by pair. Between two currencies without a rate of their own it is derived through
/// the dollar, and marked so.
#[utoipa::path(get, path = "/api/v1/fx-rates", tag = "fx rates", params(FxRateParams), responses(
    (status = 200, description = "All of them; there are no pages", body = Listing<FxRateView>),
))]
pub async fn list_fx_rates(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<FxRateParams>,
) -> ApiResult<Answer<Listing<FxRateView>>> {
    let mut conn = state.env.pool.get().await?;
    let at = params.at.unwrap_or_else(|| state.env.clock.now());
    let rates = fx::rates_in_force(&mut conn, at).await?.into_iter();
    let wanted = rates.filter(|rate| {
        params.base.as_ref().is_none_or(|base| *base == rate.base)
            && params.quote.as_ref().is_none_or(|quote| *quote == rate.quote)
    });
    Ok(Answer(Listing::whole(wanted.map(FxRateView::from).collect())))
}

/// A rate to add.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FxRateRequest {
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    pub base: String,
    /// ISO 4217 code.
    #[schema(example = "CHF")]
    pub quote: String,
    /// Units of `quote` for one of `base`: a decimal as a string, at most ten decimals.
    #[schema(value_type = String, example = "0.9412")]
    pub rate: Decimal,
    /// From when on: a day's beginning in the reporting zone, or an instant; from now if absent.
    #[schema(example = "2026-02-01")]
    pub valid_from: Option<String>,
}

/// Adds a rate and notes who did; from the API and from the page.
pub async fn add(state: &AppState, principal: &Principal, body: &FxRateRequest) -> ApiResult<FxRate> {
    let zone = state.env.settings.zone;
    let valid_from = read_instant(zone, "valid_from", body.valid_from.as_deref().unwrap_or_default())?;
    let new = NewRate {
        base: body.base.clone(),
        quote: body.quote.clone(),
        rate: body.rate,
        valid_from: valid_from.unwrap_or_else(|| state.env.clock.now()),
    };
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        let rate = fx::add_rate(conn, new, &principal.name).await?;
        let details = serde_json::json!({ "rate": rate.rate, "valid_from": rate.valid_from });
        let pair = format!("{}/{}", rate.base, rate.quote);
        audit::record(conn, &principal.name, "fx_rate.add", &pair, &details).await?;
        Ok(rate)
    })
    .await
}

/// Add an exchange rate.
///
/// Rates are added, never changed: from `valid_from` on it is in force, until the pair's next. What was
/// converted before stays as it was.
#[utoipa::path(post, path = "/api/v1/fx-rates", tag = "fx rates", request_body = FxRateRequest, responses(
    (status = 201, description = "The rate", body = FxRateView, headers(("Location" = String))),
    (status = 409, description = "The pair has a rate from that moment on already"),
    (status = 422, description = "A field cannot be used"),
))]
pub async fn add_fx_rate(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
    Json(body): Json<FxRateRequest>,
) -> ApiResult<Response> {
    let rate = add(&state, &principal, &body).await?;
    let location = format!(
        "/api/v1/fx-rates?base={}&quote={}&at={}",
        rate.base,
        rate.quote,
        rate.valid_from.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    );
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(FxRateView::from(rate))).into_response())
}
