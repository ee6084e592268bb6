//! Looks at the record that are the same for all who ask at about the same time.

use crate::{
    db::{DbError, DbPool},
    gather::{AskError, BatchError, Gatherer},
};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Why a question that was asked together with others has no answer.
pub type ReadError = AskError<Arc<DbError>>;

/// Those whom one look is for; beyond `ROOM` that wait, more are refused.
const TOGETHER: usize = 1_000;
const ROOM: usize = 10_000;

type Read<R> = for<'c> fn(&'c mut AsyncPgConnection) -> BoxFuture<'c, QueryResult<R>>;

/// Where a process looks.
pub struct Look<R> {
    pool: DbPool,
    read: Read<R>,
    looks: Gatherer<(), R, Arc<DbError>>,
}

impl<R: Clone + Send + 'static> Look<R> {
    /// Looks by `read`, over connections of `pool`. Whoever waits must hold none of them.
    pub fn new(pool: DbPool, read: Read<R>) -> Self {
        Self { pool, read, looks: Gatherer::new(TOGETHER, ROOM).without_the_gone() }
    }

    /// What is there now: the look begins after it was asked for.
    pub async fn now(&self) -> Result<R, ReadError> {
        let (pool, read) = (self.pool.clone(), self.read);
        let work = move |asked: Vec<()>| {
            let pool = pool.clone();
            async move {
                let seen = look(&pool, read).await.map_err(|error| BatchError::All(Arc::new(error)))?;
                Ok(vec![seen; asked.len()])
            }
        };
        self.looks.ask((), work).await
    }
}

async fn look<R>(pool: &DbPool, read: Read<R>) -> Result<R, DbError> {
    Ok(read(&mut *pool.get().await?).await?)
}

/// What an error of one's own is called.
pub(crate) fn failed(error: DbError) -> ReadError {
    AskError::Failed(Arc::new(error))
}
