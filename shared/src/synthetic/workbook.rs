//! The same rows as a workbook of one sheet. They go over a temporary file: memory does not grow with them.

use super::blocks::{CsvBlocks, Tally};
use chrono::NaiveDate;
use csv::{ByteRecord, ReaderBuilder};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use std::io::{self, Write};

/// Day 0 of a workbook's calendar, for days after February 1900.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1899, 12, 30).expect("a day of the calendar");
/// The first day that all programs count alike.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1900, 3, 1).expect("a day of the calendar");

/// How a column's cells are written. What does not read so is text.
#[derive(Clone, Copy)]
enum Cells {
    Text,
    Number,
    Day,
}

impl Cells {
    /// By the column's name. Instants are text: a cell holds no microseconds.
    fn of(column: &[u8]) -> Self {
        match column {
            b"amount"
            | b"transaction_amount"
            | b"account_balance"
            | b"shares"
            | b"price"
            | b"user_id"
            | b"product_id"
            | b"open_price"
            | b"close_price"
            | b"high"
            | b"low"
            | b"volume" => Self::Number,
            b"transaction_date" | b"date_of_birth" | b"account_open_date" => Self::Day,
            _ => Self::Text,
        }
    }
}

/// Writes the rows as a workbook; at most as many as a sheet has. `watch` hears how many are done, and
/// ends it by saying false.
pub fn write_workbook(
    blocks: CsvBlocks,
    sheet_name: &str,
    out: impl Write + Send,
    watch: impl FnMut(u64) -> bool,
) -> io::Result<Tally> {
    let mut workbook = Workbook::new();
    let tally = fill(&mut workbook, blocks, sheet_name, watch).map_err(|error| match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other),
    })?;
    workbook.save_to_writer(out).map_err(io::Error::other)?;
    Ok(tally)
}

fn fill(
    workbook: &mut Workbook,
    mut blocks: CsvBlocks,
    sheet_name: &str,
    mut watch: impl FnMut(u64) -> bool,
) -> Result<Tally, XlsxError> {
    // The same seed gives the same bytes: not the wall clock.
    let made = ExcelDateTime::from_ymd(2026, 1, 1)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
    let day = Format::new().set_num_format("yyyy-mm-dd");
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    sheet.set_name(sheet_name)?;
    let (mut columns, mut row, mut record) = (Vec::new(), 0, ByteRecord::new());
    while let Some(block) = blocks.next_block() {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(block);
        while reader.read_byte_record(&mut record).map_err(|error| XlsxError::IoError(error.into()))? {
            if row == 0 {
                columns = record.iter().map(Cells::of).collect();
            }
            for ((column, value), cells) in (0u16..).zip(&record).zip(&columns) {
                write_cell(sheet, (row, column), value, *cells, &day)?;
            }
            row += 1;
        }
        if !watch(blocks.tally().rows) {
            return Err(XlsxError::IoError(io::ErrorKind::Interrupted.into()));
        }
    }
    Ok(blocks.tally())
}

fn write_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    value: &[u8],
    cells: Cells,
    day: &Format,
) -> Result<(), XlsxError> {
    let text = String::from_utf8_lossy(value);
    if text.is_empty() {
        return Ok(());
    }
    match cells {
        // A cell's number is a double by the format's nature; these are far from its limits.
        Cells::Number if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-')) => {
            match text.parse::<f64>() {
                Ok(number) => sheet.write_number(row, column, number)?,
                Err(_) => sheet.write_string(row, column, text)?,
            }
        }
        Cells::Day => match text.parse::<NaiveDate>().ok().filter(|day| *day >= FIRST_DAY) {
            Some(date) => {
                let serial = date.signed_duration_since(EPOCH).num_days();
                sheet.write_number_with_format(row, column, serial as f64, day)?
            }
            None => sheet.write_string(row, column, text)?,
        },
        Cells::Number | Cells::Text => sheet.write_string(row, column, text)?,
    };
    Ok(())
}
