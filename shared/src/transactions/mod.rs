//! Transactions: what a row means (`model`, `parse`, `instant`), and the one way into the table
//! (`load`), which keeps keys, rows and summaries exact in one database transaction. What comes one by one (`live`)
//! goes that way, too, many at a time. All of them go at once only for tests (`deletion`).

pub mod accounts;
pub mod copy;
pub mod deletion;
mod groups;
pub mod instant;
mod keys;
pub mod live;
pub mod load;
pub mod model;
pub(crate) mod ownership;
pub mod parse;
pub mod prepared;
pub mod prerequisites;
pub mod queries;
mod recount;
pub mod take_back;
mod totals;
mod versions;

pub use model::{Transaction, TransactionKind, TransactionStatus};
