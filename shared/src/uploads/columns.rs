//! Which column of a file holds which field: an alias table for each kind of upload.

use super::{
    model::{MappedColumn, UploadKind},
    service::REJECT_COLUMNS,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A field that files may hold.
#[derive(Debug)]
pub struct Field {
    /// Its name in Millrace.
    pub name: &'static str,
    /// Other headers that mean it.
    pub aliases: &'static [&'static str],
    /// Whether a file without it is refused.
    pub required: bool,
}

const fn required(name: &'static str, aliases: &'static [&'static str]) -> Field {
    Field { name, aliases, required: true }
}

const fn optional(name: &'static str, aliases: &'static [&'static str]) -> Field {
    Field { name, aliases, required: false }
}

/// Fields of a transaction; `transactions::parse` counts on this order.
pub static TRANSACTION_FIELDS: [Field; 14] = [
    required("transaction_id", &["id", "trx_id"]),
    required("client_id", &["user_id", "user", "account"]),
    required("occurred_at", &["timestamp", "transaction_date", "date", "created_at"]),
    required("amount", &["transaction_amount"]),
    optional("kind", &["transaction_type", "type"]),
    optional("currency", &[]),
    optional("ticker", &["stock_ticker"]),
    optional("status", &["transaction_status"]),
    optional("channel", &["transaction_channel"]),
    optional("merchant_id", &[]),
    optional("product_id", &[]),
    optional("stock_name", &[]),
    optional("shares", &["transaction_volume"]),
    optional("price", &["transaction_price"]),
];

/// Fields of a client; `clients::parse` counts on this order.
pub static CLIENT_FIELDS: [Field; 15] = [
    required("client_id", &["id", "user_id", "user", "account"]),
    optional("name", &["full_name"]),
    optional("email", &["e-mail"]),
    optional("date_of_birth", &["birth_date"]),
    optional("country", &[]),
    optional("account_type", &[]),
    optional("opening_balance", &["account_balance", "balance"]),
    optional("account_open_date", &[]),
    optional("phone_number", &["phone"]),
    optional("address", &[]),
    optional("risk_tolerance", &[]),
    optional("currency", &["account_currency"]),
    optional("status", &["account_status"]),
    optional("debt", &[]),
    optional("telegram_chat_id", &["telegram", "telegram_id", "chat_id"]),
];

/// Fields of a stock; `stocks::parse` counts on this order.
pub static STOCK_FIELDS: [Field; 8] = [
    required("ticker", &["symbol", "stock_ticker", "stock_symbol", "ticker_symbol"]),
    optional("name", &["company", "company_name", "stock_name"]),
    optional("currency", &["price_currency", "stock_currency"]),
    required("open_price", &["open", "opening_price", "price_open"]),
    required("close_price", &["close", "closing_price", "price_close"]),
    required("high", &["high_price", "price_high"]),
    required("low", &["low_price", "price_low"]),
    required("volume", &["listed_volume", "stock_volume"]),
];

/// The fields of a kind of upload.
pub fn fields(kind: UploadKind) -> &'static [Field] {
    match kind {
        UploadKind::Transactions => &TRANSACTION_FIELDS,
        UploadKind::Clients => &CLIENT_FIELDS,
        UploadKind::Stocks => &STOCK_FIELDS,
    }
}

/// Zero-based columns of a file by field, in the order of the field table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping(pub Vec<Option<usize>>);

/// A header that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "The file has no column for {}. Found: {}. Expected (any spelling): {}.",
    missing.join(", "), listed(found), expected.join(", ")
)]
pub struct UnusableHeader {
    /// Required fields without a column.
    pub missing: Vec<&'static str>,
    /// The file's columns.
    pub found: Vec<String>,
    /// The required fields, each with its aliases.
    pub expected: Vec<String>,
}

/// Names in a message: a header may have thousands of columns, each as long as it likes.
fn listed(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(30).map(|name| name.chars().take(40).collect()).collect();
    if names.len() > 30 {
        shown.push(format!("and {} more", names.len() - 30));
    }
    shown.join(", ")
}

/// Why a header cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It lacks a required column.
    #[error(transparent)]
    Unusable(#[from] UnusableHeader),
    /// The explicit mapping does not fit it.
    #[error("The mapping does not fit the file: {0}")]
    Mapping(String),
}

/// What each field of an explicit mapping gets.
pub type ExplicitMapping = BTreeMap<String, MappedColumn>;

/// A header with its columns given to fields.
#[derive(Debug)]
pub struct MappedHeader {
    /// Which column holds which field.
    pub mapping: Mapping,
    /// Columns that no field takes.
    pub ignored: Vec<String>,
    /// Required fields without a column.
    pub missing: Vec<&'static str>,
    /// Warnings of ignored columns whose names say a field that another column feeds.
    pub doubled: Vec<String>,
}

/// Maps a header by an explicit mapping, and what that leaves open by names; refuses one that lacks what
/// is required.
pub fn map_header(
    kind: UploadKind,
    header: &[String],
    explicit: &ExplicitMapping,
) -> Result<MappedHeader, HeaderError> {
    let mapped = map_columns(kind, header, explicit)?;
    if mapped.missing.is_empty() {
        return Ok(mapped);
    }
    let all = mapped.missing == [ANY_FIELD];
    let expected = fields(kind).iter().filter(|field| field.required || all).map(spellings).collect();
    Err(UnusableHeader { missing: mapped.missing, found: header.to_vec(), expected }.into())
}

/// [`map_header`], which also tells what is missing instead of refusing the header for it. Of two columns
/// for one field the better name wins: the field's own before its aliases, in their order.
pub fn map_columns(
    kind: UploadKind,
    header: &[String],
    explicit: &ExplicitMapping,
) -> Result<MappedHeader, HeaderError> {
    let names: Vec<String> = header.iter().map(|name| normalised(name)).collect();
    let mut columns = vec![None; fields(kind).len()];
    let mut taken = vec![false; names.len()];
    for (name, column) in explicit {
        let at = field_number(kind, name)?;
        columns[at] = explicit_column(name, column, header, &names)?;
        if let Some(column) = columns[at]
            && std::mem::replace(&mut taken[column], true)
        {
            let column = &header[column];
            return Err(HeaderError::Mapping(format!("the column {column:?} is given to two fields")));
        }
    }
    for (field, column) in fields(kind).iter().zip(&mut columns) {
        if explicit.contains_key(field.name) {
            continue;
        }
        let mut spellings = std::iter::once(&field.name).chain(field.aliases);
        *column =
            spellings.find_map(|spelling| (0..names.len()).find(|&at| names[at] == *spelling && !taken[at]));
        if let Some(at) = *column {
            taken[at] = true;
        }
    }
    let mut missing: Vec<_> = fields(kind)
        .iter()
        .zip(&columns)
        .filter(|(field, column)| field.required && column.is_none())
        .map(|(field, _)| field.name)
        .collect();
    // A header of which only the id is understood is another kind of file.
    if kind == UploadKind::Clients && columns.iter().flatten().count() == 1 && missing.is_empty() {
        missing.push(ANY_FIELD);
    }
    let mut doubled = Vec::new();
    for (field, column) in fields(kind).iter().zip(&columns) {
        let Some(read) = column.filter(|_| !explicit.contains_key(field.name)) else { continue };
        let says_it = |name: &str| field.name == name || field.aliases.contains(&name);
        let other = (0..names.len()).find(|&at| !taken[at] && says_it(&names[at]));
        doubled.extend(other.map(|other| {
            format!(
                "The columns {:?} and {:?} could both be the field {}: {:?} is read. If that is wrong, say so with a \
                 mapping.",
                header[read], header[other], field.name, header[read]
            )
        }));
    }
    let ignored = header.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(name, _)| name.clone());
    Ok(MappedHeader { ignored: ignored.collect(), mapping: Mapping(columns), missing, doubled })
}

/// What a clients file lacks that has ids alone.
const ANY_FIELD: &str = "any field of a client but its id";

fn field_number(kind: UploadKind, name: &str) -> Result<usize, HeaderError> {
    fields(kind).iter().position(|field| field.name == name).ok_or_else(|| {
        let known: Vec<&str> = fields(kind).iter().map(|field| field.name).collect();
        HeaderError::Mapping(format!("there is no field {name:?}; the fields are {}", known.join(", ")))
    })
}

fn explicit_column(
    field: &str,
    column: &MappedColumn,
    header: &[String],
    names: &[String],
) -> Result<Option<usize>, HeaderError> {
    let (found, wanted) = match column {
        MappedColumn::Nothing(()) => return Ok(None),
        MappedColumn::Number(at) => ((*at < header.len()).then_some(*at), format!("number {at} (from 0)")),
        MappedColumn::Name(name) => {
            (names.iter().position(|known| *known == normalised(name)), format!("{name:?}"))
        }
    };
    found.map(Some).ok_or_else(|| {
        let listed = listed(header);
        HeaderError::Mapping(format!(
            "{field} is to be in column {wanted}, which is not there. Found: {listed}."
        ))
    })
}

/// A header as it is compared: case and blanks do not count.
fn normalised(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

fn spellings(field: &Field) -> String {
    let mut all = vec![field.name];
    all.extend(field.aliases);
    all.join("|")
}

impl Mapping {
    /// The mapping by names, for people.
    pub fn named(&self, kind: UploadKind) -> serde_json::Value {
        fields(kind)
            .iter()
            .zip(&self.0)
            .filter_map(|(field, column)| Some((field.name.to_owned(), (*column)?.into())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// What the file calls a field (by its number in the field table), for messages that people look up
    /// in the file.
    pub fn name_in_file(&self, kind: UploadKind, field: usize, header: &[String]) -> String {
        let in_file = self.0.get(field).copied().flatten().and_then(|column| header.get(column));
        in_file.cloned().unwrap_or_else(|| fields(kind)[field].name.to_owned())
    }

    /// Reads what [`Mapping::named`] wrote.
    pub fn from_named(kind: UploadKind, named: &serde_json::Value) -> Self {
        let column = |field: &Field| named.get(field.name)?.as_u64().map(|at| at as usize);
        Self(fields(kind).iter().map(column).collect())
    }
}

/// Amounts and prices without a currency are in the default one: worth a word where a column may have held it.
pub fn warn_of_no_currency(kind: UploadKind, mapping: &Mapping, ignored: &[String]) -> Option<String> {
    let what = match kind {
        UploadKind::Transactions => "amounts",
        UploadKind::Stocks => "prices",
        UploadKind::Clients => return None,
    };
    let currency = fields(kind).iter().position(|field| field.name == "currency")?;
    let others: Vec<&str> =
        ignored.iter().map(String::as_str).filter(|name| !REJECT_COLUMNS.contains(name)).collect();
    (mapping.0[currency].is_none() && !others.is_empty()).then(|| {
        format!(
            "No column is read as the currency, so {what} are in the default one. Columns that are not read: {}.",
            others.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn amounts_without_a_currency_are_worth_a_word_where_a_column_is_not_read() {
        for (names, warned) in [
            ("id,user,date,amount,ccy", true),
            ("id,user,date,amount,ccy,currency", false),
            ("id,user,date,amount", false),
            ("id,user,date,amount,reject_code,reject_reason", false),
        ] {
            let mapped = map_header(UploadKind::Transactions, &header(names), &BTreeMap::new()).unwrap();
            let warning = warn_of_no_currency(UploadKind::Transactions, &mapped.mapping, &mapped.ignored);
            assert_eq!(warning.is_some_and(|warning| warning.ends_with(": ccy.")), warned, "{names}");
        }
    }

    #[test]
    fn the_replaced_services_headers_are_known() {
        let e = header("transaction_id,user_id,product_id,timestamp,transaction_amount");
        let MappedHeader { mapping, ignored, doubled, .. } =
            map_header(UploadKind::Transactions, &e, &BTreeMap::new()).unwrap();
        assert_eq!(&mapping.0[..4], &[Some(0), Some(1), Some(3), Some(4)]);
        assert!(ignored.is_empty() && doubled.is_empty());
        assert_eq!(
            Mapping::from_named(UploadKind::Transactions, &mapping.named(UploadKind::Transactions)),
            mapping
        );
    }

    #[test]
    fn a_better_name_wins_and_the_other_column_is_ignored() {
        let MappedHeader { mapping, ignored, doubled, .. } = map_header(
            UploadKind::Transactions,
            &header("ID,Transaction ID,Client_ID,date,Timestamp,Amount,colour"),
            &BTreeMap::new(),
        )
        .unwrap();
        assert_eq!(&mapping.0[..4], &[Some(1), Some(2), Some(4), Some(5)]);
        assert_eq!(ignored, ["ID", "date", "colour"]);
        assert_eq!(doubled.len(), 2, "{doubled:?}");
        assert!(
            doubled[1]
                .contains("\"Timestamp\" and \"date\" could both be the field occurred_at: \"Timestamp\" is")
        );
    }

    #[test]
    fn a_header_without_a_required_column_says_what_was_found_and_expected() {
        let found = header("transaction_id,user_id,when");
        let error = map_header(UploadKind::Transactions, &found, &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("no column for occurred_at, amount."), "{error}");
        assert!(error.to_string().contains("Found: transaction_id, user_id, when."), "{error}");
    }

    #[test]
    fn an_explicit_mapping_overrides_names_and_must_fit_the_file() {
        let kind = UploadKind::Transactions;
        let found = header("Id,Client,When,Sum,amount");
        let explicit = |json| serde_json::from_value::<ExplicitMapping>(json).unwrap();
        let good = explicit(serde_json::json!({
            "client_id": "client", "occurred_at": 2, "amount": "SUM", "kind": null
        }));
        let MappedHeader { mapping, ignored, .. } = map_header(kind, &found, &good).unwrap();
        assert_eq!(&mapping.0[..5], &[Some(0), Some(1), Some(2), Some(3), None]);
        assert_eq!(ignored, ["amount"]);
        for (bad, said) in [
            (
                serde_json::json!({ "colour": 1 }),
                "there is no field \"colour\"; the fields are transaction_id",
            ),
            (serde_json::json!({ "amount": 5 }), "number 5 (from 0), which is not there. Found: Id, Client"),
            (serde_json::json!({ "amount": "total" }), "\"total\", which is not there. Found: Id"),
            (serde_json::json!({ "amount": 3, "price": "Sum" }), "\"Sum\" is given to two fields"),
            (serde_json::json!({ "transaction_id": null }), "no column for transaction_id, client_id"),
        ] {
            let error = map_header(kind, &found, &explicit(bad)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
