//! What else may happen to a job, each once: a broker restarts, a disk is full for a while, a process wakes up as a zombie,
//! somebody starts over while the job runs.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use thalweg_kafka::broker::Broker;

use super::events::Events;
use super::jobs::{J1, J1_FOLDERS, Job, Outcome, Prepared};
use super::{Folder, stop_when_all_is_read};
use crate::binary::{LIMIT, Run, Running, account, newest_checkpoint};
use crate::kafka::broker;
use crate::patience::{holds_within, wait_until};
use crate::support::files;

const EVENTS: u64 = 40_000;
const DELTA_LOG: &str = "_delta_log";

/// A run that has read so many events, as its newest checkpoint says.
fn has_read(running: &Running, output: &Path, events: u64) {
    assert!(holds_within(LIMIT, || account(output)[0] >= events), "{:?}: {}", account(output), running.log());
}

fn compare_with_undisturbed(job: &Job, disturbed: &Prepared, folder: &Path, brokers: &str, events: &Events) {
    let undisturbed = job.prepare(folder, "undisturbed", brokers, events.topic());
    stop_when_all_is_read(undisturbed.run.start(), &undisturbed.run.output, events.fed());
    Outcome::of(disturbed).must_equal(&Outcome::of(&undisturbed), events.fed(), job.name);
}

#[test]
fn a_broker_that_restarts_costs_no_row_and_repeats_none() {
    let folder = Folder::new();
    let mut broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let brokers = broker.brokers().to_owned();
    let mut events = Events::new(&brokers, EVENTS);
    let job = J1.prepare(folder.path(), "restarted", &brokers, events.topic());
    events.feed_part(0, 2);
    let running = Run { workers: 2, ..job.run.clone() }.start();
    has_read(&running, &job.run.output, 1);
    broker.restart().unwrap_or_else(|error| panic!("{error}"));
    events.feed_part(1, 2);
    has_read(&running, &job.run.output, events.fed());
    // This time without warning, and in the midst of it.
    events.feed_rest();
    broker.kill().unwrap_or_else(|error| panic!("{error}"));
    broker.resume().unwrap_or_else(|error| panic!("{error}"));
    stop_when_all_is_read(running, &job.run.output, events.fed());
    compare_with_undisturbed(&J1, &job, folder.path(), &brokers, &events);
}

/// The files of a job's sinks. Those of its checkpoints come and go as it runs.
fn sink_files(output: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(output).expect("a folder").map(|entry| entry.expect("an entry").path());
    folders.filter(|folder| !folder.ends_with("_checkpoints")).flat_map(|folder| files(&folder)).collect()
}

/// What readers see of a job's folders: published files, and of Delta tables their logs.
fn published(output: &Path) -> Vec<(PathBuf, u64)> {
    let seen = |path: &PathBuf| {
        let below = path.strip_prefix(output).expect("a file below");
        let has = |name: &str| below.components().any(|part| part.as_os_str() == name);
        let of_delta =
            below.components().next().is_some_and(|sink| output.join(sink).join(DELTA_LOG).exists());
        !has(".staging") && (!of_delta || has(DELTA_LOG))
    };
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |data| data.len());
    sink_files(output).into_iter().filter(seen).map(|path| (path.clone(), size(&path))).collect()
}

/// Whether a run has published all that it has staged.
fn has_published_all(output: &Path, generation: u64) -> bool {
    let staging = format!(".staging/{generation}/");
    !sink_files(output).iter().any(|path| path.to_string_lossy().contains(&staging))
}

#[test]
fn a_zombie_publishes_nothing_more() {
    wakes_up_as_a_zombie(1);
}

#[test]
fn a_zombie_of_two_processes_publishes_nothing_more() {
    wakes_up_as_a_zombie(2);
}

fn wakes_up_as_a_zombie(processes: usize) {
    let folder = Folder::new();
    let brokers = broker().brokers();
    let mut events = Events::new(brokers, EVENTS);
    let job = J1.prepare(folder.path(), "taken-over", brokers, events.topic());
    events.feed_part(0, 2);
    let mut zombie = Run { workers: 2, processes, ..job.run.clone() }.start();
    has_read(&zombie, &job.run.output, 1);
    zombie.signal_all(Signal::SIGSTOP);
    let stopped_at = newest_checkpoint(&job.run.output).expect("a checkpoint");

    events.feed_part(1, 2);
    let running = Run { workers: 3, ..job.run.clone() }.start();
    has_read(&running, &job.run.output, events.fed());
    let newest = newest_checkpoint(&job.run.output).expect("a checkpoint");
    assert!(newest.generation > stopped_at.generation && newest.number > stopped_at.number);
    wait_until("all is published", || has_published_all(&job.run.output, newest.generation));
    let before = published(&job.run.output);
    assert!(!before.is_empty());

    zombie.signal_all(Signal::SIGCONT);
    let status = zombie.end();
    let said = zombie.log();
    assert_eq!(status.code(), Some(4), "{said}");
    let replaced = format!(
        "generation {} of this job was replaced by generation {}",
        stopped_at.generation, newest.generation
    );
    assert!(said.contains(&replaced), "{said}");
    assert_eq!(published(&job.run.output), before, "the zombie has published something");

    events.feed_rest();
    stop_when_all_is_read(running, &job.run.output, events.fed());
    compare_with_undisturbed(&J1, &job, folder.path(), brokers, &events);
}

#[test]
fn who_starts_over_replaces_the_run_that_is_still_there() {
    let folder = Folder::new();
    let brokers = broker().brokers();
    let mut events = Events::new(brokers, EVENTS);
    let job = J1_FOLDERS.prepare(folder.path(), "over", brokers, events.topic());
    events.feed_part(0, 2);
    let mut replaced = Run { workers: 2, ..job.run.clone() }.start();
    has_read(&replaced, &job.run.output, 1);
    events.feed_part(1, 2);
    let running = Run { workers: 3, fresh: true, ..job.run.clone() }.start();
    let status = replaced.end();
    let said = replaced.log();
    assert!(!status.success() && said.contains("was replaced by generation"), "{status}: {said}");
    events.feed_rest();
    stop_when_all_is_read(running, &job.run.output, events.fed());
    compare_with_undisturbed(&J1_FOLDERS, &job, folder.path(), brokers, &events);
}

/// A small disk of its own, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a message, where this may not be done.
    fn mount(folder: PathBuf) -> Option<SmallDisk> {
        fs::create_dir_all(&folder).expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(folder)),
            Ok(output) => {
                println!(
                    "skipped: no small disk can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(error) => {
                println!("skipped: no small disk can be mounted: {error}");
                None
            }
        }
    }

    /// Leaves not a byte.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filling");
        let mut file = File::create(&path).expect("a file");
        for size in [1 << 16, 1 << 8, 1] {
            let bytes = vec![1; size];
            loop {
                match file.write(&bytes) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_ends_the_job_and_costs_no_row() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else { return };
    let brokers = broker().brokers();
    let mut events = Events::new(brokers, EVENTS);
    let mut job = J1.prepare(folder.path(), "full", brokers, events.topic());
    job.run.output = disk.0.join("output");
    events.feed_part(0, 2);
    let running = Run { workers: 2, ..job.run.clone() }.start();
    has_read(&running, &job.run.output, events.fed());
    let filling = disk.fill();
    events.feed_part(1, 2);
    // As long as it is full there is nothing to be done, and nothing gets worse.
    for mut run in [running, job.run.start()] {
        let status = run.end();
        let said = run.log();
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        println!("{error}");
        assert_eq!(status.code(), Some(1), "{said}");
        let file = job.run.output.display().to_string();
        assert!(error.contains(&file) && error.contains("No space left on device"), "{said}");
    }
    fs::remove_file(filling).expect("the file that fills the disk");
    events.feed_rest();
    let run = Run { workers: 3, ..job.run.clone() };
    stop_when_all_is_read(run.start(), &run.output, events.fed());
    compare_with_undisturbed(&J1, &job, folder.path(), brokers, &events);
}
