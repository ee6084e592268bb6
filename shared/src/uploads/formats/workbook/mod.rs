//! XLSX workbooks: one sheet becomes text, a line a row. The workbook is checked before calamine opens
//! it: what it would hold in memory is bounded, no part may declare entities, no size it states is
//! believed. Shared strings are the one thing whose memory grows with the file.

mod cells;
mod markup;
mod package;
mod rows;
mod scan;

use super::{Converted, FormatError, SheetRows, archive::Bounded, decode::Growth, note_unused, sink::Sink};
use crate::{
    config::FilesConfig,
    uploads::model::{Container, FileFormat, FormOptions},
};
use calamine::{Reader, Xlsx, XlsxError};
use package::Package;
use rows::Found;
use scan::SheetScan;
use std::io::{Read, Seek, SeekFrom};
use zip::ZipArchive;

/// Sheets in a message.
const NAMED: usize = 20;

/// Makes the text of a workbook's sheet.
pub fn convert<R: Read + Seek + Send>(
    mut archive: ZipArchive<Bounded<R>>,
    options: &FormOptions,
    mut growth: Growth,
    limits: FilesConfig,
    sink: &mut dyn Sink,
) -> Result<Converted, FormatError> {
    let head_only = sink.wants_head_only();
    let package = package::check(&mut archive, &mut growth)?;
    let (number, mut scan) = choose(&mut archive, &package, options, &mut growth, head_only)?;
    let sheet = &package.sheets[number];
    let mut source = archive.into_inner();
    source.seek(SeekFrom::Start(0)).map_err(|error| refused(&XlsxError::Io(error)))?;
    let mut workbook = Xlsx::new(source).map_err(|error| refused(&error))?;
    let names: Vec<String> = workbook.sheets_metadata().iter().map(|sheet| sheet.name.clone()).collect();
    if names.len() != package.sheets.len() || names[number] != sheet.name {
        return Err(FormatError::Refused(
            "The workbook's list of sheets is damaged; save it anew.".to_owned(),
        ));
    }
    let found = rows::write(&mut workbook, &sheet.name, &mut scan, limits, sink)?;
    let mut warnings = warnings(&package, sheet, options, &scan, &found);
    note_unused(options, true, &mut warnings);
    let format = FileFormat {
        container: Container::Xlsx,
        member: None,
        encoding: None,
        delimiter: ',',
        sheet: Some(sheet.name.clone()),
        sheets: names,
        header_row: 1,
    };
    let whole = found.whole && scan.whole;
    let rows = Some(SheetRows { counted: scan.rows, estimated: scan.estimated_rows() });
    Ok(Converted { format, warnings, whole, read: growth.unpacked(), rows })
}

/// What calamine's refusal means for whoever sent the file.
fn refused(error: &XlsxError) -> FormatError {
    FormatError::Refused(format!("The workbook is damaged ({error}); open it, save it anew and upload that."))
}

/// The sheet that was asked for, or the first visible one with cells.
fn choose<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    package: &Package,
    options: &FormOptions,
    growth: &mut Growth,
    head_only: bool,
) -> Result<(usize, SheetScan), FormatError> {
    let mut scanned = |number: usize| {
        let path = &package.sheets[number].path;
        let member = package.parts.find(path).ok_or_else(|| {
            FormatError::Refused(format!(
                "The workbook is damaged: its part {path} is not there; save it anew."
            ))
        })?;
        scan::sheet(archive, member, growth, head_only)
    };
    if let Some(wanted) = &options.sheet {
        let number = find(package, wanted)?;
        return Ok((number, scanned(number)?));
    }
    let usable = |number: &usize| package.sheets[*number].visible && package.sheets[*number].has_rows;
    for number in (0..package.sheets.len()).filter(usable) {
        let scan = scanned(number)?;
        if scan.rows > 0 {
            return Ok((number, scan));
        }
    }
    Err(FormatError::Refused(format!(
        "No visible sheet of the workbook has any cell. Its sheets: {}.",
        listed(package)
    )))
}

fn find(package: &Package, wanted: &str) -> Result<usize, FormatError> {
    let sheets = &package.sheets;
    let lower = wanted.trim().to_lowercase();
    let numbered = || wanted.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let number = sheets
        .iter()
        .position(|sheet| sheet.name == wanted)
        .or_else(|| sheets.iter().position(|sheet| sheet.name.to_lowercase() == lower))
        .or_else(|| numbered().filter(|&number| number < sheets.len()));
    match number {
        Some(number) if sheets[number].has_rows => Ok(number),
        Some(number) => Err(FormatError::Refused(format!(
            "The sheet {:?} holds a chart or a dialog, no rows. The sheets: {}.",
            sheets[number].name,
            listed(package)
        ))),
        None => Err(FormatError::Refused(format!(
            "The workbook has no sheet {wanted:?}. Its sheets, which can also be named by number from 1: {}.",
            listed(package)
        ))),
    }
}

fn listed(package: &Package) -> String {
    let shown = package.sheets.iter().take(NAMED).map(|sheet| {
        let hidden = if sheet.visible { "" } else { " (hidden)" };
        format!("{:?}{hidden}", sheet.name)
    });
    let mut names: Vec<String> = shown.collect();
    if package.sheets.len() > NAMED {
        names.push(format!("and {} more", package.sheets.len() - NAMED));
    }
    names.join(", ")
}

fn warnings(
    package: &Package,
    sheet: &package::Sheet,
    options: &FormOptions,
    scan: &SheetScan,
    found: &Found,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if options.sheet.is_none() && package.sheets.len() > 1 {
        warnings.push(format!(
            "The workbook has {} sheets; the first visible one with cells is read: {:?}.",
            package.sheets.len(),
            sheet.name
        ));
    }
    if scan.merged > 0 {
        warnings.push(format!(
            "Merged ranges of the sheet: {}. Each value counts for the range's first cell, the other cells are empty.",
            scan.merged
        ));
    }
    if scan.hidden > 0 {
        warnings.push(format!(
            "Hidden rows of the sheet (by a filter, or by hand): {}. They are read like the others; delete them, or \
             copy what is visible into a new sheet, if they are not meant.",
            scan.hidden
        ));
    }
    if scan.uncomputed > 0 {
        warnings.push(format!(
            "Formulas without a computed value: {}. They read as empty; open the workbook in a spreadsheet program and \
             save it, so that they are computed.",
            scan.uncomputed
        ));
    }
    if found.imprecise > 0 {
        warnings.push(format!(
            "Numbers with more digits than a cell can keep: {}. What they feed is rejected; ids belong into cells \
             that are formatted as text.",
            found.imprecise
        ));
    }
    warnings
}
