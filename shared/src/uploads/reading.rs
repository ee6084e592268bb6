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
    if bytes.starts_with(b"#") && is_error(bytes) {
        let message = format!(
            "{} is what a spreadsheet has instead of a value, or of a number too long for its cell; mend the cell",
            shown(bytes)
        );
        return Some(("error_cell", message));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Some(("control_character", format!("{} holds a control character", shown(bytes))));
    }
    None
}

/// What exports write where a value is missing. As the text of an id it would join strangers' rows.
const NO_VALUES: [&[u8]; 11] =
    [b"NULL", b"null", b"(null)", b"<null>", b"\\N", b"NaN", b"nan", b"N/A", b"n/a", b"None", b"<NA>"];

/// [`name_fault`] of an id, which also is no word for a missing value.
pub fn id_fault(bytes: &[u8], longest: u32) -> Option<(&'static str, String)> {
    if NO_VALUES.contains(&bytes) {
        let message =
            format!("{} is what exports write for a value that is missing; give the id", shown(bytes));
        return Some(("missing_value", message));
    }
    name_fault(bytes, longest)
}

/// Begins the text of a number that has more digits than its cell can keep.
pub const LOST_DIGITS: &str = "#DIGITS! ";

/// Whether a text is one of the errors that spreadsheets show.
fn is_error(text: &[u8]) -> bool {
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
    text.starts_with(LOST_DIGITS.as_bytes()) || ERRORS.contains(&text)
}
