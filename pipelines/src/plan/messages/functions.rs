//! Functions that are not there, or that are given something else than they take.

use datafusion::common::DataFusionError;

use super::{Context, Finding, Spot, in_words, plain};
use crate::spec::suggest;

/// What other databases and languages call something, and how it is written here.
const ELSEWHERE: [(&[&str], &str); 40] = [
    (&["cast", "convert"], "cast(… as bigint)"),
    (&["if", "iff", "iif"], "case when … then … else … end"),
    (&["isnull", "is_null"], "… is null"),
    (&["notnull", "is_not_null"], "… is not null"),
    (&["len", "strlen", "size"], "length(…)"),
    (&["int", "integer", "bigint", "long", "to_int", "toint"], "cast(… as bigint)"),
    (&["float", "double", "number", "to_number", "tofloat"], "cast(… as double)"),
    (&["str", "string", "text", "varchar", "to_string", "tostring"], "cast(… as varchar)"),
    (&["bool", "boolean"], "cast(… as boolean)"),
    (&["year"], "date_part('year', …)"),
    (&["month"], "date_part('month', …)"),
    (&["day", "dayofmonth"], "date_part('day', …)"),
    (&["hour"], "date_part('hour', …)"),
    (&["minute"], "date_part('minute', …)"),
    (&["second"], "date_part('second', …)"),
    (&["dayofweek", "weekday"], "date_part('dow', …)"),
    (&["epoch", "unix_timestamp", "to_epoch"], "date_part('epoch', …)"),
    (&["datediff", "date_diff", "timestampdiff"], "a - b, and cast(a - b as bigint) for its microseconds"),
    (&["dateadd", "date_add", "timestampadd"], "… + interval '1 hour'"),
    (&["date_sub", "datesub"], "… - interval '1 hour'"),
    (&["strftime", "format_datetime", "date_fmt"], "to_char(…, '%Y-%m-%d')"),
    (&["percentile", "percentile_cont", "approx_percentile"], "quantile(…, 0.95)"),
    (&["p50"], "quantile(…, 0.5)"),
    (&["p90"], "quantile(…, 0.9)"),
    (&["p95"], "quantile(…, 0.95)"),
    (&["p99"], "quantile(…, 0.99)"),
    (&["count_distinct", "countdistinct", "approx_count_distinct", "uniq", "nunique"], "count(distinct …)"),
    (&["countif", "count_if"], "count(*) filter (where …)"),
    (&["sumif", "sum_if"], "sum(…) filter (where …)"),
    (&["stdev", "std"], "stddev(…)"),
    (&["variance"], "var(…)"),
    (&["any_value", "any", "first"], "first_value(…)"),
    (&["last"], "last_value(…)"),
    (&["argmax", "max_by"], "arg_max(…, by)"),
    (&["argmin", "min_by"], "arg_min(…, by)"),
    (&["string_agg", "group_concat", "listagg", "collect_list", "collect_set"], "collect(…, 100)"),
    (&["rlike", "regexp"], "regexp_like(…, '…')"),
    (&["startswith"], "starts_with(…, '…')"),
    (&["endswith"], "ends_with(…, '…')"),
    (&["json_extract", "json_value", "get_json_object"], "a field of its own in the schema, with its path"),
];

/// The name of the function that is not there, if that is what is wrong.
pub(in crate::plan) fn unknown(error: &DataFusionError) -> Option<String> {
    between(&error.strip_backtrace(), "Invalid function '", "'").map(str::to_lowercase)
}

/// Whether a function is one of other databases, whose arguments may be none of ours.
pub(in crate::plan) fn is_of_elsewhere(name: &str) -> bool {
    ELSEWHERE.iter().any(|(names, _)| names.contains(&name))
}

/// An unknown function, or one that is given something wrong.
pub(super) fn explain(text: &str, context: &Context<'_>) -> Option<Finding> {
    if let Some(name) = between(text, "Invalid function '", "'") {
        let name = name.to_lowercase();
        let elsewhere = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str()));
        let hint = match (elsewhere, suggest::nearest(&name, context.functions.iter().copied())) {
            (Some((_, here)), _) => format!("write {here}"),
            (None, Some(near)) => format!("did you mean \"{near}\"?"),
            (None, None) => "expressions take DataFusion's scalar functions".to_owned(),
        };
        return Some(Finding::new(format!("unknown function \"{name}\""), hint).at(Spot::Text(name)));
    }
    let name = ["Function '", "function '", "call to '", "planning: '"]
        .iter()
        .find_map(|before| between(text, before, "'"))
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))?;
    let mut hint = (context.usage)(name).map_or_else(
        || "look at how many arguments it takes, and of which types".to_owned(),
        |usage| format!("write {usage}"),
    );
    let pair = given_and_wanted(text);
    let message = match &pair {
        Some((given, wanted)) => {
            let wanted = match wanted.as_str() {
                "Numeric" | "Decimal" | "Float" => "a number".to_owned(),
                "Integer" => "a whole number".to_owned(),
                wanted => in_words(wanted),
            };
            format!("{name} is given {} where it takes {wanted}", in_words(given))
        }
        None if text.contains("zero arguments") => format!("{name} is given no argument"),
        None if text.contains("Failed to coerce arguments") => {
            let given = between(text, "coercion from ", " to the signature").unwrap_or("these types");
            format!("{name} does not take {}", in_words(given))
        }
        None => arguments(text).map_or_else(
            || in_words(&plain(text)),
            |(takes, given)| {
                format!(
                    "{name} is given {given} argument{}, and takes {takes}",
                    if given == "1" { "" } else { "s" }
                )
            },
        ),
    };
    match pair.as_ref().map(|(_, wanted)| wanted.as_str()) {
        _ if pair.as_ref().is_some_and(|(given, _)| given.starts_with(['T', 'L'])) => {}
        Some("String") => hint.push_str("; cast(… as varchar) makes a text of a value"),
        Some("Integer" | "Int64") => hint.push_str("; cast(… as bigint) makes a whole number of a value"),
        Some("Numeric" | "Decimal" | "Float" | "Float64") => {
            hint.push_str("; cast(… as double) makes a number of a text");
        }
        _ => {}
    }
    Some(Finding::new(message, hint).at(Spot::Text(name.to_owned())))
}

/// "expects 1 arguments but received 2": how many it takes, and how many were given.
fn arguments(text: &str) -> Option<(&str, &str)> {
    let (takes, given) = text.split_once(" but received ")?;
    let takes = takes.trim_end_matches(" arguments").trim_end_matches(" argument(s)").rsplit(' ').next()?;
    let end = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    (is_number(takes) && end > 0).then_some((takes, &given[..end]))
}

/// "requires String, but received Int64 (DataType: Int64)": what was given, and what is wanted.
fn given_and_wanted(text: &str) -> Option<(String, String)> {
    for (before, middle) in [(" requires ", ", but received "), (" expects ", " but received ")] {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(before) {
            rest = after;
            let Some((wanted, after)) = after.split_once(middle) else { break };
            let given = after.split_once(" (DataType: ").map_or_else(
                || after.split(['\n', '.']).next().unwrap_or(after),
                |(_, data_type)| data_type.split(").").next().unwrap_or(data_type),
            );
            let given = given.trim().trim_end_matches(['.', ',']);
            // Two numbers are numbers of arguments.
            let is_type =
                wanted.chars().next().is_some_and(char::is_uppercase) && !wanted.contains([' ', ',']);
            if is_type && given.len() < 60 {
                let balanced = given.matches('(').count() < given.matches(')').count();
                let given = if balanced { given.trim_end_matches(')') } else { given };
                return Some((given.to_owned(), wanted.to_owned()));
            }
        }
    }
    None
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
