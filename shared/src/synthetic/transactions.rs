//! Transactions as CSV.

use super::{
    DEFAULT_END, Rows, TransactionForm,
    draws::{Draws, cents, number, padded},
};
use chrono::{Days, NaiveDate};
use std::io::{self, Write};

const USERS: u32 = 1_000;
const PRODUCTS: u32 = 500;
const CLIENTS: u32 = 50_000;
const MERCHANTS: u32 = 200;
const DAYS: u64 = 365;
const MICROS_PER_DAY: u64 = 86_400_000_000;

const KINDS: [(&str, u32); 3] = [("payment", 60), ("buy", 22), ("sell", 18)];
pub(super) const CURRENCIES: [(&str, u32); 3] = [("USD", 70), ("EUR", 20), ("GBP", 10)];
const STATUSES: [(&str, u32); 3] = [("success", 95), ("pending", 3), ("failed", 2)];
pub(super) const CHANNELS: [&str; 3] = ["online", "branch", "ATM"];
/// Ticker, name, and the price in cents around which it trades.
pub(super) const STOCKS: [(&str, &str, u32); 6] = [
    ("AAPL", "Apple Inc.", 19_000),
    ("TSLA", "Tesla Inc.", 24_000),
    ("AMZN", "Amazon.com Inc.", 18_000),
    ("GOOGL", "Alphabet Inc.", 16_000),
    ("MSFT", "Microsoft Corp.", 41_000),
    ("NVDA", "NVIDIA Corp.", 12_000),
];

/// Writes `rows` transactions of the year before [`DEFAULT_END`].
pub fn write_transactions(
    out: &mut impl Write,
    rows: u64,
    seed: u64,
    form: TransactionForm,
) -> io::Result<()> {
    write_transactions_until(out, rows, seed, form, DEFAULT_END)
}

/// Writes `rows` transactions of the 365 days before `end`.
pub fn write_transactions_until(
    out: &mut impl Write,
    rows: u64,
    seed: u64,
    form: TransactionForm,
    end: NaiveDate,
) -> io::Result<()> {
    let header = match form {
        TransactionForm::E => "transaction_id,user_id,product_id,timestamp,transaction_amount",
        TransactionForm::Wide => {
            "transaction_id,client_id,kind,occurred_at,ticker,stock_name,shares,price,amount,currency,status,\
             channel,merchant_id"
        }
    };
    let days = days_before(end);
    let mut draws = Draws::new(seed, form as u64);
    let mut out = Rows::new(out, header);
    for _ in 0..rows {
        match form {
            TransactionForm::E => narrow_row(&mut out.buffer, &mut draws, &days),
            TransactionForm::Wide => wide_row(&mut out.buffer, &mut draws, &days),
        }
        out.end_row()?;
    }
    out.finish()
}

/// The days as text: formatting a date costs more than drawing the rest of the row.
fn days_before(end: NaiveDate) -> Vec<String> {
    (1..=DAYS).rev().map(|back| (end - Days::new(back)).to_string()).collect()
}

fn narrow_row(row: &mut Vec<u8>, draws: &mut Draws, days: &[String]) {
    draws.uuid(row);
    row.push(b',');
    number(row, u64::from(draws.between(1, USERS)));
    row.push(b',');
    number(row, u64::from(draws.between(1, PRODUCTS)));
    row.push(b',');
    instant(row, draws, days);
    row.push(b',');
    cents(row, u64::from(draws.between(500, 50_000)));
}

fn wide_row(row: &mut Vec<u8>, draws: &mut Draws, days: &[String]) {
    let kind = draws.weighted(&KINDS);
    draws.uuid(row);
    row.push(b',');
    client_id(row, u64::from(draws.between(1, CLIENTS)));
    row.push(b',');
    row.extend_from_slice(kind.as_bytes());
    row.push(b',');
    instant(row, draws, days);
    row.push(b',');
    if kind == "payment" {
        row.extend_from_slice(b",,,,");
        cents(row, u64::from(draws.between(500, 50_000)));
    } else {
        let (ticker, name, around) = draws.one_of(&STOCKS);
        let shares = u64::from(draws.between(1, 500));
        let price = u64::from(around - around / 5 + draws.below(around / 5 * 2));
        for text in [ticker, name] {
            row.extend_from_slice(text.as_bytes());
            row.push(b',');
        }
        number(row, shares);
        row.push(b',');
        cents(row, price);
        row.push(b',');
        cents(row, shares * price);
    }
    for text in [draws.weighted(&CURRENCIES), draws.weighted(&STATUSES), draws.one_of(&CHANNELS)] {
        row.push(b',');
        row.extend_from_slice(text.as_bytes());
    }
    row.push(b',');
    if kind == "payment" {
        row.push(b'M');
        padded(row, u64::from(draws.between(1, MERCHANTS)), 3);
    }
}

/// Eight characters, `c0000001` for the first: the ids of [`super::write_clients`].
pub(super) fn client_id(out: &mut Vec<u8>, client: u64) {
    out.push(b'c');
    padded(out, client, 7);
}

/// `2025-01-15 10:00:00.000000`, naive as in the files of the service.
fn instant(out: &mut Vec<u8>, draws: &mut Draws, days: &[String]) {
    let at = draws.below_u64(DAYS * MICROS_PER_DAY);
    let (day, micros) = (at / MICROS_PER_DAY, at % MICROS_PER_DAY);
    let seconds = micros / 1_000_000;
    out.extend_from_slice(days[day as usize].as_bytes());
    for (separator, part) in [(b' ', seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        out.push(separator);
        padded(out, part, 2);
    }
    out.push(b'.');
    padded(out, micros % 1_000_000, 6);
}
