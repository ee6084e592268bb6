//! Taking an upload's rows back.

use super::{error::UploadError, model::Upload};
use crate::ids::{RunId, UploadId};
use diesel::prelude::*;
use diesel_async::AsyncPgConnection;

/// Why an upload cannot be undone now.
pub async fn refusal(_conn: &mut AsyncPgConnection, _upload: &Upload) -> QueryResult<Option<String>> {
    Ok(None)
}

/// Enqueues the run that takes an upload's rows back.
pub async fn request_undo(
    _conn: &mut AsyncPgConnection,
    id: UploadId,
    _by: &str,
) -> Result<RunId, UploadError> {
    Err(UploadError::NotFound(id))
}
