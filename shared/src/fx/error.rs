//! Why a rate is not added.

use super::model::NewRate;

/// A rate was refused.
#[derive(Debug, thiserror::Error)]
pub enum FxError {
    /// A field cannot be used.
    #[error("{reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// There is a rate of this pair from this moment on.
    #[error(
        "There is a rate from {} to {} from {} on already. Rates are never changed; add one from another moment on.",
        .0.base, .0.quote, .0.valid_from.to_rfc3339()
    )]
    Duplicate(NewRate),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
