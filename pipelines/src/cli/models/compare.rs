//! `thalweg models compare`: which of two versions measured better, and on what.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use thalweg_models::architecture::Architecture;
use thalweg_models::registry::compare::{self, Better, Compared, Side};
use thalweg_models::registry::{Card, Reference, Registry};

use super::list::kind;
use super::with::number;
use crate::cli::table;
use crate::evaluate::shadow::{self, SideBySide};

/// Compare two versions: their metrics side by side, which is better, and the data that they were trained on.
///
/// Which way a metric is better is known of those that training and evaluation give; of others nothing is said. With --data, also
/// which of them knows better what is ordinary, on rows that a step asked both of: one as its model, one as its shadow.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models compare churn@2 churn@3
  thalweg models compare churn@champion churn@latest --output json
  thalweg models compare watched@champion watched@latest --data output/my_pipeline --table watched")]
pub(super) struct CompareArgs {
    /// A version.
    #[arg(value_name = "NAME@A")]
    first: Reference,
    /// Another.
    #[arg(value_name = "NAME@B")]
    second: Reference,
    /// The folder of a job's outputs, with rows of which both said something.
    #[arg(long, value_name = "DIR", requires = "table")]
    data: Option<PathBuf>,
    /// The output of the step in it, named as in SQL.
    #[arg(long, value_name = "TABLE", requires = "data")]
    table: Option<String>,
    /// The column of its rows' time, where they are no windows.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    time: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    first: Card,
    second: Card,
    metrics: Vec<Compared>,
    /// Whether both were trained on the same rows.
    is_same_data: bool,
    /// What they said of the same rows since.
    since: Option<SideBySide>,
}

pub(super) fn compare(registry: &Registry, args: &CompareArgs) -> Result<Comparison> {
    let (first, second) = (registry.card(&args.first)?, registry.card(&args.second)?);
    let data = |card: &Card| {
        let trained = card.trained_on.clone();
        trained.map(|trained| (trained.pipeline, trained.step, trained.from, trained.to, trained.rows))
    };
    let metrics = compare::compare(&first, &second);
    let is_same_data = data(&first).is_some() && data(&first) == data(&second);
    let since = match (&args.data, &args.table) {
        (Some(folder), Some(table)) => {
            let is_patch = |card: &Card| matches!(card.architecture, Some(Architecture::Patch(_)));
            if is_patch(&first) || is_patch(&second) {
                anyhow::bail!(
                    "scores of patch models are in units of their own training, so those of two versions don't compare; judge their alarms by incidents that are known: thalweg evaluate --data"
                );
            }
            if first.reference() == second.reference() {
                anyhow::bail!("{} is compared with itself; name two versions", first.reference());
            }
            let versions = [&first, &second].map(|card| card.reference().to_string());
            Some(shadow::side_by_side(folder, table, &versions, args.time.as_deref())?)
        }
        _ => None,
    };
    Ok(Comparison { first, second, metrics, is_same_data, since })
}

pub(super) fn shown(comparison: &Comparison) -> String {
    let (first, second) = (&comparison.first, &comparison.second);
    let names = [first, second].map(|card| card.reference().to_string());
    let mut table = table::numbers(&["", &names[0], &names[1], "better"]);
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    for metric in &comparison.metrics {
        let better = match (metric.winner, metric.better) {
            (Some(Side::First), _) => names[0].clone(),
            (Some(Side::Second), _) => names[1].clone(),
            (None, Some(_)) if metric.first.is_some() && metric.first == metric.second => "alike".to_owned(),
            (None, _) => String::new(),
        };
        let way = match metric.better {
            Some(Better::Lower) => " ↓",
            Some(Better::Higher) => " ↑",
            None => "",
        };
        table.add_row([
            format!("{}{way}", metric.metric),
            optional(metric.first),
            optional(metric.second),
            better,
        ]);
    }
    for (name, of) in FACTS {
        let facts = [of(first), of(second)];
        if facts.iter().any(|fact| !fact.is_empty()) {
            let [first, second] = facts;
            table.add_row([name.to_owned(), first, second, String::new()]);
        }
    }
    let since =
        comparison.since.as_ref().map_or_else(String::new, |since| format!("\n{}", told(since, &names)));
    format!("{table}\n{}{since}", verdict(comparison, &names))
}

/// With fewer hours no split of them is unlikely enough.
const HOURS_MIN: u64 = 6;

fn told(since: &SideBySide, names: &[String; 2]) -> String {
    let mut table = table::numbers(&["on the same rows", &names[0], &names[1]]);
    let mut row = |what: &str, of: [String; 2]| {
        let [first, second] = of;
        table.add_row([what.to_owned(), first, second]);
    };
    row("median error of ordinary rows ↓", since.ordinary_error.map(number));
    row("hours in which it is lower ↑", since.hours_better.map(table::count));
    row("anomalies", since.anomalies.map(table::count));
    let hours: u64 = since.hours_better.iter().sum();
    let better = match since.better() {
        Some(better) => format!("{} knows better what is ordinary", names[better]),
        None if hours < HOURS_MIN => {
            format!("too few hours to tell which is better: {hours}, where {HOURS_MIN} may do")
        }
        None => "none of the two can be told to be better".to_owned(),
    };
    format!(
        "{table}\n{better} ({} ordinary rows of {}, sign test p = {}; both found {} anomalies)",
        table::count(since.ordinary_rows),
        table::count(since.rows),
        number(since.p_value),
        table::count(since.anomalies_of_both)
    )
}

type Fact = fn(&Card) -> String;

/// What is said of each, beside its metrics.
const FACTS: [(&str, Fact); 9] = [
    ("model", kind),
    ("created", |card| card.created_at.to_string()),
    ("size", |card| table::bytes(card.file.bytes)),
    ("parent", |card| card.parent.map_or_else(String::new, |parent| format!("{}@{parent}", card.name))),
    ("trained on", |card| of_training(card, |trained| format!("{}.{}", trained.pipeline, trained.step))),
    ("from", |card| of_training(card, |trained| trained.from.to_string())),
    ("to", |card| of_training(card, |trained| trained.to.to_string())),
    ("rows", |card| of_training(card, |trained| table::count(trained.rows))),
    ("seed", |card| of_training(card, |trained| trained.seed.to_string())),
];

fn of_training(card: &Card, of: fn(&thalweg_models::registry::TrainedOn) -> String) -> String {
    card.trained_on.as_ref().map_or_else(String::new, of)
}

fn verdict(comparison: &Comparison, names: &[String; 2]) -> String {
    let wins = |side| comparison.metrics.iter().filter(|metric| metric.winner == Some(side)).count();
    let (first, second) = (wins(Side::First), wins(Side::Second));
    if first + second == 0 {
        return "no metric tells which is better".to_owned();
    }
    let data = match (&comparison.first.trained_on, &comparison.second.trained_on) {
        _ if comparison.is_same_data => "",
        (Some(_), Some(_)) => "; they were trained on different data, so losses of training may not compare",
        _ => "; whether they were measured on the same data isn't known here",
    };
    let metrics = table::things(first, "metric");
    format!("{} is better in {metrics}, {} in {second}{data}", names[0], names[1])
}
