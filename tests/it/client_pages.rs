//! The pages of clients: found and filtered, edited by two at once, and what each bought and sold.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::auth::Role;
use std::fmt::Write;
use tests::{
    App, AppOptions,
    browser::{Browser, between, location},
};

const HEADER: &str = "client_id,name,email,country,account_type,account_balance,phone_number\n";
const PEOPLE: &str = "c1,Ann Müller-Lang,ann@example.org,Chad,standard,10,(988)652-6842x906\n\
                      c2,Bob O'Neil,bob@example.org,Peru,premium,-5,0049 30 1234\n\
                      C3,Cid <b>,cid@example.org,Peru,corporate,1,\n";

async fn with_people() -> App {
    let app = App::start().await;
    app.load("people.csv", format!("{HEADER}{PEOPLE}"), "?kind=clients").await;
    app.load("t.csv", tests::files::rows(&["t1,stub-1,1,2025-01-15,1"]), "").await;
    app
}

fn ids(listing: &Value) -> Vec<&str> {
    listing["items"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_found_by_what_people_know_of_them() {
    let app = with_people().await;
    for (query, found) in [
        ("search=c1", vec!["c1"]),
        ("search=mül", vec!["c1"]),
        ("search=lang%20an", vec!["c1"]),
        ("search=O'N", vec!["c2"]),
        ("search=BOB@ex", vec!["c2"]),
        ("search=988%20652", vec!["c1"]),
        ("search=%2B49%2030", vec!["c2"]),
        ("search=stub", vec!["stub-1"]),
        ("search=c", vec!["C3", "c1", "c2"]),
        ("search=eil", vec![]),
        ("search=%25", vec![]),
        ("search=%27%20%5C%20%7C%20%21%20%3A*", vec![]),
        ("search=%20", vec!["C3", "c1", "c2", "stub-1"]),
        ("country=Peru", vec!["C3", "c2"]),
        ("country=Peru&account_type=premium", vec!["c2"]),
        ("status=suspended", vec!["c2"]),
        ("status=active", vec!["C3", "c1", "stub-1"]),
        ("status=active&search=c", vec!["C3", "c1"]),
    ] {
        let listing = app.get(&format!("/api/v1/clients?{query}")).await;
        assert_eq!(ids(&listing), found, "{query}");
    }
    let (status, refused) = app.send(app.request(Method::GET, "/api/v1/clients?status=asleep")).await;
    assert_eq!((status, &refused["field"]), (StatusCode::BAD_REQUEST, &"status".into()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_keeps_its_filter_in_the_address() {
    let app = with_people().await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page("/ui/clients?q=c&country=Peru&status=active").await;
    assert!(page.contains("Cid &#60;b&#62;") && !page.contains("O&#39;Neil"), "{page}");
    assert!(page.contains("<option value=\"Peru\" selected>"), "{page}");
    assert!(page.contains("<input type=\"hidden\" name=\"status\" value=\"active\">"), "{page}");
    for href in [
        "/ui/clients?q=c&#38;country=Peru\"",
        "q=c&#38;country=Peru&#38;status=suspended\"",
        "type=premium\"",
    ] {
        assert!(page.contains(href), "{href}: {page}");
    }
    let none = browser.page("/ui/clients?country=Atlantis&type=premium").await;
    assert!(
        none.contains("No clients match")
            && none.contains("the country Atlantis and the account type premium")
    );
    assert!(none.contains("<option value=\"Atlantis\" selected>"), "{none}");
    let odd = browser.page("/ui/clients?status=asleep&type=&q=%00").await;
    assert!(odd.contains("4 clients"), "what means nothing is left out: {odd}");
}

async fn change(app: &App, id: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.request(Method::PATCH, &format!("/api/v1/clients/{id}")).json(&body)).await
}

async fn edits(app: &App) -> i64 {
    app.db.one("SELECT count(*) FROM audit_log WHERE action = 'client.edit'", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn contact_fields_are_changed_once_and_noted_with_both_sides() {
    let app = with_people().await;
    let ann = app.get("/api/v1/clients/c1").await;
    let version = ann["contact_version"].clone();
    let body = json!({ "contact_version": version, "email": " Ann@example.com ", "country": null, "address": "1 Road\r\nTown" });
    let (status, changed) = change(&app, "c1", body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((&changed["email"], &changed["country"]), (&"Ann@example.com".into(), &Value::Null));
    assert_eq!((&changed["address"], &changed["name"]), (&"1 Road\nTown".into(), &ann["name"]));
    let noted: Value =
        app.db.one("SELECT to_jsonb(a) FROM audit_log a WHERE action = 'client.edit'", &[]).await;
    assert_eq!(noted["subject"], "c1", "{noted}");
    let actor = noted["actor"].as_str().unwrap();
    let before = json!({ "email": "ann@example.org", "country": "Chad", "address": null });
    let after = json!({ "email": "Ann@example.com", "country": null, "address": "1 Road\nTown" });
    assert_eq!(noted["details"], json!({ "before": before, "after": after }));

    // The same again has its effect already; other values by the old version are refused.
    assert_eq!(change(&app, "c1", body).await.0, StatusCode::OK);
    let stale = json!({ "contact_version": version, "name": "Anna" });
    let (status, refused) = change(&app, "c1", stale).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains(&format!("changed by {actor} since they were read")),
        "{refused}"
    );
    assert_eq!(edits(&app).await, 1);

    let version = app.get("/api/v1/clients/c1").await["contact_version"].clone();
    let file = format!("{HEADER}c1,Ann Lang,,,,,\n");
    app.load("later.csv", file, "?kind=clients").await;
    let (status, refused) = change(&app, "c1", json!({ "contact_version": version, "name": "Anna" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("a clients file has changed them"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said_at_each_field() {
    let app = with_people().await;
    let version = app.get("/api/v1/clients/c1").await["contact_version"].clone();
    let bad = json!({ "contact_version": version, "email": "nowhere", "phone_number": "1".repeat(51), "name": "A\tB" });
    let (status, refused) = change(&app, "c1", bad).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let fields: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "email", "phone_number"], "{refused}");
    assert!(refused["errors"][1]["detail"].as_str().unwrap().contains("write it like"), "{refused}");

    // An array of the fields' values would empty those that it does not name.
    let (status, refused) = change(&app, "c1", json!([version, "Array", null, null, null, null])).await;
    assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"body".into()), "{refused}");
    let unseen = json!({ "contact_version": version, "name": "\u{200b} " });
    assert_eq!(change(&app, "c1", unseen).await.0, StatusCode::UNPROCESSABLE_ENTITY);

    let taken = json!({ "contact_version": version, "email": "BOB@example.org" });
    let (status, refused) = change(&app, "c1", taken).await;
    assert_eq!((status, &refused["field"]), (StatusCode::CONFLICT, &"email".into()), "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("the e-mail of client c2 \"Bob O'Neil\""),
        "{refused}"
    );

    for (id, body, status) in [
        ("nobody", json!({ "contact_version": "x", "name": "N" }), 404),
        ("c1", json!({ "name": "N" }), 422),
        ("c1", json!({ "contact_version": version, "balance": "7" }), 422),
        ("c1", json!({ "contact_version": version, "name": "N\u{0}" }), 422),
    ] {
        assert_eq!(change(&app, id, body.clone()).await.0.as_u16(), status, "{body}");
    }
    assert_eq!(edits(&app).await, 0);
    let viewer = app.token(Role::Viewer).await;
    let request = app.anonymous(Method::PATCH, "/api/v1/clients/c1").bearer_auth(viewer);
    assert_eq!(app.send(request.json(&json!({}))).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_wanted_by_two_at_once_goes_to_one_and_the_other_is_told_whose_it_is() {
    let app = with_people().await;
    for round in 0..5 {
        let email = format!("both{round}@example.org");
        let ask = async |id: &str| {
            let version = app.get(&format!("/api/v1/clients/{id}")).await["contact_version"].clone();
            change(&app, id, json!({ "contact_version": version, "email": email })).await
        };
        let (one, other) = tokio::join!(ask("c1"), ask("c2"));
        let mut both = [one, other];
        both.sort_by_key(|(status, _)| status.as_u16());
        assert_eq!([both[0].0, both[1].0], [StatusCode::OK, StatusCode::CONFLICT], "{both:?}");
        let said = both[1].1["detail"].as_str().unwrap().to_owned();
        assert!(said.contains("the e-mail of client c"), "{said}");
    }
}

/// The fields of the form on an edit page, as a browser would send them.
fn form(page: &str) -> Vec<(&str, String)> {
    let value = |name: &str| {
        let start = format!("name=\"{name}\" value=\"");
        between(page, &start, "\"").replace("&#39;", "'")
    };
    let mut fields: Vec<(&str, String)> = ["contact_version", "name", "email", "phone_number", "country"]
        .map(|name| (name, value(name)))
        .to_vec();
    let address = between(page, "<textarea name=\"address\"", "</textarea>");
    fields.push(("address", address.split_once(">\n").unwrap().1.to_owned()));
    fields
}

async fn send(browser: &Browser, path: &str, fields: &[(&str, String)]) -> reqwest::Response {
    let token = ("csrf_token", browser.csrf.as_str());
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).chain([token]).collect();
    browser.post(path, &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_a_client_at_once_the_second_decides_knowingly() {
    let app = with_people().await;
    let (ada, bea) = (Browser::log_in(&app, Role::Admin).await, Browser::log_in(&app, Role::Operator).await);
    let path = "/ui/clients/c2/edit";
    assert!(ada.page("/ui/clients/c2").await.contains("href=\"/ui/clients/c2/edit\""));
    let page = bea.page(path).await;
    assert!(page.contains("Nobody has edited it."), "{page}");

    let unchanged = send(&bea, path, &form(&page)).await;
    assert_eq!(location(&unchanged), "/ui/clients/c2?notice=client-unchanged");
    assert_eq!(edits(&app).await, 0);
    let forged = bea.post(path, &[("csrf_token", "guessed"), ("name", "Mallory")]).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);

    let with = |page: &str, name: &str, value: &str| -> Vec<(&'static str, String)> {
        let names = ["contact_version", "name", "email", "phone_number", "country", "address"];
        let typed = form(page);
        let of = |one: &str| typed.iter().find(|(field, _)| *field == one).unwrap().1.clone();
        names.map(|one| (one, if one == name { value.to_owned() } else { of(one) })).to_vec()
    };
    let saved = send(&ada, path, &with(&page, "country", "Chile")).await;
    assert_eq!(location(&saved), "/ui/clients/c2?notice=client-saved");

    let overtaken = send(&bea, path, &with(&page, "name", "Robert O'Neil")).await;
    assert_eq!(overtaken.status(), StatusCode::CONFLICT);
    let told = overtaken.text().await.unwrap();
    assert!(told.contains("browser-admin has changed country meanwhile"), "{told}");
    assert!(told.contains("Stored now: Bob O&#39;Neil") && !told.contains("Stored now: Chile"), "{told}");
    assert!(told.contains("value=\"Robert O&#39;Neil\""), "what was typed is kept: {told}");
    // What she had left alone is what is stored now: saving again takes nobody's change back.
    assert_eq!(location(&send(&bea, path, &form(&told)).await), "/ui/clients/c2?notice=client-saved");
    let bob = app.get("/api/v1/clients/c2").await;
    assert_eq!((&bob["name"], &bob["country"]), (&"Robert O'Neil".into(), &"Chile".into()));
    let page = bea.page(path).await;
    assert!(
        page.contains("<del>Peru</del>\n→ <ins>Chile</ins>") && page.contains("browser-operator"),
        "{page}"
    );

    let refused = send(&bea, path, &with(&page, "email", "ann@EXAMPLE.org")).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let told = refused.text().await.unwrap();
    assert!(
        told.contains("<a href=\"/ui/clients/c1\">That client</a>") && told.contains("ann@EXAMPLE.org"),
        "{told}"
    );
    let refused = send(&bea, path, &with(&page, "email", "<i>")).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("value=\"&#60;i&#62;\""));
    assert_eq!(edits(&app).await, 2);

    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert_eq!(viewer.get(path).await.status(), StatusCode::FORBIDDEN);
    assert!(viewer.page("/ui/clients/c2").await.contains("needs the role operator"));
    assert_eq!(ada.get("/ui/clients/nobody/edit").await.status(), StatusCode::NOT_FOUND);
}

/// Trades of 120 clients in two currencies; some failed.
fn trades() -> String {
    let mut file = "transaction_id,client_id,occurred_at,amount,currency,kind,status\n".to_owned();
    for row in 0..900_u32 {
        let (client, kind) = (row * 7 % 120, ["buy", "sell", "payment"][row as usize % 3]);
        let (currency, status) =
            (["USD", "EUR"][row as usize / 3 % 2], ["success", "failed"][usize::from(row % 11 == 0)]);
        writeln!(
            file,
            "t{row},K{client:03},2026-01-{:02} 10:00:00,{}.25,{currency},{kind},{status}",
            row % 28 + 1,
            row % 17
        )
        .unwrap();
    }
    file
}

/// Client and currency of each row, page by page to the end and back again.
async fn walk(browser: &Browser, path: &str) -> Vec<(String, String)> {
    let read = |page: &str| -> Vec<(String, String)> {
        let rows = page.split("<tr data-key=\"").skip(1).map(|row| row.split('"').next().unwrap());
        rows.map(|key| {
            key.split_once(' ').map(|(client, currency)| (client.into(), currency.into())).unwrap()
        })
        .collect()
    };
    let way = |page: &str, rel: &str| {
        let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
        Some(rest.split('"').next().unwrap().replace("&#38;", "&"))
    };
    let mut page = browser.page(path).await;
    let mut rows = read(&page);
    while let Some(next) = way(&page, "next") {
        page = browser.page(&next).await;
        rows.extend(read(&page));
    }
    let mut back = read(&page);
    while let Some(previous) = way(&page, "prev") {
        page = browser.page(&previous).await;
        back.splice(0..0, read(&page));
    }
    assert_eq!(rows, back, "{path}: back is the same way");
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn summaries_are_listed_in_every_order_from_the_view_alone() {
    let app = App::start().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let empty = browser.page("/ui/client-summaries").await;
    assert!(empty.contains("never refreshed") && empty.contains("No summary yet"), "{empty}");
    app.load("trades.csv", trades(), "").await;
    app.load("people.csv", format!("{HEADER}K007,Ann Bond,ann@example.org,,,,\n"), "?kind=clients").await;
    app.db.client.batch_execute("REFRESH MATERIALIZED VIEW client_transaction_summary").await.unwrap();
    // Nobody reads the rows from here on: they would wait for ever.
    let lock = app.db.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for (sort, order) in [
        ("", "client_id, currency"),
        ("sort=transactions", "currency, total_transactions DESC, client_id"),
        ("sort=spent", "currency, total_spent DESC, client_id"),
        ("sort=gained", "currency, total_gained DESC, client_id"),
    ] {
        for (filter, condition) in [
            ("", "true"),
            ("&currency=EUR", "currency = 'EUR'"),
            ("&q=K00", "client_id LIKE 'K00%'"),
            ("&q=bon", "client_id = 'K007'"),
        ] {
            let sql = format!(
                "SELECT client_id, currency FROM client_transaction_summary WHERE {condition} ORDER BY {order}"
            );
            let expected: Vec<(String, String)> = app
                .db
                .client
                .query(&sql, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect();
            assert!(!expected.is_empty());
            assert_eq!(
                walk(&browser, &format!("/ui/client-summaries?{sort}{filter}")).await,
                expected,
                "{sort}{filter}"
            );
        }
    }
    let page = browser.page("/ui/client-summaries?q=bond&currency=USD").await;
    assert!(page.contains("href=\"/ui/clients/K007\"") && page.contains("Ann Bond"), "{page}");
    assert!(
        browser
            .page("/ui/client-summaries?currency=CHF")
            .await
            .contains("Nothing is stored with the currency CHF")
    );
    assert_eq!(browser.get("/ui/client-summaries?cursor=zz").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summaries_are_refreshed_from_their_page() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let path = "/ui/client-summaries/refresh";
    let token = ("csrf_token", browser.csrf.as_str());
    let here = "/ui/client-summaries?currency=USD&sort=spent";
    assert_eq!(
        location(&browser.post(path, &[token, ("next", here)]).await),
        format!("{here}&notice=summary-refreshing")
    );
    for foreign in ["https://example.com", "/ui/client-summariesx", "/ui/runs"] {
        let answer = browser.post(path, &[token, ("next", foreign)]).await;
        assert_eq!(location(&answer), "/ui/client-summaries?notice=summary-refreshing");
    }
    let runs = "SELECT count(*) FROM runs WHERE kind = 'refresh_client_summary'";
    assert_eq!(app.db.one::<i64>(runs, &[]).await, 1, "one that waits serves all who ask");
    let run = app.get("/api/v1/runs?kind=refresh_client_summary").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = browser.page("/ui/client-summaries").await;
    assert!(
        page.contains(&format!("href=\"/ui/runs/{run}\"")) && page.contains("by browser-operator"),
        "{page}"
    );
    assert!(page.contains("http-equiv=\"refresh\""), "without script the page follows: {page}");
    assert_eq!(browser.post(path, &[("csrf_token", "guessed")]).await.status(), StatusCode::FORBIDDEN);
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert!(viewer.page("/ui/client-summaries").await.contains("needs the role operator"));
}
