//! Reading a client's figures, each by one statement that stays within the client's first and last transaction.

use super::model::{AmountStatistics, ClientDays, Spend, TradesSummary};
use crate::{
    fixed::Fixed,
    schema::client_transaction_summary,
    summaries::{
        PeriodTotal,
        queries::{FIRST_DAY, LAST_DAY},
    },
    transactions::TransactionKind,
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Date, Nullable, Numeric, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

/// The statement of [`client_statistics`].
pub const STATISTICS: &str = include_str!("statistics.sql");
/// The rows of a risk profile, without the rank.
const RISK: &str = include_str!("risk.sql");
/// The rank of one of its rows.
const RANK: &str = "CASE WHEN r.currency IS NOT NULL THEN 1 + (
    SELECT count(DISTINCT CASE WHEN $2 THEN o.spent - o.gained ELSE o.spent END) FROM client_totals o
    WHERE o.currency = r.currency AND CASE WHEN $2 THEN o.spent - o.gained ELSE o.spent END > r.spend
) END";
/// The statement of a risk profile. Two texts: beside a rank that it may leave out PostgreSQL would not keep a plan
/// but make one each time, over all months, which takes longer than the rest.
pub fn risk(ranked: bool) -> String {
    let rank = if ranked { RANK } else { "NULL::bigint" };
    format!("SELECT r.*, {rank} AS rank FROM ({RISK}) AS r ORDER BY r.currency")
}

/// The statement of a spend trend.
pub const TREND: &str = include_str!("trend.sql");

/// What a client's amounts are narrowed to.
#[derive(Debug, Clone)]
pub struct StatisticsQuery {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
    /// Only this currency; each by itself if absent.
    pub currency: Option<String>,
    /// Only this kind.
    pub kind: Option<TransactionKind>,
    /// Whether what was gained counts as negative.
    pub signed: bool,
}

#[derive(QueryableByName)]
struct StatisticsRow {
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    count: Option<i64>,
    #[diesel(sql_type = Nullable<Numeric>)]
    sum: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    min: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    max: Option<Decimal>,
}

/// A client's amounts, by currency. `None`: there is no such client.
pub async fn client_statistics(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    query: &StatisticsQuery,
) -> QueryResult<Option<Vec<AmountStatistics>>> {
    let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let statement = diesel::sql_query(STATISTICS)
        .bind::<Text, _>(client_id)
        .bind::<Timestamptz, _>(query.from.unwrap_or(midnight(FIRST_DAY)))
        .bind::<Timestamptz, _>(query.until.unwrap_or(midnight(LAST_DAY)))
        .bind::<Nullable<Text>, _>(&query.currency)
        .bind::<Nullable<Text>, _>(query.kind)
        .bind::<Bool, _>(query.signed);
    let rows: Vec<StatisticsRow> = Fixed(statement).load(conn).await?;
    let whole = |row: StatisticsRow| {
        Some(AmountStatistics {
            currency: row.currency?,
            count: row.count?,
            sum: row.sum?,
            min: row.min?,
            max: row.max?,
        })
    };
    Ok((!rows.is_empty()).then(|| rows.into_iter().filter_map(whole).collect()))
}

/// What a risk profile is made of, in one currency.
#[derive(QueryableByName)]
pub(super) struct RiskRow {
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub count: Option<i64>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub spend: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub sum: Option<Decimal>,
    #[diesel(sql_type = Nullable<Text>)]
    pub square_units: Option<String>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub max: Option<Decimal>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub first_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub gap_us: Option<i64>,
    /// The days with transactions in the currency whose days were asked for, and what was spent on each.
    #[diesel(sql_type = Nullable<Array<Date>>)]
    pub days: Option<Vec<NaiveDate>>,
    #[diesel(sql_type = Nullable<Array<Numeric>>)]
    pub spends: Option<Vec<Decimal>>,
    #[diesel(sql_type = BigInt)]
    pub changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub rank: Option<i64>,
}

/// A client's figures by currency, all of one snapshot; with the spend by day if `days` names a currency. With
/// `rank` each is ranked there and then, which looks at every client. Empty: there is no such client.
pub(super) async fn risk_rows(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
    spend: Spend,
    rank: bool,
) -> QueryResult<Vec<RiskRow>> {
    let statement = diesel::sql_query(risk(rank))
        .bind::<Text, _>(client_id)
        .bind::<Bool, _>(spend == Spend::Net)
        .bind::<Text, _>(zone.name())
        .bind::<Date, _>(days.from.unwrap_or(FIRST_DAY))
        .bind::<Date, _>(days.to.unwrap_or(LAST_DAY))
        .bind::<Nullable<Text>, _>(&days.currency);
    Fixed(statement).load(conn).await
}

/// Every client's spend in one currency, in no order, and the count of changes of the same snapshot.
#[derive(QueryableByName)]
pub(super) struct AllSpend {
    #[diesel(sql_type = BigInt)]
    pub changes: i64,
    #[diesel(sql_type = Array<Numeric>)]
    pub spends: Vec<Decimal>,
}

pub(super) async fn all_spend(
    conn: &mut AsyncPgConnection,
    currency: &str,
    spend: Spend,
) -> QueryResult<AllSpend> {
    let statement = diesel::sql_query(
        "SELECT (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes,
                coalesce(array_agg(CASE WHEN $2 THEN spent - gained ELSE spent END), '{}') AS spends
         FROM client_totals WHERE currency = $1",
    );
    Fixed(statement.bind::<Text, _>(currency).bind::<Bool, _>(spend == Spend::Net)).get_result(conn).await
}

/// What was spent on one day, beside the first and last day of the currency.
#[derive(QueryableByName)]
pub(super) struct TrendRow {
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    #[diesel(sql_type = Nullable<Date>)]
    pub first_day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    pub last_day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    pub day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub spend: Option<Decimal>,
}

/// The days on which a client spent, by currency and day. Empty: there is no such client.
pub(super) async fn trend_rows(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
    spend: Spend,
) -> QueryResult<Vec<TrendRow>> {
    let statement = diesel::sql_query(TREND)
        .bind::<Text, _>(client_id)
        .bind::<Text, _>(zone.name())
        .bind::<Date, _>(days.from.unwrap_or(FIRST_DAY))
        .bind::<Date, _>(days.to.unwrap_or(LAST_DAY))
        .bind::<Nullable<Text>, _>(&days.currency)
        .bind::<Bool, _>(spend == Spend::Net);
    Fixed(statement).load(conn).await
}

/// A client's transactions by day and currency, the earliest first; days without any are left out.
pub async fn client_days(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
) -> QueryResult<Vec<PeriodTotal>> {
    let statement = diesel::sql_query(include_str!("client_days.sql"))
        .bind::<Text, _>(client_id)
        .bind::<Text, _>(zone.name())
        .bind::<Date, _>(days.from.unwrap_or(FIRST_DAY))
        .bind::<Date, _>(days.to.unwrap_or(LAST_DAY))
        .bind::<Nullable<Text>, _>(&days.currency);
    Fixed(statement).load(conn).await
}

/// A client's buys and sells, by currency, from the materialized view.
pub async fn trades_summary(
    conn: &mut AsyncPgConnection,
    client_id: &str,
) -> QueryResult<Vec<TradesSummary>> {
    client_transaction_summary::table
        .filter(client_transaction_summary::client_id.eq(client_id))
        .order(client_transaction_summary::currency)
        .select(TradesSummary::as_select())
        .load(conn)
        .await
}
