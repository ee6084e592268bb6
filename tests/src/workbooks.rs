//! XLSX workbooks made by hand, so that tests can make what no spreadsheet program would.

use std::io::{Cursor, Write};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A workbook in the making.
#[derive(Default)]
pub struct Workbook {
    sheets: Vec<(String, bool, String)>,
    parts: Vec<(String, Vec<u8>)>,
    from_1904: bool,
}

/// Style of a cell that shows a date.
pub const DATE: u32 = 1;
/// Style of a cell that shows a date and a time.
pub const DATE_TIME: u32 = 2;

const STYLES: &str = r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs></styleSheet>"#;
const ROOT: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const TYPES: &str = r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#;

impl Workbook {
    /// Without sheets.
    pub fn new() -> Self {
        Self::default()
    }

    /// With dates that count from 1904.
    pub fn from_1904(mut self) -> Self {
        self.from_1904 = true;
        self
    }

    /// Adds a sheet of these rows (made by [`row`]).
    pub fn sheet(self, name: &str, rows: &[String]) -> Self {
        self.sheet_xml(name, true, &format!("<sheetData>{}</sheetData>", rows.concat()))
    }

    /// Adds a sheet of this XML.
    pub fn sheet_xml(mut self, name: &str, visible: bool, xml: &str) -> Self {
        self.sheets.push((name.to_owned(), visible, xml.to_owned()));
        self
    }

    /// Adds a part, or puts it in another's place.
    pub fn part(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.parts.push((path.to_owned(), content.into()));
        self
    }

    /// Its bytes.
    pub fn build(self) -> Vec<u8> {
        let namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let mut parts: Vec<(String, Vec<u8>)> = vec![
            ("[Content_Types].xml".to_owned(), TYPES.into()),
            ("_rels/.rels".to_owned(), ROOT.into()),
            ("xl/styles.xml".to_owned(), STYLES.into()),
        ];
        let (mut sheets, mut targets) = (String::new(), String::new());
        for (number, (name, visible, xml)) in self.sheets.iter().enumerate() {
            let state = if *visible { "" } else { r#" state="hidden""# };
            sheets += &format!(r#"<sheet name="{name}" sheetId="{0}"{state} r:id="s{0}"/>"#, number + 1);
            targets += &format!(
                r#"<Relationship Id="s{0}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{0}.xml"/>"#,
                number + 1
            );
            let sheet = format!(r#"<worksheet xmlns="{namespace}">{xml}</worksheet>"#);
            parts.push((format!("xl/worksheets/sheet{}.xml", number + 1), sheet.into()));
        }
        let epoch = if self.from_1904 { r#"<workbookPr date1904="1"/>"# } else { "" };
        let workbook = format!(
            r#"<workbook xmlns="{namespace}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">{epoch}<sheets>{sheets}</sheets></workbook>"#
        );
        parts.push(("xl/workbook.xml".to_owned(), workbook.into()));
        parts.push((
            "xl/_rels/workbook.xml.rels".to_owned(),
            format!(r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{targets}</Relationships>"#).into(),
        ));
        for (path, content) in self.parts {
            parts.retain(|(known, _)| *known != path);
            parts.push((path, content));
        }
        zip(&parts)
    }
}

/// A row of a sheet: its number and its cells.
pub fn row(number: u32, cells: &[Cell]) -> String {
    let cells: String = cells
        .iter()
        .enumerate()
        .map(|(column, cell)| {
            let place = format!("{}{number}", char::from(b'A' + column as u8));
            match cell {
                Cell::Text(text) => {
                    let text = text.replace('&', "&amp;").replace('<', "&lt;");
                    format!(r#"<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>"#)
                }
                Cell::Number(value, style) => format!(r#"<c r="{place}" s="{style}"><v>{value}</v></c>"#),
                Cell::Raw(attributes, inside) => format!(r#"<c r="{place}" {attributes}>{inside}</c>"#),
                Cell::Nothing => String::new(),
            }
        })
        .collect();
    format!(r#"<row r="{number}">{cells}</row>"#)
}

/// A cell.
pub enum Cell {
    /// A text.
    Text(&'static str),
    /// A number as it is written, and its style.
    Number(&'static str, u32),
    /// Attributes and what is inside.
    Raw(&'static str, &'static str),
    /// None.
    Nothing,
}

/// A workbook of so many transactions, each with the same long note: its text is far larger than itself.
pub fn noted(rows: u32) -> Vec<u8> {
    let cell = |text: &str| format!("<c t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let note = "note ".repeat(80);
    let line = |number: u32| match number {
        0 => ["id", "user", "date", "amount", "note"].map(cell).concat(),
        _ => [&format!("w{number}"), "7", "2025-01-15", "1", note.trim()].map(cell).concat(),
    };
    let rows: String =
        (0..=rows).map(|number| format!("<row r=\"{}\">{}</row>", number + 1, line(number))).collect();
    Workbook::new().sheet_xml("One", true, &format!("<sheetData>{rows}</sheetData>")).build()
}

/// An archive of these members.
pub fn zip<N: AsRef<str>, C: AsRef<[u8]>>(members: &[(N, C)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        if name.as_ref().ends_with('/') {
            archive.add_directory(name.as_ref(), SimpleFileOptions::default()).expect("memory takes it");
            continue;
        }
        archive.start_file(name.as_ref(), SimpleFileOptions::default()).expect("memory takes it");
        archive.write_all(content.as_ref()).expect("memory takes it");
    }
    archive.finish().expect("memory takes it").into_inner()
}
