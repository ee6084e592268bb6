//! `ingest`: from the POST of a file to the end of its flow, all summaries exact, against plain COPY.

use crate::{
    reference::{self, FORM_E, FORM_WIDE, Table},
    report::Report,
    server::Server,
    undo, workbook,
};
use shared::synthetic::{TransactionForm, write_transactions};
use std::{
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tests::files::expect_everything_exact;

const BENCH: &str = "ingest";
/// Bytes of a row in service E's form.
const ROW_BYTES: u64 = 78;
const CHUNK_WORKERS: u32 = 2;

/// Files that PostgreSQL's own user can read too.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(directory))
    }

    fn make(&self, rows: u64, form: TransactionForm) -> anyhow::Result<PathBuf> {
        let path = self.0.path().join(format!("{form}-{rows}.csv"));
        write_transactions(&mut File::create(&path)?, rows, 5, form)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }
}

/// What it is made of.
pub const PARTS: [&str; 6] = ["copy", "compressed", "workbook", "undo", "linear", "gigabyte"];

/// Runs one part; `quick` proves in under a minute that all of them work, and leaves out what is large.
pub async fn run(report: &mut Report, part: &str, quick: bool) -> anyhow::Result<()> {
    let (rows, rounds): (_, u32) = if quick { (100_000, 1) } else { (1_000_000, 3) };
    let files = Files::new()?;
    match part {
        "copy" => {
            let (narrow, wide) =
                (files.make(rows, TransactionForm::E)?, files.make(rows, TransactionForm::Wide)?);
            for _ in 0..rounds {
                narrow_round(report, &narrow, rows).await?;
                wide_round(report, &wide, rows).await?;
            }
            Ok(())
        }
        "compressed" => compressed(report, &files.make(rows, TransactionForm::E)?, rows).await,
        "workbook" => workbook::rounds(report, if quick { 5_000 } else { 100_000 }, rounds).await,
        "undo" => undo::round(report, if quick { 50_000 } else { 1_000_000 }).await,
        "linear" if !quick => linear(report, &files, rounds).await,
        "gigabyte" if !quick => large_upload(report, &files).await,
        _ => Ok(()),
    }
}

/// The pace from 10^5 to 10^7 rows, and COPY's, whose indexes outgrow the same memory.
async fn linear(report: &mut Report, files: &Files, rounds: u32) -> anyhow::Result<()> {
    for (rows, size, rounds) in [(100_000, "1e5", rounds), (1_000_000, "1e6", rounds), (10_000_000, "1e7", 1)]
    {
        let file = files.make(rows, TransactionForm::E)?;
        for _ in 0..rounds {
            let copy = reference::copy(&file, rows, &FORM_E, Table::Indexed).await?;
            rate(report, &file, rows, size, copy).await?;
        }
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// Work and both references, one after the other.
async fn narrow_round(report: &mut Report, file: &Path, rows: u64) -> anyhow::Result<()> {
    let context = format!("{rows} rows of service E's form, {CHUNK_WORKERS} chunk workers");
    let copy = reference::copy(file, rows, &FORM_E, Table::Indexed).await?;
    let server = Server::start(CHUNK_WORKERS).await?;
    let wal = wal_position(&server).await;
    let work = server.load(file, rows).await?;
    let wal = wal_position(&server).await - wal;
    server.idle().await;
    expect_everything_exact(&server.db).await;
    let peak = (server.worker_peak_mib()?, server.api_peak_mib()?);
    drop(server);
    let bare = reference::copy(file, rows, &FORM_E, Table::Bare).await?;
    report.add(BENCH, "ratio_to_copy", "ratio", "1.5", &context, copy / work);
    report.add(BENCH, "ratio_to_bare_copy", "ratio", "–", &context, bare / work);
    report.add(BENCH, "rows_per_s", "rows/s", "–", &context, rows as f64 / work);
    report.add(BENCH, "wal_bytes_per_row", "bytes", "–", &context, wal / rows as f64);
    report.add(BENCH, "worker_peak_mib", "MiB", "≤ 150", "whatever the file", peak.0);
    report.add(BENCH, "api_peak_mib", "MiB", "≤ 100", "also while receiving 1 GB", peak.1);
    Ok(())
}

async fn wide_round(report: &mut Report, file: &Path, rows: u64) -> anyhow::Result<()> {
    let context = format!("{rows} rows, 13 columns, 50,000 clients, {CHUNK_WORKERS} chunk workers");
    let copy = reference::copy(file, rows, &FORM_WIDE, Table::Indexed).await?;
    let server = Server::start(CHUNK_WORKERS).await?;
    let work = server.load(file, rows).await?;
    server.idle().await;
    expect_everything_exact(&server.db).await;
    report.add(BENCH, "ratio_to_copy_wide", "ratio", "0.8", &context, copy / work);
    report.add(BENCH, "worker_peak_mib", "MiB", "≤ 150", "whatever the file", server.worker_peak_mib()?);
    Ok(())
}

/// A file that is unpacked before it is read.
async fn compressed(report: &mut Report, file: &Path, rows: u64) -> anyhow::Result<()> {
    for ending in ["gz", "zst"] {
        let path = file.with_extension(format!("csv.{ending}"));
        let (mut from, to) = (File::open(file)?, File::create(&path)?);
        if ending == "gz" {
            let mut packed = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
            std::io::copy(&mut from, &mut packed)?;
            packed.finish()?;
        } else {
            zstd::stream::copy_encode(from, to, 1)?;
        }
        let server = Server::start(CHUNK_WORKERS).await?;
        let work = server.load(&path, rows).await?;
        let context = format!("{rows} rows of service E's form, compressed");
        report.add(BENCH, &format!("{ending}_rows_per_s"), "rows/s", "–", &context, rows as f64 / work);
        report.add(BENCH, "worker_peak_mib", "MiB", "≤ 150", "whatever the file", server.worker_peak_mib()?);
    }
    Ok(())
}

async fn rate(report: &mut Report, file: &Path, rows: u64, size: &str, copy: f64) -> anyhow::Result<()> {
    let server = Server::start(CHUNK_WORKERS).await?;
    let work = server.load(file, rows).await?;
    let context = format!("{rows} rows of service E's form");
    report.add(BENCH, &format!("rows_per_s_{size}"), "rows/s", "flat", &context, rows as f64 / work);
    report.add(BENCH, &format!("copy_rows_per_s_{size}"), "rows/s", "–", &context, rows as f64 / copy);
    report.add(BENCH, &format!("ratio_to_copy_{size}"), "ratio", "–", &context, copy / work);
    report.add(BENCH, "worker_peak_mib", "MiB", "≤ 150", "whatever the file", server.worker_peak_mib()?);
    Ok(())
}

/// The api's memory while it receives a gigabyte.
async fn large_upload(report: &mut Report, files: &Files) -> anyhow::Result<()> {
    let file = files.make((1 << 30) / ROW_BYTES, TransactionForm::E)?;
    let server = Server::start(CHUNK_WORKERS).await?;
    server.post(&file).await?;
    report.add(BENCH, "api_peak_mib", "MiB", "≤ 100", "also while receiving 1 GB", server.api_peak_mib()?);
    Ok(())
}

async fn wal_position(server: &Server) -> f64 {
    let bytes: String = server.db.one("SELECT (pg_current_wal_lsn() - '0/0')::text", &[]).await;
    bytes.parse().expect("a number")
}
