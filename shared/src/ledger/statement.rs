//! What moved in a client's accounts, and what was there after each movement.

use crate::pagination::{Cursor, InvalidCursor, Page, PageRequest};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, Numeric, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

text_enum! {
    /// What posts to accounts.
    LineKind {
        /// A trade, or the reversal of one.
        Trade = "trade",
        /// The buys and sells of a file.
        Upload = "upload",
        /// An upload was taken back.
        UploadReversal = "upload_reversal",
        /// Buys and sells that came one by one and were recorded together.
        Live = "live",
        /// Those were deleted.
        LiveReversal = "live_reversal",
    }
}

/// One movement.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Line {
    /// When it was posted.
    #[diesel(sql_type = Timestamptz)]
    pub posted_at: DateTime<Utc>,
    /// Its journal.
    #[diesel(sql_type = Uuid)]
    pub journal_id: uuid::Uuid,
    /// Its number in the journal.
    #[diesel(sql_type = Integer)]
    pub entry: i32,
    /// What posted it.
    #[diesel(sql_type = Text)]
    pub kind: LineKind,
    /// The trade, the upload, or what live transactions that were recorded together have in common.
    #[diesel(sql_type = Uuid)]
    pub source_id: uuid::Uuid,
    /// Currency or ticker.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// What came (positive) or went.
    #[diesel(sql_type = Numeric)]
    pub amount: Decimal,
    /// What there was after it.
    #[diesel(sql_type = Numeric)]
    pub balance: Decimal,
    /// Of a trade: which way, how many, of what.
    #[diesel(sql_type = Nullable<Text>)]
    side: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    volume: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    ticker: Option<String>,
    /// Of a trade: whether it took another back.
    #[diesel(sql_type = Nullable<Bool>)]
    reverses: Option<bool>,
    /// Of an upload: its file.
    #[diesel(sql_type = Nullable<Text>)]
    filename: Option<String>,
}

impl Line {
    /// In words.
    pub fn description(&self) -> String {
        match (&self.side, self.volume, &self.ticker, &self.filename) {
            (Some(side), Some(volume), Some(ticker), _) => {
                let verb = if side == "buy" { "Bought" } else { "Sold" };
                let why = if self.reverses == Some(true) { ", to take back a trade" } else { "" };
                format!("{verb} {volume} {ticker}{why}")
            }
            (_, _, _, Some(file)) if self.kind == LineKind::UploadReversal => {
                format!("{file} was taken back")
            }
            (_, _, _, Some(file)) => format!("Buys and sells of {file}"),
            _ if self.kind == LineKind::Live => "Live buys and sells".to_owned(),
            _ if self.kind == LineKind::LiveReversal => "Live buys and sells were deleted".to_owned(),
            _ => self.kind.as_str().replace('_', " "),
        }
    }
}

/// Whether a cursor is one of a statement: the time, the journal and the entry of a line.
pub fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
    place(cursor).map(drop)
}

fn place(cursor: &Cursor) -> Result<(DateTime<Utc>, uuid::Uuid, i32), InvalidCursor> {
    let [at, journal, entry] = cursor.key.as_slice() else { return Err(InvalidCursor) };
    let at: DateTime<Utc> = at.parse().map_err(|_| InvalidCursor)?;
    if !(1970..=9999).contains(&chrono::Datelike::year(&at)) {
        return Err(InvalidCursor);
    }
    Ok((at, journal.parse().map_err(|_| InvalidCursor)?, entry.parse().map_err(|_| InvalidCursor)?))
}

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asset<'a> {
    /// Cash, in this currency.
    Cash(&'a str),
    /// Shares, of this ticker.
    Shares(&'a str),
}

impl<'a> Asset<'a> {
    fn as_stored(self) -> (&'static str, &'a str) {
        match self {
            Self::Cash(currency) => ("cash", currency),
            Self::Shares(ticker) => ("shares", ticker),
        }
    }
}

/// A client's movements of one asset, the last first, each with what there was after it. Before the first, an
/// account has its opening balance, in its currency.
pub async fn list_lines(
    conn: &mut AsyncPgConnection,
    client: &str,
    asset: Asset<'_>,
    request: &PageRequest,
) -> QueryResult<Page<Line>> {
    let place = request.cursor.as_ref().and_then(|cursor| place(cursor).ok());
    let (at, journal, entry) = match place {
        Some((at, journal, entry)) => (Some(at), Some(journal), Some(entry)),
        None => (None, None, None),
    };
    let (asset_kind, asset) = asset.as_stored();
    let rows: Vec<Line> = diesel::sql_query(include_str!("statement.sql"))
        .bind::<Text, _>(client)
        .bind::<Text, _>(asset_kind)
        .bind::<Text, _>(asset)
        .bind::<Nullable<Timestamptz>, _>(at)
        .bind::<Nullable<Uuid>, _>(journal)
        .bind::<Nullable<Integer>, _>(entry)
        .bind::<Bool, _>(request.upwards())
        .bind::<BigInt, _>(request.limit + 1)
        .load(conn)
        .await?;
    Ok(Page::from_rows(rows, request, |line| {
        let at = line.posted_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        vec![at, line.journal_id.to_string(), line.entry.to_string()]
    }))
}

/// What a client had of an asset.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Had {
    /// `cash` or `shares`.
    #[diesel(sql_type = Text)]
    pub asset_kind: String,
    /// Currency or ticker.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// How much.
    #[diesel(sql_type = Numeric)]
    pub amount: Decimal,
}

/// What a client's entries up to a moment, with it, add up to; of cash without the opening balance.
pub async fn moved_until(
    conn: &mut AsyncPgConnection,
    client: &str,
    at: DateTime<Utc>,
) -> QueryResult<Vec<Had>> {
    diesel::sql_query(
        "SELECT e.asset_kind, e.asset, sum(e.amount) AS amount
         FROM entries e JOIN journals j ON j.id = e.journal_id
         WHERE e.client_id = $1 AND j.posted_at <= $2
         GROUP BY e.asset_kind, e.asset HAVING sum(e.amount) <> 0 ORDER BY e.asset_kind, e.asset",
    )
    .bind::<Text, _>(client)
    .bind::<Timestamptz, _>(at)
    .load(conn)
    .await
}
