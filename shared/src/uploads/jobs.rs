//! The flow of an upload: plan, chunks, finish.

use crate::ids::UploadId;
use crate::runs::{Finished, Job, JobError, Queue, Retry, RunContext};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const RETRY: Retry = Retry::Exponential {
    max_attempts: 8,
    first: Duration::from_secs(1),
    cap: Duration::from_secs(120),
};

/// Finds out what the file is and cuts it into chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanUpload {
    /// The upload.
    pub upload_id: UploadId,
}

/// Loads one chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngestChunk {
    /// The upload.
    pub upload_id: UploadId,
    /// The chunk's number, from 0.
    pub chunk: i32,
}

/// Ends the flow when every chunk is loaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishUpload {
    /// The upload.
    pub upload_id: UploadId,
}

impl Job for PlanUpload {
    const KIND: &'static str = "plan_upload";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::json!({})))
    }
}

impl Job for IngestChunk {
    const KIND: &'static str = "ingest_chunk";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(600);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::json!({})))
    }
}

impl Job for FinishUpload {
    const KIND: &'static str = "finish_upload";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const PRIORITY: i16 = 50;

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::json!({})))
    }
}
