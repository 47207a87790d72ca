//! The stage between: a network, on a thread beside the worker.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use thalweg_engine::BatchStream;
use thalweg_models::step::{ScoreConfig, ScoreRows};
use thalweg_models::worker::WorkerConfig;
use thalweg_operators::rows::{OFFSET, SPLIT, StepCounters, TIME, map_batches};
use thalweg_schemas::time::timestamp_type;
use thalweg_series::stream::WindowerConfig;

use super::super::Dataflow;
use super::super::score::open;
use super::{Asked, number};
use crate::plan::{PlannedNetwork, PlannedStep};

impl<'scope> Dataflow<'_, 'scope> {
    /// The second stage: the columns that are kept, then what the network says; and the names of these.
    pub(super) fn ask(
        &self,
        rows: BatchStream<'scope>,
        step: &PlannedStep,
        network: &PlannedNetwork,
        asked: &Asked<'_>,
        counters: &Arc<StepCounters>,
    ) -> (BatchStream<'scope>, Vec<Field>) {
        let WindowerConfig { rows: of_window, inputs, .. } = network.windows;
        let hidden = [(TIME, timestamp_type()), (SPLIT, DataType::Int64), (OFFSET, DataType::Int64)];
        let names = |what: &str| (0..inputs).map(|at| number(what, at).name().clone()).collect();
        let time_limit = network.time_limit_us.map(|us| Duration::from_micros(us.unsigned_abs()));
        let config = ScoreConfig {
            name: step.name.clone(),
            columns: asked.kept.iter().map(|at| asked.columns[*at].clone()).collect(),
            inputs: vec![of_window * inputs],
            outputs: vec![vec!["__score".to_owned()], names("expected"), names("share")],
            hidden: hidden.map(|(name, of)| Field::new(name, of, false)).to_vec(),
            version: asked.file.version.clone(),
            worker: WorkerConfig { time_limit, ..WorkerConfig::default() },
        };
        let mut columns = config.columns.clone();
        columns.extend(ScoreConfig::added(&config.outputs));
        let model = match open(asked.file, &self.job.device) {
            Ok(model) => model,
            Err(error) => {
                self.control.fail(error);
                return (map_batches(rows, &step.name, self.control.clone(), |_| Ok(None)), columns);
            }
        };
        let (kept, window, hidden) = (asked.kept.to_vec(), asked.window, asked.columns.len());
        let take = move |batch: &RecordBatch| {
            let columns = batch.columns();
            Ok(Some(ScoreRows {
                columns: kept.iter().map(|at| Arc::clone(&columns[*at])).collect(),
                inputs: vec![Arc::clone(&columns[window])],
                hidden: columns[hidden..].to_vec(),
            }))
        };
        let counters = Arc::clone(&counters.series);
        (thalweg_models::step::score(rows, config, model, self.control.clone(), counters, take), columns)
    }
}
