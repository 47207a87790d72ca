//! Who does it: the job's run, and its process.

use super::{Family, Kind, NONE, Samples, Unit, since_epoch};

/// What says which run it is; shown first.
pub(super) const INFO: &[Family] = &[
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
];

/// In the order in which they are shown.
pub(super) const FAMILIES: &[Family] = &[
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

fn known(samples: &mut Samples, value: Option<u64>) {
    value.into_iter().for_each(|value| samples.add([], value));
}
