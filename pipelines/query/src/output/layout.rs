//! Tables that fit.
//!
//! ```text
//!   provider  | requests | note
//!   ----------+----------+---------
//!   anthropic |    12034 | a long …
//! ```
//!
//! Numbers stand right, and are never shortened. On a terminal that is too narrow, texts are shortened first; if that is
//! not enough, the last columns are left out, and named.

use std::io::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::cells::cells;
use super::format_error;
use crate::QueryError;
use crate::session::QueryResult;

/// Texts are not made narrower than this.
const TEXT_WIDTH_MIN: usize = 12;
const BETWEEN: &str = " | ";

struct TextColumn {
    name: String,
    cells: Vec<String>,
    right: bool,
    shrinks: bool,
    width: usize,
}

/// Writes `result` as a table, at most `width` columns wide.
///
/// # Errors
/// `out` can't be written, or Arrow has no way to show a column.
pub(super) fn write(
    result: &QueryResult,
    width: Option<usize>,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    if is_plan(&result.schema) {
        return write_plan(result, out);
    }
    let mut columns = text_columns(result)?;
    let left_out = width.map(|width| fit(&mut columns, width)).unwrap_or_default();
    let line = |cells: &dyn Fn(&TextColumn) -> String| {
        let padded: Vec<String> = columns.iter().map(cells).collect();
        padded.join(BETWEEN).trim_end().to_owned()
    };
    writeln!(out, "{}", line(&|column| padded(&column.name, column)))?;
    let dashes: Vec<String> = columns.iter().map(|column| "-".repeat(column.width)).collect();
    writeln!(out, "{}", dashes.join("-+-"))?;
    for row in 0..result.rows() {
        writeln!(out, "{}", line(&|column| padded(&column.cells[row], column)))?;
    }
    if !left_out.is_empty() {
        writeln!(
            out,
            "(too wide: {} not shown; select fewer columns, or write --format csv)",
            left_out.join(", ")
        )?;
    }
    Ok(())
}

fn text_columns(result: &QueryResult) -> Result<Vec<TextColumn>, QueryError> {
    let columns = result.schema.fields().iter().enumerate().map(|(at, field)| {
        let mut texts = Vec::with_capacity(result.rows());
        for batch in &result.batches {
            let column: &ArrayRef = batch.column(at);
            texts.append(&mut cells(column).map_err(|error| format_error("a table", &error))?);
        }
        let cells_width = texts.iter().map(|cell| cell.width()).max().unwrap_or(0);
        let data_type = field.data_type();
        Ok(TextColumn {
            name: field.name().clone(),
            width: field.name().width().max(cells_width),
            cells: texts,
            right: data_type.is_numeric(),
            shrinks: !data_type.is_numeric() && !data_type.is_temporal() && *data_type != DataType::Boolean,
        })
    });
    columns.collect()
}

// Makes the columns fit into `width`; returns the names of those that had to go.
fn fit(columns: &mut Vec<TextColumn>, width: usize) -> Vec<String> {
    let total = |columns: &[TextColumn], cap: usize| -> usize {
        let widths: usize = columns.iter().map(|column| column.capped(cap)).sum();
        widths + BETWEEN.len() * columns.len().saturating_sub(1)
    };
    let widest = columns.iter().map(|column| column.width).max().unwrap_or(0);
    let cap =
        (TEXT_WIDTH_MIN..=widest).rev().find(|cap| total(columns, *cap) <= width).unwrap_or(TEXT_WIDTH_MIN);
    let mut left_out = Vec::new();
    while columns.len() > 1 && total(columns, cap) > width {
        left_out.extend(columns.pop().map(|column| column.name));
    }
    for column in columns {
        column.width = column.capped(cap);
    }
    left_out.reverse();
    left_out
}

impl TextColumn {
    fn capped(&self, cap: usize) -> usize {
        if self.shrinks { self.width.min(cap) } else { self.width }
    }
}

fn padded(cell: &str, column: &TextColumn) -> String {
    let cell = shortened(cell, column.width);
    let space = " ".repeat(column.width.saturating_sub(cell.width()));
    if column.right { space + &cell } else { cell + &space }
}

fn shortened(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut short: String = cell
        .chars()
        .take_while(|char| {
            let char_width = char.width().unwrap_or(0);
            let fits = char_width <= left;
            left = left.saturating_sub(char_width);
            fits
        })
        .collect();
    short.push('…');
    short
}

fn is_plan(schema: &Schema) -> bool {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names == ["plan_type", "plan"]
}

// A plan is many lines: a table would tear them apart.
fn write_plan(result: &QueryResult, out: &mut dyn Write) -> Result<(), QueryError> {
    for batch in &result.batches {
        let text = |column: usize| arrow::compute::cast(batch.column(column), &DataType::Utf8);
        let (kinds, plans) = text(0)
            .and_then(|kinds| Ok((kinds, text(1)?)))
            .map_err(|error| format_error("a table", &error))?;
        let (kinds, plans) = (
            arrow::array::AsArray::as_string::<i32>(&kinds),
            arrow::array::AsArray::as_string::<i32>(&plans),
        );
        for (kind, plan) in kinds.iter().zip(plans) {
            writeln!(out, "{}\n", kind.unwrap_or_default().replace('_', " "))?;
            for line in plan.unwrap_or_default().lines() {
                writeln!(out, "  {line}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
