//! Messages to Telegram chats by a bot (<https://core.telegram.org/bots/api#sendmessage>). It knows no
//! idempotency key: a lost answer leaves it open whether the message is there.
//!
//! URL: `telegram://BOT-TOKEN@api.telegram.org`, `telegram+http://…` without TLS (a server of one's own);
//! `timeout_ms`.

use super::{
    Failure, Kind, Message, Provider, Receipt, SendError,
    http::{self, Answer},
    texts, urls,
};
use crate::notifications::model::Channel;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use url::Url;

/// An answer repeats the message.
const ANSWER_BYTES: usize = 256 << 10;

pub(super) const fn kind(scheme: &'static str) -> Kind {
    Kind { scheme, channels: &[Channel::Telegram], parameters: &["timeout_ms"], open }
}

struct Telegram {
    http: reqwest::Client,
    /// Holds the token.
    url: String,
    secrets: urls::Secrets,
    time_limit: Duration,
}

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    error_code: Option<u16>,
    #[serde(default)]
    description: String,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

fn open(_: Channel, url: &Url) -> Result<Arc<dyn Provider>, String> {
    let token = urls::credential(url)
        .filter(|token| {
            let parts = token.split_once(':');
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            parts.is_some_and(|(id, secret)| {
                !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit()) && secret.chars().all(plain)
            })
        })
        .ok_or("it holds no token of a bot; write it like telegram://123456:TOKEN@api.telegram.org")?;
    let time_limit = urls::time_limit(url, http::TIME_LIMIT)?;
    let secret = token.split_once(':').map(|(_, secret)| secret.to_owned());
    Ok(Arc::new(Telegram {
        http: http::client(time_limit).build().map_err(|error| error.to_string())?,
        url: format!("{}/bot{token}/sendMessage", urls::http_base(url)?),
        secrets: urls::Secrets::new(secret),
        time_limit,
    }))
}

impl Provider for Telegram {
    fn repeats_safely(&self) -> bool {
        false
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async {
            let text = texts::carried(message, Channel::Telegram);
            let request = json!({ "chat_id": message.to, "text": text, "disable_web_page_preview": true });
            let response = self.http.post(&self.url).json(&request).send().await;
            let response =
                response.map_err(|error| http::no_answer(error, self.time_limit, Failure::Unknown))?;
            self.judge(&Answer::read(response, ANSWER_BYTES, self.time_limit).await)
        })
    }
}

impl Telegram {
    fn judge(&self, answer: &Answer) -> Result<Receipt, SendError> {
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok();
        let hidden = |text: &str| self.secrets.hide(text);
        let failed = |failure, error: &str| {
            let failed = answer.failed(failure, hidden(error));
            let response = failed.response.as_deref().map(hidden);
            Err(SendError { response, ..failed })
        };
        match reply {
            Some(Reply { ok: true, .. }) => {
                let receipt = answer.receipt();
                Ok(Receipt { response: hidden(&receipt.response), ..receipt })
            }
            Some(reply) => {
                let code = reply.error_code.unwrap_or(answer.status.as_u16());
                let pause = reply.parameters.and_then(|parameters| parameters.retry_after);
                let pause = pause.map(Duration::from_secs).or(answer.pause);
                failed(
                    failure(code, pause),
                    &format!("refused with {code}: {}", texts::one_line(&reply.description)),
                )
            }
            // Whoever speaks for Telegram says yes, and the rest of it is missing.
            None if answer.status.is_success() => failed(Failure::Unknown, "the answer broke off"),
            None => failed(
                failure(answer.status.as_u16(), answer.pause),
                &format!("the answer ({}) is none of the API", answer.status),
            ),
        }
    }
}

/// What a code says. A token that is wrong (401, 404) is the provider's fault, not the message's.
fn failure(code: u16, pause: Option<Duration>) -> Failure {
    match code {
        // No such chat, or the text; blocked by the user.
        400 | 403 => Failure::Permanent,
        429 => Failure::Throttled(pause),
        // A gateway has passed the request on and heard nothing more.
        504 => Failure::Unknown,
        _ => Failure::Transient,
    }
}
