//! Steps that ask a trained model of each row, as run.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use thalweg_engine::BatchStream;
use thalweg_operators::rows::StepCounters;

use super::columns::Arrangement;
use crate::plan::{PlannedScore, PlannedStep};
use crate::run::JobContext;

/// Starts the model on a thread beside this worker, and asks it of each row that passes the filter.
#[cfg(feature = "models")]
pub(super) fn score<'scope>(
    rows: BatchStream<'scope>,
    step: &PlannedStep,
    planned: &PlannedScore,
    schema: &SchemaRef,
    arranged: Arrangement,
    counters: &Arc<StepCounters>,
    job: &JobContext,
) -> BatchStream<'scope> {
    use std::time::Duration;

    use thalweg_models::step::{ScoreConfig, ScoreRows};
    use thalweg_models::worker::WorkerConfig;
    use thalweg_operators::rows::map_batches;

    let file = &planned.file;
    let model = match open(file, &job.device) {
        Ok(model) => model,
        Err(error) => {
            job.control.fail(error);
            return map_batches(rows, &step.name, job.control.clone(), |_| Ok(None));
        }
    };
    let time_limit = planned.time_limit_us.map(|us| Duration::from_micros(us.unsigned_abs()));
    let hidden = step.columns.fields().len()..schema.fields().len();
    let config = ScoreConfig {
        name: step.name.clone(),
        columns: planned.passed.iter().map(|at| step.input_columns.field(*at).clone()).collect(),
        inputs: planned.widths.clone(),
        outputs: planned.outputs.clone(),
        hidden: schema.fields()[hidden].iter().map(|field| field.as_ref().clone()).collect(),
        version: file.version.clone(),
        worker: WorkerConfig { time_limit, ..WorkerConfig::default() },
    };
    let names: Vec<String> = config.hidden.iter().map(|field| field.name().clone()).collect();
    let (step, planned, meter) = (step.clone(), planned.clone(), counters.meter());
    let take = move |batch: &arrow::array::RecordBatch| {
        meter.takes(batch);
        let Some(batch) = super::filtered(&step.name, arranged.arrange(batch)?, step.filter.as_ref())? else {
            return Ok(None);
        };
        let hidden = names.iter().map(|name| arranged.hidden(&batch, name).map(Arc::clone));
        Ok(Some(ScoreRows {
            columns: planned.passed.iter().map(|at| Arc::clone(batch.column(*at))).collect(),
            inputs: super::evaluate(&step.name, &planned.inputs, &batch)?,
            hidden: hidden.collect::<Result<_, _>>()?,
        }))
    };
    thalweg_models::step::score(rows, config, model, job.control.clone(), Arc::clone(&counters.series), take)
}

/// A model, on the device where it is to run; an ONNX model runs on the CPU.
#[cfg(feature = "models")]
pub(super) fn open(
    file: &crate::plan::ModelFile,
    device: &str,
) -> Result<Box<dyn thalweg_models::infer::Infer>, thalweg_models::ModelError> {
    use thalweg_models::model::Model;
    use thalweg_models::onnx::OnnxModel;

    Ok(match file.is_onnx {
        true => Box::new(OnnxModel::from_bytes(&file.bytes)?),
        false => Box::new(Model::from_bytes(&file.bytes, device.parse()?)?),
    })
}

/// No plan asks a model in a program that has none.
#[cfg(not(feature = "models"))]
pub(super) fn score<'scope>(
    rows: BatchStream<'scope>,
    step: &PlannedStep,
    _planned: &PlannedScore,
    _schema: &SchemaRef,
    _arranged: Arrangement,
    _counters: &Arc<StepCounters>,
    job: &JobContext,
) -> BatchStream<'scope> {
    job.control.fail("this program was built without trained models; build it with them: make models");
    thalweg_operators::rows::map_batches(rows, &step.name, job.control.clone(), |_| Ok(None))
}
