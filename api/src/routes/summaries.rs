//! Totals by day, week and month, read from the kept summaries alone; and the upkeep of all summaries.

use crate::{
    actions::summaries::{Chore, ask_for},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, IdempotencyKey, JsonOrNothing, ListParams, ListQuery, NoQuery, PageParams, Params},
    routes::transactions::currency,
    views::{runs::RunView, summaries::SummaryRow, words},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::{
    analytics::service,
    pagination::{Cursor, InvalidCursor},
    runs::Run,
    summaries::{Calendar, PeriodTotal, SummaryMode, SummaryQuery, queries},
    transactions::{TransactionKind, TransactionStatus},
};
use utoipa::{IntoParams, ToSchema};

/// What `value` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The amounts, added.
    Amount,
    /// How many.
    Count,
}

impl Measure {
    /// The value of a total.
    pub fn of(self, total: &PeriodTotal) -> Decimal {
        match self {
            Self::Amount => total.sum,
            Self::Count => Decimal::from(total.count),
        }
    }
}

impl std::str::FromStr for Measure {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "amount" => Ok(Self::Amount),
            "count" => Ok(Self::Count),
            _ => Err("it is amount or count".to_owned()),
        }
    }
}

/// What is summed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SummaryParams {
    /// How long the periods are; daily if absent.
    #[param(schema_with = words::summary_mode)]
    mode: Option<SummaryMode>,
    /// Whose weeks and months: gregorian (weeks from Monday) or jalali (from Saturday); as the server is set if
    /// absent, usually gregorian. `from` and `to` are Gregorian days in either.
    #[param(schema_with = words::calendar)]
    calendar: Option<Calendar>,
    /// What `value` is: amount (the default) or count.
    #[param(value_type = Option<String>, example = "amount")]
    r#type: Measure,
    /// Only this merchant.
    merchant_id: Option<String>,
    /// Only this currency; a row for each if absent.
    #[param(example = "USD")]
    currency: Option<String>,
    /// Only this kind.
    #[param(schema_with = words::transaction_kind)]
    kind: Option<TransactionKind>,
    /// Only this status; everything but what failed if absent. Not with `merchant_id`.
    #[param(schema_with = words::transaction_status)]
    status: Option<TransactionStatus>,
    /// First day, in the reporting zone.
    from: Option<NaiveDate>,
    /// Last day, in the reporting zone.
    to: Option<NaiveDate>,
}

impl FromParams for SummaryParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            mode: params.parsed("mode")?,
            calendar: params.parsed("calendar")?,
            r#type: params.parsed("type")?.unwrap_or(Measure::Amount),
            merchant_id: params.text("merchant_id")?,
            currency: currency(params)?,
            kind: params.parsed("kind")?,
            status: params.parsed("status")?,
            from: params.date("from")?,
            to: params.date("to")?,
        })
    }
}

impl ListParams for SummaryParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        let (day, _) = queries::cursor_key(cursor)?;
        if (0..=9999).contains(&day.year()) { Ok(()) } else { Err(InvalidCursor) }
    }
}

impl SummaryParams {
    fn query(self, usual: Calendar) -> ApiResult<SummaryQuery> {
        if self.merchant_id.is_some() && self.status.is_some() {
            let detail = "A merchant's totals hold all that did not fail; leave status or merchant_id out.";
            return Err(ApiError::bad_parameter("status", detail));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
        }
        Ok(SummaryQuery {
            calendar: self.calendar.unwrap_or(usual),
            mode: self.mode.unwrap_or(SummaryMode::Daily),
            merchant_id: self.merchant_id,
            currency: self.currency,
            kind: self.kind,
            status: self.status,
            from: self.from,
            to: self.to,
        })
    }
}

/// Sum transactions by day, week or month of either calendar, the earliest period first.
///
/// Each currency has rows of its own; amounts of two are never added. Periods without transactions are
/// left out, and so is what failed unless `status=failed` asks for it.
#[utoipa::path(get, path = "/api/v1/summaries", tag = "summaries", params(SummaryParams, PageParams), responses(
    (status = 200, description = "A page of periods", body = Listing<SummaryRow>),
))]
pub async fn list_summaries(
    State(state): State<AppState>,
    query: ListQuery<SummaryParams>,
) -> ApiResult<Response> {
    let measure = query.params.r#type;
    let summary = query.params.query(state.config.calendar.unwrap_or(Calendar::Gregorian))?;
    let page = service::period_totals(&state.kept, &summary, &query.page).await?;
    let listing = Listing {
        items: page.items.iter().map(|total| row(&summary, measure, total)).collect(),
        next: page.older.clone(),
        previous: page.newer.clone(),
    };
    Ok(listing.respond(&query.uri))
}

fn row(query: &SummaryQuery, measure: Measure, total: &PeriodTotal) -> SummaryRow {
    let last = query.calendar.last_day(query.mode, total.period);
    SummaryRow {
        key: query.calendar.key(query.mode, total.period),
        from: query.from.map_or(total.period, |from| from.max(total.period)),
        to: query.to.map_or(last, |to| to.min(last)),
        value: measure.of(total),
        currency: total.currency.clone(),
        count: total.count,
        sum: total.sum,
        min: total.min,
        max: total.max,
    }
}

/// What is to be rebuilt.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebuildRequest {
    /// Whether every total is written anew, as if the tables had been emptied, or those that are wrong. Readers
    /// see no empty table either way.
    #[serde(default)]
    truncate: bool,
}

/// Refresh the clients' summary.
///
/// A run does it; one that waits already serves all who ask before it begins, and one that has begun goes through it
/// once more for all who ask meanwhile.
#[utoipa::path(post, path = "/api/v1/summaries/refresh", tag = "summaries", responses(
    (status = 202, description = "The run that stands for it", body = RunView,
     headers(("Location" = String, description = "The run"))),
))]
pub async fn refresh_summaries(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
) -> ApiResult<Response> {
    let (run, _) = ask_for(&state, &principal, Chore::Refresh, None).await?;
    answer(&state, run, true).await
}

/// Rebuild every total from the transactions.
///
/// A run does it in place, part by part, while uploads and undos go on; each total is seen as it was or as it
/// should be. Its result says of each table how many totals it looked at, and how many were created, written
/// and removed.
#[utoipa::path(post, path = "/api/v1/summaries/rebuild", tag = "summaries",
    request_body = Option<RebuildRequest>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The rebuild that has not ended, whatever it was asked to write, or that the same request started before",
     body = RunView, headers(("Location" = String, description = "The run"))),
    (status = 422, description = "The Idempotency-Key was used for another request"),
))]
pub async fn rebuild_summaries(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<RebuildRequest>,
) -> ApiResult<Response> {
    let chore = Chore::Rebuild { truncate: body.truncate };
    let (run, created) = ask_for(&state, &principal, chore, key.as_deref()).await?;
    answer(&state, run, created).await
}

/// Compare every total with the transactions.
///
/// A run does it, while loads go on, and fails if a total is not what its rows add up to, or a transaction has
/// not its client and its key: its result and its error name the first. It runs every night by itself.
#[utoipa::path(post, path = "/api/v1/summaries/verify", tag = "summaries",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run", body = RunView,
     headers(("Location" = String, description = "The run"))),
    (status = 200, description = "The verification that has not ended, or that the same request started before",
     body = RunView, headers(("Location" = String, description = "The run"))),
    (status = 422, description = "The Idempotency-Key was used for another request"),
))]
pub async fn verify_summaries(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
) -> ApiResult<Response> {
    let (run, created) = ask_for(&state, &principal, Chore::Verify, key.as_deref()).await?;
    answer(&state, run, created).await
}

/// The run that stands for a request: 202 if it was made, 200 if it was there.
pub(super) async fn answer(state: &AppState, run: Run, created: bool) -> ApiResult<Response> {
    let view = RunView::load(&mut *state.env.pool.get().await?, run).await?;
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, view.links.itself.clone())], Json(view)).into_response())
}
