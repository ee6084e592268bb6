//! Keyset pages: a cursor names the last row seen, never an offset, so that a page is as cheap at the
//! end of a table as at its start and rows that arrive meanwhile shift nothing.

use serde::{Deserialize, Serialize};

/// The most rows that one page may hold.
pub const MAX_LIMIT: i64 = 500;
/// Rows of a page when none are asked for.
pub const DEFAULT_LIMIT: i64 = 50;

/// Which way from the cursor's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Further down the list (lists are newest first).
    #[serde(rename = "o")]
    Older,
    /// Back up the list.
    #[serde(rename = "n")]
    Newer,
}

/// A place in a list: the sort key of a row, as text, and the way to go from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The way to go.
    pub direction: Direction,
    /// The sort key's parts.
    pub key: Vec<String>,
}

/// A cursor that is not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("this cursor is not one that a list returned")]
pub struct InvalidCursor;

impl Cursor {
    /// As opaque text for a URL.
    pub fn encode(&self) -> String {
        hex::encode(serde_json::to_vec(self).expect("strings serialise"))
    }

    /// Reads what [`Cursor::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = hex::decode(text).map_err(|_| InvalidCursor)?;
        serde_json::from_slice(&bytes).map_err(|_| InvalidCursor)
    }

    /// The key's only part, parsed.
    pub fn single<T: std::str::FromStr>(&self) -> Result<T, InvalidCursor> {
        match self.key.as_slice() {
            [one] => one.parse().map_err(|_| InvalidCursor),
            _ => Err(InvalidCursor),
        }
    }
}

/// What part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// At most so many rows, 1 to [`MAX_LIMIT`].
    pub limit: i64,
    /// From where; the newest row if absent.
    pub cursor: Option<Cursor>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, cursor: None }
    }
}

impl PageRequest {
    /// Whether the page is read upwards (its rows then come back reversed from the database).
    pub fn upwards(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.direction == Direction::Newer)
    }
}

/// Rows of a list, newest first, and the ways on.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Cursor of the page of older rows, if there are any.
    pub older: Option<String>,
    /// Cursor of the page of newer rows, if there are any.
    pub newer: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of `limit + 1` rows that were read in the request's direction: the surplus row
    /// only tells that there are more.
    pub fn from_rows(mut rows: Vec<T>, request: &PageRequest, key: impl Fn(&T) -> Vec<String>) -> Self {
        let more = rows.len() as i64 > request.limit;
        rows.truncate(request.limit as usize);
        let upwards = request.upwards();
        if upwards {
            rows.reverse();
        }
        let cursor = |row: Option<&T>, direction| row.map(|row| Cursor { direction, key: key(row) }.encode());
        let has_older = if upwards { true } else { more };
        let has_newer = if upwards { more } else { request.cursor.is_some() };
        Self {
            older: if has_older { cursor(rows.last(), Direction::Older) } else { None },
            newer: if has_newer { cursor(rows.first(), Direction::Newer) } else { None },
            items: rows,
        }
    }
}
