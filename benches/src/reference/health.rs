//! J1 by hand: a minute's calls by provider and model.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use hashbrown::{Equivalent, HashMap};
use serde::Deserialize;

use super::input::Share;
use super::output::Output;
use super::{Taken, Watermark};

const MINUTE_MS: i64 = 60_000;
/// 64 buckets to an octave from 1 ms on, twenty octaves.
const BUCKETS: usize = 64 * 20;

#[derive(Deserialize)]
struct Call<'a> {
    started_at: i64,
    provider: &'a str,
    model: &'a str,
    status: &'a str,
    latency_ms: f64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cost_usd: f64,
}

#[derive(PartialEq, Eq)]
struct Key {
    minute: i64,
    provider: Box<str>,
    model: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    minute: i64,
    provider: &'a str,
    model: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef { minute: self.minute, provider: &self.provider, model: &self.model }.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.minute == key.minute && self.model == &*key.model && self.provider == &*key.provider
    }
}

struct Window {
    requests: i64,
    errors: i64,
    cost_usd: f64,
    latency_sum: f64,
    latency_max: f64,
    latencies: Vec<u32>,
    prompt_tokens: i64,
    completion_tokens: i64,
}

impl Window {
    fn new() -> Window {
        Window {
            requests: 0,
            errors: 0,
            cost_usd: 0.0,
            latency_sum: 0.0,
            latency_max: f64::MIN,
            latencies: vec![0; BUCKETS],
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }

    #[inline]
    fn add(&mut self, call: &Call<'_>) {
        self.requests += 1;
        self.errors += i64::from(call.status == "error");
        self.cost_usd += call.cost_usd;
        self.latency_sum += call.latency_ms;
        self.latency_max = self.latency_max.max(call.latency_ms);
        self.latencies[bucket(call.latency_ms)] += 1;
        self.prompt_tokens += call.prompt_tokens;
        self.completion_tokens += call.completion_tokens;
    }

    fn merge(&mut self, other: &Window) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cost_usd += other.cost_usd;
        self.latency_sum += other.latency_sum;
        self.latency_max = self.latency_max.max(other.latency_max);
        self.latencies.iter_mut().zip(&other.latencies).for_each(|(count, more)| *count += more);
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }

    fn p95(&self) -> f64 {
        let rank = (self.requests * 95 + 99) / 100;
        let mut seen = 0;
        let at = self.latencies.iter().position(|count| {
            seen += i64::from(*count);
            seen >= rank
        });
        let low = ((at.unwrap_or(0) as u64) << 46) + 1f64.to_bits();
        f64::from_bits(low + (1 << 45))
    }
}

fn bucket(latency_ms: f64) -> usize {
    let above = latency_ms.max(1.0).to_bits() - 1f64.to_bits();
    ((above >> 46) as usize).min(BUCKETS - 1)
}

/// Runs the job over all shares, a thread each. Gives back the number of events.
pub(super) fn run(shares: Vec<Share>, output: &Path) -> anyhow::Result<u64> {
    let results: Vec<anyhow::Result<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| windows(share))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let (mut events, mut merged) = (0, HashMap::<Key, Window>::new());
    for result in results {
        let (share_events, closed) = result?;
        events += share_events;
        for (key, window) in closed {
            match merged.get_mut(&key) {
                Some(into) => into.merge(&window),
                None => drop(merged.insert(key, window)),
            }
        }
    }
    let mut rows: Vec<_> = merged.iter().collect();
    rows.sort_by(|(a, _), (b, _)| (a.minute, &a.provider, &a.model).cmp(&(b.minute, &b.provider, &b.model)));
    let mut out = Output::new(output, 0);
    out.write(&batch(&rows)?)?;
    out.finish()?;
    Ok(events)
}

fn windows(share: Share) -> anyhow::Result<(u64, Vec<(Key, Window)>)> {
    let mut watermark = Watermark::new(share.partitions());
    let mut open = HashMap::<Key, Window>::new();
    let mut closed = Vec::new();
    let (mut events, mut broken) = (0, 0);
    let mut next_close = i64::MIN;
    share.take(|taken| match taken {
        Taken::Value(partition, value) => {
            events += 1;
            let Ok(call) = sonic_rs::from_slice::<Call<'_>>(value) else {
                broken += 1;
                return;
            };
            watermark.see(partition, call.started_at);
            let minute = call.started_at - call.started_at.rem_euclid(MINUTE_MS);
            let key = KeyRef { minute, provider: call.provider, model: call.model };
            if let Some(window) = open.get_mut(&key) {
                window.add(&call);
                return;
            }
            let key = Key { minute, provider: call.provider.into(), model: call.model.into() };
            let mut window = Window::new();
            window.add(&call);
            open.insert(key, window);
        }
        Taken::End(partition) => watermark.end(partition),
        Taken::Pause => {
            let now = watermark.get();
            if now >= next_close {
                closed.extend(open.extract_if(|key, _| key.minute + MINUTE_MS <= now));
                next_close = now.saturating_sub(now.rem_euclid(MINUTE_MS)).saturating_add(MINUTE_MS);
            }
        }
    })?;
    anyhow::ensure!(broken == 0, "{broken} events can't be decoded");
    closed.extend(open);
    Ok((events, closed))
}

fn batch(rows: &[(&Key, &Window)]) -> anyhow::Result<RecordBatch> {
    fn column<T: FromIterator<V> + arrow::array::Array + 'static, V>(
        rows: &[(&Key, &Window)],
        of: impl Fn(&Key, &Window) -> V,
    ) -> ArrayRef {
        Arc::new(rows.iter().map(|(key, window)| of(key, window)).collect::<T>())
    }
    let starts = TimestampMillisecondArray::from_iter_values(rows.iter().map(|(key, _)| key.minute));
    Ok(RecordBatch::try_from_iter([
        ("window_start", Arc::new(starts.with_timezone("+00:00")) as ArrayRef),
        ("provider", Arc::new(StringArray::from_iter_values(rows.iter().map(|(key, _)| &key.provider)))),
        ("model", Arc::new(StringArray::from_iter_values(rows.iter().map(|(key, _)| &key.model)))),
        ("requests", column::<Int64Array, _>(rows, |_, w| Some(w.requests))),
        ("errors", column::<Int64Array, _>(rows, |_, w| Some(w.errors))),
        ("cost_usd", column::<Float64Array, _>(rows, |_, w| Some(w.cost_usd))),
        ("latency_ms_avg", column::<Float64Array, _>(rows, |_, w| Some(w.latency_sum / w.requests as f64))),
        ("latency_ms_max", column::<Float64Array, _>(rows, |_, w| Some(w.latency_max))),
        ("latency_ms_p95", column::<Float64Array, _>(rows, |_, w| Some(w.p95()))),
        ("prompt_tokens", column::<Int64Array, _>(rows, |_, w| Some(w.prompt_tokens))),
        ("completion_tokens", column::<Int64Array, _>(rows, |_, w| Some(w.completion_tokens))),
    ])?)
}
