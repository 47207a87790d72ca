//! Schemas written inside a spec. [`thalweg_schemas`] reads them, as it reads a schema's file; the types here say the same
//! grammar to editors.

use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, SchemaGenerator};
use thalweg_schemas::{Draft, Schema, SchemaError};

use super::reader::Reader;
use super::yaml::{self, Kind, Node, to_saphyr};
use super::{Problem, SourceText, Span, Spanned};

/// A schema written inside a spec.
#[derive(Debug, Clone)]
pub struct SchemaSpec {
    /// The schema's name.
    pub name: Spanned<String>,
    /// What was read, of a wrong one too.
    pub draft: Arc<Draft>,
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
    let (draft, errors) = Schema::draft(&name, &to_saphyr(node));
    if draft.schema.is_none() {
        reader.pass_over();
    }
    given_twice(reader, node, path);
    for error in errors {
        let at = Span { line: error.line, column: error.column, length: 0 };
        let path = match error.field {
            Some(field) => format!("{path}.{field}"),
            None => path.to_owned(),
        };
        reader.problem(reader.word_at(at), &path, error.message, Some(error.hint));
    }
    SchemaSpec { name, draft: Arc::new(draft) }
}

/// Reads a file that holds one schema: what can be read of it, and all that is wrong with it.
pub(crate) fn read_schema_file(file: &Path, text: &str) -> (Arc<Draft>, Vec<Problem>) {
    let source = SourceText::new(file, text);
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let drafted = |root: &Node| Schema::draft_of_file(&stem, &to_saphyr(root));
    let place = |error: &SchemaError| Span { line: error.line, column: error.column, length: 1 };
    let (root, problems) = yaml::read(&source, &|root| drafted(root).1.iter().map(place).collect());
    let Some(root) = root else { return (Arc::new(Draft::unknown(&stem)), problems) };
    let mut reader = Reader::new(source, problems);
    let (mut draft, errors) = drafted(&root);
    given_twice(&mut reader, &root, "");
    for error in errors {
        let about = error.field.as_ref().map_or_else(String::new, |field| format!("field {field}"));
        reader.problem(place(&error), &about, error.message, Some(error.hint));
    }
    draft.schema = draft.schema.filter(|_| reader.problems.is_empty());
    (Arc::new(draft), reader.problems)
}

/// Says which keys are given twice; the first ones count.
fn given_twice(reader: &mut Reader, node: &Node, path: &str) {
    match &node.kind {
        Kind::Null | Kind::Scalar(..) | Kind::Broken => {}
        Kind::Sequence(items) => items.iter().for_each(|item| given_twice(reader, item, path)),
        Kind::Mapping(entries) => {
            let mut seen: Vec<(&str, Span)> = Vec::new();
            for (key, value) in entries {
                given_twice(reader, value, path);
                let Kind::Scalar(name, _) = &key.kind else { continue };
                match seen.iter().find(|(other, _)| other == name) {
                    Some((_, first)) => {
                        let hint = format!("it is already given on line {}; keep one of the two", first.line);
                        reader.problem(key.at, path, format!("{name} is given twice"), Some(hint));
                        reader.double(name, *first, key.at);
                    }
                    None => seen.push((name, key.at)),
                }
            }
        }
    }
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
