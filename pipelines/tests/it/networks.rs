//! Networks that look for anomalies: trained on a pipeline's past, the same whatever the workers that gathered it; then asked in the pipeline,
//! where what they say of a row is a function of the pipeline and its input, like everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use thalweg::evaluate::shadow::side_by_side;
use thalweg::plan::{self, Plan};
use thalweg::spec::{self, Spec};
use thalweg::train::schedule::{Retraining, Schedule};
use thalweg::train::{TrainError, TrainOptions, Training, Watch, train_step};
use thalweg_engine::control::Control;
use thalweg_engine::watermark::BEGINNING;
use thalweg_models::device::Device;
use thalweg_models::registry::{Author, Registry, Time};
use thalweg_models::training::{Progress, TrainingConfig};

use crate::models::{NOON_MS, options, write_calls};
use crate::support::{assert_same_rows, broken_off_after, job, query, rows};

const PIPELINE: &str = r#"
pipeline: networks
schemas:
  call:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: model, type: string, required: true }
      - { name: latency_ms, type: float64 }
      - { name: failed, type: bool }
sources:
  calls:
    archive: { path: "${FOLDER}/calls" }
    schema: call
    event_time: { field: at, lateness: 20s }
steps:
  per_half_minute:
    from: calls
    window: { tumbling: 30s }
    by: [model]
    select:
      mean_ms: avg(latency_ms)
      failed: count(*) filter (where failed) / cast(count(*) as double)
  watched:
    from: per_half_minute
    detect:
      on: [mean_ms, failed]
      by: [model]
      method: METHOD
      model: ${FOLDER}/models/watched
  per_hour:
    from: watched
    window: { tumbling: 1h }
    select: { rows: count(*), anomalies: count(*) filter (where is_anomaly) }
sinks:
  watched: { from: watched, parquet: {} }
  per_hour: { from: per_hour, parquet: {} }
"#;
const TABLES: [&str; 2] = ["watched", "per_hour"];
const HOUR_US: i64 = 3_600_000_000;

/// A folder of calls, and the pipeline that reads them.
struct Given {
    folder: tempfile::TempDir,
    text: String,
}

impl Given {
    fn new(method: &str) -> Given {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_calls(folder.path());
        Given { folder, text: PIPELINE.replace("METHOD", method) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn env(&self) -> impl Fn(&str) -> Option<String> {
        let folder = self.path().display().to_string();
        move |name| (name == "FOLDER").then(|| folder.clone())
    }

    fn spec(&self) -> Spec {
        let (spec, problems) = spec::read(&self.text, Path::new("networks.yaml"), &self.env(), &[]);
        assert!(problems.is_empty(), "{problems:?}");
        spec.expect("a spec")
    }

    fn plan(&self) -> Plan {
        plan::load(&self.text, Path::new("networks.yaml"), &self.env()).expect("a plan")
    }

    /// On the first two hours.
    fn train(&self, workers: usize, seed: u64) -> Result<Training, TrainError> {
        self.train_with(workers, seed, &Control::new(), &|| {})
    }

    fn train_with(
        &self,
        workers: usize,
        seed: u64,
        control: &Control,
        epoch_ended: &dyn Fn(),
    ) -> Result<Training, TrainError> {
        let options = TrainOptions {
            step: "watched".to_owned(),
            window: Some(16),
            archives: None,
            from_us: None,
            to_us: Some(NOON_MS * 1000 + 2 * HOUR_US),
            warm_up_us: None,
            workers,
            device: Device::Cpu,
            training: TrainingConfig { epochs_max: 12, seed, ..TrainingConfig::default() },
            notes: String::new(),
            promote: false,
        };
        let mut epochs = 0;
        let mut progress = |_: &Progress| {
            epochs += 1;
            epoch_ended();
        };
        let watch: Watch<'_> = &mut |_| Box::new(|| {});
        let trained = train_step(&self.spec(), &options, &somebody(), control, watch, &mut progress)?;
        assert_eq!(epochs, trained.metrics.epochs);
        Ok(trained)
    }

    fn registry(&self) -> Registry {
        Registry::open(&self.path().join("models").display().to_string()).expect("a registry")
    }
}

fn somebody() -> Author {
    Author { by: "somebody".to_owned(), at: Time::from_us(0) }
}

fn assert_same_outputs(what: &str, left: &Path, right: &Path) {
    for table in TABLES {
        assert_same_rows(&format!("{what}: {table}"), &rows(left, table), &rows(right, table));
    }
}

#[test]
fn a_model_is_trained_on_what_the_step_sees_whoever_gathers_it() {
    let given = Given::new("autoencoder");
    let first = given.train(1, 7).expect("a model");
    assert!(first.is_champion && first.keys == 12, "{first:?}");
    let card = &first.card;
    assert_eq!(card.reference().to_string(), "watched@1");
    // Two hours of windows of half a minute and twelve models, some of whose first calls come before noon.
    let of = card.trained_on.as_ref().expect("what it was trained on");
    assert!((2_800..=2_900).contains(&of.rows), "{of:?}");
    assert_eq!((of.pipeline.as_str(), of.step.as_str(), of.seed), ("networks", "watched", 7));
    assert_eq!(of.to.us(), NOON_MS * 1000 + 2 * HOUR_US);
    assert!(first.metrics.validation_loss < first.metrics.untrained_loss, "{:?}", first.metrics);

    let second = given.train(3, 7).expect("a model");
    assert_eq!((second.card.reference().to_string().as_str(), second.is_champion), ("watched@2", false));
    assert_eq!(second.card.parent, Some(card.version));
    assert_eq!(second.metrics.validation_loss.to_bits(), first.metrics.validation_loss.to_bits());
    let registry = given.registry();
    let bytes = |training: &Training| registry.load(&training.card.reference()).expect("a version").bytes;
    // The versions' names stand in their files, and are all that differs.
    let without_name = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace("watched@1", "watched@2");
    assert!(without_name(bytes(&first)) == without_name(bytes(&second)), "other numbers");
    let other = given.train(1, 8).expect("a model");
    assert_ne!(other.metrics.validation_loss.to_bits(), first.metrics.validation_loss.to_bits());
}

#[test]
fn workers_ticks_and_crashes_change_nothing_of_what_a_network_finds() {
    for method in ["autoencoder", "tcn"] {
        let given = Given::new(method);
        given.train(2, 1).expect("a model");
        let plan = given.plan();
        let whole = given.path().join("whole");
        job(&plan, &options(&whole, 1, 65_536));
        for (workers, rows_max) in [(3, 65_536), (4, 37)] {
            let other = given.path().join(format!("other-{workers}-{rows_max}"));
            job(&plan, &options(&other, workers, rows_max));
            assert_same_outputs(&format!("{method}: {workers} workers, ticks of {rows_max}"), &whole, &other);
        }
        let broken = given.path().join("broken");
        let mut breaks = 0;
        while !broken_off_after(
            1 + breaks % 4,
            &plan,
            &options(&broken, [1, 4, 2, 3][breaks as usize % 4], 60),
        ) {
            breaks += 1;
            assert!(breaks < 500, "the job does not come to an end");
        }
        assert!(breaks >= 2, "broken off {breaks} times only");
        assert_same_outputs(&format!("{method}: broken off"), &whole, &broken);

        let counts = query(
            &whole,
            "select count(*) as rows, count(p_value) as judged, count(distinct model_version) as versions, \
             min(model_version) as version, count(*) filter (where status = 'failed') as failed, \
             max(abs(attribution['mean_ms'] + attribution['failed'] - 1)) as off from watched",
        );
        let count = |name: &str| counts[0][name].as_i64().expect("a count");
        assert!(count("judged") > count("rows") * 3 / 4 && count("failed") == 0, "{counts:?}");
        assert_eq!((counts[0]["version"].as_str(), count("versions")), (Some("watched@1"), 1));
        assert!(counts[0]["off"].as_f64().expect("a number") < 1e-6, "{counts:?}");
        // One model is slow for ten minutes, from half past two on; calls come up to 15 s before their time.
        let found = query(
            &whole,
            "select min(window_start) as first, max(expected['mean_ms']) as expected from watched where is_anomaly and model = 'm3' \
             and window_start >= timestamp '2026-03-02 14:29:00' and window_start < timestamp '2026-03-02 14:41:00'",
        );
        let first = found[0]["first"].as_str().unwrap_or("never");
        assert!(("2026-03-02T14:29:30".."2026-03-02T14:33:00").contains(&first), "{method}: found {first}");
        let alarms = query(
            &whole,
            "select count(distinct model) as models from watched where is_anomaly and model <> 'm3'",
        );
        assert!(alarms[0]["models"].as_i64().expect("a count") <= 3, "{method}: {alarms:?}");
    }
}

#[test]
fn a_job_goes_on_with_the_version_that_was_promoted_meanwhile() {
    let given = Given::new("autoencoder");
    given.train(2, 1).expect("a model");
    let output = given.path().join("output");
    assert!(!broken_off_after(3, &given.plan(), &options(&output, 2, 40)), "the job is too short");
    let second = given.train(2, 2).expect("a model");
    given.registry().promote(&second.card.reference(), &somebody(), "").expect("a promotion");
    job(&given.plan(), &options(&output, 3, 200));
    let versions = query(
        &output,
        "select model_version, min(window_start) as first, max(window_start) as last, count(p_value) as judged \
         from watched group by 1 order by 1",
    );
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_eq!(versions[0]["model_version"], "watched@1");
    assert!(versions[0]["last"].as_str() < versions[1]["first"].as_str(), "{versions:?}");
    assert!(versions[1]["judged"].as_i64().expect("a count") > 0, "{versions:?}");
}

#[test]
fn a_network_without_time_says_so_in_rows_and_stops_no_job() {
    let mut given = Given::new("autoencoder");
    given.train(2, 1).expect("a model");
    given.text = given.text.replace("method: autoencoder", "method: autoencoder\n      time_limit: 1us");
    let output = given.path().join("hasty");
    job(&given.plan(), &options(&output, 2, 65_536));
    let counts = query(
        &output,
        "select status, count(*) as rows, count(score) as scores, count(*) filter (where is_anomaly) as alarms \
         from watched group by status",
    );
    let failed = counts.iter().find(|row| row["status"] == "failed").expect("a batch that took too long");
    assert_eq!((failed["scores"].as_i64(), failed["alarms"].as_i64()), (Some(0), Some(0)));
}

#[test]
fn what_cannot_be_trained_or_asked_is_told() {
    let given = Given::new("autoencoder");
    let problems = |text: &str| -> String {
        let problems = plan::load(text, Path::new("p.yaml"), &given.env()).expect_err("a problem");
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    };
    let said = problems(&given.text);
    assert!(
        said.contains("steps.watched.detect.model:")
            && said.contains("thalweg train p.yaml --step watched makes one"),
        "{said}"
    );
    let model = "      model: ${FOLDER}/models/watched\n";
    let said = problems(&given.text.replace(model, ""));
    assert!(said.contains("the method autoencoder asks a model; say which: model: models/watched"), "{said}");
    let said = problems(&given.text.replace("method: autoencoder", "method: ewma\n      time_limit: 1s"));
    assert!(said.contains("detect.model: the method ewma asks no trained model"), "{said}");
    assert!(said.contains("detect.time_limit: the method ewma asks no trained model"), "{said}");

    given.train(1, 1).expect("a model");
    let said = problems(&given.text.replace("method: autoencoder", "method: tcn"));
    assert!(said.contains("it is of the kind autoencoder, and the method is tcn"), "{said}");
    let said = problems(&given.text.replace("on: [mean_ms, failed]", "on: [mean_ms]"));
    assert!(said.contains("it sees 2 columns, and the step watches 1"), "{said}");

    let with = |from: &str, to: &str| Given {
        folder: tempfile::tempdir().expect("a folder"),
        text: given.text.replace(from, to),
    };
    let error = with("method: autoencoder\n", "method: mad\n").train(1, 1).expect_err("nothing to train");
    assert!(error.to_string().contains("the method mad learns in the stream"), "{error}");
    let error = with("  watched:\n    from", "  watcher:\n    from").train(1, 1).expect_err("no such step");
    assert!(error.to_string().contains("no step \"watched\"; did you mean \"watcher\"?"), "{error}");
}

#[test]
fn a_training_that_is_stopped_registers_nothing() {
    let given = Given::new("autoencoder");
    let control = Control::new();
    control.stop();
    let stopped = given.train_with(1, 1, &control, &|| {});
    assert!(matches!(stopped, Err(TrainError::Stopped)), "{stopped:?}");
    let control = Control::new();
    let stopped = given.train_with(1, 1, &control, &|| control.stop());
    assert!(matches!(stopped, Err(TrainError::Stopped)), "{stopped:?}");
    let listing = given.registry().listing("watched").expect("a registry");
    assert!(listing.versions.is_empty(), "{listing:?}");
    // Nor does a pipeline run without one.
    assert!(plan::load(&given.text, Path::new("p.yaml"), &given.env()).is_err());
}

#[test]
fn a_version_in_the_shadow_says_what_it_would_say_as_the_model() {
    let mut given = Given::new("tcn");
    let model = "model: ${FOLDER}/models/watched\n";
    let versions =
        [given.train(2, 1), given.train(2, 2)].map(|trained| trained.expect("a model").card.reference());
    let as_model = |given: &Given, name: &str| {
        let output = given.path().join(name);
        job(&given.plan(), &options(&output, 2, 65_536));
        output
    };
    let text = given.text.clone();
    let alone = versions.each_ref().map(|version| {
        given.text = text.replace(model, &format!("model: ${{FOLDER}}/models/{version}\n"));
        as_model(&given, &format!("alone-{version}"))
    });
    let shadowed = "model: ${FOLDER}/models/watched\n      shadow: ${FOLDER}/models/watched@latest\n";
    given.text = text.replace(model, shadowed);
    let both = as_model(&given, "both");
    let said = |folder: &Path, columns: &str| {
        query(folder, &format!("select window_start, model, {columns} from watched order by 1, 2"))
    };
    let columns = "score, p_value, is_anomaly, model_version as version";
    assert!(said(&both, columns) == said(&alone[0], columns), "the model says something else");
    let shadow = "shadow_score as score, shadow_p_value as p_value, shadow_is_anomaly as is_anomaly, shadow_version as version";
    assert!(said(&both, shadow) == said(&alone[1], columns), "the shadow says something else");

    // Broken off and gone on with, the shadow having become the model meanwhile: both go on with what they knew.
    let broken = given.path().join("broken");
    assert!(!broken_off_after(3, &given.plan(), &options(&broken, 3, 40)), "the job is too short");
    given.registry().promote(&versions[1], &somebody(), "").expect("a promotion");
    given.text =
        text.replace(model, "model: ${FOLDER}/models/watched\n      shadow: ${FOLDER}/models/watched@1\n");
    job(&given.plan(), &options(&broken, 2, 200));
    let own = |version: &str| {
        format!(
            "case when model_version = '{version}' then score else shadow_score end as score, \
             case when model_version = '{version}' then p_value else shadow_p_value end as p_value"
        )
    };
    for (version, alone) in ["watched@1", "watched@2"].iter().zip(&alone) {
        assert!(said(&broken, &own(version)) == said(alone, "score, p_value"), "{version} has forgotten");
    }

    let names = versions.each_ref().map(ToString::to_string);
    let compared = side_by_side(&both, "watched", &names, None).expect("rows of both");
    assert!(compared.rows > 4_000 && compared.ordinary_rows > compared.rows * 9 / 10, "{compared:?}");
    assert!(compared.ordinary_error.iter().all(|error| (0.3..3.0).contains(error)), "{compared:?}");
    assert_eq!(compared.hours_better.iter().sum::<u64>(), 4, "{compared:?}");
    let [first, second] = names;
    let turned = side_by_side(&both, "watched", &[second, first], None).expect("rows of both");
    assert!(turned.ordinary_error.iter().rev().eq(&compared.ordinary_error), "{turned:?} {compared:?}");
    let error = side_by_side(&alone[0], "watched", &["a@1".to_owned(), "a@2".to_owned()], None)
        .expect_err("no shadow");
    assert!(error.to_string().contains("no column shadow_score"), "{error}");
}

#[test]
fn a_job_trains_new_versions_as_its_watermark_goes_on() {
    let mut given = Given::new("autoencoder");
    given.train(2, 1).expect("a model");
    given.text = given
        .text
        .replace("method: autoencoder", "method: autoencoder\n      retrain: { every: 1h, over: 90m }");
    let file = given.path().join("networks.yaml");
    std::fs::write(&file, given.text.replace("${FOLDER}", &given.path().display().to_string()))
        .expect("a file");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_thalweg"));
    let schedule =
        Schedule::of(&given.plan(), program, vec![file.into()]).expect("a registry").expect("a step");
    let clock = Arc::new(AtomicI64::new(BEGINNING));
    let (sender, said) = channel();
    let retraining = Retraining::start(
        schedule,
        {
            let clock = Arc::clone(&clock);
            move || clock.load(Ordering::Relaxed)
        },
        move |well, what| sender.send((well, what.to_owned())).expect("the test listens"),
    );
    let next = || said.recv_timeout(Duration::from_secs(120)).expect("something is said");
    // Up to 14:00 there is a version, up to 15:00 none.
    clock.store(NOON_MS * 1000 + 2 * HOUR_US + 5, Ordering::Relaxed);
    assert_eq!(said.recv_timeout(Duration::from_secs(3)), Err(RecvTimeoutError::Timeout));
    clock.store(NOON_MS * 1000 + 3 * HOUR_US + HOUR_US / 2, Ordering::Relaxed);
    let told = [next(), next()];
    assert!(told.iter().all(|(well, _)| *well), "{told:?}");
    assert!(told[0].1.contains("training on what lies before 2026-03-02T15:00:00Z"), "{told:?}");
    assert!(told[1].1.contains("watched@2"), "{told:?}");
    let of = given.registry().card(&"watched@2".parse().expect("a reference")).expect("a card").trained_on;
    let of = of.expect("what it was trained on");
    assert_eq!(of.to.us() - of.from.us(), HOUR_US * 3 / 2);
    // What fails is told, and costs nothing else.
    clock.store(NOON_MS * 1000 + 20 * HOUR_US, Ordering::Relaxed);
    let told = [next(), next()];
    assert!(!told[1].0 && told[1].1.contains("no row of the step watched lies in the period"), "{told:?}");
    retraining.stop();
    let champion = given.registry().champion("watched").expect("a registry").expect("a champion");
    assert_eq!(champion.number(), 1);
}

#[test]
fn another_network_under_the_same_name_does_not_go_on_with_what_was_known() {
    let mut given = Given::new("autoencoder");
    given.train(2, 1).expect("a model");
    let text = given.text.clone();
    given.text = text.replace("${FOLDER}/models/", "${FOLDER}/others/");
    given.train(2, 2).expect("a model");
    let others = std::mem::replace(&mut given.text, text);
    let output = given.path().join("output");
    assert!(!broken_off_after(3, &given.plan(), &options(&output, 2, 40)), "the job is too short");
    given.text = others;
    job(&given.plan(), &options(&output, 3, 200));
    let began = query(
        &output,
        "select model, count(*) filter (where n_seen = 1) as times from watched group by model having times <> 2",
    );
    assert!(began.is_empty(), "each key begins once with either network: {began:?}");
}
