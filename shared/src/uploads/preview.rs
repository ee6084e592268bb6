//! A look at the beginning of a file, before anything of it is loaded: what it is, which column feeds
//! which field, how its first rows read.

use super::{
    model::{FileFormat, UploadKind, UploadOptions},
    plan::PlanError,
};
use crate::runs::job::Environment;
use std::collections::BTreeMap;

/// Rows that a look shows.
pub const ROWS: usize = 50;
/// Samples of each column.
pub const SAMPLES: usize = 3;

/// What a look at the beginning of a file shows.
#[derive(Debug, Clone)]
pub struct Look {
    /// What the file is.
    pub format: FileFormat,
    /// Its columns, in their order.
    pub columns: Vec<LookedColumn>,
    /// Required fields without a column: the file cannot be loaded so.
    pub missing: Vec<&'static str>,
    /// Its first records, at most [`ROWS`].
    pub rows: Vec<LookedRow>,
    /// What somebody should know of the file as a whole.
    pub warnings: Vec<String>,
    /// Records below the header; an estimate from the first ones unless the whole file was seen.
    pub records: i64,
    /// Whether `records` was counted.
    pub counted: bool,
}

/// A column of the file.
#[derive(Debug, Clone)]
pub struct LookedColumn {
    /// Its name in the header.
    pub name: String,
    /// The field that it feeds.
    pub field: Option<&'static str>,
    /// Its first values that are not empty, at most [`SAMPLES`].
    pub samples: Vec<String>,
}

/// A record of the file.
#[derive(Debug, Clone)]
pub struct LookedRow {
    /// Its line, or its row in the sheet.
    pub line: i64,
    /// Its values as they would be loaded, by field; empty if it would be rejected.
    pub values: BTreeMap<&'static str, String>,
    /// Its cells as they stand in the file.
    pub cells: Vec<String>,
    /// Why it would be rejected.
    pub fault: Option<Fault>,
}

/// What is wrong with a record.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// For programs.
    pub code: &'static str,
    /// For people: what is wrong and how to mend it.
    pub message: String,
}

/// Looks at the beginning of a stored file. What the options leave open is found out.
pub async fn look(
    _env: &Environment,
    _key: &str,
    _size_bytes: u64,
    _kind: UploadKind,
    _options: &UploadOptions,
) -> Result<Look, PlanError> {
    Err(PlanError::Empty)
}
