//! What is done with it: steps, checkpoints, sinks.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use thalweg_operators::sink::SinkCounters;

use super::{Family, Kind, NONE, Reading, Samples, Unit, Value, since_epoch};
use crate::run::StepStatus;

const STEP: &[&str] = &["step"];
const SINK: &[&str] = &["sink"];

/// In the order in which they are shown.
pub(super) const FAMILIES: &[Family] = &[
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
        name: "step_series",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: STEP,
        help: "Series (keys) of which a step's model knows something.",
        read: |from, samples| {
            let keys = |step: &StepStatus| step.counters.series.keys.load(Relaxed);
            steps(from, samples, |step| step.has_model.then(|| keys(step).into()));
        },
    },
    Family {
        name: "step_waiting_rows",
        kind: Kind::Gauge,
        unit: Unit::None,
        labels: STEP,
        help: "Rows that wait for the watermark before a step's model sees them.",
        read: |from, samples| {
            let held = |step: &StepStatus| step.counters.series.held.load(Relaxed);
            steps(from, samples, |step| step.has_model.then(|| held(step).into()));
        },
    },
    Family {
        name: "step_failed_rows",
        kind: Kind::Counter,
        unit: Unit::None,
        labels: STEP,
        help: "Rows of which a step's model said nothing, since it failed or took too long.",
        read: |from, samples| {
            let failed = |step: &StepStatus| step.counters.series.failed.load(Relaxed);
            steps(from, samples, |step| step.has_model.then(|| failed(step).into()));
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
];

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
