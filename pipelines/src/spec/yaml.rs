//! YAML text as a tree of nodes that know their place.
//!
//! Built from the parser's events and not from its own tree: that one stops at the first duplicate key, and types scalars
//! before anyone knows what they are meant to be. Here a scalar stays text until a reader asks for a duration or a name.
//!
//! ```text
//!   text ──▶ parse ──▶ tree            the first fault ends it
//!        └─▶ read  ──▶ tree, problems  what holds a fault is left out (recover.rs), said in words (slips.rs), and the rest is read
//! ```

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use saphyr::{AnnotatedMapping, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as YamlSpan};

use super::environment::{Environment, expand};
use super::{Problem, SourceText, Span};

mod ends;
mod lines;
mod recover;
mod slips;
mod tabs;

pub(super) use self::recover::read;
pub(super) use self::slips::joined;

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
    /// Something that could not be read or filled in; said already.
    Broken,
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file, duplicates kept.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// Whether it is `{}`.
    pub(super) fn is_empty_mapping(&self) -> bool {
        matches!(&self.kind, Kind::Mapping(entries) if entries.is_empty())
    }

    /// Whether it is something else than a mapping of names, or one of which some names could not be read.
    pub(super) fn lacks_names(&self) -> bool {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().any(|(key, _)| matches!(key.kind, Kind::Broken)),
            Kind::Scalar(..) | Kind::Broken | Kind::Sequence(_) => true,
            Kind::Null => false,
        }
    }

    /// Whether another node says the same, wherever it stands and however it is written.
    fn says_the_same(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) | (Kind::Broken, Kind::Broken) => true,
            (Kind::Scalar(text, _), Kind::Scalar(other, _)) => text == other,
            (Kind::Sequence(items), Kind::Sequence(others)) => {
                items.len() == others.len()
                    && items.iter().zip(others).all(|(item, other)| item.says_the_same(other))
            }
            (Kind::Mapping(entries), Kind::Mapping(others)) => {
                let is_same = |((key, value), (other_key, other)): (&(Node, Node), &(Node, Node))| {
                    key.says_the_same(other_key) && value.says_the_same(other)
                };
                entries.len() == others.len() && entries.iter().zip(others).all(is_same)
            }
            _ => false,
        }
    }

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

/// What keeps a text from being a tree.
#[derive(Debug, Clone)]
struct Fault {
    at: Span,
    kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FaultKind {
    /// The parser's own words.
    Grammar(String),
    SecondDocument,
    TooDeep,
    /// A value that begins with "!", and what follows on it.
    Tag(String),
    /// An alias inside what it stands for.
    OwnAlias,
    TooManyNodes,
}

/// Stands where something was left out, on lines that are known.
const LEFT_OUT: &str = "left_out";

/// Parses a file that holds one document.
///
/// # Errors
/// What keeps the file from being read: YAML's grammar, several documents, too deep or too large a tree.
pub(super) fn parse(source: &SourceText) -> Result<Node, Box<Problem>> {
    tree(source, &BTreeSet::new()).map_err(|fault| Box::new(slips::first(source, &fault)))
}

/// The tree of a text, in which [`LEFT_OUT`] on the lines of `left_out` is [`Kind::Broken`].
fn tree(source: &SourceText, left_out: &BTreeSet<usize>) -> Result<Node, Fault> {
    let mut text = Cow::Borrowed(&*source.text);
    loop {
        match tree_of(&text, source, left_out) {
            Err(fault) if let Some(mended) = tabs::behind_a_colon(&text, &fault) => text = mended.into(),
            parsed => return parsed,
        }
    }
}

fn tree_of(text: &str, source: &SourceText, left_out: &BTreeSet<usize>) -> Result<Node, Fault> {
    let fail = |at: Span, kind: FaultKind| Fault { at, kind };
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut root = None;
    let mut nodes = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let at = Span { line: marker.line(), column: marker.col() + 1, length: 1 };
            fail(at, FaultKind::Grammar(error.info().to_owned()))
        })?;
        let at = place(source, span);
        nodes += 1;
        let (node, anchor) = match event {
            Event::Scalar(text, ..) if *text == *LEFT_OUT && left_out.contains(&at.line) => {
                (Node { at, kind: Kind::Broken }, 0)
            }
            // A tag of one's own: what was meant is a value that begins with "!".
            Event::Scalar(_, _, _, Some(tag)) if tag.handle == "!" => {
                return Err(fail(at, FaultKind::Tag(tag.suffix.clone())));
            }
            Event::Scalar(text, style, anchor, _) => (scalar(at, &text, style), anchor),
            Event::Alias(anchor) => {
                let node = anchors.get(&anchor).cloned();
                let mut node = node.ok_or_else(|| fail(at, FaultKind::OwnAlias))?;
                nodes += count(&node);
                node.at = at;
                (node, 0)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                let is_mapping = matches!(event, Event::MappingStart(..));
                if stack.len() == DEPTH_MAX {
                    return Err(fail(at, FaultKind::TooDeep));
                }
                stack.push(Open { at, anchor, is_mapping, items: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = stack.pop().expect("invariant: the parser closes what it opened");
                let kind = if open.is_mapping { mapping(open.items) } else { Kind::Sequence(open.items) };
                (Node { at: open.at, kind }, open.anchor)
            }
            Event::DocumentStart(_) if root.is_some() => return Err(fail(at, FaultKind::SecondDocument)),
            _ => continue,
        };
        if nodes > NODES_MAX {
            return Err(fail(at, FaultKind::TooManyNodes));
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

/// Takes names and values apart that no space parts, which makes them one name without a value (`{ from:calls }`), and says so.
pub(super) fn part(node: &mut Node, path: &str, source: &SourceText, problems: &mut Vec<Problem>) {
    match &mut node.kind {
        Kind::Null | Kind::Scalar(..) | Kind::Broken => {}
        Kind::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                part(item, &format!("{path}[{index}]"), source, problems);
            }
        }
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                let below =
                    |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let Kind::Scalar(written, style) = &key.kind else { continue };
                let joined = joined(written).filter(|_| *style == ScalarStyle::Plain);
                // `by:[a]` is one word too, and holds what belongs to its value.
                let is_cut = |text: &str| text.starts_with(['{', '[']);
                match joined.filter(|(_, text)| matches!(value.kind, Kind::Null) || is_cut(text)) {
                    Some((name, text)) => {
                        let hint = format!("write a space behind the colon: {name}: {text}");
                        let message = format!("\"{written}\" is one word");
                        problems.push(source.problem(key.at, below(name), message, Some(hint)));
                        let (before, length) = (name.chars().count(), text.chars().count());
                        value.at = Span { column: key.at.column + before + 1, length, ..key.at };
                        value.kind = match is_cut(text) {
                            true => Kind::Broken,
                            false => Kind::Scalar(text.to_owned(), ScalarStyle::Plain),
                        };
                        (key.at.length, key.kind) =
                            (before, Kind::Scalar(name.to_owned(), ScalarStyle::Plain));
                    }
                    None => part(value, &below(written), source, problems),
                }
            }
        }
    }
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

/// The node as the parser's own tree: what the reader of schemas takes. A key given twice counts once, what is broken is `BadValue`.
pub(super) fn to_saphyr(node: &Node) -> MarkedYaml<'static> {
    let marker = Marker::new(0, node.at.line, node.at.column - 1);
    let data = match &node.kind {
        Kind::Null => YamlData::Value(Scalar::Null),
        Kind::Broken => YamlData::BadValue,
        Kind::Scalar(text, style) => {
            MarkedYaml::value_from_cow_and_metadata(text.clone().into(), *style, None).data
        }
        Kind::Sequence(items) => YamlData::Sequence(items.iter().map(to_saphyr).collect()),
        Kind::Mapping(entries) => {
            let mut mapping = AnnotatedMapping::new();
            for (key, value) in entries {
                mapping.entry(to_saphyr(key)).or_insert_with(|| to_saphyr(value));
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
