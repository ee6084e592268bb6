//! Transactions: what a row means (`model`, `parse`, `instant`), and the one way into the table
//! (`load`), which keeps keys, rows and summaries exact in one database transaction.

pub mod copy;
pub mod instant;
pub mod load;
pub mod model;
pub mod parse;
pub mod prerequisites;
pub mod queries;
mod totals;

pub use model::{Transaction, TransactionKind, TransactionStatus};
