//! What the feed tells, and how a transaction tells it. An event is a JSON object: its `type`, when it was told
//! (`at`), and the `transaction` or `trade` that it is about; an id is added by whoever serves it.

use crate::{
    clock::Clock,
    db::LoadTransaction,
    transactions::{TransactionKind, TransactionStatus, prepared::Prepared},
};
use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeSet};
use tokio_postgres::Error;

/// A live transaction is new.
pub const CREATED: &str = "transaction.created";
/// A transaction was pending and is decided.
pub const UPDATED: &str = "transaction.updated";
/// A trade was settled.
pub const SETTLED: &str = "trade.settled";
/// A trade was rejected.
pub const REJECTED: &str = "trade.rejected";
/// All types.
pub const TYPES: [&str; 4] = [CREATED, UPDATED, SETTLED, REJECTED];

/// Writes events into the outbox, and commits. Nothing may be locked behind them: the order of the outbox is that of
/// the commits because it is kept locked until then.
pub async fn commit_telling<T: Serialize>(
    transaction: LoadTransaction<'_>,
    events: &[T],
) -> Result<(), Error> {
    if events.is_empty() {
        return transaction.commit().await;
    }
    let told = serde_json::to_string(events).expect("events are made of texts and numbers");
    let statement = transaction.prepared("SELECT tell_feed($1::text::json)").await?;
    transaction.commit_after(&statement, &[&told]).await
}

/// When something is told, as all events say it.
pub fn at(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[derive(Serialize)]
struct TransactionEvent<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    at: &'e str,
    transaction: Told,
}

/// A transaction as the feed tells it.
#[derive(Serialize)]
struct Told {
    transaction_id: String,
    occurred_at: DateTime<Utc>,
    client_id: String,
    merchant_id: Option<String>,
    product_id: Option<String>,
    kind: TransactionKind,
    ticker: Option<String>,
    stock_name: Option<String>,
    shares: Option<Decimal>,
    price: Option<Decimal>,
    amount: Decimal,
    currency: String,
    status: TransactionStatus,
    channel: Option<String>,
}

/// Commits, and tells of rows that were added, and of those whose status moved, in the order in which they were sent.
pub async fn commit_transactions(
    transaction: LoadTransaction<'_>,
    prepared: &Prepared,
    mut fresh: Vec<u32>,
    updated: &[u32],
    clock: &dyn Clock,
) -> Result<(), Error> {
    let at = at(clock.now());
    let (updated, moved): (BTreeSet<u32>, BTreeSet<u32>) =
        (updated.iter().copied().collect(), prepared.moved_within().map(|(first, _)| first).collect());
    let of = |row: u32| {
        let row = crate::transactions::Transaction::sent(&prepared.batch, prepared.row(row));
        Told {
            transaction_id: row.transaction_id,
            occurred_at: row.occurred_at,
            client_id: row.client_id,
            merchant_id: row.merchant_id,
            product_id: row.product_id,
            kind: row.kind,
            ticker: row.ticker,
            stock_name: row.stock_name,
            shares: row.shares,
            price: row.price,
            amount: row.amount,
            currency: row.currency,
            status: row.status,
            channel: row.channel,
        }
    };
    fresh.sort_unstable();
    let mut events: Vec<(u32, TransactionEvent<'_>)> = Vec::with_capacity(fresh.len() + updated.len());
    for row in fresh {
        let mut told = of(row);
        if moved.contains(&row) {
            // It came pending, and was decided by another of the same commit, which tells so itself.
            told.status = TransactionStatus::Pending;
        }
        events.push((row, TransactionEvent { kind: CREATED, at: &at, transaction: told }));
    }
    events.extend(
        updated
            .into_iter()
            .map(|row| (row, TransactionEvent { kind: UPDATED, at: &at, transaction: of(row) })),
    );
    events.sort_by_key(|(row, _)| *row);
    let events: Vec<TransactionEvent<'_>> = events.into_iter().map(|(_, event)| event).collect();
    commit_telling(transaction, &events).await
}

/// What an event is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// One of [`TYPES`].
    pub kind_of_event: String,
    /// Whose.
    pub client_id: String,
    /// With whom, of a transaction.
    pub merchant_id: Option<String>,
    /// Which way; of a trade its side.
    pub kind: Option<TransactionKind>,
    /// Whether it took place; a settled trade did, a rejected one failed.
    pub status: Option<TransactionStatus>,
    /// How much; unknown of a rejected trade.
    pub amount: Option<Decimal>,
    /// When it was told.
    pub at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Written<'w> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'w, str>,
    at: Option<DateTime<Utc>>,
    #[serde(borrow)]
    transaction: Option<Subject<'w>>,
    #[serde(borrow)]
    trade: Option<Subject<'w>>,
}

#[derive(Deserialize)]
struct Subject<'w> {
    #[serde(borrow)]
    client_id: Cow<'w, str>,
    merchant_id: Option<String>,
    kind: Option<TransactionKind>,
    side: Option<TransactionKind>,
    status: Option<TransactionStatus>,
    amount: Option<Decimal>,
}

impl Facts {
    /// Reads an event; `None` if it is about nothing that this version knows.
    pub fn read(event: &str) -> Option<Self> {
        let Written { kind, at, transaction, trade } = serde_json::from_str(event).ok()?;
        let traded = match &*kind {
            SETTLED => Some(TransactionStatus::Success),
            REJECTED => Some(TransactionStatus::Failed),
            _ => None,
        };
        let subject = transaction.or(trade)?;
        Some(Self {
            kind_of_event: kind.into_owned(),
            client_id: subject.client_id.into_owned(),
            merchant_id: subject.merchant_id,
            kind: subject.kind.or(subject.side),
            status: subject.status.or(traded),
            amount: subject.amount,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chosen_by_what_they_say() {
        let facts = Facts::read(
            r#"{"type":"transaction.created","at":"2026-11-28T10:00:00.000Z","transaction":{"client_id":"c\"1",
                "merchant_id":"m","kind":"payment","status":"pending","amount":"12.5000","channel":null}}"#,
        )
        .unwrap();
        assert_eq!(facts.client_id, "c\"1");
        assert_eq!(facts.amount, Some(Decimal::new(125, 1)));
        assert_eq!(facts.status, Some(TransactionStatus::Pending));
        let facts = Facts::read(
            r#"{"type":"trade.rejected","trade":{"id":"x","client_id":"c","side":"sell","reason":"unknown_stock"}}"#,
        )
        .unwrap();
        assert_eq!(
            (facts.kind, facts.status),
            (Some(TransactionKind::Sell), Some(TransactionStatus::Failed))
        );
        assert_eq!(facts.amount, None);
        assert_eq!(Facts::read("[]"), None);
    }
}
