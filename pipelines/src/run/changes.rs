//! What a pipeline was when a checkpoint was made, and whether what it is now may use that state.
//!
//! A windowed step's state fits when everything that decides which rows reach it, and how they are gathered, is as it was: its
//! sources, the steps before it, its filter, window and keys. So does that of a step with a model, when the model is the same as
//! well. What comes behind a window (select, having, further steps without windows, sinks) may change: it has no state. So may the
//! aggregates: those that stay keep their state, and new ones are null for windows that began before all of their rows could be seen.
//! A sink may come and go, but not become another kind of thing under its name.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use thalweg_engine::checkpoint::Manifest;
use thalweg_engine::shard::hash_key;
use thalweg_engine::watermark::EventTime;
use thalweg_operators::series::step_of_part;

use crate::plan::{
    Connector, ModelFile, NamedExpr, PartitionColumn, Plan, PlannedInput, PlannedSink, PlannedSource,
    PlannedStep, SeriesModelKind, SinkKind, StepKind, type_name,
};
use crate::spec::Duration;

mod words;

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// What it belongs to: a source or a step.
    pub part: String,
    /// The property.
    pub property: String,
    /// As it was.
    pub before: String,
    /// As it is.
    pub after: String,
}

impl fmt::Display for PlanChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: {}\n    - {}\n    + {}", self.part, self.property, self.before, self.after)
    }
}

/// What of a plan decides about state, as it is kept in manifests: an object for each source and step. `archives`: whether recorded
/// topics are read instead of Kafka.
pub(super) fn describe(plan: &Plan, archives: bool) -> Value {
    let sources: Map<String, Value> =
        plan.sources.iter().map(|source| (source.name.clone(), describe_source(source))).collect();
    let steps: Map<String, Value> =
        plan.steps.iter().map(|step| (step.name.clone(), describe_step(plan, step))).collect();
    let sinks: Map<String, Value> =
        plan.sinks.iter().map(|sink| (sink.name.clone(), json!({ "kind": describe_sink(sink) }))).collect();
    let input = json!({ "read from": if archives { "archives" } else { "the sources' own places" } });
    let all = serde_json::to_vec(&plan.explain()).unwrap_or_default();
    json!({ "input": input, "sources": sources, "steps": steps, "sinks": sinks, "all": format!("{:016x}", hash_key(&all)) })
}

fn describe_source(source: &PlannedSource) -> Value {
    let topics = match &source.connector {
        Connector::Kafka(kafka) => kafka.topics.join(", "),
        Connector::Archive { path } => format!("archive {}", path.display()),
        Connector::Given(_) => "given records".to_owned(),
    };
    let fields: Vec<String> = source
        .schema
        .fields
        .iter()
        .map(|field| {
            let required = if field.required { " required" } else { "" };
            format!(
                "{} {}{required} from {}",
                field.name,
                type_name(field.arrow().data_type()),
                field.path.join(".")
            )
        })
        .collect();
    let time = &source.event_time;
    let field = time.field.map_or("the record's timestamp", |at| source.schema.fields[at].name.as_str());
    json!({
        "topics": topics,
        "format": format!("{:?}", source.format),
        "fields": fields.join(", "),
        "event time": field,
        "lateness": format!("{} us", time.lateness_us),
        "max_ahead": format!("{} us", time.max_ahead_us),
    })
}

// What its staged files are for: a checkpoint's may still have to be published when the pipeline has changed.
fn describe_sink(sink: &PlannedSink) -> String {
    let names = |partition_by: &[PartitionColumn]| {
        partition_by.iter().map(|by| by.name(&sink.columns)).collect::<Vec<_>>().join(", ")
    };
    match &sink.kind {
        SinkKind::Parquet { partition_by, .. } => format!("parquet in folders by ({})", names(partition_by)),
        SinkKind::Delta { partition_by, .. } => format!("delta table by ({})", names(partition_by)),
        SinkKind::Kafka { topic, .. } => format!("kafka topic {topic}"),
        SinkKind::Jsonl => "jsonl".to_owned(),
        SinkKind::Stdout => "stdout".to_owned(),
        SinkKind::Handed(_) => "handed over".to_owned(),
    }
}

fn describe_step(plan: &Plan, step: &PlannedStep) -> Value {
    let from: Vec<&str> =
        step.inputs.iter().map(|input: &PlannedInput| plan.stream_name(input.stream)).collect();
    let mut description = json!({
        "from": from.join(", "),
        "where": step.filter.as_ref().map_or("", |filter| filter.sql.as_str()),
    });
    match &step.kind {
        StepKind::Pass => {}
        StepKind::Project(columns) => {
            let columns: Vec<String> = columns.iter().map(|c| format!("{}: {}", c.name, c.sql)).collect();
            description["select"] = columns.join(", ").into();
        }
        StepKind::Window(window) => {
            let keys: Vec<String> = window
                .keys
                .iter()
                .map(|key| format!("{}: {} ({})", key.name, key.sql, type_name(&key.data_type)))
                .collect();
            let aggregates: Vec<String> = window.aggregates.iter().map(|call| window.label(call)).collect();
            let output: Vec<String> =
                window.output.iter().map(|column| format!("{}: {}", column.name, column.sql)).collect();
            description["window"] = format!("{:?}", window.window).into();
            description["by"] = keys.join(", ").into();
            description["aggregates"] = aggregates.into();
            description["output"] = output.into();
            description["having"] = window.having.as_ref().map_or("", |having| having.sql.as_str()).into();
        }
        StepKind::Score(score) => {
            let inputs: Vec<String> =
                score.inputs.iter().map(|input| format!("{}: {}", input.name, input.sql)).collect();
            description["score"] = score.file.version.clone().into();
            let outputs: Vec<String> =
                score.outputs.iter().map(|names| format!("[{}]", names.join(", "))).collect();
            description["outputs"] = outputs.join(", ").into();
            description["reads"] = inputs.join(", ").into();
            description["having"] = score.having.as_ref().map_or("", |having| having.sql.as_str()).into();
        }
        StepKind::Series(series) => {
            let of = |exprs: &[NamedExpr]| {
                let texts: Vec<String> = exprs
                    .iter()
                    .map(|expr| format!("{}: {} ({})", expr.name, expr.sql, type_name(&expr.data_type)))
                    .collect();
                texts.join(", ")
            };
            // The version says whether state and scores of before are what this program would make.
            let version = series.model.describe(&series.input_names());
            let version = version.map_or_else(|_| String::new(), |(_, version)| version);
            description["model"] = format!("{}, version {version}", describe_model(&series.model)).into();
            if let Some(network) = &series.network {
                // Another one may take its place: what is known of keys by it begins anew then.
                description["network"] = network.file.identity().into();
                let shadow = network.shadow.as_ref().map_or_else(String::new, ModelFile::identity);
                description["shadow"] = shadow.into();
            }
            description["by"] = of(&series.keys).into();
            description["reads"] = of(&series.inputs).into();
            let zone = series.time_zone.map_or("UTC", |zone| zone.name());
            description["time zone"] = zone.into();
            description["forget_after"] = format!("{} us", series.forget_after_us).into();
            let having = series.having.as_ref().map_or("", |having| having.sql.as_str());
            description["having"] = having.into();
        }
    }
    description
}

// As a spec has it.
fn describe_model(model: &SeriesModelKind) -> String {
    let duration = |us: i64| Duration { us }.to_string();
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let fields = match model {
        SeriesModelKind::Detect(config) => vec![
            ("method", config.method.name().to_owned()),
            ("every", or_none(config.interval_us.map(duration))),
            ("season", or_none(config.season_us.map(duration))),
            ("false_alarms", format!("{}/{}", config.false_alarms, duration(config.false_alarms_per_us))),
            ("settle", duration(config.settle_us)),
        ],
        SeriesModelKind::Forecast(config) => {
            let horizons: Vec<String> = config.horizons_us.iter().map(|us| duration(*us)).collect();
            let quantiles: Vec<String> = config.quantiles.iter().map(f64::to_string).collect();
            vec![
                ("every", or_none(config.interval_us.map(duration))),
                ("horizon", format!("[{}]", horizons.join(", "))),
                ("quantiles", format!("[{}]", quantiles.join(", "))),
                ("season", or_none(config.season_us.map(duration))),
                ("threshold", or_none(config.threshold.map(|threshold| threshold.to_string()))),
            ]
        }
        SeriesModelKind::Converge(config) => vec![
            ("target", or_none(config.target.map(|target| target.to_string()))),
            ("direction", if config.falling { "falling" } else { "rising" }.to_owned()),
            ("end", or_none(config.end.map(|end| end.to_string()))),
            ("stall_after", config.stall_after.to_string()),
        ],
        SeriesModelKind::Windows(config) => {
            vec![("rows", config.rows.to_string()), ("every", or_none(config.interval_us.map(duration)))]
        }
    };
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}: {{ {} }}", model.name(), fields.join(", "))
}

/// From when on the aggregates count that are newer than the job: by step and label.
pub(crate) type Since = BTreeMap<(String, String), EventTime>;

/// Aggregates that the checkpoint does not know, or knew as new: windows that begin before the highest event time that it had seen
/// may lack rows of theirs. Notes them in the description, for the checkpoints to come.
pub(super) fn newer(base: &Manifest, description: &mut Value) -> Since {
    let splits = base.sources.iter().flat_map(|source| &source.splits);
    let Some(seen) = splits.filter_map(|split| split.highest).max() else { return Since::new() };
    let mut since = Since::new();
    let steps = description["steps"].as_object_mut().into_iter().flatten();
    for (name, step) in steps {
        let was = &base.plan["steps"][name];
        let known: Vec<&str> = strings(&was["aggregates"]).collect();
        let own: Vec<String> = strings(&step["aggregates"]).map(str::to_owned).collect();
        let mut noted = Map::new();
        for label in own {
            let from =
                if known.contains(&label.as_str()) { was["since"][&label].as_i64() } else { Some(seen + 1) };
            if let Some(from) = from {
                noted.insert(label.clone(), from.into());
                since.insert((name.clone(), label), from);
            }
        }
        if !noted.is_empty() {
            step["since"] = noted.into();
        }
    }
    since
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a step's state goes on: it had some, and has some still.
pub(super) fn keeps_state(before: &Value, after: &Value, part: &str) -> bool {
    [before, after].iter().all(|plan| has_state(&plan["steps"][step_of_part(part)]))
}

fn has_state(step: &Value) -> bool {
    ["window", "model"].iter().any(|kind| step.get(kind).is_some())
}

/// The changes for which state can't be used again; none: it can.
pub(super) fn refused(before: &Value, after: &Value) -> Vec<PlanChange> {
    let mut changes = Vec::new();
    compare("the input", "read from", &before["input"], &after["input"], &mut changes);
    let steps = |plan: &Value| plan["steps"].as_object().cloned().unwrap_or_default();
    let (old, new) = (steps(before), steps(after));
    for (name, step) in &new {
        let Some(was) = old.get(name).filter(|was| has_state(was)) else { continue };
        if !has_state(step) {
            continue;
        }
        for property in ["from", "where", "window", "model", "by", "reads", "time zone", "forget_after"] {
            compare(&format!("step {name}"), property, was, step, &mut changes);
        }
        for input in inputs(step) {
            upstream(&input, before, after, &mut changes);
        }
    }
    let sources = |plan: &Value| plan["sources"].as_object().cloned().unwrap_or_default();
    let (old, new) = (sources(before), sources(after));
    for (name, source) in &new {
        // Offsets belong to topics, and watermarks to event time.
        if let Some(was) = old.get(name) {
            for property in ["topics", "event time"] {
                compare(&format!("source {name}"), property, was, source, &mut changes);
            }
        }
    }
    for (name, sink) in after["sinks"].as_object().into_iter().flatten() {
        let was = &before["sinks"][name];
        if was.is_object() {
            compare(&format!("sink {name}"), "kind", was, sink, &mut changes);
        }
    }
    changes
}

fn inputs(step: &Value) -> Vec<String> {
    step["from"].as_str().unwrap_or_default().split(", ").map(str::to_owned).collect()
}

// Everything before a window decides which rows reach it.
fn upstream(name: &str, before: &Value, after: &Value, changes: &mut Vec<PlanChange>) {
    for (kind, label) in [("sources", "source"), ("steps", "step")] {
        let (was, is) = (&before[kind][name], &after[kind][name]);
        let Some(properties) = is.as_object() else { continue };
        // What a window before this one gives is its output: columns that were there must be there still.
        let lost = strings(&was["output"]).any(|column| !strings(&is["output"]).any(|is| is == column));
        let decisive = |property: &&String| match property.as_str() {
            // Another version of a model may take the place of one; the column model_version says which it was.
            "aggregates" | "since" | "network" | "shadow" => false,
            "output" => lost,
            _ => true,
        };
        for property in properties.keys().filter(decisive) {
            compare(&format!("{label} {name}"), property, was, is, changes);
        }
        if kind == "steps" {
            inputs(is).iter().for_each(|input| upstream(input, before, after, changes));
        }
    }
}

fn compare(part: &str, property: &str, before: &Value, after: &Value, changes: &mut Vec<PlanChange>) {
    let text = |value: &Value| match value {
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::String(text) => words::in_words(property, text),
        Value::Array(_) => strings(value).collect::<Vec<_>>().join("; "),
        _ => "nothing".to_owned(),
    };
    let change = PlanChange {
        part: part.to_owned(),
        property: property.to_owned(),
        before: text(&before[property]),
        after: text(&after[property]),
    };
    if change.before != change.after && !changes.contains(&change) {
        changes.push(change);
    }
}
