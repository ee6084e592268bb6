//! The ledger: journals and their entries, and the positions that they move. It only grows. What uploads post
//! (`postings`; `reversing` takes all of it back), what a client's accounts show (`statement`), and the proof that all of it adds up (`verify`);
//! what trades post stands with their settlement.

pub mod jobs;
pub mod postings;
mod reversing;
pub mod statement;
mod verify;

pub use jobs::VerifyLedger;
pub use postings::{Posted, left_open, post_upload, reverse_upload};
pub(crate) use reversing::reverse_all_but_trades;
