//! A run's log: what is traced within the run's span is also written to `run_logs`. The layer goes
//! into the process's subscriber, the writer into the worker; between them a bounded channel, so that
//! logging never holds up a run. Lines beyond the cap of an attempt are dropped, and the last says so.

use shared::{config::DatabaseConfig, db, ids::RunId, schema::run_logs};
use std::{
    fmt::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

/// Lines of an attempt that are kept.
const LINES_PER_ATTEMPT: u32 = 1000;
/// Longest line, in bytes.
const LINE_BYTES: usize = 4000;
/// Between writes.
const WRITE: Duration = Duration::from_millis(250);

struct Line {
    run_id: RunId,
    attempt: i32,
    at: chrono::DateTime<chrono::Utc>,
    level: &'static str,
    message: String,
}

struct RunLogLayer {
    lines: mpsc::Sender<Line>,
    clock: shared::clock::SystemClock,
}

/// The lines on their way to the database.
pub struct RunLogs(mpsc::Receiver<Line>);

/// The layer for the process's subscriber, and the lines that it collects: ours from debug on, of the
/// libraries from info on.
pub fn run_logs<S>() -> (impl Layer<S>, RunLogs)
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let (lines, receiver) = mpsc::channel(10_000);
    let ours = [("shared", LevelFilter::DEBUG), ("worker", LevelFilter::DEBUG)];
    let filter = Targets::new().with_default(LevelFilter::INFO).with_targets(ours);
    let layer = RunLogLayer { lines, clock: shared::clock::SystemClock };
    (layer.with_filter(filter), RunLogs(receiver))
}

/// Kept with a run's span.
struct RunSpan {
    run_id: RunId,
    attempt: i32,
    lines: AtomicU32,
}

#[derive(Default)]
struct RunFields {
    run_id: Option<RunId>,
    attempt: i32,
}

impl Visit for RunFields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "run_id" {
            self.run_id = format!("{value:?}").parse().ok();
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "attempt" {
            self.attempt = i32::try_from(value).unwrap_or(0);
        }
    }
}

#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for RunLogLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "run" {
            return;
        }
        let mut fields = RunFields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(run_id)) = (context.span(id), fields.run_id) {
            span.extensions_mut().insert(RunSpan {
                run_id,
                attempt: fields.attempt,
                lines: AtomicU32::new(0),
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            let extensions = span.extensions();
            let Some(run) = extensions.get::<RunSpan>() else { continue };
            let number = run.lines.fetch_add(1, Ordering::Relaxed);
            if number > LINES_PER_ATTEMPT {
                return;
            }
            let mut message = Message::default();
            event.record(&mut message);
            let mut text = message.text + &message.fields;
            if number == LINES_PER_ATTEMPT {
                text = format!("only the first {LINES_PER_ATTEMPT} lines of an attempt are kept");
            }
            text.truncate(text.floor_char_boundary(LINE_BYTES));
            // A full channel drops the line: better than holding up the run.
            let _ = self.lines.try_send(Line {
                run_id: run.run_id,
                attempt: run.attempt,
                at: shared::clock::Clock::now(&self.clock),
                level: event.metadata().level().as_str(),
                message: text.replace('\0', "\u{fffd}"),
            });
            return;
        }
    }
}

impl RunLogs {
    /// Writes lines until the process ends; what cannot be written is dropped.
    pub(crate) async fn write(mut self, database: DatabaseConfig) {
        use diesel::prelude::*;
        use diesel_async::RunQueryDsl;
        let Ok(pool) = db::pool(&DatabaseConfig { pool_size: 1, ..database }, "millrace-run-logs") else {
            return;
        };
        let mut lines = Vec::new();
        loop {
            if self.0.recv_many(&mut lines, 500).await == 0 {
                return;
            }
            let rows: Vec<_> = lines
                .drain(..)
                .map(|line| {
                    (
                        run_logs::run_id.eq(line.run_id),
                        run_logs::attempt.eq(line.attempt),
                        run_logs::line.eq(0),
                        run_logs::at.eq(line.at),
                        run_logs::level.eq(line.level),
                        run_logs::message.eq(line.message),
                    )
                })
                .collect();
            let written = async {
                let mut conn = pool.get().await?;
                anyhow::Ok(diesel::insert_into(run_logs::table).values(&rows).execute(&mut conn).await?)
            };
            if let Err(error) = written.await {
                tracing::warn!("lines of run logs are lost: {error:#}");
            }
            tokio::time::sleep(WRITE).await;
        }
    }
}

/// Gives the writer the time for what is on its way, then ends it.
pub(crate) async fn flush(writer: JoinHandle<()>) {
    tokio::time::sleep(WRITE * 2).await;
    writer.abort();
}
