//! Means and deviations, exact until their one rounding: half to even.

use ethnum::U256;
use rust_decimal::Decimal;

/// Decimals of amounts, sums and means.
pub const SCALE: u32 = 4;

/// `sum / count`, with four decimals. Zero if there is nothing.
pub fn mean(sum: Decimal, count: i64) -> Decimal {
    let mut units = sum;
    units.rescale(SCALE);
    let (units, count) = (units.mantissa(), i128::from(count));
    if count <= 0 {
        return Decimal::new(0, SCALE);
    }
    let quotient = units.div_euclid(count);
    let rest = units - quotient * count;
    let up = match (rest * 2).cmp(&count) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Decimal::from_i128_with_scale(quotient + i128::from(up), SCALE)
}

/// The population's standard deviation over the mean's size, with `scale` decimals: of `count` amounts that
/// come to `sum`, their squares to `squares` (in units of 10⁻⁸). Zero if the mean is.
pub fn volatility(count: i64, sum: Decimal, squares: U256, scale: u32) -> Decimal {
    let mut units = sum;
    units.rescale(SCALE);
    let sum = U256::from(units.mantissa().unsigned_abs());
    let sum_squared = sum * sum;
    let spread = U256::from(count.unsigned_abs()) * squares;
    if sum == U256::ZERO || spread <= sum_squared {
        return Decimal::new(0, scale);
    }
    // With r = 10^scale the result is the root of (n Σx² - (Σx)²) r² / (Σx)², in units of 1/r.
    let scaled = (spread - sum_squared) * U256::from(10u128.pow(2 * scale));
    let root = (scaled / sum_squared).as_u128().isqrt();
    // Half a unit above the root, squared, against what the root is of; both times four.
    let half = U256::from(2 * root + 1);
    let up = match (scaled * 4).cmp(&(half * half * sum_squared)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => !root.is_multiple_of(2),
        std::cmp::Ordering::Greater => true,
    };
    Decimal::from_i128_with_scale(i128::try_from(root + u128::from(up)).unwrap_or(i128::MAX), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn means_are_rounded_half_to_even() {
        for (sum, count, expected) in [
            ("301.25", 2, "150.6250"),
            ("100", 3, "33.3333"),
            ("200", 3, "66.6667"),
            ("0.0001", 2, "0.0000"),
            ("0.0003", 2, "0.0002"),
            ("-0.0001", 2, "0.0000"),
            ("-0.0003", 2, "-0.0002"),
            ("-0.0005", 2, "-0.0002"),
            ("-100", 3, "-33.3333"),
            ("999999999999999999999999.9999", 1, "999999999999999999999999.9999"),
            ("5", 0, "0.0000"),
        ] {
            assert_eq!(mean(decimal(sum), count).to_string(), expected, "{sum} / {count}");
        }
    }

    /// The squares of amounts, in units of 10⁻⁸.
    fn spread(amounts: &[&str], scale: u32) -> String {
        let units = |text: &&str| {
            let mut amount = decimal(text);
            amount.rescale(SCALE);
            U256::from(amount.mantissa().unsigned_abs())
        };
        let squares = amounts.iter().map(units).map(|x| x * x).sum();
        let sum = amounts.iter().map(|text| decimal(text)).sum();
        volatility(amounts.len() as i64, sum, squares, scale).to_string()
    }

    #[test]
    fn volatility_is_the_deviation_over_the_mean() {
        assert_eq!(spread(&["100.5", "200.75"], 2), "0.33");
        assert_eq!(spread(&["100.5", "200.75"], 4), "0.3328");
        assert_eq!(spread(&["2", "4", "4", "4", "5", "5", "7", "9"], 4), "0.4000");
        assert_eq!(spread(&["7"], 4), "0.0000");
        assert_eq!(spread(&["7", "7", "7"], 4), "0.0000");
        assert_eq!(spread(&["0", "0"], 4), "0.0000");
        // Exactly between two: 0.125 and 0.375.
        assert_eq!(spread(&["7", "9"], 2), "0.12");
        assert_eq!(spread(&["5", "11"], 2), "0.38");
        assert_eq!(spread(&["9999999999999999.9999", "0"], 4), "1.0000");
        assert_eq!(spread(&["-100.5", "-200.75"], 2), "0.33");
    }
}
