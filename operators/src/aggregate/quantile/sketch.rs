//! The counts of one group, in buckets whose bounds the module above explains.

use std::collections::BTreeMap;

use crate::aggregate::bytes::{Reader, write_varint};
use crate::aggregate::values::{float_key, key_float};

/// Bits of a float below its bucket.
const DROPPED_BITS: u32 = 46;
/// Buckets of one sign.
const BUCKETS: u16 = 8192;
const OCTAVE: u16 = 64;
/// The index of 2^−64, the lowest bucket's.
const LOWEST: i64 = (1023 - 64) * OCTAVE as i64;

const NEGATIVE_INFINITY: u16 = 0;
const ZERO: u16 = BUCKETS + 1;
const INFINITY: u16 = 2 * BUCKETS + 2;
const NOT_A_NUMBER: u16 = 2 * BUCKETS + 3;

/// So many values are kept as codes, one by one.
const FEW: usize = 256;

/// The code of a value; ascending with it.
#[inline(always)]
fn code(value: f64) -> u16 {
    let magnitude = value.abs();
    if magnitude > 0.0 && magnitude < f64::INFINITY {
        let index = (magnitude.to_bits() >> DROPPED_BITS) as i64 - LOWEST;
        let bucket = index.clamp(0, i64::from(BUCKETS) - 1) as u16;
        if value > 0.0 { ZERO + 1 + bucket } else { ZERO - 1 - bucket }
    } else if magnitude == 0.0 {
        ZERO
    } else if value.is_nan() {
        NOT_A_NUMBER
    } else if value > 0.0 {
        INFINITY
    } else {
        NEGATIVE_INFINITY
    }
}

/// The value that stands for a code.
fn estimate(code: u16) -> f64 {
    let midpoint = |bucket: u16| {
        let index = LOWEST as u64 + u64::from(bucket);
        let low = f64::from_bits(index << DROPPED_BITS);
        let high = f64::from_bits((index + 1) << DROPPED_BITS);
        // Few bits and a bounded range: the product and the sum are exact, so the quotient is rounded once.
        2.0 * low * high / (low + high)
    };
    match code {
        NEGATIVE_INFINITY => f64::NEG_INFINITY,
        ZERO => 0.0,
        INFINITY => f64::INFINITY,
        NOT_A_NUMBER => f64::NAN,
        negative if negative < ZERO => -midpoint(ZERO - 1 - negative),
        positive => midpoint(positive - ZERO - 1),
    }
}

/// Counters of neighbouring codes, in whole octaves.
#[derive(Debug, Clone, Default)]
struct Run {
    first: u16,
    counts: Vec<u32>,
}

impl Run {
    /// The counter of a code, made if need be.
    #[inline(always)]
    fn counter(&mut self, code: u16) -> &mut u32 {
        let mut index = usize::from(code.wrapping_sub(self.first));
        if index >= self.counts.len() {
            self.grow(code);
            index = usize::from(code - self.first);
        }
        &mut self.counts[index]
    }

    #[cold]
    fn grow(&mut self, code: u16) {
        let octave = code / OCTAVE * OCTAVE;
        let (first, end) = if self.counts.is_empty() {
            (octave, octave + OCTAVE)
        } else {
            let end = self.first + self.counts.len() as u16;
            (self.first.min(octave), end.max(octave + OCTAVE))
        };
        let mut counts = vec![0; usize::from(end - first)];
        let kept = usize::from(self.first.saturating_sub(first));
        counts[kept..kept + self.counts.len()].copy_from_slice(&self.counts);
        *self = Run { first, counts };
    }
}

/// Counters of many values.
#[derive(Debug, Clone, Default)]
struct Counters {
    total: u64,
    /// Of negative and of positive numbers, apart: the codes between, of tiny ones, are seldom used.
    runs: [Run; 2],
    /// Of −∞, 0, +∞ and NaN.
    singles: [u32; 4],
    /// How often a counter went round. Nearly always empty.
    rounds: BTreeMap<u16, u32>,
}

impl Counters {
    #[inline(always)]
    fn add(&mut self, code: u16, count: u64) {
        self.total = self.total.saturating_add(count);
        let counter = match code {
            NEGATIVE_INFINITY => &mut self.singles[0],
            ZERO => &mut self.singles[1],
            INFINITY => &mut self.singles[2],
            NOT_A_NUMBER => &mut self.singles[3],
            negative if negative < ZERO => self.runs[0].counter(negative),
            positive => self.runs[1].counter(positive),
        };
        let sum = u64::from(*counter) + (count & 0xffff_ffff);
        *counter = sum as u32;
        let rounds = (sum >> 32) + (count >> 32);
        if rounds > 0 {
            let so_far = self.rounds.entry(code).or_default();
            *so_far = so_far.wrapping_add(rounds as u32);
        }
    }

    /// Codes and their counts, ascending, without those that are 0.
    fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        let run = |run: &'_ Run| {
            let first = run.first;
            run.counts
                .iter()
                .enumerate()
                .map(move |(index, &count)| (first + index as u16, count))
                .collect::<Vec<_>>()
        };
        let [infinite_down, zero, infinite_up, nan] = self.singles;
        let codes = std::iter::once((NEGATIVE_INFINITY, infinite_down))
            .chain(run(&self.runs[0]))
            .chain([(ZERO, zero)])
            .chain(run(&self.runs[1]))
            .chain([(INFINITY, infinite_up), (NOT_A_NUMBER, nan)]);
        codes
            .map(|(code, count)| {
                let rounds =
                    if self.rounds.is_empty() { 0 } else { self.rounds.get(&code).copied().unwrap_or(0) };
                (code, u64::from(count) | u64::from(rounds) << 32)
            })
            .filter(|(_, count)| *count > 0)
    }
}

#[derive(Debug, Clone)]
enum Store {
    /// The codes, in any order.
    Few(Vec<u16>),
    Many(Box<Counters>),
}

/// The state of one group. Which store it has follows from the number of values, and never shows.
#[derive(Debug, Clone)]
pub(in crate::aggregate) struct Sketch {
    /// Keys of the least and the greatest value; crossed over where there is none.
    least: u64,
    greatest: u64,
    store: Store,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch { least: u64::MAX, greatest: 0, store: Store::Few(Vec::new()) }
    }
}

impl Sketch {
    #[inline(always)]
    pub(super) fn add(&mut self, value: f64) {
        let key = float_key(value);
        self.least = self.least.min(key);
        self.greatest = self.greatest.max(key);
        self.add_code(code(value), 1);
    }

    #[inline(always)]
    fn add_code(&mut self, code: u16, count: u64) {
        match &mut self.store {
            Store::Few(codes) if codes.len() as u64 + count <= FEW as u64 => {
                codes.extend(std::iter::repeat_n(code, count as usize));
            }
            Store::Few(_) => self.counters().add(code, count),
            Store::Many(counters) => counters.add(code, count),
        }
    }

    /// Changes to counters.
    fn counters(&mut self) -> &mut Counters {
        if let Store::Few(codes) = &self.store {
            let mut counters = Box::<Counters>::default();
            codes.iter().for_each(|&code| counters.add(code, 1));
            self.store = Store::Many(counters);
        }
        match &mut self.store {
            Store::Many(counters) => counters,
            Store::Few(_) => unreachable!("invariant: it has just been changed"),
        }
    }

    pub(super) fn merge(&mut self, other: &Sketch) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        match &other.store {
            Store::Few(codes) => codes.iter().for_each(|&code| self.add_code(code, 1)),
            Store::Many(other) => {
                let counters = self.counters();
                other.iter().for_each(|(code, count)| counters.add(code, count));
            }
        }
    }

    pub(super) fn total(&self) -> u64 {
        match &self.store {
            Store::Few(codes) => codes.len() as u64,
            Store::Many(counters) => counters.total,
        }
    }

    /// Codes and their counts, ascending.
    fn sorted(&self) -> Vec<(u16, u64)> {
        match &self.store {
            Store::Few(codes) => {
                let mut codes = codes.clone();
                codes.sort_unstable();
                codes.chunk_by(u16::eq).map(|equal| (equal[0], equal.len() as u64)).collect()
            }
            Store::Many(counters) => counters.iter().collect(),
        }
    }

    /// The value of a rank from 1 to the total.
    pub(super) fn at_rank(&self, rank: u64) -> f64 {
        if rank == 1 {
            return key_float(self.least);
        }
        if rank == self.total() {
            return key_float(self.greatest);
        }
        let code = match &self.store {
            Store::Few(codes) => *codes.clone().select_nth_unstable(rank as usize - 1).1,
            Store::Many(counters) => {
                let mut passed = 0u64;
                let reached = |&(_, count): &(u16, u64)| {
                    passed = passed.saturating_add(count);
                    passed >= rank
                };
                counters.iter().find(reached).map_or(NOT_A_NUMBER, |(code, _)| code)
            }
        };
        key_float(float_key(estimate(code)).clamp(self.least, self.greatest))
    }

    /// The least key, the greatest (8 bytes each), then for each code its distance to the one before and its count; nothing
    /// where there is no value.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.total() == 0 {
            return;
        }
        out.extend_from_slice(&self.least.to_le_bytes());
        out.extend_from_slice(&self.greatest.to_le_bytes());
        let mut before = 0;
        for (code, count) in self.sorted() {
            write_varint((code - before).into(), out);
            write_varint(count, out);
            before = code;
        }
    }

    pub(super) fn read(bytes: &mut Reader<'_>) -> Result<Sketch, String> {
        let mut sketch = Sketch::default();
        if bytes.is_empty() {
            return Ok(sketch);
        }
        sketch.least = bytes.u64()?;
        sketch.greatest = bytes.u64()?;
        let [least, greatest] = [sketch.least, sketch.greatest].map(key_float);
        let (mut first, mut last) = (None, 0u16);
        while !bytes.is_empty() {
            let (distance, count) = (bytes.varint()?, bytes.varint()?);
            let next = u64::from(last).saturating_add(distance);
            if next > NOT_A_NUMBER.into() || (first.is_some() && distance == 0) || count == 0 {
                return Err(format!("{count} values {distance} after code {last}"));
            }
            last = next as u16;
            first = first.or(Some(last));
            if sketch.total().checked_add(count).is_none() {
                return Err("more values than can be counted".to_owned());
            }
            sketch.add_code(last, count);
        }
        let canonical = float_key(least) == sketch.least && float_key(greatest) == sketch.greatest;
        if !canonical
            || sketch.least > sketch.greatest
            || first != Some(code(least))
            || last != code(greatest)
        {
            return Err("its least and greatest value aren't in its buckets".to_owned());
        }
        Ok(sketch)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.store {
            Store::Few(codes) => 2 * codes.capacity(),
            Store::Many(counters) => {
                let counts: usize = counters.runs.iter().map(|run| 4 * run.counts.capacity()).sum();
                counts + size_of::<Counters>() + 16 * counters.rounds.len()
            }
        }
    }
}
