//! Deliveries about which somebody has to decide: a provider may have accepted them or not.

use super::{
    address::Address,
    fmt,
    notifications::{channel_words, deliveries_words, tabs},
    pieces::{Chips, Confirm, Empty, Pager, Time},
    shell::{Shell, done, page},
    upload::ConfirmPage,
};
use crate::{
    actions::notifications as actions,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    ids::{DeliveryId, NotificationId},
    notifications::{
        figures::titles,
        model::{Delivery, DeliveryState},
        queries::{DeliveryFilter, list_deliveries},
    },
    pagination::{Cursor, PageRequest},
};
use std::collections::HashMap;

const PATH: &str = "/ui/notifications/undecided";
/// Deliveries of a page.
const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "pages/notifications/undecided.html")]
struct UndecidedPage {
    shell: Shell,
    tabs: Chips,
    lines: Vec<Line>,
    pager: Pager,
    empty: Option<Empty>,
}

struct Line {
    id: String,
    href: String,
    title: String,
    to: String,
    provider: String,
    error: String,
    at: Time,
}

impl Line {
    fn new(delivery: &Delivery, titles: &HashMap<NotificationId, String>, shell: &Shell) -> Self {
        let title = titles.get(&delivery.notification_id);
        Self {
            id: delivery.id.to_string(),
            href: format!("/ui/notifications/{}", delivery.notification_id),
            title: title.map(|title| fmt::cut(title, 100)).unwrap_or_default(),
            to: format!("{} to {}", channel_words(delivery.channel), fmt::cut(&delivery.address, 80)),
            provider: delivery.provider.clone().unwrap_or_default(),
            error: fmt::cut(delivery.error_message.as_deref().unwrap_or_default(), 200),
            at: shell.ago(delivery.last_attempt_at.unwrap_or_else(|| delivery.id.created_at())),
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    cursor: Option<String>,
}

/// `GET /ui/notifications/undecided`.
pub(super) async fn list(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { cursor, limit: ROWS };
    let filter = DeliveryFilter { states: vec![DeliveryState::Unknown], ..DeliveryFilter::default() };
    let mut conn = state.env.pool.get().await?;
    let found = list_deliveries(&mut conn, &filter, &request).await?;
    let notifications: Vec<NotificationId> = found.items.iter().map(|one| one.notification_id).collect();
    let titles = titles(&mut conn, &notifications).await?;
    drop(conn);
    page(&UndecidedPage {
        tabs: tabs("notifications/undecided"),
        lines: found.items.iter().map(|one| Line::new(one, &titles, &shell)).collect(),
        pager: Pager::by_time(&found, &Address::new(PATH), "delivery"),
        empty: found.items.is_empty().then(|| {
            Empty::nothing_yet(
                "Nothing to decide",
                "A delivery comes here if its answer was lost after it was handed to a provider that knows no \
                 idempotency key: nobody knows whether it was accepted, and nothing is sent twice without being asked.",
                "All notifications",
                "/ui/notifications",
            )
        }),
        shell,
    })
}

/// `POST /ui/notifications/undecided`: what is selected was delivered, or is sent again; that is asked first.
pub(super) async fn decide(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let one =
        |name: &str| pairs.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value.as_str());
    verify_csrf(&session, one("csrf_token"))?;
    let ids = pairs.iter().filter(|(name, _)| name == "id").map(|(_, value)| value.parse::<DeliveryId>());
    let ids: Vec<DeliveryId> = ids
        .collect::<Result<_, _>>()
        .map_err(|_| ApiError::bad_parameter("id", "An id of the form is none."))?;
    if ids.is_empty() {
        return Ok(done(PATH, "nothing-selected"));
    }
    match one("deed") {
        "delivered" => {
            actions::mark_delivered(&state, &session.principal, &ids).await?;
            Ok(done(PATH, "marked-delivered"))
        }
        "again" if one("confirmed") == "yes" => {
            actions::replay_these(&state, &session.principal, ids).await?;
            Ok(done(PATH, "replayed-all"))
        }
        "again" => {
            let deliveries = deliveries_words(ids.len());
            let mut fields: Vec<_> = ids.iter().map(|id| ("id", id.to_string())).collect();
            fields.push(("deed", "again".to_owned()));
            let confirm = Confirm {
                id: "send-again",
                title: format!("Send {deliveries} again?"),
                consequence: "Each may have been accepted already: then its recipient gets it a second time. Look at the \
                              provider first, if you can, and say of those that it accepted “They were delivered”."
                    .to_owned(),
                label: format!("Send {deliveries} again"),
                href: PATH.to_owned(),
                back: PATH.to_owned(),
                csrf: shell.csrf().to_owned(),
                fields,
                danger: true,
            };
            page(&ConfirmPage { shell, title: "Send them again", confirm })
        }
        _ => Err(ApiError::bad_parameter(
            "deed",
            "The form says neither that they were delivered nor to send them again.",
        )),
    }
}
