//! Files that come back as they went, and rows that don't see their neighbours.

use super::score::{Extras, Memory, Standard};
use super::{Manifest, Model, ScoreQuantile};
use crate::ModelError;
use crate::architecture::{Architecture, Autoencoder, Head, Mlp, Patch, Tcn};
use crate::device::Device;
use crate::infer::Infer;
use crate::layers::{ParameterSpec, Parameters};
use crate::normalise::normalise;
use crate::seed::Random;

/// An untrained model: what is tested here doesn't depend on what it has learnt.
fn model(architecture: Architecture) -> Model {
    // A last layer says nothing at first, and any other one something here.
    let specs = architecture.parameters().into_iter();
    let specs: Vec<_> = specs.map(|spec| ParameterSpec { fan_in: spec.fan_in.max(8), ..spec }).collect();
    let (parameters, _) = Parameters::initial(&specs, 11, &candle_core::Device::Cpu).unwrap();
    let parameters = parameters.frozen().unwrap();
    let quantiles = vec![ScoreQuantile { quantile: 0.99, score: 3.5 }];
    let manifest = Manifest { architecture, version: "watched@3".to_owned(), seed: 11, quantiles };
    let device = candle_core::Device::Cpu;
    let plain = Model::new(manifest.clone(), parameters.clone(), Extras::None, Device::Cpu, device.clone());
    let extras = match &manifest.architecture {
        Architecture::Autoencoder(_) | Architecture::Tcn(_) => Extras::None,
        Architecture::Patch(config) => {
            let (width, count) = (config.window * config.channels, 37);
            let windows =
                normalise(&windows(count, width), config.window, config.channels, config.window).values;
            let embedded = plain.forward(&windows, width).unwrap();
            let embeddings =
                candle_core::Tensor::from_vec(embedded, (count, config.embedding), &device).unwrap();
            let embeddings = embeddings.t().unwrap().contiguous().unwrap();
            Extras::Memory(Memory { embeddings, windows, count, distance_unit: 0.5, amplitude_unit: 2.0 })
        }
        Architecture::Mlp(config) => Extras::Standard(Standard {
            feature_centres: vec![0.5; config.features],
            feature_scales: vec![2.0; config.features],
            target_centres: vec![10.0; config.outputs],
            target_scales: vec![3.0; config.outputs],
        }),
    };
    Model::new(manifest, parameters, extras, Device::Cpu, device)
}

fn windows(rows: usize, width: usize) -> Vec<f32> {
    let mut random = Random::new(rows as u64, "windows");
    let mut values: Vec<f32> = (0..rows * width).map(|_| random.unit() * 10.0 - 3.0).collect();
    for _ in 0..rows {
        // A few that are missing or far off.
        let at = random.below(values.len());
        values[at] = [f32::NAN, 1e9, f32::NEG_INFINITY, 0.0][random.below(4)];
    }
    values
}

fn all() -> Vec<Architecture> {
    let mlp = |outputs, head| Architecture::Mlp(Mlp { features: 6, outputs, head, ..Mlp::default() });
    vec![
        Architecture::Autoencoder(Autoencoder::default()),
        Architecture::Autoencoder(Autoencoder {
            window: 12,
            channels: 3,
            hidden: 17,
            code: 5,
            scored: 12,
            ..Autoencoder::default()
        }),
        Architecture::Tcn(Tcn::default()),
        Architecture::Tcn(Tcn { window: 11, channels: 2, width: 9, ..Tcn::default() }),
        Architecture::Patch(Patch::default()),
        Architecture::Patch(Patch {
            window: 13,
            channels: 2,
            widths: [7, 9, 11],
            embedding: 5,
            ..Patch::default()
        }),
        mlp(1, Head::Regression),
        mlp(1, Head::Classification),
        mlp(3, Head::Classification),
    ]
}

/// The bits of each row's outputs.
fn bits(model: &Model, rows: usize, values: &[f32]) -> Vec<Vec<u32>> {
    let outputs = model.infer(rows, &[values]).unwrap();
    (0..rows)
        .map(|row| {
            let columns = outputs.columns.iter().zip(model.outputs());
            columns
                .flat_map(|(column, port)| &column[row * port.width()..(row + 1) * port.width()])
                .map(|value| value.to_bits())
                .collect()
        })
        .collect()
}

#[test]
fn a_row_gets_the_same_bits_in_any_batch_and_any_order() {
    for architecture in all() {
        let model = model(architecture);
        let width = model.inputs()[0].width();
        let rows = 2 * model.batch_rows() + 13;
        let values = windows(rows, width);
        let wanted = bits(&model, rows, &values);
        let mut random = Random::new(5, "order");
        for _ in 0..4 {
            let mut order: Vec<usize> = (0..rows).collect();
            random.shuffle(&mut order);
            let mut rest = order.as_slice();
            while !rest.is_empty() {
                let (part, after) =
                    rest.split_at((1 + random.below(model.batch_rows() + 40)).min(rest.len()));
                let batch: Vec<f32> =
                    part.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect();
                for (row, got) in part.iter().zip(bits(&model, part.len(), &batch)) {
                    assert_eq!(got, wanted[*row], "{} row {row}", model.manifest().architecture.name());
                }
                rest = after;
            }
        }
    }
}

#[test]
fn a_file_gives_the_model_back_and_is_the_same_each_time() {
    for architecture in all() {
        let model = model(architecture);
        let bytes = model.to_bytes().unwrap();
        let back = Model::from_bytes(&bytes, Device::Cpu).unwrap();
        assert_eq!(back.manifest(), model.manifest());
        assert_eq!(Manifest::from_bytes(&bytes).unwrap(), *model.manifest());
        assert_eq!(back.to_bytes().unwrap(), bytes);
        let values = windows(20, model.inputs()[0].width());
        assert_eq!(bits(&back, 20, &values), bits(&model, 20, &values));
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let refuse = |bytes: &[u8]| Model::from_bytes(bytes, Device::Cpu).unwrap_err().to_string();
    for bytes in [&b""[..], b"{}", &[0xff; 64], b"PK\x03\x04 not a model at all"] {
        assert!(refuse(bytes).starts_with("not a model's file"), "{}", refuse(bytes));
    }
    let bytes = model(Architecture::Autoencoder(Autoencoder::default())).to_bytes().unwrap();
    for length in [7, 100, bytes.len() - 1] {
        assert!(refuse(&bytes[..length]).starts_with("not a model's file"));
    }
    let altered = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len() / 64]).into_owned();
        let at = text.find(from).unwrap();
        let mut bytes = bytes.clone();
        bytes.splice(at..at + from.len(), to.bytes());
        bytes
    };
    let message = refuse(&altered(r#"\"format\":1"#, r#"\"format\":9"#));
    assert_eq!(message, "the model's file has format 9, and this binary reads up to 1: use a newer one");
    let message = refuse(&altered(r#"\"hidden\":128"#, r#"\"hidden\":127"#));
    assert!(message.contains("should be F32"), "{message}");
    let message = refuse(&altered(r#"{\"autoencoder\""#, r#"{\"autoencodes\""#));
    assert!(message.contains("autoencodes"), "{message}");
    let mut not_finite = bytes.clone();
    let end = not_finite.len();
    not_finite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refuse(&not_finite).contains("finite"));
}

#[test]
fn values_must_fill_their_rows() {
    let model = model(Architecture::Autoencoder(Autoencoder::default()));
    let error = model.infer(2, &[&[0.0; 63]]).unwrap_err();
    assert!(matches!(error, ModelError::Shape { wanted: 64, got: 63, .. }));
    assert!(matches!(model.infer(2, &[]).unwrap_err(), ModelError::Inputs { wanted: 1, got: 0 }));
    assert_eq!(model.infer(0, &[&[]]).unwrap().columns, vec![Vec::<f32>::new(); 3]);
}

#[test]
fn a_row_without_a_value_has_no_score() {
    for architecture in all() {
        let model = model(architecture);
        let width = model.inputs()[0].width();
        let channels = model.manifest().architecture.channels();
        let mut window: Vec<f32> =
            windows(1, width).iter().map(|v| if v.is_finite() { *v } else { 1.0 }).collect();
        window[width - channels..].fill(f32::NAN);
        let score = model.infer(1, &[&window]).unwrap().columns[0][0];
        let is_window = !matches!(model.manifest().architecture, Architecture::Mlp(_));
        assert_eq!(score.is_nan(), is_window);
        let nothing = model.infer(1, &[&vec![f32::NAN; width]]).unwrap();
        assert_eq!(nothing.columns[0][0].is_nan(), is_window);
    }
}

#[test]
fn shares_name_the_channel_that_is_off() {
    for architecture in [
        Architecture::Autoencoder(Autoencoder { channels: 3, ..Autoencoder::default() }),
        Architecture::Tcn(Tcn { channels: 3, ..Tcn::default() }),
        Architecture::Patch(Patch { channels: 3, ..Patch::default() }),
    ] {
        let model = model(architecture);
        let width = model.inputs()[0].width();
        let mut random = Random::new(1, "shares");
        let mut window: Vec<f32> = (0..width).map(|_| random.unit()).collect();
        window[width - 2] = 1e6;
        let shares = &model.infer(1, &[&window]).unwrap().columns[2];
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(shares[1] > shares[0] && shares[1] > shares[2], "{shares:?}");
    }
}
