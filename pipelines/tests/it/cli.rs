//! The binary as its users meet it: what it prints, where, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::published;

/// How long a condition may take to come true, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn thalweg(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.current_dir(folder).env_remove("RUST_LOG").env_remove("KAFKA_BROKERS");
    command
}

fn ran(folder: &Path, arguments: &[&str]) -> Output {
    thalweg(folder).args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// What a command printed that has to end well.
fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = ran(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

const BAD: &str = "\
pipeline: bad
sources:
  calls:
    kafka: { topic: provider-requests, brokers: nowhere:1 }
    schema: provider_requst
    event_time: { field: started_at, latenes: 30s }
steps:
  per_minute:
    from: cals
    window: { tumbling: 1 minute }
    select: { requests: count(*) }
sinks:
  out: { from: per_minute, parquet: {} }
";

#[test]
fn validate_says_everything_that_is_wrong_and_ends_with_2() {
    let folder = folder();
    fs::write(folder.path().join("bad.yaml"), BAD).expect("a spec");
    let output = ran(folder.path(), &["validate", "bad.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    for (place, hint) in [
        ("bad.yaml:5:", "provider_request"),
        ("bad.yaml:6:", "lateness"),
        ("bad.yaml:9:", "calls"),
        ("bad.yaml:10:", "such as 30s, 5m"),
    ] {
        let said = errors.lines().any(|line| line.contains(place) && line.contains(hint));
        assert!(said, "nothing of {place} with {hint}: {errors}");
    }
    assert_eq!(text(&output.stdout), "bad.yaml: 4 problems\n");

    let output = ran(folder.path(), &["validate", "--format", "json", "bad.yaml", "provider_health"]);
    assert_eq!(output.status.code(), Some(2));
    let reports = json(&text(&output.stdout));
    assert_eq!((&reports[0]["good"], &reports[1]["good"]), (&Json::Bool(false), &Json::Bool(true)));
    let problems = reports[0]["problems"].as_array().expect("problems");
    let lines: Vec<Option<u64>> = problems.iter().map(|problem| problem["line"].as_u64()).collect();
    assert_eq!(lines, [Some(5), Some(6), Some(9), Some(10)]);

    for command in ["run", "explain"] {
        let output = ran(folder.path(), &[command, "bad.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(text(&output.stderr), errors, "{command} says the same");
    }
    assert!(good(folder.path(), &["validate", "user_sessions"]).contains("good"));
    let output = ran(folder.path(), &["validate", "missing.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("provider_health"), "it names what there is");
}

#[test]
fn explain_has_three_formats() {
    let folder = folder();
    let tree = good(folder.path(), &["explain", "provider_health"]);
    assert!(tree.starts_with("pipeline provider_health\n") && tree.contains("exchange"), "{tree}");
    let mermaid = good(folder.path(), &["explain", "provider_health", "--format", "mermaid"]);
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains("==>"), "{mermaid}");
    let nodes = json(&good(folder.path(), &["explain", "provider_health", "--format", "json"]));
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(9), "a source, five steps, three sinks");
}

#[test]
fn generate_run_and_sql_follow_each_other() {
    let folder = folder();
    let generate = ["generate", "--to", "archives", "--events", "60000", "--minutes", "20", "--seed", "5"];
    let said = good(folder.path(), &generate);
    assert!(said.starts_with("60,000 events written in archives"), "{said}");
    assert!(said.contains("planted provider_outage"), "{said}");
    assert!(good(folder.path(), &generate).contains("were there already"));

    let run = ["run", "provider_health", "--archives", "archives", "--workers", "2", "--format", "json"];
    let summary = json(&good(folder.path(), &run));
    let source = &summary["sources"][0];
    let count = |name: &str| source[name].as_u64().expect("a count");
    assert_eq!(count("read"), 19_200);
    assert_eq!(count("read"), count("accepted") + count("late") + count("rejected"));
    assert_eq!((&summary["workers"], &summary["stopped"]), (&Json::from(2), &Json::Bool(false)));
    assert!(summary["peak_memory_bytes"].as_u64() > Some(1 << 20));

    let sql = "select sum(requests) as requests, count(*) as n from provider_health";
    let rows = json(&good(folder.path(), &["sql", "--format", "json", sql]));
    let sink =
        summary["sinks"].as_array().expect("sinks").iter().find(|sink| sink["name"] == "provider_health");
    assert_eq!(rows["n"], sink.expect("the sink")["rows"]);
    let refused = "select count(*) as n from provider_health._rejected";
    let rows = json(&good(folder.path(), &["sql", "--data", "output", "--format", "json", refused]));
    assert_eq!(rows["n"].as_u64(), Some(count("rejected")));
    let csv = good(folder.path(), &["sql", "--format", "csv", "select 1 as a, 'x,y' as b"]);
    assert_eq!(csv, "a,b\n1,\"x,y\"\n");
    let wrong = ran(folder.path(), &["sql", "select nothing from provider_health"]);
    assert_eq!(wrong.status.code(), Some(1));

    // All is read now.
    let output = ran(folder.path(), &run);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(said.contains("--fresh") && said.contains("provider_health has read all its input"), "{said}");
    let again = json(&good(folder.path(), &[&run[..], &["--fresh"]].concat()));
    assert_eq!(again["sources"], summary["sources"]);
    let printed = good(
        folder.path(),
        &["run", "provider_health", "--archives", "archives", "--output", "elsewhere", "--workers", "1"],
    );
    assert!(printed.starts_with("provider_health: done in ") && printed.contains("19,200"), "{printed}");
    assert!(printed.contains("thalweg sql --data elsewhere"), "{printed}");
}

#[test]
fn wrong_use_is_refused_with_a_hint() {
    let folder = folder();
    for (arguments, code, hint) in [
        (&["run", "provider_health", "--archives", "nowhere"][..], 1, "nowhere"),
        (&["run", "provider_health", "--archives", ".", "--workers", "0"], 1, "choose from 1 to 256"),
        (&["run"], 2, "PIPELINE"),
        (&["generate", "--events", "5"], 2, "--to"),
        (&["generate", "--to", "a", "--topics", "tool-calls"], 2, "provider-requests"),
        (&["generate", "--to", "a", "--dirty", "7"], 1, "from 0 to 1"),
        (&["catalogue", "nothing"], 1, "thalweg catalogue"),
        (&["sql", "--data", "nowhere", "select 1"], 1, "nowhere"),
        (&["rum"], 2, "run"),
    ] {
        let output = ran(folder.path(), arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(hint), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty() && !error.contains("panicked"), "{arguments:?}: {error}");
    }
}

#[test]
fn schema_catalogue_and_completions_are_printed() {
    let folder = folder();
    let schema = json(&good(folder.path(), &["schema"]));
    assert!(jsonschema::validator_for(&schema).is_ok());
    assert!(schema["properties"]["sources"].is_object(), "{schema}");

    let list = good(folder.path(), &["catalogue"]);
    for entry in thalweg::catalogue::ENTRIES {
        assert!(list.lines().any(|line| line.starts_with(entry.name) && line.len() > 40), "{list}");
        assert_eq!(good(folder.path(), &["catalogue", entry.name]), entry.text);
    }
    let completions = good(folder.path(), &["completions", "bash"]);
    assert!(completions.contains("complete -F") && completions.contains("--fresh"));
}

#[test]
fn every_help_has_examples() {
    let folder = folder();
    let top = good(folder.path(), &["--help"]);
    let commands: Vec<&str> = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A description may go on in the next line, further in.
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 9, "{top}");
    assert!(top.contains("Examples:"), "{top}");
    for command in commands {
        let help = good(folder.path(), &[command, "--help"]);
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(help.contains(&format!("thalweg {command}")), "{command}: {help}");
    }
}

/// Every row goes to a file and to standard output: as long as nobody reads the latter, the job waits.
const WAITING: &str = r#"
pipeline: waiting
sources:
  calls:
    archive: { path: archives/provider-requests }
    schema: provider_request
    event_time: { field: started_at, lateness: 1h }
steps:
  rows:
    from: calls
    select: [request_id, provider, model, latency_ms, { offset: _offset }]
  per_day:
    from: calls
    window: { tumbling: 1d }
    select: { calls: count(*) }
sinks:
  rows: { from: rows, parquet: { target_file_size: 64KiB } }
  shown: { from: rows, stdout: {} }
  per_day: { from: per_day, parquet: {} }
"#;

#[test]
fn an_interrupted_run_closes_its_files_and_ends_with_0() {
    const EVENTS: u64 = 200_000;
    let folder = folder();
    let topics = ["--topics", "provider-requests", "--partitions", "3", "--dirty", "0"];
    // The topic's share of all events is 32 %.
    let events = (EVENTS * 100 / 32).to_string();
    good(folder.path(), &[&["generate", "--to", "archives", "--events", &events][..], &topics].concat());
    fs::write(folder.path().join("waiting.yaml"), WAITING).expect("a spec");
    let mut child = thalweg(folder.path())
        .args(["run", "waiting.yaml", "--workers", "1", "--output", "output", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");

    // Readers of their own, so that waiting for either has a limit. Standard output is read on only when told so.
    let (lines_to, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines_to.send(line)));
    let (shown_to, shown) = channel();
    let (read_on, may_read_on) = channel::<()>();
    let mut stdout = BufReader::new(child.stdout.take().expect("its standard output"));
    std::thread::spawn(move || {
        let mut first = String::new();
        let read = stdout.read_line(&mut first);
        let _ = shown_to.send(first);
        let _ = may_read_on.recv();
        let mut rest = String::new();
        let _ = read.and_then(|_| stdout.read_to_string(&mut rest));
        let _ = shown_to.send(rest);
    });

    let outcome = (|| {
        let first = shown.recv_timeout(LIMIT).map_err(|_| "no row was shown".to_owned())?;
        // It runs, and can't end: far more rows are to come than fit the pipe.
        let interrupt = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id())).status();
        interrupt.map_err(|error| format!("no signal can be sent: {error}"))?;
        loop {
            let line = lines.recv_timeout(LIMIT).map_err(|_| "the signal was not heard".to_owned())?;
            if line.contains("stopping") {
                break;
            }
        }
        let _ = read_on.send(());
        let rest = shown.recv_timeout(LIMIT).map_err(|_| "it did not end".to_owned())?;
        Ok::<_, String>(first + &rest)
    })();
    let shown = outcome.unwrap_or_else(|error| {
        let _ = child.kill();
        panic!("{error}")
    });
    let status = child.wait().expect("it has ended");
    assert_eq!(status.code(), Some(0), "{:?}", lines.iter().collect::<Vec<_>>());

    let (rows, summary) = shown.split_at(shown.find("\n{\n").expect("a summary behind the rows") + 1);
    let summary = json(summary);
    let source = &summary["sources"][0];
    let read = source["read"].as_u64().expect("a count");
    assert_eq!(summary["stopped"], true);
    assert!(read > 0 && read < EVENTS, "{read} rows were read of {EVENTS}: the sinks hold the source back");
    assert_eq!(source["accepted"], read);
    assert_eq!(summary["windows_open"], 1, "the day is not over");
    assert_eq!(rows.lines().count() as u64, read, "what was read is shown");
    assert!(rows.lines().all(|row| json(row)["request_id"].is_string()));
    let sql = "select count(*) as n, count(distinct request_id) as ids from rows";
    let written = json(&good(folder.path(), &["sql", "--data", "output", "--format", "json", sql]));
    assert_eq!((written["n"].as_u64(), written["ids"].as_u64()), (Some(read), Some(read)));
    for path in published(&folder.path().join("output")) {
        assert!(path.extension().is_some_and(|of| of == "parquet"), "{} is not closed", path.display());
        assert!(
            !path.starts_with(folder.path().join("output/per_day")),
            "a window that is not over was written"
        );
    }
}
