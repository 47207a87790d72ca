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
use crate::spec::{ColumnSpec, Span, Spanned, StepSpec, suggest};

impl Checker<'_> {
    /// Checks a step whose inputs have been checked; `None` where something is wrong with it or with them. Its columns are known
    /// where it can be said what they are called.
    pub(super) fn step(&mut self, step: &StepSpec, names: &Names) -> (Option<CheckedStep>, Option<Columns>) {
        let before = self.problems.len();
        let path = format!("steps.{}", step.name.value);
        let inputs: Option<Vec<StreamId>> = step.from.iter().map(|from| names.stream(from)).collect();
        let inputs = inputs.filter(|inputs| !inputs.is_empty());
        let columns = inputs.as_ref().and_then(|inputs| self.union(step, inputs, &path));
        let (Some(inputs), Some(columns)) = (inputs, columns) else {
            self.syntax(step, &path);
            return (None, None);
        };

        let visible = columns.visible();
        let filter = step
            .filter
            .as_ref()
            .and_then(|sql| self.condition(sql, &visible, Place::Row, &format!("{path}.where")));
        if step.window_unknown {
            self.syntax(step, &path);
            return (None, None);
        }
        let (kind, columns) = if step.is_windowed {
            let (window, columns) = self.windowed(step, &visible, &path);
            (window.map(|window| CheckedKind::Window(Box::new(window))), columns)
        } else if step.has_model {
            self.series(step, &inputs, columns, &path)
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
        let checked = kind.filter(|_| is_right).map(|kind| CheckedStep { inputs, visible, filter, kind });
        (checked, (!step.columns_unknown).then_some(columns))
    }

    /// Of a step whose input is not known: whether its expressions are SQL at all.
    fn syntax(&mut self, step: &StepSpec, path: &str) {
        let conditions = [("where", &step.filter), ("having", &step.having)];
        let conditions = conditions
            .into_iter()
            .filter_map(|(key, sql)| sql.as_ref().map(|sql| (format!("{path}.{key}"), sql)));
        let columns = step.by.iter().chain(&step.select).flatten();
        let columns = columns.filter_map(|column| Some((column.path.clone(), column.sql.as_ref()?)));
        for (path, sql) in conditions.chain(columns) {
            if let Err(finding) = self.expressions.syntax(sql) {
                self.of_expression(sql, &path, vec![finding]);
            }
        }
    }

    /// A column of `by` or of `select` without a window.
    pub(super) fn column(&mut self, column: &ColumnSpec, visible: &[Field]) -> Option<CheckedExpr> {
        let (_, sql) = sql_of(column);
        let checked = self.expressions.parse(&sql, visible, Place::Row).and_then(|expr| {
            if reads_unjudged(&expr, visible) {
                return Ok(None);
            }
            let compiled = self.expressions.compile_column(&expr, visible)?;
            Ok(Some(CheckedExpr { name: column.name.value.clone(), sql: text_of(column), expr, compiled }))
        });
        let checked = checked.map_err(|findings| self.of_column(column, findings)).ok().flatten();
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
        let checked = checked.map_err(|findings| self.of_expression(sql, path, findings)).ok().flatten();
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

    /// `None`: nothing can be said of it.
    fn checked_condition(
        &self,
        sql: &Spanned<String>,
        visible: &[Field],
        place: Place,
    ) -> Result<Option<CheckedExpr>, Vec<Finding>> {
        self.expressions.parse(sql, visible, place).and_then(|expr| {
            if reads_unjudged(&expr, visible) {
                return Ok(None);
            }
            let compiled = self.expressions.compile_condition(&expr, visible)?;
            Ok(Some(CheckedExpr { name: String::new(), sql: sql.value.trim().to_owned(), expr, compiled }))
        })
    }

    /// The columns of one input, or of the union of several, which must be equal.
    fn union(&mut self, step: &StepSpec, inputs: &[StreamId], path: &str) -> Option<Columns> {
        let path = format!("{path}.from");
        for (index, stream) in inputs.iter().enumerate() {
            if inputs[..index].contains(stream) {
                let from = &step.from[index];
                let message = format!("\"{}\" is given twice", from.value);
                let hint = "each of its rows would count twice; keep one".to_owned();
                self.problem(from.at, &path, message, Some(hint));
                return None;
            }
        }
        let mut union = self.columns(inputs[0])?.clone();
        let first = self.stream_name(inputs[0]);
        for (index, stream) in inputs.iter().enumerate().skip(1) {
            let other = self.columns(*stream)?.clone();
            let differences = differences(&union.own, &other.own, first, self.stream_name(*stream));
            if !differences.is_empty() {
                let message =
                    format!("a union of streams with different columns: {}", differences.join("; "));
                let hint = "give them equal columns with select in steps before it".to_owned();
                self.problem(step.from[index].at, &path, message, Some(hint));
                return None;
            }
            for column in &mut union.own {
                let Some(same) = other.own.iter().find(|each| each.name() == column.name()) else { continue };
                *column = match is_unjudged(same) {
                    true => unjudged(column.name()),
                    false => column.clone().with_nullable(column.is_nullable() || same.is_nullable()),
                };
            }
            union.metadata.retain(|column| other.metadata.contains(column));
        }
        // A field of the same name hides a record's own column.
        union.metadata.retain(|column| union.own.iter().all(|each| each.name() != column.name()));
        Some(union)
    }
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
