//! Which worker owns a key: key bytes → hash → one of 1024 shards → worker.
//!
//! State belongs to shards, shards to workers. The hash is pinned: it decides where state lies after a restart on another
//! machine, so it may never depend on the CPU or on a library's mood.

use xxhash_rust::xxh3::xxh3_64;

/// The number of shards. Fixed: checkpoints name them.
pub const SHARDS: u64 = 1024;

/// The hash of a key's bytes: XXH3, 64 bits, seed 0.
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The shard of a key's hash: bits 32 to 41, so that hash tables, which look at the lowest and highest bits, see keys of one
/// worker still spread.
#[inline]
pub fn shard_of(hash: u64) -> u64 {
    (hash >> 32) % SHARDS
}

/// The worker that owns a shard among `peers`.
#[inline]
pub fn worker_of(shard: u64, peers: usize) -> usize {
    (shard % peers as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned() {
        // From the reference implementation, xxHash 0.8: XXH3_64bits.
        assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash_key(b"openai"), hash_key(b"openai"));
        assert_eq!(shard_of(hash_key(b"")), (0x2d06_8005_u64) % 1024);
    }

    #[test]
    fn shards_spread_over_any_number_of_workers() {
        for peers in [1, 2, 3, 5, 7] {
            let mut counts = vec![0usize; peers];
            for i in 0..100_000u32 {
                counts[worker_of(shard_of(hash_key(&i.to_le_bytes())), peers)] += 1;
            }
            let even = 100_000 / peers;
            assert!(counts.iter().all(|c| c.abs_diff(even) < even / 20), "{peers} workers: {counts:?}");
        }
    }
}
