//! What a source and a window should do, computed from all rows at once: no batches, no ticks, no watermark of a job, no partial
//! state. Slow, and close to the words of the definitions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use num_bigint::{BigInt, BigUint, Sign};

use crate::window::{Grid, Window};

/// A record of a test and what its payload says. Its offset is its own; its place in the split is its place in the list.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) split: usize,
    pub(super) offset: i64,
    /// Event time, microseconds.
    pub(super) time: i64,
    /// How far the record's timestamp lies past the event time, if it has one.
    pub(super) stamp_after: Option<i64>,
    /// Whether the payload can be read.
    pub(super) sound: bool,
    pub(super) name: Option<String>,
    pub(super) number: Option<i64>,
    pub(super) float: Option<f64>,
    /// In units of 0.01.
    pub(super) cost: Option<i64>,
}

/// A key: name, and number if that is a key too.
pub(super) type Key = (Option<String>, Option<Option<i64>>);

/// A row that comes out. Floats by their bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Output {
    pub(super) key: Key,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) count: i64,
    /// `count(*) filter (where cost > 0)`.
    pub(super) paid: i64,
    pub(super) float_sum: Option<u64>,
    pub(super) cost_sum: Option<i128>,
    pub(super) float_min: Option<u64>,
    pub(super) name_max: Option<String>,
    pub(super) float_first: Option<u64>,
    pub(super) float_last: Option<u64>,
    /// The float of the row of the greatest cost.
    pub(super) float_of_cost_max: Option<u64>,
    pub(super) numbers_distinct: i64,
    /// The three least numbers.
    pub(super) numbers: Option<Vec<i64>>,
}

/// Which way a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Accepted,
    Late,
    Rejected,
}

/// Decides for each record, split by split, in their order.
pub(super) fn ways(events: &[Event], lateness: i64, max_ahead: i64) -> Vec<Way> {
    let mut highest: BTreeMap<usize, i64> = BTreeMap::new();
    let decide = |event: &Event| {
        if !event.sound || event.stamp_after.is_some_and(|after| -after > max_ahead) {
            return Way::Rejected;
        }
        match highest.get(&event.split) {
            Some(highest) if event.time < highest - lateness => Way::Late,
            _ => {
                let highest = highest.entry(event.split).or_insert(event.time);
                *highest = event.time.max(*highest);
                Way::Accepted
            }
        }
    };
    events.iter().map(decide).collect()
}

/// The windows of rows, as (start, end, rows).
pub(super) fn windows<'a, T>(
    rows: &'a [T],
    time: impl Fn(&T) -> i64,
    window: &Window,
) -> Vec<(i64, i64, Vec<&'a T>)> {
    let mut sorted: Vec<&T> = rows.iter().collect();
    sorted.sort_by_key(|row| time(row));
    match window {
        Window::Session { gap_us, max_us } => {
            let mut sessions: Vec<Vec<&T>> = Vec::new();
            for row in sorted {
                let joins = sessions.last().is_some_and(|session| {
                    let (first, last) = (time(session[0]), time(session[session.len() - 1]));
                    time(row) - last < *gap_us && max_us.is_none_or(|max| time(row) - first < max)
                });
                if !joins {
                    sessions.push(Vec::new());
                }
                let session = sessions.last_mut().expect("invariant: one was pushed if there was none");
                session.push(row);
            }
            let borders = |session: Vec<&'a T>| {
                let (first, last) = (time(session[0]), time(session[session.len() - 1]));
                let end = max_us.map_or(last + gap_us, |max| (last + gap_us).min(first + max));
                (first, end, session)
            };
            sessions.into_iter().map(borders).collect()
        }
        fixed => {
            let mut windows: BTreeMap<(i64, i64), Vec<&T>> = BTreeMap::new();
            let mut days = Days::default();
            for row in sorted {
                for borders in fixed_windows(time(row), fixed, &mut days) {
                    windows.entry(borders).or_default().push(row);
                }
            }
            windows.into_iter().map(|((start, end), rows)| (start, end, rows)).collect()
        }
    }
}

/// The fixed windows that hold a time.
fn fixed_windows(time: i64, window: &Window, days: &mut Days) -> Vec<(i64, i64)> {
    let (size, every, offset) = match window {
        Window::Tumbling(Grid::Fixed { size_us, offset_us }) => (*size_us, *size_us, *offset_us),
        Window::Hopping { size_us, every_us, offset_us } => (*size_us, *every_us, *offset_us),
        Window::Tumbling(Grid::Days { days: length, offset_us, zone }) => {
            return vec![days.window(time, *length, *offset_us, *zone)];
        }
        Window::Session { .. } => unreachable!("a session is not fixed"),
    };
    let newest = (time - offset).div_euclid(every) * every + offset;
    (0..)
        .map(|n| newest - n * every)
        .take_while(|start| start + size > time)
        .map(|start| (start, start + size))
        .collect()
}

/// Starts of days, found by looking at a zone's clock minute by minute.
#[derive(Default)]
struct Days {
    starts: BTreeMap<(i64, i64, &'static str), i64>,
}

impl Days {
    fn window(&mut self, time: i64, length: i64, offset: i64, zone: Tz) -> (i64, i64) {
        let day = time.div_euclid(86_400_000_000).div_euclid(length) - 2;
        let mut windows = (day..day + 5).map(|window| {
            (self.start(window * length, offset, zone), self.start((window + 1) * length, offset, zone))
        });
        windows.find(|(start, end)| *start <= time && time < *end).expect("invariant: windows tile time")
    }

    // The first minute at which the clock of the zone shows the day's start or a later time.
    fn start(&mut self, day: i64, offset: i64, zone: Tz) -> i64 {
        *self.starts.entry((day, offset, zone.name())).or_insert_with(|| {
            let midnight = NaiveDate::default().and_hms_opt(0, 0, 0).expect("invariant: there is a midnight");
            let wanted: NaiveDateTime = midnight + Duration::days(day) + Duration::microseconds(offset);
            let minute = |minute: i64| wanted.and_utc() + Duration::minutes(minute);
            let shows = |at: &DateTime<chrono::Utc>| at.with_timezone(&zone).naive_local() >= wanted;
            let first = (-16 * 60..16 * 60).map(minute).find(shows);
            first.expect("invariant: no zone is 16 hours off").timestamp_micros()
        })
    }
}

/// The rows that should come out of a windowed step: grouped by key, cut into windows, aggregated by definition.
pub(super) fn outputs(events: &[Event], ways: &[Way], window: &Window, with_number: bool) -> Vec<Output> {
    let mut keys: BTreeMap<Key, Vec<&Event>> = BTreeMap::new();
    for (event, way) in events.iter().zip(ways) {
        if *way == Way::Accepted {
            let key = (event.name.clone(), with_number.then_some(event.number));
            keys.entry(key).or_default().push(event);
        }
    }
    let mut outputs = Vec::new();
    for (key, events) in keys {
        for (start, end, rows) in windows(&events, |event| event.time, window) {
            outputs.push(aggregate(key.clone(), start, end, &rows));
        }
    }
    outputs.sort();
    outputs
}

fn aggregate(key: Key, start: i64, end: i64, rows: &[&&Event]) -> Output {
    let by_place = |a: &&&&Event, b: &&&&Event| place(a).cmp(&place(b));
    let floats: Vec<f64> = rows.iter().filter_map(|row| row.float).collect();
    let costs: Vec<i64> = rows.iter().filter_map(|row| row.cost).collect();
    let numbers: BTreeSet<i64> = rows.iter().filter_map(|row| row.number).collect();
    let mut kept: Vec<i64> = rows.iter().filter_map(|row| row.number).collect();
    kept.sort_unstable();
    kept.truncate(3);
    let of_cost_max =
        rows.iter().filter(|row| row.cost.is_some()).max_by(|a, b| a.cost.cmp(&b.cost).then(by_place(a, b)));
    Output {
        key,
        start,
        end,
        count: rows.len() as i64,
        paid: rows.iter().filter(|row| row.cost.is_some_and(|cost| cost > 0)).count() as i64,
        float_sum: (!floats.is_empty()).then(|| exact_sum(&floats).to_bits()),
        cost_sum: (!costs.is_empty()).then(|| costs.iter().map(|cost| i128::from(*cost)).sum()),
        float_min: floats.iter().map(|x| x + 0.0).min_by(f64::total_cmp).map(f64::to_bits),
        name_max: rows.iter().filter_map(|row| row.name.clone()).max(),
        float_first: rows.iter().min_by(by_place).and_then(|row| bits(row.float)),
        float_last: rows.iter().max_by(by_place).and_then(|row| bits(row.float)),
        float_of_cost_max: of_cost_max.and_then(|row| bits(row.float)),
        numbers_distinct: numbers.len() as i64,
        numbers: (!kept.is_empty()).then_some(kept),
    }
}

fn place(event: &Event) -> (i64, usize, i64) {
    (event.time, event.split, event.offset)
}

// −0 is +0 to every aggregate.
fn bits(float: Option<f64>) -> Option<u64> {
    float.map(|x| (x + 0.0).to_bits())
}

/// The sum of finite floats, exact in units of 2^−1074, rounded once.
fn exact_sum(floats: &[f64]) -> f64 {
    let units = |x: f64| {
        let (bits, exponent) = (x.to_bits() & ((1 << 52) - 1), (x.to_bits() >> 52) & 0x7ff);
        let magnitude =
            if exponent == 0 { BigInt::from(bits) } else { BigInt::from(bits | 1 << 52) << (exponent - 1) };
        if x.is_sign_negative() { -magnitude } else { magnitude }
    };
    let sum: BigInt = floats.iter().map(|x| units(*x)).sum();
    let magnitude = round(sum.magnitude());
    if sum.sign() == Sign::Minus { -magnitude } else { magnitude }
}

/// The float nearest to a number of units of 2^−1074, a half to even.
fn round(units: &BigUint) -> f64 {
    let dropped = units.bits().saturating_sub(53);
    let kept = u64::try_from(units >> dropped).expect("invariant: 53 bits are left");
    let rest = units - (BigUint::from(kept) << dropped);
    let up = match (rest << 1u32).cmp(&(BigUint::from(1u32) << dropped)) {
        Ordering::Greater => true,
        Ordering::Equal => kept % 2 == 1,
        Ordering::Less => false,
    };
    // The exponent's field and the mantissa side by side, so that a carry from the one goes to the other.
    let bits = u128::from(dropped) << 52;
    f64::from_bits((bits + u128::from(kept + u64::from(up))).min(u128::from(f64::INFINITY.to_bits())) as u64)
}
