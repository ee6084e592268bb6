//! A chunk of a clients file made into typed rows and rejects.

use super::model::{AccountType, RiskTolerance};
use crate::{
    money::{parse_units, units_to_text},
    notifications::{
        model::Channel,
        providers::{Guard, check_address},
    },
    transactions::{
        instant::{date_of, days_since_epoch},
        parse::Reading,
    },
    uploads::{
        UploadKind,
        reading::{
            BadRecord, RecordPlace, each_record, error_cell_fault, id_fault, is_invisible, name_fault, shown,
        },
        records::Span,
    },
};
use chrono::NaiveDate;

/// What a file says of a client; what it leaves empty stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Id.
    pub client_id: String,
    /// Full name.
    pub name: Option<String>,
    /// E-mail.
    pub email: Option<String>,
    /// Birthday.
    pub date_of_birth: Option<NaiveDate>,
    /// Country.
    pub country: Option<String>,
    /// Kind of account.
    pub account_type: Option<AccountType>,
    /// Balance that the account begins with, less the debt, as PostgreSQL reads numeric.
    pub opening_balance: Option<String>,
    /// When the account was opened.
    pub account_open_date: Option<NaiveDate>,
    /// Phone number.
    pub phone_number: Option<String>,
    /// Telegram chat.
    pub telegram_chat_id: Option<String>,
    /// Postal address.
    pub address: Option<String>,
    /// Appetite for risk.
    pub risk_tolerance: Option<RiskTolerance>,
    /// Currency of the account.
    pub currency: Option<String>,
    /// Whether the client is suspended.
    pub suspended: Option<bool>,
}

/// The rows of a chunk, each with its place in the file.
#[derive(Debug, Default)]
pub struct ClientBatch {
    /// The chunk's bytes.
    pub text: Vec<u8>,
    /// Good rows, in the order of the file.
    pub rows: Vec<(RecordPlace, ClientRow)>,
    /// Bad ones, in the order of the file.
    pub rejects: Vec<BadRecord>,
}

struct Fault(usize, &'static str, String);

/// A code and a message, if there is something wrong.
pub(super) type ValueFault = Option<(&'static str, String)>;

// The fields' numbers in CLIENT_FIELDS.
const ID: usize = 0;
const NAME: usize = 1;
const EMAIL: usize = 2;
const BORN: usize = 3;
const COUNTRY: usize = 4;
const ACCOUNT_TYPE: usize = 5;
const BALANCE: usize = 6;
const OPENED: usize = 7;
const PHONE: usize = 8;
const ADDRESS: usize = 9;
const RISK: usize = 10;
const CURRENCY: usize = 11;
const STATUS: usize = 12;
const DEBT: usize = 13;
const TELEGRAM: usize = 14;

impl ClientBatch {
    /// Reads whole records; `text` begins at one, on line `line` of the file.
    pub fn parse(text: Vec<u8>, line: i64, reading: &Reading) -> Self {
        let Reading { form, header, mapping, today, .. } = reading;
        let mut batch = Self { text, ..Self::default() };
        each_record(&mut batch.text, line, *form, header.len(), |text, place, fields| {
            let fields = match fields {
                Ok(fields) => fields,
                Err(bad) => return batch.rejects.push(bad),
            };
            let value = |field: usize| {
                mapping.0[field].map(|at| fields[at].of(text)).filter(|value| !value.is_empty())
            };
            match client(value, *today) {
                Ok(row) => batch.rows.push((place, row)),
                Err(Fault(field, code, message)) => {
                    let name = mapping.name_in_file(UploadKind::Clients, field, header);
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

    /// The original bytes of a record.
    pub fn raw(&self, record: Span) -> &[u8] {
        record.of(&self.text)
    }
}

fn client<'t>(value: impl Fn(usize) -> Option<&'t [u8]>, today: NaiveDate) -> Result<ClientRow, Fault> {
    let text = |field: usize, fault: fn(&[u8]) -> ValueFault| {
        value(field).map(|bytes| text_unless(fault(bytes), field, bytes)).transpose()
    };
    let date = |field: usize| value(field).map(|bytes| date(field, bytes)).transpose();
    let row = ClientRow {
        client_id: match value(ID) {
            None => return Err(Fault(ID, "missing_value", "is empty".to_owned())),
            Some(bytes) => text_unless(id_fault(bytes, 36), ID, bytes)?,
        },
        name: text(NAME, full_name_fault)?,
        email: text(EMAIL, email_fault)?,
        date_of_birth: date(BORN)?.map(|born| not_after(born, today)).transpose()?,
        country: text(COUNTRY, country_fault)?,
        account_type: value(ACCOUNT_TYPE).map(|bytes| word(ACCOUNT_TYPE, bytes)).transpose()?,
        opening_balance: opening_balance(value(BALANCE), value(DEBT))?,
        account_open_date: date(OPENED)?,
        phone_number: text(PHONE, phone_fault)?,
        telegram_chat_id: text(TELEGRAM, telegram_fault)?,
        address: text(ADDRESS, address_fault)?.map(|text| text.replace("\r\n", "\n")),
        risk_tolerance: value(RISK).map(|bytes| word(RISK, bytes)).transpose()?,
        currency: value(CURRENCY).map(currency).transpose()?,
        suspended: value(STATUS).map(suspended).transpose()?,
    };
    // Who is in debt is suspended by that, and until it is paid.
    let in_debt = row.opening_balance.as_deref().is_some_and(|balance| balance.starts_with('-'));
    Ok(ClientRow { suspended: row.suspended.filter(|&suspended| !(suspended && in_debt)), ..row })
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_unless(fault: ValueFault, field: usize, bytes: &[u8]) -> Result<String, Fault> {
    match fault {
        None => Ok(utf8(bytes)),
        Some((code, message)) => Err(Fault(field, code, message)),
    }
}

/// What is wrong with a name.
pub(super) fn full_name_fault(bytes: &[u8]) -> ValueFault {
    let unseen = |letter: char| letter.is_whitespace() || is_invisible(letter);
    let seen = str::from_utf8(bytes)
        .map_or(true, |name| name.is_empty() || name.chars().any(|letter| !unseen(letter)));
    name_fault(bytes, 255)
        .or_else(|| (!seen).then(|| ("control_character", "nothing in it can be seen".to_owned())))
}

/// What is wrong with a country.
pub(super) fn country_fault(bytes: &[u8]) -> ValueFault {
    name_fault(bytes, 100)
}

/// What is wrong with a phone number.
pub(super) fn phone_fault(bytes: &[u8]) -> ValueFault {
    name_fault(bytes, 50)
}

/// What is wrong with a Telegram chat.
pub(super) fn telegram_fault(bytes: &[u8]) -> ValueFault {
    let checked = check_address(Channel::Telegram, &utf8(bytes), &Guard::default());
    checked.err().map(|message| ("bad_telegram_chat", message))
}

/// What is wrong with an address. It may have several lines.
pub(super) fn address_fault(bytes: &[u8]) -> ValueFault {
    if bytes.len() > 2000 {
        return Some(("too_long", format!("{} is longer than 2000 bytes", shown(bytes))));
    }
    bytes.contains(&0).then(|| ("control_character", format!("{} holds a NUL character", shown(bytes))))
}

/// What is wrong with an e-mail address.
pub(super) fn email_fault(bytes: &[u8]) -> ValueFault {
    let well_formed = |text: &str| {
        let parts = text.split_once('@');
        parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
            && !text.contains(char::is_whitespace)
    };
    name_fault(bytes, 254).or_else(|| {
        let bad = !well_formed(&String::from_utf8_lossy(bytes));
        let message = || format!("{} is no e-mail address; write it like ann@example.org", shown(bytes));
        bad.then(|| ("bad_email", message()))
    })
}

fn date(field: usize, bytes: &[u8]) -> Result<NaiveDate, Fault> {
    days_since_epoch(bytes)
        .map(date_of)
        .ok_or_else(|| value_fault(field, bytes, "bad_date", &"is not a date; write it like 2025-01-31"))
}

fn not_after(born: NaiveDate, today: NaiveDate) -> Result<NaiveDate, Fault> {
    if born > today {
        return Err(Fault(BORN, "future_date", format!("{born} is after today; give the day of birth")));
    }
    Ok(born)
}

/// A value that cannot be read, by its own fault or by a spreadsheet's.
fn value_fault(field: usize, bytes: &[u8], code: &'static str, error: &dyn std::fmt::Display) -> Fault {
    let (code, message) =
        error_cell_fault(bytes).unwrap_or_else(|| (code, format!("{} {error}", shown(bytes))));
    Fault(field, code, message)
}

/// What an account begins with: the balance less the debt, where a file gives either.
fn opening_balance(balance: Option<&[u8]>, debt: Option<&[u8]>) -> Result<Option<String>, Fault> {
    let units = |field: usize, bytes: &[u8]| {
        parse_units(bytes).map_err(|error| value_fault(field, bytes, "bad_number", &error))
    };
    let balance = balance.map(|bytes| units(BALANCE, bytes)).transpose()?;
    let debt = debt.map(|bytes| units(DEBT, bytes)).transpose()?;
    if debt.is_some_and(|debt| debt < 0) {
        return Err(Fault(DEBT, "negative", "is negative; a debt is what the client owes".to_owned()));
    }
    Ok(balance.or(debt).map(|_| units_to_text(balance.unwrap_or(0) - debt.unwrap_or(0))))
}

/// active or suspended.
fn suspended(bytes: &[u8]) -> Result<bool, Fault> {
    if bytes.eq_ignore_ascii_case(b"suspended") {
        Ok(true)
    } else if bytes.eq_ignore_ascii_case(b"active") {
        Ok(false)
    } else {
        Err(Fault(STATUS, "unknown_status", format!("{} is none of active, suspended", shown(bytes))))
    }
}

fn currency(bytes: &[u8]) -> Result<String, Fault> {
    if bytes.len() == 3 && bytes.iter().all(u8::is_ascii_alphabetic) {
        Ok(utf8(bytes).to_ascii_uppercase())
    } else {
        Err(Fault(CURRENCY, "bad_currency", format!("{} is not a code of three letters", shown(bytes))))
    }
}

fn word<T: std::str::FromStr<Err = String>>(field: usize, bytes: &[u8]) -> Result<T, Fault> {
    utf8(bytes).to_ascii_lowercase().parse().map_err(|error| Fault(field, "unknown_word", error))
}
