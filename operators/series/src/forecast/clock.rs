//! How far apart the rows of a key are, and how many are missing between two of them.

use crate::bytes::{Reader, StateError, Writer};

use super::damaged;

/// Rows from which the interval is learnt.
const EARLY: usize = 9;

/// So many rows in turn that don't fit the interval, and it is learnt anew.
const ODD_MAX: u8 = 32;

/// A row as it is kept until the interval is known; NaN: without value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Early {
    pub time_us: i64,
    pub local_us: i64,
    pub value: f64,
}

/// What a row says about time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tick {
    /// The interval is not known yet.
    Unknown,
    /// It became known with this row: all rows kept till now count from here.
    Begins,
    /// So many intervals have passed since the row before: 1 if none is missing.
    Passed(u64),
}

/// The interval of a key, and its latest row.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// 0: not known yet.
    pub interval_us: i64,
    /// Rows kept until it is.
    pub early: Vec<Early>,
    learns: bool,
    last_us: i64,
    odd: u8,
}

impl Clock {
    pub fn new(interval_us: Option<i64>) -> Self {
        Clock {
            interval_us: interval_us.unwrap_or(0),
            early: Vec::new(),
            learns: interval_us.is_none(),
            last_us: 0,
            odd: 0,
        }
    }

    /// Takes a row's time. After [`Tick::Begins`] the caller takes the early rows.
    pub fn tick(&mut self, row: Early, begun: bool) -> Tick {
        if self.learns && begun && self.is_odd(row.time_us) {
            self.odd += 1;
            if self.odd >= ODD_MAX {
                *self = Clock::new(None);
            }
        } else {
            self.odd = 0;
        }
        if self.interval_us > 0 && begun {
            let passed = self.passed(row.time_us);
            self.last_us = row.time_us;
            return Tick::Passed(passed);
        }
        self.last_us = row.time_us;
        if self.early.len() == EARLY {
            self.early.remove(0);
        }
        self.early.push(row);
        if self.interval_us == 0 && self.early.len() == EARLY {
            let pairs = self.early.windows(2);
            let mut apart: Vec<i64> =
                pairs.map(|pair| pair[1].time_us.saturating_sub(pair[0].time_us)).collect();
            apart.sort_unstable();
            self.interval_us = apart[EARLY / 2 - 1].max(0);
        }
        if self.interval_us > 0 && self.early.iter().any(|row| !row.value.is_nan()) {
            return Tick::Begins;
        }
        Tick::Unknown
    }

    /// How many intervals have passed since the latest row, and since a row before another; at least 1.
    fn passed(&self, time_us: i64) -> u64 {
        intervals(time_us.saturating_sub(self.last_us), self.interval_us)
    }

    fn is_odd(&self, time_us: i64) -> bool {
        let apart = time_us.saturating_sub(self.last_us);
        apart.saturating_sub(self.interval_us).saturating_abs() > self.interval_us / 4
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.i64(self.interval_us);
        writer.u8(self.early.len() as u8);
        for row in &self.early {
            writer.i64(row.time_us);
            writer.i64(row.local_us);
            writer.f64(row.value);
        }
        writer.u8(u8::from(self.learns));
        writer.i64(self.last_us);
        writer.u8(self.odd);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let interval_us = reader.i64()?;
        let early = usize::from(reader.u8()?);
        if interval_us < 0 || early > EARLY {
            return Err(damaged("an interval that is none"));
        }
        let early = (0..early)
            .map(|_| Ok(Early { time_us: reader.i64()?, local_us: reader.i64()?, value: reader.f64()? }));
        let early = early.collect::<Result<_, StateError>>()?;
        let (learns, last_us, odd) = (reader.u8()? != 0, reader.i64()?, reader.u8()?);
        Ok(Clock { interval_us, early, learns, last_us, odd })
    }
}

/// How many intervals a time is, rounded; at least 1.
pub(super) fn intervals(time_us: i64, interval_us: i64) -> u64 {
    let halves = time_us.saturating_add(interval_us / 2);
    u64::try_from(halves / interval_us.max(1)).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time_us: i64) -> Early {
        Early { time_us, local_us: time_us, value: 1.0 }
    }

    #[test]
    fn the_interval_is_learnt_though_rows_are_missing_or_late() {
        let mut clock = Clock::new(None);
        let times = [0, 10, 20, 31, 40, 80, 90, 99];
        assert!(times.iter().all(|time| clock.tick(row(*time), false) == Tick::Unknown));
        assert_eq!(clock.tick(row(110), false), Tick::Begins);
        assert_eq!(clock.interval_us, 10);
        assert_eq!(clock.tick(row(120), true), Tick::Passed(1));
        assert_eq!(clock.tick(row(151), true), Tick::Passed(3));
        assert_eq!(clock.tick(row(151), true), Tick::Passed(1));
    }

    #[test]
    fn intervals_are_rounded_and_never_none() {
        assert_eq!([0, 4, 14, 16, i64::MAX].map(|time| intervals(time, 10)), {
            [1, 1, 1, 2, 922_337_203_685_477_580]
        });
    }
}
