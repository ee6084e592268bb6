//! Questions about clients, for their figures and their pages. Those that come at about the same time are asked together:
//! PostgreSQL sets up its plan, over all months, once for all of them, and few of its processes work at a time. An answer
//! is of a time after its question came, that to one about figures of one snapshot. A client with a long history is looked
//! at alone, so that others need not wait for it.

use super::{
    model::AmountStatistics,
    queries::{self, Answer, ClientFigures, DaysSpend, Reach, SpendQuery, StatisticsQuery},
};
use crate::{
    clients::card::{ClientCard, client_cards},
    db::{DbError, DbPool, is_diesel_outage},
    gather::{AskError, BatchError, Gatherer},
    look::{ReadError, failed},
    pagination::Page,
    transactions::{
        Transaction,
        queries::{Active, latest},
    },
};
use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Questions of one statement: more would save little and have the last wait for the first.
const TOGETHER: usize = 16;
/// Questions that may wait.
const ROOM: usize = 10_000;
/// Statements of a kind under way at the same time.
const LANES: usize = 2;
/// Transactions of a client that is looked at together with others, at most.
const MOST: i64 = 2_000;
/// Clients that are looked at alone at the same time: they leave connections to others.
const ALONE: usize = 4;
/// How long an answer is waited for before the caller is told to come again.
const PATIENCE: Duration = Duration::from_secs(15);

type Reader<Q, A> = Gatherer<Q, Answer<A>, Arc<DbError>>;
/// Reads the answers to questions.
type Read<Q, A> =
    for<'r> fn(&'r mut AsyncPgConnection, &'r [Q], Reach) -> BoxFuture<'r, QueryResult<Vec<Answer<A>>>>;

/// Where a process asks.
pub struct ClientReads {
    pool: DbPool,
    statistics: Reader<StatisticsQuery, Option<Vec<AmountStatistics>>>,
    risks: Reader<SpendQuery, Option<ClientFigures>>,
    trends: Reader<SpendQuery, Option<Vec<DaysSpend>>>,
    cards: Reader<String, Option<ClientCard>>,
    latest: Reader<Active, Page<Transaction>>,
    alone: Semaphore,
}

fn reader<Q, A>(lanes: usize) -> Reader<Q, A>
where
    Q: Clone + Send + Sync + 'static,
    A: Send + 'static,
{
    Gatherer::new(TOGETHER, ROOM).with_lanes(lanes).without_the_gone()
}

impl ClientReads {
    /// Asks over connections of `pool`. Whoever waits for an answer must hold none of them.
    pub fn new(pool: DbPool) -> Self {
        let alone = Semaphore::new(ALONE);
        Self {
            pool,
            statistics: reader(LANES),
            risks: reader(LANES),
            trends: reader(LANES),
            // Quick, and a page asks for more beside them.
            cards: reader(1),
            latest: reader(1),
            alone,
        }
    }

    /// A client's card. `None`: there is no such client.
    pub async fn card(&self, client_id: &str) -> Result<Option<ClientCard>, ReadError> {
        let read: Read<_, _> = |conn, ids, _| {
            Box::pin(async move { Ok(client_cards(conn, ids).await?.into_iter().map(Some).collect()) })
        };
        self.ask(&self.cards, client_id.to_owned(), read).await.map(Option::flatten)
    }

    /// The first page of a client's transactions. `active`: when the first and the last of them occurred.
    pub async fn latest(
        &self,
        client_id: &str,
        active: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<Page<Transaction>, ReadError> {
        let nothing = Page { items: Vec::new(), older: None, newer: None };
        let Some((first_at, last_at)) = active else { return Ok(nothing) };
        let read: Read<_, _> = |conn, clients, _| {
            Box::pin(async move { Ok(latest(conn, clients).await?.into_iter().map(Some).collect()) })
        };
        let question = Active { client_id: client_id.to_owned(), first_at, last_at };
        Ok(self.ask(&self.latest, question, read).await?.unwrap_or(nothing))
    }

    /// A client's amounts, by currency. `None`: there is no such client.
    pub async fn statistics(
        &self,
        question: StatisticsQuery,
    ) -> Result<Option<Vec<AmountStatistics>>, ReadError> {
        self.ask(&self.statistics, question, |conn, questions, reach| {
            Box::pin(queries::statistics(conn, questions, reach))
        })
        .await
        .map(Option::flatten)
    }

    /// A client's figures, without the ranks. `None`: there is no such client.
    pub(super) async fn risk(&self, question: SpendQuery) -> Result<Option<ClientFigures>, ReadError> {
        let read: Read<_, _> = |conn, questions, reach| Box::pin(queries::risks(conn, questions, reach));
        self.ask(&self.risks, question, read).await.map(Option::flatten)
    }

    /// What a client spent by day, by currency. `None`: there is no such client.
    pub(super) async fn trend(&self, question: SpendQuery) -> Result<Option<Vec<DaysSpend>>, ReadError> {
        let read: Read<_, _> = |conn, questions, reach| Box::pin(queries::trends(conn, questions, reach));
        self.ask(&self.trends, question, read).await.map(Option::flatten)
    }

    async fn ask<Q, A>(
        &self,
        reader: &Reader<Q, A>,
        question: Q,
        read: Read<Q, A>,
    ) -> Result<Answer<A>, ReadError>
    where
        Q: Clone + Send + Sync + 'static,
        A: Send + 'static,
    {
        let pool = self.pool.clone();
        let work = move |questions: Vec<Q>| {
            let pool = pool.clone();
            async move {
                let mut conn = pool.get().await.map_err(|error| BatchError::All(Arc::new(error.into())))?;
                read(&mut conn, &questions, Reach::UpTo(MOST)).await.map_err(|error| {
                    match is_diesel_outage(&error) {
                        true => BatchError::All(Arc::new(error.into())),
                        false => BatchError::Some(Arc::new(error.into())),
                    }
                })
            }
        };
        let asked = tokio::time::timeout(PATIENCE, reader.ask(question.clone(), work)).await;
        match asked.unwrap_or(Err(AskError::Full))? {
            Some(answer) => Ok(Some(answer)),
            None => self.ask_alone(&question, read).await,
        }
    }

    async fn ask_alone<Q, A>(&self, question: &Q, read: Read<Q, A>) -> Result<Answer<A>, ReadError> {
        let _permit = self.alone.acquire().await.map_err(|_| AskError::Lost)?;
        let mut conn = self.pool.get().await.map_err(|error| failed(error.into()))?;
        let answers = read(&mut conn, std::slice::from_ref(question), Reach::All).await;
        Ok(answers.map_err(|error| failed(error.into()))?.pop().flatten())
    }

    /// As [`Self::risk`], ranked by the statement itself.
    pub(super) async fn ranked_risk(
        &self,
        question: &SpendQuery,
    ) -> Result<Option<ClientFigures>, ReadError> {
        let read: Read<_, _> =
            |conn, questions, reach| Box::pin(queries::ranked_risks(conn, questions, reach));
        self.ask_alone(question, read).await.map(Option::flatten)
    }
}
