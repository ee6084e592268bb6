//! Failures, like by like. A fingerprint stands for a kind and its error without what differs from run
//! to run.

use super::model::RunState;
use crate::{
    ids::RunId,
    pagination::{Cursor, InvalidCursor, Page, PageRequest},
    schema::runs,
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What stands for an error of a kind, and the error without what differs from run to run: numbers, ids
/// and quoted values are `#`.
pub fn fingerprint(kind: &str, error: &str) -> (String, String) {
    let message = normalised(error);
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{kind}\n{message}").as_bytes());
    (format!("{hash:016x}"), message)
}

/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 300;

fn normalised(error: &str) -> String {
    let mut bare = String::new();
    let mut letters = error.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        // An apostrophe within a word quotes nothing.
        let opens = matches!(letter, '"' | '`') || (letter == '\'' && !before.is_alphanumeric());
        if opens && letters.clone().take_while(|&next| next != '\n').any(|next| next == letter) {
            let _ = letters.by_ref().find(|&next| next == letter);
            bare.push('#');
        } else {
            bare.push(letter);
        }
        before = letter;
    }
    let mut message = String::new();
    for word in bare.split_whitespace() {
        let word = if word.contains(|letter: char| letter.is_ascii_digit()) { "#" } else { word };
        if message.len() + word.len() >= MESSAGE_BYTES {
            break;
        }
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(word);
    }
    message
}

/// Failed attempts that are alike.
#[derive(Debug, Clone, QueryableByName)]
pub struct FailureGroup {
    /// Stands for kind and message.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// The kind that fails.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The error without what differs from run to run.
    #[diesel(sql_type = Text)]
    pub message: String,
    /// The error of the latest run that ended so, whole.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    /// Failed attempts, ever.
    #[diesel(sql_type = BigInt)]
    pub occurrences: i64,
    /// Runs that ended so and were not retried: these can be.
    #[diesel(sql_type = BigInt)]
    pub failed_runs: i64,
    /// Runs that will try again.
    #[diesel(sql_type = BigInt)]
    pub retrying_runs: i64,
    /// First seen.
    #[diesel(sql_type = Timestamptz)]
    pub first_seen: DateTime<Utc>,
    /// Last seen.
    #[diesel(sql_type = Timestamptz)]
    pub last_seen: DateTime<Utc>,
    /// The latest of them; may have been pruned.
    #[diesel(sql_type = Uuid)]
    pub last_run_id: RunId,
}

// A run that was retried since may have ended otherwise: its error is then another group's.
const GROUPS: &str = "SELECT f.fingerprint, f.kind, f.message, f.occurrences, f.first_seen, f.last_seen, f.last_run_id,
        coalesce(
            (SELECT r.error FROM runs r WHERE r.id = f.last_run_id AND r.fingerprint = f.fingerprint),
            (SELECT r.error FROM runs r WHERE r.fingerprint = f.fingerprint AND r.state IN ('failed', 'discarded')
             ORDER BY r.finished_at DESC LIMIT 1)) AS error,
        (SELECT count(*) FROM runs r WHERE r.fingerprint = f.fingerprint AND r.state IN ('failed', 'discarded'))
            AS failed_runs,
        coalesce(again.n, 0) AS retrying_runs
    FROM failures f
    LEFT JOIN (SELECT fingerprint, count(*) AS n FROM runs WHERE state = 'retryable' GROUP BY fingerprint) AS again
        USING (fingerprint)";

/// Where a cursor of [`groups`] is.
pub fn place(cursor: &Cursor) -> Result<(DateTime<Utc>, String), InvalidCursor> {
    match cursor.key.as_slice() {
        [time, fingerprint] => Ok((time.parse().map_err(|_| InvalidCursor)?, fingerprint.clone())),
        _ => Err(InvalidCursor),
    }
}

/// The groups, last seen first. The cursor's key is the time and the fingerprint.
pub async fn groups(conn: &mut AsyncPgConnection, request: &PageRequest) -> QueryResult<Page<FailureGroup>> {
    let (time, fingerprint) = request.cursor.as_ref().and_then(|cursor| place(cursor).ok()).unzip();
    let (than, order) = if request.upwards() { (">", "ASC") } else { ("<", "DESC") };
    let rows = diesel::sql_query(format!(
        "{GROUPS} WHERE $1 IS NULL OR (f.last_seen, f.fingerprint) {than} ($1, $2)
         ORDER BY f.last_seen {order}, f.fingerprint {order} LIMIT $3"
    ))
    .bind::<Nullable<Timestamptz>, _>(time)
    .bind::<Nullable<Text>, _>(fingerprint)
    .bind::<BigInt, _>(request.limit + 1)
    .load(conn)
    .await?;
    Ok(Page::from_rows(rows, request, |group: &FailureGroup| {
        vec![group.last_seen.to_rfc3339(), group.fingerprint.clone()]
    }))
}

/// How many runs ended badly that belong to no group: those that waited too long, for example. A
/// parent that failed by a step of its is not counted: the step is.
pub async fn count_ungrouped(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    runs::table
        .filter(runs::state.eq_any([RunState::Failed, RunState::Discarded]))
        .filter(runs::fingerprint.is_null().and(runs::reason.is_distinct_from("child_failed")))
        .count()
        .get_result(conn)
        .await
}

/// One group.
pub async fn find(conn: &mut AsyncPgConnection, fingerprint: &str) -> QueryResult<Option<FailureGroup>> {
    diesel::sql_query(format!("{GROUPS} WHERE f.fingerprint = $1"))
        .bind::<Text, _>(fingerprint)
        .get_result(conn)
        .await
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_does_not_count() {
        let alike = |one: &str, other: &str| fingerprint("k", one) == fingerprint("k", other);
        assert!(alike("no file \"a b.csv\" at 12:30", "no file \"x.csv\" at 9:01"));
        assert!(alike("run 018f-aa3 isn't there", "run 77 isn't there"));
        assert!(!alike("it isn't there", "it isn't here"));
        assert_ne!(fingerprint("a", "same").0, fingerprint("b", "same").0);
        assert_eq!(normalised("can't read `x y` of 'me' \"open"), "can't read # of # \"open");
    }
}
