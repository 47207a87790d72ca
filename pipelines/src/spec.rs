//! The spec: what the user wrote, typed, and with every value's place in the file.
//!
//! ```text
//!   YAML text ──▶ yaml: nodes with places ──▶ environment: ${NAME} ──▶ reader: typed values ──▶ Spec ──▶ plan
//!                     │                            │                       │
//!                     └────────────────────────────┴── Problems ◀──────────┘   all of them, not the first
//! ```
//!
//! This module knows the grammar and nothing else: whether a column exists, a type fits or a step leads anywhere is the
//! [`plan`](crate::plan)'s to say. The types here are also the grammar that editors complete from: [`json_schema`] is
//! derived from them, and their documentation is what the editor shows.

use std::path::Path;

use schemars::JsonSchema;

pub use self::checkpoint::CheckpointSpec;
pub use self::doubled::{Other, Place};
pub use self::entries::{Columns, Entries, Expression};
pub use self::environment::Environment;
pub use self::json_schema::json_schema;
pub use self::model::{
    ConvergeSpec, DetectSpec, ForecastSpec, ModelSpec, PortSpec, Rate, RetrainSpec, ScoreSpec, SeriesSpec,
};
pub use self::overrides::Override;
pub use self::position::{SourceText, Span, Spanned};
pub use self::problem::{Problem, in_file_order};
pub use self::schema::SchemaSpec;
pub(crate) use self::schema::read_schema_file;
pub use self::sink::{DeltaSpec, JsonlSpec, KafkaSinkSpec, ParquetSpec, SinkSpec, StdoutSpec};
pub use self::source::{
    ArchiveSpec, EventTimeSpec, FormatSpec, KafkaSpec, PositionSpec, SourceSpec, TopicOffsets,
};
pub use self::step::{ColumnSpec, StepSpec, WindowSpec};
pub use self::units::{Duration, Instant, Size};

mod checkpoint;
mod doubled;
mod entries;
mod environment;
mod json_schema;
mod model;
mod overrides;
mod position;
mod problem;
mod reader;
mod schema;
mod sink;
mod source;
mod step;
pub(crate) mod suggest;
pub mod test_file;
mod units;
mod yaml;

/// A pipeline: sources, steps and sinks.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields, title = "Thalweg pipeline")]
pub struct Spec {
    /// The file.
    #[schemars(skip)]
    pub source: SourceText,
    /// The pipeline's name: a lower-case letter, then letters, digits and _.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"), length(max = 64))]
    pub pipeline: Spanned<String>,
    /// What the pipeline is for.
    pub description: Option<Spanned<String>>,
    /// Schemas of the sources' payloads, by name.
    #[schemars(default)]
    pub schemas: Entries<SchemaSpec>,
    /// Where rows come from, by name.
    #[schemars(extend("minProperties" = 1))]
    pub sources: Entries<SourceSpec>,
    /// What is done with them, by name.
    #[schemars(default)]
    pub steps: Entries<StepSpec>,
    /// Where rows go, by name.
    #[schemars(extend("minProperties" = 1))]
    pub sinks: Entries<SinkSpec>,
    /// How the job is made safe against crashes.
    #[schemars(default)]
    pub checkpoint: CheckpointSpec,
    /// How much memory a process may take for rows on their way, besides the state of open windows; by default 1GiB.
    pub memory: Option<Spanned<Size>>,
    /// There may be schemas whose names could not be read.
    #[schemars(skip)]
    pub schemas_unknown: bool,
    /// There may be sources or steps whose names could not be read.
    #[schemars(skip)]
    pub streams_unknown: bool,
    /// The same with the other one of each field that is there twice.
    #[schemars(skip)]
    pub others: Vec<Other<Spec>>,
}

const FIELDS: [&str; 8] =
    ["pipeline", "description", "schemas", "sources", "steps", "sinks", "checkpoint", "memory"];

/// What a step's fields are called: a column of such a name is hardly meant.
const NO_COLUMNS: [&str; 6] = ["from", "where", "window", "by", "select", "having"];

/// Reads a spec, and says everything that is wrong with it as far as the grammar goes.
///
/// `origin` is the file as problems name it, and where relative paths of schemas start. The spec is there even when parts
/// of it are wrong (those are marked incomplete), so that a plan can go on and find the rest; only a text that is not a
/// YAML mapping gives none. Of a text that is not YAML, all is read that can be.
///
/// Values of `overrides` stand in the place of those in the text.
pub fn read(
    text: &str,
    origin: &Path,
    env: Environment<'_>,
    overrides: &[Override],
) -> (Option<Spec>, Vec<Problem>) {
    let source = SourceText::new(origin, text);
    let wrong_with = |root: &yaml::Node| {
        let mut reader = reader::Reader::new(source.clone(), Vec::new());
        let spec = read_root(&mut reader, root, source.clone());
        let steps = spec.iter().flat_map(|spec| spec.steps.iter());
        let columns = steps.flat_map(|step| step.by.iter().chain(&step.select)).flatten();
        let odd = columns.filter(|column| NO_COLUMNS.contains(&column.name.as_str()));
        let odd = odd.map(|column| column.name.at);
        let at = |problem: &Problem| Span { line: problem.line, column: problem.column, length: 1 };
        reader.problems.iter().map(at).chain(odd).collect()
    };
    let (root, mut problems) = yaml::read(&source, &wrong_with);
    let Some(mut root) = root else { return (None, problems) };
    let is_whole = problems.is_empty();
    for each in overrides {
        if let Err(problem) = overrides::apply(&mut root, each, &source)
            // What can't be read may hold the place that is missed.
            && is_whole
        {
            problems.push(*problem);
        }
    }
    yaml::fill_in(&mut root, "", env, &source, &mut problems);
    let mut reader = reader::Reader::new(source.clone(), problems);
    let mut spec = read_root(&mut reader, &root, source.clone());
    let mut problems = reader.problems;
    let others = doubled::others(&root, &source, reader.doubled, &mut problems, |reader, root| {
        read_root(reader, root, source.clone())
    });
    if let Some(spec) = &mut spec {
        spec.others = others;
    }
    in_file_order(&mut problems);
    (spec, problems)
}

fn read_root(reader: &mut reader::Reader, root: &yaml::Node, source: SourceText) -> Option<Spec> {
    let fields = reader.fields(root, "", &FIELDS)?;
    let pipeline = reader
        .required(&fields, "pipeline", "give the pipeline a name: \"pipeline: provider_health\"")
        .and_then(|entry| {
            reader.parsed(entry, "a name", |text| units::check_name(text).map(|()| text.to_owned()))
        });
    let description =
        fields.get("description").and_then(|entry| reader.text(entry.value, &entry.path, "a text"));
    let unknown = |key: &str| match fields.get(key) {
        Some(entry) => entry.value.lacks_names(),
        None => fields.seems_to_have(key),
    };
    let schemas_unknown = unknown("schemas");
    let streams_unknown = unknown("sources") || unknown("steps");
    let schemas = entries::read(reader, fields.get("schemas"), schema::read);
    let sources = reader.required(&fields, "sources", "name at least one source under \"sources:\"");
    let sources = entries::read(reader, sources, source::read);
    let steps = entries::read(reader, fields.get("steps"), step::read);
    let sinks = reader.required(&fields, "sinks", "name at least one sink under \"sinks:\"");
    if let Some(entry) = sinks.filter(|entry| entry.value.is_empty_mapping()) {
        let hint = "name at least one sink under \"sinks:\"".to_owned();
        reader.problem(entry.key.at, &entry.path, "no sink", Some(hint));
    }
    let sinks = entries::read(reader, sinks, sink::read);
    let checkpoint = checkpoint::read(reader, fields.get("checkpoint"));
    let memory = fields.get("memory").and_then(|entry| {
        reader.parsed(entry, "a size", |text| match Size::parse(text)? {
            Size { bytes } if bytes < 64 << 20 => Err((
                format!("\"{text}\" is too little"),
                "a job needs 64MiB at least; 1GiB is the default".to_owned(),
            )),
            size => Ok(size),
        })
    });
    let unnamed = || Spanned::new(String::new(), root.at);
    let pipeline = pipeline.unwrap_or_else(unnamed);
    Some(Spec {
        source,
        pipeline,
        description,
        schemas,
        sources,
        steps,
        sinks,
        checkpoint,
        memory,
        schemas_unknown,
        streams_unknown,
        others: Vec::new(),
    })
}
