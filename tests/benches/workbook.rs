//! A workbook of 100,000 rows that openpyxl wrote, against openpyxl and executemany in the same run.

use crate::{report::Report, server::Server};
use anyhow::{Context, ensure};
use std::{path::Path, process::Command};
use tests::{TestDatabase, files::expect_everything_exact};

const BENCH: &str = "ingest";
const CHUNK_WORKERS: u32 = 2;

/// Rounds of work and reference, one after the other, on a workbook of so many rows.
pub async fn rounds(report: &mut Report, rows: u64, rounds: u32) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("transactions.xlsx");
    python(&["make", &file.display().to_string(), &rows.to_string()])?;
    let context = format!("{rows} rows of service A's form, {CHUNK_WORKERS} chunk workers");
    for _ in 0..rounds {
        let reference = reference(&file, rows).await?;
        let server = Server::start(CHUNK_WORKERS).await?;
        let work = server.load(&file, rows).await?;
        server.idle().await;
        expect_everything_exact(&server.db).await;
        report.add(BENCH, "xlsx_ratio_to_openpyxl", "ratio", "≥ 10", &context, reference / work);
        report.add(BENCH, "xlsx_rows_per_s", "rows/s", "–", &context, rows as f64 / work);
        let peak = server.worker_peak_mib()?;
        report.add(BENCH, "xlsx_worker_peak_mib", "MiB", "≤ 150", &context, peak);
    }
    Ok(())
}

/// Seconds that openpyxl and executemany take.
async fn reference(file: &Path, rows: u64) -> anyhow::Result<f64> {
    let db = TestDatabase::create().await;
    let seconds = python(&["load", &file.display().to_string(), &db.url])?.trim().parse()?;
    let loaded: i64 = db.one("SELECT count(*) FROM reference", &[]).await;
    ensure!(loaded == rows.cast_signed(), "the reference lost rows");
    Ok(seconds)
}

fn python(arguments: &[&str]) -> anyhow::Result<String> {
    let python =
        std::env::var("MILLRACE_TEST_PYTHON").context("MILLRACE_TEST_PYTHON is not set: use ./run bench")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/openpyxl_reference.py");
    let output = Command::new(python).arg(script).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
