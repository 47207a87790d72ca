//! Windows against a naive model of them, over random rows: shuffled within the lateness and beyond it, in several splits, read in
//! ticks of any size, on one worker to four.

use chrono_tz::Tz;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Grid, Window};
use dataflow::{Conditions, TestJob, run_job};
use model::{Event, Way, outputs, ways};

mod dataflow;
mod model;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Records of a split take their event time from its own clock, which goes forward; they come out of order by up to this.
const SHUFFLED_MAX: i64 = 40;

fn floats() -> impl Strategy<Value = f64> {
    let awkward =
        [0.0, -0.0, 0.1, 0.2, 1.0, -1.0, 1e16, -1e16, 5e-324, -5e-324, 1e300, -1e300, f64::MIN_POSITIVE];
    prop_oneof![3 => select(awkward.to_vec()), 1 => any::<f64>().prop_filter("finite", |x| x.is_finite() && x.abs() < 1e305)]
}

/// What one record adds to its split: how far the clock goes on, how far behind it the record lies, what it holds.
#[derive(Debug, Clone)]
struct Draft {
    split: usize,
    forward: i64,
    behind: i64,
    offset_gap: i64,
    stamp_after: Option<i64>,
    sound: bool,
    content: (Option<String>, Option<i64>, Option<f64>, Option<i64>),
}

fn drafts(splits: usize) -> impl Strategy<Value = Vec<Draft>> {
    let names = select(vec!["", "a", "b", "c", "\u{6d41}", "\u{1f30a}\u{fe0f}"]).prop_map(str::to_owned);
    let content =
        (weighted(0.8, names), weighted(0.8, -2..3i64), weighted(0.8, floats()), weighted(0.8, -3..4i64));
    // In units of the test's step; ties and distances of exactly a gap are common.
    let times = (prop_oneof![6 => 0..3i64, 1 => 5..40i64], prop_oneof![2 => Just(0), 1 => 0..=SHUFFLED_MAX]);
    let stamp = weighted(0.7, prop_oneof![9 => 0..100i64, 1 => -30..0i64]);
    let draft = (
        0..splits,
        times,
        prop_oneof![4 => Just(1i64), 1 => 2..50i64],
        stamp,
        weighted(0.03, Just(())),
        content,
    )
        .prop_map(|(split, (forward, behind), offset_gap, stamp_after, broken, content)| Draft {
            split,
            forward,
            behind,
            offset_gap,
            stamp_after,
            sound: broken.is_none(),
            content,
        });
    vec(draft, 0..120)
}

// `unit`: what event times are multiples of, apart from a microsecond to one side of a multiple for some.
fn events(drafts: Vec<Draft>, base: i64, unit: i64) -> Vec<Event> {
    let (mut clocks, mut offsets) = ([0; 8], [0; 8]);
    let event = |draft: Draft| {
        let Draft { split, forward, behind, offset_gap, stamp_after, sound, content } = draft;
        clocks[split] += forward;
        offsets[split] += offset_gap;
        let (name, number, float, cost) = content;
        let beside = [0, 0, 0, 1, -1][(offsets[split] % 5) as usize];
        let time = base + (clocks[split] - behind) * unit + beside;
        let stamp_after = stamp_after.map(|after| after * unit);
        Event { split, offset: offsets[split], time, stamp_after, sound, name, number, float, cost }
    };
    drafts.into_iter().map(event).collect()
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let rows_max = prop_oneof![1 => Just(1usize), 2 => 2..20usize, 1 => Just(1000)];
    (1..=4usize, rows_max, 1..5usize, 1..30usize, any::<bool>()).prop_map(
        |(workers, rows_max, ahead_ticks_max, burst, abreast)| Conditions {
            workers,
            rows_max,
            ahead_ticks_max,
            burst,
            abreast,
        },
    )
}

fn lateness() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 1..SHUFFLED_MAX, Just(10 * SHUFFLED_MAX)]
}

fn tumbling() -> impl Strategy<Value = Window> {
    (1..40i64, 0..40i64).prop_map(|(size, offset)| {
        Window::Tumbling(Grid::Fixed { size_us: size * SECOND, offset_us: (offset % size) * SECOND })
    })
}

fn hopping() -> impl Strategy<Value = Window> {
    (1..12i64, 0..30i64, 0..12i64).prop_map(|(every, more, offset)| Window::Hopping {
        size_us: (every + more) * SECOND,
        every_us: every * SECOND,
        offset_us: (offset % every) * SECOND,
    })
}

fn session() -> impl Strategy<Value = Window> {
    (1..15i64).prop_map(|gap| Window::Session { gap_us: gap * SECOND, max_us: None })
}

fn session_with_max() -> impl Strategy<Value = Window> {
    (1..15i64, 0..30i64)
        .prop_map(|(gap, more)| Window::Session { gap_us: gap * SECOND, max_us: Some((gap + more) * SECOND) })
}

/// A job over random rows, in seconds.
fn jobs(window: impl Strategy<Value = Window> + 'static) -> impl Strategy<Value = (Vec<Event>, TestJob)> {
    let window = window.boxed();
    (1..=5usize)
        .prop_flat_map(move |splits| {
            (Just(splits), drafts(splits), -2..3i64, window.clone(), lateness(), any::<bool>())
        })
        .prop_map(|(splits, drafts, base, window, lateness, with_number)| {
            let events = events(drafts, base * 1_000_003 * SECOND, SECOND);
            let lateness = lateness * SECOND;
            let job = TestJob { splits, lateness, max_ahead: 10 * SECOND, window, with_number, then: None };
            (events, job)
        })
}

fn check(events: &[Event], job: &TestJob, conditions: &Conditions) -> Result<(), TestCaseError> {
    let ways = ways(events, job.lateness, job.max_ahead);
    let done = run_job(events, job, conditions);
    let count = |way| ways.iter().filter(|each| **each == way).count() as u64;
    prop_assert_eq!(done.counts, (count(Way::Accepted), count(Way::Late), count(Way::Rejected)));
    let expected = outputs(events, &ways, &job.window, job.with_number);
    prop_assert_eq!(&done.outputs, &expected);
    if let Some(then) = &job.then {
        let windows = model::windows(&expected, |output| output.end - 1, then);
        let total = |rows: &[&model::Output]| rows.iter().map(|row| row.count).sum::<i64>();
        let mut expected: Vec<_> =
            windows.iter().map(|(start, end, rows)| (*start, *end, rows.len() as i64, total(rows))).collect();
        expected.sort_unstable();
        prop_assert_eq!(&done.then, &expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn tumbling_windows_are_the_models((events, job) in jobs(tumbling()), conditions in conditions()) {
        check(&events, &job, &conditions)?;
    }

    #[test]
    fn hopping_windows_are_the_models((events, job) in jobs(hopping()), conditions in conditions()) {
        check(&events, &job, &conditions)?;
    }

    #[test]
    fn sessions_are_the_models((events, job) in jobs(session()), conditions in conditions()) {
        check(&events, &job, &conditions)?;
    }

    #[test]
    fn sessions_with_a_maximum_are_the_models((events, job) in jobs(session_with_max()), conditions in conditions()) {
        check(&events, &job, &conditions)?;
    }

    #[test]
    fn windows_over_windows_are_the_models(
        (events, mut job) in jobs(prop_oneof![tumbling(), hopping(), session(), session_with_max()]),
        then in prop_oneof![tumbling(), hopping(), session(), session_with_max()],
        conditions in conditions(),
    ) {
        job.then = Some(then);
        check(&events, &job, &conditions)?;
    }

    #[test]
    fn days_of_time_zones_are_the_models(
        drafts in drafts(3),
        day in select(vec![
            // Changes of the clock: Berlin in March and October, Cairo's midnight that is not there, Havana's two of them, Lord
            // Howe's half hour, and the day that Apia left out.
            (Tz::Europe__Berlin, 20_541), (Tz::Europe__Berlin, 20_751), (Tz::Africa__Cairo, 19_839),
            (Tz::America__Havana, 20_394), (Tz::Australia__Lord_Howe, 20_548), (Tz::Pacific__Apia, 15_338),
            (Tz::Asia__Kolkata, 0),
        ]),
        (days, offset_hours) in (prop_oneof![3 => Just(1i64), 1 => 2..9i64], prop_oneof![Just(0), 0..24i64]),
        lateness in lateness(),
        conditions in conditions(),
    ) {
        let (zone, epoch_day) = day;
        let unit = HOUR / 2;
        let events = events(drafts, (epoch_day - 1) * DAY, unit);
        let window = Window::Tumbling(Grid::Days { days, offset_us: offset_hours * HOUR, zone });
        let job = TestJob { splits: 3, lateness: lateness * unit, max_ahead: 10 * unit, window, with_number: false, then: None };
        check(&events, &job, &conditions)?;
    }
}
