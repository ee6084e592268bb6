//! The stylesheets, the scripts and the icons, compiled in. An address carries the content's hash, so
//! that a browser keeps an asset for ever and still gets the next version at once.

use super::plotly_js;
use axum::{
    extract::{Path, Query},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    version: String,
}

macro_rules! assets {
    ($($name:literal: $content_type:literal),+ $(,)?) => {
        [$(Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../../templates/assets/", $name)),
            version: version(include_bytes!(concat!("../../../templates/assets/", $name))),
        }),+]
    };
}

static ASSETS: LazyLock<[Asset; 8]> = LazyLock::new(|| {
    assets! {
        "app.css": "text/css; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "chart.css": "text/css; charset=utf-8",
        "chart.js": "text/javascript; charset=utf-8",
        "icons.svg": "image/svg+xml",
        "live.css": "text/css; charset=utf-8",
        "live.js": "text/javascript; charset=utf-8",
        "mark.svg": "image/svg+xml",
    }
});

/// What an address says of a content.
pub(super) fn version(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..6])
}

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The version of an asset; `None`: there is no such asset.
fn version_of(name: &str) -> Option<&'static str> {
    match name {
        plotly_js::NAME => Some(plotly_js::version()),
        _ => find(name).map(|asset| asset.version.as_str()),
    }
}

/// The address of an asset, with its version.
pub fn url(name: &str) -> String {
    format!("/assets/{name}?v={}", version_of(name).unwrap_or_default())
}

#[derive(Deserialize)]
pub(super) struct Version {
    v: Option<String>,
}

/// `GET /assets/{*path}`.
pub(super) async fn serve(
    Path(path): Path<String>,
    Query(wanted): Query<Version>,
    headers: HeaderMap,
) -> Response {
    let Some(version) = version_of(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{version}\"");
    let keep =
        if wanted.v.as_deref() == Some(version) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let about = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, keep)];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    match find(&path) {
        Some(asset) => (about, [(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response(),
        None => match plotly_js::respond(&headers).await {
            Ok(script) => (about, script).into_response(),
            Err(error) => error.into_response(),
        },
    }
}
