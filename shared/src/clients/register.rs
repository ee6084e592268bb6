//! Registering account holders: clients that no file has brought.

use super::{
    contact::{Contact, FieldFault},
    error::ClientError,
    model::Client,
    queries,
};
use crate::{
    audit,
    uploads::reading::{id_fault, is_invisible},
};
use diesel_async::AsyncPgConnection;
use rust_decimal::Decimal;

/// Fewest and most characters of a username.
pub const USERNAME_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=50;

/// An account holder to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The name under which it trades.
    pub username: String,
    /// Its id; a fresh one if absent.
    pub client_id: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// E-mail.
    pub email: Option<String>,
    /// ISO 4217 code.
    pub currency: String,
    /// What the account begins with.
    pub balance: Decimal,
}

impl NewAccount {
    /// What is wrong with it, field by field.
    pub fn faults(&self) -> Vec<FieldFault> {
        let mut faults = Vec::new();
        let mut fault = |field, message: String| faults.push(FieldFault { field, message });
        let characters = self.username.chars().count();
        if !USERNAME_CHARACTERS.contains(&characters) {
            fault("username", "has 3 to 50 characters".to_owned());
        } else if self.username.chars().all(char::is_numeric) {
            fault("username", "is not made of digits alone".to_owned());
        } else if self.username.trim() != self.username
            || self.username.chars().any(|character| character.is_control() || is_invisible(character))
        {
            fault(
                "username",
                "is one line of characters that can be seen, without blanks at its ends".to_owned(),
            );
        }
        let id = self.client_id.as_deref();
        if id.is_some_and(|id| id.trim() != id) {
            fault("client_id", "has no blanks at its ends".to_owned());
        } else if let Some((_, message)) = id.and_then(|id| id_fault(id.as_bytes(), 36)) {
            fault("client_id", message);
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            fault("currency", "is three letters, such as USD".to_owned());
        }
        if self.balance < Decimal::ZERO {
            fault("balance", "is not negative".to_owned());
        } else if self.balance.normalize().scale() > 4 {
            fault("balance", "has at most four decimals; the rest would be lost".to_owned());
        } else if self.balance >= Decimal::from_i128_with_scale(10i128.pow(16), 0) {
            fault("balance", "has at most 16 digits before the decimal point".to_owned());
        }
        let contact = Contact { name: self.name.clone(), email: self.email.clone(), ..Contact::default() };
        faults.extend(contact.faults(&Contact::default()));
        faults
    }
}

/// Registers an account holder on behalf of `by`, in the caller's transaction.
pub async fn register(
    conn: &mut AsyncPgConnection,
    new: &NewAccount,
    by: &str,
) -> Result<Client, ClientError> {
    let faults = new.faults();
    if !faults.is_empty() {
        return Err(ClientError::Invalid(faults));
    }
    let id = new.client_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let Some(client) = queries::insert_account(conn, &id, new).await? else {
        return Err(taken(conn, &id, new).await?);
    };
    let details = serde_json::json!({ "username": new.username, "balance": new.balance });
    audit::record(conn, by, "client.register", &id, &details).await?;
    Ok(client)
}

/// Which of the three that nobody shares is another's.
async fn taken(conn: &mut AsyncPgConnection, id: &str, new: &NewAccount) -> Result<ClientError, ClientError> {
    if queries::find_by_username(conn, &new.username).await?.is_some() {
        return Ok(ClientError::Taken { field: "username", value: new.username.clone() });
    }
    if let Some(email) = &new.email
        && let Some((client_id, name)) = queries::find_by_email(conn, email, id).await?
    {
        return Ok(ClientError::EmailTaken { email: email.clone(), client_id, name });
    }
    Ok(ClientError::Taken { field: "client_id", value: id.to_owned() })
}
