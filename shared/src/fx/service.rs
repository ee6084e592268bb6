//! Adding a rate, and which rates are in force.

use super::{
    error::FxError,
    model::{FxRate, NewRate, RateInForce},
    queries,
};
use chrono::{DateTime, Datelike, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use rust_decimal::{Decimal, RoundingStrategy};

/// The currency through which rates are derived.
pub const VIA: &str = "USD";
/// Decimals of a rate.
pub const RATE_DECIMALS: u32 = 10;
/// Rates beyond this do not fit numeric(20,10).
const LARGEST: Decimal = Decimal::from_parts(1_410_065_407, 2, 0, false, 0);

/// Adds a rate; codes are taken in any case.
pub async fn add_rate(conn: &mut AsyncPgConnection, new: NewRate, by: &str) -> Result<FxRate, FxError> {
    let new = checked(new)?;
    queries::insert(conn, &new, by).await?.ok_or(FxError::Duplicate(new))
}

fn checked(new: NewRate) -> Result<NewRate, FxError> {
    let new = NewRate { base: code("base", &new.base)?, quote: code("quote", &new.quote)?, ..new };
    let invalid = |field, reason: &str| Err(FxError::Invalid { field, reason: reason.to_owned() });
    if new.base == new.quote {
        return invalid("quote", "A rate is between two different currencies.");
    }
    if new.rate <= Decimal::ZERO {
        return invalid("rate", "A rate is more than zero.");
    }
    if new.rate > LARGEST {
        return invalid("rate", "A rate is at most 9,999,999,999.");
    }
    if new.rate.normalize().scale() > RATE_DECIMALS {
        return invalid("rate", "A rate has at most ten decimals; the rest would be lost. Round it.");
    }
    if !(1970..=9999).contains(&new.valid_from.year()) {
        return invalid("valid_from", "The time is in the years 1970 to 9999.");
    }
    Ok(new)
}

fn code(field: &'static str, text: &str) -> Result<String, FxError> {
    let text = text.trim();
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err(FxError::Invalid { field, reason: "A currency is three letters, such as USD.".to_owned() })
}

/// Every rate in force at a moment, sorted by pair: those that were added, and for pairs without one
/// those derived through the dollar.
pub async fn rates_in_force(
    conn: &mut AsyncPgConnection,
    at: DateTime<Utc>,
) -> QueryResult<Vec<RateInForce>> {
    Ok(with_derived(queries::in_force(conn, at).await?))
}

/// Adds what can be derived: EUR→GBP = EUR→USD × USD→GBP, rounded half up at ten decimals, as a load
/// does.
fn with_derived(stored: Vec<FxRate>) -> Vec<RateInForce> {
    let mut derived = Vec::new();
    for into in stored.iter().filter(|rate| rate.quote == VIA) {
        for out in stored.iter().filter(|rate| rate.base == VIA && rate.quote != into.base) {
            let known = stored.iter().any(|rate| rate.base == into.base && rate.quote == out.quote);
            let rate = into.rate.checked_mul(out.rate);
            let rate = rate.map(|rate| {
                rate.round_dp_with_strategy(RATE_DECIMALS, RoundingStrategy::MidpointAwayFromZero).normalize()
            });
            if let (false, Some(rate)) = (known, rate.filter(|rate| !rate.is_zero())) {
                derived.push(RateInForce {
                    base: into.base.clone(),
                    quote: out.quote.clone(),
                    rate,
                    valid_from: into.valid_from.max(out.valid_from),
                    created_by: None,
                    via: Some(VIA),
                });
            }
        }
    }
    let own = stored.into_iter().map(|rate| RateInForce {
        base: rate.base,
        quote: rate.quote,
        rate: rate.rate.normalize(),
        valid_from: rate.valid_from,
        created_by: Some(rate.created_by),
        via: None,
    });
    let mut rates: Vec<RateInForce> = own.chain(derived).collect();
    rates.sort_by(|one, other| (&one.base, &one.quote).cmp(&(&other.base, &other.quote)));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(base: &str, quote: &str, rate: &str) -> FxRate {
        FxRate {
            base: base.to_owned(),
            quote: quote.to_owned(),
            rate: rate.parse().unwrap(),
            valid_from: DateTime::UNIX_EPOCH,
            created_by: "millrace".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn pairs_without_a_rate_are_derived_through_the_dollar() {
        let rates = with_derived(vec![
            stored("EUR", "USD", "1.10"),
            stored("GBP", "USD", "1.25"),
            stored("USD", "EUR", "0.91"),
            stored("USD", "GBP", "0.80"),
        ]);
        let shown: Vec<String> = rates
            .iter()
            .map(|rate| format!("{}{} {} {}", rate.base, rate.quote, rate.rate, rate.via.unwrap_or("-")))
            .collect();
        let expected = [
            "EURGBP 0.88 USD",
            "EURUSD 1.1 -",
            "GBPEUR 1.1375 USD",
            "GBPUSD 1.25 -",
            "USDEUR 0.91 -",
            "USDGBP 0.8 -",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_rate_of_its_own_comes_before_a_derived_one() {
        let rates = with_derived(vec![
            stored("EUR", "USD", "1.10"),
            stored("USD", "GBP", "0.80"),
            stored("EUR", "GBP", "0.85"),
        ]);
        let pair = rates.iter().find(|rate| rate.base == "EUR" && rate.quote == "GBP").unwrap();
        assert_eq!((pair.rate.to_string().as_str(), pair.via), ("0.85", None));
        assert_eq!(rates.len(), 3);
    }

    #[test]
    fn what_is_no_rate_is_refused_at_its_field() {
        let field = |base: &str, quote: &str, rate: &str| {
            let (base, quote) = (base.to_owned(), quote.to_owned());
            let new = NewRate { base, quote, rate: rate.parse().unwrap(), valid_from: DateTime::UNIX_EPOCH };
            match checked(new) {
                Err(FxError::Invalid { field, .. }) => field,
                _ => "",
            }
        };
        assert_eq!(field("eur", " chf ", "0.95"), "");
        assert_eq!(field("EURO", "CHF", "1"), "base");
        assert_eq!(field("EUR", "EUR", "1"), "quote");
        assert_eq!(field("EUR", "CHF", "0"), "rate");
        assert_eq!(field("EUR", "CHF", "-1"), "rate");
        assert_eq!(field("EUR", "CHF", "9999999999"), "");
        assert_eq!(field("EUR", "CHF", "10000000000"), "rate");
        assert_eq!(field("EUR", "CHF", "0.00000000001"), "rate");
    }
}
