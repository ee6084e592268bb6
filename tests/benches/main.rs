//! Benchmarks: `./run bench [NAME] [--quick]`. Each prints a table for people and a line of JSON per
//! figure; references run interleaved with the work. A benchmark fails when the work's result is
//! wrong, never because it is slow.

mod ingest;
mod reference;
mod report;
mod server;

use report::Report;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let names: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    let mut report = Report::default();
    match names.as_slice() {
        [] | ["ingest"] => ingest::run(&mut report, quick).await?,
        _ => anyhow::bail!("there is no benchmark {names:?}; there is: ingest"),
    }
    report.print();
    if names.is_empty() && !quick {
        report.write_to("docs/benchmarks.md")?;
    }
    Ok(())
}
