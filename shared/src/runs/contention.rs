//! Transactions that were in each other's way.

use super::JobError;
use tokio_postgres::{Error, error::SqlState};

/// How often a transaction that lost a deadlock or a lock is begun.
const RETRIES: u32 = 20;

/// Lets the caller try its transaction again at once if another was in its way: deadlocks, lock timeouts
/// and meetings on a unique key end with the other one. `lost` counts. Anything else, or too much of it,
/// is the attempt's error.
pub(crate) fn try_again(lost: &mut u32, error: Error) -> Result<(), JobError> {
    let contention =
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE, SqlState::UNIQUE_VIOLATION];
    *lost += 1;
    if *lost >= RETRIES || !error.code().is_some_and(|code| contention.contains(code)) {
        return Err(JobError::retry(error));
    }
    tracing::info!(%error, lost, "another transaction was in the way; trying again");
    Ok(())
}
