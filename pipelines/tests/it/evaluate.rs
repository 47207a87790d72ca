//! `thalweg evaluate`, as its users meet it: on series whose incidents are planted, on files that are not as they have to be, and on what a
//! pipeline has written.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use thalweg::run::RunOptions;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_schemas::time::format_rfc3339;
use thalweg_series::synthetic::{Incident, IncidentKind, Kind, Noise, Recipe, Series, spread};

use crate::support::{job, plan};

const MINUTE_US: i64 = 60_000_000;
const DAY_ROWS: usize = 288;

fn evaluate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.arg("evaluate").args(arguments).current_dir(folder).env_remove("RUST_LOG").stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn judged(folder: &Path, arguments: &[&str]) -> Json {
    let output = evaluate(folder, &[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Nine days of five minutes each, with what is planted.
fn series(seed: u64, incidents: &[Incident]) -> Series {
    let kind = Kind::Season { noise: Noise::Gaussian, weekly: false };
    let recipe = Recipe { kind, rows: 9 * DAY_ROWS, interval_us: 5 * MINUTE_US, seed };
    let mut series = recipe.generate();
    incidents.iter().for_each(|incident| series.plant(*incident));
    series
}

fn write(folder: &Path, name: &str, series: &Series) {
    let labels = series.labels();
    let mut text = "time,value,label\n".to_owned();
    for (row, value) in series.values.iter().enumerate() {
        let seconds = series.time_us(row) / 1_000_000;
        writeln!(text, "{seconds},{value},{}", u8::from(labels[row])).expect("text");
    }
    fs::write(folder.join(name), text).expect("a file");
}

#[test]
fn planted_incidents_are_judged_and_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("labelled")).expect("a folder");
    for seed in 0..3 {
        let incidents =
            spread(&[IncidentKind::Spike], 4, 5 * DAY_ROWS..9 * DAY_ROWS, 5 * MINUTE_US, (40.0, 5.0), seed);
        write(&folder.path().join("labelled"), &format!("s{seed}.csv"), &series(seed, &incidents));
    }
    fs::write(folder.path().join("labelled/notes.txt"), "no series").expect("a file");
    let arguments = ["labelled", "--season", "1d", "--pictures", "pictures", "--csv", "scores"];
    let report = judged(folder.path(), &arguments);
    assert_eq!(report["kind"], "detection");
    let all = report["series"].as_array().expect("series");
    let names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["s0", "s1", "s2"]);
    assert_eq!(
        (&all[0]["rows"], &all[0]["incidents"], &all[0]["interval_s"]),
        (&2592.into(), &4.into(), &300.0.into())
    );
    // Forty standard deviations nobody overlooks.
    let own = &report["own_alarms"];
    assert_eq!((&own["incidents"], &own["found"], &own["recall"]), (&12.into(), &12.into(), &1.0.into()));
    assert_eq!(own["delay_s_median"], 0.0);
    let mean = report["mean"]["vus_pr"].as_f64().expect("a mean");
    let labelled = report["mean"]["labelled_share"].as_f64().expect("a mean");
    assert!(mean > 10.0 * labelled && mean <= 1.0, "{mean}, {labelled}");
    let profiles: Vec<&str> =
        report["nab"].as_array().expect("scores").iter().filter_map(|one| one["profile"].as_str()).collect();
    assert_eq!(profiles, ["standard", "reward_low_FP_rate", "reward_low_FN_rate"]);

    let picture = fs::read_to_string(folder.path().join("pictures/s1.svg")).expect("a picture");
    assert!(picture.starts_with("<svg ") && picture.contains("4 of 4 incidents found"), "{picture}");
    let rows = fs::read_to_string(folder.path().join("scores/s1.csv")).expect("rows");
    assert_eq!(rows.lines().count(), 2593);
    let labelled = rows.lines().filter(|row| row.split(',').nth(2) == Some("1"));
    assert!(
        labelled.clone().count() == 4 && labelled.clone().all(|row| row.split(',').nth(5) == Some("1")),
        "{rows}"
    );

    let again = judged(folder.path(), &arguments);
    assert_eq!(report, again);
    let table = said(&evaluate(folder.path(), &["labelled", "--season", "1d"]));
    assert!(table.contains("12 of 12 incidents found") && table.contains("mean, or all, of 3"), "{table}");
    assert!(!table.contains('\x1b'), "no colours where there is no terminal: {table}");
}

#[test]
fn a_mean_below_what_is_asked_for_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "a.csv",
        &series(1, &[Incident { kind: IncidentKind::Spike, size: 40.0, from: 2000, to: 2001 }]),
    );
    write(folder.path(), "calm.csv", &series(2, &[]));
    let status = |files: &[&str], least: &str| {
        let output = evaluate(folder.path(), &[files, &["--fail-below", least]].concat());
        (output.status.code(), said(&output))
    };
    assert_eq!(status(&["a.csv"], "0.0").0, Some(0));
    let (code, text) = status(&["a.csv"], "1.01");
    assert!(code == Some(1) && text.contains("--fail-below asks for 1.01"), "{text}");
    let (code, text) = status(&["calm.csv"], "0.0");
    assert!(code == Some(1) && text.contains("the mean VUS-PR is –"), "{text}");
}

#[test]
fn what_is_wrong_with_files_is_told_of_all_of_them_with_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write("good.csv", "value,label\n1,0\n2,1\n");
    write("text.csv", "value,label\n1,0\nmuch,1\n");
    write("names.csv", "1,0\n2,1\n");
    let output = evaluate(folder.path(), &["."]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("names.csv:1: it has no names but numbers; begin the file with names: value,label"),
        "{text}"
    );
    assert!(
        text.contains("text.csv:3: \"much\" in column value is no number; write one such as 12.5"),
        "{text}"
    );
    assert!(output.stdout.is_empty());
    for (arguments, expected) in [
        (&["good.csv", "--method", "automatic"][..], "choose from: auto, ewma"),
        (&["good.csv", "--method", "season"][..], "did you mean \"seasonal\"?"),
        (&["good.csv", "--season", "1"][..], "write a number with a unit"),
        (&["good.csv", "--season", "1m"][..], "--season: must be at least two rows long"),
        (&["nowhere.csv"][..], "can't read nowhere.csv"),
        (&["--forecast", "good.csv"][..], "--horizon"),
        (&["--forecast", "--horizon", "1s", "good.csv"][..], "--horizon 1s is shorter than a row"),
        (&[][..], "FILE_OR_DIR"),
    ] {
        let output = evaluate(folder.path(), arguments);
        let text = said(&output);
        assert!(!output.status.success() && text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn forecasts_are_judged_beside_naive_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.csv", &series(4, &[]));
    let arguments = ["--forecast", "--horizon", "1h,3h", "--season", "1d", "--pictures", "pictures", "a.csv"];
    let report = judged(folder.path(), &arguments);
    assert_eq!(report["kind"], "forecast");
    let all = report["series"].as_array().expect("series");
    assert_eq!(all.len(), 2);
    assert_eq!((&all[0]["horizon_s"], &all[1]["horizon_s"]), (&3600.0.into(), &10800.0.into()));
    let counted = |at: usize| all[at]["compared"].as_u64().zip(all[at]["silent"].as_u64()).expect("counts");
    assert_eq!(counted(0).0 + counted(0).1, 9 * DAY_ROWS as u64 - 12);
    assert_eq!(counted(1).0 + counted(1).1, 9 * DAY_ROWS as u64 - 36);
    // Three hours ahead a daily season tells more than the latest value.
    let naive = all[1]["mase_naive"].as_f64().expect("a measure");
    assert!((0.0..1.0).contains(&naive), "{report}");
    let coverage = report["mean"][0]["coverage"].as_f64().expect("a measure");
    assert!((0.8..=1.0).contains(&coverage), "{report}");
    assert!(folder.path().join("pictures/a.svg").exists());
}

const PIPELINE: &str = "
pipeline: watch
schemas:
  call:
    fields:
      - { name: at, type: timestamp, encoding: rfc3339, required: true }
      - { name: provider, type: string, required: true }
      - { name: latency_ms, type: float64, required: true }
sources:
  calls:
    archive: { path: \"${ARCHIVES}/calls\" }
    schema: call
    event_time: { field: at, lateness: 10s }
steps:
  per_minute:
    from: calls
    window: { tumbling: 1m }
    by: [provider]
    select: { latency_ms: max(latency_ms) }
  watched:
    from: per_minute
    detect: { on: [latency_ms], by: [provider] }
sinks:
  watched: { from: watched, parquet: {} }
";

#[test]
fn outputs_of_a_pipeline_are_judged_by_known_incidents() {
    const BEGIN_US: i64 = 1_772_452_800_000_000;
    const MINUTES: i64 = 900;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let topic = path.join("archives/calls");
    let mut writer = ArchiveWriter::new(topic, ArchiveOptions::default()).expect("an archive");
    for minute in 0..MINUTES {
        for (provider, name) in ["a", "b"].into_iter().enumerate() {
            let time_us = BEGIN_US + minute * MINUTE_US;
            // Provider a is slow for five minutes, far beyond what it ever was.
            let slow = provider == 0 && (800..805).contains(&minute);
            let latency_ms = if slow { 5000.0 } else { 100.0 + (minute * 7919 % 17) as f64 };
            let payload = format!(
                "{{\"at\": \"{}\", \"provider\": \"{name}\", \"latency_ms\": {latency_ms}}}",
                format_rfc3339(time_us)
            );
            writer
                .push(0, 2 * minute + provider as i64, time_us / 1000, None, Some(payload.as_bytes()), &[])
                .expect("a record");
        }
    }
    writer.finish().expect("the archive");
    let output = path.join("output");
    job(&plan(PIPELINE, &path.join("archives")), &RunOptions::new(1, &output));

    let minute = |minute: i64| format_rfc3339(BEGIN_US + minute * MINUTE_US);
    let incidents = format!(
        "- {{ name: slow, from: {}, to: {}, provider: a }}\n- {{ name: never, from: {}, to: {}, provider: b }}\n",
        minute(800),
        minute(805),
        minute(810),
        minute(820)
    );
    fs::write(path.join("incidents.yaml"), incidents).expect("a file");
    let data = output.display().to_string();
    let base = ["--data", &data, "--table", "watched", "--incidents", "incidents.yaml"];
    let report = judged(path, &[&base[..], &["--key", "provider"]].concat());
    assert_eq!(report["kind"], "incidents");
    let slow = &report["incidents"][0];
    assert_eq!((&slow["name"], &slow["rows"], &slow["delay_s"]), (&"slow".into(), &5.into(), &60.0.into()));
    assert_eq!(slow["found"], minute(801));
    assert_eq!(slow["of"], serde_json::json!({ "provider": "a" }));
    assert_eq!(report["incidents"][1]["found"], Json::Null);
    assert_eq!((&report["all"]["incidents"], &report["all"]["recall"]), (&2.into(), &0.5.into()));
    let rows: Vec<&Json> =
        report["series"].as_array().expect("series").iter().map(|one| &one["rows"]).collect();
    assert_eq!(rows, [&Json::from(MINUTES), &Json::from(MINUTES)]);
    let table = said(&evaluate(path, &[&base[..], &["--key", "provider"]].concat()));
    assert!(table.contains("1 of 2 incidents found, half of them within 1m"), "{table}");

    let wrong = |arguments: &[&str]| said(&evaluate(path, arguments));
    let text = wrong(&[&base[..], &["--key", "provder"]].concat());
    assert!(text.contains("no column provder; did you mean \"provider\"?"), "{text}");
    let text =
        wrong(&["--data", &data, "--table", "watchd", "--incidents", "incidents.yaml", "--key", "provider"]);
    assert!(text.contains("did you mean watched?"), "{text}");
}
