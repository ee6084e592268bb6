//! Stocks as JSON.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::stocks::Stock;
use utoipa::ToSchema;

/// One stock. Prices are of one share, in `currency`; they never change, the volume moves with trades.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockView {
    /// Its symbol.
    pub ticker: String,
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

impl From<Stock> for StockView {
    fn from(stock: Stock) -> Self {
        Self {
            ticker: stock.ticker,
            name: stock.name,
            currency: stock.currency,
            open_price: stock.open_price,
            close_price: stock.close_price,
            high: stock.high,
            low: stock.low,
            volume: stock.volume,
            listed_volume: stock.listed_volume,
            created_by: stock.created_by,
            created_at: stock.created_at,
        }
    }
}
