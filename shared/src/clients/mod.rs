//! Clients: account holders, and the stubs of those of whom only the id is known.

pub mod card;
pub mod contact;
pub mod error;
pub mod load;
pub mod model;
pub mod parse;
pub mod queries;
pub mod register;
mod search;
pub mod service;

pub use contact::{Contact, ContactPatch};
pub use error::ClientError;
pub use model::{AccountType, Client, ClientStatus, RiskTolerance};
pub use register::{NewAccount, register};
pub(crate) use search::found_by;
