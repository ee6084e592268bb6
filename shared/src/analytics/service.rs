//! Figures put together: ranks from a ranking that is kept, trends without gaps, answers kept while nothing
//! has changed.

use super::{
    arithmetic::{self, SCALE},
    model::{ClientDays, CurrencyRisk, RiskProfile, Spend, SpendDay, SpendTrend},
    queries::{self, RiskRow, SpendQuery, TrendRow},
    reads::ClientReads,
    tops::{Breakdown, ClientPlace, RangeQuery, TopBy, TopMerchant, TopQuery},
};
use crate::{
    db::{DbError, DbPool},
    look::{Look, ReadError, failed},
    pagination::{Page, PageRequest},
    summaries::{
        PeriodTotal, SummaryQuery,
        answers::{Answers, changes},
        queries::{cursor_key, list_period_totals},
    },
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use ethnum::U256;
use rust_decimal::Decimal;
use std::{collections::VecDeque, sync::Arc};

/// Days of the moving average.
const WINDOW: usize = 7;
/// With the decimals of an amount.
const NOTHING: Decimal = Decimal::from_parts(0, 0, 0, false, SCALE);
/// How often a ranking is looked for that is of the same snapshot as the client's own figures.
const RANKING_TRIES: usize = 3;

/// Answers of this process that are kept while no summary changes.
pub struct KeptAnswers {
    pool: DbPool,
    changes: Look<i64>,
    periods: Answers<(SummaryQuery, PageRequest), Page<PeriodTotal>>,
    rankings: Answers<(String, Spend), Ranking>,
    pub(super) merchants: Answers<TopQuery, Vec<TopMerchant>>,
    pub(super) clients: Answers<(String, TopBy, i64), Vec<ClientPlace>>,
    pub(super) breakdowns: Answers<RangeQuery, Vec<Breakdown>>,
}

impl KeptAnswers {
    /// Reads over connections of `pool` what is not kept.
    pub fn new(pool: DbPool) -> Self {
        Self {
            changes: Look::new(pool.clone(), |conn| Box::pin(changes(conn))),
            pool,
            periods: Answers::default(),
            rankings: Answers::default(),
            merchants: Answers::default(),
            clients: Answers::default(),
            breakdowns: Answers::default(),
        }
    }
}

/// A page of [`list_period_totals`]. Whoever asks must hold no connection.
pub async fn period_totals(
    kept: &KeptAnswers,
    query: &SummaryQuery,
    page: &PageRequest,
) -> Result<Arc<Page<PeriodTotal>>, ReadError> {
    let changes = kept.changes.now().await?;
    let read = async {
        let mut conn = kept.pool.get().await?;
        Ok::<_, DbError>(list_period_totals(&mut conn, query, page).await?)
    };
    kept.periods.answer(changes, (query.clone(), page.clone()), read).await.map_err(failed)
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
    let question =
        SpendQuery { client_id: client_id.to_owned(), zone: Tz::UTC, days: ClientDays::default(), spend };
    let rows = ranked(reads, kept, &question).await?;
    Ok((!rows.is_empty()).then(|| profile(rows, spend, scale)))
}

/// A client's risk profile, and its trend of days in one currency, by one statement; `None`: there is no such
/// client. There is no trend if none of the days was asked for.
pub async fn risk_and_trend(
    reads: &ClientReads,
    kept: &KeptAnswers,
    client_id: &str,
    zone: Tz,
    days: &ClientDays,
    spend: Spend,
    scale: u32,
) -> Result<Option<(RiskProfile, Option<SpendTrend>)>, ReadError> {
    let question = SpendQuery { client_id: client_id.to_owned(), zone, days: days.clone(), spend };
    let rows = ranked(reads, kept, &question).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let of_currency = rows.iter().find(|row| row.currency.is_some() && row.currency == days.currency);
    let trend = of_currency.and_then(|row| trend(trend_row(row, zone), days));
    Ok(Some((profile(rows, spend, scale), trend)))
}

/// A currency's days in the row of its risk.
fn trend_row(row: &RiskRow, zone: Tz) -> Trend<'_> {
    let day = |at: Option<DateTime<Utc>>| at.map(|at| at.with_timezone(&zone).date_naive());
    Trend {
        currency: row.currency.as_deref(),
        first_day: day(row.first_at),
        last_day: day(row.last_at),
        days: row.days.as_deref().unwrap_or_default(),
        spends: row.spends.as_deref().unwrap_or_default(),
    }
}

/// A client's figures, ranked. Empty: there is no such client.
async fn ranked(
    reads: &ClientReads,
    kept: &KeptAnswers,
    question: &SpendQuery,
) -> Result<Vec<RiskRow>, ReadError> {
    for _ in 0..RANKING_TRIES {
        let mut rows = reads.risk(question.clone()).await?;
        if add_ranks(reads, kept, question.spend, &mut rows).await? {
            return Ok(rows);
        }
    }
    // While others load, the record may move on between two looks each time.
    reads.ranked_risk(question).await
}

/// Ranks the rows; whether every rank is of the rows' own snapshot.
async fn add_ranks(
    reads: &ClientReads,
    kept: &KeptAnswers,
    spend: Spend,
    rows: &mut [RiskRow],
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

fn profile(rows: Vec<RiskRow>, spend: Spend, scale: u32) -> RiskProfile {
    let shortest_gap_us = rows.first().and_then(|row| row.gap_us);
    let currency = |row: RiskRow| {
        let (count, own, all) = (row.count?, row.spend?, row.sum?);
        let squares: U256 = row.square_units?.parse().ok()?;
        let sum = if spend == Spend::Net { own } else { all };
        Some(CurrencyRisk {
            currency: row.currency?,
            count,
            spend: own,
            rank: row.rank?,
            volatility: arithmetic::volatility(count, sum, squares, scale),
            largest: row.max?,
        })
    };
    RiskProfile { shortest_gap_us, currencies: rows.into_iter().filter_map(currency).collect() }
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
    let question = SpendQuery { client_id: client_id.to_owned(), zone, days: days.clone(), spend };
    let rows = reads.trend(question).await?;
    let of_row = |row: &TrendRow| {
        let row = Trend {
            currency: row.currency.as_deref(),
            first_day: row.first_day,
            last_day: row.last_day,
            days: row.days.as_deref().unwrap_or_default(),
            spends: row.spends.as_deref().unwrap_or_default(),
        };
        trend(row, days)
    };
    Ok((!rows.is_empty()).then(|| rows.iter().filter_map(of_row).collect()))
}

/// What a client spent in one currency, on the days with transactions, in any order.
struct Trend<'r> {
    currency: Option<&'r str>,
    /// Of all its transactions in the currency.
    first_day: Option<NaiveDate>,
    last_day: Option<NaiveDate>,
    days: &'r [NaiveDate],
    spends: &'r [Decimal],
}

/// The days without gaps; `None` if none of them was asked for.
fn trend(row: Trend<'_>, days: &ClientDays) -> Option<SpendTrend> {
    let (began, ended) = (row.first_day?, row.last_day?);
    let first = days.from.map_or(began, |from| from.max(began));
    let last = days.to.map_or(ended, |to| to.min(ended));
    let mut spent: Vec<(NaiveDate, Decimal)> =
        row.days.iter().copied().zip(row.spends.iter().copied()).collect();
    spent.sort_unstable_by_key(|(day, _)| *day);
    let mut spent = spent.into_iter().peekable();
    let (mut window, mut week_spend) = (VecDeque::with_capacity(WINDOW), NOTHING);
    let wanted = usize::try_from((last - first).num_days() + 1).unwrap_or_default();
    let mut trend = Vec::with_capacity(wanted);
    for day in before(first).max(began).iter_days().take_while(|&day| day <= last) {
        while spent.next_if(|(past, _)| *past < day).is_some() {}
        let spend = spent.next_if(|(that, _)| *that == day).map_or(NOTHING, |(_, spend)| spend);
        if window.len() == WINDOW {
            week_spend -= window.pop_front().unwrap_or_default();
        }
        week_spend += spend;
        window.push_back(spend);
        if day >= first {
            trend.push(SpendDay { day, spend, week_spend, week_days: window.len() as i64 });
        }
    }
    (!trend.is_empty()).then_some(SpendTrend { currency: row.currency?.to_owned(), days: trend })
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

    #[test]
    fn a_days_average_is_the_same_whatever_was_asked_for() {
        let spent = ["2025-01-20", "2025-01-01", "2025-01-10", "2025-01-03"].map(day);
        let spends = [1, 70, 14, 7].map(Decimal::from);
        let asked = |from, to| {
            let row = Trend {
                currency: Some("USD"),
                first_day: Some(spent[1]),
                last_day: Some(spent[0]),
                days: &spent,
                spends: &spends,
            };
            trend(row, &ClientDays { from, to, currency: None })
        };
        let whole = asked(None, None).unwrap().days;
        assert_eq!(whole.len(), 20);
        assert_eq!((whole[0].average(), whole[1].average()), (Decimal::new(70, 0), Decimal::new(35, 0)));
        // Seven days later the first has left the window.
        assert_eq!((whole[7].day, whole[7].average()), (day("2025-01-08"), Decimal::new(1, 0)));
        let part = asked(Some(day("2025-01-08")), Some(day("2025-01-12"))).unwrap().days;
        assert_eq!(part, whole[7..12]);
        assert!(asked(Some(day("2025-02-01")), None).is_none());
        assert!(asked(None, Some(day("2024-12-31"))).is_none());
    }

    #[test]
    fn equal_spends_share_a_rank() {
        let ranking = Ranking { changes: 0, spends: [9, 7, 3].map(Decimal::from).to_vec() };
        let ranks = [9, 7, 5, 3, 0].map(|spend| ranking.rank(Decimal::from(spend)));
        assert_eq!(ranks, [1, 2, 3, 3, 4]);
    }
}
