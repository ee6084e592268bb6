//! Reading clients' figures, by statements that stay within a client's first and last transaction.

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
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Date, Nullable, Numeric, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

/// The statement of [`statistics`].
pub const STATISTICS: &str = include_str!("statistics.sql");
/// The statement of [`trends`].
pub const TREND: &str = include_str!("trend.sql");
/// The rows of risk profiles, without the rank.
const RISK: &str = include_str!("risk.sql");
/// The rank of one of its rows.
const RANK: &str = "CASE WHEN r.currency IS NOT NULL THEN 1 + (
    SELECT count(DISTINCT CASE WHEN r.net THEN o.spent - o.gained ELSE o.spent END) FROM client_totals o
    WHERE o.currency = r.currency AND CASE WHEN r.net THEN o.spent - o.gained ELSE o.spent END > r.spend
) END";

/// The statement of [`risks`]. Two texts: beside a rank that it may leave out PostgreSQL would not keep a plan but make
/// one each time, over all months, which takes longer than the rest.
pub fn risk(ranked: bool) -> String {
    let rank = if ranked { RANK } else { "NULL::bigint" };
    format!("SELECT r.*, {rank} AS rank FROM ({RISK}) AS r ORDER BY r.question, r.currency COLLATE \"C\"")
}

/// The answer to a question; `None`: the client has too many transactions to be looked at together with others.
pub(super) type Answer<A> = Option<A>;

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
    #[diesel(sql_type = Bool)]
    many: bool,
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

/// Clients' amounts, by currency; an answer for each question. `None` in it: there is no such client.
pub(super) async fn statistics(
    conn: &mut AsyncPgConnection,
    questions: &[StatisticsQuery],
    most: i64,
) -> QueryResult<Vec<Answer<Option<Vec<AmountStatistics>>>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(STATISTICS)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(
            each().map(|one| one.from.unwrap_or_else(beginning)).collect::<Vec<_>>(),
        )
        .bind::<Array<Timestamptz>, _>(each().map(|one| one.until.unwrap_or_else(end)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.currency.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.kind).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.signed).collect::<Vec<_>>())
        .bind::<BigInt, _>(most);
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
    let answers = by_question(questions.len(), rows, |row| (row.question, row.many));
    Ok(answers.into_iter().map(|rows| rows.map(answer)).collect())
}

/// The beginning of the first day there is.
fn beginning() -> DateTime<Utc> {
    FIRST_DAY.and_time(NaiveTime::MIN).and_utc()
}

/// The end of the last day there is.
fn end() -> DateTime<Utc> {
    LAST_DAY.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1)
}

/// The rows of each question, by its number from 1 and whether they are too many.
fn by_question<R>(questions: usize, rows: Vec<R>, of: impl Fn(&R) -> (i64, bool)) -> Vec<Answer<Vec<R>>> {
    let mut answers: Vec<Answer<Vec<R>>> =
        std::iter::repeat_with(|| Some(Vec::new())).take(questions).collect();
    for row in rows {
        let (question, many) = of(&row);
        let Some(answer) = usize::try_from(question - 1).ok().and_then(|place| answers.get_mut(place)) else {
            continue;
        };
        match answer {
            Some(_) if many => *answer = None,
            Some(found) => found.push(row),
            None => {}
        }
    }
    answers
}

/// What is asked about what a client spent.
#[derive(Debug, Clone)]
pub(super) struct SpendQuery {
    /// The client.
    pub client_id: String,
    /// Whose days they are.
    pub zone: Tz,
    /// Which days.
    pub days: ClientDays,
    /// What counts as spend.
    pub spend: Spend,
}

impl SpendQuery {
    fn first_day(&self) -> NaiveDate {
        self.days.from.unwrap_or(FIRST_DAY)
    }

    fn last_day(&self) -> NaiveDate {
        self.days.to.unwrap_or(LAST_DAY)
    }
}

/// What a risk profile is made of, in one currency.
#[derive(QueryableByName)]
pub(super) struct RiskRow {
    #[diesel(sql_type = BigInt)]
    question: i64,
    #[diesel(sql_type = Bool)]
    many: bool,
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

/// Clients' figures by currency, all of one snapshot; rows for each question, with the spend by day if it names a
/// currency. With `ranked` each is ranked there and then, which looks at every client. Empty: there is no such client.
pub(super) async fn risks(
    conn: &mut AsyncPgConnection,
    questions: &[SpendQuery],
    ranked: bool,
    most: i64,
) -> QueryResult<Vec<Answer<Vec<RiskRow>>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(risk(ranked))
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spend == Spend::Net).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each().map(|one| one.zone.name()).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::first_day).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::last_day).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.days.currency.as_deref()).collect::<Vec<_>>())
        .bind::<BigInt, _>(most);
    let rows = Fixed(statement).load(conn).await?;
    Ok(by_question(questions.len(), rows, |row: &RiskRow| (row.question, row.many)))
}

/// What was spent in one currency, by day.
#[derive(QueryableByName)]
pub(super) struct TrendRow {
    #[diesel(sql_type = BigInt)]
    question: i64,
    #[diesel(sql_type = Bool)]
    many: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    #[diesel(sql_type = Nullable<Date>)]
    pub first_day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    pub last_day: Option<NaiveDate>,
    /// The days with transactions, and what was spent on each.
    #[diesel(sql_type = Nullable<Array<Date>>)]
    pub days: Option<Vec<NaiveDate>>,
    #[diesel(sql_type = Nullable<Array<Numeric>>)]
    pub spends: Option<Vec<Decimal>>,
}

/// The days on which clients spent, by currency; rows for each question. Empty: there is no such client.
pub(super) async fn trends(
    conn: &mut AsyncPgConnection,
    questions: &[SpendQuery],
    most: i64,
) -> QueryResult<Vec<Answer<Vec<TrendRow>>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(TREND)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each().map(|one| one.zone.name()).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::first_day).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::last_day).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.days.currency.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spend == Spend::Net).collect::<Vec<_>>())
        .bind::<BigInt, _>(most);
    let rows = Fixed(statement).load(conn).await?;
    Ok(by_question(questions.len(), rows, |row: &TrendRow| (row.question, row.many)))
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
    zone: Tz,
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
