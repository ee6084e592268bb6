//! The rows of a sheet as text: row `n` of the sheet is line `n`, and a record holds a row's cells up to its
//! last one that is not empty. A row without any is a blank line.

use super::{
    cells::write_cell,
    refused,
    scan::{Merge, SheetScan},
};
use crate::{
    config::FilesConfig,
    uploads::{
        formats::{FormatError, sink::Sink},
        records::MAX_RECORD_BYTES,
    },
};
use calamine::{Cell, DataRef, Xlsx, XlsxCellReader, XlsxError};
use std::{
    io::{Read, Seek},
    panic::resume_unwind,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

/// Rows that a sheet can have.
const MAX_ROWS: u32 = 1 << 20;
/// Columns that a sheet can have.
const MAX_COLUMNS: u32 = 1 << 14;
/// Text that is collected before it is handed on.
const PIECE_BYTES: usize = 128 << 10;
/// Cells that are handed from one thread to the other at once, or fewer of so many bytes.
const BATCH_CELLS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;
/// Batches that are read ahead of their writing.
const BATCHES_AHEAD: usize = 2;

type Batch<'w> = Vec<Cell<DataRef<'w>>>;

/// What writing a sheet found.
#[derive(Debug, Default)]
pub struct Found {
    /// Numbers with more digits than a cell can keep.
    pub imprecise: u64,
    /// Whether all rows were wanted.
    pub whole: bool,
}

struct Writer<'s> {
    sink: &'s mut dyn Sink,
    text: Vec<u8>,
    /// The cells of the open row; what is behind `used` is left from rows before.
    cells: Vec<String>,
    used: usize,
    row: u32,
    goes_on: bool,
}

/// Writes a sheet's rows. One thread reads its cells, this one makes text of them.
pub fn write<R: Read + Seek + Send>(
    workbook: &mut Xlsx<R>,
    name: &str,
    scan: &mut SheetScan,
    limits: FilesConfig,
    sink: &mut dyn Sink,
) -> Result<Found, FormatError> {
    let from_1904 = workbook.has_1904_epoch();
    let ranges = std::mem::take(&mut scan.merges);
    thread::scope(|scope| {
        let (read, cells) = mpsc::sync_channel(BATCHES_AHEAD);
        let reading = scope.spawn(move || read_cells(workbook, name, scan, &read));
        let written = write_cells(cells, from_1904, Merges::new(&ranges), limits, sink);
        let read = reading.join();
        let found = written?;
        // What lies behind the last row that was wanted is no matter.
        if found.whole {
            read.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(found)
    })
}

/// Hands a sheet's cells on, in batches, for as long as somebody takes them.
fn read_cells<'w, R: Read + Seek>(
    workbook: &'w mut Xlsx<R>,
    name: &str,
    scan: &mut SheetScan,
    read: &SyncSender<Batch<'w>>,
) -> Result<(), FormatError> {
    let mut reader = workbook.worksheet_cells_reader(name).map_err(|error| refused(&error))?;
    loop {
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_CELLS), 0);
        let ended = loop {
            let cell = match next_cell(&mut reader, scan) {
                Ok(Some(cell)) => cell,
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            };
            // Beyond what the first pass bounded nothing is read.
            if !scan.whole && cell.get_position().0 > scan.last_row {
                break Some(Ok(()));
            }
            bytes += owned_bytes(cell.get_value());
            batch.push(cell);
            if batch.len() == BATCH_CELLS || bytes >= BATCH_BYTES {
                break None;
            }
        };
        if read.send(batch).is_err() {
            return Ok(());
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// Bytes of text that a value holds itself.
fn owned_bytes(value: &DataRef<'_>) -> usize {
    match value {
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.len(),
        _ => 0,
    }
}

fn next_cell<'w, R: Read + Seek>(
    reader: &mut XlsxCellReader<'w, R>,
    scan: &mut SheetScan,
) -> Result<Option<Cell<DataRef<'w>>>, FormatError> {
    reader.next_cell().or_else(|error| match (error, scan.strange.pop_front()) {
        // An error of a newer kind (#SPILL!): the first pass knows where it is.
        (XlsxError::CellError(_), Some((row, column, known))) => {
            Ok(Some(Cell::new((row, column), DataRef::String(known))))
        }
        (error, _) => Err(refused(&error)),
    })
}

fn write_cells(
    cells: Receiver<Batch<'_>>,
    from_1904: bool,
    mut merges: Merges<'_>,
    limits: FilesConfig,
    sink: &mut dyn Sink,
) -> Result<Found, FormatError> {
    let mut writer = Writer { sink, text: Vec::new(), cells: Vec::new(), used: 0, row: 0, goes_on: true };
    let (mut found, mut text) = (Found::default(), String::new());
    for cell in cells.into_iter().flatten() {
        text.clear();
        found.imprecise += u64::from(write_cell(&mut text, cell.get_value(), from_1904));
        let (row, column) = cell.get_position();
        if text.is_empty() || merges.hide(row, column) {
            continue;
        }
        check(row, column, writer.row, limits)?;
        writer.go_to(row)?;
        if !writer.goes_on {
            break;
        }
        writer.put(column as usize, &text);
    }
    writer.end_row();
    if writer.goes_on && !writer.text.is_empty() {
        writer.flush()?;
    }
    found.whole = writer.goes_on;
    Ok(found)
}

fn check(row: u32, column: u32, open_row: u32, limits: FilesConfig) -> Result<(), FormatError> {
    let place = || format!("row {}, column {}", u64::from(row) + 1, u64::from(column) + 1);
    if row >= MAX_ROWS || column >= MAX_COLUMNS {
        return Err(FormatError::Refused(format!(
            "The workbook is damaged: it has a cell in {}, which no sheet has; save it anew.",
            place()
        )));
    }
    if column as usize >= limits.columns {
        return Err(FormatError::Refused(format!(
            "The sheet has a cell in {}; more than {} columns are not read (MILLRACE_MAX_COLUMNS). Delete what is \
             right of the table.",
            place(),
            limits.columns
        )));
    }
    if row < open_row {
        return Err(FormatError::Refused(format!(
            "The workbook is damaged: its rows are not in order ({}); save it anew.",
            place()
        )));
    }
    Ok(())
}

impl Writer<'_> {
    fn put(&mut self, column: usize, text: &str) {
        if self.cells.len() <= column {
            self.cells.resize(column + 1, String::new());
        }
        self.cells[self.used.min(column)..column].iter_mut().for_each(String::clear);
        self.cells[column].clear();
        self.cells[column].push_str(text);
        self.used = self.used.max(column + 1);
    }

    /// Ends rows until `row` is the open one.
    fn go_to(&mut self, row: u32) -> Result<(), FormatError> {
        while self.row < row && self.goes_on {
            self.end_row();
            if self.text.len() >= PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self) {
        let start = self.text.len();
        for (number, cell) in self.cells[..self.used].iter().enumerate() {
            if number > 0 {
                self.text.push(b',');
            }
            write_field(&mut self.text, cell);
        }
        if self.text.len() - start > MAX_RECORD_BYTES {
            // Too long to be loaded. Without line ends it is one bad record, with the row's number.
            self.text[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        }
        self.text.push(b'\n');
        self.used = 0;
        self.row += 1;
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        self.goes_on = self.sink.take(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

fn write_field(text: &mut Vec<u8>, cell: &str) {
    let plain = !cell.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        text.extend_from_slice(cell.as_bytes());
        return;
    }
    text.push(b'"');
    for (number, part) in cell.split('"').enumerate() {
        if number > 0 {
            text.extend_from_slice(b"\"\"");
        }
        text.extend_from_slice(part.as_bytes());
    }
    text.push(b'"');
}

/// Merged ranges as rows go by.
struct Merges<'s> {
    ranges: &'s [Merge],
    open: Vec<Merge>,
}

impl<'s> Merges<'s> {
    fn new(ranges: &'s [Merge]) -> Self {
        Self { ranges, open: Vec::new() }
    }

    /// Whether a cell lies under a merged range, and is not its first.
    fn hide(&mut self, row: u32, column: u32) -> bool {
        while let Some((range, rest)) = self.ranges.split_first().filter(|(range, _)| range.from.0 <= row) {
            self.open.push(*range);
            self.ranges = rest;
        }
        if self.open.is_empty() {
            return false;
        }
        self.open.retain(|range| range.to.0 >= row);
        self.open
            .iter()
            .any(|range| (range.from.1..=range.to.1).contains(&column) && range.from != (row, column))
    }
}
