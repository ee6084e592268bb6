//! The file of an upload's rejects: in the form of the file that they came in, with two more columns, so
//! that it can be mended and handed in again.

mod text;
mod workbook;

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
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
    service::{REJECT_COLUMNS, without_nameless, without_reject_columns},
};

/// Rows of the first batch.
const FIRST_BATCH: i64 = 16;
/// Most rows of a batch.
const MAX_BATCH: i64 = 1000;
/// About how many bytes a batch may hold: a record may have megabytes.
const BATCH_BYTES: usize = 4 << 20;
/// Most nameless columns for surplus fields: every record gets them all.
const MOST_SURPLUS: usize = 100;

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
    let shape = Shape::find(&state, &upload, &format).await.map_err(ApiError::internal)?;
    let stem = stem(&upload.filename).to_owned();
    if format.container == Container::Xlsx {
        let body = Body::from_stream(workbook::write(state, upload, format, shape).await?);
        let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet".to_owned();
        return Ok((named(kind, &stem, "xlsx"), body).into_response());
    }
    let form = text::Form::choose(&state, &upload, &format).await?;
    let kind = format!("text/csv; charset={}", form.charset());
    let body = Body::from_stream(text::batches(state, upload, form, shape).boxed());
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
    /// Only those that are no records of the header's columns.
    unshaped: bool,
    after: i64,
    limit: i64,
}

impl Batches {
    fn new(state: AppState, upload: Upload) -> Self {
        Self { state, upload, unshaped: false, after: 0, limit: FIRST_BATCH }
    }

    /// The next batch; empty at the end.
    async fn next(&mut self) -> anyhow::Result<Vec<Reject>> {
        let mut conn = self.state.env.pool.get().await?;
        let (id, after, limit) = (self.upload.id, self.after, self.limit);
        let rejects = match self.unshaped {
            true => queries::unshaped_rejects(&mut conn, id, after, limit).await?,
            false => queries::rejects(&mut conn, id, after, limit).await?,
        };
        if let Some(last) = rejects.last() {
            self.after = last.line;
            let average = rejects.iter().map(|reject| reject.raw.len()).sum::<usize>() / rejects.len();
            let fit = i64::try_from(BATCH_BYTES / average.max(1)).unwrap_or(MAX_BATCH);
            self.limit = fit.clamp(1, MAX_BATCH);
        }
        Ok(rejects)
    }
}

/// What the columns of the download are.
#[derive(Debug)]
struct Shape {
    delimiter: u8,
    /// Columns of the file's header.
    header: usize,
    /// Its names without those that an earlier download added.
    own: Vec<String>,
    /// Nameless columns after them, for the surplus fields of records with too many.
    surplus: usize,
}

impl Shape {
    /// Finds how many columns the download has, before anything of it is sent. In a text only records that
    /// were rejected as such can have surplus fields; a row of a sheet can have cells right of its header.
    async fn find(state: &AppState, upload: &Upload, format: &FileFormat) -> anyhow::Result<Self> {
        let header = upload.header.clone().unwrap_or_default();
        let own = match without_reject_columns(&header) {
            Some(own) => without_nameless(own).to_vec(),
            None => header.clone(),
        };
        let delimiter = u8::try_from(format.delimiter).unwrap_or(b',');
        let room = state.env.files.columns.saturating_sub(own.len() + REJECT_COLUMNS.len());
        let mut shape = Self { delimiter, header: header.len(), own, surplus: room.min(MOST_SURPLUS) };
        let mut batches =
            Batches { unshaped: !format.counts_rows(), ..Batches::new(state.clone(), upload.clone()) };
        let mut widest = 0;
        loop {
            let rejects = batches.next().await?;
            if rejects.is_empty() {
                break;
            }
            let widths = rejects.iter().map(|reject| shape.cells(trimmed(&reject.raw)).len());
            widest = widths.max().unwrap_or(0).max(widest);
        }
        shape.surplus = widest.saturating_sub(shape.own.len());
        Ok(shape)
    }

    fn width(&self) -> usize {
        self.own.len() + self.surplus
    }

    /// The names of all columns.
    fn names(&self) -> impl Iterator<Item = &str> {
        let surplus = std::iter::repeat_n("", self.surplus);
        self.own.iter().map(String::as_str).chain(surplus).chain(REJECT_COLUMNS)
    }

    /// Whether a record of so many cells has the download's own columns as it stands.
    fn fits(&self, cells: usize) -> bool {
        cells == self.header && self.header == self.own.len()
    }

    /// A record's cells, without the two of an earlier download and without empty ones behind its own: as
    /// many as there are columns at most. One that is no record, or has more cells than that, stands whole
    /// in the first.
    fn cells(&self, raw: &[u8]) -> Vec<Vec<u8>> {
        let Some(mut cells) = cells(raw, self.delimiter) else { return vec![raw.to_vec()] };
        if cells.len() == self.header && !self.fits(cells.len()) {
            cells.truncate(self.header - REJECT_COLUMNS.len());
        }
        let used = cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        cells.truncate(used.max(self.own.len()));
        if cells.len() > self.width() { vec![raw.to_vec()] } else { cells }
    }
}

/// A record without its line end.
fn trimmed(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// A record's cells, if it is one record.
fn cells(raw: &[u8], delimiter: u8) -> Option<Vec<Vec<u8>>> {
    let Record::Whole { len, quoted, .. } = next_record(raw, delimiter, true) else { return None };
    if len != raw.len() {
        return None;
    }
    let (mut text, mut fields) = (raw.to_vec(), Vec::new());
    split_fields(&mut text, 0, len, quoted, delimiter, &mut fields);
    Some(fields.iter().map(|field| field.of(&text).to_vec()).collect())
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
