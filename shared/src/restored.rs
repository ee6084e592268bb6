//! What has to be done to a database that was restored from a backup before workers go on with it. What happened
//! after the backup is not in it: ids of the feed would come twice, kept answers would be of a future that is gone,
//! and messages that were sent would be sent again in silence.

use crate::{
    audit,
    cache::renew_epoch,
    feed::outbox,
    runs::{
        Queue,
        queues::{self, Pause, PauseTarget},
    },
    schedules,
    schema::{deliveries, runs},
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// What goes on, and what waits for somebody.
#[derive(Debug, Clone, Copy)]
pub struct Restored {
    /// Runs that had not ended.
    pub unfinished: i64,
    /// Messages that had not been sent: their queue is paused if there are any.
    pub unsent: i64,
}

/// Begins a new epoch of the feed and of kept answers, and pauses the queue of deliveries if there are any, in one
/// transaction.
pub async fn after_restore(conn: &mut AsyncPgConnection, by: &str) -> QueryResult<Restored> {
    conn.transaction(async |conn| {
        outbox::begin_anew(conn).await?;
        renew_epoch(conn).await?;
        let unfinished = runs::table.filter(runs::finished_at.is_null()).count().get_result(conn).await?;
        let unsent =
            deliveries::table.filter(deliveries::state.eq("pending")).count().get_result(conn).await?;
        if unsent > 0 {
            let pause = Pause {
                target: PauseTarget::Queue,
                name: Queue::Deliveries.to_string(),
                until: None,
                reason: Some(
                    "restored from a backup: what waits here may have been sent since it was made".to_owned(),
                ),
                paused_by: by.to_owned(),
                paused_at: schedules::queries::now(conn).await?,
            };
            queues::pause(conn, &pause).await?;
        }
        let details = serde_json::json!({ "unfinished": unfinished, "unsent": unsent });
        audit::record(conn, by, "database.restored", "database", &details).await?;
        Ok(Restored { unfinished, unsent })
    })
    .await
}
