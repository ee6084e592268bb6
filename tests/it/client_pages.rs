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
