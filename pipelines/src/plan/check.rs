//! Goes through a spec from its sources to its sinks and notes everything that is wrong.
//!
//! One mistake, one problem, and none hides another: a source or step that is wrong is `None`, but its columns are known as far as they can
//! be. A column whose expression or type is wrong may be named and is of no type ([`unjudged`]); what is computed of it is passed over in
//! silence. So is a name that is none where not all columns are known ([`Columns::is_open`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use chrono_tz::Tz;
use datafusion::logical_expr::Expr;

use super::expression::{Compiled, Expressions};
use super::messages::Finding;
use super::model::{
    AggregateCall, Connector, EventTime, MetadataColumn, ModelFile, PlannedNetwork, SeriesModelKind,
    SinkKind, StreamId, WindowKind,
};
use crate::spec::{ColumnSpec, Problem, Span, Spanned, Spec};
use thalweg_schemas::{Format, Schema};

/// The state of a check.
pub(super) struct Checker<'a> {
    pub(super) spec: &'a Spec,
    /// The step whose network is yet to be trained.
    pub(super) untrained: Option<&'a str>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) expressions: &'static Expressions,
    /// As [`Spec::sources`]; `None`: wrong.
    pub(super) sources: Vec<Option<CheckedSource>>,
    /// As [`Spec::steps`]; `None`: wrong, or not checked yet.
    pub(super) steps: Vec<Option<CheckedStep>>,
    /// The columns of sources and of steps.
    pub(super) columns: (Vec<Columns>, Vec<Columns>),
}

/// What a stream's rows hold.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// The columns that belong to the stream: a sink writes these.
    pub(super) own: Vec<Field>,
    /// Those of the records that may be asked for besides.
    pub(super) metadata: Vec<MetadataColumn>,
    /// Whether there may be further ones, of which the names are not known.
    pub(super) is_open: bool,
}

impl Columns {
    /// Those of a stream of which nothing is known.
    pub(super) fn unknown() -> Self {
        Columns { own: Vec::new(), metadata: Vec::new(), is_open: true }
    }

    /// Whether nothing is known of them.
    pub(super) fn are_unknown(&self) -> bool {
        self.is_open && self.own.is_empty()
    }

    /// All that an expression may name.
    pub(super) fn visible(&self) -> Scope {
        let metadata = self.metadata.iter().map(|column| column.field());
        Scope { columns: self.own.iter().cloned().chain(metadata).collect(), is_open: self.is_open }
    }
}

/// What an expression may name.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) columns: Vec<Field>,
    /// Whether it may name other columns too, of which nothing is known.
    pub(super) is_open: bool,
}

impl Scope {
    /// These and no others.
    pub(super) fn of(columns: Vec<Field>) -> Self {
        Scope { columns, is_open: false }
    }

    /// Whether there is a column of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name() == name)
    }
}

/// A column whose expression is wrong. No column that is right has this type.
pub(super) fn unjudged(name: &str) -> Field {
    Field::new(name, DataType::Null, true)
}

/// Whether a column is [`unjudged`].
pub(super) fn is_unjudged(column: &Field) -> bool {
    *column.data_type() == DataType::Null
}

/// Whether a column that is [`unjudged`] has a part in an expression: then nothing can be said of its types.
pub(super) fn reads_unjudged(expr: &Expr, columns: &[Field]) -> bool {
    let refs = expr.column_refs();
    columns.iter().any(|column| is_unjudged(column) && refs.iter().any(|each| each.name == *column.name()))
}

/// A source that is right.
#[derive(Debug)]
pub(super) struct CheckedSource {
    pub(super) connector: Connector,
    pub(super) schema: Arc<Schema>,
    pub(super) format: Format,
    pub(super) event_time: EventTime,
}

/// A step that is right. Stream numbers are those of the spec.
#[derive(Debug)]
pub(super) struct CheckedStep {
    pub(super) inputs: Vec<StreamId>,
    /// What its expressions may name.
    pub(super) visible: Vec<Field>,
    pub(super) filter: Option<CheckedExpr>,
    pub(super) kind: CheckedKind,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum CheckedKind {
    Pass,
    Project(Vec<CheckedExpr>),
    Window(Box<CheckedWindow>),
    Series(Box<CheckedSeries>),
    Score(Box<CheckedScore>),
}

/// A step that asks a trained model of each row.
#[derive(Debug)]
pub(super) struct CheckedScore {
    pub(super) file: Arc<ModelFile>,
    pub(super) inputs: Vec<CheckedExpr>,
    pub(super) widths: Vec<usize>,
    pub(super) outputs: Vec<Vec<String>>,
    pub(super) time_limit_us: Option<i64>,
    /// The columns that the model adds.
    pub(super) added: Vec<Field>,
    pub(super) having: Option<CheckedExpr>,
}

/// A step that asks a model of series.
#[derive(Debug)]
pub(super) struct CheckedSeries {
    pub(super) model: SeriesModelKind,
    pub(super) keys: Vec<CheckedExpr>,
    pub(super) inputs: Vec<CheckedExpr>,
    /// The network that the model asks, where its method has one.
    pub(super) network: Option<Arc<PlannedNetwork>>,
    /// The column that says when a row's values were.
    pub(super) at: Option<String>,
    pub(super) time_zone: Option<Tz>,
    pub(super) forget_after_us: i64,
    /// The columns that the model adds.
    pub(super) added: Vec<Field>,
    pub(super) having: Option<CheckedExpr>,
}

/// A windowed step.
#[derive(Debug)]
pub(super) struct CheckedWindow {
    pub(super) window: WindowKind,
    pub(super) keys: Vec<CheckedExpr>,
    pub(super) inputs: Vec<CheckedExpr>,
    pub(super) aggregates: Vec<AggregateCall>,
    pub(super) result_columns: Vec<Field>,
    pub(super) output: Vec<CheckedExpr>,
    pub(super) having: Option<CheckedExpr>,
}

/// A sink that is right.
#[derive(Debug)]
pub(super) struct CheckedSink {
    pub(super) name: String,
    pub(super) input: StreamId,
    pub(super) columns: Vec<Field>,
    pub(super) kind: SinkKind,
}

/// An expression that is right.
#[derive(Debug, Clone)]
pub(super) struct CheckedExpr {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) expr: Expr,
    pub(super) compiled: Compiled,
}

impl CheckedExpr {
    /// The column that it gives.
    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, self.compiled.data_type.clone(), self.compiled.nullable)
    }

    /// The columns that it reads.
    pub(super) fn reads(&self) -> BTreeSet<String> {
        self.expr.column_refs().into_iter().map(|column| column.name.clone()).collect()
    }
}

impl<'a> Checker<'a> {
    pub(super) fn new(spec: &'a Spec, untrained: Option<&'a str>) -> Self {
        Checker {
            spec,
            untrained,
            problems: Vec::new(),
            warnings: Vec::new(),
            expressions: Expressions::shared(),
            sources: Vec::new(),
            steps: spec.steps.iter().map(|_| None).collect(),
            columns: (Vec::new(), spec.steps.iter().map(|_| Columns::unknown()).collect()),
        }
    }

    /// The columns of a stream, as far as they are known.
    pub(super) fn columns(&self, stream: StreamId) -> &Columns {
        match stream {
            StreamId::Source(index) => &self.columns.0[index],
            StreamId::Step(index) => &self.columns.1[index],
        }
    }

    /// A stream's name.
    pub(super) fn stream_name(&self, stream: StreamId) -> &'a str {
        match stream {
            StreamId::Source(index) => &self.spec.sources[index].name.value,
            StreamId::Step(index) => &self.spec.steps[index].name.value,
        }
    }

    /// Notes what is wrong with a name.
    pub(super) fn findings(&mut self, at: Span, path: &str, findings: Vec<Finding>) {
        for finding in findings {
            self.problem(at, path, finding.message, finding.hint);
        }
    }

    /// Notes what is wrong with an expression, where in it that is known.
    pub(super) fn of_expression(&mut self, sql: &Spanned<String>, path: &str, findings: Vec<Finding>) {
        let problems = self.placed(sql, path, findings);
        self.problems.extend(problems);
    }

    /// Notes what may be wrong with an expression that is right.
    pub(super) fn risks(&mut self, sql: &Spanned<String>, path: &str, expr: &Expr, columns: &[Field]) {
        let findings = self.expressions.risks(expr, columns);
        let warnings = self.placed(sql, path, findings);
        self.warnings.extend(warnings);
    }

    fn placed(&self, sql: &Spanned<String>, path: &str, findings: Vec<Finding>) -> Vec<Problem> {
        let placed = findings.into_iter().map(|finding| {
            let finding = finding.named_as_in(sql, |name| self.expressions.names(name));
            let place = finding.place(sql);
            let at = place.and_then(|(start, length)| self.spec.source.part_of(sql.at, sql, start, length));
            let mut message = finding.message;
            // A text that was filled in from the environment is not the file's.
            if let (None, Some((start, length))) = (at, place) {
                let word: String = sql.chars().skip(start).take(length).collect();
                if !message.contains(&word) {
                    message.push_str(&format!(" (at {word})"));
                }
            }
            self.spec.source.problem(at.unwrap_or(sql.at), path, message, finding.hint)
        });
        placed.collect()
    }

    /// Notes what is wrong with a column of `by` or `select`.
    pub(super) fn of_column(&mut self, column: &ColumnSpec, findings: Vec<Finding>) {
        match &column.sql {
            Some(sql) => self.of_expression(sql, &column.path, findings),
            None => self.findings(column.name.at, &column.path, findings),
        }
    }
}
