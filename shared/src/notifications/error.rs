//! Why a notification is not made, or a delivery not sent again.

use super::model::{Channel, DeliveryState};
use crate::{
    config::variable,
    db::{DbError, PoolError},
    ids::{DeliveryId, EndpointId, NotificationId},
    runs::RunError,
};
use chrono::{DateTime, Utc};

/// Something was refused; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// There is no such notification.
    #[error("There is no notification {0}.")]
    NotFound(NotificationId),
    /// There is no such delivery.
    #[error("There is no delivery {0}.")]
    NoDelivery(DeliveryId),
    /// There is no such endpoint.
    #[error("There is no webhook endpoint {0}.")]
    NoEndpoint(EndpointId),
    /// There is no such subscription.
    #[error("There is no subscription {0}.")]
    NoSubscription(i64),
    /// A field cannot be used.
    #[error("{reason}")]
    Invalid {
        /// Which.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Nobody knows the client.
    #[error("There is no client {0:?}. Register it first, or mend the id.")]
    UnknownClient(String),
    /// The channel has no provider.
    #[error("Nothing can be sent over {0}: it has no provider. Set {name} and restart, or leave {0} out.", name = variable(*.0))]
    ChannelOff(Channel),
    /// The idempotency key stands for another request.
    #[error("This Idempotency-Key was used for another request; use a fresh key for a different one.")]
    KeyReused,
    /// It cannot be sent again from where it stands.
    #[error("Delivery {0} is {1}: only one that failed, was cancelled or is unknown can be sent again.")]
    NotReplayable(DeliveryId, DeliveryState),
    /// Its endpoint was removed.
    #[error(
        "The endpoint of delivery {0} was removed: it cannot arrive. Register one and ask for a new notification."
    )]
    EndpointGone(DeliveryId),
    /// Its endpoint is told of nothing.
    #[error("The endpoint of delivery {0} is disabled: enable {1} first.")]
    EndpointDisabled(DeliveryId, EndpointId),
    /// Another request was faster.
    #[error(
        "Delivery {0} was sent again at this moment by another request. Look at it, then try again if it must be."
    )]
    ReplayedMeanwhile(DeliveryId),
    /// Nobody has to decide about it.
    #[error("Delivery {0} is {1}: only of one that is unknown it has to be said that it was delivered.")]
    NotUnknown(DeliveryId, DeliveryState),
    /// The secret before the present one still signs.
    #[error(
        "The secret before the present one was promised to sign until {0}: rotating now would end it. Wait until then, or rotate with overlap_hours 0, which ends both at once."
    )]
    Overlapping(DateTime<Utc>),
    /// An endpoint of this URL is there already.
    #[error("There is an endpoint of this URL already: {0}.")]
    EndpointExists(EndpointId),
    /// The run could not be made.
    #[error(transparent)]
    Run(RunError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl NotificationError {
    /// A field that cannot be used.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }
}

impl From<diesel::result::Error> for NotificationError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<PoolError> for NotificationError {
    fn from(error: PoolError) -> Self {
        Self::Database(error.into())
    }
}

impl From<RunError> for NotificationError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Database(error) => error.into(),
            other => Self::Run(other),
        }
    }
}
