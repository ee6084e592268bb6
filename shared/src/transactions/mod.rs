//! Transactions: what a row means (`model`, `columns`, `parse`), and the one way into the table
//! (`load`), which keeps keys, rows and summaries exact in one database transaction.

pub mod model;
pub mod queries;

pub use model::{Transaction, TransactionKind, TransactionStatus};
