//! One client: its card, what it spent by day, its risk, its transactions and their export.

use super::{
    address::{Address, segment},
    chart::{Chart, SpendWords},
    client_account::tabs,
    client_channels::ClientChannels,
    fmt,
    pieces::{Badge, Chip, Chips, Empty, Money, Pager, Time, Way},
    shell::{Shell, page},
    trades::trade_href,
    transactions::{self, FilterForm, TransactionLine},
};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    export,
    views::analytics::VOLATILITY_SCALE,
};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use chrono::{Days, NaiveDate, TimeDelta};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::{
    analytics::{ClientDays, RiskProfile, Spend, service},
    clients::{
        Client,
        card::ClientCard,
        queries::{ClientTotals, find_client},
    },
    pagination::PageRequest,
    transactions::queries::{LATEST, TransactionFilter, list_within},
};

/// What the chart's parts are called here.
const SPEND: SpendWords<'static> = SpendWords {
    legend: "Buys and payments; what failed is left out.",
    period: "Day",
    axis: None,
    bars: "Spent",
    line: "Mean of 7 days",
};
/// Most days of the chart, ten years of them: the latest are shown.
const MOST_DAYS: u64 = 3_660;

/// How many days the chart shows, back from the client's last transaction: the word in the address, the
/// chip's words.
const SPANS: [(&str, &str, u64); 4] =
    [("30", "30 days", 30), ("", "90 days", 90), ("365", "a year", 365), ("all", "all", MOST_DAYS)];

#[derive(Template)]
#[template(path = "pages/clients/client.html")]
struct ClientPage {
    shell: Shell,
    client: Client,
    title: String,
    badge: Badge,
    tabs: Chips,
    trade: Way,
    status_reason: Option<String>,
    balance: Money,
    debt: Money,
    opening: Money,
    totals: Vec<TotalsLine>,
    channels: ClientChannels,
    spend: Option<SpendPart>,
    filter: FilterForm,
    transactions: Vec<TransactionLine>,
    export: String,
    pager: Pager,
    empty: Option<Empty>,
}

struct TotalsLine {
    count: i64,
    spent: Money,
    gained: Money,
    first: Time,
    last: Time,
}

impl TotalsLine {
    fn new(totals: &ClientTotals, shell: &Shell) -> Self {
        Self {
            count: totals.count,
            spent: Money::new(totals.spent, &totals.currency),
            gained: Money::new(totals.gained, &totals.currency),
            first: shell.date(totals.first_at),
            last: shell.date(totals.last_at),
        }
    }
}

/// The chart and the risk in one currency.
struct SpendPart {
    chart: Chart,
    spans: Chips,
    currencies: Option<Chips>,
    currency: String,
    risk: Vec<RiskLine>,
}

/// One figure and what it means.
struct RiskLine {
    name: &'static str,
    value: String,
    money: Option<Money>,
    meaning: String,
}

/// What the chart shows.
#[derive(Default, Deserialize)]
pub(super) struct Shown {
    currency: Option<String>,
    days: Option<String>,
}

/// `GET /ui/clients/{id}`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<transactions::Wanted>,
    Query(shown): Query<Shown>,
) -> ApiResult<Response> {
    if id.contains('\0') {
        return Err(missing());
    }
    let card = state.reads.card(&id).await?.ok_or_else(missing)?;
    let path = format!("/ui/clients/{}", segment(&id));
    let (filter, mut form) = transactions::read_filter(&wanted, &path, shell.zone);
    let view = View::choose(&shown, &card, &shell);
    let list = form.here.clone();
    if let Some(view) = &view {
        form.keep([("currency", &view.asked), ("days", view.span.0)]);
    }
    let spend = async {
        match view {
            Some(view) => view.load(&state, &id, &form.here).await,
            None => Ok(None),
        }
    };
    let request = PageRequest { limit: LATEST, ..wanted.page()? };
    let found = async {
        if filter == TransactionFilter::default() && request.cursor.is_none() {
            return Ok::<_, ApiError>(state.reads.latest(&id, card.active).await?);
        }
        let filter = TransactionFilter { client_id: Some(id.clone()), ..filter };
        Ok(list_within(&mut *state.env.pool.get().await?, card.active, &filter, &request).await?)
    };
    let (spend, found) = tokio::try_join!(spend, found)?;
    let ClientCard { client, totals, channels, .. } = card;
    page(&ClientPage {
        title: fmt::cut(client.label(), 120),
        badge: Badge::client(client.status()),
        tabs: tabs(&client.client_id, ""),
        trade: shell.way("Trade", trade_href(&client.client_id, "", "")),
        status_reason: status_reason(&client, &shell),
        balance: Money::new(client.balance(), &client.currency),
        debt: Money::new(client.debt(), &client.currency),
        opening: Money::new(client.opening_balance, &client.currency),
        totals: totals.iter().map(|one| TotalsLine::new(one, &shell)).collect(),
        channels: ClientChannels::new(&id, &channels, &shell),
        spend,
        pager: Pager::by_time(&found, &form.here, "transaction"),
        transactions: found.items.iter().map(|row| TransactionLine::new(row, &shell)).collect(),
        export: list.at(format!("{path}/transactions.csv")).to_string(),
        empty: found.items.is_empty().then(|| nothing(&list, &form)),
        filter: form,
        client,
        shell,
    })
}

/// `GET /ui/clients/{id}/transactions.csv`: all that the filter lets through.
pub(super) async fn export(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<transactions::Wanted>,
) -> ApiResult<Response> {
    if id.contains('\0') {
        return Err(missing());
    }
    let mut conn = state.env.pool.get().await?;
    find_client(&mut conn, &id).await?.ok_or_else(missing)?;
    drop(conn);
    let (filter, form) = transactions::read_filter(&wanted, "", state.env.settings.zone);
    if let Some(complaint) = form.complaint {
        return Err(ApiError::bad_request(complaint));
    }
    Ok(export::client_transactions(state, &id, filter))
}

fn missing() -> ApiError {
    ApiError::not_found("There is no client with this id. Ids are told apart by case.")
}

fn status_reason(client: &Client, shell: &Shell) -> Option<String> {
    match (client.suspended_at, client.debt().is_zero()) {
        (Some(at), _) => Some(format!("suspended by an operator {}", fmt::ago(at, shell.now))),
        (None, false) => Some("suspended while in debt".to_owned()),
        (None, true) => None,
    }
}

fn nothing(list: &Address, form: &FilterForm) -> Empty {
    if list.is_filtered() {
        return Empty::nothing_matches("transactions", &form.words(), &form.cleared());
    }
    Empty::nothing_yet(
        "No transaction yet",
        "Nothing that was loaded names this client.",
        "Upload a file",
        "/ui/uploads/new",
    )
}

/// Which currency and days are looked at.
struct View {
    /// The currency in the address; empty if it is the one that is shown anyway.
    asked: String,
    currency: String,
    currencies: Vec<String>,
    span: (&'static str, &'static str, u64),
    from: NaiveDate,
    to: NaiveDate,
}

impl View {
    /// The client's own currency and 90 days, unless the address says otherwise; `None` if there is nothing
    /// to look at.
    fn choose(shown: &Shown, card: &ClientCard, shell: &Shell) -> Option<Self> {
        let of = |currency: &str| card.totals.iter().find(|one| one.currency == currency);
        let most = card.totals.iter().max_by_key(|one| one.count)?;
        let usual = of(&card.client.currency).unwrap_or(most);
        let totals = shown.currency.as_deref().and_then(of).unwrap_or(usual);
        let word = shown.days.as_deref().unwrap_or_default();
        let span = SPANS.into_iter().find(|span| span.0 == word).unwrap_or(SPANS[1]);
        let day = |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&shell.zone).date_naive();
        let (first, to) = (day(totals.first_at), day(totals.last_at));
        let from = to.checked_sub_days(Days::new(span.2 - 1)).unwrap_or(first).max(first);
        Some(Self {
            asked: if totals.currency == usual.currency { String::new() } else { totals.currency.clone() },
            currency: totals.currency.clone(),
            currencies: card.totals.iter().map(|one| one.currency.clone()).collect(),
            span,
            from,
            to,
        })
    }

    /// Reads the days and the risk; `None` if there is nothing any more.
    async fn load(self, state: &AppState, id: &str, here: &Address) -> ApiResult<Option<SpendPart>> {
        let days =
            ClientDays { from: Some(self.from), to: Some(self.to), currency: Some(self.currency.clone()) };
        let zone = state.env.settings.zone;
        let (reads, kept) = (&state.reads, &state.kept);
        let found = service::risk_and_trend(reads, kept, id, zone, &days, Spend::Gross, VOLATILITY_SCALE);
        // Whoever takes the client's last rows back meanwhile leaves nothing to draw.
        let Some((profile, Some(trend))) = found.await? else { return Ok(None) };
        let title = format!("Spend in {} by day, {} to {}", self.currency, self.from, self.to);
        let span = |(word, words, _): (&'static str, &'static str, u64)| {
            Chip::way(words, here.with("days", word).to_string(), word == self.span.0)
        };
        let usual = if self.asked.is_empty() { self.currency.as_str() } else { "" };
        let currency = |one: &String| {
            let word = if one == usual { "" } else { one.as_str() };
            Chip::way(one, here.with("currency", word).to_string(), *one == self.currency)
        };
        Ok(Some(SpendPart {
            chart: Chart::spend("spend", title, SPEND, &trend),
            spans: Chips { label: "Days of the chart", chips: SPANS.into_iter().map(span).collect() },
            currencies: (self.currencies.len() > 1).then(|| Chips {
                label: "Currency of chart and risk",
                chips: self.currencies.iter().map(currency).collect(),
            }),
            risk: risk_lines(&profile, &self.currency),
            currency: self.currency,
        }))
    }
}

/// The figures of a risk profile in one currency, each with what it means.
fn risk_lines(profile: &RiskProfile, currency: &str) -> Vec<RiskLine> {
    let Some(risk) = profile.currencies.iter().find(|risk| risk.currency == currency) else {
        return Vec::new();
    };
    let spread = match risk.volatility {
        volatility if volatility >= Decimal::ONE => "its amounts differ by more than their mean: erratic",
        volatility if volatility >= Decimal::new(5, 1) => "its amounts vary",
        _ => "its amounts are much alike",
    };
    let gap = profile.shortest_gap_us.map(|gap| fmt::duration(TimeDelta::microseconds(gap)));
    let line = |name, value, meaning: String| RiskLine { name, value, money: None, meaning };
    let money = |name, amount, meaning: String| RiskLine {
        name,
        value: String::new(),
        money: Some(Money::new(amount, currency)),
        meaning,
    };
    vec![
        money(
            "Lifetime spend",
            risk.spend,
            format!("Buys and payments in {currency} since the first transaction."),
        ),
        line(
            "Rank",
            format!("#{}", fmt::count(risk.rank)),
            format!("Its place among all clients by lifetime spend in {currency}; the largest is #1, equals share one."),
        ),
        line(
            "Volatility",
            risk.volatility.to_string(),
            format!("The standard deviation of its amounts over their mean; {spread}."),
        ),
        money("Largest amount", risk.largest, format!("The largest single transaction in {currency}, of any kind.")),
        line(
            "Shortest gap",
            gap.clone().unwrap_or_else(|| "none".to_owned()),
            match gap {
                Some(_) => "The shortest time between two transactions in a row, in any currency; gaps of seconds may mean a program, or fraud.".to_owned(),
                None => "There is only one transaction, so nothing lies between two.".to_owned(),
            },
        ),
    ]
}
