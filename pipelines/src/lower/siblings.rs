//! What a step's keys have shown while after while, for those that begin: a stage beside the detector's.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use thalweg_engine::BatchStream;
use thalweg_engine::watermark::Reports;
use thalweg_operators::keyed::KeyedRows;
use thalweg_operators::rows::TIME;
use thalweg_operators::series::{SiblingsConfig, siblings, stage};
use thalweg_operators::window::{WindowCounters, WindowJob};

use super::columns::Arrangement;
use super::{Dataflow, evaluate, filtered};
use crate::plan::{NamedExpr, PlannedSeries, PlannedStep};

/// The stage's name behind the step's.
const SIBLINGS: &str = "siblings";

impl<'scope> Dataflow<'_, 'scope> {
    /// What siblings show, where there are any and the method goes by them.
    pub(super) fn siblings(
        &self,
        step: &PlannedStep,
        planned: &PlannedSeries,
        (rows, arranged): (&BatchStream<'scope>, &Arrangement),
        reports: &Reports<'scope>,
    ) -> Option<BatchStream<'scope>> {
        let while_us = planned.siblings_while_us()?;
        let name = stage(&step.name, SIBLINGS);
        let job = WindowJob {
            sources: self.job.sources.len(),
            control: self.control.clone(),
            // Not a step's: nobody is to count its windows.
            counters: Arc::new(WindowCounters::default()),
            cuts: self.job.cuts.clone(),
            restored: self.restored(&name),
        };
        let stage = SiblingsConfig {
            name,
            keys: planned.keys.iter().map(NamedExpr::field).collect(),
            inputs: planned.inputs.len(),
            while_us,
        };
        let (step, filter) = (step.name.clone(), step.filter.clone());
        let (keys, inputs, arranged) = (planned.keys.clone(), planned.inputs.clone(), arranged.clone());
        let told = siblings(rows.clone(), reports.clone(), stage, job, move |batch| {
            let Some(batch) = filtered(&step, arranged.arrange(batch)?, filter.as_ref())? else {
                return Ok(None);
            };
            Ok(Some(KeyedRows {
                keys: evaluate(&step, &keys, &batch)?,
                inputs: evaluate(&step, &inputs, &batch)?.iter().map(finite).collect(),
                time: Arc::clone(arranged.hidden(&batch, TIME)?),
                order: None,
            }))
        });
        told.map_err(|error| self.control.fail(error)).ok()
    }
}

fn finite(values: &ArrayRef) -> ArrayRef {
    let values = values.as_primitive::<Float64Type>();
    if values.values().iter().all(|value| value.is_finite()) {
        return Arc::new(values.clone());
    }
    let finite = values.iter().map(|value| value.filter(|value| value.is_finite()));
    Arc::new(finite.collect::<Float64Array>())
}
