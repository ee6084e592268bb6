//! Figures and how they are printed.

use std::fmt::Write;

/// The figures of a benchmark.
#[derive(Default)]
pub struct Report(Vec<Figure>);

struct Figure {
    bench: &'static str,
    name: String,
    unit: &'static str,
    context: String,
    goal: &'static str,
    values: Vec<f64>,
}

impl Figure {
    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self) -> f64 {
        let values = self.sorted();
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }
}

impl Report {
    /// Adds one measurement of a figure.
    pub fn add(
        &mut self,
        bench: &'static str,
        name: &str,
        unit: &'static str,
        goal: &'static str,
        context: &str,
        value: f64,
    ) {
        progress(&format!("{bench} {name}: {} {unit}", shown(value)));
        match self.0.iter_mut().find(|figure| figure.bench == bench && figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure {
                bench,
                name: name.to_owned(),
                unit,
                goal,
                context: context.to_owned(),
                values: vec![value],
            }),
        }
    }

    fn table(&self) -> String {
        let mut table = String::from(
            "| figure | median | min | max | n | goal | context |\n|---|---|---|---|---|---|---|\n",
        );
        for figure in &self.0 {
            let values = figure.sorted();
            let written = writeln!(
                table,
                "| {} {} | {} {} | {} | {} | {} | {} | {} |",
                figure.bench,
                figure.name,
                shown(figure.median()),
                figure.unit,
                shown(values[0]),
                shown(values[values.len() - 1]),
                values.len(),
                figure.goal,
                figure.context
            );
            assert!(written.is_ok(), "a String takes everything");
        }
        table
    }

    /// The table for people, then a line of JSON per figure.
    #[expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
    pub fn print(&self) {
        println!("{}", self.table());
        for figure in &self.0 {
            let values = figure.sorted();
            let line = serde_json::json!({
                "bench": figure.bench, "figure": figure.name, "value": rounded(figure.median()),
                "unit": figure.unit, "n": values.len(), "min": rounded(values[0]),
                "max": rounded(values[values.len() - 1]), "context": figure.context,
            });
            println!("{line}");
        }
    }

    /// Writes the table as a document.
    pub fn write_to(&self, path: &str) -> std::io::Result<()> {
        let date = shared::clock::Clock::now(&shared::clock::SystemClock).format("%Y-%m-%d");
        let text = format!(
            "# Benchmarks\nMeasured by `./run bench` on {date}, on a virtual machine with {} cores that other work shares: \
             only the ratios mean something, each against a reference of the same run.\n\n{}",
            std::thread::available_parallelism().map_or(1, usize::from),
            self.table()
        );
        std::fs::write(path, text)
    }
}

/// So that somebody who waits sees it go on.
#[expect(clippy::print_stderr, reason = "figures go to stdout, progress beside them")]
fn progress(line: &str) {
    eprintln!("{line}");
}

fn rounded(value: f64) -> f64 {
    if value.abs() >= 100.0 { value.round() } else { (value * 1000.0).round() / 1000.0 }
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
