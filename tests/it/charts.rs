//! Charts, the client's page, the analytics page and the export: their numbers equal independent SQL.

use crate::analytics::HALF_EVEN;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use shared::auth::Role;
use tests::{
    App, AppOptions,
    app::PASSWORD,
    browser::{Browser, between},
    files,
};

const HEADER: &str = "transaction_id,client_id,occurred_at,amount,currency,kind,status,merchant_id,channel\n";

/// A client's payments over 120 days in two currencies, of every kind and status, and some of others.
fn trades() -> String {
    let mut file = HEADER.to_owned();
    for row in 0..400_u32 {
        let date = chrono::NaiveDate::from_ymd_opt(2025, 1, 1).unwrap()
            + chrono::Days::new(u64::from(row * 7 % 120));
        let kind = ["buy", "sell", "payment", "refund", "payment"][row as usize % 5];
        let currency = ["USD", "USD", "EUR"][row as usize % 3];
        let status = ["success", "pending", "failed", "success"][row as usize % 4];
        file.push_str(&format!(
            "a{row},{},{date}T{:02}:{:02}:{:02}Z,{}.{:04},{currency},{kind},{status},M{},web\n",
            row % 4 + 1,
            row * 11 % 24,
            row % 60,
            row * 13 % 60,
            row % 97 + 1200,
            row * 31 % 10_000,
            row % 4,
        ));
    }
    file
}

async fn loaded(zone: chrono_tz::Tz) -> App {
    let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
    let loaded = app.load("trades.csv", trades(), "").await;
    assert_eq!(loaded["counts"]["inserted"], 400, "{loaded}");
    app
}

/// The cells of the table of a page's chart, row by row.
fn table(page: &str, chart: &str) -> Vec<Vec<String>> {
    let chart = between(page, &format!("<figure class=\"chart\" id=\"{chart}\""), "</figure>");
    let cells = |row: &str| {
        row.split("<td").skip(1).map(|cell| between(cell, ">", "</td>").to_owned()).collect::<Vec<_>>()
    };
    between(chart, "<tbody>", "</tbody>").split("<tr>").skip(1).map(cells).collect()
}

/// The figure of a page's chart.
fn figure(page: &str, chart: &str) -> Value {
    let element = between(page, &format!("id=\"{chart}-figure\""), "</script>");
    serde_json::from_str(element.split_once('>').unwrap().1).unwrap()
}

async fn sql(app: &App, statement: &str) -> Value {
    app.db.one(&format!("SELECT to_jsonb(q.j) FROM ({statement}) AS q (j)"), &[]).await
}

/// What a number looks like on a page: grouped, with two decimals at least.
const SHOWN: &str = "CASE WHEN right(to_char(x, 'FM999,999,999,990.0000'), 2) = '00'
    THEN to_char(x, 'FM999,999,999,990.00')
    ELSE rtrim(to_char(x, 'FM999,999,999,990.0000'), '0') END";

fn shown(number: &str) -> String {
    SHOWN.replace("(x,", &format!("({number},"))
}

/// A client's days, the latest first, from the rows alone.
fn days_of(client: &str, currency: &str, count: u32) -> String {
    format!(
        "WITH rows AS (SELECT (occurred_at AT TIME ZONE reporting_zone)::date AS day,
                              CASE WHEN kind IN ('buy', 'payment') THEN amount ELSE 0 END AS spend
                       FROM transactions, settings
                       WHERE client_id = '{client}' AND currency = '{currency}' AND status <> 'failed'),
         days AS (SELECT d::date AS day FROM (SELECT min(day) AS a, max(day) AS b FROM rows) AS r,
                         generate_series(a, b, interval '1 day') AS d),
         sums AS (SELECT day, coalesce(sum(spend), 0) AS spend FROM days LEFT JOIN rows USING (day) GROUP BY 1),
         moving AS (SELECT *, sum(spend) OVER w AS s, count(*) OVER w AS n FROM sums
                    WINDOW w AS (ORDER BY day ROWS 6 PRECEDING))
         SELECT jsonb_agg(jsonb_build_array(day, {}, {}) ORDER BY day DESC)
         FROM (SELECT * FROM moving ORDER BY day DESC LIMIT {count}) AS m",
        shown("spend"),
        shown(HALF_EVEN)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_chart_and_risk_equal_sql_over_the_rows() {
    let app = loaded(chrono_tz::America::New_York).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for (query, currency, count) in [
        ("", "USD", 90),
        ("?days=30", "USD", 30),
        ("?days=all&currency=EUR", "EUR", 3_660),
        ("?currency=XXX&days=nonsense", "USD", 90),
    ] {
        let page = browser.page(&format!("/ui/clients/1{query}")).await;
        let expected = sql(&app, &days_of("1", currency, count)).await;
        assert_eq!(json!(table(&page, "spend")), expected, "{query}");
        let figure = figure(&page, "spend");
        let days = expected.as_array().unwrap().len();
        assert_eq!(figure["data"].as_array().unwrap().len(), 2, "bars and a line: {query}");
        assert_eq!(figure["data"][0]["hovertemplate"], format!("%{{hovertext}} {currency}"));
        assert_eq!(figure["layout"]["yaxis"]["title"]["text"], currency);
        let (from, to) = (expected[days - 1][0].as_str().unwrap(), expected[0][0].as_str().unwrap());
        assert!(page.contains(&format!("Spend in {currency} by day, {from} to {to}")), "{query}");
        assert!(page.contains(&format!("Risk in {currency}")), "{query}");
    }
    let profile = app.get("/api/v1/clients/1/risk-profile").await;
    let page = browser.page("/ui/clients/1").await;
    let usd = profile["currencies"].as_array().unwrap().iter().find(|one| one["currency"] == "USD").unwrap();
    let risk = between(&page, "<dl class=\"risk\">", "</dl>");
    assert!(
        risk.contains(usd["volatility"].as_str().unwrap()) && risk.contains(&format!("#{}", usd["rank"])),
        "{risk}"
    );
    assert_eq!(risk.matches("<dd class=\"meaning\">").count(), 5, "each figure is explained");
}

/// Of so many transactions PostgreSQL makes the days, of fewer the process.
#[tokio::test(flavor = "multi_thread")]
async fn the_chart_of_a_long_history_equals_sql_over_the_rows() {
    let app = App::start_with(AppOptions { zone: chrono_tz::Asia::Tehran, ..AppOptions::default() }).await;
    let mut file = HEADER.to_owned();
    for row in 0..2_100_u32 {
        let (month, day, hour) = (row % 5 + 1, row * 3 % 28 + 1, row * 5 % 24);
        let (currency, kind) =
            (["USD", "EUR"][row as usize % 2], ["buy", "sell", "payment"][row as usize % 3]);
        file.push_str(&format!(
            "t{row},long,2025-{month:02}-{day:02}T{hour:02}:30:00Z,{}.{row:04},{currency},{kind},success,,\n",
            row % 97
        ));
    }
    let loaded = app.load("long.csv", file, "").await;
    assert_eq!(loaded["counts"]["inserted"], 2_100, "{loaded}");
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for (query, currency, count) in [("", "USD", 90), ("?days=all&currency=EUR", "EUR", 3_660)] {
        let page = browser.page(&format!("/ui/clients/long{query}")).await;
        let expected = sql(&app, &days_of("long", currency, count)).await;
        assert_eq!(json!(table(&page, "spend")), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_spend_has_a_page_without_a_chart() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\nquiet,Q\n", "?kind=clients").await;
    app.load("lost.csv", format!("{HEADER}lost,gone,2025-03-15,10.5,USD,payment,failed,M1,\n"), "").await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for client in ["quiet", "gone"] {
        let page = browser.page(&format!("/ui/clients/{client}")).await;
        assert!(!page.contains("class=\"chart\"") && !page.contains("plotly"), "{page}");
    }
    assert!(browser.page("/ui/clients/gone").await.contains("lost"), "what failed is listed");
    assert!(browser.page("/ui/analytics").await.contains("Nothing to look at yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_transactions_of_clients_that_are_asked_for_together_are_their_own() {
    let app = loaded(chrono_tz::UTC).await;
    // More than a page at one instant, and exactly a page with one that failed.
    let mut ties = HEADER.to_owned();
    for row in 0..60 {
        ties.push_str(&format!("t{row:02},tied,2025-03-15T10:00:00Z,1.00,USD,payment,success,M1,web\n"));
    }
    for row in 0..25 {
        let status = if row == 24 { "failed" } else { "success" };
        ties.push_str(&format!("p{row:02},page,2025-01-{:02},1.00,USD,payment,{status},M1,web\n", row + 1));
    }
    app.load("ties.csv", ties, "").await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let clients = ["1", "tied", "2", "page", "3"];
    let pages = futures::future::join_all(clients.map(|client| {
        let browser = &browser;
        async move { browser.page(&format!("/ui/clients/{client}")).await }
    }))
    .await;
    for (client, page) in clients.iter().zip(pages) {
        let expected = sql(
            &app,
            &format!(
                "SELECT jsonb_agg(id) FROM (SELECT transaction_id AS id FROM transactions WHERE client_id = '{client}'
                 ORDER BY occurred_at DESC, transaction_id COLLATE \"C\" DESC LIMIT 25) AS latest"
            ),
        )
        .await;
        let list = between(&page, "<div id=\"transactions\"", "</table>");
        let shown: Vec<&str> =
            list.split("<tr data-key=\"").skip(1).map(|row| row.split('"').next().unwrap()).collect();
        assert_eq!(json!(shown), expected, "{client}");
        assert_eq!(page.contains("rel=\"next\""), *client != "page", "{client}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_and_the_view_of_a_clients_page_are_in_its_address() {
    let app = loaded(chrono_tz::UTC).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page =
        browser.page("/ui/clients/1?from=2025-02-01&until=2025-02-28&kind=buy&days=30&currency=EUR").await;
    let rows: i64 = app
        .db
        .one(
            "SELECT count(*) FROM transactions WHERE client_id = '1' AND kind = 'buy'
             AND occurred_at >= '2025-02-01' AND occurred_at < '2025-03-01'",
            &[],
        )
        .await;
    let list = between(&page, "<div id=\"transactions\"", "</table>");
    assert_eq!(list.matches("<tr data-key").count() as i64, rows);
    // A chip keeps the filter, the filter's form keeps the chips, "Clear" keeps them too.
    assert!(
        page.contains("from=2025-02-01&#38;until=2025-02-28&#38;kind=buy&#38;currency=EUR&#38;days=365"),
        "{page}"
    );
    assert!(page.contains("<input type=\"hidden\" name=\"days\" value=\"30\">"));
    assert!(page.contains("href=\"/ui/clients/1?currency=EUR&#38;days=30\">Clear"), "{page}");
    let export = between(&page, "<a href=\"", "\" download>");
    let export = export.rsplit("<a href=\"").next().unwrap();
    assert_eq!(export, "/ui/clients/1/transactions.csv?from=2025-02-01&#38;until=2025-02-28&#38;kind=buy");
}

/// The records of a file, the header first.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_equals_the_rows_and_can_be_handed_in_again() {
    let app = loaded(chrono_tz::America::New_York).await;
    // More than two batches, at few instants.
    let mut many = HEADER.to_owned();
    for row in 0..2_345 {
        many.push_str(&format!(
            "b{row},many,2025-03-01T00:00:{:02}Z,{}.05,USD,payment,success,,\n",
            row % 7,
            row
        ));
    }
    app.load("many.csv", many, "").await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for (client, page, api, condition) in [
        ("1", "", "", "true"),
        ("many", "", "", "true"),
        (
            "2",
            "?from=2025-02-01&until=2025-02-28&status=pending",
            "?from=2025-02-01&to=2025-02-28&status=pending",
            "(occurred_at AT TIME ZONE reporting_zone)::date BETWEEN '2025-02-01' AND '2025-02-28' AND status = 'pending'",
        ),
        ("2", "?from=1999-01-01&until=1999-01-02", "?from=1999-01-01&to=1999-01-02", "false"),
    ] {
        let answer = browser.get(&format!("/ui/clients/{client}/transactions.csv{page}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/csv; charset=utf-8");
        assert_eq!(
            answer.headers()[header::CONTENT_DISPOSITION],
            format!(
                "attachment; filename=\"transactions-{client}.csv\"; filename*=UTF-8''transactions-{client}.csv"
            )
        );
        let file = answer.text().await.unwrap();
        let rows = records(&file);
        assert_eq!(rows[0][..5], ["transaction_id", "client_id", "occurred_at", "kind", "amount"]);
        let expected = sql(&app, &format!(
            "SELECT coalesce(jsonb_agg(jsonb_build_array(transaction_id, client_id,
                 to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), kind, amount::text, currency, status,
                 coalesce(merchant_id, ''), coalesce(product_id, ''), coalesce(ticker, ''), coalesce(stock_name, ''),
                 coalesce(shares::text, ''), coalesce(price::text, ''), coalesce(channel, ''))
                 ORDER BY occurred_at DESC, transaction_id COLLATE \"C\" DESC), '[]')
             FROM transactions, settings WHERE client_id = '{client}' AND {condition}"
        )).await;
        assert_eq!(json!(rows[1..]), expected, "{client}{page}");
        let path = format!("/api/v1/clients/{client}/transactions{api}");
        let answer = app.request(Method::GET, &path).header(header::ACCEPT, "text/csv").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), file, "{path}");
    }
    let file = browser.page("/ui/clients/1/transactions.csv").await;
    let again = app.load("again.csv", file.clone(), "").await;
    assert_eq!(again["counts"]["duplicates"].as_u64().unwrap() as usize, records(&file).len() - 1, "{again}");
    for path in ["/ui/clients/nobody/transactions.csv", "/ui/clients/nobody"] {
        assert_eq!(browser.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        browser.get("/ui/clients/1/transactions.csv?from=soon").await.status(),
        StatusCode::BAD_REQUEST
    );
    let anonymous = app.anonymous(Method::GET, "/api/v1/clients/1/transactions").send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_no_formula_and_ids_and_amounts_as_they_are() {
    let app = App::start().await;
    app.load(
        "odd.csv",
        format!(
            "{HEADER}-17,\"a/b ü\",2025-03-15T10:00:00Z,10.5,USD,payment,success,=1+1,@SUM(A1)\n\
             x-1,\"a/b ü\",2025-03-15T09:00:00Z,0.0001,USD,payment,success,-5,plain\n"
        ),
        "",
    )
    .await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let answer = browser.get("/ui/clients/a%2Fb%20%C3%BC/transactions.csv").await;
    assert_eq!(
        answer.headers()[header::CONTENT_DISPOSITION],
        "attachment; filename=\"transactions-a_b__.csv\"; filename*=UTF-8''transactions-a%2Fb%20%C3%BC.csv"
    );
    let mistyped = browser.get("/ui/clients/a%2Fb%20%C3%BC/transactions.csv?kind=bogus").await;
    assert_eq!(mistyped.status(), StatusCode::BAD_REQUEST, "not all of them instead");
    let rows = records(&answer.text().await.unwrap());
    let cells = |row: usize| {
        (rows[row][0].as_str(), rows[row][4].as_str(), rows[row][7].as_str(), rows[row][13].as_str())
    };
    assert_eq!(cells(1), ("-17", "10.5000", "'=1+1", "'@SUM(A1)"));
    assert_eq!(cells(2), ("x-1", "0.0001", "-5", "plain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_analytics_page_equals_sql_over_the_rows() {
    let app = loaded(chrono_tz::America::New_York).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for (query, currency, kinds, key, first, range, periods) in [
        ("", "USD", "true", "YYYY-MM-DD", "day", "day > (SELECT max(day) FROM rows) - 90", 90),
        (
            "?period=week&currency=EUR",
            "EUR",
            "true",
            "IYYY-\"W\"IW",
            "date_trunc('week', day::timestamp)",
            "true",
            18,
        ),
        (
            "?period=month&kind=payment&from=2025-01-15&until=2025-03-03",
            "USD",
            "kind = 'payment'",
            "YYYY-MM",
            "date_trunc('month', day::timestamp)",
            "day BETWEEN '2025-01-15' AND '2025-03-03'",
            3,
        ),
    ] {
        let page = browser.page(&format!("/ui/analytics{query}")).await;
        let rows = "WITH rows AS (SELECT *, (occurred_at AT TIME ZONE reporting_zone)::date AS day
                                  FROM transactions, settings WHERE status <> 'failed')";
        let expected = sql(
            &app,
            &format!(
                "{rows} SELECT jsonb_build_object(
                 'amount', jsonb_agg(jsonb_build_array(name, {}) ORDER BY f DESC),
                 'volume', jsonb_agg(jsonb_build_array(name, n::text) ORDER BY f DESC))
             FROM (SELECT {first} AS f, to_char({first}, '{key}') AS name, sum(amount) AS s, count(*) AS n
                   FROM rows WHERE currency = '{currency}' AND {kinds} AND {range} GROUP BY 1, 2) AS p",
                shown("s")
            ),
        )
        .await;
        // A day on which nothing happened is a row too, of zeros.
        for chart in ["amount", "volume"] {
            let mut rows = table(&page, chart);
            rows.retain(|row| !["0", "0.00"].contains(&row[1].as_str()));
            assert_eq!(json!(rows), expected[chart], "{query}: {chart}");
        }
        assert_eq!(table(&page, "amount").len(), periods, "{query}");
        let merchant = sql(
            &app,
            &format!(
                "{rows} SELECT to_jsonb(m) FROM (SELECT merchant_id, count(*) AS n FROM rows
             WHERE currency = '{currency}' AND {range} GROUP BY 1 ORDER BY sum(amount) DESC LIMIT 1) AS m"
            ),
        )
        .await;
        let tops = between(&page, "<h3>Merchants", "</tbody>");
        let first = format!(
            "<td>{}</td><td class=\"number\">{}</td>",
            merchant["merchant_id"].as_str().unwrap(),
            merchant["n"]
        );
        assert!(tops.split("<tr").nth(2).unwrap().contains(&first), "{query}: {first} in {tops}");
        let kinds = sql(
            &app,
            &format!(
                "{rows} SELECT count(*) FROM (SELECT 1 FROM rows WHERE {range} GROUP BY currency, kind) AS k"
            ),
        )
        .await;
        let breakdown = between(&page, "<section id=\"breakdown\"", "</section>");
        assert_eq!(breakdown.matches("<tr data-key").count() as i64, kinds.as_i64().unwrap(), "{query}");
    }
    let page = browser.page("/ui/analytics?rank=count&currency=EUR").await;
    let client =
        app.get("/api/v1/analytics/top-clients?by=count&currency=EUR&limit=1").await["items"][0].clone();
    let tops = between(&page, "<h3>Clients", "</tbody>");
    assert!(
        tops.split("<tr")
            .nth(2)
            .unwrap()
            .contains(&format!(">{}</a>", client["client_id"].as_str().unwrap())),
        "{tops}"
    );
    // A range is that of the record at most, one of too many days is cut, and one that is no range says so.
    let page = browser.page("/ui/analytics?from=1900-01-01&until=2100-01-01").await;
    assert!(!page.contains("too many days") && table(&page, "volume").len() <= 121, "{page}");
    let old = format!("{HEADER}old,1,2019-12-31T12:00:00Z,5.00,USD,payment,success,M1,web\n");
    app.load("old.csv", old, "").await;
    let page = browser.page("/ui/analytics?from=1900-01-01&until=2025-04-30").await;
    assert!(page.contains("there are too many days in this range"), "{page}");
    assert!(
        browser
            .page("/ui/analytics?from=2025-04-01&until=2025-01-01")
            .await
            .contains("ends before it begins")
    );
    assert!(browser.page("/ui/analytics?from=soon").await.contains("“soon” is no day"));
}

/// The page is made from the summaries: with the rows locked away it still is.
#[tokio::test(flavor = "multi_thread")]
async fn the_analytics_page_reads_no_row() {
    let app = loaded(chrono_tz::UTC).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    app.db
        .client
        .batch_execute("BEGIN; LOCK TABLE transactions, transaction_keys IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let page = tokio::time::timeout(std::time::Duration::from_secs(20), browser.page("/ui/analytics"));
    assert!(page.await.unwrap().contains("Amount in USD"));
    app.db.client.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plotly_comes_from_here_packed_and_for_ever() {
    let app = loaded(chrono_tz::UTC).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page("/ui/clients/1").await;
    for word in ["http://", "https://", "href=\"//", "src=\"//"] {
        assert!(!page.contains(word), "the page names another host: {word}");
    }
    let address = page.split('"').find(|text| text.starts_with("/assets/plotly.min.js?v=")).unwrap();
    let ask = app.anonymous(Method::GET, address);
    let plain = ask.try_clone().unwrap().send().await.unwrap();
    assert_eq!(plain.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
    let etag = plain.headers()[header::ETAG].clone();
    let plain = plain.text().await.unwrap();
    assert!(plain.contains("plotly.js v") && plain.len() > 1_000_000);
    let packed = ask.try_clone().unwrap().header(header::ACCEPT_ENCODING, "gzip, br").send().await.unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(packed.headers()[header::VARY], "accept-encoding");
    assert!(packed.bytes().await.unwrap().len() < plain.len() / 3);
    let known = ask.header(header::IF_NONE_MATCH, etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_draws_the_charts_within_the_policy_and_in_both_themes() {
    let app = loaded(chrono_tz::UTC).await;
    app.load("e.csv", files::transactions(2_000, 3), "").await;
    let _made = Browser::log_in(&app, Role::Viewer).await;
    let user: String = app
        .db
        .one("SELECT client_id FROM transactions WHERE client_id ~ '^[0-9]{2,}$' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1", &[])
        .await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/charts.mjs");
    let chromium = std::env::var("MILLRACE_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let output = tokio::process::Command::new("node")
        .args([
            "--no-warnings",
            "--experimental-websocket",
            script,
            &chromium,
            &app.url,
            "browser-viewer",
            PASSWORD,
        ])
        .args(["/ui/clients/1", "/ui/analytics?period=week", &format!("/dashboard/{user}")])
        .kill_on_drop(true)
        .output()
        .await
        .expect("node and chromium drive this test: install the packages nodejs and chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&all["noises"], &all["foreign"]), (&json!([]), &json!([])), "{all}");
    for (seen, (charts, lines)) in all["seen"].as_array().unwrap().iter().zip([(1, 1), (2, 0), (1, 1)]) {
        assert_eq!((&seen["charts"], &seen["lines"]), (&charts.into(), &lines.into()), "{seen}");
        assert!(seen["bars"].as_u64().unwrap() > 10, "{seen}");
        // What is drawn is what the table says.
        for chart in seen["numbers"].as_array().unwrap() {
            assert!(chart["drawn"].as_array().unwrap().len() > 10, "{seen}");
            assert_eq!(chart["drawn"], chart["table"], "{seen}");
        }
        // The accent, in each theme.
        assert_eq!(
            (&seen["light"]["bar"], &seen["dark"]["bar"]),
            (&"rgb(11, 110, 131)".into(), &"rgb(76, 194, 216)".into())
        );
        assert_eq!(
            (&seen["light"]["overflow"], &seen["small"]["overflow"]),
            (&0.into(), &0.into()),
            "{seen}"
        );
        assert!(seen["small"]["plot"].as_f64().unwrap() <= 360.0, "{seen}");
        assert!(seen["still"]["tables"].as_u64().unwrap() > 10 && seen["still"]["drawn"] == 0, "{seen}");
    }
}
