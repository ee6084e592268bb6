//! Signatures of webhooks, as in Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 over
//! the message's id, the time and the body, so that a receiver knows who sent it, and an old message again.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What secrets begin with.
pub const PREFIX: &str = "whsec_";

/// A secret (`whsec_…`) of these random bytes.
pub fn generate_secret(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// The signature (`v1,…`) of a message with this id, at this time (Unix seconds). An error, without the
/// secret, if that is none.
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, String> {
    let encoded =
        secret.strip_prefix(PREFIX).ok_or_else(|| format!("the secret does not begin with {PREFIX}"))?;
    let key = STANDARD.decode(encoded).map_err(|_| format!("the secret is no base64 after {PREFIX}"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference implementations.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secret_has_32_bytes_and_what_is_none_stays_unsaid() {
        let secret = generate_secret([7; 32]);
        assert_eq!(STANDARD.decode(secret.strip_prefix(PREFIX).unwrap()).unwrap(), [7; 32]);
        assert!(sign(&secret, "msg_1", 0, b"").is_ok());
        for bad in ["hunter2hunter2", "whsec_hunter2!hunter2"] {
            let error = sign(bad, "msg_1", 0, b"").unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
