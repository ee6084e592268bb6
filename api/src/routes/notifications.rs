//! Notifications: asking for one, and what became of it.

use crate::{
    actions::notifications as actions,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{
        FromParams, IdempotencyKey, Json, ListParams, ListQuery, NoQuery, PageParams, Params, PathId,
        read_instant,
    },
    views::{
        notifications::{AttemptView, DeliveryView, NotificationView, OneDeliveryView, OneNotificationView},
        words,
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use shared::{
    ids::{DeliveryId, NotificationId, RunId},
    notifications::{
        Event, NotificationError,
        figures::planned,
        model::{Channel, Delivery, DeliveryState, Notification, NotificationState},
        queries::{self, NotificationFilter},
        request::{Accepted, NotificationRequest, Wording, request_notification},
    },
    pagination::{Cursor, InvalidCursor},
};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// What a list of notifications is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NotificationParams {
    /// Only in these states.
    #[param(schema_with = words::notification_states)]
    state: Vec<NotificationState>,
    /// Only with a delivery over one of these channels.
    #[param(schema_with = words::channels)]
    channel: Vec<Channel>,
    /// Only for this client.
    client_id: Option<String>,
    /// Only of this event.
    #[param(schema_with = words::event)]
    event: Option<Event>,
    /// Not made before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
}

impl FromParams for NotificationParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let (from, to) = (params.from("from")?, params.until("to")?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
        }
        Ok(Self {
            state: params.list("state")?,
            channel: params.list("channel")?,
            client_id: params.text("client_id")?,
            event: params.parsed("event")?,
            from,
            to,
        })
    }
}

impl ListParams for NotificationParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<NotificationId>().map(drop)
    }
}

impl NotificationParams {
    fn into_filter(self) -> NotificationFilter {
        NotificationFilter {
            states: self.state,
            channels: self.channel,
            client_id: self.client_id,
            event: self.event.map(|event| event.to_string()),
            from: self.from,
            to: self.to,
        }
    }
}

/// List notifications, the last made first.
#[utoipa::path(get, path = "/api/v1/notifications", tag = "notifications", params(NotificationParams, PageParams),
    responses((status = 200, description = "A page of notifications", body = Listing<NotificationView>)))]
pub async fn list_notifications(
    State(state): State<AppState>,
    query: ListQuery<NotificationParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_notifications(&mut conn, &query.params.into_filter(), &query.page).await?;
    Ok(Listing::of(page, NotificationView::from).respond(&query.uri))
}

/// When the deliveries that wait are tried next.
pub async fn next_attempts(
    conn: &mut AsyncPgConnection,
    deliveries: &[Delivery],
) -> ApiResult<HashMap<RunId, DateTime<Utc>>> {
    let pending = deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Pending);
    let runs: Vec<RunId> = pending.filter_map(|delivery| delivery.run_id).collect();
    Ok(planned(conn, &runs).await?)
}

/// Deliveries with their attempts and the time of the next.
pub async fn with_attempts(
    conn: &mut AsyncPgConnection,
    deliveries: Vec<Delivery>,
) -> ApiResult<Vec<OneDeliveryView>> {
    let ids: Vec<DeliveryId> = deliveries.iter().map(|delivery| delivery.id).collect();
    let next = next_attempts(conn, &deliveries).await?;
    let mut logs: HashMap<DeliveryId, Vec<AttemptView>> = HashMap::new();
    for attempt in queries::attempts_of(conn, &ids).await? {
        logs.entry(attempt.delivery_id).or_default().push(attempt.into());
    }
    let view = |delivery: Delivery| {
        let attempt_log = logs.remove(&delivery.id).unwrap_or_default();
        let next_attempt_at = delivery.run_id.and_then(|run| next.get(&run).copied());
        OneDeliveryView { delivery: DeliveryView { next_attempt_at, ..delivery.into() }, attempt_log }
    };
    Ok(deliveries.into_iter().map(view).collect())
}

async fn whole(conn: &mut AsyncPgConnection, notification: Notification) -> ApiResult<OneNotificationView> {
    let deliveries = queries::deliveries_of(conn, &[notification.id]).await?;
    let deliveries = with_attempts(conn, deliveries).await?;
    Ok(OneNotificationView { notification: notification.into(), deliveries })
}

async fn find(conn: &mut AsyncPgConnection, id: NotificationId) -> ApiResult<Notification> {
    Ok(queries::find_notification(conn, id).await?.ok_or(NotificationError::NotFound(id))?)
}

/// Show a notification with its deliveries and their attempts.
#[utoipa::path(get, path = "/api/v1/notifications/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The notification")), responses(
    (status = 200, description = "The notification", body = OneNotificationView),
    (status = 404, description = "There is no such notification"),
))]
pub async fn show_notification(
    State(state): State<AppState>,
    PathId(id): PathId<NotificationId>,
    _: NoQuery,
) -> ApiResult<Answer<OneNotificationView>> {
    let conn = &mut *state.env.pool.get().await?;
    let notification = find(conn, id).await?;
    whole(conn, notification).await.map(Answer)
}

/// An address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressBody {
    /// The channel.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// A mailbox, a phone number, a chat's id; of a webhook the URL, or the id, of a registered endpoint.
    #[schema(example = "ann@example.org")]
    pub address: String,
}

/// A notification: for a client, for addresses, or both; in plain words or by a template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationBody {
    /// The client that it is for.
    pub client_id: Option<String>,
    /// Addresses, besides or instead of the client's.
    #[serde(default)]
    pub to: Vec<AddressBody>,
    /// Over which channels the client is reached; over all by which it can be if this is absent.
    #[schema(schema_with = words::channels)]
    pub channels: Option<Vec<Channel>>,
    /// One line; goes with `body`.
    #[schema(max_length = 200)]
    pub title: Option<String>,
    /// Plain text; goes with `title`.
    #[schema(max_length = 15_000)]
    pub body: Option<String>,
    /// The event in whose words it is; goes with `values`.
    #[schema(schema_with = words::event)]
    pub template: Option<Event>,
    /// What the template tells; goes with `template`.
    #[schema(value_type = Option<Object>)]
    pub values: Option<serde_json::Value>,
    /// Not to be sent before: an instant, or a day's beginning in the reporting zone.
    #[schema(example = "2026-12-01T08:00:00Z")]
    pub send_at: Option<String>,
}

impl NotificationBody {
    fn wording(&mut self) -> ApiResult<Wording> {
        const EITHER: &str = "Say it either with `title` and `body`, or with `template` and `values`.";
        match (self.title.take(), self.body.take(), self.template, self.values.take()) {
            (Some(title), Some(body), None, None) => Ok(Wording::Plain { title, body }),
            (None, None, Some(event), Some(values)) => Ok(Wording::Template(event, values)),
            (Some(_), None, None, None) => Err(ApiError::invalid("body", EITHER)),
            (None, None, Some(_), None) => Err(ApiError::invalid("values", EITHER)),
            (None, None, None, Some(_)) | (Some(_), _, Some(_), _) | (_, Some(_), Some(_), _) => {
                Err(ApiError::invalid("template", EITHER))
            }
            (_, _, None, Some(_)) => Err(ApiError::invalid("values", EITHER)),
            (None, _, None, None) => Err(ApiError::invalid("title", EITHER)),
        }
    }
}

/// The answer to who has asked for a notification.
pub async fn created(conn: &mut AsyncPgConnection, accepted: Accepted) -> ApiResult<Response> {
    let Accepted { notification, deliveries, replayed } = accepted;
    let location = format!("/api/v1/notifications/{}", notification.id);
    let deliveries = with_attempts(conn, deliveries).await?;
    let view = OneNotificationView { notification: notification.into(), deliveries };
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Answer(view)).into_response();
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Ask for a notification.
///
/// It is on disk when this answers, with a delivery for each recipient and channel; each delivery is a run that
/// sends it and tries again. What the client does not want is `suppressed`. Under the same Idempotency-Key the same
/// notification is made once, and answered alike.
#[utoipa::path(post, path = "/api/v1/notifications", tag = "notifications", request_body = NotificationBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The notification with its deliveries", body = OneNotificationView, headers(
        ("Location" = String, description = "The notification"),
        ("Idempotency-Replayed" = String, description = "`true` if it was made before, under the same key"))),
    (status = 422, description = "A field cannot be used, there is no such client, a channel is off, or the Idempotency-Key was used for another request"),
))]
pub async fn create_notification(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(mut body): Json<NotificationBody>,
) -> ApiResult<Response> {
    let wording = body.wording()?;
    let zone = state.env.settings.zone;
    let request = NotificationRequest {
        client_id: body.client_id,
        to: body.to.into_iter().map(|to| (to.channel, to.address)).collect(),
        channels: match body.channels {
            Some(none) if none.is_empty() => {
                return Err(ApiError::invalid(
                    "channels",
                    "Name at least one channel, or leave `channels` out.",
                ));
            }
            channels => channels.unwrap_or_default(),
        },
        wording,
        send_at: match body.send_at.as_deref() {
            Some(text) if text.trim().is_empty() => {
                return Err(ApiError::invalid("send_at", "Say when, or leave it out."));
            }
            Some(text) => read_instant(zone, "send_at", text)?,
            None => None,
        },
        by: principal.name,
        key,
    };
    let accepted = request_notification(&state.env, request).await?;
    created(&mut *state.env.pool.get().await?, accepted).await
}

/// What was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct CancelledView {
    /// Deliveries that were still to be sent, and are not any more (one that is just being sent is asked to stop).
    pub cancelled: usize,
    /// The notification.
    #[serde(flatten)]
    pub notification: OneNotificationView,
}

/// Cancel what is still to be sent of a notification.
#[utoipa::path(post, path = "/api/v1/notifications/{id}/cancel", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The notification")), responses(
    (status = 200, description = "How many deliveries, and the notification", body = CancelledView),
    (status = 404, description = "There is no such notification"),
))]
pub async fn cancel_notification(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<NotificationId>,
    _: NoQuery,
) -> ApiResult<Answer<CancelledView>> {
    let cancelled = actions::cancel(&state, &principal, id).await?;
    let conn = &mut *state.env.pool.get().await?;
    let notification = find(conn, id).await?;
    Ok(Answer(CancelledView { cancelled, notification: whole(conn, notification).await? }))
}
