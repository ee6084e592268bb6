//! Deliveries that are not sent, for another reason than their provider's.

use super::{model::DeliveryState, recording::Look};
use crate::{
    ids::DeliveryId,
    runs::{Finished, JobError, RunContext, RunError},
    schema::deliveries,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;

/// How a run ends whose delivery is not its own to send any more.
pub(super) fn settled(
    context: &RunContext,
    id: DeliveryId,
    look: &Look,
) -> Result<Option<Finished>, JobError> {
    let refused = |why: String| Err(JobError::Fail(anyhow::anyhow!(why)));
    match look.state {
        DeliveryState::Delivered => Ok(Some(Finished::Result(json!({ "delivery": id, "already": true })))),
        DeliveryState::Unknown => refused(format!(
            "delivery {id} may have been accepted or not: mark it as delivered, or send it again, on its page"
        )),
        _ if look.run != Some(context.run_id) => refused(format!("another run sends delivery {id} now")),
        DeliveryState::Pending => Ok(None),
        state => refused(format!("delivery {id} is {state}: replay it instead of its run")),
    }
}

/// Ends a delivery that its recipient does not want, or that has nowhere to go; `None` if it is to be sent.
pub(super) async fn withheld(
    context: &RunContext,
    id: DeliveryId,
    look: &Look,
) -> Result<Option<Finished>, JobError> {
    if look.unwanted {
        let message = "the client does not want messages over this channel";
        let end = async |conn: &mut AsyncPgConnection| {
            context.hold(conn).await?;
            mark(conn, id, DeliveryState::Suppressed, message).await?;
            context.complete(conn, &json!({ "delivery": id, "suppressed": true })).await
        };
        let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
        return Ok(Some(conn.transaction(end).await?.into()));
    }
    let message = match (&look.disabled, look.endpoint_gone) {
        (Some(reason), _) => {
            format!("its endpoint is disabled: {reason}. Enable it, then replay the delivery.")
        }
        (None, true) => "its endpoint was removed".to_owned(),
        (None, false) => return Ok(None),
    };
    let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
    let fail = async |conn: &mut AsyncPgConnection| {
        context.hold(conn).await?;
        mark(conn, id, DeliveryState::Failed, &message).await.map_err(RunError::from)
    };
    conn.transaction(fail).await?;
    Err(JobError::Fail(anyhow::anyhow!(message)))
}

async fn mark(
    conn: &mut AsyncPgConnection,
    id: DeliveryId,
    state: DeliveryState,
    message: &str,
) -> QueryResult<()> {
    let pending = deliveries::table.find(id).filter(deliveries::state.eq(DeliveryState::Pending));
    diesel::update(pending)
        .set((
            deliveries::state.eq(state),
            deliveries::ended_at.eq(diesel::dsl::now),
            deliveries::error_message.eq(message),
        ))
        .execute(conn)
        .await
        .map(|_| ())
}
