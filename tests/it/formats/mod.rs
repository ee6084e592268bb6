//! Files in every form that people have: what can be read loads whole and exact, what cannot says why.

mod compared;
mod look;
mod planning;
mod refused;
mod workbooks;

use serde_json::Value;
use shared::uploads::{
    NewUpload, UploadKind, UploadOptions, accept_upload, model::FormOptions, service::storage_key,
};
use std::io::Write;
use tests::{App, files, workbooks::zip};

/// Loads a file of which something is said; the upload.
pub async fn load_as(app: &App, name: &str, content: &[u8], form: FormOptions) -> Value {
    let mut writer = app.env.storage.create(&storage_key()).await.unwrap();
    writer.write(content).await.unwrap();
    let new = NewUpload {
        kind: UploadKind::Transactions,
        filename: name.to_owned(),
        file: writer.finish().await.unwrap(),
        options: UploadOptions { form, ..UploadOptions::default() },
        forced: true,
        created_by: "test".to_owned(),
        corrects: None,
        idempotency_key: None,
    };
    let mut conn = app.env.pool.get().await.unwrap();
    let accepted = accept_upload(&mut conn, &new).await.unwrap();
    app.env.doorbells.ring(shared::runs::Queue::Ingest, 1);
    app.ended(&accepted.upload.id.to_string()).await
}

/// What the planner stored of an upload: format, whether there is a text, warnings.
pub async fn planned(app: &App, upload: &Value) -> (Value, bool, String) {
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let row = app
        .db
        .client
        .query_one(
            "SELECT format, text_key IS NOT NULL, array_to_string(warnings, '; ') FROM uploads WHERE id = $1",
            &[&id],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// Fails unless this many rows were inserted and nothing was rejected.
#[track_caller]
pub fn expect_inserted(upload: &Value, rows: usize) {
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(upload["counts"]["inserted"], rows, "{upload}");
    assert_eq!(upload["counts"]["read"], rows, "{upload}");
}

/// A text compressed by gzip.
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delimiter_loads_without_being_named() {
    let app = App::start().await;
    for (seed, delimiter) in [(11, ';'), (12, '\t'), (13, '|'), (14, ',')] {
        let file = String::from_utf8(files::transactions(2_500, seed)).unwrap();
        let ours: String = file
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let line = if at > 0 {
                    line.replacen(char::is_alphanumeric, &format!("{seed}x"), 1)
                } else {
                    line.to_owned()
                };
                line.replace(',', &delimiter.to_string()) + "\r\n"
            })
            .collect();
        let upload = app.load("any.csv", ours, "").await;
        expect_inserted(&upload, 2_500);
        assert_eq!(upload["counts"]["chunks"], 3, "{upload}");
        let (format, converted, warnings) = planned(&app, &upload).await;
        assert_eq!(format["delimiter"], delimiter.to_string(), "{format}");
        assert!(!converted && warnings.is_empty(), "a plain file is its own text: {warnings}");
    }
    let titled = "sep=;\nExport of;2025-01-31\n\n\"Transaction ID\";Client ID;Date;Amount\ns1;7;2025-01-15;1,5\ns2;7;2025-01-15;2.5\n";
    let upload = app.load("titled.csv", titled, "").await;
    assert_eq!(upload["counts"]["inserted"], 1, "{upload}");
    assert_eq!(planned(&app, &upload).await.0["header_row"], 4);
    let reject = &super::uploads::rejects(&app, &upload).await[0];
    assert!(reject.contains("1,5"), "{reject}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_loads_to_the_same_letters() {
    let app = App::start().await;
    let text = |id: &str| {
        files::rows(&[&format!("{id},7,Zoë čeká,2025-01-15,1.00"), &format!("{id}2,8,東京,2025-01-15,2.00")])
    };
    let marked = |mark: u16| move |text: &str| format!("{}{text}", char::from_u32(mark.into()).unwrap());
    let bom = marked(0xfeff);
    for (name, file, encoding) in [
        ("utf-8 with a mark", bom(&text("a")).into_bytes(), "UTF-8"),
        ("utf-16le with a mark", utf16(&bom(&text("b")), u16::to_le_bytes), "UTF-16LE"),
        ("utf-16be with a mark", utf16(&bom(&text("c")), u16::to_be_bytes), "UTF-16BE"),
        ("utf-16le", utf16(&text("d"), u16::to_le_bytes), "UTF-16LE"),
        ("utf-16be", utf16(&text("e"), u16::to_be_bytes), "UTF-16BE"),
        ("utf-16le in gzip", gzip(&utf16(&text("f"), u16::to_le_bytes)), "UTF-16LE"),
    ] {
        let upload = app.load(name, file, "").await;
        expect_inserted(&upload, 2);
        assert_eq!(planned(&app, &upload).await.0["encoding"], encoding, "{name}");
    }
    let products: i64 =
        app.db.one("SELECT count(*) FROM transactions WHERE product_id IN ('Zoë čeká', '東京')", &[]).await;
    assert_eq!(products, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_encoding_is_found_even_if_its_first_accent_is_far_below() {
    let app = App::start_with(tests::AppOptions { chunk_records: 50_000, ..Default::default() }).await;
    let mut file = files::rows(&[]).into_bytes();
    let rows = 60_000;
    for row in 0..rows {
        file.extend_from_slice(format!("w{row:06},7,product,2025-01-15 10:00:00,1.00\n").as_bytes());
    }
    assert!(file.len() > 2 << 20);
    file.extend_from_slice(b"last,7,M\xfcnchner Stra\xdfe \x80,2025-01-15 10:00:00,1.00\n");
    let upload = app.load("old.csv", file.clone(), "").await;
    expect_inserted(&upload, rows + 1);
    let (format, converted, warnings) = planned(&app, &upload).await;
    assert_eq!(format["encoding"], "windows-1252", "{format}");
    assert!(converted && warnings.contains("was read as windows-1252"), "{warnings}");
    let product: String =
        app.db.one("SELECT product_id FROM transactions WHERE transaction_id = 'last'", &[]).await;
    assert_eq!(product, "Münchner Straße €");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_encoding_is_not_doubted() {
    let app = App::start().await;
    let named =
        |encoding: &str| FormOptions { encoding: Some(encoding.to_owned()), ..FormOptions::default() };
    let file =
        [files::rows(&["o1,7,plain,2025-01-15,1"]).as_bytes(), b"o2,7,\xe8\xe9,2025-01-15,1\n"].concat();
    let upload = load_as(&app, "said.csv", &file, named("utf-8")).await;
    assert_eq!(upload["counts"]["inserted"], 1, "{upload}");
    let reject = &super::uploads::rejects(&app, &upload).await[0];
    assert!(reject.contains("encoding=windows-1252"), "{reject}");
    let upload = load_as(&app, "said.csv", &file, named("ISO-8859-2")).await;
    assert_eq!(upload["counts"]["inserted"], 1, "{upload}");
    let product: String =
        app.db.one("SELECT product_id FROM transactions WHERE transaction_id = 'o2'", &[]).await;
    assert_eq!(product, "čé");
    let odd = load_as(
        &app,
        "odd.csv",
        &[
            b"\xff\xfe".as_slice(),
            &utf16(&files::rows(&["o3,7,\u{1F600},2025-01-15,1"]), u16::to_le_bytes)[..],
            b"\x00\xd8\n\x00",
        ]
        .concat(),
        FormOptions::default(),
    )
    .await;
    assert!(planned(&app, &odd).await.2.contains("1 places in the file are not UTF-16LE"), "{odd}");
    let upload = load_as(&app, "said.csv", &file, named("klingon")).await;
    assert!(upload.to_string().contains("There is no encoding \\\"klingon\\\""), "{upload}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_files_load_as_what_is_in_them() {
    let app = App::start().await;
    let part = |seed| {
        let rows = String::from_utf8(files::transactions(1_500, seed)).unwrap();
        let rows: Vec<String> = rows.lines().skip(1).map(|row| format!("{seed}-{row}")).collect();
        files::rows(&rows.iter().map(String::as_str).collect::<Vec<_>>()).into_bytes()
    };
    let half = |text: &[u8]| text.iter().position(|byte| *byte == b'9').unwrap();
    let text = part(21);
    // Two members, as `cat one.gz two.gz` makes them, cut anywhere.
    let gz = [gzip(&text[..half(&text)]), gzip(&text[half(&text)..])].concat();
    let noise: [(&str, &[u8]); 4] = [
        ("data/", b""),
        ("data/rows.csv", &part(22)),
        ("__MACOSX/._rows.csv", b"x"),
        ("data/.DS_Store", b"x"),
    ];
    for (name, file, container) in [
        ("two.csv.gz", gz, "gzip"),
        ("no-name-at-all", zip(&noise), "zip"),
        ("rows.zst", zstd::encode_all(&part(23)[..], 3).unwrap(), "zstd"),
    ] {
        let upload = app.load(name, file, "").await;
        expect_inserted(&upload, 1_500);
        let (format, converted, _) = planned(&app, &upload).await;
        assert_eq!(format["container"], container);
        assert!(converted);
        if container == "zip" {
            assert_eq!(format["member"], "data/rows.csv");
        }
    }
    files::expect_everything_exact(&app.db).await;
}
