//! What of a schema decides how a payload is decoded, as one text: two schemas with the same text give the same rows.

use std::fmt::Write;

use super::Schema;
use crate::field::FieldType;

impl Schema {
    /// The fields as YAML that [`Schema::from_yaml`] reads, without what says nothing about rows: the schema's name, descriptions, units,
    /// personal marks. The same for all schemas that decode alike.
    ///
    /// ```
    /// use thalweg_schemas::{Field, FieldType, Schema};
    ///
    /// let fields = vec![Field::new("cost", FieldType::Decimal { scale: 6 }).at("usage.cost").required()];
    /// let schema = Schema { name: "call".into(), description: None, fields };
    /// let text = schema.canonical();
    /// assert_eq!(
    ///     text,
    ///     "fields:\n- { name: \"cost\", type: decimal, scale: 6, path: [\"usage\", \"cost\"], required: true }\n"
    /// );
    /// assert_eq!(Schema::from_yaml(&text, "call.yaml").unwrap(), schema);
    /// ```
    pub fn canonical(&self) -> String {
        let mut text = "fields:\n".to_owned();
        for field in &self.fields {
            let path: Vec<String> = field.path.iter().map(|key| quoted(key)).collect();
            let field_type = type_text(&field.field_type);
            let required = if field.required { ", required: true" } else { "" };
            let (name, path) = (quoted(&field.name), path.join(", "));
            // Writing to a text can't fail.
            let _ = writeln!(text, "- {{ name: {name}, type: {field_type}, path: [{path}]{required} }}");
        }
        text
    }
}

fn type_text(of: &FieldType) -> String {
    match of {
        FieldType::Bool | FieldType::Int64 | FieldType::UInt64 | FieldType::Float64 | FieldType::String => {
            of.to_string()
        }
        FieldType::Decimal { scale } => format!("decimal, scale: {scale}"),
        FieldType::Timestamp(encoding) => format!("timestamp, encoding: {encoding}"),
        FieldType::List(element) => format!("list, of: {}", type_text(element)),
    }
}

/// A text in double quotes; all but printable ASCII as numbers.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(letter));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Field, TimestampEncoding};

    #[test]
    fn every_schema_is_read_back_from_its_text() {
        let without_words = |schema: &Schema| {
            let fields = schema.fields.iter().cloned().map(|field| Field {
                unit: None,
                personal: false,
                description: None,
                ..field
            });
            Schema { name: schema.name.clone(), description: None, fields: fields.collect() }
        };
        for name in Schema::builtin_names() {
            let schema = Schema::builtin(name).unwrap();
            let read = Schema::from_yaml(&schema.canonical(), &format!("{name}.yaml")).unwrap();
            assert_eq!(read, without_words(&schema));
            assert_eq!(read.canonical(), schema.canonical());
        }
        let list = |of| FieldType::List(Box::new(of));
        let mut fields = vec![
            Field::new("null", FieldType::Bool),
            Field::new("costs", list(FieldType::Decimal { scale: 3 })),
            Field::new("times", list(FieldType::Timestamp(TimestampEncoding::Rfc3339))),
            Field::new("odd", FieldType::UInt64).required(),
        ];
        fields[3].path = vec!["a.b".into(), "\"\\ 北\u{2028}\n: #".into()];
        let schema = Schema { name: "odd".into(), description: None, fields };
        assert_eq!(Schema::from_yaml(&schema.canonical(), "odd.yaml").unwrap(), schema);
    }
}
