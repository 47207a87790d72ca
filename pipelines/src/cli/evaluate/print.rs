//! What was judged, as people read it.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::super::table;
use crate::evaluate::AlarmSummary;
use crate::evaluate::detection::{DetectionReport, SeriesReport};
use crate::evaluate::forecasts::{ForecastMeasures, ForecastReport, ForecastSeries};
use crate::evaluate::outputs::{IncidentReport, OutputReport};
use crate::spec::Duration;

/// How wide tables are where there is no terminal, characters.
const WIDTH: u16 = 160;
/// Series that are listed of a table of outputs.
const SERIES_SHOWN: usize = 20;

pub(super) fn json(report: &impl Serialize) -> Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(report)?)?;
    Ok(())
}

/// A number from 0 to 1.
pub(super) fn share(number: f64) -> String {
    if number.is_nan() { "–".to_owned() } else { format!("{number:.3}") }
}

/// A number of any size: four digits that count.
fn figure(number: f64) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let size = number.abs();
    let decimals = match size {
        _ if size == 0.0 => 0,
        _ if !(1e-4..1e7).contains(&size) => return format!("{number:.2e}"),
        _ if size >= 1000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 1.0 => 3,
        _ => 4,
    };
    format!("{number:.decimals$}")
}

/// A length of time, by the second.
fn time(seconds: f64) -> String {
    if seconds.is_nan() {
        return "–".to_owned();
    }
    Duration { us: (seconds.round() as i64).max(0).saturating_mul(1_000_000) }.to_string()
}

fn a_day(rate: f64) -> String {
    if rate.is_nan() { "–".to_owned() } else { format!("{rate:.2}") }
}

fn count(number: usize) -> String {
    table::count(number as u64)
}

fn fit(table: &mut Table) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
}

fn heading(out: &mut dyn Write, text: &str) -> Result<()> {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    writeln!(out, "{bold}{text}{plain}")?;
    Ok(())
}

fn alarms_in_words(alarms: &AlarmSummary) -> String {
    let delay = if alarms.found == 0 {
        String::new()
    } else {
        format!(", half of them within {}", time(alarms.delay_s_median))
    };
    let recall = if alarms.incidents == 0 {
        "no incidents".to_owned()
    } else {
        format!("{} of {} found", count(alarms.found), table::things(alarms.incidents, "incident"))
    };
    format!(
        "{recall}{delay}; {} ({} a day of a series)",
        table::things(alarms.false_alarms, "false alarm"),
        a_day(alarms.false_alarms_per_day)
    )
}

pub(super) fn series_in_words(report: &SeriesReport) -> String {
    format!(
        "VUS-PR {}, AUC-PR {} (labelled {}); alarms: {}",
        share(report.vus_pr),
        share(report.auc_pr),
        share(report.labelled_share),
        alarms_in_words(&report.own_alarms)
    )
}

pub(super) fn forecast_in_words(report: &ForecastSeries) -> String {
    let of = &report.measures;
    format!(
        "mean absolute error {} ({} of naive, {} of seasonal naive); {} % of values in the interval",
        figure(of.mae),
        share(of.mase_naive),
        share(of.mase_seasonal),
        figure(of.coverage * 100.0)
    )
}

pub(super) fn detection(report: &DetectionReport) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut all = table::numbers(&[
        "series",
        "rows",
        "labelled",
        "VUS-PR",
        "AUC-PR",
        "incidents",
        "found",
        "delay",
        "false alarms",
        "a day",
    ]);
    for one in &report.series {
        let alarms = &one.own_alarms;
        all.add_row([
            one.name.clone(),
            count(one.rows),
            share(one.labelled_share),
            share(one.vus_pr),
            share(one.auc_pr),
            count(alarms.incidents),
            count(alarms.found),
            time(alarms.delay_s_median),
            count(alarms.false_alarms),
            a_day(alarms.false_alarms_per_day),
        ]);
    }
    let (mean, alarms) = (&report.mean, &report.own_alarms);
    all.add_row([
        format!("mean, or all, of {}", count(report.series.len())),
        count(report.series.iter().map(|one| one.rows).sum()),
        share(mean.labelled_share),
        share(mean.vus_pr),
        share(mean.auc_pr),
        count(alarms.incidents),
        count(alarms.found),
        time(alarms.delay_s_median),
        count(alarms.false_alarms),
        a_day(alarms.false_alarms_per_day),
    ]);
    fit(&mut all);
    heading(&mut out, &format!("{}: each series, with the detector's own alarms", report.model))?;
    writeln!(out, "{all}")?;

    let wanted = (report.false_alarms_per_day_wanted * 1000.0).round() / 1000.0;
    writeln!(out, "alarms of the detector, asked for {wanted} false alarms a day:")?;
    writeln!(out, "  {}", alarms_in_words(alarms))?;
    writeln!(out, "by the lowest threshold of each series' scores with so few (it knows the labels):")?;
    writeln!(out, "  {}", alarms_in_words(&report.at_rate))?;
    let mut nab =
        table::numbers(&["NAB's score", "the detector's alarms", "best threshold (knows the labels)"]);
    for one in &report.nab {
        nab.add_row([one.profile.to_owned(), figure(one.own_alarms), figure(one.best)]);
    }
    fit(&mut nab);
    writeln!(out, "{nab}")?;
    writeln!(
        out,
        "(false alarms within {} are one; those up to {} after an incident don't count)",
        time(report.event_s),
        time(report.grace_s)
    )?;
    Ok(())
}

pub(super) fn forecasts(report: &ForecastReport) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut all = table::numbers(&[
        "series",
        "ahead",
        "compared",
        "silent",
        "MSE",
        "MAE",
        "MASE naive",
        "MASE seasonal",
        "pinball",
        "coverage",
        "width",
    ]);
    let measures = |of: &ForecastMeasures| {
        [
            figure(of.mse),
            figure(of.mae),
            share(of.mase_naive),
            share(of.mase_seasonal),
            figure(of.pinball),
            share(of.coverage),
            figure(of.width_mean),
        ]
    };
    for one in &report.series {
        let first = [one.name.clone(), time(one.measures.horizon_s), count(one.compared), count(one.silent)];
        all.add_row(first.into_iter().chain(measures(&one.measures)));
    }
    for mean in &report.mean {
        let here = || report.series.iter().filter(|one| one.measures.horizon_s == mean.horizon_s);
        let name = format!("mean of {}", count(here().count()));
        let first = [
            name,
            time(mean.horizon_s),
            count(here().map(|one| one.compared).sum()),
            count(here().map(|one| one.silent).sum()),
        ];
        all.add_row(first.into_iter().chain(measures(mean)));
    }
    fit(&mut all);
    heading(&mut out, &format!("{}: forecasts against what came", report.model))?;
    writeln!(out, "{all}")?;
    writeln!(
        out,
        "(MASE: below 1 is better than repeating the latest value, or that of a season before; coverage is to be {}; silent: nothing was \
         said yet)",
        share(report.nominal_coverage)
    )?;
    Ok(())
}

pub(super) fn outputs(report: &OutputReport) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut incidents = table::numbers(&["incident", "of", "begins", "ends", "alarms", "found", "delay"]);
    for one in &report.incidents {
        let of = one.of.iter().map(|(column, value)| format!("{column} {value}")).collect::<Vec<_>>();
        incidents.add_row([
            one.name.clone(),
            if of.is_empty() { "all".to_owned() } else { of.join(", ") },
            one.from.clone(),
            one.to.clone(),
            format!("{} of {}", count(one.alarms), table::things(one.rows, "row")),
            found(one),
            time(one.delay_s.unwrap_or(f64::NAN)),
        ]);
    }
    fit(&mut incidents);
    heading(&mut out, &format!("{}: incidents, and when they were found", report.table))?;
    writeln!(out, "{incidents}")?;
    if report.left_out > 0 {
        writeln!(
            out,
            "({} of other columns than {} left out)",
            table::things(report.left_out, "incident"),
            if report.key.is_empty() { "--key names".to_owned() } else { report.key.join(", ") }
        )?;
    }
    let header: Vec<&str> =
        std::iter::once("series").chain(["rows", "alarms", "false alarms", "a day"]).collect();
    let mut series = table::numbers(&header);
    for one in report.series.iter().take(SERIES_SHOWN) {
        series.add_row([
            if one.key.is_empty() { "all rows".to_owned() } else { one.key.join(", ") },
            count(one.rows),
            count(one.alarms),
            count(one.false_alarms),
            a_day(one.false_alarms_per_day),
        ]);
    }
    fit(&mut series);
    heading(&mut out, "\nfalse alarms of each series")?;
    writeln!(out, "{series}")?;
    if report.series.len() > SERIES_SHOWN {
        writeln!(out, "({} with as few or fewer are not shown)", count(report.series.len() - SERIES_SHOWN))?;
    }
    writeln!(out, "{}", alarms_in_words(&report.all))?;
    if report.only_alarms {
        writeln!(out, "(all rows are alarms: what is a day is told by the first and the last of them)")?;
    }
    Ok(())
}

fn found(incident: &IncidentReport) -> String {
    match &incident.found {
        Some(found) => found.clone(),
        None if incident.series == 0 => "no such series".to_owned(),
        None => "not found".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let numbers = [0.0, 0.012_345, 1.5, 12.345, 123.45, 12_345.6, 1e9, f64::NAN];
        assert_eq!(numbers.map(figure).join(" "), "0 0.0123 1.500 12.35 123.5 12346 1.00e9 –");
        assert_eq!([0.0, 90.4, 3600.0, f64::NAN].map(time).join(" "), "0s 1m30s 1h –");
    }

    #[test]
    fn alarms_are_told_in_a_line() {
        let mut alarms = AlarmSummary {
            incidents: 4,
            found: 3,
            recall: 0.75,
            delay_s_median: 120.0,
            false_alarms: 1,
            false_alarms_per_day: 0.5,
        };
        assert_eq!(
            alarms_in_words(&alarms),
            "3 of 4 incidents found, half of them within 2m; 1 false alarm (0.50 a day of a series)"
        );
        (alarms.incidents, alarms.found) = (0, 0);
        assert_eq!(alarms_in_words(&alarms), "no incidents; 1 false alarm (0.50 a day of a series)");
    }
}
