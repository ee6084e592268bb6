//! The pages of stocks, trades and accounts: what is listed, ordered, refused at its field, and taken back.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use tests::{
    App, AppOptions,
    app::PASSWORD,
    browser::{Browser, between, location},
    eventually,
};

const HOSTILE: &str = "Acme <b> & Sons";

/// A stock and a client with 1,000 dollars; each request is the administrator's.
async fn with_market(options: AppOptions) -> App {
    let app = App::start_with(options).await;
    let stock = json!({ "ticker": "ACME", "name": HOSTILE, "open_price": "10", "close_price": "12.5", "high": "13",
                        "low": "9.75", "volume": 100 });
    let (status, stock) = app.send(app.request(Method::POST, "/api/v1/stocks").json(&stock)).await;
    assert_eq!(status, StatusCode::CREATED, "{stock}");
    let ann = json!({ "username": "ann", "client_id": "c1", "name": "Ann <i>", "balance": "1000" });
    let (status, ann) = app.send(app.request(Method::POST, "/api/v1/clients").json(&ann)).await;
    assert_eq!(status, StatusCode::CREATED, "{ann}");
    app
}

async fn trade(app: &App, side: &str, volume: i64) -> Value {
    let order = json!({ "client_id": "c1", "ticker": "ACME", "side": side, "volume": volume });
    let request = app.request(Method::POST, "/api/v1/trades").header("Prefer", "wait=20").json(&order);
    let (status, trade) = app.send(request).await;
    assert_eq!(status, StatusCode::OK, "{trade}");
    trade
}

/// Sends a form; `typed` besides the token.
async fn send(browser: &Browser, path: &str, typed: &[(&str, &str)]) -> Response {
    let fields: Vec<(&str, &str)> =
        typed.iter().copied().chain([("csrf_token", browser.csrf.as_str())]).collect();
    browser.post(path, &fields).await
}

/// The page of a refused form.
async fn refused(answer: Response, status: StatusCode) -> String {
    assert_eq!(answer.status(), status);
    answer.text().await.unwrap()
}

/// What is complained of, in the order of the fields.
fn complaints(page: &str) -> Vec<&str> {
    let parts = page.split("<strong class=\"complaint\"").skip(1);
    parts.map(|part| between(part, "</svg><span>", "</span>").trim()).collect()
}

fn key_of(page: &str) -> String {
    between(page, "name=\"key\" value=\"", "\"").to_owned()
}

/// The page of a trade that was just ordered, once that is decided: a busy machine may take longer than a form
/// waits.
async fn decided(browser: &Browser, ordered: &Response) -> String {
    let place = location(ordered);
    let (path, notice) = place.split_once("?notice=").unwrap();
    assert!(["trade-settled", "trade-rejected", "trade-accepted"].contains(&notice), "{place}");
    eventually("the outcome", || async {
        (!browser.page(path).await.contains("not settled yet")).then(|| path.to_owned())
    })
    .await
}

async fn trades(app: &App) -> i64 {
    app.db.one("SELECT count(*) FROM trades", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_shows_what_there_is_and_escapes_it() {
    let app = with_market(AppOptions::default()).await;
    let (bought, sold) = (trade(&app, "buy", 10).await, trade(&app, "sell", 4).await);
    let rejected = trade(&app, "buy", 99).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let of = |trade: &Value| format!("/ui/trades/{}", trade["id"].as_str().unwrap());
    for (path, texts) in [
        ("/ui/stocks".to_owned(), vec!["Acme &#60;b&#62; &#38; Sons", "94 of 100 left", ">.50<"]),
        ("/ui/stocks?q=zzz".to_owned(), vec!["No stocks match", "begins with “zzz”"]),
        (
            "/ui/stocks/ACME".to_owned(),
            vec!["Acme &#60;b&#62;", "Buy 10 ACME", "insufficient volume", "94 of 100"],
        ),
        ("/ui/stocks/ACME?state=pending".to_owned(), vec!["No trades match"]),
        (
            "/ui/trades".to_owned(),
            vec!["Sell 4 ACME", "href=\"/ui/clients/c1\"", "+50<", "\u{2212}125<", "3 trades"],
        ),
        ("/ui/trades?state=rejected&client=c1".to_owned(), vec!["Buy 99 ACME", "1 trade<"]),
        ("/ui/trades?ticker=%3Cb%3E".to_owned(), vec!["No trades match", "the ticker “&#60;b&#62;”"]),
        ("/ui/trades?from=tomorrow".to_owned(), vec!["“tomorrow” is no day", "3 trades"]),
        ("/ui/trades?to=2020-01-01".to_owned(), vec!["No trades match", "a day up to 2020-01-01"]),
        (of(&bought), vec!["Buy 10 ACME", "settled", "\u{2212}125<", "+10<", "needs the role operator"]),
        (of(&sold), vec!["Sell 4 ACME", "Profit or loss", "+50<", "\u{2212}4<"]),
        (
            of(&rejected),
            vec!["Fewer shares of the stock were there than were to be bought.", "nothing moved"],
        ),
        (
            "/ui/clients/c1".to_owned(),
            vec!["href=\"/ui/clients/c1/holdings\"", "href=\"/ui/trades?client=c1\""],
        ),
        ("/ui/clients/c1/holdings".to_owned(), vec!["Ann &#60;i&#62;", ">ACME</a>", ">6<", "12<span"]),
        (
            "/ui/clients/c1/statement".to_owned(),
            vec!["Bought 10 ACME", "Sold 4 ACME", "925<", "Opening balance"],
        ),
        (
            "/ui/clients/c1/statement?ticker=ACME".to_owned(),
            vec!["Shares of ACME", "\u{2212}4<", ">6<", "+10<"],
        ),
        ("/ui/clients/c1/statement?ticker=X".to_owned(), vec!["No movements match"]),
        (
            format!("/ui/transactions/{}", bought["id"].as_str().unwrap()),
            vec!["what a trade moved", ">The trade</a>"],
        ),
        ("/ui/admin".to_owned(), vec!["Verify the ledger"]),
    ] {
        let page = browser.page(&path).await;
        for text in texts {
            assert!(page.contains(text), "{path} shows {text}: {page}");
        }
        assert!(!page.contains("<b> &") && !page.contains("Ann <i>"), "{path} escapes what was given");
    }
    for path in [
        "/ui/stocks/NONE",
        "/ui/stocks/%00",
        "/ui/trades/x",
        "/ui/clients/x/holdings",
        "/ui/clients/x/statement",
    ] {
        assert_eq!(browser.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(browser.get("/ui/clients/c1/statement?cursor=00").await.status(), StatusCode::BAD_REQUEST);
    // The search box knows both by what people see of them.
    let id = bought["id"].as_str().unwrap();
    for (sought, found) in
        [(id, of(&bought)), (&id[28..], of(&bought)), ("acme", "/ui/stocks/ACME".to_owned())]
    {
        assert_eq!(location(&browser.get(&format!("/ui?q={sought}")).await), found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_say_how_the_first_one_is_made() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    for (path, title, href) in
        [("/ui/trades", "No trade yet", "/ui/trades/new"), ("/ui/stocks", "No stock yet", "/ui/stocks/new")]
    {
        let page = browser.page(path).await;
        assert!(page.contains(title) && page.contains(&format!("href=\"{href}\"")), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_sent_twice_is_one_trade() {
    let app = with_market(AppOptions::default()).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page("/ui/trades/new?client=c1&ticker=ACME&side=buy").await;
    assert!(page.contains("value=\"c1\"") && page.contains("value=\"buy\" required checked"), "{page}");
    assert!(page.contains("0 shares of it") && page.contains("12<span class=\"cents\">.50"), "{page}");
    let key = key_of(&page);
    // Small letters mean the stock in capitals where there is no other.
    let order =
        [("key", key.as_str()), ("client", " c1 "), ("ticker", "acme"), ("side", "buy"), ("volume", "10")];
    let path = &decided(&browser, &send(&browser, "/ui/trades", &order).await).await;
    assert!(browser.page(path).await.contains("ordered by browser-operator"));
    let again = location(&send(&browser, "/ui/trades", &order).await);
    assert_eq!(again, format!("{path}?notice=trade-known"));
    assert_eq!(trades(&app).await, 1);

    // Another order from the same form, after a step back: said, and placed when sent once more.
    let mut other = order;
    other[4].1 = "20";
    let told = refused(send(&browser, "/ui/trades", &other).await, StatusCode::CONFLICT).await;
    assert!(told.contains("placed another order before") && told.contains("value=\"20\""), "{told}");
    assert!(told.contains("href=\"/ui/trades?client=c1\"") && key_of(&told) != key, "{told}");
    assert_eq!(trades(&app).await, 1);
    let fresh = key_of(&told);
    other[0].1 = &fresh;
    assert_ne!(&decided(&browser, &send(&browser, "/ui/trades", &other).await).await, path);
    let too_many = [
        ("key", "6ff0b4a0-51c7-4d1f-9a51-6b8d0a4dd0a1"),
        ("client", "c1"),
        ("ticker", "ACME"),
        ("side", "sell"),
        ("volume", "31"),
    ];
    let rejected = decided(&browser, &send(&browser, "/ui/trades", &too_many).await).await;
    assert!(browser.page(&rejected).await.contains("The client held fewer shares than were to be sold."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_order_stands_at_its_field_and_what_was_typed_stays() {
    let app = with_market(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let key = key_of(&browser.page("/ui/trades/new").await);
    let bad =
        [("key", key.as_str()), ("client", "<b>"), ("ticker", "NONE"), ("side", "hold"), ("volume", "1.5")];
    let told = refused(send(&browser, "/ui/trades", &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    let said = complaints(&told);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[0].contains("There is no client “&#60;b&#62;”") && said[1].contains("no stock “NONE”"),
        "{said:?}"
    );
    assert!(said[2].contains("buys or sells") && said[3].contains("a whole number"), "{said:?}");
    for typed in ["value=\"&#60;b&#62;\"", "value=\"NONE\"", "value=\"1.5\""] {
        assert!(told.contains(typed), "{typed}: {told}");
    }
    assert_eq!(key_of(&told), key, "nothing was placed under it");
    let named =
        [("key", key.as_str()), ("client", "ann"), ("ticker", "ACME"), ("side", "buy"), ("volume", "0")];
    let told = refused(send(&browser, "/ui/trades", &named).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(told.contains("This is a username; the client’s id is c1."), "{told}");
    assert!(told.contains("href=\"/ui/trades/new?client=c1&#38;ticker=ACME&#38;side=buy\""), "{told}");
    assert!(
        told.contains("from 1 to 2,147,483,647") && told.contains("value=\"buy\" required checked"),
        "{told}"
    );
    let keyless = [("client", "c1"), ("ticker", "ACME"), ("side", "buy"), ("volume", "1")];
    assert_eq!(send(&browser, "/ui/trades", &keyless).await.status(), StatusCode::BAD_REQUEST);
    let forged = [("csrf_token", "guessed"), ("key", key.as_str()), ("client", "c1")];
    assert_eq!(browser.post("/ui/trades", &forged).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(trades(&app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stocks_and_clients_are_made_by_forms_that_keep_what_was_typed() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let mut stock = [
        ("ticker", "A B"),
        ("name", "<i>"),
        ("currency", "eur"),
        ("open_price", "1,5"),
        ("close_price", "2"),
        ("high", "3"),
        ("low", "1"),
        ("volume", "many"),
    ];
    let told = refused(send(&browser, "/ui/stocks", &stock).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(complaints(&told).len(), 3, "{told}");
    assert!(
        told.contains("value=\"A B\"")
            && told.contains("value=\"&#60;i&#62;\"")
            && told.contains("value=\"1,5\"")
    );
    (stock[0].1, stock[3].1, stock[7].1) = ("A&B/C", "4", "1000");
    let told = refused(send(&browser, "/ui/stocks", &stock).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(complaints(&told), ["The open price value must be less than or equal to the high value."]);
    stock[3].1 = "2.5";
    let listed = send(&browser, "/ui/stocks", &stock).await;
    assert_eq!(location(&listed), "/ui/stocks/A%26B%2FC?notice=stock-listed");
    let page = browser.page(&location(&listed)).await;
    assert!(
        page.contains("&#60;i&#62;") && page.contains("1,000 of 1,000 left") && page.contains("EUR"),
        "{page}"
    );
    let told = refused(send(&browser, "/ui/stocks", &stock).await, StatusCode::CONFLICT).await;
    assert!(complaints(&told)[0].contains("There is a stock A&#38;B/C already"), "{told}");

    let mut client =
        [("username", "12"), ("balance", "-"), ("currency", ""), ("name", "Ann"), ("email", "nowhere")];
    let told = refused(send(&browser, "/ui/clients", &client).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(complaints(&told).len(), 3, "{told}");
    assert!(told.contains("value=\"nowhere\"") && told.contains("value=\"-\""), "{told}");
    (client[0].1, client[1].1, client[4].1) = ("ann", "1000.50", "ann@example.org");
    let registered = location(&send(&browser, "/ui/clients", &client).await);
    assert!(registered.ends_with("?notice=client-registered"), "{registered}");
    assert!(browser.page(&registered).await.contains("1,000<span class=\"cents\">.50</span>"));
    let told = refused(send(&browser, "/ui/clients", &client).await, StatusCode::CONFLICT).await;
    assert!(complaints(&told)[0].contains("username") && told.contains("value=\"1000.50\""), "{told}");
    let audited = "SELECT count(*) FROM audit_log WHERE actor = 'browser-operator' AND action = ANY($1)";
    let actions: &[&str] = &["stock.list", "client.register"];
    assert_eq!(app.db.one::<i64>(audited, &[&actions]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_no_form_and_changes_nothing() {
    let app = with_market(AppOptions::default()).await;
    let bought = trade(&app, "buy", 10).await;
    let path = format!("/ui/trades/{}", bought["id"].as_str().unwrap());
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    for form in ["/ui/trades/new", "/ui/stocks/new", "/ui/clients/new"] {
        assert_eq!(viewer.get(form).await.status(), StatusCode::FORBIDDEN, "{form}");
    }
    for (page, forms) in [
        ("/ui/trades", "/ui/trades/new"),
        ("/ui/stocks", "/ui/stocks/new"),
        ("/ui/stocks/ACME", "/ui/trades/new"),
        ("/ui/clients", "/ui/clients/new"),
        ("/ui/clients/c1", "/ui/trades/new"),
        ("/ui/clients/c1/holdings", "/ui/trades/new"),
        (path.as_str(), "/reverse"),
    ] {
        let shown = viewer.page(page).await;
        assert!(!shown.contains(forms) && shown.contains("needs the role operator"), "{page}: {shown}");
    }
    let reverse = format!("{path}/reverse");
    for action in ["/ui/trades", "/ui/stocks", "/ui/clients", "/ui/admin/verify-ledger", &reverse] {
        let answer = send(&viewer, action, &[("confirmed", "yes")]).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{action}");
    }
    // Whoever hands in files for another program orders, and takes nothing back.
    let program = Browser::log_in(&app, Role::Integration).await;
    assert!(program.page("/ui/trades").await.contains("href=\"/ui/trades/new\""));
    assert_eq!(send(&program, &reverse, &[("confirmed", "yes")]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(trades(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_is_taken_back_once_and_both_say_so() {
    let app = with_market(AppOptions::default()).await;
    let bought = trade(&app, "buy", 10).await;
    let path = format!("/ui/trades/{}", bought["id"].as_str().unwrap());
    let browser = Browser::log_in(&app, Role::Operator).await;
    assert!(browser.page(&path).await.contains("data-confirm=\"reverse-trade\""));
    let asked = send(&browser, &format!("{path}/reverse"), &[]).await;
    assert_eq!(asked.status(), StatusCode::OK);
    let asked = asked.text().await.unwrap();
    assert!(asked.contains("Reverse “Buy 10 ACME”?") && asked.contains("returns 125.00 USD"), "{asked}");
    assert_eq!(trades(&app).await, 1);

    let done = send(&browser, &format!("{path}/reverse"), &[("confirmed", "yes")]).await;
    let reversal = &decided(&browser, &done).await;
    let page = browser.page(reversal).await;
    assert!(page.contains("It took back trade") && page.contains(&format!("href=\"{path}\"")), "{page}");
    assert!(page.contains("a reversal: place a new trade instead"), "{page}");
    let page = browser.page(&path).await;
    assert!(
        page.contains("It was taken back by") && page.contains(&format!("href=\"{reversal}\"")),
        "{page}"
    );
    assert!(page.contains("already reversed") && !page.contains("data-confirm=\"reverse-trade\""), "{page}");
    for again in [&path, reversal] {
        let again = send(&browser, &format!("{again}/reverse"), &[("confirmed", "yes")]).await;
        assert_eq!(again.status(), StatusCode::CONFLICT);
    }
    assert_eq!(trades(&app).await, 2);
    assert!(browser.page("/ui/trades?state=reversed").await.contains("1 trade<"));
    assert_eq!(app.get("/api/v1/clients/c1").await["balance"], "1000.0000");
    let verified = send(&browser, "/ui/admin/verify-ledger", &[]).await;
    assert!(location(&verified).ends_with("?notice=verifying-ledger"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_trade_says_why_it_waits_and_can_be_withdrawn() {
    let app = with_market(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let key = key_of(&browser.page("/ui/trades/new").await);
    let order =
        [("key", key.as_str()), ("client", "c1"), ("ticker", "ACME"), ("side", "buy"), ("volume", "1")];
    let placed = location(&send(&browser, "/ui/trades", &order).await);
    let (path, notice) = placed.split_once("?notice=").unwrap();
    assert_eq!(notice, "trade-accepted");
    let page = browser.page(path).await;
    assert!(page.contains("http-equiv=\"refresh\"") && page.contains("not settled yet: no worker"), "{page}");
    assert!(page.contains("href=\"/ui/workers\"") && page.contains("pending"), "{page}");
    let run: String = app.db.one("SELECT run_id::text FROM trades", &[]).await;
    assert!(page.contains(&format!("href=\"/ui/runs/{run}\"")), "{page}");
    let cancel = send(&browser, &format!("/ui/runs/{run}/cancel"), &[("confirmed", "yes")]).await;
    assert_eq!(cancel.status(), StatusCode::SEE_OTHER);
    let page = browser.page(path).await;
    assert!(
        page.contains("Its settlement was cancelled by an operator") && page.contains("it moved nothing"),
        "{page}"
    );
    assert!(!page.contains("http-equiv=\"refresh\""), "{page}");
    // Runs are pruned, trades stay.
    app.db.client.execute("DELETE FROM runs WHERE kind = 'settle_trade'", &[]).await.unwrap();
    let page = browser.page(path).await;
    assert!(
        page.contains("which was pruned") && !page.contains(&format!("href=\"/ui/runs/{run}\"")),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_paged_within_its_filter() {
    let app = with_market(AppOptions::default()).await;
    for _ in 0..27 {
        trade(&app, "buy", 1).await;
    }
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page("/ui/stocks/ACME?state=settled").await;
    assert!(page.contains("25 trades on this page") && page.contains("<b>27</b>"), "{page}");
    let older = between(&page, "rel=\"next\" href=\"", "\"").replace("&#38;", "&");
    assert!(older.starts_with("/ui/stocks/ACME?state=settled&cursor="), "{older}");
    assert!(browser.page(&older).await.contains("2 trades on this page"));
    let list = browser.page("/ui/trades?client=c1").await;
    assert!(list.contains("state=settled\"") && list.contains("27 trades"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_places_an_order_and_takes_it_back() {
    let app = with_market(AppOptions::default()).await;
    trade(&app, "buy", 12).await;
    trade(&app, "sell", 2).await;
    trade(&app, "buy", 1000).await;
    let _made = Browser::log_in(&app, Role::Operator).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/trades.mjs");
    let chromium = std::env::var("MILLRACE_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let output = tokio::process::Command::new("node")
        .args([
            "--no-warnings",
            "--experimental-websocket",
            script,
            &chromium,
            &app.url,
            "browser-operator",
            PASSWORD,
        ])
        .kill_on_drop(true)
        .output()
        .await
        .expect("node and chromium drive this test: install the packages nodejs and chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["noises"], json!([]), "{seen}");
    assert!(seen["asked"].as_str().unwrap().contains("Reverse “Buy 3 ACME”?"), "{seen}");
    for look in seen["looks"].as_array().unwrap() {
        assert_eq!(look["overflow"], 0, "{look}");
    }
    assert_eq!(trades(&app).await, 5);
}
