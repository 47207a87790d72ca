//! Anomalies, as columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use thalweg_engine::control::JobError;
use thalweg_engine::shard::hash_key;
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::detect::{Class, Detector, DetectorState, Severity, Status, Verdict};

use super::SeriesModel;
use super::columns::{Numbers, PerInput};

/// A detector, and what it has said of rows that have not left yet.
pub struct DetectModel {
    detector: Detector,
    /// Whether rows come with what a network said.
    asks: bool,
    version: String,
    verdict: Verdict,
    score: Numbers,
    p_value: Numbers,
    is_anomaly: Vec<bool>,
    class: Vec<Option<&'static str>>,
    severity: Vec<Option<&'static str>>,
    expected: PerInput,
    lower: PerInput,
    upper: PerInput,
    attribution: PerInput,
    n_seen: Vec<i64>,
    status: Vec<&'static str>,
}

impl DetectModel {
    /// Of a detector whose inputs are called so.
    pub fn new(detector: Detector, inputs: &[String]) -> Self {
        DetectModel {
            asks: false,
            version: detector.version(),
            detector,
            verdict: Verdict::default(),
            score: Numbers::default(),
            p_value: Numbers::default(),
            is_anomaly: Vec::new(),
            class: Vec::new(),
            severity: Vec::new(),
            expected: PerInput::new(inputs),
            lower: PerInput::new(inputs),
            upper: PerInput::new(inputs),
            attribution: PerInput::always_struct(inputs),
            n_seen: Vec::new(),
            status: Vec::new(),
        }
    }

    /// One that judges what this version of a network says. What was known of keys by another begins anew: its scores mean something else.
    #[must_use]
    pub fn asking(mut self, version: &str) -> Self {
        (self.asks, self.version) = (true, version.to_owned());
        self
    }
}

impl SeriesModel for DetectModel {
    type State = DetectorState;

    fn columns(&self) -> Vec<Field> {
        vec![
            Field::new("score", DataType::Float64, true),
            Field::new("p_value", DataType::Float64, true),
            Field::new("is_anomaly", DataType::Boolean, false),
            Field::new("class", DataType::Utf8, true),
            Field::new("severity", DataType::Utf8, true),
            Field::new("expected", self.expected.data_type(), true),
            Field::new("lower", self.lower.data_type(), true),
            Field::new("upper", self.upper.data_type(), true),
            Field::new("attribution", self.attribution.data_type(), true),
            Field::new("n_seen", DataType::Int64, false),
            Field::new("status", DataType::Utf8, false),
            Field::new("model_version", DataType::Utf8, false),
        ]
    }

    fn begin(&self) -> DetectorState {
        self.detector.begin()
    }

    fn observe(&mut self, state: &mut DetectorState, row: Observation<'_>) {
        self.detector.observe(state, row, &mut self.verdict);
        let verdict = &self.verdict;
        self.score.push(verdict.score);
        self.p_value.push(verdict.p_value);
        self.is_anomaly.push(verdict.is_anomaly);
        self.class.push(verdict.class.map(Class::name));
        self.severity.push(verdict.severity.map(Severity::name));
        self.expected.push(&verdict.expected);
        self.lower.push(&verdict.lower);
        self.upper.push(&verdict.upper);
        self.attribution.push(&verdict.attribution);
        self.n_seen.push(verdict.n_seen as i64);
        self.status.push(Status::name(verdict.status));
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, JobError> {
        let rows = self.status.len();
        Ok(vec![
            self.score.finish(),
            self.p_value.finish(),
            Arc::new(BooleanArray::from(std::mem::take(&mut self.is_anomaly))),
            Arc::new(StringArray::from(std::mem::take(&mut self.class))),
            Arc::new(StringArray::from(std::mem::take(&mut self.severity))),
            self.expected.finish(),
            self.lower.finish(),
            self.upper.finish(),
            self.attribution.finish(),
            Arc::new(Int64Array::from(std::mem::take(&mut self.n_seen))),
            Arc::new(StringArray::from(std::mem::take(&mut self.status))),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.version, rows))),
        ])
    }

    fn encode(&self, state: &DetectorState, bytes: &mut Vec<u8>) {
        if self.asks {
            bytes.extend(hash_key(self.version.as_bytes()).to_le_bytes());
        }
        self.detector.encode(state, bytes);
    }

    fn decode(&self, bytes: &[u8]) -> Result<DetectorState, StateError> {
        if !self.asks {
            return self.detector.decode(bytes);
        }
        let Some((version, bytes)) = bytes.split_first_chunk::<8>() else {
            return Err(StateError::Damaged {
                what: format!("{} bytes, fewer than a version has", bytes.len()),
            });
        };
        let known = u64::from_le_bytes(*version) == hash_key(self.version.as_bytes());
        if known { self.detector.decode(bytes) } else { Ok(self.begin()) }
    }
}
