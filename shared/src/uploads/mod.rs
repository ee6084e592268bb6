//! Uploads: a file that somebody handed in, the chunks it is cut into, the records it could not load.
//! What a transaction row means and how it is loaded is `transactions`' business, a client row's
//! `clients`', a stock row's `stocks`'.

mod chunk;
pub mod columns;
mod commit;
pub mod error;
pub mod etl;
mod finishing;
pub mod formats;
pub mod header;
pub mod jobs;
pub mod lineage;
pub mod model;
pub mod options;
pub mod plan;
mod planning;
pub mod preview;
pub mod previews;
pub mod prune;
pub mod queries;
pub mod reading;
pub mod records;
pub mod service;
pub(crate) mod steps;
pub mod undo;
mod undoing;
mod values;
pub mod waiting;

pub use error::UploadError;
pub use model::{Reject, UnknownClients, Upload, UploadCounts, UploadKind, UploadOptions, UploadState};
pub use service::{Accepted, NewUpload, accept_upload};
