//! The live view: the newest events of the feed, which its script (`live.js`) goes on with. Without the script it is
//! a list of what was newest when it was asked for. Rows that the script makes look like those from here: it fills
//! in the same partial.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Badge, Empty, Id, Money, Time},
    shell::{Shell, page},
    transactions::{Subject, transaction_href, word},
};
use crate::{
    app::AppState,
    error::ApiResult,
    realtime::{
        latest::{Latest, latest},
        subscription::Filter,
    },
};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::{
    feed::event,
    ids::TradeId,
    trades::{Side, TradeState},
    transactions::{TransactionKind, TransactionStatus},
};

/// Events that the page begins with.
const ROWS: usize = 50;
/// Longest text of a field.
const LONGEST: usize = 100;

/// An event, as the feed writes it.
#[derive(Deserialize)]
struct Told {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    at: DateTime<Utc>,
    transaction: Option<TransactionTold>,
    trade: Option<TradeTold>,
}

#[derive(Deserialize)]
struct TransactionTold {
    transaction_id: String,
    client_id: String,
    merchant_id: Option<String>,
    product_id: Option<String>,
    kind: TransactionKind,
    ticker: Option<String>,
    stock_name: Option<String>,
    shares: Option<Decimal>,
    price: Option<Decimal>,
    amount: Decimal,
    currency: String,
    status: TransactionStatus,
}

#[derive(Deserialize)]
struct TradeTold {
    id: TradeId,
    client_id: String,
    ticker: String,
    side: Side,
    volume: i64,
    state: TradeState,
    reason: Option<String>,
    reversal_of: Option<TradeId>,
    price: Option<Decimal>,
    amount: Option<Decimal>,
    currency: Option<String>,
}

/// An event in the list.
struct Line {
    /// The event's id.
    key: String,
    at: Time,
    /// Where it is shown whole.
    href: String,
    kind: String,
    /// A word more on the kind.
    note: &'static str,
    what: String,
    client: String,
    client_href: String,
    amount: Option<Money>,
    badge: Badge,
    reason: String,
    id: Id,
}

impl Line {
    /// The line of an event; `None` if it is one that this version does not know.
    fn read(text: &str, shell: &Shell) -> Option<Self> {
        let Told { id, kind, at, transaction, trade } = serde_json::from_str(text).ok()?;
        let at = shell.clock(at);
        transaction
            .map(|told| Self::of_transaction(id.clone(), &kind, at.clone(), told))
            .or_else(|| trade.map(|told| Self::of_trade(id, at, told)))
    }

    fn of_transaction(key: String, event: &str, at: Time, told: TransactionTold) -> Self {
        let subject = Subject {
            stock: told.ticker.as_deref().or(told.stock_name.as_deref()),
            shares: told.shares,
            price: told.price,
            names: [told.merchant_id.as_deref(), told.product_id.as_deref()],
        };
        Self {
            key,
            at,
            href: transaction_href(&told.transaction_id),
            kind: told.kind.to_string(),
            note: if event == event::UPDATED { "was pending" } else { "" },
            what: subject.words(),
            client_href: format!("/ui/clients/{}", segment(&told.client_id)),
            client: told.client_id,
            amount: Some(Money::new(told.amount, &told.currency)),
            badge: told.status.into(),
            reason: String::new(),
            id: Id::new(told.transaction_id),
        }
    }

    fn of_trade(key: String, at: Time, told: TradeTold) -> Self {
        let subject = Subject {
            stock: Some(&told.ticker),
            shares: Some(told.volume.into()),
            price: told.price,
            names: [None; 2],
        };
        Self {
            key,
            at,
            href: format!("/ui/trades/{}", told.id),
            kind: told.side.to_string(),
            note: if told.reversal_of.is_some() { "trade, takes back" } else { "trade" },
            what: subject.words(),
            client_href: format!("/ui/clients/{}", segment(&told.client_id)),
            client: told.client_id,
            amount: told.amount.zip(told.currency).map(|(amount, of)| Money::new(amount, &of)),
            badge: told.state.into(),
            reason: told.reason.as_deref().map(fmt::words).unwrap_or_default(),
            id: Id::new(told.id),
        }
    }

    /// What the script fills in.
    fn pattern(shell: &Shell) -> Self {
        Self {
            key: String::new(),
            at: shell.clock(shell.now),
            href: "/ui".to_owned(),
            kind: String::new(),
            note: "",
            what: String::new(),
            client: String::new(),
            client_href: "/ui".to_owned(),
            amount: Some(Money::new(Decimal::ZERO, "-")),
            badge: TransactionStatus::Pending.into(),
            reason: String::new(),
            id: Id::new("-"),
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    client_id: Option<String>,
    merchant_id: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    min_amount: Option<String>,
}

/// The filter, as its form shows it and as the feed takes it: both have the same parameters.
struct Narrowed {
    filter: Filter,
    /// The page with this filter.
    here: Address,
    /// What was typed for the least amount.
    least: String,
    complaint: Option<String>,
}

impl Narrowed {
    fn read(wanted: &Wanted) -> Self {
        let text = |typed: &Option<String>| {
            let typed = typed.as_deref().unwrap_or_default().replace('\0', "");
            Some(typed.trim().chars().take(LONGEST).collect::<String>()).filter(|typed| !typed.is_empty())
        };
        let mut complaint = None;
        let kind = word::<TransactionKind>("kind", &text(&wanted.kind), &mut complaint);
        let status = word::<TransactionStatus>("status", &text(&wanted.status), &mut complaint);
        let least = text(&wanted.min_amount);
        let min_amount = least.as_ref().and_then(|typed| {
            let amount = typed.replace(',', "").parse::<Decimal>().ok();
            if amount.is_none() {
                complaint = Some(format!("“{}” is no amount; write it as 1250.50.", fmt::cut(typed, 40)));
            }
            amount
        });
        let filter = Filter {
            client_id: text(&wanted.client_id),
            merchant_id: text(&wanted.merchant_id),
            kind,
            status,
            min_amount,
        };
        let here = Address::new("/ui/transactions/live")
            .maybe("client_id", filter.client_id.as_deref())
            .maybe("merchant_id", filter.merchant_id.as_deref())
            .maybe("kind", kind.map(TransactionKind::as_str))
            .maybe("status", status.map(TransactionStatus::as_str))
            .maybe("min_amount", min_amount.map(|least| least.to_string()).as_deref());
        Self { filter, here, least: least.unwrap_or_default(), complaint }
    }

    /// The filter in words.
    fn words(&self) -> String {
        let Filter { client_id, merchant_id, kind, status, min_amount } = &self.filter;
        let words = [
            client_id.as_ref().map(|id| format!("the client {id}")),
            merchant_id.as_ref().map(|id| format!("the merchant {id}")),
            kind.map(|kind| format!("the kind {kind}")),
            status.map(|status| format!("the status {status}")),
            min_amount.map(|least| format!("an amount of at least {least}")),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    fn client(&self) -> &str {
        self.filter.client_id.as_deref().unwrap_or_default()
    }

    fn merchant(&self) -> &str {
        self.filter.merchant_id.as_deref().unwrap_or_default()
    }

    fn kinds(&self) -> impl Iterator<Item = (TransactionKind, bool)> {
        TransactionKind::ALL.iter().map(|one| (*one, self.filter.kind == Some(*one)))
    }

    fn statuses(&self) -> impl Iterator<Item = (TransactionStatus, bool)> {
        TransactionStatus::ALL.iter().map(|one| (*one, self.filter.status == Some(*one)))
    }
}

#[derive(Template)]
#[template(path = "pages/transactions/live.html")]
struct LivePage {
    shell: Shell,
    narrowed: Narrowed,
    /// Where the script listens.
    stream: Address,
    /// After which event.
    since: String,
    lines: Vec<Line>,
    empty: Option<Empty>,
    /// For the script.
    pattern: Line,
    /// Each state's badge, for the script.
    badges: Vec<(&'static str, Badge)>,
}

/// `GET /ui/transactions/live`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let narrowed = Narrowed::read(&wanted);
    let mut conn = state.env.pool.get().await?;
    let latest = latest(&mut conn, &narrowed.filter, ROWS).await?;
    let statuses = TransactionStatus::ALL.iter().map(|one| (one.as_str(), Badge::from(*one)));
    let decided = [TradeState::Settled, TradeState::Rejected].map(|one| (one.as_str(), Badge::from(one)));
    page(&LivePage {
        stream: narrowed.here.at("/api/v1/transactions/stream"),
        since: latest.reach.to_string(),
        lines: latest.events.iter().filter_map(|event| Line::read(&event.text, &shell)).collect(),
        empty: latest.events.is_empty().then(|| nothing(&latest, &narrowed, shell.now)),
        pattern: Line::pattern(&shell),
        badges: statuses.chain(decided).collect(),
        narrowed,
        shell,
    })
}

fn nothing(latest: &Latest, narrowed: &Narrowed, now: DateTime<Utc>) -> Empty {
    if narrowed.here.is_filtered() {
        let looked_at = i64::try_from(latest.looked_at).unwrap_or(i64::MAX);
        let text = match looked_at {
            0 => format!("Nothing has come yet. What comes with {} will show up here.", narrowed.words()),
            _ => format!(
                "None of the newest {} has {}. What comes with it will show up here.",
                fmt::counted(looked_at, "event"),
                narrowed.words()
            ),
        };
        return Empty::nothing_yet(
            "Nothing matches so far",
            &text,
            "Clear the filter",
            &narrowed.here.cleared(),
        );
    }
    let day = now.format("%Y-%m-%dT%H:%M:%SZ");
    Empty::nothing_yet(
        "Nothing has come yet",
        "Transactions that programs send show up here when they are committed, trades when they are decided. \
         Rows of files do not.",
        "How they are sent",
        "/docs",
    )
    .or_by(&format!(
        "curl \"$MILLRACE_SERVER/api/v1/transactions\" -H \"Authorization: Bearer $MILLRACE_TOKEN\" \
         --json '{{\"transaction_id\": \"T-1\", \"client_id\": \"C001\", \"occurred_at\": \"{day}\", \
         \"amount\": \"12.50\"}}'"
    ))
}
