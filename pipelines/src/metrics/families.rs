//! The metrics: of each its name, type, unit, labels and meaning, and where its numbers come from.
//!
//! Names follow Prometheus's conventions: base units, `_total` for what only grows, `_info` for what is said in labels. To add one,
//! add it to a list in `families/` and to `pipelines/METRICS.md`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thalweg_engine::checkpoint::Publications;

use crate::run::Status;
use crate::run::process::ProcessUse;

mod process;
mod source;
mod work;

/// What all names begin with.
pub(super) const PREFIX: &str = "thalweg";
/// The label that all have.
pub(super) const PIPELINE: &str = "pipeline";
const NONE: &[&str] = &[];

/// All metrics, in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    [process::INFO, source::FAMILIES, work::FAMILIES, process::FAMILIES].into_iter().flatten()
}

/// A metric, for all values of its labels.
pub(super) struct Family {
    /// Without prefix, unit and suffix.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    /// Besides [`PIPELINE`].
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) read: fn(&Reading<'_>, &mut Samples),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Info,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    None,
    Seconds,
    Bytes,
}

/// What the numbers are taken from, as of one moment.
pub(super) struct Reading<'a> {
    pub(super) job: &'a Status,
    pub(super) process: ProcessUse,
    pub(super) publications: Publications,
    pub(super) started: SystemTime,
    pub(super) now: SystemTime,
}

/// A family's numbers: values of its labels, in their order, and the value.
#[derive(Debug, Default)]
pub(super) struct Samples(pub(super) Vec<(Vec<String>, Value)>);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Count(count)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Value::Number(time.as_secs_f64())
    }
}

impl Samples {
    fn add<const N: usize>(&mut self, labels: [&str; N], value: impl Into<Value>) {
        self.0.push((labels.map(str::to_owned).to_vec(), value.into()));
    }
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
