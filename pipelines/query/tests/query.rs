//! Queries over folders as jobs leave them: what is a table, what its rows are, what is refused, and how results look.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use thalweg_delta::{DeltaConfig, DeltaPublisher, DeltaSink};
use thalweg_operators::sink::parquet::ParquetConfig;
use thalweg_operators::sink::staging::Staging;
use thalweg_operators::sink::{Publisher, Sink};
use thalweg_query::{Format, QueryError, Session, write};

fn put(folder: &TempDir, file: &str, columns: &[(&str, ArrayRef)]) {
    let path = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, Arc::clone(c), true)))
            .unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(session: &Session, sql: &str, format: Format) -> String {
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut out = Vec::new();
    write(&result, format, None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Runs `sql` and compares its rows, as CSV without the header.
fn check(session: &Session, sql: &str, expected: &[&str]) {
    let csv = text(session, sql, Format::Csv);
    assert_eq!(csv.lines().skip(1).collect::<Vec<_>>(), expected, "{sql}");
}

fn error(session: &Session, sql: &str) -> String {
    session.query(sql).map(|result| format!("{} rows", result.rows())).unwrap_err().to_string()
}

/// Requests of two days, and of no day.
fn days() -> (TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "calls/window_date=2026-01-15/part-0.parquet", &[("n", numbers(&[1, 2]))]);
    put(&folder, "calls/window_date=2026-01-16/part-0.parquet", &[("n", numbers(&[4]))]);
    put(&folder, "calls/window_date=__HIVE_DEFAULT_PARTITION__/part-0.parquet", &[("n", numbers(&[8, 16]))]);
    let session = Session::open(folder.path()).unwrap();
    (folder, session)
}

#[test]
fn partition_columns_are_dates_with_nulls() {
    let (_folder, session) = days();
    check(
        &session,
        "select window_date, sum(n) from calls group by window_date order by 1 nulls last",
        &["2026-01-15,3", "2026-01-16,4", ",24"],
    );
    check(&session, "select sum(n) from calls where window_date >= date '2026-01-16'", &["4"]);
    check(&session, "select sum(n) from calls where window_date = '2026-01-15'", &["3"]);
    check(&session, "select sum(n) from calls where window_date is null", &["24"]);
    // A null is neither equal nor unequal to anything.
    check(&session, "select sum(n) from calls where window_date <> '2026-01-15'", &["4"]);
    check(&session, "select sum(n) from calls where not (window_date = '2026-01-15')", &["4"]);
    check(
        &session,
        "select sum(n) from calls where window_date = (select max(window_date) from calls)",
        &["4"],
    );
    check(&session, "select count(*), sum(n) from calls where window_date > '2027-01-01'", &["0,"]);
    // From the footers alone, where nulls must not count either.
    check(
        &session,
        "select count(*), count(window_date), min(window_date), max(window_date), max(n) from calls",
        &["5,3,2026-01-15,2026-01-16,16"],
    );
    check(&session, "select arrow_typeof(window_date) from calls limit 1", &["Date32"]);
}

#[test]
fn encoded_names_and_deep_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "s/provider=a%2F%C3%BC b/code=7/x.parquet", &[("n", numbers(&[1]))]);
    put(&folder, "s/provider=50%25/code=-1/deep/er/x.parquet", &[("n", numbers(&[2]))]);
    put(&folder, "s/stray.parquet", &[("n", numbers(&[3]))]);
    let session = Session::open(folder.path()).unwrap();
    check(&session, "select provider, code, n from s order by n", &["a/ü b,7,1", "50%,-1,2", ",,3"]);
    check(&session, "select n from s where provider = 'a/ü b' and code + 1 = 8", &["1"]);
}

#[test]
fn only_complete_files_are_read_and_new_ones_appear() {
    let (folder, session) = days();
    fs::write(folder.path().join("calls/window_date=2026-01-15/.part-1.parquet.inprogress"), "half").unwrap();
    fs::write(folder.path().join("calls/window_date=2026-01-15/part-2.parquet.inprogress"), "half").unwrap();
    check(&session, "select count(*) from calls", &["5"]);
    put(&folder, "calls/window_date=2026-01-17/part-1.parquet", &[("n", numbers(&[32]))]);
    put(&folder, "_late/part-0.parquet", &[("reason", Arc::new(StringArray::from(vec!["late"])))]);
    check(&session, "select max(window_date), sum(n) from calls", &["2026-01-17,63"]);
    check(&session, "select reason from _late", &["late"]);
}

#[test]
fn files_of_other_columns_give_nulls() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "s/1.parquet", &[("a", numbers(&[1]))]);
    put(&folder, "s/2.parquet", &[("a", numbers(&[2])), ("b", numbers(&[20]))]);
    let session = Session::open(folder.path()).unwrap();
    check(&session, "select a, b from s order by a", &["1,", "2,20"]);
}

#[test]
fn several_outputs_are_schemas() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "one/alerts/x.parquet", &[("n", numbers(&[1]))]);
    put(&folder, "two/alerts/x.parquet", &[("n", numbers(&[2]))]);
    put(&folder, "two/tool-calls/x.parquet", &[("n", numbers(&[3]))]);
    fs::write(folder.path().join("one/look.jsonl"), "").unwrap();
    fs::create_dir_all(folder.path().join("one/look")).unwrap();
    fs::write(folder.path().join("one/look/0.jsonl"), "{\"n\":4,\"s\":\"x\"}\n{\"n\":5,\"s\":null}\n")
        .unwrap();
    let session = Session::open(folder.path()).unwrap();
    check(
        &session,
        "select one.n, two.n, t.n from one.alerts one, two.alerts two, \"tool-calls\" t",
        &["1,2,3"],
    );
    check(&session, "select sum(n), max(s) from look", &["9,x"]);
    assert_eq!(
        error(&session, "select * from alerts"),
        "table \"alerts\" is in several outputs: write one.alerts or two.alerts"
    );
    let tables = text(&session, "show tables", Format::Csv);
    let names: Vec<&str> = tables.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(names, ["one.alerts", "one.look", "two.alerts", "\"two.\"\"tool-calls\"\"\""]);
}

#[test]
fn errors_say_what_there_is_in_one_line() {
    let (folder, session) = days();
    fs::create_dir(folder.path().join("waiting")).unwrap();
    let dir = folder.path().display();
    assert_eq!(
        error(&session, "select * from cals"),
        format!("no table \"cals\" in {dir}; there are: calls; did you mean calls?")
    );
    assert_eq!(
        error(&session, "select * from one.calls"),
        format!("no table \"one.calls\" in {dir}; there are: calls; did you mean calls?")
    );
    assert!(error(&session, "select * from waiting").starts_with("table \"waiting\" has no file yet"));
    let column = error(&session, "select windw_date from calls");
    assert!(column.starts_with("no field named windw_date. Did you mean 'calls.window_date'?"), "{column}");
    for sql in [
        "select windw_date from calls",
        "selec 1",
        "select 1 +",
        "select nosuch(1)",
        "select 1/0",
        "select 'a",
    ] {
        let message = error(&session, sql);
        let noise =
            ["ParserError", "Error during planning", "DataFusion", "backtrace", "\n", "External error"];
        assert!(
            noise.iter().all(|noise| !message.contains(noise)) && !message.ends_with('.'),
            "{sql}: {message}"
        );
    }
    // A table function is no table, and asks no file.
    check(
        &session,
        "with calls as (select 7 as n) select n, value from calls, generate_series(1, 2)",
        &["7,1", "7,2"],
    );
    let missing = Session::open(&folder.path().join("nowhere")).err().unwrap();
    assert!(matches!(missing, QueryError::NoFolder(_)), "{missing}");
}

#[test]
fn what_writes_is_refused() {
    let (folder, session) = days();
    let target = folder.path().join("out.csv");
    for sql in [
        "insert into calls values (1, '2026-01-15')",
        "delete from calls",
        "drop table calls",
        "create table t as select 1",
        "create view v as select 1",
        "set datafusion.execution.batch_size = 1",
        "explain analyze insert into calls select * from calls",
        &format!("copy calls to '{}'", target.display()),
        &format!("create external table t stored as parquet location '{}'", target.display()),
    ] {
        let refused = session.query(sql).unwrap_err();
        assert!(matches!(refused, QueryError::Refused { .. }), "{sql}: {refused}");
    }
    assert!(!target.exists());
    check(&session, "select count(*) from calls", &["5"]);
    assert!(text(&session, "explain select * from calls", Format::Table).contains("physical plan"));
    assert!(error(&session, "select 1; select 2").contains("single SQL statement"));
}

#[test]
fn columns_are_described_in_words_of_sql() {
    let (_folder, session) = days();
    assert_eq!(text(&session, "describe calls", Format::Csv), "column,type\nn,bigint\nwindow_date,date\n");
    assert_eq!(session.columns("calls").unwrap().len(), 2);
    assert!(session.columns("cals").unwrap_err().to_string().contains("did you mean calls?"));
}

fn mixed() -> (TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    let at =
        TimestampMicrosecondArray::from(vec![Some(1_768_471_200_000_000), Some(1_768_471_200_500_000), None]);
    let list =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), Some(vec![]), None]);
    put(
        &folder,
        "mixed/x.parquet",
        &[
            ("at", Arc::new(at.with_timezone("+00:00"))),
            ("name", Arc::new(StringArray::from(vec![Some("a,\"b\""), Some("line\nbreak"), None]))),
            ("share", Arc::new(Float64Array::from(vec![1.0 / 3.0, 1_234_567.891, 2.0]))),
            (
                "value",
                Arc::new(BinaryArray::from_opt_vec(vec![Some(b"{\"x\":1}"), Some(&[0xc0, 0xff]), None])),
            ),
            ("list", Arc::new(list)),
        ],
    );
    let session = Session::open(folder.path()).unwrap();
    (folder, session)
}

#[test]
fn tables_are_for_people() {
    let (_folder, session) = mixed();
    let expected = "\
at                      | name        |      share | value   | list
------------------------+-------------+------------+---------+----------
2026-01-15 10:00:00     | a,\"b\"       |   0.333333 | {\"x\":1} | [1, null]
2026-01-15 10:00:00.500 | line\\nbreak | 1234567.89 | \\xc0ff  | []
null                    | null        |          2 | null    | null
";
    let table = text(&session, "select * from mixed", Format::Table);
    assert_eq!(table, expected);
}

#[test]
fn tables_fit_the_terminal() {
    let (_folder, session) = mixed();
    let sql = "select 12345678901 as number, 'a text that is far too long to be shown' as note, 'x' as short, at from mixed limit 1";
    let result = session.query(sql).unwrap();
    let fitted = |width: usize| {
        let mut out = Vec::new();
        write(&result, Format::Table, Some(width), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let shortened = fitted(60);
    assert!(
        shortened.lines().all(|line| line.chars().count() <= 60) && shortened.contains("a text that"),
        "{shortened}"
    );
    assert!(shortened.contains('…') && shortened.contains("2026-01-15 10:00:00"), "{shortened}");
    let narrow = fitted(40);
    assert!(narrow.contains("(too wide: at not shown;") && narrow.contains("12345678901"), "{narrow}");
    assert!(!fitted(200).contains('…'));
}

#[test]
fn json_and_csv_are_for_programs() {
    let (_folder, session) = mixed();
    let json = text(&session, "select at, name, share, list from mixed limit 1", Format::Json);
    let expected =
        r#"{"at":"2026-01-15T10:00:00Z","name":"a,\"b\"","share":0.3333333333333333,"list":[1,null]}"#;
    assert_eq!(json.trim_end(), expected);
    check(
        &session,
        "select at, name, share, list from mixed where name is null or name like 'a%'",
        &["2026-01-15T10:00:00Z,\"a,\"\"b\"\"\",0.3333333333333333,\"[1,null]\"", ",,2.0,"],
    );
    // Columns are known without rows.
    assert_eq!(text(&session, "select name, list from mixed where false", Format::Csv), "name,list\n");
    assert!(text(&session, "select name from mixed where false", Format::Table).starts_with("name"));
}

#[test]
fn a_query_can_be_left_and_stopped() {
    let (_folder, session) = days();
    let mut seen = 0;
    let endless = "select a.value from generate_series(1, 100000000000) a";
    let left = session.stream(endless, &mut |batch| {
        seen += batch.num_rows();
        Ok(if seen > 10_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert!(left.is_ok() && seen > 10_000);

    let interrupt = session.interrupt();
    assert!(!interrupt.stop(), "nothing runs");
    let stopped = session.stream(endless, &mut |_| {
        assert!(interrupt.stop());
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(stopped, Err(QueryError::Interrupted)));
    // Nor does a join that makes rows for ages from little input go on in secret, and keep the threads.
    let join =
        "select sum(a.value * b.value) from generate_series(1, 3000000) a, generate_series(1, 3000000) b";
    let stopped = session.stream(&format!("select 1 union all {join}"), &mut |_| {
        assert!(interrupt.stop());
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(stopped, Err(QueryError::Interrupted)));
    // The stop was for that query alone.
    check(&session, "select 1", &["1"]);
}

#[test]
fn a_deeply_nested_query_does_not_overflow_a_small_stack() {
    let (folder, _) = days();
    let path = folder.path().to_owned();
    let ask = move || {
        let session = Session::open(Path::new(&path)).unwrap();
        let sum = vec!["n"; 200].join(" + ");
        session.query(&format!("select {sum} as total from calls where n = 1")).unwrap().rows()
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(ask).unwrap();
    assert_eq!(thread.join().unwrap(), 1);
}

#[test]
fn a_delta_tables_rows_are_those_that_its_log_names() {
    let folder = tempfile::tempdir().unwrap();
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(20_468), Some(20_469), None, Some(20_468)]));
    let at = TimestampMicrosecondArray::from(vec![1_768_435_200_000_001, 2, 3, 4]).with_timezone("+00:00");
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("n", numbers(&[1, 2, 4, 8]), true),
        ("window_date", days, true),
        ("at", Arc::new(at) as ArrayRef, true),
        ("mass", Arc::new(UInt64Array::from(vec![u64::MAX, 1, 2, 3])) as ArrayRef, true),
    ])
    .unwrap();
    let staging = Staging { generation: 1, worker: 0, in_place: true };
    let config = ParquetConfig {
        partition_by: vec!["window_date".to_owned()],
        ..ParquetConfig::new("calls", folder.path().join("calls"), staging)
    };
    let mut publisher = DeltaPublisher::new(DeltaConfig {
        sink: "calls".to_owned(),
        folder: folder.path().join("calls"),
        columns: batch.schema(),
        partition_by: config.partition_by.clone(),
        application: "job/calls".to_owned(),
        generation: 1,
    })
    .unwrap();
    publisher.sweep(0).unwrap();
    let session = Session::open(folder.path()).unwrap();
    check(&session, "select count(*), sum(n) from calls", &["0,"]);
    let mut sink = DeltaSink::new(config, &batch.schema(), 0, Arc::default()).unwrap();
    sink.write(batch.clone()).unwrap();
    publisher.publish(1, &sink.stage(1).unwrap()).unwrap();
    // Staged, in their places, and not published.
    sink.write(batch.slice(0, 2)).unwrap();
    let staged = sink.stage(2).unwrap();
    assert!(staged.iter().all(|file| folder.path().join("calls").join(&file.target).exists()));
    check(&session, "select count(*), sum(n) from calls", &["4,15"]);
    check(
        &session,
        "select window_date, sum(n) from calls group by 1 order by 1 nulls last",
        &["2026-01-15,9", "2026-01-16,2", ",4"],
    );
    check(&session, "select sum(n) from calls where window_date >= date '2026-01-16'", &["2"]);
    check(&session, "select sum(n) from calls where window_date is null", &["4"]);
    check(
        &session,
        "select max(mass), count(*), min(at), max(at) from calls where mass > 1",
        &["18446744073709551615,3,1970-01-01T00:00:00.000003Z,2026-01-15T00:00:00.000001Z"],
    );
    check(
        &session,
        "select max(at), min(n), count(window_date) from calls",
        &["2026-01-15T00:00:00.000001Z,1,3"],
    );
    let columns: Vec<String> =
        session.columns("calls").unwrap().iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
    let expected = ["n bigint", "at timestamp with time zone", "mass decimal(20, 0)", "window_date date"];
    assert_eq!(columns, expected);
    let tables = session.tables().unwrap();
    assert_eq!((tables.len(), tables[0].files), (1, 3));
    publisher.publish(2, &staged).unwrap();
    check(&session, "select count(*), sum(n) from calls", &["6,18"]);
    // The table's own folder, and a run that goes back.
    publisher.sweep(1).unwrap();
    let own = Session::open(&folder.path().join("calls")).unwrap();
    check(&own, "select count(*), sum(n) from calls", &["4,15"]);
    fs::write(folder.path().join("calls/_delta_log/00000000000000000004.json"), "{").unwrap();
    assert!(error(&session, "select 1 from calls").contains("can't open the Delta table"));
}
