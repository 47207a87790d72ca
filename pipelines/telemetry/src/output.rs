//! Telemetry as archives: a folder a topic, and beside them a note of what was asked for, so that the same request finds
//! its archives again.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::bench::BenchConfig;
use crate::config::{TelemetryConfig, TelemetryError};
use crate::stream::{Delays, TopicStream};
use crate::topic::Topic;
use crate::topics;
use crate::world::World;

/// Raised when the same configuration makes other bytes than before, so that old archives are made anew.
const GENERATOR: u32 = 1;
/// The note's name, beside the topics' folders.
const NOTE: &str = "telemetry.json";
/// Marks a topic\'s folder as one that may be written anew.
const MARK: &str = ".generated";
/// Events between two calls of a progress function.
const PROGRESS_EVENTS: u64 = 10_000;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Of each topic, in the order asked for.
    pub topics: Vec<TopicSummary>,
    /// The archives were there already, and nothing was written.
    #[serde(skip)]
    pub reused: bool,
}

/// What was written of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSummary {
    /// The topic.
    pub topic: Topic,
    /// Its partitions.
    pub partitions: i32,
    /// Its events.
    pub events: u64,
    /// Spoilt ones among them.
    pub dirty: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Files of the archive.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Note<C> {
    generator: u32,
    config: C,
    summary: Summary,
}

impl Summary {
    /// Events of all topics.
    pub fn events(&self) -> u64 {
        self.topics.iter().map(|topic| topic.events).sum()
    }

    /// Bytes of all archives.
    pub fn file_bytes(&self) -> u64 {
        self.topics.iter().map(|topic| topic.file_bytes).sum()
    }
}

/// Writes the telemetry as archives, `folder/<topic>/part-….parquet`, on as many threads as there are cores; or finds that
/// the folder holds just these already, by its `telemetry.json`. Archives of the same topics made otherwise are replaced.
///
/// `progress` is called every ten thousand events or so with the number of events written since its last call, by any
/// thread.
///
/// # Errors
/// As [`TelemetryConfig::check`]; when a file can't be written.
pub fn write_archives(
    config: &TelemetryConfig,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Summary, TelemetryError> {
    config.check()?;
    write_noted(config, folder, || {
        let world = std::sync::Arc::new(World::new(config));
        let stream = |topic: Topic| {
            let generator = topics::generator(config, &world, topic);
            let partitions = config.partitions_of(topic);
            TopicStream::new(topic, partitions, config.seed, config.dirty, Delays::Realistic, generator)
        };
        // The longest first: the last ones to be begun should be short.
        let mut queue: Vec<usize> = (0..config.topics.len()).collect();
        queue.sort_by_key(|&index| std::cmp::Reverse(config.topics[index].percent()));
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let work = || -> Result<(), TelemetryError> {
            while let Some(&index) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                let topic = config.topics[index];
                let summary = write_topic(stream(topic), config.partitions_of(topic), folder, progress)?;
                done.lock().expect("invariant: no thread panics with the lock held").push((index, summary));
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(queue.len());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().map(join).collect::<Result<Vec<()>, _>>()
        })?;
        let mut topics = done.into_inner().expect("invariant: no thread panicked with the lock held");
        topics.sort_by_key(|(index, _)| *index);
        Ok(Summary { topics: topics.into_iter().map(|(_, summary)| summary).collect(), reused: false })
    })
}

/// Writes the benchmarks' events as an archive, `folder/provider-requests/part-….parquet`, or finds it there; otherwise as
/// [`write_archives`].
///
/// # Errors
/// When an option is out of its range, or a file can't be written.
pub fn write_bench_archive(
    config: &BenchConfig,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Summary, TelemetryError> {
    let stream = config.stream()?;
    write_noted(config, folder, || {
        let summary = write_topic(stream, config.partitions, folder, progress)?;
        Ok(Summary { topics: vec![summary], reused: false })
    })
}

fn write_noted<C: Serialize + DeserializeOwned + PartialEq + Clone>(
    config: &C,
    folder: &Path,
    write: impl FnOnce() -> Result<Summary, TelemetryError>,
) -> Result<Summary, TelemetryError> {
    std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
    let path = folder.join(NOTE);
    let noted = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Note<C>>(&text).ok());
    if let Some(Note { generator: GENERATOR, config: made, summary }) = noted
        && made == *config
        && summary.topics.iter().all(|topic| is_there(folder, topic))
    {
        return Ok(Summary { reused: true, ..summary });
    }
    if path.exists() {
        std::fs::remove_file(&path).map_err(|source| io(&path, source))?;
    }
    let summary = write()?;
    let note = Note { generator: GENERATOR, config: config.clone(), summary };
    let text = serde_json::to_vec_pretty(&note).expect("invariant: a note has only string keys");
    let temporary = folder.join(format!(".{NOTE}.tmp"));
    std::fs::write(&temporary, text).map_err(|source| io(&temporary, source))?;
    std::fs::rename(&temporary, &path).map_err(|source| io(&path, source))?;
    Ok(note.summary)
}

/// Whether a topic's folder holds as many files of as many bytes as were written.
fn is_there(folder: &Path, topic: &TopicSummary) -> bool {
    let Ok(files) = archive_files(&folder.join(topic.topic.name())) else { return false };
    let sizes = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|metadata| metadata.len());
    files.len() as u64 == topic.files && sizes.sum::<u64>() == topic.file_bytes
}

fn archive_files(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let ours = |name: &str| name.starts_with("part-") && name.ends_with(".parquet");
    Ok(entries
        .into_iter()
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .map(|entry| entry.path())
        .collect())
}

fn write_topic(
    mut stream: TopicStream,
    partitions: i32,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<TopicSummary, TelemetryError> {
    let topic = stream.topic;
    let folder = folder.join(topic.name());
    let mark = folder.join(MARK);
    let there = archive_files(&folder).unwrap_or_default();
    if !there.is_empty() && !mark.exists() {
        return Err(TelemetryError::Foreign { folder: folder.display().to_string() });
    }
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&mark, ""))
        .map_err(|source| io(&mark, source))?;
    for file in there {
        std::fs::remove_file(&file).map_err(|source| io(&file, source))?;
    }
    let mut writer =
        ArchiveWriter::new(&folder, ArchiveOptions { row_group_rows: 32_768, ..ArchiveOptions::default() })?;
    let (mut dirty, mut events) = (0, 0);
    while stream.advance().is_some() {
        let Some(event) = stream.current() else { break };
        writer.push(
            event.partition,
            event.offset,
            event.timestamp_ms,
            Some(event.key),
            Some(event.value),
            &[],
        )?;
        dirty += u64::from(event.dirt.is_some());
        events += 1;
        if events % PROGRESS_EVENTS == 0 {
            progress(PROGRESS_EVENTS);
        }
    }
    progress(events % PROGRESS_EVENTS);
    let written = writer.finish()?;
    Ok(TopicSummary {
        topic,
        partitions,
        events,
        dirty,
        value_bytes: written.value_bytes,
        files: written.files,
        file_bytes: written.file_bytes,
    })
}

fn io(path: &Path, source: std::io::Error) -> TelemetryError {
    TelemetryError::Io { path: path.display().to_string(), source }
}
