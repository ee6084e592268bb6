//! Cron expressions: croner reads and words them; here is what it leaves open, which field is wrong.

use croner::Cron;
use std::str::FromStr;

/// Longest expression.
const MAX_CHARACTERS: usize = 200;
/// The fields of five, with what each may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0–59"),
    ("hour", "0–23"),
    ("day of the month", "1–31, L for the last, 15W for the weekday nearest to it"),
    ("month", "1–12 or JAN–DEC"),
    ("weekday", "0–7 or SUN–SAT, 5L for the last Friday, 1#2 for the second Monday"),
];

/// An expression that can be read.
#[derive(Debug, Clone)]
pub struct Expression(Cron);

impl Expression {
    /// Reads five fields (minute, hour, day, month, weekday), six with seconds before them, or `@daily` and
    /// its like. The error says which field is wrong and what it may hold.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("An expression has five fields: {}.", names()));
        }
        if text.chars().count() > MAX_CHARACTERS {
            return Err(format!("An expression has at most {MAX_CHARACTERS} characters."));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() > 6 {
            return Err(counted(fields.len()));
        }
        if let Some(wrong) = too_long_a_step(&fields) {
            return Err(wrong);
        }
        Cron::from_str(text).map(Self).map_err(|error| explain(text, &error.to_string()))
    }

    /// The expression's times, as on a clock on the wall, after `from` or at it.
    pub(super) fn next_from(&self, from: chrono::NaiveDateTime) -> Option<chrono::NaiveDateTime> {
        self.0.find_next_occurrence(&from.and_utc(), true).ok().map(|found| found.naive_utc())
    }

    /// `At 00:01.`; with a word on steps that begin anew before they have gone round.
    pub fn words(&self) -> String {
        let fields: Vec<&str> = self.0.pattern.as_str().split_whitespace().collect();
        let uneven = steps(&fields).find(|(place, step)| !SIZES[*place].is_multiple_of(*step));
        let anew = uneven.map(|(place, _)| format!(" Its steps begin anew with each {}.", ROUNDS[place]));
        format!("{}{}", self.0.describe(), anew.unwrap_or_default())
    }

    /// Whether it means every hour, or many times an hour: such a schedule follows time, not the clock.
    pub fn is_hourly(&self) -> bool {
        self.0.pattern.hours.values().len() == 24
    }
}

/// How many values each of the five fields has, and what they go round in.
const SIZES: [u32; 5] = [60, 24, 31, 12, 7];
const ROUNDS: [&str; 5] = ["hour", "day", "month", "year", "week"];

/// The steps over a whole field (`*/7`), by the field's place.
fn steps<'f>(fields: &'f [&'f str]) -> impl Iterator<Item = (usize, u32)> + 'f {
    let five = fields.get(fields.len().saturating_sub(5)..).unwrap_or_default();
    five.iter()
        .enumerate()
        .filter_map(|(place, field)| Some((place, field.strip_prefix("*/")?.parse().ok()?)))
}

/// A step that is longer than its field has values never gets to step.
fn too_long_a_step(fields: &[&str]) -> Option<String> {
    let (place, step) = steps(fields).find(|(place, step)| *step == 0 || *step >= SIZES[*place])?;
    let (name, most) = (FIELDS[place].0, SIZES[place] - 1);
    Some(format!(
        "The {name} cannot be \"*/{step}\": a step is from 1 to {most}, because it begins anew with each {}.",
        ROUNDS[place]
    ))
}

fn counted(fields: usize) -> String {
    let noun = if fields == 1 { "field" } else { "fields" };
    format!("It has {fields} {noun}. An expression has five: {}.", names())
}

fn names() -> String {
    let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    format!(
        "{}; six with the second before them; or a word: @hourly, @daily, @weekly, @monthly, @yearly",
        names.join(", ")
    )
}

/// Tries each field alone, so that the one that is wrong can be named.
fn explain(text: &str, reason: &str) -> String {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let offset = match fields.len() {
        5 => 0,
        6 => 1,
        1 if text.starts_with('@') => {
            return format!("There is no {text}. An expression has five fields: {}.", names());
        }
        found => return counted(found),
    };
    let wrong = FIELDS.iter().enumerate().find(|(place, _)| {
        let mut alone = ["*"; 5];
        alone[*place] = fields[place + offset];
        Cron::from_str(&alone.join(" ")).is_err()
    });
    match wrong {
        Some((place, (name, allowed))) => format!(
            "The {name} cannot be {:?}. It may be {allowed}; also lists (1,15), ranges (1-5) and steps (*/10).",
            fields[place + offset]
        ),
        None if offset == 1 && Cron::from_str(&format!("{} * * * * *", fields[0])).is_err() => {
            format!("The second cannot be {:?}. It may be 0–59.", fields[0])
        }
        None => format!("It cannot be read: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (text, said) in [
            ("61 * * * *", "The minute cannot be \"61\""),
            ("0 24 * * *", "The hour cannot be \"24\""),
            ("0 0 0 * *", "The day of the month cannot be \"0\""),
            ("0 0 * 13 *", "The month cannot be \"13\""),
            ("0 0 * * MOO", "The weekday cannot be \"MOO\""),
            ("70 0 0 * * *", "The second cannot be \"70\""),
            ("* * * *", "It has 4 fields"),
            ("* * * * * * 2027", "It has 7 fields"),
            ("*/90 * * * *", "a step is from 1 to 59"),
            ("", "five fields"),
            ("@reboot", "There is no @reboot"),
        ] {
            let error = Expression::read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn expressions_are_worded() {
        assert_eq!(Expression::read(" 1 0 * * * ").unwrap().words(), "At 00:01.");
        let uneven = Expression::read("0 */7 * * * *").unwrap().words();
        assert!(uneven.ends_with("Its steps begin anew with each hour."), "{uneven}");
        assert!(Expression::read("*/15 * * * *").unwrap().is_hourly());
        assert!(Expression::read("@hourly").unwrap().is_hourly());
        assert!(!Expression::read("0 8-18 * * *").unwrap().is_hourly());
    }
}
