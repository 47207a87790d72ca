//! `thalweg archive record` against the real broker.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg::plan::Plan;
use thalweg::run::RunOptions;
use thalweg_kafka::{
    TransactionalConfig, TransactionalWriter, WriteRecord, create_topic, delete_records, delete_topic,
    grow_topic,
};

use super::{
    Beside, Row, archived, assert_same, done, files, fill, in_topic, left_overs, ran, refused, said,
};
use crate::binary::LIMIT;
use crate::kafka::{broker, new_topic};
use crate::patience::{holds_within, wait_until};
use crate::support::{assert_same_rows, job, plan, rows};

fn raw(brokers: &str, topic: &str) -> Plan {
    let text = format!(
        "pipeline: raw
sources:
  records:
    kafka: {{ topic: {topic}, brokers: \"{brokers}\", end: latest }}
    format: raw
steps:
  all: {{ from: records, select: [_partition, _offset, _timestamp, _key, _headers, value] }}
sinks:
  all: {{ from: all, parquet: {{}} }}
"
    );
    plan(&text, Path::new(""))
}

#[test]
fn a_recorder_that_is_killed_goes_on_and_the_archive_is_the_topic() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "killed", 3);
    fill(brokers, &topic, 3, 0..60_000);
    // Transactions leave offsets without records; one that is aborted leaves none at all.
    let config = TransactionalConfig {
        name: "test".into(),
        id: topic.clone(),
        brokers: brokers.into(),
        topic: topic.clone(),
        properties: Default::default(),
    };
    let mut writer = TransactionalWriter::open(config).expect("a writer");
    for number in 0..4_u64 {
        writer.begin().expect("a transaction");
        for partition in 0..3 {
            let value = number.to_string();
            let (topic, value) = (topic.as_str(), Some(value.as_bytes()));
            let record = WriteRecord { topic, partition, timestamp_ms: None, key: None, value, headers: &[] };
            writer.write(record).expect("a record is taken");
        }
        // Even those of a transaction that comes to nothing take offsets, once they are sent.
        writer.flush().expect("the records are acknowledged");
        if number % 2 == 0 {
            writer.commit(number, "").expect("a commit")
        } else {
            writer.abort().expect("an abort")
        }
    }
    drop(writer);
    fill(brokers, &topic, 3, 60_000..120_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    // Small files, and a reader that fetches little at a time: there is something to kill.
    let record = [
        "record",
        "--topic",
        &topic,
        "--brokers",
        brokers,
        "--archives",
        &archives,
        "--file-size",
        "30KiB",
        "--property",
        "fetch.message.max.bytes=20000",
        "--property",
        "queued.max.messages.kbytes=40",
    ];
    let mut kills = 0;
    for _ in 0..6 {
        let before = files(&archive).len();
        let mut recorder = Beside::start(&record);
        holds_within(LIMIT, || files(&archive).len() > before + 3 || recorder.ended().is_some());
        if recorder.ended().is_some() {
            break;
        }
        recorder.kill();
        kills += 1;
    }
    assert!(kills >= 3, "killed {kills} times");
    // One that was being written, whether there is one by now or not.
    fs::write(archive.join(".part-00000-00000000000000000007.parquet.tmp"), "half of").expect("a file");
    assert!(left_overs(&archive) > 0);
    // What is there is a beginning of the topic, and a job reads it.
    let expected = in_topic(brokers, &topic);
    let so_far = archived(&archive);
    assert!(!so_far.is_empty() && so_far.len() < expected.len(), "{} rows", so_far.len());
    assert!(so_far.iter().all(|row| expected.binary_search(row).is_ok()));

    let summary = done(&[&record[..], &["--format", "json"]].concat());
    let summary: Json = serde_json::from_str(&summary).expect("a summary");
    assert_eq!((&summary["resumed"], &summary["stopped"]), (&Json::Bool(true), &Json::Bool(false)));
    assert_eq!(left_overs(&archive), 0);
    assert_same("killed and gone on with", &archived(&archive), &expected);
    assert!(done(&record).contains("nothing new"));
    fill(brokers, &topic, 3, 120_000..121_000);
    assert!(done(&record).starts_with("1,000 records"));
    assert_same("once more", &archived(&archive), &in_topic(brokers, &topic));

    // A job over the archive gives the rows of a job over the topic.
    let plan = raw(brokers, &topic);
    let outputs = [None, Some(folder.path().to_owned())].map(|archives| {
        let output = tempfile::tempdir().expect("a temporary folder");
        let summary = job(&plan, &RunOptions { archives, ..RunOptions::new(2, output.path()) });
        let source = &summary.sources[0];
        (rows(output.path(), "all"), [source.read, source.accepted, source.rejected])
    });
    assert_eq!(outputs[0].1, outputs[1].1);
    assert_same_rows("jobs", &outputs[0].0, &outputs[1].0);

    // The footers say it all.
    let info: Json =
        serde_json::from_str(&done(&["info", &archive.display().to_string(), "--format", "json"]))
            .expect("info");
    let all = in_topic(brokers, &topic);
    assert_eq!(info["rows"].as_u64(), Some(all.len() as u64));
    for split in info["splits"].as_array().expect("splits") {
        let of_it: Vec<&Row> =
            all.iter().filter(|row| i64::from(row.0) == split["partition"].as_i64().unwrap_or(-1)).collect();
        let offsets = [of_it[0].1, of_it[of_it.len() - 1].1];
        assert_eq!([&split["first_offset"], &split["last_offset"]], offsets.map(Json::from).each_ref());
        assert_eq!(split["rows"].as_u64(), Some(of_it.len() as u64));
        // Two commits, and two aborted records with the aborts.
        assert_eq!(split["missing"].as_u64(), Some(6), "{split}");
    }
    let verified = done(&["verify", &archive.display().to_string()]);
    assert!(verified.contains(": sound;"), "{verified}");
    assert!(done(&["ls", &archives]).contains(&topic));
}

#[test]
fn following_goes_on_until_it_is_told_to_stop_and_finds_new_partitions() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "followed", 2);
    fill(brokers, &topic, 2, 0..1000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    let record = ["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives];
    let follow =
        [&record[..], &["--follow", "--file-interval", "100ms", "--look-for-partitions", "200ms"]].concat();
    let mut recorder = Beside::start(&follow);
    let recorded = |rows: usize| files(&archive).len() > 1 && archived(&archive).len() == rows;
    wait_until("the first thousand is recorded", || recorded(1000));
    // One at a time.
    refused(&record, &["another command is writing to", &topic]);
    fill(brokers, &topic, 2, 1000..1500);
    wait_until("what comes is recorded", || recorded(1500));
    grow_topic(brokers, &topic, 4).expect("more partitions");
    fill(brokers, &topic, 4, 1500..2000);
    wait_until("new partitions are recorded", || recorded(2000));
    fill(brokers, &topic, 4, 2000..2100);
    recorder.signal(Signal::SIGINT);
    assert!(recorder.end().success(), "that is how it ends");
    done(&record);
    assert_same("followed", &archived(&archive), &in_topic(brokers, &topic));
    // The lock goes with its process, however that ends.
    let noted =
        || fs::metadata(archive.join(".archive/recording.json")).and_then(|book| book.modified()).ok();
    let before = noted();
    let mut recorder = Beside::start(&follow);
    wait_until("it holds the archive", || noted() != before);
    recorder.kill();
    assert!(done(&record).contains("nothing new"));
}

#[test]
fn from_and_to_bound_what_is_recorded() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "bounded", 2);
    fill(brokers, &topic, 2, 0..1000);
    let all = in_topic(brokers, &topic);
    let recorded = |bounds: &[&str]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let archives = folder.path().display().to_string();
        let record = ["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives];
        done(&[&record[..], bounds].concat());
        let archive = folder.path().join(&topic);
        if files(&archive).is_empty() { Vec::new() } else { archived(&archive) }
    };
    let between = |first: [i64; 2], end: [i64; 2]| {
        let within = |row: &&Row| (first[row.0 as usize]..end[row.0 as usize]).contains(&row.1);
        all.iter().filter(within).cloned().collect::<Vec<Row>>()
    };
    assert_same("all", &recorded(&[]), &all);
    let offsets = ["--from", "0:100,1:7", "--to", "0:200,1:499"];
    assert_same("offsets", &recorded(&offsets), &between([100, 7], [200, 499]));
    let times = ["--from", "2026-03-02T12:00:03Z", "--to", "2026-03-02T12:00:05Z"];
    let found = recorded(&times);
    // Times go to and fro by up to 18 ms.
    assert!((195..=205).contains(&found.len()), "{} rows of two seconds", found.len());
    assert!(found.iter().all(|row| all.binary_search(row).is_ok()));
    assert_same("latest", &recorded(&["--from", "latest"]), &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().join("none").display().to_string();
    let record = ["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives];
    refused(&[&record[..], &["--from", times[3], "--to", times[1]]].concat(), &["--to lies before --from"]);
    refused(&[&record[..], &["--from", "0:5"]].concat(), &["has a partition 1", "name one from 0 to 500"]);
    let wrong = ["record", "--topic", &topic, "--brokers", brokers, "--archives", "x", "--from", "soon"];
    let output = ran(&wrong);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("write earliest, latest, a time"), "{}", said(&output));
}

#[test]
fn a_topic_that_is_another_one_and_records_that_are_gone_are_told() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "anew", 2);
    fill(brokers, &topic, 2, 0..1000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    let record = ["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives];
    done(&record);
    let kept = archived(&archive);

    // Deleted behind what is recorded: nothing is lost, and nobody is bothered.
    fill(brokers, &topic, 2, 1000..1200);
    delete_records(brokers, &topic, 0, 480).expect("records are deleted");
    done(&record);
    assert_eq!(archived(&archive).len(), 1200);
    // Deleted before it was recorded.
    fill(brokers, &topic, 2, 1200..2000);
    delete_records(brokers, &topic, 1, 700).expect("records are deleted");
    refused(&record, &["partition 1: offsets 600 to 699 were deleted", "--skip-lost", "retention.ms"]);
    assert_eq!(archived(&archive).len(), 1200);
    let skipped = done(&[&record[..], &["--skip-lost"]].concat());
    assert!(skipped.contains("partition 1: offsets 600 to 699 were deleted"), "{skipped}");
    assert_eq!(archived(&archive).len(), 1900);
    let info = done(&["info", &archive.display().to_string()]);
    assert!(info.contains("partition 1: no records from offset 600 to 699"), "{info}");

    // Skipped twice, and nothing recorded in between: each lost offset counts once.
    fill(brokers, &topic, 2, 2000..2200);
    delete_records(brokers, &topic, 1, 1050).expect("records are deleted");
    let skip = [&record[..], &["--skip-lost", "--format", "json", "--to", "2026-03-02T12:00:00Z"]].concat();
    done(&skip);
    delete_records(brokers, &topic, 1, 1080).expect("records are deleted");
    done(&skip);
    let info: Json =
        serde_json::from_str(&done(&["info", &archive.display().to_string(), "--format", "json"]))
            .expect("what it holds");
    let lost: Vec<_> = info["lost"].as_array().expect("a list").iter().map(|lost| &lost["to"]).collect();
    assert_eq!(lost, [699, 1079], "{info}");
    assert_eq!(archived(&archive).len(), 1900);

    // Made anew: shorter than what was recorded, and longer.
    delete_topic(brokers, &topic).expect("it can be deleted");
    create_topic(brokers, &topic, 2, &[("retention.ms", "-1")]).expect("it can be made");
    fill(brokers, &topic, 2, 5000..5100);
    refused(&record, &["is not the one that", "made anew", "into another folder"]);
    fill(brokers, &topic, 2, 5100..8000);
    refused(&record, &["has another record at offset 999", "made anew", "into another folder"]);
    assert_eq!(archived(&archive).len(), 1900);
    assert!(kept.iter().all(|row| archived(&archive).binary_search(row).is_ok()));

    // Another topic, or an archive that nobody recorded.
    let other = new_topic(brokers, "other", 1);
    fs::rename(&archive, folder.path().join(&other)).expect("a folder");
    let another = ["record", "--topic", &other, "--brokers", brokers, "--archives", &archives];
    refused(&another, &["is a recording of topic", "a folder of its own"]);
    fs::remove_dir_all(folder.path().join(&other).join(".archive")).expect("books");
    refused(&another, &["was not recorded by this command"]);
    let wrong = format!("{topic}x");
    refused(
        &["record", "--topic", &wrong, "--brokers", brokers, "--archives", &archives],
        &["does not exist", "did you mean"],
    );
    assert!(!folder.path().join(&wrong).exists(), "a wrong name leaves a folder behind");
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn several_topics_are_recorded_at_once_each_into_a_folder_of_its_own() {
    let brokers = broker().brokers();
    let topics =
        [("wide", 3), ("narrow", 1), ("empty", 2)].map(|(name, parts)| new_topic(brokers, name, parts));
    let [wide, narrow, empty] = topics.each_ref().map(String::as_str);
    fill(brokers, wide, 3, 0..20_000);
    fill(brokers, narrow, 1, 0..500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let into = ["--brokers", brokers, "--archives", &archives];
    let record = |topics: &[&str], more: &[&str]| -> Vec<String> {
        let topics = topics.iter().flat_map(|topic| ["--topic", topic]);
        ["record"]
            .into_iter()
            .chain(topics)
            .chain(into)
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect()
    };
    let all = |more: &[&str]| record(&[wide, narrow, empty], more);
    let archive = |topic: &str| folder.path().join(topic);
    let is_recorded = || {
        for topic in [wide, narrow] {
            assert_same(topic, &archived(&archive(topic)), &in_topic(brokers, topic));
        }
    };

    let summaries: Vec<Json> =
        serde_json::from_str(&done(&borrowed(&all(&["--format", "json"])))).expect("a summary for each");
    let told = |field: &str| summaries.iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!(told("topic"), [wide, narrow, empty]);
    assert_eq!(told("records"), [20_000, 500, 0]);
    is_recorded();
    assert!(files(&archive(empty)).is_empty());
    // It goes on with each where that was.
    fill(brokers, narrow, 1, 500..600);
    let said = done(&borrowed(&all(&[])));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("nothing new: ") && lines[0].ends_with(wide), "{said}");
    assert!(lines[1].starts_with("100 records of "), "{said}");
    is_recorded();
    let listed = done(&["ls", &archives]);
    assert!(listed.contains(wide) && listed.contains(narrow) && !listed.contains(empty), "{listed}");

    let mut recorder = Beside::start(&borrowed(&all(&["--follow", "--file-interval", "100ms"])));
    fill(brokers, wide, 3, 20_000..21_000);
    fill(brokers, empty, 2, 0..50);
    let recorded =
        |topic, rows: usize| !files(&archive(topic)).is_empty() && archived(&archive(topic)).len() == rows;
    wait_until("what comes into either is recorded", || recorded(wide, 21_000) && recorded(empty, 50));
    recorder.signal(Signal::SIGINT);
    assert!(recorder.end().success(), "that is how it ends");
    is_recorded();

    // One that can't be recorded ends it; what is there of the others is sound, and the next goes on.
    fill(brokers, wide, 3, 21_000..40_000);
    let missing = format!("{wide}x");
    refused(&borrowed(&record(&[wide, &missing], &[])), &[&missing, "does not exist"]);
    assert!(!archive(&missing).exists());
    let expected = in_topic(brokers, wide);
    assert!(archived(&archive(wide)).iter().all(|row| expected.binary_search(row).is_ok()));
    done(&borrowed(&all(&[])));
    is_recorded();

    refused(&borrowed(&record(&[wide, narrow, wide], &[])), &["is given twice"]);
    let offsets = record(&[wide, narrow], &["--from", "0:5"]);
    refused(&borrowed(&offsets), &["--from names offsets", "a command of its own"]);
}
