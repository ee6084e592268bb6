//! The ledger: journals and their entries, and the positions that they move. It only grows.

pub mod postings;

pub use postings::{Posted, left_open, post_upload, reverse_upload};
