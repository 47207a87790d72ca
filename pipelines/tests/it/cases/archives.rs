//! The same records from archives: what a test gives its sources is written as recorded topics, and read back by the archive's reader.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use thalweg::archive::decode;
use thalweg::plan::{Connector, Plan, PlannedSource};
use thalweg::testing::GivenRecords;
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_schemas::Format;

/// Puts archives below `folder` in the place of given records; `None` where they can't be: records without a timestamp, or with one
/// finer than milliseconds, splits that don't end, several topics.
pub(super) fn archived(plan: &Plan, folder: &Path) -> Option<Plan> {
    let mut plan = plan.clone();
    for source in &mut plan.sources {
        let Connector::Given(given) = &source.connector else { return None };
        let path = folder.join(&source.name).join(&*given.given().first()?.topic);
        write(given, &path)?;
        source.connector = Connector::Archive { path };
    }
    Some(plan)
}

/// The same, with decoded columns beside all files of JSON.
pub(super) fn decoded(plan: &Plan, folder: &Path) -> Option<Plan> {
    let plan = archived(plan, folder)?;
    let is_json = |source: &PlannedSource| source.format == Format::Json;
    if plan.sources.iter().any(is_json) {
        let decoded = decode(&plan, None, &Control::new(), &|_, _| {}).expect("decoded columns");
        assert!(
            decoded.iter().all(|archive| archive.decoded + archive.there == archive.files),
            "{decoded:?}"
        );
    }
    Some(plan)
}

fn write(given: &GivenRecords, folder: &Path) -> Option<()> {
    let topic = &given.given().first()?.topic;
    if !given.ends() || given.given().iter().any(|split| split.topic != *topic) {
        return None;
    }
    let mut writer = ArchiveWriter::new(folder, ArchiveOptions::default()).expect("the archive's folder");
    let mut empty = Vec::new();
    for split in given.given() {
        if split.records.is_empty() {
            empty.push(split.partition);
        }
        for record in &split.records {
            let headers: Vec<_> =
                record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let timestamp_ms = record.timestamp_us.filter(|time| time % 1000 == 0)? / 1000;
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            writer
                .push(split.partition, record.offset, timestamp_ms, key, value, &headers)
                .expect("a record of the archive");
        }
    }
    writer.finish().expect("the archive");
    empty.into_iter().for_each(|partition| write_empty(folder, partition));
    Some(())
}

/// A file without rows, named after its partition.
fn write_empty(folder: &Path, partition: i32) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("value", DataType::Binary, true),
    ]));
    fs::create_dir_all(folder).expect("the archive's folder");
    let file =
        File::create(folder.join(format!("part-{partition:05}-{:020}.parquet", 0))).expect("an empty file");
    ArrowWriter::try_new(file, schema, None).and_then(ArrowWriter::close).expect("an empty Parquet file");
}
