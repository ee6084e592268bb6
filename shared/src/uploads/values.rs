//! Typed rows as texts by field: what a look at a file shows of how its rows read.

use crate::{
    clients::parse::ClientRow, money::units_to_text, stocks::NewStock, transactions::parse::Row,
    uploads::records::Span,
};
use chrono::{DateTime, SecondsFormat};
use std::collections::BTreeMap;

/// Values by field; a field that a row leaves empty is not there.
pub type Values = BTreeMap<&'static str, String>;

/// The values of a transaction whose texts are in `text`.
pub fn of_transaction(text: &[u8], row: &Row) -> Values {
    let shown = |span: Span| String::from_utf8_lossy(span.of(text)).into_owned();
    let instant = DateTime::from_timestamp_micros(row.occurred_us)
        .map(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let trade = row.trade.as_deref();
    let values = [
        ("transaction_id", Some(shown(row.transaction_id))),
        ("client_id", Some(shown(row.client_id))),
        ("occurred_at", instant),
        ("amount", Some(units_to_text(row.amount))),
        ("kind", Some(row.kind.as_str().to_owned())),
        ("currency", Some(String::from_utf8_lossy(&row.currency).into_owned())),
        ("ticker", row.ticker.map(shown)),
        ("status", Some(row.status.as_str().to_owned())),
        ("channel", row.channel.map(shown)),
        ("merchant_id", row.merchant_id.map(shown)),
        ("product_id", row.product_id.map(shown)),
        ("stock_name", row.stock_name.map(shown)),
        ("shares", trade.and_then(|trade| trade.shares).map(units_to_text)),
        ("price", trade.and_then(|trade| trade.price).map(units_to_text)),
    ];
    values.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}

/// The values of a client.
pub fn of_client(row: &ClientRow) -> Values {
    let values = [
        ("client_id", Some(row.client_id.clone())),
        ("name", row.name.clone()),
        ("email", row.email.clone()),
        ("date_of_birth", row.date_of_birth.map(|date| date.to_string())),
        ("country", row.country.clone()),
        ("account_type", row.account_type.map(|word| word.as_str().to_owned())),
        ("opening_balance", row.opening_balance.clone()),
        ("account_open_date", row.account_open_date.map(|date| date.to_string())),
        ("phone_number", row.phone_number.clone()),
        ("telegram_chat_id", row.telegram_chat_id.clone()),
        ("address", row.address.clone()),
        ("risk_tolerance", row.risk_tolerance.map(|word| word.as_str().to_owned())),
        ("currency", row.currency.clone()),
        ("status", row.suspended.map(|suspended| if suspended { "suspended" } else { "active" }.to_owned())),
    ];
    values.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}

/// The values of a stock.
pub fn of_stock(stock: &NewStock) -> Values {
    let values = [
        ("ticker", Some(stock.ticker.clone())),
        ("name", stock.name.clone()),
        ("currency", Some(stock.currency.clone())),
        ("open_price", Some(stock.open_price.to_string())),
        ("close_price", Some(stock.close_price.to_string())),
        ("high", Some(stock.high.to_string())),
        ("low", Some(stock.low.to_string())),
        ("volume", Some(stock.volume.to_string())),
    ];
    values.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}
