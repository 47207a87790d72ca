//! What a job's step `detect` wrote, judged by incidents that are known.
//!
//! ```text
//!   incident   ......|████████████|..............
//!   windows    [ . ][ . ][ ! ][ ! ][ ! ][ . ][ ! ]
//!                          │         │         └─ false
//!                          │         └─ grace: neither found nor false
//!                          └─ found; known when the window ends, and the delay runs up to there
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_schemas::time::format_rfc3339;

use super::detection::Counting;
use super::known::KnownIncident;
use super::{AlarmCount, AlarmSummary, DAY_US, SECOND_US};

/// The rows of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSeries {
    /// The value of each key column, as text.
    pub key: Vec<String>,
    /// Its rows.
    pub rows: Vec<OutputRow>,
}

/// A row of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputRow {
    /// Where its window begins, microseconds since the epoch.
    pub from_us: i64,
    /// Where it ends: when the row is known.
    pub to_us: i64,
    /// Whether it is an alarm.
    pub is_anomaly: bool,
}

impl OutputRow {
    /// A row without a window is a moment.
    fn touches(&self, from_us: i64, to_us: i64) -> bool {
        self.from_us < to_us && (self.to_us > from_us || self.from_us == from_us)
    }
}

/// How the alarms of outputs did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputReport {
    /// What was judged: "incidents".
    pub kind: &'static str,
    /// The table.
    pub table: String,
    /// The key columns.
    pub key: Vec<String>,
    /// Whether all its rows are alarms: then the time that was watched is taken to be that from the first to the last row.
    pub only_alarms: bool,
    /// Incidents that are of other columns, and were left out.
    pub left_out: usize,
    /// Each incident.
    pub incidents: Vec<IncidentReport>,
    /// All of them, with all false alarms.
    pub all: AlarmSummary,
    /// Each series, the one with the most false alarms first.
    pub series: Vec<OutputSeriesReport>,
}

/// How alarms did with an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentReport {
    /// What it is called.
    pub name: String,
    /// Its begin, RFC 3339.
    pub from: String,
    /// Its end.
    pub to: String,
    /// The series it is in, by their keys: column and value.
    pub of: BTreeMap<String, String>,
    /// Series that it is in.
    pub series: usize,
    /// Their rows in its time.
    pub rows: usize,
    /// Of these, alarms.
    pub alarms: usize,
    /// When the first of them was known, RFC 3339; `None`: it was not found.
    pub found: Option<String>,
    /// How long after its begin that was, seconds.
    pub delay_s: Option<f64>,
}

/// How alarms did in a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputSeriesReport {
    /// The value of each key column.
    pub key: Vec<String>,
    /// Its rows.
    pub rows: usize,
    /// Of these, alarms.
    pub alarms: usize,
    /// Events of false alarms.
    pub false_alarms: usize,
    /// The same for each day.
    pub false_alarms_per_day: f64,
}

/// Judges alarms of series by incidents.
pub fn judge(
    table: &str,
    key: &[String],
    mut series: Vec<OutputSeries>,
    (incidents, left_out): (Vec<KnownIncident>, usize),
    counting: Counting,
) -> OutputReport {
    series.iter_mut().for_each(|one| one.rows.sort_unstable());
    let is_in = |incident: &KnownIncident, one: &OutputSeries| {
        incident.of.iter().all(|(column, value)| {
            let at = key.iter().position(|name| name == column);
            at.is_some_and(|at| one.key[at] == *value)
        })
    };
    let all_rows = || series.iter().flat_map(|one| &one.rows);
    let only_alarms = all_rows().count() > 0 && all_rows().all(|row| row.is_anomaly);
    let first_us = all_rows().map(|row| row.from_us).min().unwrap_or(0);
    let last_us = all_rows().map(|row| row.to_us).max().unwrap_or(0);

    let mut all = AlarmCount { incidents: incidents.len(), ..AlarmCount::default() };
    let mut reports = Vec::new();
    for incident in &incidents {
        let inside: Vec<&OutputSeries> = series.iter().filter(|one| is_in(incident, one)).collect();
        let rows = || {
            let rows = inside.iter().flat_map(|one| &one.rows);
            rows.filter(|row| row.touches(incident.from_us, incident.to_us))
        };
        let alarms = || rows().filter(|row| row.is_anomaly);
        let found_us = alarms().map(|row| row.to_us).min();
        let delay_s = found_us.map(|found| (found - incident.from_us) as f64 / SECOND_US);
        all.delays_s.extend(delay_s);
        reports.push(IncidentReport {
            name: incident.name.clone(),
            from: format_rfc3339(incident.from_us),
            to: format_rfc3339(incident.to_us),
            of: incident.of.iter().cloned().collect(),
            series: inside.len(),
            rows: rows().count(),
            alarms: alarms().count(),
            found: found_us.map(format_rfc3339),
            delay_s,
        });
    }
    let mut series_reports = Vec::new();
    for one in &series {
        let known = || incidents.iter().filter(|incident| is_in(incident, one));
        let normal = one.rows.iter().filter(|row| {
            !known().any(|incident| {
                row.touches(incident.from_us, incident.to_us.saturating_add(counting.grace_us))
            })
        });
        let (mut false_alarms, mut normal_rows, mut silent_until_us) = (0, 0_usize, i64::MIN);
        for row in normal {
            normal_rows += 1;
            if row.is_anomaly && row.from_us >= silent_until_us {
                false_alarms += 1;
                silent_until_us = row.from_us.saturating_add(counting.event_us.max(1));
            }
        }
        let normal_us = match only_alarms {
            true => (last_us - first_us) as f64,
            false => normal_rows as f64 * interval_us(&one.rows),
        };
        all.false_alarms += false_alarms;
        all.normal_us += normal_us;
        series_reports.push(OutputSeriesReport {
            key: one.key.clone(),
            rows: one.rows.len(),
            alarms: one.rows.iter().filter(|row| row.is_anomaly).count(),
            false_alarms,
            false_alarms_per_day: false_alarms as f64 / (normal_us / DAY_US),
        });
    }
    series_reports.sort_by(|a, b| b.false_alarms.cmp(&a.false_alarms).then_with(|| a.key.cmp(&b.key)));
    OutputReport {
        kind: "incidents",
        table: table.to_owned(),
        key: key.to_vec(),
        only_alarms,
        left_out,
        incidents: reports,
        all: all.summary(),
        series: series_reports,
    }
}

/// How far apart rows are, microseconds: the median; of a single one, its length.
fn interval_us(rows: &[OutputRow]) -> f64 {
    let mut gaps: Vec<i64> = rows.windows(2).map(|pair| pair[1].from_us - pair[0].from_us).collect();
    gaps.sort_unstable();
    let gap = gaps.get(gaps.len() / 2).copied();
    gap.or_else(|| rows.first().map(|row| row.to_us - row.from_us)).unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60_000_000;

    /// Minutes, of which `!` is an alarm.
    fn minutes(key: &str, text: &str) -> OutputSeries {
        let row = |(minute, mark): (usize, char)| {
            let from_us = minute as i64 * MINUTE_US;
            OutputRow { from_us, to_us: from_us + MINUTE_US, is_anomaly: mark == '!' }
        };
        OutputSeries { key: vec![key.to_owned()], rows: text.chars().enumerate().map(row).collect() }
    }

    fn incident(name: &str, of: Option<&str>, from: i64, to: i64) -> KnownIncident {
        let of = of.map(|value| ("provider".to_owned(), value.to_owned())).into_iter().collect();
        KnownIncident { name: name.to_owned(), from_us: from * MINUTE_US, to_us: to * MINUTE_US, of }
    }

    fn judged(series: Vec<OutputSeries>, incidents: Vec<KnownIncident>) -> OutputReport {
        let counting = Counting { event_us: 3 * MINUTE_US, grace_us: 2 * MINUTE_US };
        judge("watched", &["provider".to_owned()], series, (incidents, 0), counting)
    }

    #[test]
    fn incidents_are_found_in_their_series_alone() {
        let series = vec![minutes("a", "...!..!!!..!."), minutes("b", "..!!.........")];
        let incidents = vec![
            incident("outage", Some("a"), 5, 8),
            incident("missed", Some("b"), 7, 9),
            incident("all", None, 12, 13),
            incident("nowhere", Some("c"), 1, 2),
        ];
        let report = judged(series, incidents);
        let outage = &report.incidents[0];
        assert_eq!((outage.series, outage.rows, outage.alarms, outage.delay_s), (1, 3, 2, Some(120.0)));
        assert_eq!(outage.found.as_deref(), Some("1970-01-01T00:07:00Z"));
        assert_eq!((report.incidents[1].found.clone(), report.incidents[1].rows), (None, 2));
        assert_eq!((report.incidents[2].series, report.incidents[3].series), (2, 0));
        assert_eq!((report.all.incidents, report.all.found, report.all.recall), (4, 1, 0.25));
        // Minute 8 is in the grace; 3 and 11 are not; the two of b are one.
        assert_eq!((report.series[0].key[0].as_str(), report.series[0].false_alarms), ("a", 2));
        assert_eq!((report.series[1].alarms, report.series[1].false_alarms), (2, 1));
        assert!(!report.only_alarms);
    }

    #[test]
    fn rates_are_per_day_that_was_watched() {
        let report = judged(vec![minutes("a", &format!("!{}", ".".repeat(1439)))], Vec::new());
        assert_eq!((report.all.false_alarms, report.all.false_alarms_per_day), (1, 1.0));
        assert!(report.all.recall.is_nan());
        let mut only = minutes("a", "!!!!!!!!!!");
        only.rows.retain(|row| row.from_us % (9 * MINUTE_US) == 0);
        let report = judged(vec![only], Vec::new());
        assert!(report.only_alarms);
        assert_eq!((report.all.false_alarms, report.all.false_alarms_per_day), (2, 288.0));
    }
}
