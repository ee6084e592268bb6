//! What can go wrong with an upload as a whole. A bad record is a reject, not an error.

use crate::{ids::UploadId, runs::RunError};

/// An upload was refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No upload has this id.
    #[error("there is no upload {0}")]
    NotFound(UploadId),
    /// The Idempotency-Key stands for another request.
    #[error("this Idempotency-Key was used for another upload; use a fresh key for a different request")]
    KeyReused,
    /// The same file is there, and is just being taken back.
    #[error(
        "The same file was loaded as upload {0}, whose rows are being taken back: hand it in again when that has \
         ended, or force it."
    )]
    BeingUndone(UploadId),
    /// It cannot be undone, for this reason.
    #[error("{0}")]
    NotUndoable(String),
    /// Enqueueing failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
