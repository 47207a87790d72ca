//! What came of a backtest, for people and for scripts.

use std::path::PathBuf;

use serde::Serialize;

use crate::run::Summary;

/// What came of a backtest.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// Results are shown from here …
    pub from: Option<String>,
    /// … to here.
    pub to: Option<String>,
    /// Each job that ran, the reference first.
    pub runs: Vec<RunReport>,
    /// Each variant against the reference, where there is one.
    pub comparisons: Vec<Comparison>,
}

/// A job of a backtest.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The variant's name.
    pub name: String,
    /// What is different about it.
    pub about: String,
    /// What it did, with what was read to fill and complete windows.
    pub summary: Summary,
}

impl Report {
    /// Whether any variant gives other rows than the reference, or has other sinks or columns.
    pub fn differs(&self) -> bool {
        self.comparisons.iter().any(Comparison::differs)
    }
}

impl Comparison {
    /// Whether the variant gives other rows than the reference, or has other sinks or columns.
    pub fn differs(&self) -> bool {
        self.sinks.iter().any(|sink| sink.differs() || sink.has_other_shape)
    }
}

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
    /// Columns that were not compared, and why.
    pub left_out: Vec<String>,
    /// Whether one side has no such sink, or a column is of one side only, or of another type there.
    pub has_other_shape: bool,
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
    /// Where all of them are, as Parquet: `difference`, the keys, and of each other column what both sides say.
    pub file: Option<PathBuf>,
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
    pub(super) fn not_comparable(sink: &str, why: impl Into<String>) -> Self {
        SinkComparison { sink: sink.to_owned(), not_comparable: Some(why.into()), ..Self::default() }
    }

    pub(super) fn missing(sink: &str, side: &str) -> Self {
        let why = format!("{side} has no sink of this name");
        SinkComparison { has_other_shape: true, ..Self::not_comparable(sink, why) }
    }

    /// Whether any row differs.
    pub fn differs(&self) -> bool {
        self.only_reference + self.only_variant + self.changed > 0
    }
}
