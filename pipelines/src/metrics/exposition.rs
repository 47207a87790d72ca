//! The numbers as OpenMetrics text, which Prometheus reads.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::families::{self, Family, Kind, PIPELINE, PREFIX, Reading, Samples, Unit, Value};
use crate::run::Status;
use crate::run::process::ProcessUse;

/// What the text is, for HTTP.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Turns a job's numbers into text, as often as they are asked for.
pub(super) struct Exposition {
    registry: Registry,
}

impl Exposition {
    pub(super) fn new(status: Status) -> Self {
        let pipeline = (Cow::Borrowed(PIPELINE), Cow::Owned(escaped(&status.pipeline)));
        let mut registry = Registry::with_prefix_and_labels(PREFIX, [pipeline].into_iter());
        registry.register_collector(Box::new(Job { status, started: SystemTime::now() }));
        Exposition { registry }
    }

    /// The numbers as they are now.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct Job {
    status: Status,
    started: SystemTime,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("pipeline", &self.status.pipeline).finish_non_exhaustive()
    }
}

impl Collector for Job {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let reading = Reading {
            job: &self.status,
            process: ProcessUse::now(),
            publications: self.status.checkpoints.publications(),
            started: self.started,
            now: SystemTime::now(),
        };
        for family in families::all() {
            let mut samples = Samples::default();
            (family.read)(&reading, &mut samples);
            if !samples.0.is_empty() {
                encode(family, &samples, &mut encoder)?;
            }
        }
        Ok(())
    }
}

fn encode(family: &Family, samples: &Samples, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    };
    let unit = match family.unit {
        Unit::None => None,
        Unit::Seconds => Some(registry::Unit::Seconds),
        Unit::Bytes => Some(registry::Unit::Bytes),
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    for (values, value) in &samples.0 {
        let values = values.iter().map(|value| escaped(value));
        let labels: Vec<(&str, String)> = family.labels.iter().copied().zip(values).collect();
        let mut sample = match family.kind {
            Kind::Info => {
                metric.encode_info(&labels)?;
                continue;
            }
            _ => metric.encode_family(&labels)?,
        };
        match (family.kind, *value) {
            (Kind::Counter, Value::Count(count)) => {
                sample.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
            }
            (Kind::Counter, Value::Number(number)) => {
                sample.encode_counter::<NoLabelSet, f64, f64>(&number, None)?;
            }
            (_, Value::Count(count)) => sample.encode_gauge(&count)?,
            (_, Value::Number(number)) => sample.encode_gauge(&number)?,
        }
    }
    Ok(())
}

// The encoder writes values of labels as they are.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
