//! Clients: account holders, and the stubs of those of whom only the id is known.

pub mod card;
pub mod load;
pub mod model;
pub mod parse;
pub mod queries;

pub use model::{AccountType, Client, RiskTolerance};
