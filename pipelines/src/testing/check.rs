//! From a test file as written to tests that can run: names found, values typed, rows laid out in time. All that is wrong is said at
//! once, with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_operators::source::refused;
use thalweg_schemas::time::format_rfc3339;

use super::compare::ExpectedRow;
use super::records::GivenRecord;
use crate::catalogue;
use crate::lower::sinks::{LATE, REJECTED};
use crate::plan::{self, PartitionColumn, Plan, PlannedSink, SinkKind};
use crate::spec::test_file::{self, EventSpec, RulesSpec, TestFileSpec, TestSpec};
use crate::spec::{
    ParquetSpec, Problem, SinkSpec, SourceText, Span, Spanned, Spec, in_file_order, read, suggest,
};
use expect::expect_no_other_refused;
use input::topics;

mod expect;
mod fields;
mod input;

/// How a problem begins that is about a variable of the environment.
const VARIABLE: &str = "the environment variable ";
/// How long between checkpoints: a test makes its own.
const NEVER_US: i64 = 3_600_000_000 * 24 * 365;

/// A test file that can be run.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// The file.
    pub file: PathBuf,
    /// The pipeline's name.
    pub pipeline: String,
    /// The tests.
    pub tests: Vec<Test>,
}

/// A test file, or everything that is wrong with it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The tests; `None` where something is wrong.
    pub tests: Option<TestFile>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is not as it was probably meant.
    pub warnings: Vec<Problem>,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
}

/// A test that can be run.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Its line.
    pub line: usize,
    pub(super) plan: Arc<Plan>,
    /// Of each source of the plan.
    pub(super) input: Vec<SourceInput>,
    pub(super) moments: Vec<Moment>,
}

impl Test {
    /// At how many points in time its job is looked at, or the watermark advanced.
    pub fn moments(&self) -> usize {
        self.moments.len()
    }
}

/// What a source is given.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceInput {
    /// By topic and partition.
    pub(super) splits: BTreeMap<(Arc<str>, i32), Vec<FromMoment>>,
}

/// A record, and the moment from which on it is there.
pub(super) type FromMoment = (usize, GivenRecord);

/// A point of a test up to which its job runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    /// The watermark that time has brought every split to.
    pub(super) floor: Option<i64>,
    /// Whether the input ends.
    pub(super) ends: bool,
    pub(super) expect: Option<Expectation>,
}

/// What has come out at some moment.
#[derive(Debug, Clone)]
pub(super) struct Expectation {
    pub(super) when: String,
    pub(super) line: usize,
    pub(super) streams: Vec<ExpectedStream>,
}

/// The rows of a stream that have come.
#[derive(Debug, Clone)]
pub(super) struct ExpectedStream {
    /// The sink's folder.
    pub(super) sink: String,
    /// The stream in words.
    pub(super) label: String,
    /// The rows. `None`: any.
    pub(super) rows: Option<Vec<ExpectedRow>>,
    /// The columns that are shown of a row, in order.
    pub(super) shown: Vec<String>,
}

/// A stream that is looked at.
#[derive(Debug, Clone)]
struct Observed {
    sink: String,
    label: String,
    columns: SchemaRef,
}

/// Reads and checks a test file.
///
/// # Errors
/// A file that can't be read. What is wrong in it stands in [`Loaded`].
pub fn load(path: &Path) -> anyhow::Result<Loaded> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    Ok(load_text(&text, path))
}

/// Checks the text of a test file; `origin` is the file as problems name it, and where relative paths start.
pub fn load_text(text: &str, origin: &Path) -> Loaded {
    let (spec, mut problems) = test_file::read(text, origin);
    let files = vec![origin.to_owned()];
    let mut loaded = Loaded { tests: None, problems: Vec::new(), warnings: Vec::new(), files };
    if let Some(file) = spec {
        let pipeline = read_pipeline(&file, &mut loaded.files, &mut problems);
        if let Some(pipeline) = pipeline {
            for other in &file.others {
                let mut checker = Checker::new(&other.spec);
                checker.tests(pipeline.clone());
                problems.extend(checker.problems.into_iter().filter(|problem| other.place.holds(problem)));
            }
            let mut checker = Checker::new(&file);
            let tests = checker.tests(pipeline);
            problems.append(&mut checker.problems);
            in_file_order(&mut checker.warnings);
            loaded.warnings = checker.warnings;
            loaded.tests = tests;
        }
    }
    in_file_order(&mut problems);
    if !problems.is_empty() {
        loaded.tests = None;
    }
    loaded.problems = problems;
    loaded
}

// The pipeline's spec, of which all is right.
fn read_pipeline(file: &TestFileSpec, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) -> Option<Spec> {
    if file.pipeline.is_empty() {
        return None;
    }
    let path = file.source.file.parent().unwrap_or(Path::new("")).join(file.pipeline.as_str());
    let (text, origin) = match (std::fs::read_to_string(&path), catalogue::find(&file.pipeline)) {
        (Ok(text), _) => (text, path),
        (Err(_), Some(entry)) => (entry.text.to_owned(), PathBuf::from(format!("{}.yaml", entry.name))),
        (Err(error), None) => {
            let names: Vec<&str> = catalogue::ENTRIES.iter().map(|entry| entry.name).collect();
            let hint = suggest::nearest(&file.pipeline, names.iter().copied()).map_or_else(
                || format!("a path is relative to this file; the catalogue has {}", suggest::list(&names)),
                |near| format!("did you mean \"{near}\"?"),
            );
            let message =
                format!("can't read {}, and the catalogue has no such pipeline: {error}", path.display());
            problems.push(file.source.problem(file.pipeline.at, "pipeline", message, Some(hint)));
            return None;
        }
    };
    let env = |name: &str| {
        let found = file.env.iter().find(|(variable, _)| variable.value == name);
        found.map(|(_, value)| value.value.clone())
    };
    let (spec, mut wrong) = read(&text, &origin, &env, &[]);
    if let Some(spec) = &spec
        && let Err(more) = plan::check(spec)
    {
        wrong.extend(more);
    }
    // What can't be read may set the variable that is missed.
    let before = wrong.len();
    wrong.retain(|problem| !(file.env_unknown && problem.message.starts_with(VARIABLE)));
    let lacks_variables = wrong.len() != before;
    for problem in &mut wrong {
        if problem.message.starts_with(VARIABLE) {
            let file = file.source.file.display();
            problem.hint =
                Some(format!("a test sees no environment but its own: give it under env: in {file}"));
        }
    }
    if let Some(spec) = &spec {
        let folder = origin.parent().unwrap_or(Path::new(""));
        let schemas = spec.sources.iter().filter_map(|source| source.schema.as_ref());
        files.extend(schemas.map(|name| folder.join(name.as_str())).filter(|path| path.is_file()));
    }
    if origin.is_file() {
        files.push(origin);
    }
    let is_right = wrong.is_empty() && !lacks_variables;
    problems.extend(wrong);
    spec.filter(|_| is_right)
}

struct Checker<'a> {
    file: &'a TestFileSpec,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Fields that the schema of a source does not have, by source and path: each is told once.
    unknown: BTreeSet<(String, String)>,
}

impl<'a> Checker<'a> {
    fn new(file: &'a TestFileSpec) -> Self {
        Checker { file, problems: Vec::new(), warnings: Vec::new(), unknown: BTreeSet::new() }
    }

    fn problem(&mut self, at: Span, path: &str, message: impl Into<String>, hint: Option<String>) {
        let source: &SourceText = &self.file.source;
        self.problems.push(source.problem(at, path, message, hint));
    }

    fn tests(&mut self, mut spec: Spec) -> Option<TestFile> {
        let mut observed = self.observe(&mut spec);
        let mut plan = match plan::check(&spec) {
            Ok(plan) => plan,
            Err(problems) => {
                self.problems.extend(problems);
                return None;
            }
        };
        plan.checkpoint.interval_us = NEVER_US;
        plan.checkpoint.rows_max = None;
        plan.checkpoint.storage = None;
        // Idleness goes by a wall clock, and there is none.
        plan.sources.iter_mut().for_each(|source| source.event_time.idle_after_us = None);
        for stream in observed.values_mut() {
            if let Some(sink) = plan.sinks.iter().find(|sink| sink.name == stream.sink) {
                stream.columns = columns_of(sink);
            }
        }
        self.columns_of_rules(&self.file.rules.clone(), "", &observed);
        let plan = Arc::new(plan);
        let tests = self.file.tests.clone();
        let tests =
            tests.iter().enumerate().map(|(at, test)| self.test(at, test, &plan, &observed)).collect();
        Some(TestFile { file: self.file.source.file.to_path_buf(), pipeline: plan.name.clone(), tests })
    }

    // Lets every sink write Parquet, gives steps and sources that are looked at a sink, and says which names are none of them.
    fn observe(&mut self, spec: &mut Spec) -> BTreeMap<String, Observed> {
        let refused = |name: &str, label: &str| {
            let stream =
                Observed { sink: name.to_owned(), label: label.to_owned(), columns: refused::schema() };
            (name.to_owned(), stream)
        };
        let mut observed = BTreeMap::from([refused(LATE, "late rows"), refused(REJECTED, "rejected rows")]);
        for sink in &mut spec.sinks.0 {
            let partition_by = sink.delta.take().map_or_else(Vec::new, |delta| delta.partition_by);
            let parquet = ParquetSpec { partition_by, target_file_size: None };
            sink.parquet.get_or_insert(parquet);
            (sink.kafka, sink.jsonl, sink.stdout) = (None, None, None);
        }
        let file = self.file;
        let expects = file.tests.iter().flat_map(|test| {
            let of_timeline = test.timeline.iter().filter_map(|event| match event {
                EventSpec::Expect(expect) => Some(expect),
                _ => None,
            });
            of_timeline.chain(&test.expect)
        });
        let names = |spec: &Spec| -> Vec<(&'static str, String)> {
            let sinks = spec.sinks.iter().map(|sink| ("sink", sink.name.value.clone()));
            let steps = spec.steps.iter().map(|step| ("step", step.name.value.clone()));
            let sources = spec.sources.iter().map(|source| ("source", source.name.value.clone()));
            sinks.chain(steps).chain(sources).collect()
        };
        let known = names(spec);
        for stream in expects.flat_map(|expect| &expect.streams) {
            let name = stream.name.value.as_str();
            if observed.contains_key(name) {
                continue;
            }
            let Some((kind, _)) = known.iter().find(|(_, known)| known == name) else {
                let mut names: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
                names.extend([LATE, REJECTED]);
                names.dedup();
                let hint = suggest::hint(name, &names, "sinks, steps and sources");
                let message = format!("the pipeline has no sink, step or source \"{name}\"");
                self.problem(stream.name.at, &stream.path, message, hint);
                continue;
            };
            if *kind != "sink" {
                let unnamed = Spanned::new(name.to_owned(), Span::default());
                spec.sinks.0.push(SinkSpec {
                    name: unnamed.clone(),
                    from: unnamed,
                    parquet: Some(ParquetSpec::default()),
                    delta: None,
                    kafka: None,
                    jsonl: None,
                    stdout: None,
                    incomplete: false,
                });
            }
            let (sink, label) = (name.to_owned(), format!("{kind} {name}"));
            observed.insert(name.to_owned(), Observed { sink, label, columns: Arc::new(Schema::empty()) });
        }
        observed
    }

    // Columns of which a rule of the file or of a test speaks are columns of something that is looked at.
    fn columns_of_rules(&mut self, rules: &RulesSpec, path: &str, observed: &BTreeMap<String, Observed>) {
        for (column, _) in &rules.tolerances {
            let streams = || observed.values().map(|stream| &stream.columns);
            if !streams().any(|columns| columns.column_with_name(column).is_some()) {
                let names: Vec<&str> = streams()
                    .flat_map(|columns| columns.fields())
                    .map(|field| field.name().as_str())
                    .collect();
                let path = format!("{path}tolerance.{}", column.value);
                let message = format!("nothing that is compared has a column \"{}\"", column.value);
                self.problem(column.at, &path, message, suggest::hint(column, &names, "columns"));
            }
        }
    }

    fn test(
        &mut self,
        number: usize,
        test: &TestSpec,
        plan: &Arc<Plan>,
        observed: &BTreeMap<String, Observed>,
    ) -> Test {
        self.columns_of_rules(&test.rules, &format!("tests[{number}]."), observed);
        let mut checked = Test {
            name: test.name.value.clone(),
            line: test.name.at.line,
            plan: Arc::clone(plan),
            input: plan.sources.iter().map(|_| SourceInput::default()).collect(),
            moments: Vec::new(),
        };
        let mut floor: Option<i64> = None;
        let (mut has_rows, mut pending) = (false, false);
        for event in &test.timeline {
            match event {
                EventSpec::Input(input) => {
                    for source in input {
                        self.input(source, &mut checked);
                    }
                    (has_rows, pending) = (true, true);
                }
                EventSpec::Advance(to) => {
                    if floor.is_some_and(|floor| to.us < floor) {
                        let hint = format!("it is at {} already", format_rfc3339(floor.unwrap_or_default()));
                        self.problem(
                            to.at,
                            &format!("tests[{number}]"),
                            "the watermark never goes back",
                            Some(hint),
                        );
                    }
                    // Rows given before it are read before it.
                    if std::mem::take(&mut has_rows) {
                        checked.moments.push(Moment { floor, ..Moment::default() });
                    }
                    (floor, pending) = (Some(to.us), true);
                }
                EventSpec::Expect(expect) => {
                    let when = match floor {
                        Some(floor) => format!("with the watermark advanced to {}", format_rfc3339(floor)),
                        None => "after the first rows".to_owned(),
                    };
                    let expect = Some(self.expectation(expect, when, &test.rules, observed));
                    checked.moments.push(Moment { floor, ends: false, expect });
                    (has_rows, pending) = (false, false);
                }
            }
        }
        if let Some(expect) = &test.expect {
            let expect = Some(self.expectation(expect, "at the end".to_owned(), &test.rules, observed));
            checked.moments.push(Moment { floor, ends: true, expect });
        } else if pending || checked.moments.is_empty() {
            checked.moments.push(Moment { floor, ..Moment::default() });
        }
        for (source, input) in plan.sources.iter().zip(&mut checked.input) {
            if input.splits.is_empty() {
                input.splits.extend(topics(source).into_iter().take(1).map(|topic| ((topic, 0), Vec::new())));
            }
        }
        expect_no_other_refused(&mut checked);
        checked
    }
}

// What readers of a sink's folder find.
fn columns_of(sink: &PlannedSink) -> SchemaRef {
    let by_date = match &sink.kind {
        SinkKind::Parquet { partition_by, .. } => {
            partition_by.iter().any(|by| matches!(by, PartitionColumn::WindowDate(_)))
        }
        _ => false,
    };
    let date = by_date.then(|| Arc::new(Field::new("window_date", DataType::Date32, false)));
    Arc::new(Schema::new(sink.columns.fields().iter().cloned().chain(date).collect::<Vec<_>>()))
}
