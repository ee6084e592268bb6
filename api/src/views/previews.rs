//! Previews as JSON.

use super::words;
use crate::actions::previews::Looked;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::uploads::{
    UploadKind, columns,
    preview::{Fault, LookedColumn, LookedRow},
    previews::Preview,
};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where to go from a preview.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewLinks {
    /// The look at it, which takes `kind` and what is known of the file's form.
    #[serde(rename = "self")]
    pub itself: String,
    /// Loads it.
    pub load: String,
    /// Its page.
    pub page: String,
    /// The upload that it was loaded, or checked, as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// A file that is stored and not loaded yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewView {
    /// Its id.
    pub id: Uuid,
    /// The name it was sent under.
    pub filename: String,
    /// Its length.
    pub size_bytes: i64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The upload that it was loaded, or checked (a dry run), as.
    pub upload_id: Option<Uuid>,
    /// Who sent it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it is removed, unless it is loaded before.
    pub expires_at: DateTime<Utc>,
    /// Where to go from here.
    pub links: PreviewLinks,
}

impl From<&Preview> for PreviewView {
    fn from(preview: &Preview) -> Self {
        let path = format!("/api/v1/previews/{}", preview.id);
        Self {
            id: preview.id.0,
            filename: preview.filename.clone(),
            size_bytes: preview.size_bytes,
            sha256: hex::encode(&preview.sha256),
            upload_id: preview.upload_id.map(|id| id.0),
            created_by: preview.created_by.clone(),
            created_at: preview.created_at,
            expires_at: preview.expires_at(),
            links: PreviewLinks {
                load: format!("{path}/load"),
                page: format!("/ui/previews/{}", preview.id),
                upload: preview.upload_id.map(|id| format!("/api/v1/uploads/{id}")),
                itself: path,
            },
        }
    }
}

/// A column of the file.
#[derive(Debug, Serialize, ToSchema)]
pub struct ColumnView {
    /// Its number, from 0.
    pub index: usize,
    /// Its name in the header.
    pub name: String,
    /// The field that it feeds.
    pub field: Option<&'static str>,
    /// Its first values that are not empty.
    pub samples: Vec<String>,
}

/// What is wrong with a record.
#[derive(Debug, Serialize, ToSchema)]
pub struct FaultView {
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// For programs.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// A record of the file.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowView {
    /// Its line, or its row in the sheet.
    pub line: i64,
    /// Its values as they would be loaded, by field; empty if it would be rejected.
    #[schema(value_type = Object)]
    pub values: BTreeMap<&'static str, String>,
    /// Its cells as they stand in the file.
    pub cells: Vec<String>,
    /// Why it would be rejected.
    pub fault: Option<FaultView>,
}

/// A field that the file may feed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldView {
    /// Its name, as in a mapping.
    pub name: &'static str,
    /// Other names of columns that mean it.
    pub aliases: &'static [&'static str],
    /// Whether a file without it is refused.
    pub required: bool,
}

/// Where the mapping came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct MappingView {
    /// `names` (the columns' names alone), `given` (in the request), or `earlier_upload`.
    pub source: &'static str,
    /// The upload that used it last.
    pub upload_id: Option<Uuid>,
    /// That upload's file.
    pub filename: Option<String>,
    /// The explicit part of it: field to column name, number or null.
    #[schema(value_type = Object)]
    pub explicit: serde_json::Value,
}

/// What a look at the beginning of a file shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct LookView {
    /// The preview.
    pub preview: PreviewView,
    /// What the rows were taken for.
    #[schema(schema_with = words::upload_kind)]
    pub kind: UploadKind,
    /// How the file was read; loaded with the same parameters, it is read so.
    #[schema(value_type = Object)]
    pub options: serde_json::Value,
    /// What the file is: `container`, `encoding`, `delimiter`, `sheet`, `sheets`, `header_row` …
    #[schema(value_type = Object)]
    pub format: serde_json::Value,
    /// Its columns, in their order.
    pub columns: Vec<ColumnView>,
    /// Where the mapping came from.
    pub mapping: MappingView,
    /// Required fields without a column: so it cannot be loaded.
    pub missing: Vec<&'static str>,
    /// Its first records, at most 50.
    pub rows: Vec<RowView>,
    /// What somebody should know of the file as a whole.
    pub warnings: Vec<String>,
    /// Records below the header.
    pub records: i64,
    /// Whether `records` was counted; else it is estimated.
    pub counted: bool,
    /// All fields of the kind.
    pub fields: Vec<FieldView>,
}

fn column((index, column): (usize, LookedColumn)) -> ColumnView {
    ColumnView { index, name: column.name, field: column.field, samples: column.samples }
}

fn row(row: LookedRow) -> RowView {
    let fault = row.fault.map(|Fault { column, code, message }| FaultView { column, code, message });
    RowView { line: row.line, values: row.values, cells: row.cells, fault }
}

impl LookView {
    /// The view of what was seen of a preview; `given` says that the request brought the mapping.
    pub fn new(preview: &Preview, looked: Looked, given: bool) -> Self {
        let Looked { kind, options, look, begun_from, .. } = looked;
        let mapping = MappingView {
            source: match (&begun_from, given) {
                (Some(_), _) => "earlier_upload",
                (None, true) => "given",
                (None, false) => "names",
            },
            upload_id: begun_from.as_ref().map(|used| used.upload_id.0),
            filename: begun_from.map(|used| used.filename),
            explicit: serde_json::to_value(&options.form.mapping).unwrap_or_default(),
        };
        Self {
            preview: preview.into(),
            kind,
            options: serde_json::to_value(&options).unwrap_or_default(),
            format: serde_json::to_value(&look.format).unwrap_or_default(),
            columns: look.columns.into_iter().enumerate().map(column).collect(),
            mapping,
            missing: look.missing,
            rows: look.rows.into_iter().map(row).collect(),
            warnings: look.warnings,
            records: look.records,
            counted: look.counted,
            fields: columns::fields(kind)
                .iter()
                .map(|field| FieldView { name: field.name, aliases: field.aliases, required: field.required })
                .collect(),
        }
    }
}
