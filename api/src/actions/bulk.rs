//! Retrying and cancelling many runs: a run of its own does it, with progress; this asks for that run.

use super::repeat;
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    views::words,
};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use shared::{
    audit,
    ids::{RunId, WorkerId},
    runs::{
        self, EnqueueOptions, Queue, Run, RunEvent, RunState,
        jobs::{CancelRuns, RetryRuns, Selection},
        queries::{self, RunFilter},
    },
};
use utoipa::ToSchema;

/// Most runs that one request may name.
pub const MAX_IDS: usize = 10_000;

/// What is done with the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Run again what failed, was discarded or cancelled.
    Retry,
    /// Cancel what has not ended.
    Cancel,
}

impl Deed {
    /// The button's word: `Retry`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Cancel => "Cancel",
        }
    }

    /// The action's name in the audit log.
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "runs.retry",
            Self::Cancel => "runs.cancel",
        }
    }

    /// Whether runs in this state can be meant.
    pub fn applies_to(self, state: RunState) -> bool {
        state.next(self.event()).is_ok()
    }

    fn event(self) -> RunEvent {
        match self {
            Self::Retry => RunEvent::Retry,
            Self::Cancel => RunEvent::Cancel,
        }
    }
}

/// Which runs are meant: exactly one of the two.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// These: 1 to 10,000 ids.
    #[schema(value_type = Option<Vec<uuid::Uuid>>, min_items = 1, max_items = 10_000)]
    pub ids: Option<Vec<RunId>>,
    /// All that a filter lets through.
    pub filter: Option<BulkFilter>,
}

/// What runs must be like. At least one field narrows, or `all` says that every run is meant.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BulkFilter {
    /// In any of these states.
    #[schema(schema_with = words::run_states)]
    pub states: Vec<RunState>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In this queue.
    #[schema(value_type = Option<String>, example = "ingest")]
    pub queue: Option<Queue>,
    /// Of this flow: the id of its root run.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub flow: Option<RunId>,
    /// Steps of this run.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub parent: Option<RunId>,
    /// With an error that holds this text, without regard to case.
    pub error: Option<String>,
    /// That failed alike.
    pub fingerprint: Option<String>,
    /// That this worker runs.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub worker: Option<WorkerId>,
    /// Every run there is; goes with no other field.
    pub all: bool,
}

impl From<BulkFilter> for RunFilter {
    fn from(filter: BulkFilter) -> Self {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            states: filter.states,
            kind: text(filter.kind),
            queue: filter.queue.map(|queue| queue.to_string()),
            flow: filter.flow,
            parent: filter.parent,
            error: text(filter.error),
            fingerprint: text(filter.fingerprint),
            worker: filter.worker,
        }
    }
}

impl BulkRequest {
    /// The selection it means; 422 if it means none.
    fn selection(self, deed: Deed) -> ApiResult<Selection> {
        match (self.ids, self.filter) {
            (Some(ids), None) if (1..=MAX_IDS).contains(&ids.len()) => Ok(Selection::Ids(ids)),
            (Some(_), None) => {
                Err(ApiError::invalid("ids", "Name 1 to 10,000 runs; for more, send a `filter`."))
            }
            (None, Some(filter)) => {
                let all = filter.all;
                let filter = RunFilter::from(filter);
                let empty = is_empty(&filter);
                if empty && !all {
                    let detail = "An empty filter would mean every run. If that is meant, send {\"filter\": {\"all\": true}}.";
                    return Err(ApiError::invalid("filter", detail));
                }
                if all && !empty {
                    return Err(ApiError::invalid(
                        "filter.all",
                        "Either all runs, or those that a filter lets through.",
                    ));
                }
                if !filter.states.is_empty() && !filter.states.iter().any(|&state| deed.applies_to(state)) {
                    let detail = format!(
                        "No run {} could be {}.",
                        state_words(&filter.states),
                        match deed {
                            Deed::Retry => "retried: that takes failed, discarded or cancelled",
                            Deed::Cancel => "cancelled: it has ended",
                        }
                    );
                    return Err(ApiError::invalid("filter.states", detail));
                }
                Ok(Selection::Matching(filter))
            }
            _ => Err(ApiError::invalid("body", "Send either `ids` or a `filter`.")),
        }
    }
}

/// Whether a filter lets everything through.
pub fn is_empty(filter: &RunFilter) -> bool {
    let RunFilter { states, kind, queue, flow, parent, error, fingerprint, worker } = filter;
    states.is_empty()
        && [kind, queue, error, fingerprint].into_iter().all(Option::is_none)
        && flow.is_none()
        && parent.is_none()
        && worker.is_none()
}

fn state_words(states: &[RunState]) -> String {
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    states.join(" or ")
}

/// A filter in words, for people: `the state failed and the kind ingest chunk`. Empty if it lets
/// everything through.
pub fn filter_words(filter: &RunFilter) -> String {
    let cut = |text: &String| text.chars().take(100).collect::<String>();
    let mut words = Vec::new();
    if !filter.states.is_empty() {
        words.push(format!("the state {}", state_words(&filter.states)));
    }
    words.extend(filter.kind.as_ref().map(|kind| format!("the kind {}", cut(kind).replace('_', " "))));
    words.extend(filter.queue.as_ref().map(|queue| format!("the queue {}", cut(queue))));
    words.extend(filter.error.as_ref().map(|error| format!("an error that holds “{}”", cut(error))));
    words.extend(filter.fingerprint.as_ref().map(|print| format!("the failure “{}”", cut(print))));
    words.extend(filter.flow.map(|flow| format!("the flow {flow}")));
    words.extend(filter.parent.map(|parent| format!("the parent {parent}")));
    words.extend(filter.worker.map(|worker| format!("the worker {worker}")));
    words.join(" and ")
}

/// A selection in words: `12 named runs`, `runs with the state failed`, `all runs`.
fn selection_words(selection: &Selection) -> String {
    match selection {
        Selection::Ids(ids) => format!("{} named runs", ids.len()),
        Selection::Matching(filter) if is_empty(filter) => "all runs".to_owned(),
        Selection::Matching(filter) => format!("runs with {}", filter_words(filter)),
    }
}

/// How many runs a request would change now.
pub async fn matched(conn: &mut AsyncPgConnection, deed: Deed, request: BulkRequest) -> ApiResult<i64> {
    let selection = request.selection(deed)?;
    let ended_before = ended_before(conn, deed).await?;
    count(conn, &selection, ended_before).await
}

/// Only what has ended by now is retried: what fails later is another failure. By the database's
/// clock, which writes when runs end.
async fn ended_before(conn: &mut AsyncPgConnection, deed: Deed) -> ApiResult<Option<DateTime<Utc>>> {
    Ok(match deed {
        Deed::Retry => Some(queries::database_time(conn).await?),
        Deed::Cancel => None,
    })
}

async fn count(
    conn: &mut AsyncPgConnection,
    selection: &Selection,
    ended_before: Option<DateTime<Utc>>,
) -> ApiResult<i64> {
    Ok(match selection {
        Selection::Ids(ids) => queries::count_changeable(conn, ids, ended_before).await?,
        Selection::Matching(_) => selection.count(conn, ended_before).await?,
    })
}

/// The run that will do it, and how many runs matched when it was asked for.
#[derive(Debug)]
pub struct Asked {
    /// The run.
    pub run: Run,
    /// How many.
    pub matched: i64,
    /// False if the same request asked for it before.
    pub created: bool,
}

/// Asks for the run that does it. The request's audit row says who, which and how many.
pub async fn ask(
    state: &AppState,
    principal: &Principal,
    deed: Deed,
    request: BulkRequest,
    key: Option<&str>,
) -> ApiResult<Asked> {
    let selection = request.clone().selection(deed)?;
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    let asked = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let ended_before = ended_before(conn, deed).await?;
            let matched = count(conn, &selection, ended_before).await?;
            if let Some(id) = repeat::claim::<RunId>(conn, actor, key, deed.name(), &request).await? {
                let run = queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?;
                return Ok(Asked { run, matched, created: false });
            }
            let details = serde_json::json!({ "runs": selection_words(&selection), "matched": matched });
            let options = EnqueueOptions::by(actor);
            let id = match ended_before {
                Some(ended_before) => {
                    runs::enqueue(conn, &RetryRuns { runs: selection, ended_before }, &options).await?.id
                }
                None => runs::enqueue(conn, &CancelRuns { runs: selection }, &options).await?.id,
            };
            audit::record(conn, actor, deed.name(), &id.to_string(), &details).await?;
            repeat::point(conn, actor, key, &id.to_string()).await?;
            let run = queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?;
            Ok(Asked { run, matched, created: true })
        })
        .await?;
    super::ring(state, &asked.run);
    let matched = asked.matched;
    tracing::info!(run.id = %asked.run.id, actor = %principal.name, matched, "{} of {matched} runs", deed.name());
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: serde_json::Value, deed: Deed) -> Option<String> {
        let request: BulkRequest = serde_json::from_value(body).unwrap();
        request.selection(deed).err().and_then(|error| error.problem().field.clone())
    }

    #[test]
    fn a_selection_is_meant_explicitly() {
        use serde_json::json;
        for (body, field) in [
            (json!({}), Some("body")),
            (json!({ "ids": [], "filter": { "all": true } }), Some("body")),
            (json!({ "ids": [] }), Some("ids")),
            (json!({ "filter": {} }), Some("filter")),
            (json!({ "filter": { "kind": "", "states": [] } }), Some("filter")),
            (json!({ "filter": { "all": true, "kind": "x" } }), Some("filter.all")),
            (json!({ "filter": { "states": ["running"] } }), Some("filter.states")),
            (json!({ "filter": { "states": ["failed", "running"] } }), None),
            (json!({ "filter": { "all": true } }), None),
        ] {
            assert_eq!(refused(body.clone(), Deed::Retry).as_deref(), field, "{body}");
        }
        assert_eq!(
            refused(json!({ "filter": { "states": ["failed"] } }), Deed::Cancel).as_deref(),
            Some("filter.states")
        );
    }

    #[test]
    fn a_filter_is_said_in_words() {
        let filter = RunFilter {
            states: vec![RunState::Failed, RunState::Discarded],
            kind: Some("ingest_chunk".to_owned()),
            error: Some("disk".to_owned()),
            ..RunFilter::default()
        };
        assert_eq!(
            filter_words(&filter),
            "the state failed or discarded and the kind ingest chunk and an error that holds “disk”"
        );
        assert_eq!(selection_words(&Selection::Matching(RunFilter::default())), "all runs");
    }
}
