//! Two outputs of a sink, row by row: which are only here, only there, or changed, and by how much.
//!
//! ```text
//!   reference ─┐ full join on the keys, nulls being equal
//!   variant  ──┴─▶ joined ─┬─▶ totals, and of each column how often and how far it differs
//!                          ├─▶ by key, by window
//!                          └─▶ the rows that differ
//! ```
//!
//! Rows without keys are counted: a row differs that is there more often on one side.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use thalweg_query::{QueryError, Session};

use super::shape::Shape;

/// So many rows, keys and windows are shown of each sink.
const SHOWN_MAX: usize = 20;
/// Windows of a chart.
const WINDOWS_MAX: usize = 5_000;
/// Characters of a value that are shown.
const TEXT_MAX: usize = 200;
/// The name under which queries know the variant's folder.
const VARIANT: &str = "variant";

/// A variant against the reference.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The reference.
    pub reference: String,
    /// The variant.
    pub variant: String,
    /// What is different about it.
    pub about: String,
    /// Each sink that both have; late and rejected rows last.
    pub sinks: Vec<SinkComparison>,
}

/// A sink's rows on both sides.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SinkComparison {
    /// The sink.
    pub sink: String,
    /// Why it can't be compared.
    pub not_comparable: Option<String>,
    /// The columns that tell rows apart; none: all of them.
    pub keys: Vec<String>,
    /// Rows of the reference.
    pub reference_rows: u64,
    /// Rows of the variant.
    pub variant_rows: u64,
    /// Rows whose key the variant does not have.
    pub only_reference: u64,
    /// Rows whose key the reference does not have.
    pub only_variant: u64,
    /// Rows of the same key with other values.
    pub changed: u64,
    /// Of each column that is no key.
    pub columns: Vec<ColumnDifference>,
    /// The keys with the most differences, without the window.
    pub by_key: Vec<GroupDifference>,
    /// Windows with differences, in order.
    pub by_window: Vec<GroupDifference>,
    /// The first rows that differ.
    pub rows: Vec<Difference>,
}

/// How a column of the rows that both sides have differs.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// Rows in which it does.
    pub changed: u64,
    /// Variant minus reference over those rows, of numbers: the least, 5th percentile, median, 95th percentile and greatest.
    pub difference: Option<[f64; 5]>,
    /// Its mean.
    pub mean: Option<f64>,
}

/// How the rows of a key, or of a window, differ.
#[derive(Debug, Clone, Serialize)]
pub struct GroupDifference {
    /// The key's values, or the window's start.
    pub of: Vec<Option<String>>,
    /// As of the sink.
    pub only_reference: u64,
    /// As of the sink.
    pub only_variant: u64,
    /// As of the sink.
    pub changed: u64,
}

/// A row that differs: its columns' values on both sides.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The columns, keys first.
    pub columns: Vec<String>,
    /// In the reference; `None`: it has no such row.
    pub reference: Option<Vec<Option<String>>>,
    /// In the variant.
    pub variant: Option<Vec<Option<String>>>,
}

impl SinkComparison {
    /// One that was not possible.
    pub(super) fn not_comparable(sink: &str, why: &str) -> Self {
        SinkComparison { sink: sink.to_owned(), not_comparable: Some(why.to_owned()), ..Self::default() }
    }

    /// Whether any row differs.
    pub fn differs(&self) -> bool {
        self.only_reference + self.only_variant + self.changed > 0
    }
}

/// Which rows of a live job's output are meant: it has written more than the period, and not yet all windows.
pub(super) struct Range {
    pub(super) from_us: Option<i64>,
    pub(super) to_us: Option<i64>,
    /// Windows that end later have not fired.
    pub(super) fired: Option<i64>,
}

impl Range {
    // A result's event time is just before its window's end.
    fn condition(&self, shape: &Shape) -> String {
        let (column, shift) = if shape.has_window_end { ("window_end", 1) } else { ("timestamp", 0) };
        let at = |us: i64| format!("arrow_cast({us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
        let from = self.from_us.map(|us| format!("{column} >= {}", at(us + shift)));
        let to = self.to_us.map(|us| format!("{column} < {}", at(us + shift)));
        let fired = self.fired.filter(|_| shape.has_window_end).map(|us| format!("{column} <= {}", at(us)));
        let conditions: Vec<String> = [from, to, fired].into_iter().flatten().collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
    }
}

/// Compares what lies in the folder of a sink in two outputs.
pub(super) fn sink(
    reference: &Path,
    variant: &Path,
    sink: &str,
    shape: &Shape,
    range: Option<&Range>,
) -> Result<SinkComparison, QueryError> {
    let mut session = Session::open(reference)?;
    session.beside(VARIANT, variant)?;
    let has =
        |folder: &Path| Ok::<_, QueryError>(Session::open(folder)?.tables()?.iter().any(|t| t.name == sink));
    let both = [has(reference)?, has(variant)?];
    let mut found = SinkComparison { sink: sink.to_owned(), keys: shape.keys.clone(), ..Default::default() };
    if both == [false, false] {
        return Ok(found);
    }
    let query = Query { session: &session, sources: sources(sink, shape, range, both), shape };
    if shape.keys.is_empty() {
        query.count_rows(&mut found)?;
    } else {
        query.join_rows(&mut found)?;
    }
    Ok(found)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

// A sink that has written nothing has no folder, or one without files: then the other side says what its columns are.
fn sources(sink: &str, shape: &Shape, range: Option<&Range>, there: [bool; 2]) -> String {
    let columns = list(shape.columns.iter().map(|column| quoted(column.name())));
    let condition = range.map_or_else(|| "true".to_owned(), |range| range.condition(shape));
    let from = |side: usize| {
        let (side, condition) = if there[side] { (side, condition.as_str()) } else { (1 - side, "false") };
        let catalog = ["output", VARIANT][side];
        format!("select {columns} from {catalog}.public.{} where {condition}", quoted(sink))
    };
    format!("reference as ({}), variant as ({})", from(0), from(1))
}

struct Query<'a> {
    session: &'a Session,
    sources: String,
    shape: &'a Shape,
}

impl Query<'_> {
    fn run(&self, tables: &str, select: &str) -> Result<Vec<RecordBatch>, QueryError> {
        let more = if tables.is_empty() { String::new() } else { format!(", {tables}") };
        Ok(self.session.query(&format!("with {}{more} {select}", self.sources))?.batches)
    }

    fn values(&self) -> Vec<&Field> {
        self.shape.columns.iter().filter(|column| !self.shape.keys.contains(column.name())).collect()
    }

    // Each key once, `r.…` and `v.…` for what both sides say of it.
    fn joined(&self) -> String {
        let keys = list(self.shape.keys.iter().map(|key| {
            let key = quoted(key);
            format!("coalesce(r.{key}, v.{key}) as {key}")
        }));
        let values = self.values().into_iter().map(|value| {
            let (name, of_r, of_v) = (quoted(value.name()), side("r", value.name()), side("v", value.name()));
            format!("r.{name} as {of_r}, v.{name} as {of_v}, (r.there and v.there and (r.{name} is distinct from v.{name})) as {}", side("d", value.name()))
        });
        let any = self.values().into_iter().map(|value| {
            let name = quoted(value.name());
            format!("(r.{name} is distinct from v.{name})")
        });
        let any: Vec<String> = any.collect();
        let any = if any.is_empty() { "false".to_owned() } else { any.join(" or ") };
        let on: Vec<String> = self
            .shape
            .keys
            .iter()
            .map(|key| format!("(r.{0} is not distinct from v.{0})", quoted(key)))
            .collect();
        let columns = list(std::iter::once(keys).chain(values));
        format!(
            "joined as (select {columns}, v.there is null as \"only r\", r.there is null as \"only v\", \
             coalesce(r.there and v.there and ({any}), false) as changed \
             from (select *, true as there from reference) r full join (select *, true as there from variant) v on {})",
            on.join(" and ")
        )
    }

    fn join_rows(&self, found: &mut SinkComparison) -> Result<(), QueryError> {
        let joined = self.joined();
        let values = self.values();
        let count = |condition: &str| format!("count(*) filter (where {condition})");
        let mut select: Vec<String> =
            ["not \"only v\"", "not \"only r\"", "\"only r\"", "\"only v\"", "changed"].map(count).to_vec();
        for value in &values {
            let changed = side("d", value.name());
            select.push(count(&changed));
            if let Some(difference) = difference(value) {
                let figures = [
                    format!("min({difference})"),
                    format!("approx_percentile_cont({difference}, 0.05)"),
                    format!("approx_percentile_cont({difference}, 0.5)"),
                    format!("approx_percentile_cont({difference}, 0.95)"),
                    format!("max({difference})"),
                    format!("avg({difference})"),
                ];
                select.extend(figures.map(|figure| format!("{figure} filter (where {changed})")));
            }
        }
        // Two that are alike would have one name.
        let named = list(select.iter().enumerate().map(|(at, figure)| format!("{figure} as \"{at}\"")));
        let totals = self.run(&joined, &format!("select {named} from joined"))?;
        let mut figures = Figures::of(&totals);
        [
            &mut found.reference_rows,
            &mut found.variant_rows,
            &mut found.only_reference,
            &mut found.only_variant,
            &mut found.changed,
        ]
        .into_iter()
        .for_each(|count| *count = figures.count());
        for value in values {
            let changed = figures.count();
            let figures: [Option<f64>; 6] =
                difference(value).map_or([None; 6], |_| std::array::from_fn(|_| figures.number()));
            let [quantiles @ .., mean] = figures;
            let known = quantiles.iter().all(Option::is_some);
            found.columns.push(ColumnDifference {
                column: value.name().clone(),
                changed,
                difference: known.then(|| quantiles.map(Option::unwrap_or_default)),
                mean,
            });
        }
        if found.differs() {
            if let Some((start, keys)) = self.shape.keys.split_first().filter(|_| self.shape.is_windowed) {
                let keys = list(keys.iter().map(|key| quoted(key)));
                let most = format!("order by n desc, {keys} limit {SHOWN_MAX}");
                found.by_key = self.groups(&joined, &keys, &most)?;
                let start = quoted(start);
                let first = format!("order by {start} limit {WINDOWS_MAX}");
                found.by_window = self.groups(&joined, &start, &first)?;
            }
            found.rows = self.differences(&joined)?;
        }
        Ok(())
    }

    fn groups(&self, joined: &str, by: &str, order: &str) -> Result<Vec<GroupDifference>, QueryError> {
        if by.is_empty() {
            return Ok(Vec::new());
        }
        let select = format!(
            "select count(*) as n, {COUNTS_NAMED}, {by} from joined where {DIFFERS} group by {by} {order}"
        );
        let mut groups = Vec::new();
        for batch in self.run(joined, &select)? {
            let counts: Vec<_> =
                (1..4).map(|at| batch.column(at).as_primitive::<Int64Type>().clone()).collect();
            let of = texts(&batch, 4..batch.num_columns())?;
            for (row, of) in of.into_iter().enumerate() {
                let [only_reference, only_variant, changed] =
                    [0, 1, 2].map(|at| counts[at].value(row).unsigned_abs());
                groups.push(GroupDifference { of, only_reference, only_variant, changed });
            }
        }
        Ok(groups)
    }

    fn differences(&self, joined: &str) -> Result<Vec<Difference>, QueryError> {
        let keys = list(self.shape.keys.iter().map(|key| quoted(key)));
        let of = |which: &'static str| self.values().into_iter().map(move |value| side(which, value.name()));
        let columns = list(
            ["\"only r\"", "\"only v\"", &keys].map(str::to_owned).into_iter().chain(of("r")).chain(of("v")),
        );
        let select =
            format!("select {columns} from joined where {DIFFERS} order by {keys} limit {SHOWN_MAX}");
        let names: Vec<String> = self
            .shape
            .keys
            .iter()
            .cloned()
            .chain(self.values().into_iter().map(|value| value.name().clone()))
            .collect();
        let (keys, values) = (self.shape.keys.len(), self.values().len());
        let mut rows = Vec::new();
        for batch in self.run(joined, &select)? {
            let only = [0, 1].map(|at| batch.column(at).as_boolean().clone());
            for (row, texts) in texts(&batch, 2..batch.num_columns())?.into_iter().enumerate() {
                let part = |from: usize| {
                    let values = &texts[keys + from..keys + from + values];
                    texts[..keys].iter().chain(values).cloned().collect::<Vec<_>>()
                };
                rows.push(Difference {
                    columns: names.clone(),
                    reference: (!only[1].value(row)).then(|| part(0)),
                    variant: (!only[0].value(row)).then(|| part(values)),
                });
            }
        }
        Ok(rows)
    }

    fn count_rows(&self, found: &mut SinkComparison) -> Result<(), QueryError> {
        let columns = list(self.shape.columns.iter().map(|column| quoted(column.name())));
        let counted = format!(
            "counted as (select {columns}, count(*) filter (where side = 0) as \"in r\", count(*) filter (where side = 1) as \"in v\" \
             from (select {columns}, 0 as side from reference union all select {columns}, 1 as side from variant) group by {columns})"
        );
        let select = "select sum(\"in r\") as a, sum(\"in v\") as b, \
             sum(case when \"in r\" > \"in v\" then \"in r\" - \"in v\" else 0 end) as c, \
             sum(case when \"in v\" > \"in r\" then \"in v\" - \"in r\" else 0 end) as d from counted";
        let totals = self.run(&counted, select)?;
        let mut figures = Figures::of(&totals);
        [
            &mut found.reference_rows,
            &mut found.variant_rows,
            &mut found.only_reference,
            &mut found.only_variant,
        ]
        .into_iter()
        .for_each(|count| *count = figures.count());
        let select = format!(
            "select \"in r\" > \"in v\" as \"only r\", {columns} from counted where \"in r\" <> \"in v\" order by {columns} limit {SHOWN_MAX}"
        );
        for batch in self.run(&counted, &select)? {
            let only = batch.column(0).as_boolean().clone();
            let names: Vec<String> = self.shape.columns.iter().map(|column| column.name().clone()).collect();
            for (row, values) in texts(&batch, 1..batch.num_columns())?.into_iter().enumerate() {
                let (reference, variant) =
                    if only.value(row) { (Some(values), None) } else { (None, Some(values)) };
                found.rows.push(Difference { columns: names.clone(), reference, variant });
            }
        }
        Ok(())
    }
}

const DIFFERS: &str = "\"only r\" or \"only v\" or changed";
const COUNTS_NAMED: &str = "count(*) filter (where \"only r\") as a, count(*) filter (where \"only v\") as b, count(*) filter (where changed) as c";

fn side(which: &str, column: &str) -> String {
    quoted(&format!("{which}.{column}"))
}

// Variant minus reference, where that is a number.
fn difference(column: &Field) -> Option<String> {
    let numeric = column.data_type().is_numeric();
    numeric.then(|| {
        let of = |which: &str| format!("cast({} as double)", side(which, column.name()));
        format!("({} - {})", of("v"), of("r"))
    })
}

/// The figures of a single row, one after the other.
struct Figures<'a> {
    row: Option<&'a RecordBatch>,
    at: usize,
}

impl<'a> Figures<'a> {
    fn of(batches: &'a [RecordBatch]) -> Self {
        Figures { row: batches.iter().find(|batch| batch.num_rows() > 0), at: 0 }
    }

    fn number(&mut self) -> Option<f64> {
        let column = self.row?.column(self.at);
        self.at += 1;
        let numbers = cast(column, &DataType::Float64).ok()?;
        let numbers = numbers.as_primitive::<Float64Type>();
        numbers.is_valid(0).then(|| numbers.value(0))
    }

    fn count(&mut self) -> u64 {
        self.number().unwrap_or(0.0) as u64
    }
}

fn texts(
    batch: &RecordBatch,
    columns: std::ops::Range<usize>,
) -> Result<Vec<Vec<Option<String>>>, QueryError> {
    let options = FormatOptions::default();
    let failed = |error: arrow::error::ArrowError| QueryError::Sql(error.to_string());
    // DataFusion gives views; of bytes only whole arrays can be looked at as text.
    let columns: Vec<ArrayRef> = columns
        .map(|at| match batch.column(at) {
            bytes if bytes.data_type() == &DataType::BinaryView => cast(bytes, &DataType::Binary),
            column => Ok(Arc::clone(column)),
        })
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let formatters: Vec<_> = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).map(|formatter| (column, formatter)))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let text = |row: usize| {
        let cell = |(column, formatter): &(&ArrayRef, ArrayFormatter<'_>)| {
            column.is_valid(row).then(|| {
                let bytes = column.as_binary_opt::<i32>().map(|bytes| bytes.value(row));
                let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
                cut(text.map_or_else(|| formatter.value(row).to_string(), str::to_owned))
            })
        };
        formatters.iter().map(cell).collect()
    };
    Ok((0..batch.num_rows()).map(text).collect())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
