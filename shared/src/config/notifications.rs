//! How messages leave.

use super::{ConfigError, parsed, require_scheme, text};
use crate::notifications::{
    model::Channel,
    providers::{Guard, Named, NamedError},
};
use std::collections::BTreeMap;

/// `MILLRACE_EMAIL`, `MILLRACE_SMS`, `MILLRACE_TELEGRAM` and `MILLRACE_WEBHOOK`: the providers of each channel, as
/// URLs with blanks between, in the order in which they are tried (docs/notifications.md has their forms); each
/// may have `name=` and `rate=` (messages a second). On the embedded default all of them are `sandbox:`, which
/// keeps messages and sends none; elsewhere e-mail, SMS and Telegram are off until they are set, and webhooks need
/// no provider. URLs hold passwords: they belong where secrets are kept. `MILLRACE_PUBLIC_URL` (none): where people
/// reach the pages, for links in messages. `MILLRACE_KEEP_NOTIFICATIONS_DAYS` (90): how long notifications are kept
/// after they were made, 0 for ever.
#[derive(Clone)]
pub struct NotificationsConfig {
    /// Providers of each channel, in order; a channel without any is off.
    pub providers: BTreeMap<Channel, Vec<String>>,
    /// Where people reach the pages, without a slash at the end.
    pub public_url: Option<String>,
    /// Days that notifications are kept; 0 is for ever.
    pub keep_days: u32,
}

/// The variable of a channel's providers.
pub const fn variable(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "MILLRACE_EMAIL",
        Channel::Sms => "MILLRACE_SMS",
        Channel::Telegram => "MILLRACE_TELEGRAM",
        Channel::Webhook => "MILLRACE_WEBHOOK",
    }
}

impl NotificationsConfig {
    /// What holds where nothing is set.
    pub fn usual(embedded: bool) -> Self {
        let usual = |channel: Channel| match (embedded, channel) {
            (true, _) => Some("sandbox:"),
            (false, Channel::Webhook) => Some("webhook:"),
            (false, _) => None,
        };
        let providers =
            Channel::ALL.iter().filter_map(|&channel| Some((channel, vec![usual(channel)?.to_owned()])));
        Self { providers: providers.collect(), public_url: None, keep_days: 90 }
    }

    /// Reads the topic; refuses providers that cannot be made.
    pub fn from_env(embedded: bool) -> Result<Self, ConfigError> {
        let mut config = Self::usual(embedded);
        for &channel in Channel::ALL {
            if let Some(urls) = text(variable(channel)) {
                config.providers.insert(channel, urls.split_whitespace().map(str::to_owned).collect());
            }
        }
        config.public_url = text("MILLRACE_PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned());
        if let Some(url) = &config.public_url {
            require_scheme("MILLRACE_PUBLIC_URL", url, &["http", "https"])?;
        }
        config.keep_days = parsed("MILLRACE_KEEP_NOTIFICATIONS_DAYS", config.keep_days)?;
        config.open().map(|_| config).map_err(|error| ConfigError {
            name: variable(error.channel),
            value: "…".to_owned(),
            reason: error.reason,
        })
    }

    /// Which addresses webhooks may have: public ones, and those that its provider allows.
    pub fn guard(&self) -> Guard {
        let urls = self.providers.get(&Channel::Webhook).map_or(&[][..], Vec::as_slice);
        // What cannot be read is refused where the providers are made.
        urls.iter().filter_map(|url| Guard::of(&url.parse().ok()?).ok()).next().unwrap_or_default()
    }

    /// Makes the providers, each channel's in order.
    pub fn open(&self) -> Result<BTreeMap<Channel, Vec<Named>>, NamedError> {
        self.providers.iter().map(|(&channel, urls)| Ok((channel, Named::open_all(channel, urls)?))).collect()
    }
}
