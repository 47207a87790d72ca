//! Columns of what models say, built row by row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};

/// Numbers of which NaN means that nothing can be said: null.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<Option<f64>>);

impl Numbers {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push((!value.is_nan()).then_some(value));
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        Arc::new(Float64Array::from(std::mem::take(&mut self.0)))
    }
}

/// A number for each input of a model: by itself where there is one input, else a struct with a field for each.
#[derive(Debug)]
pub(super) struct PerInput {
    fields: Fields,
    numbers: Vec<Numbers>,
    is_struct: bool,
}

impl PerInput {
    /// A struct, also for one input.
    pub(super) fn always_struct(inputs: &[String]) -> Self {
        let fields = inputs.iter().map(|name| Field::new(name, DataType::Float64, true)).collect();
        PerInput { fields, numbers: inputs.iter().map(|_| Numbers::default()).collect(), is_struct: true }
    }

    pub(super) fn new(inputs: &[String]) -> Self {
        PerInput { is_struct: inputs.len() > 1, ..Self::always_struct(inputs) }
    }

    pub(super) fn data_type(&self) -> DataType {
        if self.is_struct { DataType::Struct(self.fields.clone()) } else { DataType::Float64 }
    }

    pub(super) fn push(&mut self, values: &[f64]) {
        for (at, numbers) in self.numbers.iter_mut().enumerate() {
            numbers.push(values.get(at).copied().unwrap_or(f64::NAN));
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let mut arrays: Vec<ArrayRef> = self.numbers.iter_mut().map(Numbers::finish).collect();
        match self.is_struct {
            true => Arc::new(StructArray::new(self.fields.clone(), arrays, None)),
            false => arrays.swap_remove(0),
        }
    }
}
