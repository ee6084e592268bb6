//! The names in a header, read and checked alike by whoever plans a file, looks at it or prints it.

use super::{plan::PlanError, records::Span};
use crate::config::FilesConfig;

/// Longest name of a column in bytes, if the limit of a field allows as many.
const NAME_BYTES: usize = 1000;

/// The names in a header's split fields, without blanks around them. `line` is the header's; `rows` says
/// that the text was made from a sheet.
pub fn column_names(
    text: &[u8],
    fields: &[Span],
    line: i64,
    rows: bool,
    limits: &FilesConfig,
) -> Result<Vec<String>, PlanError> {
    let bad = |why| PlanError::BadHeader(line, why);
    let names: Result<Vec<String>, _> = fields
        .iter()
        .map(|field| std::str::from_utf8(field.of(text)).map(|name| name.trim().to_owned()))
        .collect();
    let mut names = names.map_err(|_| {
        bad("it is not UTF-8 text; if this is a table, mend the line or name the file's encoding")
    })?;
    if rows {
        // A title further right is no column's.
        names.truncate(names.iter().rposition(|name| !name.is_empty()).map_or(0, |at| at + 1));
    }
    let any = |odd: fn(char) -> bool| names.iter().any(|name| name.contains(odd));
    if any(|character| character == '\0') {
        return Err(bad("it holds a NUL byte; this is no text. Export the table as CSV or XLSX"));
    }
    // Line ends and tabs are in many a spreadsheet's header.
    if any(|character| character.is_ascii_control() && !"\t\n\r".contains(character)) {
        return Err(bad("it holds control characters, as no text does. Export the table as CSV or XLSX"));
    }
    // Several lines that were taken for one.
    if !rows && names.iter().any(|name| name.replace("\r\n", "").contains('\r')) {
        return Err(PlanError::Foreign("its lines end with CR alone; save it with LF or CRLF line ends."));
    }
    check_sizes(&names, line, limits)?;
    Ok(names)
}

fn check_sizes(names: &[String], line: i64, limits: &FilesConfig) -> Result<(), PlanError> {
    let most = limits.columns;
    if names.len() > most {
        return Err(PlanError::TooLarge(format!(
            "The file has {} columns, more than {most} (MILLRACE_MAX_COLUMNS); leave out what is not needed.",
            names.len()
        )));
    }
    let longest = NAME_BYTES.min(limits.field_bytes);
    match names.iter().position(|name| name.len() > longest) {
        None => Ok(()),
        Some(at) => {
            let by = if longest < NAME_BYTES { " (MILLRACE_MAX_FIELD_BYTES)" } else { "" };
            Err(PlanError::TooLarge(format!(
                "In the header (line {line}) the name of column {} has {} bytes, more than the {longest} that one \
                 may have{by}; shorten it, or name the line of the header if it is another.",
                at + 1,
                names[at].len()
            )))
        }
    }
}

/// Refuses more records than a file may have.
pub fn check_rows(records: i64, limits: &FilesConfig) -> Result<(), PlanError> {
    let most = limits.rows;
    if records > 0 && records.unsigned_abs() > most {
        return Err(PlanError::TooLarge(format!(
            "The file has more than {most} rows (MILLRACE_MAX_ROWS); split it."
        )));
    }
    Ok(())
}
