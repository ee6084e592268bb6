//! Reading the kept totals. Weeks and months are sums of days, so no row of `transactions` is read.

use super::model::{PeriodTotal, SummaryMode};
use crate::{
    pagination::{Cursor, InvalidCursor, Page, PageRequest},
    schema::view_refreshes,
    transactions::{TransactionKind, TransactionStatus},
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Date, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What is summed. Days are the reporting zone's.
#[derive(Debug, Clone)]
pub struct SummaryQuery {
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
    let (source, status) = match query.merchant_id {
        Some(_) => ("merchant_days", "$2::text IS NULL AND merchant_id = $1"),
        None => (
            "day_totals",
            "$1::text IS NULL AND CASE WHEN $2::text IS NULL THEN status <> 'failed' ELSE status = $2 END",
        ),
    };
    let (beyond, order) = if request.upwards() { ("<", "DESC") } else { (">", "ASC") };
    let unit = query.mode.unit();
    let sql = format!(
        "SELECT period, currency, sum(count)::bigint AS count, sum(sum)::numeric(28,4) AS sum,
                min(min) AS min, max(max) AS max
         FROM (SELECT date_trunc('{unit}', day::timestamp)::date AS period, currency, count, sum, min, max
               FROM {source}
               WHERE {status}
                 AND ($3::text IS NULL OR currency = $3)
                 AND ($4::text IS NULL OR kind = $4)
                 AND ($5::date IS NULL OR day >= $5)
                 AND ($6::date IS NULL OR day <= $6)) AS days
         WHERE NOT $7 OR (period, currency) {beyond} ($8, $9 COLLATE \"C\")
         GROUP BY period, currency
         ORDER BY period {order}, currency COLLATE \"C\" {order}
         LIMIT $10"
    );
    let from = request.cursor.as_ref().and_then(|cursor| cursor_key(cursor).ok());
    let resumed = from.is_some();
    let (day, currency) = from.unwrap_or_default();
    let rows: Vec<PeriodTotal> = diesel::sql_query(sql)
        .bind::<Nullable<Text>, _>(&query.merchant_id)
        .bind::<Nullable<Text>, _>(query.status)
        .bind::<Nullable<Text>, _>(&query.currency)
        .bind::<Nullable<Text>, _>(query.kind)
        .bind::<Nullable<Date>, _>(query.from)
        .bind::<Nullable<Date>, _>(query.to)
        .bind::<Bool, _>(resumed)
        .bind::<Date, _>(day)
        .bind::<Text, _>(currency)
        .bind::<BigInt, _>(request.limit + 1)
        .load(conn)
        .await?;
    Ok(Page::from_rows(rows, request, |row| vec![row.period.to_string(), row.currency.clone()]))
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
