//! Providers as the configuration names them.

use super::{Provider, open};
use crate::notifications::model::Channel;
use std::sync::Arc;

/// A provider under the name that attempts and breakers have.
#[derive(Clone)]
pub struct Named {
    /// `name=` of its URL, or its scheme; unique within its channel.
    pub name: String,
    /// Messages that it takes a second, if that is limited.
    pub rate: Option<f64>,
    /// Itself.
    pub provider: Arc<dyn Provider>,
}

/// A provider that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{channel}: {reason}")]
pub struct NamedError {
    /// Of which channel.
    pub channel: Channel,
    /// What is wrong, without secrets.
    pub reason: String,
}

impl Named {
    /// The providers of a channel, in order.
    pub fn open_all(channel: Channel, urls: &[String]) -> Result<Vec<Self>, NamedError> {
        let mut named: Vec<Self> = Vec::with_capacity(urls.len());
        for (at, url) in urls.iter().enumerate() {
            let failed = |reason: String| NamedError {
                channel,
                reason: format!("provider {} of {}: {reason}", at + 1, urls.len()),
            };
            let one = Self::open(channel, url).map_err(failed)?;
            if named.iter().any(|other| other.name == one.name) {
                return Err(failed(format!(
                    "there is one named {} already: give it another by name=",
                    one.name
                )));
            }
            named.push(one);
        }
        Ok(named)
    }

    fn open(channel: Channel, url: &str) -> Result<Self, String> {
        let parsed = url::Url::parse(url).map_err(|error| format!("it is no URL: {error}"))?;
        let find = |wanted: &str| {
            parsed.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let scheme = parsed.scheme().split('+').next().unwrap_or_default();
        if scheme == "sandbox" && find("name").is_some() {
            return Err("a sandbox has no name of its own".to_owned());
        }
        let name = find("name").unwrap_or_else(|| scheme.to_owned());
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        {
            return Err("name= is letters, digits, - and _".to_owned());
        }
        let rate = find("rate").map(|rate| {
            let rate = rate.parse::<f64>().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
            rate.ok_or("rate= is messages a second, from 0.001 to 100000".to_owned())
        });
        Ok(Self { name, rate: rate.transpose()?, provider: open(channel, url)? })
    }
}
