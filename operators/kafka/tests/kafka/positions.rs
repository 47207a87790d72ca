//! Where reading starts and ends, and who reads what.

use thalweg_kafka::Position;
use thalweg_operators::source::reader::SplitReader;

use crate::support::*;

#[test]
fn a_source_starts_and_ends_where_it_is_told() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "positions", 3, &[]);
    // Partition 2 stays empty; record i has the timestamp (i + 1) * 10 ms.
    fill(brokers, &topic, 2, 100);
    let cases = [
        ("all", Position::Earliest, Position::Latest, 0..100),
        ("nothing after the end", Position::Latest, Position::Latest, 0..0),
        ("nothing before the start", Position::Earliest, Position::Earliest, 0..0),
        ("the start's timestamp is in", Position::Timestamp(500_000), Position::Latest, 49..100),
        ("between two timestamps", Position::Timestamp(500_001), Position::Latest, 50..100),
        ("the end's timestamp is out", Position::Earliest, Position::Timestamp(500_000), 0..49),
        ("a millisecond of an end", Position::Earliest, Position::Timestamp(500_001), 0..50),
        ("before all", Position::Timestamp(-7_000_000), Position::Latest, 0..100),
        ("after all", Position::Timestamp(1 << 50), Position::Latest, 0..0),
        ("an end after all", Position::Earliest, Position::Timestamp(1 << 50), 0..100),
        ("an end before the start", Position::Latest, Position::Timestamp(500_000), 0..0),
        ("offsets", at(&topic, &[(0, 10), (1, 10), (2, 0)]), at(&topic, &[(0, 20), (1, 20), (2, 0)]), 10..20),
    ];
    for (case, start, end, expected) in cases {
        let rows = read_all(&bounded(brokers, &[&topic], start, end));
        let offsets = offsets(&rows);
        let expected: Vec<i64> = expected.collect();
        for partition in [0, 1] {
            let found = offsets.get(&partition).map_or(&[][..], Vec::as_slice);
            assert_eq!(found, expected, "{case}, partition {partition}");
        }
        assert_eq!(offsets.get(&2), None, "{case}");
        for row in rows {
            assert_eq!(row.timestamp_us, Some((row.offset + 1) * 10_000), "{case}");
            assert_eq!(row.value, Some(payload(row.partition, row.offset).into_bytes()), "{case}");
        }
    }
}

#[test]
fn an_end_is_that_of_the_start_of_the_job() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "growing", 1, &[]);
    fill(brokers, &topic, 1, 10);
    let plan = resolve(&everything(brokers, &[&topic]));
    fill(brokers, &topic, 1, 10);
    let rows = read_to_end(&mut plan.reader(0, 1).expect("a reader can be made"), usize::MAX, usize::MAX);
    assert_eq!(offsets(&rows)[&0], (0..10).collect::<Vec<_>>());
    assert_eq!(plan.splits()[0].end, Some(10));
}

#[test]
fn splits_are_numbered_by_topic_then_partition() {
    let brokers = shared().brokers();
    let (b, a) = (new_topic(brokers, "b", 2, &[]), new_topic(brokers, "a", 3, &[]));
    fill(brokers, &a, 1, 5);
    let plan = resolve(&everything(brokers, &[&b, &a]));
    let found: Vec<_> =
        plan.splits().iter().map(|split| (split.number, &*split.topic, split.partition)).collect();
    assert_eq!(found, [(0, &*b, 0), (1, &*b, 1), (2, &*a, 0), (3, &*a, 1), (4, &*a, 2)]);
    let reader = plan.reader(0, 2).expect("a reader can be made");
    let found: Vec<_> = reader.splits().iter().map(|split| (split.number, split.records_ahead)).collect();
    assert_eq!(found, [(0, Some(0)), (2, Some(5)), (4, Some(0))]);
}

#[test]
fn workers_read_every_record_once_and_in_order() {
    let brokers = shared().brokers();
    let topics = [new_topic(brokers, "dealt-x", 3, &[]), new_topic(brokers, "dealt-y", 2, &[])];
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    fill(brokers, topics[0], 3, 500);
    fill(brokers, topics[1], 2, 300);
    let plan = resolve(&everything(brokers, &topics));
    let mut expected: Vec<(String, i32, i64)> = Vec::new();
    for (topic, partitions, count) in [(topics[0], 3, 500), (topics[1], 2, 300)] {
        for partition in 0..partitions {
            expected.extend((0..count).map(|offset| (topic.to_owned(), partition, offset)));
        }
    }
    expected.sort();
    for (workers, records_max, bytes_max) in
        [(1, usize::MAX, usize::MAX), (2, 1, usize::MAX), (3, 7, 100), (3, usize::MAX, 1), (7, 100, 1000)]
    {
        let mut found = Vec::new();
        for worker in 0..workers {
            let mut reader = plan.reader(worker, workers).expect("a reader can be made");
            let mut last = std::collections::BTreeMap::new();
            for row in read_to_end(&mut reader, records_max, bytes_max) {
                let split = (row.topic.clone(), row.partition);
                let before = last.insert(split, row.offset);
                assert!(before.is_none_or(|before| before < row.offset), "{row:?} came after {before:?}");
                found.push((row.topic, row.partition, row.offset));
            }
        }
        found.sort();
        assert_eq!(found, expected, "{workers} workers");
    }
}

#[test]
fn a_read_takes_only_the_splits_it_is_asked_for() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "order", 2, &[]);
    fill(brokers, &topic, 2, 200);
    let mut reader = resolve(&everything(brokers, &[&topic])).reader(0, 1).expect("a reader can be made");
    let mut rows = Vec::new();
    let request = |order| thalweg_operators::source::reader::ReadRequest {
        bytes_max: usize::MAX,
        records_max: usize::MAX,
        wait: PATIENCE,
        order,
    };
    let mut ended = Vec::new();
    while ended.is_empty() {
        ended = read(&mut reader, request(&[1]), &mut rows).ended;
    }
    assert_eq!(ended, [1]);
    assert_eq!(offsets(&rows), [(1, (0..200).collect())].into());
    rows.clear();
    while !ended.contains(&0) {
        ended = read(&mut reader, request(&[0]), &mut rows).ended;
    }
    assert_eq!(offsets(&rows), [(0, (0..200).collect())].into());
}
