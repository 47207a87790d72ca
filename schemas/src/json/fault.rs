//! What can be wrong with a payload: a few bytes while parsing, and a whole sentence only for the row that is rejected.

use super::layout::{Layout, NodeId};
use crate::rejection::{Reason, Rejection};

/// The most of a payload that a message quotes, in characters.
const QUOTED_CHARACTERS_MAX: usize = 80;

/// A fault, by positions in the payload and nodes of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON, at this byte.
    Syntax { at: usize, what: &'static str },
    /// JSON of another kind between these bytes.
    NotAnObject { start: usize, end: usize },
    /// A required field is absent, or null.
    Missing { node: NodeId, null: bool },
    /// The value between these bytes is of another type.
    Type { node: NodeId, start: usize, end: usize },
    /// The value between these bytes is outside of what the column holds.
    Range { node: NodeId, start: usize, end: usize },
    /// The key occurs a second time.
    Duplicate { node: NodeId },
}

/// The rejection of a payload that is not UTF-8.
#[cold]
pub(super) fn invalid_utf8(fault: std::str::Utf8Error) -> Rejection {
    let detail = format!("the bytes at position {} are not UTF-8", fault.valid_up_to());
    Rejection { reason: Reason::InvalidUtf8, field: None, detail }
}

/// The rejection that a fault amounts to.
#[cold]
pub(super) fn rejection(fault: Fault, payload: &str, layout: &Layout) -> Rejection {
    let path = |node| layout.path(node).to_owned();
    match fault {
        Fault::Syntax { at, what } => {
            let detail = if at >= payload.len() {
                format!("the payload ends at byte {}: {what}", payload.len())
            } else {
                format!("at byte {at}: {what}, found {}", quoted(&payload.as_bytes()[at..]))
            };
            Rejection { reason: Reason::InvalidJson, field: None, detail }
        }
        Fault::NotAnObject { start, end } => {
            let found = quoted(&payload.as_bytes()[start..end]);
            let detail = format!("expected an object, found {found}");
            Rejection { reason: Reason::NotAnObject, field: None, detail }
        }
        Fault::Missing { node, null } => {
            let state = if null { "null" } else { "absent" };
            let detail = format!("field {} is required, and {state}", layout.path(node));
            Rejection { reason: Reason::MissingField, field: Some(path(node)), detail }
        }
        Fault::Type { node, start, end } => {
            let found = quoted(&payload.as_bytes()[start..end]);
            let expected = layout.expected(node);
            let detail = format!("field {}: expected {expected}, found {found}", layout.path(node));
            Rejection { reason: Reason::WrongType, field: Some(path(node)), detail }
        }
        Fault::Range { node, start, end } => {
            let found = quoted(&payload.as_bytes()[start..end]);
            let range = layout.range(node);
            let detail = format!("field {}: {found} is outside of {range}", layout.path(node));
            Rejection { reason: Reason::OutOfRange, field: Some(path(node)), detail }
        }
        Fault::Duplicate { node } => {
            let detail = format!("field {} occurs twice in one object", layout.path(node));
            Rejection { reason: Reason::DuplicateField, field: Some(path(node)), detail }
        }
    }
}

/// The beginning of some bytes, cut to [`QUOTED_CHARACTERS_MAX`].
fn quoted(bytes: &[u8]) -> String {
    // Four bytes are the longest character: no more than these need looking at.
    let head = &bytes[..bytes.len().min(4 * QUOTED_CHARACTERS_MAX + 4)];
    let text = String::from_utf8_lossy(head);
    let mut cut: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    if cut.len() < bytes.len() {
        cut.push('…');
    }
    cut
}
