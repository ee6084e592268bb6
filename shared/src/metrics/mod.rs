//! Metrics for Prometheus: their names (`names`), the functions that count, what gauges are read from
//! (`queries`), and the text form (`exposition`). Counters and histograms are the process's own and begin at zero with it; gauges that
//! are about the record are read from it when somebody asks, by the api.
//!
//! Without [`install`] every function here does nothing.

pub mod exposition;
pub mod names;
pub mod queries;

use crate::runs::{Queue, RunState};
use ::metrics::{counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Only grows, from the start of the process.
    Counter,
    /// Observations in buckets.
    Histogram,
    /// How things stand.
    Gauge,
}

/// What a metric is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its word")]
pub enum Label {
    Cache,
    Kind,
    State,
    Outcome,
    Queue,
    Method,
    Route,
    Status,
    Provider,
}

impl Label {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Kind => "kind",
            Self::State => "state",
            Self::Outcome => "outcome",
            Self::Queue => "queue",
            Self::Method => "method",
            Self::Route => "route",
            Self::Status => "status",
            Self::Provider => "provider",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name; the unit is its end.
    pub name: &'static str,
    /// What it measures.
    pub kind: Type,
    /// What it is divided by.
    pub labels: &'static [Label],
    /// For people.
    pub help: &'static str,
}

/// Between two rounds in which observations are sorted into their buckets. Nobody may ever ask for the
/// metrics; what is observed must not pile up meanwhile.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Begins to count in this process; again it changes nothing. Fails if something else already counts.
pub fn install() -> Result<(), String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if RECORDER.get().is_some() {
        return Ok(());
    }
    let mut builder = PrometheusBuilder::new();
    for metric in names::METRICS.iter().filter(|metric| metric.kind == Type::Histogram) {
        let buckets = if metric.name == names::HTTP_DURATION.name {
            names::ANSWER_BUCKETS
        } else {
            names::LIFE_BUCKETS
        };
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .map_err(|error| format!("metrics cannot begin: {error}"))?;
    }
    let handle = builder.install_recorder().map_err(|error| format!("metrics cannot begin: {error}"))?;
    for metric in names::METRICS {
        match metric.kind {
            Type::Counter => describe_counter!(metric.name, metric.help),
            Type::Histogram => describe_histogram!(metric.name, metric.help),
            Type::Gauge => continue,
        }
        // What has no labels is there from the start: a rate needs a zero to begin at.
        if metric.kind == Type::Counter && metric.labels.is_empty() {
            counter!(metric.name).increment(0);
        }
    }
    let upkeep = handle.clone();
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            loop {
                std::thread::park_timeout(UPKEEP);
                upkeep.run_upkeep();
            }
        })
        .map_err(|error| format!("metrics cannot begin: {error}"))?;
    RECORDER.get_or_init(|| handle);
    Ok(())
}

/// The process's counters and histograms as text; empty before [`install`].
pub fn render() -> String {
    RECORDER.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// A run became terminal. Count it after the commit that closed it.
pub fn run_finished(kind: &'static str, state: RunState) {
    counter!(names::RUNS_FINISHED.name, "kind" => kind, "state" => state.as_str()).increment(1);
}

/// An attempt ended, with the outcome that is on its record, after this time.
pub fn attempt_ended(kind: &'static str, outcome: &'static str, took: Duration) {
    counter!(names::ATTEMPTS.name, "kind" => kind, "outcome" => outcome).increment(1);
    histogram!(names::RUN_DURATION.name, "kind" => kind, "outcome" => outcome).record(took.as_secs_f64());
}

/// A failed attempt will be followed by another.
pub fn run_retried(kind: &'static str) {
    counter!(names::RUNS_RETRIED.name, "kind" => kind).increment(1);
}

/// A run begins, this long after it was due.
pub fn run_started(kind: &'static str, waited: Duration) {
    histogram!(names::RUN_WAIT.name, "kind" => kind).record(waited.as_secs_f64());
}

/// Runs were taken back from workers that died.
pub fn runs_rescued(runs: usize) {
    counter!(names::RUNS_RESCUED.name).increment(runs as u64);
}

/// Workers were declared dead.
pub fn workers_declared_dead(workers: usize) {
    counter!(names::WORKERS_DECLARED_DEAD.name).increment(workers as u64);
}

/// A handler went on although it was told to stop.
pub fn runaway_handler(kind: &'static str) {
    counter!(names::RUNAWAY_HANDLERS.name, "kind" => kind).increment(1);
}

/// A statement looked for runs to claim and found so many.
pub fn claimed(queue: Queue, runs: usize) {
    counter!(names::CLAIMS.name, "queue" => queue.as_str()).increment(1);
    counter!(names::CLAIMED_RUNS.name, "queue" => queue.as_str()).increment(runs as u64);
}

/// A doorbell was heard, this long after it was rung.
pub fn doorbell_heard(queue: Queue, lag: Duration) {
    histogram!(names::DOORBELL_LAG.name, "queue" => queue.as_str()).record(lag.as_secs_f64());
}

/// Something was looked up that may be kept in Redis: it was there (hit), was not (miss), or Redis was not to be
/// asked (bypassed).
pub fn cache_read(cache: &'static str, outcome: &'static str) {
    counter!(names::CACHE_READS.name, "cache" => cache, "outcome" => outcome).increment(1);
}

/// Trades were decided: settled, or rejected.
pub fn trades_decided(state: &'static str, trades: usize) {
    counter!(names::TRADES_DECIDED.name, "state" => state).increment(trades as u64);
}

/// Trades were settled, or rejected, together.
pub fn settlement_committed() {
    counter!(names::SETTLEMENTS.name).increment(1);
}

/// An attempt to deliver a message has ended.
pub fn delivery_attempt(provider: &str, outcome: &'static str) {
    counter!(names::DELIVERY_ATTEMPTS.name, "provider" => provider.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// A live transaction was dealt with.
pub fn live_row(outcome: &'static str) {
    counter!(names::LIVE_ROWS.name, "outcome" => outcome).increment(1);
}

/// Live transactions were committed together.
pub fn live_commit() {
    counter!(names::LIVE_COMMITS.name).increment(1);
}

/// Rows of the outbox were published.
pub fn feed_published(entries: usize) {
    counter!(names::FEED_PUBLISHED.name).increment(entries as u64);
}

/// An event reached this process, this long after it was told.
pub fn feed_event(lag: Option<Duration>) {
    counter!(names::FEED_EVENTS.name).increment(1);
    if let Some(lag) = lag {
        histogram!(names::FEED_LAG.name).record(lag.as_secs_f64());
    }
}

/// A listener was told that it misses something: `gap` or `reset`.
pub fn feed_notice(kind: &'static str) {
    counter!(names::FEED_NOTICES.name, "kind" => kind).increment(1);
}

/// A request was answered. `route` is the pattern, never the path: paths are without number.
pub fn request_answered(method: &'static str, route: &str, status: u16, took: Duration) {
    let class = match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    let route = route.to_owned();
    counter!(names::HTTP_REQUESTS.name, "method" => method, "route" => route.clone(), "status" => class)
        .increment(1);
    histogram!(names::HTTP_DURATION.name, "method" => method, "route" => route).record(took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_and_unique_and_end_in_their_unit() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in names::METRICS {
            assert!(seen.insert(metric.name), "{} is there twice", metric.name);
            assert!(metric.name.starts_with("millrace_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Type::Counter, "{}", metric.name);
            assert!(metric.kind != Type::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }

    #[test]
    fn what_is_counted_is_rendered() {
        install().unwrap();
        install().unwrap();
        run_finished("metrics_test", RunState::Completed);
        run_started("metrics_test", Duration::from_millis(3));
        runs_rescued(2);
        let text = render();
        for line in [
            "# TYPE millrace_runs_finished_total counter",
            "millrace_runs_finished_total{kind=\"metrics_test\",state=\"completed\"} 1",
            "# TYPE millrace_run_wait_seconds histogram",
            "millrace_run_wait_seconds_bucket{kind=\"metrics_test\",le=\"0.002\"} 0",
            "millrace_run_wait_seconds_bucket{kind=\"metrics_test\",le=\"0.005\"} 1",
            "millrace_workers_declared_dead_total 0",
            "millrace_runs_rescued_total 2",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is missing in:\n{text}");
        }
    }
}
