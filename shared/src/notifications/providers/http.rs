//! What providers that speak HTTP share: the client, answers of bounded size, and what errors mean.

use super::{Failure, Receipt, SendError, texts};
use crate::clock::{Clock, SystemClock};
use chrono::DateTime;
use reqwest::{ClientBuilder, Response, StatusCode, header};
use std::time::Duration;

/// How long a request may take, connecting and the answer included.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Longest pause that an answer may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// Within it a connection is used again. Short, as a request into a connection that the server has just
/// closed is one whose fate is not known.
const IDLE: Duration = Duration::from_secs(15);

/// A client that goes where it is told: redirects would lead elsewhere, with what only the first may see.
pub(super) fn client(time_limit: Duration) -> ClientBuilder {
    crate::storage::prepare_tls();
    reqwest::Client::builder()
        .user_agent(concat!("Millrace/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(time_limit)
        // Sooner than the whole, so that a server out of reach is told apart from one that is silent.
        .connect_timeout(time_limit * 2 / 3)
        .pool_idle_timeout(IDLE)
}

/// An answer, its body as far as it was read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What `Retry-After` asks for.
    pub(super) pause: Option<Duration>,
    /// Where a redirect points.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads at most so many bytes for at most so long. The rest is never asked for: the connection is
    /// closed instead.
    pub(super) async fn read(mut response: Response, bytes: usize, time_limit: Duration) -> Self {
        let text_of = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = Self {
            status: response.status(),
            pause: text_of(header::RETRY_AFTER).and_then(pause),
            location: text_of(header::LOCATION).map(str::to_owned),
            body: Vec::new(),
        };
        let reading = async {
            while answer.body.len() < bytes {
                // Whoever breaks off has said its status nevertheless.
                let Ok(Some(chunk)) = response.chunk().await else { return };
                let room = bytes - answer.body.len();
                answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        };
        let _ = tokio::time::timeout(time_limit, reading).await;
        answer
    }

    pub(super) fn receipt(&self) -> Receipt {
        Receipt { status_code: Some(self.status.as_u16()), response: texts::kept(&self.body) }
    }

    pub(super) fn failed(&self, failure: Failure, error: String) -> SendError {
        let response = Some(texts::kept(&self.body));
        SendError { failure, error, status_code: Some(self.status.as_u16()), response }
    }

    /// The pause, if it is what the answer is about: 429, or 503 with a time.
    pub(super) fn throttled(&self) -> Option<Failure> {
        match (self.status, self.pause) {
            (StatusCode::TOO_MANY_REQUESTS, pause) => Some(Failure::Throttled(pause)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(pause)) => Some(Failure::Throttled(Some(pause))),
            _ => None,
        }
    }
}

/// What it means that a request has no answer. `lost` is what follows if it may have arrived.
pub(super) fn no_answer(error: reqwest::Error, time_limit: Duration, lost: Failure) -> SendError {
    // The URL may hold a credential.
    let error = error.without_url();
    let sent = !(error.is_connect() || error.is_builder());
    let text = match (error.is_timeout(), sent) {
        (true, true) => format!("there was no answer within {time_limit:?}"),
        (true, false) => "there was no connection in time".to_owned(),
        (false, true) => format!("the answer was lost: {}", texts::causes(&error)),
        (false, false) => format!("there was no connection: {}", texts::causes(&error)),
    };
    let failure = if sent { lost } else { Failure::Transient };
    SendError { failure, error: text, status_code: None, response: None }
}

/// A `Retry-After`: seconds, or a date.
fn pause(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse::<u64>().ok().or_else(|| {
        let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
        u64::try_from((date.to_utc() - SystemClock.now()).num_seconds().max(0)).ok()
    });
    seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        assert_eq!(pause("99999999999999"), Some(LONGEST_PAUSE));
        let soon = SystemClock.now() + Duration::from_secs(100);
        let date = soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let waited = pause(&date).unwrap().as_secs();
        assert!((90..=100).contains(&waited), "{waited}");
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for none in ["", "-5", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(pause(none), None, "{none}");
        }
    }
}
