//! Trades and holdings as they are stored.

use crate::{
    ids::{RunId, TradeId},
    schema::{holdings, trades},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};

text_enum! {
    /// Which way shares go.
    Side {
        /// To the client, for cash.
        Buy = "buy",
        /// From the client, for cash.
        Sell = "sell",
    }
}

impl Side {
    /// The other way.
    pub fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

text_enum! {
    /// Where a trade stands.
    TradeState {
        /// Accepted; its settlement is a run.
        Pending = "pending",
        /// Cash and shares have changed hands.
        Settled = "settled",
        /// Nothing has moved, for a reason.
        Rejected = "rejected",
        /// It was settled, and then another trade took it back.
        Reversed = "reversed",
    }
}

text_enum! {
    /// Why a trade was rejected.
    Reason {
        /// There is no such stock.
        UnknownStock = "unknown_stock",
        /// The client is in debt, or an operator suspended it.
        ClientSuspended = "client_suspended",
        /// The client's balance does not cover the cost.
        InsufficientFunds = "insufficient_funds",
        /// Fewer shares are there than were to be bought.
        InsufficientVolume = "insufficient_volume",
        /// The client has fewer shares than were to be sold.
        InsufficientHoldings = "insufficient_holdings",
        /// There is no rate from the stock's currency into the account's.
        NoExchangeRate = "no_exchange_rate",
        /// Price times volume has more digits than an amount can have.
        AmountTooLarge = "amount_too_large",
        /// Converted into the account's currency nothing is left of the amount.
        AmountTooSmall = "amount_too_small",
        /// A transaction of the trade's id came by another way.
        TransactionExists = "transaction_exists",
        /// The trade that it was to reverse is not settled any more.
        NotSettled = "not_settled",
        /// Its settlement was cancelled by an operator, or had failed and was pruned.
        Cancelled = "cancelled",
    }
}

impl Reason {
    /// For people: what it means, and what would help.
    pub fn explained(self) -> &'static str {
        match self {
            Self::UnknownStock => "There is no stock of this ticker. List it, or mend the ticker.",
            Self::ClientSuspended => "The client is suspended: in debt, or by an operator.",
            Self::InsufficientFunds => "The client's balance did not cover the cost.",
            Self::InsufficientVolume => "Fewer shares of the stock were there than were to be bought.",
            Self::InsufficientHoldings => "The client held fewer shares than were to be sold.",
            Self::NoExchangeRate => {
                "There is no exchange rate from the stock's currency into the account's. Add one, then trade again."
            }
            Self::AmountTooLarge => "Price times volume has more than 16 digits before the decimal point.",
            Self::AmountTooSmall => {
                "In the account's currency the amount is less than a ten-thousandth: nothing would be paid. Trade more."
            }
            Self::TransactionExists => "A transaction of this id had come by another way, such as a file.",
            Self::NotSettled => "The trade that it was to reverse was not settled any more.",
            Self::Cancelled => {
                "Its settlement was cancelled by an operator, or had failed and was not tried again until it was pruned."
            }
        }
    }
}

/// A trade. What it moved is known once it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = trades, check_for_backend(diesel::pg::Pg))]
pub struct Trade {
    /// Its id; its transaction has the same.
    pub id: TradeId,
    /// The run that settles it.
    pub run_id: RunId,
    /// The trade that it takes back.
    pub reversal_of: Option<TradeId>,
    /// Whose.
    pub client_id: String,
    /// Of which stock.
    pub ticker: String,
    /// Which way.
    pub side: Side,
    /// Shares.
    pub volume: i64,
    /// Where it stands.
    pub state: TradeState,
    /// Why it was rejected.
    pub reason: Option<Reason>,
    /// Who ordered it.
    pub created_by: String,
    /// When it was accepted: the time in its id.
    pub created_at: DateTime<Utc>,
    /// When it was settled or rejected.
    pub decided_at: Option<DateTime<Utc>>,
    /// Of one share.
    pub price: Option<Decimal>,
    /// Volume times price, in `currency`.
    pub amount: Option<Decimal>,
    /// The stock's.
    pub currency: Option<String>,
    /// What moved in the account, in `account_currency`.
    pub account_amount: Option<Decimal>,
    /// The account's.
    pub account_currency: Option<String>,
    /// What the shares cost that came or went, in `account_currency`.
    pub cost: Option<Decimal>,
    /// Profit or loss of selling, in `account_currency`.
    pub realised: Option<Decimal>,
}

/// What a client holds of a stock, by trades alone. Amounts are in the account's currency.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = holdings, check_for_backend(diesel::pg::Pg))]
pub struct Holding {
    /// Whose.
    pub client_id: String,
    /// Of which stock.
    pub ticker: String,
    /// Shares.
    pub shares: i64,
    /// What they cost.
    pub cost: Decimal,
    /// Profit or loss of what was sold.
    pub realised: Decimal,
}

impl Holding {
    /// What one share cost on average, to four decimals; nothing without shares.
    pub fn average_cost(&self) -> Option<Decimal> {
        let shares = Decimal::from(self.shares);
        let average = self.cost.checked_div(shares).filter(|_| self.shares > 0)?;
        // As everything that is rounded here.
        Some(average.round_dp_with_strategy(4, RoundingStrategy::MidpointAwayFromZero))
    }
}
