//! `thalweg models` as its users meet it: what it prints, what it refuses, and what it leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

fn ran(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thalweg"))
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env("USER", "ann")
        .arg("models")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What a command printed that has to end well.
fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = ran(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn json(folder: &Path, arguments: &[&str]) -> Json {
    let text = good(folder, &[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a command said that has to fail, with its exit status.
fn bad(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = ran(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output.stdout));
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    (output.status.code(), text(&output.stderr))
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

fn onnx(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../operators/models/tests/onnx");
    folder.join(name).display().to_string()
}

/// A registry with three versions of `churn`, of which the second is champion after the first, and one of `other`.
fn registry() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let add = |file: &str, name: &str, more: &[&str]| {
        good(folder.path(), &[&["add", &onnx(file), "--name", name], more].concat())
    };
    let said = add("perceptron.onnx", "churn", &["--metric", "recall=0.5", "--metric", "delay_rows=4"]);
    assert_says(&said, &["churn@1 is registered: onnx, 575 B", "inputs   x f32[", "outputs  "]);
    add("perceptron.onnx", "churn", &["--metric", "recall=0.75", "--metric", "oddity=2", "--note", "of May"]);
    add(
        "perceptron.onnx",
        "churn",
        &["--parent", "2", "--metric", "recall=0.75", "--metric", "delay_rows=2"],
    );
    add("forest.onnx", "other", &[]);
    let said = good(folder.path(), &["promote", "churn@1"]);
    assert_eq!(said, "churn@1 is the champion now; there was none\n");
    let said = good(folder.path(), &["promote", "churn@2", "--note", "finds more", "--by", "bob"]);
    assert_eq!(said, "churn@2 is the champion now; churn@1 was\n");
    folder
}

#[test]
fn what_is_registered_is_listed_and_shown() {
    let folder = registry();
    let folder = folder.path();
    let listed = good(folder, &["ls"]);
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).expect(name).to_owned();
    assert_says(&line("churn"), &[" 2 ", " 3 ", "Z ", "recall 0.75"]);
    assert_says(&line("other"), &["none yet"]);

    let listed = good(folder, &["ls", "churn"]);
    assert_eq!(listed.lines().filter(|line| line.contains("champion")).count(), 1, "{listed}");
    assert_says(&listed, &["ann", "onnx", "recall 0.5", "KiB"]);
    let models = json(folder, &["ls"]);
    assert_eq!((&models[0]["name"], &models[0]["champion"]), (&"churn".into(), &2.into()));
    assert_eq!(models[0]["versions"][1]["card"]["notes"], "of May");
    assert_eq!((&models[1]["name"], &models[1]["champion"]), (&"other".into(), &Json::Null));

    let shown = good(folder, &["show", "churn"]);
    assert_says(
        &shown,
        &[
            "churn@2, the champion",
            "models/churn/2/model.onnx",
            "oddity 2",
            "of May",
            " to 1 by ann",
            "to 2 by bob: finds more",
        ],
    );
    let shown = json(folder, &["show", "churn@latest"]);
    assert_eq!((&shown["card"]["version"], &shown["card"]["parent"]), (&3.into(), &2.into()));
    assert_eq!((&shown["is_champion"], &shown["promotions"][1]["version"]), (&false.into(), &2.into()));
    assert_eq!(shown["card"]["created_by"], "ann");
    // What stands on the card stands in the file.
    let card = fs::read_to_string(folder.join("models/churn/3/card.json")).expect("a card");
    assert_eq!(serde_json::from_str::<Json>(&card).expect("JSON"), shown["card"]);
}

#[test]
fn versions_are_compared() {
    let folder = registry();
    let said = good(folder.path(), &["compare", "churn@1", "churn@latest"]);
    let line = |name: &str| said.lines().find(|line| line.contains(name)).expect(name).to_owned();
    assert_says(&line("recall"), &["↑", "0.5", "0.75", "churn@3"]);
    assert_says(&line("delay_rows"), &["↓", "4", "2", "churn@3"]);
    assert_says(&said, &["churn@1 is better in 0 metrics, churn@3 in 2", "the same data isn't known"]);
    let compared = json(folder.path(), &["compare", "churn", "churn@3"]);
    let metric = |name: &str| {
        let metrics = compared["metrics"].as_array().expect("metrics");
        metrics.iter().find(|metric| metric["metric"] == name).expect(name).clone()
    };
    assert_eq!((&metric("recall")["better"], &metric("recall")["winner"]), (&"higher".into(), &Json::Null));
    assert_eq!((&metric("oddity")["first"], &metric("oddity")["second"]), (&2.0.into(), &Json::Null));
    assert_eq!(metric("delay_rows")["winner"], Json::Null, "the first has none");
}

#[test]
fn a_rollback_makes_the_champion_before_the_champion_again() {
    let folder = registry();
    let folder = folder.path();
    assert_eq!(good(folder, &["promote", "churn@2"]), "churn@2 is the champion already\n");
    assert_eq!(good(folder, &["rollback", "churn"]), "churn@1 is the champion again; churn@2 was\n");
    let (code, said) = bad(folder, &["rollback", "churn"]);
    assert_eq!(code, Some(1));
    assert_says(&said, &["churn@1 was the first champion"]);
    let changed = json(folder, &["promote", "churn@3"]);
    assert_eq!((&changed["before"], &changed["now"]), (&1.into(), &3.into()));
    assert_says(&good(folder, &["show", "churn"]), &["churn@3, the champion", "back to 1 by ann"]);
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let folder = registry();
    let folder = folder.path();
    for (arguments, code, parts) in [
        (&["show", "chrun"] as &[&str], 1, &["no model chrun", "it holds churn, other"] as &[&str]),
        (&["show", "churn@9"], 1, &["no churn@9", "its versions are 1, 2, 3"]),
        (&["show", "other"], 1, &["no champion yet", "thalweg models promote other@1"]),
        (&["show", "churn@v3"], 2, &["churn@3, churn@champion or churn@latest"]),
        (&["ls", "nothing"], 1, &["no model nothing"]),
        (&["ls", "--registry", "nowhere"], 1, &["nowhere", "no such folder", "thalweg models add"]),
        (&["ls", "--registry", "gopher://x"], 1, &["gopher://", "s3://bucket/models"]),
        (&["promote", "churn"], 1, &["churn@latest"]),
        (&["add", "model.bin", "--name", "churn"], 1, &["neither .onnx nor .safetensors"]),
        (
            &["add", &onnx("regressor.onnx"), "--name", "churn"],
            1,
            &["regressor.onnx", "TreeEnsembleRegressor"],
        ),
        (&["add", "missing.onnx", "--name", "churn"], 1, &["can't read missing.onnx"]),
        (&["add", &onnx("perceptron.onnx"), "--name", "Churn"], 1, &["a lower-case letter"]),
        (&["add", &onnx("perceptron.onnx"), "--name", "churn", "--metric", "recall"], 2, &["recall=0.93"]),
        (&["add", &onnx("perceptron.onnx"), "--name", "churn", "--parent", "7"], 1, &["no churn@7"]),
    ] {
        let (status, said) = bad(folder, arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {said}");
        assert_says(&said, parts);
    }
    fs::write(folder.join("model.onnx"), "none").expect("a file");
    assert_says(
        &bad(folder, &["add", "model.onnx", "--name", "churn"]).1,
        &["model.onnx", "not an ONNX model"],
    );
    // None of it has taken a number, or made a folder.
    assert!(!folder.join("models/churn/4").exists() && !folder.join("nowhere").exists());

    let file = folder.join("models/churn/3/model.onnx");
    let mut bytes = fs::read(&file).expect("the file");
    bytes[100] ^= 1;
    fs::write(&file, bytes).expect("the file");
    for arguments in [["show", "churn@3"], ["promote", "churn@3"]] {
        let said = bad(folder, &arguments).1;
        assert_says(
            &said,
            &["models/churn/3/model.onnx is damaged", "its hash is", "thalweg models ls churn"],
        );
    }
    // What others hold is shown all the same.
    fs::write(folder.join("models/churn/1/card.json"), "{").expect("the card");
    assert_says(&good(folder, &["ls", "churn"]), &["models/churn/1/card.json is damaged", "champion"]);
}
