//! The words of events.

use super::{events::Event, service::Content};

/// An event in words; what is wrong with the values, if something is.
pub fn render(
    _event: Event,
    _values: &serde_json::Value,
    _public_url: Option<&str>,
) -> Result<Content, String> {
    Err("no templates yet".to_owned())
}
