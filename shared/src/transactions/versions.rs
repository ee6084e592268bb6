//! Naming both versions of a transaction that contradicts another one under its id.

use super::{
    load::Conflict,
    parse::{Batch, Row},
    prepared::Prepared,
};
use crate::{money::units_to_text, uploads::records::Span};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use tokio_postgres::{Error, Transaction};

/// The texts of good rows are UTF-8: parsing refuses others.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("parsed fields are UTF-8")
}

pub(super) fn described(batch: &Batch, row: &Row) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(row.occurred_us).unwrap_or_default();
    let optional = |span: Option<Span>| span.map(|span| text(span.of(&batch.text)).to_owned());
    let (shares, price) = row.trade.as_ref().map_or((None, None), |trade| (trade.shares, trade.price));
    version(
        &units_to_text(row.amount),
        text(&row.currency),
        row.kind.as_str(),
        text(row.client_id.of(&batch.text)),
        at,
        [
            optional(row.merchant_id),
            optional(row.product_id),
            optional(row.ticker),
            shares.map(units_to_text),
            price.map(units_to_text),
        ],
    )
}

/// One version of a transaction, with all that its hash covers.
fn version(
    amount: &str,
    currency: &str,
    kind: &str,
    client: &str,
    at: DateTime<Utc>,
    details: [Option<String>; 5],
) -> String {
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    let mut said = format!("{kind} of {amount} {currency} by client {client} at {at}");
    for (name, value) in ["merchant", "product", "ticker", "shares", "price"].into_iter().zip(details) {
        if let Some(value) = value {
            said.push_str(&format!(", {name} {value}"));
        }
    }
    said
}

/// A row of `versions.sql`, for people.
fn recorded(row: &tokio_postgres::Row) -> String {
    let known = |column: usize| row.get::<_, Option<&str>>(column).unwrap_or("?");
    let details = std::array::from_fn(|at| row.get(9 + at));
    let version = version(known(1), known(2), known(3), row.get(4), row.get(5), details);
    match (row.get::<_, Option<&str>>(8), row.get::<_, Option<i32>>(7)) {
        (Some(file), Some(line)) => format!("{version} (from {file:?}, line {line})"),
        _ => format!("{version} (from {})", known(6)),
    }
}

/// Names both versions of each conflicting row.
pub(super) async fn name_conflicts(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    conflicts: &[u32],
) -> Result<Vec<Conflict>, Error> {
    let mut named = Vec::with_capacity(conflicts.len());
    for part in conflicts.chunks(1000) {
        let ids: Vec<&str> =
            part.iter().map(|&row| text(prepared.row(row).transaction_id.of(&prepared.batch.text))).collect();
        let versions = transaction.query(include_str!("versions.sql"), &[&ids]).await?;
        let recorded: HashMap<&str, String> =
            versions.iter().map(|row| (row.get(0), recorded(row))).collect();
        for &row in part {
            let id = text(prepared.row(row).transaction_id.of(&prepared.batch.text));
            let there = recorded.get(id).map_or("?", String::as_str);
            let here = described(&prepared.batch, prepared.row(row));
            let message = format!(
                "transaction {id} is already recorded with another content: recorded {there}; here {here}"
            );
            named.push(Conflict { row: row as usize, message });
        }
    }
    Ok(named)
}
