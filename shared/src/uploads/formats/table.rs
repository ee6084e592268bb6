//! The form of a table in a text: what is between its fields, and which line names its columns.

use super::{FormatError, detect::HEAD_BYTES, refuse_foreign};
use crate::uploads::{
    columns::map_header,
    model::{FormOptions, UploadKind},
    records::{Record, Span, next_record, split_fields},
};

/// What may be between fields.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines among which the header is looked for.
const HEADER_WITHIN: i64 = 20;
/// Bytes that are looked at.
const LOOKED_AT_BYTES: usize = 1 << 20;
/// UTF-8's byte order mark.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableForm {
    /// Byte between fields.
    pub delimiter: u8,
    /// Line or row that names the columns, from 1.
    pub header_line: i64,
}

/// A record of the text's beginning: its first line and its fields.
pub(in crate::uploads) type HeadRecord = (i64, Vec<String>);

/// Finds the form of a table from its text's beginning: the delimiter with which one of the first lines
/// maps every required field, else the one with which the lines agree most. `last` says that the text is
/// whole; `rows` that it was made from a sheet.
pub fn find_form(
    text: &[u8],
    last: bool,
    rows: bool,
    kind: UploadKind,
    options: &FormOptions,
) -> Result<TableForm, FormatError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if !rows {
        // What was packed, or in another encoding, is seen only now.
        refuse_foreign(&text[..text.len().min(HEAD_BYTES)])?;
    }
    let named = if rows { None } else { named_separator(text) };
    let candidates = match (rows, options.delimiter, named) {
        (true, ..) => vec![b','],
        (_, Some(given), _) => vec![given_delimiter(given)?],
        (_, _, Some(named)) => vec![named],
        _ => DELIMITERS.to_vec(),
    };
    let given = options.header_row.map(i64::from);
    if given == Some(0) {
        return Err(FormatError::Refused(
            "The header's row is counted from 1, so it cannot be 0.".to_owned(),
        ));
    }
    // The line that names the separator is no header.
    let from = given.unwrap_or(1 + i64::from(named.is_some()));
    let (mut found, mut steady): (Option<TableForm>, Option<(usize, TableForm)>) = (None, None);
    for delimiter in candidates {
        let records = head_records(text, last, rows, delimiter, from);
        let maps = |record: &&HeadRecord| {
            given.is_none_or(|line| record.0 == line) && map_header(kind, &record.1, &options.mapping).is_ok()
        };
        if let Some((line, _)) = records.iter().find(maps)
            && found.is_none_or(|known| *line < known.header_line)
        {
            found = Some(TableForm { delimiter, header_line: *line });
        }
        let header_line = given.or(records.first().map(|record| record.0)).unwrap_or(from);
        let agreeing = agreement(&records);
        if steady.is_none_or(|(best, _)| agreeing > best) {
            steady = Some((agreeing, TableForm { delimiter, header_line }));
        }
    }
    found.or(steady.map(|(_, form)| form)).ok_or_else(|| FormatError::Refused("no delimiter".to_owned()))
}

fn given_delimiter(given: char) -> Result<u8, FormatError> {
    u8::try_from(given).ok().filter(|byte| DELIMITERS.contains(byte)).ok_or_else(|| {
        FormatError::Refused(format!(
            "Fields cannot be separated by {given:?}; a delimiter is one of comma, semicolon, tab and bar."
        ))
    })
}

/// The separator that Excel's first line `sep=;` names.
fn named_separator(text: &[u8]) -> Option<u8> {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len()).min(16)];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => Some(*delimiter),
        _ => None,
    }
    .filter(|delimiter| DELIMITERS.contains(delimiter))
}

/// The records of the first lines, from line `from` on.
pub(in crate::uploads) fn head_records(
    text: &[u8],
    last: bool,
    rows: bool,
    delimiter: u8,
    from: i64,
) -> Vec<HeadRecord> {
    let end = text.len().min(LOOKED_AT_BYTES);
    let last = last && end == text.len();
    let mut text = text[..end].to_vec();
    let (mut at, mut line, mut records) = (0, 1, Vec::new());
    let mut fields: Vec<Span> = Vec::new();
    while at < end && line < from + HEADER_WITHIN {
        let (len, lines) = match next_record(&text[at..end], delimiter, last) {
            Record::Incomplete => break,
            Record::Blank { len } | Record::BadQuoting { len } => (len, 1),
            Record::Whole { len, lines, quoted } => {
                if line >= from {
                    split_fields(&mut text, at, len, quoted, delimiter, &mut fields);
                    let names = fields.iter().map(|field| String::from_utf8_lossy(field.of(&text)));
                    records.push((line, names.map(|name| name.trim().to_owned()).collect()));
                    text.truncate(end);
                }
                (len, if rows { 1 } else { i64::from(lines) })
            }
        };
        at += len;
        line += lines;
    }
    records
}

/// How many records have the number of fields that most have, if that is more than one.
fn agreement(records: &[HeadRecord]) -> usize {
    let alike = |fields: usize| records.iter().filter(|record| record.1.len() == fields).count();
    records.iter().map(|record| record.1.len()).filter(|fields| *fields > 1).map(alike).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str, options: FormOptions) -> (char, i64) {
        let form = find_form(text.as_bytes(), true, false, UploadKind::Transactions, &options).unwrap();
        (char::from(form.delimiter), form.header_line)
    }

    #[test]
    fn the_delimiter_is_the_one_whose_header_maps() {
        for delimiter in [',', ';', '\t', '|'] {
            let header = ["id", "user", "date", "amount"].join(&delimiter.to_string());
            let others: String =
                [',', ';', '\t', '|'].into_iter().filter(|&other| other != delimiter).collect();
            let text = format!("Report{others}{others}\n\n{header}\n1{delimiter}2\n");
            assert_eq!(form(&text, FormOptions::default()), (delimiter, 3), "{text}");
            assert_eq!(form(&format!("\u{feff}{header}\n"), FormOptions::default()), (delimiter, 1));
        }
    }

    #[test]
    fn what_is_given_is_not_looked_for() {
        let given = FormOptions { header_row: Some(2), delimiter: Some(';'), ..FormOptions::default() };
        assert_eq!(form("id,user,date,amount\na;b\n", given), (';', 2));
        assert_eq!(form("sep=;\nid;user;date;amount\n", FormOptions::default()), (';', 2));
        assert_eq!(form("\"sep=|\"\r\na|b\n", FormOptions::default()), ('|', 2));
        let bad = FormOptions { delimiter: Some('x'), ..FormOptions::default() };
        let refused = find_form(b"a", true, false, UploadKind::Transactions, &bad).unwrap_err();
        assert!(refused.to_string().contains("one of comma, semicolon, tab and bar"), "{refused}");
    }

    #[test]
    fn lines_that_agree_tell_the_delimiter_of_an_unknown_header() {
        assert_eq!(form("a;b;c\n1,5;2,5;3\n4;5;6\n", FormOptions::default()), (';', 1));
        assert_eq!(form("\n\none column\n", FormOptions::default()), (',', 3));
    }
}
