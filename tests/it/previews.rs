//! Looking at a file before it is loaded: through the API, and as a browser without JavaScript does it.

use reqwest::{Method, StatusCode, multipart};
use serde_json::{Value, json};
use shared::auth::Role;
use tests::{
    App,
    app::PASSWORD,
    browser::{Browser, between, location},
    files,
};

/// A bank's export: another language, semicolons, Windows-1252, one bad row.
fn export() -> Vec<u8> {
    let text = "Buchung;Kunde;Datum;Betrag;Händler\n\
                b-1;K-1;2026-03-01 10:00:00;5.00;Bäckerei\n\
                b-2;K-1;2026-03-02 10:00:00;7.50;Müller\n\
                b-3;K-2;2026-03-03 10:00:00;viel;Bäckerei\n";
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

const MAPPING: &str = r#"{"transaction_id":"Buchung","client_id":"Kunde","occurred_at":"Datum","amount":3,"merchant_id":"Händler"}"#;

fn form(content: Vec<u8>, name: &str) -> multipart::Form {
    multipart::Form::new().part("file", multipart::Part::bytes(content).file_name(name.to_owned()))
}

async fn preview(app: &App, content: Vec<u8>, name: &str) -> String {
    let request = app.request(Method::POST, "/api/v1/previews").multipart(form(content, name));
    let (status, answer) = app.send(request).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["links"]["self"].as_str().unwrap().to_owned()
}

async fn load(app: &App, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.request(Method::POST, &format!("{path}/load")).json(&body)).await
}

fn stored_files(app: &App) -> usize {
    std::fs::read_dir(app.data_dir().join("files/uploads")).map_or(0, Iterator::count)
}

fn query(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        })
        .collect();
    pairs.join("&")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_looked_at_mapped_and_loaded_once() {
    let app = App::start().await;
    let path = preview(&app, export(), "märz.csv").await;
    let look = app.get(&format!("{path}?kind=transactions")).await;
    assert_eq!(look["format"]["delimiter"], ";", "{look}");
    assert_eq!(look["format"]["encoding"].as_str().unwrap().to_lowercase(), "windows-1252");
    assert_eq!(look["missing"], json!(["transaction_id", "client_id", "occurred_at", "amount"]));
    assert_eq!(look["columns"][4]["name"], "Händler");
    assert_eq!(look["columns"][4]["samples"][0], "Bäckerei");
    assert_eq!(look["mapping"]["source"], "names");
    assert_eq!(look["fields"][0]["required"], true);

    let mapped = app.get(&format!("{path}?{}", query(&[("mapping", MAPPING)]))).await;
    assert_eq!(mapped["missing"], json!([]), "{mapped}");
    assert_eq!(mapped["mapping"]["source"], "given");
    assert_eq!(mapped["rows"][1]["values"]["merchant_id"], "Müller");
    assert_eq!(mapped["rows"][2]["fault"]["code"], "bad_number");
    assert_eq!(mapped["rows"][2]["fault"]["column"], "Betrag");
    assert_eq!(mapped["records"], 3);

    let files = stored_files(&app);
    let body = json!({ "mapping": serde_json::from_str::<Value>(MAPPING).unwrap() });
    let (status, first) = load(&app, &path, body.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let upload = app.ended(first["id"].as_str().unwrap()).await;
    assert_eq!((&upload["counts"]["inserted"], &upload["counts"]["rejected"]), (&2.into(), &1.into()));
    let (status, again) = load(&app, &path, json!({})).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]));
    assert!(stored_files(&app) <= files + 1, "no second copy but the text made from it");
    let (status, gone) = app.send(app.request(Method::GET, &path)).await;
    assert_eq!(status, StatusCode::GONE);
    assert!(gone["detail"].as_str().unwrap().contains(first["id"].as_str().unwrap()), "{gone}");

    // A later file with the same header begins with that mapping, and is loaded with it.
    let later = String::from_utf8_lossy(&export()).replace("b-", "c-").replace('\u{fffd}', "x");
    let later =
        later.replace("Hxndler", "Händler").replace("Bxckerei", "Bäckerei").replace("Mxller", "Müller");
    let path = preview(&app, later.into_bytes(), "april.csv").await;
    let look = app.get(&path).await;
    assert_eq!(look["mapping"]["source"], "earlier_upload", "{look}");
    assert_eq!(look["mapping"]["upload_id"], first["id"]);
    assert_eq!(look["missing"], json!([]));
    let plain = app.get(&format!("{path}?{}", query(&[("mapping", "{}")]))).await;
    assert_eq!(plain["missing"].as_array().unwrap().len(), 4, "what is said counts: {plain}");
    let (_, second) = load(&app, &path, json!({})).await;
    assert_eq!(app.ended(second["id"].as_str().unwrap()).await["counts"]["inserted"], 2, "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_the_preview_to_be_loaded() {
    let app = App::start().await;
    let path = preview(&app, files::transactions(500, 1), "e.csv").await;
    let (status, checked) = load(&app, &path, json!({ "dry_run": true })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{checked}");
    assert_eq!(checked["dry_run"], true);
    let (status, again) = load(&app, &path, json!({ "dry_run": true })).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &checked["id"]));
    let ended = app.ended(checked["id"].as_str().unwrap()).await;
    assert_eq!(ended["counts"]["inserted"], 500, "{ended}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 0);
    let browser = Browser::log_in(&app, Role::Operator).await;
    let page = browser.page(&format!("/ui/uploads/{}", checked["id"].as_str().unwrap())).await;
    assert!(page.contains("A dry run: nothing was loaded.") && page.contains("would be inserted"), "{page}");
    let href = between(&page, "<a href=\"/ui/previews/", "\"").replace("&#38;", "&").replace("&amp;", "&");
    assert!(browser.page(&format!("/ui/previews/{href}")).await.contains("Load 500 rows"));

    let (status, loaded) = load(&app, &path, json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{loaded}");
    assert_ne!(loaded["id"], checked["id"]);
    assert_eq!(app.ended(loaded["id"].as_str().unwrap()).await["counts"]["inserted"], 500);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_its_creators_and_the_operators() {
    let app = App::start().await;
    let (mine, others) = (app.token(Role::Integration).await, app.token(Role::Integration).await);
    let send = app.anonymous(Method::POST, "/api/v1/previews").bearer_auth(&mine);
    let (status, answer) = app.send(send.multipart(form(files::transactions(5, 1), "e.csv"))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let path = answer["links"]["self"].as_str().unwrap();
    for (token, expected) in [
        (&mine, StatusCode::OK),
        (&others, StatusCode::NOT_FOUND),
        (&app.admin_token().to_owned(), StatusCode::OK),
    ] {
        let (status, answer) = app.send(app.anonymous(Method::GET, path).bearer_auth(token)).await;
        assert_eq!(status, expected, "{answer}");
    }
    let load = app.anonymous(Method::POST, &format!("{path}/load")).bearer_auth(&others);
    assert_eq!(app.send(load.json(&json!({}))).await.0, StatusCode::NOT_FOUND);
    let viewer = app.token(Role::Viewer).await;
    let (status, _) = app.send(app.anonymous(Method::GET, path).bearer_auth(viewer)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_that_cannot_be_used_is_named_with_what_is_allowed() {
    let app = App::start().await;
    let path = preview(&app, files::transactions(5, 1), "e.csv").await;
    for (parameter, said) in [
        ("delimiter=slash", "semicolon"),
        ("encoding=ebcdic", "windows-1252"),
        ("header_row=0", "it is a number from 1"),
        ("kind=clients&mapping=%7B%22amount%22%3A1%7D", "client_id"),
        ("mapping=%5B%5D", "JSON object"),
        ("zone=Mars", "zone"),
        ("colour=red", "known are"),
    ] {
        let (status, answer) = app.send(app.request(Method::GET, &format!("{path}?{parameter}"))).await;
        assert!([400, 422].contains(&status.as_u16()), "{parameter}: {status}");
        assert!(answer["detail"].as_str().unwrap().contains(said), "{parameter}: {answer}");
        let upload = app.upload("e.csv", files::transactions(5, 1), &format!("?{parameter}")).await;
        assert!([400, 422].contains(&upload.0.as_u16()), "{parameter}: {upload:?}");
    }
    for (body, field) in [
        (json!({ "delimiter": "slash" }), "delimiter"),
        (json!({ "header_row": 0 }), "header_row"),
        (json!({ "corrects": uuid::Uuid::now_v7() }), "corrects"),
        (json!({ "mapping": { "betrag": 1 } }), "mapping"),
    ] {
        let (status, answer) = load(&app, &path, body).await;
        assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &field.into()), "{answer}");
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_script_maps_the_columns_and_loads() {
    let app = App::start().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let path = location(&browser.preview("märz.csv", export()).await);
    let page = browser.page(&format!("{path}?kind=transactions")).await;
    assert!(page.contains("fields separated by semicolon"), "{page}");
    assert!(page.contains("a required field has no column"), "{page}");
    assert!(page.contains("aria-label=\"What Händler feeds\""), "{page}");
    let header = between(&page, "name=\"header\" value=\"", "\"").to_owned();

    let chosen = [
        ("kind", "transactions"),
        ("header", &header),
        ("column.0", "transaction_id"),
        ("column.1", "client_id"),
        ("column.2", "occurred_at"),
        ("column.3", "amount"),
        ("column.4", "merchant_id"),
        ("on_error", "skip"),
    ];
    let page = browser.page(&format!("{path}?{}", query(&chosen))).await;
    assert!(page.contains("Load 3 rows") && page.contains("Check 3 rows"), "{page}");
    assert!(page.contains("1 of these 3 rows would be rejected"), "{page}");
    assert!(page.contains("<option value=\"merchant_id\" selected>"), "{page}");
    for forbidden in [" style=", "<script>", " onclick=", "<style"] {
        assert!(!page.contains(forbidden), "it holds {forbidden}");
    }

    let load = format!("{path}/load");
    assert_eq!(browser.post(&load, &chosen).await.status(), StatusCode::FORBIDDEN, "without the token");
    let mut sent = chosen.to_vec();
    sent.push(("csrf_token", &browser.csrf));
    // The file reads differently now: what was chosen belongs to another header.
    let mut other = sent.clone();
    other.push(("delimiter", "tab"));
    let refused = browser.post(&load, &other).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let upload = location(&browser.post(&load, &sent).await);
    assert!(upload.ends_with("?notice=accepted"), "{upload}");
    let id = between(&upload, "/ui/uploads/", "?").to_owned();
    let ended = app.ended(&id).await;
    assert_eq!(
        (&ended["counts"]["inserted"], &ended["counts"]["rejected"]),
        (&2.into(), &1.into()),
        "{ended}"
    );
    assert_eq!(ended["options"]["mapping"]["amount"], "Betrag", "{ended}");
    let again = location(&browser.post(&load, &sent).await);
    assert_eq!(again, format!("/ui/uploads/{id}?notice=known"));
    assert_eq!(location(&browser.get(&path).await), format!("/ui/uploads/{id}"));
    let page = browser.page(&format!("/ui/uploads/{id}")).await;
    assert!(page.contains("columns mapped by hand") && page.contains("text in windows-1252"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_clients_is_taken_for_one() {
    let app = App::start().await;
    let path = preview(&app, b"client_id,email\nc-1,a@example.org\n".to_vec(), "c.csv").await;
    let look = app.get(&path).await;
    assert_eq!(look["kind"], "clients", "{look}");
    let (_, loaded) = load(&app, &path, json!({})).await;
    let ended = app.ended(loaded["id"].as_str().unwrap()).await;
    assert_eq!((&ended["kind"], &ended["counts"]["inserted"]), (&"clients".into(), &1.into()), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_looked_at_is_mapped_as_the_last_with_its_header() {
    let app = App::start().await;
    let file = |id: u32| format!("id,client_id,date,amount,Waehrung\n{id},c,2025-01-01,5,EUR\n");
    let first = app.load("first.csv", file(1), "?mapping=%7B%22currency%22:%22Waehrung%22%7D").await;
    let second = app.load("second.csv", file(2), "").await;
    assert_eq!(second["mapping"], first["mapping"], "{second}");
    assert!(second["warnings"][0].as_str().unwrap().contains("mapped as in first.csv"), "{second}");
    let euros = "SELECT count(*) FROM transactions WHERE currency = 'EUR'";
    assert_eq!(app.db.one::<i64>(euros, &[]).await, 2);
    // Its own mapping goes before, and one that was undone counts for nothing.
    let own = app.load("own.csv", file(3), "?mapping=%7B%22currency%22:null%7D").await;
    assert_eq!(own["ignored_columns"], json!(["Waehrung"]), "{own}");
    app.undo(&own).await;
    let last = app.load("last.csv", file(4), "").await;
    assert_eq!(last["mapping"], first["mapping"], "{last}");
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_with_script_sees_each_change_at_once() {
    let app = App::start().await;
    let _made = Browser::log_in(&app, Role::Operator).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("märz.csv");
    std::fs::write(&file, export()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/preview.mjs");
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
        .arg(&file)
        .kill_on_drop(true)
        .output()
        .await
        .expect("node and chromium drive this test: install the packages nodejs and chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["refused"], "a required field has no column", "{seen}");
    assert_eq!((&seen["button"], &seen["faults"]), (&"Load 3 rows".into(), &1.into()), "{seen}");
    assert_eq!(seen["stayed"], true, "the page was not left: {seen}");
    assert!(seen["address"].as_str().unwrap().contains("column.3=amount"), "the address says it all: {seen}");
    assert_eq!(seen["counts"], json!(["3", "2", "0", "0", "0", "1"]), "{seen}");
    assert_eq!(seen["rejects"], "1 reject by reason", "{seen}");
    assert_eq!(seen["noises"], json!([]), "{seen}");
}
