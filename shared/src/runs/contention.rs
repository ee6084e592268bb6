//! Transactions that were in each other's way.

use super::JobError;
use tokio_postgres::{Error, error::SqlState};

/// How often a transaction that lost a deadlock or a lock is begun.
pub(crate) const CONTENTION_RETRIES: u32 = 20;

/// Whether an error says that another transaction was in the way, which ends with that one.
pub(crate) fn is_contention(error: &Error) -> bool {
    let contention =
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE, SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| contention.contains(code))
}

/// Lets the caller try its transaction again at once if another was in its way: deadlocks, lock timeouts
/// and meetings on a unique key end with the other one. `lost` counts. Anything else, or too much of it,
/// is the attempt's error.
pub(crate) fn try_again(lost: &mut u32, error: Error) -> Result<(), JobError> {
    *lost += 1;
    if *lost >= CONTENTION_RETRIES || !is_contention(&error) {
        return Err(JobError::retry(error));
    }
    tracing::info!(%error, lost, "another transaction was in the way; trying again");
    Ok(())
}
