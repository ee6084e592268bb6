//! Whose rows a load met. An upload whose rows another one found there, and therefore did not bring,
//! cannot be undone; neither can one whose rows were sent live, too, to somebody who was told that they are there.
//! And rows that are just being taken back are nothing to rely on.

use super::{
    load::{Known, LoadError, Source, bounds},
    prepared::Prepared,
    versions::text,
};
use crate::{ids::UploadId, uploads::undo};
use tokio_postgres::Transaction;
use uuid::Uuid;

/// Stands for all that came live, where uploads name those that came after them.
pub(crate) const LIVE: Uuid = Uuid::nil();

/// Notes whose rows the batch's known rows are, and keeps those uploads from being undone until the
/// commit, this one included.
pub(super) async fn hold(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    known: &Known,
    source: Source,
) -> Result<(), LoadError> {
    let later = source.id.filter(|_| source.name == "upload").unwrap_or(LIVE);
    let relied: Vec<u32> = known.duplicates.iter().chain(&known.moves).copied().collect();
    let mut owners: Vec<(Uuid, i64)> = Vec::new();
    if let Some((first, last)) = bounds(prepared, &relied) {
        let all = &prepared.batch.text;
        let ids: Vec<&str> =
            relied.iter().map(|&row| text(prepared.row(row).transaction_id.of(all))).collect();
        let rows = transaction.query(include_str!("owners.sql"), &[&ids, &later, &first, &last]).await?;
        owners = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    }
    let mut uploads: Vec<Uuid> = owners.iter().map(|(owner, _)| *owner).collect();
    if later != LIVE {
        uploads.push(later);
        uploads.sort_unstable();
    }
    if let Some(undone) = undo::hold_off(transaction, &uploads).await? {
        return Err(LoadError::BeingUndone(UploadId(undone)));
    }
    let (owners, counts): (Vec<Uuid>, Vec<i64>) = owners.into_iter().unzip();
    if !owners.is_empty() {
        transaction
            .execute(
                "INSERT INTO upload_overlaps AS o (earlier, later, chunk, rows)
                 SELECT earlier, $2, $3, rows FROM unnest($1::uuid[], $4::bigint[]) AS met (earlier, rows)
                 ORDER BY earlier
                 ON CONFLICT (earlier, later, chunk) DO UPDATE SET rows = o.rows + excluded.rows",
                &[&owners, &later, &source.chunk, &counts],
            )
            .await?;
    }
    Ok(())
}
