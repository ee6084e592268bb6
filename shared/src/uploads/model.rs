//! Uploads as they are stored.

use crate::{
    ids::{RunId, UploadId},
    schema::{upload_chunks, upload_rejects, uploads},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

text_enum! {
    /// What an upload's rows are.
    UploadKind {
        /// Payments, buys and sells.
        Transactions = "transactions",
        /// Account holders.
        Clients = "clients",
        /// What can be traded.
        Stocks = "stocks",
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

text_enum! {
    /// What happens to a record of a client who is known already, in a file of clients.
    ExistingClients {
        /// What the file says of the client is taken over.
        Update = "update",
        /// The client stays as it is; the record counts as a duplicate.
        Keep = "keep",
        /// The record is rejected.
        Reject = "reject",
    }
}

text_enum! {
    /// What a record that cannot be loaded does to the others.
    OnError {
        /// Nothing: it becomes a reject.
        Skip = "skip",
        /// None is loaded.
        Abort = "abort",
    }
}

/// How a file is to be read and loaded. What is at its default is left out when it is stored: the same
/// file with the same options is the same upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadOptions {
    /// What happens to a transaction of an unknown client.
    pub unknown_clients: UnknownClients,
    /// What happens to a client who is known already.
    #[serde(default = "update", skip_serializing_if = "is_update")]
    pub existing_clients: ExistingClients,
    /// What a record that cannot be loaded does to the others.
    #[serde(default = "skip", skip_serializing_if = "is_skip")]
    pub on_error: OnError,
    /// Everything but loading.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Zone of times that name none; the reporting zone if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<chrono_tz::Tz>,
    /// Lets the file create more than 36 new months.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_many_months: bool,
    /// What is known of the file's form.
    #[serde(flatten)]
    pub form: FormOptions,
}

fn update() -> ExistingClients {
    ExistingClients::Update
}

fn is_update(policy: &ExistingClients) -> bool {
    *policy == ExistingClients::Update
}

fn skip() -> OnError {
    OnError::Skip
}

fn is_skip(policy: &OnError) -> bool {
    *policy == OnError::Skip
}

/// What the sender says of the file's form; what is absent is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormOptions {
    /// Encoding of a text file, by its WHATWG label: `utf-8`, `windows-1252`, `utf-16le` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Character between the fields of a text file: one of `,` `;` tab `|`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Sheet of a workbook: its name, or its number from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Line (of a text file) or row (of a sheet) that names the columns, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_row: Option<u32>,
    /// Which column holds which field, where the names do not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mapping: BTreeMap<String, MappedColumn>,
}

/// The column that an explicit mapping gives to a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MappedColumn {
    /// By number, from 0.
    Number(usize),
    /// By name, as in the header.
    Name(String),
    /// None, although one has a name that fits.
    Nothing(()),
}

text_enum! {
    /// What a file is on the outside.
    Container {
        /// Text as it is.
        Plain = "plain",
        /// Text, compressed.
        Gzip = "gzip",
        /// Text, compressed.
        Zstd = "zstd",
        /// Text, the one member of an archive.
        Zip = "zip",
        /// A workbook.
        Xlsx = "xlsx",
    }
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFormat {
    /// On the outside.
    pub container: Container,
    /// The archive's member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Encoding of the text, by its WHATWG name; absent for a workbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Character between fields; of a workbook, in the text made from it.
    pub delimiter: char,
    /// The sheet that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// All sheets of the workbook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sheets: Vec<String>,
    /// Line or row of the header, from 1.
    pub header_row: i64,
}

impl FileFormat {
    /// Whether a record's line is its row in a sheet, whatever line ends its cells hold.
    pub fn counts_rows(&self) -> bool {
        self.container == Container::Xlsx
    }
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            unknown_clients: UnknownClients::Create,
            existing_clients: ExistingClients::Update,
            on_error: OnError::Skip,
            dry_run: false,
            zone: None,
            allow_many_months: false,
            form: FormOptions::default(),
        }
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
    /// What the file is ([`FileFormat`]), once planned.
    pub format: Option<serde_json::Value>,
    /// Where its records are as UTF-8 text, if not in the file itself.
    pub text_key: Option<String>,
    /// What somebody should know of the file, though it could be read.
    pub warnings: Vec<String>,
    /// The upload whose rejects it brings, mended.
    pub corrects: Option<UploadId>,
    /// The run that takes its rows back, or did.
    pub undo_run_id: Option<RunId>,
    /// What the undo did.
    pub undo_report: Option<serde_json::Value>,
    /// When its stored files were removed.
    pub files_removed_at: Option<DateTime<Utc>>,
}

impl Upload {
    /// How it is to be read. Stored options can be read by the version that stored them, or a later one.
    pub fn read_options(&self) -> Result<UploadOptions, serde_json::Error> {
        UploadOptions::deserialize(&self.options)
    }

    /// Whether an undo was asked for and has not ended well yet.
    pub fn is_undoing(&self) -> bool {
        self.undo_run_id.is_some() && self.state != UploadState::Undone
    }

    /// What the file is, once planned.
    pub fn read_format(&self) -> Option<FileFormat> {
        self.format.as_ref().and_then(|format| FileFormat::deserialize(format).ok())
    }

    /// Where its records are as UTF-8 text.
    pub fn text_key(&self) -> &str {
        self.text_key.as_deref().unwrap_or(&self.storage_key)
    }
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
    /// Records that cannot be loaded, as a check before loading found.
    pub faults: Option<i64>,
}

/// What became of an upload's records so far. `read` is always the sum of the five that follow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UploadCounts {
    /// Records of the chunks that are loaded. Of a file that is to be loaded whole or not at all and is not
    /// loaded yet, or never was, only those that cannot be: of the others nothing has become.
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
    /// Records that were checked before any is loaded and that are not loaded.
    pub checked: i64,
}

impl UploadCounts {
    /// Whether records were checked and none is loaded: the file is to be loaded whole or not at all.
    pub fn only_checked(&self) -> bool {
        self.chunks_loaded == 0 && self.checked > 0
    }

    /// Records that were not loaded for a fault of theirs.
    pub fn faults(&self) -> i64 {
        self.rejected + self.conflicts
    }

    /// How many records are done with, in the pass that is under way or was the last.
    pub fn done(&self) -> i64 {
        if self.only_checked() { self.checked } else { self.read }
    }
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
