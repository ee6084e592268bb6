//! Watching an upload until its flow has ended.

use crate::{
    client::{Counts, RemoteUpload},
    output::{Progress, remark, say, thousands},
};
use anyhow::bail;
use shared::uploads::UploadState;
use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_millis(150);

/// Shows progress until the upload has ended and prints its counts; an error if it did not finish.
/// `look` tells where it stands.
pub async fn follow(
    name: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<RemoteUpload>,
) -> anyhow::Result<Counts> {
    let started = Instant::now();
    let mut progress = Progress::new();
    let mut planned: Option<(Instant, i64)> = None;
    let mut told: Option<String> = None;
    loop {
        let upload = look().await?;
        if let Some(why) = upload.waiting.as_ref().filter(|why| told.as_ref() != Some(why)) {
            progress.interrupt();
            remark(format!("{name}: {why}"));
            told = Some(why.clone());
        }
        if let Some(records) = upload.records.filter(|_| planned.is_none() && !ended(upload.state)) {
            tracing::debug!(records, "planned");
            planned = Some((Instant::now(), upload.counts.read));
        }
        let line = line(name, &upload, planned);
        if !ended(upload.state) {
            progress.show(&line);
            tokio::time::sleep(BETWEEN_LOOKS).await;
            continue;
        }
        progress.finish(&line);
        return conclude(name, &upload, started.elapsed());
    }
}

fn ended(state: UploadState) -> bool {
    !matches!(state, UploadState::Received | UploadState::Planning | UploadState::Loading)
}

/// `sample.csv  loading  52,000 of 100,000 rows  210,000/s  1 s left`; the rate is counted from when
/// the plan was seen.
fn line(name: &str, upload: &RemoteUpload, planned: Option<(Instant, i64)>) -> String {
    let Some(records) = upload.records else { return format!("{name}  {}", upload.state) };
    let Counts { read, checked, .. } = upload.counts;
    if upload.counts.only_checked() {
        return format!(
            "{name}  {}  {} of {} rows checked",
            upload.state,
            thousands(checked),
            thousands(records)
        );
    }
    let mut line = format!("{name}  {}  {} of {} rows", upload.state, thousands(read), thousands(records));
    let Some((since, before)) = planned.filter(|(_, before)| read > *before) else { return line };
    let millis = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX).max(1);
    let rate = (read - before).saturating_mul(1000) / millis;
    line.push_str(&format!("  {}/s", thousands(rate)));
    if rate > 0 && records > read {
        line.push_str(&format!("  {} s left", thousands((records - read) / rate + 1)));
    }
    line
}

fn conclude(name: &str, upload: &RemoteUpload, took: Duration) -> anyhow::Result<Counts> {
    let counts = upload.counts;
    upload.warnings.iter().for_each(|warning| say(format!("Note: {warning}")));
    if counts.only_checked() {
        let faults = thousands(counts.rejected + counts.conflicts);
        say(format!(
            "{name}: nothing was loaded: {faults} of {} records have faults",
            thousands(counts.checked)
        ));
    } else if counts.read > 0 || upload.state == UploadState::Finished {
        say(format!(
            "{name}: {} read = {} inserted + {} updated + {} duplicates + {} conflicts + {} rejected ({}.{} s)",
            thousands(counts.read),
            thousands(counts.inserted),
            thousands(counts.updated),
            thousands(counts.duplicates),
            thousands(counts.conflicts),
            thousands(counts.rejected),
            took.as_secs(),
            took.subsec_millis() / 100,
        ));
    }
    match upload.state {
        UploadState::Finished => Ok(counts),
        UploadState::Failed => match &upload.failure {
            Some(why) => bail!("{name} failed: {why}"),
            None => bail!("{name} failed; its page says why"),
        },
        ended => bail!("{name} was {ended}"),
    }
}
