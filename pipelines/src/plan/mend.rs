//! Mends: which refused records to take up again, and what becomes of their values and keys, as SQL expressions over what was kept.
//!
//! ```text
//!   refused rows ─▶ + key and value as text ─▶ where ─▶ set value, set key ─▶ records, and those that got no value
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use thalweg_operators::source::refused;

use super::check::Scope;
use super::expression::{Expressions, Place};
use super::messages::{self, Context, Finding};
use super::types::type_name;
use crate::spec::suggest;

/// The columns that expressions see: those of refused rows, with `key` and `value` as text (null where they are not UTF-8) and as bytes.
pub(crate) const COLUMNS: [&str; 12] = [
    "source",
    "topic",
    "partition",
    "offset",
    "timestamp",
    "key",
    "key_bytes",
    "value",
    "value_bytes",
    "reason",
    "field",
    "detail",
];

/// What can be given another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Value,
    Key,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Value => "value",
            Part::Key => "key",
        }
    }
}

/// Something wrong with a mend: which one, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendProblem {
    /// The option as it was written: `--set value = …`.
    pub option: String,
    /// What is wrong with it.
    pub message: String,
    /// How to put it right.
    pub hint: Option<String>,
}

impl std::error::Error for MendProblem {}

impl fmt::Display for MendProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// A compiled expression, and the option that it is from.
#[derive(Debug, Clone)]
struct Expression {
    option: String,
    expr: Arc<dyn PhysicalExpr>,
}

/// A condition and new values, ready for any number of batches.
#[derive(Debug, Clone)]
pub(crate) struct Mend {
    condition: Option<Expression>,
    value: Option<Expression>,
    key: Option<Expression>,
    columns: SchemaRef,
}

/// The refused rows that a condition selects, with what becomes of them.
#[derive(Debug)]
pub(crate) struct Mended {
    /// As they were.
    pub(crate) rows: RecordBatch,
    pub(crate) key: BinaryArray,
    pub(crate) value: BinaryArray,
    /// Whether the value is an expression's: then a null one means that it has none to give.
    pub(crate) value_is_set: bool,
}

impl Mend {
    /// Checks a condition, and new values in the form `value = <expression>` or `key = <expression>`.
    ///
    /// # Errors
    /// The first problem.
    pub(crate) fn new(condition: Option<&str>, sets: &[String]) -> Result<Mend, MendProblem> {
        let expressions = Expressions::new();
        let scope = Scope::of(fields());
        let columns = Arc::new(Schema::new(scope.columns.clone()));
        let mut mend = Mend { condition: None, value: None, key: None, columns };
        if let Some(text) = condition {
            let option = format!("--where {text}");
            let compiled = expressions
                .parse(text, &scope, Place::Record)
                .and_then(|expr| expressions.compile_condition(&expr, &scope.columns))
                .map_err(|findings| problem(&option, messages::first(findings)))?;
            mend.condition = Some(Expression { option, expr: compiled.expr });
        }
        for text in sets {
            let option = format!("--set {text}");
            let (part, sql) = assignment(text).map_err(|finding| problem(&option, finding))?;
            let expr = expressions
                .parse(sql, &scope, Place::Record)
                .and_then(|expr| bytes_or_text(&expressions, &expr, &scope.columns, part))
                .map_err(|findings| problem(&option, messages::first(findings)))?;
            let slot = match part {
                Part::Value => &mut mend.value,
                Part::Key => &mut mend.key,
            };
            if slot.is_some() {
                let finding =
                    Finding::new(format!("{} is set twice", part.name()), "put both into one expression");
                return Err(problem(&option, finding));
            }
            *slot = Some(Expression { option, expr });
        }
        Ok(mend)
    }

    /// Selects and mends rows with the columns of [`refused::schema`].
    ///
    /// # Errors
    /// An expression that fails for a row; which row, too.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<Mended, MendProblem> {
        let all = self.with_texts(batch);
        // What is not selected can't make an expression fail either.
        let (rows, all) = match &self.condition {
            None => (batch.clone(), all),
            Some(condition) => {
                let selected = evaluate(condition, &all)?;
                let selected: &BooleanArray = selected.as_boolean();
                let filter = |batch| {
                    filter_record_batch(batch, selected)
                        .expect("invariant: a condition has a value for each row")
                };
                (filter(batch), filter(&all))
            }
        };
        let bytes = |expression: &Option<Expression>, column: &str| match expression {
            None => Ok(rows[column].as_binary::<i32>().clone()),
            Some(expression) => evaluate(expression, &all).map(|array| as_bytes(&array)),
        };
        let (value, key) = (bytes(&self.value, "value")?, bytes(&self.key, "key")?);
        Ok(Mended { key, value, value_is_set: self.value.is_some(), rows })
    }

    fn with_texts(&self, batch: &RecordBatch) -> RecordBatch {
        let text = |name: &str| -> ArrayRef {
            let bytes = batch[name].as_binary::<i32>();
            Arc::new(bytes.iter().map(|bytes| std::str::from_utf8(bytes?).ok()).collect::<StringArray>())
        };
        let columns = COLUMNS.iter().map(|name| match name.strip_suffix("_bytes") {
            Some(name) => Arc::clone(&batch[name]),
            None if matches!(*name, "key" | "value") => text(name),
            None => Arc::clone(&batch[*name]),
        });
        RecordBatch::try_new(Arc::clone(&self.columns), columns.collect())
            .expect("invariant: refused rows have the columns of refused rows")
    }
}

fn fields() -> Vec<Field> {
    let kept = refused::schema();
    let field = |name: &&str| {
        let of = kept.field_with_name(name.strip_suffix("_bytes").unwrap_or(name));
        let of = of.expect("invariant: the columns are those of refused rows");
        let text = matches!(*name, "key" | "value");
        let data_type = if text { DataType::Utf8 } else { of.data_type().clone() };
        Field::new(*name, data_type, of.is_nullable())
    };
    COLUMNS.iter().map(field).collect()
}

fn assignment(text: &str) -> Result<(Part, &str), Finding> {
    let shape = "write value = <expression> or key = <expression>";
    let (name, sql) = text.split_once('=').ok_or_else(|| Finding::new("this sets nothing", shape))?;
    let part = match name.trim() {
        "value" => Part::Value,
        "key" => Part::Key,
        other => {
            let hint = match suggest::nearest(other, ["value", "key"]) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => shape.to_owned(),
            };
            return Err(Finding::new(format!("\"{other}\" can't be set, only value and key can"), hint));
        }
    };
    if sql.trim().is_empty() {
        return Err(Finding::new("the expression is missing", shape));
    }
    Ok((part, sql))
}

fn bytes_or_text(
    expressions: &Expressions,
    expr: &datafusion::logical_expr::Expr,
    fields: &[Field],
    part: Part,
) -> Result<Arc<dyn PhysicalExpr>, Vec<Finding>> {
    let compiled = expressions.compile(expr, fields)?;
    let wanted = match &compiled.data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        other => {
            let message =
                format!("{} is text or bytes, and this is of type {}", part.name(), type_name(other));
            return Err(vec![Finding::new(message, "cast it: cast(… as varchar)")]);
        }
    };
    Ok(expressions.compile_as(expr, fields, &wanted)?.expr)
}

fn as_bytes(array: &ArrayRef) -> BinaryArray {
    match array.data_type() {
        DataType::Utf8 => BinaryArray::from(array.as_string::<i32>().clone()),
        _ => array.as_binary::<i32>().clone(),
    }
}

fn evaluate(expression: &Expression, rows: &RecordBatch) -> Result<ArrayRef, MendProblem> {
    let array = |rows: &RecordBatch| expression.expr.evaluate(rows)?.into_array(rows.num_rows());
    array(rows).map_err(|error| {
        // Only now is it worth finding out whose fault it is.
        let alone = |row| array(&rows.slice(row, 1)).err().map(|error| (row, error));
        let found = (0..rows.num_rows()).find_map(alone);
        failed(expression, rows, found, &error)
    })
}

fn failed(
    expression: &Expression,
    rows: &RecordBatch,
    found: Option<(usize, DataFusionError)>,
    error: &DataFusionError,
) -> MendProblem {
    let whose = found.as_ref().map_or_else(String::new, |(row, _)| {
        let topic = rows["topic"].as_string::<i32>().value(*row);
        let partition = rows["partition"].as_primitive::<Int32Type>().value(*row);
        let offset = rows["offset"].as_primitive::<Int64Type>().value(*row);
        format!(", for the record at offset {offset} of {topic}/{partition}")
    });
    let context = Context { sql: "", columns: &[], functions: &[], usage: &|_| None };
    let explained = messages::explain(found.as_ref().map_or(error, |(_, error)| error), &context);
    MendProblem {
        option: expression.option.clone(),
        message: format!("{}{whose}", explained.message),
        hint: Some("leave such records out with --where, or write try_cast(…), which gives null".to_owned()),
    }
}

fn problem(option: &str, finding: Finding) -> MendProblem {
    MendProblem { option: option.to_owned(), message: finding.message, hint: finding.hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, TimestampMicrosecondArray};
    use thalweg_schemas::time::timestamp_type;

    /// Key, value, reason.
    type Refused<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a str);
    /// Key, value.
    type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

    /// Offsets count from 100.
    fn refused_rows(rows: &[Refused<'_>]) -> RecordBatch {
        let count = rows.len();
        let texts = |text: &str| Arc::new(StringArray::from(vec![text; count])) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            texts("events"),
            texts("clicks"),
            Arc::new(Int32Array::from_iter_values((0..count).map(|row| row as i32 % 2))),
            Arc::new(Int64Array::from_iter_values(100..100 + count as i64)),
            Arc::new(
                TimestampMicrosecondArray::from(vec![1_772_452_800_000_000; count])
                    .with_data_type(timestamp_type()),
            ),
            Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.0))),
            Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.1))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2))),
            Arc::new(StringArray::from(vec![None::<&str>; count])),
            texts("something is wrong"),
        ];
        RecordBatch::try_new(refused::schema(), columns).unwrap()
    }

    fn sets(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn mended(condition: Option<&str>, set: &[&str], rows: &RecordBatch) -> Vec<KeyValue> {
        let mended = Mend::new(condition, &sets(set)).unwrap().apply(rows).unwrap();
        let owned =
            |array: &BinaryArray| array.iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect::<Vec<_>>();
        owned(&mended.key).into_iter().zip(owned(&mended.value)).collect()
    }

    fn wrong(condition: Option<&str>, set: &[&str]) -> String {
        Mend::new(condition, &sets(set)).unwrap_err().to_string()
    }

    #[test]
    fn values_and_keys_are_text_where_they_are_and_bytes_always() {
        let rows = refused_rows(&[
            (Some(b"k"), Some(b"{\"a\": NaN}"), "invalid_json"),
            (None, Some(b"\xff{}"), "invalid_utf8"),
            (Some(b"\xfe"), None, "no_value"),
        ]);
        let bytes = |bytes: &[u8]| Some(bytes.to_vec());
        assert_eq!(
            mended(None, &["value = replace(value, 'NaN', 'null')"], &rows),
            [(bytes(b"k"), bytes(b"{\"a\": null}")), (None, None), (bytes(b"\xfe"), None)]
        );
        assert_eq!(
            mended(None, &["value=value_bytes", "key = coalesce(key, concat('p', partition))"], &rows),
            [(bytes(b"k"), bytes(b"{\"a\": NaN}")), (bytes(b"p1"), bytes(b"\xff{}")), (bytes(b"p0"), None)]
        );
        assert_eq!(
            mended(None, &[], &rows),
            [(bytes(b"k"), bytes(b"{\"a\": NaN}")), (None, bytes(b"\xff{}")), (bytes(b"\xfe"), None)]
        );
        assert_eq!(mended(Some("reason = 'no_value'"), &["key = null"], &rows), [(None, None)]);
    }

    #[test]
    fn every_column_can_be_named_as_it_is() {
        let rows =
            refused_rows(&[(Some(b"k"), Some(b"{}"), "wrong_type"), (None, Some(b"[]"), "not_an_object")]);
        for condition in [
            "source = 'events' and topic = 'clicks'",
            "partition = 0 and offset < 101",
            "timestamp > timestamp '2026-01-01T00:00:00Z' and offset = 100",
            "key = 'k' and value = '{}'",
            "value_bytes = '{}' and key_bytes is not null",
            "field is null and detail like 'something%' and reason in ('wrong_type')",
        ] {
            let selected = mended(Some(condition), &[], &rows);
            assert_eq!(selected.len(), if condition.contains("topic") { 2 } else { 1 }, "{condition}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_option_and_what_to_write() {
        let text = wrong(Some("reson = 'late'"), &[]);
        assert!(
            text.starts_with("--where reson = 'late': unknown column \"reson\"; did you mean \"reason\"?"),
            "{text}"
        );
        let text = wrong(Some("offset"), &[]);
        assert!(text.contains("a condition must be true or false"), "{text}");
        let text = wrong(None, &["value = replce(value, 'a', 'b')"]);
        assert!(
            text.starts_with("--set value = replce(") && text.contains("did you mean \"replace\"?"),
            "{text}"
        );
        let text = wrong(None, &["value = offset"]);
        assert!(text.contains("value is text or bytes") && text.contains("cast(… as varchar)"), "{text}");
        let text = wrong(None, &["valu = 'x'"]);
        assert!(text.contains("only value and key") && text.contains("did you mean \"value\"?"), "{text}");
        assert!(wrong(None, &["replace(value)"]).contains("write value = <expression>"));
        assert!(wrong(None, &["value ="]).contains("the expression is missing"));
        assert!(wrong(None, &["key = 'a'", "key = 'b'"]).contains("key is set twice"));
        let text = wrong(None, &["value = random()"]);
        assert!(text.contains("another result"), "{text}");
        let text = wrong(Some("count(*) > 1"), &[]);
        assert!(text.contains("the aggregate count(…)") && text.contains("one record at a time"), "{text}");
        let text = wrong(Some("value in (select 1)"), &[]);
        assert!(text.contains("a subquery"), "{text}");
    }

    #[test]
    fn who_makes_an_expression_fail_is_told_and_who_is_not_selected_does_not() {
        let rows = refused_rows(&[(None, Some(b"1"), "a"), (None, Some(b"x"), "b"), (None, Some(b"3"), "a")]);
        let set = ["value = cast(cast(value as bigint) + 1 as varchar)"];
        let error = Mend::new(None, &sets(&set)).unwrap().apply(&rows).unwrap_err().to_string();
        assert!(
            error.starts_with("--set value = cast(") && error.contains("offset 101 of clicks/1"),
            "{error}"
        );
        assert!(error.contains("try_cast"), "{error}");
        let values = mended(Some("reason = 'a'"), &set, &rows);
        assert_eq!(values, [(None, Some(b"2".to_vec())), (None, Some(b"4".to_vec()))]);
    }
}
