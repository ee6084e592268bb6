//! `millrace generate`, as a process that writes a file: how many rows a second, and its memory, which must
//! not grow with the file.

use super::BENCH;
use crate::{report::Report, server::peak_mib};
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use std::{fs::File, io::Read, path::Path, time::Instant};
use tests::processes::Process;

/// Figure, goal, options, and line ends of a row.
const FILES: [(&str, &str, &[&str], u64); 5] = [
    ("generated_rows_per_s", "≥ 1,000,000", &["transactions", "--form", "e"], 1),
    ("generated_rows_per_s_wide", "≥ 1,000,000", &["transactions", "--form", "wide"], 1),
    ("generated_rows_per_s_a", "≥ 1,000,000", &["transactions", "--form", "a"], 1),
    ("generated_rows_per_s_dirty", "–", &["transactions", "--form", "e", "--dirty", "1"], 1),
    ("generated_rows_per_s_clients", "–", &["clients"], 2),
];
/// As many as a sheet has.
const WORKBOOK_ROWS: u64 = 1_048_575;

/// What a process wrote.
struct Written {
    seconds: f64,
    peak_mib: f64,
}

pub async fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (rows, rounds): (u64, usize) = if quick { (200_000, 1) } else { (10_000_000, 3) };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("generated");
    for (figure, goal, options, line_ends) in FILES {
        let context = format!("{rows} rows, `millrace generate {}` to a file", options.join(" "));
        let mut first = None;
        for _ in 0..rounds {
            let small = write(options, rows / 100, &path).await?;
            let large = write(options, rows, &path).await?;
            report.add(BENCH, figure, "rows/s", goal, &context, rows as f64 / large.seconds);
            let grown = (large.peak_mib - small.peak_mib).max(0.0);
            report.add(BENCH, "generated_peak_mib", "MiB", "flat", "every form, any size", large.peak_mib);
            let against = "against a hundredth of the rows, every form";
            report.add(BENCH, "generated_peak_grown_mib", "MiB", "0", against, grown);
            let (digest, lines) = read(&path)?;
            let expected = rows * line_ends + 1;
            ensure!(options.contains(&"--dirty") || lines == expected, "{lines} lines, not {expected}");
            ensure!(*first.get_or_insert(digest) == digest, "the same seed gave other bytes: {options:?}");
        }
    }
    let workbook = ["transactions", "--form", "a", "--format", "xlsx"];
    let rows = if quick { 5_000 } else { WORKBOOK_ROWS };
    let context = format!("{rows} rows, `millrace generate {}`", workbook.join(" "));
    for _ in 0..rounds {
        let written = write(&workbook, rows, &path).await?;
        let rate = rows as f64 / written.seconds;
        report.add(BENCH, "generated_rows_per_s_xlsx", "rows/s", "–", &context, rate);
        report.add(BENCH, "generated_peak_mib_xlsx", "MiB", "–", &context, written.peak_mib);
    }
    Ok(())
}

async fn write(options: &[&str], rows: u64, path: &Path) -> anyhow::Result<Written> {
    let (rows, out) = (rows.to_string(), path.to_str().context("a path")?);
    let arguments = [&["generate"], options, &["--rows", &rows, "--out", out]].concat();
    let started = Instant::now();
    let mut process = Process::millrace(&arguments, &[]);
    let mut peak = 0.0;
    loop {
        if let Some(well) = process.ended() {
            ensure!(well, "millrace {} failed", arguments.join(" "));
            return Ok(Written { seconds: started.elapsed().as_secs_f64(), peak_mib: peak });
        }
        // What has just ended has no memory any more.
        peak = peak_mib(process.id()).unwrap_or(peak);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// A file's digest, and its line ends.
fn read(path: &Path) -> anyhow::Result<([u8; 32], u64)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 20]);
    let (mut digest, mut lines) = (Sha256::new(), 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((digest.finalize().into(), lines));
        }
        digest.update(&buffer[..read]);
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}
