//! Webhook endpoints: registered, changed, their secrets rotated. Secrets are stored as they are, because
//! messages are signed with them; they are shown to operators only, and when they are made.

use super::{
    desk::NotificationDesk,
    error::NotificationError,
    events::Event,
    model::{Channel, Endpoint},
    providers::{breaks_line, check_address, generate_secret},
    queries,
};
use crate::{audit, clients, ids::EndpointId, schedules, schema::webhook_endpoints as endpoints};
use chrono::TimeDelta;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;

/// How long the previous secret signs too, after a rotation, unless somebody says otherwise.
pub const OVERLAP_HOURS: u32 = 24;
/// Characters of a description, at most.
const DESCRIPTION_CHARACTERS: usize = 200;

/// An endpoint that is to be registered.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Where messages are posted.
    pub url: String,
    /// The client whose events alone it is told of.
    pub client_id: Option<String>,
    /// What people call it.
    pub description: String,
    /// The events that it is told of.
    pub events: Vec<Event>,
}

/// What is to change of an endpoint; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointPatch {
    /// Where messages are posted.
    pub url: Option<String>,
    /// What people call it.
    pub description: Option<String>,
    /// The events that it is told of.
    pub events: Option<Vec<Event>>,
    /// Whether anything is sent to it.
    pub enabled: Option<bool>,
}

fn checked_url(desk: &NotificationDesk, url: &str) -> Result<String, NotificationError> {
    check_address(Channel::Webhook, url, &desk.guard)
        .map_err(|reason| NotificationError::invalid("url", reason))
}

fn check_description(text: &str) -> Result<(), NotificationError> {
    if text.chars().count() <= DESCRIPTION_CHARACTERS && !text.chars().any(breaks_line) {
        return Ok(());
    }
    let reason = format!("A description is one line of at most {DESCRIPTION_CHARACTERS} characters.");
    Err(NotificationError::invalid("description", reason))
}

/// The events that an endpoint may be told of: those of a client, if it is a client's.
fn check_events(events: &[Event], client: Option<&str>) -> Result<(), NotificationError> {
    match events.iter().find(|event| client.is_some() && !event.is_of_client()) {
        None => Ok(()),
        Some(event) => {
            let of_clients: Vec<_> =
                Event::ALL.iter().filter(|event| event.is_of_client()).map(|one| one.as_str()).collect();
            let reason = format!(
                "{event} is no client's event; an endpoint of a client is told of {}. Leave it out, or register the \
                 endpoint without a client.",
                of_clients.join(", ")
            );
            Err(NotificationError::invalid("events", reason))
        }
    }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    let mut names: Vec<_> = events.iter().map(|event| event.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn secret() -> String {
    generate_secret(rand::random())
}

/// Registers an endpoint, with a fresh secret.
pub async fn register(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    new: &NewEndpoint,
    by: &str,
) -> Result<Endpoint, NotificationError> {
    let url = checked_url(desk, &new.url)?;
    check_description(&new.description)?;
    check_events(&new.events, new.client_id.as_deref())?;
    conn.transaction(async |conn| {
        if let Some(client) = &new.client_id
            && clients::queries::find_client(conn, client).await?.is_none()
        {
            return Err(NotificationError::UnknownClient(client.clone()));
        }
        let Some(endpoint) = insert(conn, &url, new, by).await? else {
            let there = of_url(conn, &url, new.client_id.as_deref()).await?;
            return Err(match there {
                Some(there) => NotificationError::EndpointExists(there.id),
                None => NotificationError::invalid(
                    "url",
                    "Somebody registered and removed it at this moment: try again.",
                ),
            });
        };
        let details = json!({ "url": url, "client_id": new.client_id, "events": endpoint.events });
        audit::record(conn, by, "endpoint.register", &endpoint.id.to_string(), &details).await?;
        Ok(endpoint)
    })
    .await
}

/// Inserts an endpoint with a fresh secret, unless there is one of this URL (and client).
pub(super) async fn insert(
    conn: &mut AsyncPgConnection,
    url: &str,
    new: &NewEndpoint,
    by: &str,
) -> QueryResult<Option<Endpoint>> {
    diesel::insert_into(endpoints::table)
        .values((
            endpoints::id.eq(EndpointId::generate()),
            endpoints::url.eq(url),
            endpoints::client_id.eq(&new.client_id),
            endpoints::description.eq(&new.description),
            endpoints::events.eq(names(&new.events)),
            endpoints::secret.eq(secret()),
            endpoints::created_by.eq(by),
        ))
        .on_conflict_do_nothing()
        .returning(Endpoint::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// The endpoint of a URL, of a client or of everybody.
pub async fn of_url(
    conn: &mut AsyncPgConnection,
    url: &str,
    client: Option<&str>,
) -> QueryResult<Option<Endpoint>> {
    let query = endpoints::table.filter(endpoints::url.eq(url)).select(Endpoint::as_select()).into_boxed();
    let query = match client {
        Some(client) => query.filter(endpoints::client_id.eq(client)),
        None => query.filter(endpoints::client_id.is_null()),
    };
    query.first(conn).await.optional()
}

/// An endpoint.
pub async fn find(conn: &mut AsyncPgConnection, id: EndpointId) -> QueryResult<Option<Endpoint>> {
    endpoints::table.find(id).select(Endpoint::as_select()).first(conn).await.optional()
}

/// The endpoints there are, the last registered first; at most 1,000.
pub async fn list(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Endpoint>> {
    endpoints::table.order(endpoints::id.desc()).select(Endpoint::as_select()).limit(1000).load(conn).await
}

/// Endpoints of clients that are not disabled.
pub(super) async fn of_clients(conn: &mut AsyncPgConnection, clients: &[&str]) -> QueryResult<Vec<Endpoint>> {
    endpoints::table
        .filter(endpoints::client_id.eq_any(clients).and(endpoints::disabled_at.is_null()))
        .order(endpoints::id)
        .select(Endpoint::as_select())
        .load(conn)
        .await
}

/// Endpoints of everybody that are told of an event and are not disabled.
pub(super) async fn told_of(conn: &mut AsyncPgConnection, event: Event) -> QueryResult<Vec<Endpoint>> {
    endpoints::table
        .filter(endpoints::client_id.is_null().and(endpoints::disabled_at.is_null()))
        .filter(endpoints::events.contains(vec![event.as_str()]))
        .order(endpoints::id)
        .select(Endpoint::as_select())
        .load(conn)
        .await
}

/// Changes an endpoint. Enabled again, it begins with a closed circuit.
pub async fn change(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    id: EndpointId,
    patch: &EndpointPatch,
    by: &str,
) -> Result<Endpoint, NotificationError> {
    let url = patch.url.as_deref().map(|url| checked_url(desk, url)).transpose()?;
    check_description(patch.description.as_deref().unwrap_or_default())?;
    conn.transaction(async |conn| {
        if patch.enabled == Some(false) {
            // What waits for it fails now, and not when its time comes. Runs are locked before endpoints.
            queries::hurry(conn, Channel::Webhook, Some(id)).await?;
        }
        if let Some(url) = &url {
            // What waits for it goes to the new one. Deliveries are locked before endpoints, too.
            queries::readdress(conn, id, url).await?;
        }
        let now = schedules::queries::now(conn).await?;
        let locked = endpoints::table.find(id).select(Endpoint::as_select()).for_no_key_update();
        let before = locked.first(conn).await.optional()?.ok_or(NotificationError::NoEndpoint(id))?;
        check_events(patch.events.as_deref().unwrap_or_default(), before.client_id.as_deref())?;
        let url = url.unwrap_or_else(|| before.url.clone());
        if url != before.url
            && let Some(there) = of_url(conn, &url, before.client_id.as_deref()).await?
        {
            return Err(NotificationError::EndpointExists(there.id));
        }
        let (disabled_at, reason) = match (patch.enabled, before.disabled_at) {
            (Some(true), _) => (None, None),
            (Some(false), None) => (Some(now), Some(format!("disabled by {by}"))),
            _ => (before.disabled_at, before.disabled_reason.clone()),
        };
        let events = patch.events.as_deref().map(|events| names(events).into_iter().map(str::to_owned).collect());
        let after = diesel::update(endpoints::table.find(id))
            .set((
                endpoints::url.eq(&url),
                endpoints::description.eq(patch.description.as_ref().unwrap_or(&before.description)),
                endpoints::events.eq(events.unwrap_or_else(|| before.events.clone())),
                endpoints::disabled_at.eq(disabled_at),
                endpoints::disabled_reason.eq(reason),
            ))
            .returning(Endpoint::as_returning())
            .get_result(conn)
            .await?;
        if before.disabled_at.is_some() && after.disabled_at.is_none() {
            let circuit = crate::schema::circuits::table.find(format!("webhook/{id}"));
            diesel::delete(circuit).execute(conn).await?;
        }
        let details = json!({
            "before": { "url": before.url, "events": before.events, "disabled": before.disabled_at.is_some() },
            "after": { "url": after.url, "events": after.events, "disabled": after.disabled_at.is_some() },
        });
        audit::record(conn, by, "endpoint.change", &id.to_string(), &details).await?;
        Ok(after)
    })
    .await
}

/// Gives an endpoint a fresh secret. The one that it had signs too for so many hours, so that the receiver can
/// take over the new one without missing a message. While an older one still signs, only a rotation without overlap is
/// possible, which ends both.
pub async fn rotate_secret(
    conn: &mut AsyncPgConnection,
    id: EndpointId,
    overlap_hours: u32,
    by: &str,
) -> Result<Endpoint, NotificationError> {
    if overlap_hours > 24 * 30 {
        return Err(NotificationError::invalid("overlap_hours", "At most 720 hours, which are 30 days."));
    }
    conn.transaction(async |conn| {
        let now = schedules::queries::now(conn).await?;
        let locked = endpoints::table.find(id).select(Endpoint::as_select()).for_no_key_update();
        let before = locked.first(conn).await.optional()?.ok_or(NotificationError::NoEndpoint(id))?;
        let overlaps = overlap_hours > 0;
        if let Some(until) = before.previous_until.filter(|until| overlaps && *until > now) {
            return Err(NotificationError::Overlapping(until));
        }
        let after = diesel::update(endpoints::table.find(id))
            .set((
                endpoints::secret.eq(secret()),
                endpoints::previous_secret.eq(overlaps.then_some(&before.secret)),
                endpoints::previous_until
                    .eq(overlaps.then(|| now + TimeDelta::hours(i64::from(overlap_hours)))),
            ))
            .returning(Endpoint::as_returning())
            .get_result(conn)
            .await?;
        let details = json!({ "overlap_hours": overlap_hours });
        audit::record(conn, by, "endpoint.rotate_secret", &id.to_string(), &details).await?;
        Ok(after)
    })
    .await
}

/// Removes an endpoint. What is still to be sent to it fails.
pub async fn remove(conn: &mut AsyncPgConnection, id: EndpointId, by: &str) -> Result<(), NotificationError> {
    conn.transaction(async |conn| {
        queries::hurry(conn, Channel::Webhook, Some(id)).await?;
        if diesel::delete(endpoints::table.find(id)).execute(conn).await? == 0 {
            return Err(NotificationError::NoEndpoint(id));
        }
        let circuit = crate::schema::circuits::table.find(format!("webhook/{id}"));
        diesel::delete(circuit).execute(conn).await?;
        audit::record(conn, by, "endpoint.remove", &id.to_string(), &json!({})).await?;
        Ok(())
    })
    .await
}
