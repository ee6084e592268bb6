//! Figures put together: ranks from a ranking that is kept, trends without gaps, answers kept while nothing
//! has changed.

use super::{
    arithmetic::{self, SCALE},
    model::{ClientDays, CurrencyRisk, RiskProfile, Spend, SpendDay, SpendTrend},
    queries::{self, HistoryQuery, HistoryRow},
    reads::{ClientReads, ReadError},
    tops::{Breakdown, ClientPlace, RangeQuery, TopBy, TopMerchant, TopQuery},
};
use crate::{
    db::DbError,
    gather::AskError,
    pagination::{Page, PageRequest},
    summaries::{
        PeriodTotal, SummaryQuery,
        answers::{Answers, changes},
        queries::{cursor_key, list_period_totals},
    },
};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use ethnum::U256;
use rust_decimal::Decimal;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Days of the moving average.
const WINDOW: usize = 7;
/// With the decimals of an amount.
const NOTHING: Decimal = Decimal::from_parts(0, 0, 0, false, SCALE);
/// How often a ranking is looked for that is of the same snapshot as the client's own figures.
const RANKING_TRIES: usize = 3;

/// Answers of this process that are kept while no summary changes.
#[derive(Debug, Default)]
pub struct KeptAnswers {
    periods: Answers<(SummaryQuery, PageRequest), Page<PeriodTotal>>,
    rankings: Answers<(String, Spend), Ranking>,
    pub(super) merchants: Answers<TopQuery, Vec<TopMerchant>>,
    pub(super) clients: Answers<(String, TopBy, i64), Vec<ClientPlace>>,
    pub(super) breakdowns: Answers<RangeQuery, Vec<Breakdown>>,
}

/// A page of [`list_period_totals`].
pub async fn period_totals(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    query: &SummaryQuery,
    page: &PageRequest,
) -> QueryResult<Arc<Page<PeriodTotal>>> {
    let changes = changes(conn).await?;
    let key = (query.clone(), page.clone());
    kept.periods.answer(changes, key, list_period_totals(conn, query, page)).await
}

/// A page of [`queries::client_days`]. They are few enough to be read at once.
pub async fn client_days(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: Tz,
    days: &ClientDays,
    page: &PageRequest,
) -> QueryResult<Page<PeriodTotal>> {
    let mut rows = queries::client_days(conn, client_id, zone, days).await?;
    let key = |row: &PeriodTotal| (row.period, row.currency.clone());
    if page.upwards() {
        rows.reverse();
    }
    if let Some(from) = page.cursor.as_ref().and_then(|cursor| cursor_key(cursor).ok()) {
        rows.retain(|row| if page.upwards() { key(row) < from } else { key(row) > from });
    }
    rows.truncate(page.limit as usize + 1);
    Ok(Page::from_rows(rows, page, |row| vec![row.period.to_string(), row.currency.clone()]))
}

/// What all clients have spent in a currency.
#[derive(Debug)]
struct Ranking {
    changes: i64,
    /// Each spend once, the largest first.
    spends: Vec<Decimal>,
}

impl Ranking {
    async fn load(conn: &mut AsyncPgConnection, currency: &str, spend: Spend) -> QueryResult<Self> {
        let all = queries::all_spend(conn, currency, spend).await?;
        let mut spends = all.spends;
        spends.sort_unstable_by(|one, other| other.cmp(one));
        spends.dedup();
        Ok(Self { changes: all.changes, spends })
    }

    /// The dense rank of a spend.
    fn rank(&self, spend: Decimal) -> i64 {
        1 + self.spends.partition_point(|&other| other > spend) as i64
    }
}

/// A client's risk profile, volatility with `scale` decimals; `None`: there is no such client. The rank is of the
/// same snapshot as the spend, although the ranking is kept: both know the count of changes that they are of.
pub async fn risk_profile(
    reads: &ClientReads,
    kept: &KeptAnswers,
    client_id: &str,
    spend: Spend,
    scale: u32,
) -> Result<Option<RiskProfile>, ReadError> {
    let rows = ranked(reads, kept, &whole(client_id, spend, false)).await?;
    Ok((!rows.is_empty()).then(|| profile(&rows, spend, scale)))
}

/// A client's risk profile, and its trend of days in one currency, of one snapshot; `None`: there is no such client.
/// There is no trend if none of the days was asked for.
pub async fn risk_and_trend(
    reads: &ClientReads,
    kept: &KeptAnswers,
    client_id: &str,
    zone: Tz,
    days: &ClientDays,
    spend: Spend,
    scale: u32,
) -> Result<Option<(RiskProfile, Option<SpendTrend>)>, ReadError> {
    let rows = ranked(reads, kept, &whole(client_id, spend, true)).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let of_currency = rows.iter().find(|row| row.currency.is_some() && row.currency == days.currency);
    let trend = of_currency.and_then(|row| trend(row, zone, days));
    Ok(Some((profile(&rows, spend, scale), trend)))
}

/// All of a client's history.
fn whole(client_id: &str, spend: Spend, spends: bool) -> HistoryQuery {
    HistoryQuery { client_id: client_id.to_owned(), from: None, until: None, currency: None, spend, spends }
}

/// A client's history, ranked. Empty: there is no such client.
async fn ranked(
    reads: &ClientReads,
    kept: &KeptAnswers,
    question: &HistoryQuery,
) -> Result<Vec<HistoryRow>, ReadError> {
    for _ in 0..RANKING_TRIES {
        let mut rows = reads.history(question.clone()).await?;
        if add_ranks(reads, kept, question.spend, &mut rows).await? {
            return Ok(rows);
        }
    }
    // While others load, the record may move on between two looks each time.
    let mut conn = reads.pool.get().await.map_err(|error| failed(error.into()))?;
    let answers = queries::histories(&mut conn, std::slice::from_ref(question), true).await;
    Ok(answers.map_err(|error| failed(error.into()))?.pop().unwrap_or_default())
}

fn failed(error: DbError) -> ReadError {
    AskError::Failed(Arc::new(error))
}

/// Ranks the rows; whether every rank is of the rows' own snapshot.
async fn add_ranks(
    reads: &ClientReads,
    kept: &KeptAnswers,
    spend: Spend,
    rows: &mut [HistoryRow],
) -> Result<bool, ReadError> {
    for row in rows {
        let (Some(currency), Some(own)) = (&row.currency, row.spend) else { continue };
        let load = async {
            let mut conn = reads.pool.get().await?;
            Ok::<_, DbError>(Ranking::load(&mut conn, currency, spend).await?)
        };
        let ranking = kept.rankings.answer(row.changes, (currency.clone(), spend), load).await;
        let ranking = ranking.map_err(failed)?;
        if ranking.changes != row.changes {
            return Ok(false);
        }
        row.rank = Some(ranking.rank(own));
    }
    Ok(true)
}

fn profile(rows: &[HistoryRow], spend: Spend, scale: u32) -> RiskProfile {
    let currency = |row: &HistoryRow| {
        let (count, own, all) = (row.count?, row.spend?, row.sum?);
        let squares: U256 = row.square_units.as_ref()?.parse().ok()?;
        let sum = if spend == Spend::Net { own } else { all };
        Some(CurrencyRisk {
            currency: row.currency.clone()?,
            count,
            spend: own,
            rank: row.rank?,
            volatility: arithmetic::volatility(count, sum, squares, scale),
            largest: row.max?,
        })
    };
    RiskProfile {
        shortest_gap_us: shortest_gap_us(rows),
        currencies: rows.iter().filter_map(currency).collect(),
    }
}

/// The shortest time between two transactions in a row, in whatever currencies.
fn shortest_gap_us(rows: &[HistoryRow]) -> Option<i64> {
    let times = rows.iter().flat_map(|row| row.times.iter().flatten());
    let mut times: Vec<i64> = times.map(DateTime::timestamp_micros).collect();
    times.sort_unstable();
    times.windows(2).map(|two| two[1] - two[0]).min()
}

/// What a client spent day by day, a trend for each currency; `None`: there is no such client. The days are
/// those from its first to its last transaction in the currency, of them those that were asked for; a day's
/// average does not depend on what was asked for.
pub async fn spend_trend(
    reads: &ClientReads,
    client_id: &str,
    zone: Tz,
    days: &ClientDays,
    spend: Spend,
) -> Result<Option<Vec<SpendTrend>>, ReadError> {
    // A day more on either side holds the days of every zone.
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let question = HistoryQuery {
        client_id: client_id.to_owned(),
        from: days.from.map(|from| midnight(before(from)) - TimeDelta::days(1)),
        until: days.to.map(|to| midnight(to) + TimeDelta::days(2)),
        currency: days.currency.clone(),
        spend,
        spends: true,
    };
    let rows = reads.history(question).await?;
    Ok((!rows.is_empty()).then(|| rows.iter().filter_map(|row| trend(row, zone, days)).collect()))
}

/// One currency's trend; `None` if none of its days was asked for.
fn trend(row: &HistoryRow, zone: Tz, days: &ClientDays) -> Option<SpendTrend> {
    let day_of = |at: &DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let (began, ended) = (day_of(&row.first_at?), day_of(&row.last_at?));
    let first = days.from.map_or(began, |from| from.max(began));
    let last = days.to.map_or(ended, |to| to.min(ended));
    let mut by_day: BTreeMap<NaiveDate, Decimal> = BTreeMap::new();
    for (at, spend) in row.times.iter().flatten().zip(row.spends.iter().flatten()) {
        *by_day.entry(day_of(at)).or_insert(NOTHING) += spend;
    }
    let mut spent = by_day.range(before(first)..).peekable();
    let (mut window, mut week_spend) = (VecDeque::with_capacity(WINDOW), NOTHING);
    let mut trend = Vec::new();
    for day in before(first).max(began).iter_days().take_while(|&day| day <= last) {
        let spend = spent.next_if(|(that, _)| **that == day).map_or(NOTHING, |(_, spend)| *spend);
        if window.len() == WINDOW {
            week_spend -= window.pop_front().unwrap_or_default();
        }
        week_spend += spend;
        window.push_back(spend);
        if day >= first {
            trend.push(SpendDay { day, spend, week_spend, week_days: window.len() as i64 });
        }
    }
    (!trend.is_empty()).then_some(SpendTrend { currency: row.currency.clone()?, days: trend })
}

/// The first day that a day's average is of.
fn before(day: NaiveDate) -> NaiveDate {
    day.checked_sub_days(chrono::Days::new(WINDOW as u64 - 1)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A history in USD, of the times and what was spent then.
    fn row(spends: &[(&str, i64)]) -> HistoryRow {
        let times: Vec<DateTime<Utc>> = spends.iter().map(|(text, _)| at(text)).collect();
        HistoryRow {
            first_at: times.iter().min().copied(),
            last_at: times.iter().max().copied(),
            times: Some(times),
            spends: Some(spends.iter().map(|(_, spend)| Decimal::new(*spend, 0)).collect()),
            ..HistoryRow::of("USD")
        }
    }

    #[test]
    fn a_days_average_is_the_same_whatever_was_asked_for() {
        let row = row(&[
            ("2025-01-20T09:00:00Z", 1),
            ("2025-01-01T09:00:00Z", 30),
            ("2025-01-01T10:00:00Z", 40),
            ("2025-01-03T09:00:00Z", 7),
            ("2025-01-10T09:00:00Z", 14),
        ]);
        let range = |from, to| ClientDays { from, to, currency: None };
        let whole = trend(&row, Tz::UTC, &range(None, None)).unwrap().days;
        assert_eq!(whole.len(), 20);
        assert_eq!((whole[0].average(), whole[1].average()), (Decimal::new(70, 0), Decimal::new(35, 0)));
        // Seven days later the first has left the window.
        assert_eq!((whole[7].day, whole[7].average()), (day("2025-01-08"), Decimal::new(1, 0)));
        let part = range(Some(day("2025-01-08")), Some(day("2025-01-12")));
        assert_eq!(trend(&row, Tz::UTC, &part).unwrap().days, whole[7..12]);
        assert!(trend(&row, Tz::UTC, &range(Some(day("2025-02-01")), None)).is_none());
        assert!(trend(&row, Tz::UTC, &range(None, Some(day("2024-12-31")))).is_none());
    }

    #[test]
    fn a_day_is_one_of_the_zone() {
        let row = row(&[("2025-01-01T23:30:00Z", 5), ("2025-01-01T22:30:00Z", 7)]);
        let days = trend(&row, Tz::Europe__Berlin, &ClientDays::default()).unwrap().days;
        let spent: Vec<_> = days.iter().map(|one| (one.day, one.spend)).collect();
        assert_eq!(spent, [(day("2025-01-01"), Decimal::from(7)), (day("2025-01-02"), Decimal::from(5))]);
    }

    #[test]
    fn the_shortest_gap_is_over_all_currencies() {
        let one = row(&[("2025-01-03T00:00:00Z", 1), ("2025-01-01T00:00:00Z", 1)]);
        let other = row(&[("2025-01-01T00:00:07Z", 1)]);
        assert_eq!(shortest_gap_us(&[one, other]), Some(7_000_000));
        assert_eq!(shortest_gap_us(&[row(&[("2025-01-01T00:00:00Z", 1)])]), None);
    }

    #[test]
    fn equal_spends_share_a_rank() {
        let ranking = Ranking { changes: 0, spends: [9, 7, 3].map(Decimal::from).to_vec() };
        let ranks = [9, 7, 5, 3, 0].map(|spend| ranking.rank(Decimal::from(spend)));
        assert_eq!(ranks, [1, 2, 3, 3, 4]);
    }
}
