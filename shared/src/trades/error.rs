//! Why a trade is not accepted, or not reversed.

use super::model::{Reason, TradeState};
use crate::{db::DbError, ids::TradeId, runs::RunError};
use std::sync::Arc;

/// An order, or a reversal, was refused; nothing was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TradeError {
    /// There is no such trade.
    #[error("There is no trade {0}.")]
    NotFound(TradeId),
    /// A field cannot be used.
    #[error("{reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        reason: &'static str,
    },
    /// Nobody knows the client.
    #[error("There is no client {0:?}. Register it first, or mend the id.")]
    UnknownClient(String),
    /// The idempotency key stands for another request.
    #[error("This Idempotency-Key was used for another request; use a fresh key for a different one.")]
    KeyReused,
    /// Only a settled trade can be reversed.
    #[error("{}", not_settled(*.0, *.1, *.2))]
    NotSettled(TradeId, TradeState, Option<Reason>),
    /// What was reversed is not brought back by reversing the reversal.
    #[error("Trade {0} is itself a reversal. To have back what it took back, place a new order.")]
    Reversal(TradeId),
    /// It is reversed once.
    #[error("Trade {0} is being reversed already, or was: by trade {1}.")]
    Reversed(TradeId, TradeId),
    /// More orders wait to be written down than are taken in.
    #[error("Too many orders are waiting to be written down. Nothing of this one was kept; send it again.")]
    Busy,
    /// Whether it was written down is not known.
    #[error(
        "The order may have been accepted or not. Send it again under the same Idempotency-Key: it is accepted once."
    )]
    Unknown,
    /// The run could not be made.
    #[error(transparent)]
    Run(Arc<RunError>),
    /// The database failed.
    #[error(transparent)]
    Database(Arc<DbError>),
}

fn not_settled(id: TradeId, state: TradeState, reason: Option<Reason>) -> String {
    match (state, reason) {
        (TradeState::Pending, _) => {
            format!(
                "Trade {id} is not settled yet. Cancel its settlement instead, or wait until it is settled."
            )
        }
        (_, Some(reason)) => {
            format!("Trade {id} moved nothing: it was rejected ({reason}). There is nothing to reverse.")
        }
        _ => format!("Trade {id} is {state}; only a settled one can be reversed."),
    }
}

impl From<DbError> for TradeError {
    fn from(error: DbError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<diesel::result::Error> for TradeError {
    fn from(error: diesel::result::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<crate::db::PoolError> for TradeError {
    fn from(error: crate::db::PoolError) -> Self {
        DbError::from(error).into()
    }
}

impl From<RunError> for TradeError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Database(error) => error.into(),
            other => Self::Run(Arc::new(other)),
        }
    }
}
