use saphyr::{LoadableYamlNode, MarkedYaml, YamlData};

use crate::field::{Field, FieldType, TimestampEncoding};
use crate::schema::Schema;

fn errors(text: &str) -> Vec<String> {
    let errors = Schema::from_yaml(text, "x.yaml").err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

/// The one error of a field written in flow style.
fn field_error(field: &str) -> String {
    let found = errors(&format!("fields:\n  - {field}\n"));
    assert_eq!(found.len(), 1, "{field}: {found:?}");
    found[0].clone()
}

#[test]
fn reads_every_part_of_a_field() {
    let text = r#"
description: calls
fields:
  - { name: user_id, type: string, path: user.id, required: true, personal: true, unit: none, description: who }
  - { name: at, type: timestamp, encoding: ms }
  - { name: cost, type: decimal, scale: 6 }
  - name: codes
    type: list
    of: uint64
    path: [http, "status.code"]
  - { name: times, type: list, of: timestamp, encoding: rfc3339, path: "spans[].at" }
"#;
    let schema = Schema::from_yaml(text, "some/where/call.yaml").expect("no errors");
    let mut user = Field::new("user_id", FieldType::String).at("user.id").required();
    user.personal = true;
    user.unit = Some("none".into());
    user.description = Some("who".into());
    let mut codes = Field::new("codes", FieldType::List(Box::new(FieldType::UInt64)));
    codes.path = vec!["http".into(), "status.code".into()];
    let times = FieldType::List(Box::new(FieldType::Timestamp(TimestampEncoding::Rfc3339)));
    assert_eq!(schema.name, "call");
    assert_eq!(schema.description.as_deref(), Some("calls"));
    assert_eq!(
        schema.fields,
        [
            user,
            Field::new("at", FieldType::Timestamp(TimestampEncoding::Millis)),
            Field::new("cost", FieldType::Decimal { scale: 6 }),
            codes,
            Field::new("times", times).at("spans[].at"),
        ]
    );
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_lines() {
    let text = "\
schema: Call
field:
  - { name: a, type: bool }
fields:
  - { name: a, type: strng, requierd: true }
  - { type: bool }
  - { name: b, type: int }
  - nonsense
  - { name: c, type: timestamp, encoding: millis }
  - { name: d, type: bool }
  - { name: d, type: bool, path: e }
";
    assert_eq!(
        errors(text),
        [
            "x.yaml:1:9: \"Call\" is no name of a schema; write lower-case letters, digits and _, as in provider_request",
            "x.yaml:2:1: there is no key field here; did you mean fields?",
            "x.yaml:5:22: field a: there is no type strng; did you mean string?",
            "x.yaml:5:29: field a: there is no key requierd here; did you mean required?",
            "x.yaml:6:5: field #2: the field has no name; add name: …",
            "x.yaml:7:22: field b: there is no type int; did you mean int64?",
            "x.yaml:8:5: field #4: this must be a mapping; write { name: …, type: … }",
            "x.yaml:9:43: field c: there is no encoding millis; did you mean ms?",
            "x.yaml:11:13: field d: there is an earlier field of this name; give each field its own name",
        ]
    );
}

#[test]
fn each_fault_of_a_field_says_what_to_write() {
    for (field, expected) in [
        ("{ name: a, type: zebra }", "known here are bool, int64"),
        ("{ name: a }", "add type: with one of bool"),
        ("{ name: a, type: decimal }", "add scale: and the digits"),
        ("{ name: a, type: decimal, scale: 19 }", "write a scale from 0 to 18"),
        ("{ name: a, type: decimal, scale: -1 }", "write one from 0 to 18"),
        ("{ name: a, type: decimal, scale: six }", "write one from 0 to 18"),
        ("{ name: a, type: timestamp }", "add encoding: with one of s, ms, us, ns, rfc3339"),
        ("{ name: a, type: list }", "add of: and the type of one element"),
        ("{ name: a, type: list, of: list }", "write a scalar type behind of:"),
        ("{ name: a, type: list, of: strin }", "did you mean string?"),
        ("{ name: a, type: bool, of: bool }", "leave it out, or write type: list"),
        ("{ name: a, type: bool, scale: 2 }", "leave it out, or write type: decimal"),
        ("{ name: a, type: int64, encoding: ms }", "leave it out, or write type: timestamp"),
        ("{ name: 7, type: bool }", "put it in quotes"),
        ("{ name: B, type: bool }", "name the payload's key with path"),
        ("{ name: _offset, type: bool }", "name the payload's key with path"),
        ("{ name: a, type: bool, required: \"yes\" }", "write one of them, without quotes"),
        ("{ name: a, type: bool, path: a..b }", "write keys with dots between"),
        ("{ name: a, type: bool, path: \"a[].b\" }", "write type: list"),
        ("{ name: a, type: bool, path: { b: c } }", "path must be a text"),
        ("{ name: a, type: bool, 7: 8 }", "keys here are name, type"),
    ] {
        let error = field_error(field);
        assert!(error.starts_with("x.yaml:2:"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_no_schema_at_all_is_an_error_with_a_line() {
    for (text, expected) in [
        ("", "x.yaml:1:1: this must be a mapping"),
        ("- a\n", "x.yaml:1:1: this must be a mapping"),
        ("description: d\n", "x.yaml:1:1: there are no fields"),
        ("fields: 3\n", "x.yaml:1:9: fields must be a list"),
        ("fields: []\n", "x.yaml:1:9: a schema without fields"),
        ("fields:\n  - { name: a, type: bool }\n---\nfields: []\n", "x.yaml:4:1: a second document"),
        ("fields: [\n", "this is not YAML"),
        ("fields: []\nfields: []\n", "this is not YAML: duplicated key"),
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert!(found[0].contains(expected), "{text:?}: {found:?}");
    }
    assert!(errors("fields: [\n")[0].starts_with("x.yaml:"));
}

#[test]
fn an_inline_schema_keeps_the_lines_of_its_document() {
    let text = "pipeline: p\nschemas:\n  call:\n    fields:\n      - { name: a, type: bol }\n";
    let documents = MarkedYaml::load_from_str(text).expect("YAML");
    let node =
        documents[0].data.as_mapping_get("schemas").and_then(|schemas| schemas.data.as_mapping_get("call"));
    let (draft, errors) = Schema::draft("call", node.expect("there"));
    assert_eq!(draft.schema, None, "bol is no type");
    assert_eq!((errors[0].line, errors[0].column, errors[0].field.as_deref()), (5, 26, Some("a")));
    assert_eq!(errors[0].to_string(), "5:26: field a: there is no type bol; did you mean bool?");
}

#[test]
fn of_a_schema_that_is_wrong_the_other_columns_are_known() {
    let draft = |fields: &str| {
        let documents = MarkedYaml::load_from_str(&format!("fields:\n{fields}")).expect("YAML");
        let (draft, errors) = Schema::draft("call", &documents[0]);
        assert_eq!(draft.schema, None, "{fields}");
        let columns = draft.columns.iter().map(|(name, field_type)| match field_type {
            Some(field_type) => format!("{name} {field_type}"),
            None => name.clone(),
        });
        (columns.collect::<Vec<_>>().join(", "), draft.lacks_names, errors.len())
    };
    let good = "  - { name: good, type: bool }\n";
    for (field, columns, lacks_names) in [
        ("{ name: a, type: strng }", "good bool, a", false),
        ("{ name: a, type: timestamp, encoding: hours }", "good bool, a", false),
        ("{ name: a, type: decimal, scale: 19 }", "good bool, a", false),
        ("{ name: a, type: string, required: maybe }", "good bool, a string", false),
        ("{ name: a, typ: string }", "good bool, a string", false),
        ("{ nam: a, type: string }", "good bool, a string", false),
        ("{ name: a, type: string, strange: 1 }", "good bool, a string", false),
        ("{ name: a, type: string, path: good }", "good bool, a string", false),
        ("{ name: a }", "good bool, a", false),
        ("{ name: good, type: string }", "good", false),
        ("{ type: string }", "good bool", true),
        ("just text", "good bool", true),
        ("{ name: userId, type: string }", "good bool", true),
    ] {
        assert_eq!(draft(&format!("{good}  - {field}\n")), (columns.to_owned(), lacks_names, 1), "{field}");
    }
    assert_eq!(draft("  a: b\n"), (String::new(), true, 1));
    let twice = "  - { name: a, type: strng }\n  - { name: a, type: bool }\n";
    assert_eq!(
        draft(twice),
        ("a".to_owned(), false, 2),
        "of a wrong field, too, it is said that its name is taken"
    );
}

#[test]
fn what_a_misspelt_key_says_beside_the_right_one_is_judged_too() {
    let text = "fields:\n  - { name: a, type: bool, typ: strng, requierd: maybe, nme: b }\n";
    assert_eq!(
        errors(text),
        [
            "x.yaml:2:28: field a: there is no key typ here; did you mean type?",
            "x.yaml:2:33: field a: there is no type strng; did you mean string?",
            "x.yaml:2:40: field a: there is no key requierd here; did you mean required?",
            "x.yaml:2:50: field a: required must be true or false; write one of them, without quotes",
            "x.yaml:2:57: field a: there is no key nme here; did you mean name?",
        ]
    );
}

#[test]
fn of_what_could_not_be_read_nothing_is_said() {
    let text = "fields:\n  - { name: a, type: bool, path: p }\n  - { name: b, type: bool }\n";
    let mut documents = MarkedYaml::load_from_str(text).expect("YAML");
    let fields = documents[0].data.as_mapping_get_mut("fields").expect("there");
    let fields = fields.data.as_sequence_mut().expect("a list");
    fields[0].data.as_mapping_get_mut("path").expect("there").data = YamlData::BadValue;
    let (draft, errors) = Schema::draft("call", &documents[0]);
    assert_eq!((draft.schema, draft.lacks_names, errors), (None, false, Vec::new()));
    assert_eq!(
        draft.columns,
        [("a".to_owned(), Some(FieldType::Bool)), ("b".to_owned(), Some(FieldType::Bool))]
    );
}
