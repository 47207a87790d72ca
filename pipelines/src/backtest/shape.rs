//! What a sink's rows look like, as far as two outputs of it are to be compared: which columns tell rows apart.

use arrow::datatypes::{DataType, Field, FieldRef};
use thalweg_operators::source::refused;

use crate::plan::{Plan, PlannedSink, SeriesModelKind, StepKind, StreamId};

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";
const TIMESTAMP: &str = "timestamp";

/// The columns of a sink.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) columns: Vec<Field>,
    /// Columns that can't be compared, and why.
    pub(super) left_out: Vec<String>,
    /// Whether a column is of one side only, or of another type there.
    pub(super) has_other_columns: bool,
    /// Those of which no two rows have the same values, the window's start first; none: rows are told apart by all that they hold.
    pub(super) keys: Vec<String>,
    /// Whether rows are results of windows.
    pub(super) is_windowed: bool,
    /// The column of the windows' ends.
    pub(super) window_end: Option<String>,
    /// The column of records' timestamps.
    pub(super) timestamp: Option<String>,
}

/// Why a column of structs is left out of a comparison, on both sides.
const NO_SINGLE_VALUES: &str = "(no single values)";

impl Shape {
    /// Without columns that are not to be compared; keys stay.
    pub(super) fn without(mut self, ignored: &[String]) -> Shape {
        let is_ignored =
            |column: &Field| ignored.contains(column.name()) && !self.keys.contains(column.name());
        let (out, columns) = self.columns.into_iter().partition(is_ignored);
        self.left_out
            .extend(Vec::from_iter(out).iter().map(|column: &Field| format!("{} (ignored)", column.name())));
        Shape { columns, ..self }
    }

    /// What both have, and what was left out of this one before.
    pub(super) fn common(self, other: &Shape) -> Shape {
        let mut left_out = Vec::new();
        let mut columns = Vec::new();
        for column in &self.columns {
            match other.columns.iter().find(|each| each.name() == column.name()) {
                None => left_out.push(format!("{} (not in the variant)", column.name())),
                Some(each) if is_nested(column.data_type()) || is_nested(each.data_type()) => {
                    left_out.push(format!("{} {NO_SINGLE_VALUES}", column.name()));
                }
                Some(each) if !is_comparable(column.data_type(), each.data_type()) => {
                    left_out.push(format!("{} (of another type)", column.name()));
                }
                Some(_) => columns.push(column.clone()),
            }
        }
        let new =
            other.columns.iter().filter(|each| self.columns.iter().all(|own| own.name() != each.name()));
        left_out.extend(new.map(|each| format!("{} (not in the reference)", each.name())));
        let has_other_columns = left_out.iter().any(|told| !told.ends_with(NO_SINGLE_VALUES));
        let has = |key: &String| columns.iter().any(|column| column.name() == key);
        let keys = if self.keys == other.keys && self.keys.iter().all(has) { self.keys } else { Vec::new() };
        let window_end = self.window_end.filter(|end| other.window_end.as_ref() == Some(end) && has(end));
        let left_out = self.left_out.into_iter().chain(left_out).collect();
        Shape { columns, left_out, has_other_columns, keys, window_end, ..self }
    }
}

fn is_comparable(one: &DataType, other: &DataType) -> bool {
    one == other || one.is_numeric() && other.is_numeric()
}

// Neither a value nor a list of values.
fn is_nested(of: &DataType) -> bool {
    match of {
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_nested(),
        of => of.is_nested(),
    }
}

/// Of a planned sink.
pub(super) fn of(plan: &Plan, sink: &PlannedSink) -> Shape {
    let columns: Vec<Field> = sink.columns.fields().iter().map(|field| field.as_ref().clone()).collect();
    let windowed = window_columns(plan, sink.input.stream);
    let has = |name: &String| columns.iter().any(|column| column.name() == name);
    let (keys, window_end) = match &windowed {
        Some(names) => (names.keys.clone().unwrap_or_default(), names.end.clone()),
        None => (Vec::new(), None),
    };
    Shape {
        is_windowed: windowed.is_some(),
        keys: if keys.iter().all(has) { keys } else { Vec::new() },
        window_end: window_end.filter(has),
        left_out: Vec::new(),
        has_other_columns: false,
        timestamp: None,
        columns,
    }
}

/// Of late and rejected rows.
pub(super) fn of_refused() -> Shape {
    // How far behind a row is depends on the lateness, and says no more than that it is late.
    let told = |field: &&FieldRef| field.name() != "detail";
    Shape {
        columns: refused::schema().fields().iter().filter(told).map(|field| field.as_ref().clone()).collect(),
        left_out: Vec::new(),
        has_other_columns: false,
        keys: ["source", "topic", "partition", "offset"].map(str::to_owned).to_vec(),
        is_windowed: false,
        window_end: None,
        timestamp: Some(TIMESTAMP.to_owned()),
    }
}

/// What a window's own columns are called in a stream that comes from it.
#[derive(Clone)]
struct WindowNames {
    keys: Option<Vec<String>>,
    end: Option<String>,
}

// Followed through steps that compute columns, as long as the keys stay what they are.
fn window_columns(plan: &Plan, stream: StreamId) -> Option<WindowNames> {
    let StreamId::Step(at) = stream else { return None };
    let step = &plan.steps[at];
    if let StepKind::Window(window) = &step.kind {
        let keys = window.keys.iter().map(|key| key.name.clone());
        let keys = std::iter::once(WINDOW_START.to_owned()).chain(keys).collect();
        return Some(WindowNames { keys: Some(keys), end: Some(WINDOW_END.to_owned()) });
    }
    let inputs: Vec<Option<WindowNames>> =
        step.inputs.iter().map(|input| window_columns(plan, input.stream)).collect();
    let names = match inputs.as_slice() {
        [only] => only.clone()?,
        // Streams of a union may hold the same keys.
        several => {
            let end = several.iter().flatten().next()?.end.clone();
            let all_have = several.iter().all(|names| names.as_ref().is_some_and(|names| names.end == end));
            WindowNames { keys: None, end: end.filter(|_| all_have) }
        }
    };
    if let StepKind::Series(series) = &step.kind
        && let SeriesModelKind::Forecast(_) = &series.model
    {
        // A row for each of its horizons.
        let keys = names.keys.map(|keys| keys.into_iter().chain(["horizon_s".to_owned()]).collect());
        return Some(WindowNames { keys, end: names.end });
    }
    let StepKind::Project(columns) = &step.kind else { return Some(names) };
    let called = |name: &String| {
        let is_same = |sql: &str| {
            sql == name || sql.strip_prefix('"').and_then(|sql| sql.strip_suffix('"')) == Some(name)
        };
        columns.iter().find(|column| is_same(&column.sql)).map(|column| column.name.clone())
    };
    Some(WindowNames {
        keys: names.keys.and_then(|keys| keys.iter().map(called).collect()),
        end: names.end.as_ref().and_then(called),
    })
}
