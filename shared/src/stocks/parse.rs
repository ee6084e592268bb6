//! A chunk of a stocks file made into stocks to list and rejects. What is right is [`NewStock::faults`]' business;
//! here texts are read.

use super::{error::StockFault, model::NewStock};
use crate::{
    money::{AmountError, UNITS, decimal_of, parse_units},
    transactions::parse::Reading,
    uploads::{
        UploadKind,
        columns::STOCK_FIELDS,
        reading::{BadRecord, RecordPlace, each_record, error_cell_fault, no_id_fault, no_name_fault, shown},
    },
};
use rust_decimal::Decimal;

/// The rows of a chunk, each with its place in the file.
#[derive(Debug, Default)]
pub struct StockBatch {
    /// The chunk's bytes.
    pub text: Vec<u8>,
    /// Good rows, in the order of the file.
    pub rows: Vec<(RecordPlace, NewStock)>,
    /// Bad ones, in the order of the file.
    pub rejects: Vec<BadRecord>,
}

/// A field at fault: its number in the field table, a code, and what is wrong.
struct Fault(usize, &'static str, String);

// The fields' numbers in STOCK_FIELDS.
const TICKER: usize = 0;
const NAME: usize = 1;
const CURRENCY: usize = 2;
const OPEN: usize = 3;
const CLOSE: usize = 4;
const HIGH: usize = 5;
const LOW: usize = 6;
const VOLUME: usize = 7;

impl StockBatch {
    /// Reads whole records; `text` begins at one, on line `line` of the file.
    pub fn parse(text: Vec<u8>, line: i64, reading: &Reading) -> Self {
        let Reading { form, header, mapping, currency, .. } = reading;
        let mut batch = Self { text, ..Self::default() };
        each_record(&mut batch.text, line, *form, header.len(), |text, place, fields| {
            let fields = match fields {
                Ok(fields) => fields,
                Err(bad) => return batch.rejects.push(bad),
            };
            let value = |field: usize| {
                mapping.0[field].map(|at| fields[at].of(text)).filter(|value| !value.is_empty())
            };
            match stock(value, currency) {
                Ok(stock) => batch.rows.push((place, stock)),
                Err(Fault(field, code, message)) => {
                    let name = mapping.name_in_file(UploadKind::Stocks, field, header);
                    batch.rejects.push(BadRecord {
                        line: place.line,
                        message: format!("{name} {message}"),
                        column: Some(name),
                        code,
                        record: place.span,
                    });
                }
            }
        });
        batch
    }
}

/// The first fault of a row is its reject.
fn stock<'t>(value: impl Fn(usize) -> Option<&'t [u8]>, default_currency: &[u8]) -> Result<NewStock, Fault> {
    let required =
        |field: usize| value(field).ok_or_else(|| Fault(field, "missing_value", "is empty".to_owned()));
    let price = |field: usize| price(field, required(field)?);
    let stock = NewStock {
        ticker: ticker(required(TICKER)?)?,
        name: value(NAME).map(name).transpose()?,
        currency: utf8(value(CURRENCY).unwrap_or(default_currency)).to_ascii_uppercase(),
        open_price: price(OPEN)?,
        close_price: price(CLOSE)?,
        high: price(HIGH)?,
        low: price(LOW)?,
        volume: volume(required(VOLUME)?)?,
    };
    match stock.faults().into_iter().next() {
        None => Ok(stock),
        Some(fault) => {
            let field = STOCK_FIELDS.iter().position(|known| known.name == fault.field).unwrap_or(TICKER);
            Err(refused(field, value(field).unwrap_or_default(), fault))
        }
    }
}

/// A value that no stock can have.
fn refused(field: usize, bytes: &[u8], fault: StockFault) -> Fault {
    Fault(field, fault.code, format!("{}: {}", shown(bytes), fault.reason))
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ticker(bytes: &[u8]) -> Result<String, Fault> {
    // A spreadsheet's truth value is still the ticker that was typed.
    match no_id_fault(bytes).filter(|_| bytes != b"TRUE") {
        None => Ok(utf8(bytes)),
        Some((code, message)) => Err(Fault(TICKER, code, message)),
    }
}

fn name(bytes: &[u8]) -> Result<String, Fault> {
    match no_name_fault(bytes) {
        None => Ok(utf8(bytes)),
        Some((code, message)) => Err(Fault(NAME, code, message)),
    }
}

fn price(field: usize, bytes: &[u8]) -> Result<Decimal, Fault> {
    let name = STOCK_FIELDS[field].name;
    match parse_units(bytes) {
        Ok(units) => decimal_of(units).ok_or_else(|| refused(field, bytes, StockFault::too_large(name))),
        Err(AmountError::TooLarge) => Err(refused(field, bytes, StockFault::too_large(name))),
        Err(AmountError::TooPrecise) => Err(refused(field, bytes, StockFault::too_precise(name))),
        Err(error @ AmountError::NotANumber) => {
            let (code, message) = error_cell_fault(bytes)
                .unwrap_or_else(|| ("bad_number", format!("{} {error}", shown(bytes))));
            Err(Fault(field, code, message))
        }
    }
}

/// A whole number, however it is written: spreadsheets write 1000000 as 1E+06, or as 1000000.0.
fn volume(bytes: &[u8]) -> Result<i64, Fault> {
    let whole = parse_units(bytes).ok().filter(|units| units % UNITS == 0);
    whole.and_then(|units| i64::try_from(units / UNITS).ok()).ok_or_else(|| match error_cell_fault(bytes) {
        Some((code, message)) => Fault(VOLUME, code, message),
        None => refused(VOLUME, bytes, StockFault::bad_volume()),
    })
}
