//! A browser without JavaScript: cookies, forms, redirects.

use crate::{App, app::PASSWORD};
use reqwest::{Client, Response, StatusCode, multipart, redirect::Policy};
use shared::auth::Role;

/// A browser that has logged in.
pub struct Browser {
    http: Client,
    url: String,
    /// What its forms carry.
    pub csrf: String,
}

impl Browser {
    /// A user of a role, fresh, who logs in.
    pub async fn log_in(app: &App, role: Role) -> Self {
        let name = format!("browser-{role}");
        let mut conn = app.env.pool.get().await.expect("a connection");
        shared::auth::create_user(&mut conn, &name, None, PASSWORD, role).await.expect("a user");
        let http = Client::builder().cookie_store(true).redirect(Policy::none()).build().expect("a client");
        let mut browser = Self { http, url: app.url.clone(), csrf: String::new() };
        let answer = browser.post("/ui/login", &[("username", &name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let page = browser.page("/ui").await;
        browser.csrf = between(&page, "name=\"csrf_token\" value=\"", "\"").to_owned();
        browser
    }

    /// GETs a page.
    pub async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer")
    }

    /// The text of a page that is there.
    pub async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.expect("a body")
    }

    /// Sends a form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.http.post(format!("{}{path}", self.url)).form(fields).send().await.expect("an answer")
    }

    /// Hands a file in to be looked at.
    pub async fn preview(&self, name: &str, content: Vec<u8>) -> Response {
        let file = multipart::Part::bytes(content).file_name(name.to_owned());
        let form = multipart::Form::new().text("csrf_token", self.csrf.clone()).part("file", file);
        self.http.post(format!("{}/ui/previews", self.url)).multipart(form).send().await.expect("an answer")
    }

    /// Hands a file of transactions in.
    pub async fn upload(&self, csrf: &str, name: &str, content: &str) -> Response {
        let file = multipart::Part::text(content.to_owned()).file_name(name.to_owned());
        let form = multipart::Form::new()
            .text("csrf_token", csrf.to_owned())
            .text("kind", "transactions")
            .text("zone", "")
            .part("file", file);
        self.http.post(format!("{}/ui/uploads", self.url)).multipart(form).send().await.expect("an answer")
    }
}

/// What stands between two texts.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(found, _)| found)
        .expect("the page holds it")
}

/// Where a redirect leads.
pub fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["location"].to_str().expect("text").to_owned()
}
