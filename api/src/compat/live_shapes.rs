//! How service B wrote a transaction: in an answer, and on its socket.

use crate::realtime::feed::Event;
use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Timelike, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use shared::transactions::{Transaction, TransactionKind, TransactionStatus};
use std::borrow::Cow;
use utoipa::ToSchema;

/// B's word for a status.
pub(super) fn status_word(status: TransactionStatus) -> &'static str {
    match status {
        TransactionStatus::Pending => "PENDING",
        TransactionStatus::Success => "SUCCESS",
        TransactionStatus::Failed => "FAILED",
    }
}

/// A transaction as B showed it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoredTransaction {
    /// The transaction's id, too.
    id: String,
    transaction_id: String,
    /// `PENDING`, `SUCCESS` or `FAILED`.
    status: &'static str,
    #[schema(example = "2025-12-12T10:30:00Z")]
    created_at: String,
    /// A whole number where it is one.
    #[schema(value_type = i64)]
    amount: Box<RawValue>,
    /// The client: a number where its id is one.
    #[schema(value_type = i64)]
    user: Value,
}

impl From<Transaction> for MonitoredTransaction {
    fn from(row: Transaction) -> Self {
        Self {
            id: row.transaction_id.clone(),
            transaction_id: row.transaction_id,
            status: status_word(row.status),
            created_at: format!("{}Z", written(row.occurred_at, 'T')),
            amount: number(signed(row.amount, row.kind)),
            user: user(&row.client_id),
        }
    }
}

/// Day and time in UTC; a fraction of a second has six digits.
fn written(at: DateTime<Utc>, between: char) -> String {
    let fraction = if at.nanosecond() == 0 { "" } else { "%.6f" };
    at.format(&format!("%Y-%m-%d{between}%H:%M:%S{fraction}")).to_string()
}

/// An amount with the sign of its kind.
fn signed(amount: Decimal, kind: TransactionKind) -> Decimal {
    match kind {
        TransactionKind::Sell | TransactionKind::Refund => -amount,
        TransactionKind::Buy | TransactionKind::Payment => amount,
    }
}

/// A number of JSON, digit by digit; a whole one without a point.
pub(super) fn number(value: Decimal) -> Box<RawValue> {
    let value = if value.is_zero() { Decimal::ZERO } else { value.normalize() };
    RawValue::from_string(value.to_string()).expect("a decimal is a number of JSON")
}

/// A user's key: a number, if the client's id is one.
fn user(client_id: &str) -> Value {
    match client_id.parse::<i64>() {
        Ok(number) if number.to_string() == client_id => number.into(),
        _ => client_id.into(),
    }
}

/// What is read of an event.
#[derive(Deserialize)]
struct Told<'e> {
    #[serde(borrow)]
    transaction: Option<ToldTransaction<'e>>,
}

#[derive(Deserialize)]
struct ToldTransaction<'e> {
    #[serde(borrow)]
    transaction_id: Cow<'e, str>,
    #[serde(borrow)]
    client_id: Cow<'e, str>,
    occurred_at: DateTime<Utc>,
    kind: TransactionKind,
    amount: Decimal,
    status: TransactionStatus,
}

/// A message of the socket.
#[derive(Serialize)]
struct Frame<'e> {
    transaction_id: &'e str,
    status: &'static str,
    /// As Python writes a time.
    created_at: String,
    amount: Box<RawValue>,
    user: Value,
}

/// B's frame of an event: an object, not a text that holds one. Trades were none of B's.
pub(super) fn frame(event: &Event) -> Option<Utf8Bytes> {
    let Told { transaction } = serde_json::from_str(&event.text).ok()?;
    let transaction = transaction?;
    let frame = Frame {
        transaction_id: &transaction.transaction_id,
        status: status_word(transaction.status),
        created_at: format!("{}+00:00", written(transaction.occurred_at, ' ')),
        amount: number(signed(transaction.amount, transaction.kind)),
        user: user(&transaction.client_id),
    };
    serde_json::to_string(&frame).ok().map(Utf8Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_written_digit_by_digit() {
        for (decimal, text) in [
            ("1000.0000", "1000"),
            ("0.0000", "0"),
            ("-0.0000", "0"),
            ("-12.5000", "-12.5"),
            ("9999999999999999.9999", "9999999999999999.9999"),
        ] {
            assert_eq!(number(decimal.parse().unwrap()).get(), text);
        }
        for (id, shown) in [
            ("1", json!(1)),
            ("-7", json!(-7)),
            ("007", json!("007")),
            ("+1", json!("+1")),
            ("c1", json!("c1")),
            ("99999999999999999999", json!("99999999999999999999")),
        ] {
            assert_eq!(user(id), shown);
        }
    }

    #[test]
    fn times_have_six_digits_of_a_second_or_none() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(written(at("2025-12-12T10:30:00Z"), 'T'), "2025-12-12T10:30:00");
        assert_eq!(written(at("2025-12-12T10:30:00.5Z"), ' '), "2025-12-12 10:30:00.500000");
    }
}
