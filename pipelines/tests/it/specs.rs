//! Specs as data: `specs/<name>.yaml` with `<name>.problems` (all that is wrong with it, a line each) or `<name>.explain` (its
//! plan as a tree). With `THALWEG_UPDATE=1` the expectations are written anew, to be looked at before they are kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};
use thalweg::plan::{self, Plan};
use thalweg::spec::{self, Problem};

const FOLDER: &str = "tests/specs";

fn environment(name: &str) -> Option<String> {
    (name == "BROKERS").then(|| "kafka:9092".to_owned())
}

fn specs() -> Vec<PathBuf> {
    let files = std::fs::read_dir(FOLDER).expect("the folder of specs");
    let files = files.map(|file| file.expect("a file").path());
    // Schemas that specs refer to stand in folders of their own.
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|each| each == "yaml")).collect();
    files.sort();
    assert!(files.len() > 30, "only {} specs were found", files.len());
    files
}

fn load(file: &Path) -> Result<Plan, Vec<Problem>> {
    let text = std::fs::read_to_string(file).expect("a spec");
    plan::load(&text, file, &environment)
}

/// Compares with what the file holds, or writes it.
fn check(file: &Path, found: &str, failures: &mut Vec<String>) {
    if std::env::var_os("THALWEG_UPDATE").is_some() {
        std::fs::write(file, found).expect("writing an expectation");
        return;
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    if expected != found {
        failures.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", file.display()));
    }
}

#[test]
fn every_spec_gives_its_problems_or_its_plan() {
    let mut failures = Vec::new();
    let (mut bad, mut good) = (0, 0);
    for file in specs() {
        match load(&file) {
            Err(problems) => {
                assert!(!problems.is_empty(), "{}: refused without a problem", file.display());
                bad += 1;
                let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
                let lines = lines.replace(&format!("{FOLDER}/"), "");
                assert!(!file.with_extension("explain").exists(), "{} was good:\n{lines}", file.display());
                check(&file.with_extension("problems"), &lines, &mut failures);
            }
            Ok(plan) => {
                good += 1;
                assert!(!file.with_extension("problems").exists(), "{} was refused", file.display());
                let warnings: String =
                    plan.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
                let text = format!("{}{}", warnings.replace(&format!("{FOLDER}/"), ""), plan.explain());
                check(&file.with_extension("explain"), &text, &mut failures);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(bad >= 25 && good >= 6, "{bad} bad specs, {good} good ones");
}

#[test]
fn a_problem_shows_its_place_on_a_terminal_and_in_json() {
    let text = "pipeline: p\nsources: {}\nsinks:\n  out: { from: x, jsonl: {}, partitions: 3 }\n";
    let (_, problems) = spec::read(text, Path::new("p.yaml"), &environment, &[]);
    let problem = &problems[0];
    assert_eq!(
        problem.to_string(),
        "p.yaml:4:30: sinks.out.partitions: unknown field; known fields: from, parquet, delta, kafka, jsonl, stdout"
    );
    assert_eq!(
        problem.excerpt().expect("an excerpt"),
        "    4 |   out: { from: x, jsonl: {}, partitions: 3 }\n      |                              ^^^^^^^^^^"
    );
    let json = serde_json::to_value(problem).expect("JSON");
    assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(4), Some(30)));
    assert_eq!(json["step"], "sinks.out.partitions");
}

#[test]
fn nodes_and_edges_of_a_plan_as_mermaid_and_json() {
    let plan = load(Path::new("tests/specs/good_provider_health.yaml")).expect("a good spec");
    let tree = plan.explain();
    let mermaid = tree.mermaid();
    assert!(
        mermaid.starts_with("flowchart LR\n    n0[(\"calls<br/>Kafka provider-requests\")]\n"),
        "{mermaid}"
    );
    assert!(
        mermaid.contains("n0 ==>|\"partial aggregates by provider, model, to 1024 shards\"| n1\n"),
        "{mermaid}"
    );
    let json = serde_json::to_value(&tree).expect("JSON");
    assert_eq!(json["nodes"][1]["kind"], "step");
    assert_eq!(json["nodes"][1]["inputs"], serde_json::json!([0]));
}

fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Mapping(entries) => {
            let key = |key: &Yaml<'_>| match to_json(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            entries.iter().map(|(each, value)| (key(each), to_json(value))).collect::<Map<_, _>>().into()
        }
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::FloatingPoint(number)) => number.into_inner().into(),
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Null) => Value::Null,
        other => panic!("{other:?} in a spec"),
    }
}

/// YAML as a JSON Schema sees it.
pub(crate) fn json_of(text: &str) -> Value {
    to_json(&Yaml::load_from_str(text).expect("YAML")[0])
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&spec::json_schema()).expect("a JSON Schema")
}

#[test]
fn good_specs_and_the_catalogue_fit_the_json_schema() {
    let validator = validator();
    let good = specs().into_iter().filter(|file| load(file).is_ok());
    let catalogue =
        std::fs::read_dir("src/catalogue").expect("the catalogue").map(|file| file.expect("a file").path());
    let is_test = |file: &PathBuf| file.to_string_lossy().ends_with(thalweg::testing::ENDING);
    for file in good.chain(catalogue.filter(|file| !is_test(file))) {
        let text = std::fs::read_to_string(&file).expect("a spec");
        let errors: Vec<String> = validator
            .iter_errors(&json_of(&text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {}", file.display(), errors.join("\n"));
    }
}

/// All fields of the grammar; what stands below the names of things is the users'.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    const NAMES: [&str; 11] = [
        ".schemas",
        ".sources",
        ".steps",
        ".sinks",
        ".select",
        ".by",
        ".properties",
        ".offsets",
        ".offsets.a",
        ".select[]",
        ".by[]",
    ];
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if !NAMES.iter().any(|name| path.ends_with(name)) {
                    found.insert((path.to_owned(), key.clone()));
                }
                fields(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
fn misspelt_fields_are_refused_by_the_reader_and_by_the_json_schema() {
    let text = std::fs::read_to_string("tests/specs/good_grammar.yaml").expect("a spec");
    let validator = validator();
    let mut known = BTreeSet::new();
    fields(&json_of(&text), "", &mut known);
    let keys: BTreeSet<&str> = known.iter().map(|(_, key)| key.as_str()).collect();
    assert!(keys.len() > 40, "the grammar's example uses {} fields", keys.len());
    for key in keys {
        let misspelt = text.replacen(&format!("{key}:"), &format!("{key}x:"), 1);
        assert_ne!(misspelt, text, "{key}");
        let (_, problems) = spec::read(&misspelt, Path::new("p.yaml"), &environment, &[]);
        let said = problems.iter().any(|problem| problem.to_string().contains(&format!("{key}x")));
        assert!(said, "the reader takes {key}x: {problems:?}");
        assert!(!validator.is_valid(&json_of(&misspelt)), "the JSON Schema takes {key}x");
    }
}

#[test]
fn a_plan_is_the_same_each_time() {
    for file in specs() {
        if let (Ok(first), Ok(second)) = (load(&file), load(&file)) {
            assert_eq!(format!("{first:?}"), format!("{second:?}"), "{}", file.display());
        }
    }
}
