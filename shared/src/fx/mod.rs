//! Exchange rates: what one unit of a currency is in another, and since when.

pub mod table;

pub use table::RateTable;
