//! Stocks as they are stored, and what is wrong with one that is to be listed.

use super::error::StockFault;
use crate::{schema::stocks, uploads::reading::is_invisible};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use rust_decimal::Decimal;

/// Longest ticker, in characters.
pub const TICKER_CHARACTERS: usize = 15;
/// Longest name, in characters.
pub const NAME_CHARACTERS: usize = 200;
/// Most shares that a stock can be listed with: what the replaced service's integer held.
pub const MAX_VOLUME: i64 = 2_147_483_647;

/// One stock. Prices are of one share, in `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = stocks, check_for_backend(diesel::pg::Pg))]
pub struct Stock {
    /// Its symbol.
    pub ticker: String,
    /// A number in the order of listing.
    pub id: i32,
    /// The company, if it was given.
    pub name: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
    /// Price at the opening.
    pub open_price: Decimal,
    /// Price at the close: what a trade is settled at.
    pub close_price: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Shares that can be bought.
    pub volume: i64,
    /// Shares it was listed with.
    pub listed_volume: i64,
    /// Who listed it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A stock to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStock {
    /// Its symbol.
    pub ticker: String,
    /// The company, if known.
    pub name: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
    /// Price at the opening.
    pub open_price: Decimal,
    /// Price at the close.
    pub close_price: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Shares that can be bought.
    pub volume: i64,
}

impl NewStock {
    /// What is wrong with it, field by field; nothing, if it can be listed.
    pub fn faults(&self) -> Vec<StockFault> {
        let mut faults = Vec::new();
        let mut fault = |field, code, reason: &str| faults.push(StockFault::new(field, code, reason));
        let printable =
            |text: &str| !text.chars().any(|character| character.is_control() || is_invisible(character));
        let word = !self.ticker.is_empty() && !self.ticker.chars().any(char::is_whitespace);
        // A path would lose dots alone.
        if !word || !printable(&self.ticker) || matches!(self.ticker.as_str(), "." | "..") {
            fault("ticker", "bad_ticker", "A ticker is a word without spaces, such as AAPL.");
        } else if self.ticker.chars().count() > TICKER_CHARACTERS {
            fault("ticker", "too_long", "A ticker has at most 15 characters.");
        }
        if let Some(name) = &self.name
            && (name.trim().is_empty() || name.chars().count() > NAME_CHARACTERS || !printable(name))
        {
            fault("name", "bad_name", "A name has 1 to 200 characters, in one line.");
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            fault("currency", "bad_currency", "A currency is three letters, such as USD.");
        }
        let prices = [
            ("open_price", self.open_price),
            ("close_price", self.close_price),
            ("high", self.high),
            ("low", self.low),
        ];
        for (field, price) in prices {
            if price < Decimal::ZERO {
                faults.push(StockFault::new(field, "negative", "A price is not negative."));
            } else if price.normalize().scale() > 4 {
                faults.push(StockFault::too_precise(field));
            } else if price >= Decimal::from_i128_with_scale(10i128.pow(16), 0) {
                faults.push(StockFault::too_large(field));
            }
        }
        if !(0..=MAX_VOLUME).contains(&self.volume) {
            faults.push(StockFault::bad_volume());
        }
        // In the order, and in the words, of the service that listed stocks before.
        let relations = [
            (self.low > self.high, "low", "The low value must be less than or equal to the high value."),
            (
                self.open_price > self.high,
                "open_price",
                "The open price value must be less than or equal to the high value.",
            ),
            (
                self.close_price > self.high,
                "close_price",
                "The close price value must be less than or equal to the high value.",
            ),
            (
                self.close_price < self.low,
                "close_price",
                "The close price value must be greater than or equal to the low value.",
            ),
            (
                self.open_price < self.low,
                "open_price",
                "The open price value must be greater than or equal to the low value.",
            ),
        ];
        if faults.is_empty()
            && let Some((_, field, reason)) = relations.into_iter().find(|(broken, ..)| *broken)
        {
            faults.push(StockFault::new(field, "contradictory_price", reason));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> NewStock {
        let price = |text: &str| text.parse().unwrap();
        NewStock {
            ticker: "AAPL".to_owned(),
            name: Some("Apple Inc.".to_owned()),
            currency: "USD".to_owned(),
            open_price: price("150.00"),
            close_price: price("155.00"),
            high: price("156.00"),
            low: price("149.00"),
            volume: 1_000_000,
        }
    }

    #[test]
    fn a_stock_whose_prices_contradict_each_other_is_refused_at_its_field() {
        let field = |change: fn(&mut NewStock)| {
            let mut changed = stock();
            change(&mut changed);
            changed.faults().into_iter().map(|fault| fault.field).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(field(|_| {}), none);
        assert_eq!(field(|stock| stock.low = "157".parse().unwrap()), ["low"]);
        assert_eq!(field(|stock| stock.open_price = "156.01".parse().unwrap()), ["open_price"]);
        assert_eq!(field(|stock| stock.close_price = "148.99".parse().unwrap()), ["close_price"]);
        assert_eq!(field(|stock| stock.high = "-1".parse().unwrap()), ["high"]);
        assert_eq!(field(|stock| stock.low = "149.00001".parse().unwrap()), ["low"]);
        assert_eq!(field(|stock| stock.volume = -1), ["volume"]);
        assert_eq!(field(|stock| stock.volume = MAX_VOLUME + 1), ["volume"]);
        assert_eq!(field(|stock| stock.ticker = "A B".to_owned()), ["ticker"]);
        assert_eq!(field(|stock| stock.ticker = "A".repeat(16)), ["ticker"]);
        assert_eq!(field(|stock| stock.ticker = "..".to_owned()), ["ticker"]);
        assert_eq!(field(|stock| stock.ticker = "A\u{202e}B".to_owned()), ["ticker"]);
        assert_eq!(field(|stock| stock.currency = "usd".to_owned()), ["currency"]);
        assert_eq!(field(|stock| stock.name = Some(" ".to_owned())), ["name"]);
    }
}
