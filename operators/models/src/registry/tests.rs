//! Versions that nobody shares, cards that are written last, and damage that is noticed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::thread;

use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use tempfile::TempDir;

use super::card::{FORMAT, metrics_of};
use super::compare::{Side, compare};
use super::promotions::Action;
use super::{Author, Card, Draft, FileKind, Reference, Registry, Time, TrainedOn, Version};
use crate::architecture::{Architecture, Autoencoder};
use crate::device::Device;
use crate::infer::Infer;
use crate::training::{TrainingConfig, TrainingData, train};

const ONNX: &[u8] = include_bytes!("../../tests/onnx/perceptron.onnx");

fn author(second: i64) -> Author {
    Author { by: "ann".to_owned(), at: Time::from_us(1_772_452_800_000_000 + second * 1_000_000) }
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn draft(loss: f64) -> Draft {
    let metrics = BTreeMap::from([("validation_loss".to_owned(), loss), ("rows_seen".to_owned(), 5.0)]);
    Draft { metrics, notes: "of the summer".to_owned(), ..Draft::new(FileKind::Onnx, ONNX.to_vec()) }
}

fn registry() -> (TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::create(&folder.path().join("a/models").display().to_string()).unwrap();
    (folder, registry)
}

fn in_memory() -> Registry {
    Registry::over(Arc::new(InMemory::new()), Path::from("some/models"), "s3://bucket/some/models").unwrap()
}

fn read(text: &str) -> Reference {
    text.parse().unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, super::RegistryError>) -> String {
    result.unwrap_err().to_string()
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn what_is_registered_is_read_again() {
    for (_folder, registry) in [registry(), (tempfile::tempdir().unwrap(), in_memory())] {
        let trained_on = TrainedOn {
            pipeline: "provider_health".to_owned(),
            step: "watched".to_owned(),
            from: Time::from_us(0),
            to: Time::from_us(3_600_500_000),
            rows: 1200,
            seed: 7,
        };
        let first = registry.add("churn", &draft(0.5), &author(0)).unwrap();
        let second = Draft { trained_on: Some(trained_on), parent: Some(version(1)), ..draft(0.25) };
        let second = registry.add("churn", &second, &author(1)).unwrap();
        assert_eq!((first.version, second.version), (version(1), version(2)));
        assert_eq!(registry.card(&read("churn@2")).unwrap(), second);
        assert_eq!(registry.names().unwrap(), ["churn"]);

        let loaded = registry.load(&read("churn@latest")).unwrap();
        assert_eq!((&loaded.card, loaded.bytes.as_slice()), (&second, ONNX));
        assert_eq!(loaded.path(), format!("{}/churn/2/model.onnx", registry.location()));
        let model = loaded.open(Device::Cpu).unwrap();
        assert_eq!((model.inputs(), model.outputs()), (&*second.inputs, &*second.outputs));
        assert!(!second.inputs.is_empty() && second.architecture.is_none());

        let listing = registry.listing("churn").unwrap();
        assert!(listing.versions[0].bytes > ONNX.len() as u64);
        let sides = compare(&first, &second);
        assert_eq!(sides.len(), 2);
        assert_eq!((sides[1].metric.as_str(), sides[1].winner), ("validation_loss", Some(Side::Second)));
        assert_eq!(sides[0].winner, None);
    }
}

#[test]
fn a_trained_model_comes_back_with_what_it_learnt() {
    let (_folder, registry) = registry();
    let claim = registry.claim("watched", &author(0)).unwrap();
    let architecture = Architecture::Autoencoder(Autoencoder {
        window: 8,
        channels: 1,
        hidden: 8,
        code: 2,
        scored: 2,
        ..Autoencoder::default()
    });
    let values: Vec<f32> = (0..300).map(|row| ((row * 7) % 10) as f32).collect();
    let (data, config) = ([values.as_slice()], TrainingConfig { epochs_max: 2, ..TrainingConfig::default() });
    let trained = train(
        &architecture,
        &claim.reference().to_string(),
        TrainingData::Series(&data),
        &config,
        Device::Cpu,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    let bytes = trained.model.to_bytes().unwrap();
    let draft =
        Draft { metrics: metrics_of(&trained.metrics), ..Draft::new(FileKind::Safetensors, bytes.clone()) };
    let card = claim.publish(&draft, &author(1)).unwrap();
    assert_eq!((&card.architecture, card.version), (&Some(architecture), version(1)));
    assert!(!card.quantiles.is_empty() && card.metrics.contains_key("validation_loss"), "{card:?}");

    let loaded = registry.load(&read("watched@1")).unwrap();
    assert_eq!((loaded.card.architecture.as_ref(), &loaded.bytes), (card.architecture.as_ref(), &bytes));
    let (again, window) = (loaded.open(Device::Cpu).unwrap(), &values[..8]);
    assert_eq!(again.infer(1, &[window]).unwrap(), trained.model.infer(1, &[window]).unwrap());
}

#[test]
fn cards_are_plain_json() {
    let (_folder, registry) = registry();
    let card = registry.add("churn", &draft(0.5), &author(0)).unwrap();
    let text = std::fs::read_to_string(format!("{}/churn/1/card.json", registry.location())).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["name"], &json["version"], &json["format"]),
        (&"churn".into(), &1.into(), &FORMAT.into())
    );
    assert_eq!(json["created_at"], "2026-03-02T12:00:00Z");
    assert_eq!(json["file"]["xxh3"], card.file.xxh3.as_str());
    assert_eq!(card.file.xxh3.len(), 32);
    assert_eq!(json["metrics"]["validation_loss"], 0.5);
    assert!(text.lines().count() > 20 && text.ends_with("}\n"), "{text}");
}

#[test]
fn writers_at_once_get_numbers_of_their_own() {
    const WRITERS: usize = 8;
    const EACH: usize = 4;
    for (_folder, registry) in [registry(), (tempfile::tempdir().unwrap(), in_memory())] {
        let registry = &registry;
        let cards: Vec<Card> = thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    // Even under the same name, at the same time, with the same file.
                    scope.spawn(move || {
                        (0..EACH)
                            .map(|_| registry.add("churn", &draft(writer as f64), &author(0)).unwrap())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        let mut numbers: Vec<u64> = cards.iter().map(|card| card.version.number()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=(WRITERS * EACH) as u64).collect::<Vec<_>>());
        for card in cards {
            assert_eq!(registry.load(&card.reference()).unwrap().card, card);
        }
    }
}

#[test]
fn promotions_at_once_are_all_in_the_log() {
    let (_folder, registry) = registry();
    for _ in 0..4 {
        registry.add("churn", &draft(1.0), &author(0)).unwrap();
    }
    thread::scope(|scope| {
        for number in 1..=4 {
            let registry = &registry;
            scope.spawn(move || {
                registry
                    .promote(&Reference::to("churn", version(number)), &author(number as i64), "")
                    .unwrap()
            });
        }
    });
    let log: Vec<_> = registry.promotions("churn").unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(log.iter().map(|entry| entry.replaces).collect::<Vec<_>>(), [None, Some(1), Some(2), Some(3)]);
    let mut versions: Vec<u64> = log.iter().map(|entry| entry.version.number()).collect();
    assert_eq!(registry.champion("churn").unwrap().map(Version::number), versions.last().copied());
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4]);
}

#[test]
fn a_version_without_a_card_does_not_exist_and_its_number_is_skipped() {
    let (_folder, registry) = registry();
    registry.add("churn", &draft(0.5), &author(0)).unwrap();
    // As a writer leaves it that is stopped after the claim; and one after the file.
    let claim = registry.claim("churn", &author(1)).unwrap();
    assert_eq!(claim.reference(), read("churn@2"));
    registry.claim("churn", &author(1)).unwrap();
    std::fs::write(format!("{}/churn/3/model.onnx", registry.location()), ONNX).unwrap();

    for number in [2, 3] {
        let told = refusal(registry.load(&read(&format!("churn@{number}"))));
        assert_says(&told, &[&format!("churn@{number}"), "never finished", "its only version is 1"]);
        let told = refusal(registry.promote(&read(&format!("churn@{number}")), &author(2), ""));
        assert_says(&told, &["never finished"]);
    }
    assert_eq!(registry.resolve(&read("churn@latest")).unwrap(), version(1));
    let listing = registry.listing("churn").unwrap();
    let finished: Vec<bool> = listing.versions.iter().map(|listed| listed.is_finished).collect();
    assert_eq!(finished, [true, false, false]);
    assert_eq!(registry.add("churn", &draft(0.5), &author(3)).unwrap().version, version(4));
    // Who was slow only comes in late, under its own number.
    assert_eq!(claim.publish(&draft(0.5), &author(4)).unwrap().version, version(2));
    assert_eq!(registry.resolve(&read("churn@latest")).unwrap(), version(4));
}

#[test]
fn nothing_is_written_over() {
    let (_folder, registry) = registry();
    let claim = registry.claim("churn", &author(0)).unwrap();
    let file = format!("{}/churn/1/model.onnx", registry.location());
    std::fs::write(&file, "somebody else's").unwrap();
    assert_says(&refusal(claim.publish(&draft(0.5), &author(0))), &[&file, "somebody else"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"somebody else's");
    assert_says(&refusal(registry.card(&read("churn@1"))), &["never finished"]);
}

#[test]
fn what_makes_no_model_takes_no_number() {
    let (_folder, registry) = registry();
    let bytes = Draft::new(FileKind::Onnx, b"no model".to_vec());
    assert_says(
        &refusal(registry.add("churn", &bytes, &author(0))),
        &["the onnx file can't be used", "ONNX"],
    );
    let bytes = Draft::new(FileKind::Safetensors, ONNX.to_vec());
    assert_says(&refusal(registry.add("churn", &bytes, &author(0))), &["the safetensors file can't be used"]);
    let told = refusal(registry.add("churn", &draft(f64::NAN), &author(0)));
    assert_says(&told, &["metrics.validation_loss", "NaN", "finite"]);
    let orphan = Draft { parent: Some(version(3)), ..draft(0.5) };
    assert_says(&refusal(registry.add("churn", &orphan, &author(0))), &["no model churn", "nothing yet"]);
    assert_says(&refusal(registry.add("Churn", &draft(0.5), &author(0))), &["lower-case letter"]);
    assert!(registry.listing("churn").unwrap().versions.is_empty());
}

#[test]
fn damage_is_told_with_the_file_and_the_mend() {
    let (_folder, registry) = registry();
    registry.add("churn", &draft(0.5), &author(0)).unwrap();
    let folder = format!("{}/churn/1", registry.location());
    let (file, card) = (format!("{folder}/model.onnx"), format!("{folder}/card.json"));
    let told = || refusal(registry.load(&read("churn@1")));
    let whole = std::fs::read_to_string(&card).unwrap();

    let mut bytes = ONNX.to_vec();
    bytes[100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_says(&told(), &[&file, "damaged", "its hash is", "thalweg models ls churn"]);
    assert_says(&refusal(registry.promote(&read("churn@1"), &author(1), "")), &[&file, "damaged"]);
    std::fs::write(&file, &bytes[..100]).unwrap();
    assert_says(&told(), &[&file, "it has 100 bytes, and had 575"]);
    std::fs::remove_file(&file).unwrap();
    assert_says(&told(), &[&file, "it is missing", "put it back"]);

    for (text, detail) in [
        (&whole[..50], "EOF"),
        ("", "EOF"),
        ("[]", "names no format"),
        (&whole.replace("\"inputs\"", "\"imputs\""), "missing field `inputs`"),
        (&whole.replace("\"version\": 1", "\"version\": 2"), "it is the card of churn@2"),
        (&whole.replace("\"version\": 1", "\"version\": 0"), "nonzero"),
    ] {
        std::fs::write(&card, text).unwrap();
        assert_says(&told(), &[&card, "is damaged", detail, "put it back"]);
    }
    std::fs::write(&card, whole.replace("\"format\": 1", "\"format\": 2").replace("churn", "?")).unwrap();
    assert_says(&told(), &[&card, "has format 2", "reads format 1", "a newer one"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let (_folder, registry) = registry();
    let told = |text: &str| refusal(registry.load(&read(text)));
    assert_says(&told("churn@1"), &["no model churn", "nothing yet"]);
    registry.add("churn", &draft(0.5), &author(0)).unwrap();
    registry.add("churn", &draft(0.5), &author(0)).unwrap();
    for text in ["chrun", "chrun@1", "chrun@latest"] {
        assert_says(&told(text), &["no model chrun", "it holds churn"]);
    }
    assert_says(&refusal(registry.rollback("chrun", &author(0), "")), &["no model chrun"]);
    assert_says(&told("churn@7"), &["no churn@7", "its versions are 1, 2"]);
    assert_says(&told("churn"), &["no champion yet", "1, 2", "thalweg models promote churn@2"]);
    assert_says(&refusal(registry.rollback("churn", &author(0), "")), &["no champion yet"]);

    let nowhere = Registry::open(&format!("{}/nowhere", registry.location()));
    assert_says(&refusal(nowhere), &["nowhere", "no such folder", "thalweg models add"]);
    assert_says(&refusal(Registry::create("gopher://x")), &["gopher://", "s3://bucket/models"]);
    assert!(!FilePath::new("gopher:").exists());
}

#[test]
fn a_rollback_goes_back_to_the_champion_before() {
    let (_folder, registry) = registry();
    for _ in 0..4 {
        registry.add("churn", &draft(0.5), &author(0)).unwrap();
    }
    let promote = |number| registry.promote(&Reference::to("churn", version(number)), &author(1), "better");
    let rollback = || registry.rollback("churn", &author(2), "worse");
    for number in [1, 3, 4] {
        assert_eq!(promote(number).unwrap().now, version(number));
    }
    // What is champion is not promoted again.
    assert_eq!(promote(4).unwrap().before, Some(version(4)));
    assert_eq!(registry.promotions("churn").unwrap().len(), 3);

    let changed = rollback().unwrap();
    assert_eq!((changed.before, changed.now), (Some(version(4)), version(3)));
    assert_eq!(promote(2).unwrap().before, Some(version(3)));
    assert_eq!([3, 1].map(|_| rollback().unwrap().now.number()), [3, 1]);
    assert_says(&refusal(rollback()), &["churn@1 was the first champion"]);
    assert_eq!(registry.card(&read("churn")).unwrap().version, version(1));
    let log: Vec<_> = registry.promotions("churn").unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(log.iter().map(|entry| entry.version.number()).collect::<Vec<_>>(), [1, 3, 4, 3, 2, 3, 1]);
    let last = log.last().unwrap();
    assert_eq!(
        (last.action, last.author.by.as_str(), last.notes.as_str()),
        (Action::Rollback, "ann", "worse")
    );
}

#[test]
fn a_damaged_log_is_mended_by_a_promotion() {
    let (_folder, registry) = registry();
    for _ in 0..2 {
        registry.add("churn", &draft(0.5), &author(0)).unwrap();
    }
    for number in [1, 2] {
        registry.promote(&Reference::to("churn", version(number)), &author(1), "").unwrap();
    }
    let newest = format!("{}/churn/promotions/2.json", registry.location());
    std::fs::write(&newest, "{").unwrap();
    let told = refusal(registry.load(&read("churn")));
    assert_says(&told, &[&newest, "is damaged", "thalweg models promote churn@N"]);
    let changed = registry.promote(&read("churn@1"), &author(2), "").unwrap();
    assert_eq!((changed.before, changed.now), (Some(version(1)), version(1)));
    assert_eq!(registry.champion("churn").unwrap(), Some(version(1)));
    assert_eq!(registry.promotions("churn").unwrap().iter().filter(|entry| entry.is_err()).count(), 1);
}

/// What may be done to a registry.
#[derive(Debug, Clone, Copy)]
enum Step {
    Add,
    /// A writer that is stopped.
    Claim,
    /// The version is this modulo what there is.
    Promote(u64),
    Rollback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Add),
        1 => Just(Step::Claim),
        4 => (0_u64..8).prop_map(Step::Promote),
        3 => Just(Step::Rollback),
    ];
    proptest::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_registry_does_as_a_list_and_a_stack_do(steps in steps()) {
        let registry = in_memory();
        let (mut finished, mut taken, mut champions) = (Vec::new(), 0, Vec::new());
        for (second, step) in steps.into_iter().enumerate() {
            let author = author(second as i64);
            match step {
                Step::Add => {
                    taken += 1;
                    let card = registry.add("churn", &draft(0.5), &author).unwrap();
                    prop_assert_eq!(card.version.number(), taken);
                    finished.push(taken);
                }
                Step::Claim => {
                    taken += 1;
                    prop_assert_eq!(registry.claim("churn", &author).unwrap().version.number(), taken);
                }
                Step::Promote(number) => {
                    let number = number % (taken + 1) + 1;
                    let promoted = registry.promote(&Reference::to("churn", version(number)), &author, "");
                    prop_assert_eq!(promoted.is_ok(), finished.contains(&number));
                    if promoted.is_ok() && champions.last() != Some(&number) {
                        champions.push(number);
                    }
                }
                Step::Rollback => {
                    let back = registry.rollback("churn", &author, "");
                    prop_assert_eq!(back.is_ok(), champions.len() > 1);
                    if back.is_ok() {
                        champions.pop();
                    }
                }
            }
            let champion = registry.champion("churn").unwrap().map(Version::number);
            prop_assert_eq!(champion, champions.last().copied());
            let listing = registry.listing("churn").unwrap();
            prop_assert_eq!(listing.finished().map(Version::number).collect::<Vec<_>>(), finished.clone());
        }
    }

    #[test]
    fn any_changed_byte_is_noticed(at in 0..ONNX.len(), mask in 1_u8..) {
        let (_folder, registry) = registry();
        registry.add("churn", &draft(0.5), &author(0)).unwrap();
        let file = format!("{}/churn/1/model.onnx", registry.location());
        let mut bytes = ONNX.to_vec();
        bytes[at] ^= mask;
        std::fs::write(&file, bytes).unwrap();
        prop_assert!(refusal(registry.load(&read("churn@1"))).contains("its hash is"));
    }
}
