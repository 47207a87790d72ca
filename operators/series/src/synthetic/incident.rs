//! What goes wrong in a series, planted so that it is known.

use super::{DAY_US, Random, Series};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentKind {
    /// `size` standard deviations are added to each row.
    Spike,
    /// The same, for long: another level.
    LevelShift,
    /// The series drifts away evenly, to `size` standard deviations at the last row.
    SlopeChange,
    /// The season is gone: only its mean is left. `size` means nothing.
    MissingSeason,
    /// Rows are missing. `size` means nothing.
    Gap,
    /// The value begins again at 0 at the first row, and what follows goes on from there. `size` means nothing.
    CounterReset,
}

impl IncidentKind {
    /// All of them.
    pub const ALL: [IncidentKind; 6] = [
        IncidentKind::Spike,
        IncidentKind::LevelShift,
        IncidentKind::SlopeChange,
        IncidentKind::MissingSeason,
        IncidentKind::Gap,
        IncidentKind::CounterReset,
    ];

    /// A word for tables and files.
    pub fn name(self) -> &'static str {
        match self {
            IncidentKind::Spike => "spike",
            IncidentKind::LevelShift => "level_shift",
            IncidentKind::SlopeChange => "slope_change",
            IncidentKind::MissingSeason => "missing_season",
            IncidentKind::Gap => "gap",
            IncidentKind::CounterReset => "counter_reset",
        }
    }
}

/// One thing that goes wrong, in the rows from `from` up to and without `to`. Outside of these the series is what it would be
/// anyway, but for [`IncidentKind::CounterReset`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incident {
    /// What goes wrong.
    pub kind: IncidentKind,
    /// How much, standard deviations ([`Series::sigma`]); below 0: downwards.
    pub size: f64,
    /// The first row.
    pub from: usize,
    /// The row after the last.
    pub to: usize,
}

impl Series {
    /// Lets something go wrong. Rows beyond the end of the series are left out.
    pub fn plant(&mut self, incident: Incident) {
        let to = incident.to.min(self.values.len());
        let from = incident.from.min(to);
        let incident = Incident { from, to, ..incident };
        let height = incident.size * self.sigma;
        match incident.kind {
            IncidentKind::Spike | IncidentKind::LevelShift => self.change(from..to, |_, _| height),
            IncidentKind::SlopeChange => {
                let rows = (to - from).max(1) as f64;
                self.change(from..to, |row, _| height * (row + 1 - from) as f64 / rows);
            }
            IncidentKind::MissingSeason => {
                let level = self.level;
                self.change(from..to, |_, pattern| level - pattern);
            }
            IncidentKind::Gap => self.values[from..to].fill(f64::NAN),
            IncidentKind::CounterReset => {
                let before = self.values[..from].iter().rev().find(|value| !value.is_nan());
                let before = before.copied().unwrap_or(0.0);
                self.values[from..].iter_mut().for_each(|value| *value -= before);
            }
        }
        self.incidents.push(incident);
    }

    fn change(&mut self, rows: std::ops::Range<usize>, by: impl Fn(usize, f64) -> f64) {
        for row in rows {
            let value = self.values[row] + by(row, self.pattern[row]);
            // NaN stays NaN: `max` would make a value of a missing row.
            self.values[row] = match self.counts && !value.is_nan() {
                true => libm::round(value).max(0.0),
                false => value,
            };
        }
    }
}

/// Incidents of the kinds in turn, `count` in all, in a random place of equal parts of the rows from `first` up to and without `last`; spikes of
/// `spike_sigmas` and other sizes of `shift_sigmas`, up or down. Spikes last a row, gaps and shifts a quarter of a day, slopes half a day and missing
/// seasons a day, but none more than half of its part.
pub fn spread(
    kinds: &[IncidentKind],
    count: usize,
    rows: std::ops::Range<usize>,
    interval_us: i64,
    (spike_sigmas, shift_sigmas): (f64, f64),
    seed: u64,
) -> Vec<Incident> {
    let mut random = Random::new(seed);
    let part = rows.len() / count.max(1);
    let day = (DAY_US / interval_us.max(1)).max(1) as usize;
    let kinds_in_turn = kinds.iter().cycle().take(count).enumerate();
    let incidents = kinds_in_turn.map(|(number, kind)| {
        let (length, size) = match kind {
            IncidentKind::Spike | IncidentKind::CounterReset => (1, spike_sigmas),
            IncidentKind::LevelShift | IncidentKind::Gap => (day / 4, shift_sigmas),
            IncidentKind::SlopeChange => (day / 2, shift_sigmas),
            IncidentKind::MissingSeason => (day, shift_sigmas),
        };
        let length = length.min(part / 2).max(1);
        let from = rows.start + number * part + random.below(part.saturating_sub(length) + 1);
        let sign = if random.below(2) == 0 { -1.0 } else { 1.0 };
        Incident { kind: *kind, size: sign * size, from, to: from + length }
    });
    incidents.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Kind, Noise, Recipe};

    fn series(kind: Kind) -> Series {
        Recipe { kind, rows: 3000, interval_us: DAY_US / 288, seed: 2 }.generate()
    }

    #[test]
    fn incidents_change_their_rows_and_no_others() {
        let clean = series(Kind::Season { noise: Noise::Gaussian, weekly: false });
        for kind in IncidentKind::ALL.into_iter().filter(|kind| *kind != IncidentKind::CounterReset) {
            let mut changed = clean.clone();
            changed.plant(Incident { kind, size: 6.0, from: 1000, to: 1010 });
            let differ = |row: usize| changed.values[row].to_bits() != clean.values[row].to_bits();
            let rows: Vec<usize> = (0..3000).filter(|row| differ(*row)).collect();
            assert_eq!(rows, (1000..1010).collect::<Vec<_>>(), "{kind:?}");
            let labelled: Vec<usize> = (0..3000).filter(|row| changed.labels()[*row]).collect();
            assert_eq!(labelled, rows, "{kind:?}");
        }
    }

    #[test]
    fn sizes_are_standard_deviations() {
        let mut series = series(Kind::Constant);
        let clean = series.values.clone();
        series.plant(Incident { kind: IncidentKind::Spike, size: -6.0, from: 5, to: 6 });
        series.plant(Incident { kind: IncidentKind::SlopeChange, size: 4.0, from: 10, to: 20 });
        assert!((series.values[5] - clean[5] + 6.0 * series.sigma).abs() < 1e-9);
        assert!((series.values[19] - clean[19] - 4.0 * series.sigma).abs() < 1e-9);
        assert!((series.values[10] - clean[10] - 0.4 * series.sigma).abs() < 1e-9);
    }

    #[test]
    fn a_counter_goes_on_after_its_reset() {
        let mut series = series(Kind::Counter);
        let clean = series.values.clone();
        series.plant(Incident { kind: IncidentKind::CounterReset, size: 0.0, from: 500, to: 501 });
        assert!(series.values[500] < series.values[499]);
        assert_eq!(series.values[501] - series.values[500], clean[501] - clean[500]);
    }

    #[test]
    fn spread_incidents_lie_apart_and_inside() {
        let all = spread(&IncidentKind::ALL, 12, 1000..3000, DAY_US / 288, (6.0, 3.0), 9);
        assert_eq!(all.len(), 12);
        assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from));
        assert!(all[0].from >= 1000 && all[11].to <= 3000);
    }
}
