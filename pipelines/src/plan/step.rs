//! Steps: their inputs, where, and select without a window.

use arrow::datatypes::Field;

use super::check::{
    CheckedExpr, CheckedKind, CheckedStep, Checker, Columns, is_unjudged, reads_unjudged, unjudged,
};
use super::expression::Place;
use super::graph::Names;
use super::messages::{self, Finding};
use super::model::StreamId;
use super::types::{column_name, type_name};
use super::windowed::{add, window_columns};
use crate::spec::{ColumnSpec, ModelSpec, Span, Spanned, StepSpec, suggest};

impl Checker<'_> {
    /// Checks a step whose inputs have been checked; `None` where something is wrong with it or with them. Its columns are known
    /// where it can be said what they are called.
    pub(super) fn step(&mut self, step: &StepSpec, names: &Names) -> (Option<CheckedStep>, Option<Columns>) {
        let before = self.problems.len();
        let path = format!("steps.{}", step.name.value);
        let inputs: Vec<Option<StreamId>> = step.from.iter().map(|from| names.stream(from)).collect();
        let columns = self.union(step, &inputs, &path);
        let inputs: Option<Vec<StreamId>> = inputs.into_iter().collect();
        let Some(columns) = columns else {
            self.of_anything(step, &path);
            return (None, named(step));
        };

        let visible = columns.visible();
        let filter = step
            .filter
            .as_ref()
            .and_then(|sql| self.condition(sql, &visible, Place::Row, &format!("{path}.where")));
        if step.window_unknown {
            self.behind_where(step, &path);
            return (None, None);
        }
        let (kind, columns) = if step.is_windowed {
            let (window, columns) = self.windowed(step, &visible, &path);
            (window.map(|window| CheckedKind::Window(Box::new(window))), columns)
        } else if let Some(Spanned { value: ModelSpec::Score(spec), at }) = &step.model {
            self.score(step, Spanned::new(spec, *at), columns, &path)
        } else if step.has_model {
            self.series(step, inputs.as_deref().unwrap_or_default(), columns, &path)
        } else if let Some(select) = &step.select {
            let columns: Vec<Option<CheckedExpr>> =
                select.iter().map(|column| self.column(column, &visible)).collect();
            if columns.is_empty() && !step.incomplete {
                let hint = Some("name at least one column, or leave select out".to_owned());
                self.problem(step.name.at, &format!("{path}.select"), "no columns", hint);
            }
            let own =
                select.iter().zip(&columns).map(|(spec, column)| field(spec, column.as_ref())).collect();
            let columns = columns.into_iter().collect::<Option<Vec<CheckedExpr>>>();
            (columns.map(CheckedKind::Project), Columns { own, metadata: Vec::new() })
        } else {
            (Some(CheckedKind::Pass), columns)
        };
        let is_right = !step.incomplete && self.problems.len() == before && !visible.iter().any(is_unjudged);
        let parts = kind.zip(inputs).filter(|_| is_right);
        let checked = parts.map(|(kind, inputs)| CheckedStep { inputs, visible, filter, kind });
        // What a model adds is not known of one that could not be read.
        let is_model_lost = step.has_model && step.model.is_none();
        if let Some(sql) = step.having.as_ref().filter(|_| is_model_lost && !step.is_windowed) {
            self.expression_of_anything(sql, &format!("{path}.having"), Place::Having);
        }
        let is_known = !step.columns_unknown && !is_model_lost;
        (checked, is_known.then_some(columns))
    }

    /// Of a step whose input is not known: what is wrong with its expressions whatever it reads.
    pub(super) fn of_anything(&mut self, step: &StepSpec, path: &str) {
        if let Some(sql) = &step.filter {
            self.expression_of_anything(sql, &format!("{path}.where"), Place::Row);
        }
        self.behind_where(step, path);
    }

    /// The same of all but `where`.
    fn behind_where(&mut self, step: &StepSpec, path: &str) {
        let of_select = if step.is_windowed || step.window_unknown { Place::Window } else { Place::Row };
        for (columns, place) in [(&step.by, Place::Row), (&step.select, of_select)] {
            for column in columns.iter().flatten() {
                if let Some(sql) = &column.sql {
                    self.expression_of_anything(sql, &column.path, place);
                }
            }
        }
        if let Some(sql) = &step.having {
            self.expression_of_anything(sql, &format!("{path}.having"), Place::Having);
        }
    }

    fn expression_of_anything(&mut self, sql: &Spanned<String>, path: &str, place: Place) {
        let mut findings = match self.expressions.parse(sql, &[], place) {
            Ok(expr) => self.expressions.wrong(&expr, &[]),
            Err(findings) => findings,
        };
        findings.retain(|finding| !finding.is_unknown_column);
        self.of_expression(sql, path, findings);
    }

    /// A column of `by` or of `select` without a window.
    pub(super) fn column(&mut self, column: &ColumnSpec, visible: &[Field]) -> Option<CheckedExpr> {
        if column.is_broken {
            return None;
        }
        let (_, sql) = sql_of(column);
        let checked = self.expressions.parse(&sql, visible, Place::Row).and_then(|expr| {
            if reads_unjudged(&expr, visible) {
                return Err(self.expressions.wrong(&expr, visible));
            }
            let compiled = self.expressions.compile_column(&expr, visible)?;
            Ok(CheckedExpr { name: column.name.value.clone(), sql: text_of(column), expr, compiled })
        });
        let checked = checked.map_err(|findings| self.of_column(column, findings)).ok();
        if let (Some(checked), Some(sql)) = (&checked, &column.sql) {
            self.risks(sql, &column.path, &checked.expr, visible);
        }
        checked
    }

    /// A condition over columns.
    pub(super) fn condition(
        &mut self,
        sql: &Spanned<String>,
        visible: &[Field],
        place: Place,
        path: &str,
    ) -> Option<CheckedExpr> {
        let checked = self.checked_condition(sql, visible, place);
        let checked = checked.map_err(|findings| self.of_expression(sql, path, findings)).ok();
        if let Some(checked) = &checked {
            self.risks(sql, path, &checked.expr, visible);
        }
        checked
    }

    /// A condition over columns of which not all are known.
    pub(super) fn condition_over_some(
        &mut self,
        sql: &Spanned<String>,
        visible: &[Field],
        place: Place,
        path: &str,
    ) -> Option<CheckedExpr> {
        let checked = self.checked_condition(sql, visible, place);
        let mut findings = checked.err()?;
        findings.retain(|finding| !finding.is_unknown_column);
        self.of_expression(sql, path, findings);
        None
    }

    // Of a condition that reads what nothing is known of, all may be right that can be looked at: it is none for all that.
    fn checked_condition(
        &self,
        sql: &Spanned<String>,
        visible: &[Field],
        place: Place,
    ) -> Result<CheckedExpr, Vec<Finding>> {
        self.expressions.parse(sql, visible, place).and_then(|expr| {
            if reads_unjudged(&expr, visible) {
                return Err(self.expressions.wrong(&expr, visible));
            }
            let compiled = self.expressions.compile_condition(&expr, visible)?;
            Ok(CheckedExpr { name: String::new(), sql: sql.value.trim().to_owned(), expr, compiled })
        })
    }

    /// The columns of one input, or of the union of several, which must be equal. Of those that are not known nothing is said; `None`: of
    /// none is anything known.
    fn union(&mut self, step: &StepSpec, inputs: &[Option<StreamId>], path: &str) -> Option<Columns> {
        let path = format!("{path}.from");
        let mut union: Option<(&str, Columns)> = None;
        for (index, (from, stream)) in step.from.iter().zip(inputs).enumerate() {
            let Some(stream) = stream else { continue };
            if inputs[..index].contains(&Some(*stream)) {
                let message = format!("\"{}\" is given twice", from.value);
                let hint = "each of its rows would count twice; keep one".to_owned();
                self.problem(from.at, &path, message, Some(hint));
                continue;
            }
            let Some(other) = self.columns(*stream).cloned() else { continue };
            let Some((first, union)) = &mut union else {
                union = Some((self.stream_name(*stream), other));
                continue;
            };
            let differences = differences(&union.own, &other.own, first, self.stream_name(*stream));
            if !differences.is_empty() {
                let message =
                    format!("a union of streams with different columns: {}", differences.join("; "));
                let hint = "give them equal columns with select in steps before it".to_owned();
                self.problem(from.at, &path, message, Some(hint));
            }
            for column in &mut union.own {
                let Some(same) = other.own.iter().find(|each| each.name() == column.name()) else { continue };
                *column = match same.data_type() == column.data_type() {
                    false => unjudged(column.name()),
                    true => column.clone().with_nullable(column.is_nullable() || same.is_nullable()),
                };
            }
            // What one of them lacks may be named all the same: that it is lacking has been said.
            let is_new = |column: &&Field| union.own.iter().all(|each| each.name() != column.name());
            let more: Vec<Field> = other.own.iter().filter(is_new).cloned().collect();
            union.own.extend(more);
            union.metadata.retain(|column| other.metadata.contains(column));
        }
        let (_, mut union) = union?;
        // A field of the same name hides a record's own column.
        union.metadata.retain(|column| union.own.iter().all(|each| each.name() != column.name()));
        Some(union)
    }
}

/// What a step's columns are called whatever it reads; `None` where that can't be said.
fn named(step: &StepSpec) -> Option<Columns> {
    let is_unknown = step.columns_unknown || step.window_unknown || step.has_model;
    if is_unknown || (!step.is_windowed && step.select.is_none()) {
        return None;
    }
    let mut own = if step.is_windowed { window_columns() } else { Vec::new() };
    let by = step.by.iter().filter(|_| step.is_windowed);
    by.chain(&step.select).flatten().for_each(|column| add(&mut own, unjudged(&column.name.value)));
    Some(Columns { own, metadata: Vec::new() })
}

/// The column that an item of `by` or `select` gives.
pub(super) fn field(spec: &ColumnSpec, checked: Option<&CheckedExpr>) -> Field {
    checked.map_or_else(|| unjudged(&spec.name.value), CheckedExpr::field)
}

/// The SQL of a column and its place; a plain name is quoted, so that it is found whatever its letters.
pub(super) fn sql_of(column: &ColumnSpec) -> (Span, String) {
    match &column.sql {
        Some(sql) => (sql.at, sql.value.clone()),
        None => (column.name.at, format!("\"{}\"", column.name.value)),
    }
}

/// The SQL as the user wrote it.
pub(super) fn text_of(column: &ColumnSpec) -> String {
    column.sql.as_ref().map_or_else(|| column.name.value.clone(), |sql| sql.value.trim().to_owned())
}

/// How the columns of two streams differ, apart from their order and from nulls.
fn differences(first: &[Field], other: &[Field], first_name: &str, other_name: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let other_names: Vec<&str> = other.iter().map(|column| column.name().as_str()).collect();
    for column in first {
        match other.iter().find(|each| each.name() == column.name()) {
            None => {
                let near = suggest::nearest(column.name(), other_names.iter().copied())
                    .filter(|near| first.iter().all(|each| each.name() != near));
                let near = near.map_or_else(String::new, |near| format!(" (it has {near})"));
                differences.push(format!("{other_name} lacks {}{near}", column_name(column)));
            }
            Some(each) if is_unjudged(each) || is_unjudged(column) => {}
            Some(each) if each.data_type() != column.data_type() => differences.push(format!(
                "{} is {} in {first_name}, {} in {other_name}",
                column.name(),
                type_name(column.data_type()),
                type_name(each.data_type())
            )),
            Some(_) => {}
        }
    }
    for column in other.iter().filter(|column| first.iter().all(|each| each.name() != column.name())) {
        differences.push(format!("{first_name} lacks {}", column_name(column)));
    }
    differences
}

/// A column that a sink or key asks for by name.
pub(super) fn find<'f>(name: &str, columns: &'f [Field]) -> Result<(usize, &'f Field), Finding> {
    let found = columns.iter().enumerate().find(|(_, column)| column.name() == name);
    found.ok_or_else(|| messages::unknown_column(name, columns))
}
