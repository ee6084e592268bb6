//! A chunk's text made into typed rows and rejects. Pure work on bytes: run it where it may block.

use super::{
    instant::{InstantError, parse_instant},
    model::{TransactionKind, TransactionStatus},
};
use crate::{
    money::{AmountError, parse_units},
    uploads::{
        UploadKind,
        columns::{self, Mapping},
        reading::{
            BadRecord, RecordForm, RecordPlace, each_record, error_cell_fault, id_fault, name_fault, shown,
        },
        records::Span,
    },
};
use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use xxhash_rust::xxh3::Xxh3;

/// Microseconds since 1970 at the end of the year after `now`'s: no transaction is of a later time.
pub fn end_of_next_year(now: DateTime<Utc>) -> i64 {
    let end = Utc.with_ymd_and_hms(now.year() + 2, 1, 1, 0, 0, 0).single();
    end.map_or(i64::MAX, |end| end.timestamp_micros())
}

/// A currency's code.
pub type CurrencyCode = [u8; 3];

/// How a file's rows are to be understood.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How its records are formed.
    pub form: RecordForm,
    /// The file's column names.
    pub header: Vec<String>,
    /// Which column holds which field.
    pub mapping: Mapping,
    /// Zone of times that name none.
    pub zone: Tz,
    /// Currency of rows that name none.
    pub currency: CurrencyCode,
    /// Rows from here on are out of range (microseconds since 1970).
    pub until_us: i64,
    /// Nobody is born later.
    pub today: NaiveDate,
}

/// A typed row. Texts are spans of the batch's text; amounts are units ([`crate::money`]).
#[derive(Debug)]
pub struct Row {
    /// Id.
    pub transaction_id: Span,
    /// Client.
    pub client_id: Span,
    /// Merchant, if any.
    pub merchant_id: Option<Span>,
    /// Product, if any.
    pub product_id: Option<Span>,
    /// Channel, if any.
    pub channel: Option<Span>,
    /// Ticker, if any.
    pub ticker: Option<Span>,
    /// Stock's name, if any.
    pub stock_name: Option<Span>,
    /// What only trades have, where the row has any of it: most have none.
    pub trade: Option<Box<Trade>>,
    /// Amount in units, never negative.
    pub amount: i128,
    /// Microseconds since 1970.
    pub occurred_us: i64,
    /// Hash of what makes the transaction this one (not its status).
    pub content_hash: i64,
    /// The record in the text.
    pub record: Span,
    /// First line of the record in the file.
    pub line: i64,
    /// Currency.
    pub currency: CurrencyCode,
    /// Which way.
    pub kind: TransactionKind,
    /// Whether it took place.
    pub status: TransactionStatus,
}

impl Reading {
    /// What the file calls a field.
    pub fn name_in_file(&self, field: usize) -> String {
        self.mapping.name_in_file(UploadKind::Transactions, field, &self.header)
    }
}

/// What only trades have; amounts in units.
#[derive(Debug, Clone, Default)]
pub struct Trade {
    /// What moves in the client's account, in its currency; known only when the row is loaded.
    pub account_amount: Option<i128>,
    /// How many.
    pub shares: Option<i128>,
    /// What one cost.
    pub price: Option<i128>,
}

/// The rows of a chunk.
#[derive(Debug, Default)]
pub struct Batch {
    /// The chunk's bytes, and behind them the fields that had to be unescaped.
    pub text: Vec<u8>,
    /// Good rows, in the order of the file.
    pub rows: Vec<Row>,
    /// Bad ones, in the order of the file.
    pub rejects: Vec<BadRecord>,
}

/// A field at fault: its number in the field table, a code, and what is wrong.
struct Fault(usize, &'static str, String);

// The fields' numbers in TRANSACTION_FIELDS.
const ID: usize = 0;
const CLIENT: usize = 1;
const OCCURRED: usize = 2;
const AMOUNT: usize = 3;
const KIND: usize = 4;
const CURRENCY: usize = 5;
const TICKER: usize = 6;
const STATUS: usize = 7;
const CHANNEL: usize = 8;
const MERCHANT: usize = 9;
const PRODUCT: usize = 10;
const STOCK_NAME: usize = 11;
const SHARES: usize = 12;
const PRICE: usize = 13;

impl Batch {
    /// Reads the `records` whole records of `text`, which begins at one, on line `line` of the file.
    pub fn parse(text: Vec<u8>, line: i64, records: usize, reading: &Reading) -> Self {
        let mut batch = Self { text, rows: Vec::with_capacity(records), rejects: Vec::new() };
        each_record(&mut batch.text, line, reading.form, reading.header.len(), |text, record, fields| {
            let fields = match fields {
                Ok(fields) => fields,
                Err(bad) => return batch.rejects.push(bad),
            };
            match row(text, record, fields, reading) {
                Ok(row) => batch.rows.push(row),
                Err(Fault(field, code, message)) => {
                    let name = reading.name_in_file(field);
                    batch.rejects.push(BadRecord {
                        line: record.line,
                        message: format!("{name} {message}"),
                        column: Some(name),
                        code,
                        record: record.span,
                    });
                }
            }
        });
        batch
    }
}

/// A field of a transaction that comes alone cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field.
    pub field: &'static str,
    /// For programs.
    pub code: &'static str,
    /// For people, behind the field's name.
    pub message: String,
}

/// The fields of a transaction that comes alone, as texts in the order of [`columns::TRANSACTION_FIELDS`]; an empty
/// one is none.
pub type FieldTexts<'f> = [&'f str; columns::TRANSACTION_FIELDS.len()];

impl Reading {
    /// How transactions are understood that come one by one.
    pub fn of_fields(zone: Tz, currency: CurrencyCode, now: DateTime<Utc>) -> Self {
        Self {
            form: RecordForm { delimiter: b',', counts_rows: false, field_bytes: usize::MAX },
            header: Vec::new(),
            mapping: Mapping((0..columns::TRANSACTION_FIELDS.len()).map(Some).collect()),
            zone,
            currency,
            until_us: end_of_next_year(now),
            today: now.with_timezone(&zone).date_naive(),
        }
    }
}

impl Batch {
    /// Adds a transaction from its fields, by the same rules as one that stands in a file.
    pub fn add_fields(&mut self, fields: &FieldTexts<'_>, reading: &Reading) -> Result<(), FieldFault> {
        let before = self.text.len();
        let spans = fields.map(|field| {
            let start = self.text.len();
            self.text.extend_from_slice(field.as_bytes());
            Span::new(start, self.text.len())
        });
        let record = RecordPlace { line: 0, span: Span::new(before, before) };
        match row(&self.text, record, &spans, reading) {
            Ok(row) => {
                self.rows.push(row);
                Ok(())
            }
            Err(Fault(field, code, message)) => {
                self.text.truncate(before);
                Err(FieldFault { field: columns::TRANSACTION_FIELDS[field].name, code, message })
            }
        }
    }

    /// Adds the rows of another batch behind these.
    pub fn append(&mut self, other: &Self) {
        let offset = self.text.len();
        self.text.extend_from_slice(&other.text);
        let moved = |span: Span| span.moved(offset);
        self.rows.extend(other.rows.iter().map(|row| Row {
            transaction_id: moved(row.transaction_id),
            client_id: moved(row.client_id),
            merchant_id: row.merchant_id.map(moved),
            product_id: row.product_id.map(moved),
            channel: row.channel.map(moved),
            ticker: row.ticker.map(moved),
            stock_name: row.stock_name.map(moved),
            trade: row.trade.clone(),
            record: moved(row.record),
            ..*row
        }));
    }
}

/// A transaction that comes from no file; amounts are units.
#[derive(Debug)]
pub struct NewTransaction<'n> {
    /// Id.
    pub transaction_id: &'n str,
    /// Client.
    pub client_id: &'n str,
    /// Microseconds since 1970.
    pub occurred_us: i64,
    /// Which way.
    pub kind: TransactionKind,
    /// Not negative.
    pub amount: i128,
    /// ISO 4217 code.
    pub currency: &'n str,
    /// Of a stock.
    pub ticker: &'n str,
    /// The company.
    pub stock_name: Option<&'n str>,
    /// What only trades have.
    pub trade: Trade,
}

impl Batch {
    /// Adds a transaction that took place.
    pub fn add(&mut self, new: NewTransaction<'_>) {
        let text = &mut self.text;
        let mut span = |part: &str| {
            let start = text.len();
            text.extend_from_slice(part.as_bytes());
            Span::new(start, text.len())
        };
        let mut row = Row {
            transaction_id: span(new.transaction_id),
            client_id: span(new.client_id),
            merchant_id: None,
            product_id: None,
            channel: None,
            ticker: Some(span(new.ticker)),
            stock_name: new.stock_name.map(&mut span),
            trade: Some(Box::new(new.trade)),
            amount: new.amount,
            occurred_us: new.occurred_us,
            content_hash: 0,
            record: Span::new(0, 0),
            line: 0,
            currency: CurrencyCode::try_from(new.currency.as_bytes()).unwrap_or_default(),
            kind: new.kind,
            status: TransactionStatus::Success,
        };
        row.content_hash = content_hash(&self.text, &row);
        self.rows.push(row);
    }
}

fn row(text: &[u8], record: RecordPlace, fields: &[Span], reading: &Reading) -> Result<Row, Fault> {
    let optional =
        |field: usize| reading.mapping.0[field].map(|at| fields[at]).filter(|span| !span.is_empty());
    let required =
        |field: usize| optional(field).ok_or_else(|| Fault(field, "missing_value", "is empty".to_owned()));
    let name = |field: usize, longest: u32| {
        optional(field).map(|span| checked_name(text, field, span, longest)).transpose()
    };
    let units = |field: usize| optional(field).map(|span| amount(text, field, span)).transpose();

    let occurred_us = instant(text, required(OCCURRED)?, reading)?;
    let signed = amount(text, AMOUNT, required(AMOUNT)?)?;
    let kind = kind_of(optional(KIND).map(|span| span.of(text)), signed)?;
    let mut row = Row {
        transaction_id: checked_id(text, ID, required(ID)?, 100)?,
        client_id: checked_id(text, CLIENT, required(CLIENT)?, 36)?,
        merchant_id: name(MERCHANT, 100)?,
        product_id: name(PRODUCT, 100)?,
        channel: name(CHANNEL, 50)?,
        ticker: name(TICKER, 15)?,
        stock_name: name(STOCK_NAME, 200)?,
        trade: None,
        amount: signed.abs(),
        occurred_us,
        content_hash: 0,
        record: record.span,
        line: record.line,
        currency: optional(CURRENCY).map_or(Ok(reading.currency), |span| currency(span.of(text)))?,
        kind,
        status: optional(STATUS).map_or(Ok(TransactionStatus::Success), |span| status(span.of(text)))?,
    };
    let trade = Trade { account_amount: None, shares: units(SHARES)?, price: units(PRICE)? };
    for (field, value) in [(SHARES, trade.shares), (PRICE, trade.price)] {
        if value.is_some_and(|value| value < 0) {
            return Err(Fault(field, "negative", "is negative; the kind carries the direction".to_owned()));
        }
    }
    if trade.shares.or(trade.price).is_some() {
        row.trade = Some(Box::new(trade));
    }
    row.content_hash = content_hash(text, &row);
    Ok(row)
}

fn checked_name(text: &[u8], field: usize, span: Span, longest: u32) -> Result<Span, Fault> {
    unless(name_fault(span.of(text), longest), field, span)
}

fn checked_id(text: &[u8], field: usize, span: Span, longest: u32) -> Result<Span, Fault> {
    unless(id_fault(span.of(text), longest), field, span)
}

fn unless(fault: Option<(&'static str, String)>, field: usize, span: Span) -> Result<Span, Fault> {
    match fault {
        None => Ok(span),
        Some((code, message)) => Err(Fault(field, code, message)),
    }
}

fn amount(text: &[u8], field: usize, span: Span) -> Result<i128, Fault> {
    parse_units(span.of(text)).map_err(|error| {
        let code = match error {
            AmountError::NotANumber => "bad_number",
            AmountError::TooLarge => "number_too_large",
            AmountError::TooPrecise => "too_many_decimals",
        };
        value_fault(field, text, span, code, &error)
    })
}

/// A value that cannot be read, by its own fault or by a spreadsheet's.
fn value_fault(
    field: usize,
    text: &[u8],
    span: Span,
    code: &'static str,
    error: &dyn std::fmt::Display,
) -> Fault {
    let value = span.of(text);
    let (code, message) =
        error_cell_fault(value).unwrap_or_else(|| (code, format!("{} {error}", shown(value))));
    Fault(field, code, message)
}

fn instant(text: &[u8], span: Span, reading: &Reading) -> Result<i64, Fault> {
    let instant = parse_instant(span.of(text), reading.zone).map_err(|error| {
        let code = match error {
            InstantError::NotADate => "bad_date",
            InstantError::Skipped => "nonexistent_time",
        };
        value_fault(OCCURRED, text, span, code, &error)
    })?;
    if (0..reading.until_us).contains(&instant) {
        Ok(instant)
    } else {
        let message = format!("{} is outside 1970 to the end of next year", shown(span.of(text)));
        Err(Fault(OCCURRED, "date_out_of_range", message))
    }
}

/// The kind that is meant: a sell's or refund's sign carries nothing, a negative payment is a refund.
fn kind_of(text: Option<&[u8]>, amount: i128) -> Result<TransactionKind, Fault> {
    let Some(text) = text else {
        return Ok(if amount < 0 { TransactionKind::Refund } else { TransactionKind::Payment });
    };
    let kind = TransactionKind::ALL
        .iter()
        .copied()
        .find(|kind| text.eq_ignore_ascii_case(kind.as_str().as_bytes()))
        .ok_or_else(|| {
            Fault(KIND, "unknown_kind", format!("{} is none of buy, sell, payment, refund", shown(text)))
        })?;
    match kind {
        TransactionKind::Payment if amount < 0 => Ok(TransactionKind::Refund),
        TransactionKind::Buy if amount < 0 => Err(Fault(
            AMOUNT,
            "negative",
            "is negative in a buy; a buy takes money from the client".to_owned(),
        )),
        kind => Ok(kind),
    }
}

fn status(text: &[u8]) -> Result<TransactionStatus, Fault> {
    TransactionStatus::ALL
        .iter()
        .copied()
        .find(|status| text.eq_ignore_ascii_case(status.as_str().as_bytes()))
        .ok_or_else(|| {
            Fault(STATUS, "unknown_status", format!("{} is none of pending, success, failed", shown(text)))
        })
}

fn currency(text: &[u8]) -> Result<CurrencyCode, Fault> {
    match text {
        [one, two, three] if text.iter().all(u8::is_ascii_alphabetic) => {
            Ok([*one, *two, *three].map(|letter| letter.to_ascii_uppercase()))
        }
        _ => Err(Fault(CURRENCY, "bad_currency", format!("{} is not a code of three letters", shown(text)))),
    }
}

/// Two records with one id are the same transaction if these agree. The status is not among them: it
/// may move. Stored for ever, so the order and form of what is hashed must not change.
fn content_hash(text: &[u8], row: &Row) -> i64 {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u32).to_le_bytes());
        hash.update(bytes);
    };
    part(row.client_id.of(text));
    part(&row.occurred_us.to_le_bytes());
    part(row.kind.as_str().as_bytes());
    part(&row.amount.to_le_bytes());
    part(&row.currency);
    let optional = |span: Option<Span>| span.map_or(&[][..], |span| span.of(text));
    part(optional(row.ticker));
    let (shares, price) = row.trade.as_ref().map_or((None, None), |trade| (trade.shares, trade.price));
    part(&shares.unwrap_or(-1).to_le_bytes());
    part(&price.unwrap_or(-1).to_le_bytes());
    part(optional(row.merchant_id));
    part(optional(row.product_id));
    hash.digest().cast_signed()
}
