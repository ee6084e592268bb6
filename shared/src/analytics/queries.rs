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
use std::{collections::HashMap, sync::LazyLock};

/// The statement of [`statistics`].
pub const STATISTICS: &str = include_str!("statistics.sql");
/// The statement of [`trends`] about clients that are looked at together, and about one that is looked at alone.
pub static TREND: LazyLock<String> =
    LazyLock::new(|| with_own(include_str!("trend.sql"), include_str!("trend_rows.sql")));
/// See [`TREND`].
pub static TREND_ALONE: LazyLock<String> =
    LazyLock::new(|| with_own(include_str!("trend.sql"), include_str!("trend_sums.sql")));
/// The statement of [`risks`] about clients that are looked at together, and about one that is looked at alone, without
/// and with its ranks. Beside a rank that it may leave out PostgreSQL would not keep a plan but make one each time, over
/// all months, which takes longer than the rest.
pub static RISK: LazyLock<String> = LazyLock::new(|| risk(include_str!("risk_rows.sql"), NO_RANK));
/// See [`RISK`].
pub static RISK_ALONE: LazyLock<String> = LazyLock::new(|| risk(include_str!("risk_sums.sql"), NO_RANK));
static RISK_RANKED: LazyLock<String> = LazyLock::new(|| risk(include_str!("risk_sums.sql"), RANK));
const NO_RANK: &str = "NULL::bigint";
/// The rank of one of its rows.
const RANK: &str = "CASE WHEN r.currency IS NOT NULL THEN 1 + (
    SELECT count(DISTINCT CASE WHEN r.net THEN o.spent - o.gained ELSE o.spent END) FROM client_totals o
    WHERE o.currency = r.currency AND CASE WHEN r.net THEN o.spent - o.gained ELSE o.spent END > r.spend
) END";

fn risk(own: &str, rank: &str) -> String {
    format!("SELECT r.*, {rank} AS rank FROM ({}) AS r", with_own(include_str!("risk.sql"), own))
}

fn with_own(statement: &str, own: &str) -> String {
    statement.replace("(OWN)", &format!("({own})"))
}

/// Which clients are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// Those with so many transactions at most.
    UpTo(i64),
    /// Any.
    All,
}

impl Reach {
    fn most(self) -> i64 {
        match self {
            Self::UpTo(most) => most,
            Self::All => i64::MAX,
        }
    }
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
    reach: Reach,
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
        .bind::<BigInt, _>(reach.most());
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

/// What a client's risk profile and its spend by day are made of.
#[derive(Debug, Clone)]
pub(super) struct ClientFigures {
    /// The count of changes of the snapshot that all is of.
    pub changes: i64,
    /// Between two transactions that follow each other, in any currency.
    pub shortest_gap_us: Option<i64>,
    /// What was spent on the days that were asked for and the six before, in no order, a day perhaps several times.
    pub spent: Vec<(NaiveDate, Decimal)>,
    /// By currency, in their order.
    pub currencies: Vec<CurrencyFigures>,
}

/// What a risk profile is made of, in one currency.
#[derive(Debug, Clone)]
pub(super) struct CurrencyFigures {
    pub currency: String,
    pub count: i64,
    pub spend: Decimal,
    pub sum: Decimal,
    pub square_units: String,
    pub max: Decimal,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    pub rank: Option<i64>,
}

#[derive(QueryableByName)]
struct RiskRow {
    #[diesel(sql_type = BigInt)]
    question: i64,
    #[diesel(sql_type = Bool)]
    many: bool,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    count: Option<i64>,
    #[diesel(sql_type = Nullable<Numeric>)]
    spend: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    sum: Option<Decimal>,
    #[diesel(sql_type = Nullable<Text>)]
    square_units: Option<String>,
    #[diesel(sql_type = Nullable<Numeric>)]
    max: Option<Decimal>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    gap_us: Option<i64>,
    #[diesel(sql_type = Nullable<Array<Timestamptz>>)]
    times: Option<Vec<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Array<Date>>)]
    days: Option<Vec<NaiveDate>>,
    #[diesel(sql_type = Nullable<Array<Numeric>>)]
    spends: Option<Vec<Decimal>>,
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    rank: Option<i64>,
}

impl RiskRow {
    /// The figures of its currency, if it is a currency's row.
    fn of_currency(self) -> Option<CurrencyFigures> {
        Some(CurrencyFigures {
            currency: self.currency?,
            count: self.count?,
            spend: self.spend?,
            sum: self.sum?,
            square_units: self.square_units?,
            max: self.max?,
            first_at: self.first_at?,
            last_at: self.last_at?,
            rank: self.rank,
        })
    }
}

impl ClientFigures {
    /// `None`: there is no such client.
    fn of_rows(mut rows: Vec<RiskRow>) -> Option<Self> {
        let own = rows.swap_remove(rows.iter().position(|row| row.currency.is_none())?);
        let days = own.days.unwrap_or_default();
        let mut currencies: Vec<_> = rows.into_iter().filter_map(RiskRow::of_currency).collect();
        currencies.sort_unstable_by(|one, other| one.currency.cmp(&other.currency));
        Some(Self {
            changes: own.changes,
            shortest_gap_us: own.gap_us.or_else(|| shortest_gap_us(own.times.unwrap_or_default())),
            spent: days.into_iter().zip(own.spends.unwrap_or_default()).collect(),
            currencies,
        })
    }
}

fn shortest_gap_us(mut times: Vec<DateTime<Utc>>) -> Option<i64> {
    times.sort_unstable();
    times.windows(2).filter_map(|two| (two[1] - two[0]).num_microseconds()).min()
}

/// Clients' figures, each client's of one snapshot, with the spend by day if the question names a currency; an answer
/// for each question. `None` in it: there is no such client. Within [`Reach::UpTo`] the statement answers with the rows'
/// times and amounts, which the process puts together; of [`Reach::All`] PostgreSQL does.
pub(super) async fn risks(
    conn: &mut AsyncPgConnection,
    questions: &[SpendQuery],
    reach: Reach,
) -> QueryResult<Vec<Answer<Option<ClientFigures>>>> {
    let statement = match reach {
        Reach::UpTo(_) => &RISK,
        Reach::All => &RISK_ALONE,
    };
    figures(conn, statement, questions, reach).await
}

/// As [`risks`], ranked there and then, which looks at every client.
pub(super) async fn ranked_risks(
    conn: &mut AsyncPgConnection,
    questions: &[SpendQuery],
    reach: Reach,
) -> QueryResult<Vec<Answer<Option<ClientFigures>>>> {
    figures(conn, &RISK_RANKED, questions, reach).await
}

async fn figures(
    conn: &mut AsyncPgConnection,
    statement: &str,
    questions: &[SpendQuery],
    reach: Reach,
) -> QueryResult<Vec<Answer<Option<ClientFigures>>>> {
    let each = || questions.iter();
    let statement = diesel::sql_query(statement)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spend == Spend::Net).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each().map(|one| one.zone.name()).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::first_day).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::last_day).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.days.currency.as_deref()).collect::<Vec<_>>())
        .bind::<BigInt, _>(reach.most());
    let rows = Fixed(statement).load(conn).await?;
    let answers = by_question(questions.len(), rows, |row: &RiskRow| (row.question, row.many));
    Ok(answers.into_iter().map(|rows| rows.map(ClientFigures::of_rows)).collect())
}

/// What a client spent by day, in one currency.
#[derive(Debug, Clone)]
pub(super) struct DaysSpend {
    pub currency: String,
    /// The days of the first and of the last transaction in the currency.
    pub active: (NaiveDate, NaiveDate),
    /// What was spent on the days that were asked for and the six before, in no order, a day perhaps several times.
    pub spent: Vec<(NaiveDate, Decimal)>,
}

#[derive(QueryableByName)]
struct TrendRow {
    #[diesel(sql_type = BigInt)]
    question: i64,
    #[diesel(sql_type = Bool)]
    many: bool,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<Date>)]
    first_day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    last_day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Array<Date>>)]
    days: Option<Vec<NaiveDate>>,
    #[diesel(sql_type = Nullable<Array<Numeric>>)]
    spends: Option<Vec<Decimal>>,
}

/// What clients spent by day, by currency in their order; an answer for each question. `None` in it: there is no such
/// client.
pub(super) async fn trends(
    conn: &mut AsyncPgConnection,
    questions: &[SpendQuery],
    reach: Reach,
) -> QueryResult<Vec<Answer<Option<Vec<DaysSpend>>>>> {
    let each = || questions.iter();
    let statement: &str = match reach {
        Reach::UpTo(_) => &TREND,
        Reach::All => &TREND_ALONE,
    };
    let statement = diesel::sql_query(statement)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(each().map(|one| one.zone.name()).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::first_day).collect::<Vec<_>>())
        .bind::<Array<Date>, _>(each().map(SpendQuery::last_day).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(each().map(|one| one.days.currency.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(each().map(|one| one.spend == Spend::Net).collect::<Vec<_>>())
        .bind::<BigInt, _>(reach.most());
    let rows = Fixed(statement).load(conn).await?;
    let answers = by_question(questions.len(), rows, |row: &TrendRow| (row.question, row.many));
    Ok(answers.into_iter().map(|rows| rows.map(days_spend)).collect())
}

fn days_spend(rows: Vec<TrendRow>) -> Option<Vec<DaysSpend>> {
    if rows.is_empty() {
        return None;
    }
    let mut spent: HashMap<String, Vec<(NaiveDate, Decimal)>> = HashMap::new();
    let mut currencies = Vec::new();
    for row in rows {
        let Some(currency) = row.currency else { continue };
        match (row.first_day.zip(row.last_day), row.days.zip(row.spends)) {
            (Some(active), _) => currencies.push((currency, active)),
            (None, Some((days, spends))) => {
                spent.insert(currency, days.into_iter().zip(spends).collect());
            }
            (None, None) => {}
        }
    }
    currencies.sort_unstable();
    let whole = |(currency, active): (String, (NaiveDate, NaiveDate))| {
        let spent = spent.remove(&currency).unwrap_or_default();
        DaysSpend { currency, active, spent }
    };
    Some(currencies.into_iter().map(whole).collect())
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
