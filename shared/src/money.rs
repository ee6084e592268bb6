//! Money: decimals with four places, never floats. Inside a load an amount is a whole number of
//! ten-thousandths ("units"), exact and cheap to add.

use rust_decimal::Decimal;

/// Units of one: amounts have four decimals.
pub const UNITS: i128 = 10_000;
/// The largest amount that numeric(20,4) holds, in units.
pub const MAX_UNITS: i128 = 10i128.pow(20) - 1;

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No number at all.
    #[error("is not a number; write it like 1234.56, without separators or signs of currency")]
    NotANumber,
    /// Too many digits before the point.
    #[error("is too large; at most 16 digits before the decimal point are kept")]
    TooLarge,
    /// Digits that would be lost.
    #[error("has more than four decimals, which would be lost; round it")]
    TooPrecise,
}

/// Reads a plain or scientific decimal into units.
pub fn parse_units(text: &[u8]) -> Result<i128, AmountError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&digits[..at], exponent(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let (mut value, mut places, mut seen, mut point) = (0i128, 0i32, false, false);
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                // Far beyond the largest amount the digits only matter for being too many.
                if value > MAX_UNITS * UNITS {
                    return Err(if point { AmountError::TooPrecise } else { AmountError::TooLarge });
                }
                value = value * 10 + i128::from(byte - b'0');
                places += i32::from(point);
            }
            b'.' if !point => point = true,
            _ => return Err(AmountError::NotANumber),
        }
    }
    if !seen {
        return Err(AmountError::NotANumber);
    }
    let mut shift = 4 - places + exponent;
    while shift < 0 && value != 0 {
        if value % 10 != 0 {
            return Err(AmountError::TooPrecise);
        }
        value /= 10;
        shift += 1;
    }
    while shift > 0 && value != 0 {
        if value > MAX_UNITS {
            return Err(AmountError::TooLarge);
        }
        value *= 10;
        shift -= 1;
    }
    if value > MAX_UNITS {
        return Err(AmountError::TooLarge);
    }
    Ok(if negative { -value } else { value })
}

fn exponent(text: &[u8]) -> Result<i32, AmountError> {
    let text = std::str::from_utf8(text).map_err(|_| AmountError::NotANumber)?;
    let value: i32 = text.parse().map_err(|_| AmountError::NotANumber)?;
    if value.abs() > 100 {
        Err(if value > 0 { AmountError::TooLarge } else { AmountError::TooPrecise })
    } else {
        Ok(value)
    }
}

/// Units as text that PostgreSQL reads as numeric.
pub fn units_to_text(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    format!("{sign}{}.{:04}", units / UNITS.unsigned_abs(), units % UNITS.unsigned_abs())
}

/// The units of a decimal with at most four places, as numeric columns give them.
pub fn units_of(amount: Decimal) -> i128 {
    let mut whole = amount;
    whole.rescale(4);
    whole.mantissa()
}

/// Units as a decimal with four places; none beyond what a decimal holds, 28 digits.
pub fn decimal_of(units: i128) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(units, 4).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        use AmountError::{NotANumber, TooLarge, TooPrecise};
        for (text, expected) in [
            ("0", Ok(0)),
            ("100.50", Ok(1_005_000)),
            ("-2369.16", Ok(-23_691_600)),
            ("+.5", Ok(5_000)),
            ("5.", Ok(50_000)),
            ("1.2345000", Ok(12_345)),
            ("1e3", Ok(10_000_000)),
            ("1.5E-3", Ok(15)),
            ("0e99", Ok(0)),
            ("9999999999999999.9999", Ok(MAX_UNITS)),
            ("10000000000000000", Err(TooLarge)),
            ("1e40", Err(TooLarge)),
            ("10000000000000000000000000000000000000000", Err(TooLarge)),
            ("0.00001", Err(TooPrecise)),
            ("1e-5", Err(TooPrecise)),
            ("", Err(NotANumber)),
            (".", Err(NotANumber)),
            ("-", Err(NotANumber)),
            ("NaN", Err(NotANumber)),
            ("inf", Err(NotANumber)),
            ("1,000.00", Err(NotANumber)),
            ("1.2.3", Err(NotANumber)),
            ("1e", Err(NotANumber)),
            ("0x10", Err(NotANumber)),
            ("$5", Err(NotANumber)),
        ] {
            assert_eq!(parse_units(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(units_to_text(-23_691_600), "-2369.1600");
        assert_eq!(units_to_text(5), "0.0005");
    }
}
