//! A schema as YAML: every error at once, with its line and what to write instead.

use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::{Draft, FieldFault, GROUP_MARK, Part, Schema, SchemaError, field_faults, is_name};
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
    let mut reader = Reader { origin: Some(origin), errors: Vec::new(), left_out: 0 };
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
    let (draft, errors) = reader.schema(stem, root, FILE_KEYS);
    draft.schema.map(Arc::unwrap_or_clone).ok_or(errors)
}

/// Reads a schema inside another document.
pub(super) fn read_node(name: &str, node: &MarkedYaml<'_>) -> (Draft, Vec<SchemaError>) {
    Reader { origin: None, errors: Vec::new(), left_out: 0 }.schema(name, node, INLINE_KEYS)
}

/// Reads a file's document.
pub(super) fn read_root(stem: &str, root: &MarkedYaml<'_>) -> (Draft, Vec<SchemaError>) {
    Reader { origin: None, errors: Vec::new(), left_out: 0 }.schema(stem, root, FILE_KEYS)
}

/// Gathers errors while reading.
struct Reader<'o> {
    origin: Option<&'o str>,
    errors: Vec<SchemaError>,
    /// Nodes that could not be read, which has been said elsewhere.
    left_out: usize,
}

/// A mapping's known entries, and the mapping itself for errors about what it lacks.
struct Entries<'n, 'i> {
    node: &'n MarkedYaml<'i>,
    entries: Vec<(&'n str, &'n MarkedYaml<'i>)>,
    /// What misspelt keys say whose right ones are there too.
    doubled: Vec<(&'static str, &'n MarkedYaml<'i>)>,
    /// There are entries of which not even the keys could be read.
    is_incomplete: bool,
}

/// What was read of a field.
#[derive(Default)]
struct ReadField {
    name: Option<String>,
    field_type: Option<FieldType>,
    /// `None`: it could not be read.
    path: Option<Vec<String>>,
    /// The field, where nothing is wrong with it.
    whole: Option<Field>,
}

impl ReadField {
    /// The field as far as it can be compared with others: its name and where it lies.
    fn compared(&self) -> Option<Field> {
        if let Some(whole) = &self.whole {
            return Some(whole.clone());
        }
        let (name, path) = (self.name.clone()?, self.path.clone()?);
        let is_list = path.iter().any(|key| key.ends_with(GROUP_MARK));
        let of_place = if is_list { FieldType::List(Box::new(FieldType::String)) } else { FieldType::String };
        Some(Field { path, ..Field::new(name, self.field_type.clone().unwrap_or(of_place)) })
    }
}

impl<'n, 'i> Entries<'n, 'i> {
    fn get(&self, key: &str) -> Option<&'n MarkedYaml<'i>> {
        self.entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// The same entries with another value for a key.
    fn with(&self, key: &'static str, value: &'n MarkedYaml<'i>) -> Self {
        let others = self.entries.iter().filter(|(known, _)| *known != key).copied();
        let entries = others.chain([(key, value)]).collect();
        Entries { node: self.node, entries, doubled: Vec::new(), is_incomplete: self.is_incomplete }
    }
}

impl Reader<'_> {
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

    fn schema(
        mut self,
        name: &str,
        root: &MarkedYaml<'_>,
        keys: &[&'static str],
    ) -> (Draft, Vec<SchemaError>) {
        let mut schema = Schema { name: name.to_owned(), description: None, fields: Vec::new() };
        let mut draft = Draft::unknown(name);
        if let Some(root) = self.mapping(root, None, keys, "a schema is a mapping with fields: […]") {
            let named = root.get("schema");
            if let Some(name) = named.and_then(|node| self.text(node, None, "schema")) {
                schema.name = name;
            }
            if !is_name(&schema.name) {
                let node = named.unwrap_or(root.node);
                let message = format!("{:?} is no name of a schema", schema.name);
                let hint = "write lower-case letters, digits and _, as in provider_request";
                self.error(node, None, message, hint);
            }
            schema.description =
                root.get("description").and_then(|node| self.text(node, None, "description"));
            if let Some(nodes) = self.field_nodes(&root) {
                let read: Vec<ReadField> =
                    nodes.iter().enumerate().map(|(i, node)| self.field(i, node)).collect();
                let misfits = self.compare(&read, nodes);
                (draft.columns, draft.lacks_names) = columns(&read, &misfits);
                schema.fields = read.into_iter().filter_map(|field| field.whole).collect();
            }
        }
        draft.name.clone_from(&schema.name);
        if self.errors.is_empty() && self.left_out == 0 {
            draft.schema = Some(Arc::new(schema));
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        (draft, self.errors)
    }

    /// The list of fields.
    fn field_nodes<'n, 'i>(&mut self, root: &Entries<'n, 'i>) -> Option<&'n [MarkedYaml<'i>]> {
        let Some(node) = root.get("fields") else {
            if !root.is_incomplete {
                let hint = "add fields: with - { name: …, type: … } for each";
                self.error(root.node, None, "there are no fields", hint);
            }
            return None;
        };
        match &node.data {
            YamlData::Sequence(nodes) if nodes.is_empty() => {
                let hint = "list at least one: - { name: …, type: … }";
                self.error(node, None, "a schema without fields", hint);
                None
            }
            YamlData::Sequence(nodes) => Some(nodes),
            _ if self.is_left_out(node) => None,
            _ => {
                self.error(node, None, "fields must be a list", "write - { name: …, type: … } for each");
                None
            }
        }
    }

    /// Says which fields break a rule, by themselves or with others; by number, of which the type is wrong.
    fn compare(&mut self, read: &[ReadField], nodes: &[MarkedYaml<'_>]) -> Vec<usize> {
        let (numbers, fields): (Vec<usize>, Vec<Field>) =
            read.iter().enumerate().filter_map(|(i, field)| Some((i, field.compared()?))).unzip();
        let mut misfits = Vec::new();
        for fault in field_faults(&fields) {
            let number = numbers[fault.field];
            if matches!(fault.part, Part::Type | Part::Scale) {
                misfits.push(number);
            }
            self.field_fault(fault, &nodes[number], &fields);
        }
        misfits
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

    fn field(&mut self, number: usize, node: &MarkedYaml<'_>) -> ReadField {
        let label = node.data.as_mapping_get("name").and_then(|name| name.data.as_str());
        let label = label.map_or_else(|| format!("#{}", number + 1), str::to_owned);
        let label = Some(label.as_str());
        let before = (self.errors.len(), self.left_out);
        let Some(entries) = self.mapping(node, label, FIELD_KEYS, "write { name: …, type: … }") else {
            return ReadField::default();
        };
        let mut read = self.parts(&entries, label);
        if (self.errors.len(), self.left_out) != before {
            read.whole = None;
        }
        for (key, value) in &entries.doubled {
            self.other(&entries.with(key, value), value, label);
        }
        read
    }

    /// Says what is wrong with the value of a misspelt key, and nothing else.
    fn other(&mut self, entries: &Entries<'_, '_>, value: &MarkedYaml<'_>, label: Option<&str>) {
        let said = self.errors.len();
        self.parts(entries, label);
        let place = (value.span.start.line().max(1), value.span.start.col() + 1);
        let more = self.errors.split_off(said);
        self.errors.extend(more.into_iter().filter(|error| (error.line, error.column) == place));
    }

    /// A field of these entries.
    fn parts(&mut self, entries: &Entries<'_, '_>, label: Option<&str>) -> ReadField {
        let name = match entries.get("name") {
            Some(node) => self.text(node, label, "name"),
            None => {
                self.missing(entries, label, "the field has no name", "add name: …".to_owned());
                None
            }
        };
        let field_type = match entries.get("type") {
            Some(type_node) => self.field_type(type_node, label, entries),
            None => {
                let hint = format!("add type: with one of {}", list(TYPES));
                self.missing(entries, label, "the field has no type", hint);
                None
            }
        };
        let path = match entries.get("path") {
            Some(node) => self.path(node, label),
            // It may be one of the entries that could not be read.
            None if entries.is_incomplete => None,
            None => name.clone().map(|name| vec![name]),
        };
        let required = entries.get("required").and_then(|node| self.truth(node, label, "required"));
        let personal = entries.get("personal").and_then(|node| self.truth(node, label, "personal"));
        let unit = entries.get("unit").and_then(|node| self.text(node, label, "unit"));
        let description = entries.get("description").and_then(|node| self.text(node, label, "description"));
        let parts = name.clone().zip(field_type.clone()).zip(path.clone());
        let whole = parts.map(|((name, field_type), path)| Field {
            path,
            required: required.unwrap_or(false),
            personal: personal.unwrap_or(false),
            unit,
            description,
            ..Field::new(name, field_type)
        });
        ReadField { name, field_type, path, whole }
    }

    fn missing(&mut self, entries: &Entries<'_, '_>, label: Option<&str>, message: &str, hint: String) {
        if !entries.is_incomplete {
            self.error(entries.node, label, message, hint);
        }
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
            _ if self.is_left_out(scale) => None,
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

    /// A mapping's entries. Those with unknown keys are reported, and read as what was probably meant where nothing else says it.
    fn mapping<'n, 'i>(
        &mut self,
        node: &'n MarkedYaml<'i>,
        label: Option<&str>,
        keys: &[&'static str],
        hint: &str,
    ) -> Option<Entries<'n, 'i>> {
        let YamlData::Mapping(mapping) = &node.data else {
            if !self.is_left_out(node) {
                self.error(node, label, "this must be a mapping", hint);
            }
            return None;
        };
        let mut read = Entries { node, entries: Vec::new(), doubled: Vec::new(), is_incomplete: false };
        let mut meant = Vec::new();
        for (key, value) in mapping {
            match key.data.as_str() {
                Some(name) if keys.contains(&name) => read.entries.push((name, value)),
                Some(name) => {
                    self.error(key, label, format!("there is no key {name} here"), suggestion(name, keys));
                    meant.extend(nearest(name, keys).map(|name| (name, value)));
                }
                None if self.is_left_out(key) => read.is_incomplete = true,
                None => {
                    self.error(key, label, "a key must be a text", format!("keys here are {}", list(keys)));
                }
            }
        }
        for (name, value) in meant {
            match read.get(name) {
                None => read.entries.push((name, value)),
                Some(_) => read.doubled.push((name, value)),
            }
        }
        Some(read)
    }

    fn text(&mut self, node: &MarkedYaml<'_>, label: Option<&str>, key: &str) -> Option<String> {
        match &node.data {
            YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
            _ if self.is_left_out(node) => None,
            _ => {
                let hint = "put it in quotes if it looks like a number";
                self.error(node, label, format!("{key} must be a text"), hint);
                None
            }
        }
    }

    fn truth(&mut self, node: &MarkedYaml<'_>, label: Option<&str>, key: &str) -> Option<bool> {
        let truth = node.data.as_bool();
        if truth.is_none() && !self.is_left_out(node) {
            let hint = "write one of them, without quotes";
            self.error(node, label, format!("{key} must be true or false"), hint);
        }
        truth
    }

    /// Whether a node could not be read and that has been said. In a file of its own nobody else says it.
    fn is_left_out(&mut self, node: &MarkedYaml<'_>) -> bool {
        let is_left_out = self.origin.is_none() && matches!(node.data, YamlData::BadValue);
        self.left_out += usize::from(is_left_out);
        is_left_out
    }
}

/// The columns that fields name, with their types where they are known, and whether there may be more. `misfits`: fields of types that
/// are none, by number.
fn columns(read: &[ReadField], misfits: &[usize]) -> (Vec<(String, Option<FieldType>)>, bool) {
    let mut columns: Vec<(String, Option<FieldType>)> = Vec::new();
    let mut lacks_names = false;
    let mut add = |name: String, field_type: Option<FieldType>| {
        match columns.iter_mut().find(|(other, _)| *other == name) {
            // Which of the two is meant is not known.
            Some((_, first)) if *first != field_type => *first = None,
            Some(_) => {}
            None => columns.push((name, field_type)),
        }
    };
    for (number, field) in read.iter().enumerate() {
        // What is no name may be called something else where it is used.
        match field.name.clone().filter(|name| is_name(name)) {
            Some(name) => add(name, field.field_type.clone().filter(|_| !misfits.contains(&number))),
            None => lacks_names = true,
        }
    }
    (columns, lacks_names)
}

/// The known name that was probably meant, or else all of them.
fn suggestion(found: &str, known: &[&'static str]) -> String {
    match nearest(found, known) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("known here are {}", list(known)),
    }
}

/// The known name that was probably meant.
fn nearest(found: &str, known: &[&'static str]) -> Option<&'static str> {
    let lower = found.to_lowercase();
    let habit = OTHER_NAMES.iter().find(|(other, ours)| *other == lower && known.contains(ours));
    let near = || {
        let distances = known.iter().map(|name| (strsim::damerau_levenshtein(name, &lower), *name));
        let (distance, name) = distances.min()?;
        (distance <= 1 + name.len() / 4).then_some(name)
    };
    habit.map(|(_, ours)| *ours).or_else(near)
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests;
