//! Deliveries: as the pages show them with their attempts, and what is done about them.

use super::{
    fmt, notification,
    notifications::{channel_words, deliveries_words},
    pieces::{Action, Badge, Confirm, Id, Time},
    run_parts::ActionForm,
    shell::{Shell, done, page},
    upload::ConfirmPage,
};
use crate::{
    actions::notifications::{self as actions, find_delivery},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    params::read_instant,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    ids::{DeliveryId, RunId},
    notifications::{
        figures::{count_failed_since, planned},
        model::{Attempt, Channel, Delivery, DeliveryState, Notification},
        queries, service,
    },
    runs::waiting::{self, Waiting},
};
use std::collections::HashMap;

/// A delivery with all there is to know of it.
pub struct DeliveryPart {
    pub(super) id: String,
    pub(super) channel: &'static str,
    pub(super) address: String,
    /// The endpoint's page.
    pub(super) href: Option<String>,
    pub(super) badge: Badge,
    pub(super) provider: Option<String>,
    pub(super) error: Option<String>,
    /// Why it waits, and until when.
    pub(super) waits: Option<String>,
    pub(super) next: Option<String>,
    pub(super) run: Option<Id>,
    pub(super) unknown: bool,
    pub(super) attempts: Vec<AttemptPart>,
    pub(super) actions: Vec<Action>,
}

impl DeliveryPart {
    /// Whether why it waits says until when, too.
    pub(super) fn waits_until(&self) -> bool {
        self.waits.as_ref().is_some_and(|words| words.contains("until"))
    }
}

/// One time that a provider was asked.
pub struct AttemptPart {
    pub(super) number: i32,
    pub(super) badge: Badge,
    pub(super) provider: String,
    pub(super) began: Time,
    pub(super) took: Option<String>,
    pub(super) status: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) response: Option<String>,
}

impl AttemptPart {
    fn new(attempt: Attempt, shell: &Shell) -> Self {
        Self {
            number: attempt.number,
            badge: Badge::attempt(attempt.outcome),
            provider: attempt.provider,
            began: shell.date(attempt.started_at),
            took: attempt.duration_ms.map(|took| fmt::duration(TimeDelta::milliseconds(took.into()))),
            status: attempt.status_code,
            error: attempt.error,
            response: attempt.response.filter(|response| !response.trim().is_empty()),
        }
    }
}

fn deliveries_actions(shell: &Shell, delivery: &Delivery) -> Vec<Action> {
    let path = format!("/ui/deliveries/{}", delivery.id);
    match delivery.state {
        DeliveryState::Unknown => vec![
            shell.action("It was delivered", format!("{path}/delivered"), None),
            Action { danger: true, ..shell.action("Send again …", format!("{path}/replay"), None) },
        ],
        DeliveryState::Failed | DeliveryState::Cancelled => {
            vec![shell.action("Replay", format!("{path}/replay"), None)]
        }
        DeliveryState::Pending | DeliveryState::Delivered | DeliveryState::Suppressed => Vec::new(),
    }
}

fn part(
    delivery: Delivery,
    attempts: Vec<AttemptPart>,
    next: Option<DateTime<Utc>>,
    waiting: Option<&Waiting>,
    shell: &Shell,
) -> DeliveryPart {
    let pending = delivery.state == DeliveryState::Pending;
    DeliveryPart {
        id: delivery.id.to_string(),
        channel: channel_words(delivery.channel),
        href: delivery.endpoint_id.map(|endpoint| format!("/ui/webhooks/{endpoint}")),
        badge: delivery.state.into(),
        waits: waiting.filter(|_| pending).map(|waiting| waiting.words_with(|time| shell.when(time))),
        next: next.filter(|at| pending && *at > shell.now).map(|at| shell.when(at)),
        run: delivery.run_id.map(|run| Id::new(run).to(format!("/ui/runs/{run}"))),
        unknown: delivery.state == DeliveryState::Unknown,
        attempts,
        actions: deliveries_actions(shell, &delivery),
        provider: delivery.provider,
        error: delivery.error_message.filter(|_| delivery.state != DeliveryState::Delivered),
        address: delivery.address,
    }
}

/// Deliveries as a page shows them.
pub(super) async fn parts(
    conn: &mut AsyncPgConnection,
    deliveries: Vec<Delivery>,
    shell: &Shell,
) -> ApiResult<Vec<DeliveryPart>> {
    let ids: Vec<DeliveryId> = deliveries.iter().map(|delivery| delivery.id).collect();
    let pending = deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Pending);
    let runs: Vec<RunId> = pending.filter_map(|delivery| delivery.run_id).collect();
    let next = planned(conn, &runs).await?;
    let waiting = waiting::reasons(conn, &runs).await?;
    let mut logs: HashMap<DeliveryId, Vec<AttemptPart>> = HashMap::new();
    for attempt in queries::attempts_of(conn, &ids).await? {
        logs.entry(attempt.delivery_id).or_default().push(AttemptPart::new(attempt, shell));
    }
    let whole = |delivery: Delivery| {
        let attempts = logs.remove(&delivery.id).unwrap_or_default();
        let run = delivery.run_id.unwrap_or(RunId(uuid::Uuid::nil()));
        part(delivery, attempts, next.get(&run).copied(), waiting.get(&run), shell)
    };
    Ok(deliveries.into_iter().map(whole).collect())
}

async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Delivery> {
    let missing =
        || ApiError::not_found("There is no delivery with this id. It may be mistyped, or was removed.");
    let id = id.parse::<DeliveryId>().map_err(|_| missing())?;
    find_delivery(conn, id).await
}

fn page_of(delivery: &Delivery) -> String {
    format!("/ui/notifications/{}", delivery.notification_id)
}

/// `POST /ui/deliveries/{id}/replay`; asks first where a second copy may come of it.
pub(super) async fn replay(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let delivery = find(&mut *state.env.pool.get().await?, &id).await?;
    if delivery.state == DeliveryState::Unknown && !form.is_confirmed() {
        let confirm = Confirm {
            id: "send-again",
            title: format!("Send to {} again?", fmt::cut(&delivery.address, 80)),
            consequence: "The message may have been accepted already: then its recipient gets it a second time. Look \
                          at the provider first, if you can; where it was accepted, say “It was delivered” instead."
                .to_owned(),
            label: "Send it again".to_owned(),
            href: format!("/ui/deliveries/{}/replay", delivery.id),
            back: page_of(&delivery),
            csrf: shell.csrf().to_owned(),
            fields: Vec::new(),
            danger: true,
        };
        return page(&ConfirmPage { shell, title: "Send it again", confirm });
    }
    actions::replay_one(&state, &session.principal, delivery.id).await?;
    Ok(done(&page_of(&delivery), "replayed"))
}

/// `POST /ui/deliveries/{id}/delivered`.
pub(super) async fn mark_delivered(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let conn = &mut *state.env.pool.get().await?;
    let delivery = find(conn, &id).await?;
    service::mark_one_delivered(conn, delivery.id, &session.principal.name).await?;
    Ok(done(&page_of(&delivery), "marked-delivered"))
}

/// The button that cancels what is still to be sent.
pub(super) fn cancel_action(shell: &Shell, notification: &Notification, pending: usize) -> Action {
    let refusal = (pending == 0).then(|| "nothing of it is still to be sent".to_owned());
    let action = shell.action("Cancel", format!("/ui/notifications/{}/cancel", notification.id), refusal);
    shell.dangerous(action, cancel_question(shell, notification, pending))
}

fn cancel_question(shell: &Shell, notification: &Notification, pending: usize) -> Confirm {
    let path = format!("/ui/notifications/{}", notification.id);
    let deliveries = deliveries_words(pending);
    Confirm {
        id: "cancel-notification",
        title: format!("Cancel {deliveries}?"),
        consequence: format!(
            "What is still to be sent of “{}” is not sent. One that is just being sent is asked to stop, and is \
             unknown if it does not. Each can be replayed later.",
            fmt::cut(&notification.title, 80)
        ),
        label: format!("Cancel {deliveries}"),
        href: format!("{path}/cancel"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: true,
    }
}

/// `POST /ui/notifications/{id}/cancel`; asks first.
pub(super) async fn cancel(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let conn = &mut *state.env.pool.get().await?;
    let notification = notification::find(conn, &id).await?;
    if !form.is_confirmed() {
        let deliveries = queries::deliveries_of(conn, &[notification.id]).await?;
        let pending = deliveries.iter().filter(|one| one.state == DeliveryState::Pending).count();
        let confirm = cancel_question(&shell, &notification, pending);
        return page(&ConfirmPage { shell, title: "Cancel the notification", confirm });
    }
    actions::cancel(&state, &session.principal, notification.id).await?;
    Ok(done(&format!("/ui/notifications/{}", notification.id), "notification-cancelled"))
}

/// Since when, over which channel, what failed is to be sent again.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ReplayTyped {
    csrf_token: String,
    since: String,
    channel: String,
}

#[derive(Template)]
#[template(path = "pages/notifications/replay.html")]
struct ReplayPage {
    shell: Shell,
    since: String,
    channels: Vec<(&'static str, &'static str, bool)>,
    complaint: Option<String>,
    /// How many it would be, and what is sent to do it.
    would: Option<Would>,
}

struct Would {
    count: i64,
    deliveries: String,
    from: String,
    channel: String,
}

/// What was typed, as a time and a channel.
fn read(state: &AppState, typed: &ReplayTyped) -> ApiResult<Option<(DateTime<Utc>, Option<Channel>)>> {
    let Some(since) = read_instant(state.env.settings.zone, "since", &typed.since)? else { return Ok(None) };
    let channel = match typed.channel.as_str() {
        "" => None,
        word => Some(word.parse().map_err(|_| ApiError::invalid("channel", "There is no such channel."))?),
    };
    Ok(Some((since, channel)))
}

async fn replay_page(shell: Shell, state: &AppState, typed: ReplayTyped) -> ApiResult<Response> {
    let (wanted, complaint) = match read(state, &typed) {
        Ok(wanted) => (wanted, None),
        Err(error) => (None, Some(error.problem().detail.clone())),
    };
    let would = match wanted {
        Some((since, channel)) => {
            let count = count_failed_since(&mut *state.env.pool.get().await?, since, channel).await?;
            Some(Would {
                count,
                deliveries: deliveries_words(usize::try_from(count).unwrap_or(usize::MAX)),
                from: shell.when(since),
                channel: channel.map(|one| format!(" over {}", channel_words(one))).unwrap_or_default(),
            })
        }
        None => None,
    };
    // Until somebody types another: a day back.
    let usual = (shell.now - TimeDelta::hours(24)).with_timezone(&shell.zone);
    let status = if complaint.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = page(&ReplayPage {
        since: match typed.since.as_str() {
            "" => usual.format("%Y-%m-%dT%H:%M:00").to_string(),
            typed => typed.to_owned(),
        },
        channels: Channel::ALL
            .iter()
            .map(|&one| (one.as_str(), channel_words(one), one.as_str() == typed.channel))
            .collect(),
        complaint,
        would,
        shell,
    })?;
    Ok((status, page).into_response())
}

/// `GET /ui/notifications/replay`: since when, how many that is, and the button.
pub(super) async fn replay_form(
    shell: Shell,
    State(state): State<AppState>,
    Query(typed): Query<ReplayTyped>,
) -> ApiResult<Response> {
    replay_page(shell, &state, typed).await
}

/// `POST /ui/notifications/replay`.
pub(super) async fn replay_failed(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<ReplayTyped>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let Ok(Some((since, channel))) = read(&state, &typed) else {
        return replay_page(shell, &state, typed).await;
    };
    let replayed = actions::replay_failed(&state, &session.principal, since, channel).await?;
    let notice = if replayed == 0 { "replayed-none" } else { "replayed-all" };
    Ok(done("/ui/notifications", notice))
}
