//! From rarities to alarms: a p-value of the row, events, and thresholds that make as many false events as were asked for.
//!
//! ```text
//!   residual ─▶ rarity ─▶ tail of rarities ─▶ −ln p ┐
//!                              ▲                    ├─▶ at least −ln (its share of those wanted) + its bar? ─▶ event
//!                              └─ lessons           │
//!   levels   ─▶ rarity of excursions ───────────────┘
//! ```
//!
//! Each way to raise an alarm says how rare a row is. Of residuals there are many, of inputs and of how they go together: the rarest counts, and how
//! rare *that* is among the key's own rows is what it says. Levels say how rare excursions are that go so far, of which each is one event anyway.
//! Each way has a share of the false events that are wanted, so that one which is off takes nothing from the others (Bonferroni).
//!
//! An event begins with a row whose −ln p is at least the threshold, and lasts while p-values stay at most 8 times that. Rows of an event
//! are anomalies, so consecutive anomalous rows are one alarm. Rare rows come in clusters, and a cluster is one event: of rare rows only the rarest
//! of each cluster counts, once the cluster is over (declustering by runs: Leadbetter, Extremes and local dependence in stationary sequences,
//! 1983).
//!
//! Of an event only the first row teaches how rare rows are, once it is over (before, it would make those that follow less rare): all of them
//! would make a long incident ordinary, and none would make the tail ever thinner. An event that begins far beyond what the tail, continued, lets
//! expect is no chance and teaches nothing. Nor does any row for a while after an event that lasted until it was settled, since what is odd
//! for so long often goes on being odd in other ways; but after that while rows teach for at least a quarter as long, so that what stays becomes
//! ordinary.
//!
//! After an event that was settled nothing is an anomaly until rows are ordinary by what is learnt of them meanwhile; where they don't become so, what
//! was known is worth nothing, and all begins anew.

mod bar;

use self::bar::Bar;
use super::fields::Fields;
use super::tail::Tail;
use crate::bytes::StateError;

/// Ways to raise an alarm: residual, short level, long level.
pub(crate) const WAYS: usize = 3;

/// Each way's share of the false events that are wanted, where all have something to say.
const SHARES: [f64; WAYS] = [0.6, 0.2, 0.2];

/// How much commoner than the threshold a row may be for an event to go on, 8 times: its ln.
const LN_RELEASE: f64 = 2.079_441_541_679_835_7;

/// Steps of the scale of rarities per unit of −ln p.
const STEPS_PER_UNIT: f64 = 4.0;

/// Rows commoner than the threshold by this factor are rare: those of a cluster are counted once, and so many rows that are not rare end it.
const RARE_AT: f64 = 8.0;
const CLUSTER_GAP: u32 = 16;

/// −ln p beyond the threshold by which an event begins that is no chance.
const NO_CHANCE: f64 = 2.5;

/// By how much more it must begin beyond it for each unit of the bar: what comes more often than wanted is a chance, whatever the tail lets expect.
const PATIENCE: f64 = 6.0;

/// So many ordinary rows one after the other end the time after an event that was settled; and how long that time is at most, rows.
const ORDINARY_ROWS: u32 = 8;
const RELEARN: u32 = 240;

/// Rows before which the tail raises no alarm, and is not gone by where a short past is.
const ROWS_MIN: f64 = 32.0;
const ROWS_EARLY: f64 = 96.0;

/// The calibration of one key.
#[derive(Debug, Clone)]
pub(crate) struct Calibration {
    tail: Tail<64>,
    rows: f64,
    /// Rows since the latest rare one, and where the rarest of its cluster is to teach; below 0: there is no cluster.
    since_rare: u32,
    cluster: f64,
    /// Where the event's first row is to teach, once it is over; below 0: nowhere.
    lesson: f64,
    bars: [Bar; WAYS],
    /// Rows of the event that is on; 0: none is.
    event_rows: u32,
    event_since_us: i64,
    /// −ln p of the event's rarest row beyond the threshold.
    event_beyond: f64,
    /// Rows left of the time after an event that was settled: of the part in which nothing teaches, then of the other.
    aftermath: (u32, u32),
    /// Rows left to become ordinary after an event that was settled, and ordinary ones so far.
    relearn: u32,
    ordinary: u32,
}

/// What a row says to calibration, of rarities −ln p.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rarities {
    /// By each way; `None`: it can't tell. Of levels: per row, as if each excursion had one.
    pub ways: [Option<f64>; WAYS],
    /// By how far values lie from the levels of a short past: all that there is to go by at first, for some time one more view.
    pub early: Option<f64>,
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
    /// −ln p of its rarest row beyond the threshold.
    pub event_beyond: f64,
    /// The way by which the row is rarest.
    pub way: usize,
    /// −ln p at which a row begins an event by its residual.
    pub threshold: f64,
    /// Whether the row teaches how rare rows are.
    pub teaches: bool,
    /// Whether what was known is worth nothing: rows did not become ordinary in the time after an event that was settled.
    pub anew: bool,
}

impl Calibration {
    /// Of nothing.
    pub fn new() -> Self {
        Calibration {
            tail: Tail::new(),
            rows: 0.0,
            since_rare: 0,
            cluster: -1.0,
            lesson: -1.0,
            bars: std::array::from_fn(|_| Bar::new()),
            event_rows: 0,
            event_since_us: 0,
            event_beyond: 0.0,
            aftermath: (0, 0),
            relearn: 0,
            ordinary: 0,
        }
    }

    /// Whether a short past is better judged by itself, where a method can.
    pub fn is_early(&self) -> bool {
        self.rows < ROWS_EARLY
    }

    /// Rules on a row where `wanted` events a row are wanted. Learns from it too.
    pub fn rule(&mut self, rarities: Rarities, wanted: f64, time_us: i64) -> Ruling {
        let wanted = wanted.clamp(1e-12, 0.05);
        let alone = rarities.early.filter(|_| self.is_early());
        let place = rarities.ways[0].map(|rarity| rarity.max(0.0) * STEPS_PER_UNIT);
        let beside = rarities.early.unwrap_or(0.0);
        let told = alone.or(place.map(|place| self.tail.rarity(place).max(beside)));
        let ready = alone.is_some() || self.rows >= ROWS_MIN;
        let says = [told.filter(|_| ready), rarities.ways[1], rarities.ways[2]];
        let shares = if says[1..].iter().any(Option::is_some) { SHARES } else { [1.0, 0.0, 0.0] };
        let thresholds: [f64; WAYS] =
            std::array::from_fn(|way| self.bars[way].height() - libm::log(shares[way] * wanted));
        let beyond: [f64; WAYS] =
            std::array::from_fn(|way| says[way].map_or(f64::NEG_INFINITY, |says| says - thresholds[way]));
        let way = (1..WAYS).fold(0, |most, way| if beyond[way] > beyond[most] { way } else { most });
        let continued =
            alone.or(place.map(|place| self.tail.rarity_continued(place).max(beside))).unwrap_or(0.0);
        let far = if way == 0 { continued - thresholds[0] } else { beyond[way] };
        let no_chance = far >= NO_CHANCE + PATIENCE * self.bars[way].height().max(0.0);

        let stands_out = beyond[way] >= -LN_RELEASE;
        let relearns = self.relearn > 0;
        let anew = relearns && self.relearn(stands_out);
        let anomaly = !relearns && (beyond[way] >= 0.0 || self.event_rows > 0 && stands_out);
        let first = anomaly && self.event_rows == 0;
        if !anomaly {
            self.end_event();
        } else {
            if first {
                (self.event_since_us, self.event_beyond) = (time_us, 0.0);
            }
            self.event_rows = self.event_rows.saturating_add(1);
            self.event_beyond = self.event_beyond.max(beyond[way]);
        }
        let teaches = match self.event_rows {
            _ if self.aftermath.0 > 0 || relearns => false,
            0 => true,
            1 => !no_chance,
            _ => false,
        };
        match &mut self.aftermath {
            (0, again) => *again = again.saturating_sub(1),
            (silent, _) => *silent -= 1,
        }
        for (way, bar) in self.bars.iter_mut().enumerate() {
            bar.go_on(first && beyond[way] >= 0.0, wanted);
        }
        if let Some(place) = place {
            self.learn(place, told.unwrap_or(0.0), shares[0] * wanted, anomaly, teaches);
        }
        let overall = if anomaly { beyond[way] + thresholds[way] } else { told.unwrap_or(0.0) };
        Ruling {
            p_value: libm::exp(-overall),
            anomaly,
            event_rows: self.event_rows,
            event_since_us: self.event_since_us,
            event_beyond: self.event_beyond,
            way,
            threshold: thresholds[0],
            teaches,
            anew,
        }
    }

    /// Learns how rare a row was, at once or once its cluster or its event is over.
    fn learn(&mut self, place: f64, told: f64, wanted: f64, anomaly: bool, teaches: bool) {
        if anomaly {
            if teaches {
                self.lesson = place;
            }
            // What led to the event is part of it.
            self.cluster = -1.0;
        } else if !teaches {
            self.end_cluster();
        } else if told >= -libm::log((RARE_AT * wanted).clamp(0.002, 0.05)) {
            self.cluster = self.cluster.max(place);
            self.since_rare = 0;
        } else {
            self.teach(place);
            self.since_rare = self.since_rare.saturating_add(1);
            if self.since_rare >= CLUSTER_GAP {
                self.end_cluster();
            }
        }
    }

    fn end_cluster(&mut self) {
        if self.cluster >= 0.0 {
            let cluster = std::mem::replace(&mut self.cluster, -1.0);
            self.teach(cluster);
        }
    }

    fn teach(&mut self, place: f64) {
        self.tail.add(place);
        self.rows = (self.rows + 1.0).min(1e9);
    }

    /// Counts down the time after an event that was settled, and ends it where rows are ordinary: true where it is over and they are not.
    fn relearn(&mut self, stands_out: bool) -> bool {
        self.relearn -= 1;
        self.ordinary = if stands_out { 0 } else { self.ordinary + 1 };
        if self.ordinary >= ORDINARY_ROWS {
            self.relearn = 0;
            return false;
        }
        self.relearn == 0
    }

    /// Ends the event: values are back where they were.
    pub fn end_event(&mut self) {
        self.event_rows = 0;
        self.event_beyond = 0.0;
        if self.lesson >= 0.0 {
            let lesson = std::mem::replace(&mut self.lesson, -1.0);
            self.teach(lesson);
        }
    }

    /// Ends the event: what it showed is ordinary from now on. `wanted` as in [`Calibration::rule`].
    pub fn settle(&mut self, wanted: f64) {
        self.end_event();
        (self.relearn, self.ordinary) = (RELEARN, 0);
        if self.aftermath == (0, 0) {
            let rows = (1.0 / wanted).clamp(1.0, 1e6) as u32;
            self.aftermath = (rows, rows / 4);
        }
    }

    /// Begins anew: rarities mean something else from now on. The rate of events is kept over it.
    pub fn begin_anew(&mut self) {
        let bars = std::mem::replace(self, Calibration::new()).bars;
        self.bars = bars;
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        self.tail.fields(fields)?;
        fields.f64(&mut self.rows)?;
        fields.u32(&mut self.since_rare)?;
        fields.f64(&mut self.cluster)?;
        fields.f64(&mut self.lesson)?;
        self.bars.iter_mut().try_for_each(|bar| bar.fields(fields))?;
        fields.u32(&mut self.event_rows)?;
        fields.i64(&mut self.event_since_us)?;
        fields.f64(&mut self.event_beyond)?;
        fields.u32(&mut self.aftermath.0)?;
        fields.u32(&mut self.aftermath.1)?;
        fields.u32(&mut self.relearn)?;
        fields.u32(&mut self.ordinary)
    }
}
