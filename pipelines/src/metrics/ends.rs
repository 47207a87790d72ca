//! Keeps the job's counters told of where its splits end, for the lag in rows.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use thalweg_kafka::EndOffsets;
use thalweg_operators::source::{SourceCounters, SplitGauge};

use crate::lower::sources::end_offsets;
use crate::plan::{Plan, PlannedSource};
use crate::run::Status;

/// How often brokers are asked.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// How long they may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks, on a thread of its own, until the sender is dropped. `None`: no split of the job is without an end, so there is nothing to ask.
pub(super) fn watch(plan: &Plan, status: &Status) -> Option<Sender<()>> {
    let sources = plan.sources.iter().cloned().zip(status.sources.iter().cloned());
    let mut unbounded: Vec<Unbounded> = sources
        .filter(|(_, counters)| counters.splits().iter().any(is_unbounded))
        .map(|(planned, counters)| Unbounded { planned, counters, client: None })
        .collect();
    if unbounded.is_empty() {
        return None;
    }
    let (stop, stopped) = channel();
    std::thread::spawn(move || {
        loop {
            unbounded.iter_mut().for_each(Unbounded::ask);
            if stopped.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    Some(stop)
}

/// A source without an end.
struct Unbounded {
    planned: PlannedSource,
    counters: Arc<SourceCounters>,
    client: Option<EndOffsets>,
}

impl Unbounded {
    fn ask(&mut self) {
        if self.client.is_none() {
            self.client = end_offsets(&self.planned);
        }
        let Some(client) = &self.client else { return };
        let gauges: Vec<&SplitGauge> =
            self.counters.splits().iter().filter(|gauge| is_unbounded(gauge)).collect();
        let splits: Vec<(&str, i32)> =
            gauges.iter().map(|gauge| (&*gauge.split.topic, gauge.split.partition)).collect();
        for (gauge, end) in gauges.iter().zip(client.ask(&splits, ASK_TIMEOUT)) {
            // What was true a while ago is better than nothing.
            end.into_iter().for_each(|end| gauge.set_end(end));
        }
    }
}

fn is_unbounded(gauge: &SplitGauge) -> bool {
    gauge.split.end.is_none() && gauge.split.records_ahead.is_none()
}
