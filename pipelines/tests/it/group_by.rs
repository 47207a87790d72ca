//! Tumbling windows against DataFusion's own `GROUP BY` of the same rows.
//!
//! ```text
//!   archive ─┬─▶ job ────────────────────────────────────▶ rows ─┐
//!            └─▶ values ─▶ serde_json ─▶ Parquet ─▶ date_bin, GROUP BY ─▶ rows ─┴─▶ equal
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use serde::Deserialize;
use thalweg::run::RunOptions;
use thalweg_query::Session;
use thalweg_schemas::time::timestamp_type;
use thalweg_telemetry::{TelemetryConfig, Topic, Volume, write_archives};

use crate::support::{job, plan, query};

/// Of all topics together, of which this one's share is 32 %.
const EVENTS: u64 = 625_000;
const ROWS: u64 = 200_000;
/// Far below what sums of a few hundred floats in any order may differ by, far above what they do.
const RELATIVE: f64 = 1e-12;

/// Aggregates that are equal to the last digit.
const EXACT: &[(&str, &str)] = &[
    ("requests", "count(*)"),
    ("first_tokens", "count(ttft_ms)"),
    ("errors", "count(*) filter (where status = 'error')"),
    ("backends", "count(distinct backend_id)"),
    ("prompt_tokens", "sum(prompt_tokens)"),
    ("slow_tokens", "sum(completion_tokens) filter (where latency_ms > 1000)"),
    ("cost_usd", "sum(cost_usd)"),
    ("cost_least", "min(cost_usd)"),
    ("cost_most", "max(cost_usd)"),
    ("tokens_least", "min(prompt_tokens)"),
    ("tokens_most", "max(prompt_tokens)"),
];
/// Those that are no numbers, and floats that are not computed with.
const AS_THEY_ARE: &[(&str, &str)] = &[
    ("latency_least", "min(latency_ms)"),
    ("latency_most", "max(latency_ms)"),
    ("ttft_most", "max(ttft_ms)"),
    ("status_least", "min(status)"),
    ("session_most", "max(session_id)"),
    ("started_most", "max(started_at)"),
    ("any_hit", "bool_or(cache_hit)"),
    ("all_hits", "bool_and(cache_hit)"),
];
/// Float sums: rounded once here, after every row there.
const FLOATS: &[(&str, &str)] = &[
    ("latency_sum", "sum(latency_ms / 7)"),
    ("latency_mean", "avg(latency_ms)"),
    ("ttft_sum", "sum(ttft_ms * 0.1)"),
    ("tokens_mean", "avg(completion_tokens)"),
];

#[derive(Deserialize)]
struct Request {
    started_at: i64,
    provider: String,
    model: String,
    backend_id: String,
    session_id: String,
    status: String,
    latency_ms: f64,
    ttft_ms: Option<f64>,
    prompt_tokens: i64,
    completion_tokens: i64,
    cost_usd: f64,
    cache_hit: bool,
}

/// The archive's values as a typed table, `typed/requests`.
fn write_typed(archives: &Path, typed: &Path) {
    let session = Session::open(archives).expect("the archives");
    let values = session.query("select value from \"provider-requests\"").expect("the values");
    let (mut at, mut provider, mut model) = (
        TimestampMicrosecondBuilder::new().with_data_type(timestamp_type()),
        StringBuilder::new(),
        StringBuilder::new(),
    );
    let (mut backend, mut session_id, mut status) =
        (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut latency, mut ttft) = (Float64Builder::new(), Float64Builder::new());
    let (mut prompt, mut completion) = (Int64Builder::new(), Int64Builder::new());
    let mut cost = Decimal128Builder::new().with_data_type(DataType::Decimal128(18, 6));
    let mut hit = BooleanBuilder::new();
    for batch in values.batches {
        let values = cast(batch.column(0), &DataType::Binary).expect("bytes");
        for value in values.as_binary::<i32>().iter() {
            let request: Request = serde_json::from_slice(value.expect("a payload"))
                .expect("a request that nothing is wrong with");
            at.append_value(request.started_at * 1000);
            provider.append_value(request.provider);
            model.append_value(request.model);
            backend.append_value(request.backend_id);
            session_id.append_value(request.session_id);
            status.append_value(request.status);
            latency.append_value(request.latency_ms);
            ttft.append_option(request.ttft_ms);
            prompt.append_value(request.prompt_tokens);
            completion.append_value(request.completion_tokens);
            // Six digits behind the point: a float this small names the decimal that was written.
            cost.append_value((request.cost_usd * 1e6).round() as i128);
            hit.append_value(request.cache_hit);
        }
    }
    let columns: [(&str, ArrayRef); 12] = [
        ("started_at", Arc::new(at.finish())),
        ("provider", Arc::new(provider.finish())),
        ("model", Arc::new(model.finish())),
        ("backend_id", Arc::new(backend.finish())),
        ("session_id", Arc::new(session_id.finish())),
        ("status", Arc::new(status.finish())),
        ("latency_ms", Arc::new(latency.finish())),
        ("ttft_ms", Arc::new(ttft.finish())),
        ("prompt_tokens", Arc::new(prompt.finish())),
        ("completion_tokens", Arc::new(completion.finish())),
        ("cost_usd", Arc::new(cost.finish())),
        ("cache_hit", Arc::new(hit.finish())),
    ];
    let table = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, name == "ttft_ms")),
    )
    .expect("a table");
    assert_eq!(table.num_rows() as u64, ROWS);
    let folder = typed.join("requests");
    fs::create_dir_all(&folder).expect("a folder");
    let file = File::create(folder.join("part.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).expect("a Parquet writer");
    writer.write(&table).expect("rows");
    writer.close().expect("a Parquet file");
}

fn pipeline(window: &str) -> String {
    let aggregates: String = [EXACT, AS_THEY_ARE, FLOATS]
        .iter()
        .flat_map(|list| list.iter())
        .map(|(name, sql)| format!("      {name}: \"{sql}\"\n"))
        .collect();
    format!(
        r#"
pipeline: requests
sources:
  requests:
    archive: {{ path: "${{ARCHIVES}}/provider-requests" }}
    schema: provider_request
    # Nothing is late: every row that DataFusion sees counts.
    event_time: {{ field: started_at, lateness: 2h }}
steps:
  grouped:
    from: requests
    window: {{ tumbling: {window} }}
    by: [provider, model]
    select:
{aggregates}
sinks:
  grouped: {{ from: grouped, parquet: {{ partition_by: [window_date, provider] }} }}
"#
    )
}

/// Group: exact values as text, and floats.
type Groups = BTreeMap<String, (Vec<String>, Vec<f64>)>;

/// The groups of a table that has all aggregates as columns.
fn groups(folder: &Path, table: &str) -> Groups {
    let exact =
        EXACT.iter().map(|(name, _)| format!("cast(cast({name} as decimal(38, 6)) as varchar) as {name}"));
    let others = AS_THEY_ARE.iter().map(|(name, _)| format!("cast({name} as varchar) as {name}"));
    let floats = FLOATS.iter().map(|(name, _)| (*name).to_owned());
    let columns: Vec<String> = exact.chain(others).chain(floats).collect();
    let columns = columns.join(", ");
    let sql = format!(
        "select concat(cast(window_start as varchar), ' ', provider, ' ', model) as grp, {columns} from {table}"
    );
    let mut groups = Groups::new();
    for row in query(folder, &sql) {
        let exact = EXACT.iter().chain(AS_THEY_ARE).map(|(name, _)| format!("{name} {}", row[*name]));
        let floats = FLOATS.iter().map(|(name, _)| row[*name].as_f64().unwrap_or(f64::NAN));
        let group = row["grp"].as_str().expect("the group's name").to_owned();
        let before = groups.insert(group.clone(), (exact.collect(), floats.collect()));
        assert_eq!(before, None, "{table} has two rows of {group}");
    }
    groups
}

fn same_float(left: f64, right: f64) -> bool {
    // Both null, or both NaN.
    left.is_nan() && right.is_nan() || (left - right).abs() <= RELATIVE * left.abs().max(right.abs())
}

#[test]
fn tumbling_windows_are_a_group_by() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (archives, typed) = (folder.path().join("archives"), folder.path().join("typed"));
    let config = TelemetryConfig {
        topics: vec![Topic::ProviderRequests],
        volume: Volume::Events(EVENTS),
        dirty: 0.0,
        ..TelemetryConfig::default()
    };
    assert_eq!(config.events_total(), ROWS);
    write_archives(&config, &archives, &|_| {}).expect("the archive");
    write_typed(&archives, &typed);

    for (window, interval, workers) in [("1m", "1 minute", 3), ("7s", "7 seconds", 2)] {
        let output = folder.path().join(window);
        let summary = job(&plan(&pipeline(window), &archives), &RunOptions::new(workers, &output));
        assert_eq!((summary.sources[0].read, summary.sources[0].accepted), (ROWS, ROWS));

        let aggregates: Vec<String> = [EXACT, AS_THEY_ARE, FLOATS]
            .iter()
            .flat_map(|list| list.iter())
            .map(|(name, sql)| format!("{sql} as {name}"))
            .collect();
        let grouped = format!(
            "(select date_bin(interval '{interval}', started_at) as window_start, provider, model, {} \
             from requests group by 1, 2, 3)",
            aggregates.join(", ")
        );
        let (ours, theirs) = (groups(&output, "grouped"), groups(&typed, &grouped));
        assert!(ours.len() > 500, "only {} groups of {window}", ours.len());
        assert!(ours.keys().eq(theirs.keys()), "{window}: other groups than DataFusion's");
        for (group, (exact, floats)) in &ours {
            let (exact_there, floats_there) = &theirs[group];
            assert_eq!(exact, exact_there, "{window}: {group}");
            for (at, (name, _)) in FLOATS.iter().enumerate() {
                let (here, there) = (floats[at], floats_there[at]);
                assert!(
                    same_float(here, there),
                    "{window}: {group}: {name} is {here}, DataFusion says {there}"
                );
            }
        }
    }
}
