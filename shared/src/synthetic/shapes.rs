//! Shapes of distributions, in integers alone: the mathematical functions of floating point differ
//! between machines, and with them the bytes would.

/// Choices by weight: a table of which each draw looks at one cell (Vose's alias method).
pub struct Weighted(Vec<Cell>);

#[derive(Clone, Copy)]
struct Cell {
    /// Of 2^32, how many draws of this cell are its own; the others are `other`'s.
    own: u32,
    other: u16,
}

impl Weighted {
    /// At most 65,536 choices, of which one has a weight above 0.
    pub fn new(weights: &[u64]) -> Self {
        let count = weights.len() as u128;
        let total: u128 = weights.iter().copied().map(u128::from).sum();
        let mut left: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * count).collect();
        let mut cells: Vec<Cell> =
            (0..weights.len()).map(|at| Cell { own: u32::MAX, other: at as u16 }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&at| left[at] < total);
        while let (Some(&donor), Some(needy)) = (large.last(), small.pop()) {
            cells[needy] = Cell { own: ((left[needy] << 32) / total) as u32, other: donor as u16 };
            left[donor] -= total - left[needy];
            if left[donor] < total {
                large.pop();
                small.push(donor);
            }
        }
        Self(cells)
    }

    /// Choices of which the second is half as popular as the first, the third a third, and so on (Zipf).
    pub fn by_rank(count: u64) -> Self {
        Self::new(&(1..=count).map(|rank| 1_000_000_000 / rank).collect::<Vec<_>>())
    }

    /// The choice that 32 random bits fall to.
    pub fn draw(&self, bits: u32) -> usize {
        let place = u64::from(bits) * self.0.len() as u64;
        let (at, rest) = ((place >> 32) as usize, place as u32);
        let cell = self.0[at];
        if rest < cell.own { at } else { usize::from(cell.other) }
    }
}

/// A number in `0..count`, small ones more often: with 1,000, the first comes 32 times as often as each
/// would on average, the last half as often.
pub fn skewed(bits: u32, count: u32) -> u32 {
    let squared = (u64::from(bits) * u64::from(bits)) >> 32;
    ((squared * u64::from(count)) >> 32) as u32
}

/// Bits of a fraction in exponents.
const FRACTION: u32 = 16;
/// Standard deviation of the sum of eight random bytes, whose mean is 1,020.
const DEVIATION: i64 = 209;

/// 2^(n/256) with 32 binary places, for n from 0 to 256: by square roots, which integers have exactly.
const POWERS: [u64; 257] = {
    // 2^(1/2), 2^(1/4), … 2^(1/256), with 62 places.
    let mut roots = [0u128; 8];
    let mut last = 1u128 << 63;
    let mut at = 0;
    while at < 8 {
        last = (last << 62).isqrt();
        roots[at] = last;
        at += 1;
    }
    let mut powers = [0; 257];
    let mut number = 0;
    while number < 256 {
        let mut power = 1u128 << 62;
        let mut bit = 0;
        while bit < 8 {
            if number & (128 >> bit) != 0 {
                power = (power * roots[bit]) >> 62;
            }
            bit += 1;
        }
        powers[number] = (power >> 30) as u64;
        number += 1;
    }
    powers[256] = 1 << 33;
    powers
};

/// Whole numbers whose logarithm is (nearly) normal: most are moderate, a few are large.
#[derive(Clone, Copy)]
pub struct LogNormal {
    /// Logarithm to base 2 of the median.
    median: i64,
    /// What one step of the sum of bytes adds to the logarithm.
    step: i64,
}

impl LogNormal {
    /// By the logarithm (base 2) of the median and its standard deviation, in thousandths. A drawn number
    /// is at most 4.9 deviations away; that must stay below 2^30.
    pub const fn new(median_milli: i64, deviation_milli: i64) -> Self {
        Self {
            median: (median_milli << FRACTION) / 1000,
            step: (deviation_milli << FRACTION) / 1000 / DEVIATION,
        }
    }

    /// The number that these random bits fall to; at least 1. `between` fills the gaps between the steps.
    pub fn draw(self, bits: u64, between: u16) -> u64 {
        let exponent = self.median
            + (byte_sum(bits).cast_signed() - 1020) * self.step
            + ((i64::from(between) * self.step) >> 16);
        power(exponent.max(0).cast_unsigned())
    }
}

/// The sum of the eight bytes.
fn byte_sum(bits: u64) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let pairs = (bits & EVEN) + ((bits >> 8) & EVEN);
    pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

/// 2 to an exponent with [`FRACTION`] binary places, rounded down.
fn power(exponent: u64) -> u64 {
    let (whole, fraction) = (exponent >> FRACTION, exponent & 0xffff);
    let (at, rest) = ((fraction >> 8) as usize, fraction & 0xff);
    let mantissa = POWERS[at] + (((POWERS[at + 1] - POWERS[at]) * rest) >> 8);
    (mantissa << whole.min(30)) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::draws::Draws;

    #[test]
    fn powers_of_two_are_right_to_eight_digits() {
        for (exponent, value) in [(0, 1), (1 << 16, 2), (30 << 16, 1 << 30), ((20 << 16) + 0x8000, 1_482_910)]
        {
            assert_eq!(power(exponent), value, "{exponent}");
        }
        assert!(POWERS.windows(2).all(|pair| pair[0] < pair[1]));
        // 2^(1/256) = 1.002711275050…
        assert_eq!(POWERS[1], ((1_002_711_275_050u128 << 32) / 1_000_000_000_000) as u64);
    }

    #[test]
    fn choices_come_as_often_as_their_weights_say() {
        let weights = [50, 0, 5, 1, 44];
        let weighted = Weighted::new(&weights);
        let mut draws = Draws::new(1, 1);
        let mut counts = [0u64; 5];
        for _ in 0..100_000 {
            counts[weighted.draw(draws.bits() as u32)] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            assert!(count.abs_diff(weight * 1000) < 600, "{counts:?}");
        }
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn half_of_the_numbers_are_below_the_median_and_a_few_far_above() {
        let shape = LogNormal::new(11_773, 1_500);
        let mut draws = Draws::new(2, 1);
        let mut drawn: Vec<u64> =
            (0..100_000).map(|_| shape.draw(draws.bits(), draws.below(1 << 16) as u16)).collect();
        drawn.sort_unstable();
        // 35.00 in the middle; a deviation up and down is a factor of 2.83.
        assert!((3_400..=3_600).contains(&drawn[50_000]), "{}", drawn[50_000]);
        assert!((9_500..=10_300).contains(&drawn[84_134]), "{}", drawn[84_134]);
        assert!((1_200..=1_280).contains(&drawn[15_866]), "{}", drawn[15_866]);
        assert!(*drawn.last().unwrap() > 20 * drawn[50_000]);
    }
}
