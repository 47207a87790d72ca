//! Training again and again while a job runs: when its watermark has passed another stretch of event time, a new version is trained on what
//! lies before.
//!
//! ```text
//!   watermark ─▶ every passed? ─▶ is there a version of it? ─▶ thalweg train --to T, a process of its own ─▶ registry
//! ```
//!
//! The job goes on with the version that it has: what it says must not depend on when a training is done. A new version is a candidate: it
//! may stand in the shadow, and becomes the model when it is promoted and the job is started again. A training that fails costs
//! the job nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_models::registry::{Located, Reference, RegistryError};
use thalweg_schemas::time::format_rfc3339;

use crate::plan::{Plan, Retrain, StepKind};
use crate::registry;
use crate::run::SUPERVISED;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of what a training says, so much is told.
const LAST_BYTES: u64 = 4096;

/// What is trained again, and how.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The program whose command `train` is used.
    pub program: PathBuf,
    /// The pipeline, and options that all trainings have.
    pub arguments: Vec<OsString>,
    /// Steps, each with its model and its stretches.
    pub steps: Vec<(String, Located, Retrain)>,
}

impl Schedule {
    /// Of all steps of a plan that are to be trained again; `None`: there are none.
    ///
    /// # Errors
    /// A model that is no reference to a registry.
    pub fn of(
        plan: &Plan,
        program: PathBuf,
        arguments: Vec<OsString>,
    ) -> Result<Option<Schedule>, RegistryError> {
        let mut steps = Vec::new();
        for step in &plan.steps {
            if let StepKind::Series(series) = &step.kind
                && let Some(network) = &series.network
                && let Some(retrain) = &network.retrain
            {
                steps.push((step.name.clone(), network.model.parse()?, *retrain));
            }
        }
        Ok((!steps.is_empty()).then_some(Schedule { program, arguments, steps }))
    }
}

/// Trains beside a job until it is stopped.
pub struct Retraining {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Retraining {
    /// Looks at `watermark` from time to time; `say` tells what is trained and what became of it, and whether that is well.
    pub fn start(
        schedule: Schedule,
        watermark: impl Fn() -> EventTime + Send + 'static,
        say: impl Fn(bool, &str) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut looked: Vec<EventTime> = vec![BEGINNING; schedule.steps.len()];
            while waits(&stopped) {
                let now = watermark();
                for ((step, model, retrain), looked) in schedule.steps.iter().zip(&mut looked) {
                    let Some(due) = due(now, retrain.every_us).filter(|due| *due != *looked) else {
                        continue;
                    };
                    *looked = due;
                    if is_trained(model, step, due) {
                        continue;
                    }
                    let about = format!("step {step}: training on what lies before {}", format_rfc3339(due));
                    say(true, &about);
                    match train(&schedule, step, due, retrain.over_us, &stopped) {
                        Ok(Some(told)) => say(true, &format!("step {step}: {told}")),
                        Ok(None) => {
                            say(true, &format!("step {step}: the job ends, and so does its training"));
                            return;
                        }
                        Err(error) => say(false, &format!("step {step}: training failed: {error}")),
                    }
                }
            }
        });
        Retraining { stop, thread }
    }

    /// Ends it, and a training that is under way.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread that trains is no reason to fail the job.
        let _ = self.thread.join();
    }
}

fn waits(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout)
}

/// The end of the last stretch that the watermark has passed; `None`: there is no watermark, or no more.
fn due(watermark: EventTime, every_us: i64) -> Option<EventTime> {
    let known = watermark > BEGINNING && watermark < END;
    known.then(|| watermark.div_euclid(every_us) * every_us)
}

/// Whether there is a version of this step that was trained up to then.
fn is_trained(model: &Located, step: &str, to_us: EventTime) -> bool {
    let latest = || {
        let registry = registry::open(&model.registry).ok()?;
        let latest = registry.listing(&model.model.name).ok()?.latest()?;
        registry.card(&Reference::to(&model.model.name, latest)).ok()?.trained_on
    };
    latest().is_some_and(|of| of.step == step && of.to.us() >= to_us)
}

/// What the training said; `None`: it was stopped.
fn train(
    schedule: &Schedule,
    step: &str,
    to_us: EventTime,
    over_us: i64,
    stopped: &Receiver<()>,
) -> Result<Option<String>, String> {
    let over = crate::spec::Duration { us: over_us };
    let mut command = Command::new(&schedule.program);
    command.arg("train").args(&schedule.arguments).args(["--step", step, "--workers", "1", "--quiet"]);
    command.args(["--from", &format_rfc3339(to_us.saturating_sub(over_us)), "--to", &format_rfc3339(to_us)]);
    command.args(["--warm-up", &over.to_string(), "--note", "trained by the job"]);
    // It ends when the job does, however that ends: nobody holds the other end of its standard input then. Ctrl-C is the job's.
    command.env(SUPERVISED, "1").stdin(Stdio::piped()).process_group(0);
    // Files never fill up, as pipes do that nobody reads.
    let io = |error: std::io::Error| format!("can't start it: {error}");
    let (mut told, mut complained) = (tempfile::tempfile().map_err(io)?, tempfile::tempfile().map_err(io)?);
    command.stdout(told.try_clone().map_err(io)?).stderr(complained.try_clone().map_err(io)?);
    let mut child = command.spawn().map_err(io)?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if waits(stopped) => {}
            Ok(None) => {
                end(&mut child);
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let text = if status.success() { last(&mut told) } else { last(&mut complained) };
    let text = text.map_err(|error| error.to_string())?;
    if status.success() { Ok(Some(text)) } else { Err(text) }
}

/// The end of what was written, which is what matters.
fn last(file: &mut File) -> std::io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use thalweg_engine::watermark::{BEGINNING, END};

    use super::due;

    #[test]
    fn a_stretch_is_due_when_the_watermark_has_passed_it() {
        assert_eq!(due(BEGINNING, 10), None);
        assert_eq!(due(END, 10), None);
        assert_eq!(due(39, 10), Some(30));
        assert_eq!(due(40, 10), Some(40));
        assert_eq!(due(-1, 10), Some(-10));
    }
}
