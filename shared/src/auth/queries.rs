//! Statements about users, sessions, keys and failed logins.

use super::model::{ApiKey, Role, User};
use crate::{
    ids::{ApiKeyId, UserId},
    pagination::{Page, PageRequest},
    schema::{api_keys, login_failures, sessions, users},
};
use chrono::{DateTime, Utc};
use diesel::{
    dsl::{now, sql},
    prelude::*,
    sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A user by id, unless disabled.
pub async fn find_active_user(conn: &mut AsyncPgConnection, id: UserId) -> QueryResult<Option<User>> {
    users::table
        .find(id)
        .filter(users::disabled_at.is_null())
        .select(User::as_select())
        .first(conn)
        .await
        .optional()
}

/// A user by id, disabled or not.
pub async fn find_user(conn: &mut AsyncPgConnection, id: UserId) -> QueryResult<Option<User>> {
    users::table.find(id).select(User::as_select()).first(conn).await.optional()
}

/// A user and its password's hash, by name without regard to case.
pub async fn find_by_username(
    conn: &mut AsyncPgConnection,
    username: &str,
) -> QueryResult<Option<(User, String)>> {
    users::table
        .filter(sql::<Bool>("lower(username) = lower(").bind::<Text, _>(username).sql(")"))
        .select((User::as_select(), users::password_hash))
        .first(conn)
        .await
        .optional()
}

/// Users, newest first. The cursor's key is the user's id.
pub async fn list_users(conn: &mut AsyncPgConnection, request: &PageRequest) -> QueryResult<Page<User>> {
    let mut query = users::table.select(User::as_select()).into_boxed();
    let from: Option<UserId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(users::id.gt(id)).order(users::id.asc()),
        (Some(id), false) => query.filter(users::id.lt(id)).order(users::id.desc()),
        (None, _) => query.order(users::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |user| vec![user.id.to_string()]))
}

/// Whether there is a user at all.
pub async fn any_user(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(users::table.select(users::id))).get_result(conn).await
}

/// Stores a user; `None` if the name is taken.
pub async fn insert_user(
    conn: &mut AsyncPgConnection,
    username: &str,
    email: Option<&str>,
    password_hash: &str,
    role: Role,
) -> QueryResult<Option<User>> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(UserId::generate()),
            users::username.eq(username),
            users::email.eq(email),
            users::password_hash.eq(password_hash),
            users::role.eq(role),
        ))
        .on_conflict_do_nothing()
        .returning(User::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// Stores a session of `hours` hours.
pub async fn insert_session(
    conn: &mut AsyncPgConnection,
    token_hash: &[u8],
    user: UserId,
    csrf_token: &str,
    hours: i32,
) -> QueryResult<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(token_hash),
            sessions::user_id.eq(user),
            sessions::csrf_token.eq(csrf_token),
            sessions::expires_at
                .eq(sql::<Timestamptz>("now() + make_interval(hours => ").bind::<Integer, _>(hours).sql(")")),
        ))
        .execute(conn)
        .await
        .map(|_| ())
}

/// The user and CSRF token of a live session of a user who is not disabled.
pub async fn find_session(
    conn: &mut AsyncPgConnection,
    token_hash: &[u8],
) -> QueryResult<Option<(User, String)>> {
    sessions::table
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(sessions::token_hash.eq(token_hash))
        .filter(sessions::expires_at.gt(now).and(users::disabled_at.is_null()))
        .select((User::as_select(), sessions::csrf_token))
        .first(conn)
        .await
        .optional()
}

/// Ends a session, and sweeps those that have expired.
pub async fn delete_session(conn: &mut AsyncPgConnection, token_hash: &[u8]) -> QueryResult<()> {
    diesel::delete(
        sessions::table.filter(sessions::token_hash.eq(token_hash).or(sessions::expires_at.le(now))),
    )
    .execute(conn)
    .await
    .map(|_| ())
}

/// Stores a key; `None` if a working key has the name.
pub async fn insert_api_key(
    conn: &mut AsyncPgConnection,
    key: &ApiKey,
    key_hash: &[u8],
) -> QueryResult<Option<ApiKey>> {
    let named = api_keys::table.filter(api_keys::name.eq(&key.name)).filter(works());
    if diesel::select(diesel::dsl::exists(named)).get_result(conn).await? {
        return Ok(None);
    }
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(key.id),
            api_keys::name.eq(&key.name),
            api_keys::prefix.eq(&key.prefix),
            api_keys::key_hash.eq(key_hash),
            api_keys::role.eq(key.role),
            api_keys::created_by.eq(&key.created_by),
            api_keys::expires_at.eq(key.expires_at),
        ))
        .returning(ApiKey::as_returning())
        .get_result(conn)
        .await
        .map(Some)
}

/// Neither revoked nor expired.
fn works() -> diesel::expression::SqlLiteral<Bool> {
    sql("revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())")
}

/// The working key with this hash.
pub async fn find_working_api_key(
    conn: &mut AsyncPgConnection,
    key_hash: &[u8],
) -> QueryResult<Option<ApiKey>> {
    api_keys::table
        .filter(api_keys::key_hash.eq(key_hash))
        .filter(works())
        .select(ApiKey::as_select())
        .first(conn)
        .await
        .optional()
}

/// A key by id, working or not.
pub async fn find_api_key_by_id(conn: &mut AsyncPgConnection, id: ApiKeyId) -> QueryResult<Option<ApiKey>> {
    api_keys::table.find(id).select(ApiKey::as_select()).first(conn).await.optional()
}

/// Keys, working or not, newest first. The cursor's key is the key's id.
pub async fn list_api_keys(conn: &mut AsyncPgConnection, request: &PageRequest) -> QueryResult<Page<ApiKey>> {
    let mut query = api_keys::table.select(ApiKey::as_select()).into_boxed();
    let from: Option<ApiKeyId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(api_keys::id.gt(id)).order(api_keys::id.asc()),
        (Some(id), false) => query.filter(api_keys::id.lt(id)).order(api_keys::id.desc()),
        (None, _) => query.order(api_keys::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |key| vec![key.id.to_string()]))
}

/// Revokes a key; the first revocation's time stays. `None` if there is no such key.
pub async fn revoke_api_key(conn: &mut AsyncPgConnection, id: ApiKeyId) -> QueryResult<Option<ApiKey>> {
    diesel::update(api_keys::table.find(id))
        .set(api_keys::revoked_at.eq(sql("coalesce(revoked_at, now())")))
        .returning(ApiKey::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// How often a subject failed in the last 15 minutes, and when the oldest of these failures was.
#[derive(Debug, QueryableByName)]
pub struct Failures {
    /// The subject.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// Its failures.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Seconds until the oldest no longer counts.
    #[diesel(sql_type = BigInt)]
    pub seconds_left: i64,
}

/// The recent failures of each of these subjects.
pub async fn recent_failures(
    conn: &mut AsyncPgConnection,
    subjects: &[String],
) -> QueryResult<Vec<Failures>> {
    diesel::sql_query(
        "SELECT subject, count(*) AS count,
                greatest(1, ceil(extract(epoch FROM min(failed_at) + interval '15 minutes' - now())))::bigint
                    AS seconds_left
         FROM login_failures
         WHERE subject = ANY ($1) AND failed_at > now() - interval '15 minutes'
         GROUP BY subject",
    )
    .bind::<Array<Text>, _>(subjects)
    .load(conn)
    .await
}

/// Notes a failure of each subject, and forgets those too old to count. Returns the new rows' ids.
pub async fn insert_failures(conn: &mut AsyncPgConnection, subjects: &[String]) -> QueryResult<Vec<i64>> {
    let old: DateTime<Utc> =
        diesel::select(sql::<Timestamptz>("now() - interval '15 minutes'")).get_result(conn).await?;
    diesel::delete(login_failures::table.filter(login_failures::failed_at.lt(old))).execute(conn).await?;
    let rows: Vec<_> = subjects.iter().map(|subject| login_failures::subject.eq(subject)).collect();
    diesel::insert_into(login_failures::table)
        .values(rows)
        .returning(login_failures::id)
        .get_results(conn)
        .await
}

/// Takes failures back: these rows, and all of `subject`.
pub async fn forgive_failures(conn: &mut AsyncPgConnection, ids: &[i64], subject: &str) -> QueryResult<()> {
    diesel::delete(
        login_failures::table
            .filter(login_failures::id.eq_any(ids.to_vec()).or(login_failures::subject.eq(subject))),
    )
    .execute(conn)
    .await
    .map(|_| ())
}
