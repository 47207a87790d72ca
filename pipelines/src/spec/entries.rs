//! Mappings from names to things, in the order of the file.

use std::borrow::Cow;
use std::ops::Deref;

use saphyr_parser::ScalarStyle;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::reader::{Entry, Reader};
use super::units::check_name;
use super::yaml::{Kind, Node, joined};
use super::{ColumnSpec, Span, Spanned};

/// Named things in the order of the file; each knows its own name.
#[derive(Debug, Clone)]
pub struct Entries<T>(pub Vec<T>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

impl<T> Deref for Entries<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a Entries<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": r"^[a-z][a-z0-9_]*$", "maxLength": 64 },
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// Reads named things. A thing whose name is wrong is read all the same, to say what else is.
pub(super) fn read<T>(
    reader: &mut Reader,
    entry: Option<&Entry<'_>>,
    mut read_one: impl FnMut(&mut Reader, Spanned<String>, &Node, &str) -> T,
) -> Entries<T> {
    let Some(fields) = entry.and_then(|entry| reader.mapping(entry.value, &entry.path)) else {
        return Entries::default();
    };
    let mut things = Vec::with_capacity(fields.entries.len());
    for entry in &fields.entries {
        if let Err((message, hint)) = check_name(&entry.key) {
            reader.problem(entry.key.at, &entry.path, message, Some(hint));
        }
        let name = Spanned::new(entry.key.value.to_owned(), entry.key.at);
        things.push(read_one(reader, name, entry.value, &entry.path));
    }
    Entries(things)
}

/// SQL, in DataFusion's dialect. YAML's numbers and booleans are SQL too.
#[derive(Debug, Clone, Copy)]
pub struct Expression;

impl JsonSchema for Expression {
    fn schema_name() -> Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An SQL expression, in DataFusion's dialect.",
            "type": ["string", "number", "boolean"],
        })
    }
}

/// How a list of columns is written: names by themselves, or names with expressions.
#[derive(Debug, Clone, Copy)]
pub struct Columns;

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let expression = generator.subschema_for::<Expression>();
        let name = json_schema!({
            "description": "A column by its name.",
            "type": "string",
            "pattern": r"^[A-Za-z_][A-Za-z0-9_]*$|\$\{",
        });
        let names = json_schema!({ "pattern": r"^(?!__)[A-Za-z_][A-Za-z0-9_]*$" });
        json_schema!({
            "anyOf": [
                {
                    "description": "Columns: name: expression.",
                    "type": "object",
                    "propertyNames": names,
                    "additionalProperties": expression,
                },
                {
                    "description": "Columns by name, or { name: expression }.",
                    "type": "array",
                    "items": {
                        "anyOf": [
                            name,
                            {
                                "type": "object",
                                "minProperties": 1,
                                "propertyNames": names,
                                "additionalProperties": expression,
                            },
                        ],
                    },
                },
                name,
            ],
        })
    }
}

/// Reads a list of columns in any of its forms. Names given twice are a problem here; what they mean is the plan's.
pub(super) fn read_columns(reader: &mut Reader, entry: &Entry<'_>) -> Vec<ColumnSpec> {
    let mut columns = Vec::new();
    match &entry.value.kind {
        Kind::Mapping(_) => named(reader, entry.value, &entry.path, &mut columns),
        Kind::Sequence(_) => {
            for (path, item) in reader.items(entry.value, &entry.path).unwrap_or_default() {
                match &item.kind {
                    Kind::Mapping(_) => named(reader, item, &entry.path, &mut columns),
                    _ => plain(reader, item, &path, &mut columns),
                }
            }
        }
        Kind::Scalar(..) => plain(reader, entry.value, &entry.path, &mut columns),
        Kind::Null | Kind::Broken => {
            let hint = "write \"name: expression\" lines, or a list of columns".to_owned();
            reader.expected(entry.value, &entry.path, "columns", Some(hint));
            reader.lose_names();
        }
    }
    columns
}

/// `{ name: expression, … }`
fn named(reader: &mut Reader, node: &Node, path: &str, columns: &mut Vec<ColumnSpec>) {
    let Some(fields) = reader.mapping(node, path) else { return };
    if fields.incomplete {
        reader.lose_names();
    }
    // An expression with commas between { and } is cut at each of them: that it is, is said of its first part.
    let mut open = 0;
    for entry in &fields.entries {
        if open > 0 && matches!(entry.value.kind, Kind::Null) {
            open += brackets_left_open(entry.key.value);
            reader.pass_over();
            continue;
        }
        open = match &entry.value.kind {
            Kind::Scalar(text, ScalarStyle::Plain) => brackets_left_open(text),
            _ => 0,
        };
        let name = Spanned::new(entry.key.value.to_owned(), entry.key.at);
        let sql = reader.text(entry.value, &entry.path, "an SQL expression");
        let is_broken = sql.is_none();
        add(reader, ColumnSpec { path: entry.path.clone(), name, sql, is_broken }, columns);
    }
}

fn brackets_left_open(text: &str) -> isize {
    text.chars().map(|c| isize::from(c == '(') - isize::from(c == ')')).sum()
}

/// A column by its name.
fn plain(reader: &mut Reader, node: &Node, path: &str, columns: &mut Vec<ColumnSpec>) {
    if let Kind::Scalar(text, ScalarStyle::Plain) = &node.kind
        && let Some((name, sql)) = joined(text)
    {
        let hint = format!("write braces, and a space behind the colon: {{ {name}: {sql} }}");
        reader.problem(node.at, path, format!("\"{text}\" is one word"), Some(hint));
        let (before, length) = (name.chars().count(), sql.chars().count());
        let at = Span { column: node.at.column + before + 1, length, ..node.at };
        let sql = Some(Spanned::new(sql.to_owned(), at));
        let name = Spanned::new(name.to_owned(), Span { length: before, ..node.at });
        add(reader, ColumnSpec { path: path.to_owned(), name, sql, is_broken: false }, columns);
        return;
    }
    match reader.text(node, path, "a column's name, or { name: expression }") {
        Some(name) => {
            let column = ColumnSpec { path: path.to_owned(), name, sql: None, is_broken: false };
            add(reader, column, columns);
        }
        None => reader.lose_names(),
    }
}

fn add(reader: &mut Reader, mut column: ColumnSpec, columns: &mut Vec<ColumnSpec>) {
    if let Err((message, hint)) = super::units::check_column_name(&column.name) {
        reader.problem(column.name.at, &column.path, message, Some(hint));
        // The engine's own columns are called so.
        if column.name.starts_with("__") {
            reader.lose_names();
            return;
        }
        column.is_broken |= column.sql.is_none();
    }
    if let Some(first) = columns.iter().find(|other| other.name.value == column.name.value) {
        let hint =
            format!("it is already given on line {}; give one of the two another name", first.name.at.line);
        reader.problem(
            column.name.at,
            &column.path,
            format!("the name \"{}\" is given twice", *column.name),
            Some(hint),
        );
        return;
    }
    columns.push(column);
}
