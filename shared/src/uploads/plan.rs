//! Cutting a file into chunks: one pass over its bytes that finds the header, the record boundaries
//! and the months, in bounded memory whatever the file's size.

use super::{
    columns::{Mapping, UnusableHeader, map_header},
    model::UploadKind,
    records::{MAX_RECORD_BYTES, Record, Span, next_record, split_fields},
};
use crate::storage::{Storage, StorageError};
use std::collections::BTreeSet;

/// Byte between fields.
pub const DELIMITER: u8 = b',';
/// A chunk is cut at this size even if it has few records.
const MAX_CHUNK_BYTES: u64 = 8 << 20;
/// Bytes read at once.
const BLOCK_BYTES: u64 = 4 << 20;
/// Columns that a file may have, and bytes of one's name.
const MAX_COLUMNS: usize = 1000;
const MAX_NAME_BYTES: usize = 1000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file that cannot be taken in at all.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No bytes, or nothing but blank lines.
    #[error("The file is empty: there is no header line.")]
    Empty,
    /// The first line is no header.
    #[error("The first line cannot be read as a header: {0}")]
    BadHeader(&'static str),
    /// Not a CSV file, or not one with commas.
    #[error("The file cannot be read as CSV with commas: {0}")]
    Foreign(&'static str),
    /// The header lacks a required column.
    #[error(transparent)]
    Columns(#[from] UnusableHeader),
    /// The file could not be read.
    #[error("the stored file cannot be read: {0}")]
    Storage(#[from] StorageError),
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
    kind: UploadKind,
    chunk_records: i64,
    plan: Option<Plan>,
    /// The chunk being collected.
    open: PlannedChunk,
    line: i64,
    /// Column of the time, if months matter.
    time_column: Option<usize>,
    fields: Vec<Span>,
}

impl<'s> Planning<'s> {
    /// Begins at the start of a stored file.
    pub fn new(
        storage: &'s Storage,
        key: &'s str,
        size_bytes: u64,
        kind: UploadKind,
        chunk_records: u64,
    ) -> Self {
        let planner = Planner {
            kind,
            chunk_records: i64::try_from(chunk_records).unwrap_or(i64::MAX),
            plan: None,
            open: PlannedChunk { start: 0, end: 0, first_line: 1, records: 0 },
            line: 1,
            time_column: None,
            fields: Vec::new(),
        };
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
    pub fn finish(mut self) -> Result<Plan, PlanError> {
        self.planner.cut();
        self.planner.plan.ok_or(PlanError::Empty)
    }
}

/// What a file is that is no text, by its first bytes.
fn foreign(text: &[u8]) -> Option<&'static str> {
    match text {
        [b'P', b'K', 3, 4, ..] => Some("it is a ZIP or XLSX file; save the sheet as CSV (UTF-8)."),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("it is an old Excel file; save the sheet as CSV (UTF-8)."),
        [0x1f, 0x8b, ..] => Some("it is compressed by gzip; unpack it first."),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed by zstd; unpack it first."),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("it is UTF-16; save it as UTF-8."),
        _ => None,
    }
}

/// What else than commas seems to be between the names of a header that cannot be mapped.
fn other_separator(header: &[String]) -> Option<&'static str> {
    let [only] = header else { return None };
    if only.contains('\r') {
        return Some("its lines end with CR alone; save it with LF or CRLF line ends.");
    }
    [
        (';', "its columns are separated by semicolons; save it with commas."),
        ('\t', "its columns are separated by tabs; save it with commas."),
        ('|', "its columns are separated by bars; save it with commas."),
        ('=', "its first line names the separator (sep=); remove that line and separate by commas."),
    ]
    .into_iter()
    .find_map(|(separator, said)| only.contains(separator).then_some(said))
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
    /// Takes the whole records at the start of `text`, which lies at `position` in the file; returns
    /// their bytes.
    fn feed(&mut self, text: &mut Vec<u8>, position: u64, last: bool) -> Result<usize, PlanError> {
        let end = text.len();
        let mut at = 0;
        if let (0, Some(said)) = (position, foreign(text)) {
            return Err(PlanError::Foreign(said));
        }
        if position == 0 && text.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
        }
        while at < end {
            let (len, lines, counts) = match next_record(&text[at..end], DELIMITER, last) {
                Record::Incomplete => break,
                Record::Blank { len } => (len, 1, false),
                Record::BadQuoting { .. } if self.plan.is_none() => {
                    return Err(PlanError::BadHeader("its quotes do not pair"));
                }
                Record::BadQuoting { len } => (len, 1, true),
                Record::Whole { len, lines, quoted } => {
                    split_fields(text, at, len, quoted, DELIMITER, &mut self.fields);
                    if self.plan.is_none() {
                        self.header(text)?;
                        (len, i64::from(lines), false)
                    } else {
                        self.note_month(text);
                        (len, i64::from(lines), true)
                    }
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
        Ok(at)
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
            return Err(PlanError::BadHeader("it is longer than 4 MiB"));
        }
        self.cut();
        self.open = PlannedChunk { start, end, first_line: self.line, records: 1 };
        self.line += 1;
        self.cut();
        Ok(())
    }

    fn header(&mut self, text: &[u8]) -> Result<(), PlanError> {
        let names: Result<Vec<String>, _> = self
            .fields
            .iter()
            .map(|field| std::str::from_utf8(field.of(text)).map(|name| name.trim().to_owned()))
            .collect();
        let header = names.map_err(|_| PlanError::BadHeader("it is not UTF-8 text"))?;
        if header.iter().any(|name| name.contains('\0')) {
            return Err(PlanError::BadHeader("it holds a NUL byte"));
        }
        if header.len() > MAX_COLUMNS || header.iter().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(PlanError::BadHeader(
                "it has more than 1000 columns, or one with more than 1000 bytes",
            ));
        }
        let (mapping, ignored) =
            map_header(self.kind, &header).map_err(|error| match other_separator(&header) {
                Some(said) => PlanError::Foreign(said),
                None => PlanError::Columns(error),
            })?;
        if self.kind == UploadKind::Transactions {
            self.time_column = mapping.0[2];
        }
        self.plan =
            Some(Plan { header, mapping, ignored, chunks: Vec::new(), records: 0, months: BTreeSet::new() });
        Ok(())
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
