//! What the decoder accepts and refuses, through its public face.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};

use crate::decoder::{Decoder, Format, PAYLOAD_BYTES_MAX};
use crate::field::{Field, FieldType, TimestampEncoding};
use crate::rejection::{Reason, Rejection};
use crate::schema::Schema;

mod properties;

fn schema(fields: Vec<Field>) -> Schema {
    Schema { name: "s".into(), description: None, fields }
}

fn decoder(fields: Vec<Field>) -> Decoder {
    let columns: Vec<usize> = (0..fields.len()).collect();
    Decoder::new(Format::Json, &schema(fields), &columns)
}

/// A decoder of one field `x`.
fn decoder_of(field_type: FieldType) -> Decoder {
    decoder(vec![Field::new("x", field_type)])
}

fn list_of(element: FieldType) -> FieldType {
    FieldType::List(Box::new(element))
}

fn accept(decoder: &mut Decoder, payload: &str) {
    if let Err(fault) = decoder.push(Some(payload.as_bytes())) {
        panic!("{payload} is rejected: {fault}");
    }
}

/// The rejection of a payload, which must leave the decoder as it was.
fn reject(decoder: &mut Decoder, payload: impl AsRef<[u8]>) -> Rejection {
    let payload = payload.as_ref();
    let (rows, bytes) = (decoder.len(), decoder.bytes());
    match decoder.push(Some(payload)) {
        Ok(()) => panic!("{} is accepted", String::from_utf8_lossy(payload)),
        Err(fault) => {
            assert_eq!((decoder.len(), decoder.bytes()), (rows, bytes), "a rejected row leaves a trace");
            fault
        }
    }
}

/// The one column of a decoder of one field, after accepting values for it.
fn column_of(field_type: FieldType, values: &[&str]) -> ArrayRef {
    let mut decoder = decoder_of(field_type);
    for value in values {
        accept(&mut decoder, &format!("{{\"x\":{value}}}"));
    }
    decoder.finish().remove(0)
}

/// Reason and detail of values that a field refuses.
fn check_refused(field_type: &FieldType, cases: &[(&str, Reason, &str)]) {
    let mut decoder = decoder_of(field_type.clone());
    for (value, reason, detail) in cases {
        let fault = reject(&mut decoder, format!("{{\"x\": {value} }}"));
        assert_eq!((fault.reason, fault.detail.as_str()), (*reason, *detail), "{field_type} from {value}");
        let field = (*reason != Reason::InvalidJson).then_some("x");
        assert_eq!(fault.field.as_deref(), field, "{field_type} from {value}");
    }
}

#[test]
fn scalars_of_every_type() {
    let bools = column_of(FieldType::Bool, &["true", "false", "null"]);
    assert_eq!(bools.as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None]);
    let ints = column_of(FieldType::Int64, &["-7", "9223372036854775807", "3.0", "1e3", "null"]);
    let ints: Vec<_> = ints.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ints, [Some(-7), Some(i64::MAX), Some(3), Some(1000), None]);
    let uints = column_of(FieldType::UInt64, &["9007199254740993", "18446744073709551615"]);
    assert_eq!(uints.as_primitive::<UInt64Type>().values(), &[9_007_199_254_740_993, u64::MAX]);
    let floats = column_of(FieldType::Float64, &["3", "-0.0", "0.1", "1e-400", "1.7976931348623157e308"]);
    let floats: Vec<u64> =
        floats.as_primitive::<Float64Type>().values().iter().map(|x| x.to_bits()).collect();
    assert_eq!(floats, [3.0_f64, -0.0, 0.1, 0.0, f64::MAX].map(f64::to_bits));
    let decimals =
        column_of(FieldType::Decimal { scale: 6 }, &["0.1", "1", "0.0000005", "0.0000015", "null"]);
    let decimals: Vec<_> = decimals.as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(decimals, [Some(100_000), Some(1_000_000), Some(0), Some(2), None]);
    let texts = column_of(FieldType::String, &[r#""""#, r#""é\u00e9\n""#, "null", r#""😀""#]);
    assert_eq!(
        texts.as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some(""), Some("éé\n"), None, Some("😀")]
    );
}

#[test]
fn timestamps_of_every_encoding() {
    use TimestampEncoding::{Micros, Millis, Nanos, Rfc3339, Seconds};
    for (encoding, value, expected_us) in [
        (Seconds, "1767225600", 1_767_225_600_000_000),
        (Seconds, "1767225600.0000019", 1_767_225_600_000_001),
        (Millis, "1767225600123", 1_767_225_600_123_000),
        (Millis, "-1.0001", -1001),
        (Micros, "1767225600123456", 1_767_225_600_123_456),
        (Nanos, "1767225600123456789", 1_767_225_600_123_456),
        (Nanos, "-1", -1),
        (Rfc3339, r#""2026-01-01T01:00:00.25+01:00""#, 1_767_225_600_250_000),
        (Rfc3339, r#""2026-01-01T00:00:00\u005a""#, 1_767_225_600_000_000),
        (Rfc3339, r#""0001-01-01T00:00:00Z""#, -62_135_596_800_000_000),
        (Rfc3339, r#""9999-12-31T23:59:59Z""#, 253_402_300_799_000_000),
    ] {
        let column = column_of(FieldType::Timestamp(encoding), &[value]);
        let times = column.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), expected_us, "{value} in {encoding}");
    }
}

#[test]
fn wrong_types_and_ranges_say_what_was_found() {
    use Reason::{InvalidJson, OutOfRange, WrongType};
    check_refused(
        &FieldType::Int64,
        &[
            ("\"7\"", WrongType, "field x: expected a whole number, found \"7\""),
            ("7.5", WrongType, "field x: expected a whole number, found 7.5"),
            ("true", WrongType, "field x: expected a whole number, found true"),
            ("{\"a\": [1]}", WrongType, "field x: expected a whole number, found {\"a\": [1]}"),
            ("9223372036854775808", OutOfRange, "field x: 9223372036854775808 is outside of int64, ±9.2e18"),
            ("1e400", OutOfRange, "field x: 1e400 is outside of int64, ±9.2e18"),
            ("NaN", InvalidJson, "at byte 6: expected a value, found NaN }"),
            ("[1", InvalidJson, "at byte 9: expected , or ], found }"),
        ],
    );
    check_refused(&FieldType::UInt64, &[("-1", OutOfRange, "field x: -1 is outside of uint64, 0 to 1.8e19")]);
    check_refused(
        &FieldType::Float64,
        &[
            ("1e400", OutOfRange, "field x: 1e400 is outside of float64, ±1.8e308"),
            ("-1e400", OutOfRange, "field x: -1e400 is outside of float64, ±1.8e308"),
            ("Infinity", InvalidJson, "at byte 6: expected a value, found Infinity }"),
            ("-Infinity", InvalidJson, "at byte 7: expected a digit, found Infinity }"),
            ("\"1\"", WrongType, "field x: expected a number, found \"1\""),
        ],
    );
    check_refused(
        &FieldType::Decimal { scale: 2 },
        &[(
            "1e16",
            OutOfRange,
            "field x: 1e16 is outside of decimal(2), 18 digits of which 2 behind the point",
        )],
    );
    check_refused(
        &FieldType::String,
        &[
            ("7", WrongType, "field x: expected a string, found 7"),
            (
                r#""\ud800""#,
                InvalidJson,
                r#"at byte 7: expected four hexadecimal digits of a whole character, found \ud800" }"#,
            ),
        ],
    );
    check_refused(&FieldType::Bool, &[("1", WrongType, "field x: expected true or false, found 1")]);
    check_refused(
        &FieldType::Timestamp(TimestampEncoding::Rfc3339),
        &[
            ("\"x\"", WrongType, "field x: expected a timestamp like \"2026-01-31T12:00:00Z\", found \"x\""),
            (
                "1767225600",
                WrongType,
                "field x: expected a timestamp like \"2026-01-31T12:00:00Z\", found 1767225600",
            ),
            (
                "\"0000-01-01T00:00:00Z\"",
                OutOfRange,
                "field x: \"0000-01-01T00:00:00Z\" is outside of the times that exist from year 0001 to 9999",
            ),
        ],
    );
    check_refused(
        &FieldType::Timestamp(TimestampEncoding::Millis),
        &[
            ("\"x\"", WrongType, "field x: expected a timestamp as a number since the epoch, found \"x\""),
            (
                "9223372036854776",
                OutOfRange,
                "field x: 9223372036854776 is outside of the times that 64 bits of microseconds hold",
            ),
        ],
    );
    check_refused(
        &list_of(FieldType::Int64),
        &[
            ("7", WrongType, "field x: expected an array, each element a whole number, found 7"),
            ("[1, \"2\"]", WrongType, "field x: expected an array, each element a whole number, found \"2\""),
            ("[[1]]", WrongType, "field x: expected an array, each element a whole number, found [1]"),
            ("[1,]", InvalidJson, "at byte 9: expected a value, found ] }"),
            ("[1 2]", InvalidJson, "at byte 9: expected , or ], found 2] }"),
        ],
    );
}

#[test]
fn what_is_found_is_cut_to_80_characters() {
    let mut decoder = decoder_of(FieldType::Int64);
    let fault = reject(&mut decoder, format!("{{\"x\": \"{}\"}}", "é".repeat(500)));
    let found = fault.detail.rsplit(' ').next().expect("a last word");
    assert_eq!(found, format!("\"{}…", "é".repeat(79)));
}

#[test]
fn missing_and_null() {
    let fields = || {
        vec![
            Field::new("id", FieldType::String).required(),
            Field::new("inner", FieldType::Int64).at("a.b").required(),
            Field::new("free", FieldType::Float64).at("a.c"),
        ]
    };
    let mut decoder = decoder(fields());
    for (payload, field, detail) in [
        ("{}", "id", "field id is required, and absent"),
        (r#"{"id":"i"}"#, "a.b", "field a.b is required, and absent"),
        (r#"{"id":null,"a":{"b":1}}"#, "id", "field id is required, and null"),
        (r#"{"id":"i","a":{"b":null}}"#, "a.b", "field a.b is required, and null"),
        (r#"{"id":"i","a":null}"#, "a.b", "field a.b is required, and absent"),
        (r#"{"id":"i","a":{"c":1.5}}"#, "a.b", "field a.b is required, and absent"),
    ] {
        let fault = reject(&mut decoder, payload);
        assert_eq!((fault.reason, fault.field.as_deref()), (Reason::MissingField, Some(field)), "{payload}");
        assert_eq!(fault.detail, detail);
    }
    let fault = reject(&mut decoder, r#"{"id":"i","a":3}"#);
    assert_eq!((fault.reason, fault.field.as_deref()), (Reason::WrongType, Some("a")));
    assert_eq!(fault.detail, "field a: expected an object, found 3");
    accept(&mut decoder, r#"{"a":{"b":1},"id":"i"}"#);
    let columns = decoder.finish();
    assert_eq!(columns[1].as_primitive::<Int64Type>().value(0), 1);
    assert!(columns[2].is_null(0));
}

#[test]
fn what_is_no_json_document() {
    let mut decoder = decoder_of(FieldType::Int64);
    for payload in [
        "",
        " ",
        "{",
        "}",
        "{\"x\"",
        "{\"x\":",
        "{\"x\":1",
        "{\"x\":1,",
        "{\"x\":1,}",
        "{,}",
        "{\"x\" 1}",
        "{x:1}",
        "{'x':1}",
        "{\"x\":1}}",
        "{\"x\":1} x",
        "{\"x\":1}{\"x\":2}",
        "{\"x\":01}",
        "{\"x\":1.}",
        "{\"x\":+1}",
        "{\"x\":nul}",
        "{\"x\":nulll}",
        "{\"y\":tru}",
        "{\"y\":truee}",
        "{\"y\":[1,2}",
        "{\"y\":{\"a\":1]}",
        "{\"y\":[}",
        "{\"y\":{]}",
        "{\"y\":\"\n\"}",
        "{\"y\":\"\\q\"}",
        "{\"y\":\"\\ud800\"}",
        "{\"\\ud800\":1}",
        "{\"y\":-}",
        "{\"y\":1e}",
        "{\"y\":.5}",
        "{\"y\":{\"a\"}}",
        "{\"y\":{1:2}}",
        "{\"y\":\"open}",
        "nonsense",
        "[1",
        "\"open",
        "\u{feff}{\"x\":1}",
        "{\"x\":1}\u{0}",
        "\u{0}",
        "/**/{}",
        "{\"x\":1 // no\n}",
    ] {
        let fault = reject(&mut decoder, payload);
        assert_eq!(fault.reason, Reason::InvalidJson, "{payload}: {fault}");
        assert_eq!(fault.field, None);
    }
    assert_eq!(reject(&mut decoder, "").detail, "the payload ends at byte 0: expected a value");
}

#[test]
fn json_that_is_no_object() {
    let mut decoder = decoder_of(FieldType::Int64);
    for payload in ["[]", "[{\"x\":1}]", "7", "\"x\"", "null", "true", " [1, 2] "] {
        assert_eq!(reject(&mut decoder, payload).reason, Reason::NotAnObject, "{payload}");
    }
    assert_eq!(reject(&mut decoder, " [1, 2] ").detail, "expected an object, found [1, 2]");
}

#[test]
fn white_space_and_unknown_keys_are_passed_over() {
    let mut decoder = decoder_of(FieldType::Int64);
    accept(
        &mut decoder,
        " \t\r\n{ \"a\" : [ ] , \"b\" : { } , \"c\" : [ 1 , { \"d\" : [ null , true ] } ] ,\n\"x\" : 1 , \"c\" : \"\\ud83d\\ude00\" , \"c\" : 1e999 } \n",
    );
    accept(&mut decoder, r#"{"xx":2,"x":3,"":4}"#);
    assert_eq!(decoder.finish()[0].as_primitive::<Int64Type>().values(), &[1, 3]);
}

#[test]
fn invalid_utf8_is_refused_wherever_it_stands() {
    let mut decoder = decoder_of(FieldType::String);
    for payload in
        [&b"{\"x\":\"\xff\"}"[..], b"{\"\xc3\":1}", b"{\"y\":\"\xed\xa0\x80\"}", b"{}\x80", b"\xff"]
    {
        let fault = reject(&mut decoder, payload);
        assert_eq!((fault.reason, fault.field), (Reason::InvalidUtf8, None));
    }
    assert_eq!(reject(&mut decoder, b"{\"x\":\"\xff\"}").detail, "the bytes at position 6 are not UTF-8");
}

#[test]
fn duplicates_are_refused_however_they_are_written() {
    let mut decoder = decoder(vec![
        Field::new("x", FieldType::Int64),
        Field::new("in_a", FieldType::Int64).at("a.x"),
        Field::new("in_b", FieldType::Int64).at("a.b"),
    ]);
    for (payload, field) in [
        (r#"{"x":1,"x":1}"#, "x"),
        (r#"{"x":null,"x":1}"#, "x"),
        (r#"{"x":1,"\u0078":1}"#, "x"),
        (r#"{"x":1,"y":2,"a":{"b":1},"x":"other"}"#, "x"),
        (r#"{"a":{"x":1,"x":2}}"#, "a.x"),
        (r#"{"a":{"x":1},"a":{"b":2}}"#, "a"),
        (r#"{"a":null,"a":{"b":2}}"#, "a"),
    ] {
        let fault = reject(&mut decoder, payload);
        assert_eq!(
            (fault.reason, fault.field.as_deref()),
            (Reason::DuplicateField, Some(field)),
            "{payload}"
        );
    }
    assert_eq!(reject(&mut decoder, r#"{"x":1,"x":1}"#).detail, "field x occurs twice in one object");
    accept(&mut decoder, r#"{"x":1,"a":{"x":2,"b":3}}"#);
    accept(&mut decoder, r#"{"a":{"x":5,"b":6},"x":4,"unknown":1,"unknown":2}"#);
    let columns = decoder.finish();
    assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[1, 4]);
    assert_eq!(columns[1].as_primitive::<Int64Type>().values(), &[2, 5]);
    assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[3, 6]);
}

#[test]
fn keys_may_need_escapes() {
    let mut quoted = Field::new("quoted", FieldType::Int64);
    quoted.path = vec!["a\"b".into()];
    let mut slashed = Field::new("slashed", FieldType::Int64);
    slashed.path = vec!["a\\b".into()];
    let mut decoder = decoder(vec![quoted, slashed, Field::new("x", FieldType::Int64)]);
    accept(&mut decoder, r#"{"a\"b":1,"a\\b":2,"\u0078":3}"#);
    // `a\b` in JSON is an a and a backspace, though its bytes are those of the second field's key.
    accept(&mut decoder, r#"{"a\"b":4,"a\b":5,"x":6}"#);
    let columns = decoder.finish();
    assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[1, 4]);
    assert_eq!(columns[1].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), None]);
    assert_eq!(columns[2].as_primitive::<Int64Type>().values(), &[3, 6]);
}

#[test]
fn lists_keep_nulls_and_emptiness_apart() {
    let column = column_of(list_of(FieldType::Float64), &["[1, 2.5,null ]", "[ ]", "null", "[3]"]);
    let lists = column.as_list::<i32>();
    let row = |i| lists.value(i).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
    assert_eq!(row(0), [Some(1.0), Some(2.5), None]);
    assert!(lists.is_valid(1) && row(1).is_empty());
    assert!(lists.is_null(2));
    assert_eq!(row(3), [Some(3.0)]);
}

#[test]
fn arrays_of_objects_become_lists_of_equal_length() {
    let list = || list_of(FieldType::Int64);
    let fields =
        || vec![Field::new("load", list()).at("gpus[].load"), Field::new("heat", list()).at("gpus[].t.c")];
    let mut decoder = decoder(fields());
    accept(
        &mut decoder,
        r#"{"gpus":[{"load":1,"t":{"c":7}},{"t":{"c":8,"f":0}},null,{},{"t":null,"load":null}]}"#,
    );
    accept(&mut decoder, r#"{"gpus":[]}"#);
    accept(&mut decoder, r#"{"gpus":null}"#);
    accept(&mut decoder, r#"{}"#);
    for (payload, reason, field) in [
        (r#"{"gpus":[{"load":1},{"load":2,"load":3}]}"#, Reason::DuplicateField, "gpus[].load"),
        (r#"{"gpus":[{"load":1},{"load":"2"}]}"#, Reason::WrongType, "gpus[].load"),
        (r#"{"gpus":[{"load":1},7]}"#, Reason::WrongType, "gpus[]"),
        (r#"{"gpus":{"load":1}}"#, Reason::WrongType, "gpus[]"),
        (r#"{"gpus":[],"gpus":[]}"#, Reason::DuplicateField, "gpus[]"),
    ] {
        let fault = reject(&mut decoder, payload);
        assert_eq!((fault.reason, fault.field.as_deref()), (reason, Some(field)), "{payload}");
    }
    accept(&mut decoder, r#"{"gpus":[{"load":9}]}"#);
    let columns = decoder.finish();
    let row = |column: usize, i| {
        let list = columns[column].as_list::<i32>();
        list.is_valid(i).then(|| list.value(i).as_primitive::<Int64Type>().iter().collect::<Vec<_>>())
    };
    assert_eq!(row(0, 0), Some(vec![Some(1), None, None, None, None]));
    assert_eq!(row(1, 0), Some(vec![Some(7), Some(8), None, None, None]));
    assert_eq!((row(0, 1), row(1, 1)), (Some(vec![]), Some(vec![])));
    assert_eq!((row(0, 2), row(0, 3)), (None, None));
    assert_eq!((row(0, 4), row(1, 4)), (Some(vec![Some(9)]), Some(vec![None])));

    let required = fields().into_iter().map(Field::required).collect();
    let mut decoder = self::decoder(required);
    assert_eq!(reject(&mut decoder, "{}").reason, Reason::MissingField);
    assert_eq!(reject(&mut decoder, r#"{"gpus":null}"#).reason, Reason::MissingField);
    accept(&mut decoder, r#"{"gpus":[{}]}"#);
}

#[test]
fn deep_nesting_ends_in_a_rejection() {
    let mut decoder = decoder(vec![
        Field::new("x", FieldType::Int64),
        Field::new("l", list_of(FieldType::Int64)),
        Field::new("o", FieldType::Int64).at("o.o"),
        Field::new("g", list_of(FieldType::Int64)).at("g[].g"),
    ]);
    for key in ["unknown", "x", "l", "o", "g"] {
        for (opening, closing) in [("[", "]"), ("{\"o\":", "}"), ("[{\"g\":", "}]")] {
            let deep =
                |levels| format!("{{\"{key}\":{}1{}}}", opening.repeat(levels), closing.repeat(levels));
            let fault = reject(&mut decoder, deep(100_000));
            assert_eq!(fault.reason, Reason::InvalidJson, "{key} {opening}: {fault}");
            assert!(fault.detail.contains("nested deeper than 128 levels"), "{fault}");
            assert_eq!(reject(&mut decoder, &deep(100_000)[..50_000]).reason, Reason::InvalidJson);
        }
    }
    assert_eq!(reject(&mut decoder, "[".repeat(100_000)).reason, Reason::InvalidJson);
    let nested = |levels: usize| format!("{{\"u\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    accept(&mut decoder, &nested(127));
    assert_eq!(reject(&mut decoder, nested(128)).reason, Reason::InvalidJson);
}

#[test]
fn large_payloads_are_refused_by_their_length_alone() {
    let mut decoder = decoder_of(FieldType::String);
    let payload = |length: usize| format!("{{\"x\":\"{}\"}}", "v".repeat(length));
    let fault = reject(&mut decoder, payload(10_000_000));
    assert_eq!(fault.reason, Reason::TooLarge);
    assert_eq!(fault.detail, "the payload has 10000008 bytes, more than the 8388608 allowed");
    accept(&mut decoder, &payload(PAYLOAD_BYTES_MAX - 8));
    let mut decoder = decoder.with_payload_bytes_max(20_000_000);
    accept(&mut decoder, &payload(10_000_000));
    assert_eq!(decoder.finish()[0].as_string::<i32>().value_length(1), 10_000_000);
    let digits = format!("{{\"x\":{}}}", "9".repeat(5_000_000));
    let mut decoder = decoder_of(FieldType::Decimal { scale: 2 });
    assert_eq!(reject(&mut decoder, digits).reason, Reason::OutOfRange);
}

#[test]
fn columns_that_are_not_wanted_are_checked() {
    let fields = vec![
        Field::new("a", FieldType::Int64),
        Field::new("b", FieldType::String).required(),
        Field::new("c", list_of(FieldType::UInt64)),
        Field::new("d", list_of(FieldType::Float64)).at("g[].d"),
        Field::new("e", FieldType::Timestamp(TimestampEncoding::Millis)),
    ];
    let mut decoder = Decoder::new(Format::Json, &schema(fields), &[4, 0]);
    for (payload, reason) in [
        (r#"{"a":1}"#, Reason::MissingField),
        (r#"{"a":1,"b":2}"#, Reason::WrongType),
        (r#"{"a":1,"b":"","c":[-1]}"#, Reason::OutOfRange),
        (r#"{"a":1,"b":"","g":[{"d":true}]}"#, Reason::WrongType),
    ] {
        assert_eq!(reject(&mut decoder, payload).reason, reason, "{payload}");
    }
    accept(&mut decoder, r#"{"a":1,"b":"x","c":[1],"g":[{"d":1},{}],"e":5}"#);
    assert_eq!(decoder.last_timestamp(4), Some(5000));
    assert_eq!(
        (decoder.last_timestamp(0), decoder.last_timestamp(1), decoder.last_timestamp(9)),
        (None, None, None)
    );
    accept(&mut decoder, r#"{"a":2,"b":"x","e":null}"#);
    assert_eq!(decoder.last_timestamp(4), None);
    let columns = decoder.finish();
    assert_eq!(columns.len(), 2);
    assert_eq!(columns[0].as_primitive::<TimestampMicrosecondType>().value(0), 5000);
    assert_eq!(columns[1].as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(decoder.last_timestamp(4), None);
}

#[test]
fn no_columns_at_all_still_counts_rows() {
    let mut decoder = Decoder::new(Format::Json, &schema(vec![Field::new("a", FieldType::Int64)]), &[]);
    accept(&mut decoder, r#"{"a":1}"#);
    assert_eq!(reject(&mut decoder, r#"{"a":"1"}"#).reason, Reason::WrongType);
    accept(&mut decoder, "{}");
    assert_eq!(decoder.len(), 2);
    decoder.pop();
    assert_eq!(decoder.len(), 1);
    assert!(decoder.finish().is_empty());
    assert!(decoder.is_empty());
}

#[test]
fn dirty_rows_leave_their_neighbours_unharmed() {
    let fields = vec![
        Field::new("n", FieldType::Int64).required(),
        Field::new("s", FieldType::String),
        Field::new("l", list_of(FieldType::String)),
        Field::new("g", list_of(FieldType::Int64)).at("g[].v"),
    ];
    let mut decoder = decoder(fields);
    let dirt = [
        r#"{"n":1,"s":"dirty","l":["dirty","dirty"],"g":[{"v":1},{"v":2}]"#,
        r#"{"g":[{"v":1},{"v":2}],"l":["dirty"],"s":"dirty"}"#,
        r#"{"n":1,"s":"dirty \ud83d\ude00","l":["dirty",7]}"#,
        r#"{"n":1,"l":null,"s":null,"g":[{"v":"x"}]}"#,
        r#"{"n":1,"s":"dirty","n":2}"#,
        r#"{"n":1.5}"#,
    ];
    for i in 0..200 {
        reject(&mut decoder, dirt[i % dirt.len()]);
        accept(&mut decoder, &format!(r#"{{"n":{i},"s":"s{i}","l":["l{i}",null],"g":[{{"v":{i}}}]}}"#));
        if i % 3 == 0 {
            accept(&mut decoder, r#"{"s":"late","n":-1,"l":[],"g":null}"#);
            decoder.pop();
        }
    }
    let columns = decoder.finish();
    for i in 0..200 {
        assert_eq!(columns[0].as_primitive::<Int64Type>().value(i), i as i64);
        assert_eq!(columns[1].as_string::<i32>().value(i), format!("s{i}"));
        let list = columns[2].as_list::<i32>().value(i);
        assert_eq!(
            list.as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some(format!("l{i}").as_str()), None]
        );
        assert_eq!(columns[3].as_list::<i32>().value(i).as_primitive::<Int64Type>().values(), &[i as i64]);
    }
    assert!(columns.iter().all(|column| column.len() == 200 && column.null_count() == 0));
}

#[test]
#[should_panic(expected = "a decoder's columns are distinct")]
fn a_column_twice_is_a_bug() {
    Decoder::new(Format::Json, &schema(vec![Field::new("a", FieldType::Int64)]), &[0, 0]);
}
