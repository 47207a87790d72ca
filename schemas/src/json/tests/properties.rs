//! Random rows, written in random ways and damaged at random, against serde_json.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::decoder::{Decoder, Format};
use crate::field::{Field, FieldType, TimestampEncoding};
use crate::rejection::Reason;
use crate::schema::Schema;

/// A row of [`row_schema`].
#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: String,
    count: Option<u64>,
    delta: Option<i64>,
    ratio: Option<f64>,
    micro_usd: Option<i64>,
    ok: Option<bool>,
    at_ms: Option<i64>,
    inner: Option<String>,
    values: Option<Vec<Option<f64>>>,
    loads: Option<Vec<Option<i64>>>,
}

fn row_schema() -> Schema {
    let list = |element| FieldType::List(Box::new(element));
    let fields = vec![
        Field::new("id", FieldType::String).required(),
        Field::new("count", FieldType::UInt64),
        Field::new("delta", FieldType::Int64),
        Field::new("ratio", FieldType::Float64),
        Field::new("cost", FieldType::Decimal { scale: 6 }),
        Field::new("ok", FieldType::Bool),
        Field::new("at", FieldType::Timestamp(TimestampEncoding::Millis)),
        Field::new("inner", FieldType::String).at("a.b.inner"),
        Field::new("values", list(FieldType::Float64)),
        Field::new("loads", list(FieldType::Int64)).at("g[].load"),
    ];
    Schema { name: "row".into(), description: None, fields }
}

fn float() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has finite numbers only", |x| x.is_finite())
}

fn row() -> impl Strategy<Value = Row> {
    let money = -999_999_999_999_999_999_i64..=999_999_999_999_999_999;
    let text = || prop_oneof!["[a-z0-9-]{0,40}", "\\PC{0,12}", "(?s).{0,6}"];
    let scalars = (
        text(),
        option::of(any::<u64>()),
        option::of(any::<i64>()),
        option::of(float()),
        option::of(money),
        option::of(any::<bool>()),
        option::of(-9_000_000_000_000_000_i64..9_000_000_000_000_000),
    );
    let nested = (
        option::of(text()),
        option::of(vec(option::of(float()), 0..5)),
        option::of(vec(option::of(any::<i64>()), 0..5)),
    );
    (scalars, nested).prop_map(|(scalars, (inner, values, loads))| {
        let (id, count, delta, ratio, micro_usd, ok, at_ms) = scalars;
        Row { id, count, delta, ratio, micro_usd, ok, at_ms, inner, values, loads }
    })
}

/// The choices of a careless producer, drawn one by one from random bytes.
struct Whims<'a> {
    bytes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Whims<'_> {
    fn pick(&mut self, below: usize) -> usize {
        usize::from(*self.bytes.next().expect("a cycle of at least one byte")) % below
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t", "  \r\n"][self.pick(6)]
    }

    /// An object's text: its members shuffled, unknown ones among them, space anywhere.
    fn object(&mut self, mut members: Vec<(String, String)>) -> String {
        for i in 0..self.pick(3) {
            let unknown =
                [r#"{"id":[1,{}],"x":null}"#, "[]", "-1.5e3", r#""\u00e9\"}""#, "true"][self.pick(5)];
            members.push((format!("unknown_{i}"), unknown.to_owned()));
        }
        for i in (1..members.len()).rev() {
            members.swap(i, self.pick(i + 1));
        }
        let mut text = format!("{}{{", self.space());
        for (i, (key, value)) in members.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let key = match self.pick(8) {
                0 => key.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
                _ => key.clone(),
            };
            let spaces = [self.space(), self.space(), self.space(), self.space()];
            text += &format!("{comma}{}\"{key}\"{}:{}{value}{}", spaces[0], spaces[1], spaces[2], spaces[3]);
        }
        text + self.space() + "}" + self.space()
    }

    fn array(&mut self, elements: Vec<String>) -> String {
        let elements: Vec<String> =
            elements.into_iter().map(|element| self.space().to_owned() + &element + self.space()).collect();
        format!("[{}{}]", self.space(), elements.join(","))
    }

    /// A member, or for a missing value null or nothing.
    fn member<T>(
        &mut self,
        key: &str,
        value: Option<T>,
        text: impl FnOnce(T) -> String,
    ) -> Option<(String, String)> {
        match value {
            Some(value) => Some((key.to_owned(), text(value))),
            None => (self.pick(2) == 0).then(|| (key.to_owned(), "null".to_owned())),
        }
    }

    fn payload(&mut self, row: &Row) -> String {
        let number = |x: f64| serde_json::to_string(&x).expect("finite");
        let mut members = vec![Some(("id".to_owned(), json!(row.id).to_string()))];
        members.push(self.member("count", row.count, |x| x.to_string()));
        members.push(self.member("delta", row.delta, |x| x.to_string()));
        members.push(self.member("ratio", row.ratio, number));
        members.push(self.member("cost", row.micro_usd, |x| {
            let sign = if x < 0 { "-" } else { "" };
            format!("{sign}{}.{:06}", x.unsigned_abs() / 1_000_000, x.unsigned_abs() % 1_000_000)
        }));
        members.push(self.member("ok", row.ok, |x| x.to_string()));
        members.push(self.member("at", row.at_ms, |x| x.to_string()));
        let inner = self.member("inner", row.inner.clone(), |x| json!(x).to_string());
        if inner.is_some() || self.pick(2) == 0 {
            let b = self.object(inner.into_iter().collect());
            members.push(Some(("a".to_owned(), self.object(vec![("b".to_owned(), b)]))));
        }
        if let Some(values) = &row.values {
            let elements = values.iter().map(|x| x.map_or("null".to_owned(), number)).collect();
            members.push(Some(("values".to_owned(), self.array(elements))));
        }
        if let Some(loads) = &row.loads {
            let mut objects = Vec::new();
            for load in loads {
                let load = self.member("load", *load, |x| x.to_string());
                objects.push(self.object(load.into_iter().collect()));
            }
            members.push(Some(("g".to_owned(), self.array(objects))));
        }
        self.object(members.into_iter().flatten().collect())
    }
}

/// The columns' row number `i`, as it was before writing.
fn row_of(columns: &[ArrayRef], i: usize) -> Row {
    let valid = |column: usize| columns[column].is_valid(i).then_some(&columns[column]);
    Row {
        id: columns[0].as_string::<i32>().value(i).to_owned(),
        count: valid(1).map(|column| column.as_primitive::<UInt64Type>().value(i)),
        delta: valid(2).map(|column| column.as_primitive::<Int64Type>().value(i)),
        ratio: valid(3).map(|column| column.as_primitive::<Float64Type>().value(i)),
        micro_usd: valid(4).map(|column| column.as_primitive::<Decimal128Type>().value(i) as i64),
        ok: valid(5).map(|column| column.as_boolean().value(i)),
        at_ms: valid(6).map(|column| column.as_primitive::<TimestampMicrosecondType>().value(i) / 1000),
        inner: valid(7).map(|column| column.as_string::<i32>().value(i).to_owned()),
        values: valid(8)
            .map(|column| column.as_list::<i32>().value(i).as_primitive::<Float64Type>().iter().collect()),
        loads: valid(9)
            .map(|column| column.as_list::<i32>().value(i).as_primitive::<Int64Type>().iter().collect()),
    }
}

fn all_columns() -> Decoder {
    let schema = row_schema();
    let columns: Vec<usize> = (0..schema.fields.len()).collect();
    Decoder::new(Format::Json, &schema, &columns)
}

/// A schema whose types serde_json's tree can be asked for.
fn plain_schema() -> Schema {
    let fields = vec![
        Field::new("s", FieldType::String).required(),
        Field::new("i", FieldType::Int64),
        Field::new("f", FieldType::Float64),
        Field::new("b", FieldType::Bool),
        Field::new("n", FieldType::String).at("o.n"),
        Field::new("l", FieldType::List(Box::new(FieldType::Float64))),
    ];
    Schema { name: "plain".into(), description: None, fields }
}

/// Whether a key of the outermost object comes twice.
fn has_equal_keys(payload: &[u8]) -> bool {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Collect;
            impl<'de> serde::de::Visitor<'de> for Collect {
                type Value = Keys;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some(key) = map.next_key::<String>()? {
                        map.next_value::<serde::de::IgnoredAny>()?;
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            deserializer.deserialize_map(Collect)
        }
    }
    serde_json::from_slice::<Keys>(payload).is_ok_and(|Keys(mut keys)| {
        let all = keys.len();
        keys.sort();
        keys.dedup();
        keys.len() < all
    })
}

/// What serde_json's tree says about a row of [`plain_schema`].
fn fits_plain_schema(row: &Map<String, Value>) -> bool {
    let optional = |value: Option<&Value>, fits: fn(&Value) -> bool| {
        value.is_none_or(|value| value.is_null() || fits(value))
    };
    let whole =
        |value: &Value| value.is_i64() || value.as_f64().is_some_and(|x| x.fract() == 0.0 && x.abs() < 9e18);
    let numbers = |value: &Value| {
        value.as_array().is_some_and(|array| array.iter().all(|x| x.is_null() || x.is_number()))
    };
    let nested = |value: &Value| {
        let text = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || value.is_string());
        value.as_object().is_some_and(|object| text(object.get("n")))
    };
    row.get("s").is_some_and(Value::is_string)
        && optional(row.get("i"), whole)
        && optional(row.get("f"), Value::is_number)
        && optional(row.get("b"), Value::is_boolean)
        && optional(row.get("o"), nested)
        && optional(row.get("l"), numbers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_come_back_however_they_are_written(
        rows in vec(row(), 1..12),
        whims in vec(any::<u8>(), 1..200),
    ) {
        let mut whims = Whims { bytes: whims.iter().cycle() };
        let mut decoder = all_columns();
        for row in &rows {
            let payload = whims.payload(row);
            let parsed = serde_json::from_str::<Value>(&payload);
            prop_assert!(parsed.is_ok(), "the test writes JSON: {}", payload);
            if whims.pick(3) == 0 {
                decoder.push(Some(payload.as_bytes())).expect("accepted below as well");
                decoder.pop();
            }
            if whims.pick(3) == 0 {
                let cut = whims.pick(payload.trim_end().len());
                prop_assert!(decoder.push(Some(&payload.as_bytes()[..cut])).is_err());
            }
            if let Err(fault) = decoder.push(Some(payload.as_bytes())) {
                return Err(TestCaseError::fail(format!("{payload}: {fault}")));
            }
        }
        let columns = decoder.finish();
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(&row_of(&columns, i), row);
        }
    }

    /// The key guess, the stamps and the buffers of earlier rows must not show in a row.
    #[test]
    fn a_row_does_not_depend_on_those_before_it(
        rows in vec((row(), vec(any::<u8>(), 1..40), option::of((any::<usize>(), any::<u8>()))), 1..12),
    ) {
        let mut used = all_columns();
        for (row, whims, damage) in &rows {
            let mut payload = Whims { bytes: whims.iter().cycle() }.payload(row).into_bytes();
            if let Some((at, byte)) = damage {
                let at = at % payload.len();
                payload[at] = *byte;
            }
            let mut fresh = all_columns();
            let expected = fresh.push(Some(&payload));
            prop_assert_eq!(used.push(Some(&payload)), expected);
            let expected = fresh.finish();
            let found = used.finish();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn damage_is_accepted_only_where_serde_json_accepts_it(
        template in 0_usize..4,
        damages in vec((any::<usize>(), prop_oneof![any::<u8>().prop_map(Some), Just(None), "[\\[\\]{}\",:0-9.eE+ \\\\-]".prop_map(|c| Some(c.as_bytes()[0]))]), 0..4),
        cut in option::weighted(0.2, any::<usize>()),
    ) {
        let templates = [
            r#"{"s":"text \u00e9","i":12,"f":-1.5e3,"b":true,"o":{"n":"x","m":[1,{"y":null}]},"l":[1,null,2.5],"u":"v"}"#,
            r#"{ "l" : [ ] , "s" : "" , "o" : null , "i" : 1.0 }"#,
            r#"{"u":[[[]],{"s":1}],"o":{},"f":null,"s":"\\\"","b":false}"#,
            r#"{"s":"é😀","i":-9007199254740993,"f":0.1}"#,
        ];
        let mut payload = templates[template].as_bytes().to_vec();
        for (at, byte) in damages {
            let at = at % payload.len().max(1);
            match byte {
                Some(byte) if at < payload.len() => payload[at] = byte,
                _ if at < payload.len() => { payload.remove(at); }
                _ => {}
            }
        }
        if let Some(cut) = cut {
            payload.truncate(cut % (payload.len() + 1));
        }
        let schema = plain_schema();
        let mut decoder = Decoder::new(Format::Json, &schema, &[0, 1, 2, 3, 4, 5]);
        let found = decoder.push(Some(&payload));
        let shown = String::from_utf8_lossy(&payload).into_owned();
        match &found {
            // serde_json keeps the last of equal keys, and refuses numbers that no f64 holds even where nobody reads them. The first
            // of equal keys may be refused for what it holds, before the second shows that it is one.
            Err(fault) if fault.reason == Reason::DuplicateField => {}
            Err(_) if has_equal_keys(&payload) => {}
            _ => {
                let parsed = serde_json::from_slice::<Value>(&payload);
                let unread_range = parsed.as_ref().is_err_and(|fault| fault.to_string().contains("out of range"));
                if !unread_range {
                    let fits = parsed.as_ref().is_ok_and(|value| value.as_object().is_some_and(fits_plain_schema));
                    prop_assert_eq!(found.is_ok(), fits, "{}: {:?} against {:?}", shown, found, parsed);
                }
            }
        }
        prop_assert_eq!(decoder.len(), usize::from(found.is_ok()));
        let columns = decoder.finish();
        prop_assert!(columns.iter().all(|column| column.len() == usize::from(found.is_ok())));
    }
}
