//! `thalweg test`: what passes, what fails and how it is said, what is wrong with a test file, what a watermark that is advanced means.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;
use tempfile::TempDir;
use thalweg::testing::{self, Loaded, Painter, TestOptions, TestReport, write_report};

use crate::cases::check_in_all_ways;
use crate::patience::in_time;
use crate::specs::json_of;

mod fields;

const PIPELINE: &str = r#"
pipeline: clicks
schemas:
  click:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: who, type: string, required: true }
      - { name: ms, type: float64 }
sources:
  clicks:
    kafka: { topic: clicks, brokers: "${BROKERS}" }
    schema: click
    event_time: { field: at, lateness: 10s, idle_after: 1s }
  views:
    kafka: { topics: [views, more_views], brokers: "${BROKERS}" }
    schema: click
    event_time: { field: at }
steps:
  both:
    from: [clicks, views]
    where: who <> 'nobody'
  per_minute:
    from: both
    window: { tumbling: 1m }
    by: [who]
    select: { count: count(*), mean_ms: avg(ms) }
sinks:
  out: { from: per_minute, kafka: { topic: out, brokers: "${BROKERS}" } }
"#;

fn loaded(tests: &str) -> (TempDir, Loaded) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("clicks.yaml"), PIPELINE).expect("a file");
    let text = format!("pipeline: clicks.yaml\nenv: {{ BROKERS: none }}\n{}", tests.trim_start_matches('\n'));
    fs::write(folder.path().join("clicks.test.yaml"), text).expect("a file");
    let loaded = testing::load(&folder.path().join("clicks.test.yaml")).expect("a file that can be read");
    (folder, loaded)
}

fn problems(tests: &str) -> Vec<String> {
    let (folder, loaded) = loaded(tests);
    assert!(loaded.tests.is_none());
    let folder = format!("{}/", folder.path().display());
    loaded.problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

fn reports(tests: &str) -> Vec<TestReport> {
    let (_folder, loaded) = loaded(tests);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let file = loaded.tests.unwrap_or_else(|| panic!("{}", problems.join("\n")));
    file.tests.iter().map(|test| testing::run(test, &TestOptions::default())).collect()
}

fn said(tests: &str) -> String {
    let said = |report: &TestReport| write_report(report, Path::new("t"), Painter { colour: false });
    let said: String = reports(tests).iter().map(said).collect();
    // The time that it took.
    let lines =
        said.lines().map(|line| match line.strip_suffix(" s").and_then(|line| line.rsplit_once(' ')) {
            Some((line, _)) => line.to_owned(),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_all_ways(tests: &str) {
    let (_folder, loaded) = loaded(tests);
    check_in_all_ways(&loaded, false);
}

mod catalogue {
    //! The tests that ship with each pipeline of the catalogue.

    use std::path::PathBuf;

    #[track_caller]
    fn check(name: &str) {
        let entry = thalweg::catalogue::find(name).expect("a pipeline of the catalogue");
        let file = PathBuf::from(format!("{name}.test.yaml"));
        super::check_in_all_ways(&thalweg::testing::load_text(entry.tests, &file), false);
    }

    #[test]
    fn provider_health() {
        check("provider_health");
    }

    #[test]
    fn user_sessions() {
        check("user_sessions");
    }

    #[test]
    fn population() {
        check("population");
    }

    #[test]
    fn capacity() {
        check("capacity");
    }

    #[test]
    fn every_pipeline_is_tested() {
        let names = thalweg::catalogue::ENTRIES.map(|entry| entry.name);
        let tested = ["provider_health", "user_sessions", "population", "capacity"];
        assert_eq!(names, tested, "each has a test here");
    }
}

#[test]
fn steps_sources_and_sinks_of_any_kind_can_be_looked_at() {
    check_all_ways(
        r#"
tests:
  - name: all of them
    input:
      clicks:
        - { at: 2026-03-02T12:00:00Z, who: a, ms: 1 }
        - { at: 2026-03-02T12:00:01Z, who: nobody }
      views:
        - record: { topic: more_views, value: { at: 1772452802000, who: a, ms: 2 } }
    expect:
      out: { rows: [{ who: a, count: 2, mean_ms: 1.5, window_start: 2026-03-02T12:00:00Z, window_end: 2026-03-02T12:01:00Z }], exact: true }
      both: [{ who: a, at: 2026-03-02T12:00:00Z }, { who: a, at: 2026-03-02T12:00:02Z }]
      clicks: [{ who: nobody, ms: null }, { who: a }]
      views: [{ ms: 2 }]
"#,
    );
}

#[test]
fn an_advanced_watermark_is_that_of_every_split() {
    check_all_ways(
        r#"
tests:
  - name: windows that end at it fire, and no others
    timeline:
      - input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a }, { at: 2026-03-02T12:01:00Z, who: a }] }
      - expect: { out: [], both: [{ who: a }, { who: a }] }
      - advance watermark to: 2026-03-02T12:00:59.999999Z
      - expect: { out: [] }
      - advance watermark to: 2026-03-02T12:01:00Z
      - expect: { out: [{ window_start: 2026-03-02T12:00:00Z }], both: [] }
      - advance watermark to: 2026-03-02T12:02:00Z
      - expect: { out: [{ window_start: 2026-03-02T12:01:00Z }] }
    expect: { out: [] }
  - name: rows below it are late in every split, whatever the lateness
    timeline:
      - input: { clicks: { 0: [{ at: 2026-03-02T12:00:00Z, who: a }], 1: [] } }
      - advance watermark to: 2026-03-02T12:00:30Z
      - input:
          clicks:
            0: [{ at: 2026-03-02T12:00:29.999Z, who: late }, { at: 2026-03-02T12:00:30Z, who: a }]
            1: [{ at: 2026-03-02T12:00:25Z, who: late }]
          views: [{ at: 2026-03-02T12:00:00Z, who: late }]
    expect:
      out: [{ who: a, count: 2 }]
      _late:
        - { source: clicks, partition: 0, offset: 1 }
        - { source: clicks, partition: 1, offset: 0, value: { at: 1772452825000, who: late } }
        - { source: views, offset: 0 }
  - name: a split that is further on stays there
    timeline:
      - input: { clicks: [{ at: 2026-03-02T12:05:00Z, who: a }] }
      - advance watermark to: 2026-03-02T12:01:00Z
      - input: { clicks: [{ at: 2026-03-02T12:04:49Z, who: late }, { at: 2026-03-02T12:04:50Z, who: a }] }
    expect: { out: [{ window_start: 2026-03-02T12:05:00Z, count: 1 }, { window_start: 2026-03-02T12:04:00Z, count: 1 }], _late: [{ offset: 1 }] }
  - name: rows given before it are read before it
    timeline:
      - input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a }] }
      - advance watermark to: 2026-03-02T13:00:00Z
      - advance watermark to: 2026-03-02T14:00:00Z
      - expect: { out: [{ who: a, count: 1 }] }
"#,
    );
}

#[test]
fn to_advance_the_watermark_is_to_give_every_split_a_row_that_nobody_wants() {
    let timeline = |passes: &dyn Fn(&str, &str) -> String| {
        let (first, second) = (passes("12:01:00", "12:01:10"), passes("12:02:00", "12:02:10"));
        format!(
            r#"
tests:
  - name: two minutes
    timeline:
      - input:
          clicks: {{ 0: [{{ at: 2026-03-02T12:00:00Z, who: a }}], 1: [{{ at: 2026-03-02T12:00:05Z, who: a }}] }}
          views: [{{ at: 2026-03-02T12:00:01Z, who: a }}]
      - {first}
      - expect: {{ out: [{{ window_start: 2026-03-02T12:00:00Z, count: 3 }}], _late: [] }}
      - input:
          clicks:
            0: [{{ at: 2026-03-02T12:00:59.999Z, who: late }}, {{ at: 2026-03-02T12:01:00Z, who: a }}]
            1: [{{ at: 2026-03-02T12:00:30Z, who: late }}]
          views: [{{ at: 2026-03-02T12:00:59Z, who: late }}, {{ at: 2026-03-02T12:01:10Z, who: a }}]
      - expect:
          out: []
          _late: [{{ source: clicks, partition: 0 }}, {{ source: clicks, partition: 1 }}, {{ source: views }}]
      - {second}
      - expect: {{ out: [{{ window_start: 2026-03-02T12:01:00Z, count: 2 }}] }}
"#
        )
    };
    check_all_ways(&timeline(&|to, _| format!("advance watermark to: 2026-03-02T{to}Z")));
    // The lateness of clicks is ten seconds, that of views none.
    check_all_ways(&timeline(&|to, ten_later| {
        let row = |at: &str| format!("[{{ at: 2026-03-02T{at}Z, who: nobody }}]");
        let (clicks, views) = (row(ten_later), row(to));
        format!("input: {{ clicks: {{ 0: {clicks}, 1: {clicks} }}, views: {views} }}")
    }));
}

#[test]
fn a_partition_without_rows_holds_the_windows_open() {
    check_all_ways(
        r#"
tests:
  - name: the other partition is given nothing
    timeline:
      - input:
          clicks: { 0: [{ at: 2026-03-02T12:00:00Z, who: a }, { at: 2026-03-02T12:02:00Z, who: a }], 1: [] }
          views: [{ at: 2026-03-02T12:02:00Z, who: a }]
      - expect: { out: [] }
      - input: { clicks: { 1: [{ at: 2026-03-02T12:01:10Z, who: a }] } }
      - expect: { out: [{ window_start: 2026-03-02T12:00:00Z }] }
"#,
    );
}

#[test]
fn a_failing_test_is_a_readable_diff() {
    let said = said(
        r#"
tests:
  - name: wrong
    input:
      clicks:
        - { at: 2026-03-02T12:00:00Z, who: a, ms: 1 }
        - { at: 2026-03-02T12:00:00Z, who: b, ms: 3 }
        - record: { text: "{", timestamp: 2026-03-02T12:00:00Z }
    expect:
      out:
        - { who: a, count: 2, mean_ms: 1.5, window_start: 2026-03-02T12:00:00Z }
        - { who: c, count: 7 }
        - { who: d, count: 7 }
  - name: right
    input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a, ms: 1 }] }
    expect: { out: [{ mean_ms: 1 }] }
"#,
    );
    let expected = r#"FAIL wrong (t:4)
  at the end, sink out: 1 row differs, 2 rows are missing, 1 row is unexpected
  ~ {who: a, window_start: 2026-03-02T12:00:00Z} line 12
      count    expected 2, came 1  (off by 1)
      mean_ms  expected 1.5, came 1.0  (off by 0.5)
  - {who: c, count: 7} line 13
  - {who: d, count: 7} line 14
  + {window_start: 2026-03-02T12:00:00Z, window_end: 2026-03-02T12:01:00Z, who: b, count: 1, mean_ms: 3.0}
  at the end, rejected rows: 1 row is unexpected
  + {source: clicks, partition: 0, offset: 2, reason: invalid_json, field: null, detail: "#;
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("ok   right (t:15)"), "{said}");
}

#[test]
fn tolerances_and_what_is_not_named() {
    let tests = |tolerance: &str| {
        format!(
            r#"
tests:
  - name: near
    input: {{ clicks: [{{ at: 2026-03-02T12:00:00Z, who: a, ms: 100 }}] }}
    expect: {{ out: {{ rows: [{{ mean_ms: 101 }}], {tolerance} }} }}
"#
        )
    };
    for (tolerance, passes) in [
        ("exact: false", false),
        ("tolerance: 1", true),
        ("tolerance: 0.5", false),
        ("tolerance: 1%", true),
        ("tolerance: 0.9%", false),
        ("tolerance: { mean_ms: 1 }", true),
        ("tolerance: { count: 1 }", false),
    ] {
        assert_eq!(reports(&tests(tolerance))[0].passed(), passes, "{tolerance}");
    }
}

#[test]
fn late_and_rejected_rows_that_nobody_expects_fail() {
    let tests = |expect: &str| {
        format!(
            r#"
tests:
  - name: refused
    input:
      clicks: [{{ at: 2026-03-02T12:00:10Z, who: a }}, {{ at: 2026-03-02T11:59:59Z, who: a }}, {{ who: a }}]
    expect: {{ {expect} }}
"#
        )
    };
    let failed = |expect: &str| -> Vec<String> {
        reports(&tests(expect))[0].failures.iter().map(|failure| failure.stream.clone()).collect()
    };
    assert_eq!(failed("out: [{ count: 1 }]"), ["late rows", "rejected rows"]);
    assert_eq!(failed("_late: any, _rejected: any"), [""; 0]);
    assert_eq!(failed("_late: [{ offset: 1, reason: late, field: at }], _rejected: any"), [""; 0]);
    assert_eq!(failed("_late: any, _rejected: [{ offset: 2, reason: wrong_type }]"), ["rejected rows"]);
    assert_eq!(failed("_late: any, _rejected: [{ offset: 2, reason: missing_field, field: at }]"), [""; 0]);
}

#[test]
fn a_job_that_fails_is_said() {
    let (folder, _) = loaded("tests: []");
    let pipeline = PIPELINE.replace("count: count(*)", "count: 1 / (count(*) - 1)");
    fs::write(folder.path().join("clicks.yaml"), pipeline).expect("a file");
    let tests = "pipeline: clicks.yaml\nenv: { BROKERS: none }\ntests:\n  - name: one row\n    input: { clicks: [{ at: 1, who: a }] }\n    expect: { out: [] }\n";
    let loaded = testing::load_text(tests, &folder.path().join("t.test.yaml"));
    let file = loaded.tests.expect("no problems");
    let report = testing::run(&file.tests[0], &TestOptions::default());
    let error = report.error.expect("an error");
    assert!(error.starts_with("step per_minute: ") && error.contains("nullif"), "{error}");
}

#[test]
fn all_problems_of_a_test_file_at_once() {
    let problems = problems(
        r#"
exakt: true
tolerance: { mean_mss: 1 }
tests:
  - name: names
    input:
      clickz: [{ at: 1, who: a }]
      views: { 0: [record: { topic: vievs, value: 1 }], x: [] }
    expect:
      outt: []
      out: [{ cuont: 1, mean_ms: fast }, { window_start: yesterday }]
      _rejected: [{ reason: mising_field }]
  - name: names
    timeline:
      - input: { clicks: [record: { value: 1, text: a }, record: { value: 1, ofset: 3 }, record: { value: {}, offset: 5 }, record: { value: {}, offset: 5 }] }
      - advance watermark to: 2026-03-02T12:00:00Z
      - advance watermark to: 2026-03-02T11:00:00Z
      - expect: { out: { rows: [{ who: a }], exact: true, tolerance: 5 percent } }
      - advanced: 1
  - name: nothing
"#,
    );
    let expected = [
        "clicks.test.yaml:3:1: exakt: unknown field; did you mean \"exact\"?",
        "clicks.test.yaml:4:14: tolerance.mean_mss: nothing that is compared has a column \"mean_mss\"; did you mean \"mean_ms\"?",
        "clicks.test.yaml:8:7: tests[0].input.clickz: the pipeline reads no source \"clickz\"; did you mean \"clicks\"?",
        "clicks.test.yaml:9:37: tests[0].input.views.0[0]: \"vievs\" is not one of the source's topics; did you mean \"views\"?",
        "clicks.test.yaml:9:57: tests[0].input.views.x: \"x\" is not the number of a partition; write a list of rows, or lists by partition: { 0: [rows], 1: [rows] }",
        "clicks.test.yaml:11:7: tests[0].expect.outt: the pipeline has no sink, step or source \"outt\"; did you mean \"out\"?",
        "clicks.test.yaml:12:13: tests[0].expect.out[0]: not all columns are named, and the test is exact: window_start, window_end, who; name them, or leave out exact",
        "clicks.test.yaml:12:15: tests[0].expect.out[0]: sink out has no column \"cuont\"; did you mean \"count\"?",
        "clicks.test.yaml:12:34: tests[0].expect.out[0].mean_ms: \"fast\" is no float64; write a number, NaN, inf or -inf",
        "clicks.test.yaml:12:42: tests[0].expect.out[1]: not all columns are named, and the test is exact: window_end, who, count, mean_ms; name them, or leave out exact",
        "clicks.test.yaml:12:58: tests[0].expect.out[1].window_start: \"yesterday\" is no timestamp; write it as in RFC 3339 (2026-01-01T00:00:00Z), or as microseconds since the epoch",
        "clicks.test.yaml:13:29: tests[0].expect._rejected[0].reason: there is no reason \"mising_field\"; did you mean \"missing_field\"?",
        "clicks.test.yaml:14:11: tests[1].name: the name \"names\" is given twice; line 6 has a test of that name; give one of the two another",
    ];
    for (found, expected) in problems.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    let rest = problems[expected.len()..].join("\n");
    for part in [
        "several payloads",
        "ofset: unknown field; did you mean \"offset\"?",
        "the offset 5 is behind the record before; offsets ascend in a partition: write 6 or more",
        "the watermark never goes back; it is at 2026-03-02T12:00:00Z already",
        "\"5 percent\" is not a tolerance",
        "not all columns are named, and the test is exact: window_start, window_end, count, mean_ms",
        "unknown field; known fields: input, advance watermark to, expect",
        "nothing happens in the test",
        "nothing is expected",
    ] {
        assert!(rest.contains(part), "{part} is not in\n{rest}");
    }
    assert_eq!(rest.lines().count(), 9, "{rest}");
}

#[test]
fn what_is_no_yaml_hides_nothing_else_of_a_test_file() {
    let found = problems(
        r#"
exact: true
tests:
  - name: brackets
    input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a }, views: [] }
    expect: { outt: []
  - name: "texts
    input:
	  clicks: [{ at: 1, who: a }]
    expect:
      out:
        - { cuont: 1, window_start: x: y }
        - { count: one }
        - { who: a, who: b, count: two, mean_mss: fast }
  - name: again
    inputt: { clickz: [] }
    input: { clicks: [record: { value: 1, timestamp: soon }] }
    expect: { out: any }
    expect: { nowhere: any }
    exact: maybe
"#,
    );
    let expected = [
        "6:22: tests[0].input: not valid YAML: a \"[\" that is never closed",
        "7:13: tests[0].expect: not valid YAML: a \"{\" that is never closed",
        "7:15: tests[0].expect.outt: the pipeline has no sink, step or source \"outt\"",
        "8:11: tests[1]: not valid YAML: a text in \" without its end",
        "10:1: tests[1].input.clicks: not valid YAML: a line is indented with a tab",
        "13:38: tests[1].expect.out[0]: not valid YAML: ",
        "14:11: tests[1].expect.out[1]: not all columns are named",
        "14:20: tests[1].expect.out[1].count: \"one\" is no int64",
        "15:11: tests[1].expect.out[2]: not all columns are named, and the test is exact: window_start, window_end; ",
        "15:21: tests[1].expect.out[2].who: given twice",
        "15:36: tests[1].expect.out[2].count: \"two\" is no int64",
        "15:41: tests[1].expect.out[2]: sink out has no column \"mean_mss\"",
        "17:5: tests[2].inputt: unknown field",
        "17:15: tests[2].input.clickz: the pipeline reads no source \"clickz\"",
        "18:54: tests[2].input.clicks[0].record.timestamp: \"soon\" is not a timestamp",
        "20:5: tests[2].expect: given twice",
        "20:15: tests[2].expect.nowhere: the pipeline has no sink, step or source \"nowhere\"",
        "21:12: tests[2].exact: unknown value \"maybe\"",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("clicks.test.yaml:{expected}")), "{found}\nis not {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
}

#[test]
fn a_pipeline_with_problems_and_one_that_is_not_there() {
    let (folder, _) = loaded("tests: []");
    let load = |text: &str| {
        let loaded = testing::load_text(text, &folder.path().join("t.test.yaml"));
        assert!(loaded.tests.is_none());
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        problems.join("\n").replace(&format!("{}/", folder.path().display()), "")
    };
    let found = load("pipeline: clicks.yaml\ntests: []");
    let hint = "a test sees no environment but its own: give it under env: in t.test.yaml";
    assert!(found.contains("the environment variable BROKERS is not set") && found.contains(hint), "{found}");
    assert!(found.starts_with("clicks.yaml:11:"), "{found}");
    let found = load("pipeline: provider_heath\ntests: []");
    assert!(found.ends_with("did you mean \"provider_health\"?"), "{found}");
}

#[test]
fn the_command_says_it_in_text_json_and_junit_and_by_its_status() {
    let (folder, _) = loaded(
        r#"
tests:
  - name: it passes
    input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a }] }
    expect: { out: [{ count: 1 }] }
  - name: it <fails>
    input: { clicks: [{ at: 2026-03-02T12:00:00Z, who: a }] }
    expect: { out: [{ count: 2 }] }
"#,
    );
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        let output =
            command.arg("test").args(arguments).current_dir(folder.path()).output().expect("thalweg");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&["clicks.test.yaml", "--junit", "report.xml"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("ok   it passes (clicks.test.yaml:4)") && out.contains("1 passed, 1 failed"),
        "{out}"
    );
    assert!(!out.contains('\x1b'), "colour is for terminals");
    let xml = fs::read_to_string(folder.path().join("report.xml")).expect("a report");
    for part in [
        "<testsuite name=\"clicks.test.yaml\" tests=\"2\" skipped=\"0\" errors=\"0\" failures=\"1\"",
        "<testcase name=\"it passes\" classname=\"clicks.test.yaml\"",
        "<testcase name=\"it &lt;fails&gt;\"",
        "expected 2, came 1",
    ] {
        assert!(xml.contains(part), "{part} is not in {xml}");
    }
    let (code, out, _) = run(&[".", "--filter", "passes", "--workers", "3", "--format", "json"]);
    let json: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json[0]["tests"][0]["passed"]), (Some(0), &Json::Bool(true)), "{out}");
    assert_eq!(json[0]["tests"].as_array().map(Vec::len), Some(1));
    let (code, _, error) = run(&["clicks.test.yaml", "--filter", "unheard of"]);
    assert_eq!((code, error.contains("no test's name contains")), (Some(2), true), "{error}");
    fs::write(folder.path().join("bad.test.yaml"), "pipeline: clicks.yaml\nfoo: 1\n").expect("a file");
    let (code, _, error) = run(&["bad.test.yaml"]);
    assert_eq!((code, error.contains("bad.test.yaml:2:1: foo: unknown field")), (Some(2), true), "{error}");
    let (code, out, error) = run(&["clicks.test.yaml", "nobody.test.yaml"]);
    assert_eq!((code, error.contains("there is no file nobody.test.yaml")), (Some(2), true), "{error}");
    assert!(out.is_empty(), "nothing is run: {out}");
    let (code, _, error) = run(&["populaton"]);
    assert_eq!((code, error.contains("did you mean \"population\"?")), (Some(2), true), "{error}");
    fs::create_dir(folder.path().join("none")).expect("a folder");
    let (code, _, error) = run(&["none"]);
    assert_eq!((code, error.contains("holds no file whose name ends in")), (Some(2), true), "{error}");
    assert_eq!(run(&["population"]).0, Some(0));
    let (code, example, _) = run(&["--example"]);
    assert_eq!((code, example.contains("pipeline: provider_health")), (Some(0), true));
}

#[test]
fn the_json_schema_takes_what_the_reader_takes() {
    let schema = thalweg::spec::test_file::test_json_schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let cases = testing::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).expect("cases");
    let cases = cases.iter().map(|file| fs::read_to_string(file).expect("a file"));
    let shipped = thalweg::catalogue::ENTRIES.iter().map(|entry| entry.tests.to_owned());
    let mut count = 0;
    for text in cases.chain(shipped) {
        count += 1;
        let file = json_of(&text);
        if let Err(error) = validator.validate(&file) {
            panic!("{error} at {}\n{text}", error.instance_path());
        }
    }
    assert!(count > 70, "{count}");
    for (right, wrong) in [
        ("tests:", "test:"),
        ("exact: true", "exact: 1"),
        ("advance watermark to", "advance"),
        ("- name: ", "- nam: "),
    ] {
        let text = thalweg::catalogue::ENTRIES[0].tests;
        assert!(text.contains(right), "{right}");
        assert!(!validator.is_valid(&json_of(&text.replace(right, wrong))), "{wrong}");
    }
}

#[test]
fn watched_tests_run_again_when_the_test_or_its_pipeline_changes() {
    let tests = "tests:\n  - name: one\n    input: { clicks: [{ at: 1, who: a }] }\n    expect: { out: [{ count: 1 }] }\n";
    let (folder, _) = loaded(tests);
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(["test", "clicks.test.yaml", "--watch"]).current_dir(folder.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("thalweg");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut ends_of_runs = move || loop {
        let line = lines.next().expect("it goes on").expect("a line");
        if line.contains(" passed") {
            return line;
        }
    };
    let (file, pipeline) = (folder.path().join("clicks.test.yaml"), folder.path().join("clicks.yaml"));
    let seen = in_time(move || {
        let first = ends_of_runs();
        let test = fs::read_to_string(&file).expect("a file");
        fs::write(&file, test.replace("count: 1", "count: 12")).expect("a file");
        let second = ends_of_runs();
        fs::write(&pipeline, PIPELINE.replace("count: count(*)", "count: 12 * count(*)")).expect("a file");
        [first, second, ends_of_runs()]
    });
    // Ctrl-C ends it in good order.
    kill(Pid::from_raw(child.id().try_into().expect("a number")), Signal::SIGINT).expect("it runs");
    assert_eq!(in_time(move || child.wait().expect("its end")).code(), Some(0));
    let seen = seen.map(|line| line.split(';').next().unwrap_or_default().to_owned());
    assert_eq!(seen, ["1 passed", "0 passed, 1 failed", "1 passed"]);
}
