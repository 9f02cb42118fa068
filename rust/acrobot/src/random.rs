//! NumPy's default random stream: `PCG64` seeded through `SeedSequence`.
//!
//! Gymnasium draws an environment's start from `numpy.random.Generator(PCG64(SeedSequence(seed)))`;
//! the same bits here mean the same starts. NumPy promises both streams stay as they are (NEP 19).

/// PCG XSL RR 128/64 (O'Neill 2014), as `numpy.random.PCG64` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcg64 {
    /// The generator's position.
    pub state: u128,
    /// Which stream; odd.
    pub increment: u128,
}

/// numpy/random/src/pcg64/pcg64.h `PCG_DEFAULT_MULTIPLIER_128`.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

impl Pcg64 {
    /// The stream of `numpy.random.PCG64(seed)`.
    #[must_use]
    pub fn with_seed(seed: u128) -> Self {
        let words = seed_sequence(seed);
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let mut rng = Self {
            state: 0,
            increment: (wide(words[2], words[3]) << 1) | 1,
        };
        rng.advance();
        rng.state = rng.state.wrapping_add(wide(words[0], words[1]));
        rng.advance();
        rng
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// A float from `low` to `high`, as `Generator.uniform(low, high)` draws it.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0; // 2^-53
        low + (high - low) * ((self.next_u64() >> 11) as f64 * UNIT)
    }

    fn advance(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }
}

/// `numpy.random.SeedSequence(seed).generate_state(4, numpy.uint64)`.
///
/// Constants and order: numpy/random/bit_generator.pyx. A pool of four words holds any 128-bit seed,
/// so NumPy's second loop, over the words that do not fit, has nothing to do.
fn seed_sequence(seed: u128) -> [u64; 4] {
    let mut hash = 0x43b0_d7e5_u32; // INIT_A
    let mut scramble = |value: u32| {
        let value = value ^ hash;
        hash = hash.wrapping_mul(0x931e_8875); // MULT_A
        let value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    };
    let mut pool = [0_u32; 4];
    for (position, word) in pool.iter_mut().enumerate() {
        *word = scramble((seed >> (32 * position)) as u32);
    }
    for source in 0..4 {
        for target in (0..4).filter(|&target| target != source) {
            let mixed = pool[target]
                .wrapping_mul(0xca01_f9dd) // MIX_MULT_L
                .wrapping_sub(scramble(pool[source]).wrapping_mul(0x4973_f715)); // MIX_MULT_R
            pool[target] = mixed ^ (mixed >> 16);
        }
    }
    let mut hash = 0x8b51_f9dd_u32; // INIT_B
    let mut word = |position: usize| {
        let value = pool[position % 4] ^ hash;
        hash = hash.wrapping_mul(0x58f3_8ded); // MULT_B
        let value = value.wrapping_mul(hash);
        u64::from(value ^ (value >> 16))
    };
    std::array::from_fn(|pair| word(2 * pair) | (word(2 * pair + 1) << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy.random.PCG64(seed).random_raw(3), NumPy 2.x.
    #[test]
    fn streams_are_those_of_numpy() {
        let draw = |seed| {
            let mut rng = Pcg64::with_seed(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(
            draw(0),
            [0xa30febcfd9c2825f, 0x4510bdf882d9d721, 0xa7d3da94ecde8b8]
        );
        assert_eq!(
            draw(42),
            [0xc621fbcd16d92688, 0x705a5661a791ffc1, 0xdbcd12c26eda1624]
        );
        assert_eq!(
            draw(u64::MAX.into()),
            [0xae163a7a8c47568f, 0xd86659f5f3382359, 0x1e52b195bc2d24a]
        );
        assert_eq!(
            draw(u128::MAX),
            [0x3e2f9d58520f46e1, 0xb32aa6d93dfe53cf, 0x652a1786e8126235]
        );
    }

    // numpy.random.default_rng(7).uniform(-0.1, 0.1, 3).
    #[test]
    fn uniform_floats_are_those_of_numpy() {
        let mut rng = Pcg64::with_seed(7);
        let drawn = [(); 3].map(|()| rng.uniform(-0.1, 0.1).to_bits());
        assert_eq!(
            drawn,
            [0x3f999e9aee5b1dd0, 0x3fb4565c58efd47c, 0x3fac3aef596e6acc]
        );
    }
}
