//! What every architecture must learn, and the same each time.

use std::ops::ControlFlow;

use super::{Metrics, Trained, TrainingConfig, TrainingData, train};
use crate::ModelError;
use crate::architecture::{Architecture, Autoencoder, Head, Mlp, Patch, Tcn};
use crate::device::Device;
use crate::infer::Infer;
use crate::seed::Random;

/// A wave with noise, of two channels in antiphase.
fn series(rows: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, "series");
    let mut noise = || (random.unit() + random.unit() + random.unit() - 1.5) * 0.2;
    (0..rows)
        .flat_map(|row| {
            let wave = (row as f32 * std::f32::consts::TAU / 12.0).sin();
            [100.0 + 10.0 * (wave + noise()), 0.5 - 0.01 * (wave + noise())]
        })
        .collect()
}

fn of_windows() -> [Architecture; 3] {
    [
        Architecture::Autoencoder(Autoencoder {
            window: 24,
            channels: 2,
            hidden: 48,
            code: 8,
            scored: 4,
            ..Autoencoder::default()
        }),
        Architecture::Tcn(Tcn { window: 25, channels: 2, width: 16, ..Tcn::default() }),
        Architecture::Patch(Patch {
            window: 24,
            channels: 2,
            widths: [16, 24, 32],
            embedding: 16,
            memory: 64,
            neighbours: 3,
            ..Patch::default()
        }),
    ]
}

fn config() -> TrainingConfig {
    TrainingConfig { epochs_max: 12, batch_rows: 64, learning_rate: 3e-3, ..TrainingConfig::default() }
}

fn train_on(architecture: &Architecture, series: &[&[f32]], config: &TrainingConfig) -> Trained {
    let data = TrainingData::Series(series);
    train(architecture, "test@1", data, config, Device::Cpu, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn windows_are_learnt_and_incidents_stand_out() {
    for architecture in of_windows() {
        let name = architecture.name();
        let (one, two) = (series(700, 1), series(500, 2));
        let Trained { model, metrics } = train_on(&architecture, &[&one, &two], &config());
        assert!(
            metrics.best_epoch > 0 && metrics.validation_loss < 0.6 * metrics.untrained_loss,
            "{name} {metrics:?}"
        );
        let quantiles = &model.manifest().quantiles;
        assert!(quantiles.windows(2).all(|pair| pair[0].score <= pair[1].score), "{name}");
        let alarm = quantiles.last().unwrap().score;

        let channels = architecture.channels();
        let width = architecture.window() * channels;
        let live = series(400, 3);
        let windows: Vec<f32> =
            live.windows(width).step_by(channels).flat_map(|window| window.iter().copied()).collect();
        let rows = windows.len() / width;
        let scores = model.infer(rows, &[&windows]).unwrap().columns.swap_remove(0);
        let alarms = scores.iter().filter(|score| **score > alarm).count();
        assert!(alarms <= rows / 50, "{name}: {alarms} false alarms of {rows}");

        for row in (0..rows).step_by(17) {
            let mut incident = windows[row * width..(row + 1) * width].to_vec();
            incident[width - 2] += 80.0;
            let said = model.infer(1, &[&incident]).unwrap();
            assert!(said.columns[0][0] > alarm, "{name}: {} of {alarm}", said.columns[0][0]);
            assert!(said.columns[2][0] > 0.5, "{name}: the first channel is off");
            let expected = said.columns[1][0];
            assert!((70.0..130.0).contains(&expected), "{name}: expected {expected}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let one = series(300, 1);
    let config = TrainingConfig { epochs_max: 2, ..config() };
    let bytes = |architecture: &Architecture, seed| {
        let config = TrainingConfig { seed, ..config.clone() };
        train_on(architecture, &[&one], &config).model.to_bytes().unwrap()
    };
    for architecture in of_windows() {
        assert!(bytes(&architecture, 1) == bytes(&architecture, 1), "{}", architecture.name());
        assert!(bytes(&architecture, 1) != bytes(&architecture, 2), "{}", architecture.name());
    }
}

#[test]
fn a_few_wild_rows_do_not_spoil_what_is_learnt() {
    let architecture = &of_windows()[1];
    let clean = series(900, 1);
    let mut wild = clean.clone();
    let mut random = Random::new(5, "wild");
    for _ in 0..6 {
        let row = random.below(700);
        wild[2 * row] = [1e9, -1e9, 5000.0, f32::INFINITY, f32::NAN, 0.0][random.below(6)];
    }
    let loss = |series: &[f32]| train_on(architecture, &[series], &config()).metrics.validation_loss;
    let (of_clean, of_wild) = (loss(&clean), loss(&wild));
    assert!(of_wild < 1.3 * of_clean, "{of_wild} {of_clean}");
}

/// Features on scales of their own; the third says nothing, and some are missing.
fn table(rows: usize, target: impl Fn(f32, f32) -> f32) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random::new(8, "table");
    let (mut features, mut targets) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let (a, b) = (random.unit() * 2.0 - 1.0, random.unit() * 2.0 - 1.0);
        let noise = if row % 10 == 0 { f32::NAN } else { random.unit() };
        features.extend([1e4 * a, 0.01 * b, noise]);
        targets.push(target(a, b));
    }
    (features, targets)
}

fn train_table(mlp: Mlp, features: &[f32], targets: &[f32]) -> (Trained, Vec<f32>) {
    let config =
        TrainingConfig { epochs_max: 40, batch_rows: 64, learning_rate: 5e-3, ..TrainingConfig::default() };
    let data = TrainingData::Table { features, targets };
    let architecture = Architecture::Mlp(mlp);
    let trained =
        train(&architecture, "churn@1", data, &config, Device::Cpu, &mut |_| ControlFlow::Continue(()))
            .unwrap();
    let rows = features.len() / 3;
    let said = trained.model.infer(rows, &[features]).unwrap().columns.swap_remove(0);
    (trained, said)
}

#[test]
fn tables_are_learnt() {
    let mlp = |outputs, head| Mlp { features: 3, outputs, head, ..Mlp::default() };
    let (features, targets) = table(2000, |a, b| 500.0 + 100.0 * a * b);
    let (_, said) = train_table(mlp(1, Head::Regression), &features, &targets);
    let error = said.iter().zip(&targets).map(|(a, b)| (a - b).abs()).sum::<f32>() / 2000.0;
    assert!(error < 6.0, "{error}");

    let (features, targets) = table(2000, |a, b| f32::from(a + b > 0.8));
    let (_, said) = train_table(mlp(1, Head::Classification), &features, &targets);
    let right = said.iter().zip(&targets).filter(|(p, y)| (**p > 0.5) == (**y > 0.5)).count();
    assert!(right > 1900, "{right}");

    let (features, targets) = table(2000, |a, b| f32::from(a > 0.0) + f32::from(a > 0.0 && b > 0.0));
    let (trained, said) = train_table(mlp(3, Head::Classification), &features, &targets);
    let best = |row: &[f32]| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let right = said.chunks(3).zip(&targets).filter(|(row, class)| best(row) == **class as usize).count();
    assert!(right > 1900, "{right}");
    assert!(said.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert!(trained.model.manifest().quantiles.is_empty());
}

#[test]
fn training_ends_early_or_when_told() {
    let one = series(300, 1);
    let architecture = &of_windows()[0];
    let patient = TrainingConfig { epochs_max: 200, patience: 2, learning_rate: 0.05, ..config() };
    let Metrics { epochs, best_epoch, .. } = train_on(architecture, &[&one], &patient).metrics;
    assert!(epochs < 200 && epochs == best_epoch + 2, "{epochs} {best_epoch}");

    let mut seen = Vec::new();
    let stopped =
        train(architecture, "a@1", TrainingData::Series(&[&one]), &config(), Device::Cpu, &mut |progress| {
            seen.push(progress.epoch);
            if progress.epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    assert!(matches!(stopped.unwrap_err(), ModelError::Stopped { epoch: 3 }));
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn what_makes_no_model_is_refused() {
    let refuse = |architecture: &Architecture, data: TrainingData<'_>, config: &TrainingConfig| {
        train(architecture, "a@1", data, config, Device::Cpu, &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string()
    };
    let autoencoder = &of_windows()[0];
    let short = series(24, 1);
    let message = refuse(autoencoder, TrainingData::Series(&[&short]), &config());
    assert!(message.contains("the longest series has 24 rows and a window 24"), "{message}");
    let message = refuse(autoencoder, TrainingData::Series(&[&short[1..]]), &config());
    assert!(message.contains("rows of 2 channels"), "{message}");
    let nothing = vec![f32::NAN; 2000];
    assert!(refuse(autoencoder, TrainingData::Series(&[&nothing]), &config()).contains("too few"));
    let table = TrainingData::Table { features: &[1.0; 6], targets: &[0.0, 2.0] };
    assert!(refuse(autoencoder, table, &config()).contains("the autoencoder learns from series"));
    let mlp = Architecture::Mlp(Mlp { features: 3, head: Head::Classification, ..Mlp::default() });
    assert!(
        refuse(&mlp, table, &config())
            .contains("the target of row 1 is 2; it must be the number of a class, 0 to 1")
    );
    let wrong = TrainingConfig { learning_rate: 0.0, ..config() };
    assert!(refuse(autoencoder, TrainingData::Series(&[&short]), &wrong).contains("`learning_rate`"));
}
