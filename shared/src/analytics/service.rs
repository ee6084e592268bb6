//! Figures put together: ranks from a ranking that is kept, trends without gaps, answers kept while nothing
//! has changed.

use super::{
    arithmetic,
    model::{ClientDays, CurrencyRisk, RiskProfile, Spend, SpendDay, SpendTrend},
    queries::{self, RiskRow, TrendRow},
    tops::{Breakdown, ClientPlace, RangeQuery, TopBy, TopMerchant, TopQuery},
};
use crate::{
    pagination::{Page, PageRequest},
    summaries::{
        PeriodTotal, SummaryQuery,
        answers::{Answers, changes},
        queries::{cursor_key, list_period_totals},
    },
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use ethnum::U256;
use rust_decimal::Decimal;
use std::{collections::VecDeque, sync::Arc};

/// Days of the moving average.
const WINDOW: usize = 7;
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
    zone: chrono_tz::Tz,
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
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    client_id: &str,
    spend: Spend,
    scale: u32,
) -> QueryResult<Option<RiskProfile>> {
    let rows = ranked(conn, kept, client_id, chrono_tz::UTC, &ClientDays::default(), spend).await?;
    Ok((!rows.is_empty()).then(|| profile(rows, spend, scale)))
}

/// A client's risk profile, and its trend of days in one currency, by one statement; `None`: there is no such
/// client. There is no trend if none of the days was asked for.
pub async fn risk_and_trend(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
    spend: Spend,
    scale: u32,
) -> QueryResult<Option<(RiskProfile, Option<SpendTrend>)>> {
    let rows = ranked(conn, kept, client_id, zone, days, spend).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let of_currency = rows.iter().find(|row| row.currency.is_some() && row.currency == days.currency);
    let trend = of_currency.and_then(|row| trend(&trend_rows(row, zone), days));
    Ok(Some((profile(rows, spend, scale), trend)))
}

/// The days of a currency's row as those of a trend.
fn trend_rows(row: &RiskRow, zone: chrono_tz::Tz) -> Vec<TrendRow> {
    let day = |at: Option<DateTime<Utc>>| at.map(|at| at.with_timezone(&zone).date_naive());
    let of = |spent: Option<(NaiveDate, Decimal)>| TrendRow {
        currency: row.currency.clone(),
        first_day: day(row.first_at),
        last_day: day(row.last_at),
        day: spent.map(|(day, _)| day),
        spend: spent.map(|(_, spend)| spend),
    };
    let spent = row.days.iter().flatten().copied().zip(row.spends.iter().flatten().copied());
    std::iter::once(of(None)).chain(spent.map(|spent| of(Some(spent)))).collect()
}

/// A client's figures, ranked. Empty: there is no such client.
async fn ranked(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
    spend: Spend,
) -> QueryResult<Vec<RiskRow>> {
    for _ in 0..RANKING_TRIES {
        let mut rows = queries::risk_rows(conn, client_id, zone, days, spend, false).await?;
        if add_ranks(conn, kept, spend, &mut rows).await? {
            return Ok(rows);
        }
    }
    // While others load, the record may move on between two looks each time.
    queries::risk_rows(conn, client_id, zone, days, spend, true).await
}

/// Ranks the rows; whether every rank is of the rows' own snapshot.
async fn add_ranks(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    spend: Spend,
    rows: &mut [RiskRow],
) -> QueryResult<bool> {
    for row in rows {
        let (Some(currency), Some(own)) = (&row.currency, row.spend) else { continue };
        let key = (currency.clone(), spend);
        let ranking = kept.rankings.answer(row.changes, key, Ranking::load(conn, currency, spend)).await?;
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
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: chrono_tz::Tz,
    days: &ClientDays,
    spend: Spend,
) -> QueryResult<Option<Vec<SpendTrend>>> {
    let rows = queries::trend_rows(conn, client_id, zone, days, spend).await?;
    let by_currency = rows.chunk_by(|one, other| one.currency == other.currency);
    Ok((!rows.is_empty()).then(|| by_currency.filter_map(|rows| trend(rows, days)).collect()))
}

/// One currency's trend; `None` if none of its days was asked for.
fn trend(rows: &[TrendRow], days: &ClientDays) -> Option<SpendTrend> {
    let head = rows.first()?;
    let (began, ended) = (head.first_day?, head.last_day?);
    let first = days.from.map_or(began, |from| from.max(began));
    let last = days.to.map_or(ended, |to| to.min(ended));
    let mut spent = rows.iter().filter_map(|row| Some((row.day?, row.spend?))).peekable();
    let mut window = VecDeque::with_capacity(WINDOW);
    let mut trend = Vec::new();
    for day in before(first).max(began).iter_days().take_while(|&day| day <= last) {
        while spent.next_if(|(past, _)| *past < day).is_some() {}
        let spend = spent.next_if(|(that, _)| *that == day).map_or(Decimal::new(0, 4), |(_, spend)| spend);
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(spend);
        if day >= first {
            let week_spend = window.iter().sum();
            trend.push(SpendDay { day, spend, week_spend, week_days: window.len() as i64 });
        }
    }
    (!trend.is_empty()).then_some(SpendTrend { currency: head.currency.clone()?, days: trend })
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

    fn row(text: &str, spend: i64) -> TrendRow {
        TrendRow {
            currency: Some("USD".to_owned()),
            first_day: Some(day("2025-01-01")),
            last_day: Some(day("2025-01-20")),
            day: Some(day(text)),
            spend: Some(Decimal::new(spend, 0)),
        }
    }

    #[test]
    fn a_days_average_is_the_same_whatever_was_asked_for() {
        let rows = [row("2025-01-01", 70), row("2025-01-03", 7), row("2025-01-10", 14), row("2025-01-20", 1)];
        let range = |from, to| ClientDays { from, to, currency: None };
        let whole = trend(&rows, &range(None, None)).unwrap().days;
        assert_eq!(whole.len(), 20);
        assert_eq!((whole[0].average(), whole[1].average()), (Decimal::new(70, 0), Decimal::new(35, 0)));
        // Seven days later the first has left the window.
        assert_eq!((whole[7].day, whole[7].average()), (day("2025-01-08"), Decimal::new(1, 0)));
        let part = trend(&rows, &range(Some(day("2025-01-08")), Some(day("2025-01-12")))).unwrap().days;
        assert_eq!(part, whole[7..12]);
        assert!(trend(&rows, &range(Some(day("2025-02-01")), None)).is_none());
        assert!(trend(&rows, &range(None, Some(day("2024-12-31")))).is_none());
    }

    #[test]
    fn equal_spends_share_a_rank() {
        let ranking = Ranking { changes: 0, spends: [9, 7, 3].map(Decimal::from).to_vec() };
        let ranks = [9, 7, 5, 3, 0].map(|spend| ranking.rank(Decimal::from(spend)));
        assert_eq!(ranks, [1, 2, 3, 3, 4]);
    }
}
