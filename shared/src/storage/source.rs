//! Files that are not ours, to be copied in: a path, or the URL of an object. Only the configuration
//! names them, never a request.

use super::{
    StorageError,
    open::{object_store_of, parse},
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::ObjectStoreExt;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;

/// Bytes read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// A file that is about to be read.
pub struct Source {
    /// The last part of its name.
    pub filename: String,
    /// Its length, when it was opened.
    pub size_bytes: u64,
    reader: Reader,
}

enum Reader {
    File(tokio::fs::File),
    Object(BoxStream<'static, Result<Bytes, StorageError>>),
}

/// A file cannot be copied in.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The location means nothing to us.
    #[error("{0}")]
    Location(String),
    /// There is none.
    #[error("there is no file {0}")]
    Missing(String),
    /// It may not be read.
    #[error("{0} may not be read: {1}")]
    Denied(String, String),
    /// It is no file.
    #[error("{0} is a directory, not a file")]
    Directory(String),
    /// Reading failed; another time it may not.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
}

impl SourceError {
    /// Whether it will fail again until somebody mends something.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreadable(..))
    }

    fn of_file(path: &std::path::Path, error: &std::io::Error) -> Self {
        let path = path.display().to_string();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path),
            std::io::ErrorKind::PermissionDenied => Self::Denied(path, error.to_string()),
            std::io::ErrorKind::IsADirectory => Self::Directory(path),
            _ => Self::Unreadable(path, error.to_string()),
        }
    }

    fn of_object(url: &str, error: &StorageError) -> Self {
        let text = error.to_string();
        match error {
            StorageError::NotFound { .. } if text.contains("NoSuchBucket") => {
                Self::Missing(format!("{url}: there is no such bucket"))
            }
            StorageError::NotFound { .. } => Self::Missing(url.to_owned()),
            StorageError::PermissionDenied { .. } | StorageError::Unauthenticated { .. } => {
                Self::Denied(url.to_owned(), text)
            }
            _ => Self::Unreadable(url.to_owned(), text),
        }
    }
}

impl Source {
    /// Opens a path or the URL of an object (`s3://bucket/key`, `file:///path`).
    pub async fn open(location: &str) -> Result<Self, SourceError> {
        if !location.contains("://") {
            return Self::open_file(PathBuf::from(location)).await;
        }
        let url = parse(location).map_err(SourceError::Location)?;
        if url.scheme() == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| SourceError::Location("a file is written file:///absolute/path".to_owned()))?;
            return Self::open_file(path).await;
        }
        let failed = |error: StorageError| SourceError::of_object(location, &error);
        let (store, key) = object_store_of(&url).map_err(failed)?;
        let object = store.get(&key).await.map_err(failed)?;
        Ok(Self {
            filename: key.filename().unwrap_or("file").to_owned(),
            size_bytes: object.meta.size,
            reader: Reader::Object(object.into_stream()),
        })
    }

    async fn open_file(path: PathBuf) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::of_file(&path, &error);
        let file = tokio::fs::File::open(&path).await.map_err(failed)?;
        let metadata = file.metadata().await.map_err(failed)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory(path.display().to_string()));
        }
        let name =
            path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { filename: name, size_bytes: metadata.len(), reader: Reader::File(file) })
    }

    /// The next bytes; none at the end. `location` is for the error.
    pub async fn read(&mut self, location: &str) -> Result<Option<Bytes>, SourceError> {
        match &mut self.reader {
            Reader::File(file) => {
                let mut buffer = Vec::with_capacity(READ_BYTES);
                let read = file.take(READ_BYTES as u64).read_to_end(&mut buffer).await;
                read.map_err(|error| SourceError::of_file(location.as_ref(), &error))?;
                Ok(if buffer.is_empty() { None } else { Some(buffer.into()) })
            }
            Reader::Object(stream) => {
                let next = stream.next().await.transpose();
                next.map_err(|error| SourceError::of_object(location, &error))
            }
        }
    }
}
