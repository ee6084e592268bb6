//! Figures of clients and merchants equal independent SQL over the rows, whatever came in how.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{App, AppOptions, files};

const HEADER: &str = "transaction_id,client_id,occurred_at,amount,currency,kind,status,merchant_id\n";

fn file(rows: &[&str]) -> String {
    let mut file = HEADER.to_owned();
    rows.iter().for_each(|row| file.extend([row, "\n"]));
    file
}

/// JSON that a statement makes.
async fn sql(app: &App, statement: &str) -> Value {
    app.db.one(&format!("SELECT to_jsonb(q.j) FROM ({statement}) AS q (j)"), &[]).await
}

/// Every client's figures against the same over its rows.
async fn expect_figures_exact(app: &App) {
    let clients: Value = sql(app, "SELECT jsonb_agg(client_id ORDER BY client_id) FROM clients").await;
    let clients = clients.as_array().unwrap();
    assert!(!clients.is_empty());
    for client in clients.iter().map(|client| client.as_str().unwrap()) {
        let path = |figure: &str| format!("/api/v1/clients/{client}/{figure}");
        for (query, condition) in [
            ("", "true"),
            (
                "?from=2025-03-10&to=2025-03-30",
                "(occurred_at AT TIME ZONE reporting_zone)::date BETWEEN '2025-03-10' AND '2025-03-30'",
            ),
            ("?currency=EUR&kind=buy", "currency = 'EUR' AND kind = 'buy'"),
            (
                "?from=2025-03-09T12:00:00Z&to=2025-03-20T12:00:00Z",
                "occurred_at >= '2025-03-09 12:00Z' AND occurred_at < '2025-03-20 12:00Z'",
            ),
        ] {
            let expected = sql(app, &format!(
                "SELECT jsonb_build_object('client_id', '{client}', 'currencies', coalesce(jsonb_agg(jsonb_build_object(
                     'currency', currency, 'count', n, 'sum', s::text, 'min', lo::text, 'max', hi::text,
                     'mean', {HALF_EVEN}::text) ORDER BY currency), '[]'))
                 FROM (SELECT currency, count(*) AS n, sum(amount)::numeric(28,4) AS s, min(amount) AS lo, max(amount) AS hi
                       FROM transactions, settings WHERE client_id = '{client}' AND status <> 'failed' AND {condition}
                       GROUP BY currency) AS c"
            )).await;
            assert_eq!(app.get(&path(&format!("statistics{query}"))).await, expected, "{client}{query}");
        }
        assert_eq!(app.get(&path("risk-profile")).await, sql(app, &risk(client)).await, "{client}");
        assert_eq!(app.get(&path("spend-trend")).await, sql(app, &trend(client, "true")).await, "{client}");
        let part = "day BETWEEN '2025-03-12' AND '2025-03-25' AND currency = 'USD'";
        let query = "spend-trend?from=2025-03-12&to=2025-03-25&currency=USD";
        assert_eq!(app.get(&path(query)).await, sql(app, &trend(client, part)).await, "{client}");
        let averages = app.get(&format!("/api/v1/analytics/averages?limit=500&client_id={client}")).await;
        let condition = format!("client_id = '{client}'");
        assert_eq!(averages, sql(app, &averages_of(&condition)).await, "{client}");
    }
    let averages = app.get("/api/v1/analytics/averages?limit=500").await;
    assert_eq!(averages, sql(app, &averages_of("true")).await);
}

/// `s / n` with four decimals, half to even: what is left of the division decides.
pub const HALF_EVEN: &str = "(CASE WHEN abs(2 * mod(s * 10000, n)) = n AND mod(abs(div(s * 10000, n)), 2) = 0
    THEN div(s * 10000, n) / 10000 ELSE round(s / n, 4) END)::numeric(28,4)";

/// The risk profile from the rows, without any of the summaries.
fn risk(client: &str) -> String {
    format!(
        "WITH rows AS (SELECT * FROM transactions WHERE status <> 'failed'),
         spends AS (SELECT client_id, currency, coalesce(sum(amount) FILTER (WHERE kind IN ('buy', 'payment')), 0)::numeric(28,4) AS spend
                    FROM rows GROUP BY 1, 2),
         ranks AS (SELECT *, dense_rank() OVER (PARTITION BY currency ORDER BY spend DESC) AS rank FROM spends),
         own AS (SELECT currency, count(*) AS n, coalesce(round(stddev_pop(amount) / nullif(avg(amount), 0), 4), 0)::numeric(28,4) AS v,
                        max(amount) AS hi FROM rows WHERE client_id = '{client}' GROUP BY 1),
         gaps AS (SELECT occurred_at - lag(occurred_at) OVER (ORDER BY occurred_at) AS gap FROM rows WHERE client_id = '{client}')
         SELECT jsonb_build_object('client_id', '{client}',
             'shortest_gap_minutes', (SELECT round(extract(epoch FROM min(gap)) / 60, 4)::numeric(28,4)::text FROM gaps),
             'currencies', (SELECT coalesce(jsonb_agg(jsonb_build_object('currency', currency, 'count', n,
                 'lifetime_spend', spend::text, 'rank', rank, 'volatility', v::text, 'largest', hi::text) ORDER BY currency), '[]')
                 FROM own JOIN ranks USING (currency) WHERE client_id = '{client}'))"
    )
}

/// The trend from the rows: days by generate_series, the average by a window.
fn trend(client: &str, condition: &str) -> String {
    format!(
        "WITH rows AS (SELECT currency, (occurred_at AT TIME ZONE reporting_zone)::date AS day,
                              CASE WHEN kind IN ('buy', 'payment') THEN amount ELSE 0 END AS spend
                       FROM transactions, settings WHERE client_id = '{client}' AND status <> 'failed'),
         days AS (SELECT currency, d::date AS day FROM (SELECT currency, min(day) AS a, max(day) AS b FROM rows GROUP BY 1) AS r,
                         generate_series(a, b, interval '1 day') AS d),
         sums AS (SELECT currency, day, coalesce(sum(spend), 0) AS spend FROM days LEFT JOIN rows USING (currency, day) GROUP BY 1, 2),
         moving AS (SELECT *, sum(spend) OVER w AS s, count(*) OVER w AS n FROM sums
                    WINDOW w AS (PARTITION BY currency ORDER BY day ROWS 6 PRECEDING)),
         by_currency AS (SELECT currency, jsonb_agg(jsonb_build_object('day', day, 'spent', spend::numeric(28,4)::text,
                                'average_7d', {HALF_EVEN}::text) ORDER BY day) AS list
                         FROM moving WHERE {condition} GROUP BY currency)
         SELECT jsonb_build_object('client_id', '{client}', 'currencies',
             coalesce(jsonb_agg(jsonb_build_object('currency', currency, 'days', list) ORDER BY currency), '[]')) FROM by_currency"
    )
}

fn averages_of(condition: &str) -> String {
    format!(
        "WITH days AS (SELECT (occurred_at AT TIME ZONE reporting_zone)::date AS day, currency, count(*) AS n, sum(amount)::numeric(28,4) AS s
                       FROM transactions, settings WHERE status <> 'failed' AND {condition} GROUP BY 1, 2)
         SELECT jsonb_build_object('from', min(day), 'to', max(day), 'next', null, 'previous', null, 'items',
             coalesce(jsonb_agg(jsonb_build_object('day', day, 'currency', currency, 'count', n, 'sum', s::text,
                 'average', {HALF_EVEN}::text) ORDER BY day, currency), '[]')) FROM days"
    )
}

/// Trades of a few clients in two currencies, of every kind and status, over the days on which New York's clocks
/// change.
fn trades(from: u32, rows: u32, statuses: &[&str]) -> String {
    let mut file = HEADER.to_owned();
    for row in from..from + rows {
        let (day, hour) = (row * 7 % 40, row * 11 % 24);
        let date = chrono::NaiveDate::from_ymd_opt(2025, 3, 1).unwrap() + chrono::Days::new(day.into());
        let kind = ["buy", "sell", "payment", "refund", "payment"][row as usize % 5];
        let (currency, status) =
            (["USD", "USD", "EUR"][row as usize % 3], statuses[row as usize % statuses.len()]);
        let client = row % 9 + 1;
        file.push_str(&format!(
            "a{row},{client},{date}T{hour:02}:{:02}:{:02}Z,{}.{:04},{currency},{kind},{status},M{}\n",
            row % 60,
            row * 13 % 60,
            row % 97,
            row * 31 % 10_000,
            row % 4
        ));
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_equal_sql_over_the_rows_whatever_came_in_how() {
    let zone = chrono_tz::America::New_York;
    let app = App::start_with(AppOptions { zone, ..AppOptions::default() }).await;
    let clients = "client_id,name,account_currency\n1,Ann,EUR\nnobody,Nemo,USD\n";
    app.load("clients.csv", clients, "?kind=clients").await;
    let first = app.load("first.csv", trades(0, 400, &["success", "pending", "failed", "success"]), "").await;
    assert_eq!(first["counts"]["inserted"], 400, "{first}");
    // One row, one that failed, one in each currency at the same instant, midnights at a change of clocks.
    app.load(
        "few.csv",
        file(&[
            "one,single,2025-03-15T12:00:00Z,10.5,USD,payment,success,M1",
            "lost,failed-only,2025-03-15T12:00:00Z,10.5,USD,payment,failed,M1",
            "two1,twin,2025-03-09T05:00:00Z,1,USD,payment,success,M1",
            "two2,twin,2025-03-09T05:00:00Z,2,EUR,refund,success,M1",
            "two3,twin,2025-03-10T03:59:59Z,4,USD,buy,pending,M1",
            "back,gains,2025-03-11,7,USD,refund,success,M1",
            "zero,zeros,2025-03-12,0,USD,payment,success,M1",
            "zer2,zeros,2025-03-13,0,USD,payment,success,M1",
        ]),
        "",
    )
    .await;
    expect_figures_exact(&app).await;
    // Duplicates, statuses that move, late rows in old months.
    app.load("again.csv", trades(0, 400, &["success", "failed", "failed", "success"]), "?force=true").await;
    app.load(
        "late.csv",
        file(&[
            "late1,1,1971-05-05,3.3333,USD,payment,success,M1",
            "late2,2,2023-02-28T23:59:59Z,5000,EUR,buy,success,M2",
        ]),
        "",
    )
    .await;
    expect_figures_exact(&app).await;
    let more = app.load("more.csv", trades(400, 200, &["success"]), "").await;
    expect_figures_exact(&app).await;
    app.undo(&more).await;
    expect_figures_exact(&app).await;
}

/// It is asked alone, so that nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_long_history_has_the_figures_of_its_rows() {
    let app = App::start().await;
    let row = |n: u32| {
        let (day, second, kind) = (n % 40, n % 86_400, ["buy", "sell"][n as usize % 2]);
        let at = chrono::DateTime::UNIX_EPOCH
            + chrono::TimeDelta::days(20_150 + i64::from(day))
            + chrono::TimeDelta::seconds(i64::from(second));
        let currency = ["USD", "EUR"][(n / 3) as usize % 2];
        format!("t{n},long,{},{}.25,{currency},{kind},success,M1", at.to_rfc3339(), n % 97)
    };
    let mut rows: Vec<String> = (0..2_050).map(row).collect();
    rows.push("s1,short,2025-03-12T00:00:00Z,5,USD,payment,success,M1".to_owned());
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let loaded = app.load("long.csv", file(&rows), "").await;
    assert_eq!(loaded["counts"]["inserted"], 2_051, "{loaded}");
    expect_figures_exact(&app).await;
    // Together with others, too.
    let path = |client: &str| format!("/api/v1/clients/{client}/statistics");
    let alone = [app.get(&path("long")).await, app.get(&path("short")).await];
    let paths = ["long", "short"].map(path);
    for _ in 0..10 {
        let asked = (0..20).map(|n| app.get(&paths[n % 2]));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().enumerate().all(|(n, answer)| *answer == alone[n % 2]), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rankings_equal_sql_over_the_rows() {
    let app = App::start().await;
    app.load("trades.csv", trades(0, 400, &["success", "pending", "failed", "success"]), "").await;
    for (by, order) in [("amount", "s"), ("count", "n")] {
        let expected = sql(&app, &format!(
            "SELECT jsonb_build_object('currency', 'USD', 'items', jsonb_agg(to_jsonb(t) ORDER BY ord))
             FROM (SELECT row_number() OVER (ORDER BY {order} DESC, merchant_id) AS ord, merchant_id, n, s FROM (
                 SELECT merchant_id, count(*) AS n, sum(amount) AS s FROM transactions
                 WHERE status <> 'failed' AND currency = 'USD' AND occurred_at >= '2025-03-05' AND occurred_at < '2025-03-21'
                 GROUP BY 1) AS m LIMIT 3) AS x,
             LATERAL (SELECT merchant_id, n AS count, s::text AS sum) AS t"
        )).await;
        let path = format!("/api/v1/analytics/top-merchants?by={by}&from=2025-03-05&to=2025-03-20&limit=3");
        assert_eq!(app.get(&path).await, expected, "{by}");
        let expected = sql(&app, &format!(
            "SELECT jsonb_build_object('currency', 'EUR', 'items', jsonb_agg(to_jsonb(t) ORDER BY ord))
             FROM (SELECT row_number() OVER (ORDER BY {} DESC, client_id) AS ord, * FROM (
                 SELECT client_id, count(*) AS count, coalesce(sum(amount) FILTER (WHERE kind IN ('buy', 'payment')), 0)::numeric(28,4) AS spent,
                        coalesce(sum(amount) FILTER (WHERE kind IN ('sell', 'refund')), 0)::numeric(28,4) AS gained
                 FROM transactions WHERE status <> 'failed' AND currency = 'EUR' GROUP BY 1) AS m LIMIT 4) AS x,
             LATERAL (SELECT client_id, null AS name, count, spent::text, gained::text) AS t",
            if by == "amount" { "spent" } else { "count" }
        )).await;
        let path = format!("/api/v1/analytics/top-clients?by={by}&limit=4&currency=eur");
        assert_eq!(app.get(&path).await, expected, "{by}");
    }
    let expected = sql(&app, &format!(
        "SELECT jsonb_agg(jsonb_build_object('currency', currency, 'kind', kind, 'count', n, 'sum', s::text, 'min', lo::text,
             'max', hi::text, 'mean', {HALF_EVEN}::text) ORDER BY currency, kind)
         FROM (SELECT currency, kind, count(*) AS n, sum(amount)::numeric(28,4) AS s, min(amount) AS lo, max(amount) AS hi
               FROM transactions WHERE status <> 'failed' GROUP BY 1, 2) AS k"
    )).await;
    assert_eq!(app.get("/api/v1/analytics/breakdown").await["items"], expected);
    app.db.client.batch_execute("REFRESH MATERIALIZED VIEW client_transaction_summary").await.unwrap();
    let expected = sql(&app,
        "SELECT jsonb_agg(jsonb_build_object('currency', currency, 'total_transactions', n, 'buys', b, 'sells', s,
             'total_spent', spent::text, 'total_gained', gained::text) ORDER BY currency)
         FROM (SELECT currency, count(*) AS n, count(*) FILTER (WHERE kind = 'buy') AS b, count(*) FILTER (WHERE kind = 'sell') AS s,
                      coalesce(sum(amount) FILTER (WHERE kind = 'buy'), 0)::numeric(28,4) AS spent,
                      coalesce(sum(amount) FILTER (WHERE kind = 'sell'), 0)::numeric(28,4) AS gained
               FROM transactions WHERE client_id = '1' AND status <> 'failed' GROUP BY 1) AS k",
    ).await;
    assert_eq!(app.get("/api/v1/clients/1/trades-summary").await["currencies"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_transactions_has_nothing_and_an_unknown_one_is_404() {
    let app = App::start().await;
    app.load("clients.csv", "client_id,name\nquiet,Q\n", "?kind=clients").await;
    let nothing = json!({ "client_id": "quiet", "currencies": [] });
    for (figure, expected) in [
        ("statistics", nothing.clone()),
        ("spend-trend", nothing.clone()),
        ("risk-profile", json!({ "client_id": "quiet", "currencies": [], "shortest_gap_minutes": null })),
    ] {
        assert_eq!(app.get(&format!("/api/v1/clients/quiet/{figure}")).await, expected);
    }
    assert_eq!(app.get("/api/v1/clients/quiet/trades-summary").await["currencies"], json!([]));
    let empty = json!({ "from": null, "to": null, "items": [], "next": null, "previous": null });
    assert_eq!(app.get("/api/v1/analytics/averages?client_id=quiet").await, empty);
    assert_eq!(app.get("/api/v1/analytics/averages").await, empty);
    let paths = ["statistics", "risk-profile", "spend-trend", "trades-summary"]
        .map(|figure| format!("clients/nobody/{figure}"));
    for path in paths.iter().map(String::as_str).chain(["analytics/averages?client_id=nobody"]) {
        let (status, problem) = app.send(app.request(Method::GET, &format!("/api/v1/{path}"))).await;
        assert_eq!(
            (status, &problem["detail"]),
            (StatusCode::NOT_FOUND, &"There is no client \"nobody\".".into())
        );
    }
    for (path, field) in [
        ("clients/quiet/statistics?from=2025-02-01&to=2025-01-01", "to"),
        ("clients/quiet/spend-trend?from=2025-02-01&to=2025-01-01", "to"),
        ("clients/quiet/spend-trend?from=tomorrow", "from"),
        ("clients/quiet/risk-profile?currency=dollars", "currency"),
        ("clients/quiet/trades-summary?currency=USD", "currency"),
        ("analytics/averages?from=2025-02-01&to=2025-01-01", "to"),
        ("analytics/averages?cursor=00", "cursor"),
        ("analytics/top-merchants?limit=101", "limit"),
        ("analytics/top-clients?by=size", "by"),
        ("analytics/breakdown?kind=buy", "kind"),
    ] {
        let (status, problem) = app.send(app.request(Method::GET, &format!("/api/v1/{path}"))).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::BAD_REQUEST, &field.into()),
            "{path}: {problem}"
        );
    }
}

/// Ranks are kept, and yet of the same commit as the spend beside them.
#[tokio::test(flavor = "multi_thread")]
async fn ranks_are_exact_while_others_load() {
    let app = App::start().await;
    app.load("first.csv", files::rows(&["r0,7,1,2025-01-01,100", "r1,8,1,2025-01-01,50"]), "").await;
    let rank = async |client: &str| {
        let profile = app.get(&format!("/api/v1/clients/{client}/risk-profile")).await;
        (
            profile["currencies"][0]["lifetime_spend"].as_str().unwrap().to_owned(),
            profile["currencies"][0]["rank"].as_i64().unwrap(),
        )
    };
    assert_eq!((rank("7").await, rank("8").await), (("100.0000".to_owned(), 1), ("50.0000".to_owned(), 2)));
    // Each commit raises both by more than what lies between them: beside the spends of the commit before, 8
    // would be the first.
    let load = async {
        for step in 1..=12 {
            let rows = [format!("s{step},8,1,2025-01-02,60"), format!("t{step},7,1,2025-01-02,60")];
            app.load("step.csv", files::rows(&[&rows[0], &rows[1]]), "").await;
        }
    };
    let watch = async {
        loop {
            let (sevens, eights) = tokio::join!(rank("7"), rank("8"));
            assert_eq!((sevens.1, eights.1), (1, 2), "{sevens:?} {eights:?}");
        }
    };
    tokio::select! { () = load => {}, () = watch => {} }
    expect_figures_exact(&app).await;
}
