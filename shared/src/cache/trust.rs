//! Whether what is kept is to be believed. A reader believes it for [`LEASE`] after PostgreSQL has said so; a
//! writer that cannot reach Redis says no there, waits until every reader's belief has run out, and only then
//! commits what it changes. With the no the epoch changes, so that what was kept before it is never found again.

use crate::db::DbPool;
use diesel::{
    QueryResult, QueryableByName,
    sql_types::{Bool, Integer, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as AsyncMutex;

/// How long a reader believes without asking again.
const LEASE: Duration = Duration::from_secs(2);
/// After this time it asks again.
const RENEW: Duration = Duration::from_millis(500);
/// How long a writer's no holds.
const DISTRUST: Duration = Duration::from_secs(30);

/// What this process knows.
#[derive(Default)]
pub(super) struct Trust {
    /// As a reader: the epoch, and when PostgreSQL was asked that told it.
    believed: Mutex<Option<(uuid::Uuid, Instant)>>,
    asking: AsyncMutex<()>,
    /// As a writer: since when its no is known to all, and how long it holds.
    distrusted: AsyncMutex<Option<(Instant, Instant)>>,
}

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = Uuid)]
    epoch: uuid::Uuid,
    #[diesel(sql_type = Bool)]
    trusted: bool,
}

impl Trust {
    fn believed(&self) -> Option<(uuid::Uuid, Instant)> {
        *self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch under which what is kept may be believed now, if any; asks PostgreSQL when it is time to.
    pub async fn epoch(&self, pool: &DbPool) -> Option<uuid::Uuid> {
        let fresh = |within: Duration| {
            self.believed().filter(|(_, asked)| asked.elapsed() < within).map(|(epoch, _)| epoch)
        };
        if let Some(epoch) = fresh(RENEW) {
            return Some(epoch);
        }
        // One asks; the others go on with what they have, if that still holds.
        if let Ok(_asking) = self.asking.try_lock() {
            let asked = Instant::now();
            let said = ask(pool).await;
            let believed = said.filter(|said| said.trusted).map(|said| (said.epoch, asked));
            *self.believed.lock().unwrap_or_else(PoisonError::into_inner) = believed;
        }
        fresh(LEASE)
    }

    /// Whether what was read under `epoch` may be answered with now, when it has been read.
    pub fn holds(&self, epoch: uuid::Uuid) -> bool {
        self.believed().is_some_and(|(believed, asked)| believed == epoch && asked.elapsed() < LEASE)
    }

    /// Makes sure that no reader believes what is kept, and returns then. Waits the first time of an outage
    /// only.
    pub async fn withdraw(&self, pool: &DbPool) -> Result<(), diesel::result::Error> {
        let mut distrusted = self.distrusted.lock().await;
        let now = Instant::now();
        let known = distrusted.filter(|(_, until)| now < *until);
        if let Some((_, until)) = known
            && until.duration_since(now) > DISTRUST / 2
        {
            return Ok(());
        }
        refuse(pool).await?;
        let heard = match known {
            Some((since, _)) => since,
            None => {
                tracing::warn!("the cache cannot be told of changes: nobody reads it until it can");
                tokio::time::sleep(LEASE).await;
                now + LEASE
            }
        };
        // A second less than the database counts: the clocks may differ in pace.
        *distrusted = Some((heard, now + DISTRUST - Duration::from_secs(1)));
        Ok(())
    }
}

/// Begins a new epoch: what was kept is never found again.
pub async fn renew_epoch(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let renewed = diesel::sql_query("UPDATE cache_trust SET epoch = gen_random_uuid()").execute(conn).await;
    renewed.map(drop)
}

async fn ask(pool: &DbPool) -> Option<Said> {
    let mut conn = pool.get().await.ok()?;
    diesel::sql_query("SELECT epoch, distrust_until <= now() AS trusted FROM cache_trust")
        .get_result(&mut conn)
        .await
        .ok()
}

async fn refuse(pool: &DbPool) -> Result<(), diesel::result::Error> {
    let unreachable = |error: crate::db::PoolError| {
        let message: Box<dyn std::error::Error + Send + Sync> = error.to_string().into();
        diesel::result::Error::QueryBuilderError(message)
    };
    let mut conn = pool.get().await.map_err(unreachable)?;
    diesel::sql_query(
        "UPDATE cache_trust SET epoch = gen_random_uuid(), distrust_until = now() + $1 * interval '1 second'",
    )
    .bind::<Integer, _>(DISTRUST.as_secs() as i32)
    .execute(&mut conn)
    .await
    .map(drop)
}
