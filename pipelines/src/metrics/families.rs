//! The metrics: of each its name, type, unit, labels and meaning, and where its numbers come from.
//!
//! Names follow Prometheus's conventions: base units, `_total` for what only grows, `_info` for what is said in labels. To add one,
//! add it to [`FAMILIES`] and to `pipelines/METRICS.md`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thalweg_engine::checkpoint::Publications;
use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_operators::sink::SinkCounters;
use thalweg_operators::source::{SourceCounters, SplitGauge, WaitsFor};

use crate::run::process::ProcessUse;
use crate::run::{Status, StepStatus};

/// What all names begin with.
pub(super) const PREFIX: &str = "thalweg";
/// The label that all have.
pub(super) const PIPELINE: &str = "pipeline";

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

const NONE: &[&str] = &[];
const SOURCE: &[&str] = &["source"];
const SPLIT: &[&str] = &["source", "topic", "partition"];
const STEP: &[&str] = &["step"];
const SINK: &[&str] = &["sink"];

/// All metrics, in the order in which they are shown.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "build",
        kind: Kind::Info,
        unit: Unit::None,
        labels: &["version"],
        help: "The version of Thalweg.",
        read: |_, samples| samples.add([env!("CARGO_PKG_VERSION")], 1_u64),
    },
    Family {
        name: "job",
        kind: Kind::Info,
        unit: Unit::None,
        labels: &["generation", "went_on_from"],
        help: "This run's number among those of its job, and the checkpoint that it went on from (0: none).",
        read: |from, samples| {
            let first = from.job.cuts.first().to_string();
            samples.add([&from.job.generation.to_string(), &first], 1_u64);
        },
    },
    Family {
        name: "source_read_rows",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: SPLIT,
        help: "Rows read from a split. Over a source's splits they are its accepted, late and rejected rows.",
        read: |from, samples| splits(from, samples, |gauge| Some(gauge.read().into())),
    },
    Family {
        name: "source_rows",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: &["source", "outcome"],
        help: "Rows read, by what became of them: accepted, late or rejected.",
        read: |from, samples| {
            for source in &from.job.sources {
                samples.add([&source.name, "accepted"], source.accepted());
                samples.add([&source.name, "late"], source.late());
                samples.add([&source.name, "rejected"], source.rejected());
            }
        },
    },
    Family {
        name: "source_read",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: SOURCE,
        help: "Keys, payloads and headers read.",
        read: |from, samples| sources(from, samples, |source| Some(source.bytes().into())),
    },
    Family {
        name: "source_lag_rows",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: SPLIT,
        help: "Rows of a split that are still to be read; of one without an end as of at most 15 s ago.",
        read: |from, samples| splits(from, samples, |gauge| gauge.lag_rows().map(Value::from)),
    },
    Family {
        name: "source_next_offset",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: SPLIT,
        help: "The offset after the last row read from a split.",
        read: |from, samples| {
            splits(from, samples, |gauge| gauge.next().map(|next| next.unsigned_abs().into()));
        },
    },
    Family {
        name: "source_watermark_timestamp",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: SPLIT,
        help: "The watermark of a split, seconds since the epoch; absent before its first row and after its last.",
        read: |from, samples| splits(from, samples, |gauge| seconds(gauge.watermark()).map(Value::from)),
    },
    Family {
        name: "source_newest_event_timestamp",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: SOURCE,
        help: "The newest event time accepted, seconds since the epoch; absent before the first row.",
        read: |from, samples| {
            sources(from, samples, |source| newest(source).and_then(seconds).map(Value::from));
        },
    },
    Family {
        name: "source_idle",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: SPLIT,
        help: "1: so long nothing has come of a split that it holds back the watermark no more.",
        read: |from, samples| splits(from, samples, |gauge| Some(u64::from(gauge.idle()).into())),
    },
    Family {
        name: "source_blocked",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: SOURCE,
        help: "For how long a worker may not read by now, since sinks or a checkpoint are not done; 0: all read.",
        read: |from, samples| {
            let time = |source: &SourceCounters| source.waiting().map_or(Duration::ZERO, |(_, time)| time);
            sources(from, samples, |source| Some(time(source).into()));
        },
    },
    Family {
        name: "source_waited",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: &["source", "reason"],
        help: "How long workers might not read, summed over them, waiting for sinks or for a checkpoint to be published.",
        read: |from, samples| {
            for source in &from.job.sources {
                samples.add([&source.name, "sinks"], source.waited(WaitsFor::Sinks));
                samples.add([&source.name, "checkpoint"], source.waited(WaitsFor::Checkpoint));
            }
        },
    },
    Family {
        name: "watermark_timestamp",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "The job's watermark, seconds since the epoch; absent before the first row and after the last.",
        read: |from, samples| samples.0.extend(watermark(from).map(|at| (Vec::new(), at.into()))),
    },
    Family {
        name: "watermark_behind_newest",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "How far the watermark is behind the newest event time accepted.",
        read: |from, samples| {
            let newest = from.job.sources.iter().filter_map(|source| newest(source)).max().and_then(seconds);
            let behind = newest.zip(watermark(from)).map(|(newest, watermark)| newest - watermark);
            samples.0.extend(behind.map(|behind| (Vec::new(), behind.into())));
        },
    },
    Family {
        name: "watermark_behind_clock",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "How far the watermark is behind the clock on the wall.",
        read: |from, samples| {
            let behind = watermark(from).map(|watermark| since_epoch(from.now) - watermark);
            samples.0.extend(behind.map(|behind| (Vec::new(), behind.into())));
        },
    },
    Family {
        name: "step_rows_in",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: STEP,
        help: "Rows that a step has taken.",
        read: |from, samples| steps(from, samples, |step| Some(step.counters.rows_in().into())),
    },
    Family {
        name: "step_rows_out",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: STEP,
        help: "Rows that a step has given out.",
        read: |from, samples| steps(from, samples, |step| Some(step.counters.rows_out().into())),
    },
    Family {
        name: "step_busy",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: STEP,
        help: "How long a step was at work, summed over the workers.",
        read: |from, samples| steps(from, samples, |step| Some(step.counters.busy().into())),
    },
    Family {
        name: "step_windows_fired",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: STEP,
        help: "Windows of a step that have fired.",
        read: |from, samples| {
            let fired = |step: &StepStatus| step.counters.windows.fired.load(Relaxed);
            steps(from, samples, |step| step.windowed.then(|| fired(step).into()));
        },
    },
    Family {
        name: "step_open_groups",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: STEP,
        help: "Groups (a key and a window, or of hopping ones a part of it) that are open in a step.",
        read: |from, samples| {
            let open = |step: &StepStatus| step.counters.windows.open.load(Relaxed);
            steps(from, samples, |step| step.windowed.then(|| open(step).into()));
        },
    },
    Family {
        name: "checkpoint_number",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: NONE,
        help: "The newest checkpoint; 0: there is none yet.",
        read: |from, samples| samples.add([], from.job.checkpoint()),
    },
    Family {
        name: "checkpoint_published_number",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: NONE,
        help: "The newest checkpoint that all sinks have published; 0: there is none yet.",
        read: |from, samples| samples.add([], from.job.cuts.published()),
    },
    Family {
        name: "checkpoint_age",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "How long ago this run made its newest checkpoint; absent before the first.",
        read: |from, samples| {
            let made_at_ms = from.job.checkpoints.made_at_ms.load(Relaxed);
            if made_at_ms > 0 {
                samples.add([], (since_epoch(from.now) - made_at_ms as f64 / 1e3).max(0.0));
            }
        },
    },
    Family {
        name: "checkpoint_duration",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "From the request to the manifest of the newest checkpoint.",
        read: |from, samples| {
            samples.add([], Duration::from_millis(from.job.checkpoints.took_ms.load(Relaxed)));
        },
    },
    Family {
        name: "checkpoint_written",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: NONE,
        help: "State written for the newest checkpoint.",
        read: |from, samples| samples.add([], from.job.checkpoints.bytes_written.load(Relaxed)),
    },
    Family {
        name: "checkpoint_held",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: NONE,
        help: "State that a restart would read.",
        read: |from, samples| samples.add([], from.job.checkpoints.bytes_held.load(Relaxed)),
    },
    Family {
        name: "checkpoints",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: NONE,
        help: "Checkpoints made by this run.",
        read: |from, samples| samples.add([], from.job.checkpoints.made.load(Relaxed)),
    },
    Family {
        name: "checkpoints_written",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: NONE,
        help: "State written for the checkpoints of this run.",
        read: |from, samples| samples.add([], from.job.checkpoints.bytes_written_in_all.load(Relaxed)),
    },
    Family {
        name: "sink_rows",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: SINK,
        help: "Rows that a sink has completed; readers see them once their checkpoint is published.",
        read: |from, samples| sinks(from, samples, |_, sink| Some(sink.rows().into())),
    },
    Family {
        name: "sink_files",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: SINK,
        help: "Files that a sink has completed.",
        read: |from, samples| sinks(from, samples, |_, sink| Some(sink.files().into())),
    },
    Family {
        name: "sink_written",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: SINK,
        help: "Bytes that a sink has completed.",
        read: |from, samples| sinks(from, samples, |_, sink| Some(sink.bytes().into())),
    },
    Family {
        name: "sink_busy",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: SINK,
        help: "How long a sink was taking rows and completing files, summed over the workers.",
        read: |from, samples| sinks(from, samples, |_, sink| Some(sink.busy.total().into())),
    },
    Family {
        name: "sink_commits",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: SINK,
        help: "Checkpoints that a sink has published.",
        read: |from, samples| {
            let commits = |name: &str| from.publications.commits.get(name).copied().unwrap_or(0);
            sinks(from, samples, |name, _| Some(commits(name).into()));
        },
    },
    Family {
        name: "sink_publishing",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: SINK,
        help: "How long a sink took to publish them.",
        read: |from, samples| {
            let time = |name: &str| from.publications.time.get(name).copied().unwrap_or_default();
            sinks(from, samples, |name, _| Some(time(name).into()));
        },
    },
    Family {
        name: "process_start_time",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: NONE,
        help: "When the process began to serve its metrics, seconds since the epoch.",
        read: |from, samples| samples.add([], since_epoch(from.started)),
    },
    Family {
        name: "process_cpu",
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: NONE,
        help: "CPU time of the process, user and system.",
        read: |from, samples| samples.add([], from.process.cpu),
    },
    Family {
        name: "process_resident_memory",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: NONE,
        help: "Memory that the process holds.",
        read: |from, samples| known(samples, from.process.resident_bytes),
    },
    Family {
        name: "process_peak_memory",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: NONE,
        help: "The most memory that the process has held.",
        read: |from, samples| known(samples, from.process.peak_bytes),
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: NONE,
        help: "File handles that the process has open.",
        read: |from, samples| known(samples, from.process.open_files),
    },
    Family {
        name: "process_threads",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: NONE,
        help: "Threads of the process.",
        read: |from, samples| known(samples, from.process.threads),
    },
];

fn sources(from: &Reading<'_>, samples: &mut Samples, value: impl Fn(&SourceCounters) -> Option<Value>) {
    for source in &from.job.sources {
        if let Some(value) = value(source) {
            samples.add([&source.name], value);
        }
    }
}

// Of the splits that this process reads.
fn splits(from: &Reading<'_>, samples: &mut Samples, value: impl Fn(&SplitGauge) -> Option<Value>) {
    for source in &from.job.sources {
        for gauge in source.splits().iter().filter(|gauge| gauge.next().is_some()) {
            if let Some(value) = value(gauge) {
                samples.add([&source.name, &gauge.split.topic, &gauge.split.partition.to_string()], value);
            }
        }
    }
}

fn steps(from: &Reading<'_>, samples: &mut Samples, value: impl Fn(&StepStatus) -> Option<Value>) {
    for step in &from.job.steps {
        if let Some(value) = value(step) {
            samples.add([&step.name], value);
        }
    }
}

fn sinks(from: &Reading<'_>, samples: &mut Samples, value: impl Fn(&str, &SinkCounters) -> Option<Value>) {
    for (name, sink) in &from.job.sinks {
        if let Some(value) = value(name, sink) {
            samples.add([name], value);
        }
    }
}

fn known(samples: &mut Samples, value: Option<u64>) {
    value.into_iter().for_each(|value| samples.add([], value));
}

fn newest(source: &SourceCounters) -> Option<EventTime> {
    source.splits().iter().filter_map(SplitGauge::highest).max()
}

fn watermark(from: &Reading<'_>) -> Option<f64> {
    seconds(from.job.cuts.watermark())
}

// Before the first row and after the last one there is no time to tell.
fn seconds(time: EventTime) -> Option<f64> {
    (time != BEGINNING && time != END).then_some(time as f64 / 1e6)
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
