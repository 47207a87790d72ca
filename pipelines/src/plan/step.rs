//! Steps: their inputs, where, and select without a window.

use arrow::datatypes::Field;

use super::check::{
    CheckedExpr, CheckedKind, CheckedStep, Checker, Columns, Scope, is_unjudged, reads_unjudged, unjudged,
};
use super::expression::Place;
use super::graph::Names;
use super::messages::{self, Finding};
use super::model::StreamId;
use super::types::{column_name, type_name};
use crate::spec::{ColumnSpec, ModelSpec, Span, Spanned, StepSpec, suggest};

impl Checker<'_> {
    /// Checks a step whose inputs have been checked; `None` where something is wrong with it or with them. Its columns are known as far as
    /// it can be said what they are called.
    pub(super) fn step(&mut self, step: &StepSpec, names: &Names) -> (Option<CheckedStep>, Columns) {
        let before = self.problems.len();
        let path = format!("steps.{}", step.name.value);
        let inputs: Vec<Option<StreamId>> = step.from.iter().map(|from| names.stream(from)).collect();
        let columns = self.union(step, &inputs, &path);
        let inputs: Option<Vec<StreamId>> = inputs.into_iter().collect();
        let visible = columns.visible();
        let filter = step
            .filter
            .as_ref()
            .and_then(|sql| self.condition(sql, &visible, Place::Row, &format!("{path}.where")));
        if step.window_unknown {
            self.behind_where(step, &path);
            return (None, Columns::unknown());
        }
        let (kind, mut columns) = if step.is_windowed {
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
            (columns.map(CheckedKind::Project), Columns { own, metadata: Vec::new(), is_open: false })
        } else {
            (Some(CheckedKind::Pass), columns)
        };
        columns.is_open |= step.columns_unknown;
        let is_known = !visible.is_open && !visible.columns.iter().any(is_unjudged);
        let is_right = !step.incomplete && self.problems.len() == before && is_known;
        let parts = kind.zip(inputs).filter(|_| is_right);
        let visible = visible.columns;
        let checked = parts.map(|(kind, inputs)| CheckedStep { inputs, visible, filter, kind });
        (checked, columns)
    }

    /// What is wrong with the expressions of a step behind its `where`, whatever they stand for.
    fn behind_where(&mut self, step: &StepSpec, path: &str) {
        let anything = Scope { columns: Vec::new(), is_open: true };
        for (columns, place) in [(&step.by, Place::Row), (&step.select, Place::Window)] {
            for column in columns.iter().flatten() {
                if let Some(sql) = &column.sql {
                    let findings = match self.expressions.parse(sql, &anything, place) {
                        Ok(expr) => self.expressions.wrong(&expr, &[]),
                        Err(findings) => findings,
                    };
                    self.of_expression(sql, &column.path, findings);
                }
            }
        }
        if let Some(sql) = &step.having {
            self.condition(sql, &anything, Place::Having, &format!("{path}.having"));
        }
    }

    /// A column of `by` or of `select` without a window.
    pub(super) fn column(&mut self, column: &ColumnSpec, visible: &Scope) -> Option<CheckedExpr> {
        if column.is_broken {
            return None;
        }
        let (_, sql) = sql_of(column);
        let fields = &visible.columns;
        let checked = self.expressions.parse(&sql, visible, Place::Row).and_then(|expr| {
            if reads_unjudged(&expr, fields) {
                return Err(self.expressions.wrong(&expr, fields));
            }
            let compiled = self.expressions.compile_column(&expr, fields)?;
            Ok(CheckedExpr { name: column.name.value.clone(), sql: text_of(column), expr, compiled })
        });
        let checked = checked.map_err(|findings| self.of_column(column, findings)).ok();
        if let (Some(checked), Some(sql)) = (&checked, &column.sql) {
            self.risks(sql, &column.path, &checked.expr, fields);
        }
        checked
    }

    /// A condition over columns. Of one that reads what nothing is known of, all may be right that can be looked at: it is none for all that.
    pub(super) fn condition(
        &mut self,
        sql: &Spanned<String>,
        visible: &Scope,
        place: Place,
        path: &str,
    ) -> Option<CheckedExpr> {
        let fields = &visible.columns;
        let checked = self.expressions.parse(sql, visible, place).and_then(|expr| {
            if reads_unjudged(&expr, fields) {
                return Err(self.expressions.wrong(&expr, fields));
            }
            let compiled = self.expressions.compile_condition(&expr, fields)?;
            Ok(CheckedExpr { name: String::new(), sql: sql.value.trim().to_owned(), expr, compiled })
        });
        let checked = checked.map_err(|findings| self.of_expression(sql, path, findings)).ok();
        if let Some(checked) = &checked {
            self.risks(sql, path, &checked.expr, fields);
        }
        checked
    }

    /// The columns of one input, or of the union of several, which must be equal: what is known of one is known of all.
    fn union(&mut self, step: &StepSpec, inputs: &[Option<StreamId>], path: &str) -> Columns {
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
            let other = self.columns(*stream).clone();
            let (first, union) = match &mut union {
                Some((first, union)) if !union.are_unknown() => (first, union),
                _ => {
                    union = Some((self.stream_name(*stream), other));
                    continue;
                }
            };
            if other.are_unknown() {
                continue;
            }
            let differences = differences(union, &other, first, self.stream_name(*stream));
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
            union.is_open &= other.is_open;
        }
        let mut union = union.map_or_else(Columns::unknown, |(_, union)| union);
        // A field of the same name hides a record's own column.
        union.metadata.retain(|column| union.own.iter().all(|each| each.name() != column.name()));
        union
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
fn differences(first: &Columns, other: &Columns, first_name: &str, other_name: &str) -> Vec<String> {
    let mut differences = Vec::new();
    // What one of them lacks may be what is not known of it.
    let (may_lack, other_may_lack) = (first.is_open, other.is_open);
    let (first, other) = (&first.own, &other.own);
    let other_names: Vec<&str> = other.iter().map(|column| column.name().as_str()).collect();
    for column in first {
        match other.iter().find(|each| each.name() == column.name()) {
            None if other_may_lack => {}
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
    let lacks = |column: &&Field| !may_lack && first.iter().all(|each| each.name() != column.name());
    for column in other.iter().filter(lacks) {
        differences.push(format!("{first_name} lacks {}", column_name(column)));
    }
    differences
}

/// A column that a sink or key asks for by name.
pub(super) fn find<'f>(name: &str, columns: &'f [Field]) -> Result<(usize, &'f Field), Finding> {
    let found = columns.iter().enumerate().find(|(_, column)| column.name() == name);
    found.ok_or_else(|| messages::unknown_column(name, columns))
}
