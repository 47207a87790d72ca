//! scratch
use arrow::array::*;
use arrow::datatypes::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_delta::*;
use thalweg_engine::checkpoint::Publisher;
use thalweg_operators::sink::parquet::ParquetConfig;
use thalweg_operators::sink::staging::Staging;
use thalweg_operators::sink::{Sink, SinkCounters};
#[test]
fn long() {
    let dir = tempfile::tempdir().unwrap();
    let columns: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("p", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]));
    let staging = Staging { generation: 1, worker: 0, in_place: true };
    let config =
        ParquetConfig { partition_by: vec!["p".into()], ..ParquetConfig::new("out", dir.path(), staging) };
    let mut sink = DeltaSink::new(config, &columns, 0, Arc::new(SinkCounters::default())).unwrap();
    let mut publisher = DeltaPublisher::new(DeltaConfig {
        sink: "out".into(),
        folder: dir.path().into(),
        columns: columns.clone(),
        partition_by: vec!["p".into()],
        application: "a".into(),
        generation: 1,
    })
    .unwrap();
    publisher.sweep(0).unwrap();
    let batch = RecordBatch::try_new(
        columns,
        vec![
            Arc::new(StringArray::from(vec!["a", "b", "c", "d"])),
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        ],
    )
    .unwrap();
    let (mut spent, mut worst) = (Duration::ZERO, Duration::ZERO);
    for n in 1..=3000u64 {
        sink.write(batch.clone()).unwrap();
        let files = sink.stage(n).unwrap();
        let t = Instant::now();
        publisher.publish(n, &files).unwrap();
        spent += t.elapsed();
        worst = worst.max(t.elapsed());
        if n % 300 == 0 {
            let rss = std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .lines()
                .find(|l| l.starts_with("VmRSS"))
                .unwrap()
                .to_owned();
            println!(
                "{n}: {:?} each, worst {worst:?}, {rss}, threads {}",
                spent / 300,
                std::fs::read_dir("/proc/self/task").unwrap().count()
            );
            spent = Duration::ZERO;
            worst = Duration::ZERO;
        }
    }
    let t = Instant::now();
    let files = active_files(dir.path()).unwrap();
    println!("{} files listed in {:?}", files.files.len(), t.elapsed());
}
