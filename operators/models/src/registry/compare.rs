//! Two versions side by side: which measures better.
//!
//! Metrics are compared by name, and which way is better is known of the names that training and evaluation give. Of any other, nothing is
//! said.

use serde::Serialize;

use super::card::Card;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Errors, losses, delays.
    Lower,
    /// Shares that were found, areas under curves.
    Higher,
}

/// Words of names of which less is better.
const LOWER: [&str; 14] = [
    "alarms", "brier", "crps", "delay", "delays", "error", "loss", "mae", "mape", "mase", "missed", "mse",
    "rmse", "smape",
];
/// Words of names of which more is better.
const HIGHER: [&str; 10] =
    ["accuracy", "auc", "f1", "nab", "precision", "r2", "recall", "roc", "skill", "vus"];
/// Words of names of which nothing can be said, whatever stands beside them: what was so without a model, how much there was of something.
const NEITHER: [&str; 5] = ["untrained", "naive", "count", "rows", "nominal"];

impl Better {
    /// By the words of a metric's name, such as `vus_pr_mean`.
    pub fn of(metric: &str) -> Option<Better> {
        let has = |words: &[&str]| metric.split('_').any(|word| words.contains(&word));
        let is_delay = has(&["delay", "delays"]);
        match (has(&LOWER), has(&HIGHER)) {
            // A delay in rows is a delay.
            _ if has(&NEITHER) && !is_delay => None,
            (true, false) => Some(Better::Lower),
            (false, true) => Some(Better::Higher),
            _ => None,
        }
    }
}

/// One of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The one named first.
    First,
    /// The one named second.
    Second,
}

/// A metric of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The metric's name.
    pub metric: String,
    /// Of the first, where it has it.
    pub first: Option<f64>,
    /// Of the second, where it has it.
    pub second: Option<f64>,
    /// Which way is better, where that is known.
    pub better: Option<Better>,
    /// Which of the two is: none where they are alike, one lacks it, or the way is unknown.
    pub winner: Option<Side>,
}

/// All metrics that one of two versions has, by name.
pub fn compare(first: &Card, second: &Card) -> Vec<Compared> {
    let mut names: Vec<&String> = first.metrics.keys().chain(second.metrics.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let compared = |name: &String| {
        let (first, second) = (first.metrics.get(name).copied(), second.metrics.get(name).copied());
        let better = Better::of(name);
        let winner = first.zip(second).zip(better).and_then(|((first, second), better)| {
            if first == second {
                return None;
            }
            let is_first = (first < second) == (better == Better::Lower);
            Some(if is_first { Side::First } else { Side::Second })
        });
        Compared { metric: name.clone(), first, second, better, winner }
    };
    names.into_iter().map(compared).collect()
}

#[cfg(test)]
mod tests {
    use super::Better;

    #[test]
    fn which_way_is_better_is_told_by_names() {
        for name in [
            "validation_loss",
            "mse",
            "smape",
            "false_alarms_per_day",
            "delay_rows_median",
            "final_value_mae",
        ] {
            assert_eq!(Better::of(name), Some(Better::Lower), "{name}");
        }
        for name in ["vus_pr_mean", "average_precision", "recall", "nab", "f1"] {
            assert_eq!(Better::of(name), Some(Better::Higher), "{name}");
        }
        for name in [
            "untrained_loss",
            "training_rows",
            "epochs",
            "coverage",
            "training_s",
            "false_alarms_nominal",
            "",
        ] {
            assert_eq!(Better::of(name), None, "{name}");
        }
    }
}
