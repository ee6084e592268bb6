//! A client of the HTTP API.

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, StatusCode, multipart};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use shared::uploads::UploadState;
use std::path::Path;
use url::Url;

/// An upload as the API shows it, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct RemoteUpload {
    /// Its id.
    pub id: String,
    /// True in the answer to a file that had been handed in before.
    #[serde(default)]
    pub already_uploaded: bool,
    /// Where it stands.
    pub state: UploadState,
    /// Records below the header, once planned.
    pub records: Option<i64>,
    /// What became of them.
    pub counts: Counts,
    /// Why it failed.
    pub failure: Option<String>,
    /// What its load waits for.
    #[serde(default)]
    pub waiting: Option<String>,
    /// What else is worth a look.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What became of an upload's records so far; `read` is the sum of the five that follow it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Counts {
    pub read: i64,
    pub inserted: i64,
    pub updated: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
    pub chunks_loaded: i64,
    /// Records that were checked, and are not loaded.
    pub checked: i64,
}

impl Counts {
    /// Whether records were checked and none is loaded: the file is to be loaded whole or not at all.
    pub fn only_checked(&self) -> bool {
        self.chunks_loaded == 0 && self.checked > 0
    }
}

/// Knows where the server is and who asks.
pub struct ApiClient {
    http: reqwest::Client,
    base: Url,
    token: String,
}

/// What the server answered: the text as it came, for scripts, and what it means.
#[derive(Debug, Clone)]
pub struct Answer(String);

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Listing {
    /// The rows.
    pub items: Vec<Value>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

impl Answer {
    /// The text, unchanged; `null` where the server had nothing to say.
    pub fn text(&self) -> &str {
        if self.0.trim().is_empty() { "null" } else { &self.0 }
    }

    /// What it means.
    pub fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(self.text())
            .context("the answer cannot be read; is it Millrace, and as new as this?")
    }
}

impl ApiClient {
    /// Rows of the largest page.
    pub const LARGEST_PAGE: usize = 500;

    /// With a token or an API key.
    pub fn with_token(base: &str, token: String) -> anyhow::Result<Self> {
        let base: Url =
            base.parse().with_context(|| format!("{base:?} is no URL such as http://host:8000"))?;
        if !matches!(base.scheme(), "http" | "https") {
            bail!("{base} cannot be used: a server's address begins with http:// or https://");
        }
        let local = matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let builder = reqwest::Client::builder();
        let http = if local { builder.no_proxy() } else { builder }.build()?;
        Ok(Self { http, base, token })
    }

    /// With a name and a password.
    pub async fn log_in(base: &str, username: &str, password: &str) -> anyhow::Result<Self> {
        let mut client = Self::with_token(base, String::new())?;
        let login = serde_json::json!({ "username": username, "password": password });
        let request = client.http.post(client.url(&["token"])?).json(&login);
        client.token = client.send(request).await.context("cannot log in")?.read::<Token>()?.access_token;
        Ok(client)
    }

    /// Hands a file in, streaming it, with the fields of the upload's form.
    pub async fn upload(
        &self,
        file: &Path,
        fields: &[(&'static str, String)],
    ) -> anyhow::Result<RemoteUpload> {
        let part = multipart::Part::file(file)
            .await
            .with_context(|| format!("cannot read {}", file.display()))?
            .mime_str("application/octet-stream")?;
        let form = fields
            .iter()
            .fold(multipart::Form::new(), |form, (name, value)| form.text(*name, value.clone()))
            .part("file", part);
        let request = self.http.post(self.url(&["uploads"])?).bearer_auth(&self.token).multipart(form);
        self.send(request).await.context("the upload was not accepted")?.read()
    }

    /// Where an upload stands.
    pub async fn find_upload(&self, id: &str) -> anyhow::Result<RemoteUpload> {
        self.get(&["uploads", id], &[]).await.context("cannot ask for the upload")?.read()
    }

    /// GETs what is at a path below `/api/v1`, given segment by segment.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Answer> {
        self.send(self.http.get(self.url(path)?).query(query).bearer_auth(&self.token)).await
    }

    /// Sends JSON, or nothing, to a path below `/api/v1`.
    pub async fn send_json(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let request = self.http.request(method, self.url(path)?).bearer_auth(&self.token);
        self.send(if let Some(body) = body { request.json(body) } else { request }).await
    }

    /// POSTs nothing but query parameters.
    pub async fn post_query(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Answer> {
        self.send(self.http.post(self.url(path)?).query(query).bearer_auth(&self.token)).await
    }

    /// POSTs JSON, or nothing.
    pub async fn post(&self, path: &[&str], body: Option<&Value>) -> anyhow::Result<Answer> {
        self.send_json(Method::POST, path, body).await
    }

    /// GETs up to `wanted` rows of a list. One page comes as it is; of several one is made.
    pub async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        wanted: usize,
    ) -> anyhow::Result<(Answer, Listing)> {
        let mut query = query.to_vec();
        query.push(("limit", wanted.clamp(1, Self::LARGEST_PAGE).to_string()));
        let first = self.get(path, &query).await?;
        let mut listing: Listing = first.read()?;
        if listing.next.is_none() || listing.items.len() >= wanted {
            return Ok((first, listing));
        }
        while let Some(cursor) = listing.next.take_if(|_| listing.items.len() < wanted) {
            let rest = wanted - listing.items.len();
            query.retain(|(name, _)| !["limit", "cursor"].contains(name));
            query.push(("limit", rest.clamp(1, Self::LARGEST_PAGE).to_string()));
            query.push(("cursor", cursor));
            let page: Listing = self.get(path, &query).await?.read()?;
            listing.items.extend(page.items);
            listing.next = page.next;
        }
        let whole = serde_json::json!({ "items": listing.items, "next": listing.next, "previous": null });
        Ok((Answer(whole.to_string()), listing))
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.base.join("api/v1")?;
        let Ok(mut segments) = url.path_segments_mut() else { bail!("{} cannot be used", self.base) };
        segments.extend(path);
        drop(segments);
        Ok(url)
    }

    /// Sends a request; what the server says against it becomes the error.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await.map_err(|error| {
            let why = error.without_url();
            let mend =
                "is `millrace up` or `millrace api` running there? --server (MILLRACE_SERVER) names another";
            anyhow::Error::new(why).context(format!("no answer from {}; {mend}", self.base))
        })?;
        let status = response.status();
        let body = response.bytes().await.context("the answer broke off")?;
        if status.is_success() {
            return Ok(Answer(String::from_utf8_lossy(&body).into_owned()));
        }
        let said = match serde_json::from_slice::<Problem>(&body) {
            Ok(Problem { detail: Some(said), .. } | Problem { title: Some(said), .. }) => said,
            _ => format!("the server answered {status}"),
        };
        match status {
            StatusCode::UNAUTHORIZED if !self.token.is_empty() => {
                bail!("not logged in: {said} Give --username NAME, or another --token (MILLRACE_TOKEN).")
            }
            StatusCode::FORBIDDEN => bail!("not allowed: {said}"),
            _ => bail!("{said}"),
        }
    }
}
