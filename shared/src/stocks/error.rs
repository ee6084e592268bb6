//! Why a stock is not listed.

/// What is wrong with a field of a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockFault {
    /// Which.
    pub field: &'static str,
    /// What is wrong with it, for programs.
    pub code: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl StockFault {
    pub(super) fn new(field: &'static str, code: &'static str, reason: &str) -> Self {
        Self { field, code, reason: reason.to_owned() }
    }

    /// A price with more decimals than are kept.
    pub(super) fn too_precise(field: &'static str) -> Self {
        let reason = "A price has at most four decimals; the rest would be lost. Round it.";
        Self::new(field, "too_many_decimals", reason)
    }

    /// A price with more digits than are kept.
    pub(super) fn too_large(field: &'static str) -> Self {
        Self::new(field, "number_too_large", "A price has at most 16 digits before the decimal point.")
    }

    /// A volume that is none.
    pub(super) fn bad_volume() -> Self {
        Self::new("volume", "bad_volume", "A volume is a whole number from 0 to 2,147,483,647.")
    }
}

/// A stock was refused.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// Fields cannot be used.
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.field, fault.reason)).collect::<Vec<_>>().join(" "))]
    Invalid(Vec<StockFault>),
    /// The ticker is another's.
    #[error("There is a stock {0} already. What it was listed at never changes; choose another ticker.")]
    Taken(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
