//! Quantiles of the scores of held-out rows: thresholds to begin with.

use super::data::Rows;
use super::memory::thin;
use crate::ModelError;
use crate::architecture::Architecture;
use crate::infer::Infer;
use crate::model::{Model, ScoreQuantile};

/// The quantiles that are kept.
const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999];
/// Rows that are scored for them, at most.
const ROWS_MAX: usize = 50_000;

/// Of a model of windows; none for an MLP, which gives no scores.
pub(super) fn of_scores(model: &Model, rows: &Rows<'_>) -> Result<Vec<ScoreQuantile>, ModelError> {
    if matches!(model.manifest().architecture, Architecture::Mlp(_)) {
        return Ok(Vec::new());
    }
    let places = thin(rows.validation(), ROWS_MAX);
    let mut scores = model.infer(places.len(), &[&rows.inputs(&places)])?.columns.swap_remove(0);
    scores.retain(|score| score.is_finite());
    scores.sort_by(f32::total_cmp);
    let of = |quantile: f64| {
        let rank = (quantile * scores.len() as f64).ceil() as usize;
        scores.get(rank.saturating_sub(1)).map(|score| ScoreQuantile { quantile, score: *score })
    };
    Ok(QUANTILES.into_iter().filter_map(of).collect())
}
