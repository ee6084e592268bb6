//! Service C's second half: notifications of users, a log row a medium. It knew three states of each; the rest of
//! Millrace's count as the nearest of them.

use super::{
    clients_etl::with_variants,
    fields::Fields,
    stock_trading::{made, refused},
};
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    params::{IdempotencyKey, PathText},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    clients::queries::find_client,
    ids::{DeliveryId, NotificationId},
    notifications::{
        model::{Channel, Delivery, DeliveryState, Notification, NotificationState},
        queries,
        request::{BODY_CHARACTERS, NotificationRequest, TITLE_CHARACTERS, Wording, request_notification},
    },
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The media that C had.
const MEDIA: [Channel; 3] = [Channel::Sms, Channel::Email, Channel::Telegram];
/// Characters of a user's id, at most.
const USER_CHARACTERS: usize = 200;

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new().routes(routes!(create_notification)).routes(routes!(show_notification)),
        &[
            ("/api/notifications/", "/api/notifications"),
            ("/api/notifications/{id}/", "/api/notifications/{id}"),
        ],
        OpenApiRouter::new()
            .route("/api/notifications", post(create_notification))
            .route("/api/notifications/{id}", get(show_notification)),
    )
}

/// A notification to make. JSON, a form or a multipart form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct UserNotificationRequest {
    /// The client.
    #[schema(example = "12345")]
    user_id: String,
    title: String,
    body: String,
    /// `sms`, `email`, `telegram`; in a form separated by commas.
    #[schema(example = json!(["sms", "email"]))]
    channels: Vec<String>,
}

/// What became of it over one medium.
#[derive(Debug, Serialize, ToSchema)]
struct NotificationLog {
    #[schema(value_type = uuid::Uuid)]
    id: DeliveryId,
    channel: &'static str,
    /// `pending`, `success` or `failed`.
    status: &'static str,
    attempts: i32,
    last_attempt_at: Option<DateTime<Utc>>,
    error_message: Option<String>,
}

impl From<Delivery> for NotificationLog {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            channel: delivery.channel.as_str(),
            status: match delivery.state {
                // Of one that may have been accepted nobody should hear that it failed: they would send it again.
                DeliveryState::Pending | DeliveryState::Unknown => "pending",
                DeliveryState::Delivered => "success",
                DeliveryState::Failed | DeliveryState::Suppressed | DeliveryState::Cancelled => "failed",
            },
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at,
            error_message: delivery.error_message,
        }
    }
}

/// A notification.
#[derive(Debug, Serialize, ToSchema)]
struct UserNotification {
    #[schema(value_type = uuid::Uuid)]
    id: NotificationId,
    user_id: Option<String>,
    title: String,
    body: String,
    /// `pending`, `sent` (every log succeeded) or `failed`.
    status: &'static str,
    created_at: DateTime<Utc>,
    logs: Vec<NotificationLog>,
}

impl UserNotification {
    fn new(notification: Notification, deliveries: Vec<Delivery>) -> Self {
        // What was not wanted was not sent either: to C that is no success.
        let succeeded = deliveries.iter().all(|delivery| delivery.state == DeliveryState::Delivered);
        Self {
            id: notification.id,
            user_id: notification.client_id,
            title: notification.title,
            body: notification.body,
            status: match notification.state {
                NotificationState::Pending => "pending",
                NotificationState::Sent if succeeded => "sent",
                NotificationState::Sent
                | NotificationState::Partial
                | NotificationState::Failed
                | NotificationState::Suppressed => "failed",
            },
            created_at: notification.created_at,
            logs: deliveries.into_iter().map(NotificationLog::from).collect(),
        }
    }
}

/// An error: the fields at fault, each with an array of messages; else `detail`.
#[derive(Debug, Serialize, ToSchema)]
struct NotificationRefusal {
    detail: Option<String>,
    user_id: Option<Vec<String>>,
    channels: Option<Vec<String>>,
}

fn under_its_name(field: &str) -> &str {
    if field == "client_id" { "user_id" } else { field }
}

/// Notify a user, as clients of service C do.
#[utoipa::path(post, path = "/api/notifications/", tag = "compat", request_body = UserNotificationRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The notification", body = UserNotification, headers(("Location" = String))),
    (status = 400, description = "Fields are missing or cannot be used", body = NotificationRefusal),
    (status = 422, description = "The Idempotency-Key was used for another request", body = NotificationRefusal),
))]
async fn create_notification(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    fields: Fields,
) -> ApiResult<Response> {
    let mut reading = fields.reading();
    let user = reading.text("user_id", USER_CHARACTERS);
    let title = reading.text("title", TITLE_CHARACTERS);
    let body = reading.text("body", BODY_CHARACTERS);
    let mut channels = Vec::new();
    for word in reading.words("channels") {
        match word.parse().ok().filter(|channel| MEDIA.contains(channel)) {
            Some(channel) => channels.push(channel),
            None => {
                let word: String = word.chars().take(80).collect();
                reading.wrong("channels", format!("\"{word}\" is not a valid choice."));
            }
        }
    }
    if let Some(off) = channels.iter().find(|channel| !state.env.notifications.serves(**channel)) {
        reading.wrong("channels", format!("\"{off}\" is not configured: nothing can be sent over it."));
    }
    if !user.is_empty() {
        let mut conn = state.env.pool.get().await?;
        if find_client(&mut conn, &user).await?.is_none() {
            reading.wrong("user_id", format!("Invalid pk \"{user}\" - object does not exist."));
        }
    }
    reading.done()?;
    let request = NotificationRequest {
        client_id: Some(user),
        to: Vec::new(),
        channels,
        wording: Wording::Plain { title, body },
        send_at: None,
        by: principal.name,
        key,
    };
    let accepted = request_notification(&state.env, request).await.map_err(ApiError::from);
    let accepted = accepted.map_err(|error| refused(error, under_its_name))?;
    let location = format!("/api/notifications/{}/", accepted.notification.id);
    let shown = UserNotification::new(accepted.notification, accepted.deliveries);
    Ok((StatusCode::CREATED, made(&location, accepted.replayed), Json(shown)).into_response())
}

/// Show a notification, as clients of service C ask for one.
#[utoipa::path(get, path = "/api/notifications/{id}/", tag = "compat",
    params(("id" = String, Path, description = "The notification")), responses(
    (status = 200, description = "The notification", body = UserNotification),
    (status = 404, description = "There is no such notification", body = NotificationRefusal),
))]
async fn show_notification(
    State(state): State<AppState>,
    PathText(id): PathText,
) -> ApiResult<Json<UserNotification>> {
    let conn = &mut *state.env.pool.get().await?;
    let found = match id.parse::<NotificationId>() {
        Ok(id) => queries::find_notification(conn, id).await?,
        Err(_) => None,
    };
    let notification =
        found.ok_or_else(|| ApiError::not_found("No Notification matches the given query."))?;
    let deliveries = queries::deliveries_of(conn, &[notification.id]).await?;
    Ok(Json(UserNotification::new(notification, deliveries)))
}
