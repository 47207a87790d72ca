//! Statements in, results out: the part that the prompt and the one-shot query share.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::QueryError;
use crate::output::{self, Format};
use crate::session::{QueryResult, Session};

/// What came out, for the line below a result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// Rows of the result.
    pub(crate) rows: usize,
    /// Of these, rows that were shown.
    pub(crate) shown: usize,
    /// From the statement's start to its last row.
    pub(crate) took: Duration,
}

/// Runs one statement and writes its result to `out`. Tables are laid out when all rows are there, and cut after
/// `rows_max`; other formats are written as rows come.
///
/// # Errors
/// As [`Session::stream`], or `out` can't be written.
pub(crate) fn answer(
    session: &Session,
    sql: &str,
    format: Format,
    width: Option<usize>,
    rows_max: usize,
    out: &mut dyn Write,
) -> Result<Answered, QueryError> {
    let start = Instant::now();
    let (mut rows, mut shown) = (0, 0);
    let mut kept = Vec::new();
    let mut header_written = false;
    let schema = session.stream(sql, &mut |batch| {
        rows += batch.num_rows();
        match format {
            Format::Table => {
                let take = batch.num_rows().min(rows_max - shown);
                shown += take;
                if take > 0 {
                    kept.push(batch.slice(0, take));
                }
            }
            Format::Json => output::write_json(&batch, out)?,
            Format::Csv => {
                if !header_written {
                    output::write_csv_header(batch.schema_ref(), out)?;
                    header_written = true;
                }
                output::write_csv(&batch, out)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let took = start.elapsed();
    match format {
        Format::Table => output::write(&QueryResult { schema, batches: kept }, format, width, out)?,
        Format::Json => shown = rows,
        Format::Csv => {
            shown = rows;
            if !header_written {
                output::write_csv_header(&schema, out)?;
            }
        }
    }
    out.flush()?;
    Ok(Answered { rows, shown, took })
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        write!(f, "{} {rows} in {}", self.rows, duration(self.took))?;
        match self.rows - self.shown {
            0 => Ok(()),
            _ => write!(f, ", the first {} shown (limit in the query, or \\format csv)", self.shown),
        }
    }
}

fn duration(took: Duration) -> String {
    match took.as_millis() {
        0..1000 => format!("{} ms", took.as_millis().max(1)),
        1000..60_000 => format!("{:.1} s", took.as_secs_f64()),
        _ => format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}
