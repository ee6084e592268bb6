//! Notifications that somebody asks for.

use super::{
    error::NotificationError,
    events::Event,
    model::{Channel, Delivery, Notification},
    providers::{breaks_line, longest, whole},
    queries, recipients,
    service::{self, Content, NewNotification, Target},
    texts,
};
use crate::{
    idempotency,
    ids::NotificationId,
    runs::{Environment, Queue},
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Addresses of one notification, at most.
pub const MOST_ADDRESSES: usize = 500;
/// Characters of a title, at most.
pub const TITLE_CHARACTERS: usize = 200;
/// Characters of a body, at most.
pub const BODY_CHARACTERS: usize = 15_000;
/// How far ahead a notification may be asked for, in days.
pub const DAYS_AHEAD: i64 = 366;

/// What is to be said.
#[derive(Debug, Clone, PartialEq)]
pub enum Wording {
    /// In these words.
    Plain {
        /// One line.
        title: String,
        /// Plain text.
        body: String,
    },
    /// In an event's words, with these values.
    Template(Event, serde_json::Value),
}

/// A notification that somebody asks for.
#[derive(Debug, Clone)]
pub struct NotificationRequest {
    /// The client that it is for.
    pub client_id: Option<String>,
    /// Explicit addresses, besides or instead of the client's.
    pub to: Vec<(Channel, String)>,
    /// Over which channels the client is reached; over all that it can be if empty.
    pub channels: Vec<Channel>,
    /// What is to be said.
    pub wording: Wording,
    /// Not to be sent before.
    pub send_at: Option<DateTime<Utc>>,
    /// Who asks; whose the idempotency key is.
    pub by: String,
    /// The caller's idempotency key.
    pub key: Option<String>,
}

/// A notification that was written down.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The notification.
    pub notification: Notification,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
    /// It was accepted before, under the same idempotency key.
    pub replayed: bool,
}

impl NotificationRequest {
    fn fingerprint(&self) -> String {
        let wording = match &self.wording {
            Wording::Plain { title, body } => json!([title, body]),
            Wording::Template(event, values) => json!([event, values]),
        };
        let asked = json!([self.client_id, self.to, self.channels, wording, self.send_at]);
        format!("POST /api/v1/notifications {}", hex::encode(Sha256::digest(asked.to_string())))
    }

    fn check(&self, now: DateTime<Utc>) -> Result<(), NotificationError> {
        let invalid = |field: &str, reason: String| Err(NotificationError::invalid(field, reason));
        if self.client_id.is_none() && self.to.is_empty() {
            return invalid("client_id", "Say who it is for: a client, or addresses in `to`.".to_owned());
        }
        if self.client_id.is_none() && !self.channels.is_empty() {
            return invalid(
                "channels",
                "Channels are those of a client; each address in `to` names its own.".to_owned(),
            );
        }
        if self.to.len() > MOST_ADDRESSES {
            return invalid("to", format!("At most {MOST_ADDRESSES} addresses; send several notifications."));
        }
        if self.send_at.is_some_and(|at| at - now > TimeDelta::days(DAYS_AHEAD)) {
            return invalid(
                "send_at",
                format!("It can wait for at most {DAYS_AHEAD} days; name an earlier time."),
            );
        }
        if let Wording::Plain { title, body } = &self.wording {
            if title.trim().is_empty() || title.chars().count() > TITLE_CHARACTERS {
                return invalid("title", format!("A title has 1 to {TITLE_CHARACTERS} characters."));
            }
            if title.chars().any(breaks_line) {
                return invalid(
                    "title",
                    "A title is one line, without characters that end lines or turn the direction of writing."
                        .to_owned(),
                );
            }
            if body.trim().is_empty() || body.chars().count() > BODY_CHARACTERS {
                return invalid("body", format!("A body has 1 to {BODY_CHARACTERS} characters."));
            }
            if body.contains('\0') {
                return invalid("body", "A body holds no NUL.".to_owned());
            }
        }
        Ok(())
    }
}

/// Accepts a notification: it is on disk when this returns, with the runs that send it.
pub async fn request_notification(
    env: &Environment,
    mut request: NotificationRequest,
) -> Result<Accepted, NotificationError> {
    request.channels.sort_unstable();
    request.channels.dedup();
    request.check(env.clock.now())?;
    let content = match &request.wording {
        Wording::Plain { title, body } => {
            Content { title: title.trim().to_owned(), body: body.clone(), html: None, data: json!({}) }
        }
        Wording::Template(event, values) => {
            texts::render(*event, values, env.notifications.public_url.as_deref())
                .map_err(|reason| NotificationError::invalid("values", reason))?
        }
    };
    let conn: &mut AsyncPgConnection = &mut *env.pool.get().await?;
    let accepted = conn.transaction(async |conn| accept(conn, env, &request, content).await).await?;
    if !accepted.replayed {
        env.doorbells.ring(Queue::Deliveries, accepted.deliveries.len() as u64);
    }
    Ok(accepted)
}

async fn accept(
    conn: &mut AsyncPgConnection,
    env: &Environment,
    request: &NotificationRequest,
    content: Content,
) -> Result<Accepted, NotificationError> {
    if let Some(key) = &request.key {
        match idempotency::claim(conn, &request.by, key, &request.fingerprint()).await? {
            idempotency::Claim::Fresh => {}
            idempotency::Claim::Reused => return Err(NotificationError::KeyReused),
            idempotency::Claim::Repeated(location) => {
                let id: NotificationId = location.parse().map_err(|_| NotificationError::KeyReused)?;
                return accepted(conn, id, true).await;
            }
        }
    }
    let desk = &env.notifications;
    let mut targets = match &request.client_id {
        Some(client) if request.to.is_empty() || !request.channels.is_empty() => {
            recipients::of_client(conn, desk, client, &request.channels).await?
        }
        Some(client) => {
            // Explicit addresses alone, on behalf of a client.
            if crate::clients::queries::find_client(conn, client).await?.is_none() {
                return Err(NotificationError::UnknownClient(client.chars().take(80).collect()));
            }
            Vec::new()
        }
        None => Vec::new(),
    };
    for (at, (channel, address)) in request.to.iter().enumerate() {
        let target =
            recipients::explicit(conn, desk, *channel, address, &format!("to[{at}].address")).await?;
        if !targets.iter().any(|other| other.channel == target.channel && other.address == target.address) {
            targets.push(target);
        }
    }
    fits(request, &content, &targets)?;
    let new = NewNotification {
        event: None,
        dedupe: None,
        client_id: request.client_id.clone(),
        content,
        targets,
        send_at: request.send_at,
        by: request.by.clone(),
    };
    let made = service::create_all(conn, &[new]).await?;
    let id = made.into_iter().flatten().next().ok_or(NotificationError::KeyReused)?;
    if let Some(key) = &request.key {
        idempotency::point(conn, &request.by, key, &id.to_string()).await?;
    }
    accepted(conn, id, false).await
}

/// Whether each channel carries the message whole.
fn fits(
    request: &NotificationRequest,
    content: &Content,
    targets: &[Target],
) -> Result<(), NotificationError> {
    let units = whole(&content.title, &content.body).encode_utf16().count();
    let tight = targets.iter().find(|target| longest(target.channel).is_some_and(|most| units > most));
    let Some((channel, most)) = tight.and_then(|target| Some((target.channel, longest(target.channel)?)))
    else {
        return Ok(());
    };
    let field = match request.wording {
        Wording::Plain { .. } => "body",
        Wording::Template(..) => "values",
    };
    let reason = format!(
        "The message has {units} characters with its title, and {channel} carries at most {most}. Shorten it, or leave \
         {channel} out."
    );
    Err(NotificationError::invalid(field, reason))
}

async fn accepted(
    conn: &mut AsyncPgConnection,
    id: NotificationId,
    replayed: bool,
) -> Result<Accepted, NotificationError> {
    let notification = queries::find_notification(conn, id).await?.ok_or(NotificationError::NotFound(id))?;
    Ok(Accepted { notification, deliveries: queries::deliveries_of(conn, &[id]).await?, replayed })
}
