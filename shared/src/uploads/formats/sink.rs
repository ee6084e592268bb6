//! Where converted text goes: into storage, or for a look at a file's beginning into memory.

use super::{FormatError, Watch};
use crate::storage::FileWriter;
use tokio::runtime::Handle;

/// Takes text.
pub trait Sink {
    /// Takes more of it. False says that there is no need for more.
    fn take(&mut self, text: &[u8]) -> Result<bool, FormatError>;

    /// Whether only the beginning is wanted.
    fn wants_head_only(&self) -> bool {
        false
    }
}

/// The beginning of a text, in memory.
#[derive(Debug, Default)]
pub struct Head {
    /// The text.
    pub text: Vec<u8>,
    limit: usize,
}

impl Head {
    /// Wants about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { text: Vec::new(), limit }
    }
}

impl Sink for Head {
    fn take(&mut self, text: &[u8]) -> Result<bool, FormatError> {
        self.text.extend_from_slice(text);
        Ok(self.text.len() < self.limit)
    }

    fn wants_head_only(&self) -> bool {
        true
    }
}

/// A file being written to storage from a thread that may block.
pub struct Stored {
    writer: FileWriter,
    runtime: Handle,
    watch: Watch,
}

impl Stored {
    /// Writes on. Must be made within the runtime that is to write.
    pub fn new(writer: FileWriter, watch: Watch) -> Self {
        Self { writer, runtime: Handle::current(), watch }
    }

    /// The writer, when all is written.
    pub fn into_writer(self) -> FileWriter {
        self.writer
    }
}

impl Sink for Stored {
    fn take(&mut self, text: &[u8]) -> Result<bool, FormatError> {
        if self.watch.cancel.is_cancelled() {
            return Err(FormatError::Stopped);
        }
        self.runtime.block_on(self.writer.write(text))?;
        self.watch.show(self.writer.size_bytes());
        Ok(true)
    }
}
