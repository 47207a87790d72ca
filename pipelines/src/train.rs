//! Training: a job over a piece of the past gathers what a step's network is to see, and makes a version of its model of that.
//!
//! ```text
//!   spec up to the step ─▶ a job over the period ─▶ rows of each key in its units ─▶ training ─▶ registry: the next version
//!                          (the step's first stage,  (Material)                      (thalweg_models::training)
//!                           as it runs live)
//! ```
//!
//! What is learnt from is what would be scored: the same sources, filters, windows and units, in the same order. So the same period, seed and
//! CPU give the same model, however many workers gathered it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use thalweg_engine::control::Control;
use thalweg_engine::watermark::EventTime;
use thalweg_models::ModelError;
use thalweg_models::architecture::Architecture;
use thalweg_models::device::Device;
use thalweg_models::registry::card::metrics_of;
use thalweg_models::registry::{Author, Card, Draft, FileKind, Located, RegistryError, Time, TrainedOn};
use thalweg_models::training::{Metrics, Progress, TrainingConfig, TrainingData, train};

use crate::backtest::DELAY_US;
use crate::plan::{self, Plan, SinkKind, StepKind};
use crate::preview::Handover;
use crate::registry;
use crate::run::{self, GoOn, Period, RunError, RunOptions, Status};
use crate::spec::{DetectSpec, ModelSpec, Problem, Spanned, Spec, suggest};

pub mod schedule;

/// Batches that wait to be gathered; the job waits when there are more.
const WAITING_MAX: usize = 16;

/// What to train, and on what.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// The step whose model is trained.
    pub step: String,
    /// Rows of a window; `None`: as the method has by default.
    pub window: Option<usize>,
    /// A folder of archives by topic, to read instead of Kafka.
    pub archives: Option<PathBuf>,
    /// Rows before this are not learnt from, microseconds since the epoch.
    pub from_us: Option<EventTime>,
    /// Nor are those after this.
    pub to_us: Option<EventTime>,
    /// How much before `from_us` is read, to know the units of keys; `None`: all there is.
    pub warm_up_us: Option<i64>,
    /// Worker threads.
    pub workers: usize,
    /// Where it is trained: `cpu`, or `cuda:` and the number of a GPU.
    pub device: Device,
    /// How.
    pub training: TrainingConfig,
    /// What people should know of it.
    pub notes: String,
    /// Whether it becomes the champion, also where there is one.
    pub promote: bool,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Training {
    /// The version's card.
    pub card: Card,
    /// Where it was registered.
    pub registry: String,
    /// How well it learnt.
    pub metrics: Metrics,
    /// Keys that it was trained on.
    pub keys: usize,
    /// Whether it is the champion now.
    pub is_champion: bool,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The pipeline has problems.
    #[error("the pipeline has problems")]
    Problems(Vec<Problem>),
    /// The pipeline has no such step.
    #[error("the pipeline has no step \"{name}\"; {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What was meant, or what there is.
        hint: String,
    },
    /// It has nothing to train.
    #[error("{0}")]
    Untrainable(String),
    /// The period ends before it begins.
    #[error("the period ends before it begins; let --to be later than --from")]
    EmptyPeriod,
    /// There is no temporary folder.
    #[error("can't make a temporary folder: {0}; set TMPDIR to a folder that can be written to")]
    Folder(std::io::Error),
    /// The job failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It was told to stop.
    #[error("stopped; nothing was registered")]
    Stopped,
    /// What was handed over can't be read: a bug.
    #[error("{0}; this is a bug in Thalweg")]
    Rows(#[from] ArrowError),
    /// No row came.
    #[error(
        "no row of the step {0} lies in the period; look at what the sources hold with thalweg archive info, and at --from and --to"
    )]
    Nothing(String),
    /// The rows make no model.
    #[error("{rows} rows of {keys} keys make no model: {error}")]
    Model {
        /// Rows that came.
        rows: u64,
        /// Keys that they are of.
        keys: usize,
        /// What is wrong.
        error: ModelError,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Sees the job begin, and gives back what is to be called at its end.
pub type Watch<'a> = &'a mut dyn FnMut(Status) -> Box<dyn FnOnce()>;

/// Trains the model of a step, and registers it as the next version of the model that the step names. The first version of a model is its
/// champion.
///
/// # Errors
/// A step that has nothing to train, sources that can't be read, too few rows, a registry that can't be written.
pub fn train_step(
    spec: &Spec,
    options: &TrainOptions,
    author: &Author,
    control: &Control,
    watch: Watch<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Training, TrainError> {
    if let (Some(from), Some(to)) = (options.from_us, options.to_us)
        && to <= from
    {
        return Err(TrainError::EmptyPeriod);
    }
    let detect = trainable(spec, &options.step)?;
    let method = detect.method.as_ref().map_or("", |method| method.value.name());
    let Some(architecture) = Architecture::of_stream(method, detect.on.len(), options.window) else {
        return Err(TrainError::Untrainable(format!("the method {method} is trained by nobody")));
    };
    architecture.check().map_err(|error| TrainError::Untrainable(error.to_string()))?;
    let Some(model) = &detect.model else {
        return Err(plan::check(spec).err().map_or_else(
            || TrainError::Untrainable(format!("the step {} names no model", options.step)),
            TrainError::Problems,
        ));
    };
    let located: Located = model.value.parse()?;
    let plan =
        plan::untrained(spec, &options.step, Some(architecture.window())).map_err(TrainError::Problems)?;
    let material = gather(plan, options, control, watch)?;

    let registry = registry::create(&located.registry)?;
    let champion = registry.champion(&located.model.name)?;
    let series: Vec<&[f32]> = material.series.iter().map(Vec::as_slice).collect();
    let trained = train(
        &architecture,
        &located.model.name,
        TrainingData::Series(&series),
        &options.training,
        options.device,
        &mut |so_far| {
            progress(so_far);
            if control.stop_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let failed = |error| match error {
        ModelError::Stopped { .. } => TrainError::Stopped,
        error => TrainError::Model { rows: material.rows, keys: series.len(), error },
    };
    let mut trained = trained.map_err(failed)?;
    // A number is taken for what there is.
    let claim = registry.claim(&located.model.name, author)?;
    trained.model.set_version(&claim.reference().to_string());
    let draft = Draft {
        trained_on: Some(TrainedOn {
            pipeline: spec.pipeline.value.clone(),
            step: options.step.clone(),
            from: Time::from_us(options.from_us.unwrap_or(material.first_us)),
            to: Time::from_us(options.to_us.unwrap_or(material.last_us.saturating_add(1))),
            rows: material.rows,
            seed: options.training.seed,
        }),
        parent: champion,
        metrics: metrics_of(&trained.metrics),
        notes: options.notes.clone(),
        ..Draft::new(FileKind::Safetensors, trained.model.to_bytes().map_err(failed)?)
    };
    let card = claim.publish(&draft, author)?;
    let is_champion = options.promote || registry.champion(&located.model.name)?.is_none();
    if is_champion {
        registry.promote(&card.reference(), author, &options.notes)?;
    }
    let keys = series.len();
    Ok(Training { card, registry: located.registry, metrics: trained.metrics, keys, is_champion })
}

fn trainable<'a>(spec: &'a Spec, name: &str) -> Result<&'a DetectSpec, TrainError> {
    let trainable = plan::trainable(spec);
    if let Some((_, detect)) = trainable.iter().find(|(step, _)| step.name.value == name) {
        return Ok(detect);
    }
    let names: Vec<&str> = trainable.iter().map(|(step, _)| step.name.value.as_str()).collect();
    let others = match names.as_slice() {
        [] => "no step of this pipeline has a model to train: detect has one with method: autoencoder, tcn or patch".to_owned(),
        names => format!("what can be trained here: {}", names.join(", ")),
    };
    let Some(step) = spec.steps.iter().find(|step| step.name.value == name) else {
        let all: Vec<&str> = spec.steps.iter().map(|step| step.name.value.as_str()).collect();
        let hint = suggest::hint(name, &all, "steps").unwrap_or(others);
        return Err(TrainError::Unknown { name: name.to_owned(), hint });
    };
    let why = match &step.model {
        Some(Spanned { value: ModelSpec::Score(_), .. }) => {
            "its model comes from elsewhere: train it there, and register it with thalweg models add"
                .to_owned()
        }
        Some(Spanned { value: ModelSpec::Detect(detect), .. }) => {
            let method = detect.method.as_ref().map_or("auto", |method| method.value.name());
            format!("the method {method} learns in the stream, from each key's own rows")
        }
        Some(_) => "its model learns in the stream, from each key's own rows".to_owned(),
        None => "it asks no model".to_owned(),
    };
    Err(TrainError::Untrainable(format!("the step {name} has nothing to train: {why}; {others}")))
}

/// What a model is trained on.
struct Material {
    /// Rows × inputs of each key, by the keys' bytes.
    series: Vec<Vec<f32>>,
    rows: u64,
    first_us: EventTime,
    last_us: EventTime,
}

fn gather(
    mut plan: Plan,
    options: &TrainOptions,
    control: &Control,
    watch: Watch<'_>,
) -> Result<Material, TrainError> {
    let (sender, rows) = sync_channel(WAITING_MAX);
    let handover = Handover::new(sender);
    for sink in &mut plan.sinks {
        sink.kind = SinkKind::Handed(handover.clone());
    }
    drop(handover);
    plan.checkpoint.storage = None;
    let keys = plan
        .steps
        .iter()
        .find(|step| step.name == options.step)
        .and_then(
            |step| if let StepKind::Series(series) = &step.kind { Some(series.keys.len()) } else { None },
        )
        .unwrap_or_default();
    let folder = tempfile::tempdir().map_err(TrainError::Folder)?;
    let run_options = RunOptions {
        go_on: GoOn::Fresh,
        archives: options.archives.clone(),
        period: Some(period(&plan, options)),
        ..RunOptions::new(options.workers, folder.path())
    };
    let job = run::prepare(&plan, &run_options, control)?;
    // The job alone holds the other end: when it is over, so are its rows.
    drop(plan);
    let ended = watch(job.status());
    let (ran, gathered) = std::thread::scope(|scope| {
        let gathering = scope.spawn(move || Gathering::of(&rows, keys));
        let ran = job.run();
        (ran, gathering.join())
    });
    ended();
    if ran?.stopped {
        return Err(TrainError::Stopped);
    }
    let gathered = gathered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    if gathered.rows == 0 {
        return Err(TrainError::Nothing(options.step.clone()));
    }
    Ok(Material {
        series: gathered.series.into_values().collect(),
        rows: gathered.rows,
        first_us: gathered.first_us,
        last_us: gathered.last_us,
    })
}

fn period(plan: &Plan, options: &TrainOptions) -> Period {
    let lateness = plan.sources.iter().map(|source| source.event_time.lateness_us).max().unwrap_or(0);
    let warm_up = options.warm_up_us;
    Period {
        read_from_us: options.from_us.and_then(|from| warm_up.map(|warm_up| from.saturating_sub(warm_up))),
        read_to_us: options.to_us.map(|to| to.saturating_add(lateness).saturating_add(DELAY_US)),
        from_us: options.from_us,
        to_us: options.to_us,
    }
}

/// Rows as they come, by key. Those of a key come in their order, as one worker has them all.
struct Gathering {
    series: BTreeMap<Box<[u8]>, Vec<f32>>,
    rows: u64,
    first_us: EventTime,
    last_us: EventTime,
}

impl Gathering {
    fn of(rows: &Receiver<RecordBatch>, keys: usize) -> Result<Gathering, ArrowError> {
        let mut gathering =
            Gathering { series: BTreeMap::new(), rows: 0, first_us: EventTime::MAX, last_us: EventTime::MIN };
        let mut converter: Option<RowConverter> = None;
        while let Ok(batch) = rows.recv() {
            let columns: Vec<ArrayRef> = batch.columns()[..keys].to_vec();
            let converter = match &mut converter {
                Some(converter) => converter,
                None => {
                    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
                    converter.insert(RowConverter::new(fields.collect())?)
                }
            };
            let names = if keys == 0 { None } else { Some(converter.convert_columns(&columns)?) };
            gathering.take(&batch, keys, |row| names.as_ref().map_or(&[][..], |names| names.row(row).data()));
        }
        Ok(gathering)
    }

    fn take<'a>(&mut self, batch: &RecordBatch, keys: usize, name: impl Fn(usize) -> &'a [u8]) {
        let times = batch.column(keys).as_primitive::<TimestampMicrosecondType>().values();
        let rows = batch.column(keys + 1).as_fixed_size_list();
        let width = rows.value_length() as usize;
        let values = rows.values().as_primitive::<Float32Type>().values();
        let mut row = 0;
        while row < batch.num_rows() {
            let key = name(row);
            let last = (row..batch.num_rows()).find(|other| name(*other) != key).unwrap_or(batch.num_rows());
            let of_key = &values[rows.value_offset(row) as usize..][..(last - row) * width];
            match self.series.get_mut(key) {
                Some(series) => series.extend_from_slice(of_key),
                None => {
                    self.series.insert(key.into(), of_key.to_vec());
                }
            }
            row = last;
        }
        self.rows += batch.num_rows() as u64;
        self.first_us = times.iter().copied().min().unwrap_or(EventTime::MAX).min(self.first_us);
        self.last_us = times.iter().copied().max().unwrap_or(EventTime::MIN).max(self.last_us);
    }
}
