//! Transactions of which every value comes as often as any other, their times without a zone: what the
//! benchmarks measure with, so its bytes stay what they are.

use super::{
    DEFAULT_END, Profile, TransactionForm,
    blocks::{CsvBlocks, RowSource},
    dataset::{DEFAULT_DAYS, DataFormat, DataKind, Dataset},
    draws::Draws,
    text::{cents, client_id, number, padded},
    transactions::{E_HEADER, STOCKS, WIDE_HEADER},
};
use chrono::{Days, NaiveDate};
use std::io::{self, Write};

const USERS: u32 = 1_000;
const PRODUCTS: u32 = 500;
const CLIENTS: u32 = 50_000;
const MERCHANTS: u32 = 200;
const MICROS_PER_DAY: u64 = 86_400_000_000;

const KINDS: [(&str, u32); 3] = [("payment", 60), ("buy", 22), ("sell", 18)];
const CURRENCIES: [(&str, u32); 3] = [("USD", 70), ("EUR", 20), ("GBP", 10)];
const STATUSES: [(&str, u32); 3] = [("success", 95), ("pending", 3), ("failed", 2)];
const CHANNELS: [&str; 3] = ["online", "branch", "ATM"];

/// Writes `rows` uniform transactions (of the form `e` or `wide`) of the year before [`DEFAULT_END`].
pub fn write_transactions(
    out: &mut impl Write,
    rows: u64,
    seed: u64,
    form: TransactionForm,
) -> io::Result<()> {
    let data = Dataset {
        what: DataKind::Transactions,
        rows,
        seed,
        form,
        end: DEFAULT_END,
        days: DEFAULT_DAYS,
        dirty: 0,
        format: DataFormat::Csv,
        profile: Profile::Uniform,
    };
    CsvBlocks::new(&data).write_to(out).map(drop)
}

/// The rows of a form; `a` has none.
pub(super) struct Uniform {
    draws: Draws,
    wide: bool,
    /// As text: formatting a date costs more than drawing the rest of the row.
    days: Vec<String>,
}

impl Uniform {
    pub(super) fn new(seed: u64, form: TransactionForm, end: NaiveDate, days: u32) -> Self {
        Self {
            draws: Draws::new(seed, form as u64),
            wide: form == TransactionForm::Wide,
            days: (1..=u64::from(days)).rev().map(|back| (end - Days::new(back)).to_string()).collect(),
        }
    }
}

impl RowSource for Uniform {
    fn header(&self) -> &'static str {
        if self.wide { WIDE_HEADER } else { E_HEADER }
    }

    fn write_row(&mut self, out: &mut Vec<u8>, _number: u64) {
        if self.wide {
            wide_row(out, &mut self.draws, &self.days);
        } else {
            narrow_row(out, &mut self.draws, &self.days);
        }
    }
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

/// `2025-01-15 10:00:00.000000`, naive as in the files of service E.
fn instant(out: &mut Vec<u8>, draws: &mut Draws, days: &[String]) {
    let at = draws.below_u64(days.len() as u64 * MICROS_PER_DAY);
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
