//! What a network is trained on, as a plan: a step's windows instead of what a network would say of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use thalweg_operators::series::{ROW, window_columns};
use thalweg_schemas::time::timestamp_type;
use thalweg_series::stream::WindowerConfig;

use super::check_for;
use super::model::{Plan, SeriesModelKind, StepKind};
use super::network::{AT, ROWS, key_column};
use crate::spec::{DetectSpec, ModelSpec, Problem, SinkSpec, Spanned, Spec, StepSpec};

/// The plan of what the network of the step `name` is trained on: that step as windows of `rows` rows, what leads to it, and one sink
/// of their keys ([`PlannedSeries::keys`](super::PlannedSeries::keys) in their order), times and rows in the key's units.
///
/// # Errors
/// All that is wrong with this part of the pipeline; none where there is no such step, or its method has no network.
pub fn untrained(spec: &Spec, name: &str, rows: Option<usize>) -> Result<Plan, Vec<Problem>> {
    let mut spec = spec.clone();
    let needed = needed(&spec, name);
    spec.steps.0.retain(|step| needed.contains(step.name.value.as_str()));
    spec.sinks.0 = vec![SinkSpec::of_stream(name)];
    let mut plan = check_for(&spec, Some(name))?;
    let Some(step) = plan.steps.iter_mut().find(|step| step.name == name) else { return Err(Vec::new()) };
    let StepKind::Series(series) = &mut step.kind else { return Err(Vec::new()) };
    let Some(network) = series.network.take() else { return Err(Vec::new()) };
    let windows = WindowerConfig { rows: rows.unwrap_or(ROWS), ..network.windows.clone() };
    let inputs = windows.inputs;
    series.model = SeriesModelKind::Windows(windows);
    (series.passed, series.having) = (Vec::new(), None);
    let mut columns: Vec<Field> =
        (0..).zip(&series.keys).map(|(at, key)| key.field().with_name(key_column(at))).collect();
    columns.push(Field::new(AT, timestamp_type(), false));
    columns.extend(window_columns(1, inputs).into_iter().filter(|field| field.name() == ROW));
    step.columns = Arc::new(Schema::new(columns));
    let columns = Arc::clone(&step.columns);
    for sink in &mut plan.sinks {
        sink.input.projection = (0..columns.fields().len()).collect();
        sink.columns = Arc::clone(&columns);
    }
    Ok(plan)
}

// The step and all that lead to it.
fn needed(spec: &Spec, name: &str) -> BTreeSet<String> {
    let mut needed = BTreeSet::from([name.to_owned()]);
    loop {
        let before = needed.len();
        let from: Vec<String> = spec
            .steps
            .iter()
            .filter(|step| needed.contains(step.name.value.as_str()))
            .flat_map(|step| step.from.iter().map(|from| from.value.clone()))
            .collect();
        needed.extend(from);
        if needed.len() == before {
            return needed;
        }
    }
}

/// What can be trained of a pipeline: steps with a method that asks a network.
pub fn trainable(spec: &Spec) -> Vec<(&StepSpec, &DetectSpec)> {
    let mut trainable = Vec::new();
    for step in spec.steps.iter() {
        if let Some(Spanned { value: ModelSpec::Detect(detect), .. }) = &step.model
            && detect.method.as_ref().is_some_and(|method| method.value.is_network())
        {
            trainable.push((step, detect));
        }
    }
    trainable
}
