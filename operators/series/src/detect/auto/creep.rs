//! What grows slowly while the past is short: the mean of the latest rows against the mean of those before, row by row too little to notice.
//!
//! ```text
//!   rows ─▶ blocks of 8 ─▶ the latest 4 ─▶ reference: the mean of the blocks before them
//!                              └── difference, less what a season could do in that time ──▶ Student's t ─▶ −ln p
//! ```
//!
//! A long past tells by itself how rare such a difference is; a short one has seen none. So the variance of blocks comes from differences of neighbours,
//! which a slope hardly changes (von Neumann, Distribution of the ratio of the mean square successive difference to the variance, 1941), and
//! nothing is said where blocks differ by more than independent rows would make them: such a series wanders, or its rows follow each other.
//! Nor is anything said where values have no natural zero as far as one can see, since then nobody knows how large a season may be.

use super::super::fields::Fields;
use super::super::numbers::{RARITY_MAX, ln};
use crate::bytes::StateError;

/// Rows of a block, and the blocks that are compared with those before.
const BLOCK: f64 = 8.0;
const LATEST: usize = 4;

/// Blocks that the reference is remembered over, and the least to be one.
const MEMORY: f64 = 32.0;
const BLOCKS_MIN: f64 = 4.0;

/// How fast a season changes a level at most: parts of it in the time of a season. A wave as high as its mean changes by 2π.
const SEASON_SLOPE: f64 = 10.0;

/// Blocks vary at most so many times as much as those of independent rows; and levels lie at least so many standard deviations from 0.
const WANDERS: f64 = 3.0;
const LEVEL_MIN: f64 = 3.0;

/// Rows count as no farther from the reference than this, in standard deviations.
const CUT: f64 = 3.0;

/// Degrees of freedom that the differences of single rows add to those of blocks.
const DEGREES: f64 = 8.0;

/// What the difference of two of the latest blocks is of the whole where it came at once.
const AT_ONCE: f64 = 0.5;

/// What is known of the latest blocks and those before.
#[derive(Debug, Clone)]
pub(super) struct Creep {
    sum: f64,
    rows: f64,
    /// The latest blocks' means, the newest first, and how many there are.
    latest: [f64; LATEST],
    known: f64,
    /// The mean of the blocks before them, how many they were, and half the mean squared difference of neighbours.
    reference: f64,
    blocks: f64,
    variance: f64,
    /// What the block that ended last says: −ln p, and whether the change came at once.
    rarity: f64,
    at_once: bool,
}

impl Creep {
    /// Of nothing.
    pub fn new() -> Self {
        Creep {
            sum: 0.0,
            rows: 0.0,
            latest: [0.0; LATEST],
            known: 0.0,
            reference: 0.0,
            blocks: 0.0,
            variance: 0.0,
            rarity: 0.0,
            at_once: false,
        }
    }

    /// −ln p of the latest blocks.
    pub fn rarity(&self) -> f64 {
        self.rarity
    }

    /// Whether what they show came at once.
    pub fn at_once(&self) -> bool {
        self.at_once
    }

    /// What led here is over: the latest blocks begin anew.
    pub fn reset(&mut self) {
        let Creep { reference, blocks, variance, .. } = *self;
        *self = Creep { reference, blocks, variance, ..Creep::new() };
    }

    /// Takes in a row that belongs to no event: its value, the variance of single rows by the differences of neighbours, and how many rows make
    /// a season.
    pub fn learn(&mut self, value: f64, row_variance: f64, rows_a_season: f64) {
        let limit = CUT * row_variance.sqrt();
        let known = self.blocks >= BLOCKS_MIN && limit > 0.0;
        let off = value - self.reference;
        self.sum += self.reference + if known { off.clamp(-limit, limit) } else { off };
        self.rows += 1.0;
        if self.rows < BLOCK {
            return;
        }
        let block = self.sum / BLOCK;
        (self.sum, self.rows) = (0.0, 0.0);
        self.end_block(block);
        self.judge(row_variance, rows_a_season);
    }

    fn end_block(&mut self, block: f64) {
        let oldest = self.latest[LATEST - 1];
        if self.known >= LATEST as f64 {
            self.blocks = (self.blocks + 1.0).min(1e9);
            self.reference += (oldest - self.reference) / self.blocks.min(MEMORY);
            let difference = self.latest[LATEST - 2] - oldest;
            self.variance += (0.5 * difference * difference - self.variance) / self.blocks.min(MEMORY);
        }
        self.latest.copy_within(0..LATEST - 1, 1);
        self.latest[0] = block;
        self.known = (self.known + 1.0).min(LATEST as f64);
    }

    fn judge(&mut self, row_variance: f64, rows_a_season: f64) {
        self.rarity = 0.0;
        let independent = row_variance / BLOCK;
        let wanders = self.variance > WANDERS * independent;
        let has_zero = self.reference * self.reference > LEVEL_MIN * LEVEL_MIN * row_variance;
        if self.known < LATEST as f64
            || self.blocks < BLOCKS_MIN
            || wanders
            || !has_zero
            || rows_a_season <= 0.0
        {
            return;
        }
        let latest = self.latest.iter().sum::<f64>() / LATEST as f64;
        let change = (latest - self.reference).abs();
        let blocks = self.blocks.min(MEMORY);
        let apart = 0.5 * BLOCK * (LATEST as f64 + blocks);
        let seasonal = SEASON_SLOPE * self.reference.abs() * apart / rows_a_season;
        let variance = self.variance.max(independent) * (1.0 / LATEST as f64 + 1.0 / blocks);
        let beyond = (change - seasonal).max(0.0);
        if variance > 0.0 {
            // The tail of Student's t goes as (1 + t²/ν)^(−ν/2); and a block is judged in so many rows once.
            let degrees = blocks + DEGREES;
            let rarity = 0.5 * degrees * ln(1.0 + beyond * beyond / variance / degrees) + ln(BLOCK);
            self.rarity = rarity.min(RARITY_MAX);
        }
        let steps = self.latest.windows(2).map(|pair| (pair[0] - pair[1]).abs());
        let largest = steps.fold(0.0, f64::max);
        self.at_once = largest > AT_ONCE * (self.latest[0] - self.reference).abs();
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.sum)?;
        fields.f64(&mut self.rows)?;
        fields.f64s(&mut self.latest)?;
        fields.f64(&mut self.known)?;
        fields.f64(&mut self.reference)?;
        fields.f64(&mut self.blocks)?;
        fields.f64(&mut self.variance)?;
        fields.f64(&mut self.rarity)?;
        fields.bool(&mut self.at_once)
    }
}
