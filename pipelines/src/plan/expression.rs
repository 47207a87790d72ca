//! SQL expressions: text in, a checked and compiled expression out, or everything that is wrong with it.
//!
//! ```text
//!   text ──parse──▶ SQL tree ──plan──▶ logical expression ──refuse──▶ … ──coerce, simplify──▶ physical expression
//!            │                │                              │                     │
//!          syntax       unknown columns,             aggregates, volatile      types don't fit
//!                         functions                functions, subqueries
//! ```
//!
//! This file and its neighbours `aggregates.rs` and `messages/` are the only places that know DataFusion's planner.
//! Nothing here waits or needs a runtime.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, SchemaError};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;

use super::aggregates;
use super::check::Scope;
use super::messages::{self, Context, Finding, Spot};
use super::types::type_name;

mod pieces;
mod wrong;

pub(super) use self::wrong::is_taken_out;

/// How many mistakes of one expression are said.
const MISTAKES_MAX: usize = 100;

/// DataFusion's planner for single expressions, with our aggregates in place of its own.
pub(super) struct Expressions {
    state: SessionState,
    /// As `state`, for expressions of which parts were taken out.
    lenient: SessionState,
}

/// Where an expression stands, which decides what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `where`, `by`, `select` without a window: scalar functions of a row.
    Row,
    /// `select` of a windowed step: aggregates too.
    Window,
    /// `having`: over the results' columns.
    Having,
    /// Outside of a pipeline: scalar functions of a record.
    Record,
}

/// An expression that is wrong.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) findings: Vec<Finding>,
    /// `None`: nothing can be said of it.
    pub(super) rest: Option<Box<Rest>>,
}

/// What is left of an expression where what is wrong was taken out.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) expr: Expr,
    /// Columns that it names and that are not there.
    pub(super) unknown: Vec<Field>,
}

impl Expressions {
    /// The one that all checks of a process share: it takes longer to make than a spec to check, and never changes.
    pub(super) fn shared() -> &'static Expressions {
        static SHARED: LazyLock<Expressions> = LazyLock::new(Expressions::new);
        &SHARED
    }

    pub(super) fn new() -> Self {
        let mut config = SessionConfig::new();
        // Streams carry plain strings.
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_aggregate_functions(aggregates::stubs())
            .build();
        Expressions { lenient: wrong::lenient(&state), state }
    }

    /// Parses an expression over the columns of a scope and refuses what its place does not allow. Types are not checked yet.
    ///
    /// # Errors
    /// What is wrong with it. Of names that are none nothing is said where not all names are known: then there may be nothing to say.
    pub(super) fn parse(&self, sql: &str, scope: &Scope, place: Place) -> Result<Expr, Vec<Finding>> {
        self.parse_or_rest(sql, scope, place).map_err(|wrong| wrong.findings)
    }

    /// As [`Expressions::parse`], with what is left of an expression that is wrong.
    pub(super) fn parse_or_rest(&self, sql: &str, scope: &Scope, place: Place) -> Result<Expr, Wrong> {
        let mut rest = None;
        self.parsed(sql, &scope.columns, place, &mut rest).map_err(|mut findings| {
            findings.retain(|finding| !(scope.is_open && finding.is_unknown_column));
            Wrong { findings, rest }
        })
    }

    fn parsed(
        &self,
        sql: &str,
        columns: &[Field],
        place: Place,
        rest: &mut Option<Box<Rest>>,
    ) -> Result<Expr, Vec<Finding>> {
        let dialect = self.state.config_options().sql_parser.dialect;
        let functions = self.function_names(place);
        let usage = |name: &str| self.usage(name);
        let context = Context { sql, columns, functions: &functions, usage: &usage };
        let explain = |error: DataFusionError| messages::explain(&error, &context);
        let mut tree = self.state.sql_to_expr_with_alias(sql, &dialect).map_err(|error| {
            let mut findings = vec![explain(error)];
            for finding in self.of_pieces(sql, columns, place) {
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
            findings
        })?;
        let mut known: Vec<Field> = columns.to_vec();
        let mut findings: Vec<Finding> = Vec::new();
        let (mut state, mut is_whole) = (&self.state, true);
        if let Some(alias) = tree.alias.take() {
            let hint = "the field's name is the column's name; leave out the alias";
            findings.push(Finding::new(format!("an alias (as {alias})"), hint));
        }
        if wrong::without_queries(&mut tree.expr) {
            let hint =
                "an expression sees one row at a time, or one window; join streams in steps of their own";
            findings.push(Finding::new("a subquery", hint));
            state = &self.lenient;
        }
        // What is wrong ends planning: take it out, or an unknown name as known, and plan again, to find the next.
        while findings.len() < MISTAKES_MAX {
            let schema = df_schema(&known).map_err(|error| vec![explain(error)])?;
            let error = match state.create_logical_expr_from_sql_expr(tree.clone(), &schema) {
                Ok(expr) => {
                    let expr = expr.unalias_nested().data;
                    findings.extend(refused(&expr, place));
                    if is_whole && findings.is_empty() {
                        return Ok(expr);
                    }
                    findings.extend(self.wrong(&expr, &known));
                    *rest = Some(Box::new(Rest { expr, unknown: known.split_off(columns.len()) }));
                    break;
                }
                Err(error) => error,
            };
            is_whole = false;
            match (unknown_column(&error), messages::unknown_function(&error)) {
                (Some(name), _) => {
                    findings.push(explain(error));
                    known.push(Field::new(name, DataType::Null, true));
                }
                (None, Some(name)) => {
                    findings.push(explain(error));
                    state = &self.lenient;
                    wrong::without_function(&mut tree.expr, name);
                }
                (None, None) => {
                    state = &self.lenient;
                    match wrong::without_unplannable(&mut tree.expr, state, &known, &explain) {
                        Some(more) => findings.extend(more),
                        None => {
                            findings.push(explain(error));
                            break;
                        }
                    }
                }
            }
        }
        Err(findings)
    }

    /// What is wrong with the parts of an expression that are SQL where it is none as a whole.
    fn of_pieces(&self, sql: &str, columns: &[Field], place: Place) -> Vec<Finding> {
        let dialect = self.state.config_options().sql_parser.dialect;
        let is_sql = |piece: &&str| self.state.sql_to_expr_with_alias(piece, &dialect).is_ok();
        let pieces = pieces::pieces(sql).into_iter().filter(|piece| piece.len() < sql.len()).filter(is_sql);
        let wrong_with = |piece| match self.parsed(piece, columns, place, &mut None) {
            Ok(expr) => self.wrong(&expr, columns),
            Err(findings) => findings,
        };
        pieces.flat_map(wrong_with).collect()
    }

    /// What of an expression that is right may go wrong with some rows.
    pub(super) fn risks(&self, expr: &Expr, columns: &[Field]) -> Vec<Finding> {
        df_schema(columns).map_or_else(|_| Vec::new(), |schema| messages::texts_as_numbers(expr, &schema))
    }

    /// Compiles an expression over `columns`: coerced, simplified, and physical.
    pub(super) fn compile(&self, expr: &Expr, columns: &[Field]) -> Result<Compiled, Vec<Finding>> {
        let context = Context { sql: "", columns, functions: &[], usage: &|name| self.usage(name) };
        let schema = df_schema(columns).map_err(|error| vec![messages::explain(&error, &context)])?;
        self.compiled(expr, &schema).map_err(|error| match self.wrong(expr, columns) {
            wrong if wrong.is_empty() => vec![messages::explain(&error, &context)],
            wrong => wrong,
        })
    }

    fn compiled(&self, expr: &Expr, schema: &DFSchema) -> Result<Compiled, DataFusionError> {
        let schema = Arc::new(schema.clone());
        let simplified = self.simplify(expr.clone(), &schema)?;
        let physical = self.state.create_physical_expr(simplified, &schema)?;
        let data_type = physical.data_type(schema.as_arrow())?;
        let nullable = physical.nullable(schema.as_arrow())?;
        Ok(Compiled { expr: physical, data_type, nullable })
    }

    /// Compiles an expression whose value becomes a column: one of the types that streams carry.
    pub(super) fn compile_column(&self, expr: &Expr, columns: &[Field]) -> Result<Compiled, Vec<Finding>> {
        let compiled = self.compile(expr, columns)?;
        match stream_type(&compiled.data_type) {
            Some(wanted) if wanted == compiled.data_type => Ok(compiled),
            Some(wanted) => self.compile(&Expr::Cast(Cast::new(Box::new(expr.clone()), wanted)), columns),
            None => {
                let hint = match compiled.data_type {
                    DataType::Duration(_) => "write cast(… as bigint) for its microseconds".to_owned(),
                    DataType::Interval(_) => "write date_part('epoch', …) for its seconds".to_owned(),
                    DataType::Null => "write what type of null is meant: cast(null as double)".to_owned(),
                    _ => "take a part of it, or cast it to another type".to_owned(),
                };
                let message = format!("a column can't be of type {}", type_name(&compiled.data_type));
                Err(vec![Finding::new(message, hint)])
            }
        }
    }

    /// Compiles an expression, cast to a type where it is of another.
    pub(super) fn compile_as(
        &self,
        expr: &Expr,
        columns: &[Field],
        wanted: &DataType,
    ) -> Result<Compiled, Vec<Finding>> {
        let compiled = self.compile(expr, columns)?;
        if compiled.data_type == *wanted {
            return Ok(compiled);
        }
        self.compile(&Expr::Cast(Cast::new(Box::new(expr.clone()), wanted.clone())), columns)
    }

    /// Compiles a condition.
    pub(super) fn compile_condition(&self, expr: &Expr, columns: &[Field]) -> Result<Compiled, Vec<Finding>> {
        let compiled = self.compile(expr, columns)?;
        match compiled.data_type {
            DataType::Boolean => Ok(compiled),
            DataType::Null => {
                self.compile(&Expr::Cast(Cast::new(Box::new(expr.clone()), DataType::Boolean)), columns)
            }
            other => {
                let message =
                    format!("a condition must be true or false, this is of type {}", type_name(&other));
                Err(vec![Finding::new(message, "compare it with something: … > 0, … = 'x', … is not null")])
            }
        }
    }

    /// The constant that an expression comes to without any row, such as `0.95` or `100 * 10`.
    pub(super) fn constant(&self, expr: &Expr) -> Option<datafusion::common::ScalarValue> {
        let schema = Arc::new(DFSchema::empty());
        match self.simplify(expr.clone(), &schema) {
            Ok(Expr::Literal(value, _)) => Some(value),
            _ => None,
        }
    }

    fn simplify(&self, expr: Expr, schema: &Arc<DFSchema>) -> Result<Expr, DataFusionError> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(schema))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let coerced = simplifier.coerce(expr, schema)?;
        simplifier.simplify(coerced)
    }

    /// How a scalar function's call is written.
    fn usage(&self, name: &str) -> Option<String> {
        let function = self.state.scalar_functions().get(name)?;
        function.documentation().map(|documentation| documentation.syntax_example.clone())
    }

    /// All names of a scalar function.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        let function = self.state.scalar_functions().get(name);
        function.map_or_else(Vec::new, |function| {
            std::iter::once(function.name())
                .chain(function.aliases().iter().map(String::as_str))
                .map(str::to_owned)
                .collect()
        })
    }

    fn function_names(&self, place: Place) -> Vec<&str> {
        let mut names: Vec<&str> = self.state.scalar_functions().keys().map(String::as_str).collect();
        if place == Place::Window {
            names.extend(aggregates::names().map(|name: &'static str| -> &str { name }));
        }
        names.sort_unstable();
        names
    }
}

/// A compiled expression and the type of its values.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) expr: Arc<dyn PhysicalExpr>,
    pub(super) data_type: DataType,
    pub(super) nullable: bool,
}

/// The type in which a stream carries values of a type: strings are plain, timestamps are microseconds in UTC. `None` for
/// types that no stream carries.
fn stream_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Timestamp(_, _) => thalweg_schemas::time::timestamp_type(),
        DataType::Date64 => DataType::Date32,
        DataType::Float16 => DataType::Float32,
        DataType::Dictionary(_, values) => stream_type(values)?,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let data_type = stream_type(item.data_type())?;
            DataType::List(Arc::new(Field::new_list_field(data_type, item.is_nullable())))
        }
        DataType::Struct(_) | DataType::Decimal128(..) => data_type.clone(),
        DataType::Boolean | DataType::Utf8 | DataType::Binary | DataType::Date32 => data_type.clone(),
        other if other.is_integer() || other.is_floating() => data_type.clone(),
        _ => return None,
    })
}

/// Columns as DataFusion's planner wants them.
fn df_schema(columns: &[Field]) -> Result<DFSchema, DataFusionError> {
    let schema: SchemaRef = Arc::new(Schema::new(columns.to_vec()));
    DFSchema::try_from(schema)
}

fn unknown_column(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } if field.relation.is_none() => Some(field.name.clone()),
            _ => None,
        },
        DataFusionError::Diagnostic(_, inner) => unknown_column(inner),
        _ => None,
    }
}

/// What an expression holds that its place does not allow.
fn refused(expr: &Expr, place: Place) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let walked = expr.apply(|node| {
        let finding = match node {
            Expr::ScalarFunction(call) => changing_function(call.func.name(), call.func.signature().volatility),
            Expr::HigherOrderFunction(call) => changing_function(call.func.name(), call.func.signature().volatility),
            Expr::AggregateFunction(call) if place == Place::Row => Some(Finding::new(
                format!("the aggregate {}(…) outside a window's select", call.func.name()),
                "give the step a window and put the aggregate into its select; filter the results with having",
            )),
            Expr::AggregateFunction(call) if place == Place::Record => Some(Finding::new(
                format!("the aggregate {}(…)", call.func.name()),
                "an expression sees one record at a time",
            )),
            Expr::AggregateFunction(call) if place == Place::Having => Some(Finding::new(
                format!("the aggregate {}(…) in having", call.func.name()),
                "give it a name in select, and use that name in having",
            )),
            Expr::WindowFunction(call) => Some(Finding::new(
                format!("the window function {}(…) over (…)", call.fun.name()),
                "a step's window cuts the rows by time; use the aggregate without \"over\"",
            )),
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => compared_with_null(binary),
            Expr::Placeholder(placeholder) => Some(Finding::new(
                format!("the placeholder {}", placeholder.id),
                "write the value, or fill it in from the environment: ${NAME}",
            )),
            Expr::ScalarVariable(..) => {
                Some(Finding::new("a variable (@…)", "fill values in from the environment: ${NAME}"))
            }
            Expr::Unnest(_) => Some(Finding::new("unnest(…)", "an expression gives one value a row; lists stay lists")),
            #[expect(deprecated, reason = "DataFusion still plans count(*) and * with it")]
            Expr::Wildcard { .. } => Some(Finding::new("a \"*\" by itself", "name the columns")),
            _ => None,
        };
        findings.extend(finding);
        // What an aggregate holds is looked at when it is taken out.
        Ok(TreeNodeRecursion::Continue)
    });
    walked.expect("invariant: the walk itself never fails");
    findings.dedup();
    findings
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn compared_with_null(binary: &BinaryExpr) -> Option<Finding> {
    let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
    let other = match (is_null(&binary.left), is_null(&binary.right)) {
        (false, true) => &binary.left,
        (true, false) => &binary.right,
        _ => return None,
    };
    let other = messages::written(other);
    let hint = match binary.op {
        Operator::NotEq => format!("write {other} is not null"),
        _ => format!("write {other} is null"),
    };
    Some(Finding::new("a comparison with null, which is never true", hint).at(Spot::Text("null".to_owned())))
}

fn changing_function(name: &str, volatility: Volatility) -> Option<Finding> {
    let hint = match name {
        "now" | "current_date" | "current_time" => "use the column of the event time",
        "random" | "uuid" => "take a value from the row, such as a hash of its key: md5(…)",
        _ => "use only what the row itself holds",
    };
    (volatility != Volatility::Immutable)
        .then(|| Finding::new(format!("{name}() gives another result whenever the row is processed"), hint))
}
