//! The numbers of a running job over HTTP, what it says it waits for, and its log as JSON: the binary as its operators meet it.
//!
//! ```text
//!   thalweg run --metrics 127.0.0.1:0 ─ stderr ─▶ address, what the job waits for
//!        │  └─ stdout ─▶ read, a piece at a time, only as long as the test wants the job to go on
//!        └─ GET /metrics, /health ─▶ numbers that balance, all those that METRICS.md lists
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use thalweg_kafka::{KafkaWriter, WriteRecord};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::kafka;

/// How long anything may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const ROWS: i64 = 400_000;
const PARTITIONS: i64 = 2;

const PIPELINE: &str = r#"
pipeline: watched
checkpoint: { interval: 100ms, every_rows: 10000 }
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: user, type: string, required: true }
sources:
  events:
    archive: { path: events }
    schema: event
    event_time: { field: at, lateness: 1s }
steps:
  known: { from: events, where: user <> 'nobody' }
  per_second:
    from: known
    window: { tumbling: 1s }
    by: [user]
    select: { events: count(*) }
  judged: { from: per_second, detect: { on: events, by: [user] } }
sinks:
  SINKS
"#;

// A row a millisecond; of each hundred one is late and one is no JSON.
fn write_events(folder: &Path) {
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    for row in 0..ROWS {
        let at_ms = NOON_MS + if row % 100 == 70 { row - 60_000 } else { row };
        let payload = match row % 100 {
            30 => "nothing of use".to_owned(),
            _ => format!(r#"{{"at": {at_ms}, "user": "user-{}"}}"#, row % 7),
        };
        let (partition, offset) = (row % PARTITIONS, row / PARTITIONS);
        let partition = i32::try_from(partition).expect("a partition");
        writer
            .push(partition, offset, NOON_MS + ROWS, None, Some(payload.as_bytes()), &[])
            .expect("a record");
    }
    writer.finish().expect("an archive");
}

/// The binary at work; killed when this is dropped.
struct Watched {
    child: Child,
    /// What it says on standard error, a line each.
    lines: Receiver<String>,
    said: Vec<String>,
    /// Lets a piece of standard output be read, as much as a pipe holds.
    read_on: SyncSender<()>,
    /// What was read of it.
    shown: Receiver<Vec<u8>>,
}

impl Watched {
    fn start(folder: &Path, pipeline: &str, arguments: &[&str], failpoints: &str) -> Watched {
        fs::write(folder.join("watched.yaml"), pipeline).expect("a spec");
        let mut child = Command::new(env!("CARGO_BIN_EXE_thalweg"))
            .args(["run", "watched.yaml", "--workers", "1", "--metrics", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .env("FAILPOINTS", failpoints)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (lines_to, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines_to.send(line))
        });
        let (read_on, may_read_on) = sync_channel(1);
        let (shown_to, shown) = channel();
        let mut stdout = child.stdout.take().expect("its standard output");
        std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while may_read_on.recv().is_ok() {
                match stdout.read(&mut piece) {
                    Ok(read) if read > 0 && shown_to.send(piece[..read].to_vec()).is_ok() => {}
                    _ => return,
                }
            }
        });
        Watched { child, lines, said: Vec::new(), read_on, shown }
    }

    /// Waits for a line on standard error.
    fn wait_for(&mut self, what: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("nothing of \"{what}\" in {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    fn address(&mut self) -> String {
        let line = self.wait_for("metrics are at http://");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split("/metrics").next());
        address.expect("an address").to_owned()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, headers and body.
fn get(address: &str, path: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an end of the headers");
    let (status, headers) = head.split_once("\r\n").expect("headers");
    (status.to_owned(), headers.to_ascii_lowercase(), body.to_owned())
}

/// What was scraped: by name, the values by labels (names and values, as written).
struct Scraped(BTreeMap<String, BTreeMap<String, f64>>);

impl Scraped {
    fn of(address: &str) -> Scraped {
        let (status, headers, body) = get(address, "/metrics");
        assert!(status.ends_with("200 OK"), "{status}");
        assert!(headers.contains("content-type: application/openmetrics-text; version=1.0.0"), "{headers}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let mut all: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').expect("labels");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            all.entry(name.to_owned()).or_default().insert(labels.to_owned(), value);
        }
        Scraped(all)
    }

    /// The sum over those whose labels hold `label`, such as `sink="out"`.
    fn sum(&self, name: &str, label: &str) -> f64 {
        let all = self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0.keys()));
        all.iter().filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// Read, and accepted + late + rejected.
    fn account(&self) -> (f64, f64) {
        (self.sum("thalweg_source_read_rows_total", ""), self.sum("thalweg_source_rows_total", ""))
    }
}

// Name and labels of what the document lists.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md")).expect("the document");
    let rows = document.lines().filter(|line| line.starts_with("| `thalweg_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned);
        (cells[1].trim_matches('`').to_owned(), labels.chain(["pipeline".to_owned()]).collect())
    })
    .collect()
}

fn exposed(scraped: &Scraped) -> BTreeMap<String, BTreeSet<String>> {
    let names = |labels: &String| -> BTreeSet<String> {
        let labels = labels.trim_end_matches('}').split(',');
        labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned()).collect()
    };
    scraped.0.iter().map(|(name, series)| (name.clone(), series.keys().flat_map(names).collect())).collect()
}

#[test]
fn a_job_that_waits_for_a_sink_says_so_and_its_numbers_balance() {
    let folder = tempfile::tempdir().expect("a folder");
    let sinks = "shown: { from: known, stdout: {} }\n  per_second: { from: per_second, jsonl: {} }\n  judged: { from: judged, jsonl: {} }";
    write_events(folder.path());
    let mut job = Watched::start(folder.path(), &PIPELINE.replace("SINKS", sinks), &["-v"], "");
    let address = job.address();
    let deadline = Instant::now() + LIMIT;
    // It goes on as long as somebody reads what it shows.
    let scraped = loop {
        // A permit that is not taken yet is enough.
        let _ = job.read_on.try_send(());
        let scraped = Scraped::of(&address);
        if scraped.sum("thalweg_checkpoint_published_number", "") > 0.0 {
            break scraped;
        }
        assert!(Instant::now() < deadline, "no checkpoint within {LIMIT:?}: {:#?}", job.said);
    };
    assert!(scraped.sum("thalweg_checkpoint_number", "") > 0.0);
    assert!(job.shown.try_iter().any(|piece| piece.starts_with(b"{\"")), "rows are shown");
    let line = job.wait_for("waits for sink shown (");
    assert!(line.starts_with("watched: ") && line.contains("watermark 2026-03-02T1"), "{line}");

    let logged = job.said.iter().find(|line| line.contains("checkpoint published")).expect("a log").clone();
    let mut words = logged.split_whitespace();
    let time = words.next().filter(|time| time.ends_with('Z')).map(chrono::DateTime::parse_from_rfc3339);
    assert!(time.is_some_and(|time| time.is_ok()) && words.next() == Some("INFO"), "{logged}");
    assert!(words.next().is_some_and(|target| target.starts_with("thalweg_engine::checkpoint")), "{logged}");

    let scraped = Scraped::of(&address);
    let (read, accounted) = scraped.account();
    assert!(read > 0.0 && read < ROWS as f64, "{read}");
    assert_eq!(read, accounted, "nothing is being read");
    let outcome = |outcome: &str| scraped.sum("thalweg_source_rows_total", &format!("outcome=\"{outcome}\""));
    assert!(outcome("late") > 0.0 && outcome("rejected") > 0.0, "{:?}", scraped.0);
    assert_eq!(scraped.sum("thalweg_source_lag_rows", ""), ROWS as f64 - read);
    assert_eq!(scraped.sum("thalweg_source_next_offset", ""), read, "offsets begin at 0 and have no gaps");
    assert!(
        scraped.sum("thalweg_sink_busy_seconds_total", "sink=\"shown\"") > 5.0,
        "it counts while it waits"
    );
    assert!(scraped.sum("thalweg_sink_commits_total", "sink=\"per_second\"") > 0.0);
    assert!(scraped.sum("thalweg_step_windows_fired_total", "step=\"per_second\"") > 0.0);
    assert!(scraped.sum("thalweg_step_series", "step=\"judged\"") > 0.0);
    let behind = scraped.sum("thalweg_watermark_behind_newest_seconds", "");
    assert!(
        (1.0..ROWS as f64 / 1e3).contains(&behind),
        "a second of lateness, and what is on its way: {behind}"
    );
    assert_eq!(exposed(&scraped), documented(), "METRICS.md lists what is exposed");

    let (status, headers, body) = get(&address, "/health");
    assert!(status.ends_with("200 OK") && headers.contains("content-type: application/json"), "{status}");
    let health: Json = serde_json::from_str(body.strip_suffix('\n').expect("a line")).expect("JSON");
    assert_eq!((&health["pipeline"], &health["state"]), (&Json::from("watched"), &Json::from("running")));
    assert!(health["checkpoint"].as_u64() > Some(0), "{health}");
    assert!(health["watermark"].as_str().is_some_and(|at| at.starts_with("2026-03-02T1")), "{health}");
    assert!(get(&address, "/elsewhere").0.contains("404"));
}

#[test]
fn a_job_that_waits_for_a_checkpoint_says_so_in_its_log_of_json() {
    let folder = tempfile::tempdir().expect("a folder");
    // The first checkpoint's three sinks publish, the next one's never.
    let failpoints = "checkpoint::before_publishing_a_sink=3*off->sleep(1000000)";
    let arguments = ["--log", "json", "-v"];
    write_events(folder.path());
    let pipeline = PIPELINE.replace("SINKS", "rows: { from: known, jsonl: {} }");
    let mut job = Watched::start(folder.path(), &pipeline, &arguments, failpoints);
    let address = job.address();
    job.wait_for("checkpoint 2 to be published (");
    let scraped = Scraped::of(&address);
    assert_eq!(scraped.sum("thalweg_checkpoint_published_number", ""), 1.0);
    assert_eq!(scraped.sum("thalweg_checkpoint_number", ""), 2.0);
    let blocked = scraped.sum("thalweg_source_blocked_seconds", "source=\"events\"");
    let waited = scraped.sum("thalweg_source_waited_seconds_total", "reason=\"checkpoint\"");
    assert!(blocked >= 5.0 && waited >= blocked, "{blocked} s of {waited} s");
    let (read, accounted) = scraped.account();
    assert_eq!(read, accounted);

    let mut said = BTreeSet::new();
    for line in &job.said {
        let event: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let field =
            |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
        let time = field("timestamp");
        assert!(time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(&time).is_ok(), "{line}");
        assert!(field("target").starts_with("thalweg"), "{line}");
        said.insert((field("level"), field("message")));
        if field("message") == "progress" {
            assert!(event["read"].as_u64() > Some(0) && event["watermark"].is_string(), "{line}");
        }
    }
    // Of the pipeline, and before the job begins.
    assert!(
        said.iter().any(|(level, message)| level == "WARN" && message.contains("nothing reads this step"))
    );
    for message in ["the job begins", "checkpoint made", "checkpoint published", "progress"] {
        let told = said.contains(&("INFO".to_owned(), message.to_owned()));
        assert!(told, "nothing of \"{message}\" in {said:?}");
    }
    let _ = job.read_on.try_send(());
    assert!(job.shown.try_recv().is_err(), "nothing goes to standard output");
}

#[test]
fn the_lag_of_a_topic_is_what_brokers_say_lies_ahead() {
    const RECORDS: i64 = 40_000;
    let (brokers, folder) = (kafka::broker().brokers(), tempfile::tempdir().expect("a folder"));
    let topic = kafka::new_topic(brokers, "watched", 2);
    let mut writer = KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer");
    for row in 0..RECORDS {
        let payload = format!(r#"{{"at": {}, "user": "user-{}"}}"#, NOON_MS + row, row % 7);
        let (partition, value) = (i32::from(row % 2 == 1), Some(payload.as_bytes()));
        let (timestamp_ms, key) = (Some(NOON_MS + row), None);
        let record = WriteRecord { topic: &topic, partition, timestamp_ms, key, value, headers: &[] };
        writer.write(record).expect("a record is taken");
    }
    writer.flush(LIMIT).expect("the records are acknowledged");
    // Nobody reads what it shows, so it stops on its way.
    let pipeline = PIPELINE
        .replace("archive: { path: events }", &format!("kafka: {{ topic: {topic}, brokers: \"{brokers}\" }}"))
        .replace("SINKS", "shown: { from: known, stdout: {} }");
    let mut job = Watched::start(folder.path(), &pipeline, &[], "");
    let address = job.address();
    let deadline = Instant::now() + LIMIT;
    loop {
        let scraped = Scraped::of(&address);
        let of = |name: &str| {
            let splits = scraped.0.get(name).filter(|splits| splits.len() == 2);
            splits.map(|splits| splits.values().sum::<f64>())
        };
        let (lag, next) = (of("thalweg_source_lag_rows"), of("thalweg_source_next_offset"));
        if lag.zip(next).is_some_and(|(lag, next)| lag > 0.0 && next > 0.0 && lag + next == RECORDS as f64) {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", scraped.0);
    }
    job.wait_for("waits for sink shown (");
}

#[test]
fn an_address_that_is_taken_is_said_before_the_job_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for more in [&["--metrics", &address][..], &["--metrics", &address, "--processes", "2"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_thalweg"))
            .args(["run", "provider_health", "--archives", "."])
            .args(more)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with(&format!("error: can't serve metrics at {address}: ")), "{error}");
        assert!(output.stdout.is_empty() && fs::read_dir(folder.path()).expect("a folder").next().is_none());
    }
}
