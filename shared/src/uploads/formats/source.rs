//! A stored file as something that blocking readers can read and seek in, whatever the store: it is read
//! by ranges, in blocks that are kept for a while.

use crate::storage::{Storage, StorageError};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io::{Error, ErrorKind, Read, Result, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::Handle;

const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks kept: readers of archives go to and fro between the directory and a member.
const BLOCKS: usize = 4;

/// What went wrong with the store, if anything did: whoever reads an archive only sees that reading
/// failed, and would take a store that is away for a file that is damaged.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<StorageError>>>);

impl Trouble {
    /// Takes it.
    pub fn take(&self) -> Option<StorageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, error: StorageError) -> Error {
        let said = Error::other(error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        said
    }
}

/// A stored file, to be read on a thread that may block.
pub struct StoredSource {
    storage: Storage,
    key: String,
    size: u64,
    position: u64,
    blocks: VecDeque<(u64, Bytes)>,
    runtime: Handle,
    trouble: Trouble,
}

impl StoredSource {
    /// Stands at the file's beginning. Must be made within the runtime that is to read.
    pub fn new(storage: &Storage, key: &str, size: u64) -> Self {
        Self {
            storage: storage.clone(),
            key: key.to_owned(),
            size,
            position: 0,
            blocks: VecDeque::new(),
            runtime: Handle::current(),
            trouble: Trouble::default(),
        }
    }

    /// Where what goes wrong is kept.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    fn block(&mut self, number: u64) -> Result<Bytes> {
        if let Some((_, block)) = self.blocks.iter().find(|(known, _)| *known == number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK_BYTES;
        let range = start..(start + BLOCK_BYTES).min(self.size);
        let read = self.runtime.block_on(self.storage.read_range(&self.key, range));
        let block = read.map_err(|error| self.trouble.keep(error))?;
        if self.blocks.len() == BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back((number, block.clone()));
        Ok(block)
    }
}

impl Read for StoredSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let block = self.block(self.position / BLOCK_BYTES)?;
        let part = block.get((self.position % BLOCK_BYTES) as usize..).unwrap_or_default();
        if part.is_empty() {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the stored file is shorter than it was"));
        }
        let taken = part.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&part[..taken]);
        self.position += taken as u64;
        Ok(taken)
    }
}

impl Seek for StoredSource {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position =
            place.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a place before the file"))?;
        Ok(self.position)
    }
}
