//! A model of series that asks a network, as run: three stages, each of which is an operator of its own elsewhere.
//!
//! ```text
//!   rows ─▶ windows, by key ─▶ the network, on a thread ─▶ its scores against the key's past ones: p-value, alarm
//!           (series)           beside the worker (score);   (series)
//!                              then the one in its shadow
//! ```
//!
//! Both stages by key keep their own state in checkpoints; the worker never waits for the network. What a network is trained on are the rows
//! that leave the first stage.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::BatchStream;
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::Reports;
use thalweg_operators::rows::StepCounters;
use thalweg_operators::series::{
    DetectModel, SeriesConfig, SeriesJob, SeriesRows, WindowModel, held_part, series, siblings_part, stage,
    window_columns,
};
use thalweg_schemas::time::timestamp_type;
use thalweg_series::detect::{Detector, DetectorConfig};
use thalweg_series::stream::{Windower, WindowerConfig};

use super::columns::{Arrangement, with_hidden};
use super::{Built, Dataflow, series_rows};
use crate::plan::{ModelFile, NamedExpr, PlannedNetwork, PlannedSeries, PlannedStep, TRAINED_AT, key_column};

#[cfg(feature = "models")]
mod ask;

/// The stage whose state are the latest rows of each key.
const WINDOWS: &str = "windows";

/// What leaves the first stage: the columns that are handed on, the keys, the values that are watched, when they were, and windows.
struct Layout {
    passed: usize,
    keys: usize,
    inputs: usize,
}

impl Layout {
    fn of(planned: &PlannedSeries) -> Self {
        Layout { passed: planned.passed.len(), keys: planned.keys.len(), inputs: planned.inputs.len() }
    }

    /// The columns that the step hands on.
    fn passed(step: &PlannedStep, planned: &PlannedSeries) -> impl Iterator<Item = Field> {
        // Those of rows that waited at a checkpoint may be new: see `thalweg_operators::series`.
        planned.passed.iter().map(|at| step.input_columns.field(*at).clone().with_nullable(true))
    }

    /// The columns that the first stage hands on.
    fn columns(step: &PlannedStep, planned: &PlannedSeries) -> Vec<Field> {
        let passed = Self::passed(step, planned);
        let keys = (0..).zip(&planned.keys).map(|(at, key)| key.field().with_name(key_column(at)));
        let values = (0..planned.inputs.len()).map(|at| number("value", at));
        let at = std::iter::once(Field::new(TRAINED_AT, timestamp_type(), false));
        passed.chain(keys).chain(values).chain(at).collect()
    }

    /// Where the windows stand, once they are made; behind them the row by itself, centres and scales.
    fn window(&self) -> usize {
        self.passed + self.keys + self.inputs + 1
    }

    /// Where what a network says stands, once it was asked: [`Layout::columns`], centres and scales come before it.
    fn said(&self) -> usize {
        self.window() + 2 * self.inputs
    }

    /// How many columns that are: a score, what was expected, shares, and status and version.
    fn said_width(&self) -> usize {
        1 + 2 * self.inputs + 2
    }

    /// What the detector takes, once the network was asked.
    fn judged(&self, batch: &RecordBatch, networks: usize) -> Result<SeriesRows, JobError> {
        let columns = batch.columns();
        let (keys, values) = (self.passed, self.passed + self.keys);
        let (at, units, mut said) = (values + self.inputs, self.window(), self.said());
        let mut inputs = columns[values..at].to_vec();
        for _ in 0..networks {
            let status = said + 1 + 2 * self.inputs;
            let failed = |status: Option<&str>| matches!(status, Some("failed" | "timed_out"));
            let failed: Float64Array = columns[status]
                .as_string::<i32>()
                .iter()
                .map(|status| Some(if failed(status) { 1.0 } else { 0.0 }))
                .collect();
            inputs.push(Arc::clone(&columns[said]));
            inputs.push(Arc::new(failed));
            inputs.extend_from_slice(&columns[said + 1..status]);
            inputs.extend_from_slice(&columns[units..self.said()]);
            said += self.said_width();
        }
        let hidden = said;
        let [time, split, offset] = &columns[hidden..] else {
            return Err("a network's rows lack their hidden columns; this is a bug in Thalweg".into());
        };
        Ok(SeriesRows {
            keys: columns[keys..values].to_vec(),
            columns: columns[..self.passed].to_vec(),
            at: Arc::clone(&columns[at]),
            inputs,
            time: Arc::clone(time),
            order: Some((Arc::clone(split), Arc::clone(offset))),
        })
    }
}

/// What a network is asked of.
#[cfg_attr(not(feature = "models"), allow(dead_code, reason = "no plan asks a network then"))]
struct Asked<'a> {
    /// The visible columns that come in; hidden ones follow.
    columns: &'a [Field],
    /// Which of them go on.
    kept: &'a [usize],
    /// Where the windows stand.
    window: usize,
    file: &'a ModelFile,
}

fn number(what: &str, at: usize) -> Field {
    Field::new(format!("__{what}_{at}"), DataType::Float64, true)
}

impl<'scope> Dataflow<'_, 'scope> {
    /// Rows with what the detector says of the network's scores.
    pub(super) fn network(
        &self,
        step: &PlannedStep,
        planned: &PlannedSeries,
        of: (&DetectorConfig, &PlannedNetwork),
        counters: &Arc<StepCounters>,
        input: (BatchStream<'scope>, Arrangement),
        reports: Reports<'scope>,
    ) -> BatchStream<'scope> {
        let (config, network) = of;
        let mut rows = self.windows(step, planned, &network.windows, counters, input, reports.clone());
        let layout = Layout::of(planned);
        let mut columns = Layout::columns(step, planned);
        columns.extend(window_columns(network.windows.rows, network.windows.inputs));
        let mut window = layout.window();
        // The row by itself is for training.
        let mut kept: Vec<usize> =
            (0..columns.len()).filter(|at| !(window..window + 2).contains(at)).collect();
        let files: Vec<&ModelFile> = [&network.file].into_iter().chain(&network.shadow).collect();
        for (number, file) in files.iter().enumerate() {
            let keeps_window = number + 1 < files.len();
            if keeps_window {
                kept.push(window);
            }
            let asked = Asked { columns: &columns, kept: &kept, window, file };
            (rows, columns) = self.ask(rows, step, network, &asked, counters);
            if keeps_window {
                window = kept.len() - 1;
                kept = (0..columns.len()).filter(|at| *at != window).collect();
            }
        }
        let networks = files.len();
        let series_config = SeriesConfig {
            name: step.name.clone(),
            keys: planned.keys.iter().map(NamedExpr::field).collect(),
            columns: Layout::passed(step, planned).collect(),
            inputs: planned.inputs.len() + networks * config.said(),
            forget_after_us: planned.forget_after_us,
            time_zone: planned.time_zone,
            order: step.order,
        };
        let job = SeriesJob {
            // The first stage knows the same keys.
            counts: false,
            ..self.series_job(&step.name, counters)
        };
        let detector = Detector::new(config.clone()).expect("invariant: a plan's models are checked");
        let mut model = DetectModel::new(detector, &planned.input_names())
            .asking(&network.file.version, &network.file.identity());
        if let Some(shadow) = &network.shadow {
            model = model.shadowed_by(&shadow.version, &shadow.identity());
        }
        series(rows, reports, series_config, model, job, None, move |batch| {
            layout.judged(batch, networks).map(Some)
        })
    }

    /// The first stage by itself: what a network is trained on.
    pub(super) fn training(
        &self,
        step: &PlannedStep,
        planned: &PlannedSeries,
        windows: &WindowerConfig,
        counters: &Arc<StepCounters>,
        input: (BatchStream<'scope>, Arrangement),
        reports: Reports<'scope>,
    ) -> Built<'scope> {
        let columns = Layout::columns(step, planned).into_iter();
        let visible: SchemaRef = Arc::new(Schema::new(
            columns.chain(window_columns(windows.rows, windows.inputs)).collect::<Vec<_>>(),
        ));
        let schema = with_hidden(&visible, true);
        Built { rows: self.windows(step, planned, windows, counters, input, reports), schema }
    }

    /// The first stage: [`Layout::columns`], then those of windows.
    fn windows(
        &self,
        step: &PlannedStep,
        planned: &PlannedSeries,
        windows: &WindowerConfig,
        counters: &Arc<StepCounters>,
        (rows, arranged): (BatchStream<'scope>, Arrangement),
        reports: Reports<'scope>,
    ) -> BatchStream<'scope> {
        let name = stage(&step.name, WINDOWS);
        let config = SeriesConfig {
            name: name.clone(),
            keys: planned.keys.iter().map(NamedExpr::field).collect(),
            columns: Layout::columns(step, planned),
            inputs: planned.inputs.len(),
            forget_after_us: planned.forget_after_us,
            time_zone: planned.time_zone,
            order: true,
        };
        let mut rows_of = series_rows(step, planned, arranged, counters);
        let take = move |batch: &RecordBatch| {
            let Some(mut rows) = rows_of(batch)? else { return Ok(None) };
            rows.columns.extend(rows.keys.iter().cloned());
            rows.columns.extend(rows.inputs.iter().cloned());
            rows.columns.push(Arc::clone(&rows.at));
            Ok(Some(rows))
        };
        let model = WindowModel::new(Windower::new(windows.clone()));
        series(rows, reports, config, model, self.series_job(&name, counters), None, take)
    }

    /// No plan asks a network in a program that has none.
    #[cfg(not(feature = "models"))]
    fn ask(
        &self,
        rows: BatchStream<'scope>,
        _step: &PlannedStep,
        _network: &PlannedNetwork,
        asked: &Asked<'_>,
        _counters: &Arc<StepCounters>,
    ) -> (BatchStream<'scope>, Vec<Field>) {
        let absent = "this program was built without trained models; build it with them: make models";
        self.control.fail(format!("{}: {absent}", asked.file.version));
        (rows, asked.columns.to_vec())
    }

    pub(super) fn series_job(&self, stage: &str, counters: &Arc<StepCounters>) -> SeriesJob {
        SeriesJob {
            sources: self.job.sources.len(),
            control: self.control.clone(),
            counters: Arc::clone(&counters.series),
            counts: true,
            cuts: self.job.cuts.clone(),
            restored: self.restored(stage),
            restored_held: self.restored(&held_part(stage)),
            restored_siblings: self.restored(&siblings_part(stage)),
        }
    }
}
