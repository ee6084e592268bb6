//! What every list answers: the rows, the cursors of the pages beside, and the header `Link`.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::pagination::Page;

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Cursor of the next page, if there is one.
    pub next: Option<String>,
    /// Cursor of the previous page, if there is one.
    pub previous: Option<String>,
}

impl<T> Listing<T> {
    /// The view of a page.
    pub fn of<R>(page: Page<R>, view: impl FnMut(R) -> T) -> Self {
        Self { items: page.items.into_iter().map(view).collect(), next: page.older, previous: page.newer }
    }

    /// Everything at once.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, previous: None }
    }
}

impl<T: Serialize> Listing<T> {
    /// The answer, with links to the pages beside the one at `uri`.
    pub fn respond(self, uri: &Uri) -> Response {
        (links(uri, self.next.as_deref(), self.previous.as_deref()), Json(self)).into_response()
    }
}

/// The header `Link` of a list at `uri`, if there are pages beside it.
pub fn links(uri: &Uri, next: Option<&str>, previous: Option<&str>) -> HeaderMap {
    let links: Vec<String> = [("next", next), ("prev", previous)]
        .into_iter()
        .filter_map(|(rel, cursor)| Some(format!("<{}>; rel=\"{rel}\"", target(uri, cursor?))))
        .collect();
    let value = HeaderValue::from_str(&links.join(", ")).ok().filter(|_| !links.is_empty());
    value.into_iter().map(|value| (header::LINK, value)).collect()
}

/// The path of something named by a text of any kind.
pub fn path_of(parent: &str, name: &str) -> String {
    // What the standard escapes in a segment of a path, and what would begin another.
    let escaped: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("{parent}{escaped}")
}

fn target(uri: &Uri, cursor: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("cursor", cursor)
        .finish();
    format!("{}?{query}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_filter_and_replace_the_cursor() {
        let uri: Uri = "/api/v1/runs?state=failed&cursor=aa&limit=2".parse().unwrap();
        let listing =
            Listing { items: vec![1], next: Some("bb".to_owned()), previous: Some("cc".to_owned()) };
        let response = listing.respond(&uri);
        assert_eq!(
            response.headers()[header::LINK],
            "</api/v1/runs?state=failed&limit=2&cursor=bb>; rel=\"next\", \
             </api/v1/runs?state=failed&limit=2&cursor=cc>; rel=\"prev\""
        );
    }
}
