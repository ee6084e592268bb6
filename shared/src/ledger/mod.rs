//! The ledger: journals and their entries, and the positions that they move. It only grows. What uploads post
//! (`postings`), what a client's accounts show (`statement`), and the proof that all of it adds up (`verify`);
//! what trades post stands with their settlement.

pub mod jobs;
pub mod postings;
pub mod statement;
mod verify;

pub use jobs::VerifyLedger;
pub use postings::{Posted, left_open, post_upload, reverse_upload};
