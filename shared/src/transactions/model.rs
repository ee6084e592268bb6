//! Transactions as they are stored.

use super::{
    parse::{Batch, Row},
    versions::text,
};
use crate::{money::decimal_of, schema::transactions, uploads::records::Span};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use rust_decimal::Decimal;

text_enum! {
    /// Which way the money goes.
    TransactionKind {
        /// Shares bought.
        Buy = "buy",
        /// Shares sold.
        Sell = "sell",
        /// Money paid.
        Payment = "payment",
        /// Money paid back.
        Refund = "refund",
    }
}

text_enum! {
    /// Whether it took place.
    TransactionStatus {
        /// Not decided yet.
        Pending = "pending",
        /// It did.
        Success = "success",
        /// It did not; it counts in no total but the day's.
        Failed = "failed",
    }
}

/// One transaction. `amount` is never negative, the kind carries the direction.
#[derive(Debug, Clone, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = transactions, check_for_backend(diesel::pg::Pg))]
pub struct Transaction {
    /// Its id, unique over all months.
    pub transaction_id: String,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// Whose.
    pub client_id: String,
    /// With whom.
    pub merchant_id: Option<String>,
    /// For what.
    pub product_id: Option<String>,
    /// Which way.
    pub kind: TransactionKind,
    /// Stock's ticker.
    pub ticker: Option<String>,
    /// Stock's name.
    pub stock_name: Option<String>,
    /// How many shares.
    pub shares: Option<Decimal>,
    /// Price of one share.
    pub price: Option<Decimal>,
    /// How much, in `currency`.
    pub amount: Decimal,
    /// ISO 4217 code.
    pub currency: String,
    /// Whether it took place.
    pub status: TransactionStatus,
    /// online, branch, ATM …, as given.
    pub channel: Option<String>,
    /// upload, live, trade or synthetic.
    pub source: String,
    /// The upload or trade.
    pub source_id: Option<uuid::Uuid>,
    /// Line in the upload's file.
    pub source_line: Option<i32>,
}

impl Transaction {
    /// A row as it was sent live.
    pub(crate) fn sent(batch: &Batch, row: &Row) -> Self {
        let owned = |span: Span| text(span.of(&batch.text)).to_owned();
        // What is no decimal was refused when it was read.
        let units = |units: i128| decimal_of(units).unwrap_or_default();
        let trade = row.trade.as_deref();
        Self {
            transaction_id: owned(row.transaction_id),
            occurred_at: DateTime::from_timestamp_micros(row.occurred_us).unwrap_or_default(),
            client_id: owned(row.client_id),
            merchant_id: row.merchant_id.map(owned),
            product_id: row.product_id.map(owned),
            kind: row.kind,
            ticker: row.ticker.map(owned),
            stock_name: row.stock_name.map(owned),
            shares: trade.and_then(|trade| trade.shares).map(units),
            price: trade.and_then(|trade| trade.price).map(units),
            amount: units(row.amount),
            currency: text(&row.currency).to_owned(),
            status: row.status,
            channel: row.channel.map(owned),
            source: "live".to_owned(),
            source_id: None,
            source_line: None,
        }
    }
}
