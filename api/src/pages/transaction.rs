//! One transaction, and where it came from.

use super::{
    fmt,
    pieces::Time,
    shell::{Shell, page},
    transactions::TransactionLine,
    upload_parts::filename,
};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use diesel_async::AsyncPgConnection;
use shared::{
    ids::UploadId,
    storage::Storage,
    transactions::{Transaction, queries},
    uploads::{lineage, lineage::Original, queries::find_upload},
};

/// Bytes shown of the original text.
const TEXT_BYTES: usize = 4_000;

#[derive(Template)]
#[template(path = "pages/transactions/transaction.html")]
struct TransactionPage {
    shell: Shell,
    row: Transaction,
    line: TransactionLine,
    source: String,
    origin: Option<Origin>,
    /// The page and the file of the upload that moved it from pending.
    moved_by: Option<(String, String)>,
}

struct Origin {
    href: String,
    filename: String,
    /// `Line 7`, or `Row 7`.
    place: String,
    handed_in: Time,
    by: String,
    text: Option<String>,
    no_text: &'static str,
}

/// `GET /ui/transactions/{id}`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let found = match id.contains('\0') {
        true => None,
        false => queries::find_transaction(&mut conn, &id).await?,
    };
    let row = found.ok_or_else(|| {
        ApiError::not_found(
            "There is no transaction with this id. It may be mistyped, or its upload was undone.",
        )
    })?;
    let origin = origin(&mut conn, &state.env.storage, &row, &shell).await?;
    let moved_by = match lineage::moved_by(&mut conn, &row.transaction_id).await? {
        Some(id) => find_upload(&mut conn, id).await?,
        None => None,
    };
    page(&TransactionPage {
        line: TransactionLine::new(&row, &shell),
        source: match row.source.as_str() {
            "upload" => "A file whose upload is not known any more.".to_owned(),
            "trade" => "It is what a trade moved, and has its id.".to_owned(),
            other => format!("It came by way of {other}, not in a file."),
        },
        origin,
        moved_by: moved_by
            .map(|upload| (format!("/ui/uploads/{}", upload.id), fmt::shortened(&filename(&upload)))),
        row,
        shell,
    })
}

async fn origin(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    row: &Transaction,
    shell: &Shell,
) -> ApiResult<Option<Origin>> {
    let (Some(id), Some(line), "upload") = (row.source_id, row.source_line, row.source.as_str()) else {
        return Ok(None);
    };
    let line = i64::from(line);
    let Some(upload) = find_upload(conn, UploadId(id)).await? else { return Ok(None) };
    let (text, no_text) = match lineage::original(conn, storage, &upload, line).await? {
        Original::Text(text) => (Some(fmt::raw(text.as_bytes(), TEXT_BYTES)), ""),
        Original::Removed => (None, "The file was removed by now: its original text is gone."),
        Original::Unreadable => (None, "The original text cannot be read just now."),
    };
    let counts_rows = upload.read_format().is_some_and(|format| format.counts_rows());
    Ok(Some(Origin {
        href: format!("/ui/uploads/{}", upload.id),
        filename: fmt::shortened(&filename(&upload)),
        place: format!("{} {}", if counts_rows { "Row" } else { "Line" }, fmt::count(line)),
        handed_in: shell.ago(upload.created_at),
        by: upload.created_by,
        text,
        no_text,
    }))
}
