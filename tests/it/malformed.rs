//! Files as people really have them: good rows load, each bad one is a reject that says where and
//! why, and nothing stops.

use super::uploads::rejects;
use tests::{App, files};

/// Loads one file with a good row before and after `bad`; the code and the column of its reject.
async fn one_bad_row(app: &App, number: usize, bad: &[u8]) -> (String, Option<String>, i64) {
    let mut file = files::rows(&[&format!("a{number},7,1,2025-01-15 10:00:00,1.00")]).into_bytes();
    file.extend_from_slice(bad);
    file.extend_from_slice(format!("\nb{number},7,1,2025-01-15 11:00:00,2.00\n").as_bytes());
    let upload = app.load("bad.csv", file, "").await;
    let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]).into_owned();
    assert_eq!(upload["state"], "finished", "{shown}: {upload}");
    assert_eq!(upload["counts"]["inserted"], 2, "{shown}: {upload}");
    assert_eq!(upload["counts"]["rejected"], 1, "{shown}: {upload}");
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let reject = app
        .db
        .client
        .query_one("SELECT code, column_name, line, raw FROM upload_rejects WHERE upload_id = $1", &[&id])
        .await
        .unwrap();
    let raw: Vec<u8> = reject.get(3);
    assert_eq!(raw.strip_suffix(b"\n").unwrap_or(&raw), bad, "the original bytes are kept");
    (reject.get(0), reject.get(1), reject.get(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_row_is_a_reject_with_line_column_and_reason() {
    let app = App::start().await;
    let long = [b"x,".as_slice(), &vec![b'9'; 1 << 20], b",1,2025-01-15,1"].concat();
    let cases: Vec<(&[u8], &str, Option<&str>)> = vec![
        (b"x,7,1,2025-01-15", "wrong_columns", None),
        (b"x,7,1,2025-01-15,1,extra", "wrong_columns", None),
        (b"x,7,1,15.01.2025,1", "bad_date", Some("timestamp")),
        (b"x,7,1,2025-02-30,1", "bad_date", Some("timestamp")),
        (b"x,7,1,1969-12-31,1", "date_out_of_range", Some("timestamp")),
        (b"x,7,1,9999-01-01,1", "date_out_of_range", Some("timestamp")),
        (b"x,7,1,,1", "missing_value", Some("timestamp")),
        (b"x,7,1,2025-01-15,abc", "bad_number", Some("transaction_amount")),
        (b"x,7,1,2025-01-15,", "missing_value", Some("transaction_amount")),
        (b"x,7,1,2025-01-15,NaN", "bad_number", Some("transaction_amount")),
        (b"x,7,1,2025-01-15,1e40", "number_too_large", Some("transaction_amount")),
        (
            b"x,7,1,2025-01-15,10000000000000000000000000000000000000000",
            "number_too_large",
            Some("transaction_amount"),
        ),
        (b"x,7,1,2025-01-15,1.23456", "too_many_decimals", Some("transaction_amount")),
        (b",7,1,2025-01-15,1", "missing_value", Some("transaction_id")),
        (b"   ,7,1,2025-01-15,1", "missing_value", Some("transaction_id")),
        (b"x,,1,2025-01-15,1", "missing_value", Some("user_id")),
        (b"x,NULL,1,2025-01-15,1", "missing_value", Some("user_id")),
        (b"N/A,7,1,2025-01-15,1", "missing_value", Some("transaction_id")),
        (b"-,7,1,2025-01-15,1", "missing_value", Some("transaction_id")),
        (b"x,--,1,2025-01-15,1", "missing_value", Some("user_id")),
        (b"x,?,1,2025-01-15,1", "missing_value", Some("user_id")),
        (b"x,\xe2\x80\x94,1,2025-01-15,1", "missing_value", Some("user_id")),
        (b"x,7,1,2025-01-15,#REF!", "error_cell", Some("transaction_amount")),
        (b"x,7,1,#N/A,1", "error_cell", Some("timestamp")),
        (b"x,7,1,########,1", "error_cell", Some("timestamp")),
        (b"x,0123456789012345678901234567890123456,1,2025-01-15,1", "too_long", Some("user_id")),
        (b"x\0y,7,1,2025-01-15,1", "nul_byte", None),
        (b"x\xff\xfe,7,\xc3\xa9,2025-01-15,1", "invalid_utf8", None),
        (b"x,\"unclosed,1,2025-01-15,1", "bad_quoting", None),
        (b"x,\"a\"b,1,2025-01-15,1", "bad_quoting", None),
        (&long, "too_long", Some("user_id")),
    ];
    for (number, (bad, code, column)) in cases.into_iter().enumerate() {
        let found = one_bad_row(&app, number, bad).await;
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]);
        assert_eq!((found.0.as_str(), found.1.as_deref(), found.2), (code, column, 3), "{shown}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_byte_order_marks_blank_lines_and_quotes_do_not_matter() {
    let app = App::start().await;
    let file = "\u{feff}transaction_id,user_id,product_id,timestamp,transaction_amount\r\n\
                \"q1\",7,1,\"2025-01-15 10:00:00\",\"1.00\"\r\n\r\n\
                q2 , 7,\"a,\"\"b\"\"\r\nc\",2025-01-15T10:00:00Z, 2.00 \r\n   \r\n\
                q3,7,,2025-01-15 12:00:00,3.00";
    let upload = app.load("crlf.csv", file, "").await;
    assert_eq!(upload["counts"]["read"], 3, "{upload}");
    // A product whose name holds a line end is refused: ids hold no control characters.
    assert_eq!(upload["counts"]["inserted"], 2, "{upload}");
    assert_eq!(upload["counts"]["rejected"], 1, "{upload}");
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let line: i64 = app.db.one("SELECT line FROM upload_rejects WHERE upload_id = $1", &[&id]).await;
    assert_eq!(line, 4);
    assert_eq!(
        app.db.one::<i32>("SELECT source_line FROM transactions WHERE transaction_id = 'q3'", &[]).await,
        7
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_long_for_memory_is_one_reject_among_good_rows() {
    let app = App::start().await;
    let huge = format!("x,{},1,2025-01-15,1", "9".repeat(6 << 20));
    let rows = ["a,7,1,2025-01-15,1", &huge, "b,7,1,2025-01-15,1"];
    let upload = app.load("huge.csv", files::rows(&rows), "").await;
    assert_eq!(upload["counts"]["inserted"], 2, "{upload}");
    assert_eq!(upload["counts"]["rejected"], 1, "{upload}");
    assert!(rejects(&app, &upload).await[0].contains("more than the 4194304"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_rows_or_without_a_usable_header_say_so() {
    let app = App::start().await;
    let header_only = app.load("header.csv", files::rows(&[]), "").await;
    assert_eq!(header_only["state"], "finished", "{header_only}");
    assert_eq!(header_only["counts"]["read"], 0);
    for (content, said) in [
        (&b""[..], "The file is empty"),
        (b"\n\r\n  \n", "The file is empty"),
        (b"transaction_id,when,amount\n1,2,3\n", "no column for client_id, occurred_at"),
        (b"PK\x03\x04\xff\x00rest", "The archive is damaged or cut short"),
        (b"\xff\xfet\0r\0a\0", "no column for transaction_id"),
        (b"transaction_id\tuser_id\n", "Found: transaction_id, user_id."),
        (b"transaction_id\xff,user_\xc3\xa9\n", "Line 1 cannot be read as a header: it is not UTF-8 text"),
        (b"transaction_id\xff,user_id\n", "Found: transaction_id\u{ff}, user_id."),
        (b"a,b\rc,d\r", "its lines end with CR alone"),
        (b"transaction_id,client_id,date,amount,note\r1,c,2025-01-01,1,x\r", "its lines end with CR alone"),
        (b"\"transaction_id,user_id\nrest", "no column for transaction_id"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\0", "The file is a PDF document, which is not read"),
        (b"{\"transaction_id\": 1}\n", "The file is a JSON file"),
        (b"<html><table><tr><td>1</td></tr></table></html>", "The file is an HTML page"),
    ] {
        let upload = app.load("bad.csv", content, "").await;
        assert_eq!(upload["state"], "failed", "{upload}");
        assert!(upload.to_string().contains(said), "{said}: {upload}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_nothing_but_garbage_is_all_rejects() {
    let app = App::start().await;
    let mut garbage = files::rows(&[]).into_bytes();
    let mut state = 1u64;
    for _ in 0..200_000 {
        // A fixed sequence, so that a failure can be seen again.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        garbage.push((state >> 56) as u8);
    }
    let upload = app.load("garbage.csv", garbage, "").await;
    assert_eq!(upload["state"], "finished", "{upload}");
    assert_eq!(upload["counts"]["read"], upload["counts"]["rejected"], "{upload}");
    files::expect_everything_exact(&app.db).await;
}
