//! The events are what was asked for, always the same, and what was planted in them shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use thalweg_operators::source::archive::ArchiveConfig;
use thalweg_schemas::{Decoder, Format, Schema};

use super::*;

fn config(events: u64) -> TelemetryConfig {
    TelemetryConfig { volume: Volume::Events(events), ..TelemetryConfig::default() }
}

/// FNV-1a over every field of the first events.
fn hash(mut telemetry: Telemetry, events: usize) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for _ in 0..events {
        let event = telemetry.next_event().unwrap();
        let numbers = format!("{} {} {} {}|", event.topic, event.partition, event.offset, event.timestamp_ms);
        for byte in numbers.bytes().chain(event.key.iter().copied()).chain(event.value.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// All clean events of a topic, read as JSON.
fn values(config: &TelemetryConfig, topic: Topic) -> Vec<Value> {
    let mut telemetry = Telemetry::new(&TelemetryConfig { topics: vec![topic], ..config.clone() }).unwrap();
    let mut values = Vec::new();
    while let Some(event) = telemetry.next_event() {
        if event.dirt.is_none() {
            values.push(serde_json::from_slice(event.value).unwrap());
        }
    }
    values
}

fn share<'a>(values: impl Iterator<Item = &'a Value> + Clone, of: impl Fn(&Value) -> bool) -> f64 {
    values.clone().filter(|value| of(value)).count() as f64 / values.count() as f64
}

fn mean<'a>(values: impl Iterator<Item = &'a Value> + Clone, field: &str) -> f64 {
    values.clone().map(|value| value[field].as_f64().unwrap()).sum::<f64>() / values.count() as f64
}

/// A topic's events within a planted incident, and outside of it.
fn split<'a>(values: &'a [Value], planted: &Planted, time: &str) -> (Vec<&'a Value>, Vec<&'a Value>) {
    values.iter().partition(|value| planted.active(value[time].as_i64().unwrap()))
}

#[test]
fn the_same_seed_makes_the_same_bytes_on_every_machine() {
    assert_eq!(hash(Telemetry::new(&config(2_000_000)).unwrap(), 10_000), GOLDEN_TELEMETRY);
    assert_eq!(hash(BenchConfig::default().telemetry().unwrap(), 10_000), GOLDEN_BENCH);
    // The whole hour, thinly.
    assert_eq!(hash(Telemetry::new(&config(10_000)).unwrap(), 10_000), GOLDEN_HOUR);
    let other = TelemetryConfig { seed: 43, ..config(2_000_000) };
    assert_ne!(hash(Telemetry::new(&other).unwrap(), 10_000), GOLDEN_TELEMETRY);
}

const GOLDEN_TELEMETRY: u64 = 9595026266196867724;
const GOLDEN_BENCH: u64 = 959968736084670166;
const GOLDEN_HOUR: u64 = 6312855190298960541;

#[test]
fn a_topic_is_the_same_alone_and_among_others() {
    let whole = config(30_000);
    let mut of_whole: BTreeMap<Topic, Vec<Vec<u8>>> = BTreeMap::new();
    let mut telemetry = Telemetry::new(&whole).unwrap();
    while let Some(event) = telemetry.next_event() {
        of_whole.entry(event.topic).or_default().push(event.value.to_vec());
    }
    for topic in Topic::ALL {
        let mut alone = Telemetry::new(&TelemetryConfig { topics: vec![topic], ..whole.clone() }).unwrap();
        let mut events = of_whole[&topic].iter();
        while let Some(event) = alone.next_event() {
            assert_eq!(Some(event.value), events.next().map(Vec::as_slice), "{topic}");
        }
        assert_eq!(events.next(), None);
    }
}

#[test]
fn counts_offsets_order_and_shares_are_as_configured() {
    for (events, volume) in
        [(100_003, Volume::Events(100_003)), (36_000, Volume::PerSecond(10)), (7, Volume::Events(7))]
    {
        let config = TelemetryConfig { volume, dirty: 0.02, ..TelemetryConfig::default() };
        let mut telemetry = Telemetry::new(&config).unwrap();
        let mut offsets: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        let mut counts: BTreeMap<Topic, u64> = BTreeMap::new();
        let (mut last_ms, mut all, mut dirty) = (i64::MIN, 0, 0u32);
        while let Some(event) = telemetry.next_event() {
            let next = offsets.entry((event.topic, event.partition)).or_default();
            assert_eq!(event.offset, *next, "{event:?}");
            *next += 1;
            assert!(
                event.timestamp_ms >= last_ms
                    && (0..config.partitions_of(event.topic)).contains(&event.partition)
            );
            last_ms = event.timestamp_ms;
            *counts.entry(event.topic).or_default() += 1;
            all += 1;
            dirty += u32::from(event.dirt.is_some());
        }
        assert_eq!(all, events);
        for topic in Topic::ALL {
            assert_eq!(counts.get(&topic).copied().unwrap_or(0), config.events_of(topic), "{topic}");
        }
        if events > 100_000 {
            assert!((0.017..0.023).contains(&(f64::from(dirty) / events as f64)), "{dirty} dirty");
        }
    }
}

#[test]
fn most_events_are_early_and_a_few_very_late() {
    let mut telemetry = Telemetry::new(&TelemetryConfig {
        dirty: 0.0,
        topics: vec![Topic::ProviderRequests],
        ..config(300_000)
    })
    .unwrap();
    let mut delays = Vec::new();
    while let Some(event) = telemetry.next_event() {
        let value: Value = serde_json::from_slice(event.value).unwrap();
        delays.push(event.timestamp_ms - value["started_at"].as_i64().unwrap());
    }
    let share = |low, high| {
        delays.iter().filter(|delay| (low..high).contains(*delay)).count() as f64 / delays.len() as f64
    };
    assert!(share(0, 2_000) > 0.97);
    assert!((0.015..0.025).contains(&share(2_000, 20_000)));
    assert!((0.0005..0.0017).contains(&share(60_000, 480_001)));
    assert_eq!(share(0, 480_001), 1.0);
}

#[test]
fn clean_events_fit_the_built_in_schemas_and_spoilt_ones_do_not() {
    let config = TelemetryConfig { dirty: 0.05, ..config(60_000) };
    let mut decoders: BTreeMap<Topic, Decoder> = BTreeMap::new();
    for topic in Topic::ALL {
        let schema = Schema::builtin(topic.schema()).unwrap();
        decoders.insert(topic, Decoder::new(Format::Json, &schema, &[]));
    }
    let mut telemetry = Telemetry::new(&config).unwrap();
    let mut spoilt = BTreeSet::new();
    while let Some(event) = telemetry.next_event() {
        let decoded = decoders.get_mut(&event.topic).unwrap().push(Some(event.value));
        match event.dirt {
            None => assert!(decoded.is_ok(), "{decoded:?}: {}", String::from_utf8_lossy(event.value)),
            // Their form is right: lateness and max_ahead are for them, and nanoseconds that no i64 holds.
            Some(Dirt::AbsurdFuture | Dirt::AbsurdPast) => {}
            Some(dirt) => {
                assert!(decoded.is_err(), "{dirt:?}: {}", String::from_utf8_lossy(event.value));
                spoilt.insert((event.topic, dirt));
            }
        }
    }
    assert!(spoilt.len() > 35, "nearly every topic is spoilt in all ways: {spoilt:?}");
}

#[test]
fn topics_speak_of_the_same_things() {
    let config = TelemetryConfig { dirty: 0.0, ..config(100_000) };
    let requests = values(&config, Topic::ProviderRequests);
    let by_id: BTreeMap<&str, &Value> =
        requests.iter().map(|value| (value["request_id"].as_str().unwrap(), value)).collect();
    for feedback in values(&config, Topic::ProviderFeedback) {
        let request = by_id[feedback["request_id"].as_str().unwrap()];
        let lag_ms = feedback["timestamp"].as_i64().unwrap() - request["started_at"].as_i64().unwrap();
        assert!((0..=300_000).contains(&lag_ms), "{lag_ms}");
    }
    let traces = values(&config, Topic::Traces);
    let roots: Vec<&Value> = traces.iter().filter(|span| span["parent_span_id"].is_null()).collect();
    assert!(roots.len() > 2000);
    assert!(roots.iter().all(|root| by_id.contains_key(root["attributes"]["request_id"].as_str().unwrap())));

    let sessions: BTreeSet<&str> =
        requests.iter().map(|value| value["session_id"].as_str().unwrap()).collect();
    let interactions = values(&config, Topic::UserInteractions);
    let shared = share(interactions.iter(), |value| sessions.contains(value["session_id"].as_str().unwrap()));
    assert!(shared > 0.8, "{shared} of the interactions belong to sessions that make requests");
}

#[test]
fn planted_incidents_show_in_the_numbers() {
    let config = TelemetryConfig { dirty: 0.0, ..config(400_000) };
    let planted = |kind| config.describe().into_iter().find(|planted| planted.kind == kind).unwrap();
    let requests = values(&config, Topic::ProviderRequests);
    let of_model = |name: &str| -> Vec<Value> {
        requests.iter().filter(|value| value["model"] == name).cloned().collect()
    };
    let failed = |value: &Value| value["status"] == "error" || value["status"] == "timeout";

    let outage = planted(IncidentKind::ProviderOutage);
    assert_eq!((outage.end_ms - outage.start_ms, outage.start_ms - config.start_ms), (720_000, 1_500_000));
    let calls = of_model("claude-sonnet-4");
    let (during, usual) = split(&calls, &outage, "started_at");
    let rate = share(during.iter().copied(), failed);
    assert!((0.3..0.4).contains(&rate) && share(usual.iter().copied(), failed) < 0.02, "{rate}");
    let answered = |values: &[&Value]| -> f64 {
        let answered = values.iter().copied().filter(|value| value["status"] == "success");
        mean(answered.collect::<Vec<_>>().into_iter(), "latency_ms")
    };
    assert!((3.0..5.0).contains(&(answered(&during) / answered(&usual))));

    let spike = planted(IncidentKind::CostSpike);
    let calls = of_model("gpt-5");
    let (during, usual) = split(&calls, &spike, "started_at");
    assert!(mean(during.into_iter(), "prompt_tokens") > 6.0 * mean(usual.into_iter(), "prompt_tokens"));

    let creep = planted(IncidentKind::LatencyCreep);
    let calls = of_model("gemini-2.5-pro");
    let (during, usual) = split(&calls, &creep, "started_at");
    let ratio = answered(&during) / answered(&usual);
    assert!((1.5..2.1).contains(&ratio), "{ratio}");

    let wave = planted(IncidentKind::BounceWave);
    let interactions = values(&config, Topic::UserInteractions);
    let mut of_session: BTreeMap<&str, u32> = BTreeMap::new();
    interactions
        .iter()
        .for_each(|value| *of_session.entry(value["session_id"].as_str().unwrap()).or_default() += 1);
    let (during, usual) = split(&interactions, &wave, "timestamp");
    let bounces = |values: Vec<&Value>| {
        share(values.into_iter(), |value| of_session[value["session_id"].as_str().unwrap()] == 1)
    };
    assert!(bounces(during) > 0.3 && bounces(usual) < 0.12);

    let leak = planted(IncidentKind::GpuMemoryLeak);
    let nodes = values(&config, Topic::NodeMetrics);
    let leaking: Vec<Value> =
        nodes.into_iter().filter(|value| value["node"] == leak.target.as_str()).collect();
    let used = |value: &Value| {
        value["gpus"][0]["memory_used"].as_f64().unwrap() / value["gpus"][0]["memory_total"].as_f64().unwrap()
    };
    let (during, usual) = split(&leaking, &leak, "timestamp");
    assert!(used(during[during.len() - 1]) > 0.9 && usual.iter().all(|value| used(value) < 0.75));

    let stall = planted(IncidentKind::StalledPopulation);
    let agents = values(&config, Topic::AgentMetrics);
    let gained = |population: &str| {
        let of = |late: bool| {
            let agents = agents.iter().filter(move |value| value["population"] == population);
            let at = stall.start_ms + if late { 2_300_000 } else { 0 };
            let near = agents.filter(move |value| (value["timestamp"].as_i64().unwrap() - at).abs() < 60_000);
            mean(near.collect::<Vec<_>>().into_iter(), "performance_score")
        };
        of(true) - of(false)
    };
    assert!(
        gained("delta").abs() < 0.05 && gained("atlas") > 0.15,
        "{} {}",
        gained("delta"),
        gained("atlas")
    );
}

#[test]
fn archives_hold_the_events_and_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = TelemetryConfig { topics: vec![Topic::SystemEvents, Topic::TestRuns], ..config(50_000) };
    let counted = std::sync::atomic::AtomicU64::new(0);
    let count = |events| {
        counted.fetch_add(events, std::sync::atomic::Ordering::Relaxed);
    };
    let summary = write_archives(&config, folder.path(), &count).unwrap();
    assert_eq!((summary.events(), summary.reused), (2000, false));
    assert_eq!(counted.into_inner(), 2000);
    let rows = |path: &Path| {
        let archive = ArchiveConfig {
            source_name: "x".into(),
            path: path.into(),
            topic: None,
            headers: false,
            decoded: None,
        };
        archive.resolve().unwrap().rows()
    };
    assert_eq!(rows(&folder.path().join("test-runs")), 1500);

    let again = write_archives(&config, folder.path(), &|_| {}).unwrap();
    assert_eq!(again, Summary { reused: true, ..summary });
    let other = TelemetryConfig { seed: 1, ..config.clone() };
    assert!(!write_archives(&other, folder.path(), &|_| {}).unwrap().reused);
    let file = std::fs::read_dir(folder.path().join("test-runs")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(file).unwrap();
    assert!(!write_archives(&other, folder.path(), &|_| {}).unwrap().reused, "a file is missing");
    assert_eq!(rows(&folder.path().join("test-runs")), 1500);
}

#[test]
fn the_benchmarks_events_make_sessions() {
    let config = BenchConfig { events: 100_000, sessions: 4_000, ..BenchConfig::default() };
    let mut telemetry = config.telemetry().unwrap();
    let (mut bytes, mut of_session) = (0, BTreeMap::<String, Vec<i64>>::new());
    let mut models = BTreeSet::new();
    while let Some(event) = telemetry.next_event() {
        bytes += event.value.len();
        let value: Value = serde_json::from_slice(event.value).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 12);
        let at_ms = value["started_at"].as_i64().unwrap();
        assert!((0..2000).contains(&(event.timestamp_ms - at_ms)));
        models.insert((value["provider"].to_string(), value["model"].to_string()));
        of_session.entry(value["session_id"].to_string()).or_default().push(at_ms);
    }
    assert!((245..270).contains(&(bytes / 100_000)), "{}", bytes / 100_000);
    assert_eq!((models.len(), of_session.len()), (20, 4_000));
    let visits: usize = of_session
        .into_values()
        .map(|mut times| {
            times.sort_unstable();
            1 + times.windows(2).filter(|pair| pair[1] - pair[0] >= 300_000).count()
        })
        .sum();
    assert!((10_000..15_000).contains(&visits), "{visits} sessions by a gap of five minutes");
}

#[test]
fn what_can_not_be_made_is_refused() {
    let refused = |config: TelemetryConfig| Telemetry::new(&config).unwrap_err().to_string();
    assert!(refused(TelemetryConfig { dirty: 1.5, ..config(10) }).contains("dirty is 1.5"));
    assert!(refused(TelemetryConfig { topics: vec![Topic::Traces; 2], ..config(10) }).contains("each once"));
    let mut incidents = Incident::defaults(3600);
    incidents[0].target = "openai/gpt-9".into();
    let message = refused(TelemetryConfig { incidents, ..config(10) });
    assert!(
        message.contains("openai/gpt-9, which is not there; choose one of openai, openai/gpt-5,"),
        "{message}"
    );
}
