//! Trades, holdings and statements as JSON.

use super::words;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::{
    ids::{RunId, TradeId},
    ledger::statement::{Line, LineKind},
    trades::{Holding, Reason, Side, Trade, TradeState},
};
use utoipa::ToSchema;

/// One trade. What it moved is known once it is settled.
#[derive(Debug, Serialize, ToSchema)]
pub struct TradeView {
    /// Its id; its transaction has the same.
    #[schema(value_type = uuid::Uuid)]
    pub id: TradeId,
    /// `pending`, then `settled` or `rejected`; a settled one that was taken back is `reversed`.
    #[schema(schema_with = words::trade_state)]
    pub state: TradeState,
    /// Why it was rejected, for programs.
    #[schema(schema_with = words::reason)]
    pub reason: Option<Reason>,
    /// Why it was rejected, for people, with what would help.
    pub explanation: Option<&'static str>,
    /// Whose.
    pub client_id: String,
    /// Of which stock.
    pub ticker: String,
    /// Which way.
    #[schema(schema_with = words::side)]
    pub side: Side,
    /// Shares.
    pub volume: i64,
    /// Of one share, in `currency`.
    pub price: Option<Decimal>,
    /// Volume times price, in `currency`.
    pub amount: Option<Decimal>,
    /// The stock's currency.
    pub currency: Option<String>,
    /// What moved in the account, in `account_currency`.
    pub account_amount: Option<Decimal>,
    /// The account's currency.
    pub account_currency: Option<String>,
    /// What the shares cost that came or went, in `account_currency`.
    pub cost: Option<Decimal>,
    /// Profit or loss of selling, in `account_currency`.
    pub realised: Option<Decimal>,
    /// The trade that it takes back.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub reversal_of: Option<TradeId>,
    /// The run that settles it.
    #[schema(value_type = uuid::Uuid)]
    pub run_id: RunId,
    /// Who ordered it.
    pub created_by: String,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it was settled or rejected.
    pub decided_at: Option<DateTime<Utc>>,
}

impl From<Trade> for TradeView {
    fn from(trade: Trade) -> Self {
        Self {
            id: trade.id,
            state: trade.state,
            reason: trade.reason,
            explanation: trade.reason.map(Reason::explained),
            client_id: trade.client_id,
            ticker: trade.ticker,
            side: trade.side,
            volume: trade.volume,
            price: trade.price,
            amount: trade.amount,
            currency: trade.currency,
            account_amount: trade.account_amount,
            account_currency: trade.account_currency,
            cost: trade.cost,
            realised: trade.realised,
            reversal_of: trade.reversal_of,
            run_id: trade.run_id,
            created_by: trade.created_by,
            created_at: trade.created_at,
            decided_at: trade.decided_at,
        }
    }
}

/// What a client holds of a stock, by trades alone. Amounts are in the account's currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldingView {
    /// Of which stock.
    pub ticker: String,
    /// Shares.
    pub shares: i64,
    /// What they cost.
    pub cost: Decimal,
    /// What one of them cost on average, to four decimals; null without shares.
    pub average_cost: Option<Decimal>,
    /// Profit or loss of what was sold.
    pub realised: Decimal,
}

impl From<Holding> for HoldingView {
    fn from(holding: Holding) -> Self {
        Self {
            average_cost: holding.average_cost(),
            ticker: holding.ticker,
            shares: holding.shares,
            cost: holding.cost,
            realised: holding.realised,
        }
    }
}

/// One movement of a client's account.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementLineView {
    /// When it was posted.
    pub at: DateTime<Utc>,
    /// The journal that it belongs to.
    pub journal_id: uuid::Uuid,
    /// What posted it.
    #[schema(schema_with = words::line_kind)]
    pub kind: LineKind,
    /// The trade, or the upload.
    pub source_id: uuid::Uuid,
    /// In words.
    pub description: String,
    /// Currency or ticker.
    pub asset: String,
    /// What came (positive) or went.
    pub amount: Decimal,
    /// What there was after it.
    pub balance: Decimal,
}

impl From<Line> for StatementLineView {
    fn from(line: Line) -> Self {
        Self {
            description: line.description(),
            at: line.posted_at,
            journal_id: line.journal_id,
            kind: line.kind,
            source_id: line.source_id,
            asset: line.asset,
            amount: line.amount,
            balance: line.balance,
        }
    }
}

/// What a client had at a moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceView {
    /// Whose.
    pub client_id: String,
    /// The moment.
    pub at: DateTime<Utc>,
    /// Currency of the account.
    pub currency: String,
    /// Cash; negative is debt.
    pub position: Decimal,
    /// Shares by ticker, those that were not none.
    pub shares: std::collections::BTreeMap<String, i64>,
}
