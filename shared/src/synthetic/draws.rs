//! Drawing values, in a way that stays the same: ChaCha8 by name, and the mapping to ranges done here,
//! because a library may change its own.

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

/// A stream of values that a seed fixes.
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of a seed; `stream` keeps the kinds of files apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&stream.to_le_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// 64 random bits, for several small draws.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in `0..bound`.
    pub fn below_u64(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `from..=to`.
    pub fn between(&mut self, from: u32, to: u32) -> u32 {
        from + self.below(to - from + 1)
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// The words by their weights, which sum to 100.
    pub fn weighted(&mut self, choices: &[(&'static str, u32)]) -> &'static str {
        by_weight(choices, self.below(100))
    }

    /// A UUID (version 4) in its usual form.
    pub fn uuid(&mut self, out: &mut Vec<u8>) {
        let mut bytes = [0u8; 16];
        self.0.fill_bytes(&mut bytes);
        let mut text = [0u8; 36];
        uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
        out.extend_from_slice(&text);
    }
}

/// The word that `drawn`, in `0..100`, falls to by the weights, which sum to 100.
fn by_weight(choices: &[(&'static str, u32)], mut drawn: u32) -> &'static str {
    for (word, weight) in choices {
        if drawn < *weight {
            return word;
        }
        drawn -= weight;
    }
    choices[0].0
}

/// The word that 16 random bits fall to by the weights, which sum to 100.
pub fn pick(choices: &[(&'static str, u32)], bits: u16) -> &'static str {
    by_weight(choices, (u32::from(bits) * 100) >> 16)
}
