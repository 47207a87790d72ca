//! The jobs: J1 and J2 of the benchmarks, and one from Kafka to Kafka.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::binary::{Run, account, committed_records, sink_rows};
use crate::kafka::new_topic;
use crate::support::assert_same_rows;

/// A pipeline over the events, and where its rows go.
pub(super) struct Job {
    pub(super) name: &'static str,
    /// Whether it ends where its topic ends.
    pub(super) bounded: bool,
    text: &'static str,
    /// What its sinks are made from: the sink's name, and the rest.
    sinks: &'static [(&'static str, &'static str)],
}

const BENCH_J1: &str = include_str!("../../../../benches/pipelines/j1.yaml");
const BENCH_J2: &str = include_str!("../../../../benches/pipelines/j2.yaml");

/// Tumbling windows.
pub(super) const J1: Job = Job {
    name: "j1",
    bounded: false,
    text: BENCH_J1,
    sinks: &[
        (PARQUET, "from: per_model, parquet: { partition_by: [window_date] }"),
        (DELTA, "from: per_model, delta: {}"),
        (TOPIC, "from: per_model, kafka: { topic: RESULT, brokers: \"BROKERS\", key: [provider, model] }"),
    ],
};

/// Tumbling windows, into folders alone: there all can be thrown away.
pub(super) const J1_FOLDERS: Job = Job {
    name: "j1-folders",
    sinks: &[
        (PARQUET, "from: per_model, parquet: { partition_by: [window_date] }"),
        (DELTA, "from: per_model, delta: {}"),
    ],
    ..J1
};

/// Sessions.
pub(super) const J2: Job = Job {
    name: "j2",
    bounded: true,
    text: BENCH_J2,
    sinks: &[
        (PARQUET, "from: per_session, parquet: {}"),
        (DELTA, "from: per_session, delta: { partition_by: [window_date] }"),
        (TOPIC, "from: per_session, kafka: { topic: RESULT, brokers: \"BROKERS\", key: [session_id] }"),
    ],
};

/// From Kafka to Kafka, row by row.
pub(super) const FORWARD: Job = Job {
    name: "forward",
    bounded: true,
    text: BENCH_J1,
    sinks: &[(TOPIC, "from: errors, kafka: { topic: RESULT, brokers: \"BROKERS\", key: [request_id] }")],
};

const PARQUET: &str = "result";
const DELTA: &str = "lake";
const TOPIC: &str = "sent";
const STANDING: [&str; 2] = ["_late", "_rejected"];
const RESULT_PARTITIONS: i32 = 3;

const STATELESS: &str = "steps:
  errors:
    from: calls
    where: prompt_tokens % 4 = 0
    select: [request_id, session_id, started_at, status, { tokens: prompt_tokens + completion_tokens }]
";

/// A job that can be run.
pub(super) struct Prepared {
    pub(super) run: Run,
    sinks: Vec<&'static str>,
    brokers: String,
    /// Where the Kafka sink writes.
    topic: String,
}

impl Job {
    /// Writes the pipeline, and makes the topic of its sink.
    pub(super) fn prepare(&self, folder: &Path, name: &str, brokers: &str, events: &str) -> Prepared {
        let topic = new_topic(brokers, &format!("result-{name}"), RESULT_PARTITIONS);
        let pipeline = folder.join(format!("{name}.yaml"));
        fs::write(&pipeline, self.spec(brokers, &topic)).expect("a pipeline");
        let run = Run {
            environment: vec![("TOPIC", events.into()), ("KAFKA_BROKERS", brokers.into())],
            ..Run::new(&pipeline, &folder.join(name))
        };
        let sinks = self.sinks.iter().map(|(sink, _)| *sink).collect();
        Prepared { run, sinks, brokers: brokers.to_owned(), topic }
    }

    fn spec(&self, brokers: &str, topic: &str) -> String {
        let (steps_at, sinks_at) =
            (self.text.find("steps:").expect("steps"), self.text.find("sinks:").expect("sinks"));
        let steps = if self.name == FORWARD.name { STATELESS } else { &self.text[steps_at..sinks_at] };
        // Some events come later than that.
        let sources = self.text[..steps_at].replace("lateness: 2s", "lateness: 1800ms");
        assert_ne!(sources, self.text[..steps_at]);
        let sources = if self.bounded { sources } else { sources.replace(", end: latest", "") };
        let sinks: String =
            self.sinks.iter().map(|(name, rest)| format!("  {name}: {{ {rest} }}\n")).collect();
        let sinks = sinks.replace("RESULT", topic).replace("BROKERS", brokers);
        format!("{sources}{steps}sinks:\n{sinks}checkpoint: {{ interval: 100ms }}\n")
    }
}

/// All that a job has written.
pub(super) struct Outcome {
    rows: BTreeMap<&'static str, Vec<String>>,
    account: [u64; 4],
}

impl Outcome {
    pub(super) fn of(job: &Prepared) -> Outcome {
        let folders = job.sinks.iter().filter(|sink| **sink != TOPIC).chain(&STANDING);
        let mut rows: BTreeMap<_, _> =
            folders.map(|sink| (*sink, sink_rows(&job.run.output, sink))).collect();
        if job.sinks.contains(&TOPIC) {
            rows.insert(TOPIC, committed_records(&job.brokers, &job.topic));
        }
        Outcome { rows, account: account(&job.run.output) }
    }

    /// Fails where the two differ, or hold nothing.
    pub(super) fn must_equal(&self, undisturbed: &Outcome, events: u64, what: &str) {
        let [read, accepted, late, rejected] = undisturbed.account;
        assert!(
            read == events && accepted > 0 && late > 0 && rejected > 0,
            "{what}: {:?}",
            undisturbed.account
        );
        assert_eq!(self.account, undisturbed.account, "{what}: read, accepted, late, rejected");
        for (sink, rows) in &undisturbed.rows {
            assert!(!rows.is_empty(), "{what}: nothing to compare in {sink}");
            assert_same_rows(&format!("{what}: {sink}"), &self.rows[sink], rows);
        }
        assert_eq!(self.rows["_late"].len() as u64, late, "{what}");
        assert_eq!(self.rows["_rejected"].len() as u64, rejected, "{what}");
    }
}
