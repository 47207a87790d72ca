//! `thalweg models compare`: which of two versions measured better, and on what.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use thalweg_models::registry::compare::{self, Better, Compared, Side};
use thalweg_models::registry::{Card, Reference, Registry};

use super::list::kind;
use super::with::number;
use crate::cli::table;

/// Compare two versions: their metrics side by side, which is better, and the data that they were trained on.
///
/// Which way a metric is better is known of those that training and evaluation give; of others nothing is said.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg models compare churn@2 churn@3
  thalweg models compare churn@champion churn@latest --output json")]
pub(super) struct CompareArgs {
    /// A version.
    #[arg(value_name = "NAME@A")]
    first: Reference,
    /// Another.
    #[arg(value_name = "NAME@B")]
    second: Reference,
}

#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    first: Card,
    second: Card,
    metrics: Vec<Compared>,
    /// Whether both were trained on the same rows.
    is_same_data: bool,
}

pub(super) fn compare(registry: &Registry, args: &CompareArgs) -> Result<Comparison> {
    let (first, second) = (registry.card(&args.first)?, registry.card(&args.second)?);
    let data = |card: &Card| {
        let trained = card.trained_on.clone();
        trained.map(|trained| (trained.pipeline, trained.step, trained.from, trained.to, trained.rows))
    };
    let metrics = compare::compare(&first, &second);
    let is_same_data = data(&first).is_some() && data(&first) == data(&second);
    Ok(Comparison { first, second, metrics, is_same_data })
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
    format!("{table}\n{}", verdict(comparison, &names))
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
