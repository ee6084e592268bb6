//! A first pass over the parts of a workbook, before calamine's: it bounds what one element may hold,
//! refuses declarations of entities, and notes of a sheet what its cells alone do not say.

use super::{
    markup::{Markup, PlainCell},
    package::attribute,
};
use crate::uploads::formats::{FormatError, archive::refused, damaged, decode::Growth};
use quick_xml::events::{BytesStart, Event};
use std::{
    collections::VecDeque,
    io::{Read, Seek},
};
use zip::ZipArchive;

/// Bytes of a cell or a shared string with everything in it; Excel allows 32,767 characters.
const CELL_BYTES: u64 = 8 << 20;
/// Bytes of a part that is read as a whole and is no sheet; in memory it may become four times as much.
const SMALL_BYTES: u64 = 24 << 20;
/// Elements within elements.
const DEPTH: usize = 64;
/// Merged ranges that are heeded.
const MERGES: usize = 100_000;
/// Error cells of newer kinds that are heeded.
const STRANGE: usize = 1_000_000;
/// How much of a sheet is read for a look at its beginning.
const HEAD_ROWS: u64 = 2_000;
const HEAD_SCAN_BYTES: u64 = 32 << 20;

/// What a part is, for its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Read as a whole.
    Small,
    /// The shared strings.
    Strings,
    /// A sheet.
    Sheet,
}

/// A range of merged cells, from 0, its ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// First row and column.
    pub from: (u32, u32),
    /// Last row and column.
    pub to: (u32, u32),
}

/// What a pass over a sheet found.
#[derive(Debug, Default)]
pub struct SheetScan {
    /// Rows with a cell that is not empty.
    pub rows: u64,
    /// Merged ranges, as far as they are heeded, by their first row.
    pub merges: Vec<Merge>,
    /// Merged ranges.
    pub merged: u64,
    /// Rows that are hidden, by hand or by a filter, and have such a cell.
    pub hidden: u64,
    /// Formulas without a computed value.
    pub uncomputed: u64,
    /// Error cells whose kind calamine does not know, in their order: row, column, text.
    pub strange: VecDeque<(u32, u32, String)>,
    /// Whether the sheet was read to its end.
    pub whole: bool,
    /// The last row read, from 0.
    pub last_row: u32,
    /// Bytes of the sheet, as stated, and how many of them were read.
    bytes: (u64, u64),
}

/// What a pass over a part meets.
enum Piece<'m> {
    Event(&'m Event<'m>),
    /// A sheet's cell, taken whole.
    Cell(PlainCell),
}

/// Calls `each` with every event of a part and the bytes read so far, until it says that it is enough.
/// Returns whether the part was read to its end.
pub fn walk<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    member: &str,
    part: Part,
    growth: &mut Growth,
    mut each: impl FnMut(&Event<'_>, u64) -> Result<bool, FormatError>,
) -> Result<bool, FormatError> {
    pieces(archive, member, part, growth, |piece, position| match piece {
        Piece::Event(event) => each(event, position),
        Piece::Cell(_) => Ok(true),
    })
}

fn pieces<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    member: &str,
    part: Part,
    growth: &mut Growth,
    mut each: impl FnMut(Piece<'_>, u64) -> Result<bool, FormatError>,
) -> Result<bool, FormatError> {
    let file = archive.by_name(member).map_err(|error| refused(&error))?;
    let mut markup = Markup::new(file);
    let (mut seen, mut depth) = (0, 0usize);
    // Where the cell or string that is open began, and how deep.
    let mut open: Option<(usize, u64)> = None;
    loop {
        if part == Part::Sheet && open.is_none() && depth < DEPTH - PlainCell::DEPTH {
            while let Some((cell, position)) = markup.plain_cell() {
                growth.add(position - seen)?;
                seen = position;
                if !each(Piece::Cell(cell), position)? {
                    return Ok(false);
                }
            }
        }
        let (event, position) =
            markup.next().map_err(|error| damaged(&format!("workbook's part {member}"), seen, &error))?;
        growth.add(position - seen)?;
        seen = position;
        match &event {
            Event::Eof => return Ok(true),
            Event::DocType(_) => {
                return Err(FormatError::Refused(format!(
                    "The workbook's part {member} declares a document type, which no spreadsheet program writes and \
                     which can be an attack; save the workbook anew."
                )));
            }
            Event::Start(element) => {
                depth += 1;
                if open.is_none()
                    && part != Part::Small
                    && matches!(element.local_name().as_ref(), "c" | "si")
                {
                    open = Some((depth, position));
                }
            }
            Event::End(_) => {
                if open.is_some_and(|(opened, _)| opened == depth) {
                    open = None;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        let cell = open.map_or(0, |(_, began)| position - began);
        if depth > DEPTH || cell > CELL_BYTES || (part == Part::Small && position > SMALL_BYTES) {
            return Err(FormatError::Refused(format!(
                "The workbook's part {member} is larger or deeper than spreadsheet programs make one; save the \
                 sheet as CSV."
            )));
        }
        if !each(Piece::Event(&event), position)? {
            return Ok(false);
        }
    }
}

/// The cell that a pass is in.
#[derive(Default)]
struct Cell {
    place: (u32, u32),
    formula: bool,
    value: bool,
    in_value: bool,
    /// A formula's empty text is a value.
    text: bool,
    error: Option<String>,
}

/// A pass over a sheet.
#[derive(Default)]
struct Pass {
    scan: SheetScan,
    /// Where a cell without a place of its own is.
    next: (u32, u32),
    cell: Option<Cell>,
    row_has_values: bool,
    row_is_hidden: bool,
}

/// Reads a sheet for what its cells alone do not say.
pub fn sheet<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    member: &str,
    growth: &mut Growth,
    head_only: bool,
) -> Result<SheetScan, FormatError> {
    let stated = archive.by_name(member).map_err(|error| refused(&error))?.size();
    let mut pass = Pass::default();
    let whole = pieces(archive, member, Part::Sheet, growth, |piece, position| {
        match piece {
            Piece::Cell(cell) => pass.plain_cell(cell),
            Piece::Event(Event::Start(element)) => pass.start(element, member)?,
            Piece::Event(Event::Text(text)) => pass.text(text.as_ref()),
            Piece::Event(Event::CData(_)) => {
                pass.cell.iter_mut().for_each(|cell| cell.value |= cell.in_value);
            }
            Piece::Event(Event::End(element)) => {
                let name = element.local_name();
                pass.end(name.as_ref())?;
                if name.as_ref() == "row" {
                    pass.scan.bytes.1 = position;
                    let enough = pass.scan.rows >= HEAD_ROWS && position >= HEAD_SCAN_BYTES;
                    return Ok(!(head_only && enough));
                }
            }
            Piece::Event(_) => {}
        }
        Ok(true)
    })?;
    let mut scan = pass.scan;
    (scan.whole, scan.bytes.0) = (whole, stated);
    scan.merges.sort_by_key(|merge| merge.from);
    Ok(scan)
}

impl Pass {
    fn plain_cell(&mut self, cell: PlainCell) {
        let (_, column) = cell.place.unwrap_or(self.next);
        self.cell = None;
        self.row_has_values |= cell.value;
        self.next.1 = column.saturating_add(1);
    }

    fn start(&mut self, element: &BytesStart<'_>, member: &str) -> Result<(), FormatError> {
        match (element.local_name().as_ref(), &mut self.cell) {
            ("dimension", _) => check_dimension(element, member)?,
            ("row", _) => {
                self.row_is_hidden =
                    attribute(element, "hidden").is_some_and(|hidden| hidden == "1" || hidden == "true");
                let row = attribute(element, "r").map(|row| row.parse::<u32>().ok()?.checked_sub(1));
                self.next = (row.map_or(Some(self.next.0), |row| row).ok_or_else(|| misplaced(member))?, 0);
            }
            ("c", _) => self.cell = Some(begun(element, self.next).ok_or_else(|| misplaced(member))?),
            ("f", Some(cell)) => cell.formula = true,
            ("v" | "t", Some(cell)) => cell.in_value = true,
            ("mergeCell", _) => {
                self.scan.merged += 1;
                let range = attribute(element, "ref").and_then(|range| merge(&range));
                self.scan.merges.extend(range.filter(|_| self.scan.merged <= MERGES as u64));
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(cell) = self.cell.as_mut().filter(|cell| cell.in_value) {
            cell.value = true;
            if let Some(error) = &mut cell.error {
                error.push_str(text);
            }
        }
    }

    fn end(&mut self, name: &str) -> Result<(), FormatError> {
        match name {
            "v" | "t" => self.cell.iter_mut().for_each(|cell| cell.in_value = false),
            "c" => {
                let ended = self.cell.take().unwrap_or_default();
                self.row_has_values |= ended.value;
                self.next.1 = ended.place.1.saturating_add(1);
                self.scan.uncomputed += u64::from(ended.formula && !ended.value && !ended.text);
                if let Some(error) = ended.error.filter(|error| is_strange(error)) {
                    self.scan.note_strange(ended.place, error)?;
                }
            }
            "row" => {
                let has_values = std::mem::take(&mut self.row_has_values);
                self.scan.rows += u64::from(has_values);
                self.scan.hidden += u64::from(has_values && self.row_is_hidden);
                self.scan.last_row = self.next.0;
                self.next = (self.next.0.saturating_add(1), 0);
            }
            _ => {}
        }
        Ok(())
    }
}

impl SheetScan {
    /// How many rows with cells there seem to be.
    pub fn estimated_rows(&self) -> u64 {
        let (stated, read) = self.bytes;
        if self.whole || read == 0 {
            return self.rows;
        }
        let estimate = u128::from(self.rows) * u128::from(stated) / u128::from(read);
        u64::try_from(estimate).unwrap_or(u64::MAX).max(self.rows)
    }

    fn note_strange(&mut self, place: (u32, u32), error: String) -> Result<(), FormatError> {
        if self.strange.len() >= STRANGE {
            return Err(FormatError::Refused(
                "The sheet is full of errors such as #SPILL!; mend it.".to_owned(),
            ));
        }
        self.strange.push_back((place.0, place.1, error));
        Ok(())
    }
}

/// Calamine counts on the places of cells and on the stated size being possible ones.
fn misplaced(member: &str) -> FormatError {
    damaged(&format!("workbook's part {member}"), 0, &"a cell is in no place that there is")
}

fn check_dimension(element: &BytesStart<'_>, member: &str) -> Result<(), FormatError> {
    let Some(stated) = attribute(element, "ref") else { return Ok(()) };
    let place = |place: &str| cell_place(place).ok_or_else(|| misplaced(member));
    let places: Vec<(u32, u32)> = stated.split(':').map(place).collect::<Result<_, _>>()?;
    match places[..] {
        [from, to] if to.0 < from.0 || to.1 < from.1 => Err(misplaced(member)),
        _ => Ok(()),
    }
}

/// The cell that an element begins; `None` if it is in no place that there is.
fn begun(element: &BytesStart<'_>, next: (u32, u32)) -> Option<Cell> {
    let mut cell = Cell { place: next, ..Cell::default() };
    for attribute in element.attributes().with_checks(false).flatten() {
        match (attribute.key.as_ref(), attribute.value.as_ref()) {
            ("r", place) => cell.place = cell_place(place)?,
            ("t", "e") => cell.error = Some(String::new()),
            ("t", "str") => cell.text = true,
            _ => {}
        }
    }
    Some(cell)
}

/// Whether calamine does not know this kind of error.
fn is_strange(error: &str) -> bool {
    !["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"].contains(&error)
}

/// Row and column, from 0, of a place like `B7`.
pub fn cell_place(place: &str) -> Option<(u32, u32)> {
    let digits = place.find(|letter: char| letter.is_ascii_digit())?;
    let (letters, digits) = place.split_at(digits);
    let column = letters.bytes().try_fold(0u32, |column, letter| {
        let letter = letter.to_ascii_uppercase();
        let value = letter.is_ascii_uppercase().then(|| u32::from(letter - b'A') + 1)?;
        column.checked_mul(26)?.checked_add(value)
    })?;
    Some((digits.parse::<u32>().ok()?.checked_sub(1)?, column.checked_sub(1)?))
}

fn merge(range: &str) -> Option<Merge> {
    let (from, to) = range.split_once(':')?;
    Some(Merge { from: cell_place(from)?, to: cell_place(to)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FilesConfig;
    use std::io::{Cursor, Write};
    use zip::{ZipWriter, write::SimpleFileOptions};

    fn scanned(sheet: &str) -> Result<SheetScan, String> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("sheet.xml", SimpleFileOptions::default()).unwrap();
        writer.write_all(sheet.as_bytes()).unwrap();
        let mut archive = ZipArchive::new(writer.finish().unwrap()).unwrap();
        let mut growth = Growth::new(1 << 20, FilesConfig::default());
        let scan = super::sheet(&mut archive, "sheet.xml", &mut growth, false);
        scan.map(|scan| SheetScan { bytes: (0, 0), ..scan }).map_err(|error| error.to_string())
    }

    #[test]
    fn cells_taken_whole_are_what_their_events_say() {
        const PIECES: [&str; 30] = [
            "<row r=\"7\">",
            "<row>",
            "<row hidden=\"1\">",
            "</row>",
            "<c r=\"B7\"><v>1</v></c>",
            "<c r=\"C9\" s=\"1\" t=\"s\"><v>12</v></c>",
            "<c t=\"str\"><v>x&amp;y</v></c>",
            "<c r=\"A0\"><v>1</v></c>",
            "<c r=\"AB12\" t=\"inlineStr\"><is><t>text</t></is></c>",
            "<c r=\"AC12\" t=\"inlineStr\"><is><t></t></is></c>",
            "<c r=\"A1\"><v></v></c>",
            "<c><v>é</v></c>",
            "<c r=\"D4\" t=\"e\"><v>#SPILL!</v></c>",
            "<c r=\"D4\" t=\"e\"><v>#N/A</v></c>",
            "<c r=\"D4\" t=\"str\"><f>1</f><v></v></c>",
            "<c r=\"D5\"><f>1</f></c>",
            "<c r=\"D6\"/>",
            "<c ",
            "<c r=\"E1\">",
            "<v>",
            "5",
            "</v>",
            "</c>",
            "<is><t>",
            "</t></is>",
            "<x>",
            "</x>",
            "<mergeCell ref=\"A1:B2\"/>",
            "<!-- a -->",
            " ",
        ];
        let (mut state, mut with_values) = (7u64, 0);
        let mut draw = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % most
        };
        for _ in 0..10_000 {
            let sheet: String = (0..1 + draw(12)).map(|_| PIECES[draw(PIECES.len())]).collect();
            let sheet = format!("{sheet}</row>");
            // A second space: such cells are read by their events.
            let by_events = sheet.replace("<c ", "<c  ").replace("<c>", "<c >");
            let (whole, by_events) = (scanned(&sheet), scanned(&by_events));
            with_values += usize::from(whole.as_ref().is_ok_and(|scan| scan.rows > 0));
            // Where a damaged one breaks off is told in bytes.
            let told = |scan: Result<SheetScan, String>| scan.map(|scan| format!("{scan:?}")).map_err(|_| ());
            assert_eq!(told(whole), told(by_events), "{sheet}");
        }
        assert!(with_values > 2_000, "{with_values}");
    }

    #[test]
    fn places_are_read_as_spreadsheets_write_them() {
        assert_eq!(cell_place("A1"), Some((0, 0)));
        assert_eq!(cell_place("XFD1048576"), Some((1_048_575, 16_383)));
        for no_place in ["", "A", "1", "A0", "é1", "A1B", "ZZZZZZZZZZ1", "A99999999999"] {
            assert_eq!(cell_place(no_place), None, "{no_place:?}");
        }
        assert_eq!(merge("B2:C3"), Some(Merge { from: (1, 1), to: (2, 2) }));
    }
}
