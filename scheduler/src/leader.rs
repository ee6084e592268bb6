//! Leadership: a session's advisory lock on a connection of its own. It goes with the connection, so a
//! leader that dies is followed at the next try (a second). A leader asks its connection every second;
//! one that gets no answer has lost the lock, or soon will, and must stop.

use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use shared::{
    config::DatabaseConfig,
    db,
    schedules::queries::{self, LEADER_LOCK},
};
use std::time::Duration;

const BETWEEN_CHECKS: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The server notices within about 4 s that a leader's machine is gone (no effect on a socket).
const NOTICE_LOSS: &str = "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1;
    SET tcp_keepalives_count = 2; SET tcp_user_timeout = 4000; SET idle_session_timeout = 0";

/// Held while this process leads.
pub struct Leadership(AsyncPgConnection);

#[derive(diesel::QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    leads: bool,
}

/// Tries once; `None` if another process leads.
pub async fn try_lead(config: &DatabaseConfig) -> anyhow::Result<Option<Leadership>> {
    tokio::time::timeout(PATIENCE, async {
        let url = db::named_url(&config.url, &name("leader"));
        let mut connection = db::connect_alone(&url).await?;
        connection.batch_execute(NOTICE_LOSS).await?;
        let answer: Answer = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS leads")
            .bind::<diesel::sql_types::BigInt, _>(LEADER_LOCK)
            .get_result(&mut connection)
            .await?;
        if !answer.leads && queries::depose_silent_leader(&mut connection).await? {
            tracing::warn!("the scheduler that leads has said nothing for ten seconds: it is deposed");
        }
        Ok(answer.leads.then_some(Leadership(connection)))
    })
    .await?
}

/// What a connection calls itself, so that people see who leads: the host and the process, in letters that need no
/// escape in a URL, and no more of them than PostgreSQL keeps.
pub fn name(part: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(36).collect();
    format!("millrace-{part}:{host}:{}", std::process::id())
}

impl Leadership {
    /// Returns when the lock is lost, with the reason.
    pub async fn lost(mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(BETWEEN_CHECKS).await;
            match tokio::time::timeout(PATIENCE, self.0.batch_execute("SELECT 1")).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(silence) => return silence.into(),
            }
        }
    }
}
