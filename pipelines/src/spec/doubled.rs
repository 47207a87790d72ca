//! Fields that are there twice: by the same name again, or by a misspelt one beside the right one. The first counts, and that there is
//! another has been said; what the other says is looked at all the same, as if it stood alone.
//!
//! ```text
//!   tumbling: 2m    ──▶ read and checked
//!   tumblin: 1 mn   ──▶ the same text without the first, read and checked: what is wrong with the second's value is said
//! ```

use super::reader::Reader;
use super::yaml::{Kind, Node};
use super::{Problem, SourceText, Span};

/// How many of them are looked at.
const OTHERS_MAX: usize = 100;

/// A field that is there twice.
#[derive(Debug, Clone)]
pub(super) struct Doubled {
    /// Its right name.
    pub(super) name: String,
    /// Where the one stands that counts.
    pub(super) first: Span,
    /// Where the other one stands.
    pub(super) other: Span,
}

/// A file as it would be read with the other one of a doubled field.
#[derive(Debug, Clone)]
pub struct Other<T> {
    /// What was read so.
    pub spec: T,
    /// Where that field's value stands: of all that is wrong, what is wrong here is new.
    pub place: Place,
}

/// A part of a file, in lines and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: String,
    start: Position,
    /// Past the end; `None`: the end of the file.
    end: Option<Position>,
}

impl Place {
    /// Whether a problem is one of this part.
    pub fn holds(&self, problem: &Problem) -> bool {
        problem.file == self.file && self.holds_position((problem.line, problem.column))
    }

    fn holds_position(&self, at: Position) -> bool {
        at >= self.start && self.end.is_none_or(|end| at < end)
    }
}

/// What `read` makes of a tree with the other one of each doubled field, one at a time; what is wrong with that field's value goes to
/// `problems`.
pub(super) fn others<T>(
    root: &Node,
    source: &SourceText,
    doubled: Vec<Doubled>,
    problems: &mut Vec<Problem>,
    mut read: impl FnMut(&mut Reader, &Node) -> Option<T>,
) -> Vec<Other<T>> {
    let mut others = Vec::new();
    let mut looked_at = 0;
    let mut left: Vec<(Node, Doubled)> = doubled.into_iter().map(|each| (root.clone(), each)).collect();
    while let Some((mut root, each)) = left.pop()
        && looked_at < OTHERS_MAX
    {
        looked_at += 1;
        let Some((start, end)) = with_other(&mut root, &each) else { continue };
        let place = Place { file: source.file.display().to_string(), start, end };
        let mut reader = Reader::new(source.clone(), Vec::new());
        let read = read(&mut reader, &root);
        problems.extend(reader.problems.into_iter().filter(|problem| place.holds(problem)));
        // Inside the value there may be further ones.
        let inside = reader.doubled.into_iter().filter(|more| place.holds_position(position(more.other)));
        left.extend(inside.map(|more| (root.clone(), more)));
        others.extend(read.map(|spec| Other { spec, place }));
    }
    others
}

/// A line and a column.
type Position = (usize, usize);

/// Takes the first one of a doubled field out of a tree; where the other one's value begins, and what comes after it.
fn with_other(root: &mut Node, doubled: &Doubled) -> Option<(Position, Option<Position>)> {
    let mut positions = Vec::new();
    collect(root, &mut positions);
    positions.sort_unstable();
    let entries = holder(root, doubled)?;
    entries.retain(|(key, _)| key.at != doubled.first);
    let (key, value) = entries.iter_mut().find(|(key, _)| key.at == doubled.other)?;
    if let Kind::Scalar(name, _) = &mut key.kind {
        name.clone_from(&doubled.name);
    }
    let mut inside = Vec::new();
    collect(value, &mut inside);
    let last = inside.into_iter().max()?;
    let end = positions.into_iter().find(|position| *position > last);
    Some((position(value.at), end))
}

/// The entries of the mapping that holds a doubled field.
fn holder<'n>(node: &'n mut Node, doubled: &Doubled) -> Option<&'n mut Vec<(Node, Node)>> {
    match &mut node.kind {
        Kind::Null | Kind::Scalar(..) | Kind::Broken => None,
        Kind::Sequence(items) => items.iter_mut().find_map(|item| holder(item, doubled)),
        Kind::Mapping(entries) => {
            let has = |at: Span| entries.iter().any(|(key, _)| key.at == at);
            if has(doubled.first) && has(doubled.other) {
                return Some(entries);
            }
            entries.iter_mut().find_map(|(_, value)| holder(value, doubled))
        }
    }
}

fn collect(node: &Node, positions: &mut Vec<Position>) {
    positions.push(position(node.at));
    match &node.kind {
        Kind::Null | Kind::Scalar(..) | Kind::Broken => {}
        Kind::Sequence(items) => items.iter().for_each(|item| collect(item, positions)),
        Kind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            collect(key, positions);
            collect(value, positions);
        }),
    }
}

fn position(at: Span) -> Position {
    (at.line, at.column)
}
