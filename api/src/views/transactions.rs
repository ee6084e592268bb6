//! Transactions as JSON.

use super::words;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::{
    transactions::{Transaction, TransactionKind, TransactionStatus},
    uploads::{Upload, lineage::Original},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// One transaction. `amount` is never negative; the kind carries the direction.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionView {
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
    #[schema(schema_with = words::transaction_kind)]
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
    #[schema(schema_with = words::transaction_status)]
    pub status: TransactionStatus,
    /// online, branch, ATM …, as given.
    pub channel: Option<String>,
    /// upload, live, trade or synthetic.
    pub source: String,
    /// The upload or trade.
    pub source_id: Option<Uuid>,
    /// Line in the upload's file.
    pub source_line: Option<i32>,
}

impl From<Transaction> for TransactionView {
    fn from(row: Transaction) -> Self {
        Self {
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
            source: row.source,
            source_id: row.source_id,
            source_line: row.source_line,
        }
    }
}

/// Where a transaction stood in its file.
#[derive(Debug, Serialize, ToSchema)]
pub struct OriginView {
    /// The upload.
    pub upload_id: Uuid,
    /// The name its file was sent under.
    pub filename: String,
    /// The line, or row of the sheet, where the record begins.
    pub line: i32,
    /// The record as it stands in the file, while that is kept.
    pub text: Option<String>,
    /// `kept`, `removed` (the file was pruned), or `unreadable` just now.
    pub file: &'static str,
    /// The upload's resource.
    pub upload: String,
}

impl OriginView {
    /// The view of a row's origin.
    pub fn new(upload: &Upload, line: i32, original: Original) -> Self {
        let (text, file) = match original {
            Original::Text(text) => (Some(text), "kept"),
            Original::Removed => (None, "removed"),
            Original::Unreadable => (None, "unreadable"),
        };
        Self {
            upload_id: upload.id.0,
            filename: upload.filename.clone(),
            line,
            text,
            file,
            upload: format!("/api/v1/uploads/{}", upload.id),
        }
    }
}

/// A transaction and where it came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct TracedTransactionView {
    /// The transaction.
    #[serde(flatten)]
    pub transaction: TransactionView,
    /// Where it stood in a file, if it came in one.
    pub origin: Option<OriginView>,
    /// The upload that moved its status from pending, if one did.
    pub moved_from_pending_by: Option<String>,
}
