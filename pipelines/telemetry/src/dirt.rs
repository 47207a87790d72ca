//! Spoilt events: what producers get wrong.

use serde::{Deserialize, Serialize};

use crate::random::Draw;
use crate::topic::Topic;

/// How an event is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dirt {
    /// The value was cut off.
    BrokenJson,
    /// The event time is the text "soon".
    WrongType,
    /// A required field is missing.
    MissingField,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// The event time lies in the year 9999.
    AbsurdFuture,
    /// The event time lies in the year 1. Nothing is wrong with its form: it is late.
    AbsurdPast,
}

impl Dirt {
    /// All kinds.
    pub const ALL: [Dirt; 6] = [
        Dirt::BrokenJson,
        Dirt::WrongType,
        Dirt::MissingField,
        Dirt::InvalidUtf8,
        Dirt::AbsurdFuture,
        Dirt::AbsurdPast,
    ];

    pub(crate) fn draw(draw: &mut Draw) -> Dirt {
        Dirt::ALL[draw.below(Dirt::ALL.len() as u64) as usize]
    }

    /// Spoils a clean value of a topic.
    pub(crate) fn spoil(self, topic: Topic, value: &mut Vec<u8>) {
        let per_ms = if topic == Topic::Traces { "000000" } else { "" };
        match self {
            Dirt::BrokenJson => value.truncate(value.len() * 2 / 3),
            Dirt::WrongType => replace_time(topic, value, "\"soon\""),
            Dirt::AbsurdFuture => replace_time(topic, value, &format!("253402214400000{per_ms}")),
            Dirt::AbsurdPast => replace_time(topic, value, &format!("-62135596800000{per_ms}")),
            Dirt::MissingField => {
                let (name, text) = id(topic, value);
                let end = text + length_until(&value[text..], |byte| byte == b'"') + 1;
                // With the comma behind it.
                value.drain(name..=end);
            }
            Dirt::InvalidUtf8 => {
                let (_, text) = id(topic, value);
                value[text] = 0xff;
            }
        }
    }
}

/// Where the id field's name and its text begin.
fn id(topic: Topic, value: &[u8]) -> (usize, usize) {
    let field = format!("\"{}\":\"", topic.id_field());
    let name = position(value, field.as_bytes());
    (name, name + field.len())
}

fn replace_time(topic: Topic, value: &mut Vec<u8>, with: &str) {
    let field = format!("\"{}\":", topic.time_field());
    let start = position(value, field.as_bytes()) + field.len();
    let end = start + length_until(&value[start..], |byte| !byte.is_ascii_digit());
    value.splice(start..end, with.bytes());
}

fn position(value: &[u8], field: &[u8]) -> usize {
    let found = value.windows(field.len()).position(|window| window == field);
    found.expect("invariant: every event has its topic's id and time fields")
}

fn length_until(bytes: &[u8], end: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| end(byte)).unwrap_or(bytes.len())
}
