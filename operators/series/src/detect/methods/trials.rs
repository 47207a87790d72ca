//! What every method is held to, whatever it computes.

use super::{Raw, Row, Scorer, Settings};
use crate::bytes::{Reader, Writer};
use crate::synthetic::Random;

/// Inputs that go together: each is a season of 24 rows with a phase of its own, and noise of a tenth of it.
pub(super) fn ordinary(inputs: usize, rows: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(inputs as u64);
    let mut value = |row: usize, input: usize| {
        let turns = row as f64 / 24.0 + input as f64 * 0.13;
        100.0 + 10.0 * libm::sin(std::f64::consts::TAU * turns) + random.normal()
    };
    (0..rows).map(|row| (0..inputs).map(|input| value(row, input)).collect()).collect()
}

/// A method and the state of one key.
pub(super) struct Trial<S: Scorer> {
    shared: S::Shared,
    state: S,
    raw: Raw,
    inputs: usize,
}

impl<S: Scorer> Trial<S> {
    pub(super) fn new(inputs: usize) -> Self {
        let shared = S::shared(&Settings { inputs, interval_us: None, season_us: None });
        let state = S::begin(&shared);
        Trial { shared, state, raw: Raw::default(), inputs }
    }

    /// One row, after so many missing ones.
    pub(super) fn row(&mut self, values: &[f64], missed: u32, weight: f64) -> &Raw {
        let row = Row { values, said: &[], missed, local_us: 0 };
        self.raw.clear(self.inputs);
        self.state.score(&self.shared, row, &mut self.raw);
        self.state.learn(&self.shared, row, weight);
        &self.raw
    }

    /// The strangeness of each of these rows, all ordinary.
    pub(super) fn rows(&mut self, rows: &[Vec<f64>]) -> Vec<f64> {
        rows.iter().map(|values| self.row(values, 0, 1.0).strangeness).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.state.encode(&mut Writer(&mut bytes));
        bytes
    }

    fn restored(&self) -> Self {
        let mut trial = Trial::new(self.inputs);
        let bytes = self.bytes();
        let mut reader = Reader::new(&bytes);
        trial.state = S::decode(&trial.shared, &mut reader).expect("what was encoded");
        reader.end().expect("no byte is left");
        trial
    }
}

/// All of a score, by its bits.
fn bits(raw: &Raw) -> Vec<u64> {
    let lists = [&raw.expected, &raw.scale, &raw.parts];
    std::iter::once(&raw.strangeness)
        .chain(lists.into_iter().flatten())
        .map(|value| value.to_bits())
        .collect()
}

/// Whatever is fed to it, a score is a score.
fn sound(raw: &Raw) {
    let some = raw.strangeness;
    assert!(some.is_nan() || (0.0..f64::INFINITY).contains(&some), "{raw:?}");
    assert!(raw.parts.iter().all(|part| (0.0..f64::INFINITY).contains(part)), "{raw:?}");
    assert!(raw.expected.iter().all(|value| !value.is_infinite()), "{raw:?}");
    assert!(raw.scale.iter().all(|value| value.is_nan() || (0.0..f64::INFINITY).contains(value)), "{raw:?}");
}

/// Every check, for one input, a few and the most, with at most so many bytes of state for one and for the most.
pub(super) fn hold<S: Scorer>(bytes_max: [usize; 2]) {
    for inputs in [1, 3, 32] {
        restored_states_go_on_to_the_bit::<S>(inputs);
        damaged_states_are_refused_or_do_no_harm::<S>(inputs);
        strange_values_do_no_harm::<S>(inputs);
        units_do_not_matter::<S>(inputs);
        rows_of_no_weight_teach_nothing::<S>(inputs);
    }
    constant_series_are_ordinary_until_they_change::<S>();
    for (inputs, bytes_max) in [1, 32].into_iter().zip(bytes_max) {
        let mut trial = Trial::<S>::new(inputs);
        trial.rows(&ordinary(inputs, 600));
        assert!(trial.bytes().len() <= bytes_max, "{} bytes for {inputs} inputs", trial.bytes().len());
    }
}

fn restored_states_go_on_to_the_bit<S: Scorer>(inputs: usize) {
    let rows = ordinary(inputs, 1200);
    let mut trial = Trial::<S>::new(inputs);
    let mut restored = trial.restored();
    for (number, values) in rows.iter().enumerate() {
        if [3, 20, 50, 300, 700].contains(&number) {
            restored = trial.restored();
        }
        let weight = [1.0, 1.0, 0.3, 1.0, 0.0][number % 5];
        let expected = bits(trial.row(values, 0, weight));
        assert_eq!(bits(restored.row(values, 0, weight)), expected, "row {number} of {inputs} inputs");
    }
    assert_eq!(restored.bytes(), trial.bytes());
    assert!(trial.raw.strangeness.is_finite(), "it has scored");
}

fn damaged_states_are_refused_or_do_no_harm<S: Scorer>(inputs: usize) {
    let rows = ordinary(inputs, 500);
    let mut trial = Trial::<S>::new(inputs);
    trial.rows(&rows);
    let bytes = trial.bytes();
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(S::decode(&trial.shared, &mut Reader::new(&bytes[..length])).is_err(), "{length} bytes");
    }
    for place in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = bytes.clone();
        damaged[place] = !damaged[place];
        if let Ok(state) = S::decode(&trial.shared, &mut Reader::new(&damaged)) {
            trial.state = state;
            (0..3).for_each(|row| sound(trial.row(&rows[row], 0, 1.0)));
        }
    }
}

fn strange_values_do_no_harm<S: Scorer>(inputs: usize) {
    let strange = [f64::MAX, f64::MIN, 0.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::NAN, 1e300, -1.0, 1e-300];
    for among in [1, 7, 90] {
        let mut random = Random::new(among as u64);
        let mut trial = Trial::<S>::new(inputs);
        for (number, mut values) in ordinary(inputs, 900).into_iter().enumerate() {
            if number % among == 0 {
                values.iter_mut().for_each(|value| *value = strange[random.below(strange.len())]);
                values[0] = if values[0].is_nan() { 1.0 } else { values[0] };
            }
            let missed = [0, 1, 3, 40, u32::MAX][random.below(5)] * u32::from(number % 50 == 0);
            sound(trial.row(&values, missed, random.uniform()));
        }
    }
}

fn units_do_not_matter<S: Scorer>(inputs: usize) {
    let rows = ordinary(inputs, 900);
    let expected = Trial::<S>::new(inputs).rows(&rows);
    for unit in [1.0 / 1024.0, libm::exp2(90.0)] {
        let scaled: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().map(|value| value * unit).collect()).collect();
        let strangeness = Trial::<S>::new(inputs).rows(&scaled);
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        assert!(strangeness.iter().zip(&expected).all(same), "{unit}, {inputs} inputs");
    }
}

fn rows_of_no_weight_teach_nothing<S: Scorer>(inputs: usize) {
    let rows = ordinary(inputs, 1100);
    let mut taught = Trial::<S>::new(inputs);
    taught.rows(&rows[..1000]);
    let mut disturbed = taught.restored();
    for row in 0..50 {
        disturbed.row(&vec![1e4 * row as f64; inputs], 0, 0.0);
    }
    for (number, values) in rows[1000..].iter().enumerate() {
        let expected = bits(taught.row(values, 0, 0.0));
        let found = bits(disturbed.row(values, 0, 0.0));
        // From then on both windows hold the same rows.
        assert!(number < 40 || found == expected, "row {number}");
    }
}

fn constant_series_are_ordinary_until_they_change<S: Scorer>() {
    let mut trial = Trial::<S>::new(1);
    let constant = trial.rows(&vec![vec![0.3]; 600]);
    assert!(constant.iter().all(|some| some.is_nan() || *some <= 1.0 + 1e-9), "{constant:?}");
    let change = trial.row(&[0.4], 0, 1.0).strangeness;
    assert!(change > 1.5, "{change}");
}

/// Spikes, shifts and lost seasons are stranger than all that was ordinary, a lost season `lost_min` times as strange at least.
pub(super) fn tells_spikes_shifts_and_lost_seasons<S: Scorer>(lost_min: f64) {
    let rows = ordinary(1, 1400);
    let after = |change: fn(usize, f64) -> f64| {
        let mut trial = Trial::<S>::new(1);
        let before = trial.rows(&rows[..1300]).split_off(400).into_iter().fold(0.0, f64::max);
        let changed = rows[1300..].iter().enumerate().map(|(number, row)| vec![change(number, row[0])]);
        let after = trial.rows(&changed.collect::<Vec<_>>()).into_iter().fold(0.0, f64::max);
        after / before
    };
    let ordinary = after(|_, value| value);
    assert!(ordinary < 1.2, "{ordinary}");
    let spike = after(|number, value| if number == 50 { value + 40.0 } else { value });
    let shift = after(|number, value| if number >= 50 { value + 30.0 } else { value });
    let lost = after(|_, _| 100.0);
    assert!(spike > 1.3 && shift > 1.3 && lost > lost_min, "{spike} {shift} {lost}");
}

/// An input that leaves the others has the largest part.
pub(super) fn names_the_input_that_leaves_the_others<S: Scorer>() {
    let rows = ordinary(3, 1300);
    let mut trial = Trial::<S>::new(3);
    trial.rows(&rows[..1290]);
    let mut strange = rows[1290].clone();
    strange[1] += 60.0;
    let parts = &trial.row(&strange, 0, 0.0).parts;
    assert!(parts[1] > parts[0].max(parts[2]), "{parts:?}");
}
