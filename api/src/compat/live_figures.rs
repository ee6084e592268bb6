//! Service B's figures: what its transactions of a range come to, and by day. They are of the installation's currency
//! and of every status, as B's were; what was sold or refunded counts as negative.

use super::{
    clients_etl::{last_value, money, next_link, with_variants},
    live_monitoring::MonitoringRefusal,
    live_shapes::number,
    moment::{End, read_moment},
};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult, FieldError},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::analytics::between::{between, day_sums};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Decimals of a mean: about as many as a float of B's has.
const MEAN_DECIMALS: u32 = 13;

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new().routes(routes!(show_statistics)).routes(routes!(list_averages)),
        &[
            ("/api/transactions", "/api/transactions/"),
            ("/api/transactions", "/api/get-transactions"),
            ("/api/transactions", "/api/get-transactions/"),
            ("/api/transactions/average/", "/api/transactions/average"),
        ],
        OpenApiRouter::new()
            .route("/api/transactions/", get(show_statistics))
            .route("/api/get-transactions", get(show_statistics))
            .route("/api/get-transactions/", get(show_statistics))
            .route("/api/transactions/average", get(list_averages)),
    )
}

/// What the transactions of a range come to. The names are B's.
#[derive(Debug, Serialize, ToSchema)]
struct MonitoringStatistics {
    data: MonitoringFigures,
}

#[derive(Debug, Serialize, ToSchema)]
struct MonitoringFigures {
    /// The mean amount; 0 if there are none.
    #[schema(value_type = f64)]
    avgerage_of_transactions: Box<RawValue>,
    /// Their amounts, added.
    #[schema(value_type = f64)]
    whole_profit: Box<RawValue>,
    /// How many.
    numer_of_sales: i64,
    /// How long the range is, within the first and the last transaction of all.
    #[schema(example = "10 days, 3 hours")]
    selected_time_frame: String,
}

/// What the transactions of a range come to, as clients of service B ask for it.
///
/// Both ends belong to the range; without one it is open. A time without a zone is UTC, and a day at the end counts
/// whole. Ends that come the wrong way round are swapped.
#[utoipa::path(get, path = "/api/transactions", tag = "compat",
    params(("from" = Option<String>, Query, description = "Not before", example = "2025-12-01 00:00:00"),
        ("to" = Option<String>, Query, description = "Not after", example = "2025-12-12")),
    responses(
    (status = 200, description = "The figures", body = MonitoringStatistics),
    (status = 400, description = "A time cannot be read", body = MonitoringRefusal),
))]
async fn show_statistics(State(state): State<AppState>, uri: Uri) -> ApiResult<Json<MonitoringStatistics>> {
    let (from, to) = range(&uri)?;
    let settings = &state.env.settings;
    let mut conn = state.env.pool.get().await?;
    let (start, until) = (from.map(|moment| moment.at), to.map(Moment::end));
    let there = between(&mut conn, &settings.currency, settings.zone, start, until).await?;
    let frame = there.first_at.zip(there.last_at).map(|(first, last)| {
        let end = to.map(|to| if to.is_day { to.end() } else { to.at });
        (start.map_or(first, |start| start.max(first)), end.map_or(last, |end| end.min(last)))
    });
    Ok(Json(MonitoringStatistics {
        data: MonitoringFigures {
            avgerage_of_transactions: number(mean(there.sum, there.count, MEAN_DECIMALS)),
            whole_profit: number(there.sum),
            numer_of_sales: there.count,
            selected_time_frame: frame.map_or_else(|| words(&[]), |(from, to)| time_frame(from, to)),
        },
    }))
}

/// A time as it was asked for.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: DateTime<Utc>,
    /// Whether no time of the day was given.
    is_day: bool,
}

impl Moment {
    /// What is not before this is after it.
    fn end(self) -> DateTime<Utc> {
        self.at + if self.is_day { TimeDelta::days(1) } else { TimeDelta::microseconds(1) }
    }
}

/// Both ends; what is absent or empty is no end.
fn range(uri: &Uri) -> ApiResult<(Option<Moment>, Option<Moment>)> {
    let mut errors = Vec::new();
    let mut read = |name: &str| {
        let text = last_value(uri, name)?;
        let read = moment(text.trim());
        if read.is_none() {
            errors.push(unreadable(name, "a time such as 2025-12-12 10:30:00, or a day such as 2025-12-12"));
        }
        read
    };
    let (from, to) = (read("from"), read("to"));
    if !errors.is_empty() {
        return Err(ApiError::bad_fields(errors));
    }
    Ok(match (from, to) {
        (Some(from), Some(to)) if to.at < from.at => (Some(to), Some(from)),
        other => other,
    })
}

fn moment(text: &str) -> Option<Moment> {
    let read = |text: &str| read_moment(chrono_tz::UTC, text, End::First);
    // An unescaped plus arrives as a blank.
    let at = read(text).or_else(|| {
        let (time, offset) = text.rsplit_once(' ')?;
        read(&format!("{time}+{offset}"))
    })?;
    Some(Moment { at, is_day: !text.contains(['T', 't', ' ']) })
}

fn unreadable(name: &str, right: &str) -> FieldError {
    FieldError { field: name.to_owned(), detail: format!("It cannot be read; write {right}.") }
}

/// Rounded once, half to even. Zero if there is nothing.
fn mean(sum: Decimal, count: i64, decimals: u32) -> Decimal {
    let mean = sum.checked_div(Decimal::from(count)).unwrap_or_default();
    mean.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven)
}

/// How far two times are apart by the calendar, in B's words.
fn time_frame(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    if to <= from {
        return words(&[]);
    }
    let after = |months: i64| from.checked_add_months(Months::new(u32::try_from(months).unwrap_or(0)));
    let apart = 12 * i64::from(to.year() - from.year()) + i64::from(to.month()) - i64::from(from.month());
    let whole = |months: i64| after(months).is_some_and(|reached| reached <= to);
    let months = if whole(apart) { apart } else { apart - 1 };
    let rest = to - after(months).unwrap_or(from);
    words(&[
        (months / 12, "years"),
        (months % 12, "months"),
        (rest.num_days(), "days"),
        (rest.num_hours() % 24, "hours"),
        (rest.num_minutes() % 60, "minutes"),
        (rest.num_seconds() % 60, "seconds"),
    ])
}

/// The parts that are not zero.
fn words(parts: &[(i64, &str)]) -> String {
    let said: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if said.is_empty() { "0 seconds".to_owned() } else { said.join(", ") }
}

/// What a day comes to.
#[derive(Debug, Serialize, ToSchema)]
struct MonitoringDay {
    /// In the reporting zone.
    date: NaiveDate,
    /// The mean amount, with two decimals.
    #[schema(example = "422.32")]
    average: String,
    /// How many.
    count: i64,
    /// Their amounts, added.
    #[schema(example = "1971809.00")]
    total: String,
}

/// The average amount by day, the earliest first, as the documents of service B have it.
///
/// Days without transactions are left out. An array of at most MILLRACE_COMPAT_ROWS rows (10,000); `Link: <…>;
/// rel="next"` leads to the rest.
#[utoipa::path(get, path = "/api/transactions/average/", tag = "compat",
    params(("from" = Option<NaiveDate>, Query, description = "First day; that of the earliest transaction if absent"),
        ("to" = Option<NaiveDate>, Query, description = "Last day; that of the latest transaction if absent"),
        ("cursor" = Option<NaiveDate>, Query, description = "As in `Link`")),
    responses(
    (status = 200, description = "The days", body = [MonitoringDay],
     headers(("Link" = String, description = "The next rows, if there are more"))),
    (status = 400, description = "A day cannot be read", body = MonitoringRefusal),
))]
async fn list_averages(State(state): State<AppState>, uri: Uri) -> ApiResult<Response> {
    let mut errors = Vec::new();
    let mut read = |name: &str| {
        let text = last_value(&uri, name)?;
        let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok();
        let day = day.filter(|day| (1..=9999).contains(&day.year()));
        if day.is_none() {
            errors.push(unreadable(name, "a day such as 2025-12-12"));
        }
        day
    };
    let (from, to, cursor) = (read("from"), read("to"), read("cursor"));
    if !errors.is_empty() {
        return Err(ApiError::bad_fields(errors));
    }
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) if to < from => (Some(to), Some(from)),
        other => other,
    };
    let rows = usize::try_from(state.config.compat.rows).unwrap_or(usize::MAX);
    let mut conn = state.env.pool.get().await?;
    let currency = &state.env.settings.currency;
    let limit = i64::from(state.config.compat.rows) + 1;
    let mut days = day_sums(&mut conn, currency, from.max(cursor), to, limit).await?;
    let next = days.get(rows).map(|day| next_link(&uri, &day.day.to_string()));
    days.truncate(rows);
    let days: Vec<MonitoringDay> = days
        .into_iter()
        .map(|day| MonitoringDay {
            date: day.day,
            average: money(mean(day.sum, day.count, 2)),
            count: day.count,
            total: money(day.sum),
        })
        .collect();
    let mut response = Json(days).into_response();
    if let Some(link) = next.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_frame_is_by_the_calendar() {
        for (from, to, expected) in [
            ("2025-12-12T10:30:00Z", "2025-12-12T10:30:00Z", "0 seconds"),
            ("2025-12-12T10:30:00Z", "2025-12-12T10:30:00.999Z", "0 seconds"),
            ("2025-12-01T00:00:00Z", "2025-12-11T00:00:00Z", "10 days"),
            ("2024-02-29T00:00:00Z", "2025-02-28T00:00:00Z", "1 years"),
            ("2025-01-31T00:00:00Z", "2025-02-28T00:00:00Z", "1 months"),
            ("2025-01-31T12:00:00Z", "2025-03-01T11:00:00Z", "1 months, 23 hours"),
            (
                "2024-01-01T00:00:00Z",
                "2025-03-04T04:05:06.5Z",
                "1 years, 2 months, 3 days, 4 hours, 5 minutes, 6 seconds",
            ),
            ("2025-12-12T00:00:00Z", "2025-12-11T00:00:00Z", "0 seconds"),
        ] {
            assert_eq!(time_frame(from.parse().unwrap(), to.parse().unwrap()), expected, "{from} {to}");
        }
    }

    #[test]
    fn means_are_exact_as_far_as_they_go() {
        let mean =
            |sum: &str, count, decimals| mean(sum.parse().unwrap(), count, decimals).normalize().to_string();
        assert_eq!(mean("1971809", 4669, 13), "422.3193403298351");
        assert_eq!(mean("2000", 2, 13), "1000");
        assert_eq!(mean("0", 0, 13), "0");
        assert_eq!((mean("0.01", 2, 2).as_str(), mean("0.03", 2, 2).as_str()), ("0", "0.02"));
    }

    #[test]
    fn a_range_has_ends_of_either_form() {
        let asked = |query: &str| range(&format!("/api/transactions?{query}").parse().unwrap());
        let ends = |query: &str| {
            let (from, to) = asked(query).unwrap();
            (from.map(|from| from.at.to_rfc3339()), to.map(|to| to.end().to_rfc3339()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(ends(""), (None, None));
        assert_eq!(ends("from=&to="), (None, None));
        assert_eq!(
            ends("from=2025-12-01+00:00:00&to=2025-12-12"),
            (some("2025-12-01T00:00:00+00:00"), some("2025-12-13T00:00:00+00:00"))
        );
        assert_eq!(
            ends("to=2025-12-12T10:30:00%2B02:00&from=2025-12-12%2010:30:00+01:00"),
            (some("2025-12-12T08:30:00+00:00"), some("2025-12-12T09:30:00.000001+00:00"))
        );
        let error = asked("from=bad&to=2025-99-99").unwrap_err();
        assert_eq!(error.problem().errors.len(), 2);
    }
}
