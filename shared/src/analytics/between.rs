//! What all transactions between two instants come to, in one currency: of every status, what was sold or refunded
//! counting as negative. Whole days come from the kept totals; only the days at the ends are read by their rows.

use crate::summaries::queries::{FIRST_DAY, LAST_DAY};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use diesel::{
    QueryResult, QueryableByName,
    sql_types::{BigInt, Date, Nullable, Numeric, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

/// More than any zone is away from UTC.
const SLACK: TimeDelta = TimeDelta::hours(24);

/// What a range comes to.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Between {
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Their amounts, added.
    #[diesel(sql_type = Numeric)]
    pub sum: Decimal,
    /// When the first transaction of all occurred, in whatever currency and range.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub first_at: Option<DateTime<Utc>>,
    /// When the last one did.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_at: Option<DateTime<Utc>>,
}

/// What a day comes to.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct DaySum {
    /// The day, in the reporting zone.
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Their amounts, added.
    #[diesel(sql_type = Numeric)]
    pub sum: Decimal,
}

/// What occurred not before `from` and before `until` comes to.
pub async fn between(
    conn: &mut AsyncPgConnection,
    currency: &str,
    zone: Tz,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> QueryResult<Between> {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let (first, last) = whole_days(zone, from, until);
    let (from, until) = (from.unwrap_or(midnight(FIRST_DAY)), until.unwrap_or(midnight(LAST_DAY)));
    // Where the rows of the days at the ends lie at most; which of them are theirs, the statement asks each row.
    let lower_end = until.min(midnight(first) + SLACK);
    let upper_start = from.max(midnight(last) + TimeDelta::days(1) - SLACK);
    diesel::sql_query(include_str!("between.sql"))
        .bind::<Text, _>(currency)
        .bind::<Text, _>(zone.name())
        .bind::<Date, _>(first)
        .bind::<Date, _>(last)
        .bind::<Timestamptz, _>(from)
        .bind::<Timestamptz, _>(lower_end)
        .bind::<Timestamptz, _>(upper_start)
        .bind::<Timestamptz, _>(until)
        .get_result(conn)
        .await
}

/// The first and the last day that belong to a range as a whole; the first is after the last if none does.
fn whole_days(zone: Tz, from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> (NaiveDate, NaiveDate) {
    // A day that begins twice, or not at midnight, is read by its rows.
    let begins = |at: DateTime<Utc>| {
        let local = at.with_timezone(&zone).naive_local();
        local.time() == NaiveTime::MIN && zone.from_local_datetime(&local).single().is_some()
    };
    let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let first = from
        .map_or(FIRST_DAY, |at| if begins(at) { day(at) } else { day(at).succ_opt().unwrap_or(LAST_DAY) });
    let last = until.map_or(LAST_DAY, |at| day(at).pred_opt().unwrap_or(FIRST_DAY));
    (first, last)
}

/// What each day of a range with transactions comes to, the earliest first; at most so many.
pub async fn day_sums(
    conn: &mut AsyncPgConnection,
    currency: &str,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    limit: i64,
) -> QueryResult<Vec<DaySum>> {
    diesel::sql_query(
        "SELECT day, sum(count)::bigint AS count,
                sum(CASE WHEN kind IN ('sell', 'refund') THEN -sum ELSE sum END) AS sum
         FROM day_totals WHERE currency = $1 AND day BETWEEN $2 AND $3 GROUP BY day ORDER BY day LIMIT $4",
    )
    .bind::<Text, _>(currency)
    .bind::<Date, _>(from.unwrap_or(FIRST_DAY))
    .bind::<Date, _>(to.unwrap_or(LAST_DAY))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_that_lie_within_a_range_are_whole() {
        let (utc, sao_paulo) = (chrono_tz::UTC, chrono_tz::America::Sao_Paulo);
        let at = |text: &str| Some(text.parse().unwrap());
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (zone, from, until, first, last) in [
            (utc, at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), "2026-01-01", "2026-01-31"),
            (utc, at("2026-01-01T00:00:01Z"), at("2026-01-31T23:59:59Z"), "2026-01-02", "2026-01-30"),
            (utc, at("2026-01-01T10:00:00Z"), at("2026-01-01T11:00:00Z"), "2026-01-02", "2025-12-31"),
            (utc, None, at("2026-01-01T11:00:00Z"), "0001-01-01", "2025-12-31"),
            (utc, at("2026-01-01T00:00:00Z"), None, "2026-01-01", "9999-12-31"),
            // This day began at one o'clock.
            (sao_paulo, at("2018-11-04T03:00:00Z"), at("2018-11-05T02:00:00Z"), "2018-11-05", "2018-11-04"),
        ] {
            assert_eq!(whole_days(zone, from, until), (day(first), day(last)), "{zone} {from:?} {until:?}");
        }
    }
}
