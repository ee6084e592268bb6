//! Confirmations: a token (JWT, HS256) that says that somebody was told what an action would do. It is good for
//! that action of that caller, for a short time; nothing is stored.

use super::{
    error::AuthError,
    token::{sign, verify},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How long a confirmation is good.
pub const CONFIRMATION_LIFE: TimeDelta = TimeDelta::minutes(5);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    sub: String,
    action: String,
    exp: i64,
    /// Another than those of the tokens that open the API: none can stand for the other.
    token_type: String,
}

const CONFIRMATION: &str = "confirmation";

/// A token with which `caller` confirms `action` (`transactions.delete`).
pub fn issue_confirmation(
    key: &[u8],
    action: &str,
    caller: &str,
    now: DateTime<Utc>,
) -> Result<String, AuthError> {
    let claims = Claims {
        sub: caller.to_owned(),
        action: action.to_owned(),
        exp: (now + CONFIRMATION_LIFE).timestamp(),
        token_type: CONFIRMATION.to_owned(),
    };
    sign(key, &claims)
}

/// Whether a token confirms `action` of `caller` at `now`.
pub fn is_confirmed(key: &[u8], action: &str, caller: &str, token: &str, now: DateTime<Utc>) -> bool {
    verify::<Claims>(key, token).is_ok_and(|claims| {
        claims.token_type == CONFIRMATION
            && claims.action == action
            && claims.sub == caller
            && claims.exp > now.timestamp()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::read_token,
        clock::{Clock, SystemClock},
    };

    #[test]
    fn a_confirmation_is_good_for_one_action_of_one_caller_for_five_minutes() {
        let (key, now) = ([7; 48], SystemClock.now());
        let token = issue_confirmation(&key, "a", "ada", now).unwrap();
        let confirmed = |key: &[u8], action, caller, minutes| {
            is_confirmed(key, action, caller, &token, now + TimeDelta::minutes(minutes))
        };
        assert!(confirmed(&key, "a", "ada", 0) && confirmed(&key, "a", "ada", 4));
        for (key, action, caller, minutes) in [
            ([7; 48], "a", "ada", 5),
            ([7; 48], "b", "ada", 0),
            ([7; 48], "a", "bob", 0),
            ([8; 48], "a", "ada", 0),
        ] {
            assert!(!confirmed(&key, action, caller, minutes), "{action} {caller} {minutes}");
        }
        assert!(read_token(&key, &token, now).is_err(), "it opens nothing");
    }
}
