//! What people read: the one place that prints. Results go to standard output, remarks and progress
//! to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Prints a line of the result.
pub fn say(line: impl Display) {
    // A reader that went away (`… | head`) is no reason to stop the work.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a remark beside the result.
pub fn remark(line: impl Display) {
    // As above.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Where ready-made bytes (generated files) go.
pub fn bytes() -> impl Write + Send {
    std::io::stdout()
}

/// A line on standard error that is overwritten; without a terminal, a new line every few seconds.
pub struct Progress {
    terminal: bool,
    shown: Option<Instant>,
    width: usize,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: None, width: 0 }
    }

    /// Shows how things stand.
    pub fn show(&mut self, line: &str) {
        if self.terminal {
            let mut stderr = std::io::stderr().lock();
            let padding = self.width.saturating_sub(line.chars().count());
            // A terminal that went away is no reason to stop the work.
            let _ = write!(stderr, "\r{line}{:padding$}", "");
            let _ = stderr.flush();
            self.width = line.chars().count();
        } else if self.shown.is_none_or(|at| at.elapsed() > Duration::from_secs(3)) {
            remark(line);
            self.shown = Some(Instant::now());
        }
    }

    /// Ends the line, for something else to be said below it.
    pub fn interrupt(&mut self) {
        if self.terminal && self.width > 0 {
            remark("");
            self.width = 0;
        }
    }

    /// Shows the last state and ends the line.
    pub fn finish(mut self, line: &str) {
        self.shown = None;
        self.show(line);
        if self.terminal {
            remark("");
        }
    }
}

/// A count with thousands separated: `1,234,567`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(-100_000), "-100,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
