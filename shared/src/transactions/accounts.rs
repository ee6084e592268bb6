//! What buys and sells move in their clients' accounts: the amount in the account's currency.

use super::{
    model::TransactionKind,
    parse::{Batch, CurrencyCode},
    versions::text,
};
use crate::fx::RateTable;
use std::collections::HashMap;
use tokio_postgres::{Error, Transaction};

/// Held (shared) by loads that convert into accounts' currencies, and (alone) by what changes one.
pub const CURRENCIES_LOCK: i64 = 7_241_004;

/// A row whose amount cannot be converted.
#[derive(Debug)]
pub struct Unconverted {
    /// The row in the batch.
    pub row: usize,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Fills in the account amounts of a batch's buys and sells; returns the rows for which that cannot be done. Clients
/// that nobody knows have accounts in `default_currency`. Until the transaction ends no account changes
/// its currency.
pub async fn convert(
    transaction: &Transaction<'_>,
    batch: &mut Batch,
    default_currency: CurrencyCode,
) -> Result<Vec<Unconverted>, Error> {
    let trades: Vec<usize> = (0..batch.rows.len())
        .filter(|&row| matches!(batch.rows[row].kind, TransactionKind::Buy | TransactionKind::Sell))
        .collect();
    if trades.is_empty() {
        return Ok(Vec::new());
    }
    transaction.execute("SELECT pg_advisory_xact_lock_shared($1)", &[&CURRENCIES_LOCK]).await?;
    let currencies = other_currencies(transaction, batch, &trades, default_currency).await?;
    let rates = RateTable::read(transaction).await?;
    let mut unconverted = Vec::new();
    for at in trades {
        let row = &mut batch.rows[at];
        let account =
            currencies.get(text(row.client_id.of(&batch.text))).copied().unwrap_or(default_currency);
        match rates.convert(row.amount, row.currency, account, row.occurred_us) {
            Some(units) => row.trade.get_or_insert_default().account_amount = Some(units),
            None => {
                let (from, to) = (text(&row.currency), text(&account));
                let there_is_one = rates.rate(row.currency, account, row.occurred_us).is_some();
                let (code, message) = if there_is_one {
                    ("number_too_large", format!("converted into {to}, the amount has more than 16 digits"))
                } else {
                    let message = format!(
                        "there is no rate from {from} into {to}, the currency of the client's account, at that time; add one"
                    );
                    ("no_rate", message)
                };
                unconverted.push(Unconverted { row: at, code, message });
            }
        }
    }
    Ok(unconverted)
}

/// The currencies of those of the rows' clients whose accounts are not in the default one.
async fn other_currencies(
    transaction: &Transaction<'_>,
    batch: &Batch,
    rows: &[usize],
    default_currency: CurrencyCode,
) -> Result<HashMap<String, CurrencyCode>, Error> {
    let mut clients: Vec<&str> =
        rows.iter().map(|&row| text(batch.rows[row].client_id.of(&batch.text))).collect();
    clients.sort_unstable();
    clients.dedup();
    let rows = transaction
        .query(
            "SELECT client_id, currency FROM clients WHERE client_id = ANY ($1::text[]) AND currency <> $2",
            &[&clients, &text(&default_currency)],
        )
        .await?;
    let code = |text: &str| CurrencyCode::try_from(text.as_bytes()).unwrap_or_default();
    Ok(rows.iter().map(|row| (row.get(0), code(row.get(1)))).collect())
}
