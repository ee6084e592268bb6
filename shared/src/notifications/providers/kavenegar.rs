//! SMS by Kavenegar's HTTP API (<https://kavenegar.com/rest.html>), which others offer too. A message is
//! sent under a `localid`: the same again makes no second one, and answers as the first time.
//!
//! URL: `kavenegar://API-KEY@api.kavenegar.com?sender=10004346`, `kavenegar+http://…` without TLS;
//! `sender`, the line, may be left out; `timeout_ms`.

use super::{
    Failure, Kind, Message, Provider, Receipt, SendError,
    http::{self, Answer},
    texts, urls,
};
use crate::notifications::model::Channel;
use futures::future::BoxFuture;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use url::Url;

/// An answer repeats the message; more than this is none of theirs.
const ANSWER_BYTES: usize = 256 << 10;

pub(super) const fn kind(scheme: &'static str) -> Kind {
    Kind { scheme, channels: &[Channel::Sms], parameters: &["sender", "timeout_ms"], open }
}

struct Kavenegar {
    http: reqwest::Client,
    /// Holds the key.
    url: String,
    secrets: urls::Secrets,
    sender: Option<String>,
    time_limit: Duration,
}

/// What stands in each answer.
#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "return")]
    outcome: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    message: String,
}

fn open(_: Channel, url: &Url) -> Result<Arc<dyn Provider>, String> {
    let key = urls::credential(url)
        .filter(|key| key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_=+".contains(letter)))
        .ok_or("it holds no API key; write it like kavenegar://API-KEY@api.kavenegar.com")?;
    let time_limit = urls::time_limit(url, http::TIME_LIMIT)?;
    Ok(Arc::new(Kavenegar {
        http: http::client(time_limit).build().map_err(|error| error.to_string())?,
        url: format!("{}/v1/{key}/sms/send.json", urls::http_base(url)?),
        secrets: urls::Secrets::new([key]),
        sender: urls::parameter(url, "sender"),
        time_limit,
    }))
}

impl Provider for Kavenegar {
    fn repeats_safely(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async {
            let local_id = local_id(message.key).to_string();
            let text = texts::carried(message, Channel::Sms);
            let mut form =
                vec![("receptor", message.to.as_str()), ("message", &text), ("localid", &local_id)];
            form.extend(self.sender.as_deref().map(|sender| ("sender", sender)));
            let response = self.http.post(&self.url).form(&form).send().await;
            let response =
                response.map_err(|error| http::no_answer(error, self.time_limit, Failure::Unknown))?;
            self.judge(&Answer::read(response, ANSWER_BYTES, self.time_limit).await)
        })
    }
}

impl Kavenegar {
    fn judge(&self, answer: &Answer) -> Result<Receipt, SendError> {
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok();
        // They answer with the same status in both places; what says no counts.
        let status = reply.as_ref().map(|reply| reply.outcome.status);
        let code = if answer.status.is_success() { status.unwrap_or(0) } else { answer.status.as_u16() };
        if code == 200 {
            let receipt = answer.receipt();
            return Ok(Receipt { response: self.secrets.hide(&receipt.response), ..receipt });
        }
        let said = reply.map(|reply| reply.outcome.message).unwrap_or_default();
        let failure = match (status, answer.status.is_success()) {
            // It was taken, and what became of it cannot be read.
            (None, true) => Failure::Unknown,
            _ => failure(code).unwrap_or(Failure::Throttled(answer.pause)),
        };
        let error = match status {
            None => format!("the answer ({}) is none of the API", answer.status),
            Some(_) => format!("refused with {code}: {}", texts::one_line(&said)),
        };
        let failed = answer.failed(answer.throttled().unwrap_or(failure), self.secrets.hide(&error));
        let response = failed.response.as_deref().map(|response| self.secrets.hide(response));
        Err(SendError { response, ..failed })
    }
}

/// What a code says. Only what the message itself is at fault for is for good: a key, a line or a credit
/// that is wrong is the provider's fault, and another can send it. `None` for too many requests.
fn failure(code: u16) -> Option<Failure> {
    match code {
        // Incomplete; empty; receptor; text empty or too long; too many receptors; characters.
        400 | 406 | 411 | 413 | 414 | 422 => Some(Failure::Permanent),
        429 | 451 => None,
        // Among them 401 disabled, 403 key, 407 access, 409 busy, 412 sender, 418 credit, 420 links, 5xx.
        _ => Some(Failure::Transient),
    }
}

/// A positive number of 63 bits, the same for each attempt.
fn local_id(key: uuid::Uuid) -> u64 {
    let (high, low) = key.as_u64_pair();
    // The two highest bits of the lower half are the same in all keys.
    ((high.rotate_left(2) ^ low) & (u64::MAX >> 1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_ids_are_positive_and_differ() {
        let ids: std::collections::HashSet<u64> =
            (0..10_000).map(|_| local_id(uuid::Uuid::now_v7())).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|&id| id > 0 && i64::try_from(id).is_ok()));
        assert_eq!(local_id(uuid::Uuid::nil()), 1);
    }

    #[test]
    fn only_the_messages_own_faults_are_for_good() {
        for code in [400, 411, 413] {
            assert_eq!(failure(code), Some(Failure::Permanent), "{code}");
        }
        for code in [0, 401, 403, 407, 409, 412, 418, 500, 503] {
            assert_eq!(failure(code), Some(Failure::Transient), "{code}");
        }
        assert_eq!(failure(429), None);
    }
}
