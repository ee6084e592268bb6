//! Bulk generation: a data set is generated straight into storage and taken in as an upload, as one flow.
//!
//! ```text
//! generate_data ◄─ generate_file
//!               ◄─ finish_upload ◄─ plan_upload, ingest_chunk …
//! ```

use super::{DataRequest, Dataset, Fault, Outgoing, storing::Order};
use crate::{
    ids::RunId,
    runs::{
        EnqueueOptions, Enqueued, Finished, Job, JobError, Queue, Retry, RunContext, RunError, enqueue_flow,
    },
    uploads::{UploadOptions, steps::report},
};
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(super) const RETRY: Retry =
    Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(60) };
/// Of an attempt to generate a file: the largest, on a slow machine to a slow store.
pub(super) const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Reports what was generated and loaded; the root of its flow. The arguments are checked where they are read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "DataRequest", into = "DataRequest")]
pub struct GenerateData(DataRequest);

/// Generates the file and takes it in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "DataRequest", into = "DataRequest")]
pub struct GenerateFile(DataRequest);

impl TryFrom<DataRequest> for GenerateData {
    type Error = Fault;

    /// Refuses what cannot be generated.
    fn try_from(asked: DataRequest) -> Result<Self, Fault> {
        Dataset::try_from(&asked)?;
        Ok(Self(asked))
    }
}

impl TryFrom<DataRequest> for GenerateFile {
    type Error = Fault;

    fn try_from(asked: DataRequest) -> Result<Self, Fault> {
        GenerateData::try_from(asked).map(|GenerateData(asked)| Self(asked))
    }
}

impl From<GenerateData> for DataRequest {
    fn from(GenerateData(asked): GenerateData) -> Self {
        asked
    }
}

impl From<GenerateFile> for DataRequest {
    fn from(GenerateFile(asked): GenerateFile) -> Self {
        asked
    }
}

/// Starts the flow in the caller's transaction. Ring the `default` doorbell afterwards.
pub async fn start(
    conn: &mut AsyncPgConnection,
    data: &GenerateData,
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    let id = RunId::generate();
    enqueue_flow(conn, id, data, &GenerateFile(data.0.clone()), options).await?;
    Ok(Enqueued { id, created: true })
}

impl Job for GenerateData {
    const KIND: &'static str = "generate_data";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> =
        Some("bulk generation is started with its steps: at /ui/generate, or by POST /api/v1/synthetic");
    const RECIPE: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn start<'a>(
        self,
        conn: &'a mut AsyncPgConnection,
        options: &'a EnqueueOptions,
    ) -> BoxFuture<'a, Result<Enqueued, RunError>> {
        Box::pin(async move { start(conn, &self, options).await })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let conn = &mut *context.connection().await?;
        Ok(Finished::Result(located(report(conn, context.flow_id, GenerateFile::KIND).await?)))
    }
}

/// A report with where its upload is.
pub(super) fn located(mut report: serde_json::Value) -> serde_json::Value {
    if let Some(id) = report["upload_id"].as_str() {
        report["location"] = format!("/api/v1/uploads/{id}").into();
    }
    report
}

impl Job for GenerateFile {
    const KIND: &'static str = "generate_file";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = Some(
        "it is a step of bulk generation; start that anew at /ui/generate, or by POST /api/v1/synthetic",
    );
    const TIMEOUT: Duration = LONGEST;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let data = Dataset::try_from(&self.0).map_err(JobError::fail)?;
        let order = Order {
            kind: data.what().upload_kind(),
            filename: data.filename(),
            options: UploadOptions { allow_many_months: data.has_many_months(), ..UploadOptions::default() },
            rows: data.rows(),
        };
        order.load(&context, Outgoing::of(&data)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::registry::Kind;
    use serde_json::json;

    #[test]
    fn arguments_are_checked_where_they_are_read() {
        let read = |args| (Kind::of::<GenerateData>().read)(args).map(drop).map_err(|e| e.to_string());
        assert_eq!(read(json!({ "num_rows": 5 })), Ok(()));
        assert_eq!(read(json!({ "what": "clients", "num_rows": 5, "seed": 3, "dirty": 1 })), Ok(()));
        assert_eq!(read(json!({ "what": "stocks", "num_rows": 5 })), Ok(()));
        for (args, said) in [
            (json!({}), "missing field `num_rows`"),
            (json!({ "num_rows": 0 }), "num_rows: A file has 1 to 100,000,000 rows"),
            (json!({ "num_rows": 5, "colour": "red" }), "colour: generate_data has no such argument"),
        ] {
            let refused = read(args).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
        let schema = (Kind::of::<GenerateData>().schema)();
        assert_eq!(
            (&schema["required"], &schema["properties"]["num_rows"]["type"]),
            (&json!(["num_rows"]), &json!("integer"))
        );
    }
}
