//! Editing a client's contact fields.

use super::{
    contact::{Contact, ContactPatch},
    error::{ClientError, Stale},
    model::Client,
    queries,
};
use crate::audit;
use diesel::{
    prelude::*,
    result::{DatabaseErrorKind, Error},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};

/// What the audit log calls an edit; its details are a [`Contact::difference`].
pub const EDIT: &str = "client.edit";
/// How many edits are looked back on to name those that another edit had not seen.
const LOOK_BACK: i64 = 20;

/// The client after an edit.
#[derive(Debug)]
pub struct Edited {
    /// As it is now.
    pub client: Client,
    /// Whether that differs from before.
    pub changed: bool,
}

/// Edits the contact fields of a client on behalf of `actor`, who has seen them in this version: of two who
/// have seen the same, the second is refused. What changes nothing is done already and leaves no trace.
pub async fn edit_contact(
    conn: &mut AsyncPgConnection,
    id: &str,
    patch: &ContactPatch,
    version: &str,
    actor: &str,
) -> Result<Edited, ClientError> {
    let once = async |conn: &mut AsyncPgConnection| {
        conn.transaction(async |conn| edit(conn, id, patch, version, actor).await).await
    };
    match once(conn).await {
        // Another client took the e-mail after we looked; now we see whose it is.
        Err(ClientError::Database(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))) => {
            once(conn).await
        }
        other => other,
    }
}

/// The row, its audit line: one transaction, so there is never one without the other.
async fn edit(
    conn: &mut AsyncPgConnection,
    id: &str,
    patch: &ContactPatch,
    version: &str,
    actor: &str,
) -> Result<Edited, ClientError> {
    let client = queries::lock_client(conn, id).await?;
    let client = client.ok_or_else(|| ClientError::NotFound(id.to_owned()))?;
    let before = Contact::of(&client);
    let after = before.patched(patch);
    if after == before {
        return Ok(Edited { client, changed: false });
    }
    let faults = after.faults(&before);
    if !faults.is_empty() {
        return Err(ClientError::Invalid(faults));
    }
    if before.version() != version {
        let (seen, edits) = edits_since(conn, id, &before, version).await?.unzip();
        let edits = edits.unwrap_or_default();
        return Err(ClientError::Stale(Box::new(Stale {
            client_id: client.client_id,
            contact: before,
            seen,
            edits,
        })));
    }
    if let Some(email) = after.email.as_ref().filter(|_| after.email != before.email)
        && let Some((client_id, name)) = queries::find_by_email(conn, email, id).await?
    {
        return Err(ClientError::EmailTaken { email: email.clone(), client_id, name });
    }
    let client = queries::set_contact(conn, id, &after).await?;
    audit::record(conn, actor, EDIT, id, &before.difference(&after)).await?;
    Ok(Edited { client, changed: true })
}

/// The last edits of a client, newest first.
pub async fn last_edits(
    conn: &mut AsyncPgConnection,
    id: &str,
    limit: i64,
) -> QueryResult<Vec<audit::Entry>> {
    audit::latest(conn, EDIT, id, limit).await
}

/// The fields in `version` and the edits that led from there to `now`; `None` if it was not edits alone.
async fn edits_since(
    conn: &mut AsyncPgConnection,
    id: &str,
    now: &Contact,
    version: &str,
) -> QueryResult<Option<(Contact, Vec<audit::Entry>)>> {
    let (mut contact, mut since) = (now.clone(), Vec::new());
    for edit in last_edits(conn, id, LOOK_BACK).await? {
        contact = contact.before(&edit.details);
        since.push(edit);
        if contact.version() == version {
            return Ok(Some((contact, since)));
        }
    }
    Ok(None)
}
