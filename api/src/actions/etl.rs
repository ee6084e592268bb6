//! Starting the ETL recipe.

use super::repeat;
use crate::{app::AppState, auth::Principal, error::ApiResult};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    audit,
    ids::RunId,
    runs::{EnqueueOptions, Run, queries},
    uploads::etl,
};

/// Starts the recipe: clients, then transactions, from the configured places. The answer says whether it
/// was started: while one runs that one is the answer, as is the one that the same request started before.
pub async fn run_etl(state: &AppState, principal: &Principal, key: Option<&str>) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    let (run, created) = conn
        .transaction::<_, crate::error::ApiError, _>(async move |conn| {
            if let Some(id) = repeat::claim::<RunId>(conn, actor, key, "etl", &()).await? {
                let run = queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?;
                return Ok((run, false));
            }
            let started = etl::start(conn, &EnqueueOptions::by(actor)).await?;
            let details = serde_json::json!({ "started": started.created });
            audit::record(conn, actor, "etl.run", &started.id.to_string(), &details).await?;
            repeat::point(conn, actor, key, &started.id.to_string()).await?;
            let run = queries::find_run(conn, started.id).await?.ok_or_else(|| super::no_run(started.id))?;
            Ok((run, started.created))
        })
        .await?;
    super::ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, created, "the ETL recipe is asked for");
    Ok((run, created))
}
