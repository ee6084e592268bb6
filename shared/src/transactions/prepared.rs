//! A batch's rows in the orders in which they are loaded, with what repeats inside the batch settled.

use super::{
    instant::{first_of_month, month_of},
    load::{Conflict, Loaded},
    model::TransactionStatus,
    parse::{Batch, Row},
    versions::{described, text},
};
use std::collections::HashMap;

/// Rows in the orders in which they are loaded, with what repeats inside the batch settled: of one
/// id the first line wins.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub batch: Batch,
    /// One row per id, ascending by id.
    pub(super) by_id: Vec<u32>,
    /// The same rows by month, client and time.
    pub(super) by_place: Vec<u32>,
    /// Rows that repeat the id of one of those.
    repeats: Vec<Repeat>,
}

/// A row with the id of an earlier row of the batch.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    first: u32,
    row: u32,
    /// It moved the first row's status from pending.
    moves: bool,
}

impl Prepared {
    /// Sorts a batch and settles its repetitions. Pure work: run it where it may block.
    pub fn new(mut batch: Batch) -> Self {
        let mut by_id: Vec<u32> = (0..u32::try_from(batch.rows.len()).expect("a chunk's rows fit")).collect();
        fn id(batch: &Batch, row: u32) -> &[u8] {
            batch.rows[row as usize].transaction_id.of(&batch.text)
        }
        by_id.sort_by(|&one, &other| id(&batch, one).cmp(id(&batch, other)));
        let mut repeats = Vec::new();
        let mut unique: Vec<u32> = Vec::with_capacity(by_id.len());
        for row in by_id {
            match unique.last() {
                Some(&first) if id(&batch, first) == id(&batch, row) => {
                    let moves = move_within(&mut batch, first as usize, row as usize);
                    repeats.push(Repeat { first, row, moves });
                }
                _ => unique.push(row),
            }
        }
        let mut by_place = unique.clone();
        by_place.sort_by_cached_key(|&row| {
            let row = &batch.rows[row as usize];
            (month_of(row.occurred_us), row.client_id.of(&batch.text), row.occurred_us)
        });
        Self { batch, by_id: unique, by_place, repeats }
    }

    /// The months of the rows, as their first days, ascending.
    pub fn months(&self) -> Vec<chrono::NaiveDate> {
        let mut months: Vec<chrono::NaiveDate> =
            self.by_place.iter().map(|&row| first_of_month(self.row(row).occurred_us)).collect();
        months.dedup();
        months
    }

    /// The clients of the rows, ascending.
    pub fn clients(&self) -> Vec<&str> {
        let mut clients: Vec<&[u8]> =
            self.by_place.iter().map(|&row| self.row(row).client_id.of(&self.batch.text)).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.into_iter().map(text).collect()
    }

    /// The row with an id.
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        let found = self
            .by_id
            .binary_search_by(|&row| self.row(row).transaction_id.of(&self.batch.text).cmp(id.as_bytes()));
        found.ok().map(|at| self.by_id[at])
    }

    pub(crate) fn row(&self, row: u32) -> &Row {
        &self.batch.rows[row as usize]
    }

    /// Rows whose own status was pending, each with the later row of the batch that moved it.
    pub(crate) fn moved_within(&self) -> impl Iterator<Item = (u32, u32)> {
        self.repeats.iter().filter(|repeat| repeat.moves).map(|repeat| (repeat.first, repeat.row))
    }

    /// The client of a row.
    pub(crate) fn client(&self, row: u32) -> &str {
        text(self.row(row).client_id.of(&self.batch.text))
    }
}

/// Moves the earlier row's status from pending to the later one's, if they are the same transaction.
fn move_within(batch: &mut Batch, first: usize, later: usize) -> bool {
    let (earlier, row) = (&batch.rows[first], &batch.rows[later]);
    let moves = earlier.content_hash == row.content_hash
        && earlier.status == TransactionStatus::Pending
        && row.status != TransactionStatus::Pending;
    if moves {
        batch.rows[first].status = row.status;
    }
    moves
}

/// Settles the rows that repeat an id of the batch: against what was recorded before, if the id was,
/// else against the batch's first. Returns those in conflict with what was recorded.
pub(super) fn settle(prepared: &Prepared, recorded: &HashMap<u32, i64>, loaded: &mut Loaded) -> Vec<u32> {
    let batch = &prepared.batch;
    let mut conflicts = Vec::new();
    for repeat in &prepared.repeats {
        let (earlier, row) = (prepared.row(repeat.first), prepared.row(repeat.row));
        match recorded.get(&repeat.first) {
            Some(hash) if *hash == row.content_hash => loaded.duplicates.push(repeat.row),
            Some(_) => conflicts.push(repeat.row),
            None if earlier.content_hash != row.content_hash => {
                let place = match earlier.line {
                    0 => "was sent at the same time".to_owned(),
                    line => format!("stands on line {line} of this file"),
                };
                let message = format!(
                    "transaction {} {place} with another content: there {}; here {}",
                    text(row.transaction_id.of(&batch.text)),
                    described(batch, earlier),
                    described(batch, row)
                );
                loaded.conflicts.push(Conflict { row: repeat.row as usize, message });
            }
            None if repeat.moves => loaded.updated.push(repeat.row),
            None => loaded.duplicates.push(repeat.row),
        }
    }
    conflicts
}
