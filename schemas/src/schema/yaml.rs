//! A schema as YAML: every error at once, with its line and what to write instead.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::{FieldFault, Part, Schema, SchemaError, field_faults, is_name};
use crate::field::{Field, FieldType, TimestampEncoding};

const FILE_KEYS: &[&str] = &["schema", "description", "fields"];
const INLINE_KEYS: &[&str] = &["description", "fields"];
const FIELD_KEYS: &[&str] =
    &["name", "type", "path", "required", "unit", "personal", "description", "encoding", "scale", "of"];
const TYPES: &[&str] = &["bool", "int64", "uint64", "float64", "decimal", "string", "timestamp", "list"];

/// What people write for our types, by habit of other systems.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("boolean", "bool"),
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("i64", "int64"),
    ("u64", "uint64"),
    ("unsigned", "uint64"),
    ("float", "float64"),
    ("double", "float64"),
    ("number", "float64"),
    ("f64", "float64"),
    ("money", "decimal"),
    ("numeric", "decimal"),
    ("text", "string"),
    ("varchar", "string"),
    ("utf8", "string"),
    ("uuid", "string"),
    ("datetime", "timestamp"),
    ("date", "timestamp"),
    ("time", "timestamp"),
    ("array", "list"),
    ("seconds", "s"),
    ("sec", "s"),
    ("millis", "ms"),
    ("milliseconds", "ms"),
    ("epoch_ms", "ms"),
    ("micros", "us"),
    ("microseconds", "us"),
    ("µs", "us"),
    ("nanos", "ns"),
    ("nanoseconds", "ns"),
    ("iso8601", "rfc3339"),
    ("iso", "rfc3339"),
];

/// Reads a file that holds one schema.
pub(super) fn read_text(text: &str, origin: &str) -> Result<Schema, Vec<SchemaError>> {
    let mut reader = Reader { origin: Some(origin), errors: Vec::new() };
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(fault) => {
            let marker = fault.marker();
            reader.errors.push(SchemaError {
                origin: Some(origin.to_owned()),
                line: marker.line(),
                column: marker.col() + 1,
                field: None,
                message: format!("this is not YAML: {}", fault.info()),
                hint: "look for a missing quote, bracket or colon, or for wrong indentation".to_owned(),
            });
            return Err(reader.errors);
        }
    };
    let empty = MarkedYaml::value_from_str("");
    let root = documents.first().unwrap_or(&empty);
    if let Some(second) = documents.get(1) {
        reader.error(second, None, "a second document", "write one schema a file");
    }
    let stem = origin.rsplit(['/', '\\']).next().unwrap_or(origin);
    let stem = stem.strip_suffix(".yaml").or_else(|| stem.strip_suffix(".yml")).unwrap_or(stem);
    let schema = reader.schema(stem, root, FILE_KEYS);
    reader.finish(schema)
}

/// Reads a schema inside another document.
pub(super) fn read_node(name: &str, node: &MarkedYaml<'_>) -> Result<Schema, Vec<SchemaError>> {
    let mut reader = Reader { origin: None, errors: Vec::new() };
    let schema = reader.schema(name, node, INLINE_KEYS);
    reader.finish(schema)
}

/// Gathers errors while reading.
struct Reader<'o> {
    origin: Option<&'o str>,
    errors: Vec<SchemaError>,
}

/// A mapping's known entries, and the mapping itself for errors about what it lacks.
struct Entries<'n, 'i> {
    node: &'n MarkedYaml<'i>,
    entries: Vec<(&'n str, &'n MarkedYaml<'i>)>,
}

impl<'n, 'i> Entries<'n, 'i> {
    fn get(&self, key: &str) -> Option<&'n MarkedYaml<'i>> {
        self.entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }
}

impl Reader<'_> {
    fn finish(mut self, schema: Schema) -> Result<Schema, Vec<SchemaError>> {
        if self.errors.is_empty() {
            return Ok(schema);
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        Err(self.errors)
    }

    fn error(
        &mut self,
        node: &MarkedYaml<'_>,
        field: Option<&str>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let start = node.span.start;
        self.errors.push(SchemaError {
            origin: self.origin.map(str::to_owned),
            line: start.line().max(1),
            column: start.col() + 1,
            field: field.map(str::to_owned),
            message: message.into(),
            hint: hint.into(),
        });
    }

    fn schema(&mut self, name: &str, root: &MarkedYaml<'_>, keys: &[&str]) -> Schema {
        let mut schema = Schema { name: name.to_owned(), description: None, fields: Vec::new() };
        let Some(root) = self.mapping(root, None, keys, "a schema is a mapping with fields: […]") else {
            return schema;
        };
        let named = root.get("schema");
        if let Some(name) = named.and_then(|node| self.text(node, None, "schema")) {
            schema.name = name;
        }
        if !is_name(&schema.name) {
            let node = named.unwrap_or(root.node);
            let message = format!("{:?} is no name of a schema", schema.name);
            self.error(node, None, message, "write lower-case letters, digits and _, as in provider_request");
        }
        schema.description = root.get("description").and_then(|node| self.text(node, None, "description"));
        let nodes = match root.get("fields").map(|node| (&node.data, node)) {
            Some((YamlData::Sequence(nodes), node)) if nodes.is_empty() => {
                self.error(
                    node,
                    None,
                    "a schema without fields",
                    "list at least one: - { name: …, type: … }",
                );
                return schema;
            }
            Some((YamlData::Sequence(nodes), _)) => nodes,
            Some((_, node)) => {
                self.error(node, None, "fields must be a list", "write - { name: …, type: … } for each");
                return schema;
            }
            None => {
                self.error(
                    root.node,
                    None,
                    "there are no fields",
                    "add fields: with - { name: …, type: … } for each",
                );
                return schema;
            }
        };
        let fields: Vec<Option<Field>> =
            nodes.iter().enumerate().map(|(i, node)| self.field(i, node)).collect();
        // Only fields that were read whole are compared: the errors of the others would come twice.
        let whole: Vec<usize> = (0..fields.len()).filter(|i| fields[*i].is_some()).collect();
        schema.fields = fields.into_iter().flatten().collect();
        for fault in field_faults(&schema.fields) {
            let node = &nodes[whole[fault.field]];
            self.field_fault(fault, node, &schema.fields);
        }
        schema
    }

    fn field_fault(&mut self, fault: FieldFault, node: &MarkedYaml<'_>, fields: &[Field]) {
        let name = fields[fault.field].name.clone();
        let keys: &[&str] = match fault.part {
            Part::Name => &["name"],
            Part::Path => &["path", "name"],
            Part::Type => &["of", "type"],
            Part::Scale => &["scale"],
        };
        let part = keys.iter().find_map(|key| node.data.as_mapping_get(key)).unwrap_or(node);
        self.error(part, Some(&name), fault.message, fault.hint);
    }

    fn field(&mut self, number: usize, node: &MarkedYaml<'_>) -> Option<Field> {
        let label = node.data.as_mapping_get("name").and_then(|name| name.data.as_str());
        let label = label.map_or_else(|| format!("#{}", number + 1), str::to_owned);
        let label = Some(label.as_str());
        let errors_before = self.errors.len();
        let entries = self.mapping(node, label, FIELD_KEYS, "write { name: …, type: … }")?;
        let name = match entries.get("name") {
            Some(node) => self.text(node, label, "name"),
            None => {
                self.error(node, label, "the field has no name", "add name: …");
                None
            }
        };
        let field_type = match entries.get("type") {
            Some(type_node) => self.field_type(type_node, label, &entries),
            None => {
                self.error(
                    node,
                    label,
                    "the field has no type",
                    format!("add type: with one of {}", list(TYPES)),
                );
                None
            }
        };
        let path = entries.get("path").and_then(|node| self.path(node, label));
        let required = entries.get("required").and_then(|node| self.truth(node, label, "required"));
        let personal = entries.get("personal").and_then(|node| self.truth(node, label, "personal"));
        let unit = entries.get("unit").and_then(|node| self.text(node, label, "unit"));
        let description = entries.get("description").and_then(|node| self.text(node, label, "description"));
        if self.errors.len() > errors_before {
            return None;
        }
        let mut field = Field::new(name?, field_type?);
        field.path = path.unwrap_or(field.path);
        field.required = required.unwrap_or(false);
        field.personal = personal.unwrap_or(false);
        field.unit = unit;
        field.description = description;
        Some(field)
    }

    /// The type of a field, with the keys that some types take. A list's `scale` and `encoding` are its elements'.
    fn field_type(
        &mut self,
        node: &MarkedYaml<'_>,
        label: Option<&str>,
        entries: &Entries<'_, '_>,
    ) -> Option<FieldType> {
        let name = self.text(node, label, "type")?;
        let element = entries.get("of");
        let is_list = name == "list";
        let scalar = match (is_list, element) {
            (true, Some(element)) => {
                let scalar = self.text(element, label, "of")?;
                self.scalar_type(element, &scalar, label, entries)
            }
            (true, None) => {
                self.error(
                    node,
                    label,
                    "the list does not say of what",
                    "add of: and the type of one element",
                );
                return None;
            }
            (false, _) => self.scalar_type(node, &name, label, entries),
        };
        let scalar_name = scalar.as_ref().map(|scalar| match scalar {
            FieldType::Decimal { .. } => "decimal",
            FieldType::Timestamp(_) => "timestamp",
            _ => "other",
        });
        for (key, owner, belongs) in [
            ("of", "list", is_list),
            ("scale", "decimal", scalar_name == Some("decimal")),
            ("encoding", "timestamp", scalar_name == Some("timestamp")),
        ] {
            if let Some(node) = entries.get(key)
                && !belongs
                && scalar_name.is_some()
            {
                let message = format!("{key} does not go with type {name}");
                self.error(node, label, message, format!("leave it out, or write type: {owner}"));
            }
        }
        let scalar = scalar?;
        Some(if is_list { FieldType::List(Box::new(scalar)) } else { scalar })
    }

    fn scalar_type(
        &mut self,
        node: &MarkedYaml<'_>,
        name: &str,
        label: Option<&str>,
        entries: &Entries<'_, '_>,
    ) -> Option<FieldType> {
        Some(match name {
            "bool" => FieldType::Bool,
            "int64" => FieldType::Int64,
            "uint64" => FieldType::UInt64,
            "float64" => FieldType::Float64,
            "string" => FieldType::String,
            "decimal" => FieldType::Decimal { scale: self.scale(node, label, entries)? },
            "timestamp" => FieldType::Timestamp(self.encoding(node, label, entries)?),
            "list" => {
                self.error(node, label, "a list of lists", "write a scalar type behind of:");
                return None;
            }
            other => {
                self.error(node, label, format!("there is no type {other}"), suggestion(other, TYPES));
                return None;
            }
        })
    }

    fn scale(&mut self, node: &MarkedYaml<'_>, label: Option<&str>, entries: &Entries<'_, '_>) -> Option<u8> {
        let Some(scale) = entries.get("scale") else {
            let hint = "add scale: and the digits behind the point, as in scale: 6";
            self.error(node, label, "the decimal has no scale", hint);
            return None;
        };
        match scale.data.as_integer().map(u8::try_from) {
            Some(Ok(digits)) => Some(digits),
            _ => {
                self.error(scale, label, "scale must be a whole number", "write one from 0 to 18");
                None
            }
        }
    }

    fn encoding(
        &mut self,
        node: &MarkedYaml<'_>,
        label: Option<&str>,
        entries: &Entries<'_, '_>,
    ) -> Option<TimestampEncoding> {
        let names = TimestampEncoding::ALL.map(TimestampEncoding::as_str);
        let Some(encoding) = entries.get("encoding") else {
            let hint = format!("add encoding: with one of {}", list(&names));
            self.error(node, label, "the timestamp has no encoding", hint);
            return None;
        };
        let name = self.text(encoding, label, "encoding")?;
        let known = TimestampEncoding::ALL.into_iter().find(|known| known.as_str() == name);
        if known.is_none() {
            self.error(encoding, label, format!("there is no encoding {name}"), suggestion(&name, &names));
        }
        known
    }

    /// A path: keys with dots between, or a list of keys, which then may hold dots themselves.
    fn path(&mut self, node: &MarkedYaml<'_>, label: Option<&str>) -> Option<Vec<String>> {
        match &node.data {
            YamlData::Sequence(keys) => keys.iter().map(|key| self.text(key, label, "path")).collect(),
            _ => Some(self.text(node, label, "path")?.split('.').map(str::to_owned).collect()),
        }
    }

    /// A mapping's entries, those with unknown keys reported and left out.
    fn mapping<'n, 'i>(
        &mut self,
        node: &'n MarkedYaml<'i>,
        label: Option<&str>,
        keys: &[&str],
        hint: &str,
    ) -> Option<Entries<'n, 'i>> {
        let YamlData::Mapping(mapping) = &node.data else {
            self.error(node, label, "this must be a mapping", hint);
            return None;
        };
        let mut entries = Vec::new();
        for (key, value) in mapping {
            match key.data.as_str() {
                Some(name) if keys.contains(&name) => entries.push((name, value)),
                Some(name) => {
                    self.error(key, label, format!("there is no key {name} here"), suggestion(name, keys));
                }
                None => {
                    self.error(key, label, "a key must be a text", format!("keys here are {}", list(keys)));
                }
            }
        }
        Some(Entries { node, entries })
    }

    fn text(&mut self, node: &MarkedYaml<'_>, label: Option<&str>, key: &str) -> Option<String> {
        match &node.data {
            YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
            _ => {
                self.error(
                    node,
                    label,
                    format!("{key} must be a text"),
                    "put it in quotes if it looks like a number",
                );
                None
            }
        }
    }

    fn truth(&mut self, node: &MarkedYaml<'_>, label: Option<&str>, key: &str) -> Option<bool> {
        let truth = node.data.as_bool();
        if truth.is_none() {
            self.error(
                node,
                label,
                format!("{key} must be true or false"),
                "write one of them, without quotes",
            );
        }
        truth
    }
}

/// The known name that was probably meant, or else all of them.
fn suggestion(found: &str, known: &[&str]) -> String {
    let lower = found.to_lowercase();
    let habit = OTHER_NAMES.iter().find(|(other, ours)| *other == lower && known.contains(ours));
    let near = || {
        let distances = known.iter().map(|name| (strsim::damerau_levenshtein(name, &lower), *name));
        let (distance, name) = distances.min()?;
        (distance <= 1 + name.len() / 4).then_some(name)
    };
    match habit.map(|(_, ours)| *ours).or_else(near) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("known here are {}", list(known)),
    }
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests;
