//! Files that cannot be taken in, each with its reason and what would help.

use super::{gzip, load_as};
use crate::uploads::rejects;
use reqwest::{Method, StatusCode, multipart};
use shared::{
    config::FilesConfig,
    uploads::model::{FormOptions, MappedColumn},
};
use std::io::Write;
use tests::{
    App, AppOptions, files,
    workbooks::{Cell, Workbook, row, zip},
};

const TYPES: &str = "[Content_Types].xml";

fn workbook(part: &str, content: impl Into<Vec<u8>>) -> Vec<u8> {
    Workbook::new().sheet("One", &[row(1, &[Cell::Text("a")])]).part(part, content).build()
}

/// A tar archive of one file as the oldest tars wrote it, without a mark.
fn tar(content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..5].copy_from_slice(b"a.csv");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; content.len().next_multiple_of(512) - content.len() + 1024];
    [&header, content, &padding].concat()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_why_and_what_would_help() {
    let app = App::start().await;
    let rows = files::transactions(5_000, 31);
    let whole = gzip(&rows);
    let doctype = r#"<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet><sheetData><row r="1"><c r="A1" t="str"><v>&e;</v></c></row></sheetData></worksheet>"#;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("cut.gz", whole[..whole.len() / 2].to_vec(), "The gzip file is damaged or cut short after"),
        ("bad.zst", b"\x28\xb5\x2f\xfdnothing of the kind".to_vec(), "The zstd file is damaged"),
        ("two.zip", zip(&[("a.csv", &rows), ("b.csv", &rows)]), "holds 2 files (a.csv, b.csv)"),
        ("none.zip", zip(&[("folder/", "")]), "The archive holds no file"),
        (
            "nested.zip",
            zip(&[("inner.zip", zip(&[("a.csv", &rows)]))]),
            "Inside the ZIP archive there is another packed",
        ),
        ("nested.gz", gzip(&whole), "Inside the gzip file there is another packed file"),
        ("cut.zip", zip(&[("a.csv", &rows)])[..4_000].to_vec(), "The archive is damaged or cut short"),
        (
            "old.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest".to_vec(),
            "an old Excel file (XLS), or one that is protected",
        ),
        (
            "sheet.ods",
            zip(&[("mimetype", ""), ("content.xml", ""), ("META-INF/manifest.xml", "")]),
            "an OpenDocument file (ODS); save the sheet as XLSX or CSV",
        ),
        (
            "made by hand.ods",
            zip(&[
                ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
                ("content.xml", "<office:document-content/>"),
            ]),
            "The file is an OpenDocument spreadsheet (ODS); save the sheet as XLSX or CSV",
        ),
        (
            "without content.ods",
            zip(&[("mimetype", "application/vnd.oasis.opendocument.spreadsheet-template\n"), ("a.xml", "")]),
            "an OpenDocument spreadsheet (ODS)",
        ),
        (
            "text.odt",
            zip(&[("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", "")]),
            "an OpenDocument file without sheets",
        ),
        ("a.tar", tar(&rows), "The file is a tar archive, which is not read; unpack it and upload the CSV"),
        (
            "a.tar.gz",
            gzip(&tar(&rows)),
            "Inside the gzip file there is a tar archive, which is not read; unpack it and upload the CSV or XLSX",
        ),
        ("a.zz", zlib(&rows), "The file is a file compressed by zlib, which is not read; unpack it"),
        ("pdf.gz", gzip(b"%PDF-1.7\n1 0 obj"), "Inside the gzip file there is a PDF document"),
        (
            "named.csv",
            b"<html>,user,date,amount\n1,2,2025-01-15,3\n".to_vec(),
            "If it is a table whose first column has such a name, give that column another.",
        ),
        (
            "book.xlsb",
            zip(&[(TYPES, ""), ("_rels/.rels", ""), ("xl/workbook.bin", "")]),
            "a binary Excel workbook (XLSB)",
        ),
        (
            "text.docx",
            zip(&[(TYPES, ""), ("_rels/.rels", ""), ("word/document.xml", "")]),
            "a document without sheets",
        ),
        ("xxe.xlsx", workbook("xl/worksheets/sheet1.xml", doctype), "declares a document type"),
        (
            "torn.xlsx",
            workbook("xl/worksheets/sheet1.xml", "<worksheet><sheetData><row>"),
            "No visible sheet of the workbook has any cell",
        ),
        (
            "none.xlsx",
            workbook("xl/_rels/workbook.xml.rels", "<Relationships/>"),
            "The workbook is damaged (a sheet has no part)",
        ),
        (
            "many.xlsx",
            workbook("xl/sharedStrings.xml", r#"<sst uniqueCount="99999999999"><si><t>x</t></si></sst>"#),
            "has 1 shared strings and states 99999999999",
        ),
        (
            "far.xlsx",
            workbook(
                "xl/worksheets/sheet1.xml",
                r#"<worksheet><sheetData><row r="4294967295"><c r="A4294967295"><v>1</v></c></row></sheetData></worksheet>"#,
            ),
            "row 4294967295, column 1, which no sheet has",
        ),
        (
            "mixed.xlsx",
            Workbook::new().sheet("One", &[row(2, &[Cell::Text("a")]), row(1, &[Cell::Text("b")])]).build(),
            "its rows are not in order",
        ),
        (
            "empty.xlsx",
            Workbook::new().sheet("One", &[]).sheet("Two", &[row(1, &[])]).build(),
            "No visible sheet of the workbook has any cell. Its sheets: \\\"One\\\", \\\"Two\\\"",
        ),
    ];
    for (name, file, said) in cases {
        let upload = app.load(name, file, "").await;
        assert_eq!(upload["state"], "failed", "{name}: {upload}");
        assert!(upload.to_string().contains(said), "{name}: {said}: {upload}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_before_they_are_unpacked() {
    let app = App::start().await;
    let zeros = vec![b'0'; 100 << 20];
    let long = "0".repeat(10_000);
    let cells = format!("<worksheet><sheetData>{}", format!("<row><c><v>{long}</v></c></row>").repeat(8_000));
    let one_cell = [b"<worksheet><sheetData><row><c><v>".as_slice(), &zeros[..40 << 20]].concat();
    let many_tags =
        format!("<worksheet><sheetData><row><c><v>{}", format!("<x y=\"{long}\"/>").repeat(1_000));
    for (name, file, said) in [
        ("zeros.gz", gzip(&zeros), "more than 200 times its size"),
        ("zeros.zst", zstd::encode_all(&zeros[..], 3).unwrap(), "more than 200 times its size"),
        ("zeros.zip", zip(&[("a.csv", &zeros)]), "more than 200 times its size"),
        ("rows.xlsx", workbook("xl/worksheets/sheet1.xml", cells), "more than 200 times its size"),
        (
            "cell.xlsx",
            workbook("xl/worksheets/sheet1.xml", one_cell),
            "one of its elements has more than 16777216 bytes",
        ),
        (
            "tags.xlsx",
            workbook("xl/worksheets/sheet1.xml", many_tags),
            "larger or deeper than spreadsheet programs make one",
        ),
        (
            "styles.xlsx",
            workbook("xl/styles.xml", format!("<a b=\"{long}\"/>").repeat(8_000)),
            "larger or deeper",
        ),
        (
            "formats.xlsx",
            workbook("xl/styles.xml", format!("<styleSheet><cellXfs>{}", "<xf/>".repeat(150_000))),
            "more than 140000 cell formats",
        ),
        ("deep.xlsx", workbook("xl/styles.xml", "<a>".repeat(1000)), "larger or deeper"),
    ] {
        let upload = app.load(name, file, "").await;
        assert_eq!(upload["state"], "failed", "{name}: {upload}");
        assert!(upload.to_string().contains(said), "{name}: {said}: {upload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_rows_columns_fields_and_unpacked_bytes_hold() {
    let limits = FilesConfig {
        rows: 100,
        columns: 6,
        field_bytes: 50,
        unpacked_bytes: 100_000,
        ..FilesConfig::default()
    };
    let app = App::start_with(AppOptions { files: limits, ..AppOptions::default() }).await;
    let upload = app.load("rows.csv", files::transactions(101, 1), "").await;
    assert!(upload.to_string().contains("The file has more than 100 rows (MILLRACE_MAX_ROWS)"), "{upload}");
    super::expect_inserted(&app.load("rows.csv", files::transactions(100, 2), "").await, 100);
    let upload = app.load("columns.csv", "id,user,date,amount,a,b,c\n1,2,2025-01-01,3\n", "").await;
    assert!(
        upload.to_string().contains("The file has 7 columns, more than 6 (MILLRACE_MAX_COLUMNS)"),
        "{upload}"
    );
    let wide = [
        Cell::Text("a"),
        Cell::Nothing,
        Cell::Nothing,
        Cell::Nothing,
        Cell::Nothing,
        Cell::Nothing,
        Cell::Text("b"),
    ];
    let upload = app.load("columns.xlsx", Workbook::new().sheet("One", &[row(1, &wide)]).build(), "").await;
    assert!(upload.to_string().contains("a cell in row 1, column 7; more than 6 columns"), "{upload}");
    let name = "x".repeat(51);
    let upload = app.load("name.csv", format!("id,user,date,amount,{name}\n"), "").await;
    assert!(
        upload.to_string().contains(
            "the name of column 5 has 51 bytes, more than the 50 that one may have (MILLRACE_MAX_FIELD_BYTES)"
        ),
        "{upload}"
    );
    let long = format!("l1,7,{},2025-01-15,1", "x".repeat(51));
    let upload = app.load("long.csv", files::rows(&[&long, "l2,7,1,2025-01-15,1"]), "").await;
    assert_eq!(upload["counts"]["inserted"], 1, "{upload}");
    let reject = &rejects(&app, &upload).await[0];
    assert!(reject.contains("field 3 of the record has 51 bytes, more than the 50"), "{reject}");
    let upload = app.load("large.gz", gzip(&files::transactions(5_000, 3)), "").await;
    assert!(
        upload.to_string().contains("unpacks to more than 100000 bytes (MILLRACE_MAX_UNPACKED_BYTES)"),
        "{upload}"
    );
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_refuses_what_a_load_would_as_far_as_it_sees() {
    let limits = FilesConfig { rows: 100, columns: 6, field_bytes: 50, ..FilesConfig::default() };
    let app = App::start_with(AppOptions { files: limits, ..AppOptions::default() }).await;
    let rows: Vec<String> = std::iter::once(row(1, &["id", "user", "date", "amount"].map(Cell::Text)))
        .chain((2..=102).map(|number| row(number, &[Cell::Number("1", 0)])))
        .collect();
    let books = [&rows, &rows[..101].to_vec()].map(|rows| Workbook::new().sheet("One", rows).build());
    let names = |more: &str| format!("id,user,date,amount,{more}\n").into_bytes();
    for (file, said) in [
        (files::transactions(101, 1), "more than 100 rows (MILLRACE_MAX_ROWS)"),
        (books[0].clone(), "more than 100 rows (MILLRACE_MAX_ROWS)"),
        (names("a,b,c"), "7 columns, more than 6 (MILLRACE_MAX_COLUMNS)"),
        (
            names(&"x".repeat(51)),
            "has 51 bytes, more than the 50 that one may have (MILLRACE_MAX_FIELD_BYTES)",
        ),
        (names("a\0"), "it holds a NUL byte"),
        (names("\x01"), "it holds control characters"),
        (names("\"a"), "its quotes do not pair"),
        (b"id,user,date,amount,note\r1,c,2025-01-01,1,x\r".to_vec(), "its lines end with CR alone"),
        (files::transactions(100, 1), ""),
        (books[1].clone(), ""),
    ] {
        let form = multipart::Form::new().part("file", multipart::Part::bytes(file).file_name("file"));
        let (status, preview) = app.send(app.request(Method::POST, "/api/v1/previews").multipart(form)).await;
        assert_eq!(status, StatusCode::CREATED, "{preview}");
        let path = preview["links"]["self"].as_str().unwrap();
        let (status, look) = app.send(app.request(Method::GET, path)).await;
        if said.is_empty() {
            assert_eq!((status, &look["records"]), (StatusCode::OK, &100.into()), "{look}");
        } else {
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}: {look}");
            assert!(look["detail"].as_str().unwrap().contains(said), "{said}: {look}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_a_file_must_fit_it() {
    let app = App::start().await;
    let file = b"No,Who,When,Sum\n\nm1,7,2025-01-15,1\n";
    let mapping = |pairs: &[(&str, MappedColumn)]| {
        pairs.iter().map(|(field, column)| ((*field).to_owned(), column.clone())).collect()
    };
    let named = |name: &str| MappedColumn::Name(name.to_owned());
    let all = [
        ("transaction_id", MappedColumn::Number(0)),
        ("client_id", named("who")),
        ("occurred_at", named("When")),
        ("amount", named("SUM")),
    ];
    let form = FormOptions { mapping: mapping(&all), ..FormOptions::default() };
    super::expect_inserted(&load_as(&app, "mapped.csv", file, form).await, 1);
    for (form, said) in [
        (
            FormOptions { mapping: mapping(&[("amount", named("Total"))]), ..FormOptions::default() },
            "Found: No, Who, When, Sum.",
        ),
        (
            FormOptions {
                mapping: mapping(&[("colour", MappedColumn::Number(1))]),
                ..FormOptions::default()
            },
            "there is no field",
        ),
        (
            FormOptions { header_row: Some(2), ..FormOptions::default() },
            "Line 2 cannot be read as a header: it is blank",
        ),
        (
            FormOptions { header_row: Some(9), ..FormOptions::default() },
            "Line 9 cannot be read as a header: the file ends before it",
        ),
        (FormOptions { header_row: Some(0), ..FormOptions::default() }, "counted from 1"),
        (
            FormOptions { delimiter: Some('x'), ..FormOptions::default() },
            "one of comma, semicolon, tab and bar",
        ),
        (FormOptions { delimiter: Some(';'), ..FormOptions::default() }, "Found: No,Who,When,Sum."),
    ] {
        let upload = load_as(&app, "said.csv", file, form).await;
        assert_eq!(upload["state"], "failed", "{said}: {upload}");
        assert!(upload.to_string().contains(said), "{said}: {upload}");
    }
}
