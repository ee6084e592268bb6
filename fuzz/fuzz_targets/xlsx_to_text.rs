//! Whatever a workbook's parts hold, it becomes text or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    config::FilesConfig,
    uploads::{
        formats::{Head, convert, recognise},
        model::FormOptions,
    },
};
use std::io::{Cursor, Write};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const ROOT: &[u8] = br#"<Relationships><Relationship Id="r1" Type="x/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const BOOK: &[u8] = br#"<workbook><sheets><sheet name="S" sheetId="1" r:id="s1"/></sheets></workbook>"#;
const RELATIONS: &[u8] = br#"<Relationships><Relationship Id="s1" Type="x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
const STYLES: &[u8] = br#"<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="46"/></cellXfs></styleSheet>"#;

/// A workbook whose parts are what the input holds between zero bytes: sheet, strings, styles, workbook,
/// relations. What it leaves out is as it should be.
fn workbook(data: &[u8]) -> Vec<u8> {
    let mut given = data.split(|byte| *byte == 0);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut part = |name: &str, usual: Option<&[u8]>, given: Option<&[u8]>| {
        let Some(content) = given.filter(|given| !given.is_empty()).or(usual) else { return };
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    };
    part("[Content_Types].xml", Some(b"<Types/>"), None);
    part("_rels/.rels", Some(ROOT), None);
    part("xl/worksheets/sheet1.xml", Some(b"<worksheet/>"), given.next());
    part("xl/sharedStrings.xml", None, given.next());
    part("xl/styles.xml", Some(STYLES), given.next());
    part("xl/workbook.xml", Some(BOOK), given.next());
    part("xl/_rels/workbook.xml.rels", Some(RELATIONS), given.next());
    archive.finish().unwrap().into_inner()
}

fuzz_target!(|data: &[u8]| {
    let [how, rest @ ..] = data else { return };
    let file = if *how == 0 { rest.to_vec() } else { workbook(rest) };
    let options = FormOptions { sheet: (*how == 1).then(|| "1".to_owned()), ..FormOptions::default() };
    let Ok(recognised) = recognise(&file, &options) else { return };
    let mut sink = Head::new(1 << 20);
    let size = file.len() as u64;
    let limits = FilesConfig { unpacked_bytes: 16 << 20, ..FilesConfig::default() };
    if convert(Cursor::new(file), size, recognised, &options, limits, &mut sink).is_ok() && *how != 0 {
        assert!(std::str::from_utf8(&sink.text).is_ok());
    }
});
