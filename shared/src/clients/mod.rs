//! Clients: account holders, and the stubs of those of whom only the id is known.

pub mod model;
pub mod queries;

pub use model::{AccountType, Client, RiskTolerance};
