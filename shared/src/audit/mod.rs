//! Who did what: one row per operator action, written in the action's own transaction, so that an
//! action without its row, or a row without its action, cannot be committed.

use crate::schema::audit_log;
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
