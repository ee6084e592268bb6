//! Settling trades: all that the runs of a worker ask for at one time is one transaction, in which each trade has
//! its own outcome and each run its own end. Locks are taken in one order everywhere: runs, trades, the registry
//! of transactions, clients, stocks, then the summaries; within each by key.

use super::{
    book::{self, Account, Book, Fill, Listing, Moved, Order, Position},
    model::{Reason, Side, TradeState},
    writing::{announce, commit_telling, write},
};
use crate::{
    cache::Topic,
    db::{LoadConnection, LoadTransaction},
    fx::RateTable,
    gather::{AskError, BatchError, Gatherer},
    ids::{ClaimToken, RunId, TradeId},
    metrics,
    money::{UNITS, units_of},
    runs::{
        CONTENTION_RETRIES, Closed, Environment, JobError, RunContext, RunError, complete_runs, hold_runs,
        is_contention,
    },
    transactions::{
        TransactionKind,
        accounts::CURRENCIES_LOCK,
        load,
        parse::{self, Batch, NewTransaction},
        prepared::Prepared,
        prerequisites,
    },
};
use rust_decimal::Decimal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use tokio_postgres::{Error, Row, Transaction};
use uuid::Uuid;

/// Trades that are settled together, at most.
const SETTLED_TOGETHER: usize = 200;
/// Claimed runs that may wait; a worker has fewer slots.
const ROOM: usize = 100_000;

/// A claimed run, and the trade that it is to settle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    run: RunId,
    token: ClaimToken,
    trade: TradeId,
}

/// Why a batch was not settled; each of its runs is told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(#[source] Arc<Cause>);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("the cache could not be told: {0}")]
    Cache(#[source] diesel::result::Error),
}

/// Where the runs of a process meet; each is told whether its claim still held, and was closed.
pub(super) struct Settling(Gatherer<Claim, Option<Closed>, Failure>);

impl Default for Settling {
    fn default() -> Self {
        Self(Gatherer::new(SETTLED_TOGETHER, ROOM))
    }
}

/// Settles the trade of a run, together with what else is claimed.
pub(super) async fn settle(context: &RunContext, trade: TradeId) -> Result<Closed, JobError> {
    let claim = Claim { run: context.run_id, token: context.token, trade };
    let env = context.env.clone();
    let work = move |claims| {
        let env = env.clone();
        async move { settle_batch(&env, claims).await }
    };
    match context.env.trades.settling.0.ask(claim, work).await {
        Ok(Some(closed)) => Ok(closed),
        Ok(None) => Err(RunError::FenceLost.into()),
        Err(AskError::Failed(failure)) => Err(JobError::retry(failure)),
        Err(AskError::Full | AskError::Lost) => Err(JobError::retry(anyhow::anyhow!(
            "the settlement of its batch stopped; had it committed, the run would be closed"
        ))),
    }
}

async fn settle_batch(
    env: &Environment,
    claims: Vec<Claim>,
) -> Result<Vec<Option<Closed>>, BatchError<Failure>> {
    let mut lost = 0;
    loop {
        let error = match begin(env, &claims).await {
            Ok(settled) => return Ok(settled),
            Err(error) => error,
        };
        lost += 1;
        match &error {
            Cause::Database(error) if is_contention(error) && lost < CONTENTION_RETRIES => {
                tracing::info!(%error, lost, "another transaction was in the way of a settlement; trying again");
            }
            // The server has looked at what it was sent and refused it: one trade's fault is not the others'.
            Cause::Database(refused) if refused.as_db_error().is_some() => {
                return Err(BatchError::Some(Failure(Arc::new(error))));
            }
            _ => return Err(BatchError::All(Failure(Arc::new(error)))),
        }
    }
}

/// Settles on a connection of its own: one that failed is dropped, and with it the transaction.
async fn begin(env: &Environment, claims: &[Claim]) -> Result<Vec<Option<Closed>>, Cause> {
    let mut client = env.load_connections.take(prerequisites::SESSION).await?;
    let settled = transact(env, &mut client, claims).await?;
    env.load_connections.put_back(client);
    Ok(settled)
}

/// What becomes of a trade.
pub(super) struct Decided<'t> {
    pub trade: &'t Pending,
    /// Microseconds since 1970: when its transaction took place.
    pub at_us: i64,
    pub outcome: Result<Fill, Reason>,
}

/// A trade that is to be decided.
pub(super) struct Pending {
    pub id: TradeId,
    pub client_id: String,
    pub ticker: String,
    pub side: Side,
    pub volume: i64,
    /// What it takes back.
    pub reverses: Option<Reversed>,
}

/// A trade that is to be taken back.
pub(super) struct Reversed {
    pub id: TradeId,
    /// Nothing, if it is not settled any more.
    moved: Option<Moved>,
}

async fn transact(
    env: &Environment,
    client: &mut LoadConnection,
    claims: &[Claim],
) -> Result<Vec<Option<Closed>>, Cause> {
    let now_us = env.clock.now().timestamp_micros();
    // The months first, in transactions of their own; a batch takes place within the microseconds it has trades.
    let ends = [now_us, now_us + claims.len() as i64].map(crate::transactions::instant::first_of_month);
    prerequisites::ensure_months(client, &ends).await?;
    let transaction = client.begin().await?;
    let fences: Vec<(RunId, ClaimToken)> = claims.iter().map(|claim| (claim.run, claim.token)).collect();
    let held: HashSet<RunId> = hold_runs(&transaction, &fences).await?.into_iter().collect();
    let held: Vec<&Claim> = claims.iter().filter(|claim| held.contains(&claim.run)).collect();
    let (trades, mut ends) = lock_trades(&transaction, &held).await?;
    let mut accounts = Accounts::default();
    let decided = decide(&transaction, &trades, now_us, &mut accounts).await?;
    if !decided.is_empty() {
        write(&transaction, &decided, &accounts, env).await?;
    }
    for decided in &decided {
        let end = match &decided.outcome {
            Ok(_) => json!({ "trade": decided.trade.id, "state": TradeState::Settled }),
            Err(reason) => {
                json!({ "trade": decided.trade.id, "state": TradeState::Rejected, "reason": reason })
            }
        };
        ends.insert(decided.trade.id, end);
    }
    let closings: Vec<_> = held
        .iter()
        .map(|claim| {
            (
                claim.run,
                claim.token,
                ends.get(&claim.trade).cloned().unwrap_or_else(|| json!({ "trade": null })),
            )
        })
        .collect();
    let mut closed: HashMap<RunId, Closed> =
        complete_runs(&transaction, &closings).await?.into_iter().collect();
    announce(&transaction, &decided, &accounts.book).await?;
    let changing = env.cache.changing(&env.pool, &accounts.topics(&decided)).await.map_err(Cause::Cache)?;
    // An error leaves them blocked: whether it has committed is not known.
    commit_telling(transaction, &decided, &accounts.book, &*env.clock).await?;
    changing.done().await;
    let settled = decided.iter().filter(|decided| decided.outcome.is_ok()).count();
    metrics::trades_decided(TradeState::Settled.as_str(), settled);
    metrics::trades_decided(TradeState::Rejected.as_str(), decided.len() - settled);
    metrics::settlement_committed();
    Ok(claims.iter().map(|claim| closed.remove(&claim.run)).collect())
}

/// Reads and locks the trades of some runs, and those that they take back. Returns those that wait, in the order
/// in which they were accepted, and how the others had ended before.
async fn lock_trades(
    transaction: &Transaction<'_>,
    claims: &[&Claim],
) -> Result<(Vec<Pending>, HashMap<TradeId, serde_json::Value>), Error> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.trade.0).collect();
    let rows = transaction
        .query(
            "SELECT id, client_id, ticker, side, volume, state, reason, reversal_of, account_amount, cost, realised
             FROM trades
             WHERE id = ANY ($1::uuid[] || (SELECT array_agg(t.reversal_of) FROM trades t
                                            WHERE t.id = ANY ($1) AND t.reversal_of IS NOT NULL))
             ORDER BY id FOR NO KEY UPDATE",
            &[&ids],
        )
        .await?;
    let asked: HashSet<Uuid> = ids.into_iter().collect();
    let state = |row: &Row| row.get::<_, &str>(5).parse::<TradeState>().unwrap_or(TradeState::Rejected);
    let moved: HashMap<Uuid, Moved> = rows
        .iter()
        .filter(|row| state(row) == TradeState::Settled)
        .map(|row| {
            let units = |at: usize| units_of(row.get::<_, Decimal>(at));
            (row.get(0), Moved { account_amount: units(8), cost: units(9), realised: units(10) })
        })
        .collect();
    let (mut pending, mut ended) = (Vec::new(), HashMap::new());
    for row in rows.iter().filter(|row| asked.contains(&row.get::<_, Uuid>(0))) {
        let id = TradeId(row.get(0));
        if state(row) != TradeState::Pending {
            let reason: Option<&str> = row.get(6);
            ended.insert(id, json!({ "trade": id, "state": state(row), "reason": reason, "done": "before" }));
            continue;
        }
        pending.push(Pending {
            id,
            client_id: row.get(1),
            ticker: row.get(2),
            side: if row.get::<_, &str>(3) == Side::Buy.as_str() { Side::Buy } else { Side::Sell },
            volume: row.get(4),
            reverses: row
                .get::<_, Option<Uuid>>(7)
                .map(|original| Reversed { id: TradeId(original), moved: moved.get(&original).copied() }),
        });
    }
    Ok((pending, ended))
}

/// What the accounts and stocks of a batch were found to be, and are after it.
#[derive(Default)]
pub(super) struct Accounts {
    pub book: Book,
    /// Of the clients that have one.
    usernames: BTreeMap<String, String>,
}

impl Accounts {
    /// What is read in haste and changes with these trades.
    fn topics(&self, decided: &[Decided<'_>]) -> Vec<Topic> {
        let mut topics: BTreeSet<Topic> = BTreeSet::new();
        for trade in decided.iter().filter(|decided| decided.outcome.is_ok()).map(|decided| decided.trade) {
            topics.insert(Topic::Trades(trade.client_id.clone()));
            topics.insert(Topic::Stock(trade.ticker.clone()));
            topics.insert(Topic::Stocks);
            topics.extend(self.usernames.get(&trade.client_id).cloned().map(Topic::User));
        }
        topics.into_iter().collect()
    }
}

/// Decides trades one after the other, each upon what those before it have left. What it has locked stays locked.
async fn decide<'t>(
    transaction: &LoadTransaction<'_>,
    trades: &'t [Pending],
    now_us: i64,
    accounts: &mut Accounts,
) -> Result<Vec<Decided<'t>>, Error> {
    if trades.is_empty() {
        return Ok(Vec::new());
    }
    let tickers: BTreeSet<&str> = trades.iter().map(|trade| trade.ticker.as_str()).collect();
    let prices = read_prices(transaction, &tickers).await?;
    let mut decided: Vec<Decided<'t>> = (now_us..)
        .zip(trades)
        .map(|(at_us, trade)| {
            let outcome = foreseen(trade, &prices);
            Decided { trade, at_us, outcome }
        })
        .collect();
    // The ids of those that may take place, before anything else that loads lock.
    let possible = prepared(&decided, &prices);
    let registered = load::register(transaction, &possible).await?;
    let taken: HashSet<String> = possible
        .batch
        .rows
        .iter()
        .zip(&registered)
        .filter(|(_, new)| !**new)
        .map(|(row, _)| String::from_utf8_lossy(row.transaction_id.of(&possible.batch.text)).into_owned())
        .collect();
    lock_accounts(transaction, &decided, prices, accounts).await?;
    let rates = read_rates(transaction, &accounts.book).await?;
    let mut let_go = Vec::new();
    for decided in decided.iter_mut().filter(|decided| decided.outcome.is_ok()) {
        let trade = decided.trade;
        let id = trade.id.to_string();
        if taken.contains(&id) {
            decided.outcome = Err(Reason::TransactionExists);
            continue;
        }
        let order = Order {
            client_id: &trade.client_id,
            ticker: &trade.ticker,
            side: trade.side,
            volume: trade.volume,
            reverses: trade.reverses.as_ref().and_then(|reversed| reversed.moved),
        };
        decided.outcome = accounts.book.decide(&order, &rates, decided.at_us);
        if decided.outcome.is_err() {
            let_go.push(id);
        }
    }
    load::unregister(transaction, &let_go).await?;
    Ok(decided)
}

/// What can be told of a trade without locks: that it must be rejected, or what it would be at the stock's price.
fn foreseen(trade: &Pending, prices: &BTreeMap<String, Listing>) -> Result<Fill, Reason> {
    let stock = prices.get(&trade.ticker).ok_or(Reason::UnknownStock)?;
    if trade.reverses.as_ref().is_some_and(|reversed| reversed.moved.is_none()) {
        return Err(Reason::NotSettled);
    }
    let amount = book::amount(stock.price, trade.volume).ok_or(Reason::AmountTooLarge)?;
    Ok(Fill { price: stock.price, amount, moved: Moved { account_amount: amount, cost: 0, realised: 0 } })
}

/// Prices never change, so they need no lock; volumes are read again under theirs.
async fn read_prices(
    transaction: &Transaction<'_>,
    tickers: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Listing>, Error> {
    let tickers: Vec<&str> = tickers.iter().copied().collect();
    let rows = transaction
        .query("SELECT ticker, name, currency, close_price FROM stocks WHERE ticker = ANY ($1)", &[&tickers])
        .await?;
    let listing = |row: &Row| Listing {
        name: row.get(1),
        currency: row.get(2),
        price: units_of(row.get(3)),
        volume: 0,
    };
    Ok(rows.iter().map(|row| (row.get(0), listing(row))).collect())
}

/// The transactions of the trades that are, or may be, settled.
pub(super) fn prepared(decided: &[Decided<'_>], stocks: &BTreeMap<String, Listing>) -> Prepared {
    let mut batch = Batch::default();
    for Decided { trade, at_us, outcome } in decided {
        let (Ok(fill), Some(stock)) = (outcome, stocks.get(&trade.ticker)) else { continue };
        batch.add(NewTransaction {
            transaction_id: &trade.id.to_string(),
            client_id: &trade.client_id,
            occurred_us: *at_us,
            kind: match trade.side {
                Side::Buy => TransactionKind::Buy,
                Side::Sell => TransactionKind::Sell,
            },
            amount: fill.amount,
            currency: &stock.currency,
            ticker: &trade.ticker,
            stock_name: stock.name.as_deref(),
            trade: parse::Trade {
                account_amount: Some(fill.moved.account_amount),
                shares: Some(i128::from(trade.volume) * UNITS),
                price: Some(fill.price),
            },
        });
    }
    Prepared::new(batch)
}

/// Locks the clients and the stocks of the trades that may take place, and reads what there is.
async fn lock_accounts(
    transaction: &Transaction<'_>,
    decided: &[Decided<'_>],
    prices: BTreeMap<String, Listing>,
    accounts: &mut Accounts,
) -> Result<(), Error> {
    let possible = || decided.iter().filter(|decided| decided.outcome.is_ok()).map(|decided| decided.trade);
    let clients: BTreeSet<&str> = possible().map(|trade| trade.client_id.as_str()).collect();
    let tickers: BTreeSet<&str> = possible().map(|trade| trade.ticker.as_str()).collect();
    let (clients, tickers): (Vec<&str>, Vec<&str>) =
        (clients.into_iter().collect(), tickers.into_iter().collect());
    // No account changes its currency meanwhile.
    transaction.execute("SELECT pg_advisory_xact_lock_shared($1)", &[&CURRENCIES_LOCK]).await?;
    let rows = transaction
        .query(
            "SELECT client_id, username, currency, position, suspended_at IS NOT NULL FROM clients
             WHERE client_id = ANY ($1) ORDER BY client_id FOR NO KEY UPDATE",
            &[&clients],
        )
        .await?;
    for row in &rows {
        let account = Account { currency: row.get(2), position: units_of(row.get(3)), suspended: row.get(4) };
        accounts.book.accounts.insert(row.get(0), account);
        accounts.usernames.extend(row.get::<_, Option<String>>(1).map(|username| (row.get(0), username)));
    }
    let rows = transaction
        .query(
            "SELECT ticker, volume FROM stocks WHERE ticker = ANY ($1) ORDER BY ticker FOR NO KEY UPDATE",
            &[&tickers],
        )
        .await?;
    accounts.book.stocks = prices;
    for row in &rows {
        if let Some(stock) = accounts.book.stocks.get_mut(row.get::<_, &str>(0)) {
            stock.volume = row.get(1);
        }
    }
    // Only who has locked a client writes its holdings.
    let (holders, held): (Vec<&str>, Vec<&str>) =
        possible().map(|trade| (trade.client_id.as_str(), trade.ticker.as_str())).unzip();
    let rows = transaction
        .query(
            "SELECT client_id, ticker, shares, cost, realised FROM holdings
             WHERE (client_id, ticker) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            &[&holders, &held],
        )
        .await?;
    for row in &rows {
        let position =
            Position { shares: row.get(2), cost: units_of(row.get(3)), realised: units_of(row.get(4)) };
        accounts.book.holdings.insert((row.get(0), row.get(1)), position);
    }
    Ok(())
}

/// The exchange rates, if there is anything to convert.
async fn read_rates(transaction: &Transaction<'_>, book: &Book) -> Result<RateTable, Error> {
    let currencies: BTreeSet<&str> = (book.accounts.values().map(|account| account.currency.as_str()))
        .chain(book.stocks.values().map(|stock| stock.currency.as_str()))
        .collect();
    if currencies.len() < 2 { Ok(RateTable::default()) } else { RateTable::read(transaction).await }
}
