//! Where fixed windows begin and end.

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use thalweg_engine::watermark::EventTime;

/// A division of event time into windows side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grid {
    /// Windows of `size`, one of which begins `offset` after the epoch.
    Fixed {
        /// Length of a window, microseconds.
        size_us: i64,
        /// Shift from the epoch, microseconds.
        offset_us: i64,
    },
    /// Windows of whole days by the clock of a time zone: 23 or 25 hours long where the clock is changed.
    Days {
        /// Days of a window; counted from 1970-01-01.
        days: i64,
        /// Shift of a window's start from local midnight, by the local clock, microseconds.
        offset_us: i64,
        /// The time zone.
        zone: Tz,
    },
}

impl Grid {
    /// The window that holds `time`: start (inclusive) and end (exclusive). At the far ends of time it is cut off.
    pub fn cell(&self, time: EventTime) -> (EventTime, EventTime) {
        match self {
            Grid::Fixed { size_us, offset_us } => {
                let (size, time) = (i128::from(*size_us), i128::from(time));
                let start = time - (time - i128::from(*offset_us)).rem_euclid(size);
                (clamp(start), clamp(start + size))
            }
            Grid::Days { days, offset_us, zone } => days_cell(time, *days, *offset_us, *zone),
        }
    }
}

fn clamp(time: i128) -> EventTime {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn days_cell(time: EventTime, days: i64, offset_us: i64, zone: Tz) -> (EventTime, EventTime) {
    let start_of = |window: i64| start_of_day(window * days, offset_us, zone);
    // Outside the calendar (years beyond ±262,000) there are no days.
    let Some(local) = DateTime::from_timestamp_micros(time).and_then(|utc| {
        utc.with_timezone(&zone).naive_local().checked_sub_signed(Duration::microseconds(offset_us))
    }) else {
        return if time < 0 { (i64::MIN, time + 1) } else { (time, i64::MAX) };
    };
    let day = local.date().signed_duration_since(NaiveDate::default()).num_days();
    // A change of the clock can put the instant a window off from what its local date says.
    let mut window = day.div_euclid(days);
    while start_of(window) > time {
        window -= 1;
    }
    while start_of(window + 1) <= time {
        window += 1;
    }
    (start_of(window), start_of(window + 1))
}

// The first instant at which the local clock shows the day's start, or, where the clock jumps over it, the instant of the jump.
fn start_of_day(day: i64, offset_us: i64, zone: Tz) -> EventTime {
    let far = if day < 0 { i64::MIN } else { i64::MAX };
    let local: Option<NaiveDateTime> = Duration::try_days(day)
        .and_then(|days| NaiveDate::default().checked_add_signed(days))
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .and_then(|midnight| midnight.checked_add_signed(Duration::microseconds(offset_us)));
    let Some(local) = local else { return far };
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => at.timestamp_micros(),
        LocalResult::Ambiguous(first, _) => first.timestamp_micros(),
        LocalResult::None => after_gap(local, zone).unwrap_or(far),
    }
}

// Inside a gap: the first instant after it is where the offset from before the gap still holds.
fn after_gap(local: NaiveDateTime, zone: Tz) -> Option<EventTime> {
    let before = local.checked_sub_signed(Duration::days(1))?;
    let earlier = zone.from_local_datetime(&before).earliest()?;
    let (mut low, mut high) = (earlier.timestamp_micros(), earlier.timestamp_micros() + 2 * 86_400_000_000);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let shown = DateTime::from_timestamp_micros(middle)?.with_timezone(&zone).naive_local();
        if shown < local { low = middle } else { high = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(text: &str) -> EventTime {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn a_border_belongs_to_the_window_it_opens() {
        let minute = Grid::Fixed { size_us: 60_000_000, offset_us: 0 };
        assert_eq!(minute.cell(59_999_999), (0, 60_000_000));
        assert_eq!(minute.cell(60_000_000), (60_000_000, 120_000_000));
        assert_eq!(minute.cell(-1), (-60_000_000, 0));
        let shifted = Grid::Fixed { size_us: 60_000_000, offset_us: 15_000_000 };
        assert_eq!(shifted.cell(14_999_999), (-45_000_000, 15_000_000));
        assert_eq!(minute.cell(i64::MIN).0, i64::MIN);
        assert_eq!(minute.cell(i64::MAX).1, i64::MAX);
    }

    fn day(zone: Tz, time: &str) -> (EventTime, EventTime) {
        Grid::Days { days: 1, offset_us: 0, zone }.cell(at(time))
    }

    #[test]
    fn days_follow_the_clock_of_their_zone() {
        let berlin = Tz::Europe__Berlin;
        let spring = day(berlin, "2026-03-29T12:00:00Z");
        assert_eq!(spring, (at("2026-03-29T00:00:00+01:00"), at("2026-03-30T00:00:00+02:00")));
        assert_eq!(spring.1 - spring.0, 23 * HOUR);
        let autumn = day(berlin, "2026-10-25T12:00:00Z");
        assert_eq!(autumn.1 - autumn.0, 25 * HOUR);
        assert_eq!(day(berlin, "2026-10-24T21:59:59.999999Z").1, autumn.0);
        assert_eq!(day(berlin, "2026-10-24T22:00:00Z"), autumn);
    }

    #[test]
    fn a_day_whose_midnight_does_not_exist_begins_after_the_gap() {
        // Cairo's clock went from 00:00 to 01:00 on 2024-04-26.
        let cairo = Tz::Africa__Cairo;
        let jump = day(cairo, "2024-04-26T12:00:00Z");
        assert_eq!(jump.0, at("2024-04-26T01:00:00+03:00"));
        assert_eq!(jump.1 - jump.0, 23 * HOUR);
        assert_eq!(day(cairo, "2024-04-25T12:00:00Z").1, jump.0);
    }

    #[test]
    fn cells_of_days_tile_time() {
        for zone in [Tz::Europe__Berlin, Tz::America__Sao_Paulo, Tz::Pacific__Apia, Tz::Australia__Lord_Howe]
        {
            for offset_us in [0, 6 * HOUR] {
                let grid = Grid::Days { days: 1, offset_us, zone };
                let mut time = at("2011-01-01T00:00:00Z");
                while time < at("2019-06-01T00:00:00Z") {
                    let (start, end) = grid.cell(time);
                    assert!(start <= time && time < end);
                    assert_eq!(grid.cell(start), (start, end));
                    assert_eq!(grid.cell(end - 1), (start, end));
                    time = end;
                }
            }
        }
    }
}
