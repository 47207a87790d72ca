//! Where learning curves end, as columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use thalweg_engine::control::JobError;
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::converge::{Convergence, Converger, ConvergerState, Interval};
use thalweg_series::detect::Siblings;

use super::SeriesModel;
use super::columns::Numbers;

/// A model of curves, and what it has said of rows that have not left yet.
pub struct ConvergeModel {
    converger: Converger,
    version: String,
    said: Convergence,
    final_value: Intervals,
    steps_left: Intervals,
    hours_left: Intervals,
    p_target: Numbers,
    is_stalled: Vec<bool>,
    without_improvement: Numbers,
    stall_p_value: Numbers,
    basis: Vec<&'static str>,
    n_seen: Vec<i64>,
    status: Vec<&'static str>,
}

impl ConvergeModel {
    /// Of a model of curves.
    pub fn new(converger: Converger) -> Self {
        ConvergeModel {
            version: converger.version(),
            converger,
            said: Convergence::default(),
            final_value: Intervals::default(),
            steps_left: Intervals::default(),
            hours_left: Intervals::default(),
            p_target: Numbers::default(),
            is_stalled: Vec::new(),
            without_improvement: Numbers::default(),
            stall_p_value: Numbers::default(),
            basis: Vec::new(),
            n_seen: Vec::new(),
            status: Vec::new(),
        }
    }
}

/// An interval's five columns: the middle, then the borders of 80 % and of 95 %.
#[derive(Debug, Default)]
struct Intervals([Numbers; 5]);

impl Intervals {
    const ENDINGS: [&str; 5] = ["", "_lower_80", "_upper_80", "_lower_95", "_upper_95"];

    fn fields(name: &str) -> impl Iterator<Item = Field> + use<'_> {
        Self::ENDINGS.iter().map(move |ending| Field::new(format!("{name}{ending}"), DataType::Float64, true))
    }

    fn push(&mut self, interval: &Interval) {
        let Interval { expected, lower_80, upper_80, lower_95, upper_95 } = *interval;
        for (numbers, value) in self.0.iter_mut().zip([expected, lower_80, upper_80, lower_95, upper_95]) {
            numbers.push(value);
        }
    }

    fn finish(&mut self) -> impl Iterator<Item = ArrayRef> + use<'_> {
        self.0.iter_mut().map(Numbers::finish)
    }
}

impl SeriesModel for ConvergeModel {
    type State = ConvergerState;

    fn columns(&self) -> Vec<Field> {
        let intervals = ["final_value", "steps_left", "hours_left"];
        let mut fields: Vec<Field> = intervals.into_iter().flat_map(Intervals::fields).collect();
        fields.extend([
            Field::new("p_target", DataType::Float64, true),
            Field::new("is_stalled", DataType::Boolean, false),
            Field::new("steps_without_improvement", DataType::Float64, true),
            Field::new("stall_p_value", DataType::Float64, true),
            Field::new("basis", DataType::Utf8, false),
            Field::new("n_seen", DataType::Int64, false),
            Field::new("status", DataType::Utf8, false),
            Field::new("model_version", DataType::Utf8, false),
        ]);
        fields
    }

    fn begin(&self, _siblings: Option<&Siblings>) -> ConvergerState {
        self.converger.begin()
    }

    fn observe(&mut self, state: &mut ConvergerState, row: Observation<'_>) {
        self.converger.observe(state, row, &mut self.said);
        let said = &self.said;
        self.final_value.push(&said.final_value);
        self.steps_left.push(&said.steps_left);
        self.hours_left.push(&said.hours_left);
        self.p_target.push(said.p_target);
        self.is_stalled.push(said.is_stalled);
        self.without_improvement.push(said.steps_without_improvement);
        self.stall_p_value.push(said.stall_p_value);
        self.basis.push(said.basis);
        self.n_seen.push(said.n_seen as i64);
        self.status.push(said.status.name());
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, JobError> {
        let rows = self.status.len();
        let mut columns: Vec<ArrayRef> = self.final_value.finish().collect();
        columns.extend(self.steps_left.finish());
        columns.extend(self.hours_left.finish());
        columns.push(self.p_target.finish());
        columns.push(Arc::new(BooleanArray::from(std::mem::take(&mut self.is_stalled))));
        columns.push(self.without_improvement.finish());
        columns.push(self.stall_p_value.finish());
        columns.push(Arc::new(StringArray::from(std::mem::take(&mut self.basis))));
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.n_seen))));
        columns.push(Arc::new(StringArray::from(std::mem::take(&mut self.status))));
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.version, rows))));
        Ok(columns)
    }

    fn encode(&self, state: &ConvergerState, bytes: &mut Vec<u8>) {
        self.converger.encode(state, bytes);
    }

    fn decode(&self, bytes: &[u8]) -> Result<ConvergerState, StateError> {
        self.converger.decode(bytes)
    }
}
