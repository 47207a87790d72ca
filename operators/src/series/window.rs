//! The latest rows of a key in units of its long run, as columns: what a network is asked of, and trained on.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use thalweg_engine::control::JobError;
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::detect::Siblings;
use thalweg_series::stream::{WindowState, Windowed, Windower};

use super::SeriesModel;
use super::columns::Numbers;

/// The column of windows: rows × inputs numbers, the oldest row first; NaN: there is no value. Null while there are too few rows.
pub const WINDOW: &str = "__window";
/// The column of rows by themselves.
pub const ROW: &str = "__row";

/// Windows, and those of rows that have not left yet.
pub struct WindowModel {
    windower: Windower,
    windowed: Windowed,
    windows: Vec<f32>,
    is_window: Vec<bool>,
    rows: Vec<f32>,
    centres: Vec<Numbers>,
    scales: Vec<Numbers>,
}

impl WindowModel {
    /// Of rows as the windower is configured for.
    pub fn new(windower: Windower) -> Self {
        let numbers = || (0..windower.config().inputs).map(|_| Numbers::default()).collect();
        WindowModel {
            centres: numbers(),
            scales: numbers(),
            windower,
            windowed: Windowed::default(),
            windows: Vec::new(),
            is_window: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn widths(&self) -> (usize, usize) {
        let config = self.windower.config();
        (config.rows * config.inputs, config.inputs)
    }
}

/// The columns that windows of so many rows add: the window, the row by itself, then of each input the centre, then of each the scale.
pub fn window_columns(rows: usize, inputs: usize) -> Vec<Field> {
    let numbers = |what: &str, at: usize| Field::new(format!("__{what}_{at}"), DataType::Float64, true);
    let mut fields =
        vec![Field::new(WINDOW, list(rows * inputs), true), Field::new(ROW, list(inputs), false)];
    fields.extend((0..inputs).map(|at| numbers("centre", at)));
    fields.extend((0..inputs).map(|at| numbers("scale", at)));
    fields
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

fn list(width: usize) -> DataType {
    DataType::FixedSizeList(item(), width as i32)
}

impl SeriesModel for WindowModel {
    type State = WindowState;

    fn columns(&self) -> Vec<Field> {
        let config = self.windower.config();
        window_columns(config.rows, config.inputs)
    }

    fn begin(&self, _siblings: Option<&Siblings>) -> WindowState {
        self.windower.begin()
    }

    fn observe(&mut self, state: &mut WindowState, row: Observation<'_>) {
        self.windower.observe(state, row, &mut self.windowed);
        let windowed = &self.windowed;
        let (width, _) = self.widths();
        self.is_window.push(!windowed.window.is_empty());
        self.windows.extend(&windowed.window);
        self.windows.resize(self.is_window.len() * width, f32::NAN);
        self.rows.extend(&windowed.row);
        self.centres.iter_mut().zip(&windowed.centres).for_each(|(numbers, centre)| numbers.push(*centre));
        self.scales.iter_mut().zip(&windowed.scales).for_each(|(numbers, scale)| numbers.push(*scale));
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, JobError> {
        let (width, inputs) = self.widths();
        let of = |values: &mut Vec<f32>, width: usize, valid: Option<NullBuffer>| {
            let values = Arc::new(Float32Array::from(std::mem::take(values)));
            FixedSizeListArray::try_new(item(), width as i32, values, valid)
        };
        let valid = NullBuffer::from(std::mem::take(&mut self.is_window));
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(of(&mut self.windows, width, Some(valid))?),
            Arc::new(of(&mut self.rows, inputs, None)?),
        ];
        arrays.extend(self.centres.iter_mut().map(Numbers::finish));
        arrays.extend(self.scales.iter_mut().map(Numbers::finish));
        Ok(arrays)
    }

    fn encode(&self, state: &WindowState, bytes: &mut Vec<u8>) {
        self.windower.encode(state, bytes);
    }

    fn decode(&self, bytes: &[u8]) -> Result<WindowState, StateError> {
        self.windower.decode(bytes)
    }
}
