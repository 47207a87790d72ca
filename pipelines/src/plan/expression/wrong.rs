//! All that is wrong with an expression. The planner ends at the first mistake: here what is wrong is said, is taken out, and the rest is
//! looked at.
//!
//! ```text
//!   SQL tree ──▶ the smallest parts that can't be planned    ──▶ __unknown()
//!   planned  ──▶ the smallest parts whose types don't fit    ──▶ a column of a type that is known all the same, or of none
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, not_impl_err};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, Visit, VisitMut, Visitor, VisitorMut,
};

use super::{Expressions, df_schema, unknown_column};
use crate::plan::messages::{self, Context, Finding, Spot};

/// Stands where something was taken out of which nothing is known.
const UNKNOWN: &str = "__unknown";
/// Columns of this name and a number stand where something was taken out.
const PART: &str = "__part_";

/// A planner that knows [`UNKNOWN`] besides.
pub(super) fn lenient(state: &SessionState) -> SessionState {
    let signature =
        Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Immutable);
    let mut functions: Vec<Arc<ScalarUDF>> = state.scalar_functions().values().map(Arc::clone).collect();
    functions.push(Arc::new(ScalarUDF::new_from_impl(Unknown { signature })));
    SessionStateBuilder::new_from_existing(state.clone()).with_scalar_functions(functions).build()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unknown {
    signature: Signature,
}

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &str {
        UNKNOWN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        not_impl_err!("{UNKNOWN} stands for what is wrong, and nothing wrong is run")
    }
}

/// Whether a part of an expression was taken out.
pub(in crate::plan) fn is_taken_out(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == UNKNOWN)
}

fn unknown_call() -> SqlExpr {
    let list = FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(UNKNOWN)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Takes a function out that is not there: its arguments stay, unless they may be other things than columns.
pub(super) fn without_function(tree: &mut SqlExpr, name: String) {
    let _: ControlFlow<()> = VisitMut::visit(tree, &mut ReplaceFunction { name });
}

struct ReplaceFunction {
    name: String,
}

impl VisitorMut for ReplaceFunction {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if let SqlExpr::Function(call) = expr
            && call.name.to_string().to_lowercase() == self.name
        {
            if messages::is_of_elsewhere(&self.name) {
                *expr = unknown_call();
                return ControlFlow::Continue(());
            }
            call.name = ObjectName::from(vec![Ident::new(UNKNOWN)]);
            if let FunctionArguments::List(list) = &mut call.args {
                // Of rows as a whole, as in `count(*)`, there is nothing to look at.
                list.args.retain(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(_))));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Takes queries out; whether there are any.
pub(super) fn without_queries(tree: &mut SqlExpr) -> bool {
    let mut replace = ReplaceQuery { is_changed: false };
    let _: ControlFlow<()> = VisitMut::visit(tree, &mut replace);
    replace.is_changed
}

struct ReplaceQuery {
    is_changed: bool,
}

impl VisitorMut for ReplaceQuery {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if Visit::visit(expr, &mut FindQuery).is_break() {
            (*expr, self.is_changed) = (unknown_call(), true);
        }
        ControlFlow::Continue(())
    }
}

/// Finds a query inside an expression.
struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// Takes the smallest parts out that can't be planned. What is wrong with them, and whether there are any; nothing is said of parts that
/// read something of which nothing is known.
pub(super) fn without_unplannable(
    tree: &mut SqlExpr,
    state: &SessionState,
    columns: &[Field],
    explain: &dyn Fn(DataFusionError) -> Finding,
) -> Option<Vec<Finding>> {
    let schema = df_schema(columns).ok()?;
    let mut repair = Repair { state, schema, columns, explain, is_changed: false, findings: Vec::new() };
    let _: ControlFlow<()> = VisitMut::visit(tree, &mut repair);
    repair.is_changed.then_some(repair.findings)
}

struct Repair<'a> {
    state: &'a SessionState,
    schema: DFSchema,
    columns: &'a [Field],
    explain: &'a dyn Fn(DataFusionError) -> Finding,
    is_changed: bool,
    findings: Vec<Finding>,
}

impl VisitorMut for Repair<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<()> {
        if matches!(expr, SqlExpr::Identifier(_) | SqlExpr::Value(_) | SqlExpr::Lambda(_)) {
            return ControlFlow::Continue(());
        }
        let tree = datafusion::sql::sqlparser::ast::ExprWithAlias { expr: expr.clone(), alias: None };
        let Err(error) = self.state.create_logical_expr_from_sql_expr(tree, &self.schema) else {
            return ControlFlow::Continue(());
        };
        // Those are found by name; inside a lambda, its variables are no columns.
        if unknown_column(&error).is_some() || messages::unknown_function(&error).is_some() {
            return ControlFlow::Continue(());
        }
        let of_unknown = Visit::visit(expr, &mut FindUnknown { columns: self.columns }).is_break();
        if !of_unknown {
            let finding = (self.explain)(error);
            self.findings.push(match finding.spot {
                Some(_) => finding,
                None => finding.at(Spot::Text(expr.to_string())),
            });
        }
        (*expr, self.is_changed) = (unknown_call(), true);
        ControlFlow::Continue(())
    }
}

/// Finds what nothing is known of.
struct FindUnknown<'a> {
    columns: &'a [Field],
}

impl Visitor for FindUnknown<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
        let is_unjudged = |name: &Ident| {
            let name =
                if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            self.columns.iter().any(|column| *column.name() == name && *column.data_type() == DataType::Null)
        };
        let is_unknown = match expr {
            SqlExpr::Identifier(name) => is_unjudged(name),
            SqlExpr::CompoundIdentifier(names) => names.iter().any(is_unjudged),
            SqlExpr::Function(call) => call.name.to_string() == UNKNOWN,
            _ => false,
        };
        if is_unknown { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Expressions {
    /// All parts of an expression whose types don't fit. Of columns without a type, and of what is computed of them, nothing is said.
    pub(in crate::plan) fn wrong(&self, expr: &Expr, columns: &[Field]) -> Vec<Finding> {
        let Ok(schema) = df_schema(columns) else { return Vec::new() };
        let mut judge = Judge {
            expressions: self,
            columns: columns.to_vec(),
            schema,
            parts: Vec::new(),
            findings: Vec::new(),
        };
        judge.judged(expr.clone());
        let Judge { parts, mut findings, .. } = judge;
        findings.iter_mut().for_each(|finding| finding.rename(&parts));
        findings.dedup();
        findings
    }
}

struct Judge<'e> {
    expressions: &'e Expressions,
    columns: Vec<Field>,
    schema: DFSchema,
    /// What was taken out, as SQL, by the names of the columns that stand there.
    parts: Vec<(String, String)>,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    /// The expression without what is wrong in it.
    fn judged(&mut self, expr: Expr) -> Expr {
        if matches!(
            expr,
            Expr::Literal(..) | Expr::Column(_) | Expr::HigherOrderFunction(_) | Expr::Lambda(_)
        ) {
            return expr;
        }
        let original = expr.clone();
        let Ok(Transformed { data: expr, .. }) =
            expr.map_children(|child| Ok(Transformed::no(self.judged(child))))
        else {
            return original;
        };
        let found = match &expr {
            // Said already where it must not stand; taken out and judged by itself where it may.
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::Placeholder(_) | Expr::Unnest(_) => {
                return self.taken_out(&original, DataType::Null);
            }
            _ if self.is_of_unknown(&expr) => messages::explain_types(&expr, &self.schema, None),
            _ => match self.expressions.compiled(&expr, &self.schema) {
                Ok(_) => return expr,
                Err(error) => match messages::explain_types(&expr, &self.schema, Some(&error)) {
                    types if types.is_empty() => {
                        let finding = self.explain(&error);
                        vec![match finding.spot {
                            Some(_) => finding,
                            None => finding.at(Spot::Text(messages::written(&expr))),
                        }]
                    }
                    types => types,
                },
            },
        };
        self.findings.extend(found);
        let data_type = self.type_in_any_case(&expr);
        self.taken_out(&original, data_type)
    }

    fn explain(&self, error: &DataFusionError) -> Finding {
        let usage = |name: &str| self.expressions.usage(name);
        messages::explain(error, &Context { sql: "", columns: &self.columns, functions: &[], usage: &usage })
    }

    /// Whether one of its parts is of no type.
    fn is_of_unknown(&self, expr: &Expr) -> bool {
        let is_unknown = |part: &Expr| match part {
            Expr::Column(column) => {
                let field = self.columns.iter().find(|field| *field.name() == column.name);
                field.is_some_and(|field| *field.data_type() == DataType::Null)
            }
            other => is_taken_out(other),
        };
        expr.exists(|part| Ok(is_unknown(part))).unwrap_or(true)
    }

    /// The type of an expression whatever its operands are.
    fn type_in_any_case(&self, expr: &Expr) -> DataType {
        match expr {
            Expr::BinaryExpr(binary) if is_condition(binary.op) => DataType::Boolean,
            Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
                // Between conditions "or" is meant.
                let is_condition = |side: &Expr| side.get_type(&self.schema).ok() == Some(DataType::Boolean);
                match is_condition(&binary.left) || is_condition(&binary.right) {
                    true => DataType::Null,
                    false => DataType::Utf8,
                }
            }
            Expr::Like(_) | Expr::Between(_) | Expr::InList(_) | Expr::Not(_) => DataType::Boolean,
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => DataType::Boolean,
            Expr::Cast(_) | Expr::TryCast(_) => expr.get_type(&self.schema).unwrap_or(DataType::Null),
            _ => DataType::Null,
        }
    }

    fn taken_out(&mut self, original: &Expr, data_type: DataType) -> Expr {
        let name = format!("{PART}{}", self.parts.len());
        self.columns.push(Field::new(&name, data_type, true));
        self.parts.push((name.clone(), messages::written(original)));
        if let Ok(schema) = df_schema(&self.columns) {
            self.schema = schema;
        }
        Expr::Column(Column::new_unqualified(name))
    }
}

fn is_condition(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let is_pattern = matches!(
        op,
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
    );
    is_pattern || matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq)
}
