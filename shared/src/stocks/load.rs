//! Loading a stocks file: new stocks are listed, in one database transaction per chunk. What a stock was listed at
//! never changes, so the same listing again is a duplicate and another one a conflict, whoever listed the first:
//! an earlier upload, a person, or an earlier line of the file.

use super::{model::NewStock, parse::StockBatch};
use crate::ids::UploadId;
use rust_decimal::Decimal;
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, Transaction};
use xxhash_rust::xxh3::Xxh3;

/// Stocks of a statement.
const AT_ONCE: usize = 5_000;

/// A record that lists a ticker otherwise than it is listed.
#[derive(Debug)]
pub struct StockConflict {
    /// The row in the batch.
    pub row: usize,
    /// Both versions, for people.
    pub message: String,
}

/// What became of a batch's rows.
#[derive(Debug, Default)]
pub struct LoadedStocks {
    /// New stocks.
    pub inserted: i64,
    /// Stocks that are listed so.
    pub duplicates: i64,
    /// Rows that contradict.
    pub conflicts: Vec<StockConflict>,
}

/// What a ticker stands for.
enum Known<'b> {
    /// It is listed.
    Listed { listing: NewStock, by: String },
    /// Another chunk of the upload was rehearsed that lists it.
    Rehearsed { hash: i64, line: Option<i64> },
    /// An earlier row of the batch lists it.
    Earlier { line: i64, stock: &'b NewStock },
}

impl Known<'_> {
    fn is(&self, stock: &NewStock) -> bool {
        match self {
            Self::Listed { listing, .. } => listing == stock,
            Self::Rehearsed { hash, .. } => *hash == listing_hash(stock),
            Self::Earlier { stock: earlier, .. } => *earlier == stock,
        }
    }

    /// Its version, for people.
    fn version(&self) -> String {
        match self {
            Self::Listed { listing, by } => {
                format!("is already listed otherwise: listed {} (by {by})", described(listing))
            }
            Self::Rehearsed { line: Some(line), .. } => {
                format!("stands on line {line} of this file with another listing")
            }
            Self::Rehearsed { line: None, .. } => {
                "stands elsewhere in this file with another listing".to_owned()
            }
            Self::Earlier { line, stock } => {
                format!("stands on line {line} of this file with another listing: there {}", described(stock))
            }
        }
    }
}

/// Lists the stocks of a batch within the caller's transaction, by their tickers: parallel loads meet in one order.
/// One that meets a ticker which another transaction is just listing waits for that one's end.
pub async fn load(
    transaction: &Transaction<'_>,
    batch: &StockBatch,
    by: &str,
) -> Result<LoadedStocks, Error> {
    let firsts = firsts(batch);
    let mut known = HashMap::new();
    for part in firsts.chunks(AT_ONCE) {
        let new = list(transaction, part, by).await?;
        let taken: Vec<&str> =
            part.iter().map(|first| first.ticker()).filter(|ticker| !new.contains(*ticker)).collect();
        known.extend(listed(transaction, &taken).await?);
    }
    Ok(settle(batch, known))
}

/// What loading a batch would do, as far as the record of now and the batches of the same upload that were rehearsed
/// before can tell. Lists nothing; run it in a transaction that commits.
pub async fn rehearse(
    transaction: &Transaction<'_>,
    batch: &StockBatch,
    upload: UploadId,
) -> Result<LoadedStocks, Error> {
    let mut known = HashMap::new();
    for part in firsts(batch).chunks(AT_ONCE) {
        let tickers: Vec<&str> = part.iter().map(First::ticker).collect();
        let listed = listed(transaction, &tickers).await?;
        let new: Vec<&First> = part.iter().filter(|first| !listed.contains_key(first.ticker())).collect();
        known.extend(rehearsed(transaction, &new, upload).await?);
        known.extend(listed);
    }
    Ok(settle(batch, known))
}

/// The first row of a ticker, and its line.
struct First<'b> {
    line: i64,
    stock: &'b NewStock,
}

impl First<'_> {
    fn ticker(&self) -> &str {
        &self.stock.ticker
    }
}

/// The first row of each ticker, by ticker.
fn firsts(batch: &StockBatch) -> Vec<First<'_>> {
    let mut firsts: Vec<First<'_>> =
        batch.rows.iter().map(|(place, stock)| First { line: place.line, stock }).collect();
    // Rows of one ticker stay in the order of the file.
    firsts.sort_by(|one, other| one.ticker().cmp(other.ticker()));
    firsts.dedup_by(|later, first| later.ticker() == first.ticker());
    firsts
}

/// Inserts stocks; the tickers of those that are new.
async fn list(transaction: &Transaction<'_>, new: &[First<'_>], by: &str) -> Result<HashSet<String>, Error> {
    let texts =
        |value: fn(&NewStock) -> &str| -> Vec<&str> { new.iter().map(|first| value(first.stock)).collect() };
    let prices = |value: fn(&NewStock) -> Decimal| -> Vec<Decimal> {
        new.iter().map(|first| value(first.stock)).collect()
    };
    let names: Vec<Option<&str>> = new.iter().map(|first| first.stock.name.as_deref()).collect();
    let volumes: Vec<i64> = new.iter().map(|first| first.stock.volume).collect();
    let rows = transaction
        .query(
            include_str!("insert_new.sql"),
            &[
                &by,
                &texts(|stock| &stock.ticker),
                &names,
                &texts(|stock| &stock.currency),
                &prices(|stock| stock.open_price),
                &prices(|stock| stock.close_price),
                &prices(|stock| stock.high),
                &prices(|stock| stock.low),
                &volumes,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What is listed under these tickers.
async fn listed(
    transaction: &Transaction<'_>,
    tickers: &[&str],
) -> Result<HashMap<String, Known<'static>>, Error> {
    if tickers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = transaction
        .query(
            "SELECT ticker, name, currency, open_price, close_price, high, low, listed_volume, created_by
             FROM stocks WHERE ticker = ANY ($1)",
            &[&tickers],
        )
        .await?;
    let known = |row: &tokio_postgres::Row| {
        let listing = NewStock {
            ticker: row.get(0),
            name: row.get(1),
            currency: row.get(2),
            open_price: row.get(3),
            close_price: row.get(4),
            high: row.get(5),
            low: row.get(6),
            volume: row.get(7),
        };
        (listing.ticker.clone(), Known::Listed { listing, by: row.get(8) })
    };
    Ok(rows.iter().map(known).collect())
}

/// Notes that these are rehearsed; those that another chunk of the upload has noted before.
async fn rehearsed(
    transaction: &Transaction<'_>,
    new: &[&First<'_>],
    upload: UploadId,
) -> Result<HashMap<String, Known<'static>>, Error> {
    let hashes: Vec<i64> = new.iter().map(|first| listing_hash(first.stock)).collect();
    let tickers: Vec<&str> = new.iter().map(|first| first.ticker()).collect();
    let lines: Vec<i64> = new.iter().map(|first| first.line).collect();
    let noted =
        transaction.query(include_str!("rehearse_new.sql"), &[&upload.0, &hashes, &tickers, &lines]).await?;
    let noted: HashSet<&str> = noted.iter().map(|row| row.get(0)).collect();
    let met: Vec<&str> = tickers.into_iter().filter(|ticker| !noted.contains(ticker)).collect();
    // A statement of its own: another chunk's may have been committed while the one above waited for it.
    let rows = transaction
        .query(
            "SELECT transaction_id, content_hash, line FROM upload_trial_keys
             WHERE upload_id = $1 AND transaction_id = ANY ($2)",
            &[&upload.0, &met],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), Known::Rehearsed { hash: row.get(1), line: row.get(2) })).collect())
}

/// Judges every row by what its ticker stands for, which is its first row where nothing is known of it.
fn settle<'b>(batch: &'b StockBatch, mut known: HashMap<String, Known<'b>>) -> LoadedStocks {
    let mut loaded = LoadedStocks::default();
    for (row, (place, stock)) in batch.rows.iter().enumerate() {
        let line = place.line;
        match known.get(&stock.ticker) {
            None => {
                known.insert(stock.ticker.clone(), Known::Earlier { line, stock });
                loaded.inserted += 1;
            }
            Some(known) if known.is(stock) => loaded.duplicates += 1,
            Some(known) => {
                let message = format!(
                    "stock {} {}; here, on line {line}, {}",
                    stock.ticker,
                    known.version(),
                    described(stock)
                );
                loaded.conflicts.push(StockConflict { row, message });
            }
        }
    }
    loaded
}

/// A listing, for people.
fn described(stock: &NewStock) -> String {
    let NewStock { name, currency, open_price, close_price, high, low, volume, .. } = stock;
    let name = name.as_deref().map_or("without a name".to_owned(), |name| format!("{name:?}"));
    let [open, close, high, low] = [open_price, close_price, high, low].map(Decimal::normalize);
    format!("{name} in {currency}, open {open}, close {close}, high {high}, low {low}, volume {volume}")
}

/// Tells listings apart within one trial; not kept beyond it.
fn listing_hash(stock: &NewStock) -> i64 {
    let mut hash = Xxh3::new();
    hash.update(described(stock).as_bytes());
    hash.digest().cast_signed()
}
