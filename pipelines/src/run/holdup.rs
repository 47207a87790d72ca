//! What holds a job back: which sink, step or checkpoint its sources wait for.
//!
//! ```text
//!   a sink is at one write for long ───────────────▶ that sink
//!   a source may not read for long ─┬─ checkpoint ──▶ the sink that publishes it
//!                                   └─ gate closed ─▶ the sink or step that was at work most of that time
//! ```

use std::fmt;
use std::time::Duration;

use thalweg_operators::source::WaitsFor;

use super::Status;

/// How long reading must be held back to be worth a word.
pub(crate) const WORTH_A_WORD: Duration = Duration::from_secs(5);

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HoldUp {
    /// A sink that takes rows slowly.
    Sink(String),
    /// A step that takes its time.
    Step(String),
    /// The publishing of a checkpoint, by a sink of this process or in another one.
    Publishing { checkpoint: u64, sink: Option<String> },
    /// No sink or step of this process: those of another one.
    Elsewhere,
}

impl fmt::Display for HoldUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldUp::Sink(name) => write!(f, "sink {name}"),
            HoldUp::Step(name) => write!(f, "step {name}"),
            HoldUp::Publishing { checkpoint, sink: None } => {
                write!(f, "checkpoint {checkpoint} to be published")
            }
            HoldUp::Publishing { checkpoint, sink: Some(sink) } => {
                write!(f, "checkpoint {checkpoint} to be published by sink {sink}")
            }
            HoldUp::Elsewhere => f.write_str("sinks that take rows slowly"),
        }
    }
}

/// Finds out what a job waits for; to be asked again and again.
pub(crate) struct HoldUps {
    status: Status,
    worth_a_word: Duration,
    /// How long each sink and step had been at work when all sources could last read.
    before: Vec<(HoldUp, Duration)>,
}

impl HoldUps {
    /// Tells of what takes `worth_a_word` at least.
    pub(crate) fn new(status: Status, worth_a_word: Duration) -> Self {
        let before = at_work(&status);
        HoldUps { status, worth_a_word, before }
    }

    /// What the job waits for now, and for how long it has; `None`: it goes on.
    pub(crate) fn look(&mut self) -> Option<(HoldUp, Duration)> {
        let sinks = self.status.sinks.iter();
        let stuck = sinks.filter_map(|(name, sink)| sink.busy.running().map(|time| (name, time)));
        if let Some((name, time)) = stuck.max_by_key(|(_, time)| *time)
            && time >= self.worth_a_word
        {
            return Some((HoldUp::Sink(name.clone()), time));
        }
        let waiting = self.status.sources.iter().filter_map(|source| source.waiting());
        let Some((what, time)) = waiting.max_by_key(|(_, time)| *time) else {
            self.before = at_work(&self.status);
            return None;
        };
        if time < self.worth_a_word {
            return None;
        }
        let what = match what {
            WaitsFor::Sinks | WaitsFor::Others => self.busiest(time),
            WaitsFor::Checkpoint => {
                let now = self.status.checkpoints.publications().now;
                let checkpoint = self.status.cuts.published() + 1;
                HoldUp::Publishing { checkpoint, sink: now.map(|(sink, ..)| sink) }
            }
        };
        Some((what, time))
    }

    // The sink or step that was at work for half of the time at least.
    fn busiest(&self, time: Duration) -> HoldUp {
        let now = at_work(&self.status);
        let since = now.into_iter().zip(&self.before);
        let since = since.map(|((what, now), (_, before))| (what, now.saturating_sub(*before)));
        let busiest = since.max_by_key(|(_, time)| *time).filter(|(_, busy)| *busy * 2 >= time);
        busiest.map_or(HoldUp::Elsewhere, |(what, _)| what)
    }
}

fn at_work(status: &Status) -> Vec<(HoldUp, Duration)> {
    let sinks = status.sinks.iter().map(|(name, sink)| (HoldUp::Sink(name.clone()), sink.busy.total()));
    let steps = status.steps.iter();
    let steps = steps.map(|step| (HoldUp::Step(step.name.clone()), step.counters.busy()));
    sinks.chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use thalweg_engine::checkpoint::Cuts;
    use thalweg_engine::control::Control;
    use thalweg_engine::tick::TickClock;
    use thalweg_operators::sink::SinkCounters;
    use thalweg_operators::source::SourceCounters;

    use super::*;
    use crate::run::StepStatus;

    fn status() -> Status {
        let step = |name: &str| StepStatus {
            name: name.to_owned(),
            windowed: false,
            has_model: false,
            counters: Arc::default(),
        };
        Status {
            pipeline: "held".to_owned(),
            generation: 1,
            sources: vec![Arc::new(SourceCounters::new("calls", Vec::new()))],
            steps: vec![step("first"), step("second")],
            sinks: ["out", "_late"].map(|name| (name.to_owned(), Arc::<SinkCounters>::default())).to_vec(),
            checkpoints: Arc::default(),
            cuts: Cuts::new(7, 1, TickClock::default()),
            bounded: false,
            control: Control::new(),
        }
    }

    // Lets time go by, without an assumption on how much.
    fn a_moment() {
        let before = Instant::now();
        while before.elapsed() < Duration::from_micros(100) {}
    }

    fn told(holdups: &mut HoldUps) -> Option<String> {
        holdups.look().map(|(what, _)| what.to_string())
    }

    #[test]
    fn what_is_at_work_while_a_source_waits_is_what_it_waits_for() {
        let status = status();
        let mut holdups = HoldUps::new(status.clone(), Duration::ZERO);
        assert_eq!(told(&mut holdups), None);
        let (step, sink) = (status.steps[1].counters.meter(), status.sinks[0].1.busy.add());
        let waits = status.sources[0].waits();

        // What was at work before counts for nothing.
        sink.time(a_moment);
        assert_eq!(told(&mut holdups), None, "it may read");
        waits.wait(WaitsFor::Sinks);
        a_moment();
        assert_eq!(told(&mut holdups), Some("sinks that take rows slowly".to_owned()));
        while told(&mut holdups) != Some("step second".to_owned()) {
            step.work(a_moment);
        }
        waits.over();
        assert_eq!(told(&mut holdups), None);
        waits.wait(WaitsFor::Sinks);
        while told(&mut holdups) != Some("sink out".to_owned()) {
            sink.time(a_moment);
        }
        waits.wait(WaitsFor::Checkpoint);
        assert_eq!(told(&mut holdups), Some("checkpoint 8 to be published".to_owned()));
        waits.over();
        // Also where it blocks the worker, so that no source is asked at all.
        sink.start();
        assert_eq!(told(&mut holdups), Some("sink out".to_owned()));
    }

    #[test]
    fn short_waits_are_not_worth_a_word() {
        let status = status();
        let mut holdups = HoldUps::new(status.clone(), WORTH_A_WORD);
        status.sources[0].waits().wait(WaitsFor::Checkpoint);
        status.sinks[1].1.busy.add().start();
        assert_eq!(told(&mut holdups), None);
        let by = HoldUp::Publishing { checkpoint: 8, sink: Some("out".to_owned()) };
        assert_eq!(by.to_string(), "checkpoint 8 to be published by sink out");
    }
}
