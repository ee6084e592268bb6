//! The words of events: three templates each, of the subject, the plain text and the HTML
//! (`templates/notifications/<event>/`).

use super::{
    events::Event,
    providers::breaks_line,
    request::{BODY_CHARACTERS, TITLE_CHARACTERS},
    service::Content,
    values::{
        DailySummary, RunDiscarded, ScheduleMissed, TradeRejected, TradeSettled, UploadFinished, Values,
    },
    words,
};
use crate::nul::place_of_nul;
use askama::Template;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

/// The texts of an event with some values.
trait Texts: Values {
    fn subject(&self) -> askama::Result<String>;
    fn text(&self, link: Option<&str>) -> askama::Result<String>;
    fn html(&self, title: &str, link: Option<&str>) -> askama::Result<String>;
}

macro_rules! texts {
    ($($module:ident: $values:ident, $subject:tt, $text:tt, $html:tt;)+) => {$(
        mod $module {
            use super::{Template, words};

            #[derive(Template)]
            #[template(path = $subject)]
            pub struct Subject<'v> {
                pub values: &'v super::$values,
            }

            #[derive(Template)]
            #[template(path = $text)]
            pub struct Text<'v> {
                pub values: &'v super::$values,
                pub link: Option<&'v str>,
            }

            #[derive(Template)]
            #[template(path = $html)]
            pub struct Html<'v> {
                pub title: &'v str,
                pub values: &'v super::$values,
                pub link: Option<&'v str>,
            }
        }

        impl Texts for $values {
            fn subject(&self) -> askama::Result<String> {
                $module::Subject { values: self }.render()
            }

            fn text(&self, link: Option<&str>) -> askama::Result<String> {
                $module::Text { values: self, link }.render()
            }

            fn html(&self, title: &str, link: Option<&str>) -> askama::Result<String> {
                $module::Html { title, values: self, link }.render()
            }
        }
    )+};
}

texts! {
    upload_finished: UploadFinished,
        "notifications/upload_finished/subject.txt",
        "notifications/upload_finished/body.txt",
        "notifications/upload_finished/body.html";
    daily_summary: DailySummary,
        "notifications/daily_summary/subject.txt",
        "notifications/daily_summary/body.txt",
        "notifications/daily_summary/body.html";
    trade_settled: TradeSettled,
        "notifications/trade_settled/subject.txt",
        "notifications/trade_settled/body.txt",
        "notifications/trade_settled/body.html";
    trade_rejected: TradeRejected,
        "notifications/trade_rejected/subject.txt",
        "notifications/trade_rejected/body.txt",
        "notifications/trade_rejected/body.html";
    run_discarded: RunDiscarded,
        "notifications/run_discarded/subject.txt",
        "notifications/run_discarded/body.txt",
        "notifications/run_discarded/body.html";
    schedule_missed: ScheduleMissed,
        "notifications/schedule_missed/subject.txt",
        "notifications/schedule_missed/body.txt",
        "notifications/schedule_missed/body.html";
}

/// An event in words; which value is wrong and what is expected, if one is. With links if it is known where
/// people reach the pages.
pub fn render(event: Event, values: &Value, public_url: Option<&str>) -> Result<Content, String> {
    match event {
        Event::UploadFinished => write::<UploadFinished>(values, public_url),
        Event::DailySummary => write::<DailySummary>(values, public_url),
        Event::TradeSettled => write::<TradeSettled>(values, public_url),
        Event::TradeRejected => write::<TradeRejected>(values, public_url),
        Event::RunDiscarded => write::<RunDiscarded>(values, public_url),
        Event::ScheduleMissed => write::<ScheduleMissed>(values, public_url),
    }
}

/// The JSON schema of an event's values.
pub fn schema(event: Event) -> Value {
    match event {
        Event::UploadFinished => schemars::schema_for!(UploadFinished),
        Event::DailySummary => schemars::schema_for!(DailySummary),
        Event::TradeSettled => schemars::schema_for!(TradeSettled),
        Event::TradeRejected => schemars::schema_for!(TradeRejected),
        Event::RunDiscarded => schemars::schema_for!(RunDiscarded),
        Event::ScheduleMissed => schemars::schema_for!(ScheduleMissed),
    }
    .to_value()
}

fn write<V: Texts + DeserializeOwned>(given: &Value, public_url: Option<&str>) -> Result<Content, String> {
    let values: V =
        serde_path_to_error::deserialize(given).map_err(|error| match error.path().to_string() {
            path if path == "." => error.into_inner().to_string(),
            path => format!("{path}: {}", error.into_inner()),
        })?;
    if let Some((name, reason)) = values.fault() {
        return Err(format!("{name}: {reason}"));
    }
    let data = serde_json::to_value(&values).map_err(|error| error.to_string())?;
    if let Some(path) = place_of_nul(&data) {
        return Err(format!("{path}: holds a NUL, which no text may"));
    }
    let link = public_url.and_then(|base| link(base, &values.page()));
    let written = || -> askama::Result<Content> {
        let title = words::one_line(&values.subject()?, TITLE_CHARACTERS);
        let body = readable(values.text(link.as_deref())?.trim_end().to_owned());
        let html = readable(values.html(&title, link.as_deref())?);
        Ok(Content { title, body, html: Some(html), data })
    };
    let content = written().map_err(|error| error.to_string())?;
    if content.body.chars().count() > BODY_CHARACTERS {
        return Err(format!(
            "the message would have more than {BODY_CHARACTERS} characters; shorten its values"
        ));
    }
    Ok(content)
}

/// A text whose values do not turn the direction of what stands after them, as names of files may.
fn readable(text: String) -> String {
    let turns = |letter: char| breaks_line(letter) && !letter.is_control();
    if text.contains(turns) { text.replace(turns, "\u{fffd}") } else { text }
}

/// The address of a page below `/ui`.
fn link(public_url: &str, page: &[String]) -> Option<String> {
    let mut url = Url::parse(public_url).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().push("ui").extend(page);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trade() -> Value {
        json!({
            "trade_id": "01890000-0000-7000-8000-000000000001", "client_id": "C1", "side": "buy", "ticker": "AAPL",
            "volume": 1500, "price": "12.3000", "amount": "18450", "currency": "USD",
        })
    }

    fn changed(name: &str, value: Value) -> Value {
        let mut values = trade();
        values[name] = value;
        values
    }

    #[test]
    fn a_trade_in_words() {
        let content = render(Event::TradeSettled, &trade(), Some("https://x.example/m")).unwrap();
        assert_eq!(content.title, "Bought 1,500 AAPL for 18,450.00 USD");
        let expected = "Bought: 1,500 AAPL.\n\nClient: C1\nPrice: 12.30 USD\nAmount: 18,450.00 USD\n\
            Trade: 01890000-0000-7000-8000-000000000001\n\n\
            https://x.example/m/ui/trades/01890000-0000-7000-8000-000000000001";
        assert_eq!(content.body, expected);
        assert_eq!(content.data, trade());
        assert!(content.html.unwrap().contains("Show the trade"));
        let unlinked = render(Event::TradeSettled, &trade(), None).unwrap();
        assert!(!unlinked.body.contains("http") && !unlinked.html.unwrap().contains("<a "));
    }

    #[test]
    fn values_at_fault_are_named() {
        for (values, said) in [
            (
                changed("amount", json!(12.5)),
                "amount: invalid type: floating point `12.5`, expected a decimal number in quotes",
            ),
            (
                changed("amount", json!("much")),
                "amount: invalid value: string \"much\", expected a decimal number",
            ),
            (changed("side", json!("hold")), "side: \"hold\" is none of buy, sell"),
            (changed("volume", json!(-1)), "volume: "),
            (changed("tikcer", json!("A")), "tikcer: unknown field `tikcer`, expected one of `trade_id`"),
            (changed("ticker", json!("A\0")), "ticker: holds a NUL"),
            (changed("account_amount", json!("1")), "account_currency: say"),
            (json!({}), "missing field `trade_id`"),
            (json!([]), "invalid"),
        ] {
            let refused = render(Event::TradeSettled, &values, None).unwrap_err();
            assert!(refused.starts_with(said), "{values}: {refused}");
        }
        let runs = json!({ "runs": [{ "run_id": "x", "kind": "k", "attempts": 1, "error": null }] });
        let refused = render(Event::RunDiscarded, &runs, None).unwrap_err();
        assert!(refused.starts_with("runs[0].run_id: "), "{refused}");
        let refused = render(Event::RunDiscarded, &json!({ "runs": [] }), None).unwrap_err();
        assert_eq!(refused, "runs: name at least one run");
    }

    #[test]
    fn what_clients_are_called_is_escaped_in_html_alone() {
        let summary = json!({
            "client_id": "C/1?", "client_name": "<b>Ann & Bob</b>", "day": "2026-11-27",
            "lines": [{ "currency": "EUR", "transactions": 1, "spent": "5", "gained": "0" }],
        });
        let content = render(Event::DailySummary, &summary, Some("https://x.example")).unwrap();
        assert!(
            content.body.starts_with("<b>Ann & Bob</b> (C/1?), 2026-11-27\n\nEUR: 1 transaction, spent 5.00")
        );
        assert!(content.body.ends_with("https://x.example/ui/clients/C%2F1%3F"), "{}", content.body);
        let html = content.html.unwrap();
        assert!(!html.contains("<b>") && html.contains("Ann &#38; Bob"), "{html}");
    }

    #[test]
    fn titles_are_one_line() {
        let name = format!("a\r\nBcc: everybody@example.com\u{2028}\u{202e}{}", "x".repeat(300));
        let upload = json!({
            "upload_id": "01890000-0000-7000-8000-000000000001", "filename": name, "kind": "clients", "read": 1,
            "inserted": 1, "updated": 0, "duplicates": 0, "conflicts": 0, "rejected": 0,
        });
        let content = render(Event::UploadFinished, &upload, None).unwrap();
        assert!(content.title.starts_with("a  Bcc: everybody@example.com  x"), "{}", content.title);
        assert_eq!(content.title.chars().count(), 200);
        let turns = |text: &str| text.contains('\u{202e}');
        assert!(![content.title, content.body, content.html.unwrap()].iter().any(|text| turns(text)));
    }

    #[test]
    fn of_many_runs_the_first_are_named() {
        let run = json!({ "run_id": "01890000-0000-7000-8000-000000000001", "kind": "plan_upload", "attempts": 5, "error": "no\nroom" });
        let one = render(Event::RunDiscarded, &json!({ "runs": [run] }), Some("https://x.example/")).unwrap();
        assert_eq!(one.title, "A run of plan_upload was given up after 5 attempts");
        let expected = "plan_upload 01890000-0000-7000-8000-000000000001, given up after 5 attempts\n    no room\n\n\
            https://x.example/ui/runs/01890000-0000-7000-8000-000000000001";
        assert_eq!(one.body, expected);
        let many = render(Event::RunDiscarded, &json!({ "runs": [run, run], "more": 1998 }), None).unwrap();
        assert_eq!(many.title, "2,000 runs were given up");
        assert!(many.body.ends_with("\n\nand 1,998 more"), "{}", many.body);
    }
}
