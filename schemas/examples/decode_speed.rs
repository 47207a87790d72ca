//! How many JSON rows a second one core decodes: calls of 257 bytes and 12 fields, into all columns and into four.
//!
//! Run it with `cargo run --profile demo -p thalweg-schemas --example decode_speed`. Seconds are the thread's own on the
//! processor where the system tells them (Linux), so that other load shows less; elsewhere they are elapsed ones.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use thalweg_schemas::{Decoder, Field, FieldType, Format, Schema, TimestampEncoding};

const ROWS: usize = 200_000;
const ROWS_PER_BATCH: usize = 8192;
const RUNS: usize = 9;

fn schema() -> Schema {
    let fields = vec![
        Field::new("request_id", FieldType::String).required(),
        Field::new("started_at", FieldType::Timestamp(TimestampEncoding::Millis)).required(),
        Field::new("provider", FieldType::String).required(),
        Field::new("model", FieldType::String).required(),
        Field::new("session_id", FieldType::String),
        Field::new("user_id", FieldType::String),
        Field::new("status", FieldType::String).required(),
        Field::new("latency_ms", FieldType::Float64),
        Field::new("prompt_tokens", FieldType::Int64),
        Field::new("completion_tokens", FieldType::Int64),
        Field::new("cost_usd", FieldType::Decimal { scale: 6 }),
        Field::new("cache_hit", FieldType::Bool),
    ];
    Schema { name: "call".into(), description: None, fields }
}

/// Payloads one behind the other, and where each ends.
fn payloads() -> Result<(String, Vec<usize>), std::fmt::Error> {
    let mut text = String::new();
    let mut ends = Vec::with_capacity(ROWS);
    for i in 0..ROWS as u64 {
        // A multiplicative generator: plain, and the same everywhere.
        let random = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let provider = ["openai", "anthropic", "mistral", "google"][(random % 4) as usize];
        let model = ["gpt-4o", "claude-3-5", "mistral-lg", "gemini-1.5"][(random % 4) as usize];
        let status = ["success", "success", "success", "error", "timeout"][(random % 5) as usize];
        write!(
            text,
            "{{\"request_id\":\"{i:08}\",\"started_at\":{},\"provider\":\"{provider}\",\"model\":\"{model}\",\
             \"session_id\":\"s{:06}\",\"user_id\":\"u{:05}\",\"status\":\"{status}\",\"latency_ms\":{}.{:03},\
             \"prompt_tokens\":{},\"completion_tokens\":{},\"cost_usd\":0.{:06},\"cache_hit\":{}}}",
            1_767_225_600_000 + i * 7,
            random % 200_000,
            random % 50_000,
            100 + random % 4000,
            random % 1000,
            50 + random % 4000,
            random % 900,
            random % 1_000_000,
            random.is_multiple_of(10),
        )?;
        ends.push(text.len());
    }
    Ok((text, ends))
}

/// Seconds that this thread has run, from some start.
fn seconds(since: Instant) -> f64 {
    let on_processor = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = on_processor.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| since.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Rows a second, the median of some runs.
fn measure(schema: &Schema, columns: &[usize], text: &str, ends: &[usize]) -> Result<f64, Box<dyn Error>> {
    let since = Instant::now();
    let mut rates = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut decoder = Decoder::new(Format::Json, schema, columns);
        let started = seconds(since);
        let mut start = 0;
        let mut rows = 0;
        for end in ends {
            decoder.push(Some(&text.as_bytes()[start..*end]))?;
            start = *end;
            if decoder.len() == ROWS_PER_BATCH {
                rows += decoder.len();
                decoder.finish();
            }
        }
        rows += decoder.len();
        decoder.finish();
        rates.push(rows as f64 / (seconds(since) - started));
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[RUNS / 2])
}

fn main() -> Result<(), Box<dyn Error>> {
    let schema = schema();
    let (text, ends) = payloads()?;
    let all: Vec<usize> = (0..schema.fields.len()).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{} rows of {} bytes on average", ends.len(), text.len() / ends.len())?;
    for (what, columns) in [("12 columns", &all[..]), ("4 columns", &[1, 2, 3, 7])] {
        let rate = measure(&schema, columns, &text, &ends)?;
        let megabytes = rate * (text.len() / ends.len()) as f64 / 1e6;
        writeln!(out, "{what:>10}: {:.2} M rows/s, {megabytes:.0} MB/s", rate / 1e6)?;
    }
    Ok(())
}
