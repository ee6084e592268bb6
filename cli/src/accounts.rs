//! The users that the command line makes, each with its line in the audit log.

use crate::output::remark;
use anyhow::{Context, bail};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    audit,
    auth::{AuthError, Role, create_user, queries},
};

/// Letters of generated passwords: 32 that are not taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// An administrator whose password was made here; it is shown once and stored nowhere but hashed.
#[derive(Debug)]
pub struct NewAdmin {
    /// Name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// Makes a user on behalf of whoever sits at the command line.
pub async fn make(
    conn: &mut AsyncPgConnection,
    username: &str,
    email: Option<&str>,
    password: &str,
    role: Role,
) -> Result<(), AuthError> {
    conn.transaction(async |conn| {
        create_user(conn, username, email, password, role).await?;
        let details = serde_json::json!({ "role": role });
        Ok(audit::record(conn, "command line", "user.create", username, &details).await?)
    })
    .await
}

/// Makes the administrator of a fresh installation; nothing if there are users. If the process dies
/// before the password is shown, `create-admin` makes another one.
pub async fn first_admin(conn: &mut AsyncPgConnection) -> anyhow::Result<Option<NewAdmin>> {
    if queries::any_user(conn).await? {
        return Ok(None);
    }
    let admin = NewAdmin { username: "admin".to_owned(), password: random_password() };
    match make(conn, &admin.username, None, &admin.password, Role::Admin).await {
        Ok(()) => Ok(Some(admin)),
        // Another process was faster.
        Err(AuthError::Taken(_)) => Ok(None),
        Err(error) => Err(error).context("the administrator cannot be made"),
    }
}

/// Makes the administrator that `MILLRACE_ADMIN_USERNAME`, `_EMAIL` and `_PASSWORD` describe, if they
/// are set and there is no such user; returns the name if one was made.
pub async fn admin_from_env(conn: &mut AsyncPgConnection) -> anyhow::Result<Option<String>> {
    let Some((username, password)) = described_admin()? else { return Ok(None) };
    let email = env("MILLRACE_ADMIN_EMAIL");
    match make(conn, &username, email.as_deref(), &password, Role::Admin).await {
        Ok(()) => Ok(Some(username)),
        Err(AuthError::Taken(_)) => {
            if queries::find_by_username(conn, &username)
                .await?
                .is_some_and(|(user, _)| user.role != Role::Admin)
            {
                remark(format!(
                    "{username} of MILLRACE_ADMIN_USERNAME is there already, and no administrator: it stays as it is."
                ));
            }
            Ok(None)
        }
        Err(error) => Err(error).context("the administrator of MILLRACE_ADMIN_USERNAME cannot be made"),
    }
}

/// Name and password of the administrator that the environment describes, if it does.
pub fn described_admin() -> anyhow::Result<Option<(String, String)>> {
    match (env("MILLRACE_ADMIN_USERNAME"), env("MILLRACE_ADMIN_PASSWORD")) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) if password.eq_ignore_ascii_case(&username) => {
            bail!("the password of MILLRACE_ADMIN_PASSWORD is the name {username}: choose another")
        }
        (Some(username), Some(password)) => Ok(Some((username, password))),
        (Some(_), None) => {
            bail!("MILLRACE_ADMIN_USERNAME is set but MILLRACE_ADMIN_PASSWORD is not: set both or neither")
        }
        (None, Some(_)) => {
            bail!("MILLRACE_ADMIN_PASSWORD is set but MILLRACE_ADMIN_USERNAME is not: set both or neither")
        }
    }
}

/// A variable, if it is there and not blank.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Twenty letters in four groups: 100 random bits that can be typed.
pub fn random_password() -> String {
    let mut bytes = [0u8; 20];
    rand::fill(&mut bytes);
    let mut password = String::with_capacity(23);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index.is_multiple_of(5) {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    password
}

#[cfg(test)]
mod tests {
    use super::random_password;

    #[test]
    fn generated_passwords_can_be_typed_and_differ() {
        let password = random_password();
        assert_eq!(password.len(), 23);
        assert!(password.split('-').all(|group| group.len() == 5));
        assert_ne!(password, random_password());
    }
}
