//! Into a topic: records and what says that they are sent, in one transaction.
//!
//! Brokers forget the progress of who has been silent for a week. So it is also noted beside the rows, after each transaction:
//! `<output>/_reinjected/<name>-….json`. The note may be behind the brokers by a transaction, never ahead.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_engine::failpoint;
use thalweg_engine::shard::hash_key;
use thalweg_kafka::{Progress, TransactionalConfig, TransactionalWriter, WriteRecord, refused_sink_property};

use super::ledger::{self, FORMAT, Sent};
use super::{Outgoing, Output, Ready, ReinjectError};

/// The folder of notes in an output folder.
const NOTES: &str = "_reinjected";
/// How long brokers may take to say what they know.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// What was sent, for when the brokers have forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    format: u32,
    name: String,
    refused: String,
    /// The cluster's own id; none: it has none, and the note is for people only.
    cluster: Option<String>,
    topic: String,
    records: u64,
    sent: Option<Sent>,
}

/// A topic that records go to.
pub(super) struct TopicTarget {
    writer: TransactionalWriter,
    topic: String,
    partitions: i32,
    sent: Option<Sent>,
    note: Note,
    note_path: PathBuf,
}

/// Who writes: id and group are `thalweg.reinject.<name>`.
pub(super) fn config(
    name: &str,
    topic: &str,
    brokers: &str,
    properties: &BTreeMap<String, String>,
) -> Result<TransactionalConfig, ReinjectError> {
    if let Some((name, why)) = properties.keys().find_map(|name| Some((name, refused_sink_property(name)?))) {
        return Err(ReinjectError::Property { name: name.clone(), why });
    }
    Ok(TransactionalConfig {
        name: "reinject".to_owned(),
        id: format!("thalweg.reinject.{name}"),
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        properties: properties.clone(),
    })
}

/// Up to where all was sent, without disturbing who is sending.
pub(super) fn sent(config: &TransactionalConfig, ready: &Ready) -> Result<Option<Sent>, ReinjectError> {
    let committed = config.committed(LOOK_TIMEOUT)?;
    let (note, _) = note(&config.topic, committed.cluster_id, ready)?;
    Ok(newer(committed.progress, note.sent))
}

// That of the brokers, and what is known to have been sent there before.
fn note(topic: &str, cluster: Option<String>, ready: &Ready) -> Result<(Note, PathBuf), ReinjectError> {
    let place = hash_key(format!("{}/{topic}", cluster.as_deref().unwrap_or_default()).as_bytes());
    let path = ready.from.join(NOTES).join(format!("{}-{place:016x}.json", ready.name));
    let nothing = Note {
        format: FORMAT,
        name: ready.name.clone(),
        refused: ready.refused.folder().to_owned(),
        cluster: cluster.clone(),
        topic: topic.to_owned(),
        records: 0,
        sent: None,
    };
    // Two clusters that don't say who they are may be two.
    let found = if cluster.is_some() { ledger::read::<Note>(&path)? } else { None };
    Ok((found.unwrap_or(nothing), path))
}

fn newer(brokers: Option<Progress>, noted: Option<Sent>) -> Option<Sent> {
    let brokers = brokers.map(|progress| Sent::from_note(progress.number, &progress.note));
    brokers.into_iter().chain(noted).max_by_key(|sent| sent.checkpoint)
}

impl TopicTarget {
    /// Fences off whoever sends under the same name, and finds out how far they came.
    pub(super) fn open(config: TransactionalConfig, ready: &Ready) -> Result<TopicTarget, ReinjectError> {
        let topic = config.topic.clone();
        let writer = TransactionalWriter::open(config)?;
        let partitions = writer.partitions(&topic)?;
        let (note, note_path) = note(&topic, writer.cluster_id(), ready)?;
        let progress = writer
            .progress()
            .map(|number| Progress { number, note: writer.note().unwrap_or_default().to_owned() });
        let sent = newer(progress, note.sent.clone());
        Ok(TopicTarget { writer, topic, partitions, sent, note, note_path })
    }
}

impl Output for TopicTarget {
    fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }

    fn begin(&mut self) -> Result<(), ReinjectError> {
        Ok(self.writer.begin()?)
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ReinjectError> {
        Ok(self.writer.write(WriteRecord {
            topic: &self.topic,
            partition: record.partition.rem_euclid(self.partitions),
            timestamp_ms: record.timestamp_us.map(|us| us.div_euclid(1000)).filter(|ms| *ms > 0),
            key: record.key,
            value: record.value,
            headers: record.headers,
        })?)
    }

    fn commit(&mut self, sent: &Sent, records: u64) -> Result<(), ReinjectError> {
        if let Err(error) = self.writer.commit(sent.checkpoint, &sent.note()) {
            self.abort();
            return Err(error.into());
        }
        failpoint!("reinject::sent");
        self.note.sent = Some(sent.clone());
        self.note.records += records;
        let noted = match self.note_path.parent().map_or(Ok(()), fs::create_dir_all) {
            Ok(()) => ledger::write(&self.note_path, &self.note),
            Err(error) => Err(super::unwritable(&self.note_path, error)),
        };
        if let Err(error) = noted {
            // The brokers know. Who may read the output of a job, and not write to it, is not kept from sending.
            tracing::warn!(
                "what was sent is known to the brokers alone, and they forget it after a week: {error}"
            );
        }
        self.sent = Some(sent.clone());
        Ok(())
    }

    fn abort(&mut self) {
        // What can't be aborted now is aborted by the brokers, or when the next run begins.
        if let Err(error) = self.writer.abort() {
            tracing::debug!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_word_counts() {
        let sent = |checkpoint: u64| Sent { checkpoint, files: format!("{checkpoint}") };
        let progress = |number: u64| Progress { number, note: sent(number).note() };
        assert_eq!(newer(None, None), None);
        assert_eq!(newer(Some(progress(3)), None), Some(sent(3)));
        assert_eq!(newer(Some(progress(3)), Some(sent(2))), Some(sent(3)));
        assert_eq!(newer(None, Some(sent(2))), Some(sent(2)));
    }

    #[test]
    fn properties_that_exactness_hangs_on_are_refused() {
        let properties = [("transactional.id".to_owned(), "mine".to_owned())].into();
        let error = config("n", "t", "b:1", &properties).unwrap_err().to_string();
        assert!(error.contains("\"transactional.id\" can't be set"), "{error}");
    }
}
