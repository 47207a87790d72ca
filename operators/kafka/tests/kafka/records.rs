//! What a record is made of, and writing it.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_kafka::{KafkaError, KafkaWriter, WriteRecord, create_topic, delete_topic};

use crate::support::*;

#[test]
fn keys_values_and_headers_come_back_as_they_were_written() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "records", 1, &[]);
    let headers: &[(&str, Option<&[u8]>)] = &[
        ("trace", Some(b"1\0\xff")),
        ("empty", Some(b"")),
        ("null", None),
        ("trace", Some(b"2")),
        ("ü", Some(b"3")),
    ];
    type Bytes<'a> = Option<&'a [u8]>;
    type KeyValueHeaders<'a> = (Bytes<'a>, Bytes<'a>, &'a [(&'a str, Bytes<'a>)]);
    let written: [KeyValueHeaders<'_>; 6] = [
        (Some(b"key"), Some(b"value"), headers),
        (None, Some(b"no key"), &[]),
        (Some(b"tombstone"), None, &[]),
        (None, None, &[]),
        (Some(b""), Some(b""), &[]),
        (Some(b"\xff\x00"), Some(b"\xfe\x00"), &[]),
    ];
    let mut writer = writer(brokers);
    for (key, value, headers) in written {
        let record =
            WriteRecord { topic: &topic, partition: 0, timestamp_ms: Some(1_234), key, value, headers };
        writer.write(record).expect("a record is taken");
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");

    for with_headers in [true, false] {
        let mut config = everything(brokers, &[&topic]);
        config.headers = with_headers;
        let rows = read_all(&config);
        assert_eq!(rows.len(), written.len());
        for ((row, (key, value, headers)), offset) in rows.into_iter().zip(written).zip(0..) {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let headers = if with_headers { headers } else { &[] };
            let expected = Row {
                topic: topic.clone(),
                partition: 0,
                offset,
                timestamp_us: Some(1_234_000),
                key: owned(key),
                value: owned(value),
                headers: headers.iter().map(|(name, value)| ((*name).to_owned(), owned(*value))).collect(),
            };
            assert_eq!(row, expected);
        }
    }
}

#[test]
fn a_record_of_ten_megabytes_is_read_among_small_ones() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "large", 1, &[("max.message.bytes", "16000000")]);
    // Not to be compressed: xorshift.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let large: Vec<u8> = (0..10_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    let mut writer = writer(brokers);
    for value in [b"before", &large[..], b"between", &large[..], b"after"] {
        let record = WriteRecord {
            topic: &topic,
            partition: 0,
            timestamp_ms: None,
            key: None,
            value: Some(value),
            headers: &[],
        };
        writer.write(record).expect("a record is taken");
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");
    for prefetch_bytes_max in [64 << 20, 1 << 20] {
        let mut config = everything(brokers, &[&topic]);
        config.prefetch_bytes_max = prefetch_bytes_max;
        let rows = read_all(&config);
        let found: Vec<usize> = rows.iter().map(|row| row.value.as_ref().map_or(0, Vec::len)).collect();
        assert_eq!(found, [6, 10_000_000, 7, 10_000_000, 5]);
        assert!(rows[3].value.as_deref() == Some(&large[..]), "the large record came back changed");
    }
}

#[test]
fn a_record_that_is_not_taken_is_an_error() {
    let brokers = shared().brokers();
    let properties = BTreeMap::from([("topic.metadata.propagation.max.ms".to_owned(), "500".to_owned())]);
    let mut writer = KafkaWriter::new(brokers, &properties).expect("a writer can be made");
    let record = WriteRecord {
        topic: "nowhere",
        partition: 0,
        timestamp_ms: None,
        key: None,
        value: Some(b"x"),
        headers: &[],
    };
    let error =
        writer.write(record).and_then(|()| writer.flush(PATIENCE)).expect_err("there is no such topic");
    assert!(error.to_string().starts_with("can't write to topic nowhere: "), "{error}");

    let mut lonely = KafkaWriter::new("127.0.0.1:1", &BTreeMap::new()).expect("a writer can be made");
    lonely.write(record).expect("a record is taken");
    let error = lonely.flush(Duration::from_secs(1)).expect_err("there is no such broker");
    assert!(matches!(error, KafkaError::Flush { records: 1, limit_s: 1, .. }), "{error}");
}

#[test]
fn topics_are_made_and_deleted() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "made", 2, &[("retention.ms", "1000")]);
    let error = create_topic(brokers, &topic, 1, &[]).expect_err("it exists");
    assert!(error.to_string().contains("delete it first"), "{error}");
    delete_topic(brokers, &topic).expect("it can be deleted");
    let error = delete_topic(brokers, &topic).expect_err("it is gone");
    assert!(error.to_string().starts_with(&format!("can't delete topic {topic}: ")), "{error}");
    let error = create_topic(brokers, &fresh_name("odd"), 1, &[("no.such.setting", "1")])
        .expect_err("a wrong setting");
    assert!(error.to_string().contains("check the brokers, the name"), "{error}");
}
