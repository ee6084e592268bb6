//! Service C: summaries by day, week or month, by default of the Jalali calendar. It knew one currency: the values
//! are of the installation's, unless `currency` names another. What failed is left out.

use super::clients_etl::{last_value, next_link, with_variants};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult, FieldError, Problem},
    routes::summaries::Measure,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    analytics::service,
    pagination::{Cursor, PageRequest},
    summaries::{Calendar, PeriodTotal, SummaryMode, SummaryQuery, queries::cursor_key},
};
use std::{fmt::Display, str::FromStr};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new().routes(routes!(list_summaries)),
        &[("/api/transactions/summary", "/api/transactions/summary/")],
        OpenApiRouter::new().route("/api/transactions/summary/", get(list_summaries)),
    )
}

/// One period.
#[derive(Debug, Serialize, ToSchema)]
struct Row {
    /// `1403/04/04`, for a week its first day; `1403/04` for a month.
    key: String,
    /// A whole number where it is one.
    #[schema(value_type = f64)]
    value: Value,
}

impl Row {
    fn new(calendar: Calendar, mode: SummaryMode, measure: Measure, total: &PeriodTotal) -> Self {
        // A week is called by its first day, in either calendar.
        let named_by = if mode == SummaryMode::Weekly { SummaryMode::Daily } else { mode };
        let key = calendar.key(named_by, total.period).replace('-', "/");
        Self { key, value: number(measure.of(total)) }
    }
}

fn number(value: Decimal) -> Value {
    match i64::try_from(value) {
        Ok(whole) if value.fract().is_zero() => json!(whole),
        _ => json!(value.to_string().parse::<f64>().unwrap_or(f64::NAN)),
    }
}

/// Parameters that are missing or cannot be read, by name.
#[derive(Debug, Serialize, ToSchema)]
struct Refusal {
    mode: Option<Vec<String>>,
    r#type: Option<Vec<String>>,
}

/// Sum transactions by day, week or month, as clients of service C ask for it.
///
/// The earliest period first; at most MILLRACE_COMPAT_ROWS rows (10,000), `Link: <…>; rel="next"` leads to the
/// rest. Weeks of the Jalali calendar begin on Saturday, of the Gregorian on Monday.
#[utoipa::path(get, path = "/api/transactions/summary", tag = "compat",
    params(("mode" = String, Query, description = "daily, weekly or monthly"),
        ("type" = String, Query, description = "amount or count"),
        ("merchant_id" = Option<String>, Query, description = "Only this merchant"),
        ("calendar" = Option<String>, Query, description = "jalali (usually the default) or gregorian"),
        ("currency" = Option<String>, Query, description = "The installation's if absent"),
        ("cursor" = Option<String>, Query, description = "As in `Link`")),
    responses(
    (status = 200, description = "The periods with transactions", body = [Row],
     headers(("Link" = String, description = "The next rows, if there are more"))),
    (status = 400, description = "A parameter is missing or cannot be read", body = Refusal),
))]
async fn list_summaries(State(state): State<AppState>, uri: Uri) -> ApiResult<Response> {
    let mut asked = Asked { uri: &uri, errors: Vec::new() };
    let mode = asked.required("mode");
    let measure = asked.required("type");
    let calendar = asked.optional("calendar").or(state.config.calendar).unwrap_or(Calendar::Jalali);
    let text = |name: &str| last_value(&uri, name).filter(|text| !text.contains('\0'));
    let (Some(mode), Some(measure), []) = (mode, measure, asked.errors.as_slice()) else {
        return Err(ApiError::bad_fields(asked.errors));
    };
    let currency =
        text("currency").map_or_else(|| state.env.settings.currency.clone(), |text| text.to_uppercase());
    let query = SummaryQuery {
        calendar,
        merchant_id: text("merchant_id"),
        currency: Some(currency),
        ..SummaryQuery::of(mode)
    };
    let cursor = last_value(&uri, "cursor").map(|text| read_cursor(&text)).transpose()?;
    let request = PageRequest { limit: state.config.compat.rows.into(), cursor };
    let page = service::period_totals(&state.kept, &query, &request).await?;
    let rows: Vec<Row> = page.items.iter().map(|total| Row::new(calendar, mode, measure, total)).collect();
    let mut response = Json(rows).into_response();
    let link = page.older.as_deref().map(|cursor| next_link(&uri, cursor));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn read_cursor(text: &str) -> ApiResult<Cursor> {
    let cursor = Cursor::decode(text)?;
    let (_, currency) = cursor_key(&cursor)?;
    if currency.contains('\0') { Err(shared::pagination::InvalidCursor.into()) } else { Ok(cursor) }
}

/// Parameters, and what is wrong with them.
struct Asked<'a> {
    uri: &'a Uri,
    errors: Vec<FieldError>,
}

impl Asked<'_> {
    fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = last_value(self.uri, name)?;
        let read = text.parse().map_err(|error: T::Err| self.wrong(name, error.to_string()));
        read.ok()
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        if last_value(self.uri, name).is_none() {
            self.wrong(name, "This field is required.".to_owned());
        }
        self.optional(name)
    }

    fn wrong(&mut self, name: &str, detail: String) {
        self.errors.push(FieldError { field: name.to_owned(), detail });
    }
}

/// An error by field, as the services of its kind wrote it; `detail` where no field is at fault.
pub(super) fn error(problem: &Problem) -> Value {
    let fields = problem.errors.iter().map(|error| (error.field.clone(), json!([error.detail])));
    match fields.collect::<Map<_, _>>() {
        none if none.is_empty() => json!({ "detail": problem.detail }),
        fields => Value::Object(fields),
    }
}
