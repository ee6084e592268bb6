//! Seeded data: the same seed gives the same bytes, on every machine and in every version (test:
//! `a_seed_gives_the_same_bytes`). Rows are written as they are made, so that a file of any size needs
//! no memory; none of it depends on the wall clock, and none of it on floating point.
//!
//! [`DataRequest`] is what somebody asks for, [`Dataset`] what can be generated, [`CsvBlocks`] its rows,
//! [`Outgoing`] its file. What of the generated is loaded is in `jobs` and `nightly`.

mod blocks;
mod clients;
mod dataset;
mod dirt;
mod draws;
pub mod jobs;
pub mod nightly;
mod outgoing;
mod shapes;
mod stocks;
mod storing;
mod text;
mod transactions;
mod uniform;
mod when;
mod workbook;

pub use blocks::{CsvBlocks, Tally};
pub use dataset::{
    DEFAULT_DAYS, DEFAULT_END, DataFormat, DataKind, DataRequest, Dataset, Fault, MAX_DAYS, MAX_ROWS,
    MAX_WORKBOOK_ROWS, Profile, TransactionForm,
};
pub use outgoing::Outgoing;
pub use transactions::{TRADING_CLIENTS, is_whale};
pub use uniform::write_transactions;
pub use workbook::write_workbook;

use std::io::{self, Write};

/// Writes all of a data set, in its format.
pub fn write(data: &Dataset, mut out: impl Write + Send) -> io::Result<Tally> {
    let blocks = CsvBlocks::new(data);
    match data.format() {
        DataFormat::Csv => blocks.write_to(&mut out),
        DataFormat::Xlsx => write_workbook(blocks, data.what().as_str(), out, |_| true),
    }
}

#[cfg(test)]
mod tests;
