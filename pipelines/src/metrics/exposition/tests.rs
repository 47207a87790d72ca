//! The text is what Prometheus reads, and `METRICS.md` lists what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use super::*;
use crate::plan;
use crate::run::{RunOptions, prepare};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md");

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

const PIPELINE_OF_TESTS: &str = "
pipeline: tested
schemas:
  call:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: user, type: string, required: true }
sources:
  calls:
    archive: { path: \"${ARCHIVE}\" }
    schema: call
    event_time: { field: at }
steps:
  known: { from: calls, where: user <> 'nobody' }
  per_minute:
    from: known
    window: { tumbling: 1m }
    by: [user]
    select: { calls: count(*) }
sinks:
  out: { from: per_minute, jsonl: {} }
";

// A job over an archive of these payloads, run to its end.
fn status_of_a_job(folder: &Path, payloads: &[&str]) -> Status {
    let archive = folder.join("calls");
    let mut writer = ArchiveWriter::new(&archive, ArchiveOptions::default()).expect("an archive");
    for (offset, payload) in (0..).zip(payloads) {
        writer.push(0, offset, NOON_MS + 3_600_000, None, Some(payload.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("an archive");
    let variable = |name: &str| (name == "ARCHIVE").then(|| archive.display().to_string());
    let plan = plan::load(PIPELINE_OF_TESTS, Path::new("tested.yaml"), &variable);
    let plan = plan.unwrap_or_else(|problems| panic!("{problems:?}"));
    let options = RunOptions::new(2, folder.join("output"));
    let job = prepare(&plan, &options, &Control::new()).expect("a job");
    let status = job.status();
    job.run().expect("its end");
    status
}

/// What a text says of one family.
#[derive(Default)]
struct Said {
    help: bool,
    kind: String,
    unit: Option<String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

fn name_is_good(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

// `name{label="value",…} value`, without quotes in the values.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').expect("labels");
    let labels = labels.strip_suffix('}').expect("the end of the labels");
    let labels = labels.split(',').map(|label| {
        let (key, value) = label.split_once('=').expect("a label's value");
        assert!(name_is_good(key), "{line}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        (key.to_owned(), value.to_owned())
    });
    (name.to_owned(), labels.collect(), value.parse().unwrap_or_else(|_| panic!("{line}")))
}

// Reads a text as strictly as the format is written.
fn families(text: &str) -> BTreeMap<String, Said> {
    let body = text.strip_suffix("# EOF\n").expect("an end that is marked");
    let mut all: BTreeMap<String, Said> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        let mut words = line.splitn(4, ' ');
        if line.starts_with('#') {
            let (_, what, name, rest) = (words.next(), words.next(), words.next(), words.next());
            let (name, rest) = (name.expect("a name"), rest.expect("what is said of it"));
            assert!(name_is_good(name), "{line}");
            if what == Some("HELP") {
                assert!(!all.contains_key(name), "{name} comes twice");
                current = name.to_owned();
            }
            assert_eq!(name, current, "{line}");
            let said = all.entry(name.to_owned()).or_default();
            match what {
                Some("HELP") => said.help = rest.ends_with('.'),
                Some("TYPE") => said.kind = rest.to_owned(),
                Some("UNIT") => said.unit = Some(rest.to_owned()),
                other => panic!("{other:?}: {line}"),
            }
        } else {
            let sample = sample(line);
            let said = all.get_mut(&current).unwrap_or_else(|| panic!("nothing is said before {line}"));
            let suffix = match said.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                other => panic!("{other}: {line}"),
            };
            assert_eq!(sample.0, format!("{current}{suffix}"), "{line}");
            assert!(name_is_good(&sample.0) && sample.2.is_finite(), "{line}");
            assert!(suffix != "_total" || sample.2 >= 0.0, "{line}");
            said.samples.push(sample);
        }
    }
    all
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let row =
        |minutes: i64, user: &str| format!(r#"{{"at": {}, "user": "{user}"}}"#, NOON_MS + minutes * 60_000);
    let payloads = [row(0, "a"), row(0, "nobody"), row(3, "b"), row(1, "late"), "nonsense".to_owned()];
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let status = status_of_a_job(folder.path(), &payloads);
    let text = Exposition::new(status).text().expect("a text");
    let said = families(&text);
    for (name, said) in &said {
        assert!(name.starts_with("thalweg_") && said.help, "{name} has no help");
        assert!(!said.samples.is_empty(), "{name} has no sample");
        let unit = said.unit.clone().unwrap_or_default();
        assert!(name.ends_with(&unit), "{name} is in {unit}");
        let series: BTreeSet<_> = said.samples.iter().map(|(_, labels, _)| labels).collect();
        assert_eq!(series.len(), said.samples.len(), "{name}: a series comes twice");
        assert!(series.iter().all(|labels| labels["pipeline"] == "tested"), "{name}");
    }
    let sum = |name: &str, label: &str, value: &str| -> f64 {
        let of = |sample: &&(String, BTreeMap<String, String>, f64)| {
            label.is_empty() || sample.1.get(label).is_some_and(|found| found == value)
        };
        said[name].samples.iter().filter(of).map(|sample| sample.2).sum()
    };
    assert_eq!(sum("thalweg_source_read_rows", "", ""), 5.0);
    let outcomes = ["accepted", "late", "rejected"].map(|of| sum("thalweg_source_rows", "outcome", of));
    assert_eq!(outcomes, [3.0, 1.0, 1.0]);
    assert_eq!(sum("thalweg_source_lag_rows", "", ""), 0.0);
    assert_eq!(sum("thalweg_step_rows_in", "step", "known"), 3.0);
    assert_eq!(sum("thalweg_step_rows_out", "step", "known"), 2.0);
    assert_eq!(sum("thalweg_step_rows_in", "step", "per_minute"), 2.0);
    assert_eq!(sum("thalweg_step_windows_fired", "", ""), 2.0);
    assert_eq!(said["thalweg_step_windows_fired"].samples.len(), 1, "one step has windows");
    assert!(sum("thalweg_step_busy_seconds", "step", "per_minute") > 0.0);
    assert_eq!(sum("thalweg_sink_rows", "sink", "out"), 2.0);
    assert_eq!(sum("thalweg_sink_rows", "sink", "_late"), 1.0);
    assert_eq!(sum("thalweg_checkpoint_number", "", ""), sum("thalweg_checkpoints", "", ""));
    assert_eq!(sum("thalweg_sink_commits", "sink", "out"), sum("thalweg_checkpoints", "", ""));
    assert!(sum("thalweg_process_resident_memory_bytes", "", "") > 1e6);
    assert!(!said.contains_key("thalweg_watermark_timestamp_seconds"), "all is read");
    let info = &said["thalweg_job"].samples[0].1;
    assert_eq!((info["generation"].as_str(), info["went_on_from"].as_str()), ("1", "0"));
}

#[test]
fn values_of_labels_are_escaped() {
    assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
}

#[test]
fn the_document_lists_the_metrics() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| `thalweg_")).collect();
    let rows: Vec<String> = super::families::all().map(row).collect();
    let wanted = rows.join("\n");
    assert!(
        listed == rows,
        "{DOCUMENT} lists other metrics, or says other things of them; these rows are right:\n{wanted}"
    );
}

fn row(family: &Family) -> String {
    let (kind, suffix) = match family.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
        Kind::Info => ("info", "_info"),
    };
    let (unit, in_name) = match family.unit {
        Unit::None => ("", ""),
        Unit::Seconds => ("seconds", "_seconds"),
        Unit::Bytes => ("bytes", "_bytes"),
    };
    let name = format!("{PREFIX}_{}{in_name}{suffix}", family.name);
    format!("| `{name}` | {kind} | {} | {unit} | {} |", family.labels.join(", "), family.help)
}
