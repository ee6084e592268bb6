//! Who did what: one row per operator action, written in the action's own transaction, so that an
//! action without its row, or a row without its action, cannot be committed.

use crate::schema::audit_log;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Notes that `actor` did `action` (`run.retry`) to `subject` (an id).
pub async fn record(
    conn: &mut AsyncPgConnection,
    actor: &str,
    action: &str,
    subject: &str,
    details: &serde_json::Value,
) -> QueryResult<()> {
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::actor.eq(actor),
            audit_log::action.eq(action),
            audit_log::subject.eq(subject),
            audit_log::details.eq(details),
        ))
        .execute(conn)
        .await
        .map(|_| ())
}

/// What was done to a subject.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = audit_log, check_for_backend(diesel::pg::Pg))]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What exactly.
    pub details: serde_json::Value,
}

/// The last times that `action` was done to `subject`, newest first.
pub async fn latest(
    conn: &mut AsyncPgConnection,
    action: &str,
    subject: &str,
    limit: i64,
) -> QueryResult<Vec<Entry>> {
    audit_log::table
        .filter(audit_log::subject.eq(subject).and(audit_log::action.eq(action)))
        .order(audit_log::id.desc())
        .limit(limit)
        .select(Entry::as_select())
        .load(conn)
        .await
}
