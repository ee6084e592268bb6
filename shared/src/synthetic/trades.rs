//! Buys and sells in the form of service A, as CSV or as the workbook that it read: sells are negative,
//! days without a time.

use super::{
    DEFAULT_END, Rows,
    draws::{Draws, cents, number, padded},
    transactions::{CHANNELS, CURRENCIES, STOCKS, client_id},
};
use chrono::{Datelike, Days, NaiveDate};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, XlsxError};
use std::io::{self, Write};

/// Clients that the trades are of: the first of [`super::write_clients`].
pub const TRADING_CLIENTS: u32 = 500;

const COLUMNS: [&str; 11] = [
    "transaction_id",
    "client_id",
    "transaction_type",
    "transaction_date",
    "stock_ticker",
    "stock_name",
    "shares",
    "price",
    "amount",
    "currency",
    "transaction_channel",
];
/// Keeps the stream apart from those of the other files.
const STREAM: u64 = 200;

struct Trade {
    number: u32,
    client: u64,
    sell: bool,
    day: NaiveDate,
    ticker: &'static str,
    stock: &'static str,
    shares: u64,
    price_cents: u64,
    currency: &'static str,
    channel: &'static str,
}

impl Trade {
    fn draw(draws: &mut Draws, number: u32) -> Self {
        let sell = draws.below(100) < 45;
        let (ticker, stock, around) = draws.one_of(&STOCKS);
        Self {
            // Odd factor, so that numbers stay apart from each other.
            number: number.wrapping_mul(2_654_435_769),
            client: u64::from(draws.between(1, TRADING_CLIENTS)),
            sell,
            day: DEFAULT_END - Days::new(u64::from(draws.between(1, 730))),
            ticker,
            stock,
            shares: u64::from(draws.between(1, 20)),
            price_cents: u64::from(around - around / 5 + draws.below(around / 5 * 2)),
            currency: draws.weighted(&CURRENCIES),
            channel: draws.one_of(&CHANNELS),
        }
    }

    fn client_id(&self) -> String {
        let mut text = Vec::with_capacity(8);
        client_id(&mut text, self.client);
        String::from_utf8(text).unwrap_or_default()
    }

    fn kind(&self) -> &'static str {
        if self.sell { "sell" } else { "buy" }
    }

    fn write(&self, row: &mut Vec<u8>) {
        row.extend_from_slice(format!("{:08x},", self.number).as_bytes());
        client_id(row, self.client);
        let (year, month, day) = (self.day.year().unsigned_abs(), self.day.month(), self.day.day());
        for text in [",", self.kind(), ","] {
            row.extend_from_slice(text.as_bytes());
        }
        padded(row, u64::from(year), 4);
        row.push(b'-');
        padded(row, u64::from(month), 2);
        row.push(b'-');
        padded(row, u64::from(day), 2);
        for text in [",", self.ticker, ",", self.stock, ","] {
            row.extend_from_slice(text.as_bytes());
        }
        number(row, self.shares);
        row.push(b',');
        cents(row, self.price_cents);
        row.extend_from_slice(if self.sell { b",-" } else { b"," });
        cents(row, self.shares * self.price_cents);
        for text in [",", self.currency, ",", self.channel] {
            row.extend_from_slice(text.as_bytes());
        }
    }
}

/// Writes `rows` trades as CSV.
pub fn write_trades(out: &mut impl Write, rows: u32, seed: u64) -> io::Result<()> {
    let mut draws = Draws::new(seed, STREAM);
    let mut out = Rows::new(out, &COLUMNS.join(","));
    for row in 1..=rows {
        Trade::draw(&mut draws, row).write(&mut out.buffer);
        out.end_row()?;
    }
    out.finish()
}

/// Writes the same trades as a workbook of one sheet; at most 1,048,575, as many as a sheet has rows. They
/// go over a temporary file: memory does not grow with them.
pub fn write_trades_workbook(out: impl Write + Send, rows: u32, seed: u64) -> io::Result<()> {
    workbook(out, rows, seed).map_err(io::Error::other)
}

fn workbook(out: impl Write + Send, rows: u32, seed: u64) -> Result<(), XlsxError> {
    let mut workbook = Workbook::new();
    // The same seed gives the same bytes: not the wall clock.
    let made = ExcelDateTime::from_ymd(2026, 1, 1)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
    let day = Format::new().set_num_format("yyyy-mm-dd");
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    sheet.set_name("transactions")?;
    for (column, name) in (0u16..).zip(COLUMNS) {
        sheet.write_string(0, column, name)?;
    }
    let mut draws = Draws::new(seed, STREAM);
    for row in 1..=rows {
        let trade = Trade::draw(&mut draws, row);
        sheet.write_string(row, 0, format!("{:08x}", trade.number))?;
        sheet.write_string(row, 1, trade.client_id())?;
        sheet.write_string(row, 2, trade.kind())?;
        let serial = trade.day.signed_duration_since(EXCEL_EPOCH).num_days();
        sheet.write_number_with_format(row, 3, serial as f64, &day)?;
        sheet.write_string(row, 4, trade.ticker)?;
        sheet.write_string(row, 5, trade.stock)?;
        // A cell's number is a double by the format's nature; these are far from its limits.
        let amount = (trade.shares * trade.price_cents) as f64 / 100.0;
        sheet.write_number(row, 6, trade.shares as f64)?;
        sheet.write_number(row, 7, trade.price_cents as f64 / 100.0)?;
        sheet.write_number(row, 8, if trade.sell { -amount } else { amount })?;
        sheet.write_string(row, 9, trade.currency)?;
        sheet.write_string(row, 10, trade.channel)?;
    }
    workbook.save_to_writer(out)
}

/// Day 0 of a workbook's calendar, for days after February 1900.
const EXCEL_EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1899, 12, 30).expect("a day of the calendar");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_trades_and_their_ids_are_unique() {
        let mut text = Vec::new();
        write_trades(&mut text, 2_000, 1).unwrap();
        let mut ids = std::collections::HashSet::new();
        for record in csv::Reader::from_reader(text.as_slice()).into_records() {
            let record = record.unwrap();
            assert!(ids.insert(record[0].to_owned()));
            let decimal = |column: usize| record[column].parse::<rust_decimal::Decimal>().unwrap();
            assert_eq!((decimal(6) * decimal(7)).abs(), decimal(8).abs());
            assert_eq!(&record[2] == "sell", decimal(8).is_sign_negative());
        }
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn a_seed_gives_the_same_workbook() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        write_trades_workbook(&mut one, 100, 1).unwrap();
        write_trades_workbook(&mut two, 100, 1).unwrap();
        assert_eq!(one, two);
        assert_eq!(&one[..2], b"PK");
    }
}
