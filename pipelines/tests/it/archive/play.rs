//! `thalweg archive to-kafka`, and there and back again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg_kafka::{TransactionalConfig, create_topic, delete_topic};

use super::{Beside, archived, command, done, fill, in_topic, ran, refused, said, settled, without_offsets};
use crate::binary::LIMIT;
use crate::kafka::{broker, new_topic};
use crate::patience::{PATIENCE, holds_within, wait_until};

#[test]
fn there_and_back_again_gives_the_same_records() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "there", 3);
    fill(brokers, &topic, 3, 0..20_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);

    let back = format!("{topic}-back");
    let path = archive.display().to_string();
    let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers, "--create-topic"];
    assert!(done(&play).starts_with("20,000 records"));
    assert!(done(&play).contains("nothing to send: all 20,000 records"));
    // The brokers know without what is noted beside the archive.
    fs::remove_dir_all(archive.join(".archive")).expect("books");
    assert!(done(&play).contains("nothing to send"));

    settled(brokers, &back);
    done(&["record", "--topic", &back, "--brokers", brokers, "--archives", &archives]);
    let (original, again) = (archived(&archive), archived(&folder.path().join(&back)));
    assert_eq!(original.len(), 20_000);
    assert!(without_offsets(&original) == without_offsets(&again), "the records differ");
    assert!(original.iter().any(|row| row.2.contains("trace") && row.2.contains(" None [")), "no tombstones");

    // Under another name all is sent once more.
    done(&[&play[..], &["--name", &format!("{topic}-twice")]].concat());
    assert_eq!(settled(brokers, &back).len(), 40_000);

    let narrow = new_topic(brokers, "narrow", 2);
    refused(
        &["to-kafka", &path, "--topic", &narrow, "--brokers", brokers],
        &["has 2 partitions, and the archive 3", "--create-topic"],
    );
    refused(
        &["to-kafka", &archives, "--topic", &narrow, "--brokers", brokers],
        &["holds archives, and is none itself"],
    );
    refused(&["to-kafka", "nowhere", "--topic", &narrow, "--brokers", brokers], &["nowhere does not exist"]);
}

#[test]
fn playing_that_is_killed_and_gone_on_with_repeats_nothing() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "played", 3);
    // Two seconds of records, all in all.
    fill(brokers, &topic, 3, 0..400);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let back = new_topic(brokers, "back", 3);
    let path = archive.display().to_string();
    let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers];
    let slowly = [&play[..], &["--speed", "0.5x"]].concat();
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let before = in_topic(brokers, &back).len();
        let mut player = Beside::start(&slowly);
        wait_until("something is committed", || in_topic(brokers, &back).len() > before);
        assert!(player.ended().is_none(), "all is sent before it could be stopped");
        player.signal(signal);
        let status = player.end();
        assert!(signal == Signal::SIGKILL || status.code() == Some(130), "{status}");
    }
    // What the killed one left open is aborted by the next, which was stopped in good order.
    let so_far = settled(brokers, &back).len();
    assert!((1..400).contains(&so_far), "{so_far} records");
    let summary: Json =
        serde_json::from_str(&done(&[&play[..], &["--format", "json"]].concat())).expect("a summary");
    assert_eq!(summary["sent_before"].as_u64(), Some(so_far as u64));
    let sent = settled(brokers, &back);
    assert!(without_offsets(&sent) == without_offsets(&archived(&archive)), "the records differ");
}

#[test]
fn a_crash_at_any_step_of_a_transaction_loses_no_record_and_repeats_none() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "steps", 2);
    fill(brokers, &topic, 2, 0..2000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let recorded = archived(&archive);
    let path = archive.display().to_string();
    for point in ["kafka::begun", "kafka::written", "kafka::before_commit", "kafka::committed"] {
        let back = new_topic(brokers, "back", 2);
        let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers];
        let crashing = command(&play).env("FAILPOINTS", format!("{point}=return")).output();
        let crashed = crashing.expect("the binary starts");
        assert_eq!(crashed.status.signal(), Some(Signal::SIGABRT as i32), "{point}: {}", said(&crashed));
        let again = done(&play);
        assert_eq!(again.contains("nothing to send"), point == "kafka::committed", "{point}: {again}");
        assert!(without_offsets(&settled(brokers, &back)) == without_offsets(&recorded), "{point}");
    }
}

#[test]
fn a_topic_that_was_made_anew_is_told() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "source", 2);
    fill(brokers, &topic, 2, 0..1000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let back = new_topic(brokers, "anew", 2);
    let path = archive.display().to_string();
    let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers, "--name", &back];
    assert!(done(&play).starts_with("1,000 records"));
    delete_topic(brokers, &back).expect("it can be deleted");
    create_topic(brokers, &back, 2, &[("retention.ms", "-1")]).expect("it can be made");
    let config = TransactionalConfig {
        name: "test".into(),
        id: format!("thalweg.archive.{back}"),
        brokers: brokers.into(),
        topic: back.clone(),
        properties: Default::default(),
    };
    let progress = || config.committed(PATIENCE).expect("brokers").progress;
    wait_until("the brokers have forgotten it", || progress().is_none());
    refused(&play, &["can't hold the 1000 records", "made anew", "--name", "played-"]);
    assert!(in_topic(brokers, &back).is_empty());
    // Who only lost what the brokers knew is not bothered: see above. Without the book all is sent again.
    let book =
        fs::read_dir(archive.join(".archive")).expect("books").map(|entry| entry.expect("a book").path());
    let played = |path: &std::path::PathBuf| path.display().to_string().contains("played-");
    fs::remove_file(book.into_iter().find(played).expect("a book")).expect("it goes");
    assert!(done(&play).starts_with("1,000 records"));
    assert_eq!(settled(brokers, &back).len(), 1000);
}

#[test]
fn a_speed_is_kept() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "paced", 2);
    fill(brokers, &topic, 2, 0..2000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let back = new_topic(brokers, "back", 2);
    let path = folder.path().join(&topic).display().to_string();
    // Twenty seconds of records.
    let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers, "--speed", "10x"];
    let started = Instant::now();
    let mut player = Beside::start(&play);
    assert!(holds_within(LIMIT, || !in_topic(brokers, &back).is_empty()), "nothing is seen");
    assert!(player.ended().is_none() && in_topic(brokers, &back).len() < 2000, "all at once");
    assert!(player.end().success());
    let took = started.elapsed().as_secs_f64();
    assert!(took >= 1.9, "20 s of records at 10x took {took} s");
    assert_eq!(settled(brokers, &back).len(), 2000);
    let output = ran(&[&play[..6], &["--speed", "fast"]].concat());
    assert!(said(&output).contains("such as 10x"), "{}", said(&output));
}
