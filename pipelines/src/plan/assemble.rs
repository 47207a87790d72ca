//! From checked parts to the plan: what no sink needs is left out, down to single columns, and expressions are compiled for
//! the columns that remain.
//!
//! ```text
//!   sinks ──▶ which columns of which streams are read ──▶ steps, last to first ──▶ sources: fields to decode
//!   sources ──▶ streams' columns, by position ──▶ steps, first to last: expressions compiled ──▶ sinks
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use thalweg_schemas::Format;

use super::check::{
    CheckedExpr, CheckedKind, CheckedScore, CheckedSeries, CheckedSink, CheckedStep, CheckedWindow, Checker,
};
use super::messages::{self, Finding};
use super::model::{
    NamedExpr, Plan, PlannedCheckpoint, PlannedInput, PlannedScore, PlannedSeries, PlannedSink,
    PlannedSource, PlannedStep, PlannedWindow, Predicate, StepKind, StreamId,
};
use crate::spec::Spec;

fn checkpoint(spec: &Spec) -> PlannedCheckpoint {
    let of = &spec.checkpoint;
    PlannedCheckpoint {
        interval_us: of.interval.as_ref().map_or(10_000_000, |interval| interval.us),
        rows_max: of.every_rows.as_ref().map(|rows| rows.value),
        keep: of.keep.as_ref().map_or(5, |keep| usize::try_from(keep.value).unwrap_or(usize::MAX)),
        storage: of.storage.as_ref().map(|storage| storage.value.clone()),
    }
}

/// What is read of a stream.
#[derive(Debug, Default)]
struct Need {
    columns: BTreeSet<String>,
    /// Whether a later step asks for the rows' order.
    order: bool,
}

/// Builds the plan of a spec that has no problems. `order` is the steps' order, in numbers of the spec.
///
/// # Errors
/// An expression that compiled over all columns and not over those that it reads: a bug of the planner, as a finding with
/// the name of the step.
pub(super) fn assemble(
    checker: &Checker<'_>,
    order: &[usize],
    sinks: &[CheckedSink],
) -> Result<Plan, (String, Finding)> {
    let needs = needs(checker, order, sinks);
    let mut plan = Plan {
        name: checker.spec.pipeline.value.clone(),
        sources: Vec::new(),
        steps: Vec::new(),
        sinks: Vec::new(),
        checkpoint: checkpoint(checker.spec),
        memory_bytes: checker.spec.memory.as_ref().map_or(1 << 30, |size| size.bytes),
        warnings: checker.warnings.clone(),
    };
    // Numbers of the spec → numbers of the plan.
    let mut streams: BTreeMap<StreamId, StreamId> = BTreeMap::new();
    for (index, source) in checker.sources.iter().enumerate() {
        let id = StreamId::Source(index);
        let columns = checker.columns(id);
        let (Some(source), Some(need)) = (source, needs.get(&id)) else {
            continue;
        };
        streams.insert(id, StreamId::Source(plan.sources.len()));
        let own = columns.own.iter();
        let own: Vec<Field> = own.filter(|column| need.columns.contains(column.name())).cloned().collect();
        let metadata: Vec<_> =
            columns.metadata.iter().filter(|column| need.columns.contains(column.name())).copied().collect();
        let fields = match source.format {
            Format::Json => (0..source.schema.fields.len())
                .filter(|index| {
                    let name = &source.schema.fields[*index].name;
                    source.event_time.field == Some(*index) || need.columns.contains(name)
                })
                .collect(),
            Format::Raw => Vec::new(),
        };
        let columns = own.into_iter().chain(metadata.iter().map(|column| column.field())).collect::<Vec<_>>();
        plan.sources.push(PlannedSource {
            name: checker.spec.sources[index].name.value.clone(),
            connector: source.connector.clone(),
            schema: Arc::clone(&source.schema),
            format: source.format,
            event_time: source.event_time,
            fields,
            metadata,
            order: need.order,
            columns: Arc::new(Schema::new(columns)),
        });
    }
    for index in order {
        let id = StreamId::Step(*index);
        let (Some(step), Some(need)) = (&checker.steps[*index], needs.get(&id)) else { continue };
        let name = &checker.spec.steps[*index].name.value;
        let planned = planned_step(checker, name, step, need, &plan, &streams)
            .map_err(|finding| (name.clone(), finding))?;
        streams.insert(id, StreamId::Step(plan.steps.len()));
        plan.steps.push(planned);
    }
    for sink in sinks {
        let columns: SchemaRef = Arc::new(Schema::new(sink.columns.clone()));
        let input = input(sink.input, &columns, &plan, &streams);
        plan.sinks.push(PlannedSink { name: sink.name.clone(), input, columns, kind: sink.kind.clone() });
    }
    Ok(plan)
}

/// What is read of each stream that leads to a sink.
fn needs(checker: &Checker<'_>, order: &[usize], sinks: &[CheckedSink]) -> BTreeMap<StreamId, Need> {
    let mut needs: BTreeMap<StreamId, Need> = BTreeMap::new();
    for sink in sinks {
        let need = needs.entry(sink.input).or_default();
        need.columns.extend(sink.columns.iter().map(|column| column.name().clone()));
    }
    for index in order.iter().rev() {
        let (Some(step), Some(need)) = (&checker.steps[*index], needs.get(&StreamId::Step(*index))) else {
            continue;
        };
        let columns = reads(step, need);
        let order = match &step.kind {
            CheckedKind::Window(window) => window.aggregates.iter().any(|call| call.aggregate.needs_order()),
            CheckedKind::Pass | CheckedKind::Project(_) | CheckedKind::Score(_) => need.order,
            // It decides between rows of a series that happened at the same time.
            CheckedKind::Series(_) => true,
        };
        for stream in &step.inputs {
            let input = needs.entry(*stream).or_default();
            input.columns.extend(columns.iter().cloned());
            input.order |= order;
        }
    }
    needs
}

/// The input columns that a step reads, given what is read of its own.
fn reads(step: &CheckedStep, need: &Need) -> BTreeSet<String> {
    let mut columns = match &step.kind {
        CheckedKind::Pass => need.columns.clone(),
        CheckedKind::Project(exprs) => exprs
            .iter()
            .filter(|expr| need.columns.contains(&expr.name))
            .flat_map(CheckedExpr::reads)
            .collect(),
        CheckedKind::Window(window) => {
            window.keys.iter().chain(&window.inputs).flat_map(CheckedExpr::reads).collect()
        }
        CheckedKind::Series(series) => {
            let mut columns = passed(step, series.having.as_ref(), need);
            columns.extend(series.keys.iter().chain(&series.inputs).flat_map(CheckedExpr::reads));
            columns.extend(series.at.clone());
            columns
        }
        CheckedKind::Score(score) => {
            let mut columns = passed(step, score.having.as_ref(), need);
            columns.extend(score.inputs.iter().flat_map(CheckedExpr::reads));
            columns
        }
    };
    columns.extend(step.filter.iter().flat_map(CheckedExpr::reads));
    columns
}

// The input columns that a step with a model hands on: what is read of it, by others or by its having, and is not the model's.
fn passed(step: &CheckedStep, having: Option<&CheckedExpr>, need: &Need) -> BTreeSet<String> {
    let mut read = need.columns.clone();
    read.extend(having.into_iter().flat_map(CheckedExpr::reads));
    let is_passed = |name: &String| step.visible.iter().any(|column| column.name() == name);
    read.into_iter().filter(is_passed).collect()
}

fn planned_step(
    checker: &Checker<'_>,
    name: &str,
    step: &CheckedStep,
    need: &Need,
    plan: &Plan,
    streams: &BTreeMap<StreamId, StreamId>,
) -> Result<PlannedStep, Finding> {
    let reads = reads(step, need);
    let fields: Vec<Field> =
        step.visible.iter().filter(|column| reads.contains(column.name())).cloned().collect();
    let input_columns: SchemaRef = Arc::new(Schema::new(fields.clone()));
    let compile = |expr: &CheckedExpr| named(checker, expr, &fields);
    let filter = step.filter.as_ref().map(|filter| predicate(checker, filter, &fields)).transpose()?;
    let (kind, columns) = match &step.kind {
        CheckedKind::Pass => (StepKind::Pass, Arc::clone(&input_columns)),
        CheckedKind::Project(exprs) => {
            let read = exprs.iter().filter(|expr| need.columns.contains(&expr.name));
            let exprs: Vec<NamedExpr> = read.map(compile).collect::<Result<_, _>>()?;
            let columns = Arc::new(Schema::new(exprs.iter().map(NamedExpr::field).collect::<Vec<_>>()));
            (StepKind::Project(exprs), columns)
        }
        CheckedKind::Window(window) => {
            let window = planned_window(checker, window, &fields)?;
            let columns =
                Arc::new(Schema::new(window.output.iter().map(NamedExpr::field).collect::<Vec<_>>()));
            (StepKind::Window(Box::new(window)), columns)
        }
        CheckedKind::Series(series) => {
            let nullable: Vec<Field> = fields.iter().map(|field| field.clone().with_nullable(true)).collect();
            let (passed, own) =
                passed_and_added(passed(step, series.having.as_ref(), need), &nullable, &series.added);
            let series = planned_series(checker, series, passed, &fields, &own)?;
            (StepKind::Series(Box::new(series)), Arc::new(Schema::new(own)))
        }
        CheckedKind::Score(score) => {
            let (passed, own) =
                passed_and_added(passed(step, score.having.as_ref(), need), &fields, &score.added);
            let score = planned_score(checker, score, passed, &fields, &own)?;
            (StepKind::Score(Box::new(score)), Arc::new(Schema::new(own)))
        }
    };
    let inputs = step.inputs.iter().map(|stream| input(*stream, &input_columns, plan, streams)).collect();
    Ok(PlannedStep { name: name.to_owned(), inputs, input_columns, filter, kind, columns, order: need.order })
}

fn planned_window(
    checker: &Checker<'_>,
    window: &CheckedWindow,
    fields: &[Field],
) -> Result<PlannedWindow, Finding> {
    let over_rows = |exprs: &[CheckedExpr]| {
        exprs.iter().map(|expr| named(checker, expr, fields)).collect::<Result<Vec<_>, _>>()
    };
    let own: Vec<Field> = window.output.iter().map(CheckedExpr::field).collect();
    Ok(PlannedWindow {
        window: window.window.clone(),
        keys: over_rows(&window.keys)?,
        aggregates: window.aggregates.clone(),
        inputs: over_rows(&window.inputs)?,
        result_columns: Arc::new(Schema::new(window.result_columns.clone())),
        output: window
            .output
            .iter()
            .map(|expr| named(checker, expr, &window.result_columns))
            .collect::<Result<_, _>>()?,
        having: window.having.as_ref().map(|having| predicate(checker, having, &own)).transpose()?,
    })
}

// The input columns that go on, by their positions; and the step's own columns.
fn passed_and_added(passed: BTreeSet<String>, fields: &[Field], added: &[Field]) -> (Vec<usize>, Vec<Field>) {
    let passed: Vec<usize> =
        (0..fields.len()).filter(|index| passed.contains(fields[*index].name())).collect();
    let own = passed.iter().map(|index| &fields[*index]).chain(added).cloned().collect();
    (passed, own)
}

fn planned_score(
    checker: &Checker<'_>,
    score: &CheckedScore,
    passed: Vec<usize>,
    fields: &[Field],
    own: &[Field],
) -> Result<PlannedScore, Finding> {
    Ok(PlannedScore {
        file: Arc::clone(&score.file),
        inputs: score.inputs.iter().map(|expr| named(checker, expr, fields)).collect::<Result<_, _>>()?,
        widths: score.widths.clone(),
        outputs: score.outputs.clone(),
        passed,
        time_limit_us: score.time_limit_us,
        having: score.having.as_ref().map(|having| predicate(checker, having, own)).transpose()?,
    })
}

fn planned_series(
    checker: &Checker<'_>,
    series: &CheckedSeries,
    passed: Vec<usize>,
    fields: &[Field],
    own: &[Field],
) -> Result<PlannedSeries, Finding> {
    let over_rows = |exprs: &[CheckedExpr]| {
        exprs.iter().map(|expr| named(checker, expr, fields)).collect::<Result<Vec<_>, _>>()
    };
    let at = series.at.as_ref().and_then(|name| fields.iter().position(|field| field.name() == name));
    Ok(PlannedSeries {
        model: series.model.clone(),
        keys: over_rows(&series.keys)?,
        inputs: over_rows(&series.inputs)?,
        network: series.network.clone(),
        passed,
        at,
        time_zone: series.time_zone,
        forget_after_us: series.forget_after_us,
        having: series.having.as_ref().map(|having| predicate(checker, having, own)).transpose()?,
    })
}

/// A stream of the spec as an input that gives `columns`.
fn input(
    stream: StreamId,
    columns: &SchemaRef,
    plan: &Plan,
    streams: &BTreeMap<StreamId, StreamId>,
) -> PlannedInput {
    let stream = *streams.get(&stream).expect("invariant: what is read comes earlier in the order");
    let given = plan.columns(stream);
    let index = |field: &Arc<Field>| {
        given.index_of(field.name()).expect("invariant: a stream holds every column that is read of it")
    };
    PlannedInput { stream, projection: columns.fields().iter().map(index).collect() }
}

fn named(checker: &Checker<'_>, expr: &CheckedExpr, columns: &[Field]) -> Result<NamedExpr, Finding> {
    let compiled = checker.expressions.compile_as(&expr.expr, columns, &expr.compiled.data_type);
    let compiled = compiled.map_err(messages::first)?;
    Ok(NamedExpr {
        name: expr.name.clone(),
        sql: expr.sql.clone(),
        data_type: compiled.data_type,
        nullable: compiled.nullable,
        expr: compiled.expr,
    })
}

fn predicate(checker: &Checker<'_>, expr: &CheckedExpr, columns: &[Field]) -> Result<Predicate, Finding> {
    let compiled = checker.expressions.compile_condition(&expr.expr, columns).map_err(messages::first)?;
    Ok(Predicate { sql: expr.sql.clone(), expr: compiled.expr })
}
