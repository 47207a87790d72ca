//! A schema: the fields of a topic's records. Read from YAML, or one of the built-in topics.

use std::fmt;
use std::sync::{Arc, LazyLock};

use saphyr::MarkedYaml;

use crate::field::{DECIMAL_PRECISION, Field, FieldType};

mod builtin;
mod canonical;
mod yaml;

/// Ends a key of a path that leads to an array of objects.
pub(crate) const GROUP_MARK: &str = "[]";

/// Keys that a path may have.
const PATH_KEYS_MAX: usize = 32;

/// The fields of a topic's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Its name: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What the records are, in a sentence.
    pub description: Option<String>,
    /// Its fields, in the order of the columns.
    pub fields: Vec<Field>,
}

/// What can be read of a schema, whatever else is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// The schema; none where something is wrong with it.
    pub schema: Option<Arc<Schema>>,
    /// The columns that it names, each once; those of which the type is not known are without.
    pub columns: Vec<(String, Option<FieldType>)>,
    /// Whether it may have further columns, of which the names could not be read.
    pub lacks_names: bool,
}

impl Draft {
    /// That of a schema of which nothing is known.
    pub fn unknown(name: &str) -> Draft {
        Draft { name: name.to_owned(), schema: None, columns: Vec::new(), lacks_names: true }
    }
}

impl From<Arc<Schema>> for Draft {
    fn from(schema: Arc<Schema>) -> Draft {
        let columns = schema.fields.iter().map(|field| (field.name.clone(), Some(field.field_type.clone())));
        Draft {
            name: schema.name.clone(),
            columns: columns.collect(),
            lacks_names: false,
            schema: Some(schema),
        }
    }
}

/// Something wrong with a schema, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SchemaError {
    /// The file, as given to [`Schema::from_yaml`]; none for a schema that lies inside another document or none at all.
    pub origin: Option<String>,
    /// Line in the document, from 1; 0 if the schema was not read from a text.
    pub line: usize,
    /// Column in the line, in characters from 1; 0 if the schema was not read from a text.
    pub column: usize,
    /// The field at fault, by name, or by number (`#3`) where it has none.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}:")?;
        }
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if self.origin.is_some() || self.line > 0 {
            f.write_str(" ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "field {field}: ")?;
        }
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl Schema {
    /// Reads a schema file. `origin` names it in messages; its stem is the schema's name unless the file has a `schema:`.
    ///
    /// # Errors
    /// All errors at once, in the order of the lines.
    ///
    /// ```
    /// use thalweg_schemas::{FieldType, Schema};
    ///
    /// let schema = Schema::from_yaml(
    ///     "schema: call\nfields:\n  - { name: user_id, type: string, path: user.id, personal: true }\n",
    ///     "call.yaml",
    /// );
    /// assert_eq!(schema.unwrap().fields[0].field_type, FieldType::String);
    ///
    /// let errors = Schema::from_yaml("fields:\n  - { name: user_id, type: strng }\n", "call.yaml").unwrap_err();
    /// assert_eq!(
    ///     errors[0].to_string(),
    ///     "call.yaml:2:28: field user_id: there is no type strng; did you mean string?"
    /// );
    /// ```
    pub fn from_yaml(text: &str, origin: &str) -> Result<Schema, Vec<SchemaError>> {
        yaml::read_text(text, origin)
    }

    /// Reads a schema that lies inside another document, such as a pipeline: a mapping with `fields` and, optionally,
    /// `description`. What can be read of it, and all that is wrong with it, in the order of the lines, which are the document's own.
    /// Nothing is said of a node that is `BadValue`: whoever read the document has said it.
    pub fn draft(name: &str, node: &MarkedYaml<'_>) -> (Draft, Vec<SchemaError>) {
        yaml::read_node(name, node)
    }

    /// The same of a file that holds one schema, which may say the schema's name itself. `stem` is the file's.
    pub fn draft_of_file(stem: &str, root: &MarkedYaml<'_>) -> (Draft, Vec<SchemaError>) {
        yaml::read_root(stem, root)
    }

    /// The schema of a built-in topic.
    pub fn builtin(name: &str) -> Option<Arc<Schema>> {
        static SCHEMAS: LazyLock<Vec<Arc<Schema>>> = LazyLock::new(|| {
            let read = |(name, text): &(&str, &str)| match Schema::from_yaml(text, &format!("{name}.yaml")) {
                Ok(schema) => Arc::new(schema),
                Err(errors) => panic!("invariant: built-in schemas have no errors: {}", errors[0]),
            };
            builtin::TOPICS.iter().map(read).collect()
        });
        SCHEMAS.iter().find(|schema| schema.name == name).cloned()
    }

    /// The names of the built-in schemas, sorted.
    pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
        builtin::TOPICS.iter().map(|(name, _)| *name)
    }

    /// The index of the field with that column name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Checks the rules that hold between fields, and those of a field by itself: names and paths are well-formed and
    /// distinct, no path leads through another field's value, scales fit, lists hold scalars. A schema read from YAML
    /// obeys them.
    ///
    /// # Errors
    /// All errors at once, without lines.
    pub fn check(&self) -> Result<(), Vec<SchemaError>> {
        let faults = field_faults(&self.fields);
        if faults.is_empty() {
            return Ok(());
        }
        let error = |fault: FieldFault| SchemaError {
            origin: None,
            line: 0,
            column: 0,
            field: Some(self.fields[fault.field].name.clone()),
            message: fault.message,
            hint: fault.hint,
        };
        Err(faults.into_iter().map(error).collect())
    }
}

/// A rule broken by a field, or by it and an earlier one.
struct FieldFault {
    field: usize,
    /// The part of the field's definition that is at fault.
    part: Part,
    message: String,
    hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Path,
    Type,
    Scale,
}

/// Whether a name is `[a-z][a-z0-9_]*`: usable in SQL without quotes, and clear of our own columns, which begin with `_`.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn field_faults(fields: &[Field]) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let mut fault = |part, message: String, hint: &str| {
            faults.push(FieldFault { field: i, part, message, hint: hint.to_owned() });
        };
        if !is_name(&field.name) {
            let message = format!("{:?} is no column name", field.name);
            fault(
                Part::Name,
                message,
                "write lower-case letters, digits and _, and name the payload's key with path: …",
            );
        }
        if fields[..i].iter().any(|earlier| earlier.name == field.name) {
            let message = "there is an earlier field of this name".to_owned();
            fault(Part::Name, message, "give each field its own name");
        }
        if let Some((message, hint)) = path_fault(field) {
            fault(Part::Path, message, hint);
        } else if let Some((message, hint)) = fields[..i]
            .iter()
            .filter(|earlier| earlier.name != field.name)
            .find_map(|earlier| path_clash(earlier, field))
        {
            fault(Part::Path, message, hint);
        }
        let element = match &field.field_type {
            FieldType::List(element) => &**element,
            single => single,
        };
        match element {
            FieldType::List(_) => {
                fault(Part::Type, "a list of lists".to_owned(), "write a scalar type behind of:");
            }
            FieldType::Decimal { scale } if *scale > DECIMAL_PRECISION => {
                let message = format!("scale {scale} is more than a decimal's 18 digits");
                fault(Part::Scale, message, "write a scale from 0 to 18");
            }
            _ => {}
        }
    }
    faults
}

fn path_fault(field: &Field) -> Option<(String, &'static str)> {
    let text = field.path_text();
    if field.path.is_empty() || field.path.iter().any(|key| key.trim_end_matches(GROUP_MARK).is_empty()) {
        return Some((
            format!("the path {text:?} has an empty key"),
            "write keys with dots between: user.id",
        ));
    }
    if field.path.len() > PATH_KEYS_MAX {
        let message = format!("the path has {} keys", field.path.len());
        return Some((message, "at most 32 are possible"));
    }
    let mut groups = field.path.iter().enumerate().filter(|(_, key)| key.ends_with(GROUP_MARK));
    match groups.next() {
        None => None,
        Some((i, _)) if i + 1 == field.path.len() => Some((
            format!("the path {text} ends in []"),
            "[] is for arrays of objects; an array of scalars is a field with type: list",
        )),
        Some(_) if groups.next().is_some() => {
            Some((format!("the path {text} goes through two arrays"), "only one [] is possible"))
        }
        Some(_) if !matches!(field.field_type, FieldType::List(_)) => Some((
            format!("the path {text} goes through an array, but the type is {}", field.field_type),
            "write type: list and the type of one value behind of:",
        )),
        Some(_) => None,
    }
}

/// Why two paths can't both be in a schema.
fn path_clash(earlier: &Field, field: &Field) -> Option<(String, &'static str)> {
    let plain = |key: &str| key.trim_end_matches(GROUP_MARK).to_owned();
    let common = earlier
        .path
        .iter()
        .zip(&field.path)
        .take_while(|(ours, theirs)| plain(ours) == plain(theirs))
        .count();
    if common == 0 {
        return None;
    }
    let (first, second) = (&earlier.path, &field.path);
    let name = &earlier.name;
    if common == first.len() && common == second.len() {
        let message = format!("field {name} has this path already");
        return Some((message, "leave one of them out, and compute the other in a step"));
    }
    if common == first.len() || common == second.len() {
        let shorter = if common == first.len() { first } else { second };
        let message =
            format!("{} is a value to one field and an object to another ({name})", shorter.join("."));
        return Some((message, "a path may not lead through another field's value"));
    }
    let differing = first[..common].iter().zip(&second[..common]).any(|(ours, theirs)| ours != theirs);
    differing.then(|| {
        let message =
            format!("{} is an array of objects to one field and an object to another ({name})", second[0]);
        (message, "write [] in both paths or in neither")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: Vec<Field>) -> Schema {
        Schema { name: "s".into(), description: None, fields }
    }

    fn messages(fields: Vec<Field>) -> Vec<String> {
        schema(fields).check().err().unwrap_or_default().iter().map(SchemaError::to_string).collect()
    }

    #[test]
    fn paths_must_not_clash() {
        let string = || FieldType::String;
        let list = || FieldType::List(Box::new(FieldType::Float64));
        let clash = |first: &str, second: &str, field_type: fn() -> FieldType| {
            messages(vec![Field::new("a", field_type()).at(first), Field::new("b", field_type()).at(second)])
        };
        assert!(clash("x.a", "x.b", string).is_empty());
        assert!(clash("x[].a", "x[].b", list).is_empty());
        assert!(clash("x", "x", string)[0].contains("has this path already"));
        assert!(clash("x", "x.b", string)[0].contains("x is a value to one field and an object to another"));
        assert!(clash("x.b.c", "x.b", string)[0].contains("x.b is a value"));
        assert!(clash("x[].a", "x.b", list)[0].contains("array of objects to one field"));
        assert!(clash("x[].a", "x.a", list)[0].contains("has this path already"));
    }

    #[test]
    fn a_field_by_itself_is_checked() {
        let list = |element| FieldType::List(Box::new(element));
        for (field, expected) in [
            (Field::new("Upper", FieldType::Bool), "no column name"),
            (Field::new("_hidden", FieldType::Bool), "no column name"),
            (Field::new("", FieldType::Bool), "no column name"),
            (Field::new("a", FieldType::Bool).at("x..y"), "empty key"),
            (Field::new("a", FieldType::Bool).at("[].y"), "empty key"),
            (Field::new("a", list(FieldType::Bool)).at("x[]"), "ends in []"),
            (Field::new("a", list(FieldType::Bool)).at("x[].y[].z"), "two arrays"),
            (Field::new("a", FieldType::Bool).at("x[].y"), "the type is bool"),
            (Field::new("a", FieldType::Bool).at(&["x"; 33].join(".")), "33 keys"),
            (Field::new("a", FieldType::Decimal { scale: 19 }), "scale 19"),
            (Field::new("a", list(list(FieldType::Bool))), "list of lists"),
        ] {
            let found = messages(vec![field.clone()]);
            assert!(found.len() == 1 || field.name.is_empty(), "{field:?}: {found:?}");
            assert!(found[0].contains(expected), "{field:?}: {found:?}");
        }
        assert!(schema(vec![Field::new("a", FieldType::Bool)]).check().is_ok());
    }
}
