//! Files: a directory, or a bucket of an object store, behind the same interface. A stored file is whole
//! (in a directory: and synced) before its key is known to the database; a file whose upload row was
//! never committed is an orphan that nobody reads and that `prune_files` removes.

mod full;
mod open;
mod source;

pub use full::is_full;
pub(crate) use open::parse;
pub use open::{OpenError, prepare_tls};
pub use source::{Source, SourceError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use sha2::{Digest, Sha256};
use std::{ops::Range, path::PathBuf, sync::Arc};

pub use object_store::Error as StorageError;

/// Bytes sent to a directory at once.
const DIRECTORY_PART_BYTES: usize = 4 << 20;
/// Bytes sent to an object store at once. S3 refuses parts under 5 MiB and more than 10,000 of them: files
/// of up to 78 GiB fit.
const OBJECT_PART_BYTES: usize = 8 << 20;

/// Where uploaded files are.
#[derive(Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// For people: a path or a URL, without credentials.
    location: Arc<str>,
    /// The directory, if it is one.
    directory: Option<PathBuf>,
    part_bytes: usize,
}

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

/// A file as a listing shows it.
#[derive(Debug, Clone)]
pub struct ListedFile {
    /// Its key.
    pub key: String,
    /// When it was written.
    pub written_at: DateTime<Utc>,
}

impl Storage {
    /// Where the files are, for people: a path or a URL without credentials.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Begins to write a file; nothing is visible under `key` before [`FileWriter::finish`].
    pub async fn create(&self, key: &str) -> Result<FileWriter, StorageError> {
        let upload = self.store.put_multipart(&Path::from(key)).await?;
        Ok(FileWriter {
            key: key.to_owned(),
            upload: Some(upload),
            buffer: Vec::with_capacity(self.part_bytes),
            part_bytes: self.part_bytes,
            digest: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Bytes `range` of a file. Of an empty range nothing is asked: stores refuse it.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.store.get_range(&Path::from(key), range).await
    }

    /// Makes a file's bytes known under another key too; the store copies them, if it has to.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.store.copy(&Path::from(from), &Path::from(to)).await
    }

    /// Whether a file can be begun; nothing of it stays.
    pub async fn check(&self) -> Result<(), StorageError> {
        let mut writer = self.create("checks/writable").await?;
        let written = writer.write(b"?").await;
        let flushed = match written {
            Ok(()) => writer.flush().await,
            Err(error) => Err(error),
        };
        writer.abort().await;
        flushed
    }

    /// Removes a file; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match self.store.delete(&Path::from(key)).await {
            Err(StorageError::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// At most `limit` of the files whose keys begin with `folder/` and come after `after`. In a directory
    /// they come in no order: all of them are looked at, and those with the least keys are returned.
    pub async fn list(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<ListedFile>, StorageError> {
        let (folder, after) = (Path::from(folder), Path::from(after));
        let mut listing = self.store.list_with_offset(Some(&folder), &after);
        let mut found = std::collections::BTreeMap::new();
        while let Some(object) = listing.try_next().await? {
            found.insert(object.location.to_string(), object.last_modified);
            if found.len() > limit {
                found.pop_last();
                if self.directory.is_none() {
                    break;
                }
            }
        }
        Ok(found.into_iter().map(|(key, written_at)| ListedFile { key, written_at }).collect())
    }

    /// Removes what writers that died have left under `folder/` before this time; how many files. A
    /// directory keeps a file that is being written as `name#1`. An object store keeps its parts, which
    /// only its own lifecycle rule (AbortIncompleteMultipartUpload) can find.
    pub async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> std::io::Result<u64> {
        let Some(directory) = self.directory.as_ref().map(|directory| directory.join(folder)) else {
            return Ok(0);
        };
        let removed = tokio::task::spawn_blocking(move || {
            let entries = match std::fs::read_dir(&directory) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
                other => other?,
            };
            let mut removed = 0;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let staged = name.to_string_lossy().rsplit_once('#').is_some_and(|(_, number)| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                });
                if staged && DateTime::<Utc>::from(entry.metadata()?.modified()?) < before {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
            Ok(removed)
        });
        removed.await.map_err(std::io::Error::other)?
    }
}

/// A file being written, hashed as it passes. Dropped before its end, it leaves nothing.
pub struct FileWriter {
    key: String,
    /// Gone once it is finished or aborted.
    upload: Option<Box<dyn object_store::MultipartUpload>>,
    buffer: Vec<u8>,
    part_bytes: usize,
    digest: Sha256,
    size_bytes: u64,
}

impl FileWriter {
    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Appends bytes.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.digest.update(bytes);
        self.size_bytes += bytes.len() as u64;
        // Parts of one size each, but for the last: some stores insist on it.
        while self.buffer.len() + bytes.len() >= self.part_bytes {
            let (fits, rest) = bytes.split_at(self.part_bytes - self.buffer.len());
            self.buffer.extend_from_slice(fits);
            self.flush().await?;
            bytes = rest;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.part_bytes));
        match &mut self.upload {
            Some(upload) => upload.put_part(PutPayload::from(part)).await,
            None => Ok(()),
        }
    }

    /// Makes the file visible, whole and synced.
    pub async fn finish(mut self) -> Result<StoredFile, StorageError> {
        if (!self.buffer.is_empty() || self.size_bytes == 0)
            && let Err(error) = self.flush().await
        {
            // Gone before the caller hears of it.
            self.abort().await;
            return Err(error);
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
        }
        self.upload = None;
        let digest = std::mem::take(&mut self.digest);
        Ok(StoredFile {
            key: std::mem::take(&mut self.key),
            size_bytes: self.size_bytes,
            sha256: digest.finalize().into(),
        })
    }

    /// Throws the bytes away.
    pub async fn abort(mut self) {
        if let Some(upload) = self.upload.take() {
            abort(upload, &self.key).await;
        }
    }
}

async fn abort(mut upload: Box<dyn object_store::MultipartUpload>, key: &str) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, key, "an unfinished file could not be removed");
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // A directory's writer removes its file by itself; an object store has to be told. At a process's
        // end there may be nobody left to do it.
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            let key = std::mem::take(&mut self.key);
            runtime.spawn(async move { abort(upload, &key).await });
        }
    }
}
