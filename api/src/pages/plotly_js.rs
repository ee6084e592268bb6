//! Plotly's script, 4.6 MB of it, which the crate `plotly` brings along: an asset like the others, but sent
//! compressed, and made when it is first asked for. Only the compressed form stays in memory.

use super::assets;
use crate::error::{ApiError, ApiResult};
use axum::{
    body::Bytes,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use plotly::Plot;
use std::{io::Write, sync::LazyLock};

/// Its name among the assets.
pub(super) const NAME: &str = "plotly.min.js";

static VERSION: LazyLock<String> = LazyLock::new(|| assets::version(plain().as_bytes()));
static PACKED: LazyLock<Bytes> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain().as_bytes()).expect("a vector takes what is written");
    encoder.finish().expect("a vector takes what is written").into()
});

/// The script. The crate hands it out as the first element of a piece of HTML.
fn plain() -> String {
    let mut html = Plot::offline_js_sources();
    let body = html.find('>').zip(html.find("</script>\n"));
    let (start, end) = body.expect("the crate writes <script …>…</script>");
    html.truncate(end);
    html.drain(..=start);
    html
}

/// What its address says of its content.
pub(super) fn version() -> &'static str {
    &VERSION
}

/// The script, packed for whoever takes it so.
pub(super) async fn respond(headers: &HeaderMap) -> ApiResult<Response> {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let packed = accepted.is_some_and(takes_gzip);
    let make = move || if packed { PACKED.clone() } else { Bytes::from(plain()) };
    let bytes = tokio::task::spawn_blocking(make).await.map_err(ApiError::internal)?;
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::VARY, "accept-encoding")];
    let encoding = packed.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok((kind, encoding, bytes).into_response())
}

/// Whether `Accept-Encoding` names gzip and does not refuse it.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_whole_and_nothing_else() {
        let script = plain();
        assert!(script.starts_with("/**\n* plotly.js v"), "{}", &script[..80]);
        assert!(script.contains("Licensed under the MIT license") && !script.contains("<script type"));
        assert!(script.trim_end().ends_with("}));"), "{}", &script[script.len() - 80..]);
        assert!(PACKED.len() < script.len() / 3);
    }

    #[test]
    fn it_is_packed_for_those_who_take_it_so() {
        for yes in ["gzip", "br, gzip;q=0.5", "*"] {
            assert!(takes_gzip(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "identity"] {
            assert!(!takes_gzip(no), "{no}");
        }
    }
}
