//! A method with the tail of what it has said before, which makes rarities of its strangeness.

use super::fields::Fields;
use super::methods::{Raw, Row, Scorer};
use super::numbers::quarter_octaves;
use super::tail::Tail;
use crate::bytes::{Reader, StateError, Writer};

/// The scale of strangeness for the tail begins here: 2^-6.
const LOWEST: i64 = -6;

/// Rows that were scored before rarities are told.
const SCORED_MIN: f64 = 30.0;

/// Half the width of what is ordinary, in standard deviations.
pub(crate) const WIDTH: f64 = 4.0;

/// The state of one key.
#[derive(Debug, Clone)]
pub(crate) struct Single<S> {
    scorer: S,
    scored: f64,
    tail: Tail<64>,
}

impl<S: Scorer> Single<S> {
    /// Of nothing.
    pub fn new(shared: &S::Shared) -> Self {
        Single { scorer: S::begin(shared), scored: 0.0, tail: Tail::new() }
    }

    /// Whether it can judge.
    pub fn ready(&self) -> bool {
        self.scored >= SCORED_MIN
    }

    /// Scores a row: its rarity −ln p, and the place of its strangeness on the tail's scale, below 0 where there is none.
    pub fn score(&mut self, shared: &S::Shared, row: Row<'_>, raw: &mut Raw) -> (f64, f64) {
        raw.clear(row.values.len());
        self.scorer.score(shared, row, raw);
        if raw.strangeness.is_nan() {
            return (0.0, -1.0);
        }
        let place = quarter_octaves(raw.strangeness, LOWEST).max(0.0);
        let rarity = match (self.ready(), S::IS_MEAN) {
            (false, _) => 0.0,
            (true, true) => self.tail.rarity_of_mean(place),
            (true, false) => self.tail.rarity_continued(place),
        };
        (rarity, place)
    }

    /// Learns from the row that was just scored.
    pub fn learn(&mut self, shared: &S::Shared, row: Row<'_>, place: f64, weight: f64, teaches: bool) {
        self.scorer.learn(shared, row, weight);
        if teaches && place >= 0.0 {
            self.tail.add(place);
            self.scored = (self.scored + 1.0).min(1e9);
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.f64(self.scored);
        let written = self.tail.clone().fields(&mut Fields::Write(writer));
        debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
        self.scorer.encode(writer);
    }

    /// The state that [`Single::encode`] wrote.
    pub fn decode(shared: &S::Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let scored = reader.f64()?;
        let mut tail = Tail::new();
        tail.fields(&mut Fields::Read(reader))?;
        Ok(Single { scorer: S::decode(shared, reader)?, scored, tail })
    }
}
