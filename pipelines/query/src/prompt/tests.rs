use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::completion::is_whole;
use super::*;

fn session() -> (TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    for table in ["calls", "tool-calls"] {
        let file = folder.path().join(table).join("part-0.parquet");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2000));
        let batch = RecordBatch::try_from_iter([("requests", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let session = Session::open(folder.path()).unwrap();
    (folder, session)
}

fn said(console: &mut Console<'_>, line: &str) -> String {
    let mut out = Vec::new();
    assert_eq!(console.line(line, None, &mut out).unwrap(), Flow::On, "{line}");
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_are_commands_or_statements() {
    let (_folder, session) = session();
    let mut console = Console { session: &session, format: Format::Csv };
    let answer = said(&mut console, "select max(requests) as top from calls;");
    assert!(answer.starts_with("top\n1999\n(1 row in "), "{answer}");
    assert!(said(&mut console, "\\d").starts_with("table,files,bytes\ncalls,1,"));
    assert!(said(&mut console, "\\d \"tool-calls\"").starts_with("column,type\nrequests,bigint\n(1 row in "));
    assert!(said(&mut console, "\\d nothing").starts_with("error: no table \"nothing\" in "));
    assert!(said(&mut console, "select 1 as a; selec; select 2;").contains("error: "));
    assert!(said(&mut console, "\\x").starts_with("error: no command \\x"));
    assert!(said(&mut console, "\\format yaml").starts_with("error: no format \"yaml\""));
    assert!(said(&mut console, "\\?").contains("\\d TABLE"));
    for quit in ["\\q", "quit;", "exit"] {
        assert_eq!(console.line(quit, None, &mut Vec::new()).unwrap(), Flow::Quit);
    }
}

#[test]
fn a_long_table_is_cut_but_counted() {
    let (_folder, session) = session();
    let mut console = Console { session: &session, format: Format::Table };
    let table = said(&mut console, "select requests from calls;");
    assert_eq!(table.lines().count(), 2 + ROWS_MAX + 2);
    assert!(table.contains("(2000 rows in ") && table.contains("the first 1000 shown"), "{table}");
}

#[test]
fn a_script_runs_to_its_first_error() {
    let (_folder, session) = session();
    let mut out = Vec::new();
    let script = "select 1 as a; -- one\nselect 2 as b;\nselect x;\nselect 3";
    let error = run_script(&session, script, Format::Csv, &mut out).unwrap_err();
    assert_eq!(String::from_utf8(out).unwrap(), "a\n1\nb\n2\n");
    assert!(error.to_string().contains("no field named x"), "{error}");
}

#[test]
fn tab_offers_what_fits() {
    let (_folder, session) = session();
    let helper = SqlHelper::new(&session);
    let check = |line: &str, expected: &[&str]| {
        let (start, found) = helper.candidates(line);
        let found: Vec<String> = found.iter().map(|word| format!("{}{word}", &line[..start])).collect();
        assert_eq!(found, expected, "{line}");
    };
    check("select * from c", &["select * from calls"]);
    check("select * from tool", &["select * from \"tool-calls\""]);
    check("\\d ", &["\\d \"tool-calls\"", "\\d calls"]);
    check("select * from calls where req", &["select * from calls where requests"]);
    check("select calls.r", &["select calls.requests"]);
    check("select * from calls WHE", &["select * from calls WHEN", "select * from calls WHERE"]);
    check("select approx_med", &["select approx_median("]);
    check("\\q", &["\\q"]);
}

#[test]
fn input_is_whole_at_its_semicolon() {
    for whole in ["select 1;", "\\d calls", "select ';' ; -- done", "quit", " "] {
        assert!(is_whole(whole), "{whole}");
    }
    for half in ["select 1", "select ';", "select 1; select"] {
        assert!(!is_whole(half), "{half}");
    }
}
