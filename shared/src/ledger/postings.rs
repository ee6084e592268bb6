//! What uploads post. Each chunk notes what its buys and sells owe the accounts; when the upload
//! finishes, all of it becomes one journal, and positions move at once. An upload that failed or was
//! cancelled keeps its notes; another one that found its rows there posts them, since they are not brought
//! again. An undo posts the reverse.

use crate::{
    ids::{JournalId, UploadId},
    money::units_to_text,
    transactions::{TransactionKind, load::Settled, prepared::Prepared},
};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Error, Transaction};

/// A journal that was posted.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Posted {
    /// Its id.
    pub journal_id: JournalId,
    /// Accounts whose positions moved.
    pub accounts: i64,
}

/// Notes what settled buys (which take) and sells (which give) of a chunk owe the accounts, in the
/// loading transaction.
pub async fn note(
    transaction: &Transaction<'_>,
    upload: UploadId,
    chunk: i32,
    prepared: &Prepared,
    settled: &[Settled],
) -> Result<(), Error> {
    let owed = owed(prepared, settled);
    if owed.is_empty() {
        return Ok(());
    }
    let clients: Vec<&str> = owed.keys().copied().collect();
    // One text, as PostgreSQL writes arrays: a string for each amount would be many times as large.
    let mut amounts = String::from("{");
    for &amount in owed.values() {
        if amounts.len() > 1 {
            amounts.push(',');
        }
        amounts.push_str(&units_to_text(amount));
    }
    amounts.push('}');
    transaction
        .execute(
            "INSERT INTO upload_postings (upload_id, chunk, clients, amounts) VALUES ($1, $2, $3, $4::text::numeric[])",
            &[&upload.0, &chunk, &clients, &amounts],
        )
        .await?;
    Ok(())
}

/// What settled buys (which take) and sells (which give) owe the accounts of their clients; units.
fn owed<'p>(prepared: &'p Prepared, settled: &[Settled]) -> BTreeMap<&'p str, i128> {
    let mut owed: BTreeMap<&str, i128> = BTreeMap::new();
    for settled in settled {
        let buys = prepared.row(settled.row).kind == TransactionKind::Buy;
        let signed = if buys { -settled.account_amount } else { settled.account_amount };
        *owed.entry(prepared.client(settled.row)).or_default() += signed;
    }
    owed
}

/// Accounts that are locked: their currencies, and the usernames of those that have one, by client.
pub(crate) type Locked = BTreeMap<String, (String, Option<String>)>;

/// Locks the accounts that live rows may move. Call it when the rows' ids are registered and before any summary is
/// written.
pub(crate) async fn lock_accounts(transaction: &Transaction<'_>, clients: &[&str]) -> Result<Locked, Error> {
    let rows = transaction
        .query(
            "SELECT client_id, currency, username FROM clients WHERE client_id = ANY ($1)
             ORDER BY client_id FOR NO KEY UPDATE",
            &[&clients],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

/// Posts what live buys and sells that took place move: one journal for all that commit together, net for each
/// client, against the clearing account of each currency. The accounts are locked.
pub(crate) async fn post_live(
    transaction: &Transaction<'_>,
    commit: uuid::Uuid,
    prepared: &Prepared,
    settled: &[Settled],
    accounts: &Locked,
) -> Result<(), Error> {
    let mut clearing: BTreeMap<&str, i128> = BTreeMap::new();
    let mut lines: Vec<(&str, Option<&str>, &str, i128)> = Vec::new();
    for (client, amount) in owed(prepared, settled).into_iter().filter(|(_, amount)| *amount != 0) {
        let Some((currency, _)) = accounts.get(client) else { continue };
        lines.push(("client", Some(client), currency, amount));
        *clearing.entry(currency).or_default() -= amount;
    }
    if lines.is_empty() {
        return Ok(());
    }
    let others = clearing.into_iter().filter(|(_, amount)| *amount != 0);
    lines.extend(others.map(|(currency, amount)| ("clearing", None, currency, amount)));
    let journal = JournalId::generate();
    transaction
        .execute("INSERT INTO journals (id, kind, source_id) VALUES ($1, 'live', $2)", &[&journal.0, &commit])
        .await?;
    let accounts: Vec<&str> = lines.iter().map(|line| line.0).collect();
    let clients: Vec<Option<&str>> = lines.iter().map(|line| line.1).collect();
    let currencies: Vec<&str> = lines.iter().map(|line| line.2).collect();
    let amounts: Vec<String> = lines.iter().map(|line| units_to_text(line.3)).collect();
    transaction
        .execute(
            "INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
             SELECT $1, n, amount::numeric, account, client_id, 'cash', asset
             FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
                  AS line (account, client_id, asset, amount, n)",
            &[&journal.0, &accounts, &clients, &currencies, &amounts],
        )
        .await?;
    move_positions(transaction, journal).await.map(drop)
}

/// The uploads that will not finish by themselves, owe something, and whose rows this upload found there.
pub async fn left_open(client: &Client, upload: UploadId) -> Result<Vec<UploadId>, Error> {
    let rows = client
        .query(
            "SELECT u.id FROM uploads u
             WHERE u.id IN (SELECT earlier FROM upload_overlaps WHERE later = $1)
               AND u.state IN ('failed', 'cancelled') AND u.undo_run_id IS NULL
               AND EXISTS (SELECT 1 FROM upload_postings p WHERE p.upload_id = u.id)",
            &[&upload.0],
        )
        .await?;
    Ok(rows.iter().map(|row| UploadId(row.get(0))).collect())
}

/// Posts what an upload's chunks have noted, once: one journal, net for each client, against the
/// clearing account of each currency; `None` if nothing is owed. Locks the clients in order.
pub async fn post_upload(transaction: &Transaction<'_>, upload: UploadId) -> Result<Option<Posted>, Error> {
    transaction
        .batch_execute(
            "CREATE TEMP TABLE owed (client_id text COLLATE \"C\", currency text, amount numeric(28,4)) ON COMMIT DROP",
        )
        .await?;
    transaction
        .execute(
            // Whoever removes a note posts it: of two at once, one.
            "WITH noted AS (DELETE FROM upload_postings WHERE upload_id = $1 RETURNING clients, amounts)
             INSERT INTO owed SELECT p.client_id, c.currency, p.amount
             FROM (SELECT client_id, sum(amount) AS amount
                   FROM noted, unnest(clients, amounts) AS o (client_id, amount)
                   GROUP BY client_id HAVING sum(amount) <> 0) AS p
             JOIN clients c USING (client_id)
             ORDER BY c.client_id FOR NO KEY UPDATE OF c",
            &[&upload.0],
        )
        .await?;
    let journal = JournalId::generate();
    let posted = transaction
        .execute(
            "INSERT INTO journals (id, kind, source_id, part)
             SELECT $1, 'upload', $2,
                    (SELECT count(*)::integer FROM journals WHERE source_id = $2 AND kind = 'upload')
             WHERE EXISTS (SELECT 1 FROM owed)",
            &[&journal.0, &upload.0],
        )
        .await?;
    if posted == 0 {
        return Ok(None);
    }
    transaction.execute(include_str!("insert_entries.sql"), &[&journal.0]).await?;
    move_positions(transaction, journal).await.map(Some)
}

/// Posts the reverse of an upload's journals, each once; the last of them, `None` if it has none.
pub async fn reverse_upload(
    transaction: &Transaction<'_>,
    upload: UploadId,
) -> Result<Option<Posted>, Error> {
    let journals = transaction
        .query("SELECT id FROM journals WHERE source_id = $1 AND kind = 'upload' ORDER BY part", &[&upload.0])
        .await?;
    let mut last = None;
    for row in journals {
        last = Some(reverse(transaction, row.get(0)).await?);
    }
    Ok(last)
}

async fn reverse(transaction: &Transaction<'_>, reversed: uuid::Uuid) -> Result<Posted, Error> {
    let journal = JournalId::generate();
    transaction
        .execute(
            "INSERT INTO journals (id, kind, source_id, part, reversal_of)
             SELECT $1, 'upload_reversal', source_id, part, id FROM journals WHERE id = $2",
            &[&journal.0, &reversed],
        )
        .await?;
    transaction
        .execute(
            "SELECT 1 FROM clients WHERE client_id IN (SELECT client_id FROM entries WHERE journal_id = $1)
             ORDER BY client_id FOR NO KEY UPDATE",
            &[&reversed],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
             SELECT $1, entry, -amount, account, client_id, asset_kind, asset FROM entries WHERE journal_id = $2",
            &[&journal.0, &reversed],
        )
        .await?;
    move_positions(transaction, journal).await
}

/// Moves the positions of a journal's clients, which are locked, by its cash.
async fn move_positions(transaction: &Transaction<'_>, journal_id: JournalId) -> Result<Posted, Error> {
    let accounts = transaction
        .execute(
            "UPDATE clients c SET position = c.position + e.amount
             FROM entries e WHERE e.journal_id = $1 AND e.client_id = c.client_id AND e.asset_kind = 'cash'",
            &[&journal_id.0],
        )
        .await?;
    Ok(Posted { journal_id, accounts: accounts as i64 })
}
