//! How often a caller may call in a minute, and the headers that say so (`RateLimit-Policy` and
//! `RateLimit`, as the IETF's draft has them). Each process counts for itself: two of them allow twice as
//! much.

use crate::error::ApiError;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Calls by caller in the current minute.
#[derive(Debug, Default)]
pub struct RateLimiter(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    minute: i64,
    calls: HashMap<String, u32>,
}

/// What the headers say after a call.
pub type RateHeaders = [(HeaderName, HeaderValue); 2];

impl RateLimiter {
    /// Counts a call of `caller` at the second `now` (since 1970): the headers, or 429. Without a limit
    /// there are no headers.
    pub fn count(&self, caller: &str, limit: u32, now: i64) -> Result<Option<RateHeaders>, ApiError> {
        if limit == 0 {
            return Ok(None);
        }
        let (minute, reset) = (now.div_euclid(60), 60 - now.rem_euclid(60));
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.minute != minute {
            *window = Window { minute, calls: HashMap::new() };
        }
        let calls = window.calls.entry(caller.to_owned()).or_default();
        *calls = calls.saturating_add(1);
        let (refused, left) = (*calls > limit, limit.saturating_sub(*calls));
        drop(window);
        let headers = headers(limit, left, reset);
        if !refused {
            return Ok(Some(headers));
        }
        let detail = "Rate limit exceeded. Please try again later.";
        let mut error =
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many requests", detail)
                .with(header::RETRY_AFTER, &reset.to_string());
        for (name, value) in headers {
            error = error.with(name, value.to_str().unwrap_or_default());
        }
        Err(error)
    }
}

fn headers(limit: u32, left: u32, reset: i64) -> RateHeaders {
    let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    [
        (HeaderName::from_static("ratelimit-policy"), value(format!("\"minute\";q={limit};w=60"))),
        (HeaderName::from_static("ratelimit"), value(format!("\"minute\";r={left};t={reset}"))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_calls_for_each_caller() {
        let limiter = RateLimiter::default();
        for left in [1, 0] {
            let headers = limiter.count("ada", 2, 130).unwrap().unwrap();
            assert_eq!(headers[1].1, format!("\"minute\";r={left};t=50").as_str());
        }
        assert!(limiter.count("ada", 2, 131).is_err());
        assert!(limiter.count("bob", 2, 131).is_ok());
        assert!(limiter.count("ada", 2, 180).is_ok());
        assert!(limiter.count("ada", 0, 180).unwrap().is_none());
    }
}
