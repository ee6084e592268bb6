//! What is sent live, and what became of it, as JSON.

use super::transactions::TransactionView;
use crate::{error::Problem, routes::live::said};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::value::RawValue;
use shared::transactions::live::Outcome;
use utoipa::ToSchema;

/// A number, or a text that is to be one, digit by digit: no float is between.
#[derive(Debug)]
pub struct Exact(pub String);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).map(Self).map_err(D::Error::custom),
            Some(b'-' | b'0'..=b'9') => Ok(Self(text.to_owned())),
            _ => Err(D::Error::custom("a number is expected, as a number or as a text")),
        }
    }
}

/// A transaction, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddedView {
    /// `created`, `duplicate` or `updated`.
    #[schema(example = "created")]
    pub outcome: &'static str,
    /// As it is recorded.
    pub transaction: TransactionView,
}

/// What became of one of many.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomeView {
    /// Which.
    pub transaction_id: String,
    /// The status that it would have had alone; of one that was left out 424.
    #[schema(example = 201)]
    pub status: u16,
    /// `created`, `duplicate`, `updated`, `conflict`, `rejected` or `left_out`.
    #[schema(example = "created")]
    pub outcome: &'static str,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong with it, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What is wrong, for people; of a conflict both versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl OutcomeView {
    /// The view of a transaction's outcome.
    pub fn new(transaction_id: String, outcome: &Outcome) -> Self {
        let (field, code, detail) = match outcome {
            Outcome::Conflict(message) => {
                (Some("transaction_id"), Some("conflict"), Some(format!("{message}.")))
            }
            Outcome::Rejected(fault) => (Some(fault.field), Some(fault.code), Some(said(fault))),
            _ => (None, None, None),
        };
        let status = match outcome {
            Outcome::Created => 201,
            Outcome::Updated | Outcome::Duplicate => 200,
            Outcome::Conflict(_) => 409,
            Outcome::Rejected(_) => 422,
            Outcome::LeftOut => 424,
        };
        let field = field.map(str::to_owned);
        Self { transaction_id, status, outcome: outcome.word(), field, code, detail }
    }

    /// The view of one that has not the form of a transaction.
    pub fn malformed(transaction_id: String, problem: &Problem) -> Self {
        Self {
            transaction_id,
            status: 422,
            outcome: "rejected",
            field: problem.field.clone(),
            code: Some("malformed"),
            detail: Some(problem.detail.clone()),
        }
    }
}

/// What became of many.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    /// New ones.
    pub created: usize,
    /// Those that were pending and are decided.
    pub updated: usize,
    /// Those that were there, the same.
    pub duplicates: usize,
    /// Those that were there, different.
    pub conflicts: usize,
    /// Those that cannot be used.
    pub rejected: usize,
    /// Those that are left out because of another.
    pub left_out: usize,
    /// Of each, in the order in which they were sent.
    pub outcomes: Vec<OutcomeView>,
}

impl BatchView {
    /// Counts them.
    pub fn new(outcomes: Vec<OutcomeView>) -> Self {
        let count = |word: &str| outcomes.iter().filter(|outcome| outcome.outcome == word).count();
        Self {
            created: count("created"),
            updated: count("updated"),
            duplicates: count("duplicate"),
            conflicts: count("conflict"),
            rejected: count("rejected"),
            left_out: count("left_out"),
            outcomes,
        }
    }
}
