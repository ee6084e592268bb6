//! The pages as a browser without JavaScript uses them: cookies, forms, redirects.

use reqwest::{Client, StatusCode, redirect::Policy};
use shared::auth::Role;
use tests::{
    App, AppOptions,
    app::PASSWORD,
    browser::{Browser, between, location},
};

const FILE: &str = "transaction_id,user_id,timestamp,transaction_amount\n\
                    t-1,u-1,2026-03-01 10:00:00,5.00\n\
                    t-2,u-1,2026-03-01 11:00:00,7.50\n\
                    t-3,u-1,2026-03-01 12:00:00,<script>alert(3)</script>\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_uploads_a_file_and_reads_what_became_of_it() {
    let app = App::start().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let path = location(&browser.upload(&browser.csrf, "<b>march</b>.csv", FILE).await);
    let id = between(&path, "/ui/uploads/", "?").to_owned();
    app.ended(&id).await;

    let page = browser.page(&format!("/ui/uploads/{id}")).await;
    assert!(page.contains("3 records"), "{page}");
    assert!(page.contains("1 reject by reason"), "{page}");
    assert!(!page.contains("<b>march") && !page.contains("<script>alert"), "what strangers wrote is escaped");
    let rejects = browser.page(&format!("/ui/uploads/{id}/rejects")).await;
    assert!(rejects.contains("t-3,u-1"), "{rejects}");

    let again = location(&browser.upload(&browser.csrf, "same.csv", FILE).await);
    assert_eq!(again, format!("/ui/uploads/{id}?notice=known"));
    for (path, text) in [
        ("/ui/clients/u-1", "12<span class=\"cents\">.50</span>"),
        ("/ui/transactions?q=t-2", "t-2"),
        ("/ui/transactions?from=2026-03-02", "No transactions match"),
        ("/ui/runs?q=kind:ingest_chunk", "ingest chunk"),
        ("/ui/clients?q=u-", "only the id is known"),
        ("/ui", "Latest uploads"),
    ] {
        assert!(browser.page(path).await.contains(text), "{path} shows {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_needs_inline_script_or_style() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Admin).await;
    let empty = [
        "/ui",
        "/ui/uploads",
        "/ui/uploads/new",
        "/ui/runs",
        "/ui/failures",
        "/ui/schedules",
        "/ui/schedules/new",
        "/ui/queues",
        "/ui/workers",
        "/ui/clients",
        "/ui/client-summaries",
        "/ui/clients/new",
        "/ui/transactions",
        "/ui/trades",
        "/ui/trades/new?client=u-1&side=buy",
        "/ui/stocks",
        "/ui/stocks/new",
        "/ui/analytics",
        "/ui/admin",
        "/ui/fx-rates",
        "/ui/generate",
    ];
    let upload = location(&browser.upload(&browser.csrf, "one.csv", FILE).await);
    let run = app.get("/api/v1/runs?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let full = [upload, format!("/ui/runs/{run}"), format!("/ui/runs/{run}/clone"), "/ui/nowhere".to_owned()];
    for path in empty.iter().map(ToString::to_string).chain(full) {
        let answer = browser.get(&path).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("style-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("<main"), "{path} is a page");
        for forbidden in [" style=", "<script>", " onclick=", "<style"] {
            assert!(!page.contains(forbidden), "{path} holds {forbidden}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_the_sessions_token_changes_nothing() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Admin).await;
    let refused = browser.upload("guessed", "one.csv", FILE).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM uploads", &[]).await, 0);

    let upload = location(&browser.upload(&browser.csrf, "one.csv", FILE).await);
    let upload = upload.split('?').next().unwrap();
    let refused =
        browser.post(&format!("{upload}/cancel"), &[("csrf_token", "guessed"), ("confirmed", "yes")]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    app.db.expect_nothing("SELECT id FROM runs WHERE cancel_requested").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_asks_first_and_is_audited() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let upload = location(&browser.upload(&browser.csrf, "one.csv", FILE).await);
    let upload = upload.split('?').next().unwrap();
    let cancel = format!("{upload}/cancel");

    let asked = browser.post(&cancel, &[("csrf_token", &browser.csrf)]).await;
    assert_eq!(asked.status(), StatusCode::OK);
    assert!(asked.text().await.unwrap().contains("Cancel the upload of one.csv?"));
    app.db.expect_nothing("SELECT id FROM runs WHERE cancel_requested").await;

    let done = browser.post(&cancel, &[("csrf_token", &browser.csrf), ("confirmed", "yes")]).await;
    assert_eq!(location(&done), format!("{upload}?notice=cancelled"));
    assert!(browser.page(upload).await.contains("It was cancelled."));
    let audited = "SELECT count(*) FROM audit_log WHERE actor = 'browser-operator' AND action = 'run.cancel'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 1);

    let retried = browser.post(&format!("{upload}/retry"), &[("csrf_token", &browser.csrf)]).await;
    assert_eq!(location(&retried), format!("{upload}?notice=retried"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_only_to_our_pages() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let stranger = Client::builder().redirect(Policy::none()).build().unwrap();
    let sent = stranger.get(format!("{}/ui/runs?state=failed", app.url)).send().await.unwrap();
    assert_eq!(location(&sent), "/ui/login?next=%2Fui%2Fruns%3Fstate%3Dfailed");
    for (next, goal) in [("/ui/runs?state=failed", "/ui/runs?state=failed"), ("https://example.com", "/ui")] {
        let fields = [("username", "browser-viewer"), ("password", PASSWORD), ("next", next)];
        assert_eq!(location(&browser.post("/ui/login", &fields).await), goal);
    }
    let wrong = browser.post("/ui/login", &[("username", "browser-viewer"), ("password", "guessed")]).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(wrong.text().await.unwrap().contains("The username or the password is wrong."));
    assert_eq!(browser.get("/ui/uploads/new").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_to_those_who_listen() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let mut stream = browser.get("/ui/live").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("event: beat"), "{first}");
    // What changes before the first look is no news: so there is another change each second.
    let changing = async {
        for n in 0.. {
            let answer = browser
                .upload(&browser.csrf, &format!("{n}.csv"), &FILE.replace("t-1", &format!("a-{n}")))
                .await;
            assert!(answer.status().is_redirection(), "{}", answer.status());
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    let listening = async {
        loop {
            let told = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
            if told.contains("event: change") {
                assert!(told.contains("data: "), "browsers pass on no event without data: {told}");
                break;
            }
        }
    };
    tokio::select! {
        () = listening => {}
        () = changing => unreachable!("it goes on"),
        () = tokio::time::sleep(std::time::Duration::from_secs(120)) => panic!("nothing was told"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_by_their_content() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let http = Client::new();
    let page = http.get(format!("{}/ui/login", app.url)).send().await.unwrap().text().await.unwrap();
    let sheet = between(&page, "rel=\"stylesheet\" href=\"", "\"");
    let answer = http.get(format!("{}{sheet}", app.url)).send().await.unwrap();
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    let etag = answer.headers()["etag"].clone();
    let known = http.get(format!("{}{sheet}", app.url)).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let missing = http.get(format!("{}/assets/../Cargo.toml", app.url)).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}
