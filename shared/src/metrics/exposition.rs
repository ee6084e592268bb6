//! The text form of gauges that are read when somebody asks.

use super::{Metric, Type};
use std::fmt::Write;

/// Builds the text, a metric after the other.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins with what is already text.
    pub fn after(text: String) -> Self {
        Self(text)
    }

    /// Adds a gauge with its samples: the labels' values in the metric's order, and the value. Without
    /// samples the metric is left out.
    pub fn gauge<const LABELS: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([String; LABELS], f64)>,
    ) {
        debug_assert!(metric.kind == Type::Gauge && metric.labels.len() == LABELS, "{}", metric.name);
        let name = metric.name;
        let mut head = true;
        for (values, value) in samples {
            if std::mem::take(&mut head) {
                // Writing to a String cannot fail.
                let _ = write!(self.0, "# HELP {name} {}\n# TYPE {name} gauge\n", metric.help);
            }
            let labels: Vec<String> = metric
                .labels
                .iter()
                .zip(&values)
                .map(|(label, value)| format!("{}=\"{}\"", label.as_str(), escaped(value)))
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            // As above.
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
        if !head {
            self.0.push('\n');
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names::QUEUE_PAUSED;

    #[test]
    fn labels_are_escaped_and_empty_metrics_left_out() {
        let mut text = Exposition::default();
        text.gauge(&QUEUE_PAUSED, Vec::<([String; 1], f64)>::new());
        assert_eq!(text.0, "");
        text.gauge(&QUEUE_PAUSED, [(["a\"b\\c\nd".to_owned()], 1.0)]);
        assert!(text.finish().contains("millrace_queue_paused{queue=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }
}
