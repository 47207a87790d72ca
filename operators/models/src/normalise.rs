//! Windows in robust units of their own, so that one model serves keys of any level and size.
//!
//! For each channel of a window: centre = the median of its values, scale = the larger of 1.4826 · MAD (the standard deviation of normal
//! values: Rousseeuw and Croux, 1993) and a quarter of 1.2533 · the mean absolute deviation, which keeps the scale above zero where
//! most values are the same; never below 10⁻⁵ of the centre's size, where `f32` ends. z = (value − centre) / scale, compressed
//! beyond ±8 ([`compress`]). NaN and infinities are missing values:
//! z = 0, and they count nowhere. A channel with fewer than half of its values is missing as a whole.

use thalweg_series::stream::compress;

/// Of a normal distribution: standard deviation per median absolute deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// Of a normal distribution: standard deviation per mean absolute deviation.
const MEAN_TO_DEVIATION: f64 = 1.2533;

/// Windows in units of their own, and what they were in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normalised {
    /// Rows × window × channels; 0 where there is no value.
    pub(crate) values: Vec<f32>,
    /// 1 where there is a value that counts, otherwise 0; as `values`.
    pub(crate) present: Vec<f32>,
    /// Rows × channels; NaN: the channel is missing.
    pub(crate) centres: Vec<f32>,
    /// Rows × channels, in the input's units.
    pub(crate) scales: Vec<f32>,
}

/// Normalises `windows` (rows × window × channels). Centres and scales come from the first `context` rows of each window: all of them,
/// or all but the newest where that one is to be predicted.
pub(crate) fn normalise(windows: &[f32], window: usize, channels: usize, context: usize) -> Normalised {
    let width = window * channels;
    let rows = windows.len() / width;
    let mut normalised = Normalised {
        values: vec![0.0; windows.len()],
        present: vec![0.0; windows.len()],
        centres: vec![f32::NAN; rows * channels],
        scales: vec![0.0; rows * channels],
    };
    let mut scratch = Vec::with_capacity(window);
    for row in 0..rows {
        let values = &windows[row * width..(row + 1) * width];
        for channel in 0..channels {
            scratch.clear();
            let series = values.iter().skip(channel).step_by(channels);
            scratch.extend(series.take(context).filter(|v| v.is_finite()).map(|v| f64::from(*v)));
            if scratch.is_empty() || 2 * scratch.len() < context {
                continue;
            }
            let (centre, scale) = centre_and_scale(&mut scratch);
            normalised.centres[row * channels + channel] = centre as f32;
            normalised.scales[row * channels + channel] = scale as f32;
            for at in (row * width + channel..(row + 1) * width).step_by(channels) {
                if windows[at].is_finite() {
                    normalised.present[at] = 1.0;
                    normalised.values[at] = compress(f64::from(windows[at]), centre, scale);
                }
            }
        }
    }
    normalised
}

/// Windows that came normalised: NaN and infinities are missing values, centres are 0 and scales 1.
pub(crate) fn normalised_before(windows: &[f32], window: usize, channels: usize) -> Normalised {
    let rows = windows.len() / (window * channels);
    Normalised {
        values: windows.iter().map(|z| if z.is_finite() { *z } else { 0.0 }).collect(),
        present: windows.iter().map(|z| f32::from(z.is_finite())).collect(),
        centres: vec![0.0; rows * channels],
        scales: vec![1.0; rows * channels],
    }
}

/// Of values that are all finite; there is at least one. Uses `values` up.
pub(crate) fn centre_and_scale(values: &mut [f64]) -> (f64, f64) {
    let centre = median(values);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - centre).abs();
        sum += *value;
    }
    let mean_deviation = sum / values.len() as f64;
    let deviation = MAD_TO_DEVIATION * median(values);
    let scale = deviation.max(0.25 * MEAN_TO_DEVIATION * mean_deviation).max(1e-5 * centre.abs());
    (centre, scale)
}

/// The middle value, or the mean of the middle two.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return *upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lower + *upper) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use thalweg_series::stream::restore;

    use super::{median, normalise, normalised_before};

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0]), 5.0);
        assert_eq!(median(&mut [9.0, 1.0, 4.0]), 4.0);
        assert_eq!(median(&mut [9.0, 1.0, 4.0, 6.0]), 5.0);
    }

    #[test]
    fn level_and_size_of_a_channel_do_not_matter() {
        let one: Vec<f32> = (0..16).map(|i| ((i * 7) % 11) as f32).collect();
        let two: Vec<f32> = one.iter().map(|v| v * 1024.0 + 4096.0).collect();
        let both: Vec<f32> = one.iter().zip(&two).flat_map(|(a, b)| [*a, *b]).collect();
        let alone = normalise(&one, 16, 1, 16);
        let together = normalise(&both, 16, 2, 16);
        for i in 0..16 {
            assert_eq!(together.values[2 * i].to_bits(), alone.values[i].to_bits());
            assert_eq!(together.values[2 * i + 1].to_bits(), alone.values[i].to_bits());
        }
    }

    #[test]
    fn a_value_far_away_is_far_and_not_infinite() {
        let mut window = vec![1.0_f32; 16];
        window[15] = f32::MAX;
        let of_all = normalise(&window, 16, 1, 16);
        assert!(of_all.values[15] > 8.0 && of_all.values[15] < 20.0, "{}", of_all.values[15]);
        let of_context = normalise(&window, 16, 1, 15);
        assert!(of_context.values[15] > 80.0 && of_context.values[15].is_finite());
        let of_zeros = normalise(&[0.0, 0.0, 0.0, 1.0], 4, 1, 3);
        assert!(of_zeros.values[3] > 100.0 && of_zeros.values[3].is_finite());
    }

    #[test]
    fn missing_values_count_nowhere() {
        let with = [1.0, f32::NAN, 2.0, 3.0, f32::INFINITY, 4.0];
        let normalised = normalise(&with, 6, 1, 6);
        let without = normalise(&[1.0, 2.0, 3.0, 4.0], 4, 1, 4);
        assert_eq!(normalised.centres, without.centres);
        assert_eq!(normalised.present, [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
        assert_eq!(normalised.values[1], 0.0);
        let mostly_missing = normalise(&[1.0, f32::NAN, f32::NAN, f32::NAN], 4, 1, 4);
        assert!(mostly_missing.centres[0].is_nan());
        assert_eq!(mostly_missing.present, [0.0; 4]);
    }

    #[test]
    fn what_came_normalised_stays_as_it_is() {
        let normalised = normalised_before(&[1.5, f32::NAN, -9.0, 0.0], 2, 2);
        assert_eq!(normalised.values, [1.5, 0.0, -9.0, 0.0]);
        assert_eq!(normalised.present, [1.0, 0.0, 1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn restoring_gives_the_value_back(values in prop::collection::vec(-1e6_f32..1e6, 12)) {
            let normalised = normalise(&values, 12, 1, 12);
            for (value, z) in values.iter().zip(&normalised.values) {
                let back = restore(*z, f64::from(normalised.centres[0]), f64::from(normalised.scales[0])) as f32;
                let size = normalised.scales[0] * 20.0 + normalised.centres[0].abs();
                prop_assert!((back - value).abs() <= 1e-5 * size, "{back} {value}");
            }
        }

        #[test]
        fn nothing_panics_and_all_is_finite(bits in prop::collection::vec(any::<u32>(), 24)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let normalised = normalise(&values, 6, 2, 5);
            prop_assert!(normalised.values.iter().all(|z| z.is_finite()));
        }
    }
}
