//! Exchange rates as JSON.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::fx::{FxRate, RateInForce};
use utoipa::ToSchema;

/// One unit of `base` is `rate` units of `quote`.
#[derive(Debug, Serialize, ToSchema)]
pub struct FxRateView {
    /// ISO 4217 code.
    pub base: String,
    /// ISO 4217 code.
    pub quote: String,
    /// Units of `quote` for one of `base`, to ten decimals.
    pub rate: Decimal,
    /// From when on.
    pub valid_from: DateTime<Utc>,
    /// Whether it was not added, but derived through another currency.
    pub derived: bool,
    /// Through which.
    pub via: Option<&'static str>,
    /// Who added it; null if it is derived.
    pub created_by: Option<String>,
}

impl From<RateInForce> for FxRateView {
    fn from(rate: RateInForce) -> Self {
        Self {
            base: rate.base,
            quote: rate.quote,
            rate: rate.rate,
            valid_from: rate.valid_from,
            derived: rate.via.is_some(),
            via: rate.via,
            created_by: rate.created_by,
        }
    }
}

impl From<FxRate> for FxRateView {
    fn from(rate: FxRate) -> Self {
        Self {
            base: rate.base,
            quote: rate.quote,
            rate: rate.rate.normalize(),
            valid_from: rate.valid_from,
            derived: false,
            via: None,
            created_by: Some(rate.created_by),
        }
    }
}
