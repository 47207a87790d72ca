//! JSON to columns.

use thalweg_schemas::{Decoder, Format};

use super::{Part, mean_of_runs, nanoseconds_each};
use crate::data::call_schema;

const BATCH_ROWS: usize = 8192;

/// Decodes payloads into all twelve columns, and into those of J1, the other fields being checked only.
pub(crate) fn decode(payloads: &[Vec<u8>]) -> anyhow::Result<Vec<Part>> {
    let schema = call_schema();
    let all: Vec<usize> = (0..schema.fields.len()).collect();
    let wanted = [
        "started_at",
        "provider",
        "model",
        "status",
        "latency_ms",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
    ];
    let of_j1: Vec<usize> = wanted.iter().filter_map(|name| schema.index_of(name)).collect();
    let measure = |columns: &[usize]| {
        let mut decoder = Decoder::new(Format::Json, &schema, columns);
        let time = mean_of_runs(|| {
            for batch in payloads.chunks(BATCH_ROWS) {
                for payload in batch {
                    decoder.push(Some(payload)).expect("invariant: generated events decode");
                }
                std::hint::black_box(decoder.finish());
            }
        })?;
        anyhow::Ok(nanoseconds_each(time, payloads.len()))
    };
    Ok(vec![
        Part::new("decode: 12 columns", measure(&all)?).held_to(1e9 / 1.5e6),
        Part::new("decode: the 8 columns of J1", measure(&of_j1)?),
    ])
}
