//! What somebody has to look at: schedules that should have run and did not. The leader notes what was
//! missed; that nobody leads can only be noticed by others, so every worker watches.

use crate::schema::alerts;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Something that somebody has to look at.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = alerts, check_for_backend(diesel::pg::Pg))]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// What kind of thing: `schedule_overdue`, `schedule_missed`, `schedule_unstarted`, `schedule_refused`.
    pub kind: String,
    /// The schedule's name.
    pub subject: String,
    /// What has happened.
    pub message: String,
    /// When it was noticed.
    pub raised_at: DateTime<Utc>,
    /// When it ended by itself.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When somebody had seen it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// Raises an alert, once for each key.
pub async fn raise(
    conn: &mut AsyncPgConnection,
    kind: &str,
    key: &str,
    subject: &str,
    message: &str,
) -> QueryResult<()> {
    let raised = diesel::insert_into(alerts::table)
        .values((
            alerts::kind.eq(kind),
            alerts::key.eq(key),
            alerts::subject.eq(subject),
            alerts::message.eq(message),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if raised > 0 {
        tracing::error!(schedule = subject, "schedule {subject}: {message}");
    }
    Ok(())
}

/// Alerts that nobody has seen and that have not ended, or all of them; newest first.
pub async fn list(conn: &mut AsyncPgConnection, all: bool, limit: i64) -> QueryResult<Vec<Alert>> {
    let mut query =
        alerts::table.select(Alert::as_select()).order(alerts::id.desc()).limit(limit).into_boxed();
    if !all {
        query = query.filter(alerts::resolved_at.is_null().and(alerts::acknowledged_at.is_null()));
    }
    query.load(conn).await
}

/// Notes that somebody has seen an alert; `None` if there is none of this number.
pub async fn acknowledge(conn: &mut AsyncPgConnection, id: i64, by: &str) -> QueryResult<Option<Alert>> {
    let unseen = alerts::table.find(id).filter(alerts::acknowledged_at.is_null());
    diesel::update(unseen)
        .set((alerts::acknowledged_at.eq(diesel::dsl::now), alerts::acknowledged_by.eq(by)))
        .execute(conn)
        .await?;
    alerts::table.find(id).select(Alert::as_select()).first(conn).await.optional()
}

/// What the watch looks for; the texts are its alerts' messages.
const OVERDUE: &str = include_str!("overdue.sql");

/// Raises what nobody has noticed, and resolves what has ended. Every worker does it; each alert is raised once.
pub async fn watch(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Alert>> {
    #[derive(QueryableByName)]
    struct Raised {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        id: i64,
    }
    let raised: Vec<Raised> = diesel::sql_query(OVERDUE).load(conn).await?;
    diesel::sql_query(
        "UPDATE alerts SET resolved_at = now() WHERE kind = 'schedule_overdue' AND resolved_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM schedules s WHERE alerts.key = 'overdue:' || s.id || ':' || extract(epoch FROM s.next_at))",
    )
    .execute(conn)
    .await?;
    if raised.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = raised.into_iter().map(|raised| raised.id).collect();
    alerts::table.filter(alerts::id.eq_any(ids)).select(Alert::as_select()).load(conn).await
}

/// Removes what was resolved or seen 90 days ago.
pub async fn prune(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query(
        "DELETE FROM alerts WHERE coalesce(acknowledged_at, resolved_at) < now() - interval '90 days'",
    )
    .execute(conn)
    .await
}
