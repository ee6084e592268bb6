//! What was rejected comes back in its file's form, is mended, loads, and is linked; rows name where they
//! came from.

use reqwest::{Method, StatusCode, header};
use shared::auth::Role;
use std::io::Read;
use tests::{
    App,
    browser::{Browser, location},
    eventually, files,
    workbooks::{Cell, DATE, Workbook, row},
};

/// The rejects of an upload as a file: its Content-Type, Content-Disposition and bytes.
async fn download(app: &App, upload: &serde_json::Value) -> (String, String, Vec<u8>) {
    let path = format!("/api/v1/uploads/{}/rejects", upload["id"].as_str().unwrap());
    let answer = app.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let text = |name| answer.headers()[&name].to_str().unwrap().to_owned();
    let (kind, named) = (text(header::CONTENT_TYPE), text(header::CONTENT_DISPOSITION));
    (kind, named, answer.bytes().await.unwrap().to_vec())
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_go_out_in_their_files_form_and_come_back_mended() {
    let app = App::start().await;
    let file = latin(
        "id;client_id;date;amount;merchant_id\n1;A;2025-01-01;5.00;Bäcker\n2;A;2025-01-02;viel;Müller\n\
         3;B;2025-01-03;x;\"Söhne; Töchter\"\n4;B;wann;7;Käse\n",
    );
    let first = app.load("märz.csv", file, "").await;
    assert_eq!(
        (&first["counts"]["inserted"], &first["counts"]["rejected"]),
        (&1.into(), &3.into()),
        "{first}"
    );
    let (kind, named, bytes) = download(&app, &first).await;
    assert_eq!(kind, "text/csv; charset=windows-1252");
    assert!(named.contains("m_rz.rejects.csv"), "{named}");
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    assert!(text.starts_with("id;client_id;date;amount;merchant_id;reject_code;reject_reason\n"), "{text}");
    assert!(text.contains("\n3;B;2025-01-03;x;\"Söhne; Töchter\";bad_number;"), "{text}");

    let mended = text.replace(";viel;", ";6.00;").replace(";x;", ";6.50;").replace(";wann;", ";2025-01-04;");
    let second = app.load("mended.csv", latin(&mended), "").await;
    assert_eq!(
        (&second["counts"]["read"], &second["counts"]["inserted"]),
        (&3.into(), &3.into()),
        "{second}"
    );
    assert_eq!(second["corrects"], first["id"], "linked by its header");
    assert_eq!(
        app.db
            .one::<i64>("SELECT count(*) FROM transactions WHERE merchant_id = 'Söhne; Töchter'", &[])
            .await,
        1
    );
    files::expect_everything_exact(&app.db).await;

    let browser = Browser::log_in(&app, Role::Operator).await;
    let (first, second) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    let page = browser.page(&format!("/ui/uploads/{first}")).await;
    assert!(page.contains(&format!("mended by <a href=\"/ui/uploads/{second}\"")), "{page}");
    assert!(page.contains(&format!("/ui/uploads/new?corrects={first}")), "{page}");
    let page = browser.page(&format!("/ui/uploads/{second}")).await;
    assert!(page.contains(&format!("mends <a href=\"/ui/uploads/{first}\"")), "{page}");
    let page = browser.page(&format!("/ui/uploads/new?corrects={first}")).await;
    assert!(page.contains("It brings the mended rejects of"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_utf_16_come_back_in_it() {
    let app = App::start().await;
    let utf16 = |text: &str| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let file = utf16("id\tclient_id\tdate\tamount\n1\tŁódź\t2025-01-01\t5\n2\tŁódź\t2025-01-02\tdużo\n");
    let first = app.load("file.txt", file, "").await;
    assert_eq!(first["counts"]["rejected"], 1, "{first}");
    let (kind, _, bytes) = download(&app, &first).await;
    assert_eq!(kind, "text/csv; charset=utf-16le");
    let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = String::from_utf16(&units).unwrap();
    assert!(
        text.starts_with("\u{feff}id\tclient_id\t") && text.contains("2\tŁódź\t2025-01-02\tdużo\t"),
        "{text}"
    );
    let mended = utf16(&text.replace('\u{feff}', "").replace("dużo", "6"));
    let second = app.load("mended.txt", mended, "").await;
    assert_eq!((&second["counts"]["inserted"], &second["corrects"]), (&1.into(), &first["id"]), "{second}");
    app.db.expect_nothing("SELECT * FROM clients WHERE client_id <> 'Łódź'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_a_workbook_come_back_as_one() {
    let app = App::start().await;
    let texts = |number, cells: [&'static str; 4]| row(number, &cells.map(Cell::Text));
    let rows = [
        texts(1, ["id", "client_id", "date", "amount"]),
        texts(2, ["1", "A", "2025-01-01", "5"]),
        texts(3, ["2", "A & <B>", "2025-01-02", "plenty"]),
        row(4, &[Cell::Number("3", 0), Cell::Text("A"), Cell::Number("45688", DATE), Cell::Text("plenty")]),
    ];
    let first = app.load("file.xlsx", Workbook::new().sheet("Data", &rows).build(), "").await;
    assert_eq!(
        (&first["counts"]["inserted"], &first["counts"]["rejected"]),
        (&1.into(), &2.into()),
        "{first}"
    );
    let (_, named, bytes) = download(&app, &first).await;
    assert!(named.contains("file.rejects.xlsx"), "{named}");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut parts = Vec::new();
    for at in 0..archive.len() {
        let mut part = archive.by_index(at).unwrap();
        let mut text = String::new();
        part.read_to_string(&mut text).unwrap();
        parts.push((part.name().unwrap().into_owned(), text.replace("plenty", "6")));
    }
    let second = app.load("mended.xlsx", tests::workbooks::zip(&parts), "").await;
    assert_eq!((&second["counts"]["inserted"], &second["corrects"]), (&2.into(), &first["id"]), "{second}");
    let days = "SELECT count(*) FROM transactions WHERE occurred_at >= '2025-01-31' AND transaction_id = '3'";
    assert_eq!(app.db.one::<i64>(days, &[]).await, 1, "the date came through");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_file_can_be_linked_by_hand_and_its_rejects_linked_again() {
    let app = App::start().await;
    let first = app.load("one.csv", files::rows(&["a,1,1,2025-01-01,x", "b,1,1,2025-01-01,y"]), "").await;
    let (_, _, bytes) = download(&app, &first).await;
    let text = String::from_utf8(bytes).unwrap().replace(",x,", ",5,");
    let second = app.load("two.csv", text, "").await;
    assert_eq!((&second["corrects"], &second["counts"]["rejected"]), (&first["id"], &1.into()), "{second}");
    let (_, _, bytes) = download(&app, &second).await;
    let third = app.load("three.csv", String::from_utf8(bytes).unwrap().replace(",y,", ",6,"), "").await;
    assert_eq!((&third["corrects"], &third["counts"]["inserted"]), (&second["id"], &1.into()), "{third}");
    let query = format!("?corrects={}", first["id"].as_str().unwrap());
    let by_hand = app.load("four.csv", files::rows(&["c,1,1,2025-01-01,1"]), &query).await;
    assert_eq!(by_hand["corrects"], first["id"], "{by_hand}");
    let nothing = format!("?corrects={}", uuid::Uuid::now_v7());
    let (status, answer) = app.upload("five.csv", files::rows(&["d,1,1,2025-01-01,1"]), &nothing).await;
    assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"corrects".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_names_its_file_its_line_and_its_text() {
    let app = App::start().await;
    let lines = ["p,1,2025-01-01,5,x", "\"q\",1,2025-01-02,6,\"two\nlines\"", "r/1,1,2025-01-03,7,x"];
    let file = format!("id,client_id,date,amount,note\n{}\n", lines.join("\n"));
    let upload = app.load("march.csv", file, "").await;
    let id = upload["id"].as_str().unwrap();
    for (transaction, line, text) in [("p", 2, lines[0]), ("q", 3, lines[1]), ("r%2F1", 5, lines[2])] {
        let row = app.get(&format!("/api/v1/transactions/{transaction}")).await;
        let origin = &row["origin"];
        assert_eq!((&origin["upload_id"], &origin["filename"]), (&id.into(), &"march.csv".into()), "{row}");
        assert_eq!(
            (&origin["line"], &origin["text"], &origin["file"]),
            (&line.into(), &text.into(), &"kept".into())
        );
    }
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page("/ui/transactions/r%2F1").await;
    assert!(page.contains("Line 5 of") && page.contains("r/1,1,2025-01-03,7"), "{page}");
    assert!(browser.page("/ui/transactions").await.contains("href=\"/ui/transactions/r%2F1\""));
    assert_eq!(browser.get("/ui/transactions/none").await.status(), StatusCode::NOT_FOUND);
    app.db.client.execute("UPDATE uploads SET files_removed_at = now()", &[]).await.unwrap();
    let row = app.get("/api/v1/transactions/p").await;
    assert_eq!(
        (&row["origin"]["file"], &row["origin"]["text"]),
        (&"removed".into(), &serde_json::Value::Null)
    );
    assert!(browser.page("/ui/transactions/p").await.contains("The file was removed by now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_moved_names_both_uploads() {
    let app = App::start().await;
    let header = "transaction_id,client_id,date,amount,status\n";
    app.load("pending.csv", format!("{header}m,A,2025-01-01,5,pending\n"), "").await;
    let settled = app.load("settled.csv", format!("{header}m,A,2025-01-01,5,success\n"), "").await;
    let row = app.get("/api/v1/transactions/m").await;
    assert_eq!(row["origin"]["filename"], "pending.csv", "{row}");
    let moved = row["moved_from_pending_by"].as_str().unwrap();
    assert!(moved.ends_with(settled["id"].as_str().unwrap()), "{row}");
    let browser = Browser::log_in(&app, Role::Viewer).await;
    assert!(browser.page("/ui/transactions/m").await.contains("settled.csv</a> brought its final status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_asks_first_is_audited_and_reported() {
    let app = App::start().await;
    let upload = app.load("one.csv", files::transactions(300, 9), "").await;
    let id = upload["id"].as_str().unwrap();
    let browser = Browser::log_in(&app, Role::Operator).await;
    let path = format!("/ui/uploads/{id}");
    let asked = browser.post(&format!("{path}/undo"), &[("csrf_token", &browser.csrf)]).await;
    assert_eq!(asked.status(), StatusCode::OK);
    let asked = asked.text().await.unwrap();
    assert!(asked.contains("Undo the upload of one.csv?") && asked.contains("Take 300 rows back"), "{asked}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads WHERE undo_run_id IS NOT NULL", &[]).await, 0);

    let done =
        browser.post(&format!("{path}/undo"), &[("csrf_token", &browser.csrf), ("confirmed", "yes")]).await;
    assert_eq!(location(&done), format!("{path}?notice=undoing"));
    let (app_, api) = (&app, format!("/api/v1/uploads/{id}"));
    let api = &api;
    let page = browser.page(&path).await;
    assert!(page.contains("its rows were taken back"), "the button for a retry says why not: {page}");
    let undone = eventually("the undo", || async move {
        let upload = app_.get(api).await;
        (upload["state"] == "undone").then_some(upload)
    })
    .await;
    assert_eq!(
        (&undone["undo_report"]["transactions"], &undone["undoing"]),
        (&300.into(), &false.into()),
        "{undone}"
    );
    let (status, refused) =
        app.post(&format!("/api/v1/runs/{}/retry", undone["run_id"].as_str().unwrap())).await;
    assert_eq!(
        (status, &refused["type"]),
        (StatusCode::CONFLICT, &"urn:millrace:problem:upload-undone".into())
    );
    let page = browser.page(&path).await;
    assert!(page.contains("It was undone.") && page.contains("Rows taken back"), "{page}");
    assert!(page.contains("It was undone already."), "the button says why not: {page}");
    let (status, refused) = app.post(&format!("{api}/undo")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["detail"], "It was undone already.");
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'upload.undo' AND subject = $1";
    assert_eq!(app.db.one::<i64>(audited, &[&id]).await, 1);
    let viewer = app.token(Role::Viewer).await;
    let request = app.anonymous(Method::POST, &format!("{api}/undo")).bearer_auth(viewer);
    assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_file_is_read_as_the_one_that_it_mends() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\nA,Ann\n", "?kind=clients").await;
    let file = "Number;Who;When;Much\n1;A;2025-07-01 12:00:00;1\n2;A;2025-07-01 12:00:00;1;5\n3;nobody;2025-07-01;1\n";
    let mapping = "mapping=%7B%22transaction_id%22:%22Number%22,%22client_id%22:%22Who%22,%22occurred_at%22:%22When%22,%22amount%22:%22Much%22%7D";
    let query = format!("?zone=Europe/Berlin&unknown_clients=reject&{mapping}");
    let first = app.load("file.csv", file, &query).await;
    assert_eq!(
        (&first["counts"]["inserted"], &first["counts"]["rejected"]),
        (&1.into(), &2.into()),
        "{first}"
    );
    let mended = "Number;Who;When;Much;reject_code;reject_reason\n2;A;2025-07-01 12:00:00;1.5;x;y\n3;nobody;2025-07-01;1;x;y\n";
    let second =
        app.load("mended.csv", mended, &format!("?corrects={}", first["id"].as_str().unwrap())).await;
    assert_eq!(
        (&second["counts"]["inserted"], &second["counts"]["rejected"]),
        (&1.into(), &1.into()),
        "{second}"
    );
    let times: i64 = app.db.one("SELECT count(DISTINCT occurred_at) FROM transactions", &[]).await;
    assert_eq!(times, 1, "both are noon in Berlin");
    app.db.expect_nothing("SELECT * FROM clients WHERE stub").await;
    // Linked by its header alone, it keeps its own settings, and says so; only its columns are mapped as
    // before, since their names say nothing.
    let third = app.load("linked.csv", mended.replace("3;nobody", "4;A"), "").await;
    assert_eq!(third["corrects"], second["id"], "{third}");
    assert_eq!(third["counts"]["inserted"], 1, "{third}");
    let warning = |at: usize| third["warnings"][at].as_str().unwrap_or_default().to_owned();
    assert!(warning(0).contains("mapped as in mended.csv"), "{third}");
    assert!(warning(1).contains("another unknown_clients, zone."), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_too_many_fields_comes_back_field_by_field() {
    let app = App::start().await;
    let wide = vec!["w"; 150].join(";");
    let file = format!(
        "id;client_id;date;amount\n1;A;2025-01-01;1;5\n2;A;2025-01-02;2\n3;\"B; C\";2025-01-03;1;\"2;3\";4\n4;A;2025-01-04;x\n5;A\n{wide}\n"
    );
    let first = app.load("file.csv", file, "").await;
    assert_eq!(
        (&first["counts"]["inserted"], &first["counts"]["rejected"]),
        (&1.into(), &5.into()),
        "{first}"
    );
    let text = String::from_utf8(download(&app, &first).await.2).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "id;client_id;date;amount;;;reject_code;reject_reason");
    for (line, cells) in [
        (1, "1;A;2025-01-01;1;5;;wrong_columns;"),
        (2, "3;\"B; C\";2025-01-03;1;\"2;3\";4;wrong_columns;"),
        (3, "4;A;2025-01-04;x;;;bad_number;"),
        (4, "5;A;;;;;wrong_columns;"),
    ] {
        assert!(lines[line].starts_with(cells), "{cells}: {text}");
    }
    assert!(lines[5].starts_with(&format!("\"{wide}\";;;;;;wrong_columns;")), "{text}");

    // The cells are put right, and the rest goes; one stays wrong.
    let mended = text
        .replace(";1;5;;wrong", ";1.5;;;wrong")
        .replace(";1;\"2;3\";4;wrong", ";1.23;;;wrong")
        .replace("5;A;;;", "5;A;2025-01-05;7;");
    let mended = &mended[..mended.find(&wide).unwrap() - 1];
    let second = app.load("mended.csv", mended.to_owned(), "").await;
    assert_eq!(
        (&second["counts"]["inserted"], &second["counts"]["rejected"], &second["corrects"]),
        (&3.into(), &1.into(), &first["id"]),
        "{second}"
    );
    let amounts: String = app
        .db
        .one("SELECT string_agg(amount::text, ' ' ORDER BY transaction_id) FROM transactions", &[])
        .await;
    assert_eq!(amounts, "1.5000 2.0000 1.2300 7.0000");
    // What is left needs no nameless columns any more.
    let text = String::from_utf8(download(&app, &second).await.2).unwrap();
    assert!(
        text.starts_with("id;client_id;date;amount;reject_code;reject_reason\n4;A;2025-01-04;x;bad_"),
        "{text}"
    );
    let third = app.load("last.csv", text.replace(";x;", ";4;"), "").await;
    assert_eq!((&third["counts"]["inserted"], &third["corrects"]), (&1.into(), &second["id"]), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_right_of_a_sheets_header_come_back_each_by_itself() {
    let app = App::start().await;
    let texts = |number, cells: [&'static str; 6]| row(number, &cells.map(Cell::Text));
    let rows = [
        texts(1, ["id", "client_id", "date", "amount", "", ""]),
        texts(2, ["1", "A", "2025-01-02", "plenty", "a, note", "another"]),
    ];
    let upload = app.load("file.xlsx", Workbook::new().sheet("Data", &rows).build(), "").await;
    assert_eq!(upload["counts"]["rejected"], 1, "{upload}");
    let (_, _, bytes) = download(&app, &upload).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rejects.xlsx");
    std::fs::write(&path, bytes).unwrap();
    let mut command = tokio::process::Command::new(tests::processes::millrace());
    let output = command.arg("inspect").arg(&path).arg("--records").output().await.unwrap();
    let records = String::from_utf8(output.stdout).unwrap();
    let expected = "[\"id\",\"client_id\",\"date\",\"amount\",\"\",\"\",\"reject_code\",\"reject_reason\"]\n\
                    [\"1\",\"A\",\"2025-01-02\",\"plenty\",\"a, note\",\"another\",\"bad_number\",";
    assert!(records.starts_with(expected), "{records}");
}
