//! Addresses of pages: a list's whole state is in its address, so every filter is a link.

use std::fmt;

/// A path with parameters in order. Changing a filter drops the cursor: it belongs to the old list.
#[derive(Debug, Clone)]
pub struct Address {
    path: String,
    parameters: Vec<(&'static str, String)>,
}

impl Address {
    /// A page without parameters.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: Vec::new() }
    }

    /// The address with one parameter set; a blank value removes it.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut address = self.clone();
        address.parameters.retain(|(present, _)| *present != name && *present != "cursor");
        if !value.is_empty() {
            address.parameters.push((name, value.to_owned()));
        }
        address
    }

    /// The address with a parameter set if there is a value.
    pub fn maybe(&self, name: &'static str, value: Option<&str>) -> Self {
        self.with(name, value.unwrap_or_default())
    }

    /// The same parameters at another path.
    pub fn at(&self, path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: self.parameters.clone() }
    }

    /// Whether anything narrows the list.
    pub fn is_filtered(&self) -> bool {
        self.parameters.iter().any(|(name, _)| *name != "cursor")
    }

    /// Whether a parameter is set.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|(present, _)| *present == name)
    }

    /// The parameters, for a form that repeats them.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        self.parameters.iter().filter(|(name, _)| *name != "cursor").cloned().collect()
    }

    /// The page without parameters.
    pub fn cleared(&self) -> String {
        self.path.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.parameters.is_empty() {
            return Ok(());
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.parameters {
            query.append_pair(name, value);
        }
        write!(f, "?{}", query.finish())
    }
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-._".contains(&byte)) {
        return text.to_owned();
    }
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_filter_starts_the_list_anew() {
        let list = Address::new("/ui/runs").with("state", "failed").with("cursor", "7b");
        assert_eq!(list.to_string(), "/ui/runs?state=failed&cursor=7b");
        assert_eq!(list.with("q", "a b&c").to_string(), "/ui/runs?state=failed&q=a+b%26c");
        assert_eq!(list.with("state", "").to_string(), "/ui/runs");
    }

    #[test]
    fn an_id_is_one_segment_whatever_it_holds() {
        assert_eq!(segment("C 1/2"), "C%201%2F2");
    }
}
