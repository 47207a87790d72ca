//! The catalogue over generated telemetry: it finds what was planted, and every row is accounted for.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;
use thalweg::catalogue;
use thalweg::run::{RunOptions, Summary};
use thalweg_telemetry::{Dirt, IncidentKind, Telemetry, TelemetryConfig, Topic, Volume, write_archives};

use crate::support::{assert_same_rows, job, plan, query, rows};

const EVENTS: u64 = 100_000;
/// Of all sources of the catalogue.
const LATENESS_MS: i64 = 30_000;

/// The topics, in the order of the sources, and the sinks of each pipeline.
const PIPELINES: [(&str, &[Topic], &[&str]); 4] = [
    (
        "provider_health",
        &[Topic::ProviderRequests],
        &["provider_health", "provider_trend", "provider_anomalies"],
    ),
    // With so few events nothing that users do may be strange.
    ("user_sessions", &[Topic::UserInteractions], &["user_sessions", "user_activity"]),
    ("population", &[Topic::AgentMetrics], &["population", "population_outlook"]),
    ("capacity", &[Topic::ProviderRequests, Topic::NodeMetrics], &["load_ahead", "gpu_memory_ahead"]),
];

/// Read, accepted, late, rejected, as the generator's events say.
fn account(config: &TelemetryConfig, topic: Topic) -> [u64; 4] {
    let config = TelemetryConfig { topics: vec![topic], ..config.clone() };
    let mut telemetry = Telemetry::new(&config).expect("telemetry");
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    let [mut read, mut accepted, mut late, mut rejected] = [0; 4];
    while let Some(event) = telemetry.next_event() {
        read += 1;
        if !matches!(event.dirt, None | Some(Dirt::AbsurdPast)) {
            rejected += 1;
            continue;
        }
        let value: Json = serde_json::from_slice(event.value).expect("JSON that nothing is wrong with");
        let time_ms = value[topic.time_field()].as_i64().expect("an event time");
        let highest = highest.entry(event.partition).or_insert(time_ms);
        if time_ms < *highest - LATENESS_MS {
            late += 1;
        } else {
            accepted += 1;
            *highest = time_ms.max(*highest);
        }
    }
    [read, accepted, late, rejected]
}

fn run(name: &str, archives: &Path, workers: usize, output: &Path) -> Summary {
    let entry = catalogue::find(name).unwrap_or_else(|| panic!("the catalogue has no {name}"));
    let options =
        RunOptions { archives: Some(archives.to_owned()), ..RunOptions::new(workers, output.join(name)) };
    job(&plan(entry.text, archives), &options)
}

#[test]
fn the_catalogue_finds_what_was_planted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archives = folder.path().join("archives");
    let config =
        TelemetryConfig { volume: Volume::Events(EVENTS), dirty: 0.005, ..TelemetryConfig::default() };
    write_archives(&config, &archives, &|_| {}).expect("archives");
    assert_eq!(PIPELINES.len(), catalogue::ENTRIES.len(), "a pipeline of the catalogue is not tested");

    let (one, three) = (folder.path().join("1"), folder.path().join("3"));
    for (name, topics, sinks) in PIPELINES {
        let expected: Vec<[u64; 4]> = topics.iter().map(|topic| account(&config, *topic)).collect();
        assert!(
            expected[0][2] > 0 && expected[0][3] > 0,
            "{name}: nothing is late, or nothing rejected: {expected:?}"
        );
        for (workers, output) in [(1, &one), (3, &three)] {
            let summary = run(name, &archives, workers, output);
            let sources = summary.sources.iter();
            let found: Vec<[u64; 4]> =
                sources.map(|source| [source.read, source.accepted, source.late, source.rejected]).collect();
            assert_eq!(found, expected, "{name}, {workers} workers: read, accepted, late, rejected");
            // Of a sink without rows there is no table.
            for sink in summary.sinks.iter().filter(|sink| sink.rows > 0) {
                let count = query(&output.join(name), &format!("select count(*) as n from {}", sink.name));
                assert_eq!(count[0]["n"], sink.rows, "{name}.{}", sink.name);
            }
        }
        for sink in sinks.iter().copied().chain(["_late", "_rejected"]) {
            let table = format!("{name}.{sink}");
            assert_same_rows(&table, &rows(&one, &table), &rows(&three, &table));
        }
    }
    outage_shows(&config, &one);
    counts_add_up(&config, &one);
}

/// `provider_health` shows the outage that was planted, when it was, and nothing like it elsewhere.
fn outage_shows(config: &TelemetryConfig, output: &Path) {
    let planted = config.describe();
    let outage = planted
        .iter()
        .find(|planted| planted.kind == IncidentKind::ProviderOutage)
        .expect("a planted outage");
    let within = format!(
        "window_start >= to_timestamp_millis({}) and window_end <= to_timestamp_millis({})",
        outage.start_ms, outage.end_ms
    );
    let outside = format!(
        "(window_end <= to_timestamp_millis({}) or window_start >= to_timestamp_millis({}))",
        outage.start_ms, outage.end_ms
    );
    let rates = |when: &str| {
        let sql = format!(
            "select concat(provider, '/', model) as target, sum(requests) as requests, \
             sum(error_rate * requests) / sum(requests) as rate \
             from provider_health.provider_health where {when} group by 1 order by rate desc"
        );
        query(output, &sql)
    };
    let rate = |row: &serde_json::Map<String, Json>| row["rate"].as_f64().expect("a rate");

    let during = rates(&within);
    assert_eq!(during[0]["target"], outage.target, "the worst during the outage: {during:?}");
    assert!((0.25..0.5).contains(&rate(&during[0])), "35 % fail: {:?}", during[0]);
    assert!(rate(&during[1]) < 0.15, "others are calm during the outage: {:?}", during[1]);
    let calm = rates(&outside);
    assert!(calm.len() >= during.len() && rate(&calm[0]) < 0.15, "calm before and after: {calm:?}");

    // Minute by minute, of those with enough calls to tell.
    let minutes = format!(
        "select concat(provider, '/', model) as target from (select *, row_number() over \
         (partition by window_start order by error_rate desc) as place from provider_health.provider_health \
         where requests >= 20 and {within}) where place = 1"
    );
    let worst = query(output, &minutes);
    let right = worst.iter().filter(|row| row["target"] == outage.target.as_str()).count();
    assert!(worst.len() >= 10 && right == worst.len(), "the worst of each minute: {worst:?}");
    let noisy = query(
        output,
        &format!(
            "select * from provider_health.provider_health where requests >= 20 and error_rate >= 0.25 and {outside}"
        ),
    );
    assert!(noisy.is_empty(), "minutes that are not calm: {noisy:?}");
}

/// Windows upon windows, and sessions, hold each row once.
fn counts_add_up(config: &TelemetryConfig, output: &Path) {
    let number = |sql: &str| query(output, sql)[0]["n"].as_i64().expect("a number") as u64;
    let [_, accepted, ..] = account(config, Topic::UserInteractions);
    assert_eq!(number("select cast(sum(events) as bigint) as n from user_sessions.user_sessions"), accepted);
    assert_eq!(number("select cast(sum(events) as bigint) as n from user_sessions.user_activity"), accepted);
    let per_model = number("select cast(sum(requests) as bigint) as n from provider_health.provider_health");
    // Five minutes, moving on by one: each row in five of them.
    let trend = number("select cast(sum(requests) as bigint) as n from provider_health.provider_trend");
    assert_eq!(trend, 5 * per_model);
    let cancelled = config.events_of(Topic::ProviderRequests) - per_model;
    assert!(
        per_model > 0 && cancelled < per_model / 10,
        "{cancelled} of {per_model} were cancelled or refused"
    );
}
