//! How far a job is, while it runs: a bar on a terminal, a line every few seconds elsewhere; and what holds its watermark back.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_operators::source::{SourceCounters, SplitGauge};
use thalweg_schemas::time::format_rfc3339;

use super::table;
use crate::run::Status;

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
    /// Starts to show, on standard error.
    pub(super) fn start(name: &str, status: Status) -> Self {
        let (stop, stopped) = channel();
        let mut view = View::new(name, status);
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
    bar: Option<ProgressBar>,
    started: Instant,
    line_at: Instant,
    line_read: u64,
    watermark: EventTime,
    watermark_since: Instant,
}

impl View {
    fn new(name: &str, status: Status) -> Self {
        let ahead: Option<u64> = status.sources.iter().map(|source| source.records_ahead()).sum();
        let bar = std::io::stderr().is_terminal().then(|| bar(name, ahead));
        let now = Instant::now();
        View {
            name: name.to_owned(),
            status,
            bar,
            started: now,
            line_at: now,
            line_read: 0,
            watermark: BEGINNING,
            watermark_since: now,
        }
    }

    fn look(&mut self) {
        let sum =
            |of: fn(&SourceCounters) -> u64| self.status.sources.iter().map(|source| of(source)).sum::<u64>();
        let (read, late, rejected) =
            (sum(SourceCounters::read), sum(SourceCounters::late), sum(SourceCounters::rejected));
        match &self.bar {
            Some(bar) => {
                bar.set_position(read);
                bar.set_message(format!("late {}, rejected {}", table::count(late), table::count(rejected)));
            }
            None if self.line_at.elapsed() >= LINE_EVERY => {
                let rate = (read - self.line_read) as f64 / self.line_at.elapsed().as_secs_f64();
                let _ = writeln!(
                    std::io::stderr(),
                    "{}: {:.0} s, read {}{}, {} rows/s, late {}, rejected {}, watermark {}",
                    self.name,
                    self.started.elapsed().as_secs_f64(),
                    table::count(read),
                    self.percent(read),
                    table::count(rate as u64),
                    table::count(late),
                    table::count(rejected),
                    shown(self.watermark),
                );
                (self.line_at, self.line_read) = (Instant::now(), read);
            }
            None => {}
        }
        self.watch_watermark();
    }

    fn percent(&self, read: u64) -> String {
        let ahead: Option<u64> = self.status.sources.iter().map(|source| source.records_ahead()).sum();
        ahead.map_or_else(String::new, |ahead| {
            format!(" ({:.0} %)", 100.0 * read as f64 / ahead.max(1) as f64)
        })
    }

    fn watch_watermark(&mut self) {
        let slowest = self.status.sources.iter().filter_map(|source| Some((source, source.slowest()?)));
        let Some((source, gauge)) = slowest.min_by_key(|(_, gauge)| gauge.watermark()) else { return };
        let watermark = gauge.watermark();
        if watermark != self.watermark {
            (self.watermark, self.watermark_since) = (watermark, Instant::now());
        } else if watermark != END && self.watermark_since.elapsed() >= STANDSTILL {
            warn_of(source, gauge, self.watermark_since.elapsed());
            // Said again when it has stood as long once more.
            self.watermark_since = Instant::now();
        }
    }

    fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn warn_of(source: &Arc<SourceCounters>, gauge: &SplitGauge, stood: Duration) {
    tracing::warn!(
        "the watermark has stood at {} for {:.0} s: source {}, split {}/{} holds it back",
        shown(gauge.watermark()),
        stood.as_secs_f64(),
        source.name,
        gauge.split.topic,
        gauge.split.partition,
    );
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
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(name.to_owned())
}
