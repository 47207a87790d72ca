//! Where few rows fall is strange: an isolation forest for streams.
//!
//! An isolation forest (Liu, Ting & Zhou 2008, "Isolation forest") tells strange points by how few random cuts part them from the rest.
//! Half-space trees (Tan, Ting & Liu 2011, "Fast anomaly detection for streaming data") draw the cuts before any point is seen, each through
//! the middle of what is left of a random dimension, and count the points on either side:
//!
//! ```text
//!   features, squeezed into (−1, 1) ─▶ each tree: the leaf they fall in, and upwards the first node with points enough
//!                                     ─▶ its mass × 2^depth, over all trees ─▶ how many times rarer than evenly spread
//! ```
//!
//! The cuts are the same for all keys, so that a key's state is the counts of leaves. The paper takes the latest full window's counts for
//! reference and forgets the one before it; here each window is blended in, with a half, for the reference to move in smaller steps.

use super::features::{EACH, FEATURES_MAX, Features, Standards};
use super::windows::{Shape, Usual, damaged};
use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};
use crate::synthetic::Random;

/// Trees.
const TREES: usize = 16;

/// Cuts from the root to a leaf.
const DEPTH: usize = 6;

/// Leaves of a tree.
const LEAVES: usize = 1 << DEPTH;

/// Points by which a row of full weight is counted: weights are kept in so many parts.
const POINTS: f64 = 16.0;

/// Points of a window of counts. The first windows are shorter: of 16 rows, then of twice as many each time.
const WINDOW: u32 = 256 * POINTS as u32;

/// Points of the first window.
const WINDOW_FIRST: u32 = 16 * POINTS as u32;

/// A node with a smaller part of all points than this is not parted further: the size limit of Tan, Ting & Liu.
const PART_MIN: u32 = 10;

const SEED: u64 = 0x7468_616c_7765_6701;

/// A cut: features below it go left.
#[derive(Debug, Clone, Copy)]
struct Cut {
    feature: u16,
    at: f64,
}

/// What strangeness is of ordinary rows of most series, before it is divided by it.
const USUAL: f64 = 2.0;

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    shape: Shape,
    /// The cuts of each tree in the order of levels: those of node n are 2n + 1 and 2n + 2.
    cuts: Vec<Cut>,
}

/// The counts of a key: about 4.7 KiB for one input, at most 9.5 KiB.
#[derive(Debug, Clone)]
pub(crate) struct Forest {
    standards: Standards,
    /// Points of this window so far.
    points: u32,
    /// Points that make this window full, the first one's if there is no reference.
    window: u32,
    /// Points of each leaf in the windows before, a tree after the other.
    reference: Vec<u16>,
    /// Those of this window.
    latest: Vec<u16>,
    usual: Usual,
}

impl Shared {
    fn new(shape: Shape) -> Self {
        let mut random = Random::new(SEED);
        let features = EACH * shape.inputs;
        let mut cuts = Vec::with_capacity(TREES * (LEAVES - 1));
        for _ in 0..TREES {
            // The range of each feature that the tree's root sees: about a random middle, wide enough for all.
            let mut ranges = vec![[(0.0, 0.0); FEATURES_MAX]; LEAVES - 1];
            for range in &mut ranges[0][..features] {
                let middle = 2.0 * random.uniform() - 1.0;
                let reach = 1.0 + middle.abs();
                *range = (middle - reach, middle + reach);
            }
            for node in 0..LEAVES - 1 {
                let feature = random.below(features);
                let (low, high) = ranges[node][feature];
                let at = (low + high) / 2.0;
                for (child, range) in [(2 * node + 1, (low, at)), (2 * node + 2, (at, high))] {
                    if child < LEAVES - 1 {
                        ranges[child] = ranges[node];
                        ranges[child][feature] = range;
                    }
                }
                cuts.push(Cut { feature: feature as u16, at });
            }
        }
        Shared { shape, cuts }
    }

    fn tree(&self, tree: usize) -> &[Cut] {
        &self.cuts[tree * (LEAVES - 1)..(tree + 1) * (LEAVES - 1)]
    }

    /// The leaf of a tree that squeezed features fall in.
    fn leaf(&self, tree: usize, squeezed: &Features) -> usize {
        let cuts = self.tree(tree);
        let mut node = 0;
        while node < LEAVES - 1 {
            let cut = cuts[node];
            node = 2 * node + 1 + usize::from(squeezed[usize::from(cut.feature)] >= cut.at);
        }
        node - (LEAVES - 1)
    }
}

impl Forest {
    /// How rare the place of features is: by how many powers of two it is less dense than the densest place there could be, 0 ..= 2 × depth; and
    /// by how many each input's cuts made it so.
    fn rarity(&self, shared: &Shared, features: &Features, parts: &mut [f64]) -> f64 {
        let squeezed = squeezed(features);
        let mut density = 0.0;
        for (tree, leaves) in self.reference.chunks_exact(LEAVES).enumerate() {
            let (leaf, cuts) = (shared.leaf(tree, &squeezed), shared.tree(tree));
            let all: u32 = leaves.iter().map(|points| u32::from(*points)).sum();
            let (mut points, mut depth, mut node) = (all, 0, 0);
            while depth < DEPTH && points * PART_MIN >= all {
                depth += 1;
                let width = LEAVES >> depth;
                let from = leaf / width * width;
                let below: u32 = leaves[from..from + width].iter().map(|points| u32::from(*points)).sum();
                if let Some(part) = parts.get_mut(usize::from(cuts[node].feature) / EACH) {
                    *part += libm::log2(f64::from(points.max(1)) / f64::from(below.max(1)));
                }
                node = 2 * node + 1 + (leaf / width) % 2;
                points = below;
            }
            density += f64::from(points) * (1u32 << depth) as f64 / f64::from(all.max(1));
        }
        let most = (1u32 << DEPTH) as f64;
        let least = 1.0 / most;
        libm::log2(most / (density / TREES as f64).clamp(least, most))
    }

    /// Blends the window into the reference, and begins the next.
    fn turn(&mut self) {
        let is_first = !self.has_reference();
        for (reference, latest) in self.reference.iter_mut().zip(&mut self.latest) {
            *reference = if is_first { *latest } else { reference.midpoint(*latest) };
            *latest = 0;
        }
        self.window = (2 * self.window).min(WINDOW);
        self.points = 0;
    }

    fn has_reference(&self) -> bool {
        self.window > WINDOW_FIRST
    }
}

/// Features squeezed into (−1, 1), most finely about 0: half of the range lies within 2 standard deviations.
fn squeezed(features: &Features) -> Features {
    features.map(|feature| feature / (2.0 + feature.abs()))
}

impl Scorer for Forest {
    type Shared = Shared;

    fn shared(settings: &Settings) -> Shared {
        Shared::new(Shape::new(settings))
    }

    fn begin(shared: &Shared) -> Self {
        Forest {
            standards: Standards::new(shared.shape),
            points: 0,
            window: WINDOW_FIRST,
            reference: vec![0; TREES * LEAVES],
            latest: vec![0; TREES * LEAVES],
            usual: Usual::new(USUAL),
        }
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        self.standards.expect(raw);
        if !self.has_reference() {
            return;
        }
        let rarity = self.rarity(shared, &self.standards.of(row), &mut raw.parts);
        raw.strangeness = self.usual.multiple(rarity);
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        let points = (weight * POINTS).round() as u16;
        if points > 0 && self.standards.is_begun() {
            let features = self.standards.of(row);
            if self.has_reference() {
                self.usual.learn(self.rarity(shared, &features, &mut []), weight);
            }
            let squeezed = squeezed(&features);
            for (tree, leaves) in self.latest.chunks_exact_mut(LEAVES).enumerate() {
                leaves[shared.leaf(tree, &squeezed)] += points;
            }
            self.points += u32::from(points);
            if self.points >= self.window {
                self.turn();
            }
        }
        self.standards.push(row, weight);
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.standards.encode(writer);
        writer.u32(self.points);
        writer.u32(self.window);
        self.reference.iter().chain(&self.latest).for_each(|points| writer.u16(*points));
        self.usual.encode(writer);
    }

    fn decode(shared: &Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let standards = Standards::decode(shared.shape, reader)?;
        let points = reader.u32()?;
        let window = reader.u32()?;
        if !(WINDOW_FIRST..=WINDOW).contains(&window) || points >= window {
            return Err(damaged("points of a window", (points, window)));
        }
        let mut counts = || -> Result<Vec<u16>, StateError> {
            let counts = (0..TREES * LEAVES).map(|_| reader.u16()).collect::<Result<Vec<_>, _>>()?;
            let most = (WINDOW + POINTS as u32) as u16;
            match counts.iter().find(|points| **points > most) {
                Some(points) => Err(damaged("points of a leaf", points)),
                None => Ok(counts),
            }
        };
        let (reference, latest) = (counts()?, counts()?);
        Ok(Forest { standards, points, window, reference, latest, usual: Usual::decode(reader)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::{
        hold, names_the_input_that_leaves_the_others, tells_spikes_shifts_and_lost_seasons,
    };
    use super::*;

    #[test]
    fn it_is_held_to_what_all_methods_are() {
        hold::<Forest>([5_500, 10_500]);
    }

    #[test]
    fn spikes_shifts_and_lost_seasons_are_stranger_than_all_that_was_ordinary() {
        tells_spikes_shifts_and_lost_seasons::<Forest>(1.05);
    }

    #[test]
    fn an_input_that_leaves_the_others_has_the_largest_part() {
        names_the_input_that_leaves_the_others::<Forest>();
    }
}
