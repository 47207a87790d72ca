//! The thread that makes checkpoints: asks for cuts, writes state, makes the manifest, has the sinks publish.
//!
//! ```text
//!   leader                                       others
//!   time for a cut ── Cut ─────────────────────▶ their tick clock goes to the next epoch
//!   own parts → state files                      own parts → state files
//!        │◀──────────── Prepared ────────────────┘
//!   manifest (if this run is still the newest)
//!   publish, on a thread of its own
//!        └──────────── Published ──────────────▶ their sources may go on after the next cut
//! ```
//!
//! The next cut is asked for while the one before is still being published, but its manifest waits, and so do the sources: what
//! is staged stays bounded by two checkpoints' worth, however slow a sink publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::counters::CheckpointCounters;
use super::cuts::{Cuts, Part, Taken};
use super::log::{Log, Retention};
use super::manifest::{Manifest, SourceCounts, SourcePosition, StagedFile, StagedSink, StateFile};
use super::{CheckpointError, Store, state};
use crate::cluster::links::{Links, Message, Prepared};
use crate::control::{Control, JobError};
use crate::failpoint;
use crate::tick::first_tick;

/// How long the thread waits at a time for parts, for other processes, or for publishing.
const PATIENCE: Duration = Duration::from_millis(20);

/// Makes the staged files of one sink visible.
///
/// # Errors
/// What can't be published: the job then fails, and the next run tries again.
pub trait Publisher: Send {
    /// The sink.
    fn sink(&self) -> &str;

    /// Makes the files of a checkpoint visible. Called again after a crash in its midst, also when it had succeeded: what is visible
    /// already stays as it is.
    fn publish(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), JobError>;

    /// Called before a run begins: removes what checkpoints after `newest` left, staged or published (the latter only where a
    /// run goes back to an earlier checkpoint).
    fn sweep(&mut self, newest: u64) -> Result<(), JobError>;
}

/// When checkpoints are made, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// From one to the next.
    pub interval: Duration,
    /// Earlier when a process has read so many rows since the last one.
    pub rows_max: Option<u64>,
    /// How many are kept.
    pub keep: usize,
}

/// Makes the checkpoints of a job, in one process of it.
pub struct Coordinator {
    /// When, and how many are kept.
    pub config: CoordinatorConfig,
    /// Where operators hand over their parts.
    pub cuts: Cuts,
    /// Where state goes.
    pub store: Store,
    /// This run's generation.
    pub generation: u64,
    /// What only the process has that makes the manifests.
    pub leader: Option<Leader>,
    /// The other processes.
    pub links: Links,
    /// The job's control.
    pub control: Control,
    /// What checkpoints cost.
    pub counters: Arc<CheckpointCounters>,
    /// Rows that this process has read so far.
    pub rows_read: Box<dyn Fn() -> u64 + Send>,
}

/// What a run has read and written in all its processes, as its checkpoints have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Of each source, by number: what this run has read, and what the job has since its beginning.
    pub sources: Vec<(SourceCounts, SourceCounts)>,
    /// Of each sink that stages files: what this run has written.
    pub sinks: BTreeMap<String, Written>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What makes manifests.
pub struct Leader {
    /// The job's log, claimed for this run.
    pub log: Log,
    /// The checkpoint that the run goes on from.
    pub base: Option<Manifest>,
    /// What the pipeline is.
    pub plan: serde_json::Value,
    /// The sources, by number.
    pub sources: Vec<String>,
    /// The sinks, in the plan's order, with the standing outputs.
    pub publishers: Vec<Box<dyn Publisher>>,
    /// Workers of all processes.
    pub workers: usize,
}

impl Coordinator {
    /// Makes checkpoints until the job's input ends, it is told to stop, or it fails; the last one is published when this returns.
    /// Whatever fails is given to the job's control. What all processes have done is known to the one that leads.
    pub fn run(mut self) -> Option<Account> {
        let control = self.control.clone();
        let leader = self.leader.take();
        let (result, account) = match leader {
            Some(leader) => {
                let mut account = Account::default();
                (self.lead(leader, &mut account), Some(account))
            }
            None => (self.follow(), None),
        };
        if let Err(error) = result {
            control.fail(error);
        }
        if let Some(reason) = control.reason() {
            self.links.send(Message::Failed { reason });
        }
        account
    }

    fn lead(&mut self, leader: Leader, account: &mut Account) -> Result<(), JobError> {
        let Leader { mut log, base, plan, sources, publishers, workers } = leader;
        let mut chain = Chain::new(base, plan, sources, &publishers, workers, self.generation);
        let made = self.make_checkpoints(&mut log, &mut chain, publishers);
        *account = chain.account;
        if (made.is_err() || self.control.failed())
            && let Ok(Some(fenced)) = log.replaced()
        {
            // A newer run sweeps away what this one has staged, and fences off its transactions: whatever failed, failed of that.
            self.control.fail_because_of(fenced);
        }
        made
    }

    fn make_checkpoints(
        &mut self,
        log: &mut Log,
        chain: &mut Chain,
        publishers: Vec<Box<dyn Publisher>>,
    ) -> Result<(), JobError> {
        let names: Vec<String> = publishers.iter().map(|publisher| publisher.sink().to_owned()).collect();
        let publishing = Publishing::start(publishers, self);
        let mut state = Asking::new((self.rows_read)());
        let mut cut = self.cuts.first() + 1;
        let mut prepared: BTreeMap<u64, Vec<Prepared>> = BTreeMap::new();
        let mut own_done = false;
        loop {
            let all_prepared = prepared.get(&cut).is_some_and(|all| all.len() > self.links.others());
            self.receive(&mut prepared, if own_done && !all_prepared { PATIENCE } else { Duration::ZERO })?;
            if self.control.failed() {
                return Ok(());
            }
            let stop = self.control.stop_asked();
            if state.asked.is_none() && (stop || state.due(&self.config, (self.rows_read)())) {
                if stop {
                    self.cuts.end_with(cut);
                }
                self.cuts.clock().end_epoch();
                self.links.send(Message::Cut { cut, last: stop });
                state.ask(stop);
                if stop {
                    tracing::info!(checkpoint = cut, "the job stops: a last checkpoint is made");
                }
                failpoint!("checkpoint::asked");
            }
            if !own_done {
                match self.cuts.take(cut, PATIENCE) {
                    Taken::Parts(parts) => prepared.entry(cut).or_default().push(self.prepare(cut, parts)?),
                    Taken::NotYet => continue,
                    // It failed, or was told to end without a last checkpoint.
                    Taken::Never if self.control.failed() || self.control.ending() => return Ok(()),
                    Taken::Never => {
                        return Err(
                            "the job has ended without its last checkpoint; this is a bug in Thalweg".into(),
                        );
                    }
                }
                own_done = true;
            }
            if prepared.get(&cut).is_none_or(|all| all.len() <= self.links.others()) {
                continue;
            }
            // The newest manifest is all that a restart publishes: the one before must be done.
            if !self.cuts.wait_published(cut - 1, PATIENCE) {
                continue;
            }
            let mut parts = prepared.remove(&cut).unwrap_or_default();
            parts.sort_by_key(|prepared| prepared.process);
            let manifest = chain.next(cut, parts, state.since, state.begun_ms, &names);
            log.append(&manifest)?;
            self.count(&manifest);
            let (finished, stopping) = (manifest.finished, state.stopping);
            publishing.publish(manifest, self.config.keep, log.retention());
            (cut, own_done) = (cut + 1, false);
            state = Asking::new((self.rows_read)());
            if finished || stopping {
                publishing.finish()?;
                if !self.control.failed() {
                    if stopping {
                        self.control.end();
                    }
                    self.links.send(Message::End);
                }
                return Ok(());
            }
        }
    }

    fn follow(&mut self) -> Result<(), JobError> {
        let mut cut = self.cuts.first() + 1;
        let mut prepared = BTreeMap::new();
        let mut stop_told = false;
        loop {
            // Where all is done, what is left is to hear that the last checkpoint is published.
            self.receive(&mut prepared, if self.cuts.closed() { PATIENCE } else { Duration::ZERO })?;
            if self.control.failed() || self.control.ending() {
                return Ok(());
            }
            if self.control.stop_asked() && !stop_told {
                self.links.send(Message::Stop);
                stop_told = true;
            }
            if let Taken::Parts(parts) = self.cuts.take(cut, PATIENCE) {
                let prepared = self.prepare(cut, parts)?;
                self.links.send(Message::Prepared(prepared));
                cut += 1;
            }
        }
    }

    // State files of this process's parts, and what the manifest will say of them.
    fn prepare(&self, cut: u64, parts: Vec<Part>) -> Result<Prepared, CheckpointError> {
        let mut prepared = Prepared {
            cut,
            process: self.links.process(),
            watermark: crate::watermark::BEGINNING,
            sources: Vec::new(),
            state: Vec::new(),
            sinks: Vec::new(),
        };
        failpoint!("checkpoint::before_state");
        for part in parts {
            match part {
                Part::Source { source, splits, since, watermark } => {
                    prepared.watermark = prepared.watermark.max(watermark);
                    prepared.sources.push((source, splits, since));
                }
                Part::State(part) => {
                    prepared.state.extend(state::write(&self.store, cut, self.generation, &part)?);
                    failpoint!("checkpoint::between_state_files");
                }
                Part::Sink { sink, files } => prepared.sinks.push((sink, files)),
            }
        }
        failpoint!("checkpoint::prepared");
        Ok(prepared)
    }

    // All that has come; waits for the first so long at most.
    fn receive(
        &mut self,
        prepared: &mut BTreeMap<u64, Vec<Prepared>>,
        patience: Duration,
    ) -> Result<(), JobError> {
        let mut patience = patience;
        loop {
            match self.links.receive(std::mem::take(&mut patience)) {
                None => return Ok(()),
                Some(Message::Cut { cut, last }) => {
                    if last {
                        self.cuts.end_with(cut);
                    }
                    self.cuts.clock().reach(first_tick(cut + 1));
                }
                Some(Message::Prepared(part)) => prepared.entry(part.cut).or_default().push(part),
                Some(Message::Published { cut }) => self.cuts.set_published(cut),
                Some(Message::Stop) => self.control.stop(),
                Some(Message::End) => self.control.end(),
                Some(Message::Failed { reason }) => return Err(reason.into()),
            }
        }
    }

    fn count(&self, manifest: &Manifest) {
        let counters = &self.counters;
        counters.newest.store(manifest.number, Relaxed);
        counters.made_at_ms.store(now_ms(), Relaxed);
        counters.made.fetch_add(1, Relaxed);
        counters.took_ms.store(manifest.took_ms, Relaxed);
        counters.bytes_written.store(manifest.state_bytes_written(), Relaxed);
        counters.bytes_written_in_all.fetch_add(manifest.state_bytes_written(), Relaxed);
        counters.bytes_held.store(manifest.state_bytes(), Relaxed);
        tracing::info!(
            checkpoint = manifest.number,
            took_ms = manifest.took_ms,
            state_bytes_written = manifest.state_bytes_written(),
            "checkpoint made"
        );
    }
}

/// Milliseconds since the epoch. Only records say when they were made; no result depends on it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// When the next cut is due, and since when one has been asked for.
struct Asking {
    last: Instant,
    rows: u64,
    asked: Option<Instant>,
    since: Instant,
    begun_ms: i64,
    stopping: bool,
}

impl Asking {
    fn new(rows: u64) -> Self {
        let now = Instant::now();
        Asking { last: now, rows, asked: None, since: now, begun_ms: now_ms(), stopping: false }
    }

    fn due(&self, config: &CoordinatorConfig, rows: u64) -> bool {
        self.last.elapsed() >= config.interval
            || config.rows_max.is_some_and(|most| rows.saturating_sub(self.rows) >= most)
    }

    fn ask(&mut self, stopping: bool) {
        let now = Instant::now();
        (self.asked, self.since, self.begun_ms, self.stopping) = (Some(now), now, now_ms(), stopping);
    }
}

/// From one manifest to the next.
struct Chain {
    generation: u64,
    workers: usize,
    plan: serde_json::Value,
    sources: Vec<String>,
    account: Account,
    state: Vec<StateFile>,
    rows: BTreeMap<String, u64>,
}

impl Chain {
    fn new(
        base: Option<Manifest>,
        plan: serde_json::Value,
        sources: Vec<String>,
        publishers: &[Box<dyn Publisher>],
        workers: usize,
        generation: u64,
    ) -> Self {
        let before = |name: &str| {
            let sources = base.iter().flat_map(|base| &base.sources);
            sources.filter(|source| source.name == name).map(|source| source.total).next().unwrap_or_default()
        };
        let rows_before = |name: &str| {
            let sinks = base.iter().flat_map(|base| &base.sinks);
            sinks.filter(|sink| sink.name == name).map(|sink| sink.rows_total).sum()
        };
        Chain {
            generation,
            workers,
            plan,
            account: Account {
                sources: sources.iter().map(|name| (SourceCounts::default(), before(name))).collect(),
                sinks: BTreeMap::new(),
            },
            rows: publishers.iter().map(|p| (p.sink().to_owned(), rows_before(p.sink()))).collect(),
            state: base.map(|base| base.state).unwrap_or_default(),
            sources,
        }
    }

    fn next(
        &mut self,
        cut: u64,
        parts: Vec<Prepared>,
        since: Instant,
        begun_ms: i64,
        sinks: &[String],
    ) -> Manifest {
        let mut sources: Vec<SourcePosition> = self
            .sources
            .iter()
            .zip(&self.account.sources)
            .map(|(name, (_, total))| SourcePosition {
                name: name.clone(),
                splits: Vec::new(),
                since: SourceCounts::default(),
                total: *total,
            })
            .collect();
        let mut files: BTreeMap<String, Vec<StagedFile>> = BTreeMap::new();
        let mut watermark = crate::watermark::BEGINNING;
        for part in parts {
            watermark = watermark.max(part.watermark);
            for (source, splits, since) in part.sources {
                let position = &mut sources[source as usize];
                position.splits.extend(splits);
                position.since += since;
                position.total += since;
            }
            self.state.extend(part.state);
            for (sink, staged) in part.sinks {
                files.entry(sink).or_default().extend(staged);
            }
        }
        sources.iter_mut().for_each(|source| source.splits.sort_by_key(|split| split.number));
        let finished = sources.iter().all(|source| source.splits.iter().all(|split| split.ended));
        for ((run, total), source) in self.account.sources.iter_mut().zip(&sources) {
            *run += source.since;
            *total = source.total;
        }
        self.state = state::needed(std::mem::take(&mut self.state));
        let sinks = sinks
            .iter()
            .map(|name| {
                let files = files.remove(name).unwrap_or_default();
                let written = self.account.sinks.entry(name.clone()).or_default();
                let rows: u64 = files.iter().map(|file| file.rows).sum();
                written.rows += rows;
                written.files += files.len() as u64;
                written.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
                let rows_total = self.rows.entry(name.clone()).or_default();
                *rows_total += rows;
                StagedSink { name: name.clone(), files, rows_total: *rows_total }
            })
            .collect();
        Manifest {
            number: cut,
            generation: self.generation,
            begun_ms,
            took_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            finished,
            watermark: if finished { crate::watermark::END } else { watermark },
            workers: self.workers,
            plan: self.plan.clone(),
            sources,
            state: self.state.clone(),
            sinks,
        }
    }
}

/// The thread that has the sinks publish.
struct Publishing {
    work: SyncSender<(Manifest, usize, Retention)>,
    thread: std::thread::JoinHandle<()>,
}

impl Publishing {
    fn start(mut publishers: Vec<Box<dyn Publisher>>, job: &Coordinator) -> Self {
        let (work, inbox) = sync_channel::<(Manifest, usize, Retention)>(1);
        let (cuts, control, counters) = (job.cuts.clone(), job.control.clone(), Arc::clone(&job.counters));
        let links = job.links.sender();
        let thread = std::thread::spawn(move || {
            for (manifest, keep, retention) in inbox {
                let published = publish(&mut publishers, &manifest, &counters)
                    .and_then(|()| retention.forget_old(keep).map_err(JobError::from));
                if let Err(error) = published {
                    control.fail(error);
                    return;
                }
                tracing::info!(checkpoint = manifest.number, "checkpoint published");
                cuts.set_published(manifest.number);
                links.send(Message::Published { cut: manifest.number });
            }
        });
        Publishing { work, thread }
    }

    fn publish(&self, manifest: Manifest, keep: usize, retention: Retention) {
        // A thread that is gone has told the job's control why.
        let _ = self.work.send((manifest, keep, retention));
    }

    fn finish(self) -> Result<(), JobError> {
        drop(self.work);
        self.thread.join().map_err(|_| JobError::from("publishing panicked; this is a bug in Thalweg"))
    }
}

/// Has every sink publish its files of a checkpoint.
///
/// # Errors
/// The first sink's that fails.
pub fn publish(
    publishers: &mut [Box<dyn Publisher>],
    manifest: &Manifest,
    counters: &CheckpointCounters,
) -> Result<(), JobError> {
    for publisher in publishers {
        let staged = manifest.sinks.iter().find(|sink| sink.name == publisher.sink());
        failpoint!("checkpoint::before_publishing_a_sink");
        if let Some(staged) = staged {
            counters.begin(publisher.sink(), manifest.number);
            publisher.publish(manifest.number, &staged.files)?;
            counters.done(publisher.sink());
        }
    }
    failpoint!("checkpoint::published");
    Ok(())
}
