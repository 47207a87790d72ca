//! Windowed steps: keys, the aggregates inside select, and what is computed of their results.
//!
//! ```text
//!   select:  errors / cast(count(*) as double)
//!                        └── an aggregate call, taken out once ──▶ aggregates[0], its arguments ──▶ inputs
//!   output:  "__agg_1" / cast("__agg_0" as double)     over window_start, window_end, keys, __agg_0, __agg_1 …
//! ```
//!
//! Inside an aggregate a name is a column of the rows; outside, a key or the window's start or end.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::sql::sqlparser::ast as sql;
use datafusion::sql::unparser::expr_to_sql;
use thalweg_operators::aggregate::{Aggregate, AggregateError};
use thalweg_operators::keyed::is_key_type;

use super::aggregates;
use super::check::{CheckedExpr, CheckedWindow, Checker, Columns, Scope, reads_unjudged, unjudged};
use super::expression::{Compiled, Expressions, Place, Rest, Wrong, is_taken_out};
use super::messages::{self, Context, Finding, Spot};
use super::model::AggregateCall;
use super::step::{field, sql_of, text_of};
use super::types::type_name;
use crate::spec::{ColumnSpec, StepSpec};

/// The columns of every window's result.
pub(super) const WINDOW_START: &str = "window_start";
pub(super) const WINDOW_END: &str = "window_end";

impl Checker<'_> {
    /// Checks the window, keys, select and having of a step; `None` where something is wrong with them. Its columns are known in any case.
    pub(super) fn windowed(
        &mut self,
        step: &StepSpec,
        visible: &Scope,
        path: &str,
    ) -> (Option<CheckedWindow>, Columns) {
        let window = step.window.as_ref().and_then(|window| self.window(window, path));
        let no_columns = Vec::new();
        let by = step.by.as_ref().unwrap_or(&no_columns);
        let select = step.select.as_ref().unwrap_or(&no_columns);
        if by.is_empty() && select.is_empty() && !step.incomplete {
            let hint = "say what to compute: select: { requests: count(*) }".to_owned();
            self.problem(step.name.at, path, "a window without select", Some(hint));
        }
        let keys: Vec<Option<CheckedExpr>> = by.iter().map(|key| self.key(key, visible)).collect();
        for column in select {
            self.clash(column, by);
        }

        // 1. Take the aggregates out of every item.
        let mut results = window_columns();
        by.iter().zip(&keys).for_each(|(spec, key)| add(&mut results, field(spec, key.as_ref())));
        let leading = results.clone();
        let mut parts = Aggregates {
            rows: visible,
            results: results.clone(),
            misnamed: by
                .iter()
                .filter(|key| key.sql.is_none() && !visible.has(&key.name))
                .map(|key| key.name.as_str())
                .collect(),
            keys_unknown: step.keys_unknown,
            inputs: Vec::new(),
            calls: Vec::new(),
            wrong: BTreeSet::new(),
        };
        let items: Vec<Option<Expr>> =
            select.iter().map(|column| self.taken_out(column, &mut parts)).collect();
        let Aggregates { inputs, calls, wrong, .. } = parts;

        // 2. Check what is left over their results.
        for (index, call) in calls.iter().enumerate() {
            // Nullable, whatever the aggregate: one that a running pipeline has got anew is null for windows that are older than it.
            results.push(Field::new(result_name(index), call.aggregate.result_type(), true));
        }
        results.extend(wrong.iter().map(|name| unjudged(name)));
        let mut own = leading;
        let mut output: Vec<Option<CheckedExpr>> =
            own.iter().map(|column| self.same(column, &results)).collect();
        for (column, expr) in select.iter().zip(items) {
            let computed = expr.and_then(|expr| self.over_results(column, expr, &results, (&calls, &wrong)));
            add(&mut own, field(column, computed.as_ref()));
            output.push(computed);
        }

        // 3. Over the step's columns: having.
        let having = step.having.as_ref().map(|sql| {
            let scope = Scope { columns: own.clone(), is_open: step.columns_unknown };
            self.condition(sql, &scope, Place::Having, &format!("{path}.having"))
        });
        let checked = || {
            Some(CheckedWindow {
                window: window?,
                keys: keys.into_iter().collect::<Option<_>>()?,
                inputs,
                aggregates: calls,
                result_columns: results,
                output: output.into_iter().collect::<Option<_>>()?,
                having: match having {
                    Some(having) => Some(having?),
                    None => None,
                },
            })
        };
        (checked(), Columns { own, metadata: Vec::new(), is_open: false })
    }

    /// What is left of an item of select once its aggregates are taken out.
    fn over_results(
        &mut self,
        column: &ColumnSpec,
        expr: Expr,
        results: &[Field],
        (calls, wrong): (&[AggregateCall], &BTreeSet<String>),
    ) -> Option<CheckedExpr> {
        let checked = match reads_unjudged(&expr, results) {
            true => Err(self.expressions.wrong(&expr, results)),
            false => self.expressions.compile_column(&expr, results),
        };
        match checked {
            Ok(compiled) => {
                let (name, sql) = (column.name.value.clone(), text_of(column));
                Some(CheckedExpr { name, sql, expr, compiled })
            }
            Err(findings) => {
                let readable = findings.into_iter().map(|finding| readable(finding, calls, wrong));
                self.of_column(column, readable.collect());
                None
            }
        }
    }

    pub(super) fn key(&mut self, key: &ColumnSpec, visible: &Scope) -> Option<CheckedExpr> {
        if [WINDOW_START, WINDOW_END].contains(&key.name.as_str()) {
            let message = format!("a key called {}", key.name.value);
            let hint =
                "the window's own columns are called so; give the key another name: { name: expression }";
            self.problem(key.name.at, &key.path, message, Some(hint.into()));
            return None;
        }
        let checked = self.column(key, visible)?;
        if !is_key_type(&checked.compiled.data_type) {
            let message = format!("a key can't be of type {}", type_name(&checked.compiled.data_type));
            let hint = "a key is a single value: a number, a text, a time, true or false".to_owned();
            self.problem(sql_of(key).0, &key.path, message, Some(hint));
            return None;
        }
        Some(checked)
    }

    /// A name in select that the step's columns hold already.
    fn clash(&mut self, column: &ColumnSpec, by: &[ColumnSpec]) {
        let name = column.name.as_str();
        if [WINDOW_START, WINDOW_END].contains(&name) || by.iter().any(|key| key.name.value == name) {
            let hint = match column.sql {
                None => "window_start, window_end and the keys come first by themselves; leave it out",
                Some(_) => {
                    "window_start, window_end and the keys come first by themselves; choose another name"
                }
            };
            self.problem(
                column.name.at,
                &column.path,
                format!("a second column \"{name}\""),
                Some(hint.into()),
            );
        }
    }

    /// Parses an item of select and takes its aggregates out.
    fn taken_out(&mut self, column: &ColumnSpec, parts: &mut Aggregates<'_>) -> Option<Expr> {
        if column.is_broken {
            return None;
        }
        let (_, sql) = sql_of(column);
        let known = parts.known();
        let parsed = self.expressions.parse_or_rest(&sql, &known, Place::Window);
        let taken = parsed.and_then(|expr| {
            parts.take_out(expr, self.expressions).map_err(|findings| Wrong { findings, rest: None })
        });
        let (expr, findings) = match taken {
            Ok((expr, findings)) => (Some(expr), findings),
            Err(Wrong { mut findings, rest }) => {
                let of_rest = rest.map_or_else(Vec::new, |rest| parts.of_rest(*rest, self.expressions));
                let new: Vec<Finding> = of_rest.into_iter().filter(|each| !findings.contains(each)).collect();
                findings.extend(new);
                (None, findings)
            }
        };
        self.of_column(column, findings);
        expr
    }

    /// A column as it is.
    fn same(&mut self, column: &Field, columns: &[Field]) -> Option<CheckedExpr> {
        let expr = Expr::Column(Column::new_unqualified(column.name()));
        let compiled = self.expressions.compile(&expr, columns).ok()?;
        Some(CheckedExpr { name: column.name().clone(), sql: column.name().clone(), expr, compiled })
    }
}

/// The aggregates of a select, each once.
struct Aggregates<'c> {
    rows: &'c Scope,
    /// window_start, window_end and the keys.
    results: Vec<Field>,
    /// Keys that are given by a name which is none, and so not theirs.
    misnamed: Vec<&'c str>,
    /// There may be further keys.
    keys_unknown: bool,
    inputs: Vec<CheckedExpr>,
    calls: Vec<AggregateCall>,
    /// What stands for aggregates, and for columns outside of them, that are wrong.
    wrong: BTreeSet<String>,
}

impl Aggregates<'_> {
    /// All names that may stand in an item, inside or outside an aggregate.
    fn known(&self) -> Scope {
        let of_results = self.results.iter().filter(|column| !self.rows.has(column.name()));
        let columns = self.rows.columns.iter().chain(of_results).cloned().collect();
        // What is not known may be one of the keys that could not be read.
        Scope { columns, is_open: self.rows.is_open || self.keys_unknown }
    }

    /// The expression with each aggregate replaced by the column of its results, and what is wrong with them.
    fn take_out(
        &mut self,
        expr: Expr,
        expressions: &Expressions,
    ) -> Result<(Expr, Vec<Finding>), Vec<Finding>> {
        let mut findings = Vec::new();
        let taken = expr.transform_down(|node| -> Result<Transformed<Expr>, DataFusionError> {
            let name = match &node {
                Expr::AggregateFunction(call) => match self.call(call, expressions) {
                    Ok(index) => result_name(index),
                    Err(wrong) => {
                        findings.extend(wrong);
                        self.wrong()
                    }
                },
                Expr::Column(column) if self.results.iter().all(|each| *each.name() != column.name) => {
                    // It may be one of the keys that could not be read: then nothing can be said of it.
                    let finding = (!self.keys_unknown).then(|| outside(&column.name));
                    findings.extend(finding.filter(|finding| !findings.contains(finding)));
                    self.wrong()
                }
                // It has been said what is wrong here; what stands in it may be meant for an aggregate.
                Expr::WindowFunction(_) | Expr::Unnest(_) => self.wrong(),
                taken_out if is_taken_out(taken_out) => self.wrong(),
                _ => return Ok(Transformed::no(node)),
            };
            let column = Expr::Column(Column::new_unqualified(name));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        });
        let context = Context { sql: "", columns: &self.rows.columns, functions: &[], usage: &|_| None };
        let expr = taken.map_err(|error| vec![messages::explain(&error, &context)])?.data;
        Ok((expr, findings))
    }

    /// What is wrong with the aggregates of an expression of which something else is wrong.
    fn of_rest(&self, rest: Rest, expressions: &Expressions) -> Vec<Finding> {
        let mut rows = self.rows.clone();
        rows.columns.extend(rest.unknown.iter().cloned());
        let results = self.results.iter().cloned().chain(rest.unknown).collect();
        let mut parts = Aggregates {
            rows: &rows,
            results,
            misnamed: self.misnamed.clone(),
            keys_unknown: self.keys_unknown,
            inputs: Vec::new(),
            calls: Vec::new(),
            wrong: BTreeSet::new(),
        };
        match parts.take_out(rest.expr, expressions) {
            Ok((_, findings)) | Err(findings) => findings,
        }
    }

    /// A column of which nothing is known.
    fn wrong(&mut self) -> String {
        let name = format!("__wrong_{}", self.wrong.len());
        self.wrong.insert(name.clone());
        name
    }

    /// The number of an aggregate call, which is new unless an equal one was there.
    fn call(&mut self, call: &AggregateFunction, expressions: &Expressions) -> Result<usize, Vec<Finding>> {
        let name = call.func.name();
        let parameters = &call.params;
        if !parameters.order_by.is_empty() {
            let hint = match name {
                "first_value" | "last_value" => {
                    "the order is that of event time; for another, write arg_min(x, by) or arg_max(x, by)"
                }
                _ => {
                    "results don't depend on the rows' order; for one value, write arg_min(x, by) or arg_max(x, by)"
                }
            };
            return Err(vec![Finding::new(format!("{name}(… order by …)"), hint)]);
        }
        if parameters.null_treatment.is_some() {
            let hint = "leave nulls out with filter: first_value(x) filter (where x is not null)";
            return Err(vec![Finding::new(format!("{name}(…) ignoring or respecting nulls"), hint)]);
        }
        let arguments = if is_count_of_rows(name, &parameters.args) && !parameters.distinct {
            &[]
        } else {
            parameters.args.as_slice()
        };
        let function = aggregates::function(name, parameters.distinct, arguments.len(), |index| {
            expressions.constant(&arguments[index])
        });
        let columns = function.as_ref().map_or(arguments.len(), |(_, columns)| *columns);
        let mut wrong = Vec::new();
        let mut of_rows = |expr: &Expr, is_condition: bool| -> Option<Compiled> {
            let rows = &self.rows.columns;
            let is_of_rows = expr.column_refs().iter().all(|column| self.rows.has(&column.name));
            let compiled = match self.inside(expr, name) {
                inside if !inside.is_empty() || !is_of_rows => {
                    let others = self.results.iter().filter(|column| !self.rows.has(column.name()));
                    let others = others.map(|column| unjudged(column.name()));
                    let columns: Vec<Field> = rows.iter().cloned().chain(others).collect();
                    Err(inside.into_iter().chain(expressions.wrong(expr, &columns)).collect())
                }
                _ if reads_unjudged(expr, rows) || lacks_parts(expr) => Err(expressions.wrong(expr, rows)),
                _ if is_condition => expressions.compile_condition(expr, rows),
                _ => expressions.compile_column(expr, rows),
            };
            compiled.map_err(|findings| wrong.extend(findings)).ok()
        };
        let compiled: Vec<Option<Compiled>> =
            arguments[..columns].iter().map(|argument| of_rows(argument, false)).collect();
        let filter = parameters.filter.as_deref().map(|filter| (filter, of_rows(filter, true)));
        let known: Option<Vec<Compiled>> = compiled.into_iter().collect();
        let types: Vec<DataType> =
            known.iter().flatten().map(|compiled| compiled.data_type.clone()).collect();
        let aggregate = match function {
            Ok((function, _)) if known.is_some() => {
                Aggregate::new(function, &types).map_err(|error| wrong.push(refused(&error, &types))).ok()
            }
            Ok(_) => None,
            Err(finding) => {
                wrong.insert(0, finding);
                None
            }
        };
        let filter = match filter {
            Some((filter, compiled)) => compiled.map(|compiled| Some((filter, compiled))),
            None => Some(None),
        };
        let (Some(known), Some(aggregate), Some(filter)) = (known, aggregate, filter) else {
            return Err(wrong);
        };
        let inputs = arguments.iter().zip(known);
        let numbers = inputs.map(|(argument, compiled)| self.input(argument, compiled)).collect();
        let filter = filter.map(|(filter, compiled)| self.input(filter, compiled));
        let call = AggregateCall { aggregate, arguments: numbers, filter };
        Ok(self.calls.iter().position(|each| *each == call).unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        }))
    }

    /// What stands inside an aggregate and must not: columns of the results, another aggregate.
    fn inside(&self, expr: &Expr, name: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let is_nested = expr.exists(|node| Ok(matches!(node, Expr::AggregateFunction(_))));
        if is_nested.unwrap_or(false) {
            let hint =
                "compute the inner one in a windowed step of its own, and the outer one in a step from it";
            findings.push(Finding::new(format!("an aggregate inside {name}(…)"), hint));
        }
        let mut names: Vec<&str> =
            expr.column_refs().into_iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        // A column of the rows that is not known may be called as one of the results is.
        let is_strange = |name: &&str| !self.rows.is_open && !self.rows.has(name);
        for unknown in names.into_iter().filter(is_strange) {
            findings.push(if self.misnamed.contains(&unknown) {
                messages::unknown_column(unknown, &self.rows.columns).at(Spot::Text(unknown.to_owned()))
            } else {
                let hint = "inside an aggregate stand columns of the rows; use it outside";
                Finding::new(format!("{unknown}, a column of the results, inside {name}(…)"), hint)
            });
        }
        findings
    }

    fn input(&mut self, expr: &Expr, compiled: Compiled) -> usize {
        self.inputs
            .iter()
            .position(|each| each.expr == *expr && each.compiled.data_type == compiled.data_type)
            .unwrap_or_else(|| {
                let name = format!("__in_{}", self.inputs.len());
                let sql = sql_text(expr);
                self.inputs.push(CheckedExpr { name, sql, expr: expr.clone(), compiled });
                self.inputs.len() - 1
            })
    }
}

/// Whether something was taken out of an expression.
fn lacks_parts(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_taken_out(part))).unwrap_or(true)
}

/// A column of the rows where the window's results stand.
fn outside(name: &str) -> Finding {
    let hint = format!("add it to by, or take one value of the window: first_value({name}), max({name})");
    let message = format!("the column {name} is neither a key nor inside an aggregate");
    Finding::new(message, hint).at(Spot::Text(name.to_owned()))
}

/// `count(*)`, which the planner writes as a count of a constant.
fn is_count_of_rows(name: &str, arguments: &[Expr]) -> bool {
    name == "count"
        && arguments.iter().all(|argument| matches!(argument, Expr::Literal(value, _) if !value.is_null()))
}

// A name that is taken already has been said.
fn add(columns: &mut Vec<Field>, column: Field) {
    if columns.iter().all(|each| each.name() != column.name()) {
        columns.push(column);
    }
}

fn window_columns() -> Vec<Field> {
    let time = thalweg_schemas::time::timestamp_type();
    vec![Field::new(WINDOW_START, time.clone(), false), Field::new(WINDOW_END, time, false)]
}

fn result_name(index: usize) -> String {
    format!("__agg_{index}")
}

/// Why a function doesn't take arguments of these types.
fn refused(error: &AggregateError, types: &[DataType]) -> Finding {
    match error {
        AggregateError::ArgumentTypes { function, takes, .. } => {
            let types: Vec<String> = types.iter().map(type_name).collect();
            Finding::new(
                format!("{function} does not take {}", types.join(", ")),
                format!("it takes {takes}"),
            )
        }
        other => Finding::without_hint(other.to_string()),
    }
}

/// An expression as SQL.
fn sql_text(expr: &Expr) -> String {
    match expr_to_sql(expr) {
        // The outermost brackets say nothing.
        Ok(sql::Expr::Nested(inner)) => inner.to_string(),
        Ok(tree) => tree.to_string(),
        Err(_) => expr.human_display().to_string(),
    }
}

/// A finding with the internal names of results spelled out.
fn readable(mut finding: Finding, calls: &[AggregateCall], wrong: &BTreeSet<String>) -> Finding {
    for (index, call) in calls.iter().enumerate().rev() {
        let name = format!("{}(…)", call.aggregate.function().name());
        finding.message = finding.message.replace(&result_name(index), &name);
        finding.hint = finding.hint.map(|hint| hint.replace(&result_name(index), &name));
    }
    let wrong: Vec<(String, String)> = wrong.iter().map(|name| (name.clone(), "…".to_owned())).collect();
    finding.rename(&wrong);
    finding
}
