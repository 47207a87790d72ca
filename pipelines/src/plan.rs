//! The plan: what was validated. Whatever has a plan can run.
//!
//! ```text
//!   Spec ─┬─▶ source ──▶ columns ─┐                                    ┌─▶ Plan ─┬─▶ lower (a dataflow)
//!         ├─▶ graph: names, order ─┼─▶ step, windowed ──▶ sink ──▶ assemble       └─▶ explain
//!         └────────────────────────┴──────────▼──────────▼─────────────┘
//!                                          Problems: all of them
//! ```
//!
//! - [`check`] goes from sources to sinks and notes every problem; [`load`] reads a spec's text first.
//! - [`Plan`] is plain data and compiled expressions. Every worker gets the same one and builds the same dataflow from it,
//!   in the order of its vectors.
//! - Only columns that lead to a sink are decoded and carried.
//!
//! `expression.rs`, `aggregates.rs` and `messages/` are the only files here that know DataFusion's planner.

use std::path::Path;

pub use self::explain::{ExplainNode, ExplainTree, NodeKind};
pub use self::mend::MendProblem;
pub(crate) use self::mend::{COLUMNS as MEND_COLUMNS, Mend, Mended};
pub use self::model::{
    AggregateCall, Connector, EventTime, KafkaConnector, MetadataColumn, ModelFile, NamedExpr,
    PartitionColumn, Plan, PlannedCheckpoint, PlannedInput, PlannedNetwork, PlannedScore, PlannedSeries,
    PlannedSink, PlannedSource, PlannedStep, PlannedWindow, Position, Predicate, Retrain, SeriesModelKind,
    SinkKind, StepKind, StreamId, WindowKind,
};
pub(crate) use self::network::{AT as TRAINED_AT, key_column};
pub(crate) use self::sink::TARGET_FILE_BYTES;
#[cfg(feature = "models")]
pub use self::training::{trainable, untrained};
pub use self::types::type_name;
use crate::spec::{self, Environment, Problem, Spec, in_file_order};

mod aggregates;
mod assemble;
mod check;
mod explain;
mod expression;
mod graph;
mod mend;
mod messages;
mod model;
mod network;
mod score;
mod series;
mod sink;
mod source;
mod step;
#[cfg(feature = "models")]
mod training;
mod types;
mod window;
mod windowed;

/// Checks a spec. Parts that [`spec::read`] found incomplete are looked at as far as they go, and what depends on them as
/// far as they are known.
///
/// # Errors
/// Everything that is wrong, in the order of the file. Empty if the spec is incomplete and nothing else is wrong with it.
pub fn check(spec: &Spec) -> Result<Plan, Vec<Problem>> {
    check_for(spec, None)
}

/// As [`check`]; the network of the step `untrained` is yet to be trained, and not looked for.
fn check_for(spec: &Spec, untrained: Option<&str>) -> Result<Plan, Vec<Problem>> {
    let checked = checked(spec, untrained);
    let mut of_others = Vec::new();
    for other in &spec.others {
        let problems = check_for(&other.spec, untrained).err().unwrap_or_default();
        of_others.extend(problems.into_iter().filter(|problem| other.place.holds(problem)));
    }
    if of_others.is_empty() {
        return checked;
    }
    let mut problems = checked.err().unwrap_or_default();
    problems.extend(of_others);
    in_file_order(&mut problems);
    Err(problems)
}

fn checked(spec: &Spec, untrained: Option<&str>) -> Result<Plan, Vec<Problem>> {
    let mut checker = check::Checker::new(spec, untrained);
    for source in &spec.sources {
        let (source, columns) = checker.source(source);
        checker.sources.push(source);
        checker.columns.0.push(columns);
    }
    let names = checker.names();
    let order = checker.order(&names);
    for index in &order {
        let (step, columns) = checker.step(&spec.steps[*index], &names);
        (checker.steps[*index], checker.columns.1[*index]) = (step, columns);
    }
    // Steps that read each other, and what reads them.
    for index in (0..spec.steps.len()).filter(|index| !order.contains(index)) {
        checker.columns.1[index] = checker.step(&spec.steps[index], &names).1;
    }
    let sinks: Vec<_> = spec.sinks.iter().map(|sink| checker.sink(sink, &names)).collect();
    let incomplete = spec.schemas.iter().any(|schema| schema.draft.schema.is_none());
    let sinks =
        sinks.into_iter().collect::<Option<Vec<_>>>().filter(|sinks| !sinks.is_empty() && !incomplete);
    let is_complete =
        checker.sources.iter().all(Option::is_some) && checker.steps.iter().all(Option::is_some);
    let problems = match sinks {
        Some(sinks) if checker.problems.is_empty() && is_complete => {
            match assemble::assemble(&checker, &order, &sinks) {
                Ok(plan) => return Ok(plan),
                Err((step, finding)) => {
                    vec![spec.source.problem(
                        spec.pipeline.at,
                        format!("steps.{step}"),
                        finding.message,
                        finding.hint,
                    )]
                }
            }
        }
        _ => checker.problems,
    };
    let mut problems = problems;
    in_file_order(&mut problems);
    Err(problems)
}

/// Reads and checks a spec: all that is wrong with its grammar and its meaning, at once.
///
/// # Errors
/// Everything that is wrong, in the order of the file; never empty.
pub fn load(text: &str, origin: &Path, env: Environment<'_>) -> Result<Plan, Vec<Problem>> {
    let (spec, mut problems) = spec::read(text, origin, env, &[]);
    let plan = match &spec {
        Some(spec) => check(spec),
        None => Err(Vec::new()),
    };
    match plan {
        Ok(plan) if problems.is_empty() => Ok(plan),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            in_file_order(&mut problems);
            Err(problems)
        }
    }
}
