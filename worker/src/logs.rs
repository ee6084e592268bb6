//! A run's log: what is traced within the run's span is also written to `run_logs`. The layer goes
//! into the process's subscriber, the writer into the worker; between them a buffer, so that logging
//! never holds up a run. Of an attempt the newest lines are kept; lines are numbered, so a gap says how
//! many are not.

use shared::{config::DatabaseConfig, db, ids::RunId, runs::model::KEPT_LINES, schema::run_logs};
use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
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

/// Lines that wait to be written, of all attempts together; beyond them the attempt's oldest goes.
const BUFFERED_LINES: usize = 20_000;
/// Longest line, in bytes.
const LINE_BYTES: usize = 4000;
/// Between writes.
const WRITE: Duration = Duration::from_millis(250);
/// Lines of one statement.
const WRITTEN_AT_ONCE: usize = 500;
/// Longest wait for the last lines at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// An attempt of a run.
type Attempt = (RunId, i32);

struct Line {
    number: i32,
    at: chrono::DateTime<chrono::Utc>,
    level: &'static str,
    message: String,
}

/// Lines on their way, by attempt.
#[derive(Default)]
struct Buffer {
    lines: HashMap<Attempt, VecDeque<Line>>,
    total: usize,
}

impl Buffer {
    fn push(&mut self, attempt: Attempt, line: Line) {
        let lines = self.lines.entry(attempt).or_default();
        if lines.len() >= KEPT_LINES || (self.total >= BUFFERED_LINES && !lines.is_empty()) {
            lines.pop_front();
        } else if self.total >= BUFFERED_LINES {
            return;
        } else {
            self.total += 1;
        }
        lines.push_back(line);
    }
}

type SharedBuffer = Arc<Mutex<Buffer>>;

fn lock(buffer: &SharedBuffer) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RunLogLayer {
    buffer: SharedBuffer,
    clock: shared::clock::SystemClock,
}

/// The lines on their way to the database.
pub struct RunLogs(SharedBuffer);

/// The layer for the process's subscriber, and the lines that it collects: those of the domains from debug
/// on, others from info on. That an attempt began and ended is on its record: lines that say so once more
/// would cost a light run more than all else.
pub fn run_logs<S>() -> (impl Layer<S>, RunLogs)
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let buffer = SharedBuffer::default();
    let filter = Targets::new().with_default(LevelFilter::INFO).with_target("shared", LevelFilter::DEBUG);
    let layer = RunLogLayer { buffer: buffer.clone(), clock: shared::clock::SystemClock };
    (layer.with_filter(filter), RunLogs(buffer))
}

/// Kept with a run's span.
struct RunSpan {
    run_id: RunId,
    attempt: i32,
    lines: AtomicI32,
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
                lines: AtomicI32::new(0),
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            let extensions = span.extensions();
            let Some(run) = extensions.get::<RunSpan>() else { continue };
            let number = run.lines.fetch_add(1, Ordering::Relaxed) + 1;
            let mut message = Message::default();
            event.record(&mut message);
            let mut text = message.text + &message.fields;
            text.truncate(text.floor_char_boundary(LINE_BYTES));
            let line = Line {
                number,
                at: shared::clock::Clock::now(&self.clock),
                level: event.metadata().level().as_str(),
                message: text.replace('\0', "\u{fffd}"),
            };
            lock(&self.buffer).push((run.run_id, run.attempt), line);
            return;
        }
    }
}

impl RunLogs {
    /// Writes lines until it is told to finish; what cannot be written is dropped.
    pub(crate) fn write(self, database: DatabaseConfig) -> Writer {
        let finish = CancellationToken::new();
        let task = tokio::spawn(write(self.0, database, finish.clone()));
        Writer { finish, task }
    }
}

/// The task that writes.
pub(crate) struct Writer {
    finish: CancellationToken,
    task: JoinHandle<()>,
}

impl Writer {
    /// Writes what is on its way, and ends.
    pub async fn finish(self) {
        self.finish.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FLUSH, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn write(buffer: SharedBuffer, database: DatabaseConfig, finish: CancellationToken) {
    let Ok(pool) = db::pool(&DatabaseConfig { pool_size: 1, ..database }, "millrace-run-logs") else {
        return;
    };
    loop {
        // Asked first: what came before the end is written after it.
        let last = finish.is_cancelled();
        let lines = std::mem::take(&mut *lock(&buffer));
        if lines.total > 0
            && let Err(error) = write_lines(&pool, lines).await
        {
            tracing::warn!("lines of run logs are lost: {error:#}");
        }
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(WRITE) => {}
            () = finish.cancelled() => {}
        }
    }
}

async fn write_lines(pool: &db::DbPool, buffer: Buffer) -> anyhow::Result<()> {
    use diesel::prelude::*;
    use diesel_async::RunQueryDsl;
    let mut conn = pool.get().await?;
    let newest: Vec<(Attempt, i32)> = buffer
        .lines
        .iter()
        .filter_map(|(&attempt, lines)| lines.back().map(|line| (attempt, line.number)))
        .collect();
    let rows: Vec<_> = buffer
        .lines
        .into_iter()
        .flat_map(|(attempt, lines)| lines.into_iter().map(move |line| (attempt, line)))
        .map(|((run, attempt), line)| {
            (
                run_logs::run_id.eq(run),
                run_logs::attempt.eq(attempt),
                run_logs::line.eq(line.number),
                run_logs::at.eq(line.at),
                run_logs::level.eq(line.level),
                run_logs::message.eq(line.message),
            )
        })
        .collect();
    for part in rows.chunks(WRITTEN_AT_ONCE) {
        diesel::insert_into(run_logs::table).values(part.to_vec()).execute(&mut conn).await?;
    }
    for ((run, attempt), number) in newest {
        if number > KEPT_LINES as i32 {
            let old = run_logs::line.le(number - KEPT_LINES as i32);
            diesel::delete(run_logs::table.filter(run_logs::run_id.eq(run)))
                .filter(run_logs::attempt.eq(attempt).and(old))
                .execute(&mut conn)
                .await?;
        }
    }
    Ok(())
}
