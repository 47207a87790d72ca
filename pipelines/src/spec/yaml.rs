//! YAML text as a tree of nodes that know their place.
//!
//! Built from the parser's events and not from its own tree: that one stops at the first duplicate key, and types scalars
//! before anyone knows what they are meant to be. Here a scalar stays text until a reader asks for a duration or a name.

use std::collections::HashMap;

use saphyr::{AnnotatedMapping, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as YamlSpan};

use super::environment::{Environment, expand};
use super::{Problem, SourceText, Span};

/// How deep mappings and sequences may be nested.
const DEPTH_MAX: usize = 32;
/// How many nodes a file may hold after its aliases are filled in: a few lines of aliases can ask for billions.
const NODES_MAX: usize = 100_000;

/// A YAML node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Span,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Nothing was written, or `null` or `~`.
    Null,
    /// A scalar's text, with environment variables filled in.
    Scalar(String, ScalarStyle),
    /// A scalar that could not be filled in; said already.
    Broken,
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file, duplicates kept.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The node in words, as in "expected a mapping, found a list".
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Scalar(text, _) if text.chars().count() > 40 => "a text".into(),
            Kind::Scalar(text, _) => format!("\"{text}\""),
            Kind::Broken => "a text".into(),
            Kind::Sequence(_) => "a list".into(),
            Kind::Mapping(_) => "a mapping".into(),
        }
    }
}

/// A mapping or sequence being read.
struct Open {
    at: Span,
    anchor: usize,
    is_mapping: bool,
    items: Vec<Node>,
}

/// Parses a file that holds one document.
///
/// # Errors
/// What keeps the file from being read: YAML's grammar, several documents, too deep or too large a tree.
pub(super) fn parse(source: &SourceText) -> Result<Node, Box<Problem>> {
    let fail = |at: Span, message: &str, hint: Option<&str>| {
        Box::new(source.problem(at, "", message.to_owned(), hint.map(str::to_owned)))
    };
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut root = None;
    let mut nodes = 0;
    for event in Parser::new_from_str(&source.text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let at = Span { line: marker.line(), column: marker.col() + 1, length: 1 };
            let message = format!("not valid YAML: {}", error.info());
            Box::new(source.problem(at, "", message, yaml_hint(source, at)))
        })?;
        let at = place(source, span);
        nodes += 1;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _tag) => (scalar(at, &text, style), anchor),
            Event::Alias(anchor) => {
                let mut node = anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| fail(at, "an alias inside its own anchor", None))?;
                nodes += count(&node);
                node.at = at;
                (node, 0)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                let is_mapping = matches!(event, Event::MappingStart(..));
                if stack.len() == DEPTH_MAX {
                    return Err(fail(
                        at,
                        "nested too deeply",
                        Some("no field of a pipeline is nested as deep as this"),
                    ));
                }
                stack.push(Open { at, anchor, is_mapping, items: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = stack.pop().expect("invariant: the parser closes what it opened");
                let kind = if open.is_mapping { mapping(open.items) } else { Kind::Sequence(open.items) };
                (Node { at: open.at, kind }, open.anchor)
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(fail(
                    at,
                    "a second document",
                    Some("write one pipeline a file, without \"---\" between"),
                ));
            }
            _ => continue,
        };
        if nodes > NODES_MAX {
            return Err(fail(at, "too many nodes", Some("aliases may fill in 100000 nodes at most")));
        }
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match stack.last_mut() {
            Some(open) => open.items.push(node),
            None => root = Some(node),
        }
    }
    Ok(root.unwrap_or(Node { at: Span { line: 1, column: 1, length: 1 }, kind: Kind::Null }))
}

/// Fills environment variables into all values below `node` (keys stay as written); adds to `problems` what can't be.
pub(super) fn fill_in(
    node: &mut Node,
    path: &str,
    environment: Environment<'_>,
    source: &SourceText,
    problems: &mut Vec<Problem>,
) {
    match &mut node.kind {
        Kind::Null | Kind::Broken => {}
        Kind::Scalar(text, _) => match expand(text, environment) {
            Ok(expanded) => *text = expanded,
            Err(errors) => {
                let problem = |error: super::environment::ExpansionError| {
                    source.problem(node.at, path, error.message, Some(error.hint))
                };
                problems.extend(errors.into_iter().map(problem));
                node.kind = Kind::Broken;
            }
        },
        Kind::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill_in(item, &format!("{path}[{index}]"), environment, source, problems);
            }
        }
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                let key = if let Kind::Scalar(key, _) = &key.kind { key.as_str() } else { "?" };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                fill_in(value, &path, environment, source, problems);
            }
        }
    }
}

/// The node as the parser's own tree: what the reader of schemas takes. A key given twice counts once.
pub(super) fn to_saphyr(node: &Node) -> MarkedYaml<'static> {
    let marker = Marker::new(0, node.at.line, node.at.column - 1);
    let data = match &node.kind {
        Kind::Null | Kind::Broken => YamlData::Value(Scalar::Null),
        Kind::Scalar(text, style) => {
            MarkedYaml::value_from_cow_and_metadata(text.clone().into(), *style, None).data
        }
        Kind::Sequence(items) => YamlData::Sequence(items.iter().map(to_saphyr).collect()),
        Kind::Mapping(entries) => {
            let mut mapping = AnnotatedMapping::new();
            for (key, value) in entries {
                mapping.insert(to_saphyr(key), to_saphyr(value));
            }
            YamlData::Mapping(mapping)
        }
    };
    MarkedYaml { span: YamlSpan::empty(marker), data }
}

fn scalar(at: Span, text: &str, style: ScalarStyle) -> Node {
    let is_null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let kind = if is_null { Kind::Null } else { Kind::Scalar(text.to_owned(), style) };
    Node { at, kind }
}

fn mapping(items: Vec<Node>) -> Kind {
    let mut entries = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        entries.push((key, value));
    }
    Kind::Mapping(entries)
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Scalar(..) | Kind::Broken => 1,
        Kind::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        Kind::Mapping(entries) => {
            1 + entries.iter().map(|(key, value)| count(key) + count(value)).sum::<usize>()
        }
    }
}

fn place(source: &SourceText, span: YamlSpan) -> Span {
    let (line, column) = (span.start.line(), span.start.col() + 1);
    let length = if span.end.line() == line {
        span.end.col().saturating_sub(span.start.col())
    } else {
        source.line(line).map_or(1, |text| text.trim_end().chars().count().saturating_sub(span.start.col()))
    };
    Span { line, column, length: length.max(1) }
}

/// The two slips that make most YAML errors.
fn yaml_hint(source: &SourceText, at: Span) -> Option<String> {
    let line = source.line(at.line)?;
    if line.contains('\t') && line.trim_start_matches(' ').starts_with('\t') {
        return Some("indent with spaces, not with tabs".into());
    }
    let value = line.split_once(": ")?.1;
    let quoted = value.starts_with(['"', '\'']);
    (!quoted && value.contains(": ")).then(|| "put an expression that holds \": \" in double quotes".into())
}
