//! What carries a message to a person, behind one trait. A provider is one file here and one line in
//! [`KINDS`]; which providers a channel has, and in which order, the configuration says by their URLs.
//!
//! A provider only sends. When to send, to try again, to try another and what to believe after a crash is
//! the delivery's business ([`super::delivery`]).

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
    /// Makes one.
    pub open: Open,
}

/// The kinds of providers there are.
pub const KINDS: &[Kind] = &[];
