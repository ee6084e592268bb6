//! Uploads and rejects as JSON.

use super::{runs::ProgressView, words};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::uploads::{Reject, Upload, UploadCounts, UploadKind, UploadState};
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of the records so far: read = inserted + updated + duplicates + conflicts + rejected.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct CountsView {
    /// Records of the chunks that are loaded. Of a file that is loaded whole or not at all (`on_error=abort`)
    /// and is not loaded, only those with a fault: of the others nothing has become.
    pub read: i64,
    /// New rows.
    pub inserted: i64,
    /// Rows whose status (or a client's fields) moved.
    pub updated: i64,
    /// Rows that were there, the same.
    pub duplicates: i64,
    /// Rows that were there, different.
    pub conflicts: i64,
    /// Records that could not be read.
    pub rejected: i64,
    /// Chunks of the file.
    pub chunks: i64,
    /// Chunks that are loaded.
    pub chunks_loaded: i64,
    /// Records that were checked before any is loaded (`on_error=abort`) and that are not loaded. If such a
    /// file failed, `rejected` and `conflicts` of these have faults, and nothing was loaded.
    pub checked: i64,
}

impl From<UploadCounts> for CountsView {
    fn from(counts: UploadCounts) -> Self {
        Self {
            read: counts.read,
            inserted: counts.inserted,
            updated: counts.updated,
            duplicates: counts.duplicates,
            conflicts: counts.conflicts,
            rejected: counts.rejected,
            chunks: counts.chunks,
            chunks_loaded: counts.chunks_loaded,
            checked: counts.checked,
        }
    }
}

/// Where to go from an upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadLinks {
    /// The upload.
    #[serde(rename = "self")]
    pub itself: String,
    /// The root run of its flow, which can be cancelled and retried.
    pub run: String,
    /// The records that were not loaded.
    pub rejects: String,
    /// Its page.
    pub page: String,
    /// The upload whose rejects it brings, mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    /// The run that takes its rows back, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_run: Option<String>,
}

/// One upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadView {
    /// Its id; ids sort by creation.
    pub id: Uuid,
    /// What its rows are.
    #[schema(schema_with = words::upload_kind)]
    pub kind: UploadKind,
    /// The name it was sent under.
    pub filename: String,
    /// Its length.
    pub size_bytes: i64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// How it is read.
    pub options: serde_json::Value,
    /// Taken in although the same file was there.
    pub forced: bool,
    /// Where it stands.
    #[schema(schema_with = words::upload_state)]
    pub state: UploadState,
    /// The root of its flow.
    pub run_id: Uuid,
    /// The file's column names, once planned.
    pub header: Option<Vec<String>>,
    /// Field to zero-based column, once planned.
    pub mapping: Option<serde_json::Value>,
    /// Columns that no field takes.
    pub ignored_columns: Vec<String>,
    /// Records below the header, once planned.
    pub records: Option<i64>,
    /// What became of them so far.
    pub counts: CountsView,
    /// The same as a share of all.
    pub progress: ProgressView,
    /// Whether everything was done but loading: the counts then say what would have become of the records.
    pub dry_run: bool,
    /// What the file is, once planned: `container`, `encoding`, `delimiter`, `sheet`, `header_row` …
    #[schema(value_type = Option<Object>)]
    pub format: Option<serde_json::Value>,
    /// What somebody should know of the file, though it could be read.
    pub warnings: Vec<String>,
    /// The upload whose rejects it brings, mended.
    pub corrects: Option<Uuid>,
    /// The run that takes its rows back, or did.
    pub undo_run_id: Option<Uuid>,
    /// Whether its rows are being taken back, or were in part: an undo was asked for and is not done.
    pub undoing: bool,
    /// Why an undo that was asked for and is not done stands still, and how it goes on.
    pub undo_standstill: Option<String>,
    /// The other uploads that the same run takes back, or did; told with a single upload only.
    pub undone_with: Vec<UndoneWith>,
    /// What its load waits for while rows of it stand in an upload that is being undone, and what helps.
    pub waiting: Option<String>,
    /// What the undo did, so far.
    #[schema(value_type = Option<Object>)]
    pub undo_report: Option<serde_json::Value>,
    /// When its stored files were removed.
    pub files_removed_at: Option<DateTime<Utc>>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Who sent it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When its flow ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Where to go from here.
    pub links: UploadLinks,
}

/// An upload that is taken back by the same run as another.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndoneWith {
    /// Its id.
    pub id: Uuid,
    /// The name it was sent under.
    pub filename: String,
}

/// What an upload's row does not say by itself.
#[derive(Debug, Default)]
pub struct Standing {
    /// Why it failed.
    pub failure: Option<String>,
    /// Why its undo stands still.
    pub undo_standstill: Option<String>,
    /// Those that are undone together with it.
    pub undone_with: Vec<Upload>,
    /// What its load waits for.
    pub waiting: Option<String>,
}

impl UploadView {
    /// The view of an upload with its counts and how it stands.
    pub fn new(upload: Upload, counts: UploadCounts, standing: Standing) -> Self {
        let undone_with = standing.undone_with.into_iter();
        let undone_with =
            undone_with.map(|other| UndoneWith { id: other.id.0, filename: other.filename }).collect();
        let path = format!("/api/v1/uploads/{}", upload.id);
        let undoing = upload.is_undoing();
        Self {
            id: upload.id.0,
            kind: upload.kind,
            filename: upload.filename,
            size_bytes: upload.size_bytes,
            sha256: hex::encode(upload.sha256),
            forced: upload.forced,
            state: upload.state,
            run_id: upload.run_id.0,
            header: upload.header,
            mapping: upload.mapping,
            ignored_columns: upload.ignored_columns,
            records: upload.records,
            counts: counts.into(),
            progress: ProgressView {
                done: counts.done(),
                total: upload.records,
                unit: Some("records".to_owned()),
                phase: Some(upload.state.to_string()),
            },
            dry_run: upload.options["dry_run"] == true,
            options: upload.options,
            format: upload.format,
            warnings: upload.warnings,
            corrects: upload.corrects.map(|id| id.0),
            undo_run_id: upload.undo_run_id.map(|id| id.0),
            undoing,
            undo_standstill: standing.undo_standstill,
            undone_with,
            waiting: standing.waiting,
            undo_report: upload.undo_report,
            files_removed_at: upload.files_removed_at,
            failure: standing.failure,
            created_by: upload.created_by,
            created_at: upload.created_at,
            finished_at: upload.finished_at,
            links: UploadLinks {
                run: format!("/api/v1/runs/{}", upload.run_id),
                rejects: format!("{path}/rejects"),
                page: format!("/ui/uploads/{}", upload.id),
                corrects: upload.corrects.map(|id| format!("/api/v1/uploads/{id}")),
                undo_run: upload.undo_run_id.map(|id| format!("/api/v1/runs/{id}")),
                itself: path,
            },
        }
    }
}

/// What an upload request stands for.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcceptedUpload {
    /// True if the same file, or the same request, had been accepted before: this is that upload.
    pub already_uploaded: bool,
    /// The upload.
    #[serde(flatten)]
    pub upload: UploadView,
}

/// A record that was not loaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectView {
    /// First line of the record, counted from 1.
    pub line: i64,
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// What is wrong, for programs.
    pub code: String,
    /// What is wrong and how to mend it, for people.
    pub message: String,
    /// The record as it stood in the file; bytes that are no UTF-8 are replaced.
    pub raw: String,
}

impl From<Reject> for RejectView {
    fn from(reject: Reject) -> Self {
        Self {
            line: reject.line,
            column: reject.column_name,
            code: reject.code,
            message: reject.message,
            raw: String::from_utf8_lossy(&reject.raw).into_owned(),
        }
    }
}
