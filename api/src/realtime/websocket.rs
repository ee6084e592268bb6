//! The feed over WebSockets. A socket is let in by what its request carries, or by the token that it sends first;
//! that is proven again as long as it is open. It answers to a few messages, and whatever is not one of them, or
//! breaks the protocol, is told so.

use super::{
    feed::Event,
    stream::{FeedParams, PROOF, word},
    subscription::{Filter, Subscription, Told},
};
use crate::{
    app::AppState,
    auth::{self, Credential, Principal},
    error::{ApiError, ApiResult},
    params::QueryOf,
};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use serde_json::json;
use shared::feed::{EventId, event};
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;

/// Largest message that a listener may send.
const LARGEST_BYTES: usize = 64 << 10;
/// Bytes that are read at a time: listeners say little, and a thousand of them have a buffer each.
const READ: usize = 4 << 10;
/// Bytes that are collected before they are written, and that may wait to be.
const WRITTEN: (usize, usize) = (16 << 10, 1 << 20);
/// Time to send a token.
const LOGIN: Duration = Duration::from_secs(10);
/// Time to say how it ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time between pings.
const PING: Duration = Duration::from_secs(20);
/// Silence after which a listener is gone.
const GONE: Duration = Duration::from_secs(60);
/// How long a listener may take what is written to it.
const STUCK: Duration = Duration::from_secs(60);

// RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;
const PROTOCOL: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const INVALID_TEXT: u16 = 1007;
const TOO_BIG: u16 = 1009;
const TRY_AGAIN: u16 = 1013;
/// Private codes, after the HTTP statuses: a browser sees nothing else.
const UNAUTHENTICATED: u16 = 4401;
const FORBIDDEN: u16 = 4403;

/// How a socket's listener wants to be spoken to.
#[derive(Clone, Copy)]
pub enum Dialect {
    /// Ours.
    Own,
    /// That of a replaced service: what it gets of an event, and nothing else.
    Plain(fn(&Event) -> Option<Utf8Bytes>),
}

/// Listen to the feed over a WebSocket.
///
/// The events, ids, filters and notices are those of `/api/v1/transactions/stream`, each a JSON text: `hello`,
/// `gap` and `reset` by their `type`. Credentials come as a header or the session's cookie, or as the first message
/// `{"type":"auth","token":"…"}` within ten seconds; sent again before an access token expires, that keeps the socket
/// open. `{"type":"filter","client_id":"…",…}` changes the filter, `{"type":"ping"}` is answered. Closed with 4401
/// when what let it in is no longer good: at once when a token expires, within 30 seconds when a key is revoked or a
/// user disabled. A page of another origin is refused, unless MILLRACE_ALLOWED_ORIGINS names
/// it.
#[utoipa::path(get, path = "/ws/transactions", tag = "transactions", params(FeedParams), responses(
    (status = 101, description = "The socket is open"),
    (status = 401, description = "The credentials are not good"),
    (status = 403, description = "A page of another origin asks"),
    (status = 426, description = "It is no WebSocket that was asked for"),
))]
pub async fn socket_transactions(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryOf(params): QueryOf<FeedParams>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let (since, filter) = params.read(None)?;
    open(state, headers, upgrade, since, filter, Dialect::Own).await
}

/// Opens a socket for whom the headers let in, or who will send a token.
pub async fn open(
    state: AppState,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    since: Option<EventId>,
    filter: Filter,
    dialect: Dialect,
) -> ApiResult<Response> {
    let upgrade = upgrade.map_err(|error| {
        ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade-required",
            "WebSocket expected",
            format!("This address is for WebSockets: {}.", error.body_text()),
        )
        .with(header::UPGRADE, "websocket")
    })?;
    refuse_foreign(&state, &headers)?;
    let credential = match Credential::of(&headers)? {
        None if matches!(dialect, Dialect::Plain(_)) && state.config.compat.anonymous => {
            Some(Credential::Anonymous)
        }
        credential => credential,
    };
    if let Some(credential) = &credential {
        credential.prove(&state).await?;
    }
    Ok(limited(upgrade).on_upgrade(async move |socket| {
        let (sink, stream) = socket.split();
        let mut socket = Socket { state, sink, stream, dialect };
        let closed = socket.serve(credential, since, filter).await;
        end(&mut socket.sink, closed).await;
    }))
}

/// What a socket may take.
pub fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(LARGEST_BYTES)
        .max_frame_size(LARGEST_BYTES)
        .read_buffer_size(READ)
        .write_buffer_size(WRITTEN.0)
        .max_write_buffer_size(WRITTEN.1)
}

/// Ends a socket, and tells the other side why.
pub async fn end(sink: &mut SplitSink<WebSocket, Message>, Closed(end): Closed) {
    let farewell = async {
        if let Some((code, reason)) = end {
            let frame = CloseFrame { code, reason: reason.into() };
            sink.send(Message::Close(Some(frame))).await?;
        }
        // The answer to the other side's own end is written by this.
        sink.close().await
    };
    // Who is gone hears nothing.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// A browser says whose page asks; a program says nothing.
fn refuse_foreign(state: &AppState, headers: &HeaderMap) -> ApiResult<()> {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    match origin {
        Some(origin) if state.config.allowed_origins.iter().any(|allowed| allowed == origin) => Ok(()),
        _ => auth::refuse_cross_site(headers),
    }
}

/// When a credential is to be proven again.
pub(super) fn next_proof(state: &AppState, credential: Option<&Credential>) -> Instant {
    let left = credential
        .and_then(|credential| credential.expiry(state))
        .map(|expiry| (expiry - state.env.clock.now()).to_std().unwrap_or_default());
    Instant::now() + left.map_or(PROOF, |left| left.min(PROOF))
}

/// What a listener may say.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Auth { token: String },
    Filter(Filter),
    Ping,
}

/// The end of a socket: with a code and a reason, unless the other side has ended it.
pub struct Closed(Option<(u16, &'static str)>);

impl Closed {
    const fn with(code: u16, reason: &'static str) -> Self {
        Self(Some((code, reason)))
    }
}

struct Socket {
    state: AppState,
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    dialect: Dialect,
}

impl Socket {
    /// Returns how it ended.
    async fn serve(
        &mut self,
        credential: Option<Credential>,
        since: Option<EventId>,
        filter: Filter,
    ) -> Closed {
        let Err(closed) = self.converse(credential, since, filter).await;
        closed
    }

    async fn converse(
        &mut self,
        credential: Option<Credential>,
        since: Option<EventId>,
        filter: Filter,
    ) -> Result<Infallible, Closed> {
        let mut credential = match credential {
            Some(credential) => credential,
            None => self.login().await?,
        };
        let subscription = self.state.feed.subscribe(since, filter).await;
        let mut subscription =
            subscription.map_err(|_| Closed::with(TRY_AGAIN, "The feed cannot be read right now."))?;
        let mut pings = tokio::time::interval_at(Instant::now() + PING, PING);
        let mut proof = next_proof(&self.state, Some(&credential));
        let mut heard = Instant::now();
        let shutdown = self.state.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    return Err(Closed::with(GOING_AWAY, "The server stops; come back with the last id."));
                }
                told = subscription.next() => {
                    let told = told.map_err(|_| Closed::with(TRY_AGAIN, "The feed cannot be read right now."))?;
                    self.tell(told).await?;
                }
                message = self.stream.next() => {
                    heard = Instant::now();
                    if let Some(text) = read(message)? {
                        self.answer(&text, &mut subscription, &mut credential).await?;
                        proof = next_proof(&self.state, Some(&credential));
                    }
                }
                () = tokio::time::sleep_until(proof) => {
                    self.prove(&credential).await?;
                    proof = next_proof(&self.state, Some(&credential));
                }
                _ = pings.tick() => {
                    if heard.elapsed() > GONE {
                        return Err(Closed::with(GOING_AWAY, "Nothing was heard for a minute."));
                    }
                    self.send(Message::Ping(bytes::Bytes::new())).await?;
                }
            }
        }
    }

    /// Waits for the token that must come first.
    async fn login(&mut self) -> Result<Credential, Closed> {
        const FIRST: &str = "Send {\"type\":\"auth\",\"token\":\"…\"} first.";
        let first = async {
            loop {
                if let Some(text) = read(self.stream.next().await)? {
                    return Ok(text);
                }
            }
        };
        let Ok(text) = tokio::time::timeout(LOGIN, first).await else {
            return Err(Closed::with(UNAUTHENTICATED, FIRST));
        };
        let Ok(Said::Auth { token }) = serde_json::from_str(&text?) else {
            return Err(Closed::with(UNAUTHENTICATED, FIRST));
        };
        let credential = Credential::Text { text: token, key: false };
        let principal = self.prove(&credential).await?;
        self.welcome(&principal).await?;
        Ok(credential)
    }

    async fn prove(&self, credential: &Credential) -> Result<Principal, Closed> {
        let principal = credential.prove(&self.state).await.map_err(|error| match error.status() {
            StatusCode::UNAUTHORIZED => {
                Closed::with(UNAUTHENTICATED, "The token or session is not good, or no longer.")
            }
            status if status.is_client_error() => Closed::with(FORBIDDEN, "This may not be listened to."),
            _ => Closed::with(TRY_AGAIN, "Whether the token is good cannot be told right now."),
        })?;
        Ok(principal)
    }

    async fn welcome(&mut self, principal: &Principal) -> Result<(), Closed> {
        self.say(json!({ "type": "authenticated", "as": principal.name, "role": principal.role })).await
    }

    /// Answers a message. The replaced services listened to none.
    async fn answer(
        &mut self,
        text: &str,
        subscription: &mut Subscription,
        credential: &mut Credential,
    ) -> Result<(), Closed> {
        if matches!(self.dialect, Dialect::Plain(_)) {
            return Ok(());
        }
        match serde_json::from_str(text) {
            Ok(Said::Ping) => {
                self.say(json!({ "type": "pong", "at": event::at(self.state.env.clock.now()) })).await
            }
            Ok(Said::Filter(filter)) => {
                let said = json!({ "type": "filter", "filter": filter });
                subscription.filter = filter;
                self.say(said).await
            }
            Ok(Said::Auth { token }) => {
                let new = Credential::Text { text: token, key: false };
                let principal = self.prove(&new).await?;
                *credential = new;
                self.welcome(&principal).await
            }
            Err(error) => {
                let detail = format!(
                    "{error}. One of: auth (token), filter (client_id, merchant_id, kind, status, min_amount), ping."
                );
                self.say(json!({ "type": "error", "detail": detail })).await
            }
        }
    }

    async fn say(&mut self, said: serde_json::Value) -> Result<(), Closed> {
        match self.dialect {
            Dialect::Own => self.send(Message::Text(said.to_string().into())).await,
            Dialect::Plain(_) => Ok(()),
        }
    }

    async fn tell(&mut self, told: Vec<Told>) -> Result<(), Closed> {
        let dialect = self.dialect;
        let now = self.state.env.clock.now();
        let texts: Vec<Message> = told
            .iter()
            .filter_map(|told| written(told, dialect, &event::at(now)))
            .map(Message::Text)
            .collect();
        let sink = &mut self.sink;
        patient(async {
            for text in texts {
                sink.feed(text).await?;
            }
            sink.flush().await
        })
        .await
    }

    async fn send(&mut self, message: Message) -> Result<(), Closed> {
        patient(self.sink.send(message)).await
    }
}

/// Gives a listener up that takes nothing.
async fn patient(writing: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Closed> {
    match tokio::time::timeout(STUCK, writing).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Closed(None)),
    }
}

fn written(told: &Told, dialect: Dialect, now: &str) -> Option<Utf8Bytes> {
    let notice = |notice: serde_json::Value| Some(Utf8Bytes::from(notice.to_string()));
    match (dialect, told) {
        (Dialect::Plain(plain), Told::Event(event)) => event.plain.get_or_init(|| plain(event)).clone(),
        (Dialect::Plain(_), _) => None,
        (Dialect::Own, Told::Event(event)) => Some(event.text.clone()),
        (Dialect::Own, Told::Hello { after }) => {
            notice(json!({ "type": "hello", "after": after.to_string(), "at": now }))
        }
        (Dialect::Own, Told::Gap { missed }) => notice(json!({ "type": "gap", "missed": missed })),
        (Dialect::Own, Told::Reset { reason }) => notice(json!({ "type": "reset", "reason": word(*reason) })),
    }
}

/// The text that a listener sent, if it is one; how the socket ends, if it does.
pub fn read(message: Option<Result<Message, axum::Error>>) -> Result<Option<Utf8Bytes>, Closed> {
    use tungstenite::Error;
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Binary(_))) => Err(Closed::with(UNSUPPORTED, "Messages are texts of JSON.")),
        // The answer to it is written by itself.
        Some(Ok(Message::Close(_))) | None => Err(Closed(None)),
        Some(Err(error)) => Err(match error.into_inner().downcast_ref::<Error>() {
            Some(Error::Utf8(_)) => Closed::with(INVALID_TEXT, "A text is UTF-8."),
            Some(Error::Capacity(_)) => Closed::with(TOO_BIG, "A message has at most 64 KiB."),
            Some(Error::Protocol(_)) => Closed::with(PROTOCOL, "That is no frame of the protocol."),
            _ => Closed(None),
        }),
    }
}
