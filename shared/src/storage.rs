//! Files: a directory today, any object store behind the same interface. A stored file is whole and
//! synced before its key is known to the database; a file whose upload row was never committed is an
//! orphan that nobody reads.

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path};
use sha2::{Digest, Sha256};
use std::{ops::Range, sync::Arc};

pub use object_store::Error as StorageError;

/// Bytes sent to the store at once.
const PART_BYTES: usize = 4 << 20;

/// Where uploaded files are.
#[derive(Clone)]
pub struct Storage(Arc<dyn ObjectStore>);

/// A file that was stored whole.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Its key in the store.
    pub key: String,
    /// Its length.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

impl Storage {
    /// Keeps files under a directory, which is made if absent. Files are synced to disk: an accepted
    /// upload survives a power cut.
    pub fn directory(directory: &std::path::Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(std::io::Error::other)?;
        Ok(Self(Arc::new(store.with_fsync(true))))
    }

    /// Begins to write a file; nothing is visible under `key` before [`FileWriter::finish`].
    pub async fn create(&self, key: &str) -> Result<FileWriter, StorageError> {
        let upload = self.0.put_multipart(&Path::from(key)).await?;
        Ok(FileWriter {
            key: key.to_owned(),
            upload,
            buffer: Vec::with_capacity(PART_BYTES),
            digest: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Bytes `range` of a file.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.0.get_range(&Path::from(key), range).await
    }

    /// Makes a file's bytes known under another key too; the store copies them, if it has to.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.0.copy(&Path::from(from), &Path::from(to)).await
    }

    /// Whether a file can be begun; nothing of it stays.
    pub async fn check(&self) -> Result<(), StorageError> {
        let mut writer = self.create("checks/writable").await?;
        writer.write(b"?").await?;
        writer.abort().await;
        Ok(())
    }

    /// Removes a file; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match self.0.delete(&Path::from(key)).await {
            Err(StorageError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

/// A file being written, hashed as it passes.
pub struct FileWriter {
    key: String,
    upload: Box<dyn object_store::MultipartUpload>,
    buffer: Vec<u8>,
    digest: Sha256,
    size_bytes: u64,
}

impl FileWriter {
    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Appends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.digest.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES));
        self.upload.put_part(PutPayload::from(part)).await
    }

    /// Makes the file visible, whole and synced.
    pub async fn finish(mut self) -> Result<StoredFile, StorageError> {
        if !self.buffer.is_empty() || self.size_bytes == 0 {
            self.flush().await?;
        }
        self.upload.complete().await?;
        Ok(StoredFile { key: self.key, size_bytes: self.size_bytes, sha256: self.digest.finalize().into() })
    }

    /// Throws the bytes away.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, key = %self.key, "an unfinished file could not be removed");
        }
    }
}
