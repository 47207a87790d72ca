//! A test file as written: rows that go into a pipeline, and rows that have to come out.
//!
//! ```text
//!   my_pipeline.test.yaml ──▶ yaml: nodes with places ──▶ reader ──▶ TestFileSpec ──▶ testing (checked against the plan, then run)
//! ```
//!
//! This module knows the grammar alone; which sources, sinks and columns there are is [`testing`](crate::testing)'s to say, where the
//! format is explained. No variables are filled in here: what a test says are rows, in which a `$` is a `$`.

use std::path::Path;

use super::reader::{Entry, Fields, Reader};
use super::units::Instant;
use super::yaml::{self, Kind, Node};
use super::{Other, Problem, SourceText, Span, Spanned, doubled, in_file_order};

mod json_schema;
mod rows;

pub use self::json_schema::test_json_schema;
pub(crate) use self::rows::bytes_of;
pub use self::rows::{CellSpec, JsonSpec, Payload, RecordSpec, RowSpec, Stamp};

/// A test file.
#[derive(Debug, Clone)]
pub struct TestFileSpec {
    /// The file.
    pub source: SourceText,
    /// The pipeline: a path relative to the file, or a name of the catalogue.
    pub pipeline: Spanned<String>,
    /// What `${NAME}` in the pipeline stands for.
    pub env: Vec<(Spanned<String>, Spanned<String>)>,
    /// What holds for all tests.
    pub rules: RulesSpec,
    /// The tests.
    pub tests: Vec<TestSpec>,
    /// There may be variables whose names could not be read.
    pub env_unknown: bool,
    /// The same with the other one of each field that is there twice.
    pub others: Vec<Other<TestFileSpec>>,
}

/// How rows are compared.
#[derive(Debug, Clone, Default)]
pub struct RulesSpec {
    /// Whether every column has to be named.
    pub exact: Option<Spanned<bool>>,
    /// How far any number may be off.
    pub tolerance: Option<Spanned<Tolerance>>,
    /// How far the numbers of a column may be off.
    pub tolerances: Vec<(Spanned<String>, Tolerance)>,
}

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// By so much.
    Absolute(f64),
    /// By such a part of the expected number.
    Relative(f64),
}

/// A test.
#[derive(Debug, Clone)]
pub struct TestSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// How its rows are compared.
    pub rules: RulesSpec,
    /// What happens, in order.
    pub timeline: Vec<EventSpec>,
    /// What has come out when the input has ended. `None`: it does not end.
    pub expect: Option<ExpectSpec>,
}

/// Something that happens in a test.
#[derive(Debug, Clone)]
pub enum EventSpec {
    /// Rows come.
    Input(Vec<InputSpec>),
    /// Time goes by.
    Advance(Spanned<Instant>),
    /// Rows have come out.
    Expect(ExpectSpec),
}

/// Rows of a source.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// The source.
    pub source: Spanned<String>,
    /// The path of names, for problems.
    pub path: String,
    /// Partitions that are there, with or without records.
    pub partitions: Vec<i32>,
    /// Its records, in the order of the file.
    pub records: Vec<RecordSpec>,
}

/// What has to have come out.
#[derive(Debug, Clone)]
pub struct ExpectSpec {
    /// Where it stands.
    pub at: Span,
    /// Of each sink or step that is looked at.
    pub streams: Vec<StreamSpec>,
}

/// The rows of a sink or step.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// The sink or step, or `_late`, `_rejected`.
    pub name: Spanned<String>,
    /// The path of names, for problems.
    pub path: String,
    /// How its rows are compared.
    pub rules: RulesSpec,
    /// The rows. `None`: any.
    pub rows: Option<Vec<RowSpec>>,
}

const FILE_FIELDS: [&str; 5] = ["pipeline", "env", "exact", "tolerance", "tests"];
const TEST_FIELDS: [&str; 6] = ["name", "input", "timeline", "expect", "exact", "tolerance"];
const ADVANCE: &str = "advance watermark to";

/// Reads a test file, and says everything that is wrong with it as far as the grammar goes. The tests are there even when parts of them
/// are wrong; only a text that is not a YAML mapping gives none. Of a text that is not YAML, all is read that can be.
pub fn read(text: &str, origin: &Path) -> (Option<TestFileSpec>, Vec<Problem>) {
    let source = SourceText::new(origin, text);
    let wrong_with = |root: &Node| {
        let mut reader = Reader::new(source.clone(), Vec::new());
        read_file(&mut reader, root, source.clone());
        let at = |problem: &Problem| Span { line: problem.line, column: problem.column, length: 1 };
        reader.problems.iter().map(at).collect()
    };
    let (root, problems) = yaml::read(&source, &wrong_with);
    let Some(root) = root else { return (None, problems) };
    let mut reader = Reader::new(source.clone(), problems);
    let mut file = read_file(&mut reader, &root, source.clone());
    let mut problems = reader.problems;
    let others = doubled::others(&root, &source, reader.doubled, &mut problems, |reader, root| {
        read_file(reader, root, source.clone())
    });
    if let Some(file) = &mut file {
        file.others = others;
    }
    in_file_order(&mut problems);
    (file, problems)
}

fn read_file(reader: &mut Reader, root: &Node, source: SourceText) -> Option<TestFileSpec> {
    let fields = reader.fields(root, "", &FILE_FIELDS)?;
    let hint = "name what is tested: \"pipeline: my_pipeline.yaml\", or a pipeline of the catalogue";
    let pipeline = reader
        .required(&fields, "pipeline", hint)
        .cloned()
        .and_then(|entry| reader.text(entry.value, &entry.path, "a file or a name of the catalogue"))
        .unwrap_or_else(|| Spanned::new(String::new(), root.at));
    let env = fields.get("env").map_or_else(Vec::new, |entry| read_env(reader, entry));
    let env_unknown = match fields.get("env") {
        Some(entry) => entry.value.lacks_names(),
        None => fields.seems_to_have("env"),
    };
    let rules = read_rules(reader, &fields);
    let tests = reader.required(&fields, "tests", "write a list of tests under \"tests:\"").cloned();
    let tests = tests.and_then(|entry| reader.items(entry.value, &entry.path)).unwrap_or_default();
    let mut read: Vec<TestSpec> = Vec::with_capacity(tests.len());
    for (path, node) in tests {
        let Some(test) = read_test(reader, node, &path) else { continue };
        if let Some(other) = read.iter().find(|other| other.name.value == test.name.value) {
            let hint =
                format!("line {} has a test of that name; give one of the two another", other.name.at.line);
            let message = format!("the name \"{}\" is given twice", *test.name);
            reader.problem(test.name.at, &format!("{path}.name"), message, Some(hint));
        }
        read.push(test);
    }
    Some(TestFileSpec { source, pipeline, env, rules, tests: read, env_unknown, others: Vec::new() })
}

fn read_env(reader: &mut Reader, entry: &Entry<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
    let Some(fields) = reader.mapping(entry.value, &entry.path) else { return Vec::new() };
    let variables = fields.entries.iter().filter_map(|entry| {
        let value = reader.text(entry.value, &entry.path, "a text")?;
        Some((entry.key.clone().map(str::to_owned), value))
    });
    variables.collect()
}

fn read_rules(reader: &mut Reader, fields: &Fields<'_>) -> RulesSpec {
    let exact =
        fields.get("exact").and_then(|entry| reader.choice(entry, &[("true", true), ("false", false)]));
    let mut rules = RulesSpec { exact, ..RulesSpec::default() };
    let Some(entry) = fields.get("tolerance") else { return rules };
    if let Kind::Mapping(_) = entry.value.kind {
        let columns = reader.mapping(entry.value, &entry.path).map_or_else(Vec::new, |fields| fields.entries);
        for entry in columns {
            if let Some(tolerance) = reader.parsed(&entry, "a tolerance", parse_tolerance) {
                rules.tolerances.push((entry.key.map(str::to_owned), tolerance.value));
            }
        }
    } else {
        rules.tolerance = reader.parsed(entry, "a tolerance", parse_tolerance);
    }
    rules
}

fn parse_tolerance(text: &str) -> Result<Tolerance, (String, String)> {
    let (number, of): (&str, fn(f64) -> Tolerance) = match text.trim().strip_suffix('%') {
        Some(number) => (number, |percent| Tolerance::Relative(percent / 100.0)),
        None => (text.trim(), Tolerance::Absolute),
    };
    let parsed = number.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    parsed.map(of).ok_or_else(|| {
        let hint = "write a number (0.01), a part of the expected one (1%), or one for each column";
        (format!("\"{text}\" is not a tolerance"), hint.to_owned())
    })
}

fn read_test(reader: &mut Reader, node: &Node, path: &str) -> Option<TestSpec> {
    let fields = reader.fields(node, path, &TEST_FIELDS)?;
    let name = reader
        .required(&fields, "name", "say in a few words what has to hold: \"name: late rows are kept\"")
        .cloned()
        .and_then(|entry| reader.text(entry.value, &entry.path, "a text"))
        .unwrap_or_else(|| Spanned::new(format!("test on line {}", node.at.line), node.at));
    let rules = read_rules(reader, &fields);
    let mut timeline = Vec::new();
    if let Some(entry) = fields.get("input") {
        timeline.push(EventSpec::Input(read_input(reader, entry.value, &entry.path)));
    }
    if let Some(entry) = fields.get("timeline") {
        if fields.get("input").is_some() {
            let hint = "write it as the first entry of the timeline: \"- input: …\"".to_owned();
            reader.problem(
                entry.key.at,
                &entry.path,
                "a test has an input or a timeline, not both",
                Some(hint),
            );
        }
        for (path, node) in reader.items(entry.value, &entry.path).unwrap_or_default() {
            timeline.extend(read_event(reader, node, &path));
        }
    } else if timeline.is_empty() && !fields.seems_to_have("input") {
        let hint = "write input: { source: [rows] }, or a timeline: a list of input, \"advance watermark to\" and expect";
        reader.problem(fields.at, path, "nothing happens in the test", Some(hint.to_owned()));
    }
    let expect = fields.get("expect").map(|entry| read_expect(reader, entry));
    let expects = expect.is_some() || timeline.iter().any(|event| matches!(event, EventSpec::Expect(_)));
    if !expects && !fields.seems_to_have("expect") {
        let hint = "write expect: { sink: [rows] }; a test can't fail without".to_owned();
        reader.problem(name.at, path, "nothing is expected", Some(hint));
    }
    Some(TestSpec { name, rules, timeline, expect })
}

fn read_event(reader: &mut Reader, node: &Node, path: &str) -> Option<EventSpec> {
    let fields = reader.fields(node, path, &["input", ADVANCE, "expect"])?;
    let [entry] = fields.entries.as_slice() else {
        if fields.entries.len() > 1 {
            let hint = "begin each with a \"-\" of its own: their order counts".to_owned();
            reader.problem(fields.at, path, "several things at once", Some(hint));
        }
        return None;
    };
    match entry.key.value {
        "input" => Some(EventSpec::Input(read_input(reader, entry.value, &entry.path))),
        "expect" => Some(EventSpec::Expect(read_expect(reader, entry))),
        _ => reader.parsed(entry, "a point in time", Instant::parse).map(EventSpec::Advance),
    }
}

fn read_input(reader: &mut Reader, node: &Node, path: &str) -> Vec<InputSpec> {
    let Some(sources) = reader.mapping(node, path) else { return Vec::new() };
    let read_source = |entry: &Entry<'_>| {
        let source = entry.key.clone().map(str::to_owned);
        let mut input =
            InputSpec { source, path: entry.path.clone(), partitions: Vec::new(), records: Vec::new() };
        match &entry.value.kind {
            Kind::Mapping(_) => {
                let partitions =
                    reader.mapping(entry.value, &entry.path).map_or_else(Vec::new, |f| f.entries);
                for entry in partitions {
                    match entry.key.parse::<i32>().ok().filter(|number| *number >= 0) {
                        Some(number) => {
                            rows::read_records(reader, entry.value, &entry.path, number, &mut input)
                        }
                        None => {
                            let hint =
                                "write a list of rows, or lists by partition: { 0: [rows], 1: [rows] }";
                            let message = format!("\"{}\" is not the number of a partition", *entry.key);
                            reader.problem(entry.key.at, &entry.path, message, Some(hint.to_owned()));
                        }
                    }
                }
            }
            _ => rows::read_records(reader, entry.value, &entry.path, 0, &mut input),
        }
        input
    };
    sources.entries.iter().map(read_source).collect()
}

fn read_expect(reader: &mut Reader, entry: &Entry<'_>) -> ExpectSpec {
    let mut expect = ExpectSpec { at: entry.key.at, streams: Vec::new() };
    let Some(fields) = reader.mapping(entry.value, &entry.path) else { return expect };
    for entry in &fields.entries {
        let name = entry.key.clone().map(str::to_owned);
        let mut stream = StreamSpec {
            name,
            path: entry.path.clone(),
            rules: RulesSpec::default(),
            rows: Some(Vec::new()),
        };
        match &entry.value.kind {
            Kind::Scalar(text, _) if text == "any" => stream.rows = None,
            Kind::Mapping(_) => {
                let Some(fields) = reader.fields(entry.value, &entry.path, &["rows", "exact", "tolerance"])
                else {
                    continue;
                };
                stream.rules = read_rules(reader, &fields);
                let hint = "write rows: [ … ]; an empty list where nothing comes out";
                if let Some(entry) = reader.required(&fields, "rows", hint).cloned() {
                    stream.rows = Some(rows::read_rows(reader, entry.value, &entry.path));
                }
            }
            _ => stream.rows = Some(rows::read_rows(reader, entry.value, &entry.path)),
        }
        expect.streams.push(stream);
    }
    expect
}
