//! What a job has done so far, for whoever looks on: progress, metrics, the closing summary.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use thalweg_engine::checkpoint::{CheckpointCounters, Cuts};
use thalweg_engine::control::Control;
use thalweg_operators::rows::StepCounters;
use thalweg_operators::sink::SinkCounters;
use thalweg_operators::source::SourceCounters;

use super::JobContext;
use crate::lower::sinks::{LATE, REJECTED};
use crate::lower::sources::LoweredSource;
use crate::plan::StepKind;

/// What a job has done so far, in this process. Cheap to clone; read it from any thread.
#[derive(Clone)]
pub struct Status {
    /// The pipeline.
    pub pipeline: String,
    /// This run's number among those of the job.
    pub generation: u64,
    /// Of each source, in the plan's order.
    pub sources: Vec<Arc<SourceCounters>>,
    /// Of each step, in the plan's order.
    pub steps: Vec<StepStatus>,
    /// Name and counts of each sink, the standing outputs last.
    pub sinks: Vec<(String, Arc<SinkCounters>)>,
    /// What checkpoints have cost.
    pub checkpoints: Arc<CheckpointCounters>,
    /// The job's watermark, and its ticks.
    pub cuts: Cuts,
    /// Whether every source has an end.
    pub bounded: bool,
    pub(super) control: Control,
}

/// What a step has done so far.
#[derive(Clone)]
pub struct StepStatus {
    /// The step.
    pub name: String,
    /// Whether it gathers rows into windows.
    pub windowed: bool,
    /// Whether it asks a model.
    pub has_model: bool,
    /// What it has done.
    pub counters: Arc<StepCounters>,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It runs.
    Running,
    /// It makes its last checkpoint.
    Stopping,
    /// Something has failed, and it ends.
    Failed,
}

impl JobState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Stopping => "stopping",
            JobState::Failed => "failed",
        }
    }
}

impl Status {
    pub(super) fn of(job: &JobContext) -> Self {
        let names = job.plan.sinks.iter().map(|sink| sink.name.clone());
        let mut sinks: Vec<_> = names.zip(job.sinks.iter().cloned()).collect();
        sinks.push((LATE.to_owned(), Arc::clone(&job.late)));
        sinks.push((REJECTED.to_owned(), Arc::clone(&job.rejected)));
        let steps = job.plan.steps.iter().zip(&job.steps).map(|(step, counters)| StepStatus {
            name: step.name.clone(),
            windowed: matches!(step.kind, StepKind::Window(_)),
            has_model: matches!(step.kind, StepKind::Series(_) | StepKind::Score(_)),
            counters: Arc::clone(counters),
        });
        Status {
            pipeline: job.plan.name.clone(),
            generation: job.generation,
            sources: job.sources.iter().map(|source| Arc::clone(&source.counters)).collect(),
            steps: steps.collect(),
            sinks,
            checkpoints: Arc::clone(&job.checkpoints),
            cuts: job.cuts.clone(),
            bounded: job.sources.iter().all(LoweredSource::bounded),
            control: job.control.clone(),
        }
    }

    /// Where the job is in its life.
    pub fn state(&self) -> JobState {
        if self.control.failed() {
            JobState::Failed
        } else if self.control.stop_asked() {
            JobState::Stopping
        } else {
            JobState::Running
        }
    }

    /// The newest checkpoint that this process knows of: made by this run, or gone on from; 0: none.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoints.newest.load(Relaxed).max(self.cuts.published())
    }

    /// Windows that fired, over all steps.
    pub fn windows_fired(&self) -> u64 {
        self.steps.iter().map(|step| step.counters.windows.fired.load(Relaxed)).sum()
    }

    /// Groups of windows that were open when the job was stopped, over all steps.
    pub fn windows_open_at_stop(&self) -> u64 {
        self.steps.iter().map(|step| step.counters.windows.open_at_stop.load(Relaxed)).sum()
    }
}
