//! What can go wrong with a run.

use super::{
    model::{InvalidTransition, RunState},
    registry::ArgumentError,
};
use crate::ids::RunId;

/// An action on a run was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No run has this id.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run's state forbids the action.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// The claim that wanted to close the run no longer holds it.
    #[error("the run is no longer held by this claim")]
    FenceLost,
    /// The flow is being cancelled, so no step may be added.
    #[error("the flow is being cancelled")]
    FlowCancelled,
    /// An upload of the same file stands for the same thing.
    #[error("cannot be retried: {0}")]
    Superseded(String),
    /// It is a step of an upload that was undone.
    #[error(
        "The rows of this upload were taken back, or are being. To load them after all, wait for the end of the undo \
         and hand the file in again."
    )]
    UploadUndone,
    /// It is a step of an upload whose file was checked and has faults.
    #[error(
        "The file has faults and was to be loaded whole or not at all. Mend it and hand it in again; the same file \
         too, if what it lacked is there by now: it is checked anew."
    )]
    FileRefused,
    /// Another run holds the unique key.
    #[error("cannot be retried: an unfinished run of the same kind stands for it")]
    KeyHeld,
    /// The kind refuses to be cloned.
    #[error("cannot be cloned: {0}")]
    Unclonable(String),
    /// The kind refuses these arguments.
    #[error(transparent)]
    InvalidArguments(#[from] ArgumentError),
    /// Arguments that are no JSON object of the kind.
    #[error("arguments cannot be written: {0}")]
    Arguments(#[from] serde_json::Error),
    /// The database failed.
    #[error(transparent)]
    Database(diesel::result::Error),
}

impl RunError {
    /// Whether the run is in a state that refuses the action.
    pub fn refused_in(&self) -> Option<RunState> {
        match self {
            Self::Transition(refused) => Some(refused.from),
            _ => None,
        }
    }
}

impl From<diesel::result::Error> for RunError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error};
        match &error {
            // SQLSTATE MR001, raised by close_run: diesel keeps the message only.
            Error::DatabaseError(_, info) if info.message().ends_with("no longer held by this claim") => {
                Self::FenceLost
            }
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => match info.constraint_name() {
                Some("uploads_same_file") => Self::Superseded(
                    "the same file has been uploaded again since; see that upload".to_owned(),
                ),
                Some("runs_unique") => Self::KeyHeld,
                _ => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}
