//! How far a job is, while it runs: a bar on a terminal, a line every few seconds elsewhere; what it waits for, and what holds its
//! watermark back.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_operators::source::{SourceCounters, SplitGauge, SplitInfo};
use thalweg_schemas::time::format_rfc3339;

use super::logging::{self, NOTICE};
use super::{table, terminal};
use crate::run::Status;
use crate::run::holdup::{HoldUps, WORTH_A_WORD};

const LOOK_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How long the watermark may stand still before the log says what holds it.
const STANDSTILL: Duration = Duration::from_secs(10);

/// Shows a job's progress until it is stopped.
pub(super) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Starts to show, on standard error; unless `shows`, only what holds up the job.
    pub(super) fn start(name: &str, status: Status, shows: bool) -> Self {
        let (stop, stopped) = channel();
        let mut view = View::new(name, status, shows);
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                view.look();
            }
            view.end();
        });
        Watch { stop, thread }
    }

    /// Ends it, so that what follows stands on lines of its own.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread that only shows numbers is no reason to fail the job.
        let _ = self.thread.join();
    }
}

struct View {
    name: String,
    status: Status,
    shows: bool,
    bar: Option<ProgressBar>,
    started: Instant,
    line_at: Instant,
    line_read: u64,
    holdups: HoldUps,
    standstill: Standstill,
}

impl View {
    fn new(name: &str, status: Status, shows: bool) -> Self {
        let ahead: Option<u64> = status.sources.iter().map(|source| source.records_ahead()).sum();
        let bar = (shows && std::io::stderr().is_terminal() && !logging::is_json()).then(|| bar(name, ahead));
        let now = Instant::now();
        View {
            name: name.to_owned(),
            holdups: HoldUps::new(status.clone(), WORTH_A_WORD),
            status,
            shows,
            bar,
            started: now,
            line_at: now,
            line_read: 0,
            standstill: Standstill::new(now),
        }
    }

    fn look(&mut self) {
        let sum =
            |of: fn(&SourceCounters) -> u64| self.status.sources.iter().map(|source| of(source)).sum::<u64>();
        let (read, late, rejected) =
            (sum(SourceCounters::read), sum(SourceCounters::late), sum(SourceCounters::rejected));
        let held = self.holdups.look();
        let held = held.map(|(what, time)| format!("{what} ({:.0} s)", time.as_secs_f64()));
        match &self.bar {
            Some(bar) => {
                bar.set_position(read);
                let waits = waits_for(held.as_deref());
                bar.set_message(format!(
                    "late {}, rejected {}{waits}",
                    table::count(late),
                    table::count(rejected)
                ));
            }
            None if self.shows && self.line_at.elapsed() >= LINE_EVERY => {
                let rate = (read - self.line_read) as f64 / self.line_at.elapsed().as_secs_f64();
                self.line(read, late, rejected, rate as u64, held.as_deref());
                (self.line_at, self.line_read) = (Instant::now(), read);
            }
            None => {}
        }
        self.watch_watermark();
    }

    fn line(&self, read: u64, late: u64, rejected: u64, rate: u64, held: Option<&str>) {
        let (seconds, watermark) = (self.started.elapsed().as_secs_f64(), shown(self.standstill.watermark));
        if logging::is_json() {
            tracing::info!(
                target: NOTICE,
                pipeline = self.name,
                seconds,
                read,
                rows_per_second = rate,
                late,
                rejected,
                watermark,
                waits_for = held,
                "progress"
            );
            return;
        }
        logging::notice(format_args!(
            "{}: {seconds:.0} s, read {}{}, {} rows/s, late {}, rejected {}, watermark {watermark}{}",
            self.name,
            table::count(read),
            self.percent(read),
            table::count(rate),
            table::count(late),
            table::count(rejected),
            waits_for(held),
        ));
    }

    fn percent(&self, read: u64) -> String {
        let ahead: Option<u64> = self.status.sources.iter().map(|source| source.records_ahead()).sum();
        ahead.map_or_else(String::new, |ahead| {
            format!(" ({:.0} %)", 100.0 * read as f64 / ahead.max(1) as f64)
        })
    }

    fn watch_watermark(&mut self) {
        let splits = self.status.sources.iter().flat_map(|source| {
            // One that is idle holds back nothing.
            // Those of other processes are theirs to complain of.
            let read_here = |gauge: &&SplitGauge| !gauge.idle() && gauge.next().is_some();
            source.splits().iter().filter(read_here).map(|gauge| Held {
                source: &source.name,
                split: &gauge.split,
                watermark: gauge.watermark(),
            })
        });
        if let Some(lowest) = lowest(splits)
            && let Some(stood) = self.standstill.look(lowest.watermark, Instant::now())
        {
            tracing::warn!("{}", lowest.complaint(stood));
        }
    }

    fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A split and where it holds the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held<'a> {
    source: &'a str,
    split: &'a SplitInfo,
    watermark: EventTime,
}

impl Held<'_> {
    fn complaint(&self, stood: Duration) -> String {
        format!(
            "the watermark has stood at {} for {:.0} s: source {}, split {}/{} holds it back",
            shown(self.watermark),
            stood.as_secs_f64(),
            self.source,
            self.split.topic,
            self.split.partition,
        )
    }
}

/// The split that holds back all others: the lowest one.
fn lowest<'a>(splits: impl Iterator<Item = Held<'a>>) -> Option<Held<'a>> {
    splits.min_by_key(|held| held.watermark)
}

/// How long the job's watermark has not moved.
struct Standstill {
    watermark: EventTime,
    since: Instant,
    told: Instant,
}

impl Standstill {
    fn new(now: Instant) -> Self {
        Standstill { watermark: BEGINNING, since: now, told: now }
    }

    /// For how long the watermark has stood, where that is worth a word: once in so long, and never at the end.
    fn look(&mut self, watermark: EventTime, now: Instant) -> Option<Duration> {
        if watermark != self.watermark {
            *self = Standstill { watermark, since: now, told: now };
        }
        if watermark == END || now.duration_since(self.told) < STANDSTILL {
            return None;
        }
        self.told = now;
        Some(now.duration_since(self.since))
    }
}

fn waits_for(held: Option<&str>) -> String {
    held.map_or_else(String::new, |held| format!(", waits for {held}"))
}

fn shown(watermark: EventTime) -> String {
    match watermark {
        BEGINNING => "the beginning".to_owned(),
        END => "the end".to_owned(),
        time => format_rfc3339(time),
    }
}

fn bar(name: &str, ahead: Option<u64>) -> ProgressBar {
    let (bar, template) = match ahead {
        Some(ahead) => (
            ProgressBar::new(ahead),
            "{prefix} [{bar:32}] {percent} % {human_pos}/{human_len} rows, {per_sec}, {eta} left, {msg}",
        ),
        None => {
            (ProgressBar::no_length(), "{prefix} {spinner} {human_pos} rows, {per_sec}, {elapsed}, {msg}")
        }
    };
    bar.with_style(terminal::style(template)).with_prefix(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: EventTime = 1_772_452_800_000_000;

    fn split(topic: &str, partition: i32) -> SplitInfo {
        SplitInfo {
            topic: topic.into(),
            partition,
            number: partition as u32,
            start: 0,
            end: None,
            records_ahead: None,
        }
    }

    #[test]
    fn the_lowest_split_of_all_sources_is_the_one_that_is_named() {
        let splits = [split("calls", 0), split("calls", 1), split("clicks", 0), split("clicks", 1)];
        let lowest_of = |watermarks: [EventTime; 4]| {
            let held = splits.iter().zip(watermarks).map(|(split, watermark)| {
                let source = if &*split.topic == "calls" { "requests" } else { "interactions" };
                Held { source, split, watermark }
            });
            lowest(held).map(|held| held.complaint(Duration::from_secs(10))).unwrap_or_default()
        };
        assert_eq!(
            lowest_of([NOON + 3, END, NOON, NOON + 1]),
            "the watermark has stood at 2026-03-02T12:00:00Z for 10 s: source interactions, split clicks/0 holds it back"
        );
        assert!(
            lowest_of([NOON, NOON - 1, NOON, END]).ends_with("source requests, split calls/1 holds it back")
        );
        // One that has read nothing yet holds back all.
        assert_eq!(
            lowest_of([NOON, NOON, NOON, BEGINNING]),
            "the watermark has stood at the beginning for 10 s: source interactions, split clicks/1 holds it back"
        );
        assert_eq!(lowest([].into_iter()), None);
    }

    #[test]
    fn a_standstill_is_told_once_in_so_long_and_not_at_the_end() {
        let start = Instant::now();
        let mut standstill = Standstill::new(start);
        let mut look = |watermark, after_s| standstill.look(watermark, start + Duration::from_secs(after_s));
        assert_eq!(look(BEGINNING, 9), None);
        assert_eq!(look(BEGINNING, 11), Some(Duration::from_secs(11)));
        assert_eq!(look(BEGINNING, 20), None, "said nine seconds ago");
        assert_eq!(look(BEGINNING, 21), Some(Duration::from_secs(21)));
        assert_eq!(look(NOON, 40), None, "it has moved");
        assert_eq!(look(NOON, 49), None);
        assert_eq!(look(NOON, 50), Some(Duration::from_secs(10)));
        assert_eq!(look(END, 60), None);
        assert_eq!(look(END, 600), None, "all is read");
    }
}
