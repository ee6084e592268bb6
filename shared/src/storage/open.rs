//! Finding the store that the configuration names. No error and no log line carries credentials: they
//! come from the environment, and a URL that holds some is refused.

use super::{DIRECTORY_PART_BYTES, OBJECT_PART_BYTES, Storage, StorageError};
use crate::config::StorageConfig;
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use url::Url;

/// A store that does not answer for so long is away.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the client itself goes on trying; a run that fails is retried anyway.
const RETRY_FOR: Duration = Duration::from_secs(15);

/// The file storage cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL means nothing to us.
    #[error("MILLRACE_STORAGE={url} cannot be used: {reason}")]
    Url {
        /// Without credentials.
        url: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The directory cannot be made.
    #[error("cannot keep files in {}: {source}; see MILLRACE_DATA_DIR and MILLRACE_STORAGE", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store does not answer, or refuses.
    #[error(
        "the file storage {location} (MILLRACE_STORAGE) cannot be written: {reason}; check its address and \
         credentials (AWS_ENDPOINT, AWS_ALLOW_HTTP, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    )]
    Unreachable {
        /// Without credentials.
        location: String,
        /// What it said.
        reason: String,
    },
}

impl Storage {
    /// Opens the configured store: a directory (made if absent), or a bucket, which has to be there. A bucket
    /// is tried at once: who starts a process learns what is wrong with it.
    pub async fn open(config: &StorageConfig) -> Result<Self, OpenError> {
        let Some(text) = &config.url else {
            let directory = config.files_dir();
            return Self::directory(&directory).map_err(|source| OpenError::Directory { directory, source });
        };
        let url = parse(text).map_err(|reason| OpenError::Url { url: redacted(text), reason })?;
        if url.scheme() == "file" {
            let directory = url.to_file_path().map_err(|()| OpenError::Url {
                url: redacted(text),
                reason: "a directory is written file:///absolute/path".to_owned(),
            })?;
            return Self::directory(&directory).map_err(|source| OpenError::Directory { directory, source });
        }
        let storage = Self::bucket(&url)
            .map_err(|error| OpenError::Url { url: redacted(text), reason: error.to_string() })?;
        let unreachable =
            |reason: String| OpenError::Unreachable { location: storage.location.to_string(), reason };
        match tokio::time::timeout(PATIENCE, storage.check()).await {
            Ok(Ok(())) => Ok(storage),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("no answer within {PATIENCE:?}"))),
        }
    }

    /// Keeps files under a directory, which is made if absent. Files are synced to disk: an accepted
    /// upload survives a power cut.
    pub fn directory(directory: &std::path::Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(std::io::Error::other)?;
        Ok(Self {
            store: Arc::new(store.with_fsync(true)),
            location: directory.display().to_string().into(),
            directory: Some(directory.to_owned()),
            part_bytes: DIRECTORY_PART_BYTES,
        })
    }

    fn bucket(url: &Url) -> Result<Self, StorageError> {
        let (store, prefix) = object_store_of(url)?;
        let store: Arc<dyn ObjectStore> =
            if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self { store, location: url.as_str().into(), directory: None, part_bytes: OBJECT_PART_BYTES })
    }
}

/// A URL of ours, or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no URL ({error})"))?;
    if url.password().is_some() || !url.username().is_empty() {
        return Err(
            "credentials do not belong into the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        );
    }
    match (url.scheme(), url.host_str()) {
        ("s3" | "s3a", Some(_)) | ("file", _) => Ok(url),
        ("s3" | "s3a", None) => Err("a bucket is written s3://bucket/prefix".to_owned()),
        (scheme, _) => Err(format!(
            "the scheme {scheme:?} is not known; known are s3://bucket/prefix (any S3-compatible store, by \
             AWS_ENDPOINT) and file:///directory"
        )),
    }
}

/// The bucket that an S3 URL names, and the path in it. Credentials, region and endpoint come from the
/// usual `AWS_*` variables.
pub(super) fn object_store_of(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
    prepare_tls();
    let retry = RetryConfig { max_retries: 4, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    let store = AmazonS3Builder::from_env()
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), "5 seconds")
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "120 seconds")
        .with_bucket_name(url.host_str().unwrap_or_default())
        .with_retry(retry)
        .build()?;
    Ok((Arc::new(store), Path::from_url_path(url.path())?))
}

/// Installs the process's one TLS implementation. Whoever makes an HTTP client calls it first.
pub fn prepare_tls() {
    // Refused if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The URL without what may be secret in it.
fn redacted(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            if url.password().is_some() || !url.username().is_empty() {
                // Refused for URLs that can have neither.
                let _ = url.set_username("***").and_then(|()| url.set_password(None));
            }
            url.set_query(None);
            url.to_string()
        }
        Err(_) if text.contains('@') => "***".to_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_credentials_is_refused_without_repeating_them() {
        let text = "s3://key:secret@bucket/prefix";
        assert!(parse(text).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        assert_eq!(redacted(text), "s3://***@bucket/prefix");
        assert!(parse("gs://bucket").unwrap_err().contains("s3://bucket/prefix"));
        assert!(parse("/just/a/path").is_err());
    }
}
