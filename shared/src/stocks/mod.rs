//! Stocks: what can be traded, at which price, and how much of it is there. Prices never change; the volume moves
//! with settlements (`trades`).

pub mod error;
pub mod load;
pub mod model;
pub mod parse;
pub mod queries;
pub mod service;

pub use error::{StockError, StockFault};
pub use model::{NewStock, Stock};
pub use service::list_stock;
