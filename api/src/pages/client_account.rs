//! A client's account: what it holds, and what moved with what there was after it.

use super::{
    address::{Address, segment},
    client_edit::found,
    fmt,
    pieces::{Chip, Chips, Empty, Money, Pager, Time, Way},
    shell::{Shell, page},
    stocks::stock_href,
    trades::trade_href,
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    clients::Client,
    ledger::statement::{Asset, Line, LineKind, check_cursor, list_lines},
    pagination::{Cursor, PageRequest},
    trades::{Holding, queries::list_holdings},
};

/// The pages of a client, of which one is shown.
pub(super) fn tabs(id: &str, on: &str) -> Chips {
    let path = format!("/ui/clients/{}", segment(id));
    let tab = |word: &str, name: &str| {
        let href = if name.is_empty() { path.clone() } else { format!("{path}/{name}") };
        Chip::way(word, href, name == on)
    };
    let trades = Address::new("/ui/trades").with("client", id).to_string();
    Chips {
        label: "Pages of this client",
        chips: vec![
            tab("Overview", ""),
            tab("Holdings", "holdings"),
            tab("Statement", "statement"),
            Chip::way("Trades", trades, false),
        ],
    }
}

/// What the pages of an account begin with.
struct Head {
    client_id: String,
    /// The client's page.
    href: String,
    name: String,
    balance: Money,
    tabs: Chips,
    trade: Way,
}

impl Head {
    fn new(client: &Client, on: &str, shell: &Shell) -> Self {
        let id = &client.client_id;
        Self {
            client_id: id.clone(),
            href: format!("/ui/clients/{}", segment(id)),
            name: fmt::cut(client.label(), 120),
            balance: Money::new(client.position, &client.currency),
            tabs: tabs(id, on),
            trade: shell.way("Trade", trade_href(id, "", "")).primary(),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/clients/holdings.html")]
struct HoldingsPage {
    shell: Shell,
    head: Head,
    holdings: Vec<HoldingLine>,
    empty: Option<Empty>,
}

struct HoldingLine {
    ticker: String,
    stock_href: String,
    statement: String,
    shares: i64,
    average: Option<Money>,
    cost: Money,
    realised: Money,
    trade: Way,
}

impl HoldingLine {
    fn new(holding: &Holding, client: &Client, shell: &Shell) -> Self {
        let money = |amount| Money::new(amount, &client.currency);
        let statement = Address::new(format!("/ui/clients/{}/statement", segment(&client.client_id)));
        Self {
            ticker: holding.ticker.clone(),
            stock_href: stock_href(&holding.ticker),
            statement: statement.with("ticker", &holding.ticker).to_string(),
            shares: holding.shares,
            average: holding.average_cost().map(money),
            cost: money(holding.cost),
            realised: Money::moved(holding.realised, &client.currency),
            trade: shell.way("Sell", trade_href(&client.client_id, &holding.ticker, "sell")),
        }
    }
}

/// `GET /ui/clients/{id}/holdings`.
pub(super) async fn holdings(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let client = found(&mut conn, &id).await?;
    let holdings = list_holdings(&mut conn, &client.client_id).await?;
    drop(conn);
    page(&HoldingsPage {
        head: Head::new(&client, "holdings", &shell),
        empty: holdings.is_empty().then(|| {
            Empty::nothing_yet(
                "No share yet",
                "What a client buys by trades is held here, with what it cost. What files brought moves cash alone.",
                "Trade",
                &trade_href(&client.client_id, "", "buy"),
            )
        }),
        holdings: holdings.iter().map(|holding| HoldingLine::new(holding, &client, &shell)).collect(),
        shell,
    })
}

#[derive(Template)]
#[template(path = "pages/clients/statement.html")]
struct StatementPage {
    shell: Shell,
    head: Head,
    /// Cash or shares of a ticker: its parameter, its words, whether it is chosen.
    assets: Vec<(String, String, bool)>,
    /// What moved.
    title: String,
    lines: Vec<StatementLine>,
    /// What the account began with, below its first movement.
    opening: Option<Money>,
    pager: Pager,
    empty: Option<Empty>,
}

struct StatementLine {
    key: String,
    href: String,
    what: String,
    at: Time,
    amount: Amount,
    balance: Amount,
}

/// Cash or shares.
enum Amount {
    Cash(Money),
    Shares(String),
}

impl StatementLine {
    fn new(line: &Line, client: &str, cash: bool, shell: &Shell) -> Self {
        let shares = |amount: rust_decimal::Decimal| {
            let (whole, decimals) = fmt::amount(amount);
            format!("{whole}{}", decimals.trim_end_matches('0').trim_end_matches('.'))
        };
        let sign = if line.amount > rust_decimal::Decimal::ZERO { "+" } else { "" };
        let amount = match cash {
            true => Amount::Cash(Money::moved(line.amount, &line.asset)),
            false => Amount::Shares(format!("{sign}{}", shares(line.amount))),
        };
        let balance = match cash {
            true => Amount::Cash(Money::new(line.balance, &line.asset)),
            false => Amount::Shares(shares(line.balance)),
        };
        let href = match line.kind {
            LineKind::Trade => format!("/ui/trades/{}", line.source_id),
            LineKind::Upload | LineKind::UploadReversal => format!("/ui/uploads/{}", line.source_id),
            LineKind::Live | LineKind::LiveReversal => format!("/ui/clients/{}", segment(client)),
        };
        Self {
            key: format!("{}-{}", line.journal_id, line.entry),
            href,
            what: fmt::cut(&line.description(), 120),
            at: shell.date(line.posted_at),
            amount,
            balance,
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    ticker: Option<String>,
    cursor: Option<String>,
}

/// `GET /ui/clients/{id}/statement`.
pub(super) async fn statement(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let ticker = super::clients::searched(wanted.ticker).filter(|ticker| !ticker.is_empty());
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    cursor.as_ref().map(check_cursor).transpose()?;
    let request = PageRequest { cursor, ..PageRequest::default() };
    let mut conn = state.env.pool.get().await?;
    let client = found(&mut conn, &id).await?;
    let asset = match &ticker {
        Some(ticker) => Asset::Shares(ticker),
        None => Asset::Cash(&client.currency),
    };
    let lines = list_lines(&mut conn, &client.client_id, asset, &request).await?;
    let holdings = list_holdings(&mut conn, &client.client_id).await?;
    drop(conn);
    let here = Address::new(format!("/ui/clients/{}/statement", segment(&client.client_id)))
        .maybe("ticker", ticker.as_deref());
    let opening = (ticker.is_none() && lines.older.is_none())
        .then(|| Money::new(client.opening_balance, &client.currency));
    page(&StatementPage {
        head: Head::new(&client, "statement", &shell),
        assets: assets(&client, &holdings, ticker.as_deref()),
        title: match &ticker {
            Some(ticker) => format!("Shares of {}", fmt::cut(ticker, 40)),
            None => format!("Cash in {}", client.currency),
        },
        opening,
        pager: Pager::by_time(&lines, &here, "movement"),
        empty: lines.items.is_empty().then(|| nothing(&client, ticker.as_deref(), &here)),
        lines: lines
            .items
            .iter()
            .map(|line| StatementLine::new(line, &client.client_id, ticker.is_none(), &shell))
            .collect(),
        shell,
    })
}

/// What a statement can be about, the chosen one always among them.
fn assets(client: &Client, holdings: &[Holding], chosen: Option<&str>) -> Vec<(String, String, bool)> {
    let cash = (String::new(), format!("Cash, {}", client.currency), chosen.is_none());
    let absent = chosen.filter(|chosen| holdings.iter().all(|holding| holding.ticker != *chosen));
    let tickers = absent.into_iter().chain(holdings.iter().map(|holding| holding.ticker.as_str()));
    let shares =
        tickers.map(|ticker| (ticker.to_owned(), format!("Shares of {ticker}"), chosen == Some(ticker)));
    std::iter::once(cash).chain(shares).collect()
}

fn nothing(client: &Client, ticker: Option<&str>, here: &Address) -> Empty {
    match ticker {
        Some(ticker) => {
            let words = format!("shares of “{}”", fmt::cut(ticker, 40));
            Empty::nothing_matches("movements", &words, &here.cleared())
        }
        None => Empty::nothing_yet(
            "No movement yet",
            "Trades move an account, and the buys and sells of files. Until then it has its opening balance.",
            "Trade",
            &trade_href(&client.client_id, "", ""),
        ),
    }
}
