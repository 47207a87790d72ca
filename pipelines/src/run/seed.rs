//! A job that begins where another one was: its first checkpoint is one of the other's.

use thalweg_engine::checkpoint::coordinator::now_ms;
use thalweg_engine::checkpoint::{Claim, Log, Manifest, Store};

use super::recovery::{new_job_name, open_store, who};
use super::{RunError, RunOptions, changes};
use crate::plan::Plan;

/// Copies checkpoint `from` of the job whose checkpoints are in `other` into the output folder of `options`, which has none. The next run
/// of `plan` there goes on from it; what the other job has written is not taken along.
///
/// # Errors
/// State that can't be read, or written. Whether it fits the plan is found out by that run.
pub fn seed(plan: &Plan, options: &RunOptions, other: &Store, from: &Manifest) -> Result<(), RunError> {
    let failed = |source| RunError::Output { folder: options.output.display().to_string(), source };
    std::fs::create_dir_all(&options.output).map_err(failed)?;
    let store = open_store(plan, &options.output)?;
    for file in &from.state {
        store.put(&file.path, other.get(&file.path)?.to_vec())?;
    }
    let (mut log, _) = Log::claim::<RunError>(&store, |history| {
        Ok(Claim {
            generation: history.newest_generation() + 1,
            from: None,
            at_ms: now_ms(),
            by: who(),
            job: new_job_name(plan),
        })
    })?;
    // Where records are read from, and where results go, is another place.
    let own = changes::describe(plan, options.archives.is_some());
    let mut seeded = from.clone();
    for part in ["input", "sinks", "all"] {
        seeded.plan[part] = own[part].clone();
    }
    for split in seeded.sources.iter_mut().flat_map(|source| &mut source.splits) {
        // What is read up to an end waits for nobody. Windows before the watermark have fired without it.
        if std::mem::take(&mut split.idle) {
            split.floor = split.floor.max(Some(from.watermark));
        }
    }
    seeded.generation = log.own().generation;
    seeded.sinks.clear();
    Ok(log.append(&seeded)?)
}
