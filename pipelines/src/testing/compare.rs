//! Expected rows against rows that came out, in any order: which belong together, and of the others which were probably meant.
//!
//! An expected row names some columns, so it may fit several rows, and rules with tolerances may overlap: who gets which row is a
//! maximum matching (Kuhn's augmenting paths), looked for within groups of rows that agree in what every expected row names.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::values::{Row, Value, matches, off_by};
use crate::spec::test_file::Tolerance;

/// A row that has to come out.
#[derive(Debug, Clone)]
pub struct ExpectedRow {
    /// Its line in the test file.
    pub line: usize,
    /// Its columns, as far as they are compared.
    pub columns: Vec<ExpectedColumn>,
}

/// A value that a row has to have.
#[derive(Debug, Clone)]
pub struct ExpectedColumn {
    /// The column.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// How far a number may be off.
    pub tolerance: Option<Tolerance>,
}

impl ExpectedColumn {
    fn fits(&self, row: &Row) -> bool {
        matches(&self.value, row.get(&self.name).unwrap_or(&Value::Null), self.tolerance)
    }

    // Whether its value has one form alone.
    fn is_plain(&self) -> bool {
        self.tolerance.is_none() && !matches!(self.value, Value::Json(_) | Value::Struct(_) | Value::List(_))
    }
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Differences {
    /// Rows that are expected and did not come.
    pub missing: Vec<MissingRow>,
    /// Rows that came and are not expected, values as text.
    pub unexpected: Vec<Vec<(String, String)>>,
    /// Rows that came nearly as expected.
    pub differing: Vec<DifferingRow>,
}

/// A row that did not come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingRow {
    /// Its line in the test file.
    pub line: usize,
    /// Its columns, values as text.
    pub columns: Vec<(String, String)>,
}

/// A row that came nearly as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferingRow {
    /// The expected row's line in the test file.
    pub line: usize,
    /// Columns that are as expected; where there are none, others of the row.
    pub same: Vec<(String, String)>,
    /// Columns that are not.
    pub columns: Vec<DifferingColumn>,
}

/// A column that is not as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferingColumn {
    /// The column.
    pub name: String,
    /// The value that is expected.
    pub expected: String,
    /// The value that came.
    pub found: String,
    /// By how much a number is off.
    pub off_by: Option<f64>,
    /// How far it may be off.
    pub tolerance: Option<String>,
}

impl Differences {
    /// Whether all is as expected.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.differing.is_empty()
    }
}

/// Rows that are looked at for which was meant to be which: pairs of more would take long and help nobody.
const PAIRED_MAX: usize = 300;

/// Compares rows. Of those that came the columns `shown` are shown.
pub fn compare(expected: &[ExpectedRow], found: &[Row], shown: &[String]) -> Differences {
    let taken_by = assign(expected, found);
    let mut unexpected: Vec<usize> = (0..found.len()).filter(|at| taken_by[*at].is_none()).collect();
    let mut is_found = vec![false; expected.len()];
    taken_by.iter().flatten().for_each(|at| is_found[*at] = true);
    let mut missing: Vec<usize> = (0..expected.len()).filter(|at| !is_found[*at]).collect();
    let mut differences = Differences::default();
    for (row, near) in pairs(expected, found, &missing, &unexpected) {
        missing.retain(|at| *at != row);
        unexpected.retain(|at| *at != near);
        differences.differing.push(differing(&expected[row], &found[near], shown));
    }
    let text = |(name, value): (&String, &Value)| (name.clone(), value.to_string());
    differences.missing = missing
        .into_iter()
        .map(|at| MissingRow {
            line: expected[at].line,
            columns: expected[at].columns.iter().map(|column| text((&column.name, &column.value))).collect(),
        })
        .collect();
    differences.unexpected = unexpected.into_iter().map(|at| texts(&found[at], shown)).collect();
    differences
}

/// Of each row that came, the expected row that it is.
fn assign(expected: &[ExpectedRow], found: &[Row]) -> Vec<Option<usize>> {
    let keys = common(expected);
    let is_key = |name: &String| keys.contains(name);
    let mut groups: HashMap<String, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (at, row) in expected.iter().enumerate() {
        let values = keys.iter().filter_map(|key| row.columns.iter().find(|column| column.name == *key));
        let key = joined(values.map(|column| &column.value));
        groups.entry(key).or_default().0.push(at);
    }
    for (at, row) in found.iter().enumerate() {
        let key = joined(keys.iter().map(|key| row.get(key).unwrap_or(&Value::Null)));
        groups.entry(key).or_default().1.push(at);
    }
    let mut taken_by = vec![None; found.len()];
    for (rows, candidates) in groups.into_values() {
        let fits = |row: usize, at: usize| expected[row].columns.iter().all(|column| column.fits(&found[at]));
        // Where nothing but the keys is named, whoever comes first may take any.
        let all_alike =
            rows.iter().all(|row| expected[*row].columns.iter().all(|column| is_key(&column.name)));
        for row in &rows {
            if let Some(at) = candidates.iter().find(|at| taken_by[**at].is_none() && fits(*row, **at)) {
                taken_by[*at] = Some(*row);
            } else if !all_alike {
                let mut tried = vec![false; candidates.len()];
                augment(*row, &candidates, &fits, &mut taken_by, &mut tried);
            }
        }
    }
    taken_by
}

// Finds a row for `row`, if need be by giving those that have one another.
fn augment(
    row: usize,
    candidates: &[usize],
    fits: &dyn Fn(usize, usize) -> bool,
    taken_by: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (index, at) in candidates.iter().enumerate() {
        if tried[index] || !fits(row, *at) {
            continue;
        }
        tried[index] = true;
        let is_free = match taken_by[*at] {
            None => true,
            Some(other) => augment(other, candidates, fits, taken_by, tried),
        };
        if is_free {
            taken_by[*at] = Some(row);
            return true;
        }
    }
    false
}

// The columns that all name, without tolerance.
fn common(expected: &[ExpectedRow]) -> Vec<String> {
    let Some(first) = expected.first() else { return Vec::new() };
    let of_all = |name: &str| {
        expected.iter().all(|row| row.columns.iter().any(|column| column.name == name && column.is_plain()))
    };
    first.columns.iter().map(|column| column.name.clone()).filter(|name| of_all(name)).collect()
}

fn joined<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.map(|value| format!("{value:?}\u{1f}")).collect()
}

/// Missing rows with unexpected ones that agree with them in half of their columns at least, the most alike first. Where there is one
/// of each, they are a pair.
fn pairs(
    expected: &[ExpectedRow],
    found: &[Row],
    missing: &[usize],
    unexpected: &[usize],
) -> Vec<(usize, usize)> {
    let only_pair = missing.len() == 1 && unexpected.len() == 1;
    let mut near: Vec<(usize, Reverse<usize>, usize, usize)> = Vec::new();
    for row in missing.iter().take(PAIRED_MAX) {
        for at in unexpected.iter().take(PAIRED_MAX) {
            let columns = &expected[*row].columns;
            let differs = || columns.iter().enumerate().filter(|(_, column)| !column.fits(&found[*at]));
            let (differing, first) = (differs().count(), differs().map(|(index, _)| index).next());
            if differing * 2 <= columns.len() || only_pair {
                // Among equals the pair that differs later: what a row is known by is mostly written first.
                near.push((differing, Reverse(first.unwrap_or_default()), *row, *at));
            }
        }
    }
    near.sort_unstable();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (_, _, row, at) in near {
        if !pairs.iter().any(|(other, taken)| *other == row || *taken == at) {
            pairs.push((row, at));
        }
    }
    pairs.sort_unstable();
    pairs
}

fn texts(row: &Row, shown: &[String]) -> Vec<(String, String)> {
    let columns = shown.iter().filter_map(|name| row.get_key_value(name));
    columns.map(|(name, value)| (name.clone(), value.to_string())).collect()
}

fn differing(expected: &ExpectedRow, found: &Row, shown: &[String]) -> DifferingRow {
    let mut row = DifferingRow { line: expected.line, same: Vec::new(), columns: Vec::new() };
    for column in &expected.columns {
        let value = found.get(&column.name).unwrap_or(&Value::Null);
        if column.fits(found) {
            row.same.push((column.name.clone(), value.to_string()));
            continue;
        }
        row.columns.push(DifferingColumn {
            name: column.name.clone(),
            expected: column.value.to_string(),
            found: value.to_string(),
            off_by: off_by(&column.value, value).map(|(off, _)| off),
            tolerance: column.tolerance.map(|tolerance| match tolerance {
                Tolerance::Absolute(most) => most.to_string(),
                Tolerance::Relative(part) => format!("{}%", part * 100.0),
            }),
        });
    }
    if row.same.is_empty() {
        // Which row is meant has to be seen from something.
        row.same = texts(found, shown);
        row.same.retain(|(name, _)| !row.columns.iter().any(|column| column.name == *name));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, i128)]) -> Row {
        columns.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect()
    }

    fn expect(columns: &[(&str, i128, Option<f64>)]) -> ExpectedRow {
        let column = |(name, value, most): &(&str, i128, Option<f64>)| ExpectedColumn {
            name: (*name).to_owned(),
            value: Value::Int(*value),
            tolerance: most.map(Tolerance::Absolute),
        };
        ExpectedRow { line: 1, columns: columns.iter().map(column).collect() }
    }

    #[test]
    fn rows_are_a_multiset_in_any_order() {
        let found = [row(&[("a", 2), ("b", 9)]), row(&[("a", 1), ("b", 9)]), row(&[("a", 1), ("b", 8)])];
        let one = || expect(&[("a", 1, None)]);
        assert!(compare(&[one(), one(), expect(&[("a", 2, None)])], &found, &[]).is_empty());
        let differences = compare(&[one(), expect(&[("a", 2, None)])], &found, &[]);
        assert_eq!((differences.missing.len(), differences.unexpected.len()), (0, 1));
        let differences = compare(&[one(), one(), one(), expect(&[("a", 2, None)])], &found, &[]);
        assert_eq!((differences.missing.len(), differences.unexpected.len()), (1, 0));
    }

    #[test]
    fn whoever_fits_two_rows_leaves_the_other_the_one_it_needs() {
        let found = [row(&[("a", 10)]), row(&[("a", 13)])];
        // The first fits both rows, and would take the only one of the second.
        let wide = || expect(&[("a", 11, Some(2.0))]);
        let narrow = || expect(&[("a", 10, Some(1.0))]);
        assert!(compare(&[wide(), narrow()], &found, &[]).is_empty());
        assert!(compare(&[narrow(), wide()], &found, &[]).is_empty());
        assert!(!compare(&[narrow(), narrow()], &found, &[]).is_empty());
    }

    #[test]
    fn the_most_alike_rows_are_paired() {
        let found = [row(&[("k", 1), ("x", 5), ("y", 6)]), row(&[("k", 2), ("x", 7), ("y", 6)])];
        let expected = [
            expect(&[("k", 2, None), ("x", 5, None), ("y", 6, None)]),
            expect(&[("k", 1, None), ("x", 5, None), ("y", 7, None)]),
            expect(&[("k", 8, None), ("x", 8, None), ("y", 8, None)]),
        ];
        let differences = compare(&expected, &found, &[]);
        let columns: Vec<Vec<&str>> = differences
            .differing
            .iter()
            .map(|row| row.columns.iter().map(|column| column.name.as_str()).collect())
            .collect();
        // Each agrees with its row in two columns of three; no row is left for the last one.
        assert_eq!(differences.differing.len(), 2);
        assert!(columns.iter().all(|columns| columns.len() == 1), "{columns:?}");
        assert_eq!((differences.missing.len(), differences.unexpected.len()), (1, 0));
    }
}
