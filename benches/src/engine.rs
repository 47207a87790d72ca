//! Pipelines, run through the library as `thalweg run` runs them.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use thalweg::plan::{self, Plan};
use thalweg::run::{GoOn, RunOptions, Status, Summary, prepare, run};
use thalweg_engine::control::Control;

use crate::data::{Data, TOPIC};
use crate::reference::Job;

/// A pipeline; `${TOPIC}` and `${KAFKA_BROKERS}` are known.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn load(text: &str, name: &str, brokers: &str) -> anyhow::Result<Plan> {
    let environment = |variable: &str| match variable {
        "TOPIC" => Some(TOPIC.to_owned()),
        "KAFKA_BROKERS" => Some(brokers.to_owned()),
        _ => None,
    };
    plan::load(text, Path::new(name), &environment).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", texts.join("\n"))
    })
}

/// Runs a job to its end, and looks at it every so often.
///
/// # Errors
/// When the job can't begin, or fails.
pub(crate) fn watched(
    plan: &Plan,
    options: &RunOptions,
    every: Duration,
    mut look: impl FnMut(&Status, &Control),
) -> anyhow::Result<(Summary, Status)> {
    let control = Control::new();
    let job = prepare(plan, options, &control)?;
    let status = job.status();
    let (ending, ended) = channel::<()>();
    let running = std::thread::spawn(move || {
        let summary = job.run();
        drop(ending);
        summary
    });
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        look(&status, &control);
    }
    let summary = running.join().map_err(|_| anyhow::anyhow!("the job panicked"))??;
    Ok((summary, status))
}

/// What a job reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    /// The topic of these brokers.
    Kafka(&'a str),
    /// The archive, whose payloads are decoded.
    Archive,
    /// The archive's decoded columns.
    Decoded,
}

/// A job's pipeline.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn plan(job: Job, brokers: Option<&str>) -> anyhow::Result<Plan> {
    let (name, text) = match job {
        Job::J1 => ("j1.yaml", include_str!("../pipelines/j1.yaml")),
        Job::J2 => ("j2.yaml", include_str!("../pipelines/j2.yaml")),
    };
    load(text, name, brokers.unwrap_or("none"))
}

/// Runs a job. Gives back the rows read and the job's own seconds.
///
/// # Errors
/// When the pipeline is wrong or the job fails.
pub(crate) fn run_job(
    job: Job,
    data: &Data,
    from: From<'_>,
    workers: usize,
    output: &Path,
) -> anyhow::Result<(u64, f64)> {
    let (brokers, archives) = match from {
        From::Kafka(brokers) => (Some(brokers), None),
        From::Archive => (None, Some(data.archives())),
        From::Decoded => (None, Some(data.decoded_archives())),
    };
    let plan = plan(job, brokers)?;
    let options = RunOptions { archives, go_on: GoOn::Fresh, ..RunOptions::new(workers, output) };
    let summary = run(&plan, &options, &Control::new())?;
    for source in &summary.sources {
        anyhow::ensure!(
            source.accepted == data.events(),
            "{} of {} events accepted, {} late, {} rejected",
            source.accepted,
            data.events(),
            source.late,
            source.rejected
        );
    }
    Ok((data.events(), summary.seconds))
}
