//! Stocks: the list, and one with its prices, what is left of it, and its trades.

use super::{
    address::{Address, segment},
    clients::searched,
    fmt,
    pieces::{Chips, Empty, Money, Pager, Progress, Time, Way},
    shell::{Shell, page},
    trades::{TradeLine, state_chips, state_words, states_of, trade_href},
};
use crate::{actions::stocks::no_stock, app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    pagination::{Cursor, PageRequest},
    stocks::{
        Stock,
        queries::{find_stock, list_stocks},
    },
    trades::{
        TradeState,
        counts::count_by_state,
        queries::{TradeFilter, list_trades},
    },
};

/// Trades of a stock's page.
const ROWS: i64 = 25;

/// The page of a stock.
pub fn stock_href(ticker: &str) -> String {
    format!("/ui/stocks/{}", segment(ticker))
}

#[derive(Template)]
#[template(path = "pages/stocks/list.html")]
struct ListPage {
    shell: Shell,
    new_stock: Way,
    search: String,
    clear: Option<String>,
    stocks: Vec<StockLine>,
    pager: Pager,
    empty: Option<Empty>,
}

struct StockLine {
    href: String,
    ticker: String,
    name: String,
    close: Money,
    low: Money,
    high: Money,
    left: Progress,
    listed: Time,
    by: String,
}

impl StockLine {
    fn new(stock: &Stock, shell: &Shell) -> Self {
        Self {
            href: stock_href(&stock.ticker),
            ticker: stock.ticker.clone(),
            name: stock.name.as_deref().map(|name| fmt::cut(name, 80)).unwrap_or_default(),
            close: Money::new(stock.close_price, &stock.currency),
            low: Money::new(stock.low, &stock.currency),
            high: Money::new(stock.high, &stock.currency),
            left: left(stock, true),
            listed: shell.ago(stock.created_at),
            by: stock.created_by.clone(),
        }
    }
}

/// How much of a stock can still be bought.
fn left(stock: &Stock, small: bool) -> Progress {
    Progress {
        label: format!("Shares of {} that are left to buy", stock.ticker),
        class: if stock.volume == 0 { "cancelled" } else { "completed" },
        done: stock.volume,
        total: Some(stock.listed_volume),
        text: format!("{} of {} left", fmt::count(stock.volume), fmt::count(stock.listed_volume)),
        more: Vec::new(),
        small,
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    cursor: Option<String>,
}

/// `GET /ui/stocks`.
pub(super) async fn list(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let search = searched(wanted.q).unwrap_or_default();
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { cursor, ..PageRequest::default() };
    let here = Address::new("/ui/stocks").with("q", &search);
    let mut conn = state.env.pool.get().await?;
    let sought = Some(search.as_str()).filter(|search| !search.is_empty());
    let found = list_stocks(&mut conn, sought, &request).await?;
    drop(conn);
    page(&ListPage {
        new_stock: shell.way("New stock", "/ui/stocks/new".to_owned()).primary(),
        clear: here.is_filtered().then(|| here.cleared()),
        pager: Pager::by_time(&found, &here, "stock"),
        empty: found.items.is_empty().then(|| no_stocks(&search, &here)),
        stocks: found.items.iter().map(|stock| StockLine::new(stock, &shell)).collect(),
        search,
        shell,
    })
}

fn no_stocks(search: &str, here: &Address) -> Empty {
    if here.is_filtered() {
        let words = format!("a ticker or a name that begins with “{}”", fmt::cut(search, 80));
        return Empty::nothing_matches("stocks", &words, &here.cleared());
    }
    Empty::nothing_yet(
        "No stock yet",
        "A stock is what trades buy and sell: it has a ticker, prices and a number of shares.",
        "New stock",
        "/ui/stocks/new",
    )
}

#[derive(Template)]
#[template(path = "pages/stocks/stock.html")]
struct StockPage {
    shell: Shell,
    stock: Stock,
    title: String,
    trade: Way,
    close: Money,
    open: Money,
    high: Money,
    low: Money,
    left: Progress,
    listed: Time,
    states: Chips,
    trades: Vec<TradeLine>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Shown {
    state: Option<String>,
    cursor: Option<String>,
}

/// `GET /ui/stocks/{ticker}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(ticker): Path<String>,
    Query(shown): Query<Shown>,
) -> ApiResult<Response> {
    if ticker.contains('\0') {
        return Err(no_stock(&ticker));
    }
    let states = states_of(shown.state.as_deref());
    let here = Address::new(stock_href(&ticker)).with("state", &state_words(&states));
    let cursor = shown.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { limit: ROWS, cursor };
    let mut conn = state.env.pool.get().await?;
    let stock = find_stock(&mut conn, &ticker).await?.ok_or_else(|| no_stock(&ticker))?;
    let filter = TradeFilter { ticker: Some(ticker), states, ..TradeFilter::default() };
    let found = list_trades(&mut conn, &filter, &request).await?;
    let counts = count_by_state(&mut conn, &filter).await?;
    let lines = TradeLine::of(&found.items, &mut conn, &shell).await?;
    drop(conn);
    shell.moving = found.items.iter().any(|trade| trade.state == TradeState::Pending);
    let money = |amount| Money::new(amount, &stock.currency);
    page(&StockPage {
        title: stock.name.as_deref().map_or_else(|| stock.ticker.clone(), |name| fmt::cut(name, 120)),
        trade: shell.way("Trade", trade_href("", &stock.ticker, "")).primary(),
        close: money(stock.close_price),
        open: money(stock.open_price),
        high: money(stock.high),
        low: money(stock.low),
        left: left(&stock, false),
        listed: shell.ago(stock.created_at),
        states: state_chips(&filter.states, &here, &counts),
        pager: Pager::by_time(&found, &here, "trade"),
        empty: found.items.is_empty().then(|| no_trades(&stock, &filter.states, &here)),
        trades: lines,
        stock,
        shell,
    })
}

fn no_trades(stock: &Stock, states: &[TradeState], here: &Address) -> Empty {
    if here.is_filtered() {
        let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        return Empty::nothing_matches(
            "trades",
            &format!("the state {}", words.join(" or ")),
            &here.cleared(),
        );
    }
    Empty::nothing_yet(
        "No trade yet",
        "Nobody has bought or sold it.",
        "Trade",
        &trade_href("", &stock.ticker, ""),
    )
}
