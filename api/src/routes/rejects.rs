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
    uploads::{
        Reject, Upload,
        plan::DELIMITER,
        queries,
        records::{Record, next_record, split_fields},
    },
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
/// As CSV: the file's own columns, then `reject_code` and `reject_reason`. Each record's bytes are as
/// they stood in the file; one that cannot be split into the file's columns stands whole in the first cell (cells that a spreadsheet would take for formulas are not disarmed), so that
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
        let columns = own_columns(&header);
        let added = ["reject_code", "reject_reason"];
        yield Bytes::from(csv_record(header[..columns].iter().map(String::as_str).chain(added)));
        let (mut after, mut batch) = (0, FIRST_BATCH);
        loop {
            let rejects = {
                let mut conn = state.env.pool.get().await?;
                queries::rejects(&mut conn, upload.id, after, batch).await?
            };
            let Some(last) = rejects.last() else { break };
            after = last.line;
            let lines = rejects.iter().fold(Vec::new(), |mut lines, reject| {
                write_reject(&mut lines, reject, header.len(), columns);
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

/// The header's columns without the two that an earlier download added.
fn own_columns(header: &[String]) -> usize {
    match header {
        [own @ .., code, reason] if code == "reject_code" && reason == "reject_reason" => own.len(),
        all => all.len(),
    }
}

/// The record, then the two columns: always as many cells as the header has. A record that is whole
/// keeps its own bytes; one with too few cells is filled up; one that cannot be split into the header's
/// cells (too many, or quotes that do not pair) stands as it was in the first cell.
fn write_reject(lines: &mut Vec<u8>, reject: &Reject, header: usize, columns: usize) {
    let raw = reject.raw.strip_suffix(b"\n").unwrap_or(&reject.raw);
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let mut cells = cells(raw).filter(|cells| cells.len() <= header).unwrap_or_else(|| vec![raw.to_vec()]);
    if cells.len() == header && header == columns {
        lines.extend_from_slice(raw);
    } else {
        cells.resize(columns, Vec::new());
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        writer.write_record(&cells).expect("a vector takes what is written");
        let record = writer.into_inner().expect("a vector can be flushed");
        lines.extend_from_slice(record.strip_suffix(b"\n").unwrap_or(&record));
    }
    lines.push(b',');
    lines.extend_from_slice(&csv_record([reject.code.as_str(), reject.message.as_str()]));
}

/// A record's cells, if it is one record.
fn cells(raw: &[u8]) -> Option<Vec<Vec<u8>>> {
    let Record::Whole { len, quoted, .. } = next_record(raw, DELIMITER, true) else { return None };
    if len != raw.len() {
        return None;
    }
    let (mut text, mut fields) = (raw.to_vec(), Vec::new());
    split_fields(&mut text, 0, len, quoted, DELIMITER, &mut fields);
    Some(fields.iter().map(|field| field.of(&text).to_vec()).collect())
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
        write_reject(&mut lines, &reject, 3, 3);
        assert_eq!(
            lines,
            b"7,\"two\nlines\",\xff,bad_number,\"amount is \"\"x\"\", not a number\"\n".as_slice()
        );
    }

    #[test]
    fn every_record_of_a_download_has_as_many_cells_as_its_header() {
        let raws = ["1,2,3", "1,2", "1,2,3,4", "\"1,2,3", "1,\"a\"b,3", "1,\"x,\"\"y\",3", ""];
        for (header, columns) in [(3, 3), (3, 1)] {
            let mut lines = Vec::new();
            for raw in raws {
                let reject = Reject {
                    line: 2,
                    column_name: None,
                    code: "code".to_owned(),
                    message: "a \"message\"".to_owned(),
                    raw: raw.as_bytes().to_vec(),
                };
                write_reject(&mut lines, &reject, header, columns);
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(lines.as_slice());
            let records: Vec<_> = reader.records().map(Result::unwrap).collect();
            assert_eq!(records.len(), raws.len());
            for (record, raw) in records.iter().zip(raws) {
                assert_eq!(record.len(), columns + 2, "{raw}");
                assert_eq!(&record[columns], "code", "{raw}");
            }
            assert_eq!(&records[3][0], "\"1,2,3", "what cannot be split stands whole");
        }
    }
}
