//! The job's log: claims of generations and manifests of checkpoints, in one order that all runs agree on.
//!
//! ```text
//!   log/0000000001.json  claim       generation 1, from the beginning
//!   log/0000000002.json  checkpoint  1
//!   log/0000000003.json  checkpoint  2
//!   log/0000000004.json  claim       generation 2, from checkpoint 2      ← a new run
//!   log/0000000005.json  checkpoint  3
//! ```
//!
//! Every record is written only if its place is empty. A run knows all records up to its own newest one, so its next manifest fits
//! only into the place behind. When a newer run has claimed that place, writing fails, and the older run knows that it was
//! replaced: it publishes nothing more. When the older one was first, the claim takes the next place, and the newer run goes on from
//! that manifest. Either way both agree on what is a checkpoint and what is not.
//!
//! Old records are deleted, so a zombie that slept long might find its place empty again. After each write it therefore looks
//! whether there is a later record; the newest one is never deleted.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::manifest::{FORMAT, Manifest};
use super::{CheckpointError, Store};
use crate::failpoint;

const FOLDER: &str = "log";

/// A run's claim of the job: from here on, older generations are fenced off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// One more than the newest generation before.
    pub generation: u64,
    /// The checkpoint from which it goes on; `None`: the beginning.
    pub from: Option<u64>,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Who: a host's name and a process's number.
    pub by: String,
    /// The name that the job goes by in other systems: the same from its beginning on, whoever runs it.
    pub job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Record {
    Claim(Claim),
    Checkpoint(Box<Manifest>),
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    record: serde_json::Value,
}

/// What a job's log says.
#[derive(Debug)]
pub struct History {
    location: String,
    records: Vec<(u64, Result<Record, CheckpointError>)>,
}

impl History {
    /// Reads a log.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`]. A damaged record is an error only when it is wanted.
    pub fn read(store: &Store) -> Result<History, CheckpointError> {
        let mut records = Vec::new();
        for name in store.list(FOLDER)? {
            if let Some(place) = name.strip_suffix(".json").and_then(|place| place.parse::<u64>().ok()) {
                let path = format!("{FOLDER}/{name}");
                let record = match store.get(&path) {
                    Ok(bytes) => decode(&format!("{}/{path}", store.location()), &bytes),
                    // Deleted since it was listed, by the retention of a run that goes on.
                    Err(CheckpointError::Storage {
                        source: object_store::Error::NotFound { .. }, ..
                    }) => {
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                records.push((place, record));
            }
        }
        records.sort_by_key(|(place, _)| *place);
        Ok(History { location: store.location().to_owned(), records })
    }

    /// Whether nothing was ever recorded.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn last_place(&self) -> u64 {
        self.records.last().map_or(0, |(place, _)| *place)
    }

    // Whether the record behind `place` is a claim that goes on from checkpoint `number`. Only one that saw it there can be.
    fn is_taken_up(&self, place: u64, number: u64) -> bool {
        self.records.iter().any(|(at, record)| match record {
            Ok(Record::Claim(claim)) => *at == place + 1 && claim.from == Some(number),
            _ => false,
        })
    }

    /// Whether there are checkpoints that somebody who started over was about to throw away.
    pub fn is_thrown_away(&self) -> bool {
        let checkpoints = self.records.iter().any(|(_, record)| !matches!(record, Ok(Record::Claim(_))));
        checkpoints && self.checkpoints().is_empty()
    }

    /// The newest claim.
    pub fn claim(&self) -> Option<&Claim> {
        self.records.iter().rev().find_map(|(_, record)| match record {
            Ok(Record::Claim(claim)) => Some(claim),
            _ => None,
        })
    }

    /// The newest generation that any record speaks of.
    pub fn newest_generation(&self) -> u64 {
        let of = |record: &Record| match record {
            Record::Claim(claim) => claim.generation,
            Record::Checkpoint(manifest) => manifest.generation,
        };
        self.records.iter().filter_map(|(_, record)| record.as_ref().ok()).map(of).max().unwrap_or(0)
    }

    /// What is wrong with a log of which no claim can be read: nobody knows then what the job is called in other systems.
    ///
    /// # Errors
    /// That of a record that can't be read.
    pub fn must_have_claim(&self) -> Result<(), CheckpointError> {
        match (self.claim(), self.records.iter().find_map(|(_, record)| record.as_ref().err())) {
            (None, Some(error)) => Err(copy(error)),
            _ => Ok(()),
        }
    }

    /// The checkpoints that a run could go on from, oldest first: those that no claim has gone back behind.
    pub fn checkpoints(&self) -> Vec<&Manifest> {
        let mut chain: Vec<&Manifest> = Vec::new();
        for (_, record) in &self.records {
            match record {
                Ok(Record::Claim(claim)) => {
                    chain.retain(|manifest| claim.from.is_some_and(|from| manifest.number <= from))
                }
                Ok(Record::Checkpoint(manifest)) => chain.push(manifest),
                Err(_) => {}
            }
        }
        chain
    }

    /// The checkpoint that a run goes on from; `None`: there is none, it begins at the beginning.
    ///
    /// # Errors
    /// What is wrong with the newest record, when it can't be read.
    pub fn newest(&self) -> Result<Option<&Manifest>, CheckpointError> {
        // What came before the newest claim was judged when it was made, but for the checkpoint that it goes on from. What is
        // unreadable behind it may be anything.
        for (_, record) in self.records.iter().rev() {
            match record {
                Ok(Record::Claim(claim)) => {
                    let there = |from| self.checkpoints().iter().any(|manifest| manifest.number == from);
                    if claim.from.is_none_or(there) {
                        break;
                    }
                }
                Ok(Record::Checkpoint(_)) => {}
                Err(error) => return Err(copy(error)),
            }
        }
        Ok(self.checkpoints().last().copied())
    }

    /// Checkpoint `number`.
    ///
    /// # Errors
    /// [`CheckpointError::Missing`].
    pub fn checkpoint(&self, number: u64) -> Result<&Manifest, CheckpointError> {
        let all = self.checkpoints();
        let there = || match (all.first(), all.last()) {
            (Some(first), Some(last)) => format!("{} to {} in {}", first.number, last.number, self.location),
            _ => format!("none in {}", self.location),
        };
        let found = all.iter().rev().find(|manifest| manifest.number == number);
        found.copied().ok_or_else(|| CheckpointError::Missing { number, there: there() })
    }
}

// Storage errors can't be cloned, and those of records are never such.
fn copy(error: &CheckpointError) -> CheckpointError {
    match error {
        CheckpointError::Version { path, found, known } => {
            CheckpointError::Version { path: path.clone(), found: *found, known: *known }
        }
        CheckpointError::Damaged { path, detail } => {
            CheckpointError::Damaged { path: path.clone(), detail: detail.clone() }
        }
        other => CheckpointError::Damaged { path: FOLDER.to_owned(), detail: other.to_string() },
    }
}

/// A run's end of the log: it can append to it until a newer run claims the job.
#[derive(Debug)]
pub struct Log {
    store: Store,
    claim: Claim,
    /// The place of the newest record, which is this run's own.
    last: u64,
}

impl Log {
    /// Claims the job for a new run. `claim` makes the claim from what the log says; it is called again when another run was faster
    /// by a moment.
    ///
    /// # Errors
    /// Those of `claim`, and [`CheckpointError::Storage`].
    pub fn claim<E: From<CheckpointError>>(
        store: &Store,
        mut claim: impl FnMut(&History) -> Result<Claim, E>,
    ) -> Result<(Log, History), E> {
        loop {
            let history = History::read(store)?;
            let claim = claim(&history)?;
            let place = history.last_place() + 1;
            if store.create(&name(place), encode(&Record::Claim(claim.clone())))? {
                return Ok((Log { store: store.clone(), claim, last: place }, history));
            }
        }
    }

    /// This run's claim.
    pub fn own(&self) -> &Claim {
        &self.claim
    }

    /// Makes a checkpoint exist.
    ///
    /// # Errors
    /// [`CheckpointError::Fenced`] when a newer run has claimed the job, and [`CheckpointError::Storage`].
    pub fn append(&mut self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let place = self.last + 1;
        failpoint!("checkpoint::before_manifest");
        let written =
            self.store.create(&name(place), encode(&Record::Checkpoint(Box::new(manifest.clone()))))?;
        self.confirm(place, manifest.number, written)
    }

    fn confirm(&mut self, place: u64, number: u64, written: bool) -> Result<(), CheckpointError> {
        let history = History::read(&self.store)?;
        if written && history.last_place() == place {
            self.last = place;
            failpoint!("checkpoint::after_manifest");
            return Ok(());
        }
        // A run that came in between goes on from this manifest: then it stands, and is for that run to publish.
        if written && !history.is_taken_up(place, number) {
            self.store.delete(&name(place))?;
        }
        let newer = history.claim().map_or(0, |claim| claim.generation);
        Err(CheckpointError::Fenced { own: self.claim.generation, newer })
    }

    /// That a newer run has claimed the job, where one has.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn replaced(&self) -> Result<Option<CheckpointError>, CheckpointError> {
        let history = History::read(&self.store)?;
        let newer = history.claim().map_or(0, |claim| claim.generation);
        let fenced = CheckpointError::Fenced { own: self.claim.generation, newer };
        Ok((history.last_place() > self.last).then_some(fenced))
    }

    /// Forgets all records before this run's claim, whether they can be read or not: for a run that starts over.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn forget_earlier(&self) -> Result<(), CheckpointError> {
        let claim = name(self.last);
        let all = self.store.list(FOLDER)?;
        let earlier = all.iter().map(|record| format!("{FOLDER}/{record}")).filter(|record| *record < claim);
        earlier.into_iter().try_for_each(|record| self.store.delete(&record))
    }

    /// For the thread that forgets old checkpoints.
    pub fn retention(&self) -> Retention {
        Retention { store: self.store.clone(), last: self.last, generation: self.claim.generation }
    }
}

/// Forgets old checkpoints.
#[derive(Debug)]
pub struct Retention {
    store: Store,
    last: u64,
    generation: u64,
}

impl Retention {
    /// Forgets all checkpoints but the newest `keep`, with the state files that none of those needs, and claims before the newest.
    ///
    /// # Errors
    /// [`CheckpointError::Storage`].
    pub fn forget_old(&self, keep: usize) -> Result<(), CheckpointError> {
        let history = History::read(&self.store)?;
        let all = history.checkpoints();
        let kept: Vec<&Manifest> = all[all.len().saturating_sub(keep.max(1))..].to_vec();
        let Some(oldest) = kept.first() else { return Ok(()) };
        let newest_claim =
            history.records.iter().rev().find(|(_, record)| matches!(record, Ok(Record::Claim(_))));
        let newest_claim = newest_claim.map_or(0, |(place, _)| *place);
        let gone: Vec<u64> = history
            .records
            .iter()
            .filter(|(place, record)| match record {
                Ok(Record::Claim(_)) => *place < newest_claim,
                Ok(Record::Checkpoint(manifest)) => {
                    manifest.number < oldest.number || !kept.contains(&&**manifest)
                }
                Err(_) => *place < self.last,
            })
            .map(|(place, _)| *place)
            .collect();
        // Records first: one whose state is gone would be a checkpoint that can't be read.
        gone.iter().try_for_each(|place| self.store.delete(&name(*place)))?;
        failpoint!("checkpoint::forgetting");
        if !gone.is_empty() {
            super::state::forget_unused(&self.store, &kept, self.generation)?;
        }
        Ok(())
    }
}

fn name(place: u64) -> String {
    format!("{FOLDER}/{place:010}.json")
}

// The record as JSON, and a line with its checksum.
fn encode(record: &Record) -> Vec<u8> {
    let record = serde_json::to_value(record).expect("invariant: a record can be written as JSON");
    let mut text = serde_json::to_vec_pretty(&Envelope { format: FORMAT, record })
        .expect("invariant: a record can be written as JSON");
    let checksum = xxh3_64(&text);
    text.extend_from_slice(format!("\nxxh3 {checksum:016x}\n").as_bytes());
    text
}

fn decode(path: &str, bytes: &[u8]) -> Result<Record, CheckpointError> {
    let damaged =
        |detail: &str| CheckpointError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let (text, checksum) = text.rsplit_once("\nxxh3 ").ok_or_else(|| damaged("its checksum is missing"))?;
    let checksum = u64::from_str_radix(checksum.trim_end(), 16);
    if checksum != Ok(xxh3_64(text.as_bytes())) {
        return Err(damaged("its checksum does not fit"));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    if envelope.format != FORMAT {
        return Err(CheckpointError::Version {
            path: path.to_owned(),
            found: envelope.format,
            known: FORMAT,
        });
    }
    serde_json::from_value(envelope.record).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(number: u64, generation: u64) -> Manifest {
        Manifest {
            number,
            generation,
            begun_ms: 0,
            took_ms: 1,
            finished: false,
            watermark: i64::MIN,
            workers: 1,
            plan: serde_json::Value::Null,
            sources: Vec::new(),
            state: Vec::new(),
            sinks: Vec::new(),
        }
    }

    fn claim(store: &Store, from: Option<u64>) -> Log {
        let (log, _) = Log::claim::<CheckpointError>(store, |history| {
            let newest = history.newest()?.map(|manifest| manifest.number);
            Ok(Claim {
                generation: history.claim().map_or(0, |claim| claim.generation) + 1,
                from: from.or(newest),
                at_ms: 0,
                by: "test".to_owned(),
                job: "job".to_owned(),
            })
        })
        .unwrap();
        log
    }

    fn numbers(store: &Store) -> Vec<(u64, u64)> {
        let history = History::read(store).unwrap();
        history.checkpoints().iter().map(|m| (m.number, m.generation)).collect()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        (folder, store)
    }

    #[test]
    fn a_zombie_is_fenced_off() {
        let (_folder, store) = store();
        let mut old = claim(&store, None);
        old.append(&manifest(1, 1)).unwrap();
        let mut new = claim(&store, None);
        let fenced = old.replaced().unwrap();
        assert!(matches!(fenced, Some(CheckpointError::Fenced { own: 1, newer: 2 })), "{fenced:?}");
        assert!(new.replaced().unwrap().is_none());
        let error = old.append(&manifest(2, 1)).unwrap_err();
        assert!(matches!(error, CheckpointError::Fenced { own: 1, newer: 2 }), "{error}");
        new.append(&manifest(2, 2)).unwrap();
        assert_eq!(numbers(&store), [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_zombie_whose_place_was_forgotten_is_fenced_off_too() {
        let (_folder, store) = store();
        let mut old = claim(&store, None);
        old.append(&manifest(1, 1)).unwrap();
        let mut new = claim(&store, None);
        for number in 2..9 {
            new.append(&manifest(number, 2)).unwrap();
            new.retention().forget_old(2).unwrap();
        }
        // The place that the zombie writes to held the claim of generation 2, which is kept; go further.
        let mut newest = claim(&store, None);
        newest.append(&manifest(9, 3)).unwrap();
        newest.retention().forget_old(2).unwrap();
        assert!(!store.list(FOLDER).unwrap().contains(&"0000000003.json".to_owned()), "its place is empty");
        let error = old.append(&manifest(2, 1)).unwrap_err();
        assert!(matches!(error, CheckpointError::Fenced { own: 1, newer: 3 }), "{error}");
        assert_eq!(numbers(&store), [(8, 2), (9, 3)]);
    }

    #[test]
    fn a_manifest_that_a_newer_run_goes_on_from_stands() {
        let (_folder, store) = store();
        let mut old = claim(&store, None);
        // The claim comes between the writing and the look whether it counts.
        assert!(store.create(&name(2), encode(&Record::Checkpoint(Box::new(manifest(1, 1))))).unwrap());
        claim(&store, None);
        let error = old.confirm(2, 1, true).unwrap_err();
        assert!(matches!(error, CheckpointError::Fenced { own: 1, newer: 2 }), "{error}");
        assert_eq!(numbers(&store), [(1, 1)], "what the newer run has begun with is gone");
    }

    #[test]
    fn who_starts_over_fences_off_older_runs_too() {
        let (_folder, store) = store();
        let mut old = claim(&store, None);
        old.append(&manifest(1, 1)).unwrap();
        old.append(&manifest(2, 1)).unwrap();
        let (new, _) = Log::claim::<CheckpointError>(&store, |history| {
            let generation = history.claim().map_or(0, |claim| claim.generation) + 1;
            Ok(Claim { generation, from: None, at_ms: 0, by: "test".to_owned(), job: "again".to_owned() })
        })
        .unwrap();
        new.forget_earlier().unwrap();
        assert_eq!(store.list(FOLDER).unwrap(), ["0000000004.json"]);
        let error = old.append(&manifest(3, 1)).unwrap_err();
        assert!(matches!(error, CheckpointError::Fenced { own: 1, newer: 2 }), "{error}");
        assert_eq!(numbers(&store), []);
    }

    #[test]
    fn going_back_leaves_what_came_after() {
        let (_folder, store) = store();
        let mut log = claim(&store, None);
        for number in 1..=4 {
            log.append(&manifest(number, 1)).unwrap();
        }
        let mut back = claim(&store, Some(2));
        assert_eq!(numbers(&store), [(1, 1), (2, 1)]);
        back.append(&manifest(3, 2)).unwrap();
        assert_eq!(numbers(&store), [(1, 1), (2, 1), (3, 2)]);
        let history = History::read(&store).unwrap();
        assert_eq!(history.checkpoint(3).unwrap().generation, 2);
        let error = history.checkpoint(7).unwrap_err().to_string();
        assert!(error.contains("there is no checkpoint 7") && error.contains("1 to 3"), "{error}");
    }

    #[test]
    fn a_damaged_record_is_no_fresh_start() {
        let (folder, store) = store();
        let mut log = claim(&store, None);
        log.append(&manifest(1, 1)).unwrap();
        log.append(&manifest(2, 1)).unwrap();
        let path = folder.path().join("log/0000000003.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"number\": 2", "\"number\": 3")).unwrap();
        let history = History::read(&store).unwrap();
        let error = history.newest().unwrap_err().to_string();
        assert!(error.contains("0000000003.json is damaged") && error.contains("--from"), "{error}");
        assert_eq!(history.checkpoint(1).unwrap().number, 1);
        // The version is looked at before anything that depends on it.
        let newer = String::from_utf8(encode(&Record::Checkpoint(Box::new(manifest(2, 1))))).unwrap();
        let (text, _) = newer.rsplit_once("\nxxh3 ").unwrap();
        let text = text.replace("\"format\": 1", "\"format\": 2");
        std::fs::write(&path, format!("{text}\nxxh3 {:016x}\n", xxh3_64(text.as_bytes()))).unwrap();
        let error = History::read(&store).unwrap().newest().unwrap_err().to_string();
        assert!(error.contains("has format 2, and this program reads format 1"), "{error}");
    }
}
