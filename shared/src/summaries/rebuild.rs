//! Rebuilding the kept totals from the rows, in place and part by part, while loads and undos go on.
//!
//! A part is one transaction: (1) one statement finds the keys that rows or totals of the part have; (2) those
//! totals are held in the order of their keys, missing ones made; (3) a new statement counts the rows and
//! overwrites what is held; totals without rows go. Readers see the part as it was, then as it should be.
//!
//! It is right because whoever changes a total's rows holds the total until the commit (`kept`): at (3)
//! whoever held it before has committed rows and total, and both are seen; whoever comes after waits, with
//! rows that nobody sees yet, and adds to what was counted. A key that (1) did not find had neither rows
//! nor a total: whoever brings its first row makes its total from nothing, and (3) leaves it alone.
//! Nothing is remembered: after a crash the next attempt begins anew and finds what is right already.
//! Tests: damaged_summaries_are_mended_while_three_load_and_one_undoes, and its neighbours.

use super::{
    kept::in_zone,
    parts::{self, Part},
};
use crate::{
    runs::{Finished, JobError, RunContext, try_again},
    transactions::prerequisites::SESSION,
};
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Error};

/// What was done to a table.
#[derive(Debug, Default, Serialize)]
struct Mended {
    /// Totals that were looked at.
    totals: u64,
    /// Of these, missing before.
    created: u64,
    /// Of these, written: those that were wrong, or all.
    written: i64,
    /// Of these, without a row.
    removed: i64,
}

/// The handler of `RebuildSummaries`. `all` totals are written, or those that are wrong.
pub(super) async fn rebuild(all: bool, context: RunContext) -> Result<Finished, JobError> {
    let env = &context.env;
    let mut client = env.load_connections.take(SESSION).await.map_err(JobError::retry)?;
    let parts = parts::all(&client, env.settings.zone, env.chunk_records).await.map_err(JobError::retry)?;
    let total = Some(parts.len() as i64);
    let mut report: BTreeMap<&str, Mended> = BTreeMap::new();
    for (part, done) in parts.iter().zip(0..) {
        context.progress(done, total, "parts", &part.words()).await;
        let mut lost = 0;
        let mended = loop {
            if context.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            match mend(&mut client, part, env.settings.zone, all).await {
                Ok(mended) => break mended,
                Err(error) => try_again(&mut lost, error)?,
            }
        };
        let sum = report.entry(part.kept.table).or_default();
        sum.totals += mended.totals;
        sum.created += mended.created;
        sum.written += mended.written;
        sum.removed += mended.removed;
    }
    env.load_connections.put_back(client);
    let result = serde_json::to_value(&report).map_err(JobError::fail)?;
    tracing::info!(%result, "the summaries are rebuilt");
    Ok(Finished::Result(result))
}

/// One part, in one transaction; dying before its commit leaves the part as it was.
async fn mend(client: &mut Client, part: &Part, zone: Tz, all: bool) -> Result<Mended, Error> {
    let kept = part.kept;
    let (table, columns, key) = (kept.table, kept.all(), kept.key());
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(&format!("{}; CREATE TEMP TABLE held (LIKE {table}) ON COMMIT DROP", part.settings()))
        .await?;
    let find = format!(
        "WITH counted AS MATERIALIZED ({}), kept AS MATERIALIZED ({})
         INSERT INTO held ({columns})
         SELECT {columns} FROM counted UNION ALL
         SELECT {columns} FROM kept k WHERE NOT EXISTS (SELECT FROM counted c WHERE {})",
        part.counted(),
        part.kept(),
        kept.same_key("c", "k"),
    );
    let totals = transaction.execute(&in_zone(&find, zone), &part.params()).await?;
    transaction.batch_execute("ANALYZE held").await?;
    let created = transaction.execute(&kept.hold("held"), &[]).await?;
    let counted =
        format!("SELECT * FROM ({}) AS c WHERE ({key}) IN (SELECT {key} FROM held)", part.counted());
    let overwrite = kept.overwrite(&format!("SELECT {key} FROM held"), &counted, &part.within("d"), all);
    let done = transaction.query_one(&in_zone(&overwrite, zone), &part.params()).await?;
    transaction.commit().await?;
    Ok(Mended { totals, created, written: done.get(0), removed: done.get(1) })
}
