//! Uploads as they are stored.

use crate::{
    ids::{RunId, UploadId},
    schema::{upload_chunks, upload_rejects, uploads},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

text_enum! {
    /// What an upload's rows are.
    UploadKind {
        /// Payments, buys and sells.
        Transactions = "transactions",
        /// Account holders.
        Clients = "clients",
    }
}

text_enum! {
    /// Where an upload stands; it follows its flow (trigger `uploads_follow_their_flow`).
    UploadState {
        /// Stored, nothing read yet.
        Received = "received",
        /// Being cut into chunks.
        Planning = "planning",
        /// Chunks are being loaded.
        Loading = "loading",
        /// Every record is accounted for.
        Finished = "finished",
        /// A step failed; what loaded stays, a retry loads the rest.
        Failed = "failed",
        /// Stopped on request; what loaded stays.
        Cancelled = "cancelled",
        /// Taken back.
        Undone = "undone",
    }
}

text_enum! {
    /// What happens to a transaction of a client nobody knows.
    UnknownClients {
        /// A stub is made: a client of whom only the id is known.
        Create = "create",
        /// The record is rejected.
        Reject = "reject",
    }
}

/// How a file is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadOptions {
    /// What happens to a transaction of an unknown client.
    pub unknown_clients: UnknownClients,
    /// Zone of times that name none; the reporting zone if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<chrono_tz::Tz>,
    /// Lets the file create more than 36 new months.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_many_months: bool,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self { unknown_clients: UnknownClients::Create, zone: None, allow_many_months: false }
    }
}

/// One upload.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = uploads, check_for_backend(diesel::pg::Pg))]
pub struct Upload {
    /// Its id (UUID v7).
    pub id: UploadId,
    /// What its rows are.
    pub kind: UploadKind,
    /// The name it was sent under.
    pub filename: String,
    /// Its length.
    pub size_bytes: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// Where its bytes are.
    pub storage_key: String,
    /// How it is read ([`UploadOptions`]).
    pub options: serde_json::Value,
    /// Taken in although the same file was there.
    pub forced: bool,
    /// Where it stands.
    pub state: UploadState,
    /// The root of its flow.
    pub run_id: RunId,
    /// The file's column names, once planned.
    pub header: Option<Vec<String>>,
    /// Field to zero-based column, once planned.
    pub mapping: Option<serde_json::Value>,
    /// Columns that no field takes.
    pub ignored_columns: Vec<String>,
    /// Records below the header, once planned.
    pub records: Option<i64>,
    /// Who sent it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When its flow ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A piece of an upload's file, cut at record boundaries.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = upload_chunks, check_for_backend(diesel::pg::Pg))]
pub struct Chunk {
    /// Its number, from 0.
    pub chunk: i32,
    /// First byte.
    pub byte_start: i64,
    /// Byte after the last.
    pub byte_end: i64,
    /// First line, counted from 1.
    pub first_line: i64,
    /// Records in it.
    pub records: i64,
    /// When it was loaded.
    pub loaded_at: Option<DateTime<Utc>>,
}

/// What became of an upload's records so far. `read` is always the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UploadCounts {
    /// Records of the chunks that are loaded.
    pub read: i64,
    /// New rows.
    pub inserted: i64,
    /// Rows whose status (or a client's fields) moved.
    pub updated: i64,
    /// Rows that were there, the same.
    pub duplicates: i64,
    /// Rows that were there, different.
    pub conflicts: i64,
    /// Rows that could not be read.
    pub rejected: i64,
    /// Chunks of the file.
    pub chunks: i64,
    /// Chunks that are loaded.
    pub chunks_loaded: i64,
}

/// A record that was not loaded.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = upload_rejects, check_for_backend(diesel::pg::Pg))]
pub struct Reject {
    /// First line of the record, counted from 1.
    pub line: i64,
    /// The column at fault, if one is.
    pub column_name: Option<String>,
    /// What is wrong, for programs.
    pub code: String,
    /// What is wrong and how to mend it, for people.
    pub message: String,
    /// The record as it stood in the file.
    pub raw: Vec<u8>,
}
