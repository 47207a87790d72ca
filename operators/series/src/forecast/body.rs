//! What is known of a key once its interval is: season, lags, volatility, and its horizons.

use crate::bytes::{Reader, StateError, Writer};

use super::clock::{Clock, Early, intervals};
use super::crossing::Path;
use super::damaged;
use super::horizon::{From, Horizon};
use super::lags::Lags;
use super::season::Season;
use super::{ForecasterConfig, Outlook};

/// A day, microseconds: the season where none is told, if a day has a few rows.
const DAY_US: i64 = 86_400_000_000;

/// Missing rows that are passed one by one; after more, what was open is forgotten.
const GAP_MAX: u64 = 256;

/// Lengths of the two means of the volatility, rows.
const VOLATILITY: [f64; 2] = [16.0, 512.0];

/// What is known of a key.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// The first value: the origin of the others.
    origin: f64,
    /// Rows so far, missing ones too.
    step: u64,
    /// Rows since one had a value.
    missing: u64,
    lags: Lags,
    season: Option<Season>,
    /// Means of the absolute change from row to row: of late, and in the long run.
    volatility: [f64; 2],
    changes: u32,
    /// Σ of products of neighbouring residuals, and of squares, with forgetting: how long what differs lasts.
    persistence: (f64, f64),
    horizons: Vec<Horizon>,
}

impl Body {
    /// Begins with the early rows of the clock; `None` if none of them has a value.
    pub fn begin(config: &ForecasterConfig, clock: &mut Clock) -> Option<Self> {
        let early = std::mem::take(&mut clock.early);
        let first = early.iter().position(|row| !row.value.is_nan())?;
        let mut body = Body::new(config, clock, early[first]);
        for (row, next) in early[first..].iter().zip(&early[first + 1..]) {
            body.look(config, clock, *row, &mut []);
            let passed = intervals(next.time_us.saturating_sub(row.time_us), clock.interval_us);
            body.pass(config, clock, *next, passed);
        }
        Some(body)
    }

    fn new(config: &ForecasterConfig, clock: &Clock, first: Early) -> Self {
        let season_us = config.season_us.unwrap_or(DAY_US);
        let horizons = config.horizons_us.iter().map(|horizon| {
            let steps = intervals(*horizon, clock.interval_us);
            Horizon::new(steps, &config.quantiles, config.threshold.is_some())
        });
        let mut body = Body {
            origin: first.value,
            step: 0,
            missing: 0,
            lags: Lags::default(),
            season: Season::new(season_us, clock.interval_us, first.local_us),
            volatility: [0.0; 2],
            changes: 0,
            persistence: (0.0, 0.0),
            horizons: horizons.collect(),
        };
        body.row(config, first.local_us, Some(0.0));
        body
    }

    /// Whether any horizon has something to say.
    pub fn is_warm(&self) -> bool {
        self.horizons.iter().any(Horizon::has_errors)
    }

    /// Takes a row, `passed` intervals after the one before.
    pub fn pass(&mut self, config: &ForecasterConfig, clock: &Clock, row: Early, passed: u64) {
        let missing = passed - 1;
        if missing <= GAP_MAX {
            for left in (1..passed).rev() {
                let before_us = clock.interval_us.saturating_mul(left as i64);
                self.row(config, row.local_us.saturating_sub(before_us), None);
            }
        } else {
            self.horizons.iter_mut().for_each(Horizon::close);
            self.step = self.step.saturating_add(missing);
            self.missing = self.missing.saturating_add(missing);
            if let Some(season) = &mut self.season {
                season.pass(u32::try_from(missing).unwrap_or(u32::MAX));
            }
        }
        let value = (!row.value.is_nan()).then_some(row.value - self.origin);
        self.row(config, row.local_us, value);
    }

    /// One interval: a row, or a missing one.
    fn row(&mut self, config: &ForecasterConfig, local_us: i64, value: Option<f64>) {
        for horizon in &mut self.horizons {
            horizon.settle(self.step, value, &config.quantiles);
        }
        let now = self.season.as_ref().and_then(|season| season.at(local_us));
        let before = self.lags.residual();
        match value {
            Some(value) => {
                let residual = now.map(|now| value - now);
                if self.step > 0 {
                    self.change(value, residual, before);
                }
                if let Some(season) = &mut self.season {
                    season.learn(local_us, value, self.lags.level(), self.volatility[1]);
                }
                self.lags.push(value, residual);
                self.missing = 0;
            }
            None => {
                let residual = before.filter(|_| now.is_some());
                let stand_in = match (residual, now) {
                    (Some(residual), Some(now)) => residual + now,
                    _ => self.lags.latest(),
                };
                self.lags.shift(stand_in, now.map(|now| stand_in - now));
                self.missing = self.missing.saturating_add(1);
            }
        }
        if let Some(season) = &mut self.season {
            season.pass(1);
        }
        self.step = self.step.saturating_add(1);
    }

    /// Learns how much and how lastingly the series changes.
    fn change(&mut self, value: f64, residual: Option<f64>, before: Option<f64>) {
        let (to, from, level) = match (residual, before) {
            (Some(residual), Some(before)) => (residual, before, self.lags.level()),
            _ => (value, self.lags.latest(), self.lags.mean()),
        };
        if self.missing == 0 {
            let change = (to - from).abs();
            let first = 1.0 / (f64::from(self.changes) + 1.0);
            for (mean, length) in self.volatility.iter_mut().zip(VOLATILITY) {
                *mean += (change - *mean) * first.max(1.0 / length);
            }
            self.changes = self.changes.saturating_add(1);
            let keep = 1.0 - 1.0 / VOLATILITY[1];
            self.persistence.0 = self.persistence.0 * keep + (to - level) * (from - level);
            self.persistence.1 = self.persistence.1 * keep + (from - level) * (from - level);
        }
    }

    /// How volatile the series is now, relative to the long run.
    fn volatility(&self) -> f64 {
        let [fast, slow] = self.volatility;
        if slow > 0.0 { (fast / slow).min(4.0) } else { 1.0 }
    }

    /// Looks ahead from the latest row, at all horizons; says what is known at those that have an outlook.
    pub fn look(&mut self, config: &ForecasterConfig, clock: &Clock, row: Early, outlooks: &mut [Outlook]) {
        let base = self.lags.latest();
        let season = self.season.as_ref();
        let shape = |ahead: u64| {
            let ahead_us = clock.interval_us.saturating_mul(i64::try_from(ahead).unwrap_or(i64::MAX));
            season.and_then(|season| season.at(row.local_us.saturating_add(ahead_us)))
        };
        let from = From { step: self.step - 1, base, volatility: self.volatility(), missing: self.missing };
        let now = self.lags.residual().map(|residual| base - residual);
        let (both, square) = self.persistence;
        let persistence = if square > 0.0 { both / square } else { 0.0 };
        let mut outlooks = outlooks.iter_mut();
        let mut likeliest = (0.0_f64, None);
        for horizon in &mut self.horizons {
            let steps = horizon.steps;
            let x = self.lags.features(now, shape(steps));
            let said = horizon.look(from, &x);
            let chance = config.threshold.and_then(|threshold| {
                let by_season = horizon.by_season();
                let bent = |ahead| shape(ahead).map(|shape| by_season * shape);
                let path = Path::new(steps, base, base + said.ahead, persistence, bent);
                horizon.chance(&path, from, said, threshold - self.origin)
            });
            horizon.remember(from, &x, said, chance.map(|(_, reach)| reach));
            let Some(outlook) = outlooks.next() else { continue };
            if !horizon.has_errors() {
                continue;
            }
            outlook.expected = self.origin + base + said.ahead;
            horizon.quantiles(said, &mut outlook.quantiles);
            outlook.quantiles.iter_mut().for_each(|quantile| *quantile += outlook.expected);
            if let Some((chance, _)) = chance {
                likeliest.0 = chance.corrected.max(likeliest.0);
                if likeliest.1.is_none() {
                    let after_us = chance.after.map(|after| (after * clock.interval_us as f64) as i64);
                    likeliest.1 = after_us.map(|after_us| row.time_us.saturating_add(after_us));
                }
                (outlook.p_crossing, outlook.crossing_us) = likeliest;
            }
        }
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.f64(self.origin);
        writer.u64(self.step);
        writer.u64(self.missing);
        self.lags.encode(writer);
        writer.u8(u8::from(self.season.is_some()));
        if let Some(season) = &self.season {
            season.encode(writer);
        }
        for value in [self.volatility[0], self.volatility[1], self.persistence.0, self.persistence.1] {
            writer.f64(value);
        }
        writer.u32(self.changes);
        self.horizons.iter().for_each(|horizon| horizon.encode(writer));
    }

    pub fn decode(
        reader: &mut Reader<'_>,
        config: &ForecasterConfig,
        clock: &Clock,
    ) -> Result<Self, StateError> {
        let (origin, step, missing) = (reader.f64()?, reader.u64()?, reader.u64()?);
        if step == 0 || clock.interval_us == 0 {
            return Err(damaged("a series that has not begun"));
        }
        let lags = Lags::decode(reader)?;
        let has_season = reader.u8()? != 0;
        let season = has_season.then(|| Season::decode(reader)).transpose()?;
        let volatility = [reader.f64()?, reader.f64()?];
        let persistence = (reader.f64()?, reader.f64()?);
        let changes = reader.u32()?;
        let horizons = config.horizons_us.iter().map(|horizon| {
            let steps = intervals(*horizon, clock.interval_us);
            Horizon::decode(reader, steps, &config.quantiles, config.threshold.is_some())
        });
        let horizons = horizons.collect::<Result<_, _>>()?;
        Ok(Body { origin, step, missing, lags, season, volatility, changes, persistence, horizons })
    }
}
