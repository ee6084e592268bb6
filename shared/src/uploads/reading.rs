//! Reading a chunk record by record, whatever its rows mean: every record is handed on with its fields,
//! or with what is wrong with it as a record.

use super::records::{Record, Span, next_record, split_fields};

/// A record that is no row.
#[derive(Debug, Clone)]
pub struct BadRecord {
    /// First line of the record in the file.
    pub line: i64,
    /// The column at fault.
    pub column: Option<String>,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The record in the text.
    pub record: Span,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
pub struct RecordPlace {
    /// In the text.
    pub span: Span,
    /// Its first line in the file.
    pub line: i64,
}

/// How the records of a text are formed.
#[derive(Debug, Clone, Copy)]
pub struct RecordForm {
    /// Byte between fields.
    pub delimiter: u8,
    /// Whether a record's line is its row in a sheet, whatever line ends its cells hold. A row may then
    /// end early, and what is right of the header's last column is not looked at.
    pub counts_rows: bool,
    /// Longest field that is read.
    pub field_bytes: usize,
}

/// Calls `each` with every record and its trimmed fields, or with what is wrong with it as a record.
pub fn each_record(
    text: &mut Vec<u8>,
    mut line: i64,
    form: RecordForm,
    columns: usize,
    mut each: impl FnMut(&[u8], RecordPlace, Result<&[Span], BadRecord>),
) {
    let RecordForm { delimiter, counts_rows, field_bytes } = form;
    let end = text.len();
    let mut fields = Vec::with_capacity(columns);
    let mut at = 0;
    while at < end {
        let bad = |len, code, message: &str| BadRecord {
            line,
            column: None,
            code,
            message: message.to_owned(),
            record: Span::new(at, at + len),
        };
        let (len, lines) = match next_record(&text[at..end], delimiter, true) {
            Record::Blank { len } => (len, 1),
            Record::BadQuoting { len } => {
                let place = RecordPlace { span: Span::new(at, at + len), line };
                let message = "a quote opens or closes in the wrong place; quote the whole field and double the quotes inside it";
                each(text, place, Err(bad(len, "bad_quoting", message)));
                (len, 1)
            }
            Record::Whole { len, lines, quoted } => {
                let place = RecordPlace { span: Span::new(at, at + len), line };
                split_fields(text, at, len, quoted, delimiter, &mut fields);
                if counts_rows {
                    fields.resize(columns, Span::new(at, at));
                }
                let record = &text[at..at + len];
                let too_long = if len > field_bytes {
                    fields.iter().position(|field| field.of(text).len() > field_bytes)
                } else {
                    None
                };
                if memchr::memchr(0, record).is_some() {
                    each(
                        text,
                        place,
                        Err(bad(len, "nul_byte", "the record holds a NUL byte, which no text can hold")),
                    );
                } else if std::str::from_utf8(record).is_err() {
                    each(text, place, Err(bad(len, "invalid_utf8", INVALID_UTF8)));
                } else if let Some(field) = too_long {
                    let size = fields[field].of(text).len();
                    let message = format!(
                        "field {} of the record has {size} bytes, more than the {field_bytes} that one may \
                         have (MILLRACE_MAX_FIELD_BYTES)",
                        field + 1
                    );
                    each(text, place, Err(bad(len, "field_too_long", &message)));
                } else if fields.len() != columns {
                    let message = format!("the record has {} fields, the header has {columns}", fields.len());
                    each(text, place, Err(bad(len, "wrong_columns", &message)));
                } else {
                    fields.iter_mut().for_each(|field| *field = trimmed(text, *field));
                    each(text, place, Ok(&fields));
                }
                (len, if counts_rows { 1 } else { i64::from(lines) })
            }
            Record::Incomplete => unreachable!("a text that is the last has no incomplete record"),
        };
        at += len;
        line += lines;
    }
}

const INVALID_UTF8: &str = "the record is not UTF-8, as the rest of the file is; mend it, or name the file's \
                            encoding (as in encoding=windows-1252) if it is another";

fn trimmed(text: &[u8], field: Span) -> Span {
    let bytes = field.of(text);
    let start = field.start() + (bytes.len() - bytes.trim_ascii_start().len());
    Span::new(start, start + bytes.trim_ascii().len())
}

/// A value in a message, cut to 40 characters.
pub fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if text.chars().count() > 40 {
        format!("{:?}…", text.chars().take(40).collect::<String>())
    } else {
        format!("{text:?}")
    }
}

/// What is wrong with a text that should be a name or an id of at most `longest` characters: a code and
/// a message.
pub fn name_fault(bytes: &[u8], longest: u32) -> Option<(&'static str, String)> {
    // Bytes bound characters from above: only long ones need counting.
    if bytes.len() > longest as usize && String::from_utf8_lossy(bytes).chars().count() > longest as usize {
        return Some(("too_long", format!("{} is longer than {longest} characters", shown(bytes))));
    }
    if let Some(fault) = no_name_fault(bytes) {
        return Some(fault);
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Some(("control_character", format!("{} holds a control character", shown(bytes))));
    }
    None
}

/// What exports write where a value is missing. As the text of an id it would join strangers' rows.
const NO_VALUES: [&[u8]; 11] =
    [b"NULL", b"null", b"(null)", b"<null>", b"\\N", b"NaN", b"nan", b"N/A", b"n/a", b"None", b"<NA>"];

/// Whether it is like `1.23457E+11`.
fn is_shortened(bytes: &[u8]) -> bool {
    let Some((number, power)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once("E+")) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    whole.len() == 1 && digits(whole) && digits(rest) && digits(power)
}

/// Whether a character is there and not seen: it turns what follows round, joins, or is nothing at all. Two names
/// that differ by it look the same.
pub fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// [`name_fault`] of an id, which also is no word or sign for a missing value.
pub fn id_fault(bytes: &[u8], longest: u32) -> Option<(&'static str, String)> {
    no_id_fault(bytes).or_else(|| name_fault(bytes, longest))
}

/// What is wrong with a text that should be an id, if exports and spreadsheets write it in the place of one.
pub fn no_id_fault(bytes: &[u8]) -> Option<(&'static str, String)> {
    if NO_VALUES.contains(&bytes) || is_punctuation(bytes) {
        let message =
            format!("{} is what exports write for a value that is missing; give the id", shown(bytes));
        return Some(("missing_value", message));
    }
    if matches!(bytes, b"TRUE" | b"FALSE") {
        let message = format!(
            "{} is a spreadsheet's truth value, not an id; give the id, or format the column as text",
            shown(bytes)
        );
        return Some(("error_cell", message));
    }
    if is_shortened(bytes) {
        let message = format!(
            "{} is a number as a spreadsheet shortens it, other ids look the same; format the column as text and \
             export the file again",
            shown(bytes)
        );
        return Some(("error_cell", message));
    }
    no_name_fault(bytes)
}

/// What is wrong with a text that should be a name, if a spreadsheet has put an error in the place of one.
pub fn no_name_fault(bytes: &[u8]) -> Option<(&'static str, String)> {
    let error = ERRORS.contains(&bytes) || bytes.starts_with(LOST_DIGITS.as_bytes());
    if error { error_cell_fault(bytes) } else { None }
}

/// Whether there is nothing but signs and blanks in it: `-`, `--`, `?`, or a dash of a word processor.
fn is_punctuation(bytes: &[u8]) -> bool {
    // Nearly every id begins with a letter or a digit: the rest need not be looked at.
    if bytes.iter().any(u8::is_ascii_alphanumeric) {
        return false;
    }
    let sign = |character: char| {
        character.is_ascii_punctuation()
            || character.is_whitespace()
            || matches!(character, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}')
    };
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(sign))
}

/// Begins the text of a number that has more digits than its cell can keep.
pub const LOST_DIGITS: &str = "#DIGITS! ";

/// The errors that spreadsheets show, in English as workbooks hold them.
const ERRORS: [&[u8]; 13] = [
    b"#N/A",
    b"#REF!",
    b"#VALUE!",
    b"#DIV/0!",
    b"#NAME?",
    b"#NULL!",
    b"#NUM!",
    b"#SPILL!",
    b"#CALC!",
    b"#FIELD!",
    b"#BLOCKED!",
    b"#CONNECT!",
    b"#GETTING_DATA",
];

/// What is wrong with a text that is no number or date, if a spreadsheet has put it in the place of one.
/// No number and no date begins with `#`, so errors in other languages (`#WERT!`) and columns that were
/// too narrow (`####`) are known too.
pub fn error_cell_fault(bytes: &[u8]) -> Option<(&'static str, String)> {
    let [b'#', next, ..] = bytes else { return None };
    if next.is_ascii_digit() {
        return None;
    }
    let why = if bytes.starts_with(LOST_DIGITS.as_bytes()) {
        "is a number with more digits than a spreadsheet's cell keeps; put it into a cell that is formatted as text"
    } else if bytes.iter().all(|byte| *byte == b'#') {
        "is what a spreadsheet shows where a column is too narrow; widen the column and save the file again"
    } else {
        "is a spreadsheet's error value, not a value; mend the cell's formula, or type the value"
    };
    Some(("error_cell", format!("{} {why}", shown(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(fault: Option<(&'static str, String)>) -> Option<&'static str> {
        fault.map(|(code, _)| code)
    }

    #[test]
    fn an_id_that_a_spreadsheet_shortened_or_calculated_is_none() {
        for none in ["1.23457E+11", "5E+15", "TRUE", "FALSE"] {
            assert_eq!(code(id_fault(none.as_bytes(), 36)), Some("error_cell"), "{none:?}");
        }
        for id in ["true", "TRUE1", "12E+1", "E+1", "1E+", "1.E+1", "1E1", "1e+1", "A1E+1"] {
            assert_eq!(id_fault(id.as_bytes(), 36), None, "{id:?}");
        }
    }

    #[test]
    fn an_id_of_signs_alone_is_none() {
        for none in [
            "-",
            "--",
            ".",
            "?",
            "***",
            "- -",
            "\u{2013}",
            "\u{2014}\u{2014}",
            "\u{2026}",
            "#",
            "N/A",
            "<NA>",
        ] {
            assert_eq!(code(id_fault(none.as_bytes(), 36)), Some("missing_value"), "{none:?}");
        }
        for id in ["0", "-1", "a-b", "--x", "é", "東京", "\u{1f600}", "#7"] {
            assert_eq!(id_fault(id.as_bytes(), 36), None, "{id:?}");
        }
    }

    #[test]
    fn what_a_spreadsheet_puts_in_the_place_of_a_value_is_named() {
        for (text, said) in [
            ("#N/A", "error value"),
            ("#WERT!", "error value"),
            ("#DIGITS! 12345678901234567000", "more digits"),
            ("########", "too narrow"),
        ] {
            let (code, message) = error_cell_fault(text.as_bytes()).unwrap();
            assert!(code == "error_cell" && message.contains(said), "{text}: {message}");
        }
        for other in ["", "#", "#1", "12", "n/a", "-#N/A"] {
            assert_eq!(error_cell_fault(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(code(name_fault(b"#REF!", 50)), Some("error_cell"));
        assert_eq!(name_fault(b"#hashtag", 50), None, "a name may begin so");
    }
}
