//! Aligned columns for people.

use crate::output::say;

/// A table; columns are as wide as what is in them, numbers stand to the right.
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows yet.
    pub fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each header.
    pub fn row<const CELLS: usize>(&mut self, cells: [String; CELLS]) {
        debug_assert_eq!(CELLS, self.headers.len());
        // A cell is one line, and says nothing to the terminal but text.
        let cells = cells.map(|cell| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
        self.rows.push(cells.into());
    }

    /// Prints it.
    pub fn print(&self) {
        self.lines().into_iter().for_each(say);
    }

    fn lines(&self) -> Vec<String> {
        let columns = 0..self.headers.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.headers[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = columns.clone().map(width).collect();
        let number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit() || b",-".contains(&byte));
        let right: Vec<bool> =
            columns.map(|column| self.rows.iter().all(|row| number(&row[column]))).collect();
        let line = |cells: Vec<&str>| {
            let mut line = String::new();
            for (column, cell) in cells.into_iter().enumerate() {
                let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                let (before, after) =
                    if right[column] { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line.extend([before, cell, after, "  "]);
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![line(self.headers.clone())];
        lines.extend(self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_aligned_and_cells_are_one_line() {
        let mut table = Table::new(&["QUEUE", "RUNS", "WHY"]);
        table.row(["ingest".to_owned(), "12".to_owned(), "broken\nline".to_owned()]);
        table.row(["default".to_owned(), "1,000".to_owned(), String::new()]);
        assert_eq!(table.lines(), ["QUEUE     RUNS  WHY", "ingest      12  broken line", "default  1,000"]);
    }
}
