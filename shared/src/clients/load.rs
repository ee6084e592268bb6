//! Loading a clients file: new clients are made, known ones brought up to date with what the file
//! says, in one database transaction per chunk.

use super::parse::{ClientBatch, ClientRow};
use crate::{transactions::accounts::CURRENCIES_LOCK, uploads::model::ExistingClients};
use std::collections::HashMap;
use tokio_postgres::{Error, Transaction};

/// A record that contradicts another client or an earlier record.
#[derive(Debug)]
pub struct ClientConflict {
    /// The row in the batch.
    pub row: usize,
    /// The column at fault.
    pub column: &'static str,
    /// Both sides, for people.
    pub message: String,
}

/// What became of a batch's rows.
#[derive(Debug, Default)]
pub struct LoadedClients {
    /// New clients.
    pub inserted: i64,
    /// Known clients with something new about them.
    pub updated: i64,
    /// Known clients with nothing new.
    pub duplicates: i64,
    /// Rows that contradict.
    pub conflicts: Vec<ClientConflict>,
}

/// Loads a batch within the caller's transaction. The rows of known clients are locked in id order. A
/// unique violation means that another load took an e-mail address meanwhile: try again.
pub async fn load(
    transaction: &Transaction<'_>,
    batch: &ClientBatch,
    default_currency: &str,
    existing: ExistingClients,
) -> Result<LoadedClients, Error> {
    let mut loaded = LoadedClients::default();
    let mut rows = settle_repetitions(batch, &mut loaded);
    rows.sort_unstable_by(|&one, &other| batch.rows[one].1.client_id.cmp(&batch.rows[other].1.client_id));
    for part in rows.chunks(5_000) {
        stage(transaction, batch, part).await?;
        leave_existing(transaction, existing, &mut loaded).await?;
        refuse_taken(transaction, &mut loaded).await?;
        loaded.duplicates += transaction.execute(include_str!("drop_unchanged.sql"), &[]).await? as i64;
        loaded.updated += transaction.execute(include_str!("update_known.sql"), &[]).await? as i64;
        loaded.inserted +=
            transaction.execute(include_str!("insert_new.sql"), &[&default_currency]).await? as i64;
        transaction.batch_execute("DROP TABLE incoming_clients").await?;
    }
    Ok(loaded)
}

/// Of several records of one client, or of one e-mail address, the first counts.
fn settle_repetitions(batch: &ClientBatch, loaded: &mut LoadedClients) -> Vec<usize> {
    let (mut ids, mut emails) = (HashMap::<&str, usize>::new(), HashMap::<String, usize>::new());
    let mut kept = Vec::new();
    for (at, (_, row)) in batch.rows.iter().enumerate() {
        if let Some(&first) = ids.get(row.client_id.as_str()) {
            let line = batch.rows[first].0.line;
            if batch.rows[first].1 == *row {
                loaded.duplicates += 1;
            } else {
                let message =
                    format!("client {} stands on line {line} of this file with other values", row.client_id);
                loaded.conflicts.push(ClientConflict { row: at, column: "client_id", message });
            }
            continue;
        }
        if let Some(email) = row.email.as_ref().map(|email| email.to_lowercase()) {
            if let Some(&first) = emails.get(&email) {
                let (place, other) = &batch.rows[first];
                let message = format!(
                    "{email} is the e-mail of client {} (line {} of this file)",
                    other.client_id, place.line
                );
                loaded.conflicts.push(ClientConflict { row: at, column: "email", message });
                continue;
            }
            emails.insert(email, at);
        }
        ids.insert(&row.client_id, at);
        kept.push(at);
    }
    kept
}

/// Puts rows into a temporary table and locks the clients they name.
async fn stage(transaction: &Transaction<'_>, batch: &ClientBatch, rows: &[usize]) -> Result<(), Error> {
    let column = |value: fn(&ClientRow) -> Option<String>| -> Vec<Option<String>> {
        rows.iter().map(|&row| value(&batch.rows[row].1)).collect()
    };
    let places: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let days = |value: fn(&ClientRow) -> Option<chrono::NaiveDate>| -> Vec<Option<chrono::NaiveDate>> {
        rows.iter().map(|&row| value(&batch.rows[row].1)).collect()
    };
    let suspended: Vec<Option<bool>> = rows.iter().map(|&row| batch.rows[row].1.suspended).collect();
    transaction.batch_execute(include_str!("stage.sql")).await?;
    transaction
        .execute(
            "INSERT INTO incoming_clients SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[],
                 $5::date[], $6::text[], $7::text[], $8::text[]::numeric[], $9::date[], $10::text[], $11::text[],
                 $12::text[], $13::text[], $14::boolean[], $15::text[])",
            &[
                &places,
                &column(|row| Some(row.client_id.clone())),
                &column(|row| row.name.clone()),
                &column(|row| row.email.clone()),
                &days(|row| row.date_of_birth),
                &column(|row| row.country.clone()),
                &column(|row| row.account_type.map(|kind| kind.to_string())),
                &column(|row| row.opening_balance.clone()),
                &days(|row| row.account_open_date),
                &column(|row| row.phone_number.clone()),
                &column(|row| row.address.clone()),
                &column(|row| row.risk_tolerance.map(|risk| risk.to_string())),
                &column(|row| row.currency.clone()),
                &suspended,
                &column(|row| row.telegram_chat_id.clone()),
            ],
        )
        .await?;
    transaction
        .execute(
            "SELECT 1 FROM clients c JOIN incoming_clients i USING (client_id)
             ORDER BY c.client_id FOR NO KEY UPDATE OF c",
            &[],
        )
        .await?;
    Ok(())
}

/// Takes out the rows of known clients, where the upload wants them left as they are. A stub is not
/// known: the file says who it is.
async fn leave_existing(
    transaction: &Transaction<'_>,
    existing: ExistingClients,
    loaded: &mut LoadedClients,
) -> Result<(), Error> {
    if existing == ExistingClients::Update {
        return Ok(());
    }
    let known = transaction
        .query(
            "DELETE FROM incoming_clients i USING clients c
             WHERE c.client_id = i.client_id AND NOT c.stub RETURNING i.row, c.client_id, coalesce(c.name, '')",
            &[],
        )
        .await?;
    if existing == ExistingClients::Keep {
        loaded.duplicates += known.len() as i64;
        return Ok(());
    }
    loaded.conflicts.extend(known.iter().map(|row| ClientConflict {
        row: row.get::<_, i32>(0) as usize,
        column: "client_id",
        message: format!(
            "client {} {:?} is known already, and known clients were to be rejected",
            row.get::<_, &str>(1),
            row.get::<_, &str>(2)
        ),
    }));
    Ok(())
}

/// Takes out the rows whose e-mail is another client's, those that would change the currency of an account whose
/// amounts are recorded, and those that would change what an account began with that was registered or traded on.
async fn refuse_taken(transaction: &Transaction<'_>, loaded: &mut LoadedClients) -> Result<(), Error> {
    let taken = transaction
        .query(
            "DELETE FROM incoming_clients i USING clients c
             WHERE lower(c.email) = lower(i.email) AND c.client_id <> i.client_id
             RETURNING i.row, i.email, c.client_id, coalesce(c.name, '')",
            &[],
        )
        .await?;
    for row in taken {
        let (email, client, name): (&str, &str, &str) = (row.get(1), row.get(2), row.get(3));
        let message = format!("{email} is the e-mail of client {client} {name:?}");
        loaded.conflicts.push(ClientConflict {
            row: row.get::<_, i32>(0) as usize,
            column: "email",
            message,
        });
    }
    let stubs_move = transaction
        .query_opt(
            "SELECT 1 FROM incoming_clients i JOIN clients c USING (client_id)
             WHERE c.stub AND i.currency <> c.currency LIMIT 1",
            &[],
        )
        .await?;
    if stubs_move.is_some() {
        // Loads convert into the currencies that accounts have: none does so while one changes.
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&CURRENCIES_LOCK]).await?;
    }
    let moved = transaction
        .query(
            "DELETE FROM incoming_clients i USING clients c
             WHERE c.client_id = i.client_id AND i.currency <> c.currency
               AND (NOT c.stub OR EXISTS (SELECT 1 FROM transactions t
                                          WHERE t.client_id = c.client_id AND t.account_amount IS NOT NULL))
             RETURNING i.row, c.client_id, c.currency, i.currency, c.stub",
            &[],
        )
        .await?;
    for row in moved {
        let (client, there, here): (&str, &str, &str) = (row.get(1), row.get(2), row.get(3));
        let mut message =
            format!("the account of client {client} is kept in {there}; a file cannot change it to {here}");
        if row.get(4) {
            message.push_str(&format!(
                ": buys or sells came before the client's own record and were converted into {there}; undo their upload first"
            ));
        }
        loaded.conflicts.push(ClientConflict {
            row: row.get::<_, i32>(0) as usize,
            column: "currency",
            message,
        });
    }
    refuse_another_beginning(transaction, loaded).await
}

/// What trades were settled against stays: nobody's past changes by a file.
async fn refuse_another_beginning(
    transaction: &Transaction<'_>,
    loaded: &mut LoadedClients,
) -> Result<(), Error> {
    let began = transaction
        .query(
            "DELETE FROM incoming_clients i USING clients c
             WHERE c.client_id = i.client_id AND i.opening_balance <> c.opening_balance
               AND (c.username IS NOT NULL OR EXISTS (SELECT 1 FROM holdings h WHERE h.client_id = c.client_id))
             RETURNING i.row, c.client_id, trim_scale(c.opening_balance)::text, trim_scale(i.opening_balance)::text,
                       c.currency",
            &[],
        )
        .await?;
    for row in began {
        let text = |at: usize| row.get::<_, &str>(at);
        let message = format!(
            "the account of client {} began with {} {currency}, and its trades count from there; a file cannot change \
             that to {} {currency}: leave the balance out, or give the same",
            text(1),
            text(2),
            text(3),
            currency = text(4),
        );
        loaded.conflicts.push(ClientConflict {
            row: row.get::<_, i32>(0) as usize,
            column: "opening_balance",
            message,
        });
    }
    Ok(())
}
