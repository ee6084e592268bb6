//! A command that was called in a way that it does not understand. It ends with code 2, as where the
//! arguments themselves cannot be read; a command that was refused or failed ends with 1.

/// What is wrong with the call, and what would be right.
#[derive(Debug)]
pub struct Usage(String);

impl Usage {
    /// As an error.
    #[expect(clippy::new_ret_no_self, reason = "it is only ever returned as an error")]
    pub fn new(what: impl Into<String>) -> anyhow::Error {
        Self(what.into()).into()
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
