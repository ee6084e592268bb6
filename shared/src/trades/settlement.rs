//! Settling trades: all that the runs of a worker ask for at one time is one transaction, in which each trade has
//! its own outcome and each run its own end. Locks are taken in one order everywhere: runs, trades, the registry
//! of transactions, clients, stocks, then the summaries; within each by key.

use super::{
    book::{self, Account, Book, Fill, Listing, Moved, Order, Position},
    model::{Reason, Side, TradeState},
};
use crate::{
    cache::Topic,
    fx::RateTable,
    gather::{AskError, BatchError, Gatherer},
    ids::{ClaimToken, JournalId, RunId, TradeId},
    metrics,
    money::{UNITS, decimal_of, units_of},
    runs::{Closed, Environment, JobError, RunContext, RunError, complete_runs, hold_runs, is_contention},
    transactions::{
        TransactionKind,
        accounts::CURRENCIES_LOCK,
        load::{self, Source},
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
use tokio_postgres::{Client, Error, Row, Transaction};
use uuid::Uuid;

/// Trades that are settled together, at most.
const SETTLED_TOGETHER: usize = 200;
/// Claimed runs that may wait; a worker has fewer slots.
const ROOM: usize = 100_000;
/// How often a batch that another transaction was in the way of is begun.
const RETRIES: u32 = 20;

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
            "the settlement of its batch stopped halfway; nothing has moved"
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
            Cause::Database(error) if is_contention(error) && lost < RETRIES => {
                tracing::info!(%error, lost, "another transaction was in the way of a settlement; trying again");
            }
            // The server has looked at what it was sent and refused it: one trade's fault is not the others'.
            Cause::Database(refused) if refused.as_db_error().is_some() && !is_contention(refused) => {
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
struct Decided<'t> {
    trade: &'t Pending,
    /// Microseconds since 1970: when its transaction took place.
    at_us: i64,
    outcome: Result<Fill, Reason>,
}

/// A trade that is to be decided.
struct Pending {
    id: TradeId,
    client_id: String,
    ticker: String,
    side: Side,
    volume: i64,
    /// What it takes back.
    reverses: Option<Reversed>,
}

/// A trade that is to be taken back.
struct Reversed {
    id: TradeId,
    /// Nothing, if it is not settled any more.
    moved: Option<Moved>,
}

async fn transact(
    env: &Environment,
    client: &mut Client,
    claims: &[Claim],
) -> Result<Vec<Option<Closed>>, Cause> {
    let now_us = env.clock.now().timestamp_micros();
    // The months first, in transactions of their own; a batch takes place within the microseconds it has trades.
    let ends = [now_us, now_us + claims.len() as i64].map(crate::transactions::instant::first_of_month);
    prerequisites::ensure_months(client, &ends).await?;
    let transaction = client.transaction().await?;
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
    let changing = env.cache.changing(&env.pool, &accounts.topics(&decided)).await.map_err(Cause::Cache)?;
    let committed = transaction.commit().await;
    changing.done().await;
    committed?;
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
struct Accounts {
    book: Book,
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
    transaction: &Transaction<'_>,
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
fn prepared(decided: &[Decided<'_>], stocks: &BTreeMap<String, Listing>) -> Prepared {
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

/// A numeric column's value. What no column holds is refused by PostgreSQL.
fn decimal(units: i128) -> Decimal {
    decimal_of(units).unwrap_or(Decimal::MAX)
}

/// Writes what was decided: the accounts, the ledger, the trades, their transactions, and what the feed tells.
async fn write(
    transaction: &Transaction<'_>,
    decided: &[Decided<'_>],
    accounts: &Accounts,
    env: &Environment,
) -> Result<(), Error> {
    move_accounts(transaction, &accounts.book).await?;
    post(transaction, decided, &accounts.book).await?;
    end_trades(transaction, decided, &accounts.book).await?;
    let took_place = prepared(decided, &accounts.book.stocks);
    load::add_registered(transaction, &took_place, Source::TRADES, env.settings.zone).await?;
    let events: Vec<_> = decided.iter().map(|decided| event(decided, &accounts.book)).collect();
    transaction
        .execute("INSERT INTO feed_outbox (events) VALUES ($1)", &[&serde_json::Value::Array(events)])
        .await?;
    Ok(())
}

/// What the feed tells of a decided trade.
fn event(decided: &Decided<'_>, book: &Book) -> serde_json::Value {
    let Decided { trade, at_us, outcome } = decided;
    let mut event = json!({
        "type": if outcome.is_ok() { "trade.settled" } else { "trade.rejected" },
        "trade_id": trade.id, "client_id": trade.client_id, "ticker": trade.ticker, "side": trade.side,
        "volume": trade.volume, "at_us": at_us,
        "reversal_of": trade.reverses.as_ref().map(|reversed| reversed.id),
    });
    match outcome {
        Ok(fill) => {
            event["price"] = json!(decimal(fill.price));
            event["amount"] = json!(decimal(fill.amount));
            event["currency"] = json!(book.stocks.get(&trade.ticker).map(|stock| &stock.currency));
        }
        Err(reason) => event["reason"] = json!(reason),
    }
    event
}

async fn move_accounts(transaction: &Transaction<'_>, book: &Book) -> Result<(), Error> {
    if book.changed.is_empty() {
        return Ok(());
    }
    let clients: BTreeSet<&String> = book.changed.iter().map(|(client, _)| client).collect();
    let tickers: BTreeSet<&String> = book.changed.iter().map(|(_, ticker)| ticker).collect();
    let (clients, positions): (Vec<&str>, Vec<Decimal>) = clients
        .into_iter()
        .filter_map(|client| Some((client.as_str(), decimal(book.accounts.get(client)?.position))))
        .unzip();
    transaction
        .execute(
            "UPDATE clients c SET position = v.position
             FROM unnest($1::text[], $2::numeric[]) AS v (client_id, position) WHERE c.client_id = v.client_id",
            &[&clients, &positions],
        )
        .await?;
    let (tickers, volumes): (Vec<&str>, Vec<i64>) = tickers
        .into_iter()
        .filter_map(|ticker| Some((ticker.as_str(), book.stocks.get(ticker)?.volume)))
        .unzip();
    transaction
        .execute(
            "UPDATE stocks s SET volume = v.volume
             FROM unnest($1::text[], $2::bigint[]) AS v (ticker, volume) WHERE s.ticker = v.ticker",
            &[&tickers, &volumes],
        )
        .await?;
    let (mut holders, mut held, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut costs, mut realised) = (Vec::new(), Vec::new());
    for key in &book.changed {
        let Some(position) = book.holdings.get(key) else { continue };
        holders.push(key.0.as_str());
        held.push(key.1.as_str());
        shares.push(position.shares);
        costs.push(decimal(position.cost));
        realised.push(decimal(position.realised));
    }
    transaction
        .execute(
            "INSERT INTO holdings (client_id, ticker, shares, cost, realised)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::numeric[], $5::numeric[])
             ON CONFLICT (client_id, ticker) DO UPDATE
             SET shares = excluded.shares, cost = excluded.cost, realised = excluded.realised",
            &[&holders, &held, &shares, &costs, &realised],
        )
        .await?;
    Ok(())
}

/// The columns of entries that are to be posted.
#[derive(Default)]
struct Entries<'e> {
    journals: Vec<Uuid>,
    numbers: Vec<i32>,
    amounts: Vec<Decimal>,
    accounts: Vec<&'static str>,
    clients: Vec<Option<&'e str>>,
    kinds: Vec<&'static str>,
    assets: Vec<&'e str>,
}

impl<'e> Entries<'e> {
    /// To the client, and from the clearing account. Nothing is no entry.
    fn pair(
        &mut self,
        journal: JournalId,
        number: i32,
        client: &'e str,
        kind: &'static str,
        asset: &'e str,
        amount: i128,
    ) {
        if amount == 0 {
            return;
        }
        let sides = [("client", Some(client), amount), ("clearing", None, -amount)];
        for ((account, client, amount), number) in sides.into_iter().zip(number..) {
            self.journals.push(journal.0);
            self.numbers.push(number);
            self.amounts.push(decimal(amount));
            self.accounts.push(account);
            self.clients.push(client);
            self.kinds.push(kind);
            self.assets.push(asset);
        }
    }
}

/// A journal for each settled trade: cash one way, shares the other, against the clearing account.
async fn post(transaction: &Transaction<'_>, decided: &[Decided<'_>], book: &Book) -> Result<(), Error> {
    let (mut journals, mut sources, mut originals) = (Vec::new(), Vec::new(), Vec::new());
    let mut entries = Entries::default();
    for Decided { trade, outcome, .. } in decided {
        let (Ok(fill), Some(account)) = (outcome, book.accounts.get(&trade.client_id)) else { continue };
        let (cash, shares) = match trade.side {
            Side::Buy => (-fill.moved.account_amount, i128::from(trade.volume) * UNITS),
            Side::Sell => (fill.moved.account_amount, -i128::from(trade.volume) * UNITS),
        };
        let journal = JournalId::generate();
        journals.push(journal.0);
        sources.push(trade.id.0);
        originals.push(trade.reverses.as_ref().map(|reversed| reversed.id.0));
        entries.pair(journal, 1, &trade.client_id, "cash", &account.currency, cash);
        entries.pair(journal, 3, &trade.client_id, "shares", &trade.ticker, shares);
    }
    if journals.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "INSERT INTO journals (id, kind, source_id, reversal_of)
             SELECT v.id, 'trade', v.trade, j.id
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS v (id, trade, original)
             LEFT JOIN journals j ON j.source_id = v.original AND j.kind = 'trade'
             ORDER BY v.id",
            &[&journals, &sources, &originals],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
             SELECT * FROM unnest($1::uuid[], $2::integer[], $3::numeric[], $4::text[], $5::text[], $6::text[], $7::text[])",
            &[
                &entries.journals,
                &entries.numbers,
                &entries.amounts,
                &entries.accounts,
                &entries.clients,
                &entries.kinds,
                &entries.assets,
            ],
        )
        .await?;
    Ok(())
}

/// Writes the outcomes on the trades; those that were taken back are reversed now.
async fn end_trades(
    transaction: &Transaction<'_>,
    decided: &[Decided<'_>],
    book: &Book,
) -> Result<(), Error> {
    let fill = |decided: &Decided<'_>, value: fn(&Fill) -> i128| {
        decided.outcome.as_ref().ok().map(value).map(decimal)
    };
    let column =
        |value: fn(&Fill) -> i128| decided.iter().map(|decided| fill(decided, value)).collect::<Vec<_>>();
    let settled = |decided: &Decided<'_>| decided.outcome.is_ok();
    let ids: Vec<Uuid> = decided.iter().map(|decided| decided.trade.id.0).collect();
    let states: Vec<&str> = decided
        .iter()
        .map(|decided| if settled(decided) { TradeState::Settled } else { TradeState::Rejected }.as_str())
        .collect();
    let reasons: Vec<Option<&str>> =
        decided.iter().map(|decided| decided.outcome.as_ref().err().map(|reason| reason.as_str())).collect();
    let stocks: Vec<Option<&str>> = decided
        .iter()
        .map(|decided| {
            book.stocks
                .get(&decided.trade.ticker)
                .filter(|_| settled(decided))
                .map(|stock| stock.currency.as_str())
        })
        .collect();
    let accounts: Vec<Option<&str>> = decided
        .iter()
        .map(|decided| {
            book.accounts
                .get(&decided.trade.client_id)
                .filter(|_| settled(decided))
                .map(|account| account.currency.as_str())
        })
        .collect();
    transaction
        .execute(
            "UPDATE trades t SET state = v.state, reason = v.reason, price = v.price, amount = v.amount,
                 currency = v.currency, account_amount = v.account_amount, account_currency = v.account_currency,
                 cost = v.cost, realised = v.realised, decided_at = clock_timestamp()
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::text[],
                         $7::numeric[], $8::text[], $9::numeric[], $10::numeric[])
                  AS v (id, state, reason, price, amount, currency, account_amount, account_currency, cost, realised)
             WHERE t.id = v.id",
            &[
                &ids,
                &states,
                &reasons,
                &column(|fill| fill.price),
                &column(|fill| fill.amount),
                &stocks,
                &column(|fill| fill.moved.account_amount),
                &accounts,
                &column(|fill| fill.moved.cost),
                &column(|fill| fill.moved.realised),
            ],
        )
        .await?;
    let reversed: Vec<Uuid> = decided
        .iter()
        .filter(|decided| settled(decided))
        .filter_map(|decided| Some(decided.trade.reverses.as_ref()?.id.0))
        .collect();
    if !reversed.is_empty() {
        transaction.execute("UPDATE trades SET state = 'reversed' WHERE id = ANY ($1)", &[&reversed]).await?;
    }
    Ok(())
}
