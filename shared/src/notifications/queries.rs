//! Statements about notifications, deliveries and attempts.

use super::{
    delivery::Shut,
    model::{Attempt, Channel, Delivery, DeliveryState, Notification, NotificationState},
};
use crate::{
    ids::{DeliveryId, EndpointId, NotificationId, first_of},
    pagination::{Page, PageRequest},
    schema::{deliveries, delivery_attempts, notification_optouts, notifications},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Integer, Nullable, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// What a list of notifications is narrowed to; an empty list is everything.
#[derive(Debug, Clone, Default)]
pub struct NotificationFilter {
    /// In one of these states.
    pub states: Vec<NotificationState>,
    /// With a delivery over one of these channels.
    pub channels: Vec<Channel>,
    /// For this client.
    pub client_id: Option<String>,
    /// Of this event.
    pub event: Option<String>,
    /// Made at or after.
    pub from: Option<DateTime<Utc>>,
    /// Made before.
    pub to: Option<DateTime<Utc>>,
}

/// Notifications, the last made first. The cursor's key is the id.
pub async fn list_notifications(
    conn: &mut AsyncPgConnection,
    filter: &NotificationFilter,
    request: &PageRequest,
) -> QueryResult<Page<Notification>> {
    let mut query = notifications::table.select(Notification::as_select()).into_boxed();
    // One state as itself: then its partial index serves.
    query = match filter.states.as_slice() {
        [] => query,
        [one] => query.filter(notifications::state.eq(one)),
        several => query.filter(notifications::state.eq_any(several)),
    };
    if !filter.channels.is_empty() {
        let over = deliveries::table
            .filter(deliveries::notification_id.eq(notifications::id))
            .filter(deliveries::channel.eq_any(&filter.channels))
            .select(deliveries::id);
        query = query.filter(diesel::dsl::exists(over));
    }
    if let Some(client) = &filter.client_id {
        query = query.filter(notifications::client_id.eq(client));
    }
    if let Some(event) = &filter.event {
        query = query.filter(notifications::event.eq(event));
    }
    if let Some(from) = filter.from {
        query = query.filter(notifications::id.ge(NotificationId(first_of(from))));
    }
    if let Some(to) = filter.to {
        query = query.filter(notifications::id.lt(NotificationId(first_of(to))));
    }
    let from: Option<NotificationId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(notifications::id.gt(id)).order(notifications::id.asc()),
        (Some(id), false) => query.filter(notifications::id.lt(id)).order(notifications::id.desc()),
        (None, _) => query.order(notifications::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |row| vec![row.id.to_string()]))
}

/// A notification.
pub async fn find_notification(
    conn: &mut AsyncPgConnection,
    id: NotificationId,
) -> QueryResult<Option<Notification>> {
    notifications::table.find(id).select(Notification::as_select()).first(conn).await.optional()
}

/// The deliveries of notifications, in the order in which they were made.
pub async fn deliveries_of(
    conn: &mut AsyncPgConnection,
    ids: &[NotificationId],
) -> QueryResult<Vec<Delivery>> {
    deliveries::table
        .filter(deliveries::notification_id.eq_any(ids))
        .order(deliveries::id)
        .select(Delivery::as_select())
        .load(conn)
        .await
}

/// What a list of deliveries is narrowed to; an empty list is everything.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// In one of these states.
    pub states: Vec<DeliveryState>,
    /// Over one of these channels.
    pub channels: Vec<Channel>,
    /// For this client.
    pub client_id: Option<String>,
    /// Last tried with this provider.
    pub provider: Option<String>,
    /// To this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Made at or after.
    pub from: Option<DateTime<Utc>>,
}

/// Deliveries, the last made first. The cursor's key is the id.
pub async fn list_deliveries(
    conn: &mut AsyncPgConnection,
    filter: &DeliveryFilter,
    request: &PageRequest,
) -> QueryResult<Page<Delivery>> {
    let mut query = deliveries::table.select(Delivery::as_select()).into_boxed();
    query = match filter.states.as_slice() {
        [] => query,
        [one] => query.filter(deliveries::state.eq(one)),
        several => query.filter(deliveries::state.eq_any(several)),
    };
    query = match filter.channels.as_slice() {
        [] => query,
        [one] => query.filter(deliveries::channel.eq(one)),
        several => query.filter(deliveries::channel.eq_any(several)),
    };
    if let Some(client) = &filter.client_id {
        query = query.filter(deliveries::client_id.eq(client));
    }
    if let Some(provider) = &filter.provider {
        query = query.filter(deliveries::provider.eq(provider));
    }
    if let Some(endpoint) = filter.endpoint_id {
        query = query.filter(deliveries::endpoint_id.eq(endpoint));
    }
    if let Some(from) = filter.from {
        query = query.filter(deliveries::id.ge(DeliveryId(first_of(from))));
    }
    let from: Option<DeliveryId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(deliveries::id.gt(id)).order(deliveries::id.asc()),
        (Some(id), false) => query.filter(deliveries::id.lt(id)).order(deliveries::id.desc()),
        (None, _) => query.order(deliveries::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |row| vec![row.id.to_string()]))
}

/// A delivery.
pub async fn find_delivery(conn: &mut AsyncPgConnection, id: DeliveryId) -> QueryResult<Option<Delivery>> {
    deliveries::table.find(id).select(Delivery::as_select()).first(conn).await.optional()
}

/// The attempts of deliveries, in order.
pub async fn attempts_of(conn: &mut AsyncPgConnection, ids: &[DeliveryId]) -> QueryResult<Vec<Attempt>> {
    delivery_attempts::table
        .filter(delivery_attempts::delivery_id.eq_any(ids))
        .order((delivery_attempts::delivery_id, delivery_attempts::number))
        .select(Attempt::as_select())
        .load(conn)
        .await
}

/// How many deliveries stand where, of a channel and the provider that was tried last (or the endpoint).
#[derive(Debug, Clone, QueryableByName)]
pub struct DeliveryCount {
    /// The channel.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// The provider.
    #[diesel(sql_type = Nullable<Text>)]
    pub provider: Option<String>,
    /// The endpoint.
    #[diesel(sql_type = Nullable<Uuid>)]
    pub endpoint_id: Option<EndpointId>,
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// Deliveries that were made since then, counted.
pub async fn count_deliveries(
    conn: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> QueryResult<Vec<DeliveryCount>> {
    diesel::sql_query(
        "SELECT channel, provider, endpoint_id, state, count(*) AS count FROM deliveries
         WHERE id >= $1 GROUP BY channel, provider, endpoint_id, state",
    )
    .bind::<Uuid, _>(first_of(since))
    .load(conn)
    .await
}

/// Lets deliveries go on that wait because their provider was not asked, or is to be asked again: over a channel,
/// or to one endpoint. One that is to be sent later waits on. They go on in two seconds, when every process has seen
/// what has changed (it looks once a second).
pub(super) async fn hurry(
    conn: &mut AsyncPgConnection,
    channel: Channel,
    endpoint: Option<EndpointId>,
) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE runs SET run_at = now() + interval '2 seconds' WHERE id IN (
             SELECT d.run_id FROM deliveries d
             WHERE d.state = 'pending' AND d.channel = $1 AND ($2 IS NULL OR d.endpoint_id = $2))
         AND (state = 'retryable' AND $2 IS NOT NULL OR state IN ('scheduled', 'available') AND reason = 'snoozed')
         AND run_at > now() + interval '2 seconds'",
    )
    .bind::<Text, _>(channel.as_str())
    .bind::<Nullable<Uuid>, _>(endpoint)
    .execute(conn)
    .await
}

/// Puts off what could be claimed now of a channel, or of one endpoint, until a provider may be asked: it would only
/// be told so one by one, and cost the others as much as a delivery each.
pub(super) async fn put_off(
    conn: &mut AsyncPgConnection,
    channel: Channel,
    endpoint: Option<EndpointId>,
    shut: Shut,
) -> QueryResult<usize> {
    // Enough for what is a matter of minutes, and few enough to be multiplied.
    let microseconds = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(1 << 40);
    diesel::sql_query(
        "WITH waiting AS (
             SELECT r.id FROM deliveries d JOIN runs r ON r.id = d.run_id
             WHERE d.state = 'pending' AND d.channel = $1 AND ($2 IS NULL OR d.endpoint_id = $2)
               AND r.state = 'available' AND r.run_at <= now()
             ORDER BY claim_order(r.run_at, r.priority), r.id LIMIT 20000 FOR UPDATE OF r SKIP LOCKED
         ), numbered AS (SELECT id, least(row_number() OVER () * $4, $5) AS behind FROM waiting)
         UPDATE runs SET reason = 'snoozed', run_at = now() + ($3 + behind) * interval '1 microsecond'
         FROM numbered WHERE runs.id = numbered.id",
    )
    .bind::<Text, _>(channel.as_str())
    .bind::<Nullable<Uuid>, _>(endpoint)
    .bind::<BigInt, _>(microseconds(shut.wait))
    .bind::<BigInt, _>(microseconds(shut.pace))
    .bind::<BigInt, _>(microseconds(shut.within))
    .execute(conn)
    .await
}

/// Has what still waits for an endpoint sent to another URL.
pub(super) async fn readdress(
    conn: &mut AsyncPgConnection,
    endpoint: EndpointId,
    url: &str,
) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE deliveries SET address = $2 WHERE id IN (
             SELECT id FROM deliveries WHERE endpoint_id = $1 AND state = 'pending' AND address <> $2
             ORDER BY id FOR NO KEY UPDATE)",
    )
    .bind::<Uuid, _>(endpoint)
    .bind::<Text, _>(url)
    .execute(conn)
    .await
}

/// Keeps a delivery's turn.
pub(super) async fn keep_turn(
    conn: &mut AsyncPgConnection,
    id: DeliveryId,
    at: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::update(deliveries::table.find(id))
        .set(deliveries::permit_at.eq(at))
        .execute(conn)
        .await
        .map(|_| ())
}

/// Over which channels clients want nothing.
pub(super) async fn optouts(
    conn: &mut AsyncPgConnection,
    clients: &[&str],
) -> QueryResult<Vec<(String, Channel)>> {
    notification_optouts::table
        .filter(notification_optouts::client_id.eq_any(clients))
        .select((notification_optouts::client_id, notification_optouts::channel))
        .load(conn)
        .await
}

/// Removes up to a thousand notifications that are older than so many days; how many.
pub(super) async fn prune(conn: &mut AsyncPgConnection, keep_days: u32) -> QueryResult<i64> {
    let deleted = diesel::sql_query(
        "DELETE FROM notifications WHERE id IN (
             SELECT n.id FROM notifications n
             WHERE n.created_at < now() - $1 * interval '1 day' AND n.state <> 'pending'
               AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notification_id = n.id AND d.state = 'unknown')
             ORDER BY n.id LIMIT 1000)",
    )
    .bind::<Integer, _>(i32::try_from(keep_days).unwrap_or(i32::MAX))
    .execute(conn)
    .await?;
    Ok(i64::try_from(deleted).unwrap_or(i64::MAX))
}
