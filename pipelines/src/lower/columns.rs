//! Which columns of a stream's batches a reader sees, and in what order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::control::JobError;
use thalweg_operators::rows::{OFFSET, SPLIT, TIME};
use thalweg_schemas::time::timestamp_type;

use crate::plan::{Plan, PlannedInput};

/// Visible columns, then the hidden ones.
pub(super) fn with_hidden(visible: &SchemaRef, order: bool) -> SchemaRef {
    let mut fields: Vec<_> = visible.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(TIME, timestamp_type(), false)));
    if order {
        fields.push(Arc::new(Field::new(SPLIT, DataType::Int64, false)));
        fields.push(Arc::new(Field::new(OFFSET, DataType::Int64, false)));
    }
    Arc::new(Schema::new(fields))
}

/// Takes a reader's columns out of a stream's batch: the visible ones it asked for, then all hidden ones.
#[derive(Debug, Clone)]
pub(super) struct Arrangement {
    /// Positions in the stream's batches. `None`: they are in order already.
    positions: Option<Vec<usize>>,
    visible: usize,
}

impl Arrangement {
    pub(super) fn new(plan: &Plan, input: &PlannedInput, schema: &SchemaRef) -> Self {
        let stream = plan.columns(input.stream);
        let position = |name: &str| {
            schema
                .index_of(name)
                .expect("invariant: a stream's batches hold the columns that the plan gives it")
        };
        let mut positions: Vec<usize> =
            input.projection.iter().map(|at| position(stream.field(*at).name())).collect();
        let visible = positions.len();
        let hidden = [TIME, SPLIT, OFFSET].into_iter().filter_map(|name| schema.index_of(name).ok());
        positions.extend(hidden);
        let in_order =
            positions.len() == schema.fields().len() && positions.iter().enumerate().all(|(i, at)| i == *at);
        Arrangement { positions: (!in_order).then_some(positions), visible }
    }

    pub(super) fn identity(_schema: &SchemaRef, visible: usize) -> Self {
        Arrangement { positions: None, visible }
    }

    /// Visible columns, then hidden ones.
    pub(super) fn arrange(&self, batch: &RecordBatch) -> Result<RecordBatch, JobError> {
        match &self.positions {
            Some(positions) => Ok(batch.project(positions)?),
            None => Ok(batch.clone()),
        }
    }

    /// Visible columns alone.
    pub(super) fn visible(&self, batch: &RecordBatch) -> Result<RecordBatch, JobError> {
        let all = self.arrange(batch)?;
        Ok(all.project(&(0..self.visible).collect::<Vec<_>>())?)
    }

    /// The columns under the names of `columns`, with the hidden ones, so that streams of a union look alike.
    pub(super) fn with_hidden(
        &self,
        batch: &RecordBatch,
        columns: &SchemaRef,
        order: bool,
    ) -> Result<RecordBatch, JobError> {
        let arranged = self.arrange(batch)?;
        let schema = with_hidden(columns, order);
        let arrays: Vec<ArrayRef> = arranged.columns()[..schema.fields().len()].to_vec();
        Ok(RecordBatch::try_new(schema, arrays)?)
    }

    /// A hidden column of an arranged batch.
    pub(super) fn hidden<'a>(&self, arranged: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, JobError> {
        let hidden = &arranged.schema_ref().fields()[self.visible..];
        let at = hidden.iter().position(|field| field.name() == name);
        at.map(|at| arranged.column(self.visible + at))
            .ok_or_else(|| format!("the stream has no column {name}; this is a bug in Thalweg").into())
    }
}
