//! `millrace restored`.

use crate::{
    output::{say, thousands},
    services::Services,
};
use anyhow::Context;
use diesel_async::AsyncPgConnection;
use shared::{
    db,
    restored::{Restored, after_restore},
};

/// Tells a database that it comes from a backup. Workers may run already; listeners are told to read anew.
pub async fn restored() -> anyhow::Result<()> {
    let pool = Services::find()?.pool("millrace-restored")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let conn: &mut AsyncPgConnection = &mut conn;
    db::require_schema(conn).await?;
    let Restored { unfinished, unsent } = after_restore(conn, "command line").await?;
    say(format!("Runs that had not ended, and go on: {}.", thousands(unfinished)));
    if unsent == 0 {
        say("No message was still to be sent.");
    } else {
        say(format!(
            "Messages that were still to be sent: {}. Some may have been sent after the backup was made, so their queue \
             is paused. Look at /ui/notifications, cancel what should not go out, then `millrace queues resume deliveries`.",
            thousands(unsent)
        ));
    }
    Ok(())
}
