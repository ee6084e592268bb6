//! What happens and is told of: to clients over the channels that an operator chose for the event, to
//! subscribers, to programs by their endpoints.
//!
//! Where something happens it is announced, in the same transaction and only if somebody wants to know; a run
//! of `announce_events` makes notifications of it. Dying between the two loses nothing: a worker finds what is
//! due within a second.

use super::{
    audience::{self, Audience, Happening},
    error::NotificationError,
    jobs::AnnounceEvents,
    texts,
    values::{DiscardedRun, MissedSchedule, RunDiscarded, ScheduleMissed},
};
use crate::{
    db::LoadTransaction,
    runs::{EnqueueOptions, JobError, RunContext, RunError, enqueue},
    schema::announcements,
};
use diesel::{
    dsl::{exists, now, select},
    prelude::*,
    sql_types::{Array, BigInt, Jsonb, Text},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use tokio_postgres::Transaction;

/// Announcements that become notifications in one transaction, at most.
const TOGETHER: i64 = 500;
/// Of what is told of together, so many are named.
const NAMED: i64 = 20;

text_enum! {
    /// Something that people, or programs, can be told of.
    Event {
        /// A file has been loaded.
        UploadFinished = "upload_finished",
        /// What a client did on a day.
        DailySummary = "daily_summary",
        /// A client's trade was settled.
        TradeSettled = "trade_settled",
        /// A client's trade was rejected.
        TradeRejected = "trade_rejected",
        /// Runs were given up.
        RunDiscarded = "run_discarded",
        /// A schedule did not run as it should have.
        ScheduleMissed = "schedule_missed",
    }
}

impl Event {
    /// Whether it is a client's, who may be told of it.
    pub fn is_of_client(self) -> bool {
        matches!(self, Self::DailySummary | Self::TradeSettled | Self::TradeRejected)
    }

    /// Whether it may happen a thousand times at once: all that wait are told of together, every five minutes
    /// at most (`quiet_until` in the database).
    fn is_merged(self) -> bool {
        matches!(self, Self::RunDiscarded | Self::ScheduleMissed)
    }

    /// The JSON schema of the values that its texts and programs are given.
    pub fn schema(self) -> Value {
        texts::schema(self)
    }
}

/// Whether anybody wants to know of an event.
pub(super) async fn is_wanted(conn: &mut AsyncPgConnection, event: Event) -> QueryResult<bool> {
    diesel::define_sql_function!(fn is_event_wanted(event: Text) -> Bool);
    select(is_event_wanted(event.as_str())).get_result(conn).await
}

/// Announces that something has happened to `subject`, in the caller's transaction; nothing is written if
/// nobody wants to know. `data` are the event's values.
pub async fn tell(
    conn: &mut AsyncPgConnection,
    event: Event,
    subject: &str,
    data: &Value,
) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO announcements (event, subject, data) SELECT $1, $2, $3 WHERE is_event_wanted($1)",
    )
    .bind::<Text, _>(event.as_str())
    .bind::<Text, _>(subject)
    .bind::<Jsonb, _>(data)
    .execute(conn)
    .await
    .map(drop)
}

/// [`tell`] for a transaction on a COPY connection.
pub async fn tell_copy(
    transaction: &Transaction<'_>,
    event: Event,
    subject: &str,
    data: &Value,
) -> Result<(), tokio_postgres::Error> {
    transaction
        .execute(
            "INSERT INTO announcements (event, subject, data)
             SELECT $1::text, $2::text, $3::jsonb WHERE is_event_wanted($1)",
            &[&event.as_str(), &subject, data],
        )
        .await
        .map(drop)
}

/// [`tell`] for many at once: whether an event is wanted is asked once for all of them.
pub async fn tell_all(
    transaction: &LoadTransaction<'_>,
    told: &[(Event, String, Value)],
) -> Result<(), tokio_postgres::Error> {
    if told.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepared(
            "WITH wanted AS MATERIALIZED (
                 SELECT event FROM (SELECT DISTINCT event FROM unnest($1::text[]) AS e (event) OFFSET 0) AS d
                 WHERE is_event_wanted(event))
             INSERT INTO announcements (event, subject, data)
             SELECT t.event, t.subject, t.data
             FROM unnest($1, $2::text[], $3::jsonb[]) WITH ORDINALITY AS t (event, subject, data, n)
             WHERE t.event IN (SELECT event FROM wanted) ORDER BY t.n",
        )
        .await?;
    let events: Vec<&str> = told.iter().map(|one| one.0.as_str()).collect();
    let subjects: Vec<&str> = told.iter().map(|one| one.1.as_str()).collect();
    let data: Vec<&Value> = told.iter().map(|one| &one.2).collect();
    // By itself: diesel has an `execute` for everything.
    let transaction: &Transaction<'_> = transaction;
    transaction.execute(&statement, &[&events, &subjects, &data]).await.map(drop)
}

/// Has what is due be told, if anything is; whether that made a run. Ring the `default` doorbell then.
pub async fn enqueue_due(conn: &mut AsyncPgConnection) -> Result<bool, RunError> {
    let due = announcements::table.filter(announcements::due_at.le(now)).select(announcements::id);
    if !select(exists(due)).get_result(conn).await? {
        return Ok(false);
    }
    let by = EnqueueOptions::by("millrace");
    let enqueued = conn.transaction(async |conn| enqueue(conn, &AnnounceEvents {}, &by).await).await?;
    Ok(enqueued.created)
}

/// How many notifications were made of what happened.
#[derive(Debug, Default, serde::Serialize)]
pub struct Told {
    /// Events.
    pub events: usize,
    /// Notifications.
    pub notifications: usize,
}

/// Makes notifications of what was announced and is due. A batch, its notifications and that it waits no more
/// are one commit: a crash leaves each told of or waiting.
pub(super) async fn announce(context: &RunContext) -> Result<Told, JobError> {
    let env = &context.env;
    let mut told = Told::default();
    for &event in Event::ALL.iter().filter(|event| event.is_merged()) {
        let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
        let merged = conn.transaction(async |conn| announce_merged(conn, context, event).await);
        let (events, notifications) = merged.await.map_err(JobError::retry)?;
        audience::ring(env, notifications);
        told.events += events;
        told.notifications += notifications;
    }
    loop {
        if context.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
        let batch = conn.transaction(async |conn| announce_batch(conn, context).await);
        let (events, notifications) = batch.await.map_err(JobError::retry)?;
        if events == 0 {
            return Ok(told);
        }
        audience::ring(env, notifications);
        told.events += events;
        told.notifications += notifications;
        context.progress(i64::try_from(told.events).unwrap_or(i64::MAX), None, "events", "telling").await;
    }
}

/// The next announcements that are told of one by one: how many, and how many notifications they made.
async fn announce_batch(
    conn: &mut AsyncPgConnection,
    context: &RunContext,
) -> Result<(usize, usize), NotificationError> {
    #[derive(QueryableByName)]
    struct Announced {
        #[diesel(sql_type = Text)]
        event: String,
        #[diesel(sql_type = Text)]
        subject: String,
        #[diesel(sql_type = Jsonb)]
        data: Value,
    }
    let merged: Vec<&str> =
        Event::ALL.iter().filter(|event| event.is_merged()).map(|event| event.as_str()).collect();
    let rows: Vec<Announced> = diesel::sql_query(
        "WITH due AS MATERIALIZED (
             SELECT id FROM announcements WHERE due_at <= now() AND event <> ALL ($1)
             ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
         gone AS (DELETE FROM announcements WHERE id IN (SELECT id FROM due) RETURNING id, event, subject, data)
         SELECT event, subject, data FROM gone ORDER BY id",
    )
    .bind::<Array<Text>, _>(merged)
    .bind::<BigInt, _>(TOGETHER)
    .load(conn)
    .await?;
    let count = rows.len();
    let happened: Vec<Happening> = rows
        .into_iter()
        .filter_map(|row| match row.event.parse() {
            Ok(event) => Some(Happening { event, subject: row.subject, data: row.data }),
            Err(error) => {
                tracing::error!("an event that this version does not know cannot be told: {error}");
                None
            }
        })
        .collect();
    let events = happened.iter().map(|one| one.event).collect();
    let audience = Audience::of(conn, &context.env.notifications, &events).await?;
    Ok((count, audience.tell(conn, &context.env, &happened).await?))
}

/// All announcements of an event that are told of together, if one is due: how many, and how many notifications
/// they made.
async fn announce_merged(
    conn: &mut AsyncPgConnection,
    context: &RunContext,
    event: Event,
) -> Result<(usize, usize), NotificationError> {
    #[derive(QueryableByName)]
    struct Announced {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        total: i64,
        #[diesel(sql_type = Jsonb)]
        data: Value,
    }
    // What was announced while the last ones were told of was due at once: it has to wait after all.
    diesel::sql_query(
        "UPDATE announcements SET due_at = quiet_until(event)
         WHERE event = $1 AND due_at <= now() AND quiet_until($1) > now()",
    )
    .bind::<Text, _>(event.as_str())
    .execute(conn)
    .await?;
    let rows: Vec<Announced> = diesel::sql_query(
        "WITH gone AS (
             DELETE FROM announcements
             WHERE event = $1 AND EXISTS (SELECT 1 FROM announcements WHERE event = $1 AND due_at <= now())
             RETURNING id, subject, data),
         once AS (SELECT DISTINCT ON (subject) id, data FROM gone ORDER BY subject, id)
         SELECT id, count(*) OVER () AS total, data FROM once ORDER BY id LIMIT $2",
    )
    .bind::<Text, _>(event.as_str())
    .bind::<BigInt, _>(NAMED)
    .load(conn)
    .await?;
    let [first, ..] = rows.as_slice() else { return Ok((0, 0)) };
    let total = usize::try_from(first.total).unwrap_or(usize::MAX);
    let subject = first.id.to_string();
    let more = (total - rows.len()) as u64;
    let data = merged_values(event, rows.into_iter().map(|row| row.data), more);
    let audience = Audience::of(conn, &context.env.notifications, &[event].into()).await?;
    Ok((total, audience.tell(conn, &context.env, &[Happening { event, subject, data }]).await?))
}

/// The values of an event that is told of together. What cannot be read is in the log and counted.
fn merged_values(event: Event, named: impl Iterator<Item = Value>, more: u64) -> Value {
    fn read<T: serde::de::DeserializeOwned>(
        named: impl Iterator<Item = Value>,
        mut more: u64,
    ) -> (Vec<T>, u64) {
        let mut all = Vec::new();
        for data in named {
            match serde_json::from_value(data) {
                Ok(one) => all.push(one),
                Err(error) => {
                    tracing::error!(%error, "an event cannot be told: {error}");
                    more += 1;
                }
            }
        }
        (all, more)
    }
    let values = if event == Event::RunDiscarded {
        let (runs, more) = read::<DiscardedRun>(named, more);
        serde_json::to_value(RunDiscarded { runs, more })
    } else {
        let (alerts, more) = read::<MissedSchedule>(named, more);
        serde_json::to_value(ScheduleMissed { alerts, more })
    };
    values.unwrap_or_default()
}
