//! Round numbers and times for axes.

use thalweg_schemas::time::format_rfc3339;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// Labels of a time axis, at most.
const TIMES_MAX: i64 = 10;
/// How far apart they may be.
const STEPS_US: [i64; 22] = [
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    MINUTE_US,
    2 * MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    3 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
    2 * DAY_US,
    7 * DAY_US,
    14 * DAY_US,
    30 * DAY_US,
    90 * DAY_US,
    365 * DAY_US,
];

/// About `count` round numbers from `lowest` to `highest`, with how they read.
pub(super) fn labels_of_numbers(lowest: f64, highest: f64, count: usize) -> Vec<(f64, String)> {
    let span = highest - lowest;
    if !span.is_finite() || span <= 0.0 {
        return Vec::new();
    }
    let rough = span / count.max(1) as f64;
    let exponent = rough.log10().floor() as i32;
    let power = 10_f64.powi(exponent);
    let (round, more) = [(1.0, 0), (2.0, 0), (5.0, 0), (10.0, 1)]
        .into_iter()
        .find(|(round, _)| round * power >= rough * 0.999)
        .unwrap_or((10.0, 1));
    let step = round * power;
    let decimals = (-(exponent + more)).max(0) as usize;
    let greatest = lowest.abs().max(highest.abs());
    let first = (lowest / step - 1e-9).ceil();
    (0..=2 * count.max(1) + 2)
        .map(|number| (first + number as f64) * step)
        .take_while(|value| *value <= highest + step * 1e-9)
        .map(|value| {
            // No −0.
            let value = if value.abs() < step * 1e-9 { 0.0 } else { value };
            let label = match greatest {
                large if large >= 1e7 => scientific(value),
                small if small < 1e-3 => scientific(value),
                _ => grouped(&format!("{value:.decimals$}")),
            };
            (value, label)
        })
        .collect()
}

fn scientific(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{value:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Digits in groups of three, where there are more than four.
fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    if digits.len() <= 4 {
        return text.to_owned();
    }
    let mut groups = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            groups.push(',');
        }
        groups.push(digit);
    }
    format!("{sign}{groups}{rest}")
}

/// Round times from `first` to `last`, microseconds since the epoch, with how they read.
pub(super) fn labels_of_times(first: i64, last: i64) -> Vec<(i64, String)> {
    let span = last.saturating_sub(first);
    let years = |years: i64| years.saturating_mul(365 * DAY_US);
    let longer = (2..).map(|number| years(1_i64 << number.min(16)));
    let step = STEPS_US.into_iter().chain(longer.take(15)).find(|step| span / step < TIMES_MAX);
    let Some(step) = step else { return Vec::new() };
    let round = first.div_euclid(step).saturating_mul(step);
    (0..=TIMES_MAX + 1)
        .map(|number| round.saturating_add(step.saturating_mul(number)))
        .filter(|time| (first..=last).contains(time))
        .map(|time| {
            let text = format_rfc3339(time);
            let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().replace('T', " ");
            let label = match step {
                _ if step < MINUTE_US => part(11, 19),
                _ if step < HOUR_US && time % DAY_US != 0 => part(11, 16),
                _ if step < DAY_US => part(5, 16),
                _ => part(0, 10),
            };
            (time, label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(lowest: f64, highest: f64) -> String {
        labels_of_numbers(lowest, highest, 5)
            .into_iter()
            .map(|(_, label)| label)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn numbers_are_round() {
        assert_eq!(numbers(0.0, 10.0), "0 2 4 6 8 10");
        assert_eq!(numbers(-0.13, 0.42), "0.0 0.2 0.4");
        assert_eq!(numbers(0.013, 0.0142), "0.0130 0.0135 0.0140");
        assert_eq!(numbers(-12_345.0, 40_000.0), "0 20,000 40,000");
        assert_eq!(numbers(0.0, 3e9), "0 1e9 2e9 3e9");
        assert_eq!(numbers(0.0, 1e-5), "0 2e-6 4e-6 6e-6 8e-6 1e-5");
        assert_eq!(numbers(1.0, 1.0), "");
        assert_eq!(numbers(f64::NEG_INFINITY, 1.0), "");
    }

    #[test]
    fn times_are_round() {
        let times = |first: i64, last: i64| {
            labels_of_times(first, last).into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        let noon = 1_772_452_800_000_000;
        assert_eq!(times(noon, noon + 90 * MINUTE_US)[..2], ["12:00", "12:10"]);
        assert_eq!(times(noon + 1, noon + 30 * HOUR_US)[..2], ["03-02 15:00", "03-02 18:00"]);
        assert_eq!(times(noon, noon + 30 * DAY_US)[0], "2026-03-05");
        assert!(times(i64::MIN / 4, i64::MAX / 4).len() <= 11);
        assert_eq!(times(noon, noon), ["12:00:00"]);
    }
}
