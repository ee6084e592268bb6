//! Transactions as a CSV file: streamed a batch at a time, each of which borrows a connection anew, so that
//! neither memory nor a connection is held for a slow reader. The batches follow each other by key; what is
//! loaded while they are sent is newer than what was sent, or among it.
//!
//! A text that a spreadsheet would run is disarmed by a leading apostrophe. Amounts, times and plain numbers
//! are never touched, and neither is an id, unless it would be run.

use crate::{app::AppState, pages::segment};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::Stream;
use shared::{
    pagination::{Cursor, PageRequest},
    transactions::{
        Transaction,
        queries::{TransactionFilter, list_transactions},
    },
};
use std::borrow::Cow;

/// Rows of a batch.
const BATCH: i64 = 1000;
/// The columns, by the names under which a file of transactions can be handed in.
const COLUMNS: [&str; 14] = [
    "transaction_id",
    "client_id",
    "occurred_at",
    "kind",
    "amount",
    "currency",
    "status",
    "merchant_id",
    "product_id",
    "ticker",
    "stock_name",
    "shares",
    "price",
    "channel",
];

/// A client's transactions, newest first, as a file to download.
pub fn client_transactions(state: AppState, client_id: &str, filter: TransactionFilter) -> Response {
    let name = format!("transactions-{client_id}.csv");
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", segment(&name));
    let about = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let filter = TransactionFilter { client_id: Some(client_id.to_owned()), ..filter };
    (about, Body::from_stream(batches(state, filter))).into_response()
}

fn batches(state: AppState, filter: TransactionFilter) -> impl Stream<Item = anyhow::Result<Bytes>> {
    async_stream::try_stream! {
        yield records([COLUMNS.map(Cow::Borrowed)]);
        let mut request = PageRequest { limit: BATCH, cursor: None };
        loop {
            let mut conn = state.env.pool.get().await?;
            let page = list_transactions(&mut conn, &filter, &request).await?;
            drop(conn);
            if !page.items.is_empty() {
                yield records(page.items.iter().map(cells));
            }
            let Some(older) = page.older else { break };
            request.cursor = Some(Cursor::decode(&older)?);
        }
    }
}

fn records<'a>(rows: impl IntoIterator<Item = [Cow<'a, str>; COLUMNS.len()]>) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| cell.as_bytes())).expect("a vector takes what is written");
    }
    writer.into_inner().expect("a vector takes what is written").into()
}

fn cells(row: &Transaction) -> [Cow<'_, str>; COLUMNS.len()] {
    let text = |field: &'_ Option<String>| field.as_deref().map(disarmed).unwrap_or_default().into_owned();
    let number = |field: Option<rust_decimal::Decimal>| field.map(|number| number.to_string());
    [
        disarmed(&row.transaction_id),
        disarmed(&row.client_id),
        row.occurred_at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
        row.kind.as_str().into(),
        row.amount.to_string().into(),
        row.currency.as_str().into(),
        row.status.as_str().into(),
        text(&row.merchant_id).into(),
        text(&row.product_id).into(),
        text(&row.ticker).into(),
        text(&row.stock_name).into(),
        number(row.shares).unwrap_or_default().into(),
        number(row.price).unwrap_or_default().into(),
        text(&row.channel).into(),
    ]
}

/// A text that no spreadsheet takes for a formula. `-12.5` and `+4917` are numbers and stay as they are.
fn disarmed(text: &str) -> Cow<'_, str> {
    let begins = text.trim_start_matches([' ', '\u{a0}', '\u{feff}']);
    let sign = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    let number = || {
        let digits = begins.strip_prefix(['+', '-']).unwrap_or(begins);
        digits.bytes().any(|byte| byte.is_ascii_digit())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if begins.starts_with(sign) && begins.chars().nth(1).is_some() && !number() {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_disarmed_and_nothing_else() {
        for text in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1", "--", "+1e5"] {
            assert_eq!(disarmed(text), format!("'{text}"), "{text}");
        }
        for text in ["", "C-001", "-12.50", "+4917", "550e8400-e29b", "a=b", "10%", "-", "'quoted"] {
            assert_eq!(disarmed(text), text);
        }
    }
}
