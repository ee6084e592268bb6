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
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Date, Nullable, Numeric, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

/// The statement of [`statistics`].
pub const STATISTICS: &str = include_str!("statistics.sql");
/// The statement of [`histories`], without the rank.
const HISTORY: &str = include_str!("history.sql");
/// The rank of one of its rows.
const RANK: &str = "CASE WHEN h.currency IS NOT NULL THEN 1 + (
    SELECT count(DISTINCT CASE WHEN h.net THEN o.spent - o.gained ELSE o.spent END) FROM client_totals o
    WHERE o.currency = h.currency AND CASE WHEN h.net THEN o.spent - o.gained ELSE o.spent END > h.spend
) END";

/// The statement of clients' histories. Two texts: beside a rank that it may leave out PostgreSQL would not keep a plan
/// but make one each time, over all months, which takes longer than the rest.
pub fn history(ranked: bool) -> String {
    let rank = if ranked { RANK } else { "NULL::bigint" };
    format!("SELECT h.*, {rank} AS rank FROM ({HISTORY}) AS h ORDER BY h.question, h.currency COLLATE \"C\"")
}

/// What is asked about a client's amounts.
#[derive(Debug, Clone)]
pub struct StatisticsQuery {
    /// The client.
    pub client_id: String,
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
    #[diesel(sql_type = BigInt)]
    question: i64,
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

/// Clients' amounts, by currency; an answer for each question. `None`: there is no such client.
pub(super) async fn statistics(
    conn: &mut AsyncPgConnection,
    questions: &[StatisticsQuery],
) -> QueryResult<Vec<Option<Vec<AmountStatistics>>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(STATISTICS)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(
            each().map(|one| one.from.unwrap_or_else(beginning)).collect::<Vec<_>>(),
        )
        .bind::<Array<Timestamptz>, _>(each().map(|one| one.until.unwrap_or_else(end)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.currency.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.kind).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.signed).collect::<Vec<_>>());
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
    let answer =
        |rows: Vec<StatisticsRow>| (!rows.is_empty()).then(|| rows.into_iter().filter_map(whole).collect());
    Ok(by_question(questions.len(), rows, |row| row.question).into_iter().map(answer).collect())
}

/// The beginning of the first day there is.
fn beginning() -> DateTime<Utc> {
    FIRST_DAY.and_time(NaiveTime::MIN).and_utc()
}

/// The end of the last day there is.
fn end() -> DateTime<Utc> {
    LAST_DAY.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1)
}

/// The rows of each question.
fn by_question<R>(questions: usize, rows: Vec<R>, question: impl Fn(&R) -> i64) -> Vec<Vec<R>> {
    let mut answers: Vec<Vec<R>> = std::iter::repeat_with(Vec::new).take(questions).collect();
    for row in rows {
        let place = usize::try_from(question(&row) - 1).ok();
        if let Some(answer) = place.and_then(|place| answers.get_mut(place)) {
            answer.push(row);
        }
    }
    answers
}

/// What is asked about a client's history.
#[derive(Debug, Clone)]
pub(super) struct HistoryQuery {
    /// The client.
    pub client_id: String,
    /// Transactions not before.
    pub from: Option<DateTime<Utc>>,
    /// Transactions before.
    pub until: Option<DateTime<Utc>>,
    /// Only this currency; each by itself if absent.
    pub currency: Option<String>,
    /// What counts as spend.
    pub spend: Spend,
    /// Whether what was spent is wanted beside the times.
    pub spends: bool,
}

/// A client's totals and transactions in one currency.
#[derive(QueryableByName)]
pub(super) struct HistoryRow {
    #[diesel(sql_type = BigInt)]
    question: i64,
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
    /// When its transactions were, in no order.
    #[diesel(sql_type = Nullable<Array<Timestamptz>>)]
    pub times: Option<Vec<DateTime<Utc>>>,
    /// What was spent at each of these times, if that was asked for.
    #[diesel(sql_type = Nullable<Array<Numeric>>)]
    pub spends: Option<Vec<Decimal>>,
    #[diesel(sql_type = BigInt)]
    pub changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub rank: Option<i64>,
}

#[cfg(test)]
impl HistoryRow {
    /// A row without figures.
    pub fn of(currency: &str) -> Self {
        Self {
            question: 1,
            currency: Some(currency.to_owned()),
            count: None,
            spend: None,
            sum: None,
            square_units: None,
            max: None,
            first_at: None,
            last_at: None,
            times: None,
            spends: None,
            changes: 0,
            rank: None,
        }
    }
}

/// Clients' histories by currency, all of one snapshot; rows for each question. With `ranked` each currency is ranked
/// there and then, which looks at every client. Empty: there is no such client.
pub(super) async fn histories(
    conn: &mut AsyncPgConnection,
    questions: &[HistoryQuery],
    ranked: bool,
) -> QueryResult<Vec<Vec<HistoryRow>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(history(ranked))
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(
            each().map(|one| one.from.unwrap_or_else(beginning)).collect::<Vec<_>>(),
        )
        .bind::<Array<Timestamptz>, _>(each().map(|one| one.until.unwrap_or_else(end)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.currency.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spend == Spend::Net).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spends).collect::<Vec<_>>());
    let rows = Fixed(statement).load(conn).await?;
    Ok(by_question(questions.len(), rows, |row: &HistoryRow| row.question))
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
