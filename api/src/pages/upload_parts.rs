//! What several pages show of an upload: its line in a list, its progress in words, its counts.

use super::{
    fmt,
    pieces::{Badge, Progress, Time},
    shell::Shell,
};
use chrono::TimeDelta;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use shared::{
    runs::{Run, pulse::StepSpan, queries as run_queries},
    uploads::{
        model::{Upload, UploadCounts, UploadKind, UploadState},
        queries,
    },
};

/// An upload in a list.
pub struct UploadLine {
    /// Its page.
    pub href: String,
    /// The name it was sent under, shortened.
    pub filename: String,
    /// What its rows are.
    pub kind: UploadKind,
    /// Its length.
    pub size: String,
    /// Where it stands.
    pub badge: Badge,
    /// Whether it is on its way.
    pub moving: bool,
    /// How far it is.
    pub progress: Progress,
    /// What became of its records.
    pub counts: UploadCounts,
    /// When it was handed in.
    pub created: Time,
    /// By whom.
    pub by: String,
}

/// The lines of a list.
pub async fn lines(
    conn: &mut AsyncPgConnection,
    uploads: &[Upload],
    shell: &Shell,
) -> QueryResult<Vec<UploadLine>> {
    let ids: Vec<_> = uploads.iter().map(|upload| upload.id).collect();
    let counts = queries::counts(conn, &ids).await?;
    let mut lines = Vec::with_capacity(uploads.len());
    for upload in uploads {
        let mut line = UploadLine::new(upload, counts.get(&upload.id).copied().unwrap_or_default(), shell);
        // Seldom, and seldom more than one.
        if let Some(run) = upload.undo_run_id.filter(|_| upload.is_undoing())
            && let Some(run) = run_queries::find_run(conn, run).await?
        {
            line.moving = !run.state.is_terminal();
            line.progress = undo_progress(&run);
        }
        lines.push(line);
    }
    Ok(lines)
}

impl UploadLine {
    fn new(upload: &Upload, counts: UploadCounts, shell: &Shell) -> Self {
        Self {
            href: format!("/ui/uploads/{}", upload.id),
            filename: fmt::shortened(&filename(upload)),
            kind: upload.kind,
            size: fmt::bytes(upload.size_bytes),
            badge: upload.state.into(),
            moving: is_moving(upload.state),
            progress: Progress { small: true, more: Vec::new(), ..progress(upload, &counts, None) },
            counts,
            created: shell.ago(upload.created_at),
            by: upload.created_by.clone(),
        }
    }

    /// Records that were read and not loaded: rejects and conflicts, or all of a file that is loaded whole
    /// or not at all.
    pub fn unloaded(&self) -> i64 {
        if self.counts.only_checked() { self.counts.checked } else { self.counts.faults() }
    }
}

/// The file's name as people see it: names come from strangers.
pub fn filename(upload: &Upload) -> String {
    let name: String = upload.filename.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.trim().is_empty() { "(no name)".to_owned() } else { name }
}

/// Whether something still happens to an upload.
pub fn is_moving(state: UploadState) -> bool {
    matches!(state, UploadState::Received | UploadState::Planning | UploadState::Loading)
}

/// How far an upload is: its plan's progress while it is planned, then its loaded records.
pub fn progress(upload: &Upload, counts: &UploadCounts, plan: Option<&Run>) -> Progress {
    let label = format!("{} is {}", filename(upload), upload.state);
    let class = upload.state.as_str();
    let base =
        Progress { label, class, done: 0, total: None, text: String::new(), more: Vec::new(), small: false };
    match (upload.state, upload.records) {
        (UploadState::Received, _) => Progress { text: "Waits for a worker".to_owned(), ..base },
        (UploadState::Planning, _) => {
            let reading = "Reading the file";
            let text = plan.map_or_else(|| reading.to_owned(), |plan| step_words(plan, reading));
            let (done, total) = plan.map_or((0, None), |plan| (plan.progress_done, plan.progress_total));
            Progress { text, done, total, ..base }
        }
        (state, Some(records)) if counts.only_checked() => {
            let (done, total) = (counts.checked, Some(records));
            let text = match is_moving(state) {
                true => format!("Checked {} of {}", fmt::count(done), fmt::counted(records, "record")),
                false => format!("Nothing was loaded: {}", fault_words(counts)),
            };
            Progress { text, done, total, ..base }
        }
        (_, Some(records)) if counts.read == records => {
            let text = fmt::counted(records, "record");
            // A bar of an empty file is full.
            Progress { text, done: records.max(1), total: Some(records.max(1)), ..base }
        }
        (_, Some(records)) => {
            let text = format!("{} of {}", fmt::count(counts.read), fmt::counted(records, "record"));
            Progress { text, done: counts.read, total: Some(records), ..base }
        }
        (_, None) => Progress { text: "Ended before the file was read".to_owned(), total: Some(1), ..base },
    }
}

/// `1 of 2,501 records has a fault`, of a file that is loaded whole or not at all.
pub fn fault_words(counts: &UploadCounts) -> String {
    let (faults, checked) = (counts.faults(), fmt::counted(counts.checked, "record"));
    match faults {
        1 => format!("1 of {checked} has a fault"),
        _ => format!("{} of {checked} have faults", fmt::count(faults)),
    }
}

/// How far the undo of an upload is.
fn undo_progress(run: &Run) -> Progress {
    let text = match run.state.is_terminal() {
        true => format!("Being undone; that is {}, undo it again", run.state),
        false => step_words(run, "Being undone"),
    };
    Progress {
        label: "The undo".to_owned(),
        class: run.state.as_str(),
        done: run.progress_done,
        total: run.progress_total,
        text,
        more: Vec::new(),
        small: true,
    }
}

/// How far a step is; `phase` is what it does if it has not said so itself.
fn step_words(step: &Run, phase: &str) -> String {
    let phase = step.phase.as_deref().map_or_else(|| phase.to_owned(), fmt::words);
    match (step.progress_total, step.progress_unit.as_deref()) {
        (Some(total), Some("bytes")) => {
            format!("{phase}: {} of {}", fmt::bytes(step.progress_done), fmt::bytes(total))
        }
        (Some(total), unit) => {
            format!(
                "{phase}: {} of {} {}",
                fmt::count(step.progress_done),
                fmt::count(total),
                unit.unwrap_or("units")
            )
        }
        (None, Some(unit)) if step.progress_done > 0 => {
            format!("{phase}: {} {unit}", fmt::count(step.progress_done))
        }
        _ => phase,
    }
}

/// Rate and time left while it loads, rate and time taken afterwards.
pub fn pace(upload: &Upload, counts: &UploadCounts, span: &StepSpan, shell: &Shell) -> Vec<String> {
    let (Some(records), Some(began)) = (upload.records, span.started_at) else { return Vec::new() };
    let moving = is_moving(upload.state);
    let until = if moving { shell.now } else { span.finished_at.unwrap_or(shell.now) };
    let ms = (until - began).num_milliseconds().max(1);
    let mut words = Vec::new();
    let rate = i64::try_from(i128::from(counts.read) * 1000 / i128::from(ms)).unwrap_or(0);
    if rate > 0 {
        words.push(format!("{} records/s", fmt::count(rate)));
    }
    if !moving {
        words.push(format!("took {}", fmt::duration(TimeDelta::milliseconds(ms))));
    } else if rate > 0 {
        let left = TimeDelta::seconds((records - counts.read).max(0) / rate);
        words.push(format!("about {} left", fmt::duration(left)));
    } else {
        words.push("the first chunks are being loaded".to_owned());
    }
    if moving {
        words.push(format!(
            "{} of {} loaded",
            fmt::count(counts.chunks_loaded),
            fmt::counted(counts.chunks, "chunk")
        ));
    }
    words
}

/// One of the five counts that add up to what was read.
pub struct Part {
    /// Its word.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// How many.
    pub count: i64,
    /// Start and width of its piece in a bar 1,000 wide.
    pub x: i64,
    /// See `x`.
    pub width: i64,
}

/// The five counts, in the order of the sum.
pub fn parts(counts: &UploadCounts) -> Vec<Part> {
    let named = [
        ("inserted", "new rows", counts.inserted),
        ("updated", "rows whose status or fields moved", counts.updated),
        ("duplicates", "rows that were there already, the same", counts.duplicates),
        ("conflicts", "rows that were there already, different", counts.conflicts),
        ("rejected", "rows that could not be read", counts.rejected),
    ];
    let mut passed = 0i64;
    let place =
        |count: i64| i64::try_from(i128::from(count) * 1000 / i128::from(counts.read.max(1))).unwrap_or(0);
    named
        .into_iter()
        .map(|(name, meaning, count)| {
            let x = place(passed);
            passed += count;
            // What is there at all is seen, however small.
            let width = if count > 0 { (place(passed) - x).max(4) } else { 0 };
            Part { name, meaning, count, x: x.min(996), width }
        })
        .collect()
}

/// Why an upload failed, for people, with what can be done.
pub fn failure_advice(upload: &Upload, counts: &UploadCounts) -> String {
    let loaded = counts.inserted + counts.updated;
    match upload.records {
        None => {
            "Nothing was loaded. Mend the file and upload it again, or retry if the cause is gone.".to_owned()
        }
        Some(_) if loaded == 0 => "Nothing was loaded. Retry runs only what failed.".to_owned(),
        Some(_) => {
            let rows = if loaded == 1 {
                "1 row was".to_owned()
            } else {
                format!("{} rows were", fmt::count(loaded))
            };
            let figures = match upload.kind {
                UploadKind::Transactions => {
                    "; their summaries are exact. What they move on accounts is posted when the upload finishes: \
                     retry it or undo it."
                }
                UploadKind::Clients | UploadKind::Stocks => ".",
            };
            format!("{rows} loaded before and stay{figures} Retry runs only what failed.")
        }
    }
}
