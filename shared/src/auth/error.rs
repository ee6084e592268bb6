//! What can go wrong with users, logins and keys.

/// An account or a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A field cannot be used.
    #[error("{reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What would be right.
        reason: String,
    },
    /// Something of this name exists.
    #[error("{0}")]
    Taken(String),
    /// No such user, a wrong password or a disabled user: which one is nobody's business.
    #[error("the username or the password is wrong")]
    WrongCredentials,
    /// Too many failures.
    #[error("too many failed logins; try again in {retry_after_seconds} seconds")]
    Throttled {
        /// When it is worth trying again.
        retry_after_seconds: u64,
    },
    /// A token that we did not sign, or whose time is over.
    #[error("the token is not valid or has expired")]
    InvalidToken,
    /// A refresh token that was used before, or that was revoked.
    #[error("the token was used before or has been revoked; log in again")]
    TokenUsed,
    /// Hashing or signing failed.
    #[error("cannot hash or sign: {0}")]
    Crypto(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
