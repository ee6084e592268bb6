//! The list of trades, and what other pages share with it: a row, the chips of states, the way to a new one.

use super::{
    address::{Address, segment},
    clients::searched,
    fmt,
    pieces::{Badge, Chip, Chips, Empty, Id, Money, Pager, Time, Way, icon, trade_shape},
    shell::{Shell, page},
    transactions::start_of,
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    clients::queries::labels,
    pagination::{Cursor, PageRequest},
    trades::{
        Side, Trade, TradeState,
        counts::{StateCount, count_by_state},
        queries::{TradeFilter, list_trades},
    },
};
use std::collections::BTreeSet;

/// A trade in a list.
pub struct TradeLine {
    /// Its id.
    pub id: String,
    /// Its page.
    pub href: String,
    /// `Buy 10 AAPL`.
    pub what: String,
    /// Whose.
    pub client: String,
    /// The client's page.
    pub client_href: String,
    /// Where it stands.
    pub badge: Badge,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Of one share.
    pub price: Option<Money>,
    /// What moved in the account.
    pub amount: Option<Money>,
    /// When it was accepted.
    pub at: Time,
    /// Who ordered it.
    pub by: String,
    /// The trade that it takes back.
    pub reversal_of: Option<Id>,
}

impl TradeLine {
    /// The lines of trades, with what people know their clients by.
    pub async fn of(trades: &[Trade], conn: &mut AsyncPgConnection, shell: &Shell) -> ApiResult<Vec<Self>> {
        let ids: BTreeSet<&str> = trades.iter().map(|trade| trade.client_id.as_str()).collect();
        let labels = labels(conn, &ids.into_iter().collect::<Vec<_>>()).await?;
        let label = |trade: &Trade| labels.get(&trade.client_id).map(|label| fmt::cut(label, 40));
        Ok(trades.iter().map(|trade| Self::new(trade, label(trade), shell)).collect())
    }

    fn new(trade: &Trade, label: Option<String>, shell: &Shell) -> Self {
        Self {
            id: trade.id.to_string(),
            href: format!("/ui/trades/{}", trade.id),
            what: what(trade),
            client: label.unwrap_or_else(|| trade.client_id.clone()),
            client_href: format!("/ui/clients/{}", segment(&trade.client_id)),
            badge: trade.state.into(),
            reason: trade.reason.map(|reason| fmt::words(reason.as_str())),
            price: trade.price.zip(trade.currency.as_deref()).map(|(price, of)| Money::new(price, of)),
            amount: cash(trade),
            at: shell.ago(trade.created_at),
            by: trade.created_by.clone(),
            reversal_of: trade.reversal_of.map(|id| Id::new(id).to(format!("/ui/trades/{id}"))),
        }
    }
}

/// `Buy 10 AAPL`.
pub fn what(trade: &Trade) -> String {
    let verb = match trade.side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    };
    format!("{verb} {} {}", fmt::count(trade.volume), trade.ticker)
}

/// What came into the account or left it, once it is settled.
pub fn cash(trade: &Trade) -> Option<Money> {
    let amount = trade.account_amount?;
    let amount = if trade.side == Side::Buy { -amount } else { amount };
    Some(Money::moved(amount, trade.account_currency.as_deref()?))
}

/// The form of a new trade with these fields filled in; blank ones are left to fill.
pub fn trade_href(client: &str, ticker: &str, side: &str) -> String {
    Address::new("/ui/trades/new")
        .with("client", client)
        .with("ticker", ticker)
        .with("side", side)
        .to_string()
}

/// The states that an address names; others are left out.
pub fn states_of(text: Option<&str>) -> Vec<TradeState> {
    let mut states: Vec<TradeState> =
        text.unwrap_or_default().split(',').filter_map(|one| one.parse().ok()).collect();
    states.sort_unstable();
    states.dedup();
    states
}

/// The states as the address names them.
pub fn state_words(states: &[TradeState]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",")
}

/// Each state with its count; a click adds it to the filter or takes it away.
pub fn state_chips(states: &[TradeState], here: &Address, counts: &[StateCount]) -> Chips {
    let chip = |state: &TradeState| {
        let on = states.contains(state);
        let mut wanted: Vec<TradeState> = states.iter().copied().filter(|other| other != state).collect();
        wanted.extend((!on).then_some(*state));
        let counted = counts.iter().find(|count| count.state == *state);
        Chip {
            href: here.with("state", &state_words(&wanted)).to_string(),
            word: state.to_string(),
            class: state.as_str(),
            icon: Some(icon(trade_shape(*state))),
            count: Some(counted.map_or(0, StateCount::count)),
            more: counted.is_some_and(StateCount::has_more),
            on,
        }
    };
    Chips { label: "State", chips: TradeState::ALL.iter().map(chip).collect() }
}

#[derive(Template)]
#[template(path = "pages/trades/list.html")]
struct ListPage {
    shell: Shell,
    new_trade: Way,
    sought: Sought,
    states: Chips,
    trades: Vec<TradeLine>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
    client: Option<String>,
    ticker: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cursor: Option<String>,
}

/// What the list is narrowed to, as its form shows it.
struct Sought {
    filter: TradeFilter,
    here: Address,
    state: String,
    client: String,
    ticker: String,
    /// First day, as `YYYY-MM-DD`.
    from: String,
    /// Last day, included.
    to: String,
    /// A day that could not be read.
    complaint: Option<String>,
}

impl Sought {
    /// Reads the address. Days are days in the reporting zone, the last one included.
    fn read(wanted: &Wanted, zone: Tz) -> Self {
        let mut complaint = None;
        let mut day = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
            let day = fmt::read_day(text);
            if day.is_none() {
                complaint = Some(fmt::no_day(text));
            }
            day
        };
        let (from, to) = (day(&wanted.from), day(&wanted.to));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            complaint = Some("The range ends before it begins.".to_owned());
        }
        let text = |typed: &Option<String>| searched(typed.clone()).unwrap_or_default();
        let (client, ticker) = (text(&wanted.client), text(&wanted.ticker));
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let states = states_of(wanted.state.as_deref());
        let state = state_words(&states);
        let written = |day: Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
        let (first, last) = (written(from), written(to));
        Self {
            here: Address::new("/ui/trades")
                .with("state", &state)
                .with("client", &client)
                .with("ticker", &ticker)
                .with("from", &first)
                .with("to", &last),
            filter: TradeFilter {
                client_id: given(&client),
                ticker: given(&ticker),
                states,
                from: from.map(|day| start_of(day, zone)),
                to: to.and_then(|day| day.checked_add_days(Days::new(1))).map(|day| start_of(day, zone)),
            },
            state,
            client,
            ticker,
            from: first,
            to: last,
            complaint,
        }
    }

    /// The filter in words.
    fn words(&self) -> String {
        let mut words = Vec::new();
        let states: Vec<&str> = self.filter.states.iter().map(|state| state.as_str()).collect();
        words.extend((!states.is_empty()).then(|| format!("the state {}", states.join(" or "))));
        let named =
            |name: &str, text: &str| (!text.is_empty()).then(|| format!("{name} “{}”", fmt::cut(text, 80)));
        words.extend(named("the client", &self.client));
        words.extend(named("the ticker", &self.ticker));
        words.extend((!self.from.is_empty()).then(|| format!("a day from {} on", self.from)));
        words.extend((!self.to.is_empty()).then(|| format!("a day up to {}", self.to)));
        words.join(" and ")
    }

    fn nothing(&self) -> Empty {
        if self.here.is_filtered() {
            return Empty::nothing_matches("trades", &self.words(), &self.here.cleared());
        }
        Empty::nothing_yet(
            "No trade yet",
            "A trade is an order to buy or sell shares of a stock for a client: it is settled at the stock’s close \
             price, once, or rejected with a reason.",
            "New trade",
            "/ui/trades/new",
        )
    }
}

/// `GET /ui/trades`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let sought = Sought::read(&wanted, shell.zone);
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { cursor, ..PageRequest::default() };
    let mut conn = state.env.pool.get().await?;
    let found = list_trades(&mut conn, &sought.filter, &request).await?;
    let counts = count_by_state(&mut conn, &sought.filter).await?;
    let lines = TradeLine::of(&found.items, &mut conn, &shell).await?;
    drop(conn);
    shell.moving = found.items.iter().any(|trade| trade.state == TradeState::Pending);
    page(&ListPage {
        new_trade: shell.way("New trade", trade_href(&sought.client, &sought.ticker, "")).primary(),
        states: state_chips(&sought.filter.states, &sought.here, &counts),
        pager: Pager::by_time(&found, &sought.here, "trade"),
        empty: found.items.is_empty().then(|| sought.nothing()),
        trades: lines,
        sought,
        shell,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_narrows_the_list_is_in_its_address_and_told_in_words() {
        let wanted = Wanted {
            state: Some("settled,nonsense,pending,settled".to_owned()),
            client: Some(" c1 ".to_owned()),
            from: Some("2026-01-02".to_owned()),
            to: Some("soon".to_owned()),
            ..Wanted::default()
        };
        let sought = Sought::read(&wanted, Tz::UTC);
        assert_eq!(sought.here.to_string(), "/ui/trades?state=pending%2Csettled&client=c1&from=2026-01-02");
        assert_eq!(
            sought.words(),
            "the state pending or settled and the client “c1” and a day from 2026-01-02 on"
        );
        assert!(sought.complaint.is_some_and(|said| said.contains("“soon” is no day")));
        let chips = state_chips(&sought.filter.states, &sought.here, &[]).to_string();
        assert!(chips.contains("state=settled\"") || chips.contains("&#38;state=settled\""), "{chips}");
    }
}
