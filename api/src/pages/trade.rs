//! One trade: where it stands and why, what it moved, the trade that takes it back; and taking it back.

use super::{
    address::segment,
    fmt,
    pieces::{Action, Badge, Confirm, Id, Money, Time},
    run_parts::{ActionForm, way_on, why},
    shell::{Shell, done, page},
    stocks::stock_href,
    trades::{cash, what},
    upload::ConfirmPage,
};
use crate::{
    app::AppState,
    auth::PageSession,
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::Response,
};
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use rust_decimal::Decimal;
use shared::{
    ids::TradeId,
    runs::{Run, queries::find_run, waiting},
    stocks::{Stock, queries::find_stock},
    trades::{
        self, Side, Trade, TradeState,
        queries::{find_reversal, find_trade},
    },
};
use std::time::Duration;

/// How long a page waits for the outcome of what it has ordered.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Template)]
#[template(path = "pages/trades/trade.html")]
struct TradePage {
    shell: Shell,
    trade: Trade,
    title: String,
    id: Id,
    badge: Badge,
    client_href: String,
    statement: String,
    /// The stock's page and its name; nothing if there is no such stock.
    stock: Option<(String, String)>,
    accepted: Time,
    decided: Option<Decided>,
    moved: Option<Moved>,
    reversal_of: Option<Id>,
    reversed_by: Option<Id>,
    run: RunPart,
    reverse: Action,
}

/// When and how soon it was settled or rejected.
struct Decided {
    at: Time,
    after: String,
}

/// What a settled trade moved.
struct Moved {
    price: Money,
    amount: Money,
    cash: Money,
    /// In another currency than the stock's.
    converted: bool,
    shares: String,
    left: String,
    cost: Money,
    realised: Option<Money>,
}

/// The run that settles it.
struct RunPart {
    id: Id,
    /// Pruned: there is nothing to link to.
    gone: bool,
    state: Option<Badge>,
    /// Why the trade is still pending.
    why: Option<String>,
    /// Where to look because of that.
    way_on: Option<(&'static str, &'static str)>,
    error: Option<String>,
    /// It has ended badly: without a hand nothing more comes of it.
    stuck: bool,
}

async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Trade> {
    let found = match id.parse::<TradeId>() {
        Ok(id) => find_trade(conn, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ApiError::not_found("There is no trade with this id. It may be mistyped."))
}

/// `GET /ui/trades/{id}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let trade = find(&mut conn, &id).await?;
    shell.moving = trade.state == TradeState::Pending;
    let run = RunPart::load(&mut conn, &trade, &shell).await?;
    let stock = find_stock(&mut conn, &trade.ticker).await?;
    let reversal = find_reversal(&mut conn, trade.id).await?;
    drop(conn);
    page(&TradePage {
        title: what(&trade),
        id: Id::new(trade.id),
        badge: trade.state.into(),
        client_href: format!("/ui/clients/{}", segment(&trade.client_id)),
        statement: format!("/ui/clients/{}/statement", segment(&trade.client_id)),
        stock: stock.map(|stock| (stock_href(&stock.ticker), title_of(stock))),
        accepted: shell.date(trade.created_at),
        decided: trade.decided_at.map(|at| Decided {
            at: shell.date(at),
            after: fmt::duration((at - trade.created_at).max(TimeDelta::zero())),
        }),
        moved: Moved::of(&trade),
        reversal_of: trade.reversal_of.map(link),
        reversed_by: reversal.map(link),
        reverse: reverse_action(&shell, &trade, reversal),
        run,
        trade,
        shell,
    })
}

fn link(id: TradeId) -> Id {
    Id::new(id).to(format!("/ui/trades/{id}"))
}

fn title_of(stock: Stock) -> String {
    match stock.name {
        Some(name) => format!("{}, {}", stock.ticker, fmt::cut(&name, 80)),
        None => stock.ticker,
    }
}

impl Moved {
    fn of(trade: &Trade) -> Option<Self> {
        let (currency, own) = (trade.currency.as_deref()?, trade.account_currency.as_deref()?);
        let (way, realised) = (if trade.side == Side::Buy { 1 } else { -1 }, trade.realised?);
        Some(Self {
            price: Money::new(trade.price?, currency),
            amount: Money::new(trade.amount?, currency),
            cash: cash(trade)?,
            converted: currency != own,
            shares: fmt::moved(way * trade.volume),
            left: fmt::moved(-way * trade.volume),
            cost: Money::moved(trade.cost? * Decimal::from(way), own),
            realised: (trade.side == Side::Sell || !realised.is_zero()).then(|| Money::moved(realised, own)),
        })
    }
}

impl RunPart {
    async fn load(conn: &mut AsyncPgConnection, trade: &Trade, shell: &Shell) -> ApiResult<Self> {
        let run = find_run(conn, trade.run_id).await?;
        let pending = trade.state == TradeState::Pending;
        let waiting = match pending {
            true => waiting::reasons(conn, &[trade.run_id]).await?.remove(&trade.run_id),
            false => None,
        };
        let id = Id::new(trade.run_id);
        let stuck = pending && run.as_ref().is_none_or(|run| run.state.is_terminal());
        let error = run.as_ref().filter(|_| pending).and_then(|run| run.error.as_deref());
        Ok(Self {
            id: if run.is_some() { id.to(format!("/ui/runs/{}", trade.run_id)) } else { id },
            gone: run.is_none(),
            state: run.as_ref().map(|run| run.state.into()),
            why: run.as_ref().filter(|_| pending).map(|run: &Run| {
                why(run, waiting.as_ref(), shell).unwrap_or_else(|| "it is being settled".to_owned())
            }),
            way_on: waiting.as_ref().and_then(way_on),
            error: error.map(|error| fmt::cut(error, 1_000)),
            stuck,
        })
    }
}

/// Why a trade cannot be taken back, or not any more.
fn refusal(trade: &Trade, reversal: Option<TradeId>) -> Option<&'static str> {
    match (trade.state, reversal) {
        (TradeState::Pending, _) => Some("not settled yet"),
        (TradeState::Rejected, _) => Some("it moved nothing"),
        (TradeState::Reversed, _) => Some("already reversed"),
        (TradeState::Settled, Some(_)) => Some("being reversed already"),
        (TradeState::Settled, None) if trade.reversal_of.is_some() => {
            Some("a reversal: place a new trade instead")
        }
        (TradeState::Settled, None) => None,
    }
}

fn reverse_action(shell: &Shell, trade: &Trade, reversal: Option<TradeId>) -> Action {
    let refusal = refusal(trade, reversal).map(str::to_owned);
    let action = shell.action("Reverse", format!("/ui/trades/{}/reverse", trade.id), refusal);
    shell.dangerous(action, reverse_question(shell, trade))
}

fn reverse_question(shell: &Shell, trade: &Trade) -> Confirm {
    let path = format!("/ui/trades/{}", trade.id);
    let shares = fmt::counted(trade.volume, "share");
    let (ticker, client) = (&trade.ticker, fmt::cut(&trade.client_id, 80));
    let cash = match (trade.account_amount, trade.account_currency.as_deref()) {
        (Some(amount), Some(currency)) => {
            let (whole, cents) = fmt::amount(amount);
            format!("{whole}{cents} {currency}")
        }
        _ => "the cash".to_owned(),
    };
    let consequence = match trade.side {
        Side::Buy => format!(
            "A new trade sells the {shares} of {ticker} back and returns {cash} to client {client}. It is rejected if \
             the client does not hold them any more."
        ),
        Side::Sell => format!(
            "A new trade buys the {shares} of {ticker} back and takes {cash} from client {client}. It is rejected if \
             the cash or the shares are not there any more."
        ),
    };
    Confirm {
        id: "reverse-trade",
        title: format!("Reverse “{}”?", what(trade)),
        consequence: format!("{consequence} A trade is reversed once; the reversal itself stays."),
        label: "Reverse the trade".to_owned(),
        href: format!("{path}/reverse"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: true,
    }
}

/// Goes to the page of a trade that was just accepted, once its outcome is there or has been waited for long
/// enough. The trade is on disk: a look that fails changes nothing.
pub(super) async fn follow(state: &AppState, id: TradeId) -> Response {
    let notice = match trades::await_trade(&state.env, id, PATIENCE).await.map(|trade| trade.state) {
        Ok(TradeState::Settled | TradeState::Reversed) => "trade-settled",
        Ok(TradeState::Rejected) => "trade-rejected",
        Ok(TradeState::Pending) | Err(_) => "trade-accepted",
    };
    done(&format!("/ui/trades/{id}"), notice)
}

/// `POST /ui/trades/{id}/reverse`; asks first.
pub(super) async fn reverse(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let trade = find(&mut *state.env.pool.get().await?, &id).await?;
    if !form.is_confirmed() {
        let confirm = reverse_question(&shell, &trade);
        return page(&ConfirmPage { shell, title: "Reverse the trade", confirm });
    }
    let reversal = trades::reverse_trade(&state.env, trade.id, &session.principal.name).await?;
    tracing::info!(trade.id = %trade.id, reversal = %reversal.id, actor = %session.principal.name,
        "trade {} is to be reversed", trade.id);
    Ok(follow(&state, reversal.id).await)
}
