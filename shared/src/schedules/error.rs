//! What can go wrong with a schedule.

use crate::{ids::RunId, runs::RunError};

/// A field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which; with dots below `args`.
    pub field: String,
    /// Why, and what would be right.
    pub message: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// An action on a schedule was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// None has this name.
    #[error("there is no schedule {0:?}")]
    NotFound(String),
    /// Fields that cannot be used, each with what is wrong with it.
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>().join(" "))]
    Invalid(Vec<Fault>),
    /// Another one has the name.
    #[error("There is a schedule {0:?} already; choose another name, or edit that one.")]
    NameTaken(String),
    /// Somebody changed it since it was read.
    #[error(
        "The schedule was changed since you read it (it is version {0} now). Read it again, then decide."
    )]
    Stale(i32),
    /// Every installation has it.
    #[error("The schedule {0:?} is built in: pause it, if it is not wanted.")]
    BuiltIn(String),
    /// A backfill of it goes on.
    #[error("A backfill of the schedule {0:?} goes on (run {1}): cancel that first, or wait for its end.")]
    BeingFilled(String, RunId),
    /// A backfill that would do nothing, or too much.
    #[error("{0}")]
    NoBackfill(String),
    /// Its run could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The database failed.
    #[error(transparent)]
    Database(diesel::result::Error),
}

impl From<diesel::result::Error> for ScheduleError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}
