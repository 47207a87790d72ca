//! A pipeline of `benches/pipelines`, run through the library as `thalweg run` runs it.

use std::path::Path;

use thalweg::plan;
use thalweg::run::{GoOn, RunOptions, run};
use thalweg_engine::control::Control;

use crate::data::{Data, TOPIC};
use crate::reference::Job;

/// Runs a job from the archive, or from the topic of `brokers`. Gives back the rows read and the job's own seconds.
///
/// # Errors
/// When the pipeline is wrong or the job fails.
pub(crate) fn run_job(
    job: Job,
    data: &Data,
    brokers: Option<&str>,
    workers: usize,
    output: &Path,
) -> anyhow::Result<(u64, f64)> {
    let (name, text) = match job {
        Job::J1 => ("j1.yaml", include_str!("../pipelines/j1.yaml")),
        Job::J2 => ("j2.yaml", include_str!("../pipelines/j2.yaml")),
    };
    let environment = |variable: &str| match variable {
        "TOPIC" => Some(TOPIC.to_owned()),
        "KAFKA_BROKERS" => Some(brokers.unwrap_or("none").to_owned()),
        _ => None,
    };
    let plan = plan::load(text, Path::new(name), &environment).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", texts.join("\n"))
    })?;
    let archives = brokers.is_none().then(|| data.archives());
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
