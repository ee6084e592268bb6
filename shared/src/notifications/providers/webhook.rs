//! Webhooks, as in Standard Webhooks: the message's payload, POSTed to the receiver's URL and signed. Its
//! id is the same for each attempt, by which the receiver knows a repetition.
//!
//! URL: `webhook:`, `webhook:?allow=10.0.0.0/8,[::1]/128` (networks besides the public Internet, see
//! [`super::guard`]); `timeout_ms`.

use super::{
    Failure, Kind, Message, Provider, RESPONSE_BYTES, Receipt, SendError,
    guard::{Guard, Resolver, refusal},
    http::{self, Answer},
    signature, texts, urls,
};
use crate::{
    clock::{Clock, SystemClock},
    notifications::model::Channel,
};
use futures::future::BoxFuture;
use reqwest::{StatusCode, header};
use std::{sync::Arc, time::Duration};
use url::Url;

/// How long the beginning of an answer's body is waited for: its status has been heard.
const BODY_TIME: Duration = Duration::from_secs(2);

pub(super) const KIND: Kind =
    Kind { scheme: "webhook", channels: &[Channel::Webhook], parameters: &["allow", "timeout_ms"], open };

struct Webhook {
    http: reqwest::Client,
    guard: Arc<Guard>,
    time_limit: Duration,
}

fn open(_: Channel, url: &Url) -> Result<Arc<dyn Provider>, String> {
    let time_limit = urls::time_limit(url, http::TIME_LIMIT)?;
    let guard = Arc::new(Guard::of(url)?);
    // A proxy would look names up by itself, and reach what it reaches.
    let client = http::client(time_limit).no_proxy().dns_resolver(Arc::new(Resolver(guard.clone())));
    Ok(Arc::new(Webhook { http: client.build().map_err(|error| error.to_string())?, guard, time_limit }))
}

impl Provider for Webhook {
    fn repeats_safely(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async {
            let request = self.request(message).map_err(never)?;
            let response = request.send().await.map_err(|error| match refusal(&error) {
                Some(refused) => never(refused.to_string()),
                None => http::no_answer(error, self.time_limit, Failure::Transient),
            })?;
            judge(&Answer::read(response, RESPONSE_BYTES, BODY_TIME).await)
        })
    }
}

impl Webhook {
    fn request(&self, message: &Message) -> Result<reqwest::RequestBuilder, String> {
        let url =
            self.guard.check_url(&message.to).map_err(|fault| format!("the endpoint's URL: {fault}"))?;
        let body = message.payload.to_string();
        let id = format!("msg_{}", message.key.simple());
        let timestamp = SystemClock.now().timestamp();
        let sign = |secret: &String| signature::sign(secret, &id, timestamp, body.as_bytes());
        let signatures = message.secrets.iter().map(sign).collect::<Result<Vec<_>, _>>()?;
        let mut request = self
            .http
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp);
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        Ok(request.body(body))
    }
}

/// Whatever is not accepted is tried again: receivers get mended.
fn judge(answer: &Answer) -> Result<Receipt, SendError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer.receipt());
    }
    if status == StatusCode::GONE {
        return Err(answer.failed(Failure::Gone, "answered 410 Gone: it wants nothing more".to_owned()));
    }
    let failure = answer.throttled().unwrap_or(Failure::Transient);
    let error = match &answer.location {
        Some(location) if status.is_redirection() => format!(
            "answered {status}, pointing to {}; redirects are not followed: register the URL that answers \
             itself",
            texts::cut(texts::one_line(location), 200)
        ),
        _ => format!("answered {status}"),
    };
    Err(answer.failed(failure, error))
}

/// The message will not be sent.
fn never(error: String) -> SendError {
    SendError { failure: Failure::Permanent, error, status_code: None, response: None }
}
