//! Rows that go in: their source, topic and place in it, their bytes, their timestamp.

use std::sync::Arc;

use thalweg_schemas::time::parse_rfc3339;
use thalweg_schemas::{Decoder, FieldType, Schema, TimestampEncoding};

use super::{Checker, Test};
use crate::plan::{Connector, PlannedSource};
use crate::spec::suggest;
use crate::spec::test_file::{InputSpec, JsonSpec, Payload, RecordSpec, Stamp};
use crate::testing::records::GivenRecord;

impl Checker<'_> {
    pub(super) fn input(&mut self, input: &InputSpec, test: &mut Test) {
        let Some(at) = test.plan.sources.iter().position(|source| source.name == input.source.value) else {
            let names: Vec<&str> = test.plan.sources.iter().map(|source| source.name.as_str()).collect();
            let hint = suggest::hint(&input.source, &names, "sources");
            let message = format!("the pipeline reads no source \"{}\"", input.source.value);
            self.problem(input.source.at, &input.path, message, hint);
            return;
        };
        let plan = Arc::clone(&test.plan);
        let (source, moment) = (&plan.sources[at], test.moments.len());
        let topics = topics(source);
        for partition in &input.partitions {
            test.input[at].splits.entry((Arc::clone(&topics[0]), *partition)).or_default();
        }
        for record in &input.records {
            let topic = match &record.topic {
                None => Arc::clone(&topics[0]),
                Some(topic) => match topics.iter().find(|known| ***known == *topic.value) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
                        let message = format!("\"{}\" is not one of the source's topics", topic.value);
                        let hint = suggest::hint(topic, &names, "topics");
                        self.problem(topic.at, &record.path, message, hint);
                        continue;
                    }
                },
            };
            let split = test.input[at].splits.entry((topic, record.partition)).or_default();
            if let Some(given) = self.record(record, source, split.last().map(|(_, record)| record)) {
                split.push((moment, given));
            }
        }
    }

    fn record(
        &mut self,
        record: &RecordSpec,
        source: &PlannedSource,
        before: Option<&GivenRecord>,
    ) -> Option<GivenRecord> {
        let next = before.map_or(0, |before| before.offset + 1);
        if let Some(offset) = record.offset.as_ref().filter(|offset| offset.value < next) {
            let hint = format!("offsets ascend in a partition: write {next} or more, or leave it out");
            let message = format!("the offset {} is behind the record before", offset.value);
            self.problem(offset.at, &record.path, message, Some(hint));
            return None;
        }
        let payload = match &record.payload {
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Json(json, times) => {
                self.known_fields(json, source, &record.path);
                Some(encoded(json, &source.schema).repeat(*times).into_bytes())
            }
        };
        let timestamp_us = match (record.timestamp, source.event_time.field) {
            (Stamp::At(time_us), _) => Some(time_us),
            (Stamp::None, _) => None,
            (Stamp::ByDefault, Some(field)) => {
                let mut decoder = Decoder::new(source.format, &source.schema, &[field]);
                let decoded = decoder.push(payload.as_deref()).is_ok();
                let own = decoder.last_timestamp(field).filter(|_| decoded);
                let in_ms =
                    own.and_then(|time| time.checked_add(999)).map(|time| time.div_euclid(1000) * 1000);
                in_ms.or(before.and_then(|before| before.timestamp_us))
            }
            (Stamp::ByDefault, None) => {
                let hint = "write record: { timestamp: 2026-01-01T00:00:00Z, … }";
                let message = "a record without a timestamp, from which this source takes the event time";
                self.problem(record.at, &record.path, message, Some(hint.to_owned()));
                None
            }
        };
        Some(GivenRecord {
            offset: record.offset.as_ref().map_or(next, |offset| offset.value),
            timestamp_us,
            key: record.key.clone(),
            value: payload,
            headers: record.headers.clone(),
        })
    }
}

// JSON in which points in time that are written as in RFC 3339 are as the schema has them.
fn encoded(json: &JsonSpec, schema: &Schema) -> String {
    json.to_text(&|keys, text| {
        let field = schema.fields.iter().find(|field| field.path.iter().eq(keys.iter()))?;
        let FieldType::Timestamp(encoding) = &field.field_type else { return None };
        let time_us = parse_rfc3339(text.as_bytes()).ok()?;
        let decimals = |digits: u32| {
            let (unit, sign) = (10u64.pow(digits), if time_us < 0 { "-" } else { "" });
            let (whole, rest) = (time_us.unsigned_abs() / unit, time_us.unsigned_abs() % unit);
            let fraction = format!(".{rest:0width$}", width = digits as usize);
            format!("{sign}{whole}{}", fraction.trim_end_matches('0').trim_end_matches('.'))
        };
        Some(match encoding {
            TimestampEncoding::Seconds => decimals(6),
            TimestampEncoding::Millis => decimals(3),
            TimestampEncoding::Micros => time_us.to_string(),
            TimestampEncoding::Nanos => (i128::from(time_us) * 1000).to_string(),
            TimestampEncoding::Rfc3339 => return None,
        })
    })
}

/// The topics of a source: one at least.
pub(super) fn topics(source: &PlannedSource) -> Vec<Arc<str>> {
    match &source.connector {
        Connector::Kafka(kafka) => kafka.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
        Connector::Archive { path } => {
            vec![
                path.file_name()
                    .map_or_else(|| source.name.as_str().into(), |name| name.to_string_lossy().into()),
            ]
        }
        Connector::Given(_) => vec![source.name.as_str().into()],
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use thalweg_schemas::Field;

    use super::*;
    use crate::spec::test_file::{self, EventSpec};

    // The payloads of a test's rows, in a schema of one timestamp.
    fn payloads(rows: &str, encoding: TimestampEncoding) -> Vec<String> {
        let text = format!(
            "pipeline: p\ntests:\n  - name: t\n    input: {{ s: {rows} }}\n    expect: {{ o: [] }}\n"
        );
        let (file, problems) = test_file::read(&text, Path::new("t.test.yaml"));
        assert_eq!(problems, []);
        let schema = Schema {
            name: "s".into(),
            description: None,
            fields: vec![Field::new("at", FieldType::Timestamp(encoding)).at("call.at")],
        };
        let file = file.unwrap();
        let EventSpec::Input(input) = &file.tests[0].timeline[0] else { panic!("no input") };
        let payload = |record: &RecordSpec| match &record.payload {
            Payload::Json(json, times) => encoded(json, &schema).repeat(*times),
            Payload::Bytes(bytes) => {
                String::from_utf8_lossy(bytes.as_deref().unwrap_or(b"none")).into_owned()
            }
        };
        input[0].records.iter().map(payload).collect()
    }

    #[test]
    fn points_in_time_are_as_the_schema_has_them_where_it_has_them() {
        let rows = "[{ call: { at: 1970-01-01T00:00:01.500250Z, by: 1970-01-01T00:00:01Z } }, { call: { at: \"1969-12-31T23:59:59.75Z\" } }, { call: { at: 1500 } }]";
        for (encoding, first, second) in [
            (TimestampEncoding::Seconds, "1.50025", "-0.25"),
            (TimestampEncoding::Millis, "1500.25", "-250"),
            (TimestampEncoding::Micros, "1500250", "-250000"),
            (TimestampEncoding::Nanos, "1500250000", "-250000000"),
            (TimestampEncoding::Rfc3339, "\"1970-01-01T00:00:01.500250Z\"", "\"1969-12-31T23:59:59.75Z\""),
        ] {
            let expected = [
                format!(r#"{{"call":{{"at":{first},"by":"1970-01-01T00:00:01Z"}}}}"#),
                format!(r#"{{"call":{{"at":{second}}}}}"#),
                r#"{"call":{"at":1500}}"#.to_owned(),
            ];
            assert_eq!(payloads(rows, encoding), expected, "{encoding}");
        }
    }

    #[test]
    fn yaml_becomes_json_and_numbers_keep_their_digits() {
        let rows = r#"[
          { a: 18446744073709551616, b: 1.10, c: 1e400, d: "1", e: yes, f: true, g: null, h: ~, i: [1, x, {}], j: 0x1F, k: .5, l: +1, m: 007 },
          { n: "ü\u0001\"\\" },
          record: { value: [1, 2] },
          record: { value: 1, times: 3 },
          record: { text: "{", times: 2 },
          record: { base64: aGk= },
          record: { tombstone: true },
        ]"#;
        let expected = [
            r#"{"a":18446744073709551616,"b":1.10,"c":1e400,"d":"1","e":"yes","f":true,"g":null,"h":null,"i":[1,"x",{}],"j":"0x1F","k":".5","l":"+1","m":"007"}"#,
            r#"{"n":"ü\u0001\"\\"}"#,
            "[1,2]",
            "111",
            "{{",
            "hi",
            "none",
        ];
        assert_eq!(payloads(rows, TimestampEncoding::Millis), expected);
    }
}
