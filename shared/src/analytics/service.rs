//! Figures put together: ranks from a ranking that is kept, trends without gaps, answers kept while nothing
//! has changed.

use super::{
    arithmetic::{self, SCALE},
    model::{ClientDays, CurrencyRisk, RiskProfile, Spend, SpendDay, SpendTrend},
    queries::{self, ClientFigures, CurrencyFigures, DaysSpend, SpendQuery},
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
    Ok(ranked(reads, kept, &question).await?.map(|figures| profile(figures, spend, scale)))
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
    let Some(mut figures) = ranked(reads, kept, &question).await? else { return Ok(None) };
    let spent = std::mem::take(&mut figures.spent);
    let of_currency = figures.currencies.iter().find(|one| Some(&one.currency) == days.currency.as_ref());
    let trend = of_currency.and_then(|one| {
        let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
        let active = (day(one.first_at), day(one.last_at));
        trend(DaysSpend { currency: one.currency.clone(), active, spent }, days)
    });
    Ok(Some((profile(figures, spend, scale), trend)))
}

/// A client's figures, ranked; `None`: there is no such client.
async fn ranked(
    reads: &ClientReads,
    kept: &KeptAnswers,
    question: &SpendQuery,
) -> Result<Option<ClientFigures>, ReadError> {
    for _ in 0..RANKING_TRIES {
        let Some(mut figures) = reads.risk(question.clone()).await? else { return Ok(None) };
        if add_ranks(kept, question.spend, &mut figures).await? {
            return Ok(Some(figures));
        }
    }
    // While others load, the record may move on between two looks each time.
    reads.ranked_risk(question).await
}

/// Ranks the figures; whether every rank is of their own snapshot.
async fn add_ranks(kept: &KeptAnswers, spend: Spend, figures: &mut ClientFigures) -> Result<bool, ReadError> {
    for one in &mut figures.currencies {
        let load = async {
            let mut conn = kept.pool.get().await?;
            Ok::<_, DbError>(Ranking::load(&mut conn, &one.currency, spend).await?)
        };
        let ranking = kept.rankings.answer(figures.changes, (one.currency.clone(), spend), load).await;
        let ranking = ranking.map_err(failed)?;
        if ranking.changes != figures.changes {
            return Ok(false);
        }
        one.rank = Some(ranking.rank(one.spend));
    }
    Ok(true)
}

fn profile(figures: ClientFigures, spend: Spend, scale: u32) -> RiskProfile {
    let currency = |one: CurrencyFigures| {
        let squares: U256 = one.square_units.parse().ok()?;
        let sum = if spend == Spend::Net { one.spend } else { one.sum };
        Some(CurrencyRisk {
            count: one.count,
            spend: one.spend,
            rank: one.rank?,
            volatility: arithmetic::volatility(one.count, sum, squares, scale),
            largest: one.max,
            currency: one.currency,
        })
    };
    RiskProfile {
        shortest_gap_us: figures.shortest_gap_us,
        currencies: figures.currencies.into_iter().filter_map(currency).collect(),
    }
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
    let currencies = reads.trend(question).await?;
    Ok(currencies.map(|currencies| currencies.into_iter().filter_map(|spend| trend(spend, days)).collect()))
}

/// The days without gaps; `None` if none of them was asked for.
fn trend(spend: DaysSpend, days: &ClientDays) -> Option<SpendTrend> {
    let DaysSpend { currency, active: (began, ended), mut spent } = spend;
    let first = days.from.map_or(began, |from| from.max(began));
    let last = days.to.map_or(ended, |to| to.min(ended));
    spent.sort_unstable_by_key(|(day, _)| *day);
    let mut spent = spent.into_iter().peekable();
    let (mut window, mut week_spend) = (VecDeque::with_capacity(WINDOW), NOTHING);
    let wanted = usize::try_from((last - first).num_days() + 1).unwrap_or_default();
    let mut trend = Vec::with_capacity(wanted);
    for day in before(first).max(began).iter_days().take_while(|&day| day <= last) {
        while spent.next_if(|(past, _)| *past < day).is_some() {}
        let mut spend = NOTHING;
        while let Some((_, more)) = spent.next_if(|(that, _)| *that == day) {
            spend += more;
        }
        // What is nothing may have come without decimals.
        spend.rescale(SCALE);
        if window.len() == WINDOW {
            week_spend -= window.pop_front().unwrap_or_default();
        }
        week_spend += spend;
        window.push_back(spend);
        if day >= first {
            trend.push(SpendDay { day, spend, week_spend, week_days: window.len() as i64 });
        }
    }
    (!trend.is_empty()).then_some(SpendTrend { currency, days: trend })
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
        let spent = ["2025-01-20", "2025-01-01", "2025-01-10", "2025-01-03", "2025-01-10"].map(day);
        let spends = [1, 70, 4, 7, 10].map(Decimal::from);
        let asked = |from, to| {
            let active = (day("2025-01-01"), day("2025-01-20"));
            let spent = spent.into_iter().zip(spends).collect();
            trend(
                DaysSpend { currency: "USD".to_owned(), active, spent },
                &ClientDays { from, to, currency: None },
            )
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
