//! Accepting orders, many in a transaction: the trade, the run that settles it and its idempotency key are
//! committed together, before anybody is answered.

use super::{
    error::TradeError,
    jobs::SettleTrade,
    model::{Side, Trade, TradeState},
    queries::{self, NewRow},
    settlement::Settling,
};
use crate::{
    audit, clients,
    db::{DbError, DbPool, is_diesel_outage},
    gather::{AskError, BatchError, Gatherer},
    idempotency,
    ids::{RunId, TradeId},
    runs::{Environment, Queue, enqueue_all},
    stocks::model::{MAX_VOLUME, TICKER_CHARACTERS},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Orders that are committed together, at most.
const ACCEPTED_TOGETHER: usize = 500;
/// Orders that may wait to be written down; beyond that callers are told to come again.
const ROOM: usize = 5000;
/// First and longest pause between two looks at a trade that somebody waits for.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Where a process gathers what it does together: orders, settlements, and looks at what they became.
pub struct TradeDesk {
    orders: Gatherer<Arc<NewTrade>, Result<Accepted, TradeError>, TradeError>,
    looks: Gatherer<TradeId, Option<Trade>, TradeError>,
    /// Of a worker.
    pub(super) settling: Settling,
}

impl Default for TradeDesk {
    fn default() -> Self {
        Self {
            orders: Gatherer::new(ACCEPTED_TOGETHER, ROOM),
            looks: Gatherer::new(1000, 10_000),
            settling: Settling::default(),
        }
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTrade {
    /// Whose.
    pub client_id: String,
    /// Of which stock.
    pub ticker: String,
    /// Which way.
    pub side: Side,
    /// Shares.
    pub volume: i64,
    /// Who orders it; whose the idempotency key is.
    pub by: String,
    /// The caller's idempotency key.
    pub key: Option<String>,
}

impl NewTrade {
    /// What makes two orders under one key the same.
    fn fingerprint(&self) -> String {
        let order = serde_json::json!([self.client_id, self.ticker, self.side, self.volume]);
        format!("POST /api/v1/trades {order}")
    }

    fn check(&self) -> Result<(), TradeError> {
        let invalid = |field, reason| Err(TradeError::Invalid { field, reason });
        if !(1..=MAX_VOLUME).contains(&self.volume) {
            return invalid("volume", "A volume is a whole number of shares, from 1 to 2,147,483,647.");
        }
        if self.ticker.is_empty() || self.ticker.chars().count() > TICKER_CHARACTERS {
            return invalid("ticker", "A ticker has 1 to 15 characters.");
        }
        Ok(())
    }
}

/// An order that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// As it was accepted: pending.
    pub trade: Trade,
    /// It was accepted before, under the same idempotency key.
    pub replayed: bool,
}

/// Accepts an order: it is on disk when this returns, and will be settled or rejected.
pub async fn place_trade(env: &Arc<Environment>, order: NewTrade) -> Result<Accepted, TradeError> {
    order.check()?;
    let means = env.clone();
    let work = move |orders| {
        let env = means.clone();
        async move { accept(&env, orders).await }
    };
    answered(env.trades.orders.ask(Arc::new(order), work).await)?
}

fn answered<R>(answer: Result<R, AskError<TradeError>>) -> Result<R, TradeError> {
    answer.map_err(|error| match error {
        AskError::Full => TradeError::Busy,
        AskError::Lost => TradeError::Unknown,
        AskError::Failed(error) => error,
    })
}

/// What becomes of a batch of orders. One that must be refused is; one that PostgreSQL refuses is tried alone.
async fn accept(
    env: &Environment,
    orders: Vec<Arc<NewTrade>>,
) -> Result<Vec<Result<Accepted, TradeError>>, BatchError<TradeError>> {
    let mut pooled = env.pool.get().await.map_err(|error| BatchError::All(error.into()))?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let accepted = conn.transaction(async |conn| write_down(conn, &orders).await).await;
    match accepted {
        Ok((answers, new)) => {
            if new > 0 {
                env.doorbells.ring(Queue::Light, new);
            }
            Ok(answers)
        }
        Err(error) if is_outage(&error) => Err(BatchError::All(TradeError::Unknown)),
        Err(error) => Err(BatchError::Some(error)),
    }
}

/// Whether PostgreSQL went away: then nobody knows whether it had committed, and an order without a key that was
/// tried again might be two.
fn is_outage(error: &TradeError) -> bool {
    let TradeError::Database(error) = error else { return false };
    matches!(&**error, DbError::Query(error) if is_diesel_outage(error))
}

/// Writes orders down; answers each in its place, and says how many are new.
async fn write_down(
    conn: &mut AsyncPgConnection,
    orders: &[Arc<NewTrade>],
) -> Result<(Vec<Result<Accepted, TradeError>>, u64), TradeError> {
    let mut wanted: Vec<&str> = orders.iter().map(|order| order.client_id.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let known: HashSet<String> = clients::queries::known_clients(conn, &wanted).await?.into_iter().collect();
    // In the order of arrival: of two orders of one client the earlier is settled first.
    let ids: Vec<(TradeId, RunId)> =
        orders.iter().map(|_| (TradeId::generate(), RunId::generate())).collect();
    let earlier = claim_keys(conn, orders, &ids, &known).await?;
    let mut answers: Vec<Option<Result<Accepted, TradeError>>> = Vec::with_capacity(orders.len());
    let mut fresh = Vec::new();
    for (at, order) in orders.iter().enumerate() {
        answers.push(match earlier.get(&at) {
            _ if !known.contains(&order.client_id) => {
                Some(Err(TradeError::UnknownClient(order.client_id.chars().take(80).collect())))
            }
            Some(earlier) => Some(earlier.clone()),
            None => {
                fresh.push(at);
                None
            }
        });
    }
    let rows: Vec<NewRow<'_>> = fresh
        .iter()
        .map(|&at| NewRow {
            id: ids[at].0,
            run_id: ids[at].1,
            reversal_of: None,
            client_id: &orders[at].client_id,
            ticker: &orders[at].ticker,
            side: orders[at].side.as_str(),
            volume: orders[at].volume,
            created_by: &orders[at].by,
        })
        .collect();
    let mut trades = HashMap::with_capacity(rows.len());
    if !rows.is_empty() {
        trades.extend(queries::insert_trades(conn, &rows).await?.into_iter().map(|trade| (trade.id, trade)));
        let runs: Vec<_> = rows
            .iter()
            .map(|row| (row.run_id, SettleTrade { trade_id: row.id }, row.created_by, None))
            .collect();
        enqueue_all(conn, &runs).await?;
    }
    let answers = answers.into_iter().zip(&ids).map(|(answer, (id, _))| {
        answer.unwrap_or_else(|| {
            let trade = trades.remove(id).ok_or(TradeError::NotFound(*id))?;
            Ok(Accepted { trade, replayed: false })
        })
    });
    Ok((answers.collect(), fresh.len() as u64))
}

/// Claims the keys of the orders that have one, for the trades of `ids`. Answers those whose key stands for
/// something already, also for another order of this batch.
async fn claim_keys(
    conn: &mut AsyncPgConnection,
    orders: &[Arc<NewTrade>],
    ids: &[(TradeId, RunId)],
    known: &HashSet<String>,
) -> Result<BTreeMap<usize, Result<Accepted, TradeError>>, TradeError> {
    let mut keyed: Vec<(usize, idempotency::NewKey)> = Vec::new();
    for (at, order) in orders.iter().enumerate().filter(|(_, order)| known.contains(&order.client_id)) {
        if let Some(key) = &order.key {
            let location = ids[at].0.to_string();
            let principal = order.by.clone();
            let fingerprint = order.fingerprint();
            keyed.push((at, idempotency::NewKey { principal, key: key.clone(), fingerprint, location }));
        }
    }
    if keyed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<&idempotency::NewKey> = keyed.iter().map(|(_, key)| key).collect();
    let held = idempotency::claim_all(conn, &keys).await?;
    let mut answers: BTreeMap<usize, Result<Accepted, TradeError>> = BTreeMap::new();
    let mut replays: Vec<(usize, TradeId)> = Vec::new();
    for ((at, key), held) in keyed.iter().zip(held) {
        match held {
            held if held.fingerprint != key.fingerprint => {
                answers.insert(*at, Err(TradeError::KeyReused));
            }
            held if held.location != key.location => {
                replays.push((*at, held.location.parse().map_err(|_| TradeError::KeyReused)?));
            }
            _ => {}
        }
    }
    let named: Vec<TradeId> = replays.iter().map(|(_, id)| *id).collect();
    let mut found: HashMap<TradeId, Trade> = HashMap::new();
    if !named.is_empty() {
        found.extend(queries::find_trades(conn, &named).await?.into_iter().map(|trade| (trade.id, trade)));
    }
    for (at, id) in replays {
        // One that is accepted in this very transaction is not written down yet.
        let trade = match ids.iter().position(|(fresh, _)| *fresh == id) {
            Some(first) => pending(&orders[first], ids[first]),
            None => found.get(&id).map(as_accepted).ok_or(TradeError::NotFound(id))?,
        };
        answers.insert(at, Ok(Accepted { trade, replayed: true }));
    }
    Ok(answers)
}

/// An order as it is about to be written down.
fn pending(order: &NewTrade, (id, run_id): (TradeId, RunId)) -> Trade {
    Trade {
        id,
        run_id,
        reversal_of: None,
        client_id: order.client_id.clone(),
        ticker: order.ticker.clone(),
        side: order.side,
        volume: order.volume,
        state: TradeState::Pending,
        reason: None,
        created_by: order.by.clone(),
        created_at: id.created_at(),
        decided_at: None,
        price: None,
        amount: None,
        currency: None,
        account_amount: None,
        account_currency: None,
        cost: None,
        realised: None,
    }
}

/// A trade as its order was answered: a repeated request gets the same answer.
fn as_accepted(trade: &Trade) -> Trade {
    Trade {
        state: TradeState::Pending,
        reason: None,
        decided_at: None,
        price: None,
        amount: None,
        currency: None,
        account_amount: None,
        account_currency: None,
        cost: None,
        realised: None,
        ..trade.clone()
    }
}

/// Waits until a trade is settled or rejected, at most so long; as it is then.
pub async fn await_trade(
    env: &Arc<Environment>,
    id: TradeId,
    patience: Duration,
) -> Result<Trade, TradeError> {
    let until = Instant::now() + patience;
    let mut pause = LOOKS.0;
    loop {
        let pool = env.pool.clone();
        let work = move |ids| {
            let pool = pool.clone();
            async move { look(&pool, ids).await }
        };
        let trade = answered(env.trades.looks.ask(id, work).await)?.ok_or(TradeError::NotFound(id))?;
        if trade.state != TradeState::Pending || Instant::now() >= until {
            return Ok(trade);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
    }
}

async fn look(pool: &DbPool, ids: Vec<TradeId>) -> Result<Vec<Option<Trade>>, BatchError<TradeError>> {
    let failed = |error: DbError| BatchError::All(TradeError::from(error));
    let mut conn = pool.get().await.map_err(|error| failed(error.into()))?;
    let found = queries::find_trades(&mut conn, &ids).await.map_err(|error| failed(error.into()))?;
    let found: HashMap<TradeId, Trade> = found.into_iter().map(|trade| (trade.id, trade)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// Orders the opposite of a settled trade, once, on behalf of an operator. It is settled, or rejected, like any
/// other; it moves back exactly what the trade had moved.
pub async fn reverse_trade(env: &Environment, id: TradeId, by: &str) -> Result<Trade, TradeError> {
    let mut pooled = env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let trade = conn.transaction(async |conn| reverse(conn, id, by).await).await?;
    env.doorbells.ring(Queue::Light, 1);
    Ok(trade)
}

async fn reverse(conn: &mut AsyncPgConnection, id: TradeId, by: &str) -> Result<Trade, TradeError> {
    // The lock makes two who ask at once come one after the other.
    let trade = queries::lock_trade(conn, id).await?.ok_or(TradeError::NotFound(id))?;
    if let Some(reversal) = queries::find_reversal(conn, id).await? {
        return Err(TradeError::Reversed(id, reversal));
    }
    if trade.state != TradeState::Settled {
        return Err(TradeError::NotSettled(id, trade.state, trade.reason));
    }
    if trade.reversal_of.is_some() {
        return Err(TradeError::Reversal(id));
    }
    let row = NewRow {
        id: TradeId::generate(),
        run_id: RunId::generate(),
        reversal_of: Some(id),
        client_id: &trade.client_id,
        ticker: &trade.ticker,
        side: trade.side.opposite().as_str(),
        volume: trade.volume,
        created_by: by,
    };
    let runs = [(row.run_id, SettleTrade { trade_id: row.id }, by, None)];
    let mut made = queries::insert_trades(conn, &[row]).await?;
    enqueue_all(conn, &runs).await?;
    let reversal = made.pop().ok_or(TradeError::NotFound(id))?;
    let details = serde_json::json!({ "reversal": reversal.id });
    audit::record(conn, by, "trade.reverse", &id.to_string(), &details).await?;
    Ok(reversal)
}
