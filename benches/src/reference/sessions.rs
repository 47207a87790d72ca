//! J2 by hand: sessions by session id.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use hashbrown::{Equivalent, HashMap};
use serde::Deserialize;

use super::input::Share;
use super::output::Output;
use super::{Taken, Watermark};

const GAP_MS: i64 = 5 * 60_000;
/// The map is looked through for sessions that have ended when the watermark has gone on by so much.
const SWEEP_MS: i64 = 60_000;
const BATCH_ROWS: usize = 16_384;

#[derive(Deserialize)]
struct Call<'a> {
    started_at: i64,
    session_id: &'a str,
    latency_ms: f64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cost_usd: f64,
}

#[derive(Clone, Copy)]
struct Session {
    start: i64,
    last: i64,
    requests: i64,
    cost_usd: f64,
    latency_max: f64,
    prompt_tokens: i64,
    completion_tokens: i64,
}

impl Session {
    fn of(call: &Call<'_>) -> Session {
        Session {
            start: call.started_at,
            last: call.started_at,
            requests: 1,
            cost_usd: call.cost_usd,
            latency_max: call.latency_ms,
            prompt_tokens: call.prompt_tokens,
            completion_tokens: call.completion_tokens,
        }
    }

    fn reaches(&self, other: &Session) -> bool {
        other.start < self.last + GAP_MS && self.start < other.last + GAP_MS
    }

    #[inline]
    fn merge(&mut self, other: &Session) {
        self.start = self.start.min(other.start);
        self.last = self.last.max(other.last);
        self.requests += other.requests;
        self.cost_usd += other.cost_usd;
        self.latency_max = self.latency_max.max(other.latency_max);
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

/// A session id, held in the map itself: up to 23 bytes, which is all that this topic needs.
#[derive(PartialEq, Eq)]
struct Id {
    length: u8,
    bytes: [u8; Id::MAX],
}

impl Id {
    const MAX: usize = 23;

    fn new(id: &str) -> Option<Id> {
        let mut bytes = [0; Id::MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id.as_bytes());
        Some(Id { length: id.len() as u8, bytes })
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        IdRef(self.text()).hash(state);
    }
}

#[derive(Hash)]
struct IdRef<'a>(&'a [u8]);

impl Equivalent<Id> for IdRef<'_> {
    fn equivalent(&self, id: &Id) -> bool {
        self.0 == id.text()
    }
}

/// The open sessions of an id: nearly always one.
struct Open {
    session: Session,
    others: Vec<Session>,
}

impl Open {
    #[inline]
    fn add(&mut self, call: Session) {
        if self.others.is_empty() && self.session.reaches(&call) {
            self.session.merge(&call);
            return;
        }
        self.add_slow(call);
    }

    // Calls come a little out of order, so one may join two sessions that had been apart.
    #[cold]
    fn add_slow(&mut self, mut call: Session) {
        let mut apart = Vec::new();
        let open = std::mem::take(&mut self.others);
        let first = self.session;
        for session in std::iter::once(first).chain(open) {
            if session.reaches(&call) { call.merge(&session) } else { apart.push(session) }
        }
        self.session = call;
        self.others = apart;
    }
}

#[derive(Default)]
struct Columns {
    session_id: StringBuilder,
    start: TimestampMillisecondBuilder,
    end: TimestampMillisecondBuilder,
    requests: Int64Builder,
    cost_usd: Float64Builder,
    latency_max: Float64Builder,
    prompt_tokens: Int64Builder,
    completion_tokens: Int64Builder,
    rows: usize,
}

impl Columns {
    fn push(&mut self, id: &Id, session: &Session) {
        self.session_id.append_value(String::from_utf8_lossy(id.text()));
        self.start.append_value(session.start);
        self.end.append_value(session.last + GAP_MS);
        self.requests.append_value(session.requests);
        self.cost_usd.append_value(session.cost_usd);
        self.latency_max.append_value(session.latency_max);
        self.prompt_tokens.append_value(session.prompt_tokens);
        self.completion_tokens.append_value(session.completion_tokens);
        self.rows += 1;
    }

    fn finish(&mut self) -> anyhow::Result<RecordBatch> {
        self.rows = 0;
        Ok(RecordBatch::try_from_iter([
            ("window_start", Arc::new(self.start.finish().with_timezone("+00:00")) as ArrayRef),
            ("window_end", Arc::new(self.end.finish().with_timezone("+00:00"))),
            ("session_id", Arc::new(self.session_id.finish())),
            ("requests", Arc::new(self.requests.finish())),
            ("cost_usd", Arc::new(self.cost_usd.finish())),
            ("latency_ms_max", Arc::new(self.latency_max.finish())),
            ("prompt_tokens", Arc::new(self.prompt_tokens.finish())),
            ("completion_tokens", Arc::new(self.completion_tokens.finish())),
        ])?)
    }
}

/// Runs the job over all shares, a thread each. Gives back the number of events.
pub(super) fn run(shares: Vec<Share>, output: &Path) -> anyhow::Result<u64> {
    std::thread::scope(|scope| {
        let spawn = |(thread, share)| scope.spawn(move || sessions(share, Output::new(output, thread)));
        let threads: Vec<_> = shares.into_iter().enumerate().map(spawn).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).sum()
    })
}

fn sessions(share: Share, mut output: Output) -> anyhow::Result<u64> {
    let mut watermark = Watermark::new(share.partitions());
    let mut open = HashMap::<Id, Open>::new();
    let mut columns = Columns::default();
    let (mut events, mut broken, mut next_sweep) = (0, 0, i64::MIN);
    let mut written = Ok(());
    share.take(|taken| match taken {
        Taken::Value(partition, value) => {
            events += 1;
            let Ok(call) = sonic_rs::from_slice::<Call<'_>>(value) else {
                broken += 1;
                return;
            };
            watermark.see(partition, call.started_at);
            let session = Session::of(&call);
            if let Some(of_id) = open.get_mut(&IdRef(call.session_id.as_bytes())) {
                of_id.add(session);
            } else if let Some(id) = Id::new(call.session_id) {
                open.insert(id, Open { session, others: Vec::new() });
            } else {
                broken += 1;
            }
        }
        Taken::End(partition) => watermark.end(partition),
        Taken::Pause => {
            let now = watermark.get();
            if now >= next_sweep && written.is_ok() {
                next_sweep = now.saturating_add(SWEEP_MS);
                written = sweep(&mut open, now, &mut columns, &mut output);
            }
        }
    })?;
    anyhow::ensure!(broken == 0, "{broken} events can't be decoded");
    written?;
    sweep(&mut open, i64::MAX, &mut columns, &mut output)?;
    if columns.rows > 0 {
        output.write(&columns.finish()?)?;
    }
    output.finish()?;
    Ok(events)
}

fn sweep(
    open: &mut HashMap<Id, Open>,
    now: i64,
    columns: &mut Columns,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut written = Ok(());
    open.retain(|id, of_id| {
        let mut give = |session: &Session| {
            columns.push(id, session);
            if columns.rows == BATCH_ROWS && written.is_ok() {
                written = columns.finish().and_then(|batch| output.write(&batch));
            }
        };
        of_id.others.retain(|session| {
            let ended = session.last.saturating_add(GAP_MS) <= now;
            if ended {
                give(session);
            }
            !ended
        });
        if of_id.session.last.saturating_add(GAP_MS) > now {
            return true;
        }
        give(&of_id.session);
        match of_id.others.pop() {
            Some(other) => {
                of_id.session = other;
                true
            }
            None => false,
        }
    });
    written
}
