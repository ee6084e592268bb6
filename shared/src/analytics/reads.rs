//! Questions about clients. Those that come at about the same time are asked by one statement: PostgreSQL sets up its
//! plan, over all months, once for all of them, and few of its processes work at a time. An answer is of a snapshot
//! that was taken after its question came.

use super::{
    model::AmountStatistics,
    queries::{self, HistoryQuery, HistoryRow, StatisticsQuery},
};
use crate::{
    db::{DbError, DbPool, is_diesel_outage},
    gather::{AskError, BatchError, Gatherer},
};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Why a question has no answer.
pub type ReadError = AskError<Arc<DbError>>;

/// Questions of one statement.
const TOGETHER: usize = 32;
/// Questions that may wait.
const ROOM: usize = 10_000;
/// Statements of a kind under way at the same time: a client with a long history holds up only its own.
const LANES: usize = 2;

type Reader<Q, A> = Gatherer<Q, A, Arc<DbError>>;

/// Where a process asks.
pub struct ClientReads {
    pub(super) pool: DbPool,
    statistics: Reader<StatisticsQuery, Option<Vec<AmountStatistics>>>,
    histories: Reader<HistoryQuery, Vec<HistoryRow>>,
}

impl ClientReads {
    /// Asks over connections of `pool`.
    pub fn new(pool: DbPool) -> Self {
        let statistics = Gatherer::new(TOGETHER, ROOM).with_lanes(LANES);
        let histories = Gatherer::new(TOGETHER, ROOM).with_lanes(LANES);
        Self { pool, statistics, histories }
    }

    /// A client's amounts, by currency. `None`: there is no such client.
    pub async fn statistics(
        &self,
        question: StatisticsQuery,
    ) -> Result<Option<Vec<AmountStatistics>>, ReadError> {
        self.ask(&self.statistics, question, |conn, questions| Box::pin(queries::statistics(conn, questions)))
            .await
    }

    /// A client's history, by currency. Empty: there is no such client.
    pub(super) async fn history(&self, question: HistoryQuery) -> Result<Vec<HistoryRow>, ReadError> {
        self.ask(&self.histories, question, |conn, questions| {
            Box::pin(queries::histories(conn, questions, false))
        })
        .await
    }

    async fn ask<Q, A>(
        &self,
        reader: &Reader<Q, A>,
        question: Q,
        read: for<'r> fn(&'r mut AsyncPgConnection, &'r [Q]) -> BoxFuture<'r, QueryResult<Vec<A>>>,
    ) -> Result<A, ReadError>
    where
        Q: Clone + Send + Sync + 'static,
        A: Send + 'static,
    {
        let pool = self.pool.clone();
        let work = move |questions: Vec<Q>| {
            let pool = pool.clone();
            async move {
                let mut conn = pool.get().await.map_err(|error| BatchError::All(Arc::new(error.into())))?;
                read(&mut conn, &questions).await.map_err(|error| match is_diesel_outage(&error) {
                    true => BatchError::All(Arc::new(error.into())),
                    false => BatchError::Some(Arc::new(error.into())),
                })
            }
        };
        reader.ask(question, work).await
    }
}
