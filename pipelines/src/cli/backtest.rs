//! `thalweg backtest`: a pipeline over a piece of the past, and what would have been different.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use thalweg_engine::control::Control;

use super::validate::Format;
use super::{archive, load, logging, progress, table, terminal};
use crate::backtest::{
    self, BacktestError, BacktestOptions, Comparison, Difference, LiveOutput, LiveState, Reference, Report,
    SinkComparison, Variant,
};
use crate::plan::Plan;
use crate::spec::{self, Override, Problem};

mod html;

/// How wide tables are where there is no terminal, characters.
const WIDTH: u16 = 140;
/// Rows that differ, of each sink.
const ROWS_SHOWN: usize = 5;
/// Characters of a value in them.
const TEXT_MAX: usize = 40;
/// Exit status where rows differ and `--fail-on-diff` is given.
const DIFFERS: u8 = 1;
/// Variants of one backtest.
const VARIANTS_MAX: usize = 100;

/// Run a pipeline over a piece of the past, and see what a change would have done.
///
/// The live job is left alone: no consumer group, no commits, no topic or folder of its own is written. Outputs and the comparison lie
/// in a folder of the backtest's. `--from` and `--to` choose results by event time (windows by their end); so much more is read
/// before and after that windows are full and complete.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg backtest provider_health --archives demo/archives
  thalweg backtest my_pipeline.yaml --archives archives --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z \\
      --set steps.per_minute.window.tumbling=5m            what five minutes would have shown
  thalweg backtest my_pipeline.yaml --set 'steps.per_minute.window.tumbling=[1m, 5m, 15m]'
                                                           each of them against the pipeline as it is written
  thalweg backtest my_pipeline.yaml --set 'steps.per_minute.window.tumbling=[1m, 5m]' \\
      --set 'sources.calls.event_time.lateness=[0s, 30s]'  all four combinations
  thalweg backtest my_pipeline.yaml --set 'steps.per_minute.by=[[provider], [provider, model]]'
  thalweg backtest changed.yaml --against my_pipeline.yaml --html report.html
  thalweg backtest my_pipeline.yaml --archives recorded --against live --fail-on-diff
  thalweg backtest my_pipeline.yaml --archives recorded --against live --state checkpoint:17")]
pub(super) struct BacktestArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// Read archives instead of Kafka: a folder with a folder for each topic.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// Results from here on, RFC 3339; by default from the first record.
    #[arg(long, value_name = "TIME", value_parser = load::time)]
    from: Option<spec::Instant>,
    /// Results up to here; by default up to the last record that is there now.
    #[arg(long, value_name = "TIME", value_parser = load::time)]
    to: Option<spec::Instant>,
    /// How much before --from is read to fill windows; by default as much as the longest of them, and all there is
    /// where a model of series is asked, as it knows all rows before.
    #[arg(long, value_name = "DURATION", value_parser = load::duration)]
    warm_up: Option<spec::Duration>,
    /// How much after --to is read to complete windows; by default the lateness of sources, and a minute.
    #[arg(long, value_name = "DURATION", value_parser = load::duration)]
    cool_down: Option<spec::Duration>,
    /// Change a value of the pipeline, given as YAML. Each item of a list makes a variant (where the pipeline holds a list itself, as
    /// under by, each list in a list), and so does the same path given again; several paths give all combinations.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = Override::parse)]
    sets: Vec<Override>,
    /// Compare with what the live job has written (live), or with another pipeline; by default, where something is --set, with the
    /// pipeline as it is written.
    #[arg(long, value_name = "live|PIPELINE")]
    against: Option<PathBuf>,
    /// The folder of the live job's outputs; by default output/<pipeline>.
    #[arg(long, value_name = "DIR")]
    live_output: Option<PathBuf>,
    /// Leave a column out of the comparison, such as window_end where a session's gap is varied; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Go on from a checkpoint of the live job: its open windows, and what it had not read yet. Needs --archives.
    #[arg(long, value_name = "checkpoint:N", value_parser = checkpoint, conflicts_with_all = ["from", "warm_up"])]
    state: Option<u64>,
    /// The folder of the backtest, written anew; by default backtest/<pipeline>.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Worker threads; by default one a core.
    #[arg(short, long, value_name = "N")]
    workers: Option<usize>,
    /// Write the report as one HTML page, to hand round. (As JSON it lies in the backtest's folder, with all rows that differ as Parquet.)
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// End with 1 when any row differs, or one side has other sinks or columns.
    #[arg(long)]
    fail_on_diff: bool,
    /// How to print the report: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn checkpoint(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("checkpoint:").unwrap_or(text);
    number.parse().map_err(|_| {
        format!("\"{text}\" is no checkpoint; write checkpoint:17 (thalweg checkpoints lists them)")
    })
}

pub(super) fn backtest(args: &BacktestArgs) -> Result<ExitCode> {
    let Some(as_written) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    archive::warn_where_unused(&as_written, args.archives.as_deref());
    let Some(sets) = swept(&args.pipeline, &args.sets)? else { return Ok(ExitCode::from(2)) };
    let combinations = match combinations(&sets) {
        Ok(combinations) => combinations,
        Err(too_many) => {
            logging::error(format_args!("{too_many}"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut variants = Vec::new();
    for (number, sets) in combinations.iter().enumerate() {
        let loaded = load::load_with(&args.pipeline, sets)?;
        load::report(&loaded)?;
        let Some(plan) = loaded.plan else {
            let is_no_place =
                |problem: &Problem| problem.step.as_ref().is_some_and(|of| of.starts_with("--set "));
            let read = !loaded.problems.iter().any(is_no_place);
            for set in args.sets.iter().filter(|set| read && !sets.contains(set)) {
                logging::notice(format_args!(
                    "each item of --set {set} is a value by itself, for the pipeline holds no list there; one that is a list stands in \
                     brackets of its own: {}=[{}]",
                    set.path.join("."),
                    set.value
                ));
            }
            return Ok(ExitCode::from(2));
        };
        let about: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let name =
            if combinations.len() == 1 { "variant".to_owned() } else { format!("variant_{}", number + 1) };
        variants.push(Variant { name, about: about.join(", "), plan });
    }
    let live_folder =
        args.live_output.clone().unwrap_or_else(|| PathBuf::from("output").join(&as_written.name));
    let reference = match &args.against {
        Some(against) if against.as_os_str() == "live" => {
            Some(Reference::Live(Box::new(LiveOutput::open(&as_written, &live_folder)?)))
        }
        Some(against) => {
            let Some(plan) = load::load_or_report(against)? else { return Ok(ExitCode::from(2)) };
            Some(variant("reference", &against.display().to_string(), plan))
        }
        None if args.sets.is_empty() => None,
        None => Some(variant("reference", "as it is written", as_written.clone())),
    };
    if args.fail_on_diff && reference.is_none() {
        anyhow::bail!(
            "--fail-on-diff has nothing to compare with; add --against live, --against PIPELINE or --set PATH=VALUE"
        );
    }
    let options = BacktestOptions {
        output: args.output.clone().unwrap_or_else(|| PathBuf::from("backtest").join(&as_written.name)),
        archives: args.archives.clone(),
        from_us: args.from.map(|at| at.us),
        to_us: args.to.map(|at| at.us),
        warm_up_us: args.warm_up.as_ref().map(|each| each.us),
        ignore: args.ignore.clone(),
        state: args.state.map(|number| LiveState::open(&as_written, &live_folder, number)).transpose()?,
        cool_down_us: args.cool_down.as_ref().map(|each| each.us),
        workers: args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    };
    let control = Control::new();
    terminal::stop_on_signal(control.clone(), "stopping; press Ctrl-C again to stop at once")?;
    let report =
        backtest::backtest(&options, reference.as_ref(), &variants, &control, &mut |name, status| {
            let watch = progress::Watch::start(name, status, true);
            Box::new(move || watch.stop())
        });
    let report = match report {
        Err(stopped @ BacktestError::Stopped { .. }) => {
            logging::notice(format_args!("{stopped}"));
            return Ok(ExitCode::from(terminal::EXIT_INTERRUPTED));
        }
        report => report?,
    };
    let written = serde_json::to_string_pretty(&report)?;
    let file = options.output.join("report.json");
    std::fs::write(&file, &written).with_context(|| format!("can't write {}", file.display()))?;
    if let Some(html) = &args.html {
        html.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(html, html::html(&report)))
            .with_context(|| format!("can't write {}", html.display()))?;
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{written}")?,
        Format::Text => print(&mut out, &report, &options)?,
    }
    Ok(if args.fail_on_diff && report.differs() { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

fn variant(name: &str, about: &str, plan: Plan) -> Reference {
    Reference::Variant(Box::new(Variant { name: name.to_owned(), about: about.to_owned(), plan }))
}

// All values that are given, of lists that are swept each item. `None`: what is wrong has been said.
fn swept(pipeline: &Path, sets: &[Override]) -> Result<Option<Vec<Override>>> {
    let (text, origin) = load::text_of(pipeline)?;
    let mut all = Vec::new();
    for set in sets {
        match set.sweep(&text, &origin) {
            Ok(values) => all.extend(values),
            Err(problem) => {
                let problems = vec![*problem];
                load::report(&load::Loaded { plan: None, problems, warnings: Vec::new() })?;
                return Ok(None);
            }
        }
    }
    Ok(Some(all))
}

// One of the values of each path, in all combinations; the error says that there are too many.
fn combinations(sets: &[Override]) -> Result<Vec<Vec<Override>>, String> {
    let mut paths: Vec<(&[String], Vec<&Override>)> = Vec::new();
    for set in sets {
        match paths.iter_mut().find(|(path, _)| *path == set.path) {
            Some((_, values)) => values.push(set),
            None => paths.push((&set.path, vec![set])),
        }
    }
    let variants = paths.iter().fold(1_usize, |variants, (_, values)| variants.saturating_mul(values.len()));
    if variants > VARIANTS_MAX {
        let each: Vec<String> =
            paths.iter().map(|(path, values)| format!("{} of {}", values.len(), path.join("."))).collect();
        return Err(format!(
            "--set gives {variants} variants ({}), and a backtest runs {VARIANTS_MAX} at most; give fewer values, or several backtests \
             some of them each",
            each.join(" × ")
        ));
    }
    let mut all: Vec<Vec<Override>> = vec![Vec::new()];
    for (_, values) in paths {
        let with = |value: &Override| {
            let value = value.clone();
            all.iter()
                .map(move |before| [before.as_slice(), std::slice::from_ref(&value)].concat())
                .collect::<Vec<_>>()
        };
        all = values.into_iter().flat_map(with).collect();
    }
    Ok(all)
}

fn print(out: &mut dyn Write, report: &Report, options: &BacktestOptions) -> Result<()> {
    let mut runs = table::numbers(&[
        "run",
        "read",
        "= accepted",
        "+ late",
        "+ rejected",
        "of files",
        "seconds",
        "rows/s",
    ]);
    for run in &report.runs {
        let sum = |of: fn(&crate::run::SourceSummary) -> u64| {
            table::count(run.summary.sources.iter().map(of).sum::<u64>())
        };
        let name =
            if run.about.is_empty() { run.name.clone() } else { format!("{}: {}", run.name, run.about) };
        runs.add_row([
            name,
            sum(|source| source.read),
            sum(|source| source.accepted),
            sum(|source| source.late),
            sum(|source| source.rejected),
            of_files(&run.summary.sources),
            format!("{:.1}", run.summary.seconds),
            table::count(run.summary.rows_per_second as u64),
        ]);
    }
    let until = |time: &Option<String>, otherwise: &str| time.clone().unwrap_or_else(|| otherwise.to_owned());
    writeln!(
        out,
        "{}: from {} to {}",
        report.pipeline,
        until(&report.from, "the first record"),
        until(&report.to, "the last")
    )?;
    writeln!(out, "{runs}")?;
    for comparison in &report.comparisons {
        writeln!(out, "\n{}", heading(comparison))?;
        writeln!(out, "{}", sinks(comparison))?;
        for sink in comparison.sinks.iter().filter(|sink| !sink.left_out.is_empty()) {
            writeln!(out, "{}: not compared: {}", sink.sink, sink.left_out.join(", "))?;
        }
        for sink in comparison.sinks.iter().filter(|sink| sink.differs()) {
            details(out, sink)?;
        }
    }
    let compared = if report.comparisons.is_empty() { "" } else { ", and those that differ" };
    writeln!(out, "\nits rows{compared}: thalweg sql --data {}", options.output.display())?;
    Ok(())
}

// How much of the archives was read; nothing of topics.
fn of_files(sources: &[crate::run::SourceSummary]) -> String {
    let (read, all) = sources
        .iter()
        .fold((0, 0), |(read, all), source| (read + source.file_bytes, all + source.archive_bytes));
    if all == 0 { String::new() } else { format!("{} of {}", table::bytes(read), table::bytes(all)) }
}

fn heading(comparison: &Comparison) -> String {
    let about = if comparison.about.is_empty() { String::new() } else { format!(" ({})", comparison.about) };
    let differs = comparison.differs();
    let result = if differs { "they differ" } else { "no difference" };
    format!("{}{about} against {}: {result}", comparison.variant, comparison.reference)
}

fn sinks(comparison: &Comparison) -> Table {
    let (reference, variant) = (comparison.reference.as_str(), comparison.variant.as_str());
    let only = [format!("only {reference}"), format!("only {variant}")];
    let mut table = table::numbers(&["sink", reference, variant, &only[0], &only[1], "changed"]);
    for sink in &comparison.sinks {
        if let Some(why) = &sink.not_comparable {
            table.add_row([sink.sink.clone(), format!("not compared: {why}")]);
            continue;
        }
        let counts =
            [sink.reference_rows, sink.variant_rows, sink.only_reference, sink.only_variant, sink.changed];
        table.add_row([vec![sink.sink.clone()], counts.map(table::count).to_vec()].concat());
    }
    fit(&mut table);
    table
}

fn fit(table: &mut Table) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
}

fn figure(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        let text = format!("{number:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{number:.2e}")
    }
}

fn details(out: &mut dyn Write, sink: &SinkComparison) -> Result<()> {
    let changed: Vec<_> = sink.columns.iter().filter(|column| column.changed > 0).collect();
    if !changed.is_empty() {
        let mut table =
            table::numbers(&["column", "rows changed", "least", "p5", "median", "p95", "greatest", "mean"]);
        for column in changed {
            let mut cells = vec![column.column.clone(), table::count(column.changed)];
            match (column.difference, column.mean) {
                (Some(quantiles), Some(mean)) => {
                    cells.extend(quantiles.into_iter().chain([mean]).map(figure));
                }
                _ => cells.extend(vec![String::new(); 6]),
            }
            table.add_row(cells);
        }
        fit(&mut table);
        writeln!(out, "{}: by how much columns change", sink.sink)?;
        writeln!(out, "{table}")?;
    }
    if !sink.by_key.is_empty() {
        let keys = sink.keys.iter().skip(1).map(String::as_str);
        let header: Vec<&str> = keys.chain(["only reference", "only variant", "changed"]).collect();
        let mut table = Table::new();
        table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(header);
        for group in &sink.by_key {
            let counts = [group.only_reference, group.only_variant, group.changed].map(table::count);
            let of = group.of.iter().map(|value| value.clone().unwrap_or_else(|| "null".to_owned()));
            table.add_row(of.chain(counts));
        }
        fit(&mut table);
        writeln!(out, "{}: keys with the most differences", sink.sink)?;
        writeln!(out, "{table}")?;
    }
    writeln!(out, "{}: the first rows that differ", sink.sink)?;
    for row in sink.rows.iter().take(ROWS_SHOWN) {
        writeln!(out, "  {}", difference(row, sink.keys.len()))?;
    }
    Ok(())
}

// The keys, then what each side says: in a line.
fn difference(row: &Difference, keys: usize) -> String {
    let text = |value: &Option<String>| {
        let text = value.as_deref().unwrap_or("null");
        match text.char_indices().nth(TEXT_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    };
    let named = |values: &[Option<String>], from: usize, to: usize| {
        let pairs = row.columns[from..to].iter().zip(&values[from..to]);
        pairs.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
    };
    let all = row.columns.len();
    match (&row.reference, &row.variant) {
        (Some(reference), Some(variant)) => {
            let changed = (keys..all).filter(|at| reference[*at] != variant[*at]);
            let changes: Vec<String> = changed
                .map(|at| format!("{} {} → {}", row.columns[at], text(&reference[at]), text(&variant[at])))
                .collect();
            format!("{}: {}", named(reference, 0, keys), changes.join(", "))
        }
        (Some(values), None) => format!("only in the reference: {}", named(values, 0, all)),
        (None, Some(values)) => format!("only in the variant: {}", named(values, 0, all)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_path_are_tried_one_after_the_other_with_all_of_the_others() {
        let set = |text: &str| Override::parse(text).unwrap();
        let sets = [set("a.b=1"), set("c=x"), set("a.b=2"), set("c=[y, z]")];
        let texts: Vec<String> = combinations(&sets)
            .unwrap()
            .iter()
            .map(|sets| sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(texts, ["a.b=1 c=x", "a.b=2 c=x", "a.b=1 c=[y, z]", "a.b=2 c=[y, z]"]);
        assert_eq!(combinations(&[]).unwrap(), [Vec::new()]);
    }

    #[test]
    fn too_many_variants_are_told_with_where_they_come_from() {
        let set = |path: &str, value: usize| Override::parse(&format!("{path}={value}")).unwrap();
        let values = |path: &'static str, count: usize| (0..count).map(move |value| set(path, value));
        let sets: Vec<Override> = values("a.b", 10).chain(values("c", 10)).collect();
        assert_eq!(combinations(&sets).unwrap().len(), VARIANTS_MAX);
        let sets: Vec<Override> = values("a.b", 10).chain(values("c", 11)).collect();
        let error = combinations(&sets).unwrap_err();
        assert!(error.starts_with("--set gives 110 variants (10 of a.b × 11 of c), and"), "{error}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0, 1.5, -12.0, 0.0001, 1e9].map(figure), ["0", "1.5", "-12", "1.00e-4", "1.00e9"]);
    }
}
