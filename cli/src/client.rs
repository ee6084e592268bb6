//! A client of the HTTP API, as `ingest --server` and `demo` need it.

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, multipart};
use serde::{Deserialize, de::DeserializeOwned};
use shared::uploads::{UploadKind, UploadState};
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
}

/// What became of an upload's records so far; `read` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Counts {
    pub read: i64,
    pub inserted: i64,
    pub updated: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
}

/// Knows where the server is and who asks.
pub struct ApiClient {
    http: reqwest::Client,
    base: Url,
    token: String,
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

impl ApiClient {
    /// With a token or an API key.
    pub fn with_token(base: &str, token: String) -> anyhow::Result<Self> {
        let base: Url =
            base.parse().with_context(|| format!("{base:?} is no URL such as http://host:8000"))?;
        if base.scheme() != "http" {
            bail!("{base} cannot be used: this build speaks http only, put a tunnel before it");
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
        let request = client.http.post(client.url("api/v1/token")?).json(&login);
        client.token = client.send::<Token>(request).await.context("cannot log in")?.access_token;
        Ok(client)
    }

    /// Hands a file in, streaming it.
    pub async fn upload(&self, file: &Path, kind: UploadKind) -> anyhow::Result<RemoteUpload> {
        let part = multipart::Part::file(file)
            .await
            .with_context(|| format!("cannot read {}", file.display()))?
            .mime_str("text/csv")?;
        let form = multipart::Form::new().text("kind", kind.as_str()).part("file", part);
        let request = self.http.post(self.url("api/v1/uploads")?).bearer_auth(&self.token).multipart(form);
        self.send(request).await.context("the upload was not accepted")
    }

    /// Where an upload stands.
    pub async fn find_upload(&self, id: &str) -> anyhow::Result<RemoteUpload> {
        let url = self.url(&format!("api/v1/uploads/{id}"))?;
        self.send(self.http.get(url).bearer_auth(&self.token)).await.context("cannot ask for the upload")
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.base.join(path)?)
    }

    /// Sends a request; what the server says against it becomes the error.
    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response =
            request.send().await.with_context(|| format!("no answer from {}; does it run?", self.base))?;
        let status = response.status();
        let body = response.bytes().await.context("the answer broke off")?;
        if status.is_success() {
            return serde_json::from_slice(&body).context("the answer cannot be read; is it Millrace?");
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(Problem { detail: Some(said), .. } | Problem { title: Some(said), .. }) => bail!("{said}"),
            _ => bail!("the server answered {status}"),
        }
    }
}
