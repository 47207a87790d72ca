//! Types of columns: Delta Lake has fewer than Arrow.
//!
//! | Arrow | Delta | |
//! |---|---|---|
//! | bool, int8 … int64, float32, float64, string, binary, date | the same | |
//! | uint8, uint16, uint32 | short, integer, long | the next wider, since Delta knows no unsigned ones |
//! | uint64 | decimal(20, 0) | holds all of them |
//! | timestamp, second to microsecond | timestamp | microseconds in UTC; one without a zone is in UTC here |
//! | decimal(p, s), 0 ≤ s ≤ p ≤ 38 | the same | |
//! | list, struct | array, struct | of such types |
//!
//! All columns may be null: a table outlives the pipeline that began it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryFromArrow;

use crate::DeltaError;

/// The type that a column has in a table's files; `None`: Delta Lake has nothing like it.
pub fn written_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32 => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => return None,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 && i16::from(*scale) <= i16::from(*precision) =>
        {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, value) => written_type(value)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            // As Parquet calls it, and other writers with it.
            DataType::List(Arc::new(Field::new("element", written_type(item.data_type())?, true)))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let written = fields.iter().enumerate().map(|(index, field)| {
                let fits =
                    name_fits(field.name()) && !fields[..index].iter().any(|other| is_alike(other, field));
                Some(Field::new(field.name(), written_type(field.data_type()).filter(|_| fits)?, true))
            });
            DataType::Struct(written.collect::<Option<Vec<Field>>>()?.into())
        }
        _ => return None,
    })
}

/// Whether a Delta table can have a column of that name; columns that differ only in letter case it can't have either.
pub fn name_fits(name: &str) -> bool {
    !name.is_empty() && !name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='])
}

fn is_alike(one: &Field, other: &Field) -> bool {
    one.name().to_lowercase() == other.name().to_lowercase()
}

/// The columns of a table that a sink with `columns` writes.
///
/// # Errors
/// [`DeltaError::Type`] and [`DeltaError::Name`].
pub fn written_schema(sink: &str, columns: &Schema) -> Result<SchemaRef, DeltaError> {
    let mut fields: Vec<Field> = Vec::new();
    for field in columns.fields() {
        let name = |detail: &str| DeltaError::Name {
            sink: sink.to_owned(),
            column: field.name().clone(),
            detail: detail.to_owned(),
        };
        if !name_fits(field.name()) {
            return Err(name("Delta Lake allows no space and none of ,;{}()= in it"));
        }
        if let Some(other) = fields.iter().find(|other| is_alike(other, field)) {
            return Err(name(&format!("it differs from {:?} at most in letter case", other.name())));
        }
        let written = written_type(field.data_type()).ok_or_else(|| DeltaError::Type {
            sink: sink.to_owned(),
            column: field.name().clone(),
            found: field.data_type().to_string(),
        })?;
        fields.push(Field::new(field.name(), written, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Columns that [`written_schema`] gave, as Delta has them.
pub(crate) fn delta_schema(written: &Schema) -> StructType {
    StructType::try_from_arrow(written).expect("invariant: written types are Delta's, and names are distinct")
}

/// A batch with its columns as they are written: those of `written`, by name.
///
/// # Errors
/// A column is missing, or a value has no counterpart.
pub(crate) fn written_batch(
    batch: &RecordBatch,
    written: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |field: &Arc<Field>| -> Result<ArrayRef, arrow::error::ArrowError> {
        let column = batch.column(batch.schema_ref().index_of(field.name())?);
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast_with_options(column, field.data_type(), &options),
        }
    };
    let columns = written.fields().iter().map(column).collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(written), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), false)).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_types_that_delta_lacks_are_refused() {
        let check = |fields: &[(&str, DataType)], expected: &str| {
            let error = written_schema("out", &schema(fields)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[("a b", DataType::Int64)], "no column called \"a b\"");
        check(&[("a", DataType::Int64), ("A", DataType::Int64)], "differs from \"a\" at most in letter case");
        check(
            &[("a", DataType::Timestamp(TimeUnit::Nanosecond, None))],
            "column a is of type Timestamp(ns), which a Delta table does not have",
        );
        check(&[("a", DataType::Decimal128(3, -2))], "column a is of type");
        let inner = |names: &[&str]| {
            DataType::Struct(names.iter().map(|n| Field::new(*n, DataType::Int8, true)).collect())
        };
        check(&[("a", inner(&["x", "b c"]))], "column a is of type Struct");
        check(&[("a", inner(&["x", "X"]))], "column a is of type Struct");
        assert!(written_schema("out", &schema(&[("a", inner(&["x", "y"]))])).is_ok());
    }

    #[test]
    fn unsigned_numbers_and_items_of_lists_are_widened() {
        let items = Arc::new(Field::new("item", DataType::UInt64, false));
        let written =
            written_schema("out", &schema(&[("a", DataType::UInt32), ("b", DataType::List(items))])).unwrap();
        assert_eq!(written.field(0).data_type(), &DataType::Int64);
        let element = Arc::new(Field::new("element", DataType::Decimal128(20, 0), true));
        assert_eq!(written.field(1).data_type(), &DataType::List(element));
        let names: Vec<String> = delta_schema(&written)
            .fields()
            .map(|field| format!("{} {}", field.name, field.data_type))
            .collect();
        assert_eq!(names[0], "a long");
        assert!(names[1].contains("decimal(20,0)"), "{names:?}");
    }
}
