//! Randomness that comes from outside, once, as a seed.
//!
//! A generator is forked by label for each part, so that one more draw in one
//! part moves nothing in another: a simulation stays comparable when a part of
//! it changes.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};

use crate::mac::mac;

/// A cryptographically strong generator with a known seed.
///
/// ```
/// use circuit_core::Rng;
/// let root = Rng::new([7; 32]);
/// let (mut a, mut b) = (root.fork("a"), root.fork("b"));
/// assert_ne!(a.u64(), b.u64());
/// assert_eq!(root.fork("a").u64(), root.fork("a").u64());
/// ```
#[derive(Clone)]
pub struct Rng {
    seed: [u8; 32],
    stream: ChaCha20Rng,
}

impl Rng {
    /// A generator that depends on `seed` and nothing else.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, stream: ChaCha20Rng::from_seed(seed) }
    }

    /// A generator from a small number, as simulations name their runs.
    pub fn from_number(number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        Self::new(seed).fork("number")
    }

    /// An independent generator named by `label`; what was drawn from `self`
    /// so far makes no difference to it.
    pub fn fork(&self, label: &str) -> Self {
        Self::new(mac(&self.seed, &[label.as_bytes()]))
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// 128 random bits.
    pub fn u128(&mut self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }

    /// A seed for something else that wants one.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }

    /// Fills `into` with random bytes.
    pub fn fill(&mut self, into: &mut [u8]) {
        self.stream.fill_bytes(into);
    }

    /// A number in `0..bound`; 0 for a bound of 0. The bias is below 2^-32 for
    /// bounds below 2^32, which is all that is asked of it.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// True `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng") // the seed is a secret
    }
}
