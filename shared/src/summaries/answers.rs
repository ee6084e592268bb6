//! Answers that are kept while nothing has changed of which they are made. The record counts the commits that
//! changed a summary ([`changes`]); whoever asks looks at that count first, so what it is given is never older
//! than the record was then, without anybody having to say that something is stale.

use crate::fixed::Fixed;
use diesel::{prelude::*, sql_types::BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// How many answers are kept at most: beyond that all are let go.
const LIMIT: usize = 200;

/// How many commits have changed a summary.
pub async fn changes(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Changes {
        #[diesel(sql_type = BigInt)]
        changes: i64,
    }
    let sql = "SELECT coalesce(sum(changes), 0)::bigint AS changes FROM summary_changes";
    Fixed(diesel::sql_query(sql)).get_result::<Changes>(conn).await.map(|row| row.changes)
}

/// The answers of one kind.
#[derive(Debug)]
pub struct Answers<K, V>(Mutex<Entries<K, V>>);

#[derive(Debug)]
struct Entries<K, V> {
    changes: i64,
    made: HashMap<K, Arc<OnceCell<Arc<V>>>>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries { changes: -1, made: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V> Answers<K, V> {
    /// The answer to `key` as of `changes` or later; made by `make`, by one of those who ask for it at the
    /// same time. `changes` must have been read before what `make` reads.
    pub async fn answer<E>(
        &self,
        changes: i64,
        key: K,
        make: impl Future<Output = Result<V, E>>,
    ) -> Result<Arc<V>, E> {
        let cell = self.cell(changes, key);
        cell.get_or_try_init(async || make.await.map(Arc::new)).await.cloned()
    }

    fn cell(&self, changes: i64, key: K) -> Arc<OnceCell<Arc<V>>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.changes != changes || entries.made.len() >= LIMIT {
            entries.made.clear();
            entries.changes = changes;
        }
        entries.made.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn ask(kept: &Answers<&'static str, i32>, changes: i64, key: &'static str, fresh: i32) -> i32 {
        *kept.answer(changes, key, async { Ok::<_, Infallible>(fresh) }).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_something_changes() {
        let kept = Answers::default();
        assert_eq!(ask(&kept, 1, "a", 10).await, 10);
        assert_eq!(ask(&kept, 1, "a", 11).await, 10);
        assert_eq!(ask(&kept, 1, "b", 20).await, 20);
        assert_eq!(ask(&kept, 2, "a", 12).await, 12);
        assert_eq!(ask(&kept, 2, "b", 21).await, 21);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let kept = Answers::<_, i32>::default();
        assert_eq!(kept.answer(1, "a", async { Err("away") }).await, Err("away"));
        assert_eq!(ask(&kept, 1, "a", 10).await, 10);
    }
}
