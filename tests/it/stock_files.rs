//! Files of stocks: what is listed, what is a duplicate, a conflict or a reject, and that none is taken back.

use reqwest::{Method, StatusCode, multipart};
use serde_json::Value;
use shared::{
    auth::Role,
    uploads::{UploadKind, UploadOptions, model::OnError},
};
use tests::{
    App, AppOptions,
    browser::{Browser, location},
    workbooks::{Cell, Workbook, row},
};

const HEADER: &str = "ticker,name,currency,open_price,close_price,high,low,volume\n";
const APPLE: &str = "AAPL,Apple Inc.,USD,150.00,155.00,156.00,149.00,1000000\n";
const ALLIANZ: &str = "ALV,Allianz SE,EUR,240.1,239.95,241,238.5,50000\n";

async fn load(app: &App, name: &str, content: impl Into<Vec<u8>>) -> Value {
    app.load(name, content, "?kind=stocks").await
}

/// Inserted, duplicates, conflicts, rejected.
fn counts(upload: &Value) -> [i64; 4] {
    ["inserted", "duplicates", "conflicts", "rejected"].map(|name| upload["counts"][name].as_i64().unwrap())
}

/// All stocks, by ticker, as lines of a file; with what can be bought of each.
async fn stocks(app: &App) -> String {
    let sql = "SELECT coalesce(string_agg(concat_ws(',', ticker, coalesce(name, '-'), currency, open_price, close_price,
                   high, low, listed_volume, volume), E'\\n' ORDER BY ticker), '') FROM stocks";
    app.db.one(sql, &[]).await
}

/// The rejects of an upload: line, column, code and message.
async fn rejects(app: &App, upload: &Value) -> Vec<(i64, Option<String>, String, String)> {
    let id: uuid::Uuid = upload["id"].as_str().unwrap().parse().unwrap();
    let sql =
        "SELECT line, column_name, code, message FROM upload_rejects WHERE upload_id = $1 ORDER BY line";
    let rows = app.db.client.query(sql, &[&id]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stocks_are_listed_from_text_and_from_a_workbook_under_the_names_that_people_use() {
    let app = App::start().await;
    let text = load(&app, "stocks.csv", format!("{HEADER}{APPLE}{ALLIANZ}")).await;
    assert_eq!((&text["kind"], &text["state"]), (&"stocks".into(), &"finished".into()), "{text}");
    assert_eq!(counts(&text), [2, 0, 0, 0], "{text}");
    let header = ["Symbol", "Company", "Open", "Close", "High", "Low", "Volume", "Sector"].map(Cell::Text);
    let cells = [
        Cell::Text("MSFT"),
        Cell::Nothing,
        Cell::Number("410.25", 0),
        Cell::Number("4.12E2", 0),
        Cell::Number("415", 0),
        Cell::Number("409.9999", 0),
        Cell::Number("2E6", 0),
        Cell::Text("software"),
    ];
    let sheet = Workbook::new().sheet("Prices", &[row(1, &header), row(2, &cells)]).build();
    let sheet = load(&app, "stocks.xlsx", sheet).await;
    assert_eq!(counts(&sheet), [1, 0, 0, 0], "{sheet}");
    let warnings = sheet["warnings"].to_string();
    assert!(warnings.contains("prices are in the default one") && warnings.contains("Sector"), "{warnings}");
    assert_eq!(
        stocks(&app).await,
        "AAPL,Apple Inc.,USD,150.0000,155.0000,156.0000,149.0000,1000000,1000000\n\
         ALV,Allianz SE,EUR,240.1000,239.9500,241.0000,238.5000,50000,50000\n\
         MSFT,-,USD,410.2500,412.0000,415.0000,409.9999,2000000,2000000"
    );
    let by = text["created_by"].as_str().unwrap();
    app.db.expect_nothing(&format!("SELECT * FROM stocks WHERE created_by <> '{by}'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lists_no_stock_is_a_reject_in_the_words_of_the_form() {
    let app = App::start().await;
    let bad = [
        (",,,1,1,1,1,1", "ticker", "missing_value", "ticker is empty"),
        ("N/A,,,1,1,1,1,1", "ticker", "missing_value", "value that is missing"),
        ("BRK A,,,1,1,1,1,1", "ticker", "bad_ticker", "A ticker is a word without spaces"),
        ("ABCDEFGHIJKLMNOP,,,1,1,1,1,1", "ticker", "too_long", "at most 15 characters"),
        ("A,#REF!,,1,1,1,1,1", "name", "error_cell", "error value"),
        ("A,,EURO,1,1,1,1,1", "currency", "bad_currency", "currency \"EURO\": A currency is three letters"),
        ("A,,,12.5O,1,1,1,1", "open_price", "bad_number", "\"12.5O\" is not a number"),
        ("A,,,,1,1,1,1", "open_price", "missing_value", "open_price is empty"),
        ("A,,,1,1.00001,2,1,1", "close_price", "too_many_decimals", "at most four decimals"),
        ("A,,,1,1,1e17,1,1", "high", "number_too_large", "at most 16 digits"),
        ("A,,,1,1,1,-1,1", "low", "negative", "low \"-1\": A price is not negative."),
        (
            "A,,,1,1,1,2,1",
            "low",
            "contradictory_price",
            "The low value must be less than or equal to the high value.",
        ),
        (
            "A,,,1,3,2,1,1",
            "close_price",
            "contradictory_price",
            "close price value must be less than or equal",
        ),
        ("A,,,1,1,1,1,1.5", "volume", "bad_volume", "whole number from 0 to 2,147,483,647"),
        ("A,,,1,1,1,1,-5", "volume", "bad_volume", "whole number"),
        ("A,,,1,1,1,1,2147483648", "volume", "bad_volume", "whole number"),
        ("A,,,1,1,1,1", "", "wrong_columns", "7 fields"),
    ];
    let lines: String = bad.iter().map(|(line, ..)| format!("{line}\n")).collect();
    // A spreadsheet's truth value is a ticker, too.
    let good = "TRUE,,,0,0,0,0,0\n";
    let upload = load(&app, "bad.csv", format!("{HEADER}{lines}{good}")).await;
    assert_eq!(counts(&upload), [1, 0, 0, bad.len() as i64], "{upload}");
    for ((at, said), (text, column, code, message)) in (2..).zip(rejects(&app, &upload).await).zip(bad) {
        assert_eq!(
            (said.0, said.1.as_deref().unwrap_or_default(), said.2.as_str()),
            (at, column, code),
            "{text}"
        );
        assert!(said.3.contains(message), "{text}: {}", said.3);
    }
    assert_eq!(stocks(&app).await, "TRUE,-,USD,0.0000,0.0000,0.0000,0.0000,0,0");
    let clients = load(&app, "clients.csv", "client_id,name\nC1,One\n").await;
    assert_eq!(clients["state"], "failed", "{clients}");
    let failure = clients["failure"].as_str().unwrap();
    assert!(
        failure.contains("no column for ticker, open_price, close_price, high, low, volume"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_listing_is_a_duplicate_and_another_a_conflict_that_names_both() {
    let app = App::start().await;
    // The same on another line, however it is written; another on a third.
    let again = APPLE.replace("USD,150.00", "usd,150");
    let other = APPLE.replace("155.00", "154.00");
    let file = format!("{HEADER}{APPLE}{again}{other}");
    let first = load(&app, "stocks.csv", file.clone()).await;
    assert_eq!(counts(&first), [1, 1, 1, 0], "{first}");
    let said = rejects(&app, &first).await;
    assert_eq!((said[0].0, said[0].1.as_deref(), said[0].2.as_str()), (4, Some("ticker"), "conflict"));
    assert!(
        said[0].3.contains(
            "line 2 of this file with another listing: there \"Apple Inc.\" in USD, open 150, close 155"
        ) && said[0].3.contains("here, on line 4, \"Apple Inc.\" in USD, open 150, close 154,"),
        "{said:?}"
    );
    let same = load(&app, "stocks.csv", file.clone()).await;
    assert_eq!(same["id"], first["id"], "the same file is the same upload");

    // What was traded since does not count: the listing is the same.
    app.db.client.execute("UPDATE stocks SET volume = volume - 7", &[]).await.unwrap();
    let forced = app.load("stocks.csv", file, "?kind=stocks&force=true").await;
    assert_eq!(counts(&forced), [0, 2, 1, 0], "{forced}");
    let said = &rejects(&app, &forced).await[0].3;
    let by = first["created_by"].as_str().unwrap();
    assert!(said.contains(
        "stock AAPL is already listed otherwise: listed \"Apple Inc.\" in USD, open 150, close 155,"
    ));
    assert!(said.contains(&format!("volume 1000000 (by {by}); here, on line 4,")), "{said}");
    for part in ["Apple Inc.", "USD", "150.00", "156.00", "149.00", "1000000"] {
        let changed = APPLE.replace(
            part,
            if part == "USD" {
                "EUR"
            } else if part == "Apple Inc." {
                ""
            } else {
                "152"
            },
        );
        let upload = load(&app, "changed.csv", format!("{HEADER}{changed}")).await;
        assert_eq!(upload["counts"]["inserted"], 0, "{part}: {upload}");
        assert_eq!(counts(&upload)[2] + counts(&upload)[3], 1, "{part}: {upload}");
    }
    assert!(stocks(&app).await.ends_with(",1000000,999993"), "nothing moved but by a trade");
}

/// Eight stocks in chunks of three, and behind them one again, one otherwise.
fn mixed() -> Vec<u8> {
    let line = |number: i64, price: i64| format!("S{number},,,{price},{price},{price},{price},10\n");
    let good: String = (1..=8).map(|number| line(number, number)).collect();
    format!("{HEADER}{good}{}{}", line(1, 1), line(2, 9)).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_counts_as_the_load_will_across_chunks_and_all_or_nothing_lists_none() {
    let app = App::start_with(AppOptions { chunk_records: 3, ..AppOptions::default() }).await;
    let load_as = async |options: UploadOptions| {
        let id = app.accept_kind(UploadKind::Stocks, "mixed.csv", &mixed(), options).await;
        app.ended(&id.to_string()).await
    };
    let trial = load_as(UploadOptions { dry_run: true, ..UploadOptions::default() }).await;
    assert_eq!((trial["state"].as_str(), counts(&trial)), (Some("finished"), [8, 1, 1, 0]), "{trial}");
    let whole = load_as(UploadOptions { on_error: OnError::Abort, ..UploadOptions::default() }).await;
    assert_eq!((whole["state"].as_str(), counts(&whole)), (Some("failed"), [0, 0, 1, 0]), "{whole}");
    assert!(whole["failure"].as_str().unwrap().contains("1 of the file's 10 records"), "{whole}");
    let said = &rejects(&app, &whole).await[0];
    // Whichever chunk was checked first has the ticker.
    assert!(
        said.3.contains("stands on line") && said.3.contains("of this file with another listing"),
        "{said:?}"
    );
    assert_eq!(stocks(&app).await, "");
    app.db.expect_nothing("SELECT 1 FROM upload_trial_keys k JOIN uploads u ON u.id = k.upload_id WHERE u.state = 'finished'").await;

    let real = load_as(UploadOptions::default()).await;
    assert_eq!(counts(&real), counts(&trial), "{real}");
    let after = load_as(UploadOptions { dry_run: true, ..UploadOptions::default() }).await;
    assert_eq!(counts(&after), [0, 9, 1, 0], "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_list_the_same_stocks_at_once_list_each_once() {
    let app = App::start_with(AppOptions { chunk_records: 100, ..AppOptions::default() }).await;
    let mut lines: Vec<String> =
        (0..1_000).map(|number| format!("S{number:04},,,1,1,1,1,{number}\n")).collect();
    let mut uploads = Vec::new();
    for file in 0..4 {
        lines.rotate_left(file * 311);
        let (_, upload) =
            app.upload(&format!("{file}.csv"), format!("{HEADER}{}", lines.concat()), "?kind=stocks").await;
        uploads.push(upload["id"].as_str().unwrap().to_owned());
    }
    let mut sums = [0; 4];
    for id in uploads {
        let upload = app.ended(&id).await;
        assert_eq!(upload["state"], "finished", "{upload}");
        sums.iter_mut().zip(counts(&upload)).for_each(|(sum, count)| *sum += count);
    }
    assert_eq!(sums, [1_000, 3_000, 0, 0]);
    app.db.expect_nothing("SELECT 1 FROM stocks HAVING count(*) <> 1000 OR count(DISTINCT id) <> 1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_stocks_is_known_by_its_columns_and_its_rejects_come_back_mended() {
    let app = App::start().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    // With ids and names it could be one of clients.
    let file = "id;symbol;name;open;close;high;low;volume\n7;AAPL;Apple;150;155;156;149;10\n8;MSFT;Microsoft;1;2;1;1;5\n";
    let page = location(&browser.preview("prices.csv", file.into()).await);
    let page = browser.page(&page).await;
    for shown in [
        "<option value=\"stocks\" selected>",
        "1 of these 2 rows would be rejected",
        "The close price value must be less than or equal to the high value.",
        "Load 2 rows",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(
        !page.contains("Clients who are known already") && !page.contains("client nobody knows"),
        "{page}"
    );

    let part = multipart::Part::bytes(file.as_bytes()).file_name("prices.csv");
    let request =
        app.request(Method::POST, "/api/v1/previews").multipart(multipart::Form::new().part("file", part));
    let (_, preview) = app.send(request).await;
    let path = preview["links"]["self"].as_str().unwrap().to_owned();
    let look = app.get(&path).await;
    assert_eq!(
        (&look["kind"], &look["rows"][0]["values"]["open_price"]),
        (&"stocks".into(), &"150.0000".into())
    );
    assert_eq!(look["rows"][1]["fault"]["column"], "close", "{look}");
    let request = app.request(Method::POST, &format!("{path}/load")).json(&serde_json::json!({}));
    let (_, loaded) = app.send(request).await;
    let first = app.ended(loaded["id"].as_str().unwrap()).await;
    assert_eq!((&first["kind"], counts(&first)), (&"stocks".into(), [1, 0, 0, 1]), "{first}");

    let id = first["id"].as_str().unwrap();
    let rejects = app.request(Method::GET, &format!("/api/v1/uploads/{id}/rejects")).send().await.unwrap();
    let rejects = rejects.text().await.unwrap();
    assert!(rejects.contains("8;MSFT;Microsoft;1;2;1;1;5;contradictory_price;"), "{rejects}");
    let mended =
        app.load("mended.csv", rejects.replace(";1;2;1;1;", ";1;2;2;1;"), &format!("?corrects={id}")).await;
    assert_eq!((&mended["kind"], &mended["corrects"]), (&"stocks".into(), &first["id"]), "{mended}");
    assert_eq!(counts(&mended), [1, 0, 0, 0], "{mended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stocks_are_not_taken_back_and_the_answer_says_why() {
    let app = App::start().await;
    let upload = load(&app, "stocks.csv", format!("{HEADER}{APPLE}")).await;
    let path = format!("/uploads/{}", upload["id"].as_str().unwrap());
    let (status, refused) = app.post(&format!("/api/v1{path}/undo")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("a file of stocks cannot be undone"), "{refused}");
    let page = Browser::log_in(&app, Role::Operator).await.page(&format!("/ui{path}")).await;
    assert!(
        page.contains("Stocks are never deleted") && !page.contains(&format!("action=\"/ui{path}/undo\"")),
        "{page}"
    );
    assert!(stocks(&app).await.starts_with("AAPL,"));
}
