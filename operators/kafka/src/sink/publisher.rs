//! Sends a checkpoint's rows, once, and knows what was sent.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_engine::control::JobError;
use thalweg_engine::failpoint;
use thalweg_operators::sink::SinkError;
use thalweg_operators::sink::staging::{STAGING, sweep_staged};

use super::KafkaSinkConfig;
use super::note::Note;
use super::records::Layout;
use crate::error::KafkaError;
use crate::partitioner::partition_of;
use crate::transaction::TransactionalWriter;
use crate::writer::WriteRecord;

/// How often a checkpoint's rows are sent, as long as what goes wrong may pass.
const ATTEMPTS_MAX: u32 = 3;
/// What is waited before the second attempt, and twice that before the third.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends what the workers of a Kafka sink have staged.
pub struct KafkaPublisher {
    config: KafkaSinkConfig,
    folder: PathBuf,
    generation: u64,
    /// `None` before it is needed, and after it has become useless.
    writer: Option<TransactionalWriter>,
}

impl KafkaPublisher {
    /// That of a sink whose workers stage under `folder`, in a run of generation `generation`. Nothing is connected before the first call: an older run of the job is
    /// fenced off only then.
    pub fn new(config: KafkaSinkConfig, folder: impl Into<PathBuf>, generation: u64) -> KafkaPublisher {
        KafkaPublisher { config, folder: folder.into(), generation, writer: None }
    }

    fn writer(&mut self) -> Result<&mut TransactionalWriter, KafkaError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => TransactionalWriter::open(self.config.transactional()?)?,
        };
        Ok(self.writer.insert(writer))
    }

    /// What is noted of this job.
    fn note(&self) -> Result<Option<Note>, KafkaError> {
        let note = Note::read(&self.folder).map_err(|error| self.io(&Note::path(&self.folder), error))?;
        Ok(note.filter(|note| note.job == self.config.job))
    }

    fn set_note(&self, checkpoint: u64) -> Result<(), KafkaError> {
        let (job, topic) = (self.config.job.clone(), self.config.topic.clone());
        let written = Note { job, topic, checkpoint }.write(&self.folder);
        written.map_err(|error| self.io(&Note::path(&self.folder), error))
    }

    fn send(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), KafkaError> {
        for attempt in 1.. {
            let Err(error) = self.send_once(checkpoint, files) else { break };
            // Readers wait for a transaction that is left open. A writer that can't abort it is of no use any more; the next
            // one has it aborted, and sees from the progress if it was committed after all.
            match self.writer.as_mut().map(TransactionalWriter::abort) {
                None | Some(Ok(())) => {}
                Some(Err(fenced @ KafkaError::Fenced { .. })) => return Err(fenced),
                Some(Err(_)) => self.writer = None,
            }
            if error.is_lasting() || attempt == ATTEMPTS_MAX {
                return Err(error);
            }
            tracing::warn!(sink = self.config.sink, checkpoint, attempt, "{error}; trying again");
            std::thread::sleep(PAUSE * attempt);
        }
        Ok(())
    }

    fn send_once(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), KafkaError> {
        let noted = self.note()?.map(|note| note.checkpoint);
        if self.writer()?.progress().max(noted) >= Some(checkpoint) {
            return Ok(());
        }
        // Taken out, so that the rows can be read meanwhile.
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let sent = self.send_through(&mut writer, checkpoint, files);
        self.writer = Some(writer);
        sent
    }

    fn send_through(
        &self,
        writer: &mut TransactionalWriter,
        checkpoint: u64,
        files: &[StagedFile],
    ) -> Result<(), KafkaError> {
        let topic = &self.config.topic;
        let partitions = writer.partitions(topic)?;
        writer.begin()?;
        let mut rows = 0;
        for file in files {
            let path = self.folder.join(&file.staged);
            let opened = File::open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    let (sink, path) = (self.config.sink.clone(), path.display().to_string());
                    KafkaError::Staged(SinkError::StagedFileGone { sink, path, checkpoint })
                }
                _ => self.io(&path, error),
            })?;
            let format = |error| self.format(&path, error);
            let reader =
                StreamReader::try_new(BufReader::with_capacity(1 << 18, opened), None).map_err(format)?;
            let layout = Layout::new(&reader.schema(), &self.config.key, self.config.timestamp.as_deref());
            let layout = layout.map_err(format)?;
            for batch in reader {
                let records = layout.records(&batch.map_err(format)?).map_err(format)?;
                for record in records.iter() {
                    rows += 1;
                    writer.write(WriteRecord {
                        topic,
                        partition: partition_of(record.key.unwrap_or(record.value), partitions),
                        timestamp_ms: Some(record.timestamp_ms),
                        key: record.key,
                        value: Some(record.value),
                        headers: &[],
                    })?;
                }
            }
        }
        writer.commit(checkpoint, &format!("job {}: {rows} rows of checkpoint {checkpoint}", self.config.job))
    }

    fn io(&self, path: &Path, source: io::Error) -> KafkaError {
        let (sink, path) = (self.config.sink.clone(), path.display().to_string());
        KafkaError::Staged(SinkError::Io { sink, path, source })
    }

    fn format(&self, path: &Path, error: ArrowError) -> KafkaError {
        let detail = format!("{}: {error}", path.display());
        KafkaError::Staged(SinkError::Format {
            sink: self.config.sink.clone(),
            format: "Kafka records",
            detail,
        })
    }
}

impl Publisher for KafkaPublisher {
    fn sink(&self) -> &str {
        &self.config.sink
    }

    /// Sends the rows of a checkpoint in one transaction, unless they were sent before. Blocks: about 100,000 rows take a second.
    fn publish(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), JobError> {
        // Without rows the progress stays where it is: that of a later checkpoint says as much.
        if files.iter().any(|file| file.rows > 0) {
            self.send(checkpoint, files)?;
            if self.note()?.is_none_or(|note| note.checkpoint < checkpoint) {
                self.set_note(checkpoint)?;
            }
        }
        failpoint!("kafka::noted");
        for file in files {
            let path = self.folder.join(&file.staged);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.io(&path, error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes what earlier generations have staged and belongs to no checkpoint, and fences them off.
    ///
    /// # Errors
    /// [`KafkaError::Ahead`] where rows of later checkpoints were sent already.
    fn sweep(&mut self, newest: u64) -> Result<(), JobError> {
        let note = self.note()?;
        let noted = note.as_ref().filter(|note| note.topic == self.config.topic).map(|note| note.checkpoint);
        let sent = self.writer()?.progress().max(noted).unwrap_or(0);
        if sent > newest {
            let (sink, topic) = (self.config.sink.clone(), self.config.topic.clone());
            return Err(KafkaError::Ahead { sink, topic, sent, newest }.into());
        }
        if note.is_some_and(|note| note.checkpoint > newest) {
            // Those went to another topic; here they are still to come.
            self.set_note(newest)?;
        }
        let staging = self.folder.join(STAGING);
        sweep_staged(&self.folder, self.generation).map_err(|error| self.io(&staging, error).into())
    }
}
