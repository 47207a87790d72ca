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
use thalweg_query::{QueryError, Session};

use super::report::{ColumnDifference, Difference, GroupDifference, SinkComparison};
use super::shape::Shape;
use super::{BacktestError, differences};

/// So many rows, keys and windows are shown of each sink.
const SHOWN_MAX: usize = 20;
/// Windows of a chart.
const WINDOWS_MAX: u64 = 240;
/// Characters of a value that are shown.
const TEXT_MAX: usize = 200;
/// The name under which queries know the variant's folder.
const VARIANT: &str = "variant";

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
        let at = |us: i64| format!("arrow_cast({us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
        let (column, shift) = match (&shape.window_end, &shape.timestamp) {
            (Some(end), _) => (quoted(end), 1),
            (None, Some(timestamp)) => (quoted(timestamp), 0),
            (None, None) => return "true".to_owned(),
        };
        let from = self.from_us.map(|us| format!("{column} >= {}", at(us.saturating_add(shift))));
        let to = self.to_us.map(|us| format!("{column} < {}", at(us.saturating_add(shift))));
        let fired = self.fired.filter(|_| shift == 1).map(|us| format!("{column} <= {}", at(us)));
        let conditions: Vec<String> = [from, to, fired].into_iter().flatten().collect();
        if conditions.is_empty() {
            return "true".to_owned();
        }
        // A period shows records without a timestamp too.
        format!("({}) or {column} is null", conditions.join(" and "))
    }
}

/// Compares what lies in the folder of a sink in two outputs, the reference's and the variant's; rows that differ are written into
/// `differing`.
///
/// # Errors
/// Outputs that can't be read, and what can't be written.
pub(super) fn sink(
    [reference, variant]: [&Path; 2],
    sink: &str,
    shape: &Shape,
    range: Option<&Range>,
    differing: &Path,
) -> Result<SinkComparison, BacktestError> {
    let mut session = Session::open(reference)?;
    session.beside(VARIANT, variant)?;
    let has =
        |folder: &Path| Ok::<_, QueryError>(Session::open(folder)?.tables()?.iter().any(|t| t.name == sink));
    let both = [has(reference)?, has(variant)?];
    let mut found = SinkComparison {
        sink: sink.to_owned(),
        keys: shape.keys.clone(),
        left_out: shape.left_out.clone(),
        has_other_shape: shape.has_other_columns,
        ..SinkComparison::default()
    };
    if both == [false, false] {
        return Ok(found);
    }
    let query = Query { session: &session, sources: sources(sink, shape, range, both), shape };
    if shape.keys.is_empty() {
        query.count_rows(&mut found)?;
    } else {
        query.join_rows(&mut found)?;
    }
    if found.differs() {
        found.file = Some(differences::write(&session, &query.all_that_differ(), differing)?);
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

/// The queries about a sink.
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
            format!("r.{name} as {of_r}, v.{name} as {of_v}, (r.__there and v.__there and (r.{name} is distinct from v.{name})) as {}", side("d", value.name()))
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
            "joined as (select {columns}, v.__there is null as \"__only_r\", r.__there is null as \"__only_v\", \
             coalesce(r.__there and v.__there and ({any}), false) as __changed \
             from (select *, true as __there from reference) r full join (select *, true as __there from variant) v on {})",
            on.join(" and ")
        )
    }

    fn join_rows(&self, found: &mut SinkComparison) -> Result<(), QueryError> {
        let joined = self.joined();
        let values = self.values();
        let count = |condition: &str| format!("count(*) filter (where {condition})");
        let mut select: Vec<String> =
            ["not \"__only_v\"", "not \"__only_r\"", "\"__only_r\"", "\"__only_v\"", "__changed"]
                .map(count)
                .to_vec();
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
                found.by_window = self.by_window(&joined, &quoted(start))?;
            }
            found.rows = self.differences(&joined)?;
        }
        Ok(())
    }

    // Windows may begin at any time: those that begin about the same time are counted together where there are many.
    fn by_window(&self, joined: &str, start: &str) -> Result<Vec<GroupDifference>, QueryError> {
        let us = format!("cast({start} as bigint)");
        let range = self.run(
            joined,
            &format!(
                "select min({us}) as a, max({us}) as b, count(distinct {us}) as n from joined where {DIFFERS}"
            ),
        )?;
        let mut range = Figures::of(&range);
        let (first, last, windows) =
            (range.number().unwrap_or(0.0), range.number().unwrap_or(0.0), range.count());
        let width =
            if windows <= WINDOWS_MAX { 1 } else { ((last - first) / WINDOWS_MAX as f64).ceil() as i64 };
        let bucket =
            format!("arrow_cast({us} - {us} % {}, 'Timestamp(Microsecond, Some(\"UTC\"))')", width.max(1));
        let select = format!(
            "select count(*) as n, {COUNTS_NAMED}, {bucket} as __at from joined where {DIFFERS} group by __at order by __at"
        );
        self.grouped(joined, &select)
    }

    fn groups(&self, joined: &str, by: &str, order: &str) -> Result<Vec<GroupDifference>, QueryError> {
        if by.is_empty() {
            return Ok(Vec::new());
        }
        let select = format!(
            "select count(*) as n, {COUNTS_NAMED}, {by} from joined where {DIFFERS} group by {by} {order}"
        );
        self.grouped(joined, &select)
    }

    fn grouped(&self, joined: &str, select: &str) -> Result<Vec<GroupDifference>, QueryError> {
        let mut groups = Vec::new();
        for batch in self.run(joined, select)? {
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
            ["\"__only_r\"", "\"__only_v\"", &keys]
                .map(str::to_owned)
                .into_iter()
                .chain(of("r"))
                .chain(of("v")),
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

    // The query for all rows that differ.
    fn all_that_differ(&self) -> String {
        let (tables, select) = if self.shape.keys.is_empty() {
            let columns = list(self.shape.columns.iter().map(|column| quoted(column.name())));
            let select = format!(
                "select {SIDE} as __difference, {columns}, \"__in_r\" as __reference_rows, \"__in_v\" as __variant_rows from ( \
                 select *, \"__in_r\" > \"__in_v\" as \"__only_r\", \"__in_v\" > \"__in_r\" as \"__only_v\" from counted) where \"__in_r\" <> \"__in_v\""
            );
            (self.counted(), select)
        } else {
            let keys = list(self.shape.keys.iter().map(|key| quoted(key)));
            let values = self.values().into_iter().map(|value| {
                let name = |which: &str| quoted(&format!("{}_{which}", value.name()));
                let (r, v) = (side("r", value.name()), side("v", value.name()));
                format!("{r} as {}, {v} as {}", name("reference"), name("variant"))
            });
            let columns = list(std::iter::once(keys.clone()).chain(values));
            (
                self.joined(),
                format!(
                    "select {SIDE} as __difference, {columns} from joined where {DIFFERS} order by {keys}"
                ),
            )
        };
        format!("with {}, {tables} {select}", self.sources)
    }

    fn counted(&self) -> String {
        let columns = list(self.shape.columns.iter().map(|column| quoted(column.name())));
        format!(
            "counted as (select {columns}, count(*) filter (where __side = 0) as \"__in_r\", count(*) filter (where __side = 1) as \"__in_v\" \
             from (select {columns}, 0 as __side from reference union all select {columns}, 1 as __side from variant) group by {columns})"
        )
    }

    fn count_rows(&self, found: &mut SinkComparison) -> Result<(), QueryError> {
        let columns = list(self.shape.columns.iter().map(|column| quoted(column.name())));
        let counted = self.counted();
        let select = "select sum(\"__in_r\") as a, sum(\"__in_v\") as b, \
             sum(case when \"__in_r\" > \"__in_v\" then \"__in_r\" - \"__in_v\" else 0 end) as c, \
             sum(case when \"__in_v\" > \"__in_r\" then \"__in_v\" - \"__in_r\" else 0 end) as d from counted";
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
            "select \"__in_r\" > \"__in_v\" as \"__only_r\", {columns} from counted where \"__in_r\" <> \"__in_v\" order by {columns} limit {SHOWN_MAX}"
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

const SIDE: &str =
    "case when \"__only_r\" then 'only reference' when \"__only_v\" then 'only variant' else 'changed' end";
const DIFFERS: &str = "\"__only_r\" or \"__only_v\" or __changed";
const COUNTS_NAMED: &str = "count(*) filter (where \"__only_r\") as a, count(*) filter (where \"__only_v\") as b, count(*) filter (where __changed) as c";

fn side(which: &str, column: &str) -> String {
    quoted(&format!("__{which}.{column}"))
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
