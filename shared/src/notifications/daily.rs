//! Summaries of a day, one for each client who did something on it.

use super::{
    audience::{self, Audience, Happening},
    error::NotificationError,
    events::{self, Event},
    values::{Amount, DailyLine, DailySummary},
};
use crate::{
    runs::{Finished, Job, JobError, Queue, Retry, RunContext, Unique},
    schema::clients,
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Date, Nullable, Numeric, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::{Duration, Instant};

/// Clients that are looked at, and told, in one transaction.
const TOGETHER: i64 = 500;
/// Between two notes of progress.
const NOTE_EVERY: Duration = Duration::from_millis(500);

/// Tells clients, and whoever else wants to know, what they did on a day. Who was told of the day once is not
/// told again: it may be run again after any end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SendDailySummaries {
    /// The day, in the reporting zone.
    pub day: NaiveDate,
}

impl Job for SendDailySummaries {
    const KIND: &'static str = "send_daily_summaries";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(300) };
    const TIMEOUT: Duration = Duration::from_secs(4 * 3600);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.day.to_string(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let (day, env) = (self.day, &context.env);
        let (wanted, bounds, total) = {
            let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
            let wanted = events::is_wanted(conn, Event::DailySummary).await?;
            let total: i64 = if wanted { clients::table.count().get_result(conn).await? } else { 0 };
            (wanted, bounds(conn, day, env.settings.zone).await?, total)
        };
        if !wanted {
            return Ok(Finished::Result(json!({ "day": day, "wanted": false, "notifications": 0 })));
        }
        let (mut after, mut looked_at, mut active, mut notifications) = (String::new(), 0, 0, 0);
        let mut noted: Option<Instant> = None;
        loop {
            if context.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
            let page = conn.transaction(async |conn| tell_page(conn, &context, day, bounds, &after).await);
            let Some(page) = page.await.map_err(JobError::retry)? else { break };
            audience::ring(env, page.notifications);
            looked_at += page.clients;
            active += page.active;
            notifications += page.notifications;
            after = page.last;
            if noted.is_none_or(|at| at.elapsed() >= NOTE_EVERY) {
                context.progress(looked_at, Some(total.max(looked_at)), "clients", "summarising").await;
                noted = Some(Instant::now());
            }
        }
        context.progress(looked_at, Some(looked_at), "clients", "summarising").await;
        let result = json!({ "day": day, "wanted": true, "clients": active, "notifications": notifications });
        Ok(Finished::Result(result))
    }
}

/// When a day of a zone begins and ends.
async fn bounds(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
    zone: Tz,
) -> QueryResult<(DateTime<Utc>, DateTime<Utc>)> {
    #[derive(QueryableByName)]
    struct Bounds {
        #[diesel(sql_type = Timestamptz)]
        from: DateTime<Utc>,
        #[diesel(sql_type = Timestamptz)]
        until: DateTime<Utc>,
    }
    let bounds: Bounds = diesel::sql_query(
        "SELECT $1::timestamp AT TIME ZONE $2 AS from, ($1 + 1)::timestamp AT TIME ZONE $2 AS until",
    )
    .bind::<Date, _>(day)
    .bind::<Text, _>(zone.name())
    .get_result(conn)
    .await?;
    Ok((bounds.from, bounds.until))
}

struct Page {
    /// Looked at.
    clients: i64,
    /// Of them, who did something.
    active: usize,
    notifications: usize,
    last: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    client_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    transactions: Option<i64>,
    #[diesel(sql_type = Nullable<Numeric>)]
    spent: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    gained: Option<Decimal>,
}

/// Tells of the next clients after one; `None` if there are no more.
async fn tell_page(
    conn: &mut AsyncPgConnection,
    context: &RunContext,
    day: NaiveDate,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    after: &str,
) -> Result<Option<Page>, NotificationError> {
    let rows: Vec<Row> = diesel::sql_query(include_str!("day_lines.sql"))
        .bind::<Text, _>(after)
        .bind::<Timestamptz, _>(from)
        .bind::<Timestamptz, _>(until)
        .bind::<BigInt, _>(TOGETHER)
        .load(conn)
        .await?;
    let Some(last) = rows.last().map(|row| row.client_id.clone()) else { return Ok(None) };
    let (mut clients, mut summaries) = (0, Vec::<DailySummary>::new());
    for of_client in rows.chunk_by(|one, other| one.client_id == other.client_id) {
        clients += 1;
        let lines: Vec<DailyLine> = of_client.iter().filter_map(line).collect();
        if !lines.is_empty() {
            let Row { client_id, name, .. } = &of_client[0];
            summaries.push(DailySummary {
                client_id: client_id.clone(),
                client_name: name.clone(),
                day,
                lines,
            });
        }
    }
    let mut page = Page { clients, active: summaries.len(), notifications: 0, last };
    if !summaries.is_empty() {
        let happened: Vec<Happening> = summaries
            .iter()
            .map(|summary| Happening {
                event: Event::DailySummary,
                subject: format!("{day}:{}", summary.client_id),
                data: serde_json::to_value(summary).unwrap_or_default(),
            })
            .collect();
        let audience = Audience::of(conn, &context.env.notifications, &[Event::DailySummary].into()).await?;
        page.notifications = audience.tell(conn, &context.env, &happened).await?;
    }
    Ok(Some(page))
}

fn line(row: &Row) -> Option<DailyLine> {
    Some(DailyLine {
        currency: row.currency.clone()?,
        transactions: row.transactions?.unsigned_abs(),
        spent: Amount(row.spent?),
        gained: Amount(row.gained?),
    })
}
