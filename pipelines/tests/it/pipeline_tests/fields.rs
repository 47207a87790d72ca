//! Fields of input rows that the schema does not have.

use std::fs;
use std::process::Command;

use serde_json::Value as Json;
use thalweg::testing;

use super::loaded;

#[test]
fn a_field_that_the_schema_does_not_have_is_told_once_and_fails_nothing() {
    let tests = r#"
tests:
  - name: misspelt
    input:
      clicks:
        - { at: 2026-03-02T12:00:00Z, who: a, mss: 1 }
        - { at: 2026-03-02T12:00:00Z, who: a, mss: 2, ms: null }
        - record: { value: { at: 1772452800000, who: a, extra: { who: b, ms: [1] } } }
        - record: { text: "{\"at\": 1772452800000, \"who\": \"a\", \"unheard\": 1}" }
      views: [{ at: 2026-03-02T12:00:00Z, who: a, mss: 3 }]
    expect: { out: [{ who: a, count: 5, mean_ms: null }] }
"#;
    let (folder, loaded) = loaded(tests);
    let warnings: Vec<String> = loaded
        .warnings
        .iter()
        .map(|warning| warning.to_string().replace(&format!("{}/", folder.path().display()), ""))
        .collect();
    let told = |field: &str, source: &str| {
        format!("the schema of source {source} has no field at {field}, and the pipeline does not read it")
    };
    let expected = [
        format!("7:47: tests[0].input.clicks[0]: {}; did you mean \"ms\"?", told("mss", "clicks")),
        format!("9:57: tests[0].input.clicks[2]: {}; it has: at, who, ms", told("extra", "clicks")),
        format!("11:51: tests[0].input.views[0]: {}; did you mean \"ms\"?", told("mss", "views")),
    ];
    assert_eq!(warnings, expected.map(|warning| format!("clicks.test.yaml:{warning}")));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command.args(["test", "clicks.test.yaml"]).args(arguments);
        let output = command.current_dir(folder.path()).output().expect("thalweg");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        assert_eq!(output.status.code(), Some(0));
        (text(output.stdout), text(output.stderr))
    };
    let (_, error) = run(&[]);
    let named: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    assert_eq!(error.lines().collect::<Vec<_>>(), named);
    let (out, error) = run(&["--format", "json"]);
    let json: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((json[0]["warnings"].as_array().map(Vec::len), error.as_str()), (Some(3), ""));
}

#[test]
fn a_field_is_known_where_the_schema_reads_it_and_below() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = r#"
pipeline: nested
schemas:
  order:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true, path: meta.at }
      - { name: skus, type: list, of: string, path: "items[].sku.code" }
      - { name: tags, type: list, of: string }
sources:
  orders: { kafka: { topic: orders, brokers: none }, schema: order, event_time: { field: at } }
sinks:
  out: { from: orders, parquet: {} }
"#;
    fs::write(folder.path().join("nested.yaml"), pipeline).expect("a file");
    let tests = r#"
pipeline: nested.yaml
tests:
  - name: nested
    input:
      orders:
        - { meta: { at: 1, by: x }, items: [{ sku: { code: a } }, { sku: { cod: b }, sk: 1 }], tags: [x, y], at: 5 }
    expect: { out: any }
"#;
    let loaded = testing::load_text(tests, &folder.path().join("t.test.yaml"));
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let told: Vec<String> = loaded
        .warnings
        .iter()
        .map(|warning| {
            let place = warning.message.split("no field at ").nth(1).and_then(|rest| rest.split(',').next());
            format!("{} {}", place.expect("a place"), warning.hint.as_deref().unwrap_or("no hint"))
        })
        .collect();
    let expected = [
        "meta.by it has: at",
        "items.sku.cod did you mean \"code\"?",
        "items.sk did you mean \"sku\"?",
        "at it has: meta, items, tags",
    ];
    assert_eq!(told, expected);
}
