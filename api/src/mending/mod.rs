//! The file of an upload's rejects: in the form of the file that they came in, with two more columns, so
//! that it can be mended and handed in again.

mod text;
mod workbook;

use crate::{app::AppState, error::ApiResult};
use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use shared::uploads::{
    Reject, Upload,
    model::{Container, FileFormat},
    queries,
    records::{Record, next_record, split_fields},
    service::without_reject_columns,
};

/// Rows of the first batch.
const FIRST_BATCH: i64 = 16;
/// Most rows of a batch.
const MAX_BATCH: i64 = 1000;
/// About how many bytes a batch may hold: a record may have megabytes.
const BATCH_BYTES: usize = 4 << 20;

/// The rejects of an upload as a file: a workbook's as a workbook, others as text with the file's own
/// delimiter and encoding (UTF-8 with a byte order mark, if a record holds what that encoding lacks; the
/// header Content-Type says which). What came compressed goes plain.
pub async fn download(state: AppState, upload: Upload) -> ApiResult<Response> {
    let format = upload.read_format().unwrap_or(FileFormat {
        container: Container::Plain,
        member: None,
        encoding: None,
        delimiter: ',',
        sheet: None,
        sheets: Vec::new(),
        header_row: 1,
    });
    let stem = stem(&upload.filename).to_owned();
    if format.container == Container::Xlsx {
        let body = Body::from_stream(workbook::write(state, upload, format).await?);
        let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet".to_owned();
        return Ok((named(kind, &stem, "xlsx"), body).into_response());
    }
    let form = text::Form::choose(&state, &upload, &format).await?;
    let kind = format!("text/csv; charset={}", form.charset());
    let body = Body::from_stream(text::batches(state, upload, form).boxed());
    Ok((named(kind, &stem, "csv"), body).into_response())
}

/// A file's name without its endings.
fn stem(filename: &str) -> &str {
    let plain =
        [".gz", ".zst", ".zip"].iter().find_map(|ending| filename.strip_suffix(ending)).unwrap_or(filename);
    plain.rsplit_once('.').map_or(plain, |(stem, _)| stem)
}

fn named(kind: String, name: &str, ending: &str) -> [(header::HeaderName, String); 2] {
    let ascii: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' }).collect();
    let encoded: String =
        url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    let disposition = format!(
        "attachment; filename=\"{ascii}.rejects.{ending}\"; filename*=UTF-8''{encoded}.rejects.{ending}"
    );
    [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)]
}

/// Reads rejects in the order of the file, a batch at a time; each batch borrows a connection anew, so
/// that a slow reader holds none.
struct Batches {
    state: AppState,
    upload: Upload,
    after: i64,
    limit: i64,
}

impl Batches {
    fn new(state: AppState, upload: Upload) -> Self {
        Self { state, upload, after: 0, limit: FIRST_BATCH }
    }

    /// The next batch; empty at the end.
    async fn next(&mut self) -> anyhow::Result<Vec<Reject>> {
        let mut conn = self.state.env.pool.get().await?;
        let rejects = queries::rejects(&mut conn, self.upload.id, self.after, self.limit).await?;
        if let Some(last) = rejects.last() {
            self.after = last.line;
            let average = rejects.iter().map(|reject| reject.raw.len()).sum::<usize>() / rejects.len();
            let fit = i64::try_from(BATCH_BYTES / average.max(1)).unwrap_or(MAX_BATCH);
            self.limit = fit.clamp(1, MAX_BATCH);
        }
        Ok(rejects)
    }
}

/// The header's columns without the two that an earlier download added.
fn own_columns(header: &[String]) -> &[String] {
    without_reject_columns(header).unwrap_or(header)
}

/// A record without its line end.
fn trimmed(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// A record's cells, if it is one record of at most `most`.
fn cells(raw: &[u8], delimiter: u8, most: usize) -> Option<Vec<Vec<u8>>> {
    let Record::Whole { len, quoted, .. } = next_record(raw, delimiter, true) else { return None };
    if len != raw.len() {
        return None;
    }
    let (mut text, mut fields) = (raw.to_vec(), Vec::new());
    split_fields(&mut text, 0, len, quoted, delimiter, &mut fields);
    (fields.len() <= most).then(|| fields.iter().map(|field| field.of(&text).to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_named_after_its_file() {
        assert_eq!(stem("march.csv"), "march");
        assert_eq!(stem("march.2026.csv.gz"), "march.2026");
        assert_eq!(stem("march.zip"), "march");
        assert_eq!(stem("march"), "march");
    }
}
