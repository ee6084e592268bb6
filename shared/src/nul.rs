//! NULs in JSON: PostgreSQL keeps them in no text.

use serde_json::Value;

/// Where a JSON document holds a text, or a name, with a NUL: `runs[0].error`; empty for the document itself.
pub fn place_of_nul(value: &Value) -> Option<String> {
    let below = |name: String, value| {
        let path = place_of_nul(value)?;
        Some(if path.is_empty() || path.starts_with('[') { name + &path } else { format!("{name}.{path}") })
    };
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| below(format!("[{at}]"), item)),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| match name.contains('\0') {
            true => Some(String::new()),
            false => below(name.clone(), field),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_place_is_told_as_one_would_write_it() {
        assert_eq!(place_of_nul(&json!({ "a": ["b", 1, null], "c": { "d": true } })), None);
        let runs = json!({ "runs": [{ "error": "x" }, { "error": "y\0" }] });
        assert_eq!(place_of_nul(&runs).as_deref(), Some("runs[1].error"));
        assert_eq!(place_of_nul(&json!({ "a": { "b\0": 1 } })).as_deref(), Some("a"));
        assert_eq!(place_of_nul(&json!("\0")).as_deref(), Some(""));
    }
}
