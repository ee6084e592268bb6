//! Exchange rates as they are stored, and as they are in force.

use crate::schema::fx_rates;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use rust_decimal::Decimal;

/// One unit of `base` is `rate` units of `quote`, from `valid_from` until the pair's next rate.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = fx_rates, check_for_backend(diesel::pg::Pg))]
pub struct FxRate {
    /// ISO 4217 code.
    pub base: String,
    /// ISO 4217 code.
    pub quote: String,
    /// Units of `quote` for one of `base`, to ten decimals.
    pub rate: Decimal,
    /// From when on.
    pub valid_from: DateTime<Utc>,
    /// Who added it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A rate to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRate {
    /// ISO 4217 code.
    pub base: String,
    /// ISO 4217 code.
    pub quote: String,
    /// Units of `quote` for one of `base`.
    pub rate: Decimal,
    /// From when on.
    pub valid_from: DateTime<Utc>,
}

/// A rate that is in force at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateInForce {
    /// ISO 4217 code.
    pub base: String,
    /// ISO 4217 code.
    pub quote: String,
    /// Units of `quote` for one of `base`, to ten decimals.
    pub rate: Decimal,
    /// From when on; of a derived one, when the later of its two came into force.
    pub valid_from: DateTime<Utc>,
    /// Who added it; nobody, if it is derived.
    pub created_by: Option<String>,
    /// The currency through which it is derived.
    pub via: Option<&'static str>,
}
