//! Why a stock is not listed.

/// What is wrong with a field of a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockFault {
    /// Which.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
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
