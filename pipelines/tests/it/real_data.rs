//! Real requests to models, recorded by others, through a tumbling and a session pipeline, against a straight computation.
//!
//! The data lie beside the repository, in `shared/data` (or where `THALWEG_DATA` says), and are no part of it. Where they
//! are not, these tests say so and test nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thalweg::run::RunOptions;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_schemas::time::{format_rfc3339, parse_rfc3339};

use crate::support::{job, plan, query};

const MINUTE_US: i64 = 60_000_000;
const PARTITIONS: usize = 4;

/// The text of a file of the data.
fn data(file: &str) -> Option<String> {
    let named = std::env::var_os("THALWEG_DATA").map(PathBuf::from);
    let beside = || {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
    };
    let Some(folder) = named.or_else(beside) else {
        eprintln!("skipped: {file} is not here; set THALWEG_DATA to the folder of the data");
        return None;
    };
    let path = folder.join(file);
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    }
    Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Writes records of (time in µs, payload), dealt to partitions in turn, as the archive `folder/requests`.
fn write_archive<'a>(folder: &Path, records: impl Iterator<Item = (i64, &'a str)>) {
    let mut writer =
        ArchiveWriter::new(folder.join("requests"), ArchiveOptions::default()).expect("an archive");
    for (number, (time_us, payload)) in records.enumerate() {
        let (partition, offset) = ((number % PARTITIONS) as i32, (number / PARTITIONS) as i64);
        let timestamp_ms = time_us.div_euclid(1000);
        writer.push(partition, offset, timestamp_ms, None, Some(payload.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
}

const AZURE: &str = r#"
pipeline: azure
schemas:
  request:
    fields:
      - { name: at, type: timestamp, encoding: rfc3339, required: true }
      - { name: context_tokens, type: int64, required: true }
      - { name: generated_tokens, type: int64, required: true }
sources:
  requests:
    archive: { path: "${ARCHIVES}/requests" }
    schema: request
    event_time: { field: at, lateness: 10s }
steps:
  per_minute:
    from: requests
    window: { tumbling: 1m }
    select:
      requests: count(*)
      context_sum: sum(context_tokens)
      context_mean: avg(context_tokens)
      context_max: max(context_tokens)
      generated_sum: sum(generated_tokens)
      generated_mean: avg(generated_tokens)
      generated_max: max(generated_tokens)
sinks:
  per_minute: { from: per_minute, parquet: {} }
"#;

#[test]
fn requests_per_minute_are_those_of_a_straight_computation() {
    let Some(text) = data("llm/azure_llm_conv_2023.csv") else { return };
    let requests: Vec<(i64, i64, i64, String)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split(',').collect();
            let [at, context, generated] = columns[..] else { panic!("three columns: {line}") };
            let at = format!("{}Z", at.replace(' ', "T"));
            let payload =
                format!(r#"{{"at":"{at}","context_tokens":{context},"generated_tokens":{generated}}}"#);
            let number = |text: &str| text.parse::<i64>().expect("a number of tokens");
            (parse_rfc3339(at.as_bytes()).expect("a time"), number(context), number(generated), payload)
        })
        .collect();
    assert_eq!(requests.len(), 19_366);

    let mut expected: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (at, context, generated, _) in &requests {
        let minute = format_rfc3339(at.div_euclid(MINUTE_US) * MINUTE_US);
        expected.entry(minute).or_default().push((*context, *generated));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path(), requests.iter().map(|(at, _, _, payload)| (*at, payload.as_str())));
    let output = folder.path().join("output");
    let summary = job(&plan(AZURE, folder.path()), &RunOptions::new(2, &output));
    let source = &summary.sources[0];
    assert_eq!((source.read, source.accepted), (19_366, 19_366), "the file is in order of time");

    let rows = query(&output, "select * from per_minute order by window_start");
    let minutes: Vec<&str> = rows.iter().filter_map(|row| row["window_start"].as_str()).collect();
    assert!(minutes.iter().eq(expected.keys()), "{minutes:?}");
    assert!(rows.len() > 50, "an hour has more than {} minutes", rows.len());
    for (row, (minute, requests)) in rows.iter().zip(&expected) {
        let (context, generated): (Vec<i64>, Vec<i64>) = requests.iter().copied().unzip();
        assert_eq!(row["requests"], requests.len(), "{minute}");
        for (name, tokens) in [("context", context), ("generated", generated)] {
            let sum: i64 = tokens.iter().sum();
            let integer = |column: &str| row[&format!("{name}_{column}")].as_i64();
            assert_eq!(integer("sum"), Some(sum), "{minute}: {name}");
            assert_eq!(integer("max"), tokens.iter().max().copied(), "{minute}: {name}");
            // One division of exact numbers.
            assert_eq!(row[&format!("{name}_mean")], sum as f64 / tokens.len() as f64, "{minute}: {name}");
        }
    }
    let total =
        query(&output, "select sum(context_sum) as context, sum(generated_sum) as generated from per_minute");
    let sum = |of: fn(&(i64, i64, i64, String)) -> i64| Some(requests.iter().map(of).sum::<i64>());
    assert_eq!(total[0]["context"].as_i64(), sum(|request| request.1));
    assert_eq!(total[0]["generated"].as_i64(), sum(|request| request.2));
}

/// A request to Mooncake; `hash_ids` name the blocks of its prompt.
#[derive(Deserialize)]
struct Mooncake {
    timestamp: i64,
    input_length: i64,
    output_length: i64,
    hash_ids: Vec<i64>,
}

/// What is computed of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Conversation {
    start_ms: i64,
    last_ms: i64,
    requests: i64,
    input_sum: i64,
    output_max: i64,
    blocks: i64,
}

const GAP_MS: i64 = 30_000;

// Every prompt begins with the same block: who goes on with the same second one shares a conversation.
const MOONCAKE: &str = r#"
pipeline: mooncake
schemas:
  request:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true, path: timestamp }
      - { name: input_length, type: int64, required: true }
      - { name: output_length, type: int64, required: true }
      - { name: blocks, type: list, of: int64, path: hash_ids }
sources:
  requests:
    archive: { path: "${ARCHIVES}/requests" }
    schema: request
    event_time: { field: at, lateness: 10s }
steps:
  conversations:
    from: requests
    window: { session: 30s }
    by: [{ second_block: "blocks[2]" }]
    select:
      requests: count(*)
      input_sum: sum(input_length)
      output_max: max(output_length)
      blocks: sum(cardinality(blocks))
sinks:
  conversations: { from: conversations, parquet: {} }
"#;

fn conversations(requests: &[Mooncake]) -> BTreeMap<Option<i64>, Vec<Conversation>> {
    let mut conversations: BTreeMap<Option<i64>, Vec<Conversation>> = BTreeMap::new();
    let mut in_time: Vec<&Mooncake> = requests.iter().collect();
    in_time.sort_by_key(|request| request.timestamp);
    for request in in_time {
        let at_ms = request.timestamp;
        let of_block = conversations.entry(request.hash_ids.get(1).copied()).or_default();
        let open = of_block.last().is_some_and(|session| at_ms - session.last_ms < GAP_MS);
        if !open {
            of_block.push(Conversation {
                start_ms: at_ms,
                last_ms: at_ms,
                requests: 0,
                input_sum: 0,
                output_max: 0,
                blocks: 0,
            });
        }
        if let Some(session) = of_block.last_mut() {
            session.last_ms = at_ms;
            session.requests += 1;
            session.input_sum += request.input_length;
            session.output_max = session.output_max.max(request.output_length);
            session.blocks += request.hash_ids.len() as i64;
        }
    }
    conversations
}

#[test]
fn conversations_are_those_of_a_straight_computation() {
    let Some(text) = data("llm/mooncake_conversation.jsonl") else { return };
    let requests: Vec<Mooncake> =
        text.lines().map(|line| serde_json::from_str(line).expect("a request")).collect();
    assert_eq!(requests.len(), 12_031);
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The lines as they are, read into nested columns.
    let records = requests.iter().zip(text.lines()).map(|(request, line)| (request.timestamp * 1000, line));
    write_archive(folder.path(), records);
    let output = folder.path().join("output");
    let summary = job(&plan(MOONCAKE, folder.path()), &RunOptions::new(3, &output));
    let source = &summary.sources[0];
    assert_eq!((source.read, source.accepted), (12_031, 12_031), "the file is in order of time");

    let sql = "select second_block, cast(window_start as bigint) as start_us, cast(window_end as bigint) as end_us, \
               cast(requests as bigint) as requests, cast(input_sum as bigint) as input_sum, output_max, \
               cast(blocks as bigint) as blocks from conversations order by 1, 2";
    let mut found: BTreeMap<Option<i64>, Vec<Conversation>> = BTreeMap::new();
    for row in query(&output, sql) {
        let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row:?}"));
        found.entry(row["second_block"].as_i64()).or_default().push(Conversation {
            start_ms: number("start_us") / 1000,
            last_ms: number("end_us") / 1000 - GAP_MS,
            requests: number("requests"),
            input_sum: number("input_sum"),
            output_max: number("output_max"),
            blocks: number("blocks"),
        });
    }
    let expected = conversations(&requests);
    let sessions: usize = expected.values().map(Vec::len).sum();
    let longest = expected.values().flatten().map(|session| session.requests).max();
    assert!(sessions > 7000 && longest > Some(3), "{sessions} sessions, the longest of {longest:?} requests");
    for (block, expected) in &expected {
        assert_eq!(found.get(block), Some(expected), "conversations that begin with block {block:?}");
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(summary.windows_fired, sessions as u64);
}
