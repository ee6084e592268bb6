//! Generating straight into storage, and taking the file in as an upload.

use super::{Outgoing, Tally};
use crate::{
    runs::{Finished, JobError, RunContext},
    storage::StoredFile,
    uploads::{
        NewUpload, UploadKind, UploadOptions,
        service::storage_key,
        steps::{creator, take_in},
    },
};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between two notes of progress.
const NOTE_EVERY: Duration = Duration::from_millis(500);

/// A file to generate and load.
pub(super) struct Order {
    pub(super) kind: UploadKind,
    pub(super) filename: String,
    pub(super) options: UploadOptions,
    pub(super) rows: u64,
}

impl Order {
    /// Generates the file and closes the step: see [`take_in`]. A process that dies before that leaves a file that
    /// nobody reads and that `prune_files` removes; the next attempt begins anew.
    pub(super) async fn load(self, context: &RunContext, out: Outgoing) -> Result<Finished, JobError> {
        let (file, tally) = self.store(context, out).await?;
        let new = NewUpload {
            kind: self.kind,
            filename: self.filename,
            file,
            options: self.options,
            forced: false,
            created_by: creator(context).await?,
            corrects: None,
            idempotency_key: None,
        };
        let tally = serde_json::to_value(tally).map_err(JobError::fail)?;
        // To look again is to generate again: seldom, if that takes long.
        let look_again = Duration::from_secs(2 + self.rows / 1_000_000);
        take_in(context, &new, [("generated".to_owned(), tally)].into_iter().collect(), look_again).await
    }

    async fn store(&self, context: &RunContext, mut out: Outgoing) -> Result<(StoredFile, Tally), JobError> {
        let phase = format!("generating {}", self.filename);
        let total = i64::try_from(self.rows).ok();
        let mut writer = context.env.storage.create(&storage_key()).await.map_err(JobError::retry)?;
        let mut notes = interval(NOTE_EVERY);
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => {
                    writer.abort().await;
                    return Err(JobError::Cancelled);
                }
                _ = notes.tick() => {
                    let done = i64::try_from(out.rows_done()).unwrap_or(i64::MAX);
                    context.progress(done, total, "rows", &phase).await;
                }
                part = out.next() => match part.map_err(JobError::retry)? {
                    Some(bytes) => writer.write(&bytes).await.map_err(JobError::retry)?,
                    None => break,
                },
            }
        }
        let file = writer.finish().await.map_err(JobError::retry)?;
        let done = i64::try_from(out.tally().rows).unwrap_or(i64::MAX);
        context.progress(done, total, "rows", &phase).await;
        Ok((file, out.tally()))
    }
}
