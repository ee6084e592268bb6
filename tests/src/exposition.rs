//! A strict reader of Prometheus' text format, version 0.0.4.

use std::collections::BTreeMap;

/// A sample's labels, sorted.
type Labels = BTreeMap<String, String>;

/// What a scrape said.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Type by metric.
    pub types: BTreeMap<String, String>,
    /// Help by metric.
    pub help: BTreeMap<String, String>,
    /// Value by name and labels, the labels sorted.
    pub samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    /// Reads a scrape; panics, naming the line, where it is not as the format wants it.
    pub fn read(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line does not end");
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            scrape.line(line).unwrap_or_else(|why| panic!("{line:?}: {why}"));
        }
        scrape.check_histograms();
        scrape
    }

    /// The value of a sample.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("no text")?;
            return match self.help.insert(name.to_owned(), help.to_owned()) {
                None => Ok(()),
                Some(_) => Err("helped twice".to_owned()),
            };
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err("no type of ours".to_owned());
            }
            return match self.types.insert(name.to_owned(), kind.to_owned()) {
                None => Ok(()),
                Some(_) => Err("typed twice".to_owned()),
            };
        }
        let (name, labels, value) = sample(line)?;
        let family = self.family(&name).ok_or("its metric has no type before it")?.to_owned();
        if !self.help.contains_key(&family) {
            return Err("its metric has no help".to_owned());
        }
        if self.types[&family] != "gauge" && (value < 0.0 || value.is_nan()) {
            return Err("a count below zero".to_owned());
        }
        match self.samples.insert((name, labels), value) {
            None => Ok(()),
            Some(_) => Err("sampled twice".to_owned()),
        }
    }

    /// The metric that a sample belongs to.
    pub fn family<'a>(&self, sample: &'a str) -> Option<&'a str> {
        let of_histogram = |suffix| {
            let name = sample.strip_suffix(suffix)?;
            (self.types.get(name)? == "histogram").then_some(name)
        };
        match self.types.get(sample).map(String::as_str) {
            Some("histogram") => None,
            Some(_) => Some(sample),
            None => ["_bucket", "_sum", "_count"].into_iter().find_map(of_histogram),
        }
    }

    /// Buckets grow, the last is `+Inf` and holds as many as are counted.
    fn check_histograms(&self) {
        let mut series: BTreeMap<(String, Labels), Buckets> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            let Some(family) = name.strip_suffix("_bucket").filter(|_| self.family(name) != Some(name))
            else {
                continue;
            };
            let mut labels = labels.clone();
            let bound = labels.remove("le").unwrap_or_else(|| panic!("{name} has no le"));
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
            series.entry((family.to_owned(), labels)).or_default().push((bound, *value));
        }
        for ((family, labels), mut buckets) in series {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1),
                "{family} {buckets:?}"
            );
            let (last, count) = *buckets.last().expect("a bucket");
            assert!(last.is_infinite(), "{family} has no +Inf");
            assert_eq!(
                self.samples.get(&(format!("{family}_count"), labels.clone())),
                Some(&count),
                "{family}"
            );
            assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)), "{family} has no sum");
        }
    }
}

type Sample = (String, Labels, f64);
/// Bounds and counts.
type Buckets = Vec<(f64, f64)>;

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("neither labels nor value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err(format!("{name:?} is no name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label) {
                return Err(format!("{label:?} is no label"));
            }
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("{label} is there twice"));
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    Ok((name.to_owned(), labels, value.parse().map_err(|_| format!("{value:?} is no number"))?))
}

/// Reads up to the closing quote; the value and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return Err("an unknown escape".to_owned()),
            },
            letter => value.push(letter),
        }
    }
    Err("a value without an end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_read_strictly() {
        let head = "# HELP a A.\n# TYPE a gauge\n";
        let scrape = Scrape::read(&format!("{head}a{{b=\"c\\\"d\",e=\"\"}} 1.5\na 2\n"));
        assert_eq!(scrape.value("a", &[("b", "c\"d"), ("e", "")]), Some(1.5));
        assert_eq!(scrape.value("a", &[]), Some(2.0));
        for wrong in ["a 1", "a\n", "a{b=c} 1\n", "a 1\na 1\n", "a  1\n", "b 1\n", "a x\n", "a{b=\"c} 1\n"] {
            let text = format!("{head}{wrong}");
            assert!(std::panic::catch_unwind(|| Scrape::read(&text)).is_err(), "{wrong:?} was read");
        }
    }
}
