//! What asks for attention, beside the navigation of every page. Pages that are asked for at the same time are told
//! by one look at the record, which begins after all of them were asked for.

use crate::error::ApiResult;
use shared::{
    db::{DbError, DbPool},
    gather::{BatchError, Gatherer},
    runs::pulse::{self, Attention},
};
use std::sync::Arc;

/// Pages that one look is for; beyond `ROOM` that wait, more are refused.
const TOGETHER: usize = 1_000;
const ROOM: usize = 10_000;

/// Where a process looks.
pub struct Watch {
    pool: DbPool,
    looks: Gatherer<(), Attention, Arc<DbError>>,
}

impl Watch {
    /// Looks over connections of `pool`.
    pub fn new(pool: DbPool) -> Self {
        Self { pool, looks: Gatherer::new(TOGETHER, ROOM) }
    }

    /// What asks for attention now.
    pub async fn now(&self) -> ApiResult<Attention> {
        let pool = self.pool.clone();
        let work = move |pages: Vec<()>| {
            let pool = pool.clone();
            async move {
                let attention = look(&pool).await.map_err(|error| BatchError::All(Arc::new(error)))?;
                Ok(vec![attention; pages.len()])
            }
        };
        Ok(self.looks.ask((), work).await?)
    }
}

async fn look(pool: &DbPool) -> Result<Attention, DbError> {
    Ok(pulse::attention(&mut *pool.get().await?).await?)
}
