//! Exchange rates: those in force, those that were added, and a form that adds one.

use super::{
    fmt,
    pieces::Time,
    shell::{Shell, done, page},
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    routes::fx_rates::{FxRateRequest, add},
};
use askama::Template;
use axum::{
    Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::fx::{self, queries::history};

/// Rates of the history that are shown.
const HISTORY: i64 = 200;

#[derive(Template)]
#[template(path = "pages/fx_rates/list.html")]
struct RatesPage {
    shell: Shell,
    rates: Vec<RateLine>,
    history: Vec<RateLine>,
    typed: Typed,
    complaint: Option<Complaint>,
}

struct RateLine {
    key: String,
    base: String,
    quote: String,
    rate: String,
    via: Option<&'static str>,
    /// When it came, or comes, into force; nothing if it always was.
    from: Option<Time>,
    to_come: bool,
    by: String,
}

struct Complaint {
    field: String,
    detail: String,
}

/// What the form says.
#[derive(Default, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    base: String,
    #[serde(default)]
    quote: String,
    #[serde(default)]
    rate: String,
    #[serde(default)]
    valid_from: String,
}

impl RatesPage {
    fn at(&self, field: &str) -> Option<&str> {
        self.complaint.as_ref().filter(|one| one.field == field).map(|one| one.detail.as_str())
    }
}

/// A rate with at least two decimals.
fn rate_words(rate: Decimal) -> String {
    let (whole, decimals) = fmt::amount(rate);
    format!("{whole}{decimals}")
}

async fn build(
    shell: Shell,
    state: &AppState,
    typed: Typed,
    complaint: Option<Complaint>,
) -> ApiResult<RatesPage> {
    let mut conn = state.env.pool.get().await?;
    let always = |at: chrono::DateTime<chrono::Utc>| at <= chrono::DateTime::UNIX_EPOCH;
    let rates = fx::rates_in_force(&mut conn, shell.now).await?;
    let rates = rates.into_iter().map(|rate| RateLine {
        key: format!("{}{}", rate.base, rate.quote),
        rate: rate_words(rate.rate),
        via: rate.via,
        from: (!always(rate.valid_from)).then(|| shell.date(rate.valid_from)),
        to_come: false,
        by: rate.created_by.unwrap_or_default(),
        base: rate.base,
        quote: rate.quote,
    });
    let added = history(&mut conn, HISTORY).await?;
    let added = added.into_iter().map(|rate| RateLine {
        key: format!("{}{}{}", rate.base, rate.quote, rate.valid_from.timestamp_micros()),
        rate: rate_words(rate.rate),
        via: None,
        from: (!always(rate.valid_from)).then(|| shell.date(rate.valid_from)),
        to_come: rate.valid_from > shell.now,
        by: rate.created_by,
        base: rate.base,
        quote: rate.quote,
    });
    Ok(RatesPage { rates: rates.collect(), history: added.collect(), shell, typed, complaint })
}

/// `GET /ui/fx-rates`.
pub(super) async fn list(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    page(&build(shell, &state, Typed::default(), None).await?)
}

/// `POST /ui/fx-rates`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let added = match request(&typed) {
        Ok(request) => add(&state, &session.principal, &request).await.map(drop),
        Err(error) => Err(error),
    };
    match added {
        Ok(()) => Ok(done("/ui/fx-rates", "rate-added")),
        Err(error) if [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT].contains(&error.status()) => {
            let problem = error.problem();
            let field = problem.field.clone().unwrap_or_default();
            let complaint = Complaint { field, detail: problem.detail.clone() };
            let form = build(shell, &state, typed, Some(complaint)).await?;
            Ok((error.status(), page(&form)?).into_response())
        }
        Err(error) => Err(error),
    }
}

fn request(typed: &Typed) -> ApiResult<FxRateRequest> {
    let rate = typed.rate.trim().parse::<Decimal>().map_err(|_| {
        ApiError::invalid("rate", "A rate is a number such as 0.9412, without separators of thousands.")
    })?;
    Ok(FxRateRequest {
        base: typed.base.clone(),
        quote: typed.quote.clone(),
        rate,
        valid_from: Some(typed.valid_from.clone()),
    })
}
