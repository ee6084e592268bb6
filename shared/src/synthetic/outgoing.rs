//! A file on its way out, for those who take it bit by bit: a download, or storage.

use super::{
    DataFormat, Dataset,
    blocks::{CsvBlocks, Tally},
    workbook::write_workbook,
};
use bytes::Bytes;
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Bytes of a workbook handed on at once, and how many such wait to be taken.
const PART_BYTES: usize = 1 << 16;
const PARTS_WAITING: usize = 4;

/// A file that is generated as it is taken.
pub struct Outgoing(Way);

enum Way {
    Text(Box<CsvBlocks>),
    /// A thread makes it, as the writer of workbooks cannot wait otherwise. It ends when nobody listens.
    Workbook {
        parts: mpsc::Receiver<Bytes>,
        rows_done: Arc<AtomicU64>,
        writer: Option<JoinHandle<io::Result<Tally>>>,
        tally: Tally,
    },
}

impl Outgoing {
    /// The file of a data set.
    pub fn of(data: &Dataset) -> Self {
        let blocks = CsvBlocks::new(data);
        match data.format() {
            DataFormat::Csv => Self::text(blocks),
            DataFormat::Xlsx => Self::workbook(blocks, data.what().as_str()),
        }
    }

    /// Rows as text.
    pub(super) fn text(blocks: CsvBlocks) -> Self {
        Self(Way::Text(Box::new(blocks)))
    }

    fn workbook(blocks: CsvBlocks, sheet: &'static str) -> Self {
        let (sender, parts) = mpsc::channel(PARTS_WAITING);
        let rows_done = Arc::new(AtomicU64::new(0));
        let noted = rows_done.clone();
        let writer = tokio::task::spawn_blocking(move || {
            let listened = sender.clone();
            let watch = move |rows| {
                noted.store(rows, Ordering::Relaxed);
                !listened.is_closed()
            };
            let mut out = PartWriter { sender, part: Vec::with_capacity(PART_BYTES) };
            let tally = write_workbook(blocks, sheet, &mut out, watch)?;
            out.flush()?;
            Ok(tally)
        });
        Self(Way::Workbook { parts, rows_done, writer: Some(writer), tally: Tally::default() })
    }

    /// The next bytes; `None` at the end. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            Way::Text(blocks) => {
                // Whatever else this thread has to do is not kept waiting for a whole file.
                tokio::task::yield_now().await;
                Ok(blocks.next_block().map(Bytes::copy_from_slice))
            }
            Way::Workbook { parts, writer, tally, .. } => {
                if let Some(part) = parts.recv().await {
                    return Ok(Some(part));
                }
                if let Some(writer) = writer {
                    *tally = writer.await.map_err(io::Error::other)??;
                }
                *writer = None;
                Ok(None)
            }
        }
    }

    /// Rows that are generated; of a workbook the bytes come when all are.
    pub fn rows_done(&self) -> u64 {
        match &self.0 {
            Way::Text(blocks) => blocks.tally().rows,
            Way::Workbook { rows_done, .. } => rows_done.load(Ordering::Relaxed),
        }
    }

    /// What was written, at the end.
    pub fn tally(&self) -> Tally {
        match &self.0 {
            Way::Text(blocks) => blocks.tally(),
            Way::Workbook { tally, .. } => *tally,
        }
    }
}

/// Hands on what is written.
struct PartWriter {
    sender: mpsc::Sender<Bytes>,
    part: Vec<u8>,
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
        self.sender.blocking_send(part.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
