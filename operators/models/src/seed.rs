//! Random numbers that are the same for a seed everywhere: first weights, shuffles, samples.

/// SplitMix64 (Steele, Lea and Flood, 2014): 64 bits of state, and every seed is a good one.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each seed and use.
    pub(crate) fn new(seed: u64, purpose: &str) -> Random {
        Random(seed ^ xxhash_rust::xxh3::xxh3_64(purpose.as_bytes()))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform in 0..limit; the bias of below 2⁻³² does not matter here. `limit` is above 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }

    /// Fisher and Yates' shuffle.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_one_stream_and_purposes_differ() {
        let stream = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            (0..4).map(|_| random.bits()).collect::<Vec<_>>()
        };
        assert_eq!(stream(1, "weights"), stream(1, "weights"));
        assert_ne!(stream(1, "weights"), stream(2, "weights"));
        assert_ne!(stream(1, "weights"), stream(1, "shuffle"));
    }

    #[test]
    fn a_shuffle_keeps_all_and_units_are_even() {
        let mut random = Random::new(7, "test");
        let mut items: Vec<usize> = (0..1000).collect();
        random.shuffle(&mut items);
        assert_ne!(items[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
        let mean = (0..10_000).map(|_| random.unit()).sum::<f32>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
