//! Volume and amount by day, week or month, what they are made of, and who has the most: from the kept
//! summaries alone. Money is of one currency; the whole view is in the address.

use super::{
    address::Address,
    analytics_parts::{self, Amounts, ClientRow, KindRow, MerchantRow},
    chart::{Chart, Content, Row},
    fmt::{self, Number},
    pieces::{Chip, Chips, Empty},
    shell::{Shell, page},
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::{
    analytics::{
        service,
        tops::{self, Breakdown, RangeQuery, TopBy, TopQuery},
    },
    pagination::{MAX_LIMIT, PageRequest},
    summaries::{Calendar, PeriodTotal, SummaryMode, SummaryQuery},
    transactions::TransactionKind,
};
use std::collections::BTreeSet;

const PATH: &str = "/ui/analytics";
/// Rows of a ranking.
const TOP: i64 = 10;

#[derive(Template)]
#[template(path = "pages/analytics/analytics.html")]
struct AnalyticsPage {
    shell: Shell,
    from: String,
    until: String,
    currency: String,
    kept: Vec<(&'static str, String)>,
    note: Option<String>,
    filtered: bool,
    periods: Chips,
    currencies: Chips,
    kinds: Chips,
    totals: Option<Amounts>,
    amount: Option<Chart>,
    volume: Option<Chart>,
    breakdown: Vec<KindRow>,
    ranks: Chips,
    merchants: Vec<MerchantRow>,
    clients: Vec<ClientRow>,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    from: Option<String>,
    until: Option<String>,
    period: Option<String>,
    currency: Option<String>,
    kind: Option<String>,
    rank: Option<String>,
}

/// The word of a way to cut time, what it is called, its mode, how many days are shown unless the address
/// says which, and at most.
struct Period {
    word: &'static str,
    name: &'static str,
    mode: SummaryMode,
    usual: u64,
    most: u64,
}

/// A list of periods holds no more than a page of a list.
const PERIODS: [Period; 3] = [
    Period { word: "", name: "Day", mode: SummaryMode::Daily, usual: 90, most: MAX_LIMIT as u64 },
    Period {
        word: "week",
        name: "Week",
        mode: SummaryMode::Weekly,
        usual: 364,
        most: 7 * (MAX_LIMIT as u64 - 1),
    },
    Period {
        word: "month",
        name: "Month",
        mode: SummaryMode::Monthly,
        usual: 1_096,
        most: 28 * MAX_LIMIT as u64,
    },
];

/// What is looked at.
struct View {
    from: NaiveDate,
    until: NaiveDate,
    period: &'static Period,
    kind: Option<TransactionKind>,
    by: TopBy,
    here: Address,
    note: Option<String>,
}

impl View {
    /// What the address says, within the days that there are.
    fn read(wanted: &Wanted, covered: Option<(NaiveDate, NaiveDate)>, today: NaiveDate) -> Self {
        let mut note = None;
        let mut day = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
            let read = fmt::read_day(text);
            if read.is_none() {
                note = Some(fmt::no_day(text));
            }
            read
        };
        let (asked_from, asked_until) = (day(&wanted.from), day(&wanted.until));
        let word = wanted.period.as_deref().unwrap_or_default();
        let period = PERIODS.iter().find(|period| period.word == word).unwrap_or(&PERIODS[0]);
        let (first, last) = covered.unwrap_or((today, today));
        // A range that is wider than the record is shown as far as there is something in it.
        let meets =
            asked_from.is_none_or(|from| from <= last) && asked_until.is_none_or(|until| until >= first);
        let until = asked_until.map_or(last, |until| if meets { until.min(last) } else { until });
        let back = |days: u64| until.checked_sub_days(Days::new(days - 1)).unwrap_or(until);
        let from = asked_from.unwrap_or_else(|| back(period.usual));
        let from = if meets { from.max(first.min(until)) } else { from };
        if from > until {
            note = Some("The range ends before it begins.".to_owned());
        } else if from < back(period.most) {
            note = Some(format!(
                "Only the days from {} on are shown: there are too many {}s in this range. Look at longer periods.",
                back(period.most),
                period.name.to_ascii_lowercase()
            ));
        }
        let kind: Option<TransactionKind> = wanted.kind.as_deref().and_then(|kind| kind.parse().ok());
        let by = wanted.rank.as_deref().and_then(|by| by.parse().ok()).unwrap_or(TopBy::Amount);
        let text = |day: Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
        let here = Address::new(PATH)
            .with("from", &text(asked_from))
            .with("until", &text(asked_until))
            .with("period", period.word)
            .maybe("kind", kind.map(TransactionKind::as_str))
            .with("rank", if by == TopBy::Count { by.as_str() } else { "" });
        Self { from: from.max(back(period.most)), until, period, kind, by, here, note }
    }

    fn summary(&self, calendar: Calendar, currency: &str) -> SummaryQuery {
        SummaryQuery {
            calendar,
            currency: Some(currency.to_owned()),
            kind: self.kind,
            from: Some(self.from),
            to: Some(self.until),
            ..SummaryQuery::of(self.period.mode)
        }
    }

    /// What the charts are of, in words.
    fn words(&self) -> String {
        let kinds = self.kind.map_or_else(|| "transactions".to_owned(), |kind| format!("{kind}s"));
        let period = self.period.name.to_ascii_lowercase();
        format!("{kinds} by {period}, {} to {}", self.from, self.until)
    }
}

/// `GET /ui/analytics`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let covered = tops::days_covered(&mut conn).await?;
    let mut view = View::read(&wanted, covered, shell.now.with_timezone(&shell.zone).date_naive());
    let (from, to) = (Some(view.from), Some(view.until));
    let whole = RangeQuery { from, to, currency: None };
    let parts = tops::breakdown(&mut conn, &state.kept, &whole).await?;
    let usual = usual_currency(&parts, &state.env.settings.currency);
    let asked = wanted.currency.as_deref().map(str::to_ascii_uppercase).filter(|one| is_code(one));
    let currency = asked.unwrap_or_else(|| usual.clone());
    view.here = view.here.with("currency", if currency == usual { "" } else { &currency });
    let calendar = state.config.calendar.unwrap_or(Calendar::Gregorian);
    let request = PageRequest { limit: MAX_LIMIT, cursor: None };
    let summary = view.summary(calendar, &currency);
    let top = TopQuery { from, to, currency: currency.clone(), by: view.by, limit: TOP };
    let merchants = tops::top_merchants(&mut conn, &state.kept, &top).await?;
    let clients = tops::top_clients(&mut conn, &state.kept, &currency, view.by, TOP).await?;
    drop(conn);
    let periods = service::period_totals(&state.kept, &summary, &request).await?;
    let bars = bars(&view, calendar, &periods.items);
    let here = &view.here;
    page(&AnalyticsPage {
        from: view.from.to_string(),
        until: view.until.to_string(),
        kept: here.fields().into_iter().filter(|(name, _)| !matches!(*name, "from" | "until")).collect(),
        filtered: here.is_filtered(),
        periods: period_chips(here, view.period),
        currencies: currency_chips(here, &parts, &currency, &usual),
        kinds: kind_chips(here, view.kind),
        totals: Amounts::of(&periods.items, &currency),
        amount: amount_chart(&view, calendar, &currency, &bars),
        volume: volume_chart(&view, calendar, &currency, &bars),
        breakdown: analytics_parts::kind_rows(&parts),
        ranks: rank_chips(here, view.by),
        merchants: merchants.iter().map(|row| MerchantRow::new(row, &currency)).collect(),
        clients: clients.iter().map(|row| ClientRow::new(row, &currency)).collect(),
        empty: periods.items.is_empty().then(|| nothing(&view, &currency)),
        note: view.note,
        currency,
        shell,
    })
}

/// Three capital letters.
fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The installation's currency if it occurs, else the one that occurs most.
fn usual_currency(parts: &[Breakdown], own: &str) -> String {
    let most = parts.iter().max_by_key(|part| part.count);
    match most {
        Some(most) if !parts.iter().any(|part| part.currency == own) => most.currency.clone(),
        _ => own.to_owned(),
    }
}

fn amount_chart(view: &View, calendar: Calendar, currency: &str, periods: &[Bar]) -> Option<Chart> {
    let title = format!("Amount in {currency} of {}", view.words());
    chart("amount", title, (currency, "Amount"), view, calendar, periods, |one| Number::Amount(one.sum))
}

fn volume_chart(view: &View, calendar: Calendar, currency: &str, periods: &[Bar]) -> Option<Chart> {
    let title = format!("Number of {} in {currency}", view.words());
    let unit = ("transactions", "Number");
    chart("volume", title, unit, view, calendar, periods, |one| Number::Count(one.count))
}

/// One period of the charts.
struct Bar {
    first: NaiveDate,
    sum: Decimal,
    count: i64,
}

/// Every period of the range, also those in which nothing happened; none if nothing happened at all.
fn bars(view: &View, calendar: Calendar, periods: &[PeriodTotal]) -> Vec<Bar> {
    let mode = view.period.mode;
    let mut there = periods.iter().peekable();
    let next = |first: &NaiveDate| calendar.last_day(mode, *first).succ_opt();
    std::iter::successors(Some(calendar.first_day(mode, view.from)), next)
        .take_while(|first| *first <= view.until && !periods.is_empty())
        .map(|first| {
            let found = there.next_if(|one| one.period == first);
            Bar {
                first,
                sum: found.map_or(Decimal::ZERO, |one| one.sum),
                count: found.map_or(0, |one| one.count),
            }
        })
        .collect()
}

fn chart(
    id: &'static str,
    title: String,
    (unit, bars): (&str, &str),
    view: &View,
    calendar: Calendar,
    periods: &[Bar],
    height: impl Fn(&Bar) -> Number,
) -> Option<Chart> {
    let legend = match view.period.mode {
        SummaryMode::Daily => "What failed is left out.",
        SummaryMode::Weekly | SummaryMode::Monthly => {
            "What failed is left out; the first and the last may be cut by the range."
        }
    };
    let row = |one: &Bar| Row {
        day: one.first,
        name: (view.period.mode != SummaryMode::Daily || calendar != Calendar::Gregorian)
            .then(|| calendar.key(view.period.mode, one.first)),
        bar: height(one),
        line: None,
    };
    (!periods.is_empty()).then(|| {
        Chart::new(Content {
            id,
            title,
            legend: legend.to_owned(),
            period: view.period.name,
            unit,
            axis: None,
            bars,
            line: None,
            rows: periods.iter().map(row).collect(),
        })
    })
}

fn period_chips(here: &Address, chosen: &Period) -> Chips {
    let chip = |period: &Period| {
        let words = format!("by {}", period.name.to_ascii_lowercase());
        Chip::way(words, here.with("period", period.word).to_string(), period.word == chosen.word)
    };
    Chips { label: "Period", chips: PERIODS.iter().map(chip).collect() }
}

fn currency_chips(here: &Address, parts: &[Breakdown], chosen: &str, usual: &str) -> Chips {
    let there = parts.iter().map(|part| part.currency.as_str());
    let codes: BTreeSet<&str> = there.chain([chosen]).collect();
    let chip = |code: &str| {
        let word = if code == usual { "" } else { code };
        Chip::way(code, here.with("currency", word).to_string(), code == chosen)
    };
    Chips { label: "Currency", chips: codes.into_iter().map(chip).collect() }
}

fn kind_chips(here: &Address, chosen: Option<TransactionKind>) -> Chips {
    let all = Chip::way("all kinds", here.with("kind", "").to_string(), chosen.is_none());
    let chip = |kind: &TransactionKind| {
        Chip::way(format!("{kind}s"), here.with("kind", kind.as_str()).to_string(), chosen == Some(*kind))
    };
    Chips {
        label: "Kind",
        chips: std::iter::once(all).chain(TransactionKind::ALL.iter().map(chip)).collect(),
    }
}

fn rank_chips(here: &Address, chosen: TopBy) -> Chips {
    let way = |words, by: TopBy, word| Chip::way(words, here.with("rank", word).to_string(), by == chosen);
    Chips {
        label: "Ranked by",
        chips: vec![
            way("by amount", TopBy::Amount, ""),
            way("by number", TopBy::Count, TopBy::Count.as_str()),
        ],
    }
}

fn nothing(view: &View, currency: &str) -> Empty {
    if view.here.is_filtered() {
        let words = format!("a day from {} to {} in {currency}", view.from, view.until);
        return Empty::nothing_matches("transactions", &words, PATH);
    }
    Empty::nothing_yet(
        "Nothing to look at yet",
        "Totals by day appear with the first transactions that are loaded and did not fail.",
        "Upload a transactions file",
        "/ui/uploads/new",
    )
    .or_by("millrace generate transactions --rows 100000 > sample.csv")
}
