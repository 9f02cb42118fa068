//! The memory's own generator: its stream is part of the save format.

use crate::Error;

/// xoshiro256++ 1.0 (Blackman and Vigna, 2019): 256 bits of state, period 2^256 - 1.
///
/// Written here and not taken from a crate because index streams must be the same on every platform and in
/// every release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator whose state is four outputs of `SplitMix64` started at `seed`, as its authors advise. O(1).
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let mut splitmix = seed;
        let state = std::array::from_fn(|_| {
            splitmix = splitmix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = splitmix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state }
    }

    /// A generator that continues from a saved state. O(1).
    ///
    /// # Errors
    /// [`Error::State`] for four zeros, from which the generator would only ever draw zeros.
    pub fn from_state(state: [u64; 4]) -> Result<Self, Error> {
        if state == [0; 4] {
            return Err(Error::State {
                problem: "rng is all zeros".to_owned(),
            });
        }
        Ok(Self { state })
    }

    /// The state, for [`Rng::from_state`]. O(1).
    #[must_use]
    pub fn state(&self) -> [u64; 4] {
        self.state
    }

    /// 64 random bits. O(1).
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let t = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= t;
        *d = d.rotate_left(45);
        result
    }

    /// A number in `0..bound`, each with the same probability; `bound` must not be 0. Expected O(1).
    ///
    /// Lemire 2019, "Fast random integer generation in an interval", algorithm 5, on 64 bits.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        // The low half decides whether this draw falls in the part that would favour some numbers.
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A multiple of 2^-53 in [0, 1). O(1).
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}
