//! The records of an upload that were not loaded: as a file to mend and hand in again, or as JSON.

use crate::{
    app::AppState,
    error::ApiResult,
    list::Listing,
    params::{FromParams, ListParams, ListQuery, PageParams, Params, PathId},
    routes::uploads,
    views::uploads::RejectView,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use shared::{
    ids::UploadId,
    pagination::{Cursor, Direction, InvalidCursor},
    uploads::{Reject, Upload, queries},
};
use utoipa::IntoParams;

/// Rows of the first batch of a download.
const FIRST_BATCH: i64 = 16;
/// Most rows of a batch.
const MAX_BATCH: i64 = 1000;
/// About how many bytes a batch may hold: a record may have a megabyte.
const BATCH_BYTES: i64 = 4 << 20;

/// A list without filters, in the order of the file.
#[derive(IntoParams)]
pub struct RejectParams {}

impl FromParams for RejectParams {
    fn from_params(_params: &Params) -> ApiResult<Self> {
        Ok(Self {})
    }
}

impl ListParams for RejectParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<i64>().map(drop)
    }
}

/// Download the records that were not loaded.
///
/// As CSV: the file's own columns, then `reject_code` and `reject_reason`; each record's bytes are as
/// they stood in the file (cells that a spreadsheet would take for formulas are not disarmed), so that
/// the file can be mended and handed in again. With `Accept: application/json` a list by line, to which
/// alone `limit` and `cursor` apply.
#[utoipa::path(get, path = "/api/v1/uploads/{id}/rejects", tag = "uploads",
    params(("id" = uuid::Uuid, Path, description = "The upload"), PageParams), responses(
    (status = 200, description = "The rejects; `previous` of the list is always null", content(
        (String = "text/csv"), (Listing<RejectView> = "application/json"))),
    (status = 404, description = "There is no such upload"),
))]
pub async fn list_rejects(
    State(state): State<AppState>,
    PathId(id): PathId<UploadId>,
    headers: HeaderMap,
    query: ListQuery<RejectParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let upload = uploads::find(&mut conn, id).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains("application/json") {
        drop(conn);
        return Ok(download(state, upload));
    }
    let after = query.page.cursor.as_ref().and_then(|cursor| cursor.single::<i64>().ok()).unwrap_or(0);
    let mut rejects = queries::rejects(&mut conn, id, after, query.page.limit + 1).await?;
    let more = rejects.len() as i64 > query.page.limit;
    rejects.truncate(usize::try_from(query.page.limit).unwrap_or(usize::MAX));
    let next = rejects
        .last()
        .filter(|_| more)
        .map(|reject| Cursor { direction: Direction::Older, key: vec![reject.line.to_string()] }.encode());
    let items = rejects.into_iter().map(RejectView::from).collect();
    Ok(Listing { items, next, previous: None }.respond(&query.uri))
}

/// The rejects as a CSV file, streamed.
pub fn download(state: AppState, upload: Upload) -> Response {
    let name = upload.filename.rsplit_once('.').map_or(upload.filename.as_str(), |(stem, _)| stem);
    let ascii: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' }).collect();
    let encoded: String =
        url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    let disposition =
        format!("attachment; filename=\"{ascii}.rejects.csv\"; filename*=UTF-8''{encoded}.rejects.csv");
    let headers = [(header::CONTENT_TYPE, "text/csv".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, Body::from_stream(csv_batches(state, upload).boxed())).into_response()
}

/// Header and records, a batch at a time; each batch borrows a connection anew, so that a slow reader
/// holds none.
fn csv_batches(state: AppState, upload: Upload) -> impl Stream<Item = anyhow::Result<Bytes>> {
    async_stream::try_stream! {
        let header = upload.header.clone().unwrap_or_default();
        let columns = header.iter().map(String::as_str).chain(["reject_code", "reject_reason"]);
        yield Bytes::from(csv_record(columns));
        let (mut after, mut batch) = (0, FIRST_BATCH);
        loop {
            let rejects = {
                let mut conn = state.env.pool.get().await?;
                queries::rejects(&mut conn, upload.id, after, batch).await?
            };
            let Some(last) = rejects.last() else { break };
            after = last.line;
            let lines = rejects.iter().fold(Vec::new(), |mut lines, reject| {
                write_reject(&mut lines, reject);
                lines
            });
            let average = (lines.len() as i64 / rejects.len() as i64).max(1);
            batch = (BATCH_BYTES / average).clamp(1, MAX_BATCH);
            yield Bytes::from(lines);
        }
    }
}

fn csv_record<'a>(cells: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("a vector takes what is written");
    writer.into_inner().expect("a vector can be flushed")
}

/// The record's own bytes without its line end, then the two columns.
fn write_reject(lines: &mut Vec<u8>, reject: &Reject) {
    let raw = reject.raw.strip_suffix(b"\n").unwrap_or(&reject.raw);
    lines.extend_from_slice(raw.strip_suffix(b"\r").unwrap_or(raw));
    lines.push(b',');
    lines.extend_from_slice(&csv_record([reject.code.as_str(), reject.message.as_str()]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reject_keeps_its_bytes_and_gains_two_cells() {
        let reject = Reject {
            line: 2,
            column_name: None,
            code: "bad_number".to_owned(),
            message: "amount is \"x\", not a number".to_owned(),
            raw: b"7,\"two\nlines\",\xff\r\n".to_vec(),
        };
        let mut lines = Vec::new();
        write_reject(&mut lines, &reject);
        assert_eq!(
            lines,
            b"7,\"two\nlines\",\xff,bad_number,\"amount is \"\"x\"\", not a number\"\n".as_slice()
        );
    }
}
