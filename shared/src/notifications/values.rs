//! What each event says: the values of its texts, which programs are told as they are. They are read strictly,
//! because people may send events' texts with values of their own.

use super::words::{count, grouped, one_line};
use crate::{
    ids::{RunId, TradeId, UploadId},
    trades::model::{Reason, Side},
    uploads::UploadKind,
};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt};

/// Characters of a run's error that a message shows; programs are told all of it that there is.
const ERROR_CHARACTERS: usize = 300;

/// Money, written in quotes: a number of JSON would be a binary fraction to most who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub Decimal);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number in quotes, such as \"12.50\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                let read = Decimal::from_str_exact(text).map(Amount);
                read.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "examples": ["12.50"] })
    }
}

/// With at least two decimals, the whole part in groups of three.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.abs().normalize().to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let sign = if self.0 < Decimal::ZERO { "\u{2212}" } else { "" };
        write!(f, "{sign}{}.{decimals:0<2}", grouped(whole))
    }
}

/// What a message shows in a table: names and values.
pub(super) type Facts = Vec<(&'static str, String)>;

/// What else its texts need of an event's values.
pub(super) trait Values: Serialize {
    /// The page that shows more: its path, part by part.
    fn page(&self) -> Vec<String>;

    /// The value at fault and what is wrong with it, where the types do not say it.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        None
    }
}

fn page(parts: &[&dyn fmt::Display]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

/// A file has been loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadFinished {
    /// The upload.
    pub upload_id: UploadId,
    /// The name it was sent under.
    pub filename: String,
    /// What its rows are.
    pub kind: UploadKind,
    /// Records of the file.
    pub read: u64,
    /// New rows.
    pub inserted: u64,
    /// Rows whose status, or a client's fields, moved.
    pub updated: u64,
    /// Rows that were there, the same.
    pub duplicates: u64,
    /// Rows that were there, different.
    pub conflicts: u64,
    /// Rows that could not be read.
    pub rejected: u64,
}

impl UploadFinished {
    pub(super) fn facts(&self) -> Facts {
        vec![
            ("Read", count(self.read)),
            ("New", count(self.inserted)),
            ("Updated", count(self.updated)),
            ("Duplicates", count(self.duplicates)),
            ("Conflicts", count(self.conflicts)),
            ("Rejected", count(self.rejected)),
        ]
    }

    pub(super) fn refused(&self) -> u64 {
        self.conflicts.saturating_add(self.rejected)
    }
}

impl Values for UploadFinished {
    fn page(&self) -> Vec<String> {
        page(&[&"uploads", &self.upload_id])
    }
}

/// What a client did on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DailySummary {
    /// Whose.
    pub client_id: String,
    /// The client's name, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// In the reporting zone.
    pub day: NaiveDate,
    /// One for each currency; at least one.
    pub lines: Vec<DailyLine>,
}

/// What a client did on a day, in a currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DailyLine {
    /// The currency.
    pub currency: String,
    /// Transactions that took place.
    pub transactions: u64,
    /// Payments and buys.
    pub spent: Amount,
    /// Refunds and sells.
    pub gained: Amount,
}

impl DailySummary {
    pub(super) fn who(&self) -> String {
        match &self.client_name {
            Some(name) => format!("{name} ({})", self.client_id),
            None => format!("Client {}", self.client_id),
        }
    }

    pub(super) fn transactions(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.transactions))
    }
}

impl DailyLine {
    pub(super) fn cells(&self) -> [String; 3] {
        [count(self.transactions), self.spent.to_string(), self.gained.to_string()]
    }
}

impl Values for DailySummary {
    fn page(&self) -> Vec<String> {
        page(&[&"clients", &self.client_id])
    }

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.lines.is_empty().then_some(("lines", "name at least one currency"))
    }
}

/// A client's trade was settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeSettled {
    /// The trade.
    pub trade_id: TradeId,
    /// Whose.
    pub client_id: String,
    /// Which way.
    pub side: Side,
    /// Of which stock.
    pub ticker: String,
    /// Shares.
    pub volume: u64,
    /// Of one share, in `currency`.
    pub price: Amount,
    /// Volume times price, in `currency`.
    pub amount: Amount,
    /// The stock's.
    pub currency: String,
    /// What moved in the account, in `account_currency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_amount: Option<Amount>,
    /// The account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_currency: Option<String>,
    /// The trade that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversal_of: Option<TradeId>,
}

impl TradeSettled {
    pub(super) fn facts(&self) -> Facts {
        let mut facts = vec![
            ("Client", self.client_id.clone()),
            ("Price", format!("{} {}", self.price, self.currency)),
            ("Amount", format!("{} {}", self.amount, self.currency)),
        ];
        facts.extend(self.in_account().map(|amount| ("In the account", amount)));
        facts.push(("Trade", self.trade_id.to_string()));
        facts
    }

    pub(super) fn done(&self) -> &'static str {
        match self.side {
            Side::Buy => "Bought",
            Side::Sell => "Sold",
        }
    }

    fn in_account(&self) -> Option<String> {
        let currency = self.account_currency.as_ref()?;
        // In the stock's own currency it is the amount.
        (currency != &self.currency).then_some(format!("{} {currency}", self.account_amount?))
    }
}

impl Values for TradeSettled {
    fn page(&self) -> Vec<String> {
        page(&[&"trades", &self.trade_id])
    }

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        match (&self.account_amount, &self.account_currency) {
            (Some(_), None) => Some(("account_currency", "say in which currency account_amount is")),
            (None, Some(_)) => Some(("account_amount", "say how much moved in account_currency")),
            _ => None,
        }
    }
}

/// A client's trade was rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeRejected {
    /// The trade.
    pub trade_id: TradeId,
    /// Whose.
    pub client_id: String,
    /// Which way.
    pub side: Side,
    /// Of which stock.
    pub ticker: String,
    /// Shares.
    pub volume: u64,
    /// Why.
    pub reason: Reason,
    /// Why, for people; what is usually said of the reason if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

impl TradeRejected {
    pub(super) fn facts(&self) -> Facts {
        vec![
            ("Client", self.client_id.clone()),
            ("Reason", self.reason.to_string()),
            ("Trade", self.trade_id.to_string()),
        ]
    }

    pub(super) fn explained(&self) -> &str {
        self.explanation.as_deref().unwrap_or(self.reason.explained())
    }
}

impl Values for TradeRejected {
    fn page(&self) -> Vec<String> {
        page(&[&"trades", &self.trade_id])
    }
}

/// Runs were given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDiscarded {
    /// The first of them; at least one.
    pub runs: Vec<DiscardedRun>,
    /// How many more there were.
    #[serde(default)]
    pub more: u64,
}

/// A run that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardedRun {
    /// The run.
    pub run_id: RunId,
    /// What it was to do.
    pub kind: String,
    /// How often that was tried.
    pub attempts: u64,
    /// What went wrong last.
    #[serde(default)]
    pub error: Option<String>,
}

impl DiscardedRun {
    pub(super) fn shown_error(&self) -> Option<String> {
        self.error.as_deref().map(|error| one_line(error, ERROR_CHARACTERS))
    }
}

impl RunDiscarded {
    pub(super) fn only(&self) -> Option<&DiscardedRun> {
        self.runs.first().filter(|_| self.total() == 1)
    }

    pub(super) fn total(&self) -> u64 {
        self.more.saturating_add(self.runs.len() as u64)
    }
}

impl Values for RunDiscarded {
    fn page(&self) -> Vec<String> {
        match self.only() {
            Some(run) => page(&[&"runs", &run.run_id]),
            None => page(&[&"failures"]),
        }
    }

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.runs.is_empty().then_some(("runs", "name at least one run"))
    }
}

/// Schedules did not run as they should have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleMissed {
    /// The first of them; at least one.
    pub alerts: Vec<MissedSchedule>,
    /// How many more there were.
    #[serde(default)]
    pub more: u64,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissedSchedule {
    /// Its name.
    pub schedule: String,
    /// The alert's kind, such as `schedule_overdue`.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl ScheduleMissed {
    pub(super) fn only(&self) -> Option<&MissedSchedule> {
        self.alerts.first().filter(|_| self.total() == 1)
    }

    pub(super) fn total(&self) -> u64 {
        self.more.saturating_add(self.alerts.len() as u64)
    }
}

impl Values for ScheduleMissed {
    fn page(&self) -> Vec<String> {
        match self.only() {
            Some(alert) => page(&[&"schedules", &alert.schedule]),
            None => page(&[&"schedules"]),
        }
    }

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.alerts.is_empty().then_some(("alerts", "name at least one alert"))
    }
}
