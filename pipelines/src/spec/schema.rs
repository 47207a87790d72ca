//! Schemas written inside a spec.

use schemars::JsonSchema;

use super::reader::{Entry, Reader};
use super::units::check_column_name;
use super::yaml::Node;
use super::Spanned;

/// The fields of a source's payload.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Schema", deny_unknown_fields)]
pub struct SchemaSpec {
    /// The schema's name.
    #[schemars(skip)]
    pub name: Spanned<String>,
    /// What a record is.
    pub description: Option<Spanned<String>>,
    /// The fields that are read; a payload may hold others.
    #[schemars(length(min = 1))]
    pub fields: Vec<FieldSpec>,
    /// Something in it was wrong, and has been said.
    #[schemars(skip)]
    pub incomplete: bool,
}

/// A field of a payload, and the column that it becomes.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Field", deny_unknown_fields)]
pub struct FieldSpec {
    /// The column's name.
    #[schemars(regex(pattern = r"^(?!__)[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: Spanned<String>,
    /// The column's type.
    #[schemars(rename = "type")]
    pub field_type: Spanned<TypeSpec>,
    /// Where the value lies in the payload: names with dots between (user.id). By default the column's name.
    pub path: Option<Spanned<String>>,
    /// Whether a record without it is rejected. By default it is null then.
    pub required: Option<Spanned<bool>>,
    /// How a timestamp is written.
    pub encoding: Option<Spanned<TimestampSpec>>,
    /// Digits after the point of a decimal, 0 to 18.
    #[schemars(range(max = 18))]
    pub scale: Option<Spanned<u8>>,
    /// The type of a list's items.
    pub of: Option<Spanned<ScalarType>>,
    /// The unit that values are in, for the reader.
    pub unit: Option<Spanned<String>>,
    /// Whether the value says something about a person.
    pub personal: Option<Spanned<bool>>,
    /// What the field means.
    pub description: Option<Spanned<String>>,
}

/// A field's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Type", rename_all = "lowercase")]
pub enum TypeSpec {
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

/// The type of a list's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum ScalarType {
    /// true or false
    Bool,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of 64 bits without a sign.
    Uint64,
    /// A number with a fraction, of 64 bits.
    Float64,
    /// Text.
    String,
}

/// How a timestamp is written in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "TimestampEncoding")]
pub enum TimestampSpec {
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

const TYPES: [(&str, TypeSpec); 8] = [
    ("bool", TypeSpec::Bool),
    ("int64", TypeSpec::Int64),
    ("uint64", TypeSpec::Uint64),
    ("float64", TypeSpec::Float64),
    ("decimal", TypeSpec::Decimal),
    ("string", TypeSpec::String),
    ("timestamp", TypeSpec::Timestamp),
    ("list", TypeSpec::List),
];
const SCALARS: [(&str, ScalarType); 5] = [
    ("bool", ScalarType::Bool),
    ("int64", ScalarType::Int64),
    ("uint64", ScalarType::Uint64),
    ("float64", ScalarType::Float64),
    ("string", ScalarType::String),
];
const ENCODINGS: [(&str, TimestampSpec); 5] = [
    ("s", TimestampSpec::Seconds),
    ("ms", TimestampSpec::Millis),
    ("us", TimestampSpec::Micros),
    ("ns", TimestampSpec::Nanos),
    ("rfc3339", TimestampSpec::Rfc3339),
];
const FIELD_FIELDS: [&str; 10] =
    ["name", "type", "path", "required", "encoding", "scale", "of", "unit", "personal", "description"];

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> SchemaSpec {
    let before = reader.failures();
    let mut schema = SchemaSpec { name, description: None, fields: Vec::new(), incomplete: true };
    let Some(fields) = reader.fields(node, path, &["description", "fields"]) else { return schema };
    schema.description = text(reader, fields.get("description"));
    let items = reader.required(&fields, "fields", "list the fields: - { name: user_id, type: string }").cloned();
    let items = items.and_then(|entry| reader.items(entry.value, &entry.path));
    for (path, item) in items.unwrap_or_default() {
        let Some(field) = read_field(reader, item, &path) else { continue };
        if let Some(first) = schema.fields.iter().find(|other| other.name.value == field.name.value) {
            let hint = format!("it is already on line {}; give one of the two another name", first.name.at.line);
            reader.problem(field.name.at, &path, format!("the name \"{}\" is given twice", *field.name), Some(hint));
            continue;
        }
        schema.fields.push(field);
    }
    schema.incomplete = reader.failures() != before;
    schema
}

fn read_field(reader: &mut Reader, node: &Node, path: &str) -> Option<FieldSpec> {
    let fields = reader.fields(node, path, &FIELD_FIELDS)?;
    let name = reader.required(&fields, "name", "a field needs a name and a type").cloned();
    let name = name.and_then(|entry| {
        reader.parsed(&entry, "a name", |text| check_column_name(text).map(|()| text.to_owned()))
    });
    let field_type = reader.required(&fields, "type", "a field needs a name and a type").cloned();
    let field_type = field_type.and_then(|entry| reader.choice(&entry, &TYPES));
    let encoding = fields.get("encoding").and_then(|entry| reader.choice(entry, &ENCODINGS));
    let scale = fields.get("scale").and_then(|entry| {
        reader.parsed(entry, "a number of digits", |text| {
            let scale = text.parse::<u8>().ok().filter(|scale| *scale <= 18);
            scale.ok_or_else(|| (format!("\"{text}\" is not a scale"), "write a number from 0 to 18".into()))
        })
    });
    let of = fields.get("of").and_then(|entry| reader.choice(entry, &SCALARS));
    let required = boolean(reader, fields.get("required"));
    let personal = boolean(reader, fields.get("personal"));
    let json_path = fields.get("path").and_then(|entry| {
        reader.parsed(entry, "a path", |text| {
            let valid = text.split('.').all(|part| !part.is_empty());
            let hint = || "write names with dots between, such as user.id".to_owned();
            if valid { Ok(text.to_owned()) } else { Err((format!("\"{text}\" is not a path"), hint())) }
        })
    });
    let unit = text(reader, fields.get("unit"));
    let description = text(reader, fields.get("description"));
    let field_type = field_type?;
    for (key, wanted_by) in [("encoding", TypeSpec::Timestamp), ("scale", TypeSpec::Decimal), ("of", TypeSpec::List)] {
        let is_wanted = *field_type == wanted_by;
        match fields.get(key) {
            Some(entry) if !is_wanted => {
                let hint = format!("leave it out, or write \"type: {}\"", word(wanted_by));
                let message = format!("{key} does not go with type {}", word(*field_type));
                reader.problem(entry.key.at, &entry.path, message, Some(hint));
            }
            None if is_wanted => {
                let message = format!("type {} needs \"{key}\"", word(wanted_by));
                reader.problem(field_type.at, path, message, Some(companion_hint(wanted_by).into()));
            }
            _ => {}
        }
    }
    Some(FieldSpec { name: name?, field_type, path: json_path, required, encoding, scale, of, unit, personal, description })
}

fn word(wanted: TypeSpec) -> &'static str {
    TYPES.iter().find(|(_, each)| *each == wanted).map_or("", |(word, _)| word)
}

fn companion_hint(wanted_by: TypeSpec) -> &'static str {
    match wanted_by {
        TypeSpec::Timestamp => "write how it is encoded: s, ms, us, ns (since the epoch) or rfc3339",
        TypeSpec::Decimal => "write the digits after the point, such as scale: 6",
        _ => "write the type of its items, such as of: float64",
    }
}

fn text(reader: &mut Reader, entry: Option<&Entry<'_>>) -> Option<Spanned<String>> {
    entry.and_then(|entry| reader.text(entry.value, &entry.path, "a text"))
}

fn boolean(reader: &mut Reader, entry: Option<&Entry<'_>>) -> Option<Spanned<bool>> {
    entry.and_then(|entry| reader.choice(entry, &[("true", true), ("false", false)]))
}

impl FieldSpec {
    /// The names to follow through nested objects, the column's own name by default.
    pub fn json_path(&self) -> Vec<String> {
        let path = self.path.as_ref().map_or(self.name.value.as_str(), |path| path.value.as_str());
        path.split('.').map(str::to_owned).collect()
    }
}
