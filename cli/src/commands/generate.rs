//! `millrace generate`.

use crate::{
    output::{self, remark, thousands},
    usage::Usage,
};
use anyhow::Context;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use shared::synthetic::{
    self, DEFAULT_DAYS, DEFAULT_END, DataFormat, DataKind, DataRequest, Dataset, Profile, Tally,
    TransactionForm,
};
use std::{fs::File, io::ErrorKind, path::PathBuf};

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Payments, buys and sells.
    Transactions,
    /// Account holders.
    Clients,
    /// Stocks with their prices.
    Stocks,
}

/// Sample data as CSV or XLSX.
#[derive(Debug, Args)]
pub struct Generate {
    /// What to generate.
    what: What,
    /// How many rows, the header not counted: 1 to 100,000,000.
    #[arg(long)]
    rows: u64,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Columns of transactions: e (five), wide (thirteen) or a (eleven).
    #[arg(long, default_value = "e")]
    form: TransactionForm,
    /// Transactions are of the days before this one.
    #[arg(long, default_value_t = DEFAULT_END)]
    end: NaiveDate,
    /// How many days.
    #[arg(long, default_value_t = DEFAULT_DAYS)]
    days: u32,
    /// Damages or repeats so many rows of a hundred; one, if no number is given.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_value = "0", default_missing_value = "1")]
    dirty: u8,
    /// How values are spread: realistic or uniform.
    #[arg(long, default_value = "realistic")]
    profile: Profile,
    /// csv or xlsx.
    #[arg(long, default_value = "csv")]
    format: DataFormat,
    /// The file; standard output if absent.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Generate {
    fn request(&self) -> DataRequest {
        DataRequest {
            what: Some(match self.what {
                What::Transactions => DataKind::Transactions,
                What::Clients => DataKind::Clients,
                What::Stocks => DataKind::Stocks,
            }),
            num_rows: self.rows,
            seed: Some(self.seed),
            form: Some(self.form),
            end: Some(self.end),
            days: Some(self.days),
            dirty: Some(self.dirty),
            format: Some(self.format),
            profile: Some(self.profile),
        }
    }
}

/// Writes the rows as they are made.
pub fn generate(args: &Generate) -> anyhow::Result<()> {
    let data = Dataset::try_from(&args.request()).map_err(|fault| {
        let option = if fault.field == "num_rows" { "rows" } else { fault.field };
        Usage::new(format!("--{option}: {}", fault.message))
    })?;
    let written = match &args.out {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            synthetic::write(&data, file)
        }
        None => synthetic::write(&data, output::bytes()),
    };
    match written {
        // `… | head` has seen enough.
        Err(error) if args.out.is_none() && error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map(|tally| tell(args, tally)).context("cannot write the rows"),
    }
}

/// What is wrong with a file that was to be dirty: whoever loads it can compare.
fn tell(args: &Generate, tally: Tally) {
    if args.dirty > 0 {
        let count = |number: u64| thousands(i64::try_from(number).unwrap_or(i64::MAX));
        remark(format!(
            "{} rows: {} of them repeated, {} malformed",
            count(tally.rows),
            count(tally.repeated),
            count(tally.malformed)
        ));
    }
}
