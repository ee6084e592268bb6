//! Exchange rates: what one unit of a currency is in another, and since when. They are added, never
//! changed, so that what was converted stays explained. Between two currencies without a rate of their
//! own one is derived through the dollar, and says so.

pub mod error;
pub mod model;
pub mod queries;
pub mod service;
pub mod table;

pub use error::FxError;
pub use model::{FxRate, NewRate, RateInForce};
pub use service::{add_rate, rates_in_force};
pub use table::RateTable;
