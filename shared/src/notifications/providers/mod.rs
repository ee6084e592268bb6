//! What carries a message to a person, behind one trait. A provider is one file here and one line in
//! [`KINDS`]; which providers a channel has, and in which order, the configuration says by their URLs.
//!
//! A provider only sends. When to send, to try again, to try another and what to believe after a crash is
//! the delivery's business ([`super::delivery`]).

mod addresses;
mod email;
mod guard;
mod http;
mod kavenegar;
mod named;
mod ranges;
mod sandbox;
mod signature;
mod smtp;
mod smtp_dialogue;
mod telegram;
mod texts;
mod urls;
mod webhook;

pub use addresses::check_address;
pub use guard::{Guard, Refused};
pub use named::{Named, NamedError};
pub use signature::{generate_secret, sign};
pub use texts::{breaks_line, longest, whole};

use super::model::Channel;
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use url::Url;

/// A message for one recipient.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same for each attempt of a delivery: the idempotency key of providers that have one.
    pub key: uuid::Uuid,
    /// An address of the provider's channel: a mailbox, a phone number, a chat's id, a URL.
    pub to: String,
    /// One line.
    pub title: String,
    /// Plain text, of several lines.
    pub body: String,
    /// The same as HTML, where the recipient can show it.
    pub html: Option<String>,
    /// What a program is told: the whole body of a webhook.
    pub payload: serde_json::Value,
    /// Secrets by which a webhook is signed, the newest first (`whsec_…`); none elsewhere.
    pub secrets: Vec<String>,
}

/// What a provider answered to a message that it has accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Of HTTP or SMTP.
    pub status_code: Option<u16>,
    /// The beginning of its answer, at most [`RESPONSE_BYTES`].
    pub response: String,
}

/// Why a message was not accepted, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The provider cannot do it now: another may, or the same later. Counts against its breaker.
    Transient,
    /// It was asked too often, and accepts nothing for this time, if it says so.
    Throttled(Option<Duration>),
    /// This message never will be accepted.
    Permanent,
    /// The receiver wants to hear nothing more: its endpoint is to be disabled.
    Gone,
    /// It may have been accepted or not: the answer was lost.
    Unknown,
}

/// A message that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    /// What follows.
    pub failure: Failure,
    /// For people: what happened, without secrets.
    pub error: String,
    /// Of HTTP or SMTP, if it answered.
    pub status_code: Option<u16>,
    /// The beginning of its answer, at most [`RESPONSE_BYTES`].
    pub response: Option<String>,
}

/// Bytes of an answer that are kept.
pub const RESPONSE_BYTES: usize = 4096;

/// Sends messages.
pub trait Provider: Send + Sync + 'static {
    /// Whether sending the same message again under the same key makes no second one.
    fn repeats_safely(&self) -> bool;

    /// Hands a message over, within the provider's own time limit; it is dropped at a shutdown. Whatever
    /// cannot be told apart from an accepted message is [`Failure::Unknown`].
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// Makes a provider of a channel from its URL; what is wrong with it, if something is (without secrets).
pub type Open = fn(Channel, &Url) -> Result<Arc<dyn Provider>, String>;

/// A kind of provider.
pub struct Kind {
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// The channels that it can serve.
    pub channels: &'static [Channel],
    /// Parameters that its URLs may have.
    pub parameters: &'static [&'static str],
    /// Makes one.
    pub open: Open,
}

/// The kinds of providers there are.
pub const KINDS: &[Kind] = &[
    smtp::kind("smtps"),
    smtp::kind("smtp"),
    kavenegar::kind("kavenegar"),
    kavenegar::kind("kavenegar+http"),
    telegram::kind("telegram"),
    telegram::kind("telegram+http"),
    webhook::KIND,
    sandbox::KIND,
];

/// Parameters of any provider's URL, which are read elsewhere.
const GENERIC: &[&str] = &["name", "rate"];

/// Makes a provider of a channel from its URL; what is wrong with it, if something is (without secrets).
pub fn open(channel: Channel, url: &str) -> Result<Arc<dyn Provider>, String> {
    let url = Url::parse(url).map_err(|error| {
        format!(
            "it is no URL ({error}); in names and passwords @ / : ? # % are written %40 %2F %3A %3F %23 %25"
        )
    })?;
    let kind = of_channel(channel).find(|kind| kind.scheme == url.scheme()).ok_or_else(|| {
        let known: Vec<&str> = of_channel(channel).map(|kind| kind.scheme).collect();
        format!("the scheme {:?} is none for {channel}; there are {}", url.scheme(), known.join(", "))
    })?;
    let url = urls::without(url, GENERIC);
    urls::check_parameters(&url, kind.parameters)?;
    (kind.open)(channel, &url)
}

/// The kinds that serve a channel.
fn of_channel(channel: Channel) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| kind.channels.contains(&channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_of_the_channel() {
        for (channel, url) in [
            (Channel::Sms, "kavenegar://4B6C-x@api.kavenegar.com?sender=+9810004346&rate=5"),
            (Channel::Sms, "kavenegar+http://KEY@127.0.0.1:9000?sender=10004346&timeout_ms=500"),
            (Channel::Telegram, "telegram://123456:abc-DEF_1@api.telegram.org?name=bot"),
            (Channel::Telegram, "telegram+http://123456:abc@127.0.0.1:8081"),
            (Channel::Webhook, "webhook:"),
            (Channel::Webhook, "webhook://"),
            (Channel::Webhook, "webhook:?allow=10.0.0.0/8,127.0.0.1/32,[::1]/128&rate=5"),
            (Channel::Webhook, "webhook://?allow=10.0.0.0/8,127.0.0.1/32,[::1]/128"),
            (Channel::Email, "sandbox:"),
            (Channel::Sms, "sandbox:?name=trial"),
        ] {
            assert_eq!(open(channel, url).err(), None, "{url}");
        }
        for (channel, url, part) in [
            (Channel::Sms, "smtp://h?from=a@example.com", "kavenegar, kavenegar+http, sandbox"),
            (Channel::Sms, "kavenegar://api.kavenegar.com", "API key"),
            (Channel::Sms, "kavenegar://SECRET%2F..%2F@api.kavenegar.com", "API key"),
            (Channel::Sms, "kavenegar://SECRET@api.kavenegar.com?sendr=1", "\"sendr\""),
            (Channel::Sms, "kavenegar://SECRET@api.kavenegar.com?sender=1&sender=2", "twice"),
            (Channel::Telegram, "telegram://SECRET@api.telegram.org", "token"),
            (Channel::Telegram, "telegram://123:SECRET@api.telegram.org#x", "%23"),
            (Channel::Webhook, "webhook:?allow=everything", "allow=everything"),
            (Channel::Webhook, "SECRET", "no URL"),
            (Channel::Webhook, "sandbox:?allow=10.0.0.0/8", "\"allow\""),
        ] {
            let fault = open(channel, url).err().unwrap_or_default();
            assert!(fault.contains(part), "{url}: {fault}");
            assert!(!fault.contains("SECRET"), "{fault}");
        }
    }
}
