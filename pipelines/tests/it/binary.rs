//! The binary as a process beside the test: started, signalled, waited for with a limit, and never left behind; and what it has
//! written.
//!
//! ```text
//!   Run { pipeline, output, workers, … } ─start─▶ Running ─▶ id, signal, ended, log
//!                                                 └─ dropped: it and all that it started are killed
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thalweg_engine::checkpoint::{CheckpointError, History, Manifest, Store};
use thalweg_kafka::{KafkaConfig, KafkaPlan, Position};
use thalweg_operators::source::{ReadRequest, SplitReader};

use crate::patience::{PATIENCE, holds_within, wait_until};
use crate::support::{files, rows};

/// How long a run may take that has only so much to do, with others beside it.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// `thalweg run`, and how.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The pipeline's file.
    pub(crate) pipeline: PathBuf,
    /// The folder of the outputs.
    pub(crate) output: PathBuf,
    /// Workers of each process.
    pub(crate) workers: usize,
    /// 1: no supervisor, this process is the job.
    pub(crate) processes: usize,
    /// This process is one of a job, by its number; the file lists all of them.
    pub(crate) member: Option<(usize, PathBuf)>,
    /// Whether it throws away what is there.
    pub(crate) fresh: bool,
    /// What the pipeline's variables are.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Where the process is to crash, as the crate `fail` has it: `name=return`.
    pub(crate) failpoints: String,
}

impl Run {
    /// On one worker, in one process that crashes nowhere.
    pub(crate) fn new(pipeline: &Path, output: &Path) -> Run {
        Run {
            pipeline: pipeline.to_owned(),
            output: output.to_owned(),
            workers: 1,
            processes: 1,
            member: None,
            fresh: false,
            environment: Vec::new(),
            failpoints: String::new(),
        }
    }

    /// Starts it. What it says goes to a file beside the pipeline's.
    pub(crate) fn start(&self) -> Running {
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let log = self.pipeline.with_extension(format!("{}.log", STARTS.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command
            .args(["-v", "run"])
            .arg(&self.pipeline)
            .arg("--output")
            .arg(&self.output)
            .args(["--workers", &self.workers.to_string(), "--format", "json"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FAILPOINTS", &self.failpoints)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .process_group(0);
        if self.fresh {
            command.arg("--fresh");
        }
        if self.processes > 1 {
            command.args(["--processes", &self.processes.to_string()]);
        }
        if let Some((process, hosts)) = &self.member {
            command.args(["--process", &process.to_string(), "--hosts"]).arg(hosts);
        }
        Running { child: command.spawn().expect("the binary starts"), log }
    }

    /// Runs it to its end, which has to be a good one; what it said.
    pub(crate) fn to_the_end(&self) -> String {
        let mut running = self.start();
        let status = running.end();
        assert!(status.success(), "{status}: {}", running.log());
        running.log()
    }
}

/// A process of the binary, and those that it has started.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process's number"))
    }

    /// Its own processes: those of the job, where it supervises one.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let listed = format!("/proc/{0}/task/{0}/children", self.id());
        let text = fs::read_to_string(listed).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.id(), signal).expect("a process that has not been waited for");
    }

    /// Sends a signal to it and to all that it has started.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        for child in self.children() {
            kill(child, signal).expect("a process that its supervisor has not waited for");
        }
    }

    /// Kills it, and all that it has started.
    pub(crate) fn kill(&mut self) {
        // Stopped first, so that it starts none in the meantime.
        let _ = kill(self.id(), Signal::SIGSTOP);
        let children = self.children();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They may be gone, but nobody has taken their numbers so soon.
        for child in children {
            let _ = kill(child, Signal::SIGKILL);
        }
    }

    /// Whether it has ended, and how, after so long at most.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        holds_within(limit, || self.child.try_wait().expect("a child").is_some());
        self.child.try_wait().expect("a child")
    }

    /// How it ended, which it has to do in time.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let status = self.ended_within(LIMIT);
        status.unwrap_or_else(|| panic!("it did not end within {LIMIT:?}: {}", self.log()))
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The newest checkpoint of the job that writes to a folder; `None`: there is none yet.
pub(crate) fn newest_checkpoint(output: &Path) -> Option<Manifest> {
    let checkpoints = output.join("_checkpoints");
    if !checkpoints.join("log").exists() {
        return None;
    }
    let store = Store::open(&checkpoints.display().to_string()).expect("the folder of checkpoints");
    let history = History::read(&store).expect("a log");
    history.newest().unwrap_or_else(|error: CheckpointError| panic!("{error}")).cloned()
}

/// Rows that a job has read up to its newest checkpoint, all of which went one way: accepted, late, rejected.
pub(crate) fn account(output: &Path) -> [u64; 4] {
    let manifest = newest_checkpoint(output);
    let totals = manifest.iter().flat_map(|manifest| &manifest.sources).map(|source| source.total);
    let mut sum = [0; 4];
    for total in totals {
        assert_eq!(total.read, total.accepted + total.late + total.rejected, "{total:?}");
        for (sum, part) in sum.iter_mut().zip([total.read, total.accepted, total.late, total.rejected]) {
            *sum += part;
        }
    }
    sum
}

/// The rows of a sink's folder, sorted: lines that are equal only if every value is. Whoever wrote the newest checkpoint may have left
/// nothing that is not published. One that was replaced may: it has staged until it noticed.
pub(crate) fn sink_rows(output: &Path, sink: &str) -> Vec<String> {
    let folder = output.join(sink);
    let found = if folder.exists() { files(&folder) } else { Vec::new() };
    if found.is_empty() {
        return Vec::new();
    }
    let generation = newest_checkpoint(output).map_or(0, |newest| newest.generation);
    let staging = folder.join(format!(".staging/{generation}"));
    let staged: Vec<&PathBuf> = found.iter().filter(|path| path.starts_with(&staging)).collect();
    assert!(staged.is_empty(), "left behind: {staged:?}");
    rows(output, sink)
}

/// The committed records of a topic, sorted, each with its partition, time and key.
pub(crate) fn committed_records(brokers: &str, topic: &str) -> Vec<String> {
    let plan = |isolation: &str| {
        let mut config = KafkaConfig::new("result", brokers, [topic]);
        (config.start, config.end) = (Position::Earliest, Some(Position::Latest));
        config.properties.insert("isolation.level".to_owned(), isolation.to_owned());
        config.resolve(PATIENCE).unwrap_or_else(|error| panic!("{error}"))
    };
    let ends = |plan: &KafkaPlan| -> Vec<_> { plan.splits().iter().map(|split| split.end).collect() };
    // After a commit is promised, the partitions learn of it one by one.
    wait_until("no transaction is open", || ends(&plan("read_committed")) == ends(&plan("read_uncommitted")));
    let plan = plan("read_committed");
    let mut reader = plan.reader(0, 1).unwrap_or_else(|error| panic!("{error}"));
    let splits = reader.splits().to_vec();
    let mut order: Vec<usize> = (0..splits.len()).collect();
    let mut found = Vec::new();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let ended = holds_within(PATIENCE, || {
        let wait = Duration::from_millis(100);
        let request = ReadRequest { bytes_max: usize::MAX, records_max: usize::MAX, wait, order: &order };
        let progress = reader.read(request, &mut |record| {
            let (key, value) = (text(record.key), text(record.value));
            let partition = splits[record.split].partition;
            found.push(format!("{partition} {:?} {key:?} {value:?}", record.timestamp_us));
        });
        let progress = progress.unwrap_or_else(|error| panic!("{error}"));
        order.retain(|split| !progress.ended.contains(split));
        order.is_empty()
    });
    assert!(ended, "{topic} has no end: a transaction was left open");
    found.sort();
    found
}
