//! How long a `group by` takes over a Parquet folder: `cargo run --profile demo -p thalweg-query --example group_by`.
//!
//! Writes two million rows as a Parquet sink would (64 hive folders), then asks.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use thalweg_query::Session;

const DAYS: usize = 64;
const ROWS_PER_DAY: usize = 31_250;
const QUERIES: [&str; 7] = [
    "select 1",
    "select count(*) from calls",
    "select provider, model, count(*), sum(cost_usd), avg(latency_ms) from calls group by provider, model",
    "select window_date, count(*), max(latency_ms) from calls group by window_date",
    "select provider, count(*) from calls where window_date = '2026-01-03' group by provider",
    "select model, approx_percentile_cont(latency_ms, 0.95) from calls where provider = 'provider-3' group by model",
    "select user_id, count(*) as n from calls group by user_id order by n desc limit 5",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for day in 0..DAYS {
        let date = format!("2026-{:02}-{:02}", day / 28 + 1, day % 28 + 1);
        write_day(&folder.path().join(format!("calls/window_date={date}")), day)?;
    }
    let mut out = std::io::stdout().lock();
    let start = Instant::now();
    let session = Session::open(folder.path())?;
    writeln!(out, "open: {:?}", start.elapsed())?;
    for sql in QUERIES {
        let mut best = std::time::Duration::MAX;
        let mut first = None;
        for _ in 0..5 {
            let start = Instant::now();
            session.query(sql)?;
            let took = start.elapsed();
            first.get_or_insert(took);
            best = best.min(took);
        }
        writeln!(out, "first {:>9.1?}  best {best:>9.1?}  {sql}", first.unwrap_or_default())?;
    }
    Ok(())
}

fn write_day(folder: &Path, day: usize) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    let rows = day * ROWS_PER_DAY..(day + 1) * ROWS_PER_DAY;
    // Spreads a row's number over its bits.
    let mixed = |row: usize| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let text = |name: &'static str, count: u64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            rows.clone().map(|row| format!("{name}-{}", mixed(row) % count)),
        ))
    };
    let start =
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| row as i64 * 1000)));
    let latency =
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| (mixed(row) % 10_000) as i64)));
    let cost =
        Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| (mixed(row) % 977) as f64 / 1e4)));
    let columns: [(&str, ArrayRef); 6] = [
        ("started_at", start),
        ("provider", text("provider", 8)),
        ("model", text("model", 40)),
        ("user_id", text("user", 50_000)),
        ("latency_ms", latency),
        ("cost_usd", cost),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut writer =
        ArrowWriter::try_new(File::create(folder.join("part-0.parquet"))?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
