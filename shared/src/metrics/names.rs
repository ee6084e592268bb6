//! Every metric's name, once, with what it means. Names of another place (a dashboard, an alert) are held
//! against [`METRICS`] by a test.

use super::{Label, Metric, Type};

/// From a millisecond to an hour.
pub(super) const LIFE_BUCKETS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3600.0,
];
/// From a millisecond to a handler's time limit.
pub(super) const ANSWER_BUCKETS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Declares the metrics: a constant each, and the table of them all.
macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal [$($label:ident),*] $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: Metric = Metric {
            name: $name, kind: Type::$kind, labels: &[$(Label::$label),*], help: $help,
        };)+

        /// All metrics.
        pub const METRICS: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    // What this process has done.
    Counter RUNS_FINISHED = "millrace_runs_finished_total" [Kind, State]
        "Runs that became terminal by their own attempt.";
    Counter ATTEMPTS = "millrace_attempts_total" [Kind, Outcome]
        "Attempts that ended.";
    Counter RUNS_RETRIED = "millrace_runs_retried_total" [Kind]
        "Attempts that failed and will be followed by another.";
    Counter RUNS_RESCUED = "millrace_runs_rescued_total" []
        "Runs taken back from workers that died.";
    Counter WORKERS_DECLARED_DEAD = "millrace_workers_declared_dead_total" []
        "Workers declared dead after a lease of silence.";
    Counter RUNAWAY_HANDLERS = "millrace_runaway_handlers_total" [Kind]
        "Handlers that went on after they were told to stop; their slots were given to others.";
    Counter CLAIMS = "millrace_claims_total" [Queue]
        "Statements that looked for runs to claim.";
    Counter CLAIMED_RUNS = "millrace_claimed_runs_total" [Queue]
        "Runs claimed.";
    Histogram RUN_WAIT = "millrace_run_wait_seconds" [Kind]
        "Seconds from when a run was due to its start.";
    Histogram RUN_DURATION = "millrace_run_duration_seconds" [Kind, Outcome]
        "Seconds that an attempt took.";
    Histogram DOORBELL_LAG = "millrace_doorbell_lag_seconds" [Queue]
        "Seconds from the ring of a doorbell to the worker that heard it.";
    Counter CACHE_READS = "millrace_cache_reads_total" [Cache, Outcome]
        "Reads of what may be kept in Redis: hit, miss, or bypassed (Redis away, or the entry being changed).";
    Counter TRADES_DECIDED = "millrace_trades_decided_total" [State]
        "Trades settled or rejected.";
    Counter SETTLEMENTS = "millrace_settlements_total" []
        "Transactions that settled trades, many at a time.";
    Counter DELIVERY_ATTEMPTS = "millrace_delivery_attempts_total" [Provider, Outcome]
        "Times that a provider was asked to take a message, by how that ended.";
    Counter LIVE_ROWS = "millrace_live_rows_total" [Outcome]
        "Live transactions by what became of them.";
    Counter LIVE_COMMITS = "millrace_live_commits_total" []
        "Commits of live transactions, many in each.";
    Counter FEED_PUBLISHED = "millrace_feed_published_total" []
        "Commits that this process published on the feed's stream.";
    Counter FEED_EVENTS = "millrace_feed_events_total" []
        "Events that this process took in for its listeners.";
    Counter FEED_NOTICES = "millrace_feed_notices_total" [Kind]
        "Listeners that were told of events they do not get: gap (too slow), reset (an id of another epoch, or too old).";
    Histogram FEED_LAG = "millrace_feed_lag_seconds" []
        "Seconds from when an event was told to when this process had it for its listeners.";
    Counter HTTP_REQUESTS = "millrace_http_requests_total" [Method, Route, Status]
        "Requests answered, by route pattern and class of status (2xx).";
    Histogram HTTP_DURATION = "millrace_http_request_duration_seconds" [Method, Route]
        "Seconds until a response began.";

    // How things stand, read when asked.
    Gauge QUEUE_DEPTH = "millrace_queue_depth" [Queue]
        "Runs that could be claimed now.";
    Gauge QUEUE_OLDEST_AGE = "millrace_queue_oldest_age_seconds" [Queue]
        "Seconds that the first of them has been due; 0 without any.";
    Gauge QUEUE_RUNNING = "millrace_queue_running" [Queue]
        "Runs that run: slots in use.";
    Gauge QUEUE_SLOTS = "millrace_queue_slots" [Queue]
        "Slots on all workers that are alive.";
    Gauge QUEUE_LIMIT = "millrace_queue_limit" [Queue]
        "How many may run at once on all workers; absent without a limit.";
    Gauge QUEUE_PAUSED = "millrace_queue_paused" [Queue]
        "1 while the queue is paused, else 0.";
    Gauge RUNS = "millrace_runs" [Kind, State]
        "Runs in each state but completed: completed runs are counted by millrace_runs_finished_total.";
    Gauge WORKERS = "millrace_workers" [State]
        "Workers: alive; silent (alive on record, but past their leases); dead (in the last day).";
    Gauge SCHEDULER_LEADS = "millrace_scheduler_leads" []
        "1 while a scheduler leads, else 0: then nothing fires by itself.";
    Gauge SCHEDULES_OVERDUE = "millrace_schedules_overdue" []
        "Schedules that are due for more than a minute and have not fired.";
    Gauge ALERTS_OPEN = "millrace_alerts_open" []
        "Alerts that have not ended and that nobody has seen.";
    Gauge CIRCUITS_OPEN = "millrace_circuits_open" []
        "Providers and endpoints that are not asked because they failed too often, or an operator said so.";
    Gauge DELIVERIES_UNKNOWN = "millrace_deliveries_unknown" []
        "Deliveries that may have been accepted or not: somebody has to decide.";
    Gauge DATABASE_UP = "millrace_database_up" []
        "1 if the gauges could be read from the database, 0 if they are missing because it did not answer.";
    Gauge DATABASE_POOL = "millrace_database_pool" [State]
        "Connections of the api's pool: max (that it may open), open, idle; and requests waiting for one.";
}
