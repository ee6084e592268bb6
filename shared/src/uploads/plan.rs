//! Cutting a file into chunks: one pass over its bytes that finds the header, the record boundaries
//! and the months, in bounded memory whatever the file's size.

use super::{
    columns::{HeaderError, MappedHeader, Mapping, map_header, warn_of_no_currency},
    formats::{
        FormatError,
        detect::Seen,
        table::{BYTE_ORDER_MARK, TableForm, find_form},
    },
    header::{check_rows, column_names},
    model::{FormOptions, UploadKind},
    records::{MAX_RECORD_BYTES, Record, Span, next_record, split_fields},
};
use crate::{
    config::FilesConfig,
    storage::{Storage, StorageError},
};
use std::collections::BTreeSet;

/// Byte between fields of the files that Millrace writes.
pub const DELIMITER: u8 = b',';
/// A chunk is cut at this size even if it has few records.
const MAX_CHUNK_BYTES: u64 = 8 << 20;
/// Bytes read at once.
const BLOCK_BYTES: u64 = 4 << 20;

/// A file that cannot be taken in at all.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No bytes, or nothing but blank lines.
    #[error("The file is empty: there is no header line.")]
    Empty,
    /// The line of the header is no header.
    #[error("Line {0} cannot be read as a header: {1}")]
    BadHeader(i64, &'static str),
    /// Not the text of a table.
    #[error("The file cannot be read as CSV: {0}")]
    Foreign(&'static str),
    /// The header cannot be mapped.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// More than is allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The text is no UTF-8, but seems to be in this encoding: convert it and plan again.
    #[error("The file is not UTF-8 but seems to be {0}; name its encoding.")]
    OtherEncoding(&'static str),
    /// The file cannot be made into text.
    #[error(transparent)]
    Format(FormatError),
    /// What was recorded of earlier files could not be read.
    #[error("earlier uploads cannot be read: {0}")]
    Record(anyhow::Error),
    /// The file could not be read.
    #[error("the stored file cannot be read: {0}")]
    Storage(#[from] StorageError),
}

impl From<FormatError> for PlanError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Storage(error) => Self::Storage(error),
            other => Self::Format(other),
        }
    }
}

/// A piece of the file, cut at record boundaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChunk {
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
    /// First line, counted from 1.
    pub first_line: i64,
    /// Records in it.
    pub records: i64,
}

/// What a file is made of.
#[derive(Debug)]
pub struct Plan {
    /// What is between fields, and which line is the header.
    pub form: TableForm,
    /// The header's names.
    pub header: Vec<String>,
    /// Which column holds which field.
    pub mapping: Mapping,
    /// Columns that no field takes.
    pub ignored: Vec<String>,
    /// The pieces.
    pub chunks: Vec<PlannedChunk>,
    /// Records below the header.
    pub records: i64,
    /// Months that times seem to fall in, as months since year 0 (a zone may shift one to its
    /// neighbour).
    pub months: BTreeSet<i32>,
    /// What somebody should know of the file.
    pub warnings: Vec<String>,
}

/// How a text is to be planned.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What its rows are.
    pub kind: UploadKind,
    /// Records of a chunk.
    pub chunk_records: u64,
    /// What is known of its form.
    pub form: FormOptions,
    /// Whether a record's line is its row in a sheet.
    pub counts_rows: bool,
    /// Whether it was said, or is known from a conversion, that the text is UTF-8.
    pub certainly_utf8: bool,
    /// What a file may hold.
    pub limits: FilesConfig,
}

/// A file being planned, block by block.
pub struct Planning<'s> {
    storage: &'s Storage,
    key: &'s str,
    size_bytes: u64,
    planner: Planner,
    /// Bytes read and not yet taken; they lie at `position` in the file, and end at `read`.
    buffer: Vec<u8>,
    position: u64,
    read: u64,
}

struct Planner {
    options: PlanOptions,
    chunk_records: i64,
    form: Option<TableForm>,
    plan: Option<Plan>,
    seen: Seen,
    /// Rows with cells right of the header's last column.
    surplus: u64,
    /// The chunk being collected.
    open: PlannedChunk,
    line: i64,
    /// Column of the time, if months matter.
    time_column: Option<usize>,
    fields: Vec<Span>,
}

impl<'s> Planning<'s> {
    /// Begins at the start of a stored file.
    pub fn new(storage: &'s Storage, key: &'s str, size_bytes: u64, options: PlanOptions) -> Self {
        let planner = Planner::new(options);
        Self { storage, key, size_bytes, planner, buffer: Vec::new(), position: 0, read: 0 }
    }

    /// Reads on; returns the bytes done so far, or `None` at the file's end.
    pub async fn read_block(&mut self) -> Result<Option<u64>, PlanError> {
        if self.position >= self.size_bytes {
            return Ok(None);
        }
        let until = (self.read + BLOCK_BYTES).min(self.size_bytes);
        if self.read < until {
            self.buffer.extend_from_slice(&self.storage.read_range(self.key, self.read..until).await?);
            self.read = until;
        }
        let last = self.read == self.size_bytes;
        let taken = tokio::task::block_in_place(|| self.planner.feed(&mut self.buffer, self.position, last))?;
        self.buffer.drain(..taken);
        self.position += taken as u64;
        if taken == 0 && self.buffer.len() >= MAX_RECORD_BYTES {
            // A line that fits no memory: find its end and make it a chunk of its own.
            let end = line_end(self.storage, self.key, self.read, self.size_bytes).await?;
            self.planner.oversized(self.position, end)?;
            self.buffer.clear();
            (self.position, self.read) = (end, end);
        }
        Ok(Some(self.position))
    }

    /// The plan, once everything is read.
    pub fn finish(self) -> Result<Plan, PlanError> {
        self.planner.finish()
    }
}

/// Plans a text that is in memory, `block` bytes at a time.
pub fn plan_text(text: &[u8], block: usize, options: PlanOptions) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(options);
    let (mut buffer, mut position) = (Vec::new(), 0);
    for part in text.chunks(block.max(1)) {
        buffer.extend_from_slice(part);
        let last = position + buffer.len() == text.len();
        let taken = planner.feed(&mut buffer, position as u64, last)?;
        buffer.drain(..taken);
        position += taken;
    }
    planner.finish()
}

/// The place after the next line end at or after `from`.
async fn line_end(storage: &Storage, key: &str, mut from: u64, size: u64) -> Result<u64, StorageError> {
    while from < size {
        let block = storage.read_range(key, from..(from + BLOCK_BYTES).min(size)).await?;
        if let Some(at) = memchr::memchr(b'\n', &block) {
            return Ok(from + at as u64 + 1);
        }
        from += block.len() as u64;
    }
    Ok(size)
}

impl Planner {
    fn new(options: PlanOptions) -> Self {
        Self {
            chunk_records: i64::try_from(options.chunk_records).unwrap_or(i64::MAX),
            options,
            form: None,
            plan: None,
            seen: Seen::default(),
            surplus: 0,
            open: PlannedChunk { start: 0, end: 0, first_line: 1, records: 0 },
            line: 1,
            time_column: None,
            fields: Vec::new(),
        }
    }

    /// The plan, once everything is read.
    fn finish(mut self) -> Result<Plan, PlanError> {
        self.cut();
        self.check_encoding()?;
        let header_line = self.form.map_or(1, |form| form.header_line);
        let Some(mut plan) = self.plan else {
            return Err(if self.options.form.header_row.is_some() {
                PlanError::BadHeader(header_line, "the file ends before it")
            } else {
                PlanError::Empty
            });
        };
        if self.surplus > 0 {
            plan.warnings.push(format!(
                "Rows with cells right of the header's last column: {}. Those cells are not read.",
                self.surplus
            ));
        }
        if plan.records == 0 {
            plan.warnings
                .push("The file has a header and no records under it: nothing was loaded.".to_owned());
        }
        Ok(plan)
    }

    /// Takes the whole records at the start of `text`, which lies at `position` in the file; returns
    /// their bytes.
    fn feed(&mut self, text: &mut Vec<u8>, position: u64, last: bool) -> Result<usize, PlanError> {
        let end = text.len();
        let mut at = 0;
        if position == 0 && text.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
        }
        let rows = self.options.counts_rows;
        let given = self.options.form.header_row.is_some();
        let mut form = match self.form {
            Some(form) => form,
            None => find_form(&text[at..], last, rows, self.options.kind, &self.options.form)?,
        };
        self.form = Some(form);
        while at < end {
            let (len, lines, counts) = match next_record(&text[at..end], form.delimiter, last) {
                Record::Incomplete => break,
                Record::Blank { len } if self.plan.is_none() && self.line == form.header_line => {
                    if given {
                        return Err(PlanError::BadHeader(form.header_line, "it is blank"));
                    }
                    // Nothing was found in what was looked at: the first line with anything on it.
                    form.header_line += 1;
                    self.form = Some(form);
                    (len, 1, false)
                }
                Record::Blank { len } => (len, 1, false),
                _ if self.plan.is_none() && self.line > form.header_line => {
                    return Err(PlanError::BadHeader(form.header_line, "it is blank, or within a record"));
                }
                Record::BadQuoting { .. } if self.plan.is_none() && self.line == form.header_line => {
                    return Err(PlanError::BadHeader(form.header_line, "its quotes do not pair"));
                }
                Record::BadQuoting { len } => (len, 1, self.plan.is_some()),
                Record::Whole { len, lines, .. } if self.line < form.header_line => {
                    (len, if rows { 1 } else { i64::from(lines) }, false)
                }
                Record::Whole { len, lines, quoted } => {
                    split_fields(text, at, len, quoted, form.delimiter, &mut self.fields);
                    let counts = self.plan.is_some();
                    if counts {
                        self.note_fields(text);
                    } else {
                        self.header(text, form, end)?;
                    }
                    (len, if rows { 1 } else { i64::from(lines) }, counts)
                }
            };
            text.truncate(end);
            if len > MAX_RECORD_BYTES && counts {
                self.oversized(position + at as u64, position + (at + len) as u64)?;
            } else {
                self.line += lines;
                self.take(position + (at + len) as u64, counts);
            }
            at += len;
        }
        self.seen.look(&text[..at]);
        self.check_rows()?;
        Ok(at)
    }

    fn check_rows(&self) -> Result<(), PlanError> {
        let planned = self.plan.as_ref().map_or(0, |plan| plan.records);
        check_rows(planned + self.open.records, &self.options.limits)
    }

    /// Whether the bytes seen so far are rather in another encoding.
    fn check_encoding(&self) -> Result<(), PlanError> {
        match self.seen.legacy() {
            Some(encoding) if !self.options.certainly_utf8 => Err(PlanError::OtherEncoding(encoding.name())),
            _ => Ok(()),
        }
    }

    /// Extends the open chunk to `end` and cuts it when it is full.
    fn take(&mut self, end: u64, counts: bool) {
        self.open.end = end;
        self.open.records += i64::from(counts);
        if self.open.records == 0 {
            // Only blank lines (or the header) so far: the chunk begins after them.
            self.open.start = end;
            self.open.first_line = self.line;
        } else if self.open.records >= self.chunk_records || end - self.open.start >= MAX_CHUNK_BYTES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let next =
            PlannedChunk { start: self.open.end, end: self.open.end, first_line: self.line, records: 0 };
        let chunk = std::mem::replace(&mut self.open, next);
        if let (Some(plan), true) = (&mut self.plan, chunk.records > 0) {
            plan.records += chunk.records;
            plan.chunks.push(chunk);
        }
    }

    /// A line too long to be read, from `start` to `end`.
    fn oversized(&mut self, start: u64, end: u64) -> Result<(), PlanError> {
        if self.plan.is_none() {
            return Err(PlanError::BadHeader(self.line, "it is longer than 4 MiB"));
        }
        self.cut();
        self.open = PlannedChunk { start, end, first_line: self.line, records: 1 };
        self.line += 1;
        self.cut();
        Ok(())
    }

    /// Maps the header, whose fields are split; the text's own bytes end at `end`.
    fn header(&mut self, text: &[u8], form: TableForm, end: usize) -> Result<(), PlanError> {
        if self.fields.iter().any(|field| std::str::from_utf8(field.of(text)).is_err()) {
            self.seen.look(&text[..end]);
            self.check_encoding()?;
        }
        let PlanOptions { kind, counts_rows, limits, .. } = &self.options;
        let kind = *kind;
        let header = column_names(text, &self.fields, form.header_line, *counts_rows, limits)?;
        let mapped = map_header(kind, &header, &self.options.form.mapping)?;
        let MappedHeader { mapping, ignored, doubled, .. } = mapped;
        let mut warnings = doubled;
        if kind == UploadKind::Transactions {
            self.time_column = mapping.0[2];
        }
        warnings.extend(warn_of_no_currency(kind, &mapping, &ignored));
        let (chunks, months) = (Vec::new(), BTreeSet::new());
        self.plan = Some(Plan { form, header, mapping, ignored, chunks, records: 0, months, warnings });
        Ok(())
    }

    fn note_fields(&mut self, text: &[u8]) {
        if self.options.counts_rows
            && let Some(plan) = &self.plan
            && self.fields.iter().skip(plan.header.len()).any(|field| !field.is_empty())
        {
            self.surplus += 1;
        }
        self.note_month(text);
    }

    fn note_month(&mut self, text: &[u8]) {
        let Some(field) = self.time_column.and_then(|column| self.fields.get(column)) else { return };
        let [y1, y2, y3, y4, b'-', m1, m2, ..] = field.of(text).trim_ascii_start() else { return };
        let mut digits = [0i32; 6];
        for (digit, byte) in digits.iter_mut().zip([y1, y2, y3, y4, m1, m2]) {
            if !byte.is_ascii_digit() {
                return;
            }
            *digit = i32::from(byte - b'0');
        }
        let [y1, y2, y3, y4, m1, m2] = digits;
        let (year, month) = (y1 * 1000 + y2 * 100 + y3 * 10 + y4, m1 * 10 + m2);
        let in_calendar = (1970..=9998).contains(&year) && (1..=12).contains(&month);
        if let (true, Some(plan)) = (in_calendar, &mut self.plan) {
            plan.months.insert(year * 12 + month - 1);
        }
    }
}
