//! From rarities to alarms: a p-value of the row, events, and a threshold that makes as many false events as were asked for.
//!
//! Each way to raise an alarm says how rare a row is; the rarest counts, and how rare *that* is among the key's own rows is the p-value. So
//! ways that overlap, or are many, cost nothing.
//!
//! An event begins with a row whose p-value is at most the threshold, and lasts while p-values stay at most [`RELEASE`] times it. Rows of an event
//! are anomalies, so consecutive anomalous rows are one alarm. Rare rows come in clusters, and a cluster is one event: the threshold for rows
//! is that for events times the mean size of clusters (one over the extremal index: Leadbetter, Extremes and local dependence in
//! stationary sequences, 1983; estimated by runs).
//!
//! Of an event only the first row teaches how rare rows are, once it is over (before, it would make those that follow less rare): all of them would make a long incident ordinary, and none would make the tail
//! ever thinner. An event that begins far beyond what the tail, continued, lets expect is no chance and teaches nothing. Nor does any row for a
//! while after an event that lasted until it was settled, since what is odd for so long often goes on being odd in other ways; but after that
//! while rows teach for at least a quarter as long, so that what stays becomes ordinary.

use super::fields::Fields;
use super::tail::Tail;
use crate::bytes::StateError;

/// How much commoner than the threshold a row may be for an event to go on.
const RELEASE: f64 = 8.0;

/// Clusters are measured among rows commoner than the threshold by this factor, of which there are enough.
const CLUSTERS_AT: f64 = 8.0;

/// Events that the mean size of clusters is remembered over.
const CLUSTERS: f64 = 100.0;

/// The largest mean size of clusters.
const CLUSTER_MAX: f64 = 8.0;

/// −ln p beyond the threshold by which an event begins that is no chance.
const NO_CHANCE: f64 = 2.5;

/// Steps of the scale of rarities per unit of −ln p.
const STEPS_PER_UNIT: f64 = 4.0;

/// Rows before which its tail raises no alarm, and is not gone by where something else is.
const ROWS_MIN: f64 = 32.0;
const ROWS_EARLY: f64 = 96.0;

/// The calibration of one key.
#[derive(Debug, Clone)]
pub(crate) struct Calibration {
    tail: Tail<64>,
    rows: f64,
    clusters: f64,
    clustered: f64,
    in_cluster: bool,
    /// Rows of the event that is on; 0: none is.
    event_rows: u32,
    event_since_us: i64,
    /// −ln p of the event's rarest row.
    event_rarity: f64,
    /// Where the event's first row is to teach, once it is over; below 0: nowhere.
    lesson: f64,
    /// Rows left of the time after an event that was settled: of the part in which nothing teaches, then of the other.
    aftermath: (u32, u32),
}

/// What calibration says of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ruling {
    /// The share of rows that were at least as rare.
    pub p_value: f64,
    /// Whether the row belongs to an event.
    pub anomaly: bool,
    /// Rows of the event, with this one.
    pub event_rows: u32,
    /// When it began.
    pub event_since_us: i64,
    /// −ln p of its rarest row.
    pub event_rarity: f64,
    /// −ln p at which a row begins an event.
    pub threshold: f64,
    /// Whether the row teaches how rare rows are.
    pub teaches: bool,
}

impl Calibration {
    /// Of nothing.
    pub fn new() -> Self {
        Calibration {
            tail: Tail::new(),
            rows: 0.0,
            clusters: 0.0,
            clustered: 0.0,
            in_cluster: false,
            event_rows: 0,
            event_since_us: 0,
            event_rarity: 0.0,
            lesson: -1.0,
            aftermath: (0, 0),
        }
    }

    /// Whether a short past is better judged by itself, where a method can.
    pub fn is_early(&self) -> bool {
        self.rows < ROWS_EARLY
    }

    /// Rules on a row as rare as `rarity` says (−ln p of its rarest view, if any tells), where `wanted` events a row are wanted; until enough is
    /// known, as rare as `early` says, by itself. Learns from it too.
    pub fn rule(&mut self, rarity: Option<f64>, early: Option<f64>, wanted: f64, time_us: i64) -> Ruling {
        let size = if self.clusters >= 8.0 { self.clustered / self.clusters } else { 1.0 };
        let allowed = (wanted * size.clamp(1.0, CLUSTER_MAX)).clamp(1e-12, 0.05);
        let place = rarity.unwrap_or(0.0) * STEPS_PER_UNIT;
        let early = early.filter(|_| self.is_early());
        let overall = early.unwrap_or_else(|| self.tail.rarity(place));
        let p_value = libm::exp(-overall);
        let ready = self.rows >= ROWS_MIN || early.is_some();
        let begins = ready && p_value <= allowed;
        let goes_on = self.event_rows > 0 && p_value <= (allowed * RELEASE).min(0.1);
        let anomaly = begins || goes_on;
        if !anomaly {
            self.end_event();
        } else {
            if self.event_rows == 0 {
                self.event_since_us = time_us;
            }
            self.event_rows = self.event_rows.saturating_add(1);
            self.event_rarity = self.event_rarity.max(overall);
        }
        let threshold = -libm::log(allowed);
        let teaches = match self.event_rows {
            _ if self.aftermath.0 > 0 => false,
            0 => true,
            1 => early.unwrap_or_else(|| self.tail.rarity_continued(place)) < threshold + NO_CHANCE,
            _ => false,
        };
        match &mut self.aftermath {
            (0, again) => *again = again.saturating_sub(1),
            (silent, _) => *silent -= 1,
        }
        if teaches && rarity.is_some() {
            if anomaly {
                self.lesson = place.max(0.0);
            } else {
                self.teach(place);
            }
            self.count_clusters(p_value <= (CLUSTERS_AT * wanted).clamp(0.002, 0.05));
        }
        Ruling {
            p_value,
            anomaly,
            event_rows: self.event_rows,
            event_since_us: self.event_since_us,
            event_rarity: self.event_rarity,
            threshold,
            teaches,
        }
    }

    fn teach(&mut self, place: f64) {
        self.tail.add(place);
        self.rows = (self.rows + 1.0).min(1e9);
    }

    fn count_clusters(&mut self, rare: bool) {
        if rare && !self.in_cluster {
            let keep = 1.0 - 1.0 / CLUSTERS;
            self.clusters = self.clusters * keep + 1.0;
            self.clustered *= keep;
        }
        self.clustered += f64::from(u8::from(rare));
        self.in_cluster = rare;
    }

    /// Ends the event: values are back where they were.
    pub fn end_event(&mut self) {
        self.event_rows = 0;
        self.event_rarity = 0.0;
        if self.lesson >= 0.0 {
            let lesson = std::mem::replace(&mut self.lesson, -1.0);
            self.teach(lesson);
        }
    }

    /// Ends the event: what it showed is ordinary from now on. `wanted` as in [`Calibration::rule`].
    pub fn settle(&mut self, wanted: f64) {
        self.end_event();
        if self.aftermath == (0, 0) {
            let rows = (1.0 / wanted).clamp(1.0, 1e6) as u32;
            self.aftermath = (rows, rows / 4);
        }
    }

    /// Begins anew: rarities mean something else from now on.
    pub fn begin_anew(&mut self) {
        *self = Calibration::new();
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        self.tail.fields(fields)?;
        fields.f64(&mut self.rows)?;
        fields.f64(&mut self.clusters)?;
        fields.f64(&mut self.clustered)?;
        fields.bool(&mut self.in_cluster)?;
        fields.u32(&mut self.event_rows)?;
        fields.i64(&mut self.event_since_us)?;
        fields.f64(&mut self.event_rarity)?;
        fields.f64(&mut self.lesson)?;
        fields.u32(&mut self.aftermath.0)?;
        fields.u32(&mut self.aftermath.1)
    }
}
