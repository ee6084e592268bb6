//! Placeholders in a schedule's arguments: the run of a tick is given the tick's day, not the day on which
//! it happens to run, so that one that is late, caught up or filled in does the work of its own time.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// The placeholders, with what each stands for.
pub const PLACEHOLDERS: [(&str, &str); 3] = [
    ("date", "the tick's day in the schedule's zone, as 2026-11-27"),
    ("date_before", "the day before it"),
    ("nominal_time", "the tick's time in UTC, as 2026-11-27T00:01:00Z"),
];

/// The arguments of the run of a tick. The error names a placeholder that there is not.
pub fn expand(args: &Value, zone: Tz, nominal: DateTime<Utc>) -> Result<Value, String> {
    Ok(match args {
        Value::String(text) => Value::String(expand_text(text, zone, nominal)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| expand(item, zone, nominal)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let expanded =
                fields.iter().map(|(name, value)| Ok((name.clone(), expand(value, zone, nominal)?)));
            Value::Object(expanded.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn expand_text(text: &str, zone: Tz, nominal: DateTime<Utc>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("{{") {
        let Some((name, after)) = from.split_once("}}") else {
            return Err(format!(
                "The placeholder {{{{{} is not closed by }}}}.",
                from.chars().take(40).collect::<String>()
            ));
        };
        expanded.push_str(before);
        expanded.push_str(&value(name.trim(), zone, nominal)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value(name: &str, zone: Tz, nominal: DateTime<Utc>) -> Result<String, String> {
    let day = nominal.with_timezone(&zone).date_naive();
    match name {
        "date" => Ok(day.to_string()),
        "date_before" => Ok(day.pred_opt().unwrap_or(day).to_string()),
        "nominal_time" => Ok(nominal.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        _ => {
            let known: Vec<String> =
                PLACEHOLDERS.iter().map(|(name, _)| format!("{{{{ {name} }}}}")).collect();
            let name: String = name.chars().take(40).collect();
            Err(format!("There is no placeholder {name:?}; there are {}.", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tick_late_at_night_is_of_its_zones_day() {
        let nominal = "2026-11-26T23:01:00Z".parse().unwrap();
        let args = json!({ "day": "{{ date_before }}", "list": ["{{date}} at {{ nominal_time }}", 5, null] });
        let expanded = expand(&args, chrono_tz::Europe::Berlin, nominal).unwrap();
        let expected =
            json!({ "day": "2026-11-26", "list": ["2026-11-27 at 2026-11-26T23:01:00Z", 5, null] });
        assert_eq!(expanded, expected);
        let error = expand(&json!({ "day": "{{ yesterday }}" }), chrono_tz::UTC, nominal).unwrap_err();
        assert!(error.contains("yesterday") && error.contains("date_before"), "{error}");
        assert!(expand(&json!("{{ date"), chrono_tz::UTC, nominal).is_err());
    }
}
