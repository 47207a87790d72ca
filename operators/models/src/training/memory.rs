//! Which windows of the training stand for all of it.
//!
//! Spherical k-means (Dhillon and Modha, 2001) over embedded windows; of each cluster the window nearest to its centre is kept. Windows that
//! are furthest from all others in memory are dropped: incidents of the training are few, and should not be what normal means.

use candle_core::Tensor;

use super::TrainingConfig;
use super::data::{Place, Rows};
use crate::ModelError;
use crate::architecture::Patch;
use crate::model::{Memory, Model, amplitude, mean_distance};
use crate::seed::Random;

/// Windows that clusters are made of, at most.
const SAMPLE_MAX: usize = 16_384;
/// Rounds of k-means: its centres hardly move after a few.
const ROUNDS: usize = 6;

/// The memory of a model that has learnt to embed.
pub(super) fn build(
    model: &Model,
    rows: &Rows<'_>,
    patch: &Patch,
    config: &TrainingConfig,
) -> Result<Memory, ModelError> {
    let width = patch.window * patch.channels;
    let embed = |places: &[Place]| {
        let windows = rows.windows(places).values;
        Ok::<_, ModelError>((model.forward(&windows, width)?, windows))
    };
    let sample = thin(rows.training(), SAMPLE_MAX);
    let (points, windows) = embed(&sample)?;
    let kept = medoids(&points, patch.embedding, patch.memory, config.seed)?;
    let kept = without_loners(&points, patch, &kept, config.trimmed_share)?;

    let mut memory = Vec::with_capacity(kept.len() * width);
    let mut columns = vec![0.0; kept.len() * patch.embedding];
    for (place, at) in kept.iter().enumerate() {
        memory.extend_from_slice(&windows[at * width..(at + 1) * width]);
        for coordinate in 0..patch.embedding {
            columns[coordinate * kept.len() + place] = points[at * patch.embedding + coordinate];
        }
    }
    let host = Tensor::from_vec(columns, (patch.embedding, kept.len()), &candle_core::Device::Cpu)?;

    let (held_out, windows) = embed(&thin(rows.validation(), SAMPLE_MAX))?;
    let cosines = products(&held_out, &host)?;
    let distances = cosines.chunks(kept.len()).map(|row| mean_distance(row, patch.neighbours).0).collect();
    let amplitudes = windows.chunks(width).map(|window| amplitude(window, patch.channels)).collect();
    Ok(Memory {
        embeddings: host.to_device(model.opened())?,
        windows: memory,
        count: kept.len(),
        distance_unit: unit(distances),
        amplitude_unit: unit(amplitudes),
    })
}

/// At most so many, evenly spread.
pub(super) fn thin(places: &[Place], most: usize) -> Vec<Place> {
    let stride = places.len().div_ceil(most).max(1);
    places.iter().step_by(stride).copied().collect()
}

/// The 95 % quantile, and never nothing: what is always the same still needs a unit.
fn unit(mut values: Vec<f64>) -> f32 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * 95).div_ceil(100).saturating_sub(1);
    (values.get(at).copied().unwrap_or(1.0) as f32).max(1e-4)
}

/// Rows × coordinates times coordinates × columns.
fn products(points: &[f32], columns: &Tensor) -> Result<Vec<f32>, ModelError> {
    let (coordinates, _) = columns.dims2()?;
    let points = Tensor::from_slice(points, (points.len() / coordinates, coordinates), columns.device())?;
    Ok(points.matmul(columns)?.flatten_all()?.to_vec1()?)
}

/// The points nearest to the centres of at most `most` clusters.
fn medoids(points: &[f32], coordinates: usize, most: usize, seed: u64) -> Result<Vec<usize>, ModelError> {
    let count = points.len() / coordinates;
    if count <= most {
        return Ok((0..count).collect());
    }
    let mut order: Vec<usize> = (0..count).collect();
    Random::new(seed, "memory").shuffle(&mut order);
    order.truncate(most);
    order.sort_unstable();
    let point = |at: usize| &points[at * coordinates..(at + 1) * coordinates];
    let mut centres: Vec<f32> = order.iter().flat_map(|at| point(*at)).copied().collect();
    let mut nearest = vec![(f32::NEG_INFINITY, usize::MAX); most];
    for _ in 0..ROUNDS {
        let columns = Tensor::from_slice(&centres, (most, coordinates), &candle_core::Device::Cpu)?
            .t()?
            .contiguous()?;
        let mut sums = vec![0.0_f64; centres.len()];
        nearest.fill((f32::NEG_INFINITY, usize::MAX));
        for first in (0..count).step_by(1024) {
            let last = (first + 1024).min(count);
            let cosines = products(&points[first * coordinates..last * coordinates], &columns)?;
            for (at, row) in (first..last).zip(cosines.chunks(most)) {
                let (distance, cluster) = mean_distance(row, 1);
                let cosine = (1.0 - distance) as f32;
                if cosine > nearest[cluster].0 {
                    nearest[cluster] = (cosine, at);
                }
                let sum = &mut sums[cluster * coordinates..(cluster + 1) * coordinates];
                sum.iter_mut().zip(point(at)).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        for (centre, sum) in centres.chunks_mut(coordinates).zip(sums.chunks(coordinates)) {
            let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            if length > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(centre, sum)| *centre = (sum / length) as f32);
            }
        }
    }
    let mut kept: Vec<usize> = nearest.into_iter().map(|(_, at)| at).filter(|at| *at != usize::MAX).collect();
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}

/// Leaves out the share of points whose nearest others are furthest away.
fn without_loners(
    points: &[f32],
    patch: &Patch,
    kept: &[usize],
    share: f64,
) -> Result<Vec<usize>, ModelError> {
    let left_out = (kept.len() as f64 * share) as usize;
    let coordinates = patch.embedding;
    let own: Vec<f32> =
        kept.iter().flat_map(|at| &points[at * coordinates..(at + 1) * coordinates]).copied().collect();
    let columns =
        Tensor::from_slice(&own, (kept.len(), coordinates), &candle_core::Device::Cpu)?.t()?.contiguous()?;
    // One more than the neighbours, as each point is its own nearest.
    let cosines = products(&own, &columns)?;
    let mut distances: Vec<(f64, usize)> = cosines
        .chunks(kept.len())
        .zip(kept)
        .map(|(row, at)| (mean_distance(row, patch.neighbours + 1).0, *at))
        .collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    distances.truncate(kept.len() - left_out);
    let mut rest: Vec<usize> = distances.into_iter().map(|(_, at)| at).collect();
    rest.sort_unstable();
    Ok(rest)
}
