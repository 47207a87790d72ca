//! Anomalies, as columns.
//!
//! Where a network is asked, its version is part of a key's state: what was known by another version begins anew, since its scores mean
//! something else. A second version may stand in the shadow of the first: it judges the same rows in columns of its own, and when it is
//! promoted goes on with what it knew.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use thalweg_engine::control::JobError;
use thalweg_engine::shard::hash_key;
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::detect::{Class, Detector, DetectorState, Severity, Siblings, Status, Verdict};

use super::SeriesModel;
use super::columns::{Numbers, PerInput};

/// A detector, and what it has said of rows that have not left yet.
pub struct DetectModel {
    detector: Detector,
    /// Whether rows come with what a network said.
    asks: bool,
    shadow: Option<Shadow>,
    /// Values of a row and what is said beside them, up to where the shadow's begin.
    width: usize,
    version: String,
    /// What the network is, whatever its version is called.
    identity: String,
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

/// A network in the shadow of another, and what is said of it.
struct Shadow {
    version: String,
    identity: String,
    inputs: usize,
    values: Vec<f64>,
    score: Numbers,
    p_value: Numbers,
    is_anomaly: Vec<bool>,
}

/// What is known of one key.
pub struct DetectState {
    own: DetectorState,
    shadow: Option<DetectorState>,
}

impl DetectModel {
    /// Of a detector whose inputs are called so.
    pub fn new(detector: Detector, inputs: &[String]) -> Self {
        DetectModel {
            width: inputs.len() + detector.config().said(),
            version: detector.version(),
            identity: String::new(),
            detector,
            asks: false,
            shadow: None,
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

    /// One that judges what this version of a network says. `identity` is what the network is, whatever its version is called.
    #[must_use]
    pub fn asking(mut self, version: &str, identity: &str) -> Self {
        (self.asks, self.version, self.identity) = (true, version.to_owned(), identity.to_owned());
        self
    }

    /// And beside it what this one says, which comes behind what the first said.
    #[must_use]
    pub fn shadowed_by(mut self, version: &str, identity: &str) -> Self {
        self.shadow = Some(Shadow {
            version: version.to_owned(),
            identity: identity.to_owned(),
            inputs: self.detector.config().inputs,
            values: Vec::new(),
            score: Numbers::default(),
            p_value: Numbers::default(),
            is_anomaly: Vec::new(),
        });
        self
    }

    /// The columns that a version in the shadow adds.
    pub fn shadow_columns() -> Vec<Field> {
        vec![
            Field::new("shadow_score", DataType::Float64, true),
            Field::new("shadow_p_value", DataType::Float64, true),
            Field::new("shadow_is_anomaly", DataType::Boolean, false),
            Field::new("shadow_version", DataType::Utf8, false),
        ]
    }

    /// The state of the network, where these bytes are of it.
    fn decode_part(&self, identity: &str, part: &StatePart<'_>) -> Option<Result<DetectorState, StateError>> {
        (part.network == hash_key(identity.as_bytes())).then(|| self.detector.decode(part.bytes))
    }
}

/// What was known by one network, as bytes: a hash of what it is, how many bytes follow, and these.
struct StatePart<'a> {
    network: u64,
    bytes: &'a [u8],
}

impl<'a> StatePart<'a> {
    fn write(identity: &str, bytes: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
        bytes.extend(hash_key(identity.as_bytes()).to_le_bytes());
        let at = bytes.len();
        bytes.extend([0; 4]);
        encode(bytes);
        let length = (bytes.len() - at - 4) as u32;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn read_all(mut bytes: &'a [u8]) -> Result<Vec<StatePart<'a>>, StateError> {
        let damaged =
            || StateError::Damaged { what: "the state of a network's version that ends too early".into() };
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let (network, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            let (part, rest) =
                rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
            parts.push(StatePart { network: u64::from_le_bytes(*network), bytes: part });
            bytes = rest;
        }
        Ok(parts)
    }
}

impl Shadow {
    fn observe(
        &mut self,
        detector: &mut Detector,
        state: &mut DetectorState,
        row: Observation<'_>,
        said: &[f64],
        verdict: &mut Verdict,
    ) {
        self.values.clear();
        self.values.extend_from_slice(&row.values[..self.inputs]);
        self.values.extend_from_slice(said);
        detector.observe(state, Observation { values: &self.values, ..row }, verdict);
        self.score.push(verdict.score);
        self.p_value.push(verdict.p_value);
        self.is_anomaly.push(verdict.is_anomaly);
    }

    fn finish(&mut self) -> [ArrayRef; 4] {
        let rows = self.is_anomaly.len();
        [
            self.score.finish(),
            self.p_value.finish(),
            Arc::new(BooleanArray::from(std::mem::take(&mut self.is_anomaly))),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.version, rows))),
        ]
    }
}

impl SeriesModel for DetectModel {
    type State = DetectState;

    fn columns(&self) -> Vec<Field> {
        let mut fields = vec![
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
        ];
        fields.extend(self.shadow.iter().flat_map(|_| Self::shadow_columns()));
        fields
    }

    fn begin(&self, siblings: Option<&Siblings>) -> DetectState {
        DetectState {
            own: siblings
                .map_or_else(|| self.detector.begin(), |siblings| self.detector.begin_among(siblings)),
            shadow: self.shadow.as_ref().map(|_| self.detector.begin()),
        }
    }

    fn observe(&mut self, state: &mut DetectState, row: Observation<'_>) {
        let (values, said) = row.values.split_at(self.width);
        if let (Some(shadow), Some(state)) = (&mut self.shadow, &mut state.shadow) {
            shadow.observe(&mut self.detector, state, row, said, &mut self.verdict);
        }
        self.detector.observe(&mut state.own, Observation { values, ..row }, &mut self.verdict);
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
        let mut arrays: Vec<ArrayRef> = vec![
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
        ];
        arrays.extend(self.shadow.iter_mut().flat_map(Shadow::finish));
        Ok(arrays)
    }

    fn encode(&self, state: &DetectState, bytes: &mut Vec<u8>) {
        if !self.asks {
            return self.detector.encode(&state.own, bytes);
        }
        StatePart::write(&self.identity, bytes, |bytes| self.detector.encode(&state.own, bytes));
        if let (Some(shadow), Some(state)) = (&self.shadow, &state.shadow) {
            StatePart::write(&shadow.identity, bytes, |bytes| self.detector.encode(state, bytes));
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<DetectState, StateError> {
        if !self.asks {
            return Ok(DetectState { own: self.detector.decode(bytes)?, shadow: None });
        }
        let parts = StatePart::read_all(bytes)?;
        let of = |identity: &str| {
            let known = parts.iter().find_map(|part| self.decode_part(identity, part));
            known.unwrap_or_else(|| Ok(self.detector.begin()))
        };
        let shadow = self.shadow.as_ref().map(|shadow| of(&shadow.identity)).transpose()?;
        Ok(DetectState { own: of(&self.identity)?, shadow })
    }
}
