//! Against onnxruntime's outputs (`tests/onnx/make.py`), and files that must be refused.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::OnnxModel;
use crate::ModelError;
use crate::infer::{Element, Infer};
use crate::seed::Random;

const PERCEPTRON: &[u8] = include_bytes!("../../tests/onnx/perceptron.onnx");
const RECURRENT: &[u8] = include_bytes!("../../tests/onnx/recurrent.onnx");
const FOREST: &[u8] = include_bytes!("../../tests/onnx/forest.onnx");
const FIXED: &[u8] = include_bytes!("../../tests/onnx/fixed.onnx");
const REGRESSOR: &[u8] = include_bytes!("../../tests/onnx/regressor.onnx");
const OPEN: &[u8] = include_bytes!("../../tests/onnx/open.onnx");

const GOOD: [(&str, &[u8]); 4] =
    [("perceptron", PERCEPTRON), ("recurrent", RECURRENT), ("forest", FOREST), ("fixed", FIXED)];

#[derive(Deserialize)]
struct Expected {
    inputs: BTreeMap<String, Vec<f32>>,
    outputs: BTreeMap<String, Vec<f32>>,
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(include_str!("../../tests/onnx/expected.json")).unwrap()
}

fn load(bytes: &[u8]) -> OnnxModel {
    OnnxModel::from_bytes(bytes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn outputs_are_those_of_onnxruntime() {
    let expected = expected();
    for (name, bytes) in GOOD {
        let (model, expected) = (load(bytes), &expected[name]);
        let inputs: Vec<&[f32]> =
            model.inputs().iter().map(|port| expected.inputs[&port.name].as_slice()).collect();
        let rows = inputs[0].len() / model.inputs()[0].width();
        let said = model.infer(rows, &inputs).unwrap();
        for (port, column) in model.outputs().iter().zip(&said.columns) {
            let wanted = &expected.outputs[&port.name];
            assert_eq!(column.len(), wanted.len());
            for (got, wanted) in column.iter().zip(wanted) {
                assert!((got - wanted).abs() < 1e-5, "{name}: {} {got} {wanted}", port.name);
            }
        }
    }
}

#[test]
fn ports_are_known_by_name_type_and_shape() {
    let described = |bytes: &[u8]| {
        let model = load(bytes);
        let of = |ports: &[crate::infer::Port]| {
            ports.iter().map(|port| (port.name.clone(), port.element, port.shape.clone())).collect::<Vec<_>>()
        };
        (of(model.inputs()), of(model.outputs()))
    };
    let port = |name: &str, element, shape: &[usize]| (name.to_owned(), element, shape.to_vec());
    assert_eq!(
        described(PERCEPTRON),
        (
            vec![port("x", Element::F32, &[3]), port("counts", Element::I64, &[2])],
            vec![port("risk", Element::F32, &[1]), port("kinds", Element::F32, &[7])]
        )
    );
    assert_eq!(described(RECURRENT).0, vec![port("window", Element::F32, &[8, 2])]);
    assert_eq!(
        described(FOREST).1,
        vec![port("label", Element::I64, &[]), port("probabilities", Element::F32, &[3])]
    );
    assert_eq!(described(FIXED), (vec![port("x", Element::F64, &[3])], vec![port("y", Element::F64, &[])]));
}

#[test]
fn a_row_gets_the_same_bits_in_any_batch_and_any_order() {
    for (name, bytes) in GOOD {
        let model = load(bytes);
        let rows = 150;
        let mut random = Random::new(3, name);
        let values: Vec<Vec<f32>> = model
            .inputs()
            .iter()
            .map(|port| (0..rows * port.width()).map(|_| (random.unit() * 8.0).floor() / 2.0 - 1.0).collect())
            .collect();
        let infer = |order: &[usize]| {
            let inputs: Vec<Vec<f32>> = values
                .iter()
                .zip(model.inputs())
                .map(|(values, port)| {
                    let width = port.width();
                    order.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
                })
                .collect();
            let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let said = model.infer(order.len(), &slices).unwrap();
            let row = |at: usize| -> Vec<u32> {
                let columns = said.columns.iter().zip(model.outputs());
                columns
                    .flat_map(|(column, port)| &column[at * port.width()..(at + 1) * port.width()])
                    .map(|value| value.to_bits())
                    .collect()
            };
            (0..order.len()).map(row).collect::<Vec<_>>()
        };
        let mut order: Vec<usize> = (0..rows).collect();
        let wanted = infer(&order);
        random.shuffle(&mut order);
        for part in order.chunks(37) {
            for (row, got) in part.iter().zip(infer(part)) {
                assert_eq!(got, wanted[*row], "{name} row {row}");
            }
        }
    }
}

#[test]
fn operators_that_cannot_be_run_are_named() {
    let error = OnnxModel::from_bytes(REGRESSOR).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ONNX model uses `FusedGelu` of `com.example`, `TreeEnsembleRegressor`, which can't be run here: \
         export it with other operators"
    );
}

#[test]
fn rows_that_cannot_be_laid_in_are_refused() {
    let message = OnnxModel::from_bytes(OPEN).unwrap_err().to_string();
    assert_eq!(message, "input `x` of the ONNX model: its dimension 2 has no fixed size; export it with one");
}

#[test]
fn what_is_no_onnx_is_refused() {
    for bytes in [&b""[..], b"{}", &[0xff; 64], b"PK\x03\x04 not a model at all", b"\x08\x08"] {
        let error = OnnxModel::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, ModelError::OnnxFile(_)), "{error}");
    }
}

/// Whatever becomes of a file on its way, it gives an error or a model, and no end of the process.
#[test]
fn damaged_files_do_no_harm() {
    let mut random = Random::new(9, "damage");
    for (_, bytes) in GOOD {
        for _ in 0..150 {
            let mut damaged = bytes.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(damaged.len());
                damaged[at] = random.bits() as u8;
            }
            damaged.truncate(damaged.len() - random.below(2) * random.below(damaged.len()));
            if let Ok(model) = OnnxModel::from_bytes(&damaged) {
                assert!(!model.inputs().is_empty());
            }
        }
    }
}
