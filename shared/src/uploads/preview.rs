//! A look at the beginning of a file, before anything of it is loaded: what it is, which column feeds
//! which field, how its first rows read.

use super::{
    columns::{MappedHeader, Mapping, fields, map_columns},
    formats::{
        Converted, FormatError,
        detect::Seen,
        head_of,
        table::{BYTE_ORDER_MARK, TableForm, find_form},
    },
    header::{check_rows, column_names},
    model::{FileFormat, FormOptions, UploadKind, UploadOptions},
    plan::PlanError,
    reading::{BadRecord, RecordForm},
    records::{Record, next_record, split_fields},
    values,
};
use crate::{
    clients::parse::ClientBatch,
    config::FilesConfig,
    runs::job::Environment,
    stocks::parse::StockBatch,
    storage::Storage,
    transactions::parse::{Batch, CurrencyCode, Reading, end_of_next_year},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows that a look shows.
pub const ROWS: usize = 50;
/// Samples of each column.
pub const SAMPLES: usize = 3;
/// Bytes of the text that are looked at.
const HEAD_BYTES: usize = 2 << 20;

/// What a look at the beginning of a file shows.
#[derive(Debug, Clone, Serialize)]
pub struct Look {
    /// What the file is.
    pub format: FileFormat,
    /// Its columns, in their order.
    pub columns: Vec<LookedColumn>,
    /// Required fields without a column: the file cannot be loaded so.
    pub missing: Vec<&'static str>,
    /// Its first records, at most [`ROWS`].
    pub rows: Vec<LookedRow>,
    /// What somebody should know of the file as a whole.
    pub warnings: Vec<String>,
    /// Records below the header; an estimate from the first ones unless the whole file was seen.
    pub records: i64,
    /// Whether `records` was counted.
    pub counted: bool,
}

/// A column of the file.
#[derive(Debug, Clone, Serialize)]
pub struct LookedColumn {
    /// Its name in the header.
    pub name: String,
    /// The field that it feeds.
    pub field: Option<&'static str>,
    /// Its first values that are not empty, at most [`SAMPLES`].
    pub samples: Vec<String>,
}

/// A record of the file.
#[derive(Debug, Clone, Serialize)]
pub struct LookedRow {
    /// Its line, or its row in the sheet.
    pub line: i64,
    /// Its values as they would be loaded, by field; empty if it would be rejected.
    pub values: BTreeMap<&'static str, String>,
    /// Its cells as they stand in the file.
    pub cells: Vec<String>,
    /// Why it would be rejected.
    pub fault: Option<Fault>,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// For programs.
    pub code: &'static str,
    /// For people: what is wrong and how to mend it.
    pub message: String,
}

/// What a look needs of the process.
#[derive(Clone)]
pub struct Means<'m> {
    /// Where the file is.
    pub storage: &'m Storage,
    /// What files may hold.
    pub files: FilesConfig,
    /// The reporting zone.
    pub zone: chrono_tz::Tz,
    /// Currency of rows that name none.
    pub currency: CurrencyCode,
    /// The moment, which bounds times and birthdays.
    pub now: DateTime<Utc>,
}

/// Looks at the beginning of a stored file. What the options leave open is found out.
pub async fn look(
    env: &Environment,
    key: &str,
    size_bytes: u64,
    kind: UploadKind,
    options: &UploadOptions,
) -> Result<Look, PlanError> {
    let means = Means {
        storage: &env.storage,
        files: env.files,
        zone: env.settings.zone,
        currency: env.settings.currency.as_bytes().try_into().unwrap_or(*b"USD"),
        now: env.clock.now(),
    };
    look_with(&means, key, size_bytes, kind, options).await
}

/// [`look`], without the process's environment.
pub async fn look_with(
    means: &Means<'_>,
    key: &str,
    size_bytes: u64,
    kind: UploadKind,
    options: &UploadOptions,
) -> Result<Look, PlanError> {
    let (form, text, converted) = read_head(means, key, size_bytes, &options.form).await?;
    let beginning = Beginning::read(text, &converted, kind, &form, &means.files)?;
    // What the beginning does not show is not claimed: there is no other end of the file to look at.
    let sheet_records = converted.rows.map_or(0, |rows| rows.counted.cast_signed() - beginning.before);
    check_rows(beginning.records.max(sheet_records), &means.files)?;
    let MappedHeader { mapping, missing, doubled, .. } = map_columns(kind, &beginning.header, &form.mapping)?;
    if beginning.nul_bytes && !missing.is_empty() {
        return Err(PlanError::Foreign(
            "it holds NUL bytes, and no line of it names the columns of a table.",
        ));
    }
    let mut rows = beginning.rows;
    if missing.is_empty() {
        let reading = Reading {
            form: RecordForm {
                delimiter: beginning.form.delimiter,
                counts_rows: converted.format.counts_rows(),
                field_bytes: means.files.field_bytes,
            },
            header: beginning.header.clone(),
            mapping: mapping.clone(),
            zone: options.zone.unwrap_or(means.zone),
            currency: means.currency,
            until_us: end_of_next_year(means.now),
            today: means.now.with_timezone(&means.zone).date_naive(),
        };
        fill_in(kind, beginning.shown, beginning.first_line, &reading, &mut rows);
    }
    let Converted { mut format, mut warnings, whole, read, rows: sheet_rows } = converted;
    warnings.extend(doubled);
    format.delimiter = char::from(beginning.form.delimiter);
    format.header_row = beginning.form.header_line;
    let records = if whole {
        beginning.records
    } else if let Some(rows) = sheet_rows {
        rows.estimated.cast_signed() - beginning.before
    } else {
        // As many records in what was not read as in what was.
        let times = u128::from(size_bytes) * u128::from(beginning.records.unsigned_abs());
        i64::try_from(times / u128::from(read.max(1))).unwrap_or(i64::MAX)
    };
    let columns = columns(kind, &beginning.header, &mapping, &rows);
    Ok(Look { format, columns, missing, rows, warnings, records, counted: whole })
}

/// The text's beginning; one that is in an old encoding is read again in that.
async fn read_head(
    means: &Means<'_>,
    key: &str,
    size_bytes: u64,
    form: &FormOptions,
) -> Result<(FormOptions, Vec<u8>, Converted), FormatError> {
    let mut form = form.clone();
    let read = async |form: &FormOptions| {
        head_of(means.storage, key, size_bytes, form, &means.files, HEAD_BYTES).await
    };
    let (text, converted) = read(&form).await?;
    if form.encoding.is_none() && converted.format.encoding.as_deref() == Some("UTF-8") {
        let mut seen = Seen::default();
        seen.look(&text[..memchr::memrchr(b'\n', &text).unwrap_or(text.len())]);
        if let Some(encoding) = seen.legacy() {
            form.encoding = Some(encoding.name().to_owned());
            let (text, mut converted) = read(&form).await?;
            converted.warnings.insert(
                0,
                format!(
                    "The file is not UTF-8 and was read as {}; if letters are wrong, name its encoding.",
                    encoding.name()
                ),
            );
            return Ok((form, text, converted));
        }
    }
    Ok((form, text, converted))
}

/// The first records of a text.
struct Beginning {
    form: TableForm,
    header: Vec<String>,
    rows: Vec<LookedRow>,
    /// The text of the rows, and its first line.
    shown: Vec<u8>,
    first_line: i64,
    /// Whether the text has bytes that no text has.
    nul_bytes: bool,
    /// Records below the header, as far as the text goes.
    records: i64,
    /// Records up to the header, with it.
    before: i64,
}

impl Beginning {
    fn read(
        mut text: Vec<u8>,
        converted: &Converted,
        kind: UploadKind,
        options: &FormOptions,
        limits: &FilesConfig,
    ) -> Result<Self, PlanError> {
        let whole = converted.whole;
        let counts_rows = converted.format.counts_rows();
        let form = find_form(&text, whole, counts_rows, kind, options)?;
        let nul_bytes = memchr::memchr(0, &text).is_some();
        let (end, mut line, mut fields) = (text.len(), 1, Vec::new());
        let mut at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut header: Option<Vec<String>> = None;
        let (mut rows, mut records, mut before) = (Vec::new(), 0, 0);
        let (mut shown, mut first_line) = (at..at, 1);
        while at < end {
            let (len, lines, cells) = match next_record(&text[at..end], form.delimiter, whole) {
                Record::Incomplete => break,
                Record::Blank { len } => (len, 1, None),
                Record::BadQuoting { .. } if header.is_none() && line == form.header_line => {
                    return Err(PlanError::BadHeader(line, "its quotes do not pair"));
                }
                Record::BadQuoting { len } => (len, 1, Some(vec![cell(&text[at..at + len])])),
                Record::Whole { len, lines, quoted } => {
                    let wanted = header.is_none() || rows.len() < ROWS;
                    let cells = if wanted {
                        split_fields(&mut text, at, len, quoted, form.delimiter, &mut fields);
                        match header.is_none() && line == form.header_line {
                            true => column_names(&text, &fields, line, counts_rows, limits)?,
                            false => fields.iter().map(|field| cell(field.of(&text))).collect(),
                        }
                    } else {
                        Vec::new()
                    };
                    text.truncate(end);
                    (len, if counts_rows { 1 } else { i64::from(lines) }, Some(cells))
                }
            };
            match (&mut header, cells) {
                (_, None) => {}
                (Some(_), Some(cells)) => {
                    records += 1;
                    if rows.len() < ROWS {
                        rows.push(LookedRow { line, values: BTreeMap::new(), cells, fault: None });
                        shown.end = at + len;
                    }
                }
                (None, Some(cells)) => {
                    before += 1;
                    if line == form.header_line {
                        header = Some(cells);
                        (shown, first_line) = (at + len..at + len, line + lines);
                    }
                }
            }
            at += len;
            line += lines;
        }
        let Some(header) = header else {
            let seen_none = before == 0 && options.header_row.is_none();
            let missing = PlanError::BadHeader(form.header_line, "it is blank or not there");
            return Err(if seen_none { PlanError::Empty } else { missing });
        };
        text.truncate(shown.end);
        let shown = text.split_off(shown.start);
        Ok(Self { form, header, rows, shown, first_line, nul_bytes, records, before })
    }
}

fn cell(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Reads the rows as they would be loaded.
fn fill_in(kind: UploadKind, text: Vec<u8>, line: i64, reading: &Reading, rows: &mut [LookedRow]) {
    let (values, rejects): (Vec<_>, Vec<BadRecord>) = match kind {
        UploadKind::Transactions => {
            let batch = Batch::parse(text, line, rows.len(), reading);
            let values = batch.rows.iter().map(|row| (row.line, values::of_transaction(&batch.text, row)));
            (values.collect(), batch.rejects)
        }
        UploadKind::Clients => {
            let batch = ClientBatch::parse(text, line, reading);
            let values = batch.rows.iter().map(|(place, row)| (place.line, values::of_client(row)));
            (values.collect(), batch.rejects)
        }
        UploadKind::Stocks => {
            let batch = StockBatch::parse(text, line, reading);
            let values = batch.rows.iter().map(|(place, row)| (place.line, values::of_stock(row)));
            (values.collect(), batch.rejects)
        }
    };
    let mut by_line: BTreeMap<i64, &mut LookedRow> = rows.iter_mut().map(|row| (row.line, row)).collect();
    for (line, values) in values {
        if let Some(row) = by_line.get_mut(&line) {
            row.values = values;
        }
    }
    for reject in rejects {
        if let Some(row) = by_line.get_mut(&reject.line) {
            row.fault = Some(Fault { column: reject.column, code: reject.code, message: reject.message });
        }
    }
}

fn columns(kind: UploadKind, header: &[String], mapping: &Mapping, rows: &[LookedRow]) -> Vec<LookedColumn> {
    let named = |(at, name): (usize, &String)| {
        let field =
            mapping.0.iter().position(|column| *column == Some(at)).map(|field| fields(kind)[field].name);
        let mut samples: Vec<String> = Vec::new();
        for value in rows.iter().filter_map(|row| row.cells.get(at)).filter(|value| !value.is_empty()) {
            if samples.len() < SAMPLES && !samples.contains(value) {
                samples.push(value.clone());
            }
        }
        LookedColumn { name: name.clone(), field, samples }
    };
    header.iter().enumerate().map(named).collect()
}
