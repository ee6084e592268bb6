//! The live view: what the server renders of the feed, and what its script makes of it in a browser.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use std::time::Duration;
use tests::{
    App, AppOptions,
    app::PASSWORD,
    browser::{Browser, between},
};

const PAGE: &str = "/ui/transactions/live";
const HOSTILE: &str = "M <b>&\"";

fn payment(id: &str, client: &str, amount: &str) -> Value {
    json!({ "transaction_id": id, "client_id": client, "occurred_at": "2026-11-20T10:00:00Z", "amount": amount })
}

async fn send(app: &App, body: &Value) {
    let (status, answer) = app.send(app.request(Method::POST, "/api/v1/transactions").json(body)).await;
    assert!(status.is_success(), "{answer}");
}

/// The rows of a page, without those that its script fills in.
fn rows(page: &str) -> Vec<&str> {
    let body = between(page, "id=\"feed\"", "</table>");
    body.split("<tr data-key=").skip(1).collect()
}

/// The links of a page's rows, in their order.
fn links(page: &str) -> Vec<&str> {
    rows(page).iter().map(|row| between(row, "class=\"row\" href=\"", "\"")).collect()
}

async fn quiet() -> App {
    App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_the_newest_events_are_there_and_lead_to_their_pages() {
    let app = App::start().await;
    let mut pending = payment("t/1", "c 1", "1234.5");
    pending["merchant_id"] = HOSTILE.into();
    pending["product_id"] = "p1".into();
    pending["status"] = "pending".into();
    send(&app, &pending).await;
    pending["status"] = "success".into();
    send(&app, &pending).await;
    // Its id is that of the view's address.
    send(&app, &payment("live", "c2", "-3")).await;
    app.account("ann", "100").await;
    app.stock("AAA", "10", 5).await;
    let bought = app.trade("ann", "buy", 2, "AAA").await;
    let refused = app.trade("ann", "sell", 7, "AAA").await;
    let trade = |trade: &Value| format!("/ui/trades/{}", trade["id"].as_str().unwrap());
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page(PAGE).await;
    let expected = [
        trade(&refused),
        trade(&bought),
        "/ui/transactions/%6Cive".into(),
        "/ui/transactions/t%2F1".into(),
        "/ui/transactions/t%2F1".into(),
    ];
    assert_eq!(links(&page), expected);
    let rows = rows(&page);
    assert!(rows[0].contains("insufficient holdings") && rows[0].contains("rejected"), "{}", rows[0]);
    assert!(rows[1].contains("2 × AAA at 10") && rows[1].contains(">20<"), "{}", rows[1]);
    assert!(rows[2].contains(">refund<") && rows[2].contains(">3<"), "{}", rows[2]);
    assert!(rows[3].contains("was pending") && rows[3].contains("success"), "{}", rows[3]);
    assert!(rows[4].contains("pending") && !rows[4].contains("was pending"), "{}", rows[4]);
    assert!(rows[4].contains("M &#60;b&#62;&#38;&#34; · p1") && rows[4].contains("1,234"), "{}", rows[4]);
    assert!(rows[4].contains("href=\"/ui/clients/c%201\""), "{}", rows[4]);
    assert!(page.contains("<noscript>") && page.contains("read them again"), "{page}");
    for link in links(&page) {
        browser.page(link).await;
    }
    // What comes after the rows, and nothing of them, is what a listener hears from there.
    let since = between(&page, "data-since=\"", "\"");
    send(&app, &payment("t9", "c1", "1")).await;
    let (mut listener, after) = app.listen(&format!("?since={since}")).await;
    assert_eq!(after, since);
    assert_eq!(listener.next().await["transaction"]["transaction_id"], "t9");
    let overview = browser.page("/ui").await;
    assert!(overview.contains("<a href=\"/ui/transactions/live\">Live</a></dt><dd>0.1"), "{overview}");
    assert!(browser.page("/ui/transactions").await.contains("href=\"/ui/transactions/live\">Live</a>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_the_rows_and_what_is_no_filter_is_said() {
    let app = quiet().await;
    for (id, client, amount) in [("t1", "c1", "5"), ("t2", "c2", "50"), ("t3", "c1", "1250.5")] {
        send(&app, &payment(id, client, amount)).await;
    }
    let mut refund = payment("t4", "c3", "7");
    refund["kind"] = "refund".into();
    refund["merchant_id"] = "m1".into();
    refund["status"] = "failed".into();
    send(&app, &refund).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for (query, expected) in [
        ("client_id=c1", vec!["t3", "t1"]),
        ("min_amount=50", vec!["t3", "t2"]),
        ("client_id=c1&min_amount=1,250.50", vec!["t3"]),
        ("merchant_id=m1&kind=refund&status=failed", vec!["t4"]),
        ("kind=refund&client_id=", vec!["t4"]),
    ] {
        let page = browser.page(&format!("{PAGE}?{query}")).await;
        let expected: Vec<String> = expected.iter().map(|id| format!("/ui/transactions/{id}")).collect();
        assert_eq!(links(&page), expected, "{query}");
        assert!(page.contains("data-clear>Clear</a>"), "{page}");
    }
    let page = browser.page(&format!("{PAGE}?client_id=c1&min_amount=1,250.50")).await;
    let stream = between(&page, "data-stream=\"", "\"").replace("&#38;", "&");
    assert_eq!(stream, "/api/v1/transactions/stream?client_id=c1&min_amount=1250.50");
    assert!(page.contains("name=\"client_id\" value=\"c1\""), "{page}");
    let page = browser.page(&format!("{PAGE}?client_id=nobody&status=failed")).await;
    assert!(page.contains("Nothing matches so far") && page.contains("Clear the filter"), "{page}");
    assert!(
        page.contains("None of the newest 4 events has the client nobody and the status failed"),
        "{page}"
    );
    let page = browser.page(&format!("{PAGE}?kind=gift&min_amount=much")).await;
    assert!(page.contains("“much” is no amount"), "{page}");
    assert_eq!(links(&page).len(), 4);
    assert!(page.contains("data-stream=\"/api/v1/transactions/stream\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_feed_says_what_it_is_and_how_the_first_one_is_sent() {
    let app = quiet().await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page(PAGE).await;
    assert!(page.contains("Nothing has come yet") && page.contains("curl"), "{page}");
    let command =
        between(&page, "<pre class=\"code\">", "</pre>").replace("&#34;", "\"").replace("&#39;", "'");
    let body: Value = serde_json::from_str(between(&command, "--json '", "'")).unwrap();
    send(&app, &body).await;
    let page = browser.page(PAGE).await;
    assert_eq!(links(&page), ["/ui/transactions/T-1"]);
    assert!(!page.contains("Nothing has come yet"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_begins_with_fifty_however_many_came() {
    let app = quiet().await;
    let many: Vec<Value> = (0..180).map(|at| payment(&format!("t{at}"), "c1", "1")).collect();
    for part in many.chunks(60) {
        let body = json!({ "transactions": part });
        let (status, answer) =
            app.send(app.request(Method::POST, "/api/v1/transactions:batch").json(&body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page(PAGE).await;
    let links = links(&page);
    assert_eq!((links.len(), links[0], links[49]), (50, "/ui/transactions/t179", "/ui/transactions/t130"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_signed_in_is_sent_to_the_login() {
    let app = quiet().await;
    let answer = app.anonymous(Method::GET, &format!("{PAGE}?kind=buy")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/ui/login?next=%2Fui%2Ftransactions%2Flive%3Fkind%3Dbuy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_follows_pauses_filters_and_comes_back_without_a_loss() {
    let mut app = App::start().await;
    app.start_scheduler();
    app.account("ann", "1000").await;
    app.stock("AAA", "10", 50).await;
    let _made = Browser::log_in(&app, Role::Viewer).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/live.mjs");
    let chromium = std::env::var("MILLRACE_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let watching = tokio::process::Command::new("node")
        .args(["--no-warnings", "--experimental-websocket", script, &chromium, &app.url])
        .args(["browser-viewer", PASSWORD, app.admin_token()])
        .kill_on_drop(true)
        .output();
    // The browser asks for another epoch by sending this transaction.
    let renewing = async {
        let db = &app.db;
        let asked = "SELECT count(*) FROM transactions WHERE transaction_id = 'renew'";
        while db.one::<i64>(asked, &[]).await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        db.client.execute("UPDATE feed_epoch SET epoch = epoch % 1000000 + 1", &[]).await.unwrap();
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = watching => output,
        () = renewing => unreachable!(),
    };
    let output = output.expect("node and chromium drive this test: install the packages nodejs and chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["first"], json!(["b1", "a1"]), "newest first: {seen}");
    assert_eq!(seen["paused"], json!({ "rows": ["b1", "a1"], "pill": "Show 2 new", "sign": "paused" }));
    assert_eq!(seen["resumed"], json!(["d1", "c1", "b1", "a1"]));
    assert_eq!(seen["pointed"], json!({ "rows": ["d1", "c1", "b1", "a1"], "pill": "Show 1 new" }));
    assert_eq!(seen["left"], json!(["e1", "d1", "c1", "b1", "a1"]));
    // What the script makes is what the server makes.
    assert_eq!(seen["made"], seen["rendered"]);
    assert_eq!(seen["made"].as_array().unwrap().len(), 12, "{seen}");
    assert_eq!(seen["narrowed"]["rows"], json!(["n2", "n1"]), "{seen}");
    assert_eq!(seen["narrowed"]["search"], "?client_id=cc&min_amount=10");
    assert_eq!(seen["back"], "", "the filter is gone with the address");
    assert_eq!(seen["noises"], json!([]), "{seen}");
    assert_eq!(seen["lost"], "reconnecting");
    let expected: Vec<String> = (0..30).rev().map(|at| format!("r{at}")).collect();
    assert_eq!(seen["after"], json!(expected), "each once, in order");
    assert_eq!(seen["flood"]["total"], 5000, "{seen}");
    assert_eq!(seen["flood"]["rows"], 200, "{seen}");
    assert_eq!(seen["flood"]["newest"], "f4999");
    assert!(seen["flood"]["longest"].as_f64().unwrap() < 3000.0, "the browser stood still: {seen}");
    let said = |notice: &str| seen[notice].as_str().unwrap().to_owned();
    assert!(said("gap").contains("1,234 events were left out because this browser was too slow."), "{seen}");
    assert!(said("reset").contains("The feed began anew. The rows were read again."), "{seen}");
    assert!(said("session").contains("You are signed out"), "{seen}");
    for look in seen["looks"].as_array().unwrap() {
        assert_eq!(look["overflow"], 0, "{look}");
    }
}
