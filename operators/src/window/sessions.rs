//! Sessions: rows of a key less than a gap apart.
//!
//! A key's open sessions hang in a short list (mostly of one). A row joins the session whose reach, from `gap` before its start to
//! `gap` after its last row, holds it; a row that lies in the reach of two joins them. Intervals merge in any order to the same
//! sessions, so arrival order does not matter.
//!
//! With a maximum length it would: where a session is cut depends on its first row, and an earlier row may still come. There,
//! rows of one key and time wait as small sessions of their own until the watermark has passed their time; then they are taken in
//! event-time order, each joining the key's newest session or opening the next.
//!
//! ```text
//!   rows ─▶ sessions, merged as they come                                ─▶ end ≤ watermark ─▶ fired    (no maximum)
//!   rows ─▶ (key, time) ─▶ time < watermark ─▶ sessions, in order of time ─▶ end ≤ watermark ─▶ fired    (maximum)
//! ```

use std::collections::BTreeMap;

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use hashbrown::HashTable;
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;

use super::fired::{Accumulators, FIRED_ROWS_MAX, Fired, FiredBatch};
use super::{Window, WindowConfig};
use crate::keyed::keys::{KEY_AT, Key, TIME_AT};
use crate::keyed::snapshot::Chain;

mod snapshot;

const NONE: u32 = u32::MAX;

/// A session, or a time of a key that waits for its turn. Its index is its group in the accumulators.
struct Session {
    hash: u64,
    start: EventTime,
    last: EventTime,
    key: Key,
    /// The key's next session.
    next: u32,
    /// Counts the uses of this slot, so that an entry of [`Sessions::due`] can tell whether it is still meant.
    generation: u32,
    /// Whether it waits for its turn.
    waiting: bool,
    /// Changed since the cut before.
    changed: bool,
}

/// The open sessions of the keys that a worker owns.
pub(super) struct Sessions {
    gap: i64,
    max: Option<i64>,
    /// Each key's first session.
    heads: HashTable<u32>,
    sessions: Vec<Session>,
    free: Vec<u32>,
    accumulators: Accumulators,
    fired: FiredBatch,
    /// Sessions to look at when the watermark reaches a time, which is at or before their end.
    due: BTreeMap<EventTime, Vec<(u32, u32)>>,
    /// With a maximum: times that wait, in order, and by key and time.
    waiting: BTreeMap<EventTime, Vec<u32>>,
    waiting_at: HashTable<u32>,
    row_groups: Vec<u32>,
    merges: Vec<(u32, u32)>,
    open: usize,
    /// Slots marked as changed since the cut before; some may be gone.
    changed: Vec<u32>,
    chain: Chain,
}

impl Sessions {
    pub(super) fn new(config: &WindowConfig) -> Self {
        let Window::Session { gap_us, max_us } = config.window else {
            unreachable!("only sessions are gathered by gap")
        };
        Sessions {
            gap: gap_us,
            max: max_us,
            heads: HashTable::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            accumulators: Accumulators::new(config),
            fired: FiredBatch::new(config),
            due: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_at: HashTable::new(),
            row_groups: Vec::new(),
            merges: Vec::new(),
            open: 0,
            changed: Vec::new(),
            chain: Chain::default(),
        }
    }

    /// Open sessions, and times that wait to join one.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Takes in a keyed batch of rows.
    pub(super) fn absorb(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        let hashes = batch.column(0).as_primitive::<UInt64Type>().values();
        let keys: &BinaryArray = batch.column(KEY_AT).as_binary();
        let times = batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>().values();
        self.row_groups.clear();
        for (row, (time, hash)) in times.iter().zip(hashes).enumerate() {
            let group = match self.max {
                None => self.join(*hash, keys.value(row), *time),
                Some(_) => self.wait(*hash, keys.value(row), *time),
            };
            self.mark_changed(group);
            self.row_groups.push(group);
        }
        self.accumulators.resize(self.sessions.len());
        self.accumulators.update(batch, &self.row_groups);
        // Rows of this batch may have gone to a session that a later row joined to another: merge after all are in.
        for (into, from) in std::mem::take(&mut self.merges) {
            self.accumulators.merge_within(into, from);
            self.accumulators.reset(&[from]);
            self.release(from);
        }
        Ok(())
    }

    #[inline]
    fn mark_changed(&mut self, at: u32) {
        let session = &mut self.sessions[at as usize];
        if !session.changed {
            session.changed = true;
            self.changed.push(at);
        }
    }

    // The session of a row, extended or opened.
    fn join(&mut self, hash: u64, key: &[u8], time: EventTime) -> u32 {
        let head = self.head(hash, key);
        let mut at = head;
        while at != NONE {
            let session = &mut self.sessions[at as usize];
            let reached =
                time > session.start.saturating_sub(self.gap) && time < session.last.saturating_add(self.gap);
            if reached {
                if time >= session.start && time <= session.last {
                    return at;
                }
                session.start = session.start.min(time);
                session.last = session.last.max(time);
                // Alone in its list, as most are: nothing to bridge to.
                if at != head || session.next != NONE {
                    self.absorb_neighbours(head, at);
                }
                return at;
            }
            at = session.next;
        }
        let opened = self.open_slot(hash, key, time);
        self.link(opened, head);
        self.add_due(opened);
        opened
    }

    // Joins to `at` what its grown reach now touches.
    fn absorb_neighbours(&mut self, head: u32, at: u32) {
        let mut other = head;
        while other != NONE {
            let next = self.sessions[other as usize].next;
            let (a, b) = (&self.sessions[at as usize], &self.sessions[other as usize]);
            let touches =
                b.start < a.last.saturating_add(self.gap) && a.start < b.last.saturating_add(self.gap);
            if other != at && touches {
                let (start, last) = (a.start.min(b.start), a.last.max(b.last));
                self.sessions[at as usize].start = start;
                self.sessions[at as usize].last = last;
                self.unlink(other);
                self.merges.push((at, other));
            }
            other = next;
        }
    }

    // The waiting place of a row's key and time.
    fn wait(&mut self, hash: u64, key: &[u8], time: EventTime) -> u32 {
        let sessions = &self.sessions;
        let found = self.waiting_at.find(waiting_hash(hash, time), |at| {
            let session = &sessions[*at as usize];
            session.start == time && session.hash == hash && *session.key == *key
        });
        if let Some(at) = found {
            return *at;
        }
        let opened = self.open_slot(hash, key, time);
        let sessions = &self.sessions;
        self.waiting_at.insert_unique(waiting_hash(hash, time), opened, |at| {
            let session = &sessions[*at as usize];
            waiting_hash(session.hash, session.start)
        });
        self.waiting.entry(time).or_default().push(opened);
        self.sessions[opened as usize].waiting = true;
        opened
    }

    /// Gives out every session that ends at or before `watermark`.
    pub(super) fn fire(
        &mut self,
        watermark: EventTime,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        if let Some(max) = self.max {
            self.settle(watermark, max);
        }
        let mut ended: Vec<u32> = Vec::new();
        let mut later: Vec<u32> = Vec::new();
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > watermark {
                break;
            }
            for (at, generation) in entry.remove() {
                if self.sessions[at as usize].generation != generation {
                    continue;
                }
                if self.end(at) <= watermark { ended.push(at) } else { later.push(at) }
            }
        }
        later.into_iter().for_each(|at| self.add_due(at));
        for part in ended.chunks(FIRED_ROWS_MAX) {
            let windows: Vec<Fired<'_>> = part
                .iter()
                .map(|at| {
                    let session = &self.sessions[*at as usize];
                    Fired { group: *at, start: session.start, end: self.end(*at), key: &session.key }
                })
                .collect();
            emit(self.fired.build(&windows, &self.accumulators)?);
        }
        self.accumulators.reset(&ended);
        for at in ended {
            self.unlink(at);
            self.release(at);
        }
        Ok(())
    }

    // Takes the times before `watermark` into the sessions of their keys, in order: no earlier row can come any more.
    fn settle(&mut self, watermark: EventTime, max: i64) {
        while let Some(entry) = self.waiting.first_entry() {
            let time = *entry.key();
            if time >= watermark && watermark != EventTime::MAX {
                break;
            }
            for at in entry.remove() {
                let hash = self.sessions[at as usize].hash;
                if let Ok(entry) = self.waiting_at.find_entry(waiting_hash(hash, time), |other| *other == at)
                {
                    entry.remove();
                }
                let head = self.head(hash, &self.sessions[at as usize].key);
                match self.newest(head) {
                    Some(session) if self.takes(session, time, max) => {
                        self.sessions[session as usize].last = time;
                        self.accumulators.merge_within(session, at);
                        self.accumulators.reset(&[at]);
                        self.release(at);
                        self.mark_changed(session);
                    }
                    _ => {
                        self.sessions[at as usize].waiting = false;
                        self.link(at, head);
                        self.add_due(at);
                        self.mark_changed(at);
                    }
                }
            }
        }
    }

    fn takes(&self, session: u32, time: EventTime, max: i64) -> bool {
        let session = &self.sessions[session as usize];
        time < session.last.saturating_add(self.gap) && time < session.start.saturating_add(max)
    }

    // Of a key's sessions, the one that starts last.
    fn newest(&self, head: u32) -> Option<u32> {
        let (mut at, mut newest) = (head, None);
        while at != NONE {
            if newest.is_none_or(|n: u32| self.sessions[n as usize].start < self.sessions[at as usize].start)
            {
                newest = Some(at);
            }
            at = self.sessions[at as usize].next;
        }
        newest
    }

    fn end(&self, at: u32) -> EventTime {
        let session = &self.sessions[at as usize];
        let end = session.last.saturating_add(self.gap);
        self.max.map_or(end, |max| end.min(session.start.saturating_add(max)))
    }

    // Times are grouped to a sixteenth of the gap, so that entries stay few; a session is looked at again until it has ended.
    fn add_due(&mut self, at: u32) {
        let end = self.end(at);
        let step = (self.gap / 16).max(1);
        let looked_at = end.saturating_sub(end.rem_euclid(step));
        self.due.entry(looked_at).or_default().push((at, self.sessions[at as usize].generation));
    }

    fn head(&self, hash: u64, key: &[u8]) -> u32 {
        let sessions = &self.sessions;
        let found = self.heads.find(hash, |at| {
            let session = &sessions[*at as usize];
            session.hash == hash && *session.key == *key
        });
        found.copied().unwrap_or(NONE)
    }

    // A slot for a session of one row, not yet in its key's list.
    fn open_slot(&mut self, hash: u64, key: &[u8], time: EventTime) -> u32 {
        self.open += 1;
        let session = |generation| Session {
            hash,
            start: time,
            last: time,
            key: key.into(),
            next: NONE,
            generation,
            waiting: false,
            changed: false,
        };
        match self.free.pop() {
            Some(at) => {
                self.sessions[at as usize] = session(self.sessions[at as usize].generation);
                at
            }
            None => {
                self.sessions.push(session(0));
                u32::try_from(self.sessions.len() - 1)
                    .expect("invariant: fewer than 2^32 sessions fit into memory")
            }
        }
    }

    // Puts a slot into its key's list: first, or behind the first, which the table points at.
    fn link(&mut self, at: u32, head: u32) {
        if head == NONE {
            let sessions = &self.sessions;
            self.heads.insert_unique(sessions[at as usize].hash, at, |at| sessions[*at as usize].hash);
        } else {
            self.sessions[at as usize].next = self.sessions[head as usize].next;
            self.sessions[head as usize].next = at;
        }
    }

    // Takes a session out of its key's list.
    fn unlink(&mut self, at: u32) {
        let (hash, next) = (self.sessions[at as usize].hash, self.sessions[at as usize].next);
        let head = self.head(hash, &self.sessions[at as usize].key);
        if head == at {
            let entry = self.heads.find_entry(hash, |other| *other == at);
            let entry = entry.unwrap_or_else(|_| unreachable!("a head is in the table"));
            if next == NONE {
                entry.remove();
            } else {
                *entry.into_mut() = next;
            }
            return;
        }
        let mut before = head;
        while self.sessions[before as usize].next != at {
            before = self.sessions[before as usize].next;
        }
        self.sessions[before as usize].next = next;
    }

    // Gives a slot back, unlinked before.
    fn release(&mut self, at: u32) {
        let session = &mut self.sessions[at as usize];
        session.generation = session.generation.wrapping_add(1);
        session.key = Key::default();
        session.next = NONE;
        (session.waiting, session.changed) = (false, false);
        self.free.push(at);
        self.open -= 1;
    }
}

fn waiting_hash(hash: u64, time: EventTime) -> u64 {
    (hash ^ time as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
