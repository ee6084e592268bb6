//! Trades: orders to buy or sell shares at a stock's close price. One is accepted with the run that settles it
//! (`service`), and settled, many at a time, with all that it moves (`settlement`): cash, shares, the ledger, the
//! transaction and its summaries (`writing`). What may happen is decided in memory under the locks (`book`).

pub mod book;
pub mod counts;
pub mod error;
pub mod jobs;
pub mod model;
pub mod queries;
pub mod service;
pub mod settlement;
mod writing;

pub use error::TradeError;
pub use model::{Holding, Reason, Side, Trade, TradeState};
pub use service::{Accepted, NewTrade, TradeDesk, await_trade, place_trade, reverse_trade};
