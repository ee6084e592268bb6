//! Rejects as a workbook. Every cell is text: what was read as it stands is handed in again as it
//! stands, and an id of twenty digits keeps them all.

use super::{Batches, Shape, trimmed};
use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use bytes::Bytes;
use futures::Stream;
use rust_xlsxwriter::{Workbook, Worksheet, XlsxError};
use shared::uploads::{Upload, model::FileFormat};
use std::{
    fs::File,
    io::{Seek, SeekFrom},
};
use tokio::runtime::Handle;
use tokio_util::io::ReaderStream;

/// Characters that a cell may hold.
const CELL_CHARACTERS: usize = 32_767;

/// Writes the workbook to a temporary file, which has no name and goes when it is closed: rows are not
/// kept in memory, however many there are.
pub async fn write(
    state: AppState,
    upload: Upload,
    format: FileFormat,
    shape: Shape,
) -> ApiResult<impl Stream<Item = std::io::Result<Bytes>>> {
    let runtime = Handle::current();
    let written = tokio::task::spawn_blocking(move || write_file(&runtime, state, upload, &format, &shape));
    let file = written.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 64 << 10))
}

fn write_file(
    runtime: &Handle,
    state: AppState,
    upload: Upload,
    format: &FileFormat,
    shape: &Shape,
) -> anyhow::Result<File> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory()?;
    if let Some(name) = &format.sheet {
        sheet.set_name(name)?;
    }
    write_row(sheet, 0, shape.names())?;
    let mut batches = Batches::new(state, upload);
    let mut row = 1;
    loop {
        let rejects = runtime.block_on(batches.next())?;
        if rejects.is_empty() {
            break;
        }
        for reject in &rejects {
            let mut cells = shape.cells(trimmed(&reject.raw));
            cells.resize(shape.width(), Vec::new());
            let texts: Vec<_> = cells.iter().map(|cell| String::from_utf8_lossy(cell)).collect();
            let added = [reject.code.as_str(), reject.message.as_str()];
            write_row(sheet, row, texts.iter().map(AsRef::as_ref).chain(added))?;
            row += 1;
        }
    }
    let mut file = tempfile::tempfile()?;
    book.save_to_writer(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn write_row<'t>(
    sheet: &mut Worksheet,
    row: u32,
    cells: impl Iterator<Item = &'t str>,
) -> Result<(), XlsxError> {
    for (column, cell) in (0u16..).zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        let end = cell.char_indices().nth(CELL_CHARACTERS).map_or(cell.len(), |(end, _)| end);
        sheet.write_string(row, column, &cell[..end])?;
    }
    Ok(())
}
