//! Where a row came from: the record of the stored file that it was read from.

use super::{
    model::{Chunk, Upload},
    records::{MAX_RECORD_BYTES, Record, next_record},
};
use crate::{
    ids::UploadId,
    schema::upload_chunks,
    storage::{Storage, StorageError},
};
use diesel::{
    prelude::*,
    sql_types::{Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Longest text that is shown of a record.
const SHOWN_BYTES: usize = 64 << 10;

/// The original text of a row, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// The record as it stands in the file (in the text made from it, if it is a workbook), without its
    /// line end; of a very long one the beginning.
    Text(String),
    /// The stored file was removed.
    Removed,
    /// The file cannot be read now, or has no record there.
    Unreadable,
}

/// The record that begins at a line of an upload's file. Its chunk is read, some megabytes at most.
pub async fn original(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    upload: &Upload,
    line: i64,
) -> QueryResult<Original> {
    if upload.files_removed_at.is_some() {
        return Ok(Original::Removed);
    }
    let chunk: Option<Chunk> = upload_chunks::table
        .filter(upload_chunks::upload_id.eq(upload.id).and(upload_chunks::first_line.le(line)))
        .order(upload_chunks::first_line.desc())
        .select(Chunk::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(chunk) = chunk else { return Ok(Original::Unreadable) };
    let (start, end) = (chunk.byte_start.unsigned_abs(), chunk.byte_end.unsigned_abs());
    // A record too long to be loaded is a chunk of its own.
    let oversized = chunk.records == 1 && end - start > MAX_RECORD_BYTES as u64;
    let end = if oversized { start + SHOWN_BYTES as u64 } else { end };
    let bytes = match storage.read_range(upload.text_key(), start..end).await {
        Ok(bytes) => bytes,
        Err(StorageError::NotFound { .. }) => return Ok(Original::Removed),
        Err(error) => {
            tracing::warn!(%error, upload.id = %upload.id, "a row's original text cannot be read");
            return Ok(Original::Unreadable);
        }
    };
    if oversized {
        return Ok(Original::Text(shown(&bytes)));
    }
    let (delimiter, counts_rows) = upload.read_format().map_or((b',', false), |format| {
        (u8::try_from(format.delimiter).unwrap_or(b','), format.counts_rows())
    });
    let found = record_at(&bytes, chunk.first_line, line, delimiter, counts_rows);
    Ok(found.map_or(Original::Unreadable, |record| Original::Text(shown(record))))
}

/// The record that begins at `wanted`, in a text that begins at `line`.
fn record_at(text: &[u8], mut line: i64, wanted: i64, delimiter: u8, counts_rows: bool) -> Option<&[u8]> {
    let mut at = 0;
    while at < text.len() && line <= wanted {
        let (len, lines, is_record) = match next_record(&text[at..], delimiter, true) {
            Record::Whole { len, lines, .. } => (len, if counts_rows { 1 } else { i64::from(lines) }, true),
            Record::BadQuoting { len } => (len, 1, true),
            Record::Blank { len } => (len, 1, false),
            Record::Incomplete => return None,
        };
        if line == wanted && is_record {
            return Some(&text[at..at + len]);
        }
        at += len;
        line += lines;
    }
    None
}

fn shown(record: &[u8]) -> String {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let cut = &record[..record.len().min(SHOWN_BYTES)];
    String::from_utf8_lossy(cut).replace('\0', "\u{2400}")
}

#[derive(QueryableByName)]
struct Mover {
    #[diesel(sql_type = Uuid)]
    upload_id: UploadId,
}

/// The upload that moved a transaction from pending, if one did.
pub async fn moved_by(conn: &mut AsyncPgConnection, transaction_id: &str) -> QueryResult<Option<UploadId>> {
    let row: Option<Mover> =
        diesel::sql_query("SELECT upload_id FROM upload_moves WHERE transaction_id = $1")
            .bind::<Text, _>(transaction_id)
            .get_result(conn)
            .await
            .optional()?;
    Ok(row.map(|row| row.upload_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_its_first_line() {
        let text = b"1,\"two\nlines\",x\n\n2,b\n3,\"stray\n4,d\n";
        let at = |line, rows| {
            record_at(text, 10, line, b',', rows).map(|record| String::from_utf8_lossy(record).into_owned())
        };
        assert_eq!(at(10, false).as_deref(), Some("1,\"two\nlines\",x\n"));
        assert_eq!(at(11, false), None, "the middle of a record is none");
        assert_eq!(at(12, false), None, "a blank line is none");
        assert_eq!(at(13, false).as_deref(), Some("2,b\n"));
        assert_eq!(at(14, false).as_deref(), Some("3,\"stray\n"));
        assert_eq!(at(15, false).as_deref(), Some("4,d\n"));
        assert_eq!(at(16, false), None);
        assert_eq!(at(12, true).as_deref(), Some("2,b\n"), "a sheet counts rows");
    }
}
