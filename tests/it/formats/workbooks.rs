//! Workbooks: cells become what people see, a row's number stays its line.

use super::{expect_inserted, load_as, planned};
use shared::uploads::model::FormOptions;
use tests::{
    App, files,
    workbooks::{Cell, DATE, DATE_TIME, Workbook, row},
};

const HEADER: [Cell; 5] = [
    Cell::Text("Transaction ID"),
    Cell::Text("Client ID"),
    Cell::Text("Product ID"),
    Cell::Text("Date"),
    Cell::Text("Amount"),
];

fn simple(number: u32, id: &'static str) -> String {
    row(
        number,
        &[Cell::Text(id), Cell::Text("7"), Cell::Nothing, Cell::Text("2025-01-15"), Cell::Number("1.5", 0)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_load_as_people_see_them_and_rejects_name_the_sheets_row() {
    let app = App::start().await;
    let sum = Cell::Raw("", "<f>1+2</f><v>3</v>");
    let sheet = [
        row(1, &[Cell::Text("Report")]),
        row(4, &HEADER),
        row(
            5,
            &[
                Cell::Number("100045", 0),
                Cell::Number("7", 0),
                Cell::Text("two\nlines"),
                Cell::Number("45688.586875", DATE_TIME),
                Cell::Number("0.30000000000000004", 0),
            ],
        ),
        row(
            6,
            &[Cell::Number("1.00046E5", 0), Cell::Text("8"), Cell::Nothing, Cell::Number("45688", DATE), sum],
        ),
        // Below a blank row: an error, an uncomputed formula, a date that is none, and an error of a newer kind.
        row(
            8,
            &[
                Cell::Text("e1"),
                Cell::Text("7"),
                Cell::Nothing,
                Cell::Number("45688", DATE),
                Cell::Raw("t=\"e\"", "<v>#N/A</v>"),
            ],
        ),
        row(
            9,
            &[
                Cell::Text("e2"),
                Cell::Text("7"),
                Cell::Nothing,
                Cell::Number("45688", DATE),
                Cell::Raw("", "<f>A1*2</f>"),
            ],
        ),
        row(
            10,
            &[Cell::Text("e3"), Cell::Text("7"), Cell::Nothing, Cell::Text("soon"), Cell::Number("1", 0)],
        ),
        row(
            11,
            &[
                Cell::Text("e4"),
                Cell::Text("7"),
                Cell::Nothing,
                Cell::Number("45688", DATE),
                Cell::Raw("t=\"e\"", "<v>#SPILL!</v>"),
            ],
        ),
        row(
            12,
            &[
                Cell::Text("g3"),
                Cell::Text("TRUE & <co>"),
                Cell::Nothing,
                Cell::Raw("t=\"d\"", "<v>2025-01-31T10:00:00</v>"),
                Cell::Raw("t=\"str\"", "<f>T(1)</f><v>12.50</v>"),
                Cell::Text("a remark"),
            ],
        ),
        row(
            13,
            &[
                Cell::Raw("t=\"s\"", "<v>0</v>"),
                Cell::Raw("t=\"s\"", "<v>1</v>"),
                Cell::Raw("t=\"b\"", "<v>1</v>"),
                Cell::Number("45688", DATE),
                Cell::Number("-2", 0),
            ],
        ),
    ];
    let strings = r#"<sst uniqueCount="2"><si><t>shared</t></si><si><r><t>ri</t></r><r><rPr><b/></rPr><t>ch</t></r></si></sst>"#;
    let file = Workbook::new().sheet("Data", &sheet).part("xl/sharedStrings.xml", strings).build();
    let upload = app.load("cells.xlsx", file, "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(upload["counts"]["inserted"], 3, "{upload}");
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let rejects = app
        .db
        .client
        .query("SELECT line, code, message FROM upload_rejects WHERE upload_id = $1 ORDER BY line", &[&id])
        .await
        .unwrap();
    let rejects: Vec<(i64, String)> = rejects.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        (5, "control_character"),
        (8, "error_cell"),
        (9, "missing_value"),
        (10, "bad_date"),
        (11, "error_cell"),
    ];
    assert_eq!(rejects, expected.map(|(line, code)| (line, code.to_owned())));
    let rows = app
        .db
        .client
        .query("SELECT transaction_id, client_id, coalesce(product_id, ''), occurred_at::text, amount::text, source_line FROM transactions ORDER BY source_line", &[])
        .await
        .unwrap();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{}|{}|{}|{}|{}|{}",
                row.get::<_, String>(0),
                row.get::<_, String>(1),
                row.get::<_, String>(2),
                row.get::<_, String>(3),
                row.get::<_, String>(4),
                row.get::<_, i32>(5)
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "100046|8||2025-01-31 00:00:00+00|3.0000|6",
            "g3|TRUE & <co>||2025-01-31 10:00:00+00|12.5000|12",
            "shared|rich|TRUE|2025-01-31 00:00:00+00|2.0000|13",
        ]
    );
    let (format, _, warnings) = planned(&app, &upload).await;
    assert_eq!((&format["sheet"], &format["header_row"]), (&"Data".into(), &4.into()), "{format}");
    assert!(warnings.contains("Formulas without a computed value: 1."), "{warnings}");
    assert!(warnings.contains("Rows with cells right of the header's last column: 1."), "{warnings}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_of_1904_and_merged_cells_are_read_as_shown() {
    let app = App::start().await;
    let dated = |number: u32, id| {
        row(
            number,
            &[
                Cell::Text(id),
                Cell::Text("7"),
                Cell::Text("p"),
                Cell::Number("44226.25", DATE_TIME),
                Cell::Number("9", 0),
            ],
        )
    };
    let xml = format!(
        r#"<sheetData>{}{}{}</sheetData><mergeCells count="1"><mergeCell ref="C2:C3"/></mergeCells>"#,
        row(1, &HEADER),
        dated(2, "d1"),
        dated(3, "d2").replacen("<row ", "<row hidden=\"1\" ", 1)
    );
    let upload =
        app.load("1904.xlsx", Workbook::new().from_1904().sheet_xml("One", true, &xml).build(), "").await;
    expect_inserted(&upload, 2);
    let warnings = planned(&app, &upload).await.2;
    assert!(warnings.contains("Merged ranges of the sheet: 1."), "{warnings}");
    assert!(warnings.contains("Hidden rows of the sheet (by a filter, or by hand): 1."), "{warnings}");
    let row = app
        .db
        .client
        .query(
            "SELECT occurred_at::text || coalesce(product_id, '-') FROM transactions ORDER BY transaction_id",
            &[],
        )
        .await
        .unwrap();
    let read: Vec<String> = row.iter().map(|row| row.get(0)).collect();
    assert_eq!(read, ["2025-01-31 06:00:00+00p", "2025-01-31 06:00:00+00-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_is_named_or_the_first_visible_one_with_cells() {
    let app = App::start().await;
    let xml = |id| format!("<sheetData>{}{}</sheetData>", row(1, &HEADER), simple(2, id));
    let book = |tag: &'static str, ids: [&'static str; 3]| {
        Workbook::new()
            .sheet_xml("Hidden", false, &xml(ids[0]))
            .sheet_xml("Empty", true, "<sheetData/>")
            .sheet_xml("Rows", true, &xml(ids[1]))
            .sheet_xml("2024", true, &xml(ids[2]))
            .part("docProps/tag.xml", tag)
            .build()
    };
    let wanted = |sheet: &str| FormOptions { sheet: Some(sheet.to_owned()), ..FormOptions::default() };
    let upload = app.load("sheets.xlsx", book("<a/>", ["h", "r", "y"]), "").await;
    let (format, _, warnings) = planned(&app, &upload).await;
    assert_eq!(format["sheet"], "Rows", "{format}");
    assert_eq!(format["sheets"], serde_json::json!(["Hidden", "Empty", "Rows", "2024"]));
    assert!(warnings.contains("has 4 sheets"), "{warnings}");
    for (sheet, found) in [("2024", "2024"), ("rows", "Rows"), ("1", "Hidden"), (" 4 ", "2024")] {
        let upload = load_as(&app, "sheets.xlsx", &book("<a/>", ["h", "r", "y"]), wanted(sheet)).await;
        assert_eq!(planned(&app, &upload).await.0["sheet"], found, "{upload}");
    }
    for (sheet, said) in
        [("Colour", "The workbook has no sheet"), ("5", "(hidden)"), ("Empty", "The file is empty")]
    {
        let upload = load_as(&app, "sheets.xlsx", &book("<a/>", ["h", "r", "y"]), wanted(sheet)).await;
        assert!(upload.to_string().contains(said), "{sheet}: {upload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_of_many_rows_loads_in_chunks() {
    let app = App::start().await;
    let mut xml = String::from("<sheetData>");
    xml.push_str(&row(1, &HEADER));
    for number in 2..=5_001 {
        // Without places, as some programs write.
        xml += &format!(
            "<row><c><v>{number}</v></c><c><v>7</v></c><c/><c s=\"1\"><v>45688</v></c><c><v>{number}.25</v></c></row>"
        );
    }
    xml.push_str("</sheetData>");
    let upload = app.load("many.xlsx", Workbook::new().sheet_xml("One", true, &xml).build(), "").await;
    expect_inserted(&upload, 5_000);
    assert_eq!(upload["counts"]["chunks"], 5, "{upload}");
    let sum: String = app.db.one("SELECT sum(amount)::text FROM transactions", &[]).await;
    assert_eq!(sum, "12508750.0000");
    assert_eq!(app.db.one::<i32>("SELECT max(source_line) FROM transactions", &[]).await, 5_001);
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cell_cannot_keep_is_never_an_id() {
    let app = App::start().await;
    let cells =
        |id: Cell, client: Cell| [id, client, Cell::Nothing, Cell::Text("2025-01-15"), Cell::Number("1", 0)];
    let sheet = [
        row(1, &HEADER),
        row(2, &cells(Cell::Number("123456789012345678", 0), Cell::Text("7"))),
        row(3, &cells(Cell::Text("b"), Cell::Raw("t=\"e\"", "<v>#N/A</v>"))),
        row(4, &cells(Cell::Text("123456789012345678"), Cell::Text("#7"))),
    ];
    let book = Workbook::new().sheet("Sheet1", &sheet).build();
    let upload = load_as(&app, "ids.xlsx", &book, FormOptions::default()).await;
    assert_eq!(
        (&upload["counts"]["inserted"], &upload["counts"]["rejected"]),
        (&1.into(), &2.into()),
        "{upload}"
    );
    app.db.expect_nothing("SELECT * FROM upload_rejects WHERE code <> 'error_cell'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_different_texts_load_and_too_many_are_refused() {
    let app = App::start().await;
    let (rows, texts) = (20_000u32, 10);
    let mut xml = String::from("<sheetData><row r=\"1\">");
    for name in ["id", "user", "date", "amount"] {
        xml.push_str(&format!("<c t=\"inlineStr\"><is><t>{name}</t></is></c>"));
    }
    xml.push_str("</row>");
    let mut strings = format!("<sst uniqueCount=\"{}\">", rows * texts);
    for row in 0..rows {
        xml.push_str(&format!("<row r=\"{}\">", row + 2));
        for column in 0..texts {
            // The first feeds the id, the others lie right of the header.
            if column == 1 {
                xml.push_str(
                    "<c><v>7</v></c><c t=\"inlineStr\"><is><t>2025-01-15</t></is></c><c><v>1.5</v></c>",
                );
            }
            let number = row * texts + column;
            xml.push_str(&format!("<c t=\"s\"><v>{number}</v></c>"));
            strings.push_str(&format!("<si><t>text {number}</t></si>"));
        }
        xml.push_str("</row>");
    }
    xml.push_str("</sheetData>");
    strings.push_str("</sst>");
    let book = Workbook::new().sheet_xml("One", true, &xml).part("xl/sharedStrings.xml", strings);
    let upload = load_as(&app, "texts.xlsx", &book.build(), FormOptions::default()).await;
    expect_inserted(&upload, rows as usize);
    let last = format!("text {}", (rows - 1) * texts);
    let found = "SELECT count(*) FROM transactions WHERE transaction_id = $1";
    assert_eq!(app.db.one::<i64>(found, &[&last]).await, 1);

    let strings = format!("<sst>{}</sst>", "<si/>".repeat(2_100_000));
    let book = Workbook::new().sheet("One", &[row(1, &HEADER)]).part("xl/sharedStrings.xml", strings);
    let upload = load_as(&app, "too many.xlsx", &book.build(), FormOptions::default()).await;
    let failure = upload["failure"].as_str().unwrap();
    assert!(failure.contains("more than the 96 MiB of memory") && failure.contains("as CSV"), "{upload}");
}
