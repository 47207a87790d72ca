//! `thalweg archive to-kafka`, and there and back again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg_kafka::{TransactionalConfig, create_topic, delete_topic};

use super::{
    Beside, NOON_MS, Row, archived, command, done, fill, in_topic, ran, refused, said, settled,
    without_offsets,
};
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

/// The records of each partition from the first that is not before `from_ms` up to the first that is not before `to_ms`.
fn between(rows: &[Row], from_ms: i64, to_ms: i64) -> Vec<Row> {
    let time_ms = |row: &Row| -> i64 {
        let digits: String = row.2.chars().filter(char::is_ascii_digit).take(16).collect();
        digits.parse::<i64>().expect("a timestamp in microseconds") / 1000
    };
    let partitions: BTreeSet<i32> = rows.iter().map(|row| row.0).collect();
    let of_one = |partition: i32| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.0 == partition).collect();
        let first = |ms: i64| rows.iter().position(|row| time_ms(row) >= ms).unwrap_or(rows.len());
        rows[first(from_ms)..first(to_ms)].iter().map(|row| (*row).clone()).collect::<Vec<_>>()
    };
    partitions.into_iter().flat_map(of_one).collect()
}

#[test]
fn a_piece_by_time_is_played_and_what_is_asked_for_later_goes_on() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "pieces", 3);
    // Twenty seconds of records.
    fill(brokers, &topic, 3, 0..2000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().display().to_string();
    let archive = folder.path().join(&topic);
    done(&["record", "--topic", &topic, "--brokers", brokers, "--archives", &archives]);
    let all = archived(&archive);
    let path = archive.display().to_string();
    let second = |second: u32| format!("2026-03-02T12:00:{second:02}Z");
    let at_ms = |second: i64| NOON_MS + second * 1000;
    let play = |back: &str, bounds: &[(&str, u32)]| {
        let mut arguments =
            ["to-kafka", &path, "--topic", back, "--brokers", brokers].map(str::to_owned).to_vec();
        for (bound, at) in bounds {
            arguments.extend([format!("--{bound}"), second(*at)]);
        }
        done(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let is_played = |back: &str, from: i64, to: i64| {
        let (sent, expected) = (settled(brokers, back), between(&all, at_ms(from), at_ms(to)));
        assert_eq!(sent.len(), expected.len(), "{from} s to {to} s");
        assert!(without_offsets(&sent) == without_offsets(&expected), "{from} s to {to} s");
    };

    let back = new_topic(brokers, "back", 3);
    let said = play(&back, &[("from", 5), ("to", 10)]);
    let piece = between(&all, at_ms(5), at_ms(10)).len();
    assert!((450..550).contains(&piece) && said.starts_with(&format!("{piece} records of ")), "{said}");
    is_played(&back, 5, 10);
    assert!(play(&back, &[("from", 5), ("to", 10)]).contains("nothing to send: what is asked for"));
    // A later end goes on, an earlier one has been reached, and another beginning is another piece.
    play(&back, &[("from", 5), ("to", 12)]);
    is_played(&back, 5, 12);
    assert!(play(&back, &[("from", 5), ("to", 8)]).contains("nothing to send"));
    play(&back, &[("from", 12), ("to", 14)]);
    is_played(&back, 5, 14);
    play(&back, &[("from", 14)]);
    is_played(&back, 5, 3600);

    let whole = new_topic(brokers, "back", 3);
    play(&whole, &[("to", 7)]);
    is_played(&whole, 0, 7);
    play(&whole, &[]);
    is_played(&whole, 0, 3600);

    assert!(play(&back, &[("from", 50)]).contains("holds no record between --from and --to"));
    let play = ["to-kafka", &path, "--topic", &back, "--brokers", brokers];
    let bounds = [second(9), second(5)];
    refused(
        &[&play[..], &["--from", &bounds[0], "--to", &bounds[1]]].concat(),
        &["--to is not later than --from"],
    );
}
