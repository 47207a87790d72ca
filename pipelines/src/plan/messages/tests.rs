//! Each slip with a part of what is said of it, and the expression as the hint would have it: that one is right.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::super::check::Scope;
use super::super::expression::{Expressions, Place};
use super::Finding;

fn columns() -> Vec<Field> {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    vec![
        field("at", thalweg_schemas::time::timestamp_type()),
        field("provider", DataType::Utf8),
        field("tokens", DataType::Int64),
        field("latency_ms", DataType::Float64),
        field("ok", DataType::Boolean),
        field("tags", DataType::List(Field::new_list_field(DataType::Utf8, true).into())),
        field("order", DataType::Utf8),
        field("end", DataType::Int64),
    ]
}

fn check(expressions: &Expressions, sql: &str) -> Result<(), Vec<Finding>> {
    let columns = columns();
    let expr = expressions.parse(sql, &Scope::of(columns.clone()), Place::Row)?;
    expressions.compile_column(&expr, &columns).map(drop)
}

#[test]
fn what_is_wrong_with_an_expression_is_said_with_what_to_write_and_that_is_right() {
    let expressions = Expressions::new();
    for (wrong, message, hint, mended) in [
        ("lenth(provider)", "unknown function \"lenth\"", "did you mean \"length\"?", "length(provider)"),
        ("len(provider)", "unknown function", "write length(…)", "length(provider)"),
        ("length()", "length is given no argument", "write length(str)", "length(provider)"),
        (
            "length(provider, 1)",
            "length is given 2 arguments, and takes 1",
            "write length(str)",
            "length(provider)",
        ),
        ("upper(tokens)", "", "", "upper(cast(tokens as varchar))"),
        (
            "upper(tags)",
            "upper is given list of string where it takes string",
            "write upper(str)",
            "upper(tags[1])",
        ),
        ("abs(provider)", "where it takes a number", "cast(… as double)", "abs(cast(provider as double))"),
        (
            "date_trunc(at, 'hour')",
            "date_trunc is given timestamp",
            "date_trunc(precision, expression)",
            "date_trunc('hour', at)",
        ),
        ("year(at)", "unknown function", "date_part('year', …)", "date_part('year', at)"),
        (
            "if(ok, 1, 2)",
            "unknown function",
            "case when … then … else … end",
            "case when ok then 1 else 2 end",
        ),
        ("int(provider)", "unknown function", "cast(… as bigint)", "cast(provider as bigint)"),
        ("cast(provider, bigint)", "unknown function", "cast(… as bigint)", "cast(provider as bigint)"),
        (
            "startswith(provider, 'a')",
            "unknown function",
            "starts_with(…, '…')",
            "starts_with(provider, 'a')",
        ),
        ("strftime(at, '%Y')", "unknown function", "to_char(…, '%Y-%m-%d')", "to_char(at, '%Y-%m-%d')"),
        ("datediff(at, at)", "unknown function", "cast(a - b as bigint)", "cast(at - at as bigint)"),
        ("cast(provider as str)", "unknown type str", "varchar", "cast(provider as varchar)"),
        (
            "provider + tokens",
            "string and int64",
            "cast(provider as double) + tokens",
            "cast(provider as double) + tokens",
        ),
        ("provider + tokens ", "string and int64", "provider || tokens", "provider || tokens"),
        ("provider * 2", "string and int64", "cast(provider as double) * 2", "cast(provider as double) * 2"),
        ("at + 5", "timestamp and int64", "at + interval '5 seconds'", "at + interval '5 seconds'"),
        ("at - tokens", "timestamp and int64", "at - interval '5 seconds'", "at - interval '5 seconds'"),
        ("at + at", "timestamp and timestamp", "write at - at", "cast(at - at as bigint)"),
        ("at - at > 5", "duration and int64", "cast(at - at as bigint)", "cast(at - at as bigint) > 5"),
        ("at > 5", "timestamp and int64", "date_part('epoch', at)", "date_part('epoch', at) > 5"),
        (
            "at > 5 ",
            "timestamp and int64",
            "timestamp '2026-01-31T12:00:00Z'",
            "at > timestamp '2026-01-31T12:00:00Z'",
        ),
        (
            "at > 'yesterday'",
            "'yesterday' is no timestamp",
            "'2026-01-31T12:00:00Z'",
            "at > '2026-01-31T12:00:00Z'",
        ),
        ("at > interval '5 foo'", "interval", "interval '5 minutes'", "at > at - interval '5 minutes'"),
        (
            "tokens > 'abc'",
            "'abc' is no int64",
            "cast(tokens as varchar) = 'abc'",
            "cast(tokens as varchar) = 'abc'",
        ),
        ("'tokens' > 3", "'tokens' is no int64", "a column stands without quotes: tokens", "tokens > 3"),
        ("cast('x' as bigint)", "'x' is no int64", "try_cast(…)", "try_cast('x' as bigint)"),
        (
            "tokens in (1, 'a')",
            "'a' is no int64",
            "cast(tokens as varchar)",
            "cast(tokens as varchar) in ('1', 'a')",
        ),
        ("tokens between 'a' and 3", "'a' is no int64", "write a number", "tokens between 1 and 3"),
        ("tags = 'a'", "list of string and string", "array_has(tags, 'a')", "array_has(tags, 'a')"),
        ("tags <> 'a'", "list of string and string", "not array_has(tags, 'a')", "not array_has(tags, 'a')"),
        ("ok = 1", "bool and int64", "write ok, or not ok", "not ok"),
        ("ok and tokens", "tokens is of type int64", "tokens > 0", "ok and tokens > 0"),
        ("not tokens", "'NOT' requires", "not (… > 0)", "not (tokens > 0)"),
        ("ok || tokens", "bool and int64", "write \"or\"", "ok or tokens > 0"),
        ("ok && tokens > 3", "the operator &&", "write \"and\"", "ok and tokens > 3"),
        (
            "tokens like '1%'",
            "int64 and string",
            "cast(tokens as varchar) like '1%'",
            "cast(tokens as varchar) like '1%'",
        ),
        ("provider ~ 3", "string and int64", "'3'", "provider ~ '3'"),
        ("provider ~ '('", "not a regular expression", "\\ stands before", "provider ~ '\\('"),
        ("provider <> null", "a comparison with null", "provider is not null", "provider is not null"),
        ("provider = null", "a comparison with null", "provider is null", "provider is null"),
        ("provider = \"error\"", "unknown column \"error\"", "single quotes: 'error'", "provider = 'error'"),
        ("substr(provider)", "", "substr(…, 1, 3)", "substr(provider, 1, 3)"),
        ("provider.name", "a field of something", "in the schema", "provider"),
        ("(tokens + 1", "found the end", "write the missing \")\"", "(tokens + 1)"),
        ("tokens + 1)", "found \")\"", "leave the ) out", "tokens + 1"),
        ("tokens +", "found the end", "write what is missing after +", "tokens + 1"),
        ("coalesce(provider 'x')", "found 'x'", "a comma", "coalesce(provider, 'x')"),
        ("coalesce(provider, )", "found \")\"", "leave out the comma before the )", "coalesce(provider)"),
        ("provider in 'a'", "found 'a'", "in ('a')", "provider in ('a')"),
        ("'a' in tags", "found tags", "array_has(tags, …)", "array_has(tags, 'a')"),
        ("provider = 'it's'", "unterminated string", "'it''s'", "provider = 'it''s'"),
        ("tokens => 3", "found \"=>\"", "write >=", "tokens >= 3"),
        ("tokens =< 3", "found \"<\"", "write <=", "tokens <= 3"),
        ("tokens =! 3", "found \"!\"", "<>", "tokens <> 3"),
        ("tokens between 1, 2", "found \",\"", "between 1 and 2", "tokens between 1 and 2"),
        ("tokens is 3", "found 3", "values are compared with =", "tokens = 3"),
        ("case when ok then 1", "", "a case ends with end", "case when ok then 1 end"),
        ("tokens > 3;", "found \";\"", "leave out the semicolon", "tokens > 3"),
        ("tokens ** 2", "found \"*\"", "power(…, …)", "power(tokens, 2)"),
        ("select tokens", "", "leave out \"select\"", "tokens"),
        ("tokens > 3, ok", "found \",\"", "join conditions with and", "tokens > 3 and ok"),
        ("tokens > 1_000", "found _000", "without _", "tokens > 1000"),
        ("end > 3", "", "double quotes, \"end\"", "\"end\" > 3"),
        ("tokens as n", "an alias", "leave out the alias", "tokens"),
        (
            "case when ok then 1 else at end",
            "several types",
            "cast(… as varchar)",
            "case when ok then '1' else cast(at as varchar) end",
        ),
    ] {
        if let Err(findings) = check(&expressions, mended) {
            panic!("{mended} is wrong: {findings:?}");
        }
        // What may be right or wrong in a version of DataFusion is only to be right as it is mended.
        let Err(findings) = check(&expressions, wrong) else {
            assert_eq!(message, "", "{wrong} is right");
            continue;
        };
        let finding = findings[0].clone().named_as_in(wrong, |name| expressions.names(name));
        assert!(finding.message.contains(message), "{wrong}: {finding:?}");
        assert!(finding.hint.as_ref().is_some_and(|said| said.contains(hint)), "{wrong}: {finding:?}");
    }
}

#[test]
fn all_operands_that_do_not_fit_are_said() {
    let findings = check(&Expressions::new(), "provider like 3 and at > 5 and tags").unwrap_err();
    let mut messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    messages.sort_unstable();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[0].starts_with("at > 5") && messages[1].starts_with("provider like 3"), "{messages:?}");
}

#[test]
fn names_that_are_unknown_hide_no_other_mistake() {
    let said = |sql: &str| -> Vec<String> {
        let findings = check(&Expressions::new(), sql).unwrap_err();
        findings.into_iter().map(|finding| finding.message).collect()
    };
    assert_eq!(
        said("lenth(nothing) > 1 and uper(provider) = 'x' and lenth(x) > 1"),
        [
            "unknown function \"lenth\"",
            "unknown function \"uper\"",
            "unknown column \"nothing\"",
            "unknown column \"x\""
        ]
    );
    assert_eq!(
        said("nothing = 1 and at > 5 and tokens > 'x' and now() > nothing"),
        [
            "unknown column \"nothing\"",
            "now() gives another result whenever the row is processed",
            "at > 5: timestamp and int64 don't go together",
            "'x' is no int64, as tokens is"
        ]
    );
    assert_eq!(
        said("datediff(day, at, nothing) > 1 and cast(x, int)"),
        ["unknown function \"datediff\"", "unknown function \"cast\""]
    );
    assert_eq!(said("nothing + interval '1 hour' > nothing and nothing"), ["unknown column \"nothing\""]);
}

#[test]
fn a_text_that_is_compared_with_a_number_is_warned_of_for_it_fails_with_some_rows() {
    let expressions = Expressions::new();
    let columns = [Field::new("provider", DataType::Utf8, true), Field::new("tokens", DataType::Int64, true)];
    let rows = |text: &str| {
        let arrays: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec![text])), Arc::new(Int64Array::from(vec![3]))];
        RecordBatch::try_new(Arc::new(Schema::new(columns.to_vec())), arrays).unwrap()
    };
    let compiled = |sql: &str| {
        let expr = expressions.parse(sql, &Scope::of(columns.to_vec()), Place::Row).unwrap();
        let risks = expressions.risks(&expr, &columns);
        (risks, expressions.compile(&expr, &columns).unwrap().expr)
    };
    for (sql, mended) in [
        ("provider > 3", "try_cast(provider as double) > 3"),
        ("tokens <> provider", "cast(tokens as varchar) <> provider"),
    ] {
        let (risks, expr) = compiled(sql);
        assert!(risks.len() == 1 && risks[0].message.starts_with("provider is a text, and "), "{risks:?}");
        assert!(expr.evaluate(&rows("3")).is_ok(), "{sql}");
        assert!(expr.evaluate(&rows("openai")).is_err(), "{sql}");
        let (risks, expr) = compiled(mended);
        assert!(risks.is_empty() && expr.evaluate(&rows("openai")).is_ok(), "{mended}: {risks:?}");
    }
}

#[test]
fn places_are_found_outside_of_texts_and_as_words() {
    let finding = |text: &str| Finding::new("", "").at(super::Spot::Text(text.to_owned()));
    assert_eq!(finding("a").place("'a' || ab || A"), Some((13, 1)));
    assert_eq!(finding("&&").place("x && y"), Some((2, 2)));
    assert_eq!(finding("z").place("x"), None);
    let at = |start| Finding::new("", "").at(super::Spot::Character(start));
    assert_eq!(at(4).place("x = 'it''s' "), Some((4, 4)));
    assert_eq!(at(0).place("word = 1"), Some((0, 4)));
}
