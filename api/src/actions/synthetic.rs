//! Starting what generates data and loads it.

use super::repeat;
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use chrono::{Datelike, NaiveDate};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::Serialize;
use shared::{
    audit,
    ids::RunId,
    runs::{EnqueueOptions, Enqueued, Run, RunError, queries},
    synthetic::{
        DataRequest, Dataset,
        jobs::{self, GenerateData},
        nightly::{self, NightlyData, NightlyRequest},
    },
};

/// What is started.
enum Flow {
    Bulk(GenerateData),
    Nightly(NightlyData),
}

impl Flow {
    /// What the audit log calls it.
    fn action(&self) -> &'static str {
        match self {
            Self::Bulk(_) => "synthetic.generate",
            Self::Nightly(_) => "nightly.run",
        }
    }

    async fn start(
        &self,
        conn: &mut AsyncPgConnection,
        options: &EnqueueOptions,
    ) -> Result<Enqueued, RunError> {
        match self {
            Self::Bulk(data) => jobs::start(conn, data, options).await,
            Self::Nightly(data) => nightly::start(conn, data, options).await,
        }
    }
}

/// Starts the flow that generates data and loads it. The answer says whether it was started: the same request may
/// have started one before.
pub async fn generate(
    state: &AppState,
    principal: &Principal,
    asked: &DataRequest,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let (dataset, data) = (Dataset::try_from(asked)?, GenerateData::try_from(asked.clone())?);
    // Rows of a later time would be rejected, every one of them.
    let last = NaiveDate::from_ymd_opt(state.env.clock.now().year() + 2, 1, 1).unwrap_or(NaiveDate::MAX);
    if dataset.end() > last {
        return Err(ApiError::invalid("end", format!("Transactions are loaded up to {last} only.")));
    }
    if dataset.rows() > state.env.files.rows {
        let most = state.env.files.rows;
        let detail = format!("This server loads files of at most {most} rows (MILLRACE_MAX_ROWS).");
        return Err(ApiError::invalid("num_rows", detail));
    }
    begin(state, principal, &Flow::Bulk(data), asked, key).await
}

/// Starts the nightly flow of a day. The answer says whether it was started: while one of the day runs that one is
/// the answer, as is the one that the same request started before.
pub async fn run_nightly(
    state: &AppState,
    principal: &Principal,
    asked: &NightlyRequest,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let zone = state.env.settings.zone;
    if asked.day > nightly::today(state.env.clock.as_ref(), zone) {
        let detail = format!("{} has not begun in {zone}: nothing happened on it yet.", asked.day);
        return Err(ApiError::invalid("day", detail));
    }
    let data = NightlyData::try_from(asked.clone())?;
    begin(state, principal, &Flow::Nightly(data), asked, key).await
}

/// What is asked for, once under a key, with its audit row.
async fn begin(
    state: &AppState,
    principal: &Principal,
    flow: &Flow,
    asked: &(impl Serialize + Sync),
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (actor, action) = (&principal.name, flow.action());
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            if let Some(id) = repeat::claim::<RunId>(conn, actor, key, action, asked).await? {
                let run = queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?;
                return Ok((run, false));
            }
            let started = flow.start(conn, &EnqueueOptions::by(actor)).await?;
            let details = serde_json::json!({ "started": started.created, "asked": asked });
            audit::record(conn, actor, action, &started.id.to_string(), &details).await?;
            repeat::point(conn, actor, key, &started.id.to_string()).await?;
            let run = queries::find_run(conn, started.id).await?.ok_or_else(|| super::no_run(started.id))?;
            Ok((run, started.created))
        })
        .await?;
    super::ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, created, "{} is asked for", run.kind);
    Ok((run, created))
}
