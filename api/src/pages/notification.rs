//! One notification: its deliveries, each with where it stands, why, what was tried, and what can be done.

use super::{
    address::segment,
    deliveries::{DeliveryPart, cancel_action, parts},
    fmt,
    notifications::{deliveries_words, sandboxed},
    pieces::{Action, Badge, Id, Time},
    shell::{Shell, page},
};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use diesel_async::AsyncPgConnection;
use shared::{
    ids::NotificationId,
    notifications::{
        model::{Delivery, DeliveryState, Notification, NotificationState},
        queries::{deliveries_of, find_notification},
    },
};

/// Deliveries that a page shows; those that ask for something first.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "pages/notifications/notification.html")]
struct NotificationPage {
    shell: Shell,
    id: Id,
    notification: Notification,
    badge: Badge,
    event: Option<String>,
    client: Option<(String, String)>,
    made: Time,
    send_at: Option<String>,
    summary: String,
    sandboxed: Option<String>,
    deliveries: Vec<DeliveryPart>,
    left: Option<String>,
    payload: String,
    cancel: Action,
}

/// The notification of this id, or the page that says there is none.
pub(super) async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Notification> {
    let found = match id.parse::<NotificationId>() {
        Ok(id) => find_notification(conn, id).await?,
        Err(_) => None,
    };
    let missing =
        "There is no notification with this id. It may be mistyped, or was removed because it is old.";
    found.ok_or_else(|| ApiError::not_found(missing))
}

/// What asks for somebody first, then what is on its way.
fn rank(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Unknown => 0,
        DeliveryState::Failed => 1,
        DeliveryState::Pending => 2,
        DeliveryState::Cancelled => 3,
        DeliveryState::Suppressed => 4,
        DeliveryState::Delivered => 5,
    }
}

/// `2 delivered, 1 failed`.
fn summary(deliveries: &[Delivery]) -> String {
    let words = DeliveryState::ALL.iter().filter_map(|&state| {
        let count = deliveries.iter().filter(|delivery| delivery.state == state).count();
        (count > 0).then(|| format!("{} {state}", fmt::count(i64::try_from(count).unwrap_or(i64::MAX))))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// `GET /ui/notifications/{id}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let notification = find(&mut conn, &id).await?;
    let mut deliveries = deliveries_of(&mut conn, &[notification.id]).await?;
    deliveries.sort_by_key(|delivery| rank(delivery.state));
    let pending = deliveries.iter().filter(|one| one.state == DeliveryState::Pending).count();
    let total = deliveries.len();
    let summary = summary(&deliveries);
    deliveries.truncate(SHOWN);
    let shown = parts(&mut conn, deliveries, &shell).await?;
    drop(conn);
    let more = total.saturating_sub(SHOWN);
    shell.moving = notification.state == NotificationState::Pending;
    let client = notification.client_id.as_deref();
    page(&NotificationPage {
        id: Id::new(notification.id),
        badge: notification.state.into(),
        event: notification.event.as_deref().map(fmt::words),
        client: client.map(|id| (fmt::cut(id, 80), format!("/ui/clients/{}", segment(id)))),
        made: shell.date(notification.created_at),
        send_at: notification.send_at.filter(|at| *at > shell.now).map(|at| shell.when(at)),
        summary,
        sandboxed: sandboxed(&state),
        deliveries: shown,
        left: (more > 0).then(|| format!("and {} more, which the API lists", deliveries_words(more))),
        payload: serde_json::to_string_pretty(&notification.payload)?,
        cancel: cancel_action(&shell, &notification, pending),
        notification,
        shell,
    })
}
