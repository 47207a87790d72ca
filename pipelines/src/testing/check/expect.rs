//! Rows that have to come out: their columns, their values by type, how far they may be off.

use std::collections::BTreeMap;

use arrow::datatypes::Field;
use thalweg_operators::source::refused;
use thalweg_schemas::Reason;

use super::{Checker, Expectation, ExpectedStream, Observed, Test};
use crate::lower::sinks::{LATE, REJECTED};
use crate::spec::suggest;
use crate::spec::test_file::{CellSpec, ExpectSpec, RulesSpec, StreamSpec, Tolerance};
use crate::testing::compare::{ExpectedColumn, ExpectedRow};
use crate::testing::values;

impl Checker<'_> {
    pub(super) fn expectation(
        &mut self,
        expect: &ExpectSpec,
        when: String,
        rules: &RulesSpec,
        observed: &BTreeMap<String, Observed>,
    ) -> Expectation {
        let mut streams = Vec::new();
        for stream in &expect.streams {
            // A stream that is not there has been said.
            let Some(found) = observed.get(&stream.name.value) else { continue };
            streams.push(self.stream(stream, rules, found));
        }
        Expectation { when, line: expect.at.line, streams }
    }

    fn stream(&mut self, stream: &StreamSpec, of_test: &RulesSpec, observed: &Observed) -> ExpectedStream {
        let columns = &observed.columns;
        let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        for (column, _) in &stream.rules.tolerances {
            if columns.column_with_name(column).is_none() {
                let message = format!("{} has no column \"{}\"", observed.label, column.value);
                let path = format!("{}.tolerance", stream.path);
                self.problem(column.at, &path, message, suggest::hint(column, &names, "columns"));
            }
        }
        let rules = [&stream.rules, of_test, &self.file.rules.clone()];
        let refused = [LATE, REJECTED].contains(&observed.sink.as_str());
        let exact = rules.iter().find_map(|rules| rules.exact.as_ref()).is_some_and(|exact| exact.value);
        let rows = stream.rows.as_ref().map(|rows| {
            let mut expected = Vec::with_capacity(rows.len());
            for row in rows {
                let mut columns_of_row = Vec::with_capacity(row.columns.len());
                for (name, cell) in &row.columns {
                    let Some((_, field)) = columns.column_with_name(name) else {
                        let message = format!("{} has no column \"{}\"", observed.label, name.value);
                        self.problem(name.at, &row.path, message, suggest::hint(name, &names, "columns"));
                        continue;
                    };
                    match values::expected(cell, field.data_type()) {
                        Ok(value) => columns_of_row.push(ExpectedColumn {
                            name: name.value.clone(),
                            value,
                            tolerance: tolerance(&rules, field),
                        }),
                        Err((at, message, hint)) => {
                            let path = format!("{}.{}", row.path, name.value);
                            self.problem(at, &path, message, hint);
                        }
                    }
                    if refused && name.value == "reason" {
                        self.reason(cell, observed, &row.path);
                    }
                }
                // One that is misspelt has been said.
                let is_meant = |named: &str, name: &str| {
                    columns.column_with_name(named).is_none()
                        && suggest::nearest(named, names.iter().copied()) == Some(name)
                };
                let is_named = |name: &&str| {
                    row.columns.iter().any(|(named, _)| named.value == **name || is_meant(named, name))
                };
                let missing: Vec<&str> = names.iter().copied().filter(|name| !is_named(name)).collect();
                if exact && !refused && !row.is_incomplete && !missing.is_empty() {
                    let message =
                        format!("not all columns are named, and the test is exact: {}", missing.join(", "));
                    self.problem(
                        row.at,
                        &row.path,
                        message,
                        Some("name them, or leave out exact".to_owned()),
                    );
                }
                expected.push(ExpectedRow { line: row.at.line, columns: columns_of_row });
            }
            expected
        });
        let shown =
            if refused { refused_shown() } else { names.iter().map(|name| (*name).to_owned()).collect() };
        ExpectedStream { sink: observed.sink.clone(), label: observed.label.clone(), rows, shown }
    }

    // The reasons are a closed set.
    fn reason(&mut self, cell: &CellSpec, observed: &Observed, path: &str) {
        let CellSpec::Scalar(at, reason) = cell else { return };
        let known: Vec<&str> = match observed.sink.as_str() {
            LATE => vec![refused::LATE],
            _ => Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
        };
        if !known.contains(&reason.as_str()) {
            let message = format!("there is no reason \"{reason}\"");
            self.problem(*at, &format!("{path}.reason"), message, suggest::hint(reason, &known, "reasons"));
        }
    }
}

fn tolerance(rules: &[&RulesSpec; 3], field: &Field) -> Option<Tolerance> {
    let of_column = |rules: &&RulesSpec| {
        rules.tolerances.iter().find(|(name, _)| name.value == *field.name()).map(|(_, tolerance)| *tolerance)
    };
    let of_all = |rules: &&RulesSpec| rules.tolerance.as_ref().map(|tolerance| tolerance.value);
    let found = rules.iter().find_map(|rules| of_column(rules).or_else(|| of_all(rules)));
    found.filter(|_| values::is_number(field.data_type()))
}

/// Rows that nobody has looked at are counted at the last moment: none may be late or rejected, unless the test says that any may.
pub(super) fn expect_no_other_refused(test: &mut Test) {
    for (sink, label) in [(LATE, "late rows"), (REJECTED, "rejected rows")] {
        let expected = test.moments.iter().filter_map(|moment| moment.expect.as_ref());
        let mut mentions = expected.flat_map(|expect| &expect.streams).filter(|stream| stream.sink == sink);
        let any = mentions.next_back().is_some_and(|stream| stream.rows.is_none());
        let Some(last) = test.moments.last_mut() else { continue };
        let expect = last.expect.get_or_insert_with(|| Expectation {
            when: "in the end".to_owned(),
            line: test.line,
            streams: Vec::new(),
        });
        if !any && !expect.streams.iter().any(|stream| stream.sink == sink) {
            expect.streams.push(ExpectedStream {
                sink: sink.to_owned(),
                label: label.to_owned(),
                rows: Some(Vec::new()),
                shown: refused_shown(),
            });
        }
    }
}

// What is shown of a late or rejected row.
fn refused_shown() -> Vec<String> {
    let names = ["source", "partition", "offset", "reason", "field", "detail", "value"];
    names.map(str::to_owned).to_vec()
}
