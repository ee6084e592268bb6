//! What surrounds every page: who looks, where they are, the navigation's counts, the theme. A page's
//! handler takes a [`Shell`] and hands it to its template as `shell`.

use super::{
    assets, fmt,
    pieces::{Action, Confirm, Icon, Id, Time, Way, icon},
};
use crate::{
    access::Who,
    app::AppState,
    auth::PageSession,
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Uri, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use shared::auth::Role;
use std::borrow::Borrow;

/// Bytes of a larger page.
const ROOM: usize = 64 << 10;
/// Cookie of the chosen theme.
pub(super) const THEME_COOKIE: &str = "millrace_theme";

/// The surroundings of one page.
#[derive(Debug, Clone)]
pub struct Shell {
    /// Who looks; nobody on the login and error pages.
    pub visitor: Option<Visitor>,
    /// `light` or `dark`, if chosen.
    pub theme: Option<&'static str>,
    /// The part of the site: `overview`, `uploads`, `runs` …
    pub section: String,
    /// Path and query.
    pub here: String,
    /// What was just done.
    pub notice: Option<&'static str>,
    /// The moment of the page.
    pub now: DateTime<Utc>,
    /// The reporting zone.
    pub zone: Tz,
    /// Whether something on the page moves: without script it then refreshes itself.
    pub moving: bool,
}

/// Who looks at a page, and what asks for their attention.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What their forms must carry.
    pub csrf: String,
    /// Uploads on their way.
    pub uploads_in_progress: i64,
    /// Runs that failed within the hour.
    pub failed_lately: i64,
    /// Schedules that should have run and did not.
    pub alerts: i64,
    /// Deliveries to be decided about, and circuits that are open.
    pub notifications: i64,
}

impl Shell {
    /// A shell without a visitor.
    pub fn outside(here: &str, theme: Option<&'static str>, now: DateTime<Utc>) -> Self {
        Self {
            visitor: None,
            theme,
            section: String::new(),
            here: here.to_owned(),
            notice: None,
            now,
            zone: Tz::UTC,
            moving: false,
        }
    }

    /// The address of an asset.
    pub fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// A picture of the sprite.
    pub fn icon(&self, name: &'static str) -> Icon {
        icon(name)
    }

    /// `3 min ago`.
    pub fn ago(&self, at: impl Borrow<DateTime<Utc>>) -> Time {
        Time::ago(*at.borrow(), self.now, self.zone)
    }

    /// A time of the day, to the millisecond.
    pub fn clock(&self, at: impl Borrow<DateTime<Utc>>) -> Time {
        Time::clock(*at.borrow(), self.zone)
    }

    /// A date and time, to the second.
    pub fn date(&self, at: impl Borrow<DateTime<Utc>>) -> Time {
        Time::date(*at.borrow(), self.zone)
    }

    /// A time to come (or past) in a sentence: `14:03:22 (in 3 min)`, with its day unless that is today.
    pub fn when(&self, at: DateTime<Utc>) -> String {
        let (at_zone, now) = (at.with_timezone(&self.zone), self.now.with_timezone(&self.zone));
        let pattern = if at_zone.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        format!("{} ({})", at_zone.format(pattern), fmt::ago(at, self.now))
    }

    /// An id's end.
    pub fn id(&self, id: impl ToString) -> Id {
        Id::new(id)
    }

    /// The moment of the page, for the script's clock.
    pub fn timestamp(&self) -> String {
        self.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// The session's token, for forms.
    pub fn csrf(&self) -> &str {
        self.visitor.as_ref().map_or("", |visitor| visitor.csrf.as_str())
    }

    /// Whether the visitor may change things.
    pub fn may_operate(&self) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| Who::Operators.contains(visitor.role))
    }

    /// Whether the visitor may hand in files.
    pub fn may_upload(&self) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| Who::Uploaders.contains(visitor.role))
    }

    /// A button that leads to a form of those who may hand in files, register account holders, list stocks and
    /// place orders.
    pub fn way(&self, label: &str, href: String) -> Way {
        let refusal = (!self.may_upload()).then_some("needs the role operator");
        Way { label: label.to_owned(), href, main: false, refusal }
    }

    /// A button that posts to `href`, unless the state or the visitor's role forbids it.
    pub fn action(&self, label: &str, href: String, refusal: Option<String>) -> Action {
        let refusal = if self.may_operate() { refusal } else { Some("needs the role operator".to_owned()) };
        Action {
            label: label.to_owned(),
            href,
            csrf: self.csrf().to_owned(),
            danger: false,
            refusal,
            confirm: None,
            fields: Vec::new(),
        }
    }

    /// The same for an action that takes something away: it asks first.
    pub fn dangerous(&self, action: Action, confirm: Confirm) -> Action {
        Action { danger: true, confirm: Some(confirm), ..action }
    }
}

/// The theme that the visitor has chosen.
pub(crate) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    match CookieJar::from_headers(headers).get(THEME_COOKIE)?.value() {
        "light" => Some("light"),
        "dark" => Some("dark"),
        _ => None,
    }
}

/// The sentence for a `notice` in the address; only known words have one.
fn notice(uri: &Uri) -> Option<&'static str> {
    let value = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("notice="))?;
    Some(match value {
        "retried" => "It runs again.",
        "cancelled" => "Cancelled.",
        "cancelling" => "Asked to stop. It ends as soon as its running steps have.",
        "bulk" => "Asked for. This run does it; here is how far it is.",
        "none-selected" => "Nothing was selected: tick the runs that are meant.",
        "none-fit" => "None of these runs can be changed so any more. Nothing was done.",
        "stands" => "Another run stands for it already and has not ended: this one. Nothing was added.",
        "cloned" => "Enqueued. This is the clone.",
        "schedule-made" => "Made. It fires at the times below.",
        "schedule-saved" => "Saved. The new times count from now on.",
        "schedule-paused" => "Paused. What runs goes on; nothing more fires.",
        "schedule-enabled" => "Enabled. It fires from now on.",
        "schedule-deleted" => "Deleted. Its runs stay.",
        "schedule-run" => "Asked for. This is the run.",
        "backfilling" => "Asked for. This run lets the times run, a few at once.",
        "alert-seen" => "Noted that you have seen it.",
        "paused" => "Paused. What runs goes on; nothing more is begun.",
        "resumed" => "Resumed.",
        "limited" => "The limit is set. What runs goes on.",
        "unlimited" => "The limit is lifted.",
        "undoing" => "Asked for. A run takes its rows back.",
        "rate-added" => "The rate is added.",
        "generating" => "Asked for. This run generates the rows and loads them.",
        "etl" => "Asked for. This run loads clients, then transactions.",
        "refreshing" => "Asked for. This run refreshes the summary.",
        "summary-refreshing" => "Asked for. The list follows when the run has ended.",
        "client-saved" => "Saved.",
        "client-unchanged" => "Nothing was different, so nothing was changed.",
        "rebuilding" => "Asked for. This run rebuilds the totals; reading and loading go on.",
        "verifying" => "Asked for. This run compares the totals with the transactions.",
        "verifying-ledger" => "Asked for. This run compares every account with the ledger.",
        "client-registered" => "Registered.",
        "stock-listed" => "Listed. It can be traded from now on.",
        "trade-accepted" => "Accepted. It is not settled yet; this page follows.",
        "trade-settled" => "Settled.",
        "trade-rejected" => "Rejected: nothing moved. The reason stands here.",
        "trade-known" => "This form was sent before; here is its trade. Nothing was added.",
        "notification-made" => "Asked for. It is on its way.",
        "notification-known" => "This form was sent before; here is its notification. Nothing was added.",
        "notification-cancelled" => {
            "What was still to be sent is cancelled. One that is just being sent is asked to stop."
        }
        "replayed" => "It is sent again.",
        "replayed-all" => "They are sent again.",
        "replayed-none" => "Nothing had failed. Nothing was sent.",
        "marked-delivered" => "Noted as delivered. Nothing was sent.",
        "nothing-selected" => "Nothing was selected, so nothing was done.",
        "circuit-open" => "Held open: it is not asked.",
        "circuit-closed" => "Held closed: it is asked, however often it fails.",
        "circuit-automatic" => "Left to itself again, with nothing against it.",
        "endpoint-made" => "Registered. Take its secret over into the receiver.",
        "endpoint-saved" => "Saved.",
        "endpoint-test" => "Sent to it. Here is what becomes of it.",
        "endpoint-rotated" => "It has a fresh secret. Take it over into the receiver.",
        "endpoint-enabled" => "Enabled, with nothing against it.",
        "endpoint-disabled" => "Disabled. Nothing is sent to it.",
        "endpoint-deleted" => "Deleted. What was still to be sent to it fails.",
        "event-saved" => "Saved.",
        "subscribed" => "Added. It is told from now on.",
        "subscribed-already" => "This address was there already.",
        "unsubscribed" => "Removed. It is told no more.",
        "channel-wanted" => "Noted that the client wants messages there.",
        "channel-unwanted" => "Noted. Nothing more is sent to the client there.",
        "accepted" => "The file is stored and on its way.",
        "known" => {
            "This file was uploaded before with the same options; here is that upload. Nothing was added."
        }
        _ => return None,
    })
}

impl FromRequestParts<AppState> for Shell {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let session = <PageSession as FromRequestParts<AppState>>::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let attention = state.attention.now().await.map_err(|error| ApiError::from(error).into_response())?;
        let path = parts.uri.path();
        let section =
            path.strip_prefix("/ui").and_then(|rest| rest.split(['/', ':']).nth(1)).unwrap_or_default();
        Ok(Self {
            visitor: Some(Visitor {
                name: session.principal.name,
                role: session.principal.role,
                csrf: session.csrf_token,
                uploads_in_progress: attention.uploads_in_progress,
                failed_lately: attention.failed_lately,
                alerts: attention.alerts,
                notifications: attention.notifications,
            }),
            theme: theme(&parts.headers),
            section: if section.is_empty() { "overview".to_owned() } else { section.to_owned() },
            here: parts.uri.to_string(),
            notice: notice(&parts.uri),
            now: state.env.clock.now(),
            zone: state.env.settings.zone,
            moving: false,
        })
    }
}

/// Renders a page. It shows a person's data: nobody between may keep it.
pub fn page(template: &impl Template) -> ApiResult<Response> {
    let mut body = String::with_capacity(ROOM);
    template.render_into(&mut body).map_err(ApiError::internal)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Html(body)).into_response())
}

/// Goes to a page after an action, with a word on what was done.
pub fn done(path: &str, notice: &str) -> Response {
    let separator = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{separator}notice={notice}")).into_response()
}
