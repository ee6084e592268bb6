//! Benchmarks: `./run bench [NAME] [--quick]`, or a part of one: `./run bench ingest/undo`. Each prints a table for people and a line of JSON per
//! figure; references run interleaved with the work. A benchmark fails when the work's result is
//! wrong, never because it is slow.

mod chaos;
mod ingest;
mod live;
mod notifications;
mod read;
mod reference;
mod report;
mod runs;
mod schedules;
mod server;
mod trades;
mod undo;
mod workbook;
mod wrk;

use report::Report;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::storage::prepare_tls();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let names: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let mut report = Report::default();
    let measured = measure(&mut report, &names, quick).await;
    // What was measured before a failure says something too.
    report.print();
    measured?;
    if names.is_empty() && !quick {
        report.write_to("docs/benchmarks.md")?;
    }
    Ok(())
}

async fn measure(report: &mut Report, names: &[&str], quick: bool) -> anyhow::Result<()> {
    let parts = ingest::PARTS.map(|part| format!("ingest/{part}"));
    let known: Vec<&str> =
        ["ingest", "read", "trades", "live", "notifications", "runs", "schedules", "chaos"]
            .into_iter()
            .chain(parts.iter().map(String::as_str))
            .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        anyhow::bail!("there is no benchmark {unknown}; there are: {}", known.join(", "));
    }
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    for (part, name) in ingest::PARTS.into_iter().zip(&parts) {
        if wanted("ingest") || names.contains(&name.as_str()) {
            ingest::run(report, part, quick).await?;
        }
    }
    if wanted("read") {
        read::run(report, quick).await?;
    }
    if wanted("trades") {
        trades::run(report, quick).await?;
    }
    if wanted("live") {
        live::run(report, quick).await?;
    }
    if wanted("notifications") {
        notifications::run(report, quick).await?;
    }
    if wanted("runs") {
        runs::run(report, quick).await?;
    }
    if wanted("schedules") {
        schedules::run(report, quick).await?;
    }
    if wanted("chaos") {
        chaos::run(report, quick).await?;
    }
    Ok(())
}
