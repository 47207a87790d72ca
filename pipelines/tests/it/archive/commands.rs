//! The commands as people type them: the examples of their help, results as JSON, and what they refuse.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use nix::sys::signal::Signal;
use parquet::arrow::ArrowWriter;
use serde_json::Value as Json;

use super::{Beside, archived, done, files, fill, in_topic, ran, refused, said};
use crate::kafka::{broker, new_topic};
use crate::patience::wait_until;
use crate::support::query;

/// What the examples import.
fn write_inputs(folder: &Path) {
    fs::write(folder.join("events.jsonl"), "{\"at\":1,\"user\":{\"id\":\"a\"}}\n{\"at\":2}\n")
        .expect("a file");
    fs::write(folder.join("2026-05-01.csv"), "created,customer\n1777593600,c1\nsoon,c2\n").expect("a file");
    fs::write(folder.join("2026-05-02.csv"), "created,customer\n1777680000,c3\n").expect("a file");
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("pickup_datetime", times)]).expect("a batch");
    let file = fs::File::create(folder.join("trips.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a file");
    writer.close().expect("a file");
}

#[test]
fn the_examples_of_the_help_work_as_they_stand() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "examples", 3);
    fill(brokers, &topic, 3, 0..3000);
    let other = new_topic(brokers, "examples", 1);
    fill(brokers, &other, 1, 0..30);
    let recorded = tempfile::tempdir().expect("a temporary folder");
    let archives = recorded.path().display().to_string();
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let mut ran = 0;
    for what in ["record", "import", "ls", "info", "verify", "trim", "to-kafka"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if !["record", "import"].contains(&what) {
            let archive = folder.path().join("archives").join(&topic);
            fs::create_dir_all(&archive).expect("a folder");
            for file in files(&recorded.path().join(&topic)) {
                fs::copy(&file, archive.join(file.file_name().expect("a name"))).expect("a file");
            }
        }
        write_inputs(folder.path());
        let help = done(&[what, "--help"]);
        let (_, examples) =
            help.split_once("Examples:\n").unwrap_or_else(|| panic!("{what} has no examples"));
        let script = examples.replace("\\\n", " ").replace("localhost:9092", brokers);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let arguments = line.strip_prefix("thalweg ").unwrap_or_else(|| panic!("no example: {line}"));
            let mut arguments = arguments.replace("archives/events", &format!("archives/{topic}"));
            match what {
                "record" => {
                    arguments = arguments
                        .replace("--topic events", &format!("--topic {topic}"))
                        .replace("--topic orders", &format!("--topic {other}"));
                }
                "to-kafka" => {
                    arguments = arguments.replace("--topic replayed", &format!("--topic {topic}-replayed"))
                }
                _ => {}
            }
            // It goes on until Ctrl-C: another test is about that.
            if arguments.contains("--follow") {
                continue;
            }
            let line = format!("\"{}\" {arguments}", env!("CARGO_BIN_EXE_thalweg"));
            let mut bash = Command::new("bash");
            let output = bash.args(["-c", &line]).current_dir(folder.path()).output().expect("bash");
            assert!(output.status.success(), "{line}: {}", said(&output));
            ran += 1;
        }
        if what == "import" {
            let archives = folder.path().join("archives");
            let rows = |table: &str| {
                query(&archives, &format!("select count(*) as n from {table}"))[0]["n"].as_u64()
            };
            assert_eq!(["events", "orders", "trips"].map(rows), [Some(2), Some(2), Some(3)]);
            let bad = fs::read_to_string(folder.path().join("bad.jsonl")).expect("rejects");
            assert!(bad.contains("2026-05-01.csv") && bad.contains("\"line\":3"), "{bad}");
        }
    }
    assert_eq!(ran, 19);
}

#[test]
fn what_is_old_goes_while_a_recorder_goes_on() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "trimmed", 2);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    let path = archive.display().to_string();
    let record = ["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives];
    let follow = [&record[..], &["--follow", "--file-interval", "50ms"]].concat();
    let mut recorder = Beside::start(&follow);
    for part in 0..4 {
        fill(brokers, &topic, 2, part * 1000..part * 1000 + 1000);
        let all = usize::try_from(part * 1000 + 1000).expect("a number");
        wait_until("it is recorded", || !files(&archive).is_empty() && archived(&archive).len() == all);
    }
    // The third thousand begins 20 s after noon.
    let trim = ["trim", &path, "--before", "2026-03-02T12:00:25Z", "--exact", "--format", "json"];
    let looked: Json = serde_json::from_str(&done(&[&trim[..], &["--dry-run"]].concat())).expect("a summary");
    assert!(looked["files"].as_u64() >= Some(2) && archived(&archive).len() == 4000, "{looked}");
    let trimmed: Json = serde_json::from_str(&done(&trim)).expect("a summary");
    assert!(trimmed["files"].as_u64() >= Some(2) && trimmed["rewritten"].as_u64() <= Some(2), "{trimmed}");
    fill(brokers, &topic, 2, 4000..4500);
    let expected: Vec<_> = in_topic(brokers, &topic);
    let last = |rows: &[super::Row]| rows.iter().map(|row| row.1).max();
    wait_until("the recorder goes on", || last(&archived(&archive)) == last(&expected));
    recorder.signal(Signal::SIGINT);
    assert!(recorder.end().success());
    done(&record);
    // What is left is an end of each partition, from the first record on that is not older.
    let (left, boundary) = (archived(&archive), "Some(177245282500");
    for partition in [0, 1] {
        let of_it: Vec<_> = left.iter().filter(|row| row.0 == partition).collect();
        let all: Vec<_> = expected.iter().filter(|row| row.0 == partition).collect();
        assert!(all.ends_with(&of_it), "partition {partition} is no end of the topic");
        assert!(
            of_it[0].2.as_str() >= boundary
                && all[all.len() - of_it.len() - 1].2.as_str() < "Some(17724528251",
            "{:?}",
            of_it[0]
        );
    }
    assert!(done(&["verify", &path]).contains(": sound;"));
    let output = ran(&["trim", &path]);
    assert!(output.status.code() == Some(2) && said(&output).contains("--keep"), "{}", said(&output));
    refused(&["trim", "nowhere", "--keep", "1d"], &["nowhere does not exist"]);
}
