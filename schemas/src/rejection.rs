//! Why a row was rejected, in a form that is stored beside its raw bytes: a reason to count by, the field, and a
//! sentence for whoever has to find the producer.

use std::fmt;

/// A row that can't be decoded, or breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The kind of fault.
    pub reason: Reason,
    /// The path of the field at fault, keys joined by dots; none where it is no single field's fault.
    pub field: Option<String>,
    /// What was expected and what was found, the latter cut to 80 characters.
    pub detail: String,
}

/// The kinds of fault. The set is closed: outputs and metrics are keyed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The record has no payload (a tombstone).
    NoValue,
    /// The payload is longer than the decoder's limit.
    TooLarge,
    /// The payload is not UTF-8 throughout.
    InvalidUtf8,
    /// The payload is not one JSON document.
    InvalidJson,
    /// The payload is JSON, but no object.
    NotAnObject,
    /// A required field is absent or null.
    MissingField,
    /// A field holds a value of another type.
    WrongType,
    /// A field's value is of the right type, but outside what its column can hold.
    OutOfRange,
    /// A field, or an object on the way to one, occurs twice.
    DuplicateField,
    /// The field that holds the event time is null.
    EventTimeMissing,
    /// The event time lies too far ahead of the record's own timestamp.
    EventTimeAhead,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 11] = [
        Reason::NoValue,
        Reason::TooLarge,
        Reason::InvalidUtf8,
        Reason::InvalidJson,
        Reason::NotAnObject,
        Reason::MissingField,
        Reason::WrongType,
        Reason::OutOfRange,
        Reason::DuplicateField,
        Reason::EventTimeMissing,
        Reason::EventTimeAhead,
    ];

    /// As outputs and metrics write it, in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoValue => "no_value",
            Reason::TooLarge => "too_large",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::InvalidJson => "invalid_json",
            Reason::NotAnObject => "not_an_object",
            Reason::MissingField => "missing_field",
            Reason::WrongType => "wrong_type",
            Reason::OutOfRange => "out_of_range",
            Reason::DuplicateField => "duplicate_field",
            Reason::EventTimeMissing => "event_time_missing",
            Reason::EventTimeAhead => "event_time_ahead",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
