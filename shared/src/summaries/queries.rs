//! Reading the kept totals. Weeks and months are sums of days, so no row of `transactions` is read.

use super::{
    calendar::{Calendar, jalali_months},
    model::{PeriodTotal, SummaryMode},
};
use crate::{
    fixed::Fixed,
    pagination::{Cursor, InvalidCursor, Page, PageRequest},
    schema::view_refreshes,
    transactions::{TransactionKind, TransactionStatus},
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Date, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Days without a limit; both can be written by PostgreSQL.
pub(crate) const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1, 1, 1).expect("a day");
pub(crate) const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a day");

/// What is summed. Days are the reporting zone's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SummaryQuery {
    /// Whose weeks and months.
    pub calendar: Calendar,
    /// How long the periods are.
    pub mode: SummaryMode,
    /// Only this merchant; its totals know no status, so `status` must be absent then.
    pub merchant_id: Option<String>,
    /// Only this currency; each by itself if absent: amounts of two are never added.
    pub currency: Option<String>,
    /// Only this kind.
    pub kind: Option<TransactionKind>,
    /// Only this status; everything but what failed if absent.
    pub status: Option<TransactionStatus>,
    /// Not before this day.
    pub from: Option<NaiveDate>,
    /// Not after this day.
    pub to: Option<NaiveDate>,
}

impl SummaryQuery {
    /// All that did not fail, in Gregorian periods.
    pub fn of(mode: SummaryMode) -> Self {
        Self {
            calendar: Calendar::Gregorian,
            mode,
            merchant_id: None,
            currency: None,
            kind: None,
            status: None,
            from: None,
            to: None,
        }
    }

    fn has_jalali_months(&self) -> bool {
        self.mode == SummaryMode::Monthly && self.calendar == Calendar::Jalali
    }
}

/// The key of a cursor over period totals: first day and currency.
pub fn cursor_key(cursor: &Cursor) -> Result<(NaiveDate, String), InvalidCursor> {
    match cursor.key.as_slice() {
        [day, currency] => Ok((day.parse().map_err(|_| InvalidCursor)?, currency.clone())),
        _ => Err(InvalidCursor),
    }
}

/// Totals by period and currency, the earliest first: `older` is the way towards later periods. A
/// period without transactions has no row.
pub async fn list_period_totals(
    conn: &mut AsyncPgConnection,
    query: &SummaryQuery,
    request: &PageRequest,
) -> QueryResult<Page<PeriodTotal>> {
    let upwards = request.upwards();
    let (beyond, order) = if upwards { ("<", "DESC") } else { (">", "ASC") };
    let (source, whose, who) = match (&query.merchant_id, query.status) {
        (Some(merchant), _) => ("merchant_days", "merchant_id = $9", Some(merchant.as_str())),
        (None, Some(status)) => ("day_totals", "status = $9", Some(status.as_str())),
        (None, None) => ("day_totals", "status <> 'failed'", None),
    };
    let period = period_in_sql(query, if who.is_some() { "$10" } else { "$9" });
    let sql = format!(
        "SELECT period, currency, sum(count)::bigint AS count, sum(sum)::numeric(28,4) AS sum,
                min(min) AS min, max(max) AS max
         FROM (SELECT {period} AS period, currency, count, sum, min, max
               FROM {source}
               WHERE {whose} AND day >= $1 AND day <= $2
                 AND ($3::text IS NULL OR currency = $3)
                 AND ($4::text IS NULL OR kind = $4)) AS days
         WHERE NOT $5 OR (period, currency) {beyond} ($6, $7 COLLATE \"C\")
         GROUP BY period, currency
         ORDER BY period {order}, currency {order}
         LIMIT $8"
    );
    let from = request.cursor.as_ref().and_then(|cursor| cursor_key(cursor).ok());
    let (first, last) = days_to_read(query, from.as_ref().map(|key| key.0), upwards);
    let resumed = from.is_some();
    let (day, currency) = from.unwrap_or_default();
    let mut statement = diesel::sql_query(sql)
        .into_boxed::<Pg>()
        .bind::<Date, _>(first)
        .bind::<Date, _>(last)
        .bind::<Nullable<Text>, _>(&query.currency)
        .bind::<Nullable<Text>, _>(query.kind)
        .bind::<Bool, _>(resumed)
        .bind::<Date, _>(day)
        .bind::<Text, _>(currency)
        .bind::<BigInt, _>(request.limit + 1);
    if let Some(who) = who {
        statement = statement.bind::<Text, _>(who);
    }
    if query.has_jalali_months() {
        statement = statement.bind::<Array<Date>, _>(jalali_months(first, last));
    }
    let rows: Vec<PeriodTotal> = Fixed(statement).load(conn).await?;
    Ok(Page::from_rows(rows, request, |row| vec![row.period.to_string(), row.currency.clone()]))
}

/// The first day of the period that the column `day` belongs to. SQL knows no Jalali months: it finds them
/// among their first days, the parameter `months`.
fn period_in_sql(query: &SummaryQuery, months: &str) -> String {
    match (query.mode, query.calendar) {
        (SummaryMode::Daily, _) => "day".to_owned(),
        (SummaryMode::Weekly, Calendar::Gregorian) => "day - (extract(isodow FROM day)::int - 1)".to_owned(),
        (SummaryMode::Weekly, Calendar::Jalali) => "day - (extract(isodow FROM day)::int + 1) % 7".to_owned(),
        (SummaryMode::Monthly, Calendar::Gregorian) => "date_trunc('month', day::timestamp)::date".to_owned(),
        (SummaryMode::Monthly, Calendar::Jalali) => format!("({months})[width_bucket(day, {months})]"),
    }
}

/// The first and the last day that a page can need: what lies before its cursor's period is not read again.
fn days_to_read(query: &SummaryQuery, cursor: Option<NaiveDate>, upwards: bool) -> (NaiveDate, NaiveDate) {
    let first = query.from.unwrap_or(FIRST_DAY);
    let last = query.to.unwrap_or(LAST_DAY);
    match cursor {
        None => (first, last),
        Some(period) if upwards => (first, last.min(query.calendar.last_day(query.mode, period))),
        Some(period) => (first.max(period), last),
    }
}

/// The materialized view of clients' totals, and its name in `view_refreshes`.
const CLIENT_SUMMARY: &str = "client_transaction_summary";

/// Notes that a refresh is wanted, which one that runs sees before it ends; locks that note.
pub(super) async fn want_refresh(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    note_wanted(conn, true).await
}

/// Forgets what was wanted until now: the refresh that begins serves it.
pub(super) async fn begin_refresh(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    note_wanted(conn, false).await
}

async fn note_wanted(conn: &mut AsyncPgConnection, wanted: bool) -> QueryResult<()> {
    diesel::update(view_refreshes::table.find(CLIENT_SUMMARY))
        .set(view_refreshes::wanted.eq(wanted))
        .execute(conn)
        .await
        .map(drop)
}

/// Refreshes the materialized view without blocking its readers, and notes when, in the caller's transaction.
/// Whether another was wanted meanwhile; nobody can want one more before the commit.
pub(super) async fn refresh(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    diesel::sql_query(format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {CLIENT_SUMMARY}"))
        .execute(conn)
        .await?;
    diesel::update(view_refreshes::table.find(CLIENT_SUMMARY))
        .set(view_refreshes::refreshed_at.eq(diesel::dsl::now))
        .returning(view_refreshes::wanted)
        .get_result(conn)
        .await
}

/// As of when the materialized view is: what had been committed by then is in it. `None` if it never was
/// refreshed, and then it is empty.
pub async fn refreshed_at(conn: &mut AsyncPgConnection) -> QueryResult<Option<DateTime<Utc>>> {
    view_refreshes::table.find(CLIENT_SUMMARY).select(view_refreshes::refreshed_at).first(conn).await
}
