//! The feed as server-sent events.

use super::subscription::{Filter, ResetReason, Subscription, Told};
use crate::{
    app::AppState,
    auth::Credential,
    error::{ApiError, ApiResult},
    params::{FromParams, Params, QueryOf},
    views::words,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use chrono::{DateTime, Utc};
use futures::Stream;
use rust_decimal::Decimal;
use serde_json::json;
use shared::{
    feed::{EventId, event},
    transactions::{TransactionKind, TransactionStatus},
};
use std::{convert::Infallible, time::Duration};
use utoipa::IntoParams;

/// Time between signs of life.
const BEAT: Duration = Duration::from_secs(10);
/// How often it is looked whether the listener still may.
pub(super) const PROOF: Duration = Duration::from_secs(30);

/// Which events a listener wants, and from where on.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FeedParams {
    /// Everything after this event; without it, what happens from now on. A header `Last-Event-ID`, which browsers
    /// send when they come back, comes before it.
    #[param(example = "3f9a1c7b2d4e-1234-0")]
    since: Option<String>,
    /// Only of this client.
    client_id: Option<String>,
    /// Only of this merchant.
    merchant_id: Option<String>,
    /// Only of this kind; of a trade its side.
    #[param(schema_with = words::transaction_kind)]
    kind: Option<TransactionKind>,
    /// Only with this status; a settled trade is a success, a rejected one failed.
    #[param(schema_with = words::transaction_status)]
    status: Option<TransactionStatus>,
    /// Only of at least so much, in whatever currency.
    #[param(value_type = Option<String>, example = "100.00")]
    min_amount: Option<Decimal>,
}

impl FromParams for FeedParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            since: params.text("since")?,
            client_id: params.text("client_id")?,
            merchant_id: params.text("merchant_id")?,
            kind: params.parsed("kind")?,
            status: params.parsed("status")?,
            min_amount: params.parsed("min_amount")?,
        })
    }
}

impl FeedParams {
    /// From where on, and which.
    pub(super) fn read(self, last_event_id: Option<&str>) -> ApiResult<(Option<EventId>, Filter)> {
        let Self { since, client_id, merchant_id, kind, status, min_amount } = self;
        let since = match last_event_id {
            Some(id) => Some(("Last-Event-ID", id.to_owned())),
            None => since.map(|id| ("since", id)),
        };
        let since = since
            .map(|(name, id)| id.parse().map_err(|error| ApiError::bad_parameter(name, format!("{error}."))))
            .transpose()?;
        Ok((since, Filter { client_id, merchant_id, kind, status, min_amount }))
    }
}

/// Listen to the feed of live transactions and settled trades.
///
/// Server-sent events. First `hello`, whose `after` is the id after which nothing is left out; then one event each,
/// `transaction.created`, `transaction.updated`, `trade.settled` or `trade.rejected`, in the order of their commits,
/// with ids by which one resumes without a loss or a double. `gap` says that so many events were left out because
/// the listener read too slowly; `reset` that what came after its id cannot be had any more (`epoch`: the feed has
/// begun anew; `too_old`; `unknown`: no such event was told): read everything anew. `beat` comes every ten seconds.
/// The stream ends when the access token expires, and within 30 seconds when a key is revoked or a user disabled.
#[utoipa::path(get, path = "/api/v1/transactions/stream", tag = "transactions", params(FeedParams,
    ("Last-Event-ID" = Option<String>, Header, description = "Everything after this event")), responses(
    (status = 200, description = "The events", content_type = "text/event-stream", body = String),
    (status = 400, description = "A parameter cannot be read"),
))]
pub async fn stream_transactions(
    State(state): State<AppState>,
    headers: HeaderMap,
    QueryOf(params): QueryOf<FeedParams>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::trim);
    let (since, filter) = params.read(last.filter(|id| !id.is_empty()))?;
    let credential = Credential::of(&headers)?;
    let subscription = state.feed.subscribe(since, filter).await?;
    let stream = events(state, subscription, credential);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(BEAT).text("still here")))
}

fn events(
    state: AppState,
    mut subscription: Subscription,
    credential: Option<Credential>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        let mut proof = super::websocket::next_proof(&state, credential.as_ref());
        loop {
            let told = tokio::select! {
                () = state.shutdown.cancelled() => return,
                _ = beats.tick() => {
                    yield Ok(Event::default().event("beat").json_data(json!({ "at": event::at(state.env.clock.now()) })).unwrap_or_default());
                    continue;
                }
                () = tokio::time::sleep_until(proof) => {
                    if let Some(credential) = &credential && credential.prove(&state).await.is_err() {
                        return;
                    }
                    proof = super::websocket::next_proof(&state, credential.as_ref());
                    continue;
                }
                told = subscription.next() => match told {
                    Ok(told) => told,
                    // The listener comes back with the last id that it has.
                    Err(_) => return,
                },
            };
            for told in told {
                yield Ok(written(&told, state.env.clock.now()));
            }
        }
    }
}

fn written(told: &Told, now: DateTime<Utc>) -> Event {
    let notice = |name: &str, id: Option<EventId>, data: serde_json::Value| {
        let event = Event::default().event(name).data(data.to_string());
        id.iter().fold(event, |event, id| event.id(id.to_string()))
    };
    match told {
        Told::Hello { after } => {
            notice("hello", Some(*after), json!({ "after": after.to_string(), "at": event::at(now) }))
                .retry(Duration::from_secs(1))
        }
        Told::Event(event) => Event::default()
            .event(&event.facts.kind_of_event)
            .id(event.id.to_string())
            .data(event.text.as_str()),
        Told::Gap { missed } => notice("gap", None, json!({ "missed": missed })),
        Told::Reset { reason } => notice("reset", None, json!({ "reason": word(*reason) })),
    }
}

/// For programs.
pub(super) fn word(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::Epoch => "epoch",
        ResetReason::TooOld => "too_old",
        ResetReason::Unknown => "unknown",
    }
}
