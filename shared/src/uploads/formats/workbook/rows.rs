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
use calamine::{Xlsx, XlsxCellReader, XlsxError};
use std::io::{Read, Seek};

/// Rows that a sheet can have.
const MAX_ROWS: u32 = 1 << 20;
/// Columns that a sheet can have.
const MAX_COLUMNS: u32 = 1 << 14;
/// Text that is collected before it is handed on.
const PIECE_BYTES: usize = 128 << 10;

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

/// Writes a sheet's rows.
pub fn write<R: Read + Seek>(
    workbook: &mut Xlsx<R>,
    name: &str,
    scan: &mut SheetScan,
    limits: FilesConfig,
    sink: &mut dyn Sink,
) -> Result<Found, FormatError> {
    let from_1904 = workbook.has_1904_epoch();
    let mut reader = workbook.worksheet_cells_reader(name).map_err(|error| refused(&error))?;
    let mut writer = Writer { sink, text: Vec::new(), cells: Vec::new(), used: 0, row: 0, goes_on: true };
    let ranges = std::mem::take(&mut scan.merges);
    let (mut found, mut merges) = (Found::default(), Merges::new(&ranges));
    let mut text = String::new();
    while let Some((row, column)) = next_cell(&mut reader, scan, from_1904, &mut text, &mut found)? {
        // Beyond what the first pass bounded nothing is read.
        if !scan.whole && row > scan.last_row {
            break;
        }
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

/// Reads a cell's place and its text.
fn next_cell<R: Read + Seek>(
    reader: &mut XlsxCellReader<'_, R>,
    scan: &mut SheetScan,
    from_1904: bool,
    text: &mut String,
    found: &mut Found,
) -> Result<Option<(u32, u32)>, FormatError> {
    text.clear();
    match reader.next_cell() {
        Ok(None) => Ok(None),
        Ok(Some(cell)) => {
            found.imprecise += u64::from(write_cell(text, cell.get_value(), from_1904));
            Ok(Some(cell.get_position()))
        }
        // An error of a newer kind (#SPILL!): the first pass knows where it is.
        Err(XlsxError::CellError(error)) => {
            let Some((row, column, known)) = scan.strange.pop_front() else {
                return Err(refused(&XlsxError::CellError(error)));
            };
            text.push_str(&known);
            Ok(Some((row, column)))
        }
        Err(error) => Err(refused(&error)),
    }
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
