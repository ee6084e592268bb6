//! `millrace generate`.

use crate::output;
use anyhow::Context;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use shared::synthetic::{self, TransactionForm};
use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    path::PathBuf,
};

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Payments, buys and sells.
    Transactions,
    /// Account holders.
    Clients,
}

/// Sample data as CSV.
#[derive(Debug, Args)]
pub struct Generate {
    /// What to generate.
    what: What,
    /// How many rows, the header not counted.
    #[arg(long)]
    rows: u64,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Columns of transactions: e (five) or wide (thirteen).
    #[arg(long, default_value = "e")]
    form: TransactionForm,
    /// Transactions are of the 365 days before this day.
    #[arg(long, default_value_t = synthetic::DEFAULT_END)]
    end: NaiveDate,
    /// The file; standard output if absent.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Writes the rows as they are made.
pub fn generate(args: &Generate) -> anyhow::Result<()> {
    let written = match &args.out {
        Some(path) => {
            let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            write(args, &mut file)
        }
        None => write(args, &mut output::bytes()),
    };
    match written {
        // `… | head` has seen enough.
        Err(error) if args.out.is_none() && error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the rows"),
    }
}

fn write(args: &Generate, out: &mut impl Write) -> io::Result<()> {
    match args.what {
        What::Transactions => {
            synthetic::write_transactions_until(out, args.rows, args.seed, args.form, args.end)
        }
        What::Clients => synthetic::write_clients(out, args.rows, args.seed),
    }
}
