//! Which column of a file holds which field: one alias table for transactions, one for clients.

use super::model::UploadKind;
use serde::{Deserialize, Serialize};

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
pub static CLIENT_FIELDS: [Field; 14] = [
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
];

/// The fields of a kind of upload.
pub fn fields(kind: UploadKind) -> &'static [Field] {
    match kind {
        UploadKind::Transactions => &TRANSACTION_FIELDS,
        UploadKind::Clients => &CLIENT_FIELDS,
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

/// Maps a header. Returns the mapping and the columns that no field takes. Of two columns for one
/// field the better name wins: the field's own before its aliases, in their order.
pub fn map_header(kind: UploadKind, header: &[String]) -> Result<(Mapping, Vec<String>), UnusableHeader> {
    let names: Vec<String> = header.iter().map(|name| normalised(name)).collect();
    let mut taken = vec![false; names.len()];
    let mut columns = Vec::new();
    for field in fields(kind) {
        let spellings = std::iter::once(&field.name).chain(field.aliases);
        let column = spellings
            .filter_map(|spelling| (0..names.len()).find(|&at| names[at] == *spelling && !taken[at]))
            .next();
        if let Some(at) = column {
            taken[at] = true;
        }
        columns.push(column);
    }
    let missing: Vec<_> = fields(kind)
        .iter()
        .zip(&columns)
        .filter(|(field, column)| field.required && column.is_none())
        .map(|(field, _)| field.name)
        .collect();
    // A header of which only the id is understood is another kind of file.
    let only_id = kind == UploadKind::Clients && columns.iter().flatten().count() == 1;
    let missing =
        if only_id && missing.is_empty() { vec!["any field of a client but its id"] } else { missing };
    if !missing.is_empty() {
        let expected = fields(kind).iter().filter(|field| field.required || only_id).map(spellings).collect();
        return Err(UnusableHeader { missing, found: header.to_vec(), expected });
    }
    let ignored = header.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(name, _)| name.clone());
    Ok((Mapping(columns), ignored.collect()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn the_replaced_services_headers_are_known() {
        let e = header("transaction_id,user_id,product_id,timestamp,transaction_amount");
        let (mapping, ignored) = map_header(UploadKind::Transactions, &e).unwrap();
        assert_eq!(&mapping.0[..4], &[Some(0), Some(1), Some(3), Some(4)]);
        assert!(ignored.is_empty());
        assert_eq!(
            Mapping::from_named(UploadKind::Transactions, &mapping.named(UploadKind::Transactions)),
            mapping
        );
    }

    #[test]
    fn a_better_name_wins_and_the_other_column_is_ignored() {
        let (mapping, ignored) = map_header(
            UploadKind::Transactions,
            &header("ID,Transaction ID,Client_ID,date,Timestamp,Amount,colour"),
        )
        .unwrap();
        assert_eq!(&mapping.0[..4], &[Some(1), Some(2), Some(4), Some(5)]);
        assert_eq!(ignored, ["ID", "date", "colour"]);
    }

    #[test]
    fn a_header_without_a_required_column_says_what_was_found_and_expected() {
        let error = map_header(UploadKind::Transactions, &header("transaction_id,user_id,when")).unwrap_err();
        assert_eq!(error.missing, ["occurred_at", "amount"]);
        assert!(error.to_string().contains("Found: transaction_id, user_id, when."), "{error}");
    }
}
