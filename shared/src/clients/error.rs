//! Why a client is not changed.

use super::contact::{Contact, FieldFault};
use crate::audit;

/// A change was refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no such client.
    #[error("There is no client {:?}.", .0.chars().take(80).collect::<String>())]
    NotFound(String),
    /// Fields cannot have these values.
    #[error("{}", .0.iter().map(|fault| format!("{} {}.", fault.field, fault.message)).collect::<Vec<_>>().join(" "))]
    Invalid(Vec<FieldFault>),
    /// Two clients cannot share it.
    #[error("There is a client whose {field} is {value:?} already. Choose another.")]
    Taken {
        /// The id, or the username.
        field: &'static str,
        /// As it was given.
        value: String,
    },
    /// The e-mail is another client's.
    #[error(
        "{email} is the e-mail of client {client_id}{}; no two clients share one. Give another, or change that \
         client's first.",
        name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default()
    )]
    EmailTaken {
        /// As it was given.
        email: String,
        /// Whose it is.
        client_id: String,
        /// Their name.
        name: Option<String>,
    },
    /// Somebody else was faster.
    #[error("{}", stale_words(.0))]
    Stale(Box<Stale>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// What an edit had not seen.
#[derive(Debug)]
pub struct Stale {
    /// The client.
    pub client_id: String,
    /// Its contact fields as they are now.
    pub contact: Contact,
    /// What the edit had seen, if edits alone have come between.
    pub seen: Option<Contact>,
    /// Those edits, newest first; none if a file brought what is new.
    pub edits: Vec<audit::Entry>,
}

fn stale_words(stale: &Stale) -> String {
    let mut actors: Vec<&str> = stale.edits.iter().map(|edit| edit.actor.as_str()).collect();
    actors.dedup();
    let why = if actors.is_empty() {
        "are not those of this contact_version: a clients file has changed them since they were read, or it never \
         was theirs"
            .to_owned()
    } else {
        format!("have been changed by {} since they were read", actors.join(", "))
    };
    format!(
        "The contact fields of client {} {why}. Nothing of this was saved. Read them again, and send their \
         contact_version.",
        stale.client_id
    )
}
