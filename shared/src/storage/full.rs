//! Whether something failed because there is no room left. Nothing was lost then: what was being written
//! is gone as a whole, and goes on once there is room.

use std::error::Error;

/// How PostgreSQL and object stores say it, where no code is left of it (diesel keeps the message only).
const SAYINGS: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "QuotaExceeded",
    "XMinioStorageFull",
    "InsufficientStorage",
    "507 Insufficient Storage",
];

/// What is full, for people, if this error or one of its causes says that something is.
pub fn is_full(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let causes = || std::iter::successors(Some(error), |&error| error.source());
    causes().find_map(by_code).or_else(|| causes().find_map(by_text))
}

fn by_code(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    use tokio_postgres::error::SqlState;
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge).then_some("file storage");
    }
    match error.downcast_ref::<tokio_postgres::Error>()?.code()? {
        code if *code == SqlState::DISK_FULL => Some("database's disk"),
        code if *code == SqlState::OUT_OF_MEMORY => Some("database's memory"),
        _ => None,
    }
}

fn by_text(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let text = error.to_string();
    if !SAYINGS.iter().any(|saying| text.contains(saying)) {
        return None;
    }
    let database = ["could not extend", "could not write", "could not create"];
    Some(if database.iter().any(|saying| text.contains(saying)) { "database's disk" } else { "file storage" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_below_other_errors() {
        let full = std::io::Error::from_raw_os_error(28);
        let wrapped = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(full) };
        assert_eq!(is_full(&wrapped), Some("file storage"));
        let text = "could not extend file \"base/16384/2619\": No space left on device";
        let database = std::io::Error::other(text);
        assert_eq!(
            is_full(&crate::runs::RunError::Superseded(database.to_string())),
            Some("database's disk")
        );
        let other = std::io::Error::from_raw_os_error(13);
        assert_eq!(is_full(&other), None);
    }
}
