//! What a sender says of a file's form, read from words: the same for a query, a form, JSON and the
//! command line. An error says what is allowed.

use super::{
    columns,
    model::{MappedColumn, UploadKind},
};
use std::collections::BTreeMap;

/// Which column holds which field, where the names do not say it.
pub type ExplicitMapping = BTreeMap<String, MappedColumn>;

/// Delimiters by their words.
pub const DELIMITERS: [(char, &str); 4] = [(',', "comma"), (';', "semicolon"), ('\t', "tab"), ('|', "pipe")];

/// A delimiter: the character itself, or its word.
pub fn read_delimiter(text: &str) -> Result<char, String> {
    let known = DELIMITERS.iter().find(|(character, word)| {
        text.eq_ignore_ascii_case(word) || text.chars().eq(std::iter::once(*character))
    });
    known.map(|(character, _)| *character).ok_or_else(|| {
        format!(
            "{text:?} is no delimiter; allowed are comma, semicolon, tab and pipe, or the character itself"
        )
    })
}

/// The word of a delimiter.
pub fn delimiter_word(delimiter: char) -> &'static str {
    DELIMITERS.iter().find(|(character, _)| *character == delimiter).map_or("other", |(_, word)| word)
}

/// An encoding by any of its WHATWG labels, as its one name in lower case: the same encoding is then the
/// same option, whatever it was called.
pub fn read_encoding(text: &str) -> Result<String, String> {
    encoding_rs::Encoding::for_label(text.as_bytes())
        .filter(|encoding| *encoding != encoding_rs::REPLACEMENT)
        .map(|encoding| encoding.name().to_ascii_lowercase())
        .ok_or_else(|| {
            format!("{text:?} is no encoding; write utf-8, windows-1252, utf-16le, utf-16be, or another WHATWG label")
        })
}

/// A mapping as JSON: `{"amount": "Betrag", "client_id": 3, "status": null}`.
pub fn read_mapping(text: &str) -> Result<ExplicitMapping, String> {
    serde_json::from_str(text).map_err(|_| {
        "it is a JSON object from field to column name, column number (from 0) or null, such as \
         {\"amount\": \"Betrag\", \"client_id\": 3, \"status\": null}"
            .to_owned()
    })
}

/// Refuses a mapping that names a field which this kind of file does not have.
pub fn check_mapping(kind: UploadKind, mapping: &ExplicitMapping) -> Result<(), String> {
    let fields = columns::fields(kind);
    match mapping.keys().find(|name| !fields.iter().any(|field| field.name == name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
            Err(format!("{name:?} is no field of a file of {kind}; its fields are {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_its_character_or_its_word() {
        for (text, delimiter) in [(";", ';'), ("Semicolon", ';'), ("\t", '\t'), ("tab", '\t'), ("pipe", '|')]
        {
            assert_eq!(read_delimiter(text), Ok(delimiter));
        }
        assert!(read_delimiter("::").unwrap_err().contains("semicolon"));
        assert!(read_delimiter("").is_err());
    }

    #[test]
    fn an_encoding_has_one_name() {
        for label in ["latin1", "cp1252", "Windows-1252", "ascii"] {
            assert_eq!(read_encoding(label).as_deref(), Ok("windows-1252"));
        }
        assert_eq!(read_encoding("UTF8").as_deref(), Ok("utf-8"));
        assert!(read_encoding("ebcdic").is_err());
    }

    #[test]
    fn a_mapping_names_fields_of_its_kind() {
        let mapping = read_mapping(r#"{"amount": "Betrag", "client_id": 3, "status": null}"#).unwrap();
        assert_eq!(mapping["status"], MappedColumn::Nothing(()));
        assert_eq!(mapping["client_id"], MappedColumn::Number(3));
        assert_eq!(check_mapping(UploadKind::Transactions, &mapping), Ok(()));
        assert!(check_mapping(UploadKind::Clients, &mapping).unwrap_err().contains("amount"));
        for bad in ["[]", "{\"amount\": []}", "{\"amount\": 1.5}", "Betrag"] {
            assert!(read_mapping(bad).is_err(), "{bad}");
        }
    }
}
