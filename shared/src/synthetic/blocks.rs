//! Rows as CSV, a block of whole rows at a time: so that a file of any size needs no memory, and
//! whoever wants it asks for as much as it can take.

use super::{
    DataKind, Dataset, Profile, TransactionForm,
    clients::Clients,
    dirt::{self, Dirt},
    stocks::Stocks,
    transactions::Transactions,
    uniform::Uniform,
    when::Calendar,
};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// A block ends with the row that reaches this size.
const BLOCK_BYTES: usize = 1 << 16;

/// Rows of a kind, drawn one after another.
pub(super) trait RowSource: Send {
    /// The first line, without its end.
    fn header(&self) -> &'static str;

    /// Appends a row, without its end; they are numbered from 1.
    fn write_row(&mut self, out: &mut Vec<u8>, number: u64);
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows in all.
    pub rows: u64,
    /// Of these, repetitions of an earlier row.
    pub repeated: u64,
    /// Of these, rows that cannot be loaded.
    pub malformed: u64,
}

/// A data set as CSV.
pub struct CsvBlocks {
    source: Box<dyn RowSource>,
    dirt: Option<Dirt>,
    rows: u64,
    tally: Tally,
    begun: bool,
    block: Vec<u8>,
}

impl CsvBlocks {
    /// All of it is still to come.
    pub fn new(data: &Dataset) -> Self {
        let Dataset { seed, form, end, days, .. } = *data;
        let source: Box<dyn RowSource> = match (data.what, data.profile) {
            (DataKind::Clients, _) => Box::new(Clients::new(seed)),
            (DataKind::Stocks, _) => Box::new(Stocks::new(seed)),
            (DataKind::Transactions, Profile::Uniform) => Box::new(Uniform::new(seed, form, end, days)),
            (DataKind::Transactions, Profile::Realistic) => {
                Box::new(Transactions::new(seed, form, Calendar::before(end, days)))
            }
        };
        let dirt = (data.dirty > 0).then(|| Dirt::new(seed, data.dirty, dirt::damages(data.what, form)));
        Self { dirt, ..Self::of(source, data.rows) }
    }

    /// The transactions of one day, called `prefix` and their number.
    pub(super) fn of_day(
        seed: u64,
        form: TransactionForm,
        calendar: Calendar,
        prefix: String,
        rows: u64,
    ) -> Self {
        Self::of(Box::new(Transactions::numbered(seed, form, calendar, prefix)), rows)
    }

    fn of(source: Box<dyn RowSource>, rows: u64) -> Self {
        let block = Vec::with_capacity(BLOCK_BYTES + 1024);
        Self { source, dirt: None, rows, tally: Tally::default(), begun: false, block }
    }

    /// How many rows there will be.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What was written until now.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The next whole rows, the header first; `None` at the end.
    pub fn next_block(&mut self) -> Option<&[u8]> {
        self.block.clear();
        if !self.begun {
            self.begun = true;
            self.block.extend_from_slice(self.source.header().as_bytes());
            self.block.push(b'\n');
        }
        while self.tally.rows < self.rows && self.block.len() < BLOCK_BYTES {
            self.tally.rows += 1;
            let start = self.block.len();
            self.source.write_row(&mut self.block, self.tally.rows);
            if let Some(dirt) = &mut self.dirt {
                dirt.touch(&mut self.block, start, &mut self.tally);
            }
            self.block.push(b'\n');
        }
        (!self.block.is_empty()).then_some(&self.block)
    }

    /// Writes all of it.
    pub fn write_to(mut self, out: &mut impl Write) -> io::Result<Tally> {
        while let Some(block) = self.next_block() {
            out.write_all(block)?;
        }
        out.flush()?;
        Ok(self.tally)
    }
}
