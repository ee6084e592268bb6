//! Summaries by period, in both calendars, from the kept totals alone.

use chrono::NaiveDate;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::summaries::{Calendar, SummaryMode};
use std::{collections::BTreeMap, str::FromStr};
use tests::{App, AppOptions, files};

/// Rows about the borders of years, months and weeks of both calendars, with two currencies, every kind and
/// status, and two merchants.
fn borders() -> String {
    let mut file =
        "transaction_id,client_id,occurred_at,amount,currency,kind,status,merchant_id\n".to_owned();
    let days = [
        "1970-01-02",
        "2024-02-29",
        "2024-03-19",
        "2024-03-20",
        "2024-12-29",
        "2024-12-30",
        "2024-12-31",
        "2025-01-01",
        "2025-03-14",
        "2025-03-15",
        "2025-03-19",
        "2025-03-20",
        "2025-03-21",
        "2025-03-22",
        "2025-04-20",
        "2025-04-21",
        "2025-10-22",
        "2025-10-23",
    ];
    for (at, day) in days.iter().enumerate() {
        for row in 0..8 {
            let time = ["00:00:00", "23:59:59"][row % 2];
            let (currency, kind) = (["USD", "EUR"][row / 2 % 2], ["payment", "refund", "payment"][row % 3]);
            let status = ["success", "pending", "failed", "success"][(at + row) % 4];
            file.push_str(&format!(
                "b{at}-{row},C{},{day} {time},{}.25,{currency},{kind},{status},M{}\n",
                row % 3,
                at * 8 + row + 1,
                row % 2
            ));
        }
    }
    file
}

type Totals = BTreeMap<(NaiveDate, String), (i64, String)>;

/// What the rows themselves say, grouped here by the days' periods.
async fn expected(app: &App, calendar: Calendar, mode: SummaryMode, condition: &str) -> Totals {
    let sql = format!(
        "SELECT (occurred_at AT TIME ZONE reporting_zone)::date, currency, count(*), sum(amount)
         FROM transactions, settings WHERE {condition} GROUP BY 1, 2"
    );
    let mut sums: BTreeMap<(NaiveDate, String), (i64, rust_decimal::Decimal)> = BTreeMap::new();
    for row in app.db.client.query(&sql, &[]).await.unwrap() {
        let key = (calendar.first_day(mode, row.get(0)), row.get(1));
        let total = sums.entry(key).or_default();
        total.0 += row.get::<_, i64>(2);
        total.1 += row.get::<_, rust_decimal::Decimal>(3);
    }
    sums.into_iter().map(|(key, (count, sum))| (key, (count, format!("{sum:.4}")))).collect()
}

/// Every row of a list, page by page, and back again.
async fn pages(app: &App, path: &str) -> Vec<Value> {
    let (mut rows, mut back) = (Vec::new(), Vec::new());
    let mut page = app.get(path).await;
    loop {
        rows.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        page = app.get(&format!("{path}&cursor={next}")).await;
    }
    loop {
        back.splice(0..0, page["items"].as_array().unwrap().clone());
        let Some(previous) = page["previous"].as_str() else { break };
        page = app.get(&format!("{path}&cursor={previous}")).await;
        if page["items"].as_array().unwrap().is_empty() {
            break;
        }
    }
    assert_eq!(rows, back, "{path}: back is the same way");
    rows
}

fn read(rows: &[Value], calendar: Calendar, mode: SummaryMode) -> Totals {
    let total = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let from = NaiveDate::from_str(&text("from")).unwrap();
        let first = calendar.first_day(mode, from);
        assert_eq!(text("key"), calendar.key(mode, first), "{row}");
        ((first, text("currency")), (row["count"].as_i64().unwrap(), text("sum")))
    };
    rows.iter().map(total).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn periods_of_both_calendars_equal_the_rows_page_by_page() {
    let zone = chrono_tz::Asia::Tehran;
    let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
    let loaded = app.load("borders.csv", borders(), "").await;
    assert_eq!(loaded["counts"]["inserted"], 144, "{loaded}");
    app.load("more.csv", files::wide_transactions(3_000, 5), "").await;
    for calendar in Calendar::ALL {
        for mode in SummaryMode::ALL {
            for (query, condition) in [
                ("limit=7", "status <> 'failed'"),
                ("limit=500&status=failed", "status = 'failed'"),
                ("limit=3&merchant_id=M1", "status <> 'failed' AND merchant_id = 'M1'"),
                (
                    "limit=5&currency=EUR&kind=payment&from=2024-12-30&to=2025-03-20",
                    "status <> 'failed' AND currency = 'EUR' AND kind = 'payment' AND (occurred_at AT TIME ZONE reporting_zone)::date BETWEEN '2024-12-30' AND '2025-03-20'",
                ),
            ] {
                let path = format!("/api/v1/summaries?calendar={calendar}&mode={mode}&{query}");
                let rows = pages(&app, &path).await;
                let expected = expected(&app, *calendar, *mode, condition).await;
                assert!(!expected.is_empty(), "{path}");
                assert_eq!(rows.len(), expected.len(), "{path}");
                assert_eq!(read(&rows, *calendar, *mode), expected, "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jalali_periods_are_named_and_cut_to_what_was_asked_for() {
    let app = App::start().await;
    app.load("borders.csv", borders(), "").await;
    let path = "/api/v1/summaries?calendar=jalali&currency=USD&from=2025-03-15&to=2025-03-22";
    let keys = |answer: &Value| {
        let row =
            |row: &Value| ["key", "from", "to"].map(|name| row[name].as_str().unwrap().to_owned()).join(" ");
        answer["items"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let days = keys(&app.get(path).await);
    assert!(days.contains(&"1403-12-30 2025-03-20 2025-03-20".to_owned()), "{days:?}");
    assert_eq!(
        keys(&app.get(&format!("{path}&mode=weekly")).await),
        ["1403-12-25 2025-03-15 2025-03-21", "1404-01-02 2025-03-22 2025-03-22"]
    );
    assert_eq!(
        keys(&app.get(&format!("{path}&mode=monthly")).await),
        ["1403-12 2025-03-15 2025-03-20", "1404-01 2025-03-21 2025-03-22"]
    );
    let (status, problem) = app.send(app.request(Method::GET, "/api/v1/summaries?calendar=julian")).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"calendar".into()), "{problem}");
    // The server's own default holds where a request does not say.
    let jalali = AppOptions { calendar: Some(Calendar::Jalali), ..AppOptions::default() };
    let app = App::start_with(jalali).await;
    app.load("borders.csv", borders(), "").await;
    let month = app.get("/api/v1/summaries?mode=monthly&limit=1").await;
    assert_eq!(month["items"][0]["key"], "1348-10", "{month}");
}

/// With the rows locked away, whoever reads them would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn summaries_and_rankings_read_no_transaction() {
    let app = App::start().await;
    app.load("wide.csv", files::wide_transactions(2_000, 3), "").await;
    app.db.client.batch_execute("BEGIN; LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let patience = std::time::Duration::from_secs(20);
    for path in [
        "/api/v1/summaries",
        "/api/v1/summaries?mode=weekly&calendar=jalali",
        "/api/v1/summaries?mode=monthly&calendar=jalali&type=count",
        "/api/v1/summaries?mode=monthly&merchant_id=M1",
        "/api/v1/analytics/averages",
        "/api/v1/analytics/top-merchants",
        "/api/v1/analytics/top-clients?by=count",
        "/api/v1/analytics/breakdown",
        "/api/transactions/summary?mode=weekly&type=amount",
    ] {
        tokio::time::timeout(patience, app.get(path))
            .await
            .unwrap_or_else(|_| panic!("{path} reads the rows"));
    }
    // So that it is known that reading them would have been noticed.
    let rows = app.get("/api/v1/transactions");
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), rows).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_never_older_than_the_record() {
    let app = App::start().await;
    let count = async || {
        let month = app.get("/api/v1/summaries?mode=monthly&currency=USD").await;
        let kinds = app.get("/api/v1/analytics/breakdown?currency=USD").await;
        let [months, kinds] = [&month, &kinds].map(|answer| {
            answer["items"].as_array().unwrap().iter().map(|row| row["count"].as_i64().unwrap()).sum::<i64>()
        });
        assert_eq!(months, kinds);
        months
    };
    let row = |number: i64| format!("k{number},1,1,2025-01-0{number},5");
    for number in 1..=3 {
        assert_eq!(count().await, number - 1);
        app.load(&format!("{number}.csv"), files::rows(&[&row(number)]), "").await;
        assert_eq!((count().await, count().await), (number, number));
    }
    // Each commit that changed a summary counts once, one that was taken back not at all.
    let changes = "SELECT sum(changes)::bigint FROM summary_changes";
    let before: i64 = app.db.one(changes, &[]).await;
    for (statement, counted) in [
        ("BEGIN; UPDATE day_totals SET count = 9; UPDATE client_totals SET count = 9; COMMIT", 1),
        ("BEGIN; UPDATE day_totals SET count = 1; ROLLBACK", 1),
        (
            "BEGIN; SAVEPOINT s; UPDATE day_totals SET count = 1; ROLLBACK TO s; DELETE FROM merchant_days; COMMIT",
            2,
        ),
        ("TRUNCATE client_totals", 3),
    ] {
        app.db.client.batch_execute(statement).await.unwrap();
        assert_eq!(app.db.one::<i64>(changes, &[]).await, before + counted, "{statement}");
    }
    assert_eq!(count().await, 27);
    // Writers at the same time have rows of their own, and do not wait for each other.
    let other = shared::db::connect(&app.db.url).await.unwrap();
    other.batch_execute("BEGIN; UPDATE day_totals SET count = 8 WHERE day = '2025-01-01'").await.unwrap();
    app.db.client.batch_execute("UPDATE day_totals SET count = 7 WHERE day = '2025-01-02'").await.unwrap();
    assert_eq!(count().await, 25);
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(count().await, 24);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM summary_changes", &[]).await, 2);
}
