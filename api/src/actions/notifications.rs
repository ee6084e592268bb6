//! What operators do about notifications, deliveries and circuits, from the API and from the pages alike. The
//! domain writes the audit row in the transaction of the deed; doorbells ring after the commit.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    config::variable,
    ids::{DeliveryId, EndpointId, NotificationId},
    notifications::{
        NotificationError, circuits, endpoints,
        model::{Channel, Circuit, Delivery, Forced},
        providers::Named,
        queries,
        request::{Accepted, NotificationRequest, Wording, request_notification},
        service::{self, Replay},
    },
    runs::Queue,
};

/// Deliveries that may be named at once.
pub const MOST_NAMED: usize = 1000;

/// Has one delivery sent again.
pub async fn replay_one(state: &AppState, principal: &Principal, id: DeliveryId) -> ApiResult<Delivery> {
    let delivery = service::replay_one(&mut *state.env.pool.get().await?, id, &principal.name).await?;
    state.env.doorbells.ring(Queue::Deliveries, 1);
    tracing::info!(delivery.id = %id, actor = %principal.name, "delivery {id} is sent again");
    Ok(delivery)
}

/// Has these deliveries sent again; how many. Those that cannot be are passed over.
pub async fn replay_these(state: &AppState, principal: &Principal, ids: Vec<DeliveryId>) -> ApiResult<usize> {
    replay(state, principal, &Replay::These(ids)).await.map(|replayed| replayed.len())
}

/// Notes that deliveries of which nobody knew were accepted; how many. Those that are not unknown are passed over.
pub async fn mark_delivered(state: &AppState, principal: &Principal, ids: &[DeliveryId]) -> ApiResult<usize> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    Ok(conn.transaction(async |conn| service::mark_delivered(conn, ids, &principal.name).await).await?)
}

/// Has all sent again that failed since then; how many. Each transaction takes a part, so that workers begin
/// meanwhile; if the process dies between two, what is left has failed as before. What fails again meanwhile is
/// not taken again.
pub async fn replay_failed(
    state: &AppState,
    principal: &Principal,
    since: DateTime<Utc>,
    channel: Option<Channel>,
) -> ApiResult<usize> {
    let until = shared::schedules::queries::now(&mut *state.env.pool.get().await?).await?;
    let mut done = 0;
    loop {
        let some = replay(state, principal, &Replay::FailedSince(since, until, channel)).await?;
        done += some.len();
        if usize::try_from(service::REPLAYED_TOGETHER).is_ok_and(|whole| some.len() < whole) {
            return Ok(done);
        }
    }
}

async fn replay(state: &AppState, principal: &Principal, which: &Replay) -> ApiResult<Vec<DeliveryId>> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let replayed = conn.transaction(async |conn| service::replay(conn, which, &principal.name).await).await?;
    state.env.doorbells.ring(Queue::Deliveries, replayed.len() as u64);
    tracing::info!(actor = %principal.name, "{} deliveries are sent again", replayed.len());
    Ok(replayed)
}

/// Cancels what is still to be sent of a notification; how many deliveries.
pub async fn cancel(state: &AppState, principal: &Principal, id: NotificationId) -> ApiResult<usize> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let cancelled = conn.transaction(async |conn| service::cancel(conn, id, &principal.name).await).await?;
    tracing::info!(notification.id = %id, actor = %principal.name, "notification {id} is cancelled");
    Ok(cancelled)
}

/// Sends an endpoint a message, to see whether it arrives.
pub async fn test_endpoint(state: &AppState, principal: &Principal, id: EndpointId) -> ApiResult<Accepted> {
    let found = endpoints::find(&mut *state.env.pool.get().await?, id).await?;
    found.ok_or(NotificationError::NoEndpoint(id))?;
    let request = NotificationRequest {
        client_id: None,
        to: vec![(Channel::Webhook, id.to_string())],
        channels: Vec::new(),
        wording: Wording::Plain {
            title: "Test event".to_owned(),
            body: format!("{} asked for this message, to see whether it arrives.", principal.name),
        },
        send_at: None,
        by: principal.name.clone(),
        key: None,
    };
    Ok(request_notification(&state.env, request).await?)
}

/// Decides about the circuit of a provider, or of an endpoint. 404 if there is none of this name.
pub async fn force_circuit(
    state: &AppState,
    principal: &Principal,
    channel: Channel,
    name: &str,
    forced: Option<Forced>,
) -> ApiResult<Circuit> {
    let mut conn = state.env.pool.get().await?;
    let known = match channel {
        Channel::Webhook => match name.parse::<EndpointId>() {
            Ok(id) => endpoints::find(&mut conn, id).await?.map(|endpoint| endpoint.id.to_string()),
            Err(_) => None,
        },
        _ => {
            let named = state.env.notifications.providers(channel).iter().find(|one| one.name == name);
            named.map(|named| named.name.clone())
        }
    };
    let name = known.ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        let what = if channel == Channel::Webhook { "endpoint" } else { "provider" };
        ApiError::not_found(format!("{channel} has no {what} {name:?}."))
    })?;
    let circuit = format!("{channel}/{name}");
    let now = state.env.clock.now();
    let circuit = circuits::force(&mut conn, &circuit, forced, &principal.name, now).await?;
    state.env.notifications.circuits.learn(vec![circuit.clone()]);
    tracing::info!(circuit = %circuit.name, actor = %principal.name, "{} is held {forced:?}", circuit.name);
    Ok(circuit)
}

/// What to set to turn a channel on.
pub fn how_to_turn_on(channel: Channel) -> String {
    let example = match channel {
        Channel::Email => "an SMTP server",
        Channel::Sms => "an SMS gateway",
        Channel::Telegram => "a bot",
        Channel::Webhook => "webhook:",
    };
    format!(
        "Set {} to {example} where the api and the workers start; docs/notifications.md has the forms.",
        variable(channel)
    )
}

/// The name under which the sandbox takes messages; it cannot have another.
pub const SANDBOX: &str = "sandbox";

/// Whether a provider keeps messages instead of sending them.
pub fn is_sandbox(named: &Named) -> bool {
    named.name == SANDBOX
}

/// Whether the sandbox stands in for a channel: nothing of it is sent.
pub fn stands_in(state: &AppState, channel: Channel) -> bool {
    let providers = state.env.notifications.providers(channel);
    !providers.is_empty() && providers.iter().all(is_sandbox)
}

/// A delivery that there is.
pub async fn find_delivery(conn: &mut AsyncPgConnection, id: DeliveryId) -> ApiResult<Delivery> {
    Ok(queries::find_delivery(conn, id).await?.ok_or(NotificationError::NoDelivery(id))?)
}
