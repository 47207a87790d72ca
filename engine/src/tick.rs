//! When a source closes a tick: after so many rows or bytes, or so much time.
//!
//! A tick is long enough that per-tick work (progress messages, partial aggregates) is small against its rows, and short
//! enough that a result follows its data soon. What the limits are never changes a result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Tick;

/// How much a source reads into one tick, and how far it may run ahead of the slowest sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickLimits {
    /// Rows after which a tick closes.
    pub rows_max: usize,
    /// Payload bytes after which a tick closes.
    pub bytes_max: usize,
    /// Time after which a tick with rows closes.
    pub age_max: Duration,
    /// Closed ticks of a worker's source that the sinks have not taken yet: no more than this.
    pub ahead_ticks_max: usize,
    /// Payload bytes in them: no more than this.
    pub ahead_bytes_max: usize,
}

impl Default for TickLimits {
    fn default() -> Self {
        TickLimits {
            rows_max: 65_536,
            bytes_max: 8 << 20,
            age_max: Duration::from_millis(100),
            ahead_ticks_max: 4,
            ahead_bytes_max: 32 << 20,
        }
    }
}

/// The epoch of a tick: an epoch ends with the checkpoint of its number. See [`crate::checkpoint`].
pub fn epoch_of(tick: Tick) -> u64 {
    tick >> 32
}

/// The first tick of an epoch.
pub fn first_tick(epoch: u64) -> Tick {
    epoch << 32
}

/// The last tick of an epoch.
pub fn last_tick(epoch: u64) -> Tick {
    first_tick(epoch + 1) - 1
}

/// The highest tick that any source has opened, as far as this process knows.
///
/// Sources count ticks on their own. One that has little to read would hold back the ticks of a busy one, and through the
/// gate its reading: so each takes its next tick from here. Of the ticks of other processes it learns from their watermark
/// reports ([`crate::watermark::keep_abreast`]).
#[derive(Debug, Clone, Default)]
pub struct TickClock(Arc<AtomicU64>);

impl TickClock {
    /// The tick to open after `closed`: the next one, or the highest that another source has open.
    pub fn after(&self, closed: Tick) -> Tick {
        // Relaxed: a stale value only means one more jump later.
        let highest = self.0.fetch_max(closed + 1, Ordering::Relaxed);
        highest.max(closed + 1)
    }

    /// Notes that a source, perhaps of another process, has opened `tick`.
    pub fn reach(&self, tick: Tick) {
        self.0.fetch_max(tick, Ordering::Relaxed);
    }

    /// Asks for the next checkpoint: every source goes to the next epoch with its next tick. Gives back the epoch that ends.
    pub fn end_epoch(&self) -> u64 {
        let epoch = epoch_of(self.highest());
        self.reach(first_tick(epoch + 1));
        epoch
    }

    /// The highest tick opened so far.
    pub fn highest(&self) -> Tick {
        self.0.load(Ordering::Relaxed)
    }
}
