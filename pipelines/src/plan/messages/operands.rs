//! Operands whose types don't fit: which ones, and the cast that makes them fit.

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ExprSchema, ScalarValue};
use datafusion::logical_expr::type_coercion::binary::{BinaryTypeCoercer, like_coercion};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast as sql;
use datafusion::sql::unparser::expr_to_sql;

use super::super::types::type_name;
use super::{Finding, Spot};

/// Operands whose types don't fit: those of one operator. `error` is the planner's, if it came so far.
pub(in crate::plan) fn explain_types(
    expr: &Expr,
    schema: &DFSchema,
    error: Option<&DataFusionError>,
) -> Vec<Finding> {
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let operand = |expr: &Expr| Operand::new(expr, schema);
    let pair =
        |left: &Expr, op: Operator, right: &Expr| pair(&operand(left)?, op, &operand(right)?, &columns);
    match expr {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let sides = [&binary.left, &binary.right].into_iter().filter_map(|side| operand(side));
            sides.filter_map(|side| no_condition(&side, binary.op)).collect()
        }
        Expr::BinaryExpr(binary) => pair(&binary.left, binary.op, &binary.right).into_iter().collect(),
        Expr::Like(like) => {
            let sides = operand(&like.expr).zip(operand(&like.pattern));
            let is_known = |operand: &Operand| operand.data_type != DataType::Null;
            let misfit = sides
                .filter(|(left, right)| is_known(left) && is_known(right))
                .filter(|(left, right)| like_coercion(&left.data_type, &right.data_type).is_none());
            misfit.map(|(left, right)| matching(&left, "like", &right)).into_iter().collect()
        }
        Expr::Between(between) => {
            let limits = [&between.low, &between.high].into_iter();
            let mut found: Vec<Finding> =
                limits.filter_map(|limit| pair(&between.expr, Operator::GtEq, limit)).collect();
            for finding in &mut found {
                finding.message = finding.message.replacen(" >= ", " between ", 1);
            }
            // Of both limits it is the same to say.
            found.dedup_by(|second, first| second.spot == first.spot);
            found
        }
        Expr::InList(list) => {
            let mut found: Vec<Finding> =
                list.list.iter().filter_map(|item| pair(&list.expr, Operator::Eq, item)).collect();
            found.dedup_by(|second, first| second.spot == first.spot);
            found
        }
        Expr::Not(inner) => operand(inner).and_then(|inner| no_negation(&inner)).into_iter().collect(),
        Expr::Negative(inner) => operand(inner).and_then(|inner| no_sign(&inner)).into_iter().collect(),
        Expr::Case(_) => {
            let text = error.map(DataFusionError::strip_backtrace).unwrap_or_default();
            text.contains("CASE WHEN").then(|| branches(&text)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// One side of an operator.
struct Operand {
    /// As SQL, cut where it is long.
    sql: String,
    data_type: DataType,
    /// The text that it is, where it is a constant one.
    constant: Option<String>,
    is_column: bool,
}

impl Operand {
    /// `None` where its own type can't be said: then something in it is wrong.
    fn new(expr: &Expr, schema: &dyn ExprSchema) -> Option<Operand> {
        let constant = match expr {
            Expr::Literal(
                ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
                _,
            ) => text.clone(),
            _ => None,
        };
        let is_column = matches!(expr, Expr::Column(_));
        Some(Operand { sql: written(expr), data_type: expr.get_type(schema).ok()?, constant, is_column })
    }

    fn is_text(&self) -> bool {
        matches!(self.data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }

    fn is_time(&self) -> bool {
        matches!(self.data_type, DataType::Timestamp(..) | DataType::Date32)
    }

    fn is_list(&self) -> bool {
        matches!(self.data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
    }

    fn is_number(&self) -> bool {
        self.data_type.is_numeric()
    }

    fn is_bool(&self) -> bool {
        self.data_type == DataType::Boolean
    }
}

/// Two operands of which one does not fit the other, if so.
fn pair(left: &Operand, op: Operator, right: &Operand, columns: &[&str]) -> Option<Finding> {
    // Of a column that is not there nothing is known.
    if [left, right].iter().any(|operand| operand.data_type == DataType::Null) {
        return None;
    }
    if let Ok(types) = BinaryTypeCoercer::new(&left.data_type, &op, &right.data_type).get_input_types() {
        let of_left = text_constant(left, &types.0, right, columns);
        return of_left.or_else(|| text_constant(right, &types.1, left, columns));
    }
    let hint = match op {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            arithmetic(left, op, right)
        }
        Operator::StringConcat if left.is_bool() || right.is_bool() => {
            "\"||\" joins texts: write \"or\" between conditions".to_owned()
        }
        Operator::StringConcat => {
            let other = if left.is_text() { right } else { left };
            format!("make a text of it: cast({} as varchar)", other.sql)
        }
        Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
            return Some(matching(left, word(op), right));
        }
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            comparison(left, op, right)
        }
        Operator::BitwiseAnd | Operator::BitwiseOr | Operator::BitwiseXor => {
            "it takes whole numbers: cast(… as bigint)".to_owned()
        }
        _ => return None,
    };
    Some(misfit(left, word(op), right, hint))
}

/// A side of `and` or `or` that is neither true nor false.
fn no_condition(side: &Operand, op: Operator) -> Option<Finding> {
    if side.is_bool() || side.data_type == DataType::Null {
        return None;
    }
    let sql = &side.sql;
    let message =
        format!("{sql} is of type {}, and \"{}\" takes conditions", type_name(&side.data_type), word(op));
    let compared = if side.is_list() {
        format!("array_has({sql}, 'x')")
    } else if side.is_text() {
        format!("{sql} = 'x'")
    } else {
        format!("{sql} > 0")
    };
    Some(Finding::new(message, format!("compare it with something: {compared}")).at(Spot::Text(sql.clone())))
}

/// What is neither true nor false behind `not`, in the planner's words, which it has not for results of aggregates.
fn no_negation(inner: &Operand) -> Option<Finding> {
    if inner.is_bool() || inner.data_type == DataType::Null {
        return None;
    }
    let message =
        format!("unary operator 'NOT' requires a boolean expression, got {}", type_name(&inner.data_type));
    let hint = "compare it with something: not (… > 0), not (… = 'x')";
    Some(Finding::new(message, hint).at(Spot::Text(format!("not {}", inner.sql))))
}

/// What has no sign behind `-`, likewise.
fn no_sign(inner: &Operand) -> Option<Finding> {
    let has_sign = inner.is_number()
        || inner.is_time()
        || matches!(inner.data_type, DataType::Null | DataType::Interval(_) | DataType::Duration(_));
    if has_sign {
        return None;
    }
    let message = "unary operator '-' only supports signed numeric, interval and timestamp types";
    let hint = "cast a text to a number: -cast(… as double)";
    Some(Finding::new(message, hint).at(Spot::Text(format!("-{}", inner.sql))))
}

fn misfit(left: &Operand, word: &str, right: &Operand, hint: String) -> Finding {
    let message = format!(
        "{} {word} {}: {} and {} don't go together",
        left.sql,
        right.sql,
        type_name(&left.data_type),
        type_name(&right.data_type)
    );
    Finding::new(message, hint).at(Spot::Text(left.sql.clone()))
}

fn arithmetic(left: &Operand, op: Operator, right: &Operand) -> String {
    let (text, other) = if left.is_text() { (left, right) } else { (right, left) };
    let op = word(op);
    if left.is_list() || right.is_list() {
        let list = if left.is_list() { left } else { right };
        return format!(
            "take an item of the list, {}[1], or its length, array_length({})",
            list.sql, list.sql
        );
    }
    if left.is_bool() || right.is_bool() {
        let flag = if left.is_bool() { left } else { right };
        return format!("make a number of it: cast({} as bigint)", flag.sql);
    }
    if left.is_time() || right.is_time() {
        let (time, other) = if left.is_time() { (left, right) } else { (right, left) };
        return match op {
            "+" | "-" if other.is_time() => {
                format!("write {} - {} for the time between them", left.sql, right.sql)
            }
            "+" | "-" => {
                let seconds =
                    if other.sql.chars().all(|c| c.is_ascii_digit()) { other.sql.as_str() } else { "5" };
                format!("a length of time is an interval: {} {op} interval '{seconds} seconds'", time.sql)
            }
            _ => format!("write date_part('epoch', {}) for its seconds since 1970", time.sql),
        };
    }
    if text.is_text() && other.is_number() {
        let number = |operand: &Operand| match operand.is_text() {
            true => format!("cast({} as double)", operand.sql),
            false => operand.sql.clone(),
        };
        let sum = format!("{} {op} {}", number(left), number(right));
        return match op {
            "+" => format!("write {sum}, or {} || {} to join texts", left.sql, right.sql),
            _ => format!("write {sum}"),
        };
    }
    if text.is_text() && other.is_text() && op == "+" {
        return format!("write {} || {} to join texts", left.sql, right.sql);
    }
    if let DataType::Duration(_) = left.data_type {
        return format!("write cast({} as bigint) for its microseconds", left.sql);
    }
    "cast both to numbers: cast(… as double)".to_owned()
}

fn comparison(left: &Operand, op: Operator, right: &Operand) -> String {
    if left.is_list() != right.is_list() {
        let (list, item) = if left.is_list() { (left, right) } else { (right, left) };
        if list.sql.starts_with('[') {
            return "brackets make a list: a column stands without them".to_owned();
        }
        if !matches!(op, Operator::Eq | Operator::NotEq) {
            return format!(
                "compare an item of the list, {}[1], or its length, array_length({})",
                list.sql, list.sql
            );
        }
        let not = if op == Operator::NotEq { "not " } else { "" };
        return format!("write {not}array_has({}, {})", list.sql, item.sql);
    }
    let (first, other) =
        if matches!(left.data_type, DataType::Duration(_)) { (left, right) } else { (right, left) };
    if matches!(first.data_type, DataType::Duration(_)) && other.is_number() {
        return format!("write cast({} as bigint), which is its microseconds", first.sql);
    }
    let (first, other) = if left.is_time() { (left, right) } else { (right, left) };
    if first.is_time() && other.is_number() {
        return format!(
            "write date_part('epoch', {}) for its seconds since 1970, or a point in time: timestamp '2026-01-31T12:00:00Z'",
            first.sql
        );
    }
    if left.is_bool() || right.is_bool() {
        let flag = if left.is_bool() { left } else { right };
        return format!("it is true or false by itself: write {}, or not {}", flag.sql, flag.sql);
    }
    match sql_type(&left.data_type) {
        _ if right.sql.starts_with("X'") => "write the number in digits from 0 to 9".to_owned(),
        Some(name) => format!("write cast({} as {name})", right.sql),
        None => "cast one of them to the other's type: cast(… as double), cast(… as varchar)".to_owned(),
    }
}

/// `like` and regular expressions.
fn matching(left: &Operand, word: &str, right: &Operand) -> Finding {
    let hint = match (left.is_text(), right.is_text()) {
        (true, _) => format!("write the pattern as a text: '{}'", right.sql),
        (false, true) => format!("make a text of it: cast({} as varchar) {word} {}", left.sql, right.sql),
        (false, false) => format!("make texts of them: cast({} as varchar) {word} '{}'", left.sql, right.sql),
    };
    misfit(left, word, right, hint)
}

/// A constant text that can't be read as `read_as`, the type in which it is compared with something else.
fn text_constant(
    constant: &Operand,
    read_as: &DataType,
    other: &Operand,
    columns: &[&str],
) -> Option<Finding> {
    let text = constant.constant.as_ref()?;
    let is_read = ScalarValue::Utf8(Some(text.clone())).cast_to(read_as).is_ok();
    if is_read || other.is_text() {
        return None;
    }
    let as_other = if other.is_column { format!(", as {} is", other.sql) } else { String::new() };
    let message = format!("'{text}' is no {}{as_other}", type_name(&other.data_type));
    let hint = if columns.contains(&text.as_str()) {
        format!("a column stands without quotes: {text}")
    } else if other.is_time() {
        literal_of(&other.data_type).to_owned()
    } else if other.is_bool() {
        "write true or false".to_owned()
    } else {
        let as_text = if other.is_column {
            format!("cast({} as varchar)", other.sql)
        } else {
            "cast(… as varchar)".to_owned()
        };
        format!("write a number, or compare texts: {as_text} = '{text}'")
    };
    Some(Finding::new(message, hint).at(Spot::Text(format!("'{text}'"))))
}

/// A constant that can't be read as what it is cast to, as the planner says it.
pub(super) fn constant(error: &str, columns: &[Field]) -> Option<Finding> {
    let quoted = |before: &str| {
        let (_, rest) = error.split_once(before)?;
        rest.split_once('\'').map(|(text, rest)| (text.to_owned(), rest))
    };
    let (text, rest) = quoted("Cannot cast string '").or_else(|| quoted("parsing timestamp from '"))?;
    let wanted = rest.split_once("to value of ").and_then(|(_, rest)| rest.split_once(" type"));
    let wanted = wanted.map_or("timestamp".to_owned(), |(wanted, _)| super::in_words(wanted));
    let wanted = wanted.split('(').next().unwrap_or(&wanted).to_owned();
    let hint = if columns.iter().any(|column| *column.name() == text) {
        format!("a column stands without quotes: {text}")
    } else {
        match wanted.as_str() {
            "timestamp" => literal_of(&thalweg_schemas::time::timestamp_type()).to_owned(),
            "date" => literal_of(&DataType::Date32).to_owned(),
            _ => "write a value of this type; try_cast(…) gives null where cast(…) can't".to_owned(),
        }
    };
    Some(Finding::new(format!("'{text}' is no {wanted}"), hint).at(Spot::Text(format!("'{text}'"))))
}

fn literal_of(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Date32 => "write a day as '2026-01-31'",
        _ => "write a point in time as '2026-01-31T12:00:00Z'",
    }
}

fn branches(error: &str) -> Finding {
    let types = error.split_once("Failed to coerce ").map_or("", |(_, rest)| rest);
    let types = types.split_once(" to common types").map_or("", |(types, _)| types);
    let message = format!("the branches of a case are of several types: {}", super::in_words(types));
    Finding::new(message, "make them one: cast(… as varchar), cast(… as double)")
        .at(Spot::Text("case".into()))
}

/// Texts that are compared with numbers: they are read as numbers, row by row.
pub(in crate::plan) fn texts_as_numbers(expr: &Expr, schema: &DFSchema) -> Vec<Finding> {
    let mut found = Vec::new();
    let walked = expr.apply(|node| {
        if let Expr::BinaryExpr(binary) = node
            && matches!(word(binary.op), "=" | "<>" | "<" | "<=" | ">" | ">=")
            && let (Some(left), Some(right)) =
                (Operand::new(&binary.left, schema), Operand::new(&binary.right, schema))
        {
            let (text, number) = if left.is_text() { (left, right) } else { (right, left) };
            if text.is_text() && text.constant.is_none() && number.is_number() {
                let message = format!(
                    "{} is a text, and {} a number: a text that is none ends the job",
                    text.sql, number.sql
                );
                let as_text = if number.is_column || number.sql == "…" {
                    format!("cast({} as varchar)", number.sql)
                } else {
                    format!("'{}'", number.sql)
                };
                let hint = format!(
                    "write try_cast({} as double), which is null then, or compare texts, with {as_text}",
                    text.sql
                );
                found.push(Finding::new(message, hint).at(Spot::Text(text.sql)));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_ok() { found } else { Vec::new() }
}

/// An operator as it is written in a spec.
fn word(op: Operator) -> &'static str {
    match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::And => "and",
        Operator::Or => "or",
        Operator::StringConcat => "||",
        Operator::RegexMatch => "~",
        Operator::RegexIMatch => "~*",
        Operator::RegexNotMatch => "!~",
        Operator::RegexNotIMatch => "!~*",
        Operator::BitwiseAnd => "&",
        Operator::BitwiseOr => "|",
        Operator::BitwiseXor => "^",
        _ => "with",
    }
}

/// The name of a type in SQL.
fn sql_type(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some("varchar"),
        DataType::Timestamp(..) => Some("timestamp"),
        DataType::Date32 => Some("date"),
        DataType::Boolean => Some("boolean"),
        data_type if data_type.is_integer() => Some("bigint"),
        data_type if data_type.is_numeric() => Some("double"),
        _ => None,
    }
}

/// An expression as SQL, without the quotes that a name does not need.
pub(in crate::plan) fn written(expr: &Expr) -> String {
    const LENGTH_MAX: usize = 40;
    let text = match expr_to_sql(expr) {
        Ok(sql::Expr::Nested(inner)) => inner.to_string(),
        Ok(tree) => tree.to_string(),
        Err(_) => expr.human_display().to_string(),
    };
    let is_plain = |name: &str| {
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
    };
    let mut parts = text.split('"');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    while let (Some(name), Some(after)) = (parts.next(), parts.next()) {
        let quote = if is_plain(name) { "" } else { "\"" };
        plain.push_str(&format!("{quote}{name}{quote}{after}"));
    }
    let is_short = plain.chars().count() <= LENGTH_MAX && text.matches('"').count().is_multiple_of(2);
    if is_short { plain } else { "…".to_owned() }
}
