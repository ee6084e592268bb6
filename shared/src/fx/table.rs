//! The rates that a load converts by, as whole numbers: exact, and the same on every machine.

use std::collections::HashMap;
use tokio_postgres::{Error, Transaction};

/// A currency's code.
type Code = [u8; 3];

/// A rate of one, as stored: rates have ten decimals.
const ONE: i128 = 10_000_000_000;
/// What rates that nobody gave are derived through.
const VIA: Code = *b"USD";

/// All rates, by pair of currencies, each pair's in the order of time.
#[derive(Debug, Default)]
pub struct RateTable(HashMap<(Code, Code), Vec<(i64, i128)>>);

impl RateTable {
    /// Reads the table.
    pub async fn read(transaction: &Transaction<'_>) -> Result<Self, Error> {
        let rows = transaction
            .query(
                "SELECT base, quote, (extract(epoch FROM valid_from) * 1000000)::bigint,
                        trunc(rate * 10000000000)::text
                 FROM fx_rates ORDER BY base, quote, valid_from",
                &[],
            )
            .await?;
        let mut table = Self::default();
        for row in rows {
            let code = |at: usize| Code::try_from(row.get::<_, &str>(at).as_bytes()).unwrap_or_default();
            let rate = row.get::<_, &str>(3).parse().unwrap_or_default();
            table.0.entry((code(0), code(1))).or_default().push((row.get(2), rate));
        }
        Ok(table)
    }

    fn direct(&self, base: Code, quote: Code, at_us: i64) -> Option<i128> {
        let rates = self.0.get(&(base, quote))?;
        let after = rates.partition_point(|(from, _)| *from <= at_us);
        Some(rates[after.checked_sub(1)?].1)
    }

    /// The rate at a time, with ten decimals: the latest that was given, else through US dollars.
    pub fn rate(&self, base: Code, quote: Code, at_us: i64) -> Option<i128> {
        if base == quote {
            return Some(ONE);
        }
        self.direct(base, quote, at_us).or_else(|| {
            let (there, back) = (self.direct(base, VIA, at_us)?, self.direct(VIA, quote, at_us)?);
            Some(rounded(there.checked_mul(back)?))
        })
    }

    /// An amount in another currency, both in units, rounded half away from zero; `None` without a rate,
    /// or beyond what an amount can be.
    pub fn convert(&self, units: i128, base: Code, quote: Code, at_us: i64) -> Option<i128> {
        let rate = self.rate(base, quote, at_us)?;
        Some(rounded(units.checked_mul(rate)?)).filter(|units| *units <= crate::money::MAX_UNITS)
    }
}

/// Takes ten decimals off, half up; the value is not negative.
fn rounded(value: i128) -> i128 {
    (value + ONE / 2) / ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_from_its_time_and_is_derived_through_dollars_where_nobody_gave_one() {
        let pair = |base: &[u8; 3], quote: &[u8; 3]| (*base, *quote);
        let table = RateTable(HashMap::from([
            (pair(b"EUR", b"USD"), vec![(0, 11_000_000_000), (100, 12_000_000_000)]),
            (pair(b"USD", b"GBP"), vec![(50, 8_000_000_000)]),
        ]));
        assert_eq!(table.convert(10_000, *b"EUR", *b"USD", 99), Some(11_000));
        assert_eq!(table.convert(10_000, *b"EUR", *b"USD", 100), Some(12_000));
        assert_eq!(table.convert(10_000, *b"EUR", *b"GBP", 49), None, "no rate yet");
        assert_eq!(table.convert(10_000, *b"EUR", *b"GBP", 50), Some(8_800));
        assert_eq!(table.convert(3, *b"USD", *b"GBP", 50), Some(2), "2.4 is rounded");
        assert_eq!(table.convert(10_000, *b"JPY", *b"JPY", 0), Some(10_000));
        assert_eq!(table.convert(10_000, *b"JPY", *b"USD", 0), None);
    }
}
