//! What a preview shows: the format with its controls, the columns, the rows.

use super::fmt;
use crate::upload_params::UploadParams;
use shared::uploads::{
    UploadKind,
    columns::fields,
    model::{Container, FileFormat},
    options::{DELIMITERS, delimiter_word},
    preview::Look,
};

/// Characters shown of a sample, and of a cell.
const SAMPLE: usize = 30;
const CELL: usize = 60;
/// Fields whose values are numbers.
const NUMBERS: [&str; 9] =
    ["amount", "shares", "price", "opening_balance", "open_price", "close_price", "high", "low", "volume"];
/// Encodings that are offered; another can be asked for in the address.
const ENCODINGS: [&str; 12] = [
    "utf-8",
    "windows-1252",
    "utf-16le",
    "utf-16be",
    "windows-1250",
    "windows-1251",
    "iso-8859-2",
    "iso-8859-15",
    "macintosh",
    "shift_jis",
    "gbk",
    "euc-kr",
];

/// One value of a choice.
pub struct Choice {
    /// As it is sent.
    pub value: String,
    /// As it is shown.
    pub words: String,
    /// Whether it is chosen.
    pub on: bool,
}

fn choice(value: &str, words: impl Into<String>, on: bool) -> Choice {
    Choice { value: value.to_owned(), words: words.into(), on }
}

/// The controls of what is known of the file's form.
pub struct FormatControls {
    /// Whether it is a workbook.
    pub workbook: bool,
    /// The encodings; none for a workbook.
    pub encodings: Vec<Choice>,
    /// The delimiters; none for a workbook.
    pub delimiters: Vec<Choice>,
    /// The sheets of a workbook.
    pub sheets: Vec<Choice>,
    /// The header's line or row, if it was given.
    pub header_row: String,
    /// The one that was found.
    pub found_row: String,
}

impl FormatControls {
    /// The controls for what was asked for and what was found.
    pub fn new(params: &UploadParams, format: Option<&FileFormat>) -> Self {
        let workbook = format.is_some_and(|format| format.container == Container::Xlsx);
        let found = |given: bool, found: Option<String>| match found {
            Some(found) if !given => format!("found: {found}"),
            _ => "find out".to_owned(),
        };
        let given = params.encoding.as_deref();
        let encoding = format.and_then(|format| format.encoding.as_deref()).map(str::to_ascii_lowercase);
        let mut encodings = vec![choice("", found(given.is_some(), encoding), given.is_none())];
        encodings.extend(ENCODINGS.iter().map(|name| choice(name, *name, given == Some(name))));
        encodings.extend(given.filter(|name| !ENCODINGS.contains(name)).map(|name| choice(name, name, true)));
        let delimiter = format.map(|format| delimiter_word(format.delimiter).to_owned());
        let mut delimiters =
            vec![choice("", found(params.delimiter.is_some(), delimiter), params.delimiter.is_none())];
        delimiters
            .extend(DELIMITERS.iter().map(|(one, word)| choice(word, *word, params.delimiter == Some(*one))));
        let sheet = params.sheet.as_deref().or(format.and_then(|format| format.sheet.as_deref()));
        let sheets = format.into_iter().flat_map(|format| format.sheets.iter().zip(1..));
        let sheets = sheets.map(|(name, number): (&String, usize)| {
            let on = sheet == Some(name) || sheet == Some(number.to_string().as_str());
            choice(name, name, on)
        });
        Self {
            workbook,
            encodings,
            delimiters,
            sheets: sheets.collect(),
            header_row: params.header_row.map(|row| row.to_string()).unwrap_or_default(),
            found_row: format.map(|format| format.header_row.to_string()).unwrap_or_default(),
        }
    }
}

/// A format in words: `text in windows-1252, gzip, fields separated by semicolon, header on line 3`.
pub fn format_words(format: &FileFormat) -> String {
    let mut words = Vec::new();
    match format.container {
        Container::Xlsx => {
            words.push("workbook (XLSX)".to_owned());
            words.extend(format.sheet.as_ref().map(|sheet| format!("sheet “{}”", fmt::cut(sheet, 60))));
        }
        container => {
            let encoding = format.encoding.as_deref().unwrap_or("utf-8").to_ascii_lowercase();
            words.push(format!("text in {encoding}"));
            words.push(match delimiter_word(format.delimiter) {
                "other" => format!("fields separated by {:?}", format.delimiter),
                word => format!("fields separated by {word}"),
            });
            let member = format.member.as_ref().map(|name| format!(": {}", fmt::shortened(name)));
            if container != Container::Plain {
                words.push(format!("compressed ({container}{})", member.unwrap_or_default()));
            }
        }
    }
    let place = if format.counts_rows() { "row" } else { "line" };
    words.push(format!("header on {place} {}", format.header_row));
    words.join(", ")
}

/// A column of the file and what it may feed.
pub struct ColumnLine {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its first values.
    pub samples: Vec<String>,
    /// Whether it feeds a field.
    pub used: bool,
    /// The fields.
    pub fields: Vec<Choice>,
}

/// The file's columns.
pub fn column_lines(kind: UploadKind, look: &Look) -> Vec<ColumnLine> {
    look.columns
        .iter()
        .enumerate()
        .map(|(number, column)| ColumnLine {
            number,
            name: match column.name.trim() {
                "" => format!("(column {})", number + 1),
                name => fmt::cut(name, 80),
            },
            samples: column.samples.iter().map(|sample| fmt::raw(sample.as_bytes(), SAMPLE)).collect(),
            used: column.field.is_some(),
            fields: std::iter::once(choice("", "ignored", column.field.is_none()))
                .chain(fields(kind).iter().map(|field| {
                    let mark = if field.required { " (required)" } else { "" };
                    let words = format!("{}{mark}", fmt::words(field.name));
                    choice(field.name, words, column.field == Some(field.name))
                }))
                .collect(),
        })
        .collect()
}

/// A record as it would be loaded, or why it would not.
pub struct RowLine {
    /// Its line or row.
    pub line: i64,
    /// Its values, or its cells, by field.
    pub cells: Vec<CellPart>,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// One value.
pub struct CellPart {
    /// What is shown.
    pub text: String,
    /// Whether it is at fault.
    pub bad: bool,
    /// Whether it is a number.
    pub number: bool,
}

/// The file's first records, by the fields that have a column.
pub fn row_lines(kind: UploadKind, look: &Look) -> Vec<RowLine> {
    let fed: Vec<(usize, &'static str)> = fields(kind)
        .iter()
        .filter_map(|field| {
            let at = look.columns.iter().position(|column| column.field == Some(field.name))?;
            Some((at, field.name))
        })
        .collect();
    look.rows
        .iter()
        .map(|row| RowLine {
            line: row.line,
            cells: fed
                .iter()
                .map(|(at, field)| {
                    let value = match row.fault {
                        None => row.values.get(field),
                        Some(_) => row.cells.get(*at),
                    };
                    let at_fault = row.fault.as_ref().and_then(|fault| fault.column.as_ref());
                    CellPart {
                        text: value.map(|value| fmt::raw(value.as_bytes(), CELL)).unwrap_or_default(),
                        bad: at_fault.is_some_and(|column| *column == look.columns[*at].name),
                        number: NUMBERS.contains(field),
                    }
                })
                .collect(),
            fault: row.fault.as_ref().map(|fault| fmt::cut(&fault.message, 400)),
        })
        .collect()
}
