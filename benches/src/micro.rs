//! Parts of a job by themselves, on one thread unless said otherwise.

use std::time::Duration;

use crate::data::Data;

mod decode;
mod exchange;
mod models;
mod networks;
mod sums;
pub(crate) mod windows;

/// Events whose rows are decoded and gathered: enough for sessions to end.
const ROWS: usize = 1_500_000;

/// One part's figure.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Part {
    /// What was measured.
    pub name: String,
    /// Nanoseconds of one thread for one row or value.
    pub nanoseconds: f64,
    /// The most it may take.
    pub mark: Option<f64>,
}

impl Part {
    fn new(name: impl Into<String>, nanoseconds: f64) -> Part {
        Part { name: name.into(), nanoseconds, mark: None }
    }

    fn held_to(self, nanoseconds: f64) -> Part {
        Part { mark: Some(nanoseconds), ..self }
    }

    /// Whether the mark is kept.
    pub(crate) fn passes(&self) -> bool {
        self.mark.is_none_or(|mark| self.nanoseconds <= mark)
    }
}

/// All parts whose group begins with `only`.
///
/// # Errors
/// When the archive can't be read or a dataflow fails.
pub(crate) fn all(data: &Data, only: &str) -> anyhow::Result<Vec<Part>> {
    let wanted = |group: &str| group.starts_with(only);
    let mut parts = Vec::new();
    if wanted("decode") || wanted("window") {
        let payloads = data.payloads(ROWS)?;
        if wanted("decode") {
            parts.extend(decode::decode(&payloads)?);
        }
        if wanted("window") {
            parts.extend(windows::windows(&payloads)?);
        }
    }
    if wanted("exchange") {
        parts.extend(exchange::exchange()?);
    }
    if wanted("exact sum") {
        parts.extend(sums::sums()?);
    }
    if wanted("model") {
        parts.extend(models::models()?);
    }
    if wanted("network") {
        parts.extend(networks::networks()?);
    }
    Ok(parts)
}

/// CPU time of this thread, so that others at work on the machine don't count. Exact to some milliseconds.
fn thread_time() -> anyhow::Result<Duration> {
    // proc(5): the first number is the time spent on the CPU, nanoseconds.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// The mean CPU time of runs that take a second together.
fn mean_of_runs(mut run: impl FnMut()) -> anyhow::Result<Duration> {
    run();
    let (started, mut runs) = (thread_time()?, 0);
    loop {
        run();
        runs += 1;
        let spent = thread_time()? - started;
        if spent >= Duration::from_secs(1) {
            return Ok(spent / runs);
        }
    }
}

fn nanoseconds_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}
