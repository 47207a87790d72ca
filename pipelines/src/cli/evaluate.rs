//! `thalweg evaluate`: how good detection and forecasts are, on files or on what a job has written.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use thalweg_series::detect::{DetectorConfig, Method};
use thalweg_series::forecast::ForecasterConfig;

use super::{logging, terminal};
use crate::evaluate::detection::{self, Counting, Scored, SeriesReport};
use crate::evaluate::files::{self, SeriesFile};
use crate::evaluate::forecasts::{self, ForecastReport, ForecastSeries, Foretelling};
use crate::evaluate::picture::{Panel, Picture};
use crate::evaluate::{self, EvaluateError, known, outputs};
use crate::spec::{self, Rate, suggest};

mod print;

/// How far apart rows without a time are: a minute.
const EVERY_US: i64 = 60_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Rows for which a new level lasts, at least, before it is the normal one; as in a pipeline.
const SETTLE_ROWS_MIN: i64 = 30;
/// Exit status where --fail-below is given and the measure is.
const BELOW: u8 = 1;
/// Exit status where files or options are not as they have to be.
const WRONG: u8 = 2;

/// Say how good detection and forecasts are, on files with labels or on a job's outputs with known incidents.
///
/// Every series runs through the model row by row, as it would live: nothing is learnt from rows that come later, and all series have one
/// configuration. Files are CSV with a line of names: value,label or time,value,label (label: 1 in rows of an incident, else 0; several
/// columns of values are judged together), or without label for forecasts.
///
/// VUS-PR and AUC-PR tell how well scores rank rows, 0 to 1; scores that tell nothing get about the share of labelled rows. Found, delay
/// and false alarms tell what an operator gets. NAB's score is 100 of a perfect detector, 0 of one without alarms.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg evaluate labelled/                   all .csv files of a folder
  thalweg evaluate a.csv b.csv --method seasonal --season 1d --every 5m --pictures pictures
  thalweg evaluate labelled/ --output json --fail-below 0.4
                                               for CI: ends with 1 where the mean VUS-PR is below
  thalweg evaluate --forecast --horizon 10m,1h requests.csv
                                               errors beside naive forecasts, and coverage
  thalweg evaluate --data output/watch --table watched --key provider --incidents known.yaml
                                               alarms of a step detect, by incidents that are known:
  - { name: outage, from: 2026-03-02T12:25:00Z, to: 2026-03-02T12:37:00Z, provider: anthropic }

Fields of --output json (null: no number; times in seconds, but for *_rows):
  detection: model, series[], mean, own_alarms, at_rate, nab[]
    series[]: name, file, rows, columns, interval_s, window_rows, vus_pr, auc_pr, labelled_share,
      at_rate.{threshold, …}, and of the detector's own alarms: incidents, found, recall,
      delay_s_median, false_alarms, false_alarms_per_day
    mean: series, vus_pr, auc_pr, labelled_share
    own_alarms, at_rate: incidents, found, recall, and so on, over all series
    nab[]: profile, own_alarms, best, best_p_value
  forecast: model, quantiles, nominal_coverage, series[], mean[]
    series[]: name, file, rows, season_s, compared, silent, and
    series[], mean[]: horizon_s, mse, mae, mase_naive, mase_seasonal, pinball, coverage, below,
      above, width_mean, interval_score
  incidents: table, key, only_alarms, left_out, incidents[], all, series[]
    incidents[]: name, from, to, of, series, rows, alarms, found, delay_s
    all: as own_alarms
    series[]: key, rows, alarms, false_alarms, false_alarms_per_day")]
pub(super) struct EvaluateArgs {
    /// Files, and folders of which each .csv file.
    #[arg(value_name = "FILE_OR_DIR", required_unless_present = "data", conflicts_with = "data")]
    files: Vec<PathBuf>,
    /// How strangeness is measured.
    #[arg(long, default_value = "auto", value_parser = method, conflicts_with_all = ["forecast", "data"])]
    method: Method,
    /// After how long series repeat themselves; by default found in them.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "data")]
    season: Option<spec::Duration>,
    /// How far apart rows are; by default a minute where they have no time, else learnt from them.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "data")]
    every: Option<spec::Duration>,
    /// How many false alarms of a series are bearable.
    #[arg(long, default_value = "1/day", value_name = "RATE", value_parser = rate, conflicts_with_all = ["forecast", "data"])]
    false_alarms: Rate,
    /// How long a new level must last to be the normal one; by default 1h, or 30 rows where that is longer.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["forecast", "data"])]
    settle: Option<spec::Duration>,
    /// False alarms of a series within so long are counted as one.
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration, conflicts_with = "forecast")]
    event: spec::Duration,
    /// Alarms so long after an incident are not counted as false.
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = duration, conflicts_with = "forecast")]
    grace: spec::Duration,
    /// Judge forecasts; labels are ignored.
    #[arg(long, requires = "horizon", conflicts_with = "data")]
    forecast: bool,
    /// How far ahead to forecast, with commas between.
    #[arg(long, value_name = "DURATION", value_delimiter = ',', value_parser = duration, requires = "forecast")]
    horizon: Vec<spec::Duration>,
    /// The quantiles to forecast; the interval that is judged lies between the lowest and the highest.
    #[arg(
        long,
        value_name = "SHARE",
        value_delimiter = ',',
        default_value = "0.05,0.5,0.95",
        requires = "forecast"
    )]
    quantiles: Vec<f64>,
    /// Judge what a job or a backtest has written: the folder of its outputs.
    #[arg(long, value_name = "DIR", requires = "table", requires = "incidents")]
    data: Option<PathBuf>,
    /// The output of a step detect in it, named as in SQL.
    #[arg(long, value_name = "TABLE", requires = "data")]
    table: Option<String>,
    /// The columns that tell its series apart, with commas between.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "data")]
    key: Vec<String>,
    /// What went wrong when: a YAML list of { name, from, to } and the values of key columns.
    #[arg(long, value_name = "FILE", requires = "data")]
    incidents: Option<PathBuf>,
    /// The column of its rows' time, where they are no windows.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    time: Option<String>,
    /// The column that says whether a row is an alarm; that of a version in the shadow is shadow_is_anomaly.
    #[arg(long, value_name = "COLUMN", default_value = "is_anomaly", requires = "data")]
    alarms: String,
    /// Write a picture of each series (SVG).
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pictures: Option<PathBuf>,
    /// Write each series with all that was said of its rows (CSV).
    #[arg(long, value_name = "DIR", conflicts_with_all = ["forecast", "data"])]
    csv: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// End with 1 where the mean VUS-PR is below this, or there is none.
    #[arg(long, value_name = "VUS_PR", conflicts_with_all = ["forecast", "data"])]
    fail_below: Option<f64>,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables for people.
    Table,
    /// One object for scripts.
    Json,
}

fn duration(text: &str) -> Result<spec::Duration, String> {
    let wrong = |(message, hint): (String, String)| format!("{message}; {hint}");
    let duration = spec::Duration::parse(text).map_err(wrong)?;
    if duration.us > 0 {
        Ok(duration)
    } else {
        Err("that is no time at all; write one such as 1m".to_owned())
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    Rate::parse(text).map_err(|(message, hint)| format!("{message}; {hint}"))
}

fn method(text: &str) -> Result<Method, String> {
    let found = Method::ALL.into_iter().find(|method| method.name() == text);
    if found.is_some_and(Method::is_network) {
        return Err(
            "a network is trained for a step: judge what the step has written, with --data".to_owned()
        );
    }
    let own = Method::ALL.into_iter().filter(|method| !method.is_network());
    let names: Vec<&str> = own.map(Method::name).collect();
    found.ok_or_else(|| suggest::hint(text, &names, "choose from").unwrap_or_default())
}

pub(super) fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    if let (Some(folder), Some(table), Some(incidents)) = (&args.data, &args.table, &args.incidents) {
        return of_outputs(args, folder, table, incidents);
    }
    let Some(series) = read(args)? else { return Ok(ExitCode::from(WRONG)) };
    for folder in args.pictures.iter().chain(&args.csv) {
        std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    if args.forecast { of_forecasts(args, &series) } else { of_detection(args, series) }
}

fn counting(args: &EvaluateArgs) -> Counting {
    Counting { event_us: args.event.us, grace_us: args.grace.us }
}

/// The series of all files; `None`: what is wrong with them has been said.
fn read(args: &EvaluateArgs) -> Result<Option<Vec<SeriesFile>>> {
    let every_us = args.every.map_or(EVERY_US, |every| every.us);
    let mut series = Vec::new();
    let mut is_good = true;
    for (name, path) in files::find(&args.files)? {
        match files::read(&name, &path, every_us, !args.forecast) {
            Ok(one) => series.push(one),
            Err(error) => {
                is_good = false;
                logging::error(format_args!("{error}"));
            }
        }
    }
    Ok(is_good.then_some(series))
}

/// A bar on a terminal, nothing elsewhere.
fn bar(what: &'static str, rows: usize) -> ProgressBar {
    let bar =
        terminal::bar("{prefix} [{bar:32}] {percent} % {human_pos}/{human_len} rows, {per_sec}, {eta} left");
    bar.set_length(rows as u64);
    bar.set_prefix(what);
    bar
}

/// Names the option where a model can't be configured.
fn named(error: EvaluateError) -> anyhow::Error {
    match error {
        EvaluateError::Config(error) => {
            let option = match error.field {
                "interval_us" => "every".to_owned(),
                "horizons_us" => "horizon".to_owned(),
                other => other.trim_end_matches("_us").replace('_', "-"),
            };
            anyhow::anyhow!("--{option}: {}", error.message)
        }
        other => other.into(),
    }
}

fn of_detection(args: &EvaluateArgs, series: Vec<SeriesFile>) -> Result<ExitCode> {
    let settle_us = |interval_us: i64| HOUR_US.max(interval_us.saturating_mul(SETTLE_ROWS_MIN));
    let config_of = |file: &SeriesFile| {
        let interval_us = args.every.map(|every| every.us).or((!file.has_times).then_some(EVERY_US));
        DetectorConfig {
            method: args.method,
            inputs: file.columns.len(),
            interval_us,
            season_us: args.season.map(|season| season.us),
            false_alarms: args.false_alarms.count,
            false_alarms_per_us: args.false_alarms.per.us,
            settle_us: args.settle.map_or_else(|| settle_us(interval_us.unwrap_or(0)), |settle| settle.us),
        }
    };
    let rows = series.iter().map(SeriesFile::rows).sum();
    let scoring = bar("scoring", rows);
    let mut model = String::new();
    let mut scored: Vec<(SeriesFile, Scored)> = Vec::new();
    for file in series {
        let (said, version) =
            detection::score(&file, &config_of(&file), &|rows| scoring.inc(rows)).map_err(named)?;
        model = version;
        scored.push((file, said));
    }
    scoring.finish_and_clear();
    let judging = bar("judging", rows);
    let rate = (args.false_alarms.count, args.false_alarms.per.us);
    let report = detection::report(&scored, model, rate, counting(args), &|rows| judging.inc(rows))?;
    judging.finish_and_clear();

    for ((file, said), judged) in scored.iter().zip(&report.series) {
        if let Some(folder) = &args.csv {
            let path = folder.join(format!("{}.csv", file.name));
            let out = File::create(&path).map(BufWriter::new);
            out.and_then(|out| detection::write_rows(file, said, out))
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        if let Some(folder) = &args.pictures {
            draw(folder, &file.name, &of_scores(file, said, judged))?;
        }
    }
    match args.output {
        Output::Json => print::json(&report)?,
        Output::Table => print::detection(&report)?,
    }
    let Some(least) = args.fail_below else { return Ok(ExitCode::SUCCESS) };
    if report.mean.vus_pr >= least {
        return Ok(ExitCode::SUCCESS);
    }
    let mean = print::share(report.mean.vus_pr);
    logging::error(format_args!("the mean VUS-PR is {mean}, and --fail-below asks for {least}"));
    Ok(ExitCode::from(BELOW))
}

fn of_scores(file: &SeriesFile, said: &Scored, judged: &SeriesReport) -> String {
    let columns = file.columns.len();
    let panel = |column: usize| {
        let part =
            |part: usize| said.expected.iter().skip(column).step_by(columns).map(|of| of[part]).collect();
        let name = file.columns[column].clone();
        Panel { name, values: file.column(column), expected: [part(0), part(1), part(2)] }
    };
    Picture {
        title: &file.name,
        subtitle: &print::series_in_words(judged),
        times_us: &file.times_us,
        has_times: file.has_times,
        panels: (0..columns).map(panel).collect(),
        labels: &file.labels,
        alarms: &said.alarms,
        score: ("score", &said.scores),
    }
    .svg()
}

fn draw(folder: &Path, name: &str, svg: &str) -> Result<()> {
    let path = folder.join(format!("{}.svg", name.replace('/', "_")));
    std::fs::write(&path, svg).with_context(|| format!("can't write {}", path.display()))
}

fn of_forecasts(args: &EvaluateArgs, series: &[SeriesFile]) -> Result<ExitCode> {
    let mut horizons_us: Vec<i64> = args.horizon.iter().map(|horizon| horizon.us).collect();
    let mut quantiles = args.quantiles.clone();
    horizons_us.sort_unstable();
    horizons_us.dedup();
    quantiles.sort_by(f64::total_cmp);
    quantiles.dedup();
    let bar = bar("forecasting", series.iter().map(|file| file.rows() * file.columns.len()).sum());
    let mut reports = Vec::new();
    let mut model = String::new();
    for file in series {
        let every_us = args.every.map(|every| every.us).or((!file.has_times).then_some(EVERY_US));
        let config = ForecasterConfig {
            interval_us: every_us,
            horizons_us: horizons_us.clone(),
            quantiles: quantiles.clone(),
            season_us: args.season.map(|season| season.us),
            threshold: None,
        };
        if let Some(horizon) = horizons_us.iter().find(|horizon| **horizon < file.interval_us()) {
            let (horizon, every) =
                (spec::Duration { us: *horizon }, spec::Duration { us: file.interval_us() });
            anyhow::bail!(
                "--horizon {horizon} is shorter than a row of {}, which are {every} apart; look ahead by a row at least",
                file.path.display()
            );
        }
        for (column, column_name) in file.columns.iter().enumerate() {
            let values = file.column(column);
            let season_us = forecasts::season_us(file, &values, &config);
            let (said, version) = forecasts::foretell(file, &values, &config, season_us).map_err(named)?;
            model = version;
            let name = match file.columns.len() {
                1 => file.name.clone(),
                _ => format!("{}/{column_name}", file.name),
            };
            for (number, foretelling) in said.iter().enumerate() {
                let (measures, errors) = forecasts::judge(foretelling, &values, &quantiles);
                let report = ForecastSeries {
                    name: name.clone(),
                    file: file.path.display().to_string(),
                    rows: file.rows(),
                    season_s: season_us as f64 / 1e6,
                    compared: errors.compared,
                    silent: errors.missing,
                    measures,
                };
                if let Some(folder) = args.pictures.as_ref().filter(|_| number == 0) {
                    draw(folder, &name, &of_foretelling(file, &values, foretelling, &report))?;
                }
                reports.push(report);
            }
            bar.inc(file.rows() as u64);
        }
    }
    bar.finish_and_clear();
    let report = ForecastReport {
        kind: "forecast",
        model,
        nominal_coverage: forecasts::nominal_coverage(&quantiles),
        mean: forecasts::means(&reports, &horizons_us),
        quantiles,
        series: reports,
    };
    match args.output {
        Output::Json => print::json(&report)?,
        Output::Table => print::forecasts(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn of_foretelling(
    file: &SeriesFile,
    values: &[f64],
    foretelling: &Foretelling,
    report: &ForecastSeries,
) -> String {
    let errors: Vec<f64> =
        values.iter().zip(&foretelling.expected).map(|(value, expected)| (value - expected).abs()).collect();
    let quantile = |of: Option<&Vec<f64>>| of.cloned().unwrap_or_default();
    let expected = [
        foretelling.expected.clone(),
        quantile(foretelling.quantiles.first()),
        quantile(foretelling.quantiles.last()),
    ];
    let horizon = spec::Duration { us: foretelling.horizon_us };
    Picture {
        title: &format!("{}, as foretold {horizon} before", report.name),
        subtitle: &print::forecast_in_words(report),
        times_us: &file.times_us,
        has_times: file.has_times,
        panels: vec![Panel { name: String::new(), values: values.to_vec(), expected }],
        labels: &[],
        alarms: &[],
        score: ("size of the error", &errors),
    }
    .svg()
}

fn of_outputs(args: &EvaluateArgs, folder: &Path, table: &str, incidents: &Path) -> Result<ExitCode> {
    let series = evaluate::open(folder, table, &args.key, args.time.as_deref(), &args.alarms)?;
    let known = match known::read(incidents, &args.key) {
        Err(error @ EvaluateError::File { .. }) => {
            logging::error(format_args!("{error}"));
            return Ok(ExitCode::from(WRONG));
        }
        known => known?,
    };
    let report = outputs::judge(table, &args.key, series, known, counting(args));
    match args.output {
        Output::Json => print::json(&report)?,
        Output::Table => print::outputs(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}
