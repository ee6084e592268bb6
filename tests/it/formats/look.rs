//! A look at a file before it is loaded, and `millrace inspect`.

use super::gzip;
use shared::uploads::{
    UploadKind, UploadOptions,
    model::{FormOptions, MappedColumn},
    preview::{Look, ROWS, look},
};
use std::io::Write;
use tests::{
    App, files,
    processes::millrace,
    workbooks::{Cell, DATE, Workbook, row},
};

async fn look_at(app: &App, kind: UploadKind, content: &[u8], form: FormOptions) -> Look {
    let mut writer = app.env.storage.create("looked-at").await.unwrap();
    writer.write(content).await.unwrap();
    let file = writer.finish().await.unwrap();
    let options = UploadOptions { form, ..UploadOptions::default() };
    look(&app.env, &file.key, file.size_bytes, kind, &options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_shows_form_columns_and_rows_as_they_would_load() {
    let app = App::start().await;
    let file = b"Export\n\nid;user;date;amount;colour\nt1;7; 2025-01-15 10:00:00 ;1.5;red\nt2;7;never;2;\"two\nlines\"\nt3;\"x\"y\nt4;8;2025-01-16;-3;red\n";
    let seen = look_at(&app, UploadKind::Transactions, file, FormOptions::default()).await;
    assert_eq!(
        (seen.format.delimiter, seen.format.header_row, seen.records, seen.counted),
        (';', 3, 4, true)
    );
    assert!(seen.missing.is_empty());
    let fields: Vec<_> = seen.columns.iter().map(|column| (column.name.as_str(), column.field)).collect();
    assert_eq!(fields[2..], [("date", Some("occurred_at")), ("amount", Some("amount")), ("colour", None)]);
    assert_eq!(seen.columns[4].samples, ["red", "two\nlines"]);
    let values = &seen.rows[0].values;
    assert_eq!(values["occurred_at"], "2025-01-15T10:00:00Z");
    assert_eq!(
        (values["amount"].as_str(), values["currency"].as_str(), values["kind"].as_str()),
        ("1.5000", "USD", "payment")
    );
    assert_eq!(seen.rows[3].values["kind"], "refund");
    let faults: Vec<_> =
        seen.rows.iter().map(|row| (row.line, row.fault.as_ref().map(|fault| fault.code))).collect();
    assert_eq!(faults, [(4, None), (5, Some("bad_date")), (7, Some("bad_quoting")), (8, None)]);

    let lacking = look_at(
        &app,
        UploadKind::Transactions,
        b"id,user,date,sum\nt1,7,2025-01-15,1\n",
        FormOptions::default(),
    )
    .await;
    assert_eq!(lacking.missing, ["amount"]);
    assert!(lacking.rows[0].values.is_empty());
    let mapping = [("amount".to_owned(), MappedColumn::Name("Sum".to_owned()))].into();
    let form = FormOptions { mapping, ..FormOptions::default() };
    let mapped =
        look_at(&app, UploadKind::Transactions, b"id,user,date,sum\nt1,7,2025-01-15,1\n", form).await;
    assert_eq!(mapped.rows[0].values["amount"], "1.0000");

    let clients = b"client_id,full name,balance,date of birth\nc1,Ann,10.5,1980-02-03\n";
    let seen = look_at(&app, UploadKind::Clients, clients, FormOptions::default()).await;
    assert_eq!(seen.rows[0].values["opening_balance"], "10.5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_large_file_reads_its_beginning_and_estimates_the_rest() {
    let app = App::start().await;
    let rows = 100_000;
    let text = files::transactions(rows, 5);
    for file in [text.clone(), gzip(&text)] {
        let seen = look_at(&app, UploadKind::Transactions, &file, FormOptions::default()).await;
        assert_eq!(seen.rows.len(), ROWS);
        assert!(!seen.counted);
        assert!((90_000..110_000).contains(&seen.records), "{}", seen.records);
    }
    let legacy = [files::rows(&[]).as_bytes(), b"t,7,M\xfcnchen,2025-01-15,1\n"].concat();
    let seen = look_at(&app, UploadKind::Transactions, &legacy, FormOptions::default()).await;
    assert_eq!(seen.rows[0].values["product_id"], "München");
    assert!(seen.warnings[0].contains("was read as windows-1252"), "{:?}", seen.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_file_is_inspected_without_any_server() {
    let directory = tempfile::tempdir().unwrap();
    let header = ["id", "user", "date", "amount"].map(Cell::Text);
    let first =
        [Cell::Number("1001", 0), Cell::Text("7"), Cell::Number("45688", DATE), Cell::Number("0.1", 0)];
    let book = Workbook::new().sheet("Only", &[row(3, &header), row(4, &first)]).build();
    let path = directory.path().join("a book #1 %20.xlsx");
    std::fs::File::create(&path).unwrap().write_all(&book).unwrap();
    let inspect = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(millrace());
        command.arg("inspect").arg(&path).args(arguments).env_remove("DATABASE_URL").env_remove("REDIS_URL");
        let output = command.output().await.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, shown, said) = inspect(&[]).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(
        shown.starts_with("xlsx file,") && shown.contains("sheet \"Only\", header in line 3, 1 records"),
        "{shown}"
    );
    assert!(shown.contains("amount=0.1000") && shown.contains("occurred_at=2025-01-31T00:00:00Z"), "{shown}");
    let (_, shown, _) = inspect(&["--json"]).await;
    let look: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&look["format"]["container"], &look["rows"][0]["line"]),
        (&"xlsx".into(), &4.into()),
        "{look}"
    );
    let (_, shown, _) = inspect(&["--json", "--records"]).await;
    assert_eq!(shown, "[\"id\",\"user\",\"date\",\"amount\"]\n[\"1001\",\"7\",\"2025-01-31\",\"0.1\"]\n");
    assert_eq!(inspect(&["--records"]).await, (Some(0), shown, String::new()));
    let (code, _, said) = inspect(&["--sheet", "Other"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("The workbook has no sheet \"Other\""), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_would_refuse_is_not_inspected_as_if_it_were_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let noise: Vec<u8> = (0u32..4_000).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let elf = [b"\x7fELF\x02\x01\x01\0\0\0\0\0".as_slice(), &noise].concat();
    let record = b"\x01\x02\x03,\x04\n\x05,\x06\n";
    for (content, records, said) in [
        (elf.as_slice(), true, "Line 1 cannot be read as a header"),
        (&noise, true, "Line 1 cannot be read as a header"),
        (record, true, "it holds control characters"),
        (b"\xf3\r\r\n\0\0\0\0\xe3,\0\n", false, "it holds NUL bytes, and no line of it names"),
        (b"%PDF-1.7\n%\xe2\xe3", true, "a PDF document"),
        (b"", false, "The file is empty"),
        (b"id,user,date\n1,2,2025-01-15\n", false, "it has no column for amount"),
    ] {
        std::fs::write(&path, content).unwrap();
        for arguments in [&[][..], &["--json"], &["--records"]] {
            let mut command = tokio::process::Command::new(millrace());
            let output = command.arg("inspect").arg(&path).args(arguments).output().await.unwrap();
            if arguments == ["--records"] && !records {
                continue;
            }
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {said}: {error}");
            assert!(error.contains(said), "{arguments:?} {said}: {error}");
        }
    }
}
