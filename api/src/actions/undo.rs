//! Taking an upload's rows back, from the API and from the pages alike.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    audit,
    ids::RunId,
    runs::Queue,
    uploads::{Upload, queries, undo},
};

/// Enqueues the run that takes an upload's rows back, `together` with the uploads that can only go with it;
/// 409 with the reason where it cannot be.
pub async fn undo_upload(
    state: &AppState,
    principal: &Principal,
    upload: &Upload,
    together: bool,
) -> ApiResult<RunId> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let run = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let run = undo::request_undo(conn, upload.id, together, &principal.name).await?;
            for undone in queries::undone_by(conn, run).await? {
                let details =
                    serde_json::json!({ "filename": undone.filename, "run": run, "asked_for": upload.id });
                audit::record(conn, &principal.name, "upload.undo", &undone.id.to_string(), &details).await?;
            }
            Ok(run)
        })
        .await?;
    // A process that dies before costs the second until the next poll.
    Queue::ALL.iter().for_each(|&queue| state.env.doorbells.ring(queue, 1));
    tracing::info!(run.id = %run, actor = %principal.name, "upload {} is to be undone", upload.id);
    Ok(run)
}
