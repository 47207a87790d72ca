//! What comes in: sources, their splits, and the watermark.

use std::time::Duration;

use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_operators::source::{SourceCounters, SplitGauge, WaitsFor};

use super::{Family, Kind, NONE, Reading, Samples, Unit, Value, since_epoch};

const SOURCE: &[&str] = &["source"];
const SPLIT: &[&str] = &["source", "topic", "partition"];

/// In the order in which they are shown.
pub(super) const FAMILIES: &[Family] = &[
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
        help: "Keys, payloads and headers read; of decoded columns, their bytes in memory.",
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
        help: "How long workers might not read, summed over them, waiting for sinks, for a checkpoint to be published, or for others to come as far in event time.",
        read: |from, samples| {
            for source in &from.job.sources {
                samples.add([&source.name, "sinks"], source.waited(WaitsFor::Sinks));
                samples.add([&source.name, "checkpoint"], source.waited(WaitsFor::Checkpoint));
                samples.add([&source.name, "others"], source.waited(WaitsFor::Others));
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
