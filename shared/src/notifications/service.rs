//! Making notifications, and deciding about deliveries. A notification, its deliveries and the runs that send
//! them are one commit: before it nothing was asked, after it all of them will be sent.

use super::{
    endpoints,
    error::NotificationError,
    jobs::{DeliverEmail, DeliverSms, DeliverTelegram, DeliverWebhook},
    model::{Channel, Delivery, DeliveryState},
    queries,
};
use crate::{
    audit,
    ids::{DeliveryId, EndpointId, NotificationId, RunId},
    runs::{cancel_run, enqueue_all},
    schema::notification_optouts,
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, Jsonb, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use std::collections::HashSet;

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// One line.
    pub title: String,
    /// Plain text.
    pub body: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// What programs are told besides: `data` of a webhook's body.
    pub data: serde_json::Value,
}

/// To whom, over which channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The channel.
    pub channel: Channel,
    /// The address, as its channel writes it.
    pub address: String,
    /// The webhook's endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Whether the recipient does not want it.
    pub unwanted: bool,
}

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct NewNotification {
    /// The event that it tells of.
    pub event: Option<&'static str>,
    /// Made once for each of these.
    pub dedupe: Option<String>,
    /// The client that it is for.
    pub client_id: Option<String>,
    /// What is said.
    pub content: Content,
    /// To whom; not empty.
    pub targets: Vec<Target>,
    /// Not to be sent before.
    pub send_at: Option<DateTime<Utc>>,
    /// Who asks.
    pub by: String,
}

struct NewDelivery<'n> {
    id: DeliveryId,
    run_id: Option<RunId>,
    notification: NotificationId,
    new: &'n NewNotification,
    target: &'n Target,
}

/// The body of a webhook, as Standard Webhooks wants it.
fn payload(id: NotificationId, new: &NewNotification) -> serde_json::Value {
    let Content { title, body, data, .. } = &new.content;
    let mut told = serde_json::json!({ "notification_id": id, "title": title, "body": body });
    if let Some(client) = &new.client_id {
        told["client_id"] = client.as_str().into();
    }
    if let (Some(told), Some(data)) = (told.as_object_mut(), data.as_object()) {
        told.extend(data.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    serde_json::json!({
        "type": new.event.unwrap_or("notification"), "timestamp": id.created_at(), "data": told,
    })
}

/// Makes notifications in the caller's transaction; the id of each, or nothing where one was made for the same
/// reason before.
pub async fn create_all(
    conn: &mut AsyncPgConnection,
    new: &[NewNotification],
) -> Result<Vec<Option<NotificationId>>, NotificationError> {
    #[derive(QueryableByName)]
    struct Made {
        #[diesel(sql_type = Uuid)]
        id: NotificationId,
    }
    let ids: Vec<NotificationId> = new.iter().map(|_| NotificationId::generate()).collect();
    let payloads: Vec<_> = ids.iter().zip(new).map(|(&id, new)| payload(id, new)).collect();
    let state = |new: &NewNotification| match new.targets.iter().all(|target| target.unwanted) {
        true => "suppressed",
        false => "pending",
    };
    let made: Vec<Made> = diesel::sql_query(
        "INSERT INTO notifications (id, created_at, event, client_id, title, body, html, payload, state, send_at,
                                    dedupe, created_by)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (dedupe) DO NOTHING RETURNING id",
    )
    .bind::<Array<Uuid>, _>(&ids)
    .bind::<Array<Timestamptz>, _>(ids.iter().map(|id| id.created_at()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(new.iter().map(|new| new.event).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(new.iter().map(|new| new.client_id.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(new.iter().map(|new| new.content.title.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(new.iter().map(|new| new.content.body.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(new.iter().map(|new| new.content.html.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(payloads)
    .bind::<Array<Text>, _>(new.iter().map(state).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(new.iter().map(|new| new.send_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(new.iter().map(|new| new.dedupe.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(new.iter().map(|new| new.by.as_str()).collect::<Vec<_>>())
    .load(conn)
    .await?;
    let made: HashSet<NotificationId> = made.into_iter().map(|row| row.id).collect();
    let rows: Vec<NewDelivery<'_>> = ids
        .iter()
        .zip(new)
        .filter(|(id, _)| made.contains(id))
        .flat_map(|(&notification, new)| new.targets.iter().map(move |target| (notification, new, target)))
        .map(|(notification, new, target)| NewDelivery {
            id: DeliveryId::generate(),
            run_id: (!target.unwanted).then(RunId::generate),
            notification,
            new,
            target,
        })
        .collect();
    insert_deliveries(conn, &rows).await?;
    let runs: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            Some((row.target.channel, row.run_id?, row.id, row.new.by.as_str(), row.new.send_at))
        })
        .collect();
    enqueue_deliveries(conn, &runs).await?;
    Ok(ids.into_iter().map(|id| made.contains(&id).then_some(id)).collect())
}

async fn insert_deliveries(conn: &mut AsyncPgConnection, rows: &[NewDelivery<'_>]) -> QueryResult<()> {
    fn column<'n, T>(rows: &'n [NewDelivery<'n>], value: impl Fn(&'n NewDelivery<'n>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let unwanted = "the client does not want messages over this channel";
    diesel::sql_query(
        "INSERT INTO deliveries (id, notification_id, run_id, endpoint_id, channel, client_id, address, error_message,
                                 state, ended_at)
         SELECT d.*, CASE WHEN d.run_id IS NULL THEN 'suppressed' ELSE 'pending' END,
                CASE WHEN d.run_id IS NULL THEN now() END
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
              AS d (id, notification_id, run_id, endpoint_id, channel, client_id, address, error_message)",
    )
    .bind::<Array<Uuid>, _>(column(rows, |row| row.id))
    .bind::<Array<Uuid>, _>(column(rows, |row| row.notification))
    .bind::<Array<Nullable<Uuid>>, _>(column(rows, |row| row.run_id))
    .bind::<Array<Nullable<Uuid>>, _>(column(rows, |row| row.target.endpoint_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.target.channel.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.new.client_id.as_deref()))
    .bind::<Array<Text>, _>(column(rows, |row| row.target.address.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.run_id.is_none().then_some(unwanted)))
    .execute(conn)
    .await
    .map(|_| ())
}

type NewRun<'r> = (Channel, RunId, DeliveryId, &'r str, Option<DateTime<Utc>>);

async fn enqueue_deliveries(
    conn: &mut AsyncPgConnection,
    runs: &[NewRun<'_>],
) -> Result<(), NotificationError> {
    for &channel in Channel::ALL {
        let these = runs.iter().filter(|run| run.0 == channel);
        macro_rules! enqueue_as {
            ($job:ident) => {{
                let runs: Vec<_> =
                    these.map(|&(_, run, delivery_id, by, at)| (run, $job { delivery_id }, by, at)).collect();
                if !runs.is_empty() {
                    enqueue_all(conn, &runs).await?;
                }
            }};
        }
        match channel {
            Channel::Email => enqueue_as!(DeliverEmail),
            Channel::Sms => enqueue_as!(DeliverSms),
            Channel::Telegram => enqueue_as!(DeliverTelegram),
            Channel::Webhook => enqueue_as!(DeliverWebhook),
        }
    }
    Ok(())
}

/// Deliveries that are to be sent again at one time, at most.
pub const REPLAYED_TOGETHER: i64 = 5000;

/// Which deliveries are to be sent again.
#[derive(Debug, Clone)]
pub enum Replay {
    /// These, whatever befell them; one that was delivered, or is on its way, is passed over.
    These(Vec<DeliveryId>),
    /// All that failed since then and before the other moment, over one channel if it is named. Those of which nobody knows
    /// whether they were accepted are not among them.
    FailedSince(DateTime<Utc>, DateTime<Utc>, Option<Channel>),
}

/// Has deliveries sent again, each by a new run, in the caller's transaction; up to [`REPLAYED_TOGETHER`] of them.
/// Says which.
pub async fn replay(
    conn: &mut AsyncPgConnection,
    which: &Replay,
    by: &str,
) -> Result<Vec<DeliveryId>, NotificationError> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = Uuid)]
        id: DeliveryId,
        #[diesel(sql_type = Text)]
        channel: Channel,
        /// Its notification's, if that is still to come.
        #[diesel(sql_type = Nullable<Timestamptz>)]
        send_at: Option<DateTime<Utc>>,
    }
    // What cannot arrive is left alone: an endpoint that is gone, or disabled.
    let select = |which: &str| {
        format!(
            "SELECT d.id, d.channel, CASE WHEN n.send_at > now() THEN n.send_at END AS send_at
             FROM deliveries d JOIN notifications n ON n.id = d.notification_id
             WHERE {which} AND (d.channel <> 'webhook' OR EXISTS (
                 SELECT 1 FROM webhook_endpoints e WHERE e.id = d.endpoint_id AND e.disabled_at IS NULL))
             ORDER BY d.id LIMIT $1 FOR NO KEY UPDATE OF d"
        )
    };
    let held: Vec<Held> = match which {
        Replay::These(ids) => {
            diesel::sql_query(select("d.id = ANY ($2) AND d.state IN ('failed', 'unknown', 'cancelled')"))
                .bind::<diesel::sql_types::BigInt, _>(REPLAYED_TOGETHER)
                .bind::<Array<Uuid>, _>(ids)
                .load(conn)
                .await?
        }
        Replay::FailedSince(since, until, channel) => diesel::sql_query(select(
            "d.state = 'failed' AND d.ended_at >= $2 AND d.ended_at < $3 AND ($4 IS NULL OR d.channel = $4)",
        ))
        .bind::<diesel::sql_types::BigInt, _>(REPLAYED_TOGETHER)
        .bind::<Timestamptz, _>(since)
        .bind::<Timestamptz, _>(until)
        .bind::<Nullable<Text>, _>(channel.map(Channel::as_str))
        .load(conn)
        .await?,
    };
    let runs: Vec<NewRun<'_>> =
        held.iter().map(|held| (held.channel, RunId::generate(), held.id, by, held.send_at)).collect();
    let ids: Vec<DeliveryId> = held.iter().map(|held| held.id).collect();
    diesel::sql_query(
        "UPDATE deliveries d SET state = 'pending', ended_at = NULL, permit_at = NULL, run_id = r.run_id,
                address = coalesce((SELECT e.url FROM webhook_endpoints e WHERE e.id = d.endpoint_id), d.address)
         FROM unnest($1, $2) AS r (id, run_id) WHERE d.id = r.id",
    )
    .bind::<Array<Uuid>, _>(&ids)
    .bind::<Array<Uuid>, _>(runs.iter().map(|run| run.1).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    enqueue_deliveries(conn, &runs).await?;
    let (subject, details) = match which {
        Replay::These(ids) => {
            let subject = ids.as_slice().first().map(ToString::to_string).unwrap_or_default();
            (subject, serde_json::json!({ "deliveries": ids, "replayed": held.len() }))
        }
        Replay::FailedSince(since, _, channel) => (
            "deliveries".to_owned(),
            serde_json::json!({ "failed_since": since, "channel": channel, "replayed": held.len() }),
        ),
    };
    audit::record(conn, by, "delivery.replay", &subject, &details).await?;
    Ok(ids)
}

/// Why a delivery was not sent again.
async fn why_not_replayed(
    conn: &mut AsyncPgConnection,
    delivery: &Delivery,
) -> QueryResult<NotificationError> {
    use DeliveryState::{Cancelled, Failed, Unknown};
    if !matches!(delivery.state, Failed | Unknown | Cancelled) {
        return Ok(NotificationError::NotReplayable(delivery.id, delivery.state));
    }
    let endpoint = match delivery.endpoint_id {
        Some(endpoint) => endpoints::find(conn, endpoint).await?,
        None => None,
    };
    Ok(match endpoint {
        None if delivery.channel == Channel::Webhook => NotificationError::EndpointGone(delivery.id),
        Some(endpoint) if endpoint.disabled_at.is_some() => {
            NotificationError::EndpointDisabled(delivery.id, endpoint.id)
        }
        // It has failed again since.
        _ => NotificationError::ReplayedMeanwhile(delivery.id),
    })
}

/// Has one delivery sent again; refused from where it cannot be.
pub async fn replay_one(
    conn: &mut AsyncPgConnection,
    id: DeliveryId,
    by: &str,
) -> Result<Delivery, NotificationError> {
    conn.transaction(async |conn| {
        let replayed = replay(conn, &Replay::These(vec![id]), by).await?;
        let delivery = queries::find_delivery(conn, id).await?.ok_or(NotificationError::NoDelivery(id))?;
        if replayed.is_empty() {
            return Err(why_not_replayed(conn, &delivery).await?);
        }
        Ok(delivery)
    })
    .await
}

/// Notes that somebody found out that deliveries of which nobody knew were accepted, in the caller's transaction; how
/// many. Others are passed over.
pub async fn mark_delivered(
    conn: &mut AsyncPgConnection,
    ids: &[DeliveryId],
    by: &str,
) -> Result<usize, NotificationError> {
    let marked = diesel::sql_query(
        "UPDATE deliveries SET state = 'delivered', ended_at = now(), error_message = NULL WHERE id IN (
             SELECT id FROM deliveries WHERE id = ANY ($1) AND state = 'unknown' ORDER BY id FOR NO KEY UPDATE)",
    )
    .bind::<Array<Uuid>, _>(ids)
    .execute(conn)
    .await?;
    if marked > 0 {
        let subject = ids.first().map(ToString::to_string).unwrap_or_default();
        let details = serde_json::json!({ "deliveries": ids, "marked": marked });
        audit::record(conn, by, "delivery.mark_delivered", &subject, &details).await?;
    }
    Ok(marked)
}

/// The same of one; refused if it is not unknown.
pub async fn mark_one_delivered(
    conn: &mut AsyncPgConnection,
    id: DeliveryId,
    by: &str,
) -> Result<Delivery, NotificationError> {
    conn.transaction(async |conn| {
        let marked = mark_delivered(conn, &[id], by).await?;
        let delivery = queries::find_delivery(conn, id).await?.ok_or(NotificationError::NoDelivery(id))?;
        if marked == 0 {
            return Err(NotificationError::NotUnknown(id, delivery.state));
        }
        Ok(delivery)
    })
    .await
}

/// Cancels what is still to be sent of a notification; how many deliveries. One that is just being sent is asked
/// to stop, and is `unknown` if it does not in time.
pub async fn cancel(
    conn: &mut AsyncPgConnection,
    id: NotificationId,
    by: &str,
) -> Result<usize, NotificationError> {
    let found = queries::deliveries_of(conn, &[id]).await?;
    if found.is_empty() && queries::find_notification(conn, id).await?.is_none() {
        return Err(NotificationError::NotFound(id));
    }
    let mut runs: Vec<RunId> = found
        .iter()
        .filter(|delivery| delivery.state == DeliveryState::Pending)
        .filter_map(|delivery| delivery.run_id)
        .collect();
    runs.sort_unstable();
    let mut cancelled = 0;
    for run in runs {
        let done = conn.transaction(async |conn| cancel_run(conn, run).await).await;
        // One that has ended by now is not to be cancelled any more.
        cancelled += usize::from(done.is_ok());
    }
    let details = serde_json::json!({ "deliveries": cancelled });
    audit::record(conn, by, "notification.cancel", &id.to_string(), &details).await?;
    Ok(cancelled)
}

/// Notes whether a client wants messages over a channel. What is still to be sent heeds it.
pub async fn set_wanted(
    conn: &mut AsyncPgConnection,
    client: &str,
    channel: Channel,
    wanted: bool,
    by: &str,
) -> Result<(), NotificationError> {
    conn.transaction(async |conn| {
        if crate::clients::queries::find_client(conn, client).await?.is_none() {
            return Err(NotificationError::UnknownClient(client.to_owned()));
        }
        if wanted {
            diesel::delete(notification_optouts::table.find((client, channel))).execute(conn).await?;
        } else {
            diesel::insert_into(notification_optouts::table)
                .values((
                    notification_optouts::client_id.eq(client),
                    notification_optouts::channel.eq(channel),
                    notification_optouts::created_by.eq(by),
                ))
                .on_conflict_do_nothing()
                .execute(conn)
                .await?;
        }
        let action = if wanted { "client.opt_in" } else { "client.opt_out" };
        audit::record(conn, by, action, client, &serde_json::json!({ "channel": channel })).await?;
        Ok(())
    })
    .await
}
