//! The contracts of the replaced services that give figures, row by row: E's of a user, C's by period.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use shared::{auth::Role, config::CompatConfig};
use tests::{App, AppOptions, browser::Browser, files};

/// Service E's two rows, and some of another user.
const ROWS: &[&str] = &[
    "550e8400-e29b-41d4-a716-446655440000,123,101,2025-01-15 10:00:00,100.50",
    "550e8400-e29b-41d4-a716-446655440001,123,102,2025-01-16 11:00:00,200.75",
    "550e8400-e29b-41d4-a716-446655440002,7,101,2025-01-10 10:00:00,10",
    "550e8400-e29b-41d4-a716-446655440003,7,101,2025-01-12 10:00:00,30",
    "550e8400-e29b-41d4-a716-446655440004,7,101,2025-01-12 10:00:00,20",
    "550e8400-e29b-41d4-a716-446655440005,9,101,2025-01-12 10:00:00,5",
    "550e8400-e29b-41d4-a716-446655440006,11,101,2025-01-12 10:00:00,5",
    "550e8400-e29b-41d4-a716-446655440007,13,101,2025-01-12 10:00:00,1",
];

async fn app() -> App {
    let app = App::start().await;
    let loaded = app.load("e.csv", files::rows(ROWS), "").await;
    assert_eq!(loaded["counts"]["inserted"], ROWS.len(), "{loaded}");
    app
}

async fn ask(app: &App, path: &str) -> (StatusCode, Value) {
    app.send(app.request(Method::GET, path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_summary_comes_in_service_es_shape() {
    let app = app().await;
    let range = "?start_date=2025-01-15&end_date=2025-01-16";
    let whole = json!({ "user_id": 123, "max_transaction": 200.75, "min_transaction": 100.5, "mean_transaction": 150.625 });
    for path in ["/summary/123", "/summary/123/", "/summary/%20123"] {
        assert_eq!(ask(&app, &format!("{path}{range}")).await, (StatusCode::OK, whole.clone()), "{path}");
    }
    let (_, day) = ask(&app, "/summary/123?start_date=2025-01-16&end_date=2025-01-16T00:00:00&x=1").await;
    assert_eq!(
        day,
        json!({ "user_id": 123, "max_transaction": 200.75, "min_transaction": 200.75, "mean_transaction": 200.75 })
    );
    // A number with a point, as E wrote it.
    let text = app
        .request(Method::GET, "/summary/7?start_date=2025-01-01&end_date=2025-01-31")
        .send()
        .await
        .unwrap();
    assert_eq!(
        text.text().await.unwrap(),
        r#"{"user_id":7,"max_transaction":30.0,"min_transaction":10.0,"mean_transaction":20.0}"#
    );
    let nothing = json!({ "detail": "No transactions found for user in the given date range." });
    for path in [
        "/summary/123?start_date=2024-01-01&end_date=2024-12-31",
        &format!("/summary/9999{range}"),
        &format!("/summary/99999999999999999999{range}"),
        &format!("/summary/-1{range}"),
    ] {
        assert_eq!(ask(&app, path).await, (StatusCode::NOT_FOUND, nothing.clone()), "{path}");
    }
    let turned = ask(&app, "/summary/123?start_date=2025-01-16&end_date=2025-01-15").await;
    assert_eq!(turned, (StatusCode::BAD_REQUEST, json!({ "detail": "start_date cannot be after end_date" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_service_e_could_not_read_is_422_in_its_words() {
    let app = app().await;
    let no_number = json!({ "type": "int_parsing", "loc": ["path", "user_id"], "input": "abc",
        "msg": "Input should be a valid integer, unable to parse string as an integer" });
    let bad_day = |name: &str| {
        json!({ "type": "date_from_datetime_parsing", "loc": ["query", name], "input": "bad",
        "msg": "Input should be a valid date or datetime, input is too short", "ctx": { "error": "input is too short" } })
    };
    let missing = |name: &str| json!({ "type": "missing", "loc": ["query", name], "msg": "Field required", "input": null });
    for (path, wrong) in [
        ("/summary/abc?start_date=bad", vec![no_number.clone(), bad_day("start_date"), missing("end_date")]),
        ("/summary/123", vec![missing("start_date"), missing("end_date")]),
        ("/analytics/risk-profile/abc", vec![no_number.clone()]),
        ("/analytics/spend-trend/abc/", vec![no_number]),
    ] {
        assert_eq!(
            ask(&app, path).await,
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": wrong })),
            "{path}"
        );
    }
    for day in ["2025-13-01", "2025-01-15T10:00:00", "0000-01-01"] {
        let (status, body) = ask(&app, &format!("/summary/123?start_date={day}&end_date=2025-01-31")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{day}: {body}");
        assert_eq!(body["detail"][0]["input"], day);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_risk_profile_comes_in_service_es_shape() {
    let app = app().await;
    let analysis = "High volatility implies erratic spending. Short transaction gaps may indicate automated or fraudulent activity.";
    let expected = json!({ "user_id": 123, "risk_metrics": { "global_whale_rank": 1, "spending_volatility_index": 0.33,
        "total_lifetime_spend": 301.25, "max_single_transaction_spike": 200.75,
        "shortest_time_between_transactions_mins": 1500.0 }, "analysis": analysis });
    for path in ["/analytics/risk-profile/123", "/analytics/risk-profile/123/"] {
        assert_eq!(ask(&app, path).await, (StatusCode::OK, expected.clone()), "{path}");
    }
    let metrics = async |user: i64| {
        ask(&app, &format!("/analytics/risk-profile/{user}")).await.1["risk_metrics"].clone()
    };
    // Equal spends share a rank, and the next one follows at once. A gap of 0.00 is null, as with one row.
    let ranks = [metrics(7).await, metrics(9).await, metrics(11).await, metrics(13).await];
    assert_eq!(ranks.each_ref().map(|metrics| metrics["global_whale_rank"].as_i64().unwrap()), [2, 3, 3, 4]);
    for metrics in ranks {
        assert_eq!(metrics["shortest_time_between_transactions_mins"], Value::Null, "{metrics}");
    }
    let unknown = json!({ "detail": "User not found or no transactions exist." });
    assert_eq!(ask(&app, "/analytics/risk-profile/9999").await, (StatusCode::NOT_FOUND, unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_spend_trend_comes_in_service_es_shape() {
    let app = app().await;
    let expected = json!([{ "spend_date": "2025-01-15", "daily_total": 100.5, "rolling_7d_avg": 100.5 },
        { "spend_date": "2025-01-16", "daily_total": 200.75, "rolling_7d_avg": 150.625 }]);
    for path in ["/analytics/spend-trend/123", "/analytics/spend-trend/123/"] {
        assert_eq!(ask(&app, path).await, (StatusCode::OK, expected.clone()), "{path}");
    }
    let (_, days) = ask(&app, "/analytics/spend-trend/7").await;
    assert_eq!(
        days,
        json!([{ "spend_date": "2025-01-10", "daily_total": 10.0, "rolling_7d_avg": 10.0 },
        { "spend_date": "2025-01-11", "daily_total": 0.0, "rolling_7d_avg": 5.0 },
        { "spend_date": "2025-01-12", "daily_total": 50.0, "rolling_7d_avg": 20.0 }])
    );
    let unknown = json!({ "detail": "No transactions found for this user." });
    assert_eq!(ask(&app, "/analytics/spend-trend/9999").await, (StatusCode::NOT_FOUND, unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_dashboard_is_a_page_as_at_service_e() {
    let app = app().await;
    for path in ["/dashboard/123", "/dashboard/123/"] {
        let answer = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()[header::CONTENT_TYPE]),
            (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
        );
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let page = answer.text().await.unwrap();
        assert!(
            page.starts_with("<!doctype html>") && page.contains("Transaction Analysis: User 123"),
            "{page}"
        );
        assert!(!page.contains("http://") && !page.contains("https://"), "it needs no other host");
        let figure =
            page.split_once("data-figure=\"dashboard-plot\">").unwrap().1.split_once("</script>").unwrap().0;
        let figure: Value = serde_json::from_str(figure).unwrap();
        let (bars, line) = (&figure["data"][0], &figure["data"][1]);
        assert_eq!((&bars["type"], &bars["name"]), (&json!("bar"), &json!("Daily Spend")));
        assert_eq!(
            (&line["type"], &line["mode"], &line["name"]),
            (&json!("scatter"), &json!("lines"), &json!("7-Day Moving Average"))
        );
        let titles = ["xaxis", "yaxis"].map(|axis| figure["layout"][axis]["title"]["text"].clone());
        assert_eq!(titles, ["Date", "Amount ($)"]);
        assert!(
            page.contains(
                "<tr><td>2025-01-16</td><td class=\"number\">200.75</td><td class=\"number\">150.625</td></tr>\n        \
                 <tr><td>2025-01-15</td><td class=\"number\">100.50</td><td class=\"number\">100.50</td></tr>"
            ),
            "{page}"
        );
    }
    for user in ["9999", "-1"] {
        let answer = app.request(Method::GET, &format!("/dashboard/{user}")).send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()[header::CONTENT_TYPE]),
            (StatusCode::NOT_FOUND, &"text/html; charset=utf-8".parse().unwrap())
        );
        assert_eq!(
            answer.text().await.unwrap(),
            format!("<h2>No data available to plot for User {user}</h2>")
        );
    }
    let (status, wrong) = ask(&app, "/dashboard/abc").await;
    assert_eq!(
        (status, &wrong["detail"][0]["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("int_parsing"))
    );
    // A browser without a session logs in first and comes back.
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let stranger = plain
        .get(format!("{}/dashboard/123", app.url))
        .header(header::ACCEPT, "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.headers()[header::LOCATION], "/ui/login?next=%2Fdashboard%2F123");
    // A session's cookie opens it, as a link in a browser does.
    let browser = Browser::log_in(&app, Role::Viewer).await;
    assert!(browser.page("/dashboard/123").await.contains("Transaction Analysis"));
}

#[tokio::test(flavor = "multi_thread")]
async fn service_es_figures_are_signed_and_of_the_installations_currency() {
    let app = app().await;
    let more = "transaction_id,user_id,timestamp,transaction_amount,currency,status\n\
                n1,123,2025-01-16 12:00:00,-50.25,,\n\
                n2,123,2025-01-14 12:00:00,1000,EUR,\n\
                n3,123,2025-01-13 12:00:00,9000,,failed\n\
                n4,21,2025-01-13 12:00:00,-3,,\n\
                n5,21,2025-01-13 12:01:30,-5,,\n";
    let loaded = app.load("signed.csv", more, "").await;
    assert_eq!(loaded["counts"]["inserted"], 5, "{loaded}");
    let (_, summary) = ask(&app, "/summary/123?start_date=2025-01-01&end_date=2025-01-31").await;
    assert_eq!(
        summary,
        json!({ "user_id": 123, "max_transaction": 200.75, "min_transaction": -50.25, "mean_transaction": 251.0 / 3.0 })
    );
    let (_, trend) = ask(&app, "/analytics/spend-trend/123").await;
    assert_eq!(trend[1]["daily_total"], 150.5, "{trend}");
    let (_, risk) = ask(&app, "/analytics/risk-profile/123").await;
    let metrics = &risk["risk_metrics"];
    assert_eq!(
        (&metrics["total_lifetime_spend"], &metrics["max_single_transaction_spike"]),
        (&251.0.into(), &200.75.into())
    );
    // E's index had the sign of the mean.
    let (_, risk) = ask(&app, "/analytics/risk-profile/21").await;
    assert_eq!(
        risk["risk_metrics"],
        json!({ "global_whale_rank": 5, "spending_volatility_index": -0.25,
        "total_lifetime_spend": -8.0, "max_single_transaction_spike": -3.0, "shortest_time_between_transactions_mins": 1.5 })
    );
}

const PERIODS: &str = "transaction_id,client_id,occurred_at,amount,currency,status,merchant_id
c1,1,2024-06-24,100000,,,m1
c2,1,2024-06-24 23:59:59,20000,,,m1
c3,1,2024-06-25,56000,,,m2
c4,1,2024-06-25,7.25,,,m1
c5,1,2024-06-25,1,EUR,,m1
c6,1,2024-06-25,9,,failed,m1
c7,1,2024-06-29,5,,,m1
c8,1,2025-03-20,1,,,m1
c9,1,2025-03-21,2,,,m1
";

#[tokio::test(flavor = "multi_thread")]
async fn service_cs_summaries_have_jalali_keys() {
    let app = App::start().await;
    let loaded = app.load("c.csv", PERIODS, "").await;
    assert_eq!(loaded["counts"]["inserted"], 9, "{loaded}");
    for (query, expected) in [
        (
            "mode=daily&type=amount",
            json!([{ "key": "1403/04/04", "value": 120_000 }, { "key": "1403/04/05", "value": 56_007.25 },
            { "key": "1403/04/09", "value": 5 }, { "key": "1403/12/30", "value": 1 }, { "key": "1404/01/01", "value": 2 }]),
        ),
        (
            "mode=weekly&type=count",
            json!([{ "key": "1403/04/02", "value": 4 }, { "key": "1403/04/09", "value": 1 },
            { "key": "1403/12/25", "value": 2 }]),
        ),
        (
            "mode=monthly&type=amount",
            json!([{ "key": "1403/04", "value": 176_012.25 }, { "key": "1403/12", "value": 1 },
            { "key": "1404/01", "value": 2 }]),
        ),
        ("mode=monthly&type=amount&merchant_id=m2", json!([{ "key": "1403/04", "value": 56_000 }])),
        ("mode=monthly&type=amount&currency=eur", json!([{ "key": "1403/04", "value": 1 }])),
        ("mode=weekly&type=amount&merchant_id=nobody", json!([])),
        (
            "mode=weekly&type=count&calendar=gregorian",
            json!([{ "key": "2024/06/24", "value": 5 }, { "key": "2025/03/17", "value": 2 }]),
        ),
        (
            "mode=monthly&type=count&calendar=gregorian",
            json!([{ "key": "2024/06", "value": 5 }, { "key": "2025/03", "value": 2 }]),
        ),
    ] {
        for path in ["/api/transactions/summary", "/api/transactions/summary/"] {
            assert_eq!(
                ask(&app, &format!("{path}?{query}")).await,
                (StatusCode::OK, expected.clone()),
                "{query}"
            );
        }
    }
    let required = json!(["This field is required."]);
    let (status, body) = ask(&app, "/api/transactions/summary").await;
    assert_eq!((status, body), (StatusCode::BAD_REQUEST, json!({ "mode": required, "type": required })));
    let (status, body) = ask(&app, "/api/transactions/summary?mode=yearly&type=amount").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["mode"][0].as_str().unwrap().contains("daily, weekly, monthly"), "{body}");
    let (status, body) = ask(&app, "/api/transactions/summary?mode=daily&type=amount&cursor=zz").await;
    assert_eq!((status, body["cursor"].is_array()), (StatusCode::BAD_REQUEST, true), "{body}");
    // Without /api it is a client's list, as service A had it.
    assert_eq!(ask(&app, "/transactions/summary").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_summary_ends_with_a_link() {
    let compat = CompatConfig { rows: 2, ..CompatConfig::default() };
    let app = App::start_with(AppOptions { compat, ..AppOptions::default() }).await;
    app.load("c.csv", PERIODS, "").await;
    let mut path = "/api/transactions/summary?mode=daily&type=count".to_owned();
    let mut keys = Vec::new();
    loop {
        let response = app.request(Method::GET, &path).send().await.unwrap();
        let link = response.headers().get(header::LINK).map(|link| link.to_str().unwrap().to_owned());
        let rows: Value = response.json().await.unwrap();
        keys.extend(rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()));
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(keys, ["1403/04/04", "1403/04/05", "1403/04/09", "1403/12/30", "1404/01/01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_without_credentials_need_the_operators_leave() {
    let paths = [
        "/summary/1?start_date=2025-01-01&end_date=2025-01-31",
        "/analytics/risk-profile/1",
        "/analytics/spend-trend/1/",
        "/dashboard/1",
        "/api/transactions/summary?mode=daily&type=count",
    ];
    let closed = App::start().await;
    let compat = CompatConfig { anonymous: true, ..CompatConfig::default() };
    let open = App::start_with(AppOptions { compat, ..AppOptions::default() }).await;
    open.load("e.csv", files::rows(&["o1,1,1,2025-01-15,5"]), "").await;
    for path in paths {
        let (status, body) = closed.send(closed.anonymous(Method::GET, path)).await;
        assert_eq!((status, body["detail"].is_string()), (StatusCode::UNAUTHORIZED, true), "{path}: {body}");
        let answer = open.anonymous(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let wrong = open.anonymous(Method::GET, path).bearer_auth("a.b.c");
        assert_eq!(open.send(wrong).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    let own = open.anonymous(Method::GET, "/api/v1/clients/1/risk-profile");
    assert_eq!(open.send(own).await.0, StatusCode::UNAUTHORIZED);
}
