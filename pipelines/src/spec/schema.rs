//! Schemas written inside a spec. [`thalweg_schemas`] reads them, as it reads a schema's file; the types here say the same
//! grammar to editors.

use std::sync::Arc;

use schemars::{JsonSchema, SchemaGenerator};
use thalweg_schemas::Schema;

use super::reader::Reader;
use super::yaml::{Kind, Node, to_saphyr};
use super::{Span, Spanned};

/// A schema written inside a spec.
#[derive(Debug, Clone)]
pub struct SchemaSpec {
    /// The schema's name.
    pub name: Spanned<String>,
    /// What was read; `None` where it was wrong, which has been said.
    pub schema: Option<Arc<Schema>>,
}

impl JsonSchema for SchemaSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        SchemaShape::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        SchemaShape::json_schema(generator)
    }
}

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> SchemaSpec {
    let Some(readable) = readable(reader, node) else { return SchemaSpec { name, schema: None } };
    let schema = match Schema::from_node(&name, &to_saphyr(&readable)) {
        // What could not be read of it is a part of it.
        Ok(_) if node.is_broken() => None,
        Ok(schema) => Some(Arc::new(schema)),
        Err(errors) => {
            for error in errors {
                let at = Span { line: error.line, column: error.column, length: 0 };
                let path = match error.field {
                    Some(field) => format!("{path}.{field}"),
                    None => path.to_owned(),
                };
                reader.problem(reader.word_at(at), &path, error.message, Some(error.hint));
            }
            None
        }
    };
    SchemaSpec { name, schema }
}

/// The schema without those of its fields that could not be read; `None` where nothing can be said of what is left.
fn readable(reader: &mut Reader, node: &Node) -> Option<Node> {
    if !node.is_broken() {
        return Some(node.clone());
    }
    reader.pass_over();
    let Kind::Mapping(entries) = &node.kind else { return None };
    let mut readable = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match &value.kind {
            _ if key.is_broken() => return None,
            Kind::Sequence(items) => {
                let items: Vec<Node> = items.iter().filter(|item| !item.is_broken()).cloned().collect();
                if items.is_empty() {
                    return None;
                }
                readable.push((key.clone(), Node { at: value.at, kind: Kind::Sequence(items) }));
            }
            _ if value.is_broken() => return None,
            _ => readable.push((key.clone(), value.clone())),
        }
    }
    Some(Node { at: node.at, kind: Kind::Mapping(readable) })
}

/// The fields of a source's payload.
#[derive(JsonSchema)]
#[schemars(rename = "Schema", deny_unknown_fields)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
struct SchemaShape {
    /// What a record is.
    description: Option<String>,
    /// The fields that are read; a payload may hold others.
    #[schemars(length(min = 1))]
    fields: Vec<FieldShape>,
}

/// A field of a payload, and the column that it becomes.
#[derive(JsonSchema)]
#[schemars(rename = "Field", deny_unknown_fields)]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
struct FieldShape {
    /// The column's name.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    name: String,
    /// The column's type.
    #[schemars(rename = "type")]
    field_type: TypeShape,
    /// Where the value lies in the payload: keys with dots between (user.id). A key that ends in [] is a list of objects.
    path: Option<String>,
    /// Whether a record without it is rejected. By default it is null then.
    required: Option<bool>,
    /// How a timestamp is written.
    encoding: Option<EncodingShape>,
    /// Digits after the point of a decimal.
    #[schemars(range(max = 18))]
    scale: Option<u8>,
    /// The type of a list's items.
    of: Option<TypeShape>,
    /// The unit that values are in, for the reader.
    unit: Option<String>,
    /// Whether the value says something about a person.
    personal: Option<bool>,
    /// What the field means.
    description: Option<String>,
}

/// A field's type.
#[derive(JsonSchema)]
#[schemars(rename = "Type", rename_all = "lowercase")]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
enum TypeShape {
    /// true or false
    Bool,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of 64 bits without a sign.
    Uint64,
    /// A number with a fraction, of 64 bits.
    Float64,
    /// A number of 18 digits with a fixed number of them after the point (scale): money.
    Decimal,
    /// Text.
    String,
    /// A point in time, kept in microseconds.
    Timestamp,
    /// A list of scalars (of).
    List,
}

/// How a timestamp is written in a payload.
#[derive(JsonSchema)]
#[schemars(rename = "TimestampEncoding")]
#[allow(dead_code, reason = "a shape for the JSON Schema, never built")]
enum EncodingShape {
    /// Seconds since the epoch, with or without a fraction.
    #[schemars(rename = "s")]
    Seconds,
    /// Milliseconds since the epoch.
    #[schemars(rename = "ms")]
    Millis,
    /// Microseconds since the epoch.
    #[schemars(rename = "us")]
    Micros,
    /// Nanoseconds since the epoch.
    #[schemars(rename = "ns")]
    Nanos,
    /// Text as in RFC 3339.
    #[schemars(rename = "rfc3339")]
    Rfc3339,
}
