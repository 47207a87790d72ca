//! Jobs that are killed at random instants write what jobs write that nobody touches.
//!
//! ```text
//!   events ─▶ topic ─┬─▶ job ─▶ killed ─▶ other workers, other processes ─▶ killed ─▶ … ─▶ its end ─┐
//!                    └─▶ job ─▶ its end ────────────────────────────────────────────────────────────┴─▶ the same rows
//! ```
//!
//! Everything that is drawn follows from a seed, which is printed: `THALWEG_CHAOS_SEED` draws the same again. Where in a job's work a kill
//! lands depends on the machine; no outcome does. `THALWEG_CHAOS_KILLS` and `THALWEG_CHAOS_EVENTS` say how much of it there is: `make chaos`.

use std::env;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binary::{LIMIT, Run, Running, account};
use crate::kafka::broker;
use crate::patience::holds_within;
use crate::support::Random;

mod events;
mod jobs;
mod trouble;

use events::Events;
use jobs::{FORWARD, J1, J2, Job, Outcome, Prepared};

/// When a kill comes, in milliseconds after a start: while it starts, reads, makes checkpoints, publishes.
const KILL_AFTER_MS: std::ops::Range<u64> = 50..1500;

fn number(variable: &str, default: u64) -> u64 {
    let given = env::var(variable).ok();
    given.map_or(default, |text| {
        text.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable}={text}: a number"))
    })
}

/// Draws what happens.
struct Schedule {
    random: Random,
}

impl Schedule {
    /// As the seed says that is given, or by the clock.
    fn new() -> Schedule {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970").subsec_nanos();
        let seed = number("THALWEG_CHAOS_SEED", clock.into());
        println!("to draw the same again: THALWEG_CHAOS_SEED={seed}");
        Schedule { random: Random(seed) }
    }

    fn next(&mut self) -> Start {
        let random = &mut self.random;
        let processes = 1 + random.below(2) as usize;
        let victim = match (processes, random.below(5)) {
            (_, 0) => Victim::Stopping,
            (1, _) | (_, 1) => Victim::All,
            (_, 2) => Victim::Supervisor,
            (_, which) => Victim::Process(which as usize - 3),
        };
        let mut after = || {
            let ms = KILL_AFTER_MS.start + random.below(KILL_AFTER_MS.end - KILL_AFTER_MS.start);
            Duration::from_millis(ms)
        };
        let (killed_after, then_after) = (after(), after());
        Start {
            workers: 1 + random.below(if processes == 1 { 4 } else { 2 }) as usize,
            processes,
            victim,
            killed_after,
            then_after,
        }
    }
}

/// How a job is started, and how it ends.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Of each process.
    workers: usize,
    processes: usize,
    victim: Victim,
    killed_after: Duration,
    /// From the loss of a process to that of all others.
    then_after: Duration,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Start { workers, processes, victim, killed_after, .. } = self;
        write!(f, "{processes} × {workers} workers, {victim:?} killed after {killed_after:?}")
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// Everybody at once.
    All,
    /// Everybody, after they were told to stop: mostly in the midst of their last checkpoint.
    Stopping,
    /// One of two processes; the supervisor starts the job again, which is killed as a whole later.
    Process(usize),
    /// The supervisor: the processes that are left stop by themselves, with the next run on their heels.
    Supervisor,
}

/// How a run ended that was to be killed.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// It was told to, and was faster.
    Stopped,
    Finished,
}

/// Processes whose supervisor was killed. They have to end by themselves.
#[derive(Default)]
struct Orphans(Vec<Pid>);

impl Orphans {
    fn alive(id: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // One that nobody has waited for is dead all the same.
        stat.contains("(thalweg)") && !stat.contains(") Z ")
    }

    fn have_ended(&self) {
        assert!(
            holds_within(LIMIT, || !self.0.iter().any(|id| Orphans::alive(*id))),
            "processes go on without their supervisor: {:?}",
            self.0
        );
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        for id in self.0.iter().filter(|id| Orphans::alive(**id)) {
            let _ = kill(*id, Signal::SIGKILL);
        }
    }
}

/// A folder that is kept for looking at when the test fails.
struct Folder(Option<tempfile::TempDir>);

impl Folder {
    fn new() -> Folder {
        Folder(Some(tempfile::tempdir().expect("a temporary folder")))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("invariant: there until it is dropped").path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|_| std::thread::panicking()) {
            println!("logs and outputs are left in {}", folder.keep().display());
        }
    }
}

/// What the jobs share.
struct Chaos {
    folder: Folder,
    schedule: Schedule,
    orphans: Orphans,
    kills: u64,
    trials: usize,
}

impl Chaos {
    /// A job at its beginning, with an output folder of its own.
    fn prepare(&mut self, job: &Job, events: &Events) -> Prepared {
        self.trials += 1;
        job.prepare(
            self.folder.path(),
            &format!("{}-{}", job.name, self.trials),
            broker().brokers(),
            events.topic(),
        )
    }

    /// Starts a job and kills it, unless it ends before.
    fn kill(&mut self, run: &Run) -> End {
        let start = self.schedule.next();
        println!("{}: {start}", run.output.file_name().unwrap_or_default().display());
        let mut running = Run { workers: start.workers, processes: start.processes, ..run.clone() }.start();
        if let Some(status) = running.ended_within(start.killed_after) {
            assert!(status.success(), "{status}: {}", running.log());
            return End::Finished;
        }
        let children = running.children();
        match start.victim {
            Victim::Stopping => {
                running.signal(Signal::SIGTERM);
                if let Some(status) = running.ended_within(start.then_after / 20) {
                    assert!(status.success(), "{status}: {}", running.log());
                    return End::Stopped;
                }
                running.kill();
            }
            Victim::Process(which) if which < children.len() => {
                let _ = kill(children[which], Signal::SIGKILL);
                self.kills += 1;
                if let Some(status) = running.ended_within(start.then_after) {
                    assert!(status.success(), "{status}: {}", running.log());
                    return End::Finished;
                }
                running.kill();
            }
            Victim::Supervisor if !children.is_empty() => {
                running.signal(Signal::SIGKILL);
                self.orphans.0.extend(children);
            }
            _ => running.kill(),
        }
        self.kills += 1;
        End::Killed
    }

    /// A job whose input comes as it is killed, until all has come; then it is told to stop.
    fn killed_while_its_input_comes(&mut self, job: &Job, events: &mut Events, kills: u64) {
        let prepared = self.prepare(job, events);
        let before = self.kills;
        while self.kills - before < kills {
            events.feed_part(self.kills - before, kills);
            assert_ne!(self.kill(&prepared.run), End::Finished, "a job without an end has ended");
        }
        events.feed_rest();
        let start = self.schedule.next();
        println!("{}: on {} × {} workers to its end", job.name, start.processes, start.workers);
        let run = Run { workers: start.workers, processes: start.processes, ..prepared.run.clone() };
        stop_when_all_is_read(run.start(), &run.output, events.fed());
        self.compare(job, &prepared, events);
    }

    /// A job whose input is there, killed until it comes to its end in spite of it.
    fn killed_until_its_end(&mut self, job: &Job, events: &Events, kills: u64) {
        let prepared = self.prepare(job, events);
        let before = self.kills;
        while self.kills - before < kills {
            if self.kill(&prepared.run) == End::Finished {
                break;
            }
        }
        prepared.run.to_the_end();
        self.compare(job, &prepared, events);
    }

    fn compare(&mut self, job: &Job, killed: &Prepared, events: &Events) {
        self.orphans.have_ended();
        let undisturbed = self.prepare(job, events);
        let run = Run { workers: 2, ..undisturbed.run.clone() };
        if job.bounded {
            run.to_the_end();
        } else {
            stop_when_all_is_read(run.start(), &run.output, events.fed());
        }
        Outcome::of(killed).must_equal(&Outcome::of(&undisturbed), events.fed(), job.name);
    }
}

/// Tells a job to stop when its newest checkpoint has read so much.
fn stop_when_all_is_read(mut running: Running, output: &Path, events: u64) {
    let all_read = || account(output)[0] == events;
    let read = holds_within(LIMIT, || all_read() || running.ended_within(Duration::ZERO).is_some());
    assert!(read && all_read(), "{:?} of {events} read: {}", account(output), running.log());
    running.signal(Signal::SIGTERM);
    let status = running.end();
    assert!(status.success(), "{status}: {}", running.log());
}

#[test]
fn jobs_that_are_killed_write_what_undisturbed_jobs_write() {
    let kills = number("THALWEG_CHAOS_KILLS", 6);
    let mut events = Events::new(broker().brokers(), number("THALWEG_CHAOS_EVENTS", 200_000));
    let mut chaos = Chaos {
        folder: Folder::new(),
        schedule: Schedule::new(),
        orphans: Orphans::default(),
        kills: 0,
        trials: 0,
    };
    let share = kills.div_ceil(3);
    chaos.killed_while_its_input_comes(&J1, &mut events, share);
    chaos.killed_until_its_end(&J2, &events, share);
    chaos.killed_until_its_end(&FORWARD, &events, share);
    // A job may end before it was killed so often: then once more from its beginning.
    for job in [&J2, &FORWARD].into_iter().cycle() {
        if chaos.kills >= kills {
            break;
        }
        chaos.killed_until_its_end(job, &events, kills - chaos.kills);
    }
    println!("{} kills", chaos.kills);
}
