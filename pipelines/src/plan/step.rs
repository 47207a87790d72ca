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
        (checked, (!step.columns_unknown).then_some(columns))
    }

    /// Of a step whose input is not known: whether its expressions are SQL at all.
    pub(super) fn syntax(&mut self, step: &StepSpec, path: &str) {
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
