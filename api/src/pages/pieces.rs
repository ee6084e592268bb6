//! The pieces that pages are put together from, one partial template each. A piece is made from
//! typed values and escapes what it shows; pages print it as it is.

use super::{
    address::Address,
    assets,
    fmt::{self, AmountText, ExactTime, Stamp},
};
use askama::{Template, filters::HtmlSafe};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use shared::{
    clients::ClientStatus,
    notifications::model::{AttemptOutcome, Circuit, CircuitState, DeliveryState, Forced, NotificationState},
    pagination::Page,
    runs::RunState,
    schedules::TickOutcome,
    trades::TradeState,
    transactions::TransactionStatus,
    uploads::model::UploadState,
};
use std::{
    fmt::{Display, Formatter},
    sync::LazyLock,
};

/// A picture from the sprite; it is decoration, words stand beside it.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/icon.html")]
pub struct Icon {
    sprite: &'static str,
    name: &'static str,
}

/// The picture of this name.
pub fn icon(name: &'static str) -> Icon {
    static SPRITE: LazyLock<String> = LazyLock::new(|| assets::url("icons.svg"));
    Icon { sprite: &SPRITE, name }
}

/// A state: a shape, a word and a colour.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/badge.html")]
pub struct Badge {
    class: &'static str,
    icon: Icon,
    word: &'static str,
}

impl Badge {
    fn new(class: &'static str, shape: &'static str, word: &'static str) -> Self {
        Self { class, icon: icon(shape), word }
    }

    /// A client's status.
    pub fn client(status: ClientStatus) -> Self {
        Self::new(status.as_str(), client_shape(status), status.as_str())
    }

    /// A worker's state; one that is alive but silent is late.
    pub fn worker(state: &str, late: bool) -> Self {
        match (state, late) {
            ("alive", false) => Self::new("alive", "completed", "alive"),
            ("stopping", false) => Self::new("stopped", "cancelled", "stopping"),
            ("alive" | "stopping", true) => Self::new("warn", "warn", "silent"),
            ("stopped", _) => Self::new("stopped", "cancelled", "stopped"),
            _ => Self::new("dead", "failed", "dead"),
        }
    }

    /// How an attempt ended.
    pub fn outcome(outcome: Option<&str>) -> Self {
        match outcome {
            None => Self::new("running", "running", "running"),
            Some("completed") => Self::new("completed", "completed", "completed"),
            Some("error") => Self::new("retryable", "retryable", "error"),
            Some("timed_out") => Self::new("retryable", "scheduled", "timed out"),
            Some("snoozed") => Self::new("scheduled", "scheduled", "snoozed"),
            Some("interrupted") => Self::new("blocked", "blocked", "interrupted"),
            Some("crashed") => Self::new("retryable", "warn", "crashed"),
            Some("cancelled") => Self::new("cancelled", "cancelled", "cancelled"),
            Some("discarded") => Self::new("discarded", "discarded", "discarded"),
            Some(_) => Self::new("failed", "failed", "failed"),
        }
    }
}

/// Schedules and their ticks.
impl Badge {
    /// A schedule that fires.
    pub fn enabled() -> Self {
        Self::new("completed", "completed", "enabled")
    }

    /// One that is paused.
    pub fn schedule_paused() -> Self {
        Self::new("retryable", "paused", "paused")
    }

    /// One that is due and has not fired.
    pub fn late() -> Self {
        Self::new("failed", "warn", "overdue")
    }

    /// One that has no next time.
    pub fn never() -> Self {
        Self::new("failed", "failed", "never")
    }

    /// What became of a tick, by its run if it has one.
    pub fn tick(outcome: TickOutcome, run: Option<RunState>) -> Self {
        match (outcome, run) {
            (TickOutcome::Fired | TickOutcome::Joined, Some(state)) => state.into(),
            (TickOutcome::Fired, None) => Self::new("completed", "completed", "fired"),
            (TickOutcome::Joined, None) => Self::new("completed", "completed", "joined"),
            (TickOutcome::Waiting, _) => Self::new("scheduled", "scheduled", "waiting"),
            (TickOutcome::Skipped, _) => Self::new("cancelled", "cancelled", "left out"),
            (TickOutcome::Missed, _) => Self::new("failed", "warn", "missed"),
            (TickOutcome::Refused, _) => Self::new("failed", "failed", "refused"),
        }
    }
}

/// Notifications, deliveries and circuits.
impl Badge {
    /// How a provider's attempt ended.
    pub fn attempt(outcome: AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Sending => Self::new("running", "running", "sending"),
            AttemptOutcome::Accepted => Self::new("completed", "completed", "accepted"),
            AttemptOutcome::Transient => Self::new("retryable", "retryable", "not now"),
            AttemptOutcome::Throttled => Self::new("retryable", "paused", "too many"),
            AttemptOutcome::Permanent => Self::new("failed", "failed", "refused"),
            AttemptOutcome::Unknown => Self::new("retryable", "warn", "unknown"),
        }
    }

    /// Whether a provider is asked; one without a circuit never failed.
    pub fn circuit(circuit: Option<&Circuit>) -> Self {
        match circuit.map(|circuit| (circuit.forced, circuit.state)) {
            Some((Some(Forced::Open), _)) => Self::new("failed", "paused", "held open"),
            Some((Some(Forced::Closed), _)) => Self::new("retryable", "play", "held closed"),
            Some((None, CircuitState::Open)) => Self::new("failed", "failed", "open"),
            Some((None, CircuitState::HalfOpen)) => Self::new("retryable", "running", "half open"),
            Some((None, CircuitState::Closed)) | None => Self::new("completed", "completed", "closed"),
        }
    }

    /// A channel without a provider.
    pub fn off() -> Self {
        Self::new("blocked", "blocked", "off")
    }

    /// A channel that sends.
    pub fn on() -> Self {
        Self::new("completed", "completed", "on")
    }

    /// A channel for which the sandbox stands in.
    pub fn sandbox() -> Self {
        Self::new("info", "info", "sandbox")
    }

    /// An endpoint to which nothing is sent.
    pub fn disabled() -> Self {
        Self::new("failed", "paused", "disabled")
    }
}

/// The shape of a notification's state.
pub fn notification_shape(state: NotificationState) -> &'static str {
    match state {
        NotificationState::Pending => "available",
        NotificationState::Sent => "completed",
        NotificationState::Partial => "warn",
        NotificationState::Failed => "failed",
        NotificationState::Suppressed => "blocked",
    }
}

impl From<NotificationState> for Badge {
    fn from(state: NotificationState) -> Self {
        Self::new(state.as_str(), notification_shape(state), state.as_str())
    }
}

impl From<DeliveryState> for Badge {
    fn from(state: DeliveryState) -> Self {
        let shape = match state {
            DeliveryState::Pending => "available",
            DeliveryState::Delivered => "completed",
            DeliveryState::Failed => "failed",
            DeliveryState::Unknown => "warn",
            DeliveryState::Suppressed => "blocked",
            DeliveryState::Cancelled => "cancelled",
        };
        Self::new(state.as_str(), shape, state.as_str())
    }
}

impl From<RunState> for Badge {
    fn from(state: RunState) -> Self {
        Self::new(state.as_str(), state.as_str(), state.as_str())
    }
}

/// Whether a queue or a kind is paused.
pub fn pause_badge(paused: bool) -> Badge {
    match paused {
        true => Badge::new("retryable", "paused", "paused"),
        false => Badge::new("completed", "completed", "open"),
    }
}

/// The shape of a client's status.
pub fn client_shape(status: ClientStatus) -> &'static str {
    match status {
        ClientStatus::Active => "completed",
        ClientStatus::Suspended => "failed",
    }
}

/// The shape of an upload's state.
pub fn upload_shape(state: UploadState) -> &'static str {
    match state {
        UploadState::Received => "available",
        UploadState::Planning | UploadState::Loading => "running",
        UploadState::Finished => "completed",
        UploadState::Failed => "failed",
        UploadState::Cancelled => "cancelled",
        UploadState::Undone => "retryable",
    }
}

impl From<UploadState> for Badge {
    fn from(state: UploadState) -> Self {
        Self::new(state.as_str(), upload_shape(state), state.as_str())
    }
}

/// The shape of a trade's state.
pub fn trade_shape(state: TradeState) -> &'static str {
    match state {
        TradeState::Pending => "available",
        TradeState::Settled => "completed",
        TradeState::Rejected => "failed",
        TradeState::Reversed => "retryable",
    }
}

impl From<TradeState> for Badge {
    fn from(state: TradeState) -> Self {
        Self::new(state.as_str(), trade_shape(state), state.as_str())
    }
}

impl From<TransactionStatus> for Badge {
    fn from(status: TransactionStatus) -> Self {
        let shape = match status {
            TransactionStatus::Pending => "available",
            TransactionStatus::Success => "completed",
            TransactionStatus::Failed => "failed",
        };
        Self::new(status.as_str(), shape, status.as_str())
    }
}

/// A time as people say it, the exact one at hand.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/time.html")]
pub struct Time {
    datetime: Stamp,
    exact: ExactTime,
    text: TimeText,
    relative: bool,
}

/// What is shown of a time.
#[derive(Debug, Clone, Copy)]
enum TimeText {
    Ago { at: DateTime<Utc>, now: DateTime<Utc> },
    Stamp(Stamp),
}

impl Display for TimeText {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ago { at, now } => f.write_str(&fmt::ago(*at, *now)),
            Self::Stamp(stamp) => stamp.fmt(f),
        }
    }
}

impl HtmlSafe for TimeText {}

impl Time {
    /// `3 min ago`.
    pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> Self {
        Self { text: TimeText::Ago { at, now }, relative: true, ..Self::date(at, zone) }
    }

    /// A date and time, to the second, in the zone.
    pub fn date(at: DateTime<Utc>, zone: Tz) -> Self {
        let local = at.with_timezone(&zone);
        Self {
            datetime: Stamp::Iso(at.naive_utc()),
            exact: ExactTime(local),
            text: TimeText::Stamp(Stamp::Second(local.naive_local())),
            relative: false,
        }
    }

    /// A time of the day, to the millisecond, in the zone.
    pub fn clock(at: DateTime<Utc>, zone: Tz) -> Self {
        let local = at.with_timezone(&zone).naive_local();
        Self { text: TimeText::Stamp(Stamp::Clock(local)), ..Self::date(at, zone) }
    }
}

/// An id: its end, the whole at hand and to copy.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/id.html")]
pub struct Id {
    whole: String,
    /// Where what is shown of it begins.
    shown_from: usize,
    href: Option<String>,
    copy: Icon,
}

impl Id {
    /// The last eight characters of an id.
    pub fn new(id: impl ToString) -> Self {
        let whole = id.to_string();
        let shown_from = whole.char_indices().rev().nth(7).map_or(0, |(start, _)| start);
        Self { whole, shown_from, href: None, copy: icon("copy") }
    }

    /// What is shown of it.
    pub fn short(&self) -> &str {
        &self.whole[self.shown_from..]
    }

    /// The id as a link.
    pub fn to(self, href: String) -> Self {
        Self { href: Some(href), ..self }
    }
}

/// An amount of money: the whole part stands out, the currency stands back.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/money.html")]
pub struct Money {
    amount: AmountText,
    /// Whether it says that it is more than nothing.
    plus: bool,
    currency: String,
}

impl Money {
    /// So much of a currency.
    pub fn new(amount: Decimal, currency: &str) -> Self {
        Self { amount: AmountText::new(amount), plus: false, currency: currency.to_owned() }
    }

    /// The same as a movement: what came has a sign too.
    pub fn moved(amount: Decimal, currency: &str) -> Self {
        Self { plus: amount > Decimal::ZERO, ..Self::new(amount, currency) }
    }
}

/// How far something is: a bar, and the same in words.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/progress.html")]
pub struct Progress {
    /// What is going on.
    pub label: String,
    /// Class of the state that gives the colour.
    pub class: &'static str,
    /// Units done and in all; without a total the bar only shows that something happens.
    pub done: i64,
    /// See `done`.
    pub total: Option<i64>,
    /// `450,000 of 1,000,000 rows`.
    pub text: String,
    /// Further words: rate, time left.
    pub more: Vec<String>,
    /// A thin bar for lists.
    pub small: bool,
}

impl Progress {
    /// The share done, in whole percent, where a total is known. Never 100 before the end.
    fn percent(&self) -> Option<i64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((i128::from(self.done.clamp(0, total)) * 100 / i128::from(total)) as i64)
    }
}

/// One value of a filter.
#[derive(Debug, Clone)]
pub struct Chip {
    /// Where a click leads: the same list with this value on or off.
    pub href: String,
    /// The value's word.
    pub word: String,
    /// Class of its state, if it is one.
    pub class: &'static str,
    /// Shape of its state, if it is one.
    pub icon: Option<Icon>,
    /// How many rows it has.
    pub count: Option<i64>,
    /// Whether it may have more than were counted.
    pub more: bool,
    /// Whether it is on.
    pub on: bool,
}

impl Chip {
    /// One of a few ways to look at the same, without a state or a count.
    pub fn way(word: impl Into<String>, href: String, on: bool) -> Self {
        Self { href, word: word.into(), class: "", icon: None, count: None, more: false, on }
    }

    /// Whether it would lead to nothing.
    fn is_vain(&self) -> bool {
        self.count == Some(0) && !self.on
    }

    fn counted(&self) -> Option<String> {
        self.count.map(|count| format!("{}{}", fmt::count(count), if self.more { "+" } else { "" }))
    }
}

/// A row of chips.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/chips.html")]
pub struct Chips {
    /// What is filtered.
    pub label: &'static str,
    /// The values.
    pub chips: Vec<Chip>,
}

/// The way through a list: newer, older; never page numbers.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/pager.html")]
pub struct Pager {
    back: Option<String>,
    on: Option<String>,
    back_word: &'static str,
    on_word: &'static str,
    shown: String,
}

impl Pager {
    /// For a list that is newest first.
    pub fn by_time<T>(page: &Page<T>, here: &Address, noun: &str) -> Self {
        Self::worded(page, here, noun, "Newer", "Older")
    }

    /// For a list in the order of its ids.
    pub fn by_id<T>(page: &Page<T>, here: &Address, noun: &str) -> Self {
        Self::worded(page, here, noun, "Previous", "Next")
    }

    fn worded<T>(
        page: &Page<T>,
        here: &Address,
        noun: &str,
        back_word: &'static str,
        on_word: &'static str,
    ) -> Self {
        let way =
            |cursor: &Option<String>| cursor.as_ref().map(|cursor| here.with("cursor", cursor).to_string());
        Self {
            back: way(&page.newer),
            on: way(&page.older),
            back_word,
            on_word,
            shown: fmt::counted(i64::try_from(page.items.len()).unwrap_or(i64::MAX), noun),
        }
    }
}

/// Why there is nothing to see, and what to do about it.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/empty.html")]
pub struct Empty {
    title: String,
    text: String,
    command: Option<String>,
    action: Option<(String, String)>,
}

impl Empty {
    /// Nothing yet: what would be here, and how the first one is made.
    pub fn nothing_yet(title: &str, text: &str, label: &str, href: &str) -> Self {
        Self {
            title: title.to_owned(),
            text: text.to_owned(),
            command: None,
            action: Some((label.to_owned(), href.to_owned())),
        }
    }

    /// The same with a command that does it.
    pub fn or_by(self, command: &str) -> Self {
        Self { command: Some(command.to_owned()), ..self }
    }

    /// Nothing matches the filter; `clear` leads to the whole list.
    pub fn nothing_matches(nouns: &str, filter: &str, clear: &str) -> Self {
        Self {
            title: format!("No {nouns} match"),
            text: format!("Nothing is stored with {filter}."),
            command: None,
            action: Some(("Clear the filter".to_owned(), clear.to_owned())),
        }
    }
}

/// A button that leads to a form, or the reason why not.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/way.html")]
pub struct Way {
    /// What the button says.
    pub label: String,
    /// Where the form is.
    pub href: String,
    /// Whether it is the page's main action.
    pub main: bool,
    /// Why it cannot be had.
    pub refusal: Option<&'static str>,
}

impl Way {
    /// The same as the page's main action.
    pub fn primary(self) -> Self {
        Self { main: true, ..self }
    }
}

/// Something that can be done: a form with one button, or the reason why not.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/action.html")]
pub struct Action {
    /// What the button says.
    pub label: String,
    /// Where it posts to.
    pub href: String,
    /// The session's token.
    pub csrf: String,
    /// Whether it takes something away.
    pub danger: bool,
    /// Why it cannot be done now.
    pub refusal: Option<String>,
    /// What is asked before it is done.
    pub confirm: Option<Confirm>,
    /// What else the form sends.
    pub fields: Vec<(&'static str, String)>,
}

/// The question before an action that takes something away: a dialog, or a page without script.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/confirm.html")]
pub struct Confirm {
    /// The dialog's id in the page.
    pub id: &'static str,
    /// The question.
    pub title: String,
    /// What will happen.
    pub consequence: String,
    /// What the dangerous button says.
    pub label: String,
    /// Where it posts to.
    pub href: String,
    /// Where "keep it" leads without script.
    pub back: String,
    /// The session's token.
    pub csrf: String,
    /// What else the form sends.
    pub fields: Vec<(&'static str, String)>,
    /// Whether it takes something away.
    pub danger: bool,
}

impl HtmlSafe for Icon {}
impl HtmlSafe for Badge {}
impl HtmlSafe for Time {}
impl HtmlSafe for Id {}
impl HtmlSafe for Money {}
impl HtmlSafe for Progress {}
impl HtmlSafe for Chips {}
impl HtmlSafe for Pager {}
impl HtmlSafe for Empty {}
impl HtmlSafe for Way {}
impl HtmlSafe for Action {}
impl HtmlSafe for Confirm {}
