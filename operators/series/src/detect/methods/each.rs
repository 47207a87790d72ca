//! Methods that judge each input by itself: the row is as strange as its strangest input.

use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, StateError, Writer};
use crate::detect::alarm::DAY_US;
use crate::detect::fields::Fields;
use crate::detect::season::Phase;

/// Where in the season a row lies, and how many rows the season has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    pub phase: Phase,
    pub rows_a_season: f64,
}

/// What is made of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// As [`Raw::strangeness`].
    pub strangeness: f64,
    pub expected: f64,
    pub scale: f64,
}

impl Seen {
    /// Nothing yet.
    pub const NOTHING: Seen = Seen { strangeness: f64::NAN, expected: f64::NAN, scale: f64::NAN };
}

/// A model of one input.
pub(crate) trait Model: Sized + Clone + std::fmt::Debug {
    /// What is known before the first value.
    fn begin() -> Self;
    /// Judges a value.
    fn judge(&mut self, value: f64, when: When) -> Seen;
    /// Learns from the value that was just judged.
    fn learn(&mut self, value: f64, when: When, weight: f64);
    /// Goes over missing values.
    fn skip(&mut self, missed: u32);
    /// Walks over its fields.
    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError>;
}

/// What all keys share.
#[derive(Debug)]
pub(crate) struct Shared {
    inputs: usize,
    season_us: i64,
    rows_a_season: f64,
}

impl Shared {
    fn when(&self, row: Row<'_>) -> When {
        When { phase: Phase::new(row.local_us, self.season_us), rows_a_season: self.rows_a_season }
    }
}

/// A model for each input.
#[derive(Debug, Clone)]
pub(crate) struct Each<M>(Vec<M>);

impl<M: Model> Scorer for Each<M> {
    type Shared = Shared;

    fn shared(settings: &Settings) -> Shared {
        let season_us = settings.season_us.unwrap_or(DAY_US);
        // Only what a profile remembers depends on it: minutes will do where nothing is said.
        let interval_us = settings.interval_us.unwrap_or(60_000_000);
        let rows_a_season = season_us as f64 / interval_us.max(1) as f64;
        Shared { inputs: settings.inputs, season_us, rows_a_season }
    }

    fn begin(shared: &Shared) -> Self {
        Each(vec![M::begin(); shared.inputs])
    }

    fn score(&mut self, shared: &Shared, row: Row<'_>, raw: &mut Raw) {
        for (input, (model, value)) in self.0.iter_mut().zip(row.values).enumerate() {
            if row.missed > 0 {
                model.skip(row.missed);
            }
            if value.is_nan() {
                continue;
            }
            let seen = model.judge(*value, shared.when(row));
            raw.strangeness = raw.strangeness.max(seen.strangeness);
            raw.expected[input] = seen.expected;
            raw.scale[input] = seen.scale;
            let part = seen.strangeness * seen.strangeness;
            raw.parts[input] = if part.is_nan() { 0.0 } else { part };
        }
    }

    fn learn(&mut self, shared: &Shared, row: Row<'_>, weight: f64) {
        for (model, value) in self.0.iter_mut().zip(row.values) {
            if value.is_nan() {
                model.skip(1);
            } else {
                model.learn(*value, shared.when(row), weight);
            }
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        for model in &self.0 {
            let written = model.clone().fields(&mut Fields::Write(writer));
            debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
        }
    }

    fn decode(shared: &Shared, reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut each = Self::begin(shared);
        each.0.iter_mut().try_for_each(|model| model.fields(&mut Fields::Read(reader)))?;
        Ok(each)
    }
}
